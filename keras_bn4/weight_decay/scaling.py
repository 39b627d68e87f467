"""How tensors scale with the γ and β of a normalizer, up to what undoes it."""

from keras import layers

from keras_bn4.common.models import BatchNormalization
from keras_bn4.weight_decay.graph import NORMALIZERS

KINDS = ("open", "residual", "closed")
# By name, because a layer and the equivalent operation of `keras.ops` are different
# classes of the same name.
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
    """Determines whether γ and β of a normalizer can act on the outputs of a model.

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
    # It only leads to an output of a part that the model does not use.
    return "closed", None, max(trails.values(), key=len)


def _scale_after(operation, scales):
    """How the outputs scale, and whether an addition or concatenation merged inputs."""
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
