"""`python -m keras_bn4.experiments`: makes the paper's figures and tables anew."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from keras_bn4.commands.inputs import add_data_dir, add_output_dir, check_folder
from keras_bn4.commands.main import Parser, finish
from keras_bn4.common import tables
from keras_bn4.common.arguments import check_integer
from keras_bn4.common.figures import styled
from keras_bn4.common.tables import progress_bar


def main(arguments=None):
    """Runs the experiments that the arguments name, and returns the exit status."""
    parser = Parser(
        prog="python -m keras_bn4.experiments",
        description="Trains the networks of figures and tables of the paper and "
        "reports what they show. Without names, lists them. It can be killed at any "
        "time and goes on with the same command. Any number of processes, on all "
        "machines that share the output folder, can run the same command at once.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="figures and tables, such as figure3"
    )
    parser.add_argument(
        "--scale",
        choices=("small", "paper"),
        default="small",
        help="small networks and few images, or those of the paper (default: small)",
    )
    parser.add_argument(
        "--dataset",
        default="cifar100",
        help="a name of tensorflow-datasets (default: cifar100)",
    )
    add_data_dir(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        help="trainings of each row (default: by result, see the list)",
    )
    add_output_dir(parser, "results/reproduce")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that train at the same time and share the cores (default: 1)",
    )
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="report the published records, and train nothing",
    )
    parser.set_defaults(command=run)
    return finish(parser.parse_args, arguments)


def run(options):
    """Trains what is missing, and prints and draws the results."""
    # Imported here, so that other commands run without SciPy.
    from keras_bn4.experiments.reproduction import RECORDS, RESULTS, SUPPLEMENTS, runs

    mains = {supplement: name for name, supplement in SUPPLEMENTS.items()}
    names = list(dict.fromkeys(mains.get(name, name) for name in options.names))
    _check(options, names, RESULTS, mains)
    if not names:
        print(_listed(options, RESULTS, RECORDS.parent))
        return
    trainings = {n: _trainings(RESULTS[n], options) for n in names}
    # A training can be part of several results.
    every = list(dict.fromkeys(s for part in trainings.values() for s in part))
    folder = pathlib.Path(options.output_dir)
    if not options.recorded:
        if options.workers > 1:
            _work_in_processes(every, options)
        else:
            runs.work(every, folder, data_dir=options.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in trainings.items():
        source = RECORDS.parent if options.recorded else folder
        records = runs.records_of(part, source)
        print(f"\n{_heading(name, RESULTS[name])}, scale {options.scale}\n")
        if len(records) < len(part):
            print(f"Open: {len(part) - len(records)} of {len(part)} trainings.\n")
        if records:
            print(RESULTS[name].report(records))
            figure = folder / f"{name}-{options.scale}.png"
            styled(RESULTS[name].draw)(records, figure)
            print(f"\nFigure: {figure}")


def _check(options, names, results, mains):
    for name in names:
        if name not in results:
            allowed = ", ".join([*results, *mains])
            raise ValueError(f"There is no result {name!r}. Allowed: {allowed}.")
        if options.scale not in results[name].SEEDS:
            scales = ", ".join(results[name].SEEDS)
            raise ValueError(
                f"{name} can't be made at --scale {options.scale}. Allowed: {scales}. "
                "Leave it out, or choose another scale."
            )
    check_integer("workers", options.workers)
    if options.seeds is not None:
        check_integer("seeds", options.seeds)
    check_folder(options.output_dir)


def _trainings(result, options):
    seeds = options.seeds or result.SEEDS[options.scale]
    return result.trainings(options.scale, seeds, options.dataset)


def _heading(name, result):
    return f"{_label(name)}: {result.TITLE}"


def _label(name):
    """The name of a result, with the one of the paper's supplement to it."""
    from keras_bn4.experiments.reproduction import SUPPLEMENTS

    return f"{name} ({SUPPLEMENTS[name]})" if name in SUPPLEMENTS else name


def _listed(options, results, package):
    from keras_bn4.experiments.reproduction import runs

    lines = [["name", "trainings", "recorded", "in the package", "hours", "what"]]
    for name, result in results.items():
        if options.scale not in result.SEEDS:
            continue
        part = _trainings(result, options)
        counts = [
            len(runs.records_of(part, folder))
            for folder in (options.output_dir, package)
        ]
        hours = result.HOURS[options.scale]
        line = [_label(name), str(len(part)), *map(str, counts)]
        line += ["?" if hours is None else f"{hours:g}", result.TITLE]
        lines.append(line)
    note = (
        f"Scale {options.scale}. Recorded: in {options.output_dir}, and among the "
        "records that come with the package (--recorded). Hours: all trainings with "
        "the seeds listed, on two processor cores. Some results share trainings."
    )
    if len(lines) <= len(results):
        note += " What can't be made at this scale isn't listed."
    left = [[line[0], line[-1], *line[1:-1]] for line in lines]
    return f"{tables.text(left, left=2)}\n\n{note}"


def _work_in_processes(trainings, options):
    """Starts this command again in several processes, and waits for them."""
    from keras_bn4.experiments.reproduction import runs

    folder, workers = pathlib.Path(options.output_dir), options.workers
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads)}
    arguments = [
        *(sys.executable, "-m", "keras_bn4.experiments", *options.names),
        *("--scale", options.scale, "--dataset", options.dataset),
        *(("--seeds", str(options.seeds)) if options.seeds else ()),
        *(("--data-dir", options.data_dir) if options.data_dir else ()),
        *("--output-dir", str(folder), "--workers", "1"),
    ]
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    progress = progress_bar(len(trainings), unit_name="training")
    logs = [folder / "logs" / f"{os.getpid()}-{i}.txt" for i in range(workers)]
    processes, failed = [], {}
    try:
        for log in logs:
            with open(log, "w") as file:
                processes.append(
                    subprocess.Popen(
                        arguments, env=environment, stdout=file, stderr=file
                    )
                )
        done = None
        while any(process.poll() is None for process in processes):
            before, done = done, len(runs.records_of(trainings, folder))
            if done != before or done < len(trainings):
                progress.update(done)
            for failure in _new_failures(processes, logs, failed):
                print(f"\n{failure}", flush=True)
            time.sleep(2)
        done = len(runs.records_of(trainings, folder))
        progress.update(done)
    finally:
        _end(processes)
    if done < len(trainings):
        _new_failures(processes, logs, failed)
        state = f"{len(trainings) - done} of {len(trainings)} trainings are open."
        advice = "Run the same command again to go on."
        raise RuntimeError(" ".join([state, *failed.values(), advice]))


def _new_failures(processes, logs, failed):
    """What to say of processes that have failed since; it is added to a dict by log."""
    new = {}
    for process, log in zip(processes, logs):
        if process.poll() and log not in failed:
            last = "".join(log.read_text().strip().splitlines()[-1:])
            new[log] = (
                f"A worker ended with status {process.returncode}: {last}. What it "
                f"printed is in {log}."
            )
    failed |= new
    return list(new.values())


def _end(processes, seconds=20):
    """Ends processes, so that they can give back what they have claimed."""
    latest = time.monotonic() + seconds
    while running := [p for p in processes if p.poll() is None]:
        for process in running:
            if time.monotonic() < latest:
                # Again and again, because TensorFlow's native code can drop it.
                process.send_signal(signal.SIGINT)
            else:
                process.kill()
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
