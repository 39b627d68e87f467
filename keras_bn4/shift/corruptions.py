"""Common corruptions of images: darker, foggier, blurred, noisier ones.

Images of up to 64 pixels get eleven of the kinds of CIFAR-10-C at its published
strengths (Hendrycks and Dietterich, 2019, https://arxiv.org/abs/1903.12261). Larger
ones get sixteen of the kinds of ImageNet-C, by the functions with which
tensorflow-datasets made its `imagenet2012_corrupted`.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from keras_bn4.shift import large_images, small_images

# A name of `kinds`, or a function of images.
Kind = str | Callable[[np.ndarray], np.ndarray]

# The longer side of the largest images that have the strengths of CIFAR-10-C.
SMALL = 64
SEVERITIES = (1, 2, 3, 4, 5)


def kinds(size: int | Sequence[int]) -> tuple[str, ...]:
    """Names the kinds of corruption that images of a size can have.

    Args:
        size: Integer, or a sequence of integers such as `(height, width)`.

    Returns:
        Tuple of strings: eleven kinds for images of up to 64 pixels, sixteen for larger
        ones. Gray images can't have `"saturate"`.

    Examples:
        >>> len(kinds(32)), len(kinds((224, 224)))
        (11, 16)
    """
    return large_images.KINDS if np.max(size) > SMALL else tuple(small_images.KINDS)


def corrupt(
    images: np.ndarray,
    kind: Kind,
    severity: int | None = None,
    *,
    highest: float = 255,
    seed: int = 0,
) -> np.ndarray:
    """Corrupts images: makes them darker, foggier, blurred or noisier.

    Args:
        images: Array of shape `(n, height, width, channels)` with 1 or 3 channels.
        kind: One of `kinds((height, width))`. Or a function that takes the images and
            returns changed ones, such as what another camera would have made of them.
        severity: Integer from 1 to 5. A function has no severity.
        highest: Number, the value of white; black is 0.
        seed: Integer. The same seed, kind and severity give the same images. Of images
            above 64 pixels, image `i` with seed `s` is corrupted as image 0 with seed
            `s + i`.

    Returns:
        Array of the shape and dtype of `images`. Images above 64 pixels have at most
        256 shades, as the published files have.

    Raises:
        ValueError: if there is no such kind or severity, or the images are not as
            above.
        ImportError: if a package is missing that the kind needs.

    Examples:
        >>> gray = np.full((1, 8, 8, 1), 100, "uint8")
        >>> int(corrupt(gray, "brightness", 5)[0, 0, 0, 0])
        176
        >>> int(corrupt(gray, lambda images: images // 4)[0, 0, 0, 0])
        25
    """
    images = np.asarray(images)
    check_images(images, highest)
    if callable(kind):
        changed = np.asarray(kind(images))
        if changed.shape != images.shape:
            raise ValueError(
                f"Function {name_of_kind(kind)} must return images of the shape that "
                f"it gets, {images.shape}. Received: {changed.shape}."
            )
        return changed.astype(images.dtype)
    level = check_kind(kind, severity, images.shape[1:])
    if max(images.shape[1:3]) > SMALL:
        shades = np.round(images * (255 / highest)).astype("uint8")
        colors = np.broadcast_to(shades, (*shades.shape[:3], 3))
        changed = large_images.apply(colors, kind, level, seed) * (highest / 255)
        changed = changed[..., : images.shape[-1]]
    else:
        rng = np.random.default_rng([seed, list(small_images.KINDS).index(kind), level])
        strength = small_images.KINDS[kind][1][level - 1]
        changed = small_images.apply(images / highest, kind, strength, rng) * highest
    if np.issubdtype(images.dtype, np.integer):
        changed = np.round(changed)
    return changed.astype(images.dtype)


def name_of_kind(kind):
    """The name by which tables call a kind, of a function its own."""
    return kind if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))


def check_kind(kind, severity, shape):
    """Returns the severity, or raises `ValueError` if images cannot have the kind."""
    allowed = kinds(shape[:2])
    if kind not in allowed or severity not in SEVERITIES:
        raise ValueError(
            f"For images of {shape[0]} x {shape[1]} pixels, argument `kind` must be "
            f"one of {list(allowed)}, or a function of images, and `severity` one of "
            f"{list(SEVERITIES)}. Received: kind={kind!r}, severity={severity!r}."
        )
    if kind == "saturate" and shape[-1] == 1:
        raise ValueError(
            "Gray images have no saturation. Leave out the kind 'saturate'. Received: "
            f"images of shape {shape}."
        )
    return severity


def check_images(images, highest=255):
    """Raises `ValueError` unless these are images with values from 0 to `highest`."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "Expected images of shape (n, height, width, channels) with 1 or 3 "
            f"channels. Received: an array of shape {images.shape}."
        )
    if not images.size:
        return
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= highest):
        raise ValueError(
            f"Images must have values from 0 (black) to highest={highest:g} (white), "
            f"and reach from {low:g} to {high:g}. Give images that are not yet scaled "
            "for the model, or say what white is: highest=..."
        )
    if 0 < high <= 1 < highest:
        warnings.warn(
            f"The images are nearly black: no value is above {high:g}, and white is "
            f"{highest:g}. Give highest=1 if they have values from 0 to 1.",
            stacklevel=3,
        )
