"""Which arguments there are: errors for all others, which name the right one."""

import difflib
import inspect

import keras

from keras_bn4.common.models import BatchNormalization

# Arguments of batch normalization in other packages, and what to give here instead.
FOREIGN_NAMES = {
    "virtual_batch_size": "it is called `ghost_batch_size` here. A file of tf_keras "
    "with it cannot be loaded as a whole: make the model anew, and give the layer the "
    "weights as vectors by `set_weights` (the page of the layers shows how)",
    "ghost_size": "it is called `ghost_batch_size` here",
    "num_splits": "give the examples of a ghost instead, as `ghost_batch_size`",
    "num_groups": "it is called `groups` here, an argument of BatchGroupNormalization",
    "groups": "channel groups are an argument of BatchGroupNormalization",
    "alpha": "it is called `example_weight` here",
    "eps": "it is called `epsilon` in Keras",
    "decay": "it is called `momentum` in Keras",
    "affine": "give `center=False, scale=False` instead",
    "fused": "leave it out, the fused kernel is used where it serves",
    "adjustment": "leave it out, there is no such thing here",
    "track_running_stats": "leave it out, moving statistics are always kept",
}


def check_positional(layer_class, names, more):
    """Raises `TypeError` where a layer was given too many positional arguments.

    Args:
        layer_class: The class of the layer.
        names: Tuple of the names of the arguments that may be positional.
        more: Tuple of the positional arguments after these.
    """
    if not more:
        return
    keywords = ", ".join(
        f"{name}=..." for name in layer_class.own_arguments if name not in names
    )
    raise TypeError(
        f"{layer_class.__name__} takes {' and '.join(f'`{n}`' for n in names)} by "
        f"position and all other arguments by name: {keywords}, and those of "
        f"keras.layers.BatchNormalization. Received by position besides: "
        f"{', '.join(map(repr, more))}."
    )


def check_keywords(layer_class, keywords):
    """Raises `ValueError` where a layer was given an argument that it doesn't have.

    Args:
        layer_class: The class of the layer.
        keywords: Dict of the arguments that the layer hands on to
            `keras.layers.BatchNormalization`.
    """
    known = keras_arguments()
    allowed = [*layer_class.own_arguments, *sorted(known)]
    for name in keywords:
        if name not in known:
            hint = meant(name, allowed) or f"it takes {allowed}"
            raise ValueError(
                f"{layer_class.__name__} has no argument `{name}`: {hint}. "
                f"Received: {name}={keywords[name]!r}."
            )


def keras_arguments():
    """The names of the arguments that `keras.layers.BatchNormalization` takes."""
    # Keras takes these two without naming them.
    names = {"input_shape", "input_dim"}
    for layer_class in (BatchNormalization, keras.layers.Layer):
        names |= inspect.signature(layer_class.__init__).parameters.keys()
    return names - {"self", "kwargs"}


def meant(name, allowed):
    """What to give in place of an argument that doesn't exist, or `None`.

    Args:
        name: String, the name of the argument.
        allowed: List of strings, the arguments that exist.
    """
    if name in FOREIGN_NAMES:
        return FOREIGN_NAMES[name]
    close = difflib.get_close_matches(name, allowed, 1)
    return f"perhaps `{close[0]}` is meant" if close else None
