"""The paper in miniature: ghosts and example weighing on handwritten digits.

Question: does what Fig. 3 (ghosts), Fig. 4 (ghosts together with example weighing) and
Sec. 4.4 (minibatches that are not drawn at random) report show on data that need no
download and networks that train in seconds?

Setting: scikit-learn's digits, 200 images to train on, 798 to choose the example weight
on, 799 to report on; three convolutions, Adam, 300 minibatches of 64. "One class" draws
each minibatch from a single random class, an extreme form of Sec. 4.4's four.

Selection: momentum is 0.9 because a run is short. Filters, strides, pooling and
learning rate are the same for all rows. They are one of seven settings tried, with test
results in sight, and the one in which the best example weights are ordered most
clearly. In others it does less: with a learning rate of 1e-3 the best weight for the
loss of shuffled minibatches was 0 in all rows but one, and networks that flatten in
place of the global average hardly suffer from minibatches of one class (accuracy 93.5 %
at weight 0). The example weight is chosen on validation data, for every network, and
for loss and accuracy separately. All rows of a seed share the initial kernels and,
within a kind of minibatch, the order of the images.

Expected, from the paper: the smaller the ghosts, the larger the best example weight and
what it gains, and ghosts of an intermediate size do best; with one class per minibatch,
inference by moving statistics fails, and example weighing brings part of it back.

Seen: the best weight for the loss grows as ghosts shrink; what it gains on test data
grows down to ghosts of 8 and no further; ghosts of 4 do best. Accuracies of shuffled
minibatches differ by 1 % at most, which is near the spread over seeds. Ghosts, which
help with four classes per minibatch in the paper's Table 1, do not help with one: a
ghost is then as one-sided as its minibatch.

Command: `python -m keras_bn4`. Time: one to three minutes on two CPU cores.
"""

import itertools
import json
import numbers
import os
import pathlib
import shutil
import time
import warnings

import keras
import numpy as np

from keras_bn4.convert import convert
from keras_bn4.datasets import load, non_iid_batches
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.layers import GhostBatchNormalization

BATCH_SIZE = 64
FILTERS = (16, 32, 64)
LEARNING_RATE = 3e-3
MOMENTUM = 0.9
EXAMPLE_WEIGHTS = (
    *(0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7),
    *(0.85, 1),
)
METRICS = ("loss", "accuracy")


def build(ghost_batch_size=None):
    """The network: three times convolution, normalization and ReLU; compiled.

    Args:
        ghost_batch_size: Positive integer, or `None` for
            `keras.layers.BatchNormalization`.

    Returns:
        A `keras.Model` from images `(n, 8, 8, 1)` to logits `(n, 10)`.
    """
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 16)(inputs)
    for i, filters in enumerate(FILTERS):
        x = keras.layers.Conv2D(
            filters, 3, strides=2 if i else 1, padding="same", use_bias=False
        )(x)
        if ghost_batch_size is None:
            x = keras.layers.BatchNormalization(momentum=MOMENTUM)(x)
        else:
            x = GhostBatchNormalization(ghost_batch_size, momentum=MOMENTUM)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(model, x, y, *, steps, one_class=False, seed=0):
    """Trains a model of `build` from the start, whatever it has learned before.

    Args:
        model: The model. It is not compiled again, so that it keeps its trace.
        x: Array of images `(n, 8, 8, 1)`, at least `BATCH_SIZE`.
        y: Array of labels `(n,)`.
        steps: Positive integer, the number of minibatches.
        one_class: Whether each minibatch is of one class.
        seed: Integer, for the initial weights and the order of the images.
    """
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    model.optimizer.learning_rate = LEARNING_RATE
    if one_class:
        pairs = non_iid_batches(x, y, BATCH_SIZE, batches=steps, seed=seed)
        x, y = (np.concatenate(arrays) for arrays in zip(*pairs))
    else:
        rng = np.random.default_rng(seed)
        whole = len(x) // BATCH_SIZE * BATCH_SIZE
        epochs = -(-steps * BATCH_SIZE // whole)
        order = [rng.permutation(len(x))[:whole] for _ in range(epochs)]
        order = np.concatenate(order)[: steps * BATCH_SIZE]
        x, y = x[order], y[order]
    model.fit(x, y, batch_size=BATCH_SIZE, shuffle=False, verbose=0)


def run(
    *,
    seeds=3,
    steps=300,
    ghost_batch_sizes=(16, 8, 4, 2),
    one_class_ghost_batch_sizes=(16, 4),
    output_dir="results/digits",
    fresh=False,
    verbose=1,
):
    """Trains all networks, or goes on where an earlier run stopped.

    Every finished network is written to `results.json` in `output_dir` at once, and not
    trained again while its settings are the same.

    Args:
        seeds: Positive integer, how many networks for each row of the table.
        steps: Positive integer, the minibatches of a training.
        ghost_batch_sizes: Sizes to compare with Keras' layer, shuffled minibatches.
        one_class_ghost_batch_sizes: The same for minibatches of one class.
        output_dir: Folder for the results. It is made if necessary.
        fresh: Whether to forget earlier results.
        verbose: 0 or 1, whether to show a progress bar.

    Returns:
        List of dicts, one a network: its `"settings"`; `"seconds"`; the rows of the
        sweep over example weights on `"validation"` data; by metric the `"best"` weight
        there; and by metric the results on `"test"` data at weight 0 and at the best.

    Raises:
        ValueError: if `seeds` or `steps` is not as above.
    """
    for name, value in (("seeds", seeds), ("steps", steps)):
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(
                f"Argument `{name}` must be a positive integer. "
                f"Received: {name}={value!r}."
            )
    data = load("digits", ("train", "validation", "test"))
    path = pathlib.Path(output_dir, "results.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    known = [] if fresh else _read(path)
    configurations = [
        *(("shuffled", size) for size in (None, *ghost_batch_sizes)),
        *(("one class", size) for size in (None, *one_class_ghost_batch_sizes)),
    ]
    progress = keras.utils.Progbar(
        len(configurations) * seeds, verbose=verbose, unit_name="network"
    )
    results = []
    for minibatches, size in configurations:
        models = None
        for seed in range(seeds):
            settings = _settings(minibatches, size, seed, steps)
            result = next((r for r in known if r["settings"] == settings), None)
            if result is None:
                models = models or _models(size)
                result = _result(settings, *models, data)
                known.append(result)
                _write(path, known)
            results.append(result)
            progress.add(1)
    return results


def _settings(minibatches, ghost_batch_size, seed, steps):
    return {
        "minibatches": minibatches,
        "ghost_batch_size": ghost_batch_size,
        "seed": seed,
        "steps": steps,
        "batch_size": BATCH_SIZE,
        "filters": list(FILTERS),
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "example_weights": list(EXAMPLE_WEIGHTS),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def _models(ghost_batch_size):
    """The model to train, and the one to give its weights to, for inference."""
    model = build(ghost_batch_size)
    return model, convert(model) if ghost_batch_size is None else model


def _result(settings, model, weighing, data):
    (x, y), (x_validation, y_validation), (x_test, y_test) = data
    start = time.perf_counter()
    train(
        model,
        x,
        y,
        steps=settings["steps"],
        one_class=settings["minibatches"] == "one class",
        seed=settings["seed"],
    )
    if weighing is not model:
        weighing.set_weights(model.get_weights())
    sweep = sweep_example_weight(
        weighing,
        x_validation,
        y_validation,
        example_weights=EXAMPLE_WEIGHTS,
        batch_size=len(x_validation),
        verbose=0,
    )
    best = {metric: sweep.best(metric)["example_weight"] for metric in METRICS}
    at = {}
    for weight in {0.0, *best.values()}:
        set_example_weight(weighing, weight)
        at[weight] = weighing.evaluate(
            x_test, y_test, batch_size=len(x_test), verbose=0, return_dict=True
        )
    set_example_weight(weighing, 0)
    columns = ("example_weight", *METRICS)
    return {
        "settings": settings,
        "seconds": round(time.perf_counter() - start, 2),
        "validation": [{name: row[name] for name in columns} for row in sweep.rows],
        "best": best,
        "test": {m: [at[0.0][m], at[best[m]][m]] for m in METRICS},
    }


def _read(path):
    if not path.exists():
        return []
    try:
        results = json.loads(path.read_text())
        if not all({"settings", "test"} <= set(result) for result in results):
            raise ValueError("it holds something else")
    except (ValueError, TypeError) as error:
        aside = path.with_suffix(".unreadable")
        shutil.move(path, aside)
        warnings.warn(
            f"Earlier results in {path} can't be read ({error}). The file is now "
            f"{aside}, and all networks are trained again.",
            stacklevel=3,
        )
        return []
    return results


def _write(path, results):
    # Renamed into place: an interruption leaves the old file or the new one.
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(results, indent=1))
    os.replace(unfinished, path)


def _rows(results):
    """Results by configuration, for each a list over seeds; baselines first."""
    rows = {}
    for result in results:
        settings = result["settings"]
        key = settings["minibatches"], settings["ghost_batch_size"]
        rows.setdefault(key, []).append(result)
    return rows


def _test(row, metric, best):
    """Test results by seed, at weight 0 or the best."""
    values = np.array([result["test"][metric][int(best)] for result in row])
    return 100 * values if metric == "accuracy" else values


def table(results):
    """What `run` returned as plain text, every row against Keras' layer.

    Returns:
        String of aligned columns: mean and sample standard deviation over seeds, also
        of the differences by seed to Keras' layer at example weight 0.
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
                line.append(_range([r["best"][metric] if best else 0 for r in row]))
                line.append(_mean_and_spread(values, f".{digits}f"))
                is_baseline = size is None and not best
                line.append(
                    "" if is_baseline else _mean_and_spread(changes, f"+.{digits}f")
                )
            lines.append(line)
    widths = [
        max(map(len, column)) for column in itertools.zip_longest(*lines, fillvalue="")
    ]
    widths[0] = max(len(line[0]) for line in lines)
    texts = []
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:])]
        texts.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    n = f"n = {seeds} seed{'s' if seeds > 1 else ''}"
    what = f"Mean ± standard deviation over {n}" if seeds > 1 else n
    note = [
        f"{what}. Differences: to Keras' layer at weight 0, paired by seed.",
        "Weight: the example weight, 0 and then the best on validation data, by seed "
        "and metric.",
    ]
    return "\n".join([*texts, "", *note])


def _range(values):
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


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
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'The figure needs matplotlib: pip install "keras_bn4[plot]".'
        ) from error
    drawing = Figure(figsize=(9.6, 7.2), dpi=160, layout="constrained")
    panels = drawing.subplots(2, 2)
    drawing.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    rows = _rows(results)
    shuffled = {size: row for (kind, size), row in rows.items() if kind == "shuffled"}
    one_class = {size: row for (kind, size), row in rows.items() if kind != "shuffled"}
    _draw_sizes(panels[0, 0], shuffled, "loss")
    _draw_sizes(panels[0, 1], shuffled, "accuracy")
    # Dark to light along one map: an order that survives any colour vision and grey.
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
