"""`python -m keras_bn4.experiments`: makes the paper's figures and tables anew."""

import pathlib
import re
import sys
import textwrap

from keras_bn4 import experiments
from keras_bn4.commands.inputs import add_data_dir, add_output_dir, check_folder
from keras_bn4.commands.main import Parser, finish
from keras_bn4.common import tables
from keras_bn4.common.arguments import check_integer
from keras_bn4.experiments.reproduction import RESULTS, SUPPLEMENTS, runs, summary

WIDTH = 80
MAINS = {supplement: name for name, supplement in SUPPLEMENTS.items()}


def main(arguments=None):
    """Runs the experiments that the arguments name, and returns the exit status."""
    parser = Parser(
        prog="python -m keras_bn4.experiments",
        description="Trains the networks of figures and tables of the paper and "
        "reports what they show. Without names, lists them. It can be killed at any "
        "time and goes on with the same command.",
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
        "--shard",
        metavar="I/N",
        default="1/1",
        help="train the I-th of N parts of the list, one for each process (default: "
        "1/1); the processes may share the output folder",
    )
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="report the published records, and train nothing",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="train nothing; add what is finished in the output folder to the "
        "published records, and write the page that is made of them",
    )
    parser.set_defaults(command=run)
    return finish(parser.parse_args, arguments)


def run(options):
    """Trains what is missing, and prints and draws the results."""
    names = list(dict.fromkeys(MAINS.get(name, name) for name in options.names))
    shard = _check(options, names)
    folder = pathlib.Path(options.output_dir)
    if options.publish:
        summary.publish(names, folder)
        return
    if not names:
        print(_listed(options))
        return
    trainings = {name: _trainings(name, options) for name in names}
    if not options.recorded:
        # A training can be part of several results.
        every = list(dict.fromkeys(s for part in trainings.values() for s in part))
        runs.work(every, folder, data_dir=options.data_dir, shard=shard)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in trainings.items():
        records = runs.records_of(part, None if options.recorded else folder)
        title = f"{_label(name)}: {RESULTS[name].TITLE}, scale {options.scale}"
        print(f"\n{textwrap.fill(title, WIDTH)}\n")
        if len(records) < len(part):
            print(f"Open: {len(part) - len(records)} of {len(part)} trainings.\n")
        if records:
            print(summary.report(name, records, options.scale, WIDTH))
            figure = folder / f"{name}-{options.scale}.png"
            summary.draw(name, records, figure)
            print(f"\nFigure: {figure}")


def _check(options, names):
    """Raises `ValueError` for what can't be done, and returns the shard."""
    for name in names:
        if name not in RESULTS:
            allowed = ", ".join([*RESULTS, *MAINS])
            raise ValueError(f"There is no result {name!r}. Allowed: {allowed}.")
        if options.scale not in RESULTS[name].SEEDS:
            scales = ", ".join(RESULTS[name].SEEDS)
            raise ValueError(
                f"{name} can't be made at --scale {options.scale}. Allowed: {scales}. "
                "Leave it out, or choose another scale."
            )
    if options.seeds is not None:
        check_integer("seeds", options.seeds)
    check_folder(options.output_dir)
    found = re.fullmatch(r"(\d+)/(\d+)", options.shard)
    shard = tuple(map(int, found.groups())) if found else (0, 0)
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(
            "--shard must be a part and the number of parts, such as 1/4 to 4/4. "
            f"Received: {options.shard!r}."
        )
    return shard


def _trainings(name, options):
    return summary.trainings(name, options.scale, options.seeds, options.dataset)


def _label(name):
    """The name of a result, with the one of the paper's supplement to it."""
    return f"{name} ({SUPPLEMENTS[name]})" if name in SUPPLEMENTS else name


def _listed(options):
    """The list of results with what is recorded, and of the other experiments."""
    lines = [["name", "trainings", "here", "published", "hours", "what"]]
    for name, result in RESULTS.items():
        if options.scale not in result.SEEDS:
            continue
        part = _trainings(name, options)
        line = [_label(name), str(len(part))]
        for folder in (options.output_dir, None):
            line.append(str(len(runs.records_of(part, folder))))
        hours = result.HOURS[options.scale]
        lines.append([*line, "?" if hours is None else f"{hours:g}", result.TITLE])
    note = (
        f"Scale {options.scale}. Here: trainings that are recorded in "
        f"{options.output_dir}. Published: those that --recorded reports. Hours: all "
        "trainings with the seeds listed, on two processor cores. Some results share "
        "trainings."
    )
    if len(lines) <= len(RESULTS):
        note += " What can't be made at this scale isn't listed."
    others = re.findall(r"- `(\w+)`: (.*)", experiments.__doc__)
    others = [[name, text] for name, text in others if name not in NO_EXPERIMENTS]
    return "\n".join(
        [
            _wrapped(lines),
            f"\n{textwrap.fill(note, WIDTH)}\n",
            "Others, by `python -m keras_bn4.experiments.NAME`:\n",
            _wrapped(others),
        ]
    )


def _wrapped(lines):
    """A table whose last column goes on in lines below."""
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


NO_EXPERIMENTS = ("machine", "reproduction")

if __name__ == "__main__":
    sys.exit(main())
