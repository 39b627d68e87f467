"""Tables of the digits experiment (`measurement.py`), in 80 columns."""

import textwrap

import numpy as np

from keras_bn4.common import tables

WIDTH = 80
# What is compared: its name, the configurations with and without it, and whether the
# first one is taken at the best example weight.
COMPARISONS = (
    ("Example weight, clean images", "batch", "batch", True),
    ("Example weight, one-class batches", "one class", "one class", True),
    ("Ghosts of 8 in minibatches of 64", "ghosts of 8", "batch", False),
    ("Decay of γ and β", "decay", "batch", False),
    ("Group for batch, batches of 2", "2: group", "2: batch", False),
    ("Batch-group for batch, batches of 2", "2: batch-group", "2: batch", False),
    ("Batch-group for group, batches of 2", "2: batch-group", "2: group", False),
)


def table(results):
    """Makes plain-text tables of what `run` returned.

    Args:
        results: What `run` returned.

    Returns:
        String: the table of shifted images, and the paper in miniature, where
        differences that the seeds do not show are listed below the table.
    """
    return f"{shift_table(results)}\n\n{miniature_table(results)}"


def shift_accuracies(results):
    """Accuracies in percent by kind, averaged over severities, and of clean images.

    They are arrays of shape `(seeds, 2)`, at weight 0 and at the chosen one.
    """
    of_seeds = [result["shifted"] for result in results if "shifted" in result]
    found = {"clean": 100 * np.array([one["clean"] for one in of_seeds])}
    kinds = of_seeds[0]["accuracies"]
    for kind in kinds:
        values = [list(one["accuracies"][kind].values()) for one in of_seeds]
        found[kind] = 100 * np.mean(values, axis=1)
    found["all shifts"] = np.mean([found[kind] for kind in kinds], axis=0)
    return found


def shift_table(results):
    """Makes the table of accuracies on clean and shifted images."""
    found = shift_accuracies(results)
    weights = [r["shifted"]["weight"] for r in results if "shifted" in r]
    n = len(weights)
    lines = [["test accuracy, %", "weight 0", "chosen weight", "difference"]]
    kinds = [name for name in found if name not in ("clean", "all shifts")]
    kinds.sort(key=lambda kind: -np.subtract(*found[kind].mean(0)[::-1]))
    for name in ("clean", "all shifts", *kinds):
        before, after = found[name].T
        label = name if name in ("clean", "all shifts") else f"  {name}"
        line = [label.replace("_", " ")]
        line += [mean_and_spread(values, ".1f") for values in (before, after)]
        line.append(mean_and_spread(after - before, "+.1f"))
        lines.append(line)
    gains = found["all shifts"][:, 1] - found["all shifts"][:, 0]
    severities = next(iter(results[0]["shifted"]["accuracies"].values()))
    chosen = ", ".join(f"{weight:g}" for weight in weights)
    by_seed = ", ".join(f"{gain:+.1f}" for gain in gains)
    return "\n".join(
        [
            textwrap.fill(
                "Robust to shift: networks with Keras' batch normalization, trained on "
                "200 digits and converted. They were not trained for the shifts, and "
                "no shifted image was used to choose the weight.",
                WIDTH,
            ),
            f"\n{tables.text(lines, left=1)}\n",
            f"{_over(n)}, each shift at severities {', '.join(severities)}.",
            _filled(f"Chosen weights, on clean validation images: {chosen}."),
            _filled(f"Difference on all shifts, seed by seed: {by_seed}."),
        ]
    )


def _filled(text):
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")


def miniature_table(results):
    """Makes the table of the paper in miniature."""
    rows = {}
    for result in results:
        rows.setdefault(result["settings"]["configuration"], []).append(result)
    seen, unseen = [["", "metric", "without", "with", "difference"]], []
    n = min(map(len, rows.values()))
    for name, with_it, without, at_best in COMPARISONS:
        if with_it not in rows or without not in rows:
            continue
        for metric, form in (("loss", ".3f"), ("accuracy", ".1f")):
            after = _test(rows[with_it][:n], metric, at_best)
            before = _test(rows[without][:n], metric, False)
            change = mean_and_spread(after - before, f"+{form}")
            if is_shown(after - before):
                line = [name, "accuracy, %" if metric == "accuracy" else metric]
                line += [format(values.mean(), form) for values in (before, after)]
                seen.append([*line, change])
            else:
                unseen.append(f"  {name}: {metric} {change}")
    lines = [
        textwrap.fill(
            "The paper in miniature: results on test data, differences paired by seed. "
            f"Example weights are the best on validation data. {_over(n)}.",
            WIDTH,
        )
    ]
    if len(seen) > 1:
        lines.append(f"\n{tables.text(seen, left=2)}")
    if unseen:
        text = "\nNo difference shown by these seeds (the 95 % interval of the mean "
        lines += [f"{text}contains 0):", *unseen]
    return "\n".join(lines)


def _test(row, metric, best):
    """Test results by seed, at example weight 0 or at the best."""
    values = np.array([result["test"][metric][int(best)] for result in row])
    return 100 * values if metric == "accuracy" else values


def is_shown(differences):
    """Whether the 95 % interval of the mean of paired differences excludes 0."""
    # Imported here, because commands that don't need SciPy import this module as well.
    from scipy import stats

    n = len(differences)
    if n < 2:
        return False
    point = stats.t.ppf(0.975, n - 1)
    error = differences.std(ddof=1) / np.sqrt(n)
    return bool(abs(differences.mean()) > point * error)


def _over(n):
    seeds = f"n = {n} seed{'s' if n > 1 else ''}"
    return f"Mean ± standard deviation over {seeds}" if n > 1 else seeds


def mean_and_spread(values, form):
    """Formats the mean and the sample standard deviation of values."""
    mean = format(values.mean(), form)
    if len(values) == 1:
        return mean
    return f"{mean} ± {format(values.std(ddof=1), form.lstrip('+'))}"
