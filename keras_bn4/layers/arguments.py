"""Validation of the layers' own arguments, and their names in other libraries.

The arguments of `keras.layers.BatchNormalization` are checked by Keras.
"""

import difflib
import inspect

import keras

from keras_bn4.common.arguments import check_groups_divide
from keras_bn4.common.models import BatchNormalization

VARIANCE_TRACKING = ("second_moment", "variance")

# Arguments of batch normalization in other packages, and what to pass here instead.
FOREIGN_NAMES = {
    "virtual_batch_size": "it is called `ghost_batch_size` here. A file of tf_keras "
    "with it cannot be loaded as a whole: create the model again, and set the layer's "
    "weights as vectors by `set_weights` (the page of the layers shows how)",
    "ghost_size": "it is called `ghost_batch_size` here",
    "num_splits": "pass the size of a ghost instead, as `ghost_batch_size`",
    "num_groups": "it is called `groups` here, an argument of BatchGroupNormalization",
    "groups": "channel groups are an argument of BatchGroupNormalization",
    "alpha": "it is called `example_weight` here",
    "eps": "it is called `epsilon` in Keras",
    "decay": "it is called `momentum` in Keras",
    "affine": "pass `center=False, scale=False` instead",
    "fused": "leave it out, a fused kernel is used wherever possible",
    "adjustment": "leave it out, it has no equivalent here",
    "track_running_stats": "leave it out, moving statistics are always kept",
}


class Checked:
    """A validated attribute, which is kept where an ordinary attribute would be.

    Args:
        check: Function of a value that returns what to keep, or raises an error.
        fits: Function of the object and such a value that raises an error if they are
            incompatible, or `None`.
    """

    def __init__(self, check, fits=None):
        self.check = check
        self.fits = fits

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        try:
            return vars(instance)[self.name]
        except KeyError:
            raise AttributeError(
                f"'{type(instance).__name__}' object has no attribute '{self.name}'"
            ) from None

    def __set__(self, instance, value):
        value = self.check(value)
        if self.fits is not None:
            self.fits(instance, value)
        vars(instance)[self.name] = value

    def __delete__(self, instance):
        del vars(instance)[self.name]


def check_variance_tracking(variance_tracking):
    """Returns what the moving variance follows, or raises `ValueError`."""
    if variance_tracking not in VARIANCE_TRACKING:
        raise ValueError(
            'Argument `variance_tracking` must be "second_moment" or "variance". '
            f"Received: variance_tracking={variance_tracking!r}."
        )
    return variance_tracking


def groups_fit(layer, groups):
    """Raises `ValueError` if the groups are incompatible with a layer."""
    refuse_with_renorm(layer, layer.renorm)
    if layer.built:
        check_groups_divide(groups, layer.moving_mean.shape[0])


def ghosts_fit(layer, ghost_batch_size):
    """Raises `ValueError` for ghosts in a layer with `renorm`."""
    if ghost_batch_size is not None:
        refuse_with_renorm(layer, layer.renorm, ghost_batch_size)


def renorm_fits(layer, renorm):
    """Raises `ValueError` for `renorm` in a layer with ghosts or groups."""
    # Within the constructor of Keras' layer, a layer has no ghosts yet.
    ghost_batch_size = getattr(layer, "ghost_batch_size", None)
    if ghost_batch_size is not None or hasattr(layer, "groups"):
        refuse_with_renorm(layer, renorm, ghost_batch_size)


def refuse_with_renorm(layer, renorm, ghost_batch_size=None):
    """Raises `ValueError` if `renorm` is set."""
    if renorm:
        raise ValueError(
            "`renorm` corrects the statistics of the whole batch and cannot be "
            "combined with ghosts or groups. Leave out `renorm`, or use "
            "GhostBatchNormalization with ghost_batch_size=None. Received: "
            f"renorm={renorm!r}, ghost_batch_size={ghost_batch_size}."
        )


def check_positional(layer_class, names, more):
    """Raises `TypeError` if a layer was given too many positional arguments.

    Args:
        layer_class: The class of the layer.
        names: Tuple of the names of the arguments that may be positional.
        more: Tuple of the positional arguments after these.
    """
    if more:
        own = [name for name in layer_class.own_arguments if name not in names]
        raise TypeError(
            f"{layer_class.__name__} takes {' and '.join(f'`{n}`' for n in names)} by "
            "position and all other arguments by name: "
            f"{', '.join(f'{name}=...' for name in own)}, and those of "
            "keras.layers.BatchNormalization. Received by position besides: "
            f"{', '.join(map(repr, more))}."
        )


def with_hints(error, layer_class, keywords):
    """An error of Keras, with hints where arguments are unknown.

    Args:
        error: What the constructor of Keras' layer has raised.
        layer_class: The class of the layer.
        keywords: Dict of the arguments that the constructor was given.
    """
    known = keras_arguments()
    unknown = [name for name in keywords if name not in known]
    if not unknown:
        return error
    own = list(layer_class.own_arguments)
    hints = "".join(
        f" `{name}`: {hint}."
        for name in unknown
        if (hint := meant(name, [*own, *sorted(known)]))
    )
    return ValueError(
        f"{error}.{hints} {layer_class.__name__} takes {own} and the arguments of "
        "keras.layers.BatchNormalization."
    )


def keras_arguments():
    """The names of the arguments that `keras.layers.BatchNormalization` takes."""
    # Keras takes these two without naming them.
    names = {"input_shape", "input_dim"}
    for layer_class in (BatchNormalization, keras.layers.Layer):
        names |= inspect.signature(layer_class.__init__).parameters.keys()
    return names - {"self", "kwargs"}


def meant(name, allowed):
    """What to pass in place of an argument that doesn't exist, or `None`.

    Args:
        name: String, the name of the argument.
        allowed: List of strings, the arguments that exist.
    """
    if name in FOREIGN_NAMES:
        return FOREIGN_NAMES[name]
    close = difflib.get_close_matches(name, allowed, 1)
    return f"perhaps you meant `{close[0]}`" if close else None


def channels_of(layer, input_shape):
    """The number of channels of a layer's inputs, or a `ValueError`."""
    if not hasattr(input_shape, "__len__") or isinstance(input_shape, (str, dict)):
        raise ValueError(
            f"Layer '{layer.name}' takes one tensor of examples, of rank 2 or more. "
            f"Received: input_shape={input_shape!r}."
        )
    axis, rank = layer.axis, len(input_shape)
    if not 1 <= (axis + rank if axis < 0 else axis) < rank:
        raise ValueError(
            "The inputs need examples along their first axis and channels along "
            f"`axis`, another one. Received: axis={axis}, "
            f"input_shape={tuple(input_shape)}. If {axis} is the size of a ghost, pass "
            f"it by name: {type(layer).__name__}(ghost_batch_size={axis})."
        )
    channels = input_shape[axis]
    if channels is None:
        raise ValueError(
            f"Axis {axis} of the input tensor should have a defined dimension but the "
            f"layer received an input with shape {tuple(input_shape)}. Give the input "
            "a fixed number of channels."
        )
    return channels


def check_mask(mask, inputs, axis):
    """Raises `ValueError` unless the shape of a mask fits that of the inputs.

    Args:
        mask: What was given as the mask.
        inputs: Tensor with channels along `axis`.
        axis: Non-negative integer.
    """
    shape = tuple(inputs.shape)
    expected = shape[:axis] + shape[axis + 1 :]
    found = getattr(mask, "shape", None)
    if found is not None and getattr(found, "rank", 0) is None:
        return  # A graph of TensorFlow doesn't know the rank yet.
    fits = found is not None and len(found) == len(expected)
    if fits:
        # `keras.layers.Masking` makes masks of the leading axes, wherever channels are.
        fits = any(
            all(None in (a, b) or a in (1, b) for a, b in zip(tuple(found), sizes))
            for sizes in (expected, shape[:-1])
        )
    if not fits:
        received = f"mask={mask!r}" if found is None else f"mask.shape={tuple(found)}"
        raise ValueError(
            "The mask must have all dimensions of the inputs except that of the "
            f"channels: a Boolean tensor of shape {expected}. Received: "
            f"{received}, inputs.shape={shape}, axis={axis}."
        )
