"""Runs trainings, each once, and keeps their records.

The folder of the results has a file for every finished training in `records`, for every
training under way in `unfinished`, and for every training that others start from in
`weights`. A process can be killed at any time. When it is started again, it skips what
has a record and resumes the training that was under way. Several processes share a list
of trainings as shards.
"""

import functools
import json
import os
import pathlib

import keras

from keras_bn4.common import records as record_files
from keras_bn4.common.errors import reason_of
from keras_bn4.common.files import written_whole
from keras_bn4.common.tables import progress_bar
from keras_bn4.experiments import machine
from keras_bn4.experiments.reproduction import weights
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.training import METRICS, Training

PUBLISHED = pathlib.Path(__file__).parent / "records"


def path_of(settings, folder):
    return pathlib.Path(folder, "records", f"{settings.name}.json")


def record_of(settings, folder):
    """The record of a training, a dict that `_train` makes, or `None`.

    Args:
        settings: `Settings`.
        folder: Path of the folder of the results, or `None` for the published records.

    Raises:
        ValueError: if the file is not the record of these settings.
    """
    if folder is None:
        return published().get(settings.name)
    path = path_of(settings, folder)
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(_no_record(path, error)) from error
    if _checked(record, path) != settings:
        raise ValueError(
            f"{path} is the record of other settings than those its name stands for. "
            "Remove it to train again."
        )
    return record


def records_of(settings, folder):
    """Lists the records of those settings that have one."""
    found = [record_of(s, folder) for s in settings]
    return [record for record in found if record is not None]


@functools.cache
def published():
    """The published records by the name of their settings.

    There is a file for each result, with all trainings that no result before it has.
    """
    return {
        _checked(record, file).name: record
        for file in sorted(PUBLISHED.glob("*.json"))
        for record in record_files.read(file)
    }


def work(settings, folder, *, data_dir=None, shard=(1, 1), verbose=1):
    """Trains what has no record.

    Args:
        settings: List of `Settings`. Trainings follow its order, but sources come
            before what starts from them, also if they are not in the list.
        folder: Path of the folder of the results.
        data_dir: The folder of tensorflow-datasets.
        shard: Pair of integers `(i, n)`: the i-th of n parts of the list, counted from
            1. A training that starts from another one is in the part of that one.
        verbose: 0 or 1.
    """
    folder = pathlib.Path(folder)
    for name in ("records", "unfinished", "weights"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    families = {}
    for one in settings:
        family = families.setdefault(one.source or one, [])
        family += [s for s in (one.source, one) if s and s not in family]
    i, n = shard
    trainings = [s for family in list(families.values())[i - 1 :: n] for s in family]
    sources = {s.source for s in settings}
    for at, one in enumerate(trainings, 1):
        if record_of(one, folder) is None:
            if verbose:
                print(f"Training {at} of {len(trainings)}: {one.name}", flush=True)
            _train(one, folder, data_dir, one in sources, verbose)


def _train(settings, folder, data_dir, is_source, verbose):
    """Trains, evaluates and writes the record, or resumes a training."""
    unfinished = folder / "unfinished" / f"{settings.name}.npz"
    source = settings.source and folder / "weights" / f"{settings.source.name}.npz"
    training = Training(settings, unfinished, data_dir, source)
    progress = progress_bar(settings.epochs, verbose=verbose, unit_name="epoch")
    training.run(lambda epochs: progress.update(int(epochs)))
    results = training.evaluate()
    if is_source:
        weights.keep(training.model, folder / "weights" / f"{settings.name}.npz")
    record = {
        "settings": settings.to_dict(),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "process": os.getpid(),
        "seconds": round(training.seconds, 1),
        "history": training.history,
        "results": results,
    }
    with written_whole(path_of(settings, folder)) as file:
        file.write_text(f"{compact(record)}\n")
    unfinished.unlink(missing_ok=True)
    # What a process left that was killed while it wrote.
    for left in unfinished.parent.glob(f".{settings.name}.*"):
        left.unlink(missing_ok=True)
    keras.utils.clear_session()


def compact(record):
    """JSON with a line for each list of numbers, for comparisons of versions."""
    parts = []
    for key, value in record.items():
        if key in ("history", "results"):
            lines = [f'  "{k}": {json.dumps(v)}' for k, v in value.items()]
            text = "{\n" + ",\n".join(lines) + "\n }"
        else:
            text = json.dumps(value)
        parts.append(f' "{key}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}"


def _checked(record, path):
    """The settings of a record, or `ValueError` if something is missing in it."""
    try:
        settings = Settings.from_record(record["settings"])
        float(record["seconds"])
        for split in ("validation", "test"):
            for metric in METRICS:
                values = record["results"][split][metric]
                if len(list(map(float, values))) != len(settings.example_weights):
                    raise ValueError(f"it has {len(values)} values of {metric}")
        settings.name  # noqa: B018 - it needs settings of the right types
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_no_record(path, error)) from error
    return settings


def _no_record(path, error):
    return (
        f"{path} is no record of a training ({reason_of(error)}). Remove it to train "
        "again."
    )
