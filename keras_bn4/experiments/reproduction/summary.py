"""Reports on the results, and the page of all of them.

The page is `README.md` in this folder. It is written from the lab notes and the
published records; do not edit it.
"""

import collections
import pathlib
import textwrap

from keras_bn4.common import tables
from keras_bn4.common.figures import styled
from keras_bn4.common.files import written_whole
from keras_bn4.experiments.reproduction import RESULTS, runs
from keras_bn4.experiments.reproduction.differences import (
    LEAST_SEEDS,
    NOT_REPRODUCED,
    VERDICTS,
)
from keras_bn4.experiments.reproduction.rows import rows_of
from keras_bn4.experiments.reproduction.settings import Settings

SCALE = "small"
WIDTH = 88
FOLDER = pathlib.Path(__file__).parent
INTRODUCTION = """# The paper, reproduced

Figures, tables and claims of [Summers and Dinneen](https://arxiv.org/abs/1906.03548),
reproduced at a small scale: a ResNet-8 with 16, 32 and 64 filters that overfits 2,500
images of CIFAR-100 in 60 epochs. [How to run it](../README.md#reproduce-the-paper), and
the paper's own scale, are on the page of the experiments.

A result has a section below once all trainings of one seed are recorded. Each claim is
`reproduced` (the whole 95 % interval of the mean over seeds has the sign of the paper's
claim: an improvement is above 0 for accuracies and below 0 for losses), `not
reproduced` (it has the other sign), or `undecided` (it contains 0, or there are fewer
than three seeds). A claim that something makes no difference, or brings no gain, states
the largest difference that counts as none, and the whole interval has to stay below it.
The minimum detectable effect is the true difference that as many seeds with this spread
would show in four of five cases. Ghost sizes and example weights are chosen on
validation data, results are on test data. Chance is 1 % for the 100 classes. B' is the
ghost batch size, α the example weight. Values are means ± standard deviations over n
seeds. Differences have 95 % intervals in brackets and are paired by seed, over the
seeds that both rows have. Where the best weight differs between seeds, tables have its
range, such as 0-0.02.
"""
NUMBERED = """\
**The paper's claims with a number, and at least three seeds here.** Numbers are
differences of test accuracy in points unless the claim says otherwise. *Weighing* is an
example weight above 0. *Other size* means that the paper's number lies outside the
interval, which is to be expected for such a small network. `table1` has 10,000 images
in minibatches of four classes, from which this network learns little (9.9 %), so gains
as large as the paper's are hardly possible. `figure5b` has 500 images of 50 classes,
after training on the 50 others.
"""


def trainings(name, scale=SCALE, seeds=None, dataset="cifar100"):
    """Lists the settings of all trainings of a result, seed by seed."""
    result = RESULTS[name]
    return [
        settings
        for seed in range(seeds or result.SEEDS[scale])
        for settings in result.trainings(scale, seed, dataset)
    ]


def table_and_claims(name, records, scale=SCALE):
    """The table of a result, a string, and its list of `Claim` if no row is missing."""
    result = RESULTS[name]
    rows = rows_of(records, result.row_of)
    needed = {result.row_of(settings) for settings in result.trainings(scale, 0)}
    return result.table(rows), result.claims(rows) if needed <= set(rows) else []


def report(name, records, scale=SCALE, width=80):
    """The table and the claims of a result so far, as plain text."""
    table, claims = table_and_claims(name, records, scale)
    lines = [
        textwrap.fill(f"* {c.verdict}: {c}", width, subsequent_indent="  ")
        for c in claims
    ]
    return "\n".join([table, "", *(lines or ["Claims need all rows."])])


def draw(name, records, path):
    """Draws the picture of a result into a file."""
    result = RESULTS[name]
    styled(result.plot)(rows_of(records, result.row_of)).savefig(path)


def publish(names, folder):
    """Adds the finished trainings of results to the published records.

    The records of each result are packed into one file, `records/<result>.json`. A
    training that several results share is in the file of the first of them.

    Args:
        names: Names of results; without any, the page is only made again.
        folder: Path of the folder of results with a file for each training.
    """
    found = dict(runs.published())
    for name in names:
        for record in runs.records_of(trainings(name), folder):
            found[Settings.from_record(record["settings"]).name] = record
    files = collections.defaultdict(list)
    for record in found.values():
        files[_first_result(Settings.from_record(record["settings"]))].append(record)
    for name, records in files.items():
        text = ",\n".join(map(runs.compact, sorted(records, key=_name)))
        with written_whole(FOLDER / "records" / f"{name}.json") as file:
            file.write_text(f"[\n{text}\n]\n")
    runs.published.cache_clear()
    for name in _with_section():
        draw(name, published_records(name), FOLDER / "records" / f"{name}.png")
    with written_whole(FOLDER / "README.md") as file:
        file.write_text(page())


def _name(record):
    return Settings.from_record(record["settings"]).name


def _first_result(settings):
    for name, result in RESULTS.items():
        for scale in result.SEEDS:
            if settings in result.trainings(scale, settings.seed, settings.dataset):
                return name
    raise ValueError(f"No result has the training {settings.name}.")


def published_records(name):
    """The published records of a result, at the small scale."""
    return runs.records_of(trainings(name), None)


def page():
    """The whole page."""
    sections = [_section(name) for name in _with_section()]
    table, sentence = evidence()
    numbered = f"{NUMBERED}\n{table.strip()}\n\n{sentence}\n"
    return "\n".join([INTRODUCTION, numbered, _overview(), *sections])


def _with_section():
    """The results with all trainings of a seed."""
    for name, result in RESULTS.items():
        seeds = [record["settings"]["seed"] for record in published_records(name)]
        if len(result.trainings(SCALE, 0)) in map(seeds.count, seeds):
            yield name


def evidence():
    """The verdicts: a table of claims with a number, and a sentence on the others."""
    rows, others = [], collections.Counter()
    for name in _with_section():
        for claim in table_and_claims(name, published_records(name))[1]:
            found, verdict = claim.difference, claim.verdict
            if claim.is_other_size and verdict != NOT_REPRODUCED:
                verdict += ", other size"
            if found.n < LEAST_SEEDS:
                continue
            if any(map(str.isdigit, claim.paper)):
                here = found.text(claim.form)
                line = [f"`{name}`", claim.text, claim.paper, here, str(found.n)]
                rows.append([*line, verdict])
            else:
                others[verdict] += 1
    header = ["result", "the paper's claim", "paper", "here", "n", "verdict"]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in others.items())
    sentence = f"Claims that the paper shows without a number: {counts}."
    return tables.markdown(header, rows), sentence


def _overview():
    lines, with_section = [], set(_with_section())
    for name, result in RESULTS.items():
        records = published_records(name)
        seeds = {record["settings"]["seed"] for record in records}
        line = [f"`{name}`", result.TITLE, f"{len(records)} of {len(trainings(name))}"]
        line.append(f"{len(seeds)} of {result.SEEDS[SCALE]}")
        if name in with_section:
            claims = table_and_claims(name, records)[1]
            verdicts = [claim.verdict for claim in claims]
            line += [str(verdicts.count(verdict)) for verdict in VERDICTS]
        else:
            line += [""] * len(VERDICTS)
        lines.append(line)
    header = ["result", "what", "trainings recorded", "seeds started"]
    return tables.markdown([*header, *(f"claims {v}" for v in VERDICTS)], lines) + "\n"


def _section(name):
    result, records = RESULTS[name], published_records(name)
    title, _, note = result.__doc__.strip().partition("\n\n")
    table, claims = table_and_claims(name, records)
    lines = [f"* **{claim.verdict}**: {claim}" for claim in claims]
    return "\n\n".join(
        [
            f"## {title.removesuffix('.')}",
            note,
            textwrap.fill(f"Obtained: {_conditions(records)}.", WIDTH),
            f"![{result.TITLE}](records/{name}.png)",
            textwrap.indent(table, "    "),
            "\n".join(textwrap.fill(x, WIDTH, subsequent_indent="  ") for x in lines)
            + "\n",
        ]
    )


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
