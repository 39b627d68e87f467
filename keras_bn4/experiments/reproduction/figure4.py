"""Figures 4 and 9: example weighing of networks that were trained with ghosts.

Question: Is the gain from example weighing larger, and at larger weights, the smaller
the ghosts of the training were? Does it add to the gain from ghosts?

    python -m keras_bn4.experiments figure4

Setting: the trainings of Figure 3, and no others, evaluated at all example weights.
Results are on test data, at the weight that is best on validation data, for accuracy
and loss separately. The paper shows validation data. Its Figure 9 has a larger range of
weights, which the figure here includes.

Expected: The best weight and its gain grow as ghosts shrink. The best weights for
accuracy and loss can differ greatly.

Seen, at the small scale: The best weight grows. The gain clearly grows only below
ghosts of 8. From 128 to 8 the gain in accuracy changes by less than half a point, and
that in loss shrinks, so the smallest ghosts decide the lines fitted below.
"""

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.figures import new_figure
from keras_bn4.experiments.reproduction import figure3
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.rows import (
    FORMS,
    NAMES,
    SIGNS,
    at_best,
    at_zero,
    best_weight,
    curve,
    gains,
    mean_and_spread,
    slopes,
    weight_range,
)

TITLE = "example weighing together with ghosts"
SEEDS, HOURS = figure3.SEEDS, figure3.HOURS
trainings, row_of = figure3.trainings, figure3.row_of
LABELS = {"accuracy": "test accuracy, %", "cross_entropy": "test loss"}


def table(rows):
    lines = [["B'", "n"]]
    for metric, label in LABELS.items():
        lines[0] += [f"best α, {NAMES[metric]}", label, "change from α = 0"]
    for size, row in rows.items():
        line = [str(size), str(len(row))]
        for metric, form in FORMS.items():
            line.append(weight_range(row, metric))
            line.append(mean_and_spread(at_best(row, metric), form))
            line.append(change(gains(row, metric), None, form))
        lines.append(line)
    return tables.folded(lines, keys=2)


def claims(rows):
    best, whole = figure3.best_ghosts(rows), max(rows)
    chosen = f"ghosts of {best}, which are best on validation data,"
    found = []
    for metric, form in FORMS.items():
        name, sign = NAMES[metric], SIGNS[metric]
        growing = slopes(rows, lambda row, metric=metric: gains(row, metric))
        weights = slopes(rows, lambda row, metric=metric: _weights(row, metric))
        both = at_best(rows[best], metric), at_zero(rows[whole], metric)
        for text, values, its_sign, its_form in (
            (
                f"weighing improves the {name} more the smaller the ghosts (change of "
                "the gain per doubling of B')",
                *((growing,), -sign, form),
            ),
            (
                f"the best weight for the {name} is larger the smaller the ghosts "
                "(change per doubling of B')",
                *((weights,), -1, ".3f"),
            ),
            (
                f"with {chosen} weighing improves the {name}",
                *((gains(rows[best], metric),), sign, form),
            ),
            (
                f"{chosen} and weighed, have a better {name} than batch normalization "
                "without either",
                *(both, sign, form),
            ),
        ):
            found.append(claim(text, None, *values, sign=its_sign, form=its_form))
    return found


def _weights(row, metric):
    return {seed: best_weight(record, metric) for seed, record in row.items()}


def plot(rows):
    """Draws loss and accuracy over the example weight, for each ghost batch size."""
    return plot_weights(rows, lambda size: f"B' = {size}")


def plot_weights(rows, name_of_row, base=0, style_of_row=lambda row: {}):
    """Draws test accuracy and loss over the example weight, a line for each row.

    Args:
        rows: Dict of rows by any key.
        name_of_row: Function of a key that returns its name in the legend.
        base: Integer, the place of the example weight to compare with. Losses are drawn
            on the scale of their gains over it.
        style_of_row: Function of a key that returns keywords of its line.
    """
    figure = new_figure(11.2, 3.8)
    # Imported after `new_figure`, which raises the error if matplotlib is missing.
    from matplotlib import colormaps

    colors = colormaps["viridis"](np.linspace(0, 0.85, len(rows)))
    styles = {
        key: {"color": color, **style_of_row(key)} for key, color in zip(rows, colors)
    }
    panels = figure.subplots(1, 2)
    for panel, (metric, label) in zip(panels, LABELS.items()):
        lowest, highest, worst = [], [], []
        for key, row in rows.items():
            records = list(row.values())
            weights = records[0]["settings"]["example_weights"]
            curves = np.array([curve(r, metric, "test") for r in records])
            mean, spread = curves.mean(0), curves.std(0, ddof=len(curves) > 1)
            style = styles[key]
            panel.plot(weights, mean, marker=".", label=name_of_row(key), **style)
            panel.fill_between(
                *(weights, mean - spread, mean + spread),
                color=style["color"],
                alpha=0.2 if len(rows) < 7 else 0.1,
                lw=0,
            )
            # A training that came to nothing has losses that are no numbers.
            if not np.isnan(mean).all():
                lowest.append(np.nanmin(mean))
                highest.append(np.nan_to_num(mean[base]))
                worst.append(np.nanmax(mean))
        if metric == "cross_entropy" and lowest:
            # Large weights can have losses that hide all others. Where the weight
            # hardly lowers the loss, a tenth of the loss is shown.
            height = max(2 * (max(highest) - min(lowest)), 0.1 * min(lowest))
            top = min(lowest) + 1.2 * height
            if max(worst) > top:
                panel.set_ylim(min(lowest) - 0.1 * height, top)
                label += f"; those above {top:.1f} are left out"
        panel.set_xscale(
            "function", functions=(lambda w: np.sqrt(np.maximum(w, 0)), np.square)
        )
        ticks = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1]
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_xlim(0, 1)
        panel.set_xlabel("example weight α (square-root scale)")
        panel.set_ylabel(label)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        title=f"mean of {_seeds(rows)},\nand standard deviation",
        loc="outside right center",
        fontsize=9 if len(rows) < 16 else 7,
    )
    return figure


def _seeds(rows):
    """How many seeds the rows have, in words."""
    counts = {len(row) for row in rows.values()}
    if counts == {1}:
        return "one seed"
    return f"{tables.value_range(sorted(counts))} seeds"
