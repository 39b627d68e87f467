"""The recorded ratios, their tables on the layers' page, and what exceeds them."""

import json
import pathlib
import re

import keras_bn4

PAGE = pathlib.Path(keras_bn4.__file__).parent / "layers" / "README.md"
RECORDS = pathlib.Path(__file__).parent / "recorded.json"
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
# What stands in a cell, in this order.
RATIOS = {"training": ("whole", "16", "4"), "inference": ("0", "0.05")}
TITLES = {
    "training": "training: whole batch / ghosts of 16 / of 4",
    "inference": "inference: weight 0 / 0.05",
}
MARKS = "<!-- speed -->\n", "<!-- end of speed -->\n"
# A ratio that is this much larger than the recorded one is no noise.
TOLERANCE = 1.3


def tables(results):
    """Tables in Markdown, one of training and one of inference.

    Args:
        results: Dict of lists of comparisons, by backend.
    """
    lines = []
    for what, names in RATIOS.items():
        of = dict.fromkeys(
            each["of"]
            for comparisons in results.values()
            for each in comparisons
            if each["what"] == what
        )
        lines += [
            "",
            f"| {TITLES[what]} | {' | '.join(map(BACKENDS.get, results))} |",
            "|---" * (1 + len(results)) + "|",
        ]
        for row in of:
            cells = [_cell(results[backend], what, row, names) for backend in results]
            lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines[1:]) + "\n"


def _cell(comparisons, what, of, names):
    for each in comparisons:
        if (each["what"], each["of"]) == (what, of):
            found = (each["ratios"].get(name) for name in names)
            return " / ".join(f"{ratio[1]:.2f}" for ratio in found if ratio)
    return ""


def page(text, record):
    """The text of the page with the tables of a record in it."""
    results, quartiles = record["results"], []
    for comparisons in results.values():
        for each in comparisons:
            quartiles += [(high - low) / 2 for low, _, high in each["ratios"].values()]
    spread = sorted(quartiles)[len(quartiles) // 2]
    introduction = (
        f"{record['machine']}; medians of {record['rounds']} paired rounds, "
        f"{record['rounds'] // 3} of `fit`, half of them within ± {spread:.2f}:\n\n"
    )
    first, last = MARKS
    return re.sub(
        f"{first}.*{last}",
        lambda _: first + introduction + tables(results) + last,
        text,
        flags=re.S,
    )


def publish(record):
    """Records ratios, and writes them to the page."""
    RECORDS.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(page(PAGE.read_text(), record))


def slower(results, recorded):
    """Sentences about what takes longer than recorded, beyond noise.

    Args:
        results: Dict of lists of comparisons, by backend.
        recorded: Another one.
    """
    bounds = {
        (backend, each["what"], each["of"], name): TOLERANCE * ratio[1]
        for backend, comparisons in recorded.items()
        for each in comparisons
        for name, ratio in each["ratios"].items()
    }
    found = []
    for backend, comparisons in results.items():
        for each in comparisons:
            for name, (low, ratio, _) in each["ratios"].items():
                key = backend, each["what"], each["of"], name
                if low > bounds.get(key, float("inf")):
                    found.append(f"{', '.join(key)}: {ratio} > {bounds[key]:.2f}")
    return found
