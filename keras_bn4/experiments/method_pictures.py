"""Draws the pictures on the pages of the methods, from the code that they explain.

Command: `python -m keras_bn4.experiments.method_pictures`. It writes them beside the
pages, takes a few seconds, and trains nothing. What they show is computed by the
package's own cut into ghosts, mixture of statistics, and normalization paths.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np
from keras import layers

import keras_bn4
from keras_bn4.common.figures import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    LINES,
    ORANGE,
    SKY_BLUE,
    VERMILION,
    new_figure,
    styled,
)
from keras_bn4.common.models import BatchNormalization
from keras_bn4.layers.ghosts import cut
from keras_bn4.layers.mixing import mix
from keras_bn4.layers.moments import Moments
from keras_bn4.weight_decay import normalization_paths

EXAMPLES, CHANNELS = 8, 8


@styled
def statistics():
    """Which elements of a minibatch are normalized together (Sec. 3.2 and 3.4)."""
    figure = new_figure(9, 3.1, dpi=100)
    for panel, (title, ghost_batch_size, groups) in zip(
        figure.subplots(1, 4),
        (
            ("batch normalization\nghost_batch_size=None", None, CHANNELS),
            ("ghosts\nghost_batch_size=4", 4, CHANNELS),
            ("batch-group statistics\ngroups=4, ghost_batch_size=4", 4, 4),
            ("group normalization\ngroups=4, ghost_batch_size=1", 1, 4),
        ),
    ):
        frames = _frames(ghost_batch_size, groups)
        for rows, columns in frames:
            _draw_frame(panel, rows, columns, fill="white", edge=GRAY)
        # Not the first, which a reader may take for a special one.
        _draw_frame(panel, *frames[1], fill=SKY_BLUE, edge=BLACK)
        panel.set_xlim(-0.1, CHANNELS + 0.1)
        panel.set_ylim(EXAMPLES + 0.1, -0.1)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_xlabel(f"{CHANNELS} channels")
        panel.set_title(title, fontsize=9)
        panel.spines[:].set_visible(False)
    figure.axes[0].set_ylabel(f"{EXAMPLES} examples")
    figure.supxlabel(
        "The elements in a frame, at all positions, share one mean and one variance. "
        "One frame is colored.",
        fontsize=9,
        color=GRAY,
    )
    return figure


def _frames(ghost_batch_size, groups):
    """Slices of examples and of channels that are normalized together."""
    ghosts = cut(EXAMPLES, ghost_batch_size)
    size = CHANNELS // groups
    return [
        (ghosts.rows(ghost), slice(group * size, (group + 1) * size))
        for ghost in range(ghosts.ghosts)
        for group in range(groups)
    ]


def _draw_frame(panel, rows, columns, fill, edge):
    left, right, top, bottom = columns.start, columns.stop, rows.start, rows.stop
    x, y = [left, right, right, left], [top, top, bottom, bottom]
    panel.fill(x, y, facecolor=fill, edgecolor=edge, linewidth=1.4)
    for row in range(top + 1, bottom):
        panel.plot([left, right], [row, row], color="0.85", linewidth=0.6)
    for column in range(left + 1, right):
        panel.plot([column, column], [top, bottom], color="0.85", linewidth=0.6)


@styled
def mixture():
    """The statistics of Eq. 3 for one channel, over the example weight."""
    moving, example = Moments(0.0, 1.0), Moments(2.5, 0.16)
    figure = new_figure(9, 3.1, dpi=100)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    x = np.linspace(-3.5, 4.5, 400)
    for weight, name, color, style in zip(
        (0.0, 0.1, 0.3, 1.0),
        ("the moving statistics", "", "", "the example's own"),
        (BLACK, BLUE, VERMILION, GREEN),
        LINES,
    ):
        mean, variance = mix(example, moving, weight)[:2]
        density = np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(variance)
        label = f"α = {weight:g}" + (f", {name}" if name else "")
        left.plot(x, density, style, color=color, label=label)
    left.set_yticks([])
    left.spines["left"].set_visible(False)
    left.set_xlabel("values of a channel")
    left.set_title("mean and variance, drawn as normal distributions")
    left.legend(loc="upper left")
    weights = np.linspace(0, 1, 200)
    variances = mix(example, moving, weights).variance
    linear = weights * example.variance + (1 - weights) * moving.variance
    right.plot(weights, variances, color=BLUE, label="variance")
    right.plot(weights, linear, "--", color=GRAY, label="without α (1 - α) (μₓ - m)²")
    right.set_xlim(0, 1)
    right.set_ylim(0, None)
    right.set_xlabel("example weight α")
    right.set_title("variance over the example weight")
    right.legend(loc="lower left")
    return figure


KINDS = {
    "open": (SKY_BLUE, "open: a path to the output"),
    "residual": (ORANGE, "residual: its share in a sum remains"),
    "closed": ("0.85", "closed: the next normalizer undoes its scale"),
}
# Where the layers of `_two_blocks` are drawn, and what feeds them.
PLACES = {
    "stem": (1, 1),
    "a1": (2.4, 0),
    "a2": (3.6, 0),
    "sum a": (4.8, 1),
    "b1": (6.2, 0),
    "b2": (7.4, 0),
    "shortcut": (6.8, 1),
    "sum b": (8.6, 1),
    "output": (9.8, 1),
}
ARROWS = (
    *(("stem", "a1"), ("a1", "a2"), ("a2", "sum a"), ("stem", "sum a")),
    *(("sum a", "b1"), ("b1", "b2"), ("b2", "sum b")),
    *(("sum a", "shortcut"), ("shortcut", "sum b"), ("sum b", "output")),
)


def _two_blocks():
    """Two residual blocks: one whose shortcut is the identity, and one without."""

    def normalized(x, name):
        x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
        return BatchNormalization(name=name)(x)

    inputs = keras.Input((8, 8, 3))
    x = layers.ReLU()(normalized(inputs, "stem"))
    y = normalized(layers.ReLU()(normalized(x, "a1")), "a2")
    x = layers.ReLU()(layers.Add()([x, y]))
    y = normalized(layers.ReLU()(normalized(x, "b1")), "b2")
    x = layers.Add()([normalized(x, "shortcut"), y])
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


@styled
def paths():
    """Which γ and β of a small residual network decay can matter for (Sec. 3.3)."""
    found = normalization_paths(_two_blocks())
    kinds = {layer.name: kind for kind in KINDS for layer in found.layers(kind)}
    figure = new_figure(9, 2.6, dpi=100)
    panel = figure.subplots()
    arrow = {"arrowstyle": "-|>", "color": GRAY, "shrinkA": 14, "shrinkB": 20}
    for start, end in ARROWS:
        panel.annotate("", PLACES[end], PLACES[start], arrowprops=arrow)
    for name, (x, y) in PLACES.items():
        color = KINDS[kinds[name]][0] if name in kinds else "white"
        text = "norm" if name in kinds else {"output": "output"}.get(name, "+")
        box = {"boxstyle": "round", "facecolor": color, "edgecolor": BLACK}
        panel.text(x, y, text, ha="center", va="center", bbox=box, fontsize=9)
    for color, label in KINDS.values():
        panel.plot([], [], "s", color=color, mec=BLACK, markersize=9, label=label)
    panel.set_xlim(0.4, 10.4)
    panel.set_ylim(1.5, -0.5)
    panel.set_axis_off()
    figure.legend(loc="outside lower left", ncols=3)
    return figure


PICTURES = {
    "layers/statistics.png": statistics,
    "example_weight/mixture.png": mixture,
    "weight_decay/paths.png": paths,
}


def main(arguments=()):
    """Draws the pictures again."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    for name, picture in PICTURES.items():
        file = pathlib.Path(keras_bn4.__file__).parent / name
        picture().savefig(file, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main(sys.argv[1:])
