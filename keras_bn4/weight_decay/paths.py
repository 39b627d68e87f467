"""Analysis of which γ and β can act on a model's output (Sec. 3.3)."""

from typing import TYPE_CHECKING, NamedTuple

import keras

from keras_bn4.common import tables
from keras_bn4.common.models import check_built
from keras_bn4.weight_decay.graph import NORMALIZERS, steps_of
from keras_bn4.weight_decay.scaling import KINDS, classify

if TYPE_CHECKING:
    import pandas


class NormalizationPath(NamedTuple):
    """The result of `normalization_paths` for one normalizer.

    Attributes:
        name: String, the path of the layer in the model.
        layer: The layer.
        variables: Tuple of its γ and β, as far as it has them.
        kind: `"open"`, `"residual"` or `"closed"`.
        merge: For a residual layer `"addition"` or `"concatenation"`, else `None`.
        path: Tuple of names, from the layer to the step that decides its kind. For an
            open layer this is the last step before the output, for a residual one the
            addition or the layer that sums over concatenated channels, and for a closed
            one the next normalizer, or the last step where there is none.
    """

    name: str
    layer: keras.layers.Layer
    variables: tuple[keras.Variable, ...]
    kind: str
    merge: str | None
    path: tuple[str, ...]


class NormalizationPaths(tuple):
    """The result of `normalization_paths`: a tuple of `NormalizationPath`."""

    @property
    def counts(self):
        """Dict of the number of layers of each kind."""
        return {kind: sum(row.kind == kind for row in self) for kind in KINDS}

    def layers(self, *kinds):
        """Returns the layers of these kinds as a list.

        Raises:
            ValueError: if there is no such kind.
        """
        check_kinds(kinds)
        return [row.layer for row in self if row.kind in kinds]

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns name, kind, merge and path of each layer as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        header = ("layer", "kind", "merge", "path")
        rows = ((row.name, row.kind, row.merge, " > ".join(row.path)) for row in self)
        return tables.to_dataframe([dict(zip(header, row)) for row in rows])

    def _table(self):
        lines = []
        for row in self:
            merge = f" ({row.merge})" if row.merge else ""
            lines.append([row.name, row.kind + merge, _abbreviated(row.path)])
        return ["layer", "kind", "path"], lines

    def _counted(self):
        return ", ".join(f"{n} {kind}" for kind, n in self.counts.items())

    def __str__(self):
        header, lines = self._table()
        return f"{tables.text([header, *lines], left=3)}\n{self._counted()}"

    def __repr__(self):
        return f"<NormalizationPaths of {len(self)} layers: {self._counted()}>"

    def _repr_html_(self):
        return f"{tables.html(*self._table())}<p>{self._counted()}</p>"


def normalization_paths(model: keras.Model) -> NormalizationPaths:
    """Determines for every normalizer whether its γ and β can act on the output.

    Weight decay multiplies γ and β of a layer by one factor. The next normalizer undoes
    this, because it divides by the scale of its input. So weight decay of γ and β is a
    regularizer only where part of its effect gets past the normalizers (Sec. 3.3).
    Every normalizer is of one of three kinds:

    - `"open"`: A path leads from the layer to an output and meets no other normalizer.
      Nothing undoes the effect of γ and β.
    - `"residual"`: There is no such path, but before the next normalizer the output of
      the layer is added to something that does not scale with it. That normalizer
      undoes the scale of the sum, but not the layer's share in the sum.
    - `"closed"`: Every path runs into a normalizer that undoes the scale, or ends in an
      output of a part that the model does not use.

    The paper says that residual networks have "such paths for many of their
    normalization layers". For open paths alone this is true of networks whose shortcuts
    are identities, such as ResNets for CIFAR (10 of 19 layers in ResNet-20). In Keras'
    ResNet50 the projection of the last stage has a normalizer of its own: 4 of 53
    layers are open and 16 more are residual, so the paper must mean both kinds
    together. In a pre-activation network (ResNet50V2) a normalizer follows the last
    addition: 1 of 49 layers is open and 20 are residual.

    The kinds follow from these rules:

    - An addition makes a layer residual if at least one summand does not scale with the
      layer, because it comes from the input, or from another branch whose scale a
      normalizer has undone. If all summands scale alike, so does the sum. Subtracting,
      averaging, the maximum of two tensors, and any other operation on several tensors
      are treated as additions.
    - Concatenating a part that scales with the layer and a part that does not is not an
      addition as long as channels stay separate: batch normalization right after it, as
      in DenseNet, undoes the scale channel by channel. A convolution or a dense layer
      after it sums over both parts, and so does a normalizer across channels. The layer
      is then residual with `merge="concatenation"`, as in Inception. The paper counts
      those layers as having no path. To follow it, treat layers with this `merge` as
      closed.
    - A product, such as that in squeeze and excitation, scales with its factors, and
      the next normalizer undoes that.
    - Biases, added constants and the saturation of activations are ignored: every
      function of one tensor is treated as positively homogeneous, like ReLU. In a model
      that has them, even the scale of a closed layer matters slightly.
    - All normalizers are assumed to normalize as in training. This is not true of batch
      normalization with `trainable=False`, which undoes nothing.
    - A shared layer acts at all of its places at once, and is open if one of them is.
      In a model with several outputs a layer is open if it reaches one of them.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.3.

    Args:
        model: A built Functional or Sequential `keras.Model`, which may contain other
            such models. Its normalizers are Keras' batch, group, layer, RMS and unit
            normalization and their subclasses, including the layers of `keras_bn4`.

    Returns:
        A `NormalizationPaths`: a tuple with one `NormalizationPath` for each
        normalizer, in the order of the graph. It prints as a table.

    Raises:
        ValueError: if the model is not built, or has a normalizer inside a layer or
            model whose graph Keras does not know, such as a subclassed model.

    Examples:
        >>> layers = keras.layers
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = layers.Conv2D(4, 3, padding="same")(inputs)
        >>> x = layers.BatchNormalization(name="first")(x)
        >>> y = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(x))
        >>> y = layers.BatchNormalization(name="second")(y)
        >>> y = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(y))
        >>> y = layers.BatchNormalization(name="third")(y)
        >>> outputs = layers.Add(name="add")([x, y])
        >>> paths = normalization_paths(keras.Model(inputs, outputs))
        >>> [(row.name, row.kind) for row in paths]
        [('first', 'open'), ('second', 'closed'), ('third', 'open')]
        >>> paths[2].path
        ('third', 'add')
    """
    check_built(model)
    steps, outputs = steps_of(model)
    rows, seen = [], set()
    for step in steps:
        layer = step.operation
        if isinstance(layer, NORMALIZERS) and id(layer) not in seen:
            seen.add(id(layer))
            kind, merge, path = classify(layer, steps, set(outputs))
            variables = tuple(affine_variables(layer))
            row = NormalizationPath(step.name, layer, variables, kind, merge, path)
            rows.append(row)
    return NormalizationPaths(rows)


def affine_variables(layer):
    """Lists the variables γ and β of a normalizer, as far as it has them."""
    # RMSNormalization calls its γ `scale`, which is a boolean in other layers.
    variables = (getattr(layer, name, None) for name in ("gamma", "beta", "scale"))
    return [v for v in variables if isinstance(v, keras.Variable)]


def check_kinds(kinds):
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"Layers are of one of the kinds {KINDS}. Received: {unknown}."
        )


def _abbreviated(path, most=6):
    if len(path) > most:
        left_out = f"... {len(path) - most + 1} ..."
        path = (*path[: most // 2], left_out, *path[1 - most // 2 :])
    return " > ".join(path)
