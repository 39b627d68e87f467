"""Writes the page of the reproduction, from its lab notes and the package's records.

Command: `python -m keras_bn4.experiments.reproduction.page`. It writes `README.md` and
the figures in `records`, prints what the README of the repository says on the claims,
takes some seconds, and trains nothing. It is run after records were added, or a lab
note or report was changed.
"""

import collections
import re
import textwrap

from keras_bn4.common import tables
from keras_bn4.common.figures import styled
from keras_bn4.experiments.reproduction import RECORDS, RESULTS, runs
from keras_bn4.experiments.reproduction.summary import LEAST_SEEDS

SCALE = "small"
WIDTH = 88
VERDICTS = ("reproduced", "not reproduced", "undecided")
PATH = RECORDS.parent / "README.md"
TITLE = """# The paper, reproduced

Figures, tables and claims of [Summers and Dinneen](https://arxiv.org/abs/1906.03548),
trained again at a small scale: a ResNet-8 with 16, 32 and 64 filters that overfits
2,500 images of CIFAR-100 in 60 epochs. [How to run
it](../README.md#reproduce-the-paper), and the paper's own scale, are on the page of
the experiments.

A result has a section below as soon as all trainings of one seed are recorded. Every
line on a claim says whether it was `reproduced` here (the whole 95 % interval of the
mean over seeds has the sign that the claim has in the paper: an improvement is above 0
for accuracies and below 0 for losses), `not reproduced` (it has the other sign), or is
`undecided` (it contains 0, or there are fewer than three seeds). A claim that something
makes no difference, or brings no gain, names the largest one that counts as none, and
the whole interval has to stay below it. The least effect to be seen is the true
difference that as many seeds with this spread would show in four of five cases. Ghost
sizes and example weights are chosen on validation data, results are on test data. A
guess among the 100 classes is right in 1 % of cases. B' is the ghost batch size, α the
example weight. Values are means ± standard deviations over n seeds, differences have 95
% intervals in brackets and are paired by seed, over the seeds that both have. Where
each seed has a best weight of its own, the tables have their range, such as 0-0.02.
"""


def records_by_name():
    """The records of each result that come with the package, a dict of lists."""
    return {
        name: runs.records_of(
            result.trainings(SCALE, result.SEEDS[SCALE]), RECORDS.parent
        )
        for name, result in RESULTS.items()
    }


def text():
    """The whole page."""
    found = records_by_name()
    reports = _reports(found)
    sections = [_section(name, found[name], reports[name]) for name in reports]
    return "\n".join([TITLE, _overview(found, reports), *sections])


def evidence():
    """The part of the repository's README on the paper's claims.

    Returns:
        A pair of strings in Markdown: a table of the claims that have a number in the
        paper and enough seeds here for a verdict, and a sentence on those that the
        paper shows without a number.
    """
    line = re.compile(r"\* (.*?): (.*)\. Paper: (.*); here: (.*), n = (\d+)([;.].*)")
    rows, others = [], collections.Counter()
    for name, report in _reports(records_by_name()).items():
        for found in line.finditer(report):
            verdict, claim, paper, here, n, rest = found.groups()
            if verdict != "not reproduced" and "lies outside" in rest:
                verdict += ", other size"
            if int(n) < LEAST_SEEDS:
                continue
            if re.search(r"\d", paper):
                rows.append([f"`{name}`", claim, paper, here, n, verdict])
            else:
                others[verdict] += 1
    header = ["result", "the paper's claim", "paper", "here", "n", "verdict"]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in others.items())
    sentence = f"Claims that the paper shows without a number: {counts}."
    return tables.markdown(header, rows), sentence


def draw():
    """Draws the figures of all results that have records."""
    for name, records in records_by_name().items():
        if _has_seed(records, name):
            styled(RESULTS[name].draw)(records, RECORDS / f"{name}.png")


def _has_seed(records, name):
    """Whether a result has all trainings of a seed, and so a section."""
    seeds = [record["settings"]["seed"] for record in records]
    one = RESULTS[name].trainings(SCALE, 1)
    return any(seeds.count(seed) == len(one) for seed in set(seeds))


def _reports(found):
    """The reports of all results that have a section, by name."""
    return {
        name: RESULTS[name].report(records)
        for name, records in found.items()
        if _has_seed(records, name)
    }


def _overview(found, reports):
    lines = []
    for name, records in found.items():
        result = RESULTS[name]
        count = len(result.trainings(SCALE, result.SEEDS[SCALE]))
        seeds = {record["settings"]["seed"] for record in records}
        line = [f"`{name}`", result.TITLE, f"{len(records)} of {count}"]
        line.append(f"{len(seeds)} of {result.SEEDS[SCALE]}")
        report = reports.get(name)
        line += [
            "" if report is None else str(report.count(f"* {verdict}: "))
            for verdict in VERDICTS
        ]
        lines.append(line)
    header = ["result", "what", "trainings recorded", "seeds started"]
    return tables.markdown([*header, *(f"claims {v}" for v in VERDICTS)], lines) + "\n"


def _section(name, records, report):
    result = RESULTS[name]
    title, _, note = result.__doc__.strip().partition("\n\n")
    report = "\n".join(map(_line, report.splitlines()))
    return "\n\n".join(
        [
            f"## {title.removesuffix('.')}",
            note,
            textwrap.fill(f"Obtained: {_conditions(records)}.", WIDTH),
            f"![{result.TITLE}](records/{name}.png)",
            f"{report}\n",
        ]
    )


def _line(line):
    """A line of a report: claims are a list already, tables become a block."""
    if line.startswith("* "):
        verdict, _, rest = line.removeprefix("* ").partition(":")
        line = f"* **{verdict}**:{rest}"
        return textwrap.fill(line, WIDTH, subsequent_indent="  ")
    return textwrap.indent(line, "    ")


def _conditions(records):
    """How long the trainings took, with what, and on what."""
    hours = sum(record["seconds"] for record in records) / 3600
    of_all = set()
    for record in records:
        versions, hardware = record["versions"], record["hardware"]
        backend = versions["backend"]
        device = ", ".join(hardware["gpus"])
        device = device or f"{hardware['cores']} cores of {hardware['processor']}"
        of_all.add(
            f"{backend} {versions[backend]}, Keras {versions['keras']}, {device}"
        )
    return (
        f"{len(records)} trainings, {hours:.1f} hours in all on a machine that did "
        f"other work as well; {'; '.join(sorted(of_all))}"
    )


if __name__ == "__main__":
    draw()
    PATH.write_text(text())
    print(*evidence(), sep="\n")
