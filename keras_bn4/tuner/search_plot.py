"""Draws the trials of a search: the objective over the ghost batch size."""

from keras_bn4.common.figures import BLACK, BLUE, GRAY, VERMILION, new_figure, styled

# How far from the tick of their size the trials are drawn.
REACH = 0.28


@styled
def draw(results, ax=None):
    """Draws all trials, one at least, as `SearchResults.plot` says."""
    sizes = sorted({_size(row, results) for row in results.rows})
    panel = ax or new_figure(max(6.4, 0.9 * len(sizes) + 1), 4.4).subplots()
    objective = results.objective
    _draw_keras_layer(panel, results)
    places = _places(results, sizes)
    for name, color, shift, label in (
        (f"{objective}_at_0", BLUE, -0.03, "example weight 0"),
        (objective, VERMILION, 0.03, "best example weight"),
    ):
        shifted = [place + shift for place in places]
        _draw_trials(panel, results.rows, shifted, name, color)
        _join_best(panel, results, shifted, name, color, label)
    _explain_markers(panel, results.rows)
    panel.set_xticks(
        range(len(sizes)),
        [f"{s}\n(whole batch)" if s == results.batch_size else f"{s}" for s in sizes],
    )
    panel.set_xlim(-0.5, len(sizes) - 0.5)
    panel.set_xlabel("ghost batch size B'")
    panel.set_ylabel(objective)
    title = f"{len(results.rows)} trial{'s' if len(results.rows) > 1 else ''}, "
    title += "less is better" if results.direction == "min" else "more is better"
    if not all(map(_has_groups, results.rows)):
        title += "; lines join the best of each size"
    panel.set_title(title, color=GRAY)
    if ax is None:
        panel.figure.legend(loc="outside lower left", ncols=2)
    else:
        panel.legend()
    return panel.figure


def _size(row, results):
    return row["ghost_batch_size"] or results.batch_size


def _has_groups(row):
    return row["kind"] == "batch_group"


def _places(results, sizes):
    """Where to draw trials: side by side around the tick of their size."""
    of_size = {
        size: [i for i, row in enumerate(results.rows) if _size(row, results) == size]
        for size in sizes
    }
    step = 2 * REACH / max(max(map(len, of_size.values())) - 1, 3)
    places = {}
    for at, size in enumerate(sizes):
        # In the order of their names, because they come in the order of the objective.
        trials = sorted(of_size[size], key=lambda i: results.rows[i]["trial"])
        for k, i in enumerate(trials):
            places[i] = at + (k - (len(trials) - 1) / 2) * step
    return [places[i] for i in range(len(results.rows))]


def _draw_keras_layer(panel, results):
    # At weight 0, and recalibrated as the other trials are.
    values = [
        row[f"{results.objective}_at_0"]
        for row in results.rows
        if row["kind"] == "batch" and not row["l2"]
    ]
    if values:
        best = min(values) if results.direction == "min" else max(values)
        panel.axhline(
            best,
            color=BLACK,
            linestyle="--",
            linewidth=1.2,
            label="Keras' layer: whole batch, no decay, weight 0",
        )


def _draw_trials(panel, rows, places, name, color):
    for place, row in zip(places, rows):
        values = row.get("executions", {}).get(name, [row[name]])
        if len(values) > 1:
            panel.vlines(place, min(values), max(values), color=color, linewidth=1)
        panel.plot(
            place,
            row[name],
            marker="s" if _has_groups(row) else "o",
            markerfacecolor="white" if _has_groups(row) else color,
            color=color,
        )


def _join_best(panel, results, places, name, color, label):
    sign = 1 if results.direction == "min" else -1
    best = {}
    for place, row in zip(places, results.rows):
        if not _has_groups(row):
            found = sign * row[name], place, row[name]
            size = _size(row, results)
            best[size] = min(best.get(size, found), found)
    points = [best[size][1:] for size in sorted(best)]
    # Drawn below the dots. Without any it is there for the legend.
    at, values = zip(*points) if points else ((), ())
    panel.plot(at, values, color=color, label=label, zorder=1.5)


def _explain_markers(panel, rows):
    gray = {"linestyle": "", "color": GRAY}
    if not all(map(_has_groups, rows)):
        panel.plot([], [], "o", label="a trial", **gray)
    if any(map(_has_groups, rows)):
        panel.plot(
            [], [], "s", mfc="white", label="a trial with channel groups", **gray
        )
    if any(len(row["example_weight"]) > 1 for row in rows):
        panel.plot([], [], "|", markersize=10, label="range of its executions", **gray)
