"""Corruptions against their definitions, and what all of them have in common."""

import sys

import numpy as np
import pytest

from keras_bn4.shift import SEVERITIES, corrupt, kinds, large_images
from keras_bn4.shift.small_images import KINDS, apply

ndimage = pytest.importorskip("scipy.ndimage")
pytest.importorskip("matplotlib")


def photographs(rng, *shape):
    """Smooth images, as photographs are."""
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (0, 2, 2, 0))
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype("uint8")


@pytest.fixture
def colors(rng):
    return photographs(rng, 20, 32, 32, 3)


def change(x, kind, severity, highest=255):
    shifted = corrupt(x, kind, severity, highest=highest).astype(float)
    return np.abs(shifted - x).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_images_stay_images_and_shift_more_at_a_higher_severity(kind, colors):
    given = colors.copy()
    shifted = corrupt(colors, kind, 3)
    assert (shifted.shape, shifted.dtype) == (colors.shape, colors.dtype)
    assert np.array_equal(colors, given)
    assert np.array_equal(shifted, corrupt(colors, kind, 3))
    if kind.endswith(("noise", "fog")):
        assert not np.array_equal(shifted, corrupt(colors, kind, 3, seed=1))
    # Of "saturate", severities 1 and 2 take color away and the others add some.
    severities = SEVERITIES[2:] if kind == "saturate" else SEVERITIES
    changes = [change(colors, kind, severity) for severity in severities]
    assert changes == sorted(changes)
    assert changes[0] > 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "saturate"])
def test_gray_images_with_fractions(kind, rng):
    x = rng.integers(0, 17, (5, 8, 8, 1)).astype("float32")
    shifted = corrupt(x, kind, 5, highest=16)
    assert (shifted.shape, shifted.dtype) == (x.shape, x.dtype)
    assert 0 <= shifted.min() < shifted.max() <= 16
    # Impulses are black or white.
    assert (shifted % 1).any() == (kind != "impulse_noise")


def test_noises_have_their_published_deviation(rng):
    x = np.full((40, 32, 32, 3), 0.5)
    for kind, expected in (
        ("gaussian_noise", lambda strength: strength),
        ("speckle_noise", lambda strength: 0.5 * strength),
        ("shot_noise", lambda photons: np.sqrt(0.5 / photons)),
        ("impulse_noise", lambda share: 0.5 * np.sqrt(share)),
    ):
        for strength in KINDS[kind][1]:
            found = apply(x, kind, strength, rng)
            assert found.mean() == pytest.approx(0.5, abs=0.003)
            assert found.std() == pytest.approx(expected(strength), rel=0.05)


def test_contrast_and_brightness_are_exact(rng):
    x = rng.uniform(0.3, 0.6, (3, 5, 6, 3))
    expected = 0.4 * x + 0.6 * x.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(apply(x, "contrast", 0.4, rng), expected)
    brighter = apply(x, "brightness", 0.2, rng)
    # The largest color of a pixel is its value, and the others keep their share of it.
    np.testing.assert_allclose(brighter.max(-1), x.max(-1) + 0.2)
    np.testing.assert_allclose(
        brighter / brighter.max(-1, keepdims=True), x / x.max(-1, keepdims=True)
    )


def test_saturation_0_is_gray(rng):
    x = rng.uniform(0, 1, (2, 4, 4, 3))
    gray = apply(x, "saturate", (0, 0), rng)
    np.testing.assert_allclose(gray, x.max(-1, keepdims=True) * np.ones(3))


def test_a_blur_of_a_point_is_a_bell(rng):
    x = np.zeros((1, 31, 31, 1))
    x[0, 15, 15] = 1
    blurred = apply(x, "gaussian_blur", 2.0, rng)[0, :, :, 0]
    distances = np.arange(31) - 15
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    assert (blurred.sum(0) * distances**2).sum() == pytest.approx(4, rel=0.02)


def test_fog_is_white_clouds_that_are_not_noise(rng):
    black_and_white = np.zeros((8, 32, 32, 3))
    black_and_white[:, :16] = 1
    foggy = apply(black_and_white, "fog", (1, 2), rng)
    np.testing.assert_allclose(foggy[..., 0], foggy[..., 1])
    clouds = foggy[:, 16:, :, 0]
    assert clouds.std() > 0.05
    # Neighbors are more alike than pixels far apart.
    near = np.abs(clouds[:, :, 1:] - clouds[:, :, :-1]).mean()
    far = np.abs(clouds[:, :, 16:] - clouds[:, :, :-16]).mean()
    assert near < 0.6 * far


@pytest.mark.parametrize(("kind", "severity"), [("snow", 1), ("fog", 0), ("fog", 6)])
def test_unknown_kinds_and_severities(kind, severity, colors):
    with pytest.raises(ValueError, match=r"one of \['gaussian_noise', .*Received"):
        corrupt(colors, kind, severity)


@pytest.fixture(scope="module")
def imagenet_c():
    for package in ("cv2", "skimage", "tensorflow_datasets"):
        pytest.importorskip(package)
    from tensorflow_datasets.image_classification import corruptions

    return corruptions


def test_large_images_are_corrupted_by_the_functions_of_imagenet_c(imagenet_c, rng):
    x = photographs(rng, 2, 66, 80, 3)
    state = np.random.get_state()[1]  # noqa: NPY002
    assert set(kinds(32)) < set(kinds((66, 80)))
    for kind in kinds(x.shape[1:3]):
        function = getattr(imagenet_c, kind)
        changed = corrupt(x, kind, 4)
        assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
        assert change(x, kind, 4) > 0.5, kind
        # Each image by itself, whatever comes with it.
        assert np.array_equal(changed[1:], corrupt(x[1:], kind, 4, seed=1)), kind
        if kind == "impulse_noise":
            share = (changed != x).mean()
            assert share == pytest.approx(0.17, abs=0.01)
        elif np.array_equal(changed, corrupt(x, kind, 4, seed=1)):  # Not random.
            assert np.array_equal(changed[0], function(x[0], 4)), kind
        if kind != "saturate":
            gray = corrupt(x[..., :1].astype("float32") / 255, kind, 4, highest=1)
            assert gray.shape == (2, 66, 80, 1)
            assert 0 <= gray.min() < gray.max() <= 1
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_faster_glass_blur_is_that_of_imagenet_c(severity, imagenet_c, rng):
    image = photographs(rng, 1, 40, 66, 3)[0]
    np.random.seed(severity)  # noqa: NPY002
    expected = imagenet_c.glass_blur(image, severity)
    np.random.seed(severity)  # noqa: NPY002
    assert np.array_equal(large_images._glass_blur(image, severity), expected)
    assert np.abs(expected.astype(float) - image).mean() > 0.5


def test_what_is_missing_is_named(colors, monkeypatch):
    large = np.repeat(colors[:1], 3, axis=1)
    for package in ("cv2", "skimage"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ImportError, match=rf"{package}.*keras_bn4\[shift\]"):
                corrupt(large, "fog", 1)
            darker = corrupt(large, lambda images: images * 0.25)
            assert np.array_equal(darker, (large * 0.25).astype("uint8"))


def test_images_in_another_range(colors):
    scaled = colors / 127.5 - 1
    with pytest.raises(ValueError, match=r"highest=255.*reach from -1 to"):
        corrupt(scaled, "fog", 1)
    with pytest.warns(UserWarning, match="highest=1 if"):
        corrupt(colors / 255, "fog", 1)
    with pytest.raises(ValueError, match="no saturation"):
        corrupt(colors[..., :1], "saturate", 1)
