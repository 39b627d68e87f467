"""The table and the figure of the digits experiment (`training.py`)."""

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.figures import new_figure


def _rows(results):
    """Groups results by configuration, as lists over seeds, with baselines first."""
    rows = {}
    for result in results:
        settings = result["settings"]
        key = settings["minibatches"], settings["ghost_batch_size"]
        rows.setdefault(key, []).append(result)
    return rows


def _test(row, metric, best):
    """Lists test results by seed, at example weight 0 or at the best."""
    values = np.array([result["test"][metric][int(best)] for result in row])
    return 100 * values if metric == "accuracy" else values


def table(results):
    """Makes a plain-text table that compares every row with Keras' layer.

    Args:
        results: What `run` returned.

    Returns:
        String of aligned columns: mean and sample standard deviation over seeds, both
        of the results and of their differences, seed by seed, to Keras' layer at
        example weight 0.
    """
    rows = _rows(results)
    seeds = len(next(iter(rows.values())))
    header = ["minibatches, layer", "weight", "test loss", "difference"]
    lines = [[*header, "weight", "accuracy, %", "difference"]]
    for (minibatches, size), row in rows.items():
        if size is None:
            lines.append([minibatches])
        for best in (False, True):
            name = "Keras" if size is None else f"ghosts of {size}"
            line = ["" if best else f"  {name}"]
            for metric, digits in (("loss", 3), ("accuracy", 1)):
                values = _test(row, metric, best)
                changes = values - _test(rows[minibatches, None], metric, False)
                line.append(
                    tables.span([r["best"][metric] if best else 0 for r in row])
                )
                line.append(_mean_and_spread(values, f".{digits}f"))
                is_baseline = size is None and not best
                line.append(
                    "" if is_baseline else _mean_and_spread(changes, f"+.{digits}f")
                )
            lines.append(line)
    n = f"n = {seeds} seed{'s' if seeds > 1 else ''}"
    what = f"Mean ± standard deviation over {n}" if seeds > 1 else n
    note = [
        f"{what}. Differences are to Keras' layer at weight 0, paired by seed.",
        "The weight is the example weight: 0, and then the best on validation data, by "
        "seed and metric.",
    ]
    return "\n".join([tables.text(lines, left=1), "", *note])


def _mean_and_spread(values, form):
    mean = format(values.mean(), form)
    if len(values) == 1:
        return mean
    return f"{mean} ± {format(values.std(ddof=1), form.lstrip('+'))}"


def figure(results, path):
    """Draws what `run` returned and writes it as a PNG file.

    Args:
        results: What `run` returned.
        path: Path of the file to write.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    drawing = new_figure(9.6, 7.2, dpi=160)
    # Imported after `new_figure`, which raises the error if matplotlib is missing.
    from matplotlib import colormaps

    panels = drawing.subplots(2, 2)
    drawing.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    rows = _rows(results)
    shuffled = {size: row for (kind, size), row in rows.items() if kind == "shuffled"}
    one_class = {size: row for (kind, size), row in rows.items() if kind != "shuffled"}
    _draw_sizes(panels[0, 0], shuffled, "loss")
    _draw_sizes(panels[0, 1], shuffled, "accuracy")
    # Dark to light along one color map: readers with any color vision, and of prints
    # without color, can see the order.
    sizes = list(dict.fromkeys([*shuffled, *one_class]))
    shades = colormaps["viridis"](np.linspace(0, 0.85, len(sizes)))
    colors = dict(zip(sizes, shades))
    _draw_weights(panels[1, 0], shuffled, "loss", colors)
    _draw_weights(panels[1, 1], one_class, "accuracy", colors)
    titles = (
        "Ghosts, test loss",
        "Ghosts, test accuracy",
        "Example weighing, shuffled minibatches",
        "Example weighing, minibatches of one class",
    )
    for panel, title, letter, pad in zip(panels.flat, titles, "abcd", [24, 24, 8, 8]):
        panel.set_title(
            f"{letter}  {title}", loc="left", fontsize=11, weight="bold", pad=pad
        )
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
    seeds = len(next(iter(rows.values())))
    drawing.supxlabel(
        f"a, b: mean and standard deviation of differences paired by seed, dots are "
        f"seeds;  c, d: means, validation data;  n = {seeds}",
        fontsize=9,
        color="0.35",
    )
    drawing.savefig(path)


def _draw_sizes(panel, rows, metric):
    base = _test(rows[None], metric, False)
    for best, color, marker, offset in (
        (False, "#0072B2", "o", -0.1),
        (True, "#D55E00", "s", 0.1),
    ):
        changes = np.array([_test(row, metric, best) - base for row in rows.values()])
        at = np.arange(len(rows)) + offset
        spread = changes.std(axis=1, ddof=1) if len(base) > 1 else None
        for seed in changes.T:
            panel.plot(at + offset / 2, seed, ".", color=color, alpha=0.45, mew=0)
        panel.errorbar(
            at,
            changes.mean(axis=1),
            spread,
            color=color,
            marker=marker,
            markersize=6,
            linewidth=1.6,
            elinewidth=1,
            capsize=2.5,
            label="best example weight" if best else "example weight 0",
        )
    panel.axhline(0, color="0.55", linewidth=1, zorder=0)
    panel.set_xticks(
        range(len(rows)), ["Keras" if size is None else size for size in rows]
    )
    panel.set_xlabel("ghost batch size")
    unit = ", points" if metric == "accuracy" else ""
    panel.set_ylabel(f"difference to Keras{unit}")
    panel.legend(
        frameon=False,
        fontsize=9,
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.98),
        columnspacing=1.2,
        handletextpad=0.5,
    )


def _draw_weights(panel, rows, metric, colors):
    weights = [
        row["example_weight"] for row in next(iter(rows.values()))[0]["validation"]
    ]
    scale = 100 if metric == "accuracy" else 1
    choose = np.argmax if metric == "accuracy" else np.argmin
    starts = []
    for size, row in rows.items():
        curves = [[scale * r[metric] for r in result["validation"]] for result in row]
        mean = np.mean(curves, axis=0)
        starts.append(mean[0])
        color = colors[size]
        name = "Keras" if size is None else f"ghosts of {size}"
        panel.plot(weights, mean, color=color, linewidth=1.8, label=name)
        best = choose(mean)
        panel.plot(weights[best], mean[best], "o", color=color, markersize=6)
    if metric == "loss":
        low = min(line.get_ydata().min() for line in panel.lines)
        room = 2 * (max(starts) - low)
        panel.set_ylim(low - 0.1 * room, low + 1.1 * room)
    panel.set_xscale(
        "function", functions=(lambda w: np.sqrt(np.maximum(w, 0)), np.square)
    )
    panel.set_xlim(0, 1)
    ticks = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xlabel("example weight (square-root scale)")
    unit = ", %" if metric == "accuracy" else ""
    panel.set_ylabel(f"validation {metric}{unit}")
    panel.legend(frameon=False, fontsize=9)
