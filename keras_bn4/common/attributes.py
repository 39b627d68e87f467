"""Attributes of layers that stay valid when they are set after construction."""

import functools

from keras_bn4.common.arguments import check_flag, check_groups_divide, check_object


class Checked:
    """An attribute of a class that takes only what functions accept.

    Its value stands among the `vars` of an object under the attribute's own name, as
    an ordinary attribute does.

    Args:
        check: Function of a value that returns what to keep, or raises an error.
        fits: Function of the object and such a value that raises an error where they
            don't go together, or `None`.
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


def flag(name, fits=None):
    """A `Checked` attribute that is `True` or `False`."""
    return Checked(functools.partial(check_flag, name), fits)


def object_of_keras(name):
    """A `Checked` attribute that is a regularizer or a constraint, or `None`."""
    return Checked(functools.partial(check_object, name))


def fixed_once_built(name):
    """The `fits` of a `Checked` attribute that can't change once a layer is built."""

    def fits(layer, value):
        if layer.built and value != getattr(layer, name):
            raise ValueError(
                f"Layer '{layer.name}' is built, and its `{name}` can't change any "
                f"more. Make a new layer with {name}={value!r}. It has "
                f"{name}={getattr(layer, name)!r}."
            )

    return fits


def renorm_fits(layer, value):
    """Raises `ValueError` where a layer has ghosts, or was built without `renorm`."""
    # Within the constructor of Keras' layer, a layer has no ghosts yet.
    if value and getattr(layer, "_has_own_statistics", False):
        _refuse_renorm_with_ghosts(getattr(layer, "ghost_batch_size", None))
    if value and layer.built and not hasattr(layer, "renorm_mean"):
        raise ValueError(
            f"Layer '{layer.name}' was built without `renorm` and lacks its variables. "
            "Make a new layer with renorm=True. Received: renorm=True."
        )


def ghosts_fit(layer, value):
    """Raises `ValueError` where a layer with `renorm` would get ghosts."""
    if value is not None and getattr(layer, "renorm", False):
        _refuse_renorm_with_ghosts(value)


def _refuse_renorm_with_ghosts(ghost_batch_size):
    raise ValueError(
        "`renorm` corrects the statistics of the whole batch and can't be combined "
        "with ghosts or groups. Leave out `renorm`, or use GhostBatchNormalization "
        "with ghost_batch_size=None. Received: renorm=True, "
        f"ghost_batch_size={ghost_batch_size}."
    )


def groups_fit(layer, value):
    """Raises `ValueError` where groups don't divide the channels of a built layer."""
    if layer.built:
        check_groups_divide(value, layer.moving_mean.shape[0])
