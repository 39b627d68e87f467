"""Sixteen of the corruptions of ImageNet-C, for images of more than 64 pixels.

They are made by the functions with which tensorflow-datasets made its
`imagenet2012_corrupted`.
"""

import contextlib
import importlib
import warnings

import numpy as np

from keras_bn4.shift.small_images import impulse_noise

# Frost needs photographs of frost, snow and motion blur need ImageMagick.
KINDS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    *("gaussian_blur", "defocus_blur", "glass_blur", "zoom_blur"),
    *("contrast", "brightness", "saturate", "fog", "spatter"),
    *("elastic_transform", "pixelate", "jpeg_compression"),
)
# By severity: the share of noise, of which ImageNet-C's function draws from a generator
# that nobody can seed.
IMPULSE_NOISE = (0.03, 0.06, 0.09, 0.17, 0.27)
# By severity: the deviation of the blur, the distance from which pixels are taken, both
# in pixels, and how often they are.
GLASS_BLUR = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))


def apply(images, kind, severity, seed):
    """Corrupts colored images with 256 shades, each from a seed of its own.

    Raises:
        ImportError: if OpenCV, scikit-image or tensorflow-datasets is not installed.
    """
    function, place = getattr(_imagenet_c(), kind), KINDS.index(kind)
    function = {"glass_blur": _glass_blur}.get(kind, function)
    found = []
    state = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        stack.callback(np.random.set_state, state)
        # Names of SciPy that are deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        for i, image in enumerate(images):
            source = np.random.SeedSequence([seed + i, place, severity])
            if kind == "impulse_noise":
                share = IMPULSE_NOISE[severity - 1]
                rng = np.random.default_rng(source)
                changed = np.round(255 * impulse_noise(image / 255, share, rng))
                found.append(changed.astype("uint8"))
            else:
                np.random.seed(source.generate_state(4))  # noqa: NPY002
                found.append(function(image, severity))
    return np.stack(found)


def _imagenet_c():
    """The module of tensorflow-datasets with the functions that made ImageNet-C."""
    try:
        for name in ("cv2", "skimage", "scipy", "PIL"):
            importlib.import_module(name)
        return importlib.import_module(
            "tensorflow_datasets.image_classification.corruptions"
        )
    except ImportError as error:
        raise ImportError(
            "Corrupting images above 64 pixels needs OpenCV, scikit-image and "
            f"tensorflow-datasets ({error}): `pip install "
            '"keras_bn4[shift]"`. A function of images as the kind needs none of them.'
        ) from error


def _glass_blur(image, severity):
    """The image that tensorflow-datasets' function makes in forty times as long.

    Between two blurs, every pixel in turn becomes a random one near it.
    """
    from skimage.filters import gaussian

    deviation, reach, rounds = GLASS_BLUR[severity - 1]
    blurred = np.uint8(gaussian(image / 255, deviation, channel_axis=-1) * 255)
    height, width = image.shape[:2]
    rows, columns = (np.arange(n - reach, reach, -1) for n in (height, width))
    targets = np.add.outer(width * rows, columns)
    size = (rounds, *targets.shape, 2)
    moves = np.random.randint(-reach, reach, size)  # noqa: NPY002
    sources = targets + moves @ (1, width)
    pixels = list(range(height * width))
    # Not all at once: what a pixel becomes may have been another one before.
    for target, source in zip(rounds * targets.ravel().tolist(), sources.flat):
        pixels[target] = pixels[source]
    shuffled = blurred.reshape(height * width, -1)[pixels].reshape(image.shape)
    blurred = gaussian(shuffled / 255, deviation, channel_axis=-1)
    return np.around(255 * np.clip(blurred, 0, 1)).astype("uint8")
