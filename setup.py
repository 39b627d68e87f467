import pathlib
import re

import setuptools

root = pathlib.Path(__file__).parent
version = re.search(
    r'__version__ = "(.+)"', (root / "keras_bn4/__init__.py").read_text()
)[1]

tensorflow = ["tensorflow>=2.20"]
plot = ["matplotlib>=3.8"]
dataframe = ["pandas"]
# Keras reads folders of images with Pillow. tensorflow-datasets does not declare
# importlib_resources, reads with TensorFlow, and prepares SVHN and Flowers-102 with
# scipy.
datasets = [
    "tensorflow-datasets>=4.9.8",
    "importlib_resources",
    "pillow",
    "scipy",
    "scikit-learn>=1.4",
    *tensorflow,
]
# What makes the corruptions of ImageNet-C.
shift = [*datasets, "opencv-python-headless", "scikit-image", "Pillow"]
# tensorflow-datasets prepares CUB-2011 with OpenCV, which is large.
birds = ["opencv-python-headless"]
# keras-tuner declares neither six, nor tensorboard, which it imports on TensorFlow, nor
# what Bayesian search imports.
tune = ["keras-tuner>=1.4.7", "six", "tensorboard", "scikit-learn>=1.4", "scipy"]
test = [
    # The first wheel that carries the tests of Keras' own layer.
    "keras>=3.15",
    "keras-hub>=0.26",
    "ipykernel",
    "nbclient",
    "mypy",
    "nbformat",
    "hypothesis",
    "pytest>=8",
    "pytest-xdist",
    "ruff",
    *birds,
    *datasets,
    *plot,
    *shift,
    *tune,
]

setuptools.setup(
    name="keras_bn4",
    version=version,
    description="Batch normalization, improved: example weighing, ghost batches, "
    "batch-group statistics. For Keras 3.",
    long_description=(root / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # Experiments run in a clone.
    packages=setuptools.find_packages(
        include=["keras_bn4", "keras_bn4.*"],
        exclude=["keras_bn4.experiments", "keras_bn4.experiments.*"],
    ),
    package_data={"keras_bn4": ["py.typed", "datasets/checksums.tsv"]},
    entry_points={"console_scripts": ["keras_bn4 = keras_bn4.commands.main:main"]},
    # Type checkers don't find what is installed in the other modes.
    options={"editable_wheel": {"mode": "compat"}},
    python_requires=">=3.11",
    install_requires=["keras>=3.14,<4", "numpy"],
    extras_require={
        "tensorflow": tensorflow,
        "tune": tune,
        "birds": birds,
        "datasets": datasets,
        "plot": plot,
        "shift": shift,
        "dataframe": dataframe,
        "test": test,
        "all": sorted({*tensorflow, *tune, *datasets, *plot, *dataframe, *test}),
    },
)
