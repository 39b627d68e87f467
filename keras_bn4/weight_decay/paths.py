"""Which γ and β can act on the output of a model (Sec. 3.3): a walk over its graph."""

import collections

import keras
from keras import layers

from keras_bn4.common import tables
from keras_bn4.common.models import check_built
from keras_bn4.weight_decay.graph import NORMALIZERS, steps_of

KINDS = ("open", "residual", "closed")
# By the name of the class, which layers and operations share.
PRODUCTS = ("Multiply", "Matmul", "Dot", "Einsum", "Tensordot")
QUOTIENTS = ("Divide", "TrueDivide", "DivideNoNan")
CONCATENATIONS = ("Concatenate", "Stack", "Hstack", "Vstack")
# Layers with weights that keep channels apart.
BY_CHANNEL = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.PReLU)

# What of a tensor scales along when γ and β of a layer are scaled by a factor `c`:
# nothing (0), all of it by `c ** degree` (a positive integer), only some channels, or
# only some summands.
NOTHING, PARTS, SUMMANDS = 0, "parts", "summands"


class NormalizationPath(
    collections.namedtuple(
        "NormalizationPath", ["name", "layer", "variables", "kind", "merge", "path"]
    )
):
    """What `normalization_paths` says of one layer.

    Attributes:
        name: String, where the layer stands in the model.
        layer: The layer.
        variables: Tuple of its γ and β, or what it has of them.
        kind: `"open"`, `"residual"` or `"closed"`.
        merge: For a residual layer `"addition"` or `"concatenation"`, else `None`.
        path: Tuple of names, from the layer to what decides: the last one before the
            output, the addition or concatenation, or the next normalizer.
    """


class NormalizationPaths(tuple):
    """What `normalization_paths` found: a tuple of `NormalizationPath`."""

    @property
    def counts(self):
        """How many layers there are of each kind, a dict."""
        return {kind: sum(row.kind == kind for row in self) for kind in KINDS}

    def layers(self, *kinds):
        """The layers of these kinds, a list.

        Raises:
            ValueError: if there is no such kind.
        """
        check_kinds(kinds)
        return [row.layer for row in self if row.kind in kinds]

    def __str__(self):
        header = ["layer", "kind", "path"]
        lines = [header]
        for row in self:
            merge = f" ({row.merge})" if row.merge else ""
            lines.append([row.name, row.kind + merge, _abbreviated(row.path)])
        counts = ", ".join(f"{n} {kind}" for kind, n in self.counts.items())
        return f"{tables.text(lines, left=3)}\n{counts}"


def normalization_paths(model):
    """Says for every normalizer whether its γ and β can act on the model's output.

    Scaling γ and β of a layer by one factor, which is what weight decay does to them,
    is undone as soon as a normalizer divides by the scale of what it receives. So
    decay of γ and β is a regularizer only where there is a way around (Sec. 3.3):

    - `"open"`: a path leads from the layer to an output and meets no other normalizer.
      What the layer's γ and β do is never undone.
    - `"residual"`: there is none, but before the next normalizer the layer's output is
      added to something that does not scale along. That normalizer undoes the scale
      of the sum; the share of the layer in the sum stays.
    - `"closed"`: neither. Every path runs into a normalizer that undoes the scale.

    The paper says that residual networks have "such paths for many of their
    normalization layers". Read strictly, as open, that holds for networks whose
    shortcuts are identities, such as the ResNets of the CIFAR papers with strided and
    padded shortcuts (10 of 19 layers in ResNet-20). In Keras' ResNet50 the projection
    of the last stage carries a normalizer: 4 of 53 layers are open, and 16 more are
    residual, which together are what the paper must mean. In a pre-activation network
    (ResNet50V2) a normalizer follows the last addition: 1 of 49 is open, 20 residual.

    What counts as what:

    - An addition counts if at least one summand does not scale along: another branch
      whose scale a normalizer has undone, or the input. Where all summands come from
      the layer and scale alike, the sum does. Subtracting, averaging, the maximum of
      two, and any other operation of several tensors are taken as additions.
    - A concatenation of a part that scales along and one that doesn't is no addition
      as long as channels stay apart: batch normalization right after it, as in
      DenseNet, normalizes channel by channel and undoes it. A convolution or a dense
      layer after it sums over both parts, and so does a normalizer across channels;
      then the layer is residual with `merge="concatenation"`, as in Inception. The
      paper counts those layers as having no path. All of them shrink alike under weight
      decay, and the effect is of one branch against another only: take `merge` into
      account to follow the paper.
    - A product, such as that of squeeze and excitation, scales with its factors, and
      the next normalizer undoes that.
    - Biases, added constants and the saturation of activations are left out: all
      functions of one tensor are taken as positively homogeneous, like ReLU. Next to
      such things even a closed layer has a scale that matters, a little.
    - Normalizers are taken as training. One with `trainable=False` undoes nothing.
    - A shared layer acts at all of its places at once: it is open if one of them is.
      With several outputs it is open if it reaches one of them.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.3.

    Args:
        model: A built Functional or Sequential `keras.Model`, of which parts can be
            such models. Normalizers are Keras' batch, group, layer, RMS and unit
            normalization and their subclasses, among them ours.

    Returns:
        A `NormalizationPaths`: a tuple of one `NormalizationPath` for each normalizer,
        in the order of the graph, that prints as a table.

    Raises:
        ValueError: if the model is not built, or has a normalizer inside a layer or
            model whose graph is not known, which are subclassed ones.

    Example:

    >>> inputs = keras.Input((8, 8, 3))
    >>> x = layers.Conv2D(4, 3, padding="same")(inputs)
    >>> x = layers.BatchNormalization(name="first")(x)
    >>> y = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(x))
    >>> y = layers.BatchNormalization(name="second")(y)
    >>> y = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(y))
    >>> y = layers.BatchNormalization(name="third")(y)
    >>> paths = normalization_paths(keras.Model(inputs, layers.Add(name="add")([x, y])))
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
            kind, merge, path = _classify(layer, steps, set(outputs))
            variables = tuple(affine_variables(layer))
            row = NormalizationPath(step.name, layer, variables, kind, merge, path)
            rows.append(row)
    return NormalizationPaths(rows)


def affine_variables(layer):
    """γ and β of a normalizer, or what it has of them, a list of variables."""
    variables = (getattr(layer, name, None) for name in ("gamma", "beta", "scale"))
    return [v for v in variables if isinstance(v, keras.Variable)]


def check_kinds(kinds):
    """Raises `ValueError` unless all are kinds of paths."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"Kinds of paths are {KINDS}. Received: {unknown}.")


def _classify(layer, steps, outputs):
    """Kind, merge and path of one normalizer."""
    scales, trails = {}, {}
    found = {kind: [] for kind in (*KINDS, "addition", "concatenation")}
    for step in steps:
        if step.operation is layer:
            scale, merge, trail = 1, None, (step.name,)
        else:
            received = [scales.get(tensor, NOTHING) for tensor in step.inputs]
            if not any(received):
                continue
            came_by = (trails[t] for t in step.inputs if scales.get(t, NOTHING))
            trail = (*min(came_by, key=len), step.name)
            scale, merge = _scale_after(step.operation, received)
        if merge:
            found[merge].append(trail)
        if not scale:
            found["closed"].append(trail)
            continue
        for tensor in step.outputs:
            scales[tensor], trails[tensor] = scale, trail
            if tensor in outputs:
                found["open"].append(trail)
    for kind in ("open", "addition", "concatenation", "closed"):
        if found[kind]:
            path = min(found[kind], key=len)
            return (kind, None, path) if kind in KINDS else ("residual", kind, path)
    raise AssertionError(f"'{layer.name}' is in the graph and leads nowhere.")


def _scale_after(operation, scales):
    """What scales of the outputs, and whether parts were merged, and how.

    Returns:
        A pair of the scale and `"addition"`, `"concatenation"` or `None`.
    """
    name = type(operation).__name__
    first, alike = scales[0], len(set(scales)) == 1
    if isinstance(operation, NORMALIZERS):
        mixes = first == PARTS and not _normalizes_by_channel(operation)
        return NOTHING, "concatenation" if mixes else None
    if name in (*PRODUCTS, *QUOTIENTS) and not {PARTS, SUMMANDS} & set(scales):
        rest = sum(scales[1:])
        return (first - rest if name in QUOTIENTS else first + rest), None
    if SUMMANDS in scales:
        return SUMMANDS, None
    if name in (*PRODUCTS, *QUOTIENTS):
        return PARTS, None
    if alike and first == PARTS and _mixes_channels(operation):
        return SUMMANDS, "concatenation"
    # Two tensors of which parts scale need not match.
    if alike and (first != PARTS or len(scales) == 1):
        return first, None
    if name in CONCATENATIONS:
        return PARTS, None
    return SUMMANDS, "addition"


def _mixes_channels(operation):
    weights = getattr(operation, "weights", [])
    return bool(weights) and not isinstance(operation, BY_CHANNEL)


def _normalizes_by_channel(layer):
    if isinstance(layer, layers.BatchNormalization):
        return getattr(layer, "channels_per_group", 1) == 1
    if isinstance(layer, layers.GroupNormalization):
        return layer.groups in (-1, layer.input_spec.axes[layer.axis])
    return False


def _abbreviated(path, most=6):
    if len(path) > most:
        left_out = f"... {len(path) - most + 1} ..."
        path = (*path[: most // 2], left_out, *path[1 - most // 2 :])
    return " > ".join(path)
