"""Turns a built layer of Keras into one of this package, and back.

The class of the object itself is exchanged, so that the layer is reached wherever a
model refers to it, which no rebuilding of the model does.
"""

import contextlib
import functools

import keras

from keras_bn4.common.models import BatchNormalization, layers_of
from keras_bn4.layers.batch_group_normalization import BatchGroupNormalization
from keras_bn4.layers.ghost_batch_normalization import GhostBatchNormalization

LAYERS = (GhostBatchNormalization, BatchGroupNormalization)
# Arguments of Keras' layer that can change while its weights and its place in the model
# stay.
CHANGEABLE = (
    "momentum",
    "epsilon",
    "beta_regularizer",
    "gamma_regularizer",
    "beta_constraint",
    "gamma_constraint",
    "synchronized",
)


def batch_normalizations(model):
    """The batch normalization layers of a model, those of this package included."""
    return layers_of(model, BatchNormalization)


def arguments_of(layer):
    """The arguments that make such a layer, as objects: some can't be serialized."""
    arguments = {name: getattr(layer, name) for name in layer.get_config()}
    return {**arguments, "dtype": layer.dtype_policy}


def become(layer, template):
    """Turns a built batch normalization layer into one like a template.

    Args:
        layer: A built layer of exactly `keras.layers.BatchNormalization` or one of
            `LAYERS`. It keeps its weights.
        template: A layer of `LAYERS` that isn't built, or `None` for Keras' own class.
    """
    input_shape = layer.get_build_config()["input_shape"]
    for name in own_attributes() & vars(layer).keys():
        object.__delattr__(layer, name)
    if template is None:
        layer.__class__ = BatchNormalization
        layer.autocast = True
        return
    layer.__class__ = type(template)
    layer.autocast = False
    for name in CHANGEABLE:
        setattr(layer, name, getattr(template, name))
    for name in own_attributes() & vars(template).keys():
        setattr(layer, name, vars(template)[name])
    for name in ("beta", "gamma"):
        if (variable := getattr(layer, name)) is not None:
            variable.regularizer = getattr(layer, f"{name}_regularizer")
            variable.constraint = getattr(layer, f"{name}_constraint")
    with contextlib.ExitStack() as scopes:
        # In the scope in which Keras has created the other variables of the layer.
        for name in layer.moving_mean.path.split("/")[:-1]:
            scopes.enter_context(keras.name_scope(name))
        layer.build_example_weight(input_shape)
    for variable in layer.non_trainable_variables:
        # Keras' layer lets replicas hold different values. All of them take the value
        # that is saved, which is that of the first.
        variable.assign(variable)


def become_all(layers, templates):
    """Turns layers into ones like the templates: all, or after an error none."""
    before = [(layer, type(layer), dict(vars(layer))) for layer in layers]
    affine = [
        (variable, variable.regularizer, variable.constraint)
        for layer in layers
        for variable in (layer.gamma, layer.beta)
        if variable is not None
    ]
    try:
        for layer, template in zip(layers, templates):
            become(layer, template)
    except BaseException:
        for layer, layer_class, attributes in before:
            layer.__class__ = layer_class
            vars(layer).clear()
            vars(layer).update(attributes)
        for variable, regularizer, constraint in affine:
            variable.regularizer, variable.constraint = regularizer, constraint
        raise


@functools.cache
def own_attributes():
    """The names of the attributes that layers of this package have and Keras' lacks."""
    of_keras = vars(BatchNormalization(name="of_keras"))
    of_package = (vars(layer_class(name="own")) for layer_class in LAYERS)
    return frozenset().union(*of_package) - of_keras.keys()
