"""Folders of images, with a folder for each class, read batch by batch."""

import collections
import os
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_bn4.common.arguments import check_integer
from keras_bn4.common.errors import reason_of
from keras_bn4.common.tables import listed
from keras_bn4.datasets.builders import check_pair

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
RAW = "0-255"
SCALES = {
    RAW: lambda images: images,
    "0-1": lambda images: images / 255,
    "-1-1": lambda images: images / 127.5 - 1,
}
COLOR_MODES = {1: "grayscale", 3: "rgb"}


class ImageFolder(keras.utils.PyDataset):
    """Images in a folder with a folder for each class, read when they are used.

    `evaluate`, `fit` and `keras_bn4.sweep_example_weight` take it on every backend.
    One batch is in memory at a time. Images are in a random order that is always the
    same. Each is cropped to the central part of the right shape and resized.

    Args:
        folder: Path. The folders in it are the classes, and all images below these
            count.
        image_size: Pair of integers `(height, width)`, such as that of the model's
            input.
        channels: 3 or 1. Gray images are given three equal channels, and colored ones
            are turned gray.
        classes: The names of all classes that the model knows, in the order of its
            outputs: a sequence of names, or the path of a file with a name in each
            line. Of a line the whole counts, or the first word. A class without a
            folder has no images. `None` for the names of the folders, sorted.
        scale: What the model is given: values of `"0-255"`, `"0-1"` or `"-1-1"`; the
            name of a module of `keras.applications`, such as `"resnet50"`, for its
            `preprocess_input`; or a function of a batch with values from 0 to 255.
        label_mode: `"int"` for labels that are integers, or `"categorical"` for one-hot
            ones.
        half: `"choose"` or `"report"` for one or the other half of the images, cut at
            random and always the same, or `None` for all.
        batch_size: Positive integer. The last batch has what remains.

    Attributes:
        files: List of the paths of the images.
        labels: Array of integers of shape `(n,)`, their places in `classes`.
        classes: List of strings.

    Raises:
        ValueError: if an argument is not as above, there are no folders with images, or
            a folder is not among `classes`; and when it is read, if a file is no whole
            image, with its name.
        ImportError: if Pillow is not installed, when it is read.

    Examples:
        ```python
        images = keras_bn4.datasets.ImageFolder("validation", image_size=(224, 224))
        sweep = keras_bn4.sweep_example_weight(model, images)
        ```
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        image_size: tuple[int, int],
        channels: int = 3,
        classes: str | os.PathLike | Sequence[str] | None = None,
        scale: str | Callable = RAW,
        label_mode: str = "int",
        half: str | None = None,
        batch_size: int = 32,
    ):
        super().__init__()
        check_pair(image_size)
        for name, value, allowed in (
            ("channels", channels, list(COLOR_MODES)),
            ("label_mode", label_mode, ["int", "categorical"]),
            ("half", half, ["choose", "report", None]),
        ):
            if value not in allowed:
                raise ValueError(
                    f"Argument `{name}` must be one of {allowed}. Received: "
                    f"{name}={value!r}."
                )
        self.image_size = tuple(image_size)
        self.channels = channels
        self.label_mode = label_mode
        self.batch_size = check_integer("batch_size", batch_size)
        self.scaled = scaling(scale)
        found = _images_by_class(pathlib.Path(folder))
        self.classes = sorted(found) if classes is None else _names(classes)
        places = _places(self.classes)
        unknown = [name for name in sorted(found) if found[name] and name not in places]
        if unknown:
            raise ValueError(
                f"{folder} has folders that are not among the {len(self.classes)} "
                f"classes: {listed(unknown)}. Name classes as their folders. Received: "
                f"{listed(self.classes)}."
            )
        pairs = [(x, places[name]) for name in sorted(found) for x in found[name]]
        order = np.random.default_rng(0).permutation(len(pairs))
        if half is not None:
            middle = len(order) // 2
            order = order[:middle] if half == "choose" else order[middle:]
            if not len(order):
                raise ValueError(
                    f"{folder} has one image, which cannot be cut into two halves."
                )
        self.files = [pairs[i][0] for i in order]
        self.labels = np.array([pairs[i][1] for i in order])

    def __len__(self):
        return -(-len(self.files) // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: {index}.")
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        images = np.stack([self._image(file) for file in self.files[rows]])
        labels = self.labels[rows]
        if self.label_mode == "categorical":
            labels = keras.utils.to_categorical(labels, len(self.classes))
        return self.scaled(images), labels

    def _image(self, file):
        try:
            _check_depth(file)
            image = keras.utils.load_img(
                file,
                color_mode=COLOR_MODES[self.channels],
                target_size=self.image_size,
                interpolation="bilinear",
                keep_aspect_ratio=True,
            )
            # An image of the right size is read only here.
            return keras.utils.img_to_array(image, dtype="float32")
        except ImportError as error:
            raise ImportError(
                "Folders of images are read with Pillow, which is not installed: pip "
                "install pillow."
            ) from error
        except Exception as error:
            # What Pillow raises for files that are damaged is of many classes.
            raise ValueError(
                f"Cannot read the image {file}: {reason_of(error)}. Remove the file "
                "or replace it by a whole image with values from 0 to 255."
            ) from error

    def __repr__(self):
        height, width = self.image_size
        return (
            f"<ImageFolder of {len(self.files):,} images of {len(set(self.labels)):,} "
            f"classes, cropped and resized to {height} x {width} pixels>"
        )


def _check_depth(file):
    """Raises `ValueError` for a gray image whose white is not 255."""
    from PIL import Image

    with Image.open(file) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(
                f"it is gray with more than 8 bits a pixel (mode {image.mode!r} of "
                "Pillow), and doesn't say which value is white"
            )


def scaling(scale):
    """The function that gives images of 0 to 255 a scale as `ImageFolder` takes it."""
    if callable(scale):
        return scale
    if scale in SCALES:
        return SCALES[scale]
    module = getattr(keras.applications, str(scale), None)
    if hasattr(module, "preprocess_input"):
        return module.preprocess_input
    modules = [
        name
        for name in dir(keras.applications)
        if hasattr(getattr(keras.applications, name), "preprocess_input")
    ]
    raise ValueError(
        f"Unknown scale {scale!r}. Allowed: {listed(SCALES)}, or a module of "
        f"keras.applications: {', '.join(modules)}."
    )


def _images_by_class(folder):
    """Dict of the paths of the images in each folder of a folder, both sorted."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    found = {
        entry.name: sorted(
            os.path.join(path, name)
            for path, _, names in os.walk(entry, followlinks=True)
            for name in names
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        )
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if not any(found.values()):
        raise ValueError(
            f"{folder} has no folders with images. Expected a folder for each class, "
            f"and in these, images that end in one of {', '.join(EXTENSIONS)}."
        )
    return found


def _names(classes):
    if not isinstance(classes, (str, os.PathLike)):
        return list(classes)
    try:
        names = pathlib.Path(classes).read_text().rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Cannot read the names of the classes from {classes}: {error}. Expected a "
            "text file with a name in each line."
        ) from error
    return [name.strip() for name in names]


def _places(names):
    """Dict of the place of each name, and of its first word where that says enough."""
    whole = {name: i for i, name in enumerate(names)}
    if len(whole) < len(names):
        (twice, count), *_ = collections.Counter(names).most_common()
        raise ValueError(
            f"{count} classes have the name {twice!r}. Give each class its own name, "
            "that of its folder."
        )
    first = [(name.split() or [name])[0] for name in names]
    counts = collections.Counter(first)
    return {word: i for i, word in enumerate(first) if counts[word] == 1} | whole
