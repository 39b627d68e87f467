"""What is made of the results on photographs: records, tables, figure and page."""

import json
import pathlib
import shutil
import textwrap

from keras_bn4 import shift
from keras_bn4.common import tables
from keras_bn4.common.figures import new_figure, styled
from keras_bn4.common.files import written_whole
from keras_bn4.common.records import read
from keras_bn4.experiments.imagenet import measurement
from keras_bn4.shift import ShiftEvaluation
from keras_bn4.shift.evaluation_plot import draw, label

FOLDER = pathlib.Path(__file__).parent
RECORDS = FOLDER / "records"
TITLES = {"mobilenet_0.75": "MobileNet .75", "efficientnet_lite0": "EfficientNet-Lite0"}
COLUMNS = ("schedule", "example_weight", "loss", "accuracy", "accuracy_difference")


class Result:
    """What was recorded of a network.

    Attributes:
        chosen: List of rows of the sweep on the half that chose, one a schedule.
        sure: Dict by schedule of sentences on how sure the choice is.
        clean: `ShiftEvaluation` of all clean images that were not chosen on.
        shifts: `ShiftEvaluation` of clean and corrupted images.
    """

    def __init__(self, record):
        self.chosen = record["chosen"]
        self.sure = record["sure"]
        self.clean = ShiftEvaluation(record["clean"])
        self.shifts = ShiftEvaluation(record["shifts"])
        self.losses = record["losses"]


def publish(output_dir):
    """Adds finished networks to the published records, and writes page and figure."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    finished = []
    for name in measurement.NETWORKS:
        record = _collected(name, pathlib.Path(output_dir))
        if record is None:
            print(f"{TITLES[name]} is not finished.")
            continue
        with written_whole(RECORDS / f"{name}.json") as unfinished:
            unfinished.write_text(json.dumps(record, separators=(",", ":")))
        finished.append(name)
    results = published()
    if results:
        figure(results).savefig(RECORDS / "imagenet.png")
    with written_whole(FOLDER / "README.md") as unfinished:
        unfinished.write_text(page(results))
    if finished == list(measurement.NETWORKS):
        shutil.rmtree(pathlib.Path(output_dir, "shifted"), ignore_errors=True)


def published():
    """Dict by network of the `Result` that is published."""
    paths = {name: RECORDS / f"{name}.json" for name in measurement.NETWORKS}
    return {
        name: Result(json.loads(path.read_text()))
        for name, path in paths.items()
        if path.exists()
    }


def _collected(name, folder):
    """The records of a finished network in one, with accuracy by image; or `None`."""
    names = [*shift.kinds(measurement.SIZE), *(x.__name__ for x in measurement.MISHAPS)]
    count = 1 + len(measurement.SEVERITIES) * len(shift.kinds(measurement.SIZE))
    count += len(measurement.MISHAPS)
    path = folder / f"{name}-shifts.json"
    if not path.exists() or len(cells := read(path)) < count:
        return None
    cells.sort(key=lambda cell: ["clean", *names].index(cell["settings"]["kind"]))
    (choice,), clean = (read(folder / f"{name}-{x}.json") for x in ("choice", "clean"))
    losses = [
        {**{k: row[k] for k in COLUMNS[:2]}, "recalibrated_on": row["recalibrated_on"]}
        | {"clean": before["loss"], "shifted": row["loss"]}
        for before, row in zip(
            ShiftEvaluation(clean).rows,
            ShiftEvaluation(cells).mean(severities=measurement.SEVERITIES),
        )
    ]
    for cell in (*clean, *cells):
        cell["values"] = {"accuracy": cell["values"]["accuracy"]}
    return {
        "chosen": list(choice["chosen"].values()),
        "sure": choice["sure"],
        "chosen_on": [{k: row[k] for k in COLUMNS} for row in choice["rows"]],
        "losses": losses,
        "clean": clean,
        "shifts": cells,
    }


def headline(results):
    """Lines of the table of results in the README of the repository."""
    for name, result in results.items():
        clean = result.clean.mean(["clean"])
        shifted = result.shifts.mean(severities=measurement.SEVERITIES)
        for i, row in enumerate(shifted[1:], 1):
            way = f"α {row['example_weight']:g}, {row['schedule']}"
            if row["recalibrated_on"]:
                way = f"recalibrated on {row['recalibrated_on']}"
            yield [
                f"{TITLES[name]}, {way}",
                f"{result.shifts.count}",
                f"{100 * shifted[0]['accuracy']:.1f}",
                f"{100 * row['accuracy']:.1f} ({_change(row)})",
                f"{_change(clean[i])} (n = {result.clean.count})",
            ]


def gains(result):
    """Says on which kinds each weight gains most, and on which it does not help."""
    shifts, sentences = result.shifts, []
    for i, setting in enumerate(shifts.settings[1:], 1):
        rows = {kind.replace("_", " "): shifts.mean([kind])[i] for kind in shifts.kinds}
        order = sorted(rows, key=lambda kind: -rows[kind]["accuracy_difference"])
        most = [f"{kind} ({_change(rows[kind])})" for kind in order[:3]]
        least = [kind for kind in order if rows[kind]["accuracy_difference"] <= 0]
        least = [f"{kind} ({_change(rows[kind])})" for kind in least]
        sentence = f"{label(setting).capitalize()} gains most on {', '.join(most)}"
        if least:
            sentence += f"; it does not help on {', '.join(least)}"
        sentences.append(textwrap.fill(f"{sentence}.", 80))
    return "\n\n".join(sentences)


HEADER = ["network", "n", "shifted", "shifted, adapted", "clean, change"]


def _change(row):
    change = row["accuracy_difference"]
    half = row["accuracy_difference_upper"] - change
    return f"{100 * change:+.1f} ± {100 * half:.1f}"


def text(results):
    """Plain-text tables of all networks in 80 columns."""
    parts = [tables.folded([HEADER, *headline(results)], left=1)] if results else []
    for name, result in results.items():
        title = f"{TITLES[name]}, n = {result.shifts.count}\n\n{gains(result)}"
        parts.append(f"{title}\n\n{result.shifts.table('accuracy')}")
    return "\n\n".join(parts)


@styled
def figure(results):
    """Draws accuracy by severity and its change by kind, a row for each network."""
    drawing = new_figure(9, 5.6 * len(results))
    parts = drawing.subfigures(len(results), 1, squeeze=False).ravel()
    for part, (name, result) in zip(parts, results.items()):
        draw(result.shifts, "accuracy", part, f"{TITLES[name]}: ")
    return drawing


def page(results):
    """The page of this experiment, from its lab note and the published records."""
    note, _, command = measurement.__doc__.partition("\n\nCommand: ")
    parts = ["# ImageNet networks on corrupted photographs", note]
    if results:
        parts += [
            "Accuracy in %, averaged over the sixteen kinds at severities 1, 3 and 5, "
            "with paired\n95 % intervals over images:",
            tables.markdown(HEADER, list(headline(results))),
            "![Accuracy by severity, and its change by kind](records/imagenet.png)",
        ]
    else:
        parts.append("No network is finished yet.")
    for name, result in results.items():
        lines = [f"## {TITLES[name]}", "On the half that chose:"]
        lines += [f"* {schedule}: {text}" for schedule, text in result.sure.items()]
        losses = [
            f"{label(x)}: {x['clean']:.3f} clean, {x['shifted']:.3f} shifted"
            for x in result.losses
        ]
        lines += [textwrap.fill("Loss: " + "; ".join(losses) + ".", 88), gains(result)]
        table = result.shifts.table("accuracy").replace("\n", "\n    ")
        parts += ["\n\n".join(lines), f"    {table}"]
    parts += ["## Run it", f"Command: {command}".strip()]
    return "\n\n".join(parts) + "\n"
