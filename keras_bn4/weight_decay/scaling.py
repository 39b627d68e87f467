"""Follows how tensors scale with the γ and β of a normalizer, up to what undoes it."""

from keras import layers

from keras_bn4.common.models import BatchNormalization
from keras_bn4.weight_decay.graph import NORMALIZERS

KINDS = ("open", "residual", "closed")
# Names of classes, because a layer and the operation of `keras.ops` that does the same
# are different classes of the same name.
PRODUCTS = ("Multiply", "Matmul", "Dot", "Einsum", "Tensordot")
QUOTIENTS = ("Divide", "TrueDivide", "DivideNoNan")
CONCATENATIONS = ("Concatenate", "Stack", "Hstack", "Vstack")
# Layers that have weights and do not mix channels.
BY_CHANNEL = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.PReLU)

# How a tensor scales when γ and β of a layer are multiplied by a factor `c`: as a whole
# by `c ** degree` (an integer other than 0), not at all (degree 0), in only some of its
# channels, or in only some of its summands.
NOTHING, PARTS, SUMMANDS = 0, "parts", "summands"


def classify(layer, steps, outputs):
    """Finds out whether γ and β of a normalizer can act on the outputs of a model.

    Args:
        layer: A normalizer.
        steps: List of the `Step`s of the model.
        outputs: Set of the placeholder objects of the model's outputs.

    Returns:
        The `kind`, `merge` and `path` of a `NormalizationPath`.
    """
    # For every tensor that scales with the layer: how it does, and the names on the
    # shortest way to it.
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
    # What it leads to is not used, as an output of a part that the model leaves out.
    return "closed", None, max(trails.values(), key=len)


def _scale_after(operation, scales):
    """How the outputs of an operation scale, given how its inputs do.

    And what it merged: `"addition"`, `"concatenation"` or `None`.
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
    # Two tensors that both scale in parts need not scale in the same channels.
    if alike and (first != PARTS or len(scales) == 1):
        return first, None
    if name in CONCATENATIONS:
        return PARTS, None
    return SUMMANDS, "addition"


def _mixes_channels(operation):
    weights = getattr(operation, "weights", [])
    return bool(weights) and not isinstance(operation, BY_CHANNEL)


def _normalizes_by_channel(layer):
    if isinstance(layer, BatchNormalization):
        return getattr(layer, "channels_per_group", 1) == 1
    if isinstance(layer, layers.GroupNormalization):
        return layer.groups in (-1, layer.input_spec.axes[layer.axis])
    return False
