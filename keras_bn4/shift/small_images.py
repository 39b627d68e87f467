"""Corruptions of small images, at the strengths of CIFAR-10-C.

Each kind is a function of images with values from 0 to 1, of its strength, and of a
random generator (Hendrycks and Dietterich, 2019, https://arxiv.org/abs/1903.12261).
"""

import io

import numpy as np


def apply(x, kind, strength, rng):
    """Shifts images with values from 0 to 1 by a strength as those in `KINDS`."""
    return np.clip(KINDS[kind][0](x, strength, rng), 0, 1)


def _gaussian_noise(x, deviation, rng):
    return x + rng.normal(0, deviation, x.shape)


def _shot_noise(x, photons, rng):
    return rng.poisson(x * photons) / photons


def impulse_noise(x, share, rng):
    white = rng.random(x.shape) < 0.5
    return np.where(rng.random(x.shape) < share, white, x)


def _speckle_noise(x, deviation, rng):
    return x * (1 + rng.normal(0, deviation, x.shape))


def _gaussian_blur(x, deviation, rng):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, (0, deviation, deviation, 0), mode="nearest")


def _contrast(x, factor, rng):
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) * factor + mean


def _brightness(x, added, rng):
    if x.shape[-1] == 1:
        return x + added
    return _in_hsv(x, lambda h, s, v: (h, s, np.clip(v + added, 0, 1)))


def _saturate(x, line, rng):
    factor, added = line
    return _in_hsv(x, lambda h, s, v: (h, np.clip(s * factor + added, 0, 1), v))


def _in_hsv(x, change):
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    changed = change(*np.moveaxis(rgb_to_hsv(x), -1, 0))
    return hsv_to_rgb(np.stack(changed, -1))


def _jpeg_compression(x, quality, rng):
    from PIL import Image

    def compressed(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _with_pillow(x, compressed)


def _pixelate(x, share, rng):
    from PIL import Image

    size = x.shape[2], x.shape[1]
    small = [int(length * share) for length in size]
    box = Image.Resampling.BOX
    return _with_pillow(x, lambda image: image.resize(small, box).resize(size, box))


def _with_pillow(x, change):
    from PIL import Image

    is_gray = x.shape[-1] == 1
    images = np.round(x * 255).astype("uint8")
    images = images[..., 0] if is_gray else images
    changed = np.stack([np.asarray(change(Image.fromarray(i))) for i in images]) / 255
    return changed[..., None] if is_gray else changed


def _fog(x, fog, rng):
    weight, roughness = fog
    height, width = x.shape[1:3]
    clouds = np.stack([_clouds(max(height, width), roughness, rng) for _ in x])
    whitest = x.max((1, 2, 3), keepdims=True)
    thick = x + weight * clouds[:, :height, :width, None]
    return thick * whitest / (whitest + weight)


def _clouds(size, roughness, rng):
    """A cloudy image from 0 to 1, by the diamond-square algorithm on a torus."""
    size = 2 ** int(np.ceil(np.log2(size)))
    clouds = np.zeros((size, size))
    step, amount = size, 1.0
    while step > 1:
        half = step // 2
        corners = clouds[::step, ::step]
        below = np.roll(corners, -1, 0)
        centers = (corners + below + np.roll(corners + below, -1, 1)) / 4
        noise = rng.uniform(-amount, amount, (3, *corners.shape))
        centers = centers + noise[0]
        clouds[half::step, half::step] = centers
        # The middle of an edge lies between two corners and two centers.
        beside = corners + np.roll(corners, -1, 1) + centers + np.roll(centers, 1, 0)
        clouds[::step, half::step] = beside / 4 + noise[1]
        beside = corners + np.roll(corners, -1, 0) + centers + np.roll(centers, 1, 1)
        clouds[half::step, ::step] = beside / 4 + noise[2]
        step, amount = half, amount / roughness
    clouds -= clouds.min()
    return clouds / clouds.max()


# By kind: its function, and the strengths of severities 1 to 5.
KINDS = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "speckle_noise": (_speckle_noise, (0.06, 0.10, 0.12, 0.16, 0.20)),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "brightness": (_brightness, (0.05, 0.10, 0.15, 0.20, 0.30)),
    "saturate": (_saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40)),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "fog": (_fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
}
