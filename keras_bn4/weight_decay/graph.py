"""The steps of a model's graph, including those of nested models."""

import collections

import keras
from keras import layers

from keras_bn4.common.models import BatchNormalization, layers_of

NORMALIZERS = (
    BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


class Step(collections.namedtuple("Step", ["operation", "name", "inputs", "outputs"])):
    """One call of a layer or operation.

    Attributes:
        operation: The `keras.Operation`.
        name: String, the path of the call in the model.
        inputs, outputs: Lists of placeholder objects, one for each tensor. Only their
            identity matters: an output of one step is the same object where another
            step has it as an input.
    """


def steps_of(model):
    """The `Step`s of a model, in an order in which they can run.

    Returns:
        A pair of the list of steps, and the list of placeholder objects for the
        outputs of the model.

    Raises:
        ValueError: if a normalizer is inside a layer or model whose graph Keras does
            not know, such as a subclassed model.
    """
    steps, unknown = [], []
    given = [object() for _ in model.inputs] if _has_graph(model) else []
    outputs = _append(model, "", given, 1, steps, unknown)
    if unknown:
        raise ValueError(
            f"Model '{model.name}' has normalizers inside layers or models whose "
            f"graph Keras does not know: {', '.join(unknown)}. Pass a Functional or "
            "Sequential model. If the `call` of a subclassed model only calls layers, "
            "`keras.Model(inputs, subclassed.call(inputs))` is a Functional model of "
            "the same layers, with `inputs = keras.Input(shape)`."
        )
    return steps, outputs


def _has_graph(operation):
    """Whether this is a Functional or Sequential model whose `call` is Keras' own."""
    # `_nodes_by_depth` is private. No public name tells a Functional model, which has
    # it, from a subclassed one, which has not.
    return (
        isinstance(operation, keras.Sequential) or hasattr(operation, "_nodes_by_depth")
    ) and type(operation).call.__module__.startswith("keras.")


def _append(operation, name, given, count, steps, unknown):
    """Appends the step of an operation, or for a model the steps of all its parts.

    From placeholders for its inputs, `given`, it makes `count` for its outputs. A layer
    that holds a normalizer, and whose graph is not known, is appended to `unknown`.
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
        # Private, because the public `layers` doesn't say how layers are connected.
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
        kind = type(operation).__name__
        unknown.append(f"'{name or operation.name}' of class {kind}")
    outputs = [object() for _ in range(count)]
    steps.append(Step(operation, name, given, outputs))
    return outputs
