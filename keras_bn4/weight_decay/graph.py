"""The graph of a model as a list of steps, with nested models in their places."""

import collections

import keras
from keras import layers

from keras_bn4.common.models import layers_of

NORMALIZERS = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


class Step(collections.namedtuple("Step", ["operation", "name", "inputs", "outputs"])):
    """One call of a layer or operation.

    Attributes:
        operation: The `keras.Operation`.
        name: String, where it stands in the model.
        inputs, outputs: Lists of objects that stand for its tensors. Nothing but their
            identity matters.
    """


def steps_of(model):
    """The steps of a model, in an order in which they can run.

    Args:
        model: A built `keras.Model`.

    Returns:
        A pair of the list of `Step`s, and the list of objects that stand for the
        outputs of the model.

    Raises:
        ValueError: if there is a normalizer inside a layer or model whose graph is not
            known, which are subclassed ones.
    """
    steps, unknown = [], []
    given = [object() for _ in model.inputs] if _has_graph(model) else []
    outputs = _append(model, "", given, 1, steps, unknown)
    if unknown:
        raise ValueError(
            f"Model '{model.name}' has normalizers inside of layers or models whose "
            f"graph Keras doesn't know: {', '.join(unknown)}. Give a Functional or "
            "Sequential model. One that is subclassed can be walked if its `call` is "
            "made of layers: `inputs = keras.Input(shape)` and "
            "`keras.Model(inputs, subclassed.call(inputs))` is a Functional model of "
            "the same layers."
        )
    return steps, outputs


def _has_graph(operation):
    """Whether this is a Functional or Sequential model that runs as such."""
    # `_nodes_by_depth` is private, because the public `layers` doesn't say what is
    # connected to what. A Functional model has it, and a subclassed one has not.
    return (
        isinstance(operation, keras.Sequential) or hasattr(operation, "_nodes_by_depth")
    ) and type(operation).call.__module__.startswith("keras.")


def _append(operation, name, given, count, steps, unknown):
    """Appends the steps of an operation, or of all that a model is made of.

    Returns:
        List of `count` objects that stand for its outputs.
    """
    while isinstance(operation, layers.Wrapper):
        operation = operation.layer
        name = f"{name}/{operation.name}"
    prefix = f"{name}/" if name else ""
    if _has_graph(operation):
        if isinstance(operation, keras.Sequential):
            for layer in operation.layers:
                given = _append(layer, prefix + layer.name, given, 1, steps, unknown)
            return given
        tensors = dict(zip(map(id, operation.inputs), given))
        for _, nodes in sorted(operation._nodes_by_depth.items(), reverse=True):
            for node in nodes:
                if not node.is_input:
                    part = node.operation
                    received = [tensors[id(tensor)] for tensor in node.input_tensors]
                    arguments = received, len(node.outputs), steps, unknown
                    made = _append(part, prefix + part.name, *arguments)
                    tensors.update(zip(map(id, node.outputs), made))
        return [tensors[id(tensor)] for tensor in operation.outputs]
    is_other_layer = isinstance(operation, layers.Layer) and not isinstance(
        operation, NORMALIZERS
    )
    if is_other_layer and layers_of(operation, NORMALIZERS):
        unknown.append(
            f"'{name or operation.name}' of class {type(operation).__name__}"
        )
    outputs = [object() for _ in range(count)]
    steps.append(Step(operation, name, given, outputs))
    return outputs
