"""`python -m keras_bn4.experiments`: the paper's figures and tables."""

import importlib.util
import pathlib
import re
import sys
import textwrap

from keras_bn4 import experiments
from keras_bn4.common import tables
from keras_bn4.common.arguments import check_integer
from keras_bn4.experiments import command
from keras_bn4.experiments.reproduction import RESULTS, SUPPLEMENTS, runs, summary

WIDTH = 80
MAINS = {supplement: name for name, supplement in SUPPLEMENTS.items()}
OTHERS = {
    name: text
    for name, text in re.findall(r"- `(\w+)`: (.*)", experiments.__doc__)
    if name not in ("machine", "command", "trained", "reproduction")
}
DESCRIPTION = (
    "Trains the networks of figures and tables of the paper and reports the results. "
    "Without names, lists them. Can be killed at any time; the same command resumes."
)
OPTIONS = {
    "names": {
        "nargs": "*",
        "metavar": "NAME",
        "help": "figures and tables, such as figure3",
    },
    "--scale": {
        "choices": ("small", "paper"),
        "default": "small",
        "help": "small networks and few images, or those of the paper (default: small)",
    },
    "--dataset": {
        "default": "cifar100",
        "help": "a name of tensorflow-datasets (default: cifar100)",
    },
    "--seeds": {
        "type": int,
        "help": "trainings of each row (default: by result, see the list)",
    },
    "--shard": {
        "metavar": "I/N",
        "default": "1/1",
        "help": "train the I-th of N parts of the list, one for each process (default: "
        "1/1); the processes may share the output folder",
    },
    "--recorded": {
        "action": "store_true",
        "help": "report the published records, and train nothing",
    },
    "--publish": {
        "action": "store_true",
        "help": "train nothing; add what is finished in the output folder to the "
        "published records, and write the page that is made of them",
    },
}


def main(arguments=None):
    """Runs the experiments that the arguments name, and returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in OTHERS:
        name = f"keras_bn4.experiments.{arguments[0]}"
        is_folder = importlib.util.find_spec(name).submodule_search_locations
        module = importlib.import_module(f"{name}.__main__" if is_folder else name)
        return module.main(arguments[1:])
    module, folder = "keras_bn4.experiments", "results/reproduce"
    return command.main(module, DESCRIPTION, run, OPTIONS, arguments, output_dir=folder)


def run(names, scale, dataset, seeds, shard, recorded, publish, data_dir, output_dir):
    """Trains what is missing, and prints and draws the results."""
    names = list(dict.fromkeys(MAINS.get(name, name) for name in names))
    _check(names, scale, seeds)
    shard = _parsed(shard)
    if publish:
        summary.publish(names, output_dir)
        return

    def trainings(name):
        return summary.trainings(name, scale, seeds, dataset)

    if not names:
        print(_listed(trainings, scale, output_dir))
        return
    if not recorded:
        # A training can be part of several results.
        every = list(dict.fromkeys(s for name in names for s in trainings(name)))
        runs.work(every, output_dir, data_dir=data_dir, shard=shard)
    folder = pathlib.Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        wanted = trainings(name)
        records = runs.records_of(wanted, None if recorded else folder)
        title = f"{_label(name)}: {RESULTS[name].TITLE}, scale {scale}"
        print(f"\n{textwrap.fill(title, WIDTH)}\n")
        if len(records) < len(wanted):
            print(f"Open: {len(wanted) - len(records)} of {len(wanted)} trainings.\n")
        if records:
            print(summary.report(name, records, scale, WIDTH))
            figure = folder / f"{name}-{scale}.png"
            summary.draw(name, records, figure)
            print(f"\nFigure: {figure}")


def _check(names, scale, seeds):
    for name in names:
        if name not in RESULTS:
            allowed = ", ".join([*RESULTS, *MAINS])
            raise ValueError(f"There is no result {name!r}. Allowed: {allowed}.")
        if scale not in RESULTS[name].SEEDS:
            scales = ", ".join(RESULTS[name].SEEDS)
            raise ValueError(
                f"{name} is not available at --scale {scale}. Allowed: {scales}. "
                "Leave it out, or choose another scale."
            )
    if seeds is not None:
        check_integer("seeds", seeds)


def _parsed(shard):
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ValueError(
            "--shard must be a part and the number of parts, such as 1/4 to 4/4. "
            f"Received: {shard!r}."
        )
    return part, parts


def _label(name):
    """The name of a result, with the one of the paper's supplement to it."""
    return f"{name} ({SUPPLEMENTS[name]})" if name in SUPPLEMENTS else name


def _listed(trainings, scale, folder):
    """The list of results with what is recorded, and of the other experiments."""
    lines = [["name", "trainings", "here", "published", "hours", "what"]]
    for name, result in RESULTS.items():
        if scale in result.SEEDS:
            part, hours = trainings(name), result.HOURS[scale]
            counts = (len(runs.records_of(part, where)) for where in (folder, None))
            line = [_label(name), *map(str, (len(part), *counts))]
            lines.append([*line, "?" if hours is None else f"{hours:g}", result.TITLE])
    note = (
        f"Scale {scale}. Here: trainings recorded in {folder}. Published: those that "
        "--recorded reports. Hours: all trainings with the seeds listed, on two "
        "processor cores. Some results share trainings."
    )
    if len(lines) <= len(RESULTS):
        note += " Results that are not available at this scale are not listed."
    return "\n".join(
        [
            _wrapped(lines),
            f"\n{textwrap.fill(note, WIDTH)}\n",
            "Others, each with `--help`:\n",
            _wrapped(list(map(list, OTHERS.items()))),
        ]
    )


def _wrapped(lines):
    """A table whose last column continues on the lines below."""
    rest = tables.text([line[:-1] for line in lines], left=1).splitlines()
    width = max(map(len, rest))
    return "\n".join(
        textwrap.fill(
            line[-1],
            WIDTH,
            initial_indent=f"{columns:{width}}  ",
            subsequent_indent=" " * (width + 2),
        )
        for columns, line in zip(rest, lines)
    )


if __name__ == "__main__":
    sys.exit(main())
