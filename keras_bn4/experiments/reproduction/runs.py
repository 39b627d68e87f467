"""Runs trainings, each once, and keeps a record of each.

In the folder of the results there is a file for every finished training in `records`,
one for every training that is under way in `unfinished`, those of `claims`, and in
`weights` those of trainings that others start from. Any number of processes, on any
machines that share the folder, can work on the same list of settings at the same time.
Each of them can be killed at any time.
"""

import json
import os
import pathlib
import time

import keras

from keras_bn4.common.files import written_whole
from keras_bn4.common.tables import progress_bar
from keras_bn4.experiments import machine
from keras_bn4.experiments.reproduction import claims, weights
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.training import Training

SECONDS_BETWEEN_LOOKS = 2


class Run:
    """A training and its record.

    Args:
        settings: `Settings`.
        folder: Path of the folder of the results.
        is_source: Whether others start from its weights, so that they are kept.
    """

    def __init__(self, settings, folder, is_source=False):
        self.settings = settings
        self.folder = pathlib.Path(folder)
        self.is_source = is_source
        self.path = self.folder / "records" / f"{settings.name}.json"
        self.weights = self.folder / "weights" / f"{settings.name}.npz"
        source = settings.source
        self.source = None if source is None else Run(source, folder)

    def record(self):
        """The record, a dict, or `None` while there is none.

        It has `"settings"`, `"versions"`, `"hardware"`, `"process"`, the number of the
        process that finished it, the `"seconds"` it took, and
        the `"history"` and `"results"` of `Training`.

        Raises:
            ValueError: if the file is not the record of these settings.
        """
        try:
            found = json.loads(self.path.read_text())
            is_it = Settings.from_record(found["settings"]) == self.settings
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path} is no record of a training ({error}). Remove it, so that "
                "it is made again."
            ) from error
        if not is_it:
            raise ValueError(
                f"{self.path} is the record of other settings than those its name "
                "stands for. Remove it, so that it is made again."
            )
        return found

    def do(self, claim, data_dir=None, on_progress=None):
        """Trains, evaluates and writes the record, or goes on with what is begun.

        Args:
            claim: The `Claim` of this run.
            data_dir: The folder of tensorflow-datasets.
            on_progress: Function of the number of finished epochs.

        Raises:
            ClaimLost: if another worker has taken over.
        """

        def progress(epochs):
            claim.check()
            if on_progress is not None:
                on_progress(epochs)

        unfinished = self.folder / "unfinished" / f"{self.settings.name}.npz"
        source_weights = self.source and self.source.weights
        training = Training(self.settings, unfinished, data_dir, source_weights)
        training.run(progress)
        results = training.evaluate()
        claim.check()
        if self.is_source:
            weights.keep(training.model, self.weights)
        record = {
            "settings": self.settings.to_dict(),
            "versions": machine.versions(),
            "hardware": machine.hardware(),
            "process": os.getpid(),
            "seconds": round(training.seconds, 1),
            "history": training.history,
            "results": results,
        }
        with written_whole(self.path) as file:
            file.write_text(_compact(record))
        unfinished.unlink(missing_ok=True)
        # What a process left that was killed while it wrote.
        for left in unfinished.parent.glob(f".{self.settings.name}.*"):
            left.unlink(missing_ok=True)
        keras.utils.clear_session()


def records_of(settings, folder):
    """Lists the records of those settings that have one, in their order."""
    found = [Run(s, folder).record() for s in settings]
    return [record for record in found if record is not None]


def work(settings, folder, *, data_dir=None, expires=claims.EXPIRES, verbose=1):
    """Trains what has no record and is not claimed by others, until all have one.

    Args:
        settings: List of `Settings`. Their order is that of the trainings, but sources
            come before what starts from them, also if they are not in the list.
        folder: Path of the folder of the results.
        data_dir: The folder of tensorflow-datasets.
        expires: Float, the seconds after which the claim of a dead worker is void.
        verbose: 0 or 1, whether to show progress.
    """
    folder = pathlib.Path(folder)
    for name in ("records", "unfinished", "claims", "weights"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sources = {s.source for s in settings} - {None}
    every = dict.fromkeys(s for one in settings for s in (one.source, one) if s)
    runs = [Run(s, folder, is_source=s in sources) for s in every]
    announced = False
    while open_runs := [run for run in runs if run.record() is None]:
        if any(_try(run, runs, data_dir, expires, verbose) for run in open_runs):
            announced = False
            continue
        if verbose and not announced:
            # A claim can be given back while this looks.
            held = {claims.holder(folder / "claims", r.settings.name) for r in runs}
            who = ", ".join(sorted(held - {None})) or "others"
            print(f"Waiting for {who}.", flush=True)
            announced = True
        time.sleep(min(SECONDS_BETWEEN_LOOKS, expires / 4))


def _try(run, runs, data_dir, expires, verbose):
    """Does a run if nobody else does it. Returns whether it was done here."""
    if run.source is not None and run.source.record() is None:
        return False
    claim = claims.take(run.folder / "claims", run.settings.name, expires)
    if claim is None:
        return False
    with claim:
        if run.record() is not None:
            return False  # Finished between the look at the records and the claim.
        done = sum(r.record() is not None for r in runs)
        if verbose:
            name = run.settings.name
            print(f"Training {done + 1} of {len(runs)}: {name}", flush=True)
        progress = progress_bar(run.settings.epochs, verbose=verbose, unit_name="epoch")
        try:
            run.do(claim, data_dir, lambda epochs: progress.update(int(epochs)))
        except claims.ClaimLost as error:
            if verbose:
                print(f"\n{error}")
            return False
    return True


def _compact(record):
    """JSON with a line for each list of numbers, which version control can compare."""
    parts = []
    for key, value in record.items():
        if key in ("history", "results"):
            lines = [f'  "{k}": {json.dumps(v)}' for k, v in value.items()]
            text = "{\n" + ",\n".join(lines) + "\n }"
        else:
            text = json.dumps(value)
        parts.append(f' "{key}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"
