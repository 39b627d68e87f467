"""What the README and the pages beside the code say to do can be done."""

import argparse
import pathlib
import re
import runpy
import shlex
import sys

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn4

if keras.backend.backend() != "tensorflow":
    pytest.skip("the pages have a strategy of TensorFlow", allow_module_level=True)

ROOT = pathlib.Path(keras_bn4.__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "keras_bn4").rglob("*.md"))]
COMMANDS = sorted(
    {
        command.strip()
        for page in PAGES
        for command in re.findall(
            r"(?<!bin/)python -m (keras_bn4[^`#\n]*)", page.read_text()
        )
    }
)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """The Python blocks of a page, each after as many empty lines as come before it."""
    text = page.read_text()
    block = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [
        "\n" * text[: found.start(1)].count("\n") + found[1]
        for found in block.finditer(text)
    ]


def build(hp=None):
    """A small residual network, compiled."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(name="stem_normalization")(x)
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.ReLU()(x))
    y = layers.BatchNormalization()(y)
    outputs = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(outputs))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def prelude():
    """The names that the pages take from their readers."""
    rng = np.random.default_rng(0)
    names = {"build": build, "model": keras_bn4.convert(build())}
    for part in ("train", "validation", "test"):
        names[f"x_{part}"] = rng.normal(size=(32, 8, 8, 1)).astype("float32")
        names[f"y_{part}"] = rng.integers(3, size=32)
    names["x_train_augmented"] = names["x_train"][:, :, ::-1]
    names["x_shifted"] = names["x_test"] / 2
    for half in ("choose", "report"):
        names[f"x_{half}"] = rng.integers(0, 256, (8, 8, 8, 1)).astype("uint8")
        names[f"y_{half}"] = rng.integers(3, size=8)
    names["folder"] = "images"
    names["large_image"] = rng.normal(size=(16, 16, 1)).astype("float32")
    # How much the search and the trainings do.
    return {**names, "trials": 2, "epochs": 1}


@pytest.mark.slow
# Keras Tuner's.
@pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build().save("model.keras")
    for name in "abc":
        pathlib.Path("images", name).mkdir(parents=True)
        keras.utils.save_img(f"images/{name}/0.png", np.ones((9, 9, 3)), scale=False)
    names = {"keras": keras, "keras_bn4": keras_bn4, "np": np, **prelude()}
    names["model"].save("old.h5")  # In the format of tf_keras.
    for block in blocks(page):
        if "import jax" in block:
            continue  # `tests/layers` runs it, on JAX.
        exec(compile(block, page, "exec"), names)


class Parsed(Exception):
    """Ends a command as soon as its arguments are parsed."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* found in sys.modules after import")
@pytest.mark.parametrize("command", COMMANDS)
def test_arguments_of_a_command_are_accepted(command, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(*arguments, **keywords):
        raise Parsed(parse(*arguments, **keywords))

    module, *arguments = shlex.split(command)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(Parsed):
        runpy.run_module(module, run_name="__main__")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_to_files_and_sections(page):
    # Pictures as well.
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", page.read_text())
    for link in links:
        if link.startswith("https://"):
            continue
        file, _, section = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if section:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert section in map(anchor, headings), link


def anchor(heading):
    """What a link to a heading is called, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_there_are_pages_blocks_and_commands():
    assert {page.parent.name for page in PAGES[1:]} >= {"layers", "tuner"}
    assert "keras_bn4" in COMMANDS
    for page in PAGES:
        # No block is of another kind, which no test would run.
        assert page.read_text().count("```") == 2 * len(blocks(page))
    assert all(map(blocks, PAGES[:2]))


def test_the_readme_has_one_command_of_the_tests():
    # `.ci/run` takes it from there.
    assert README.read_text().count("pytest tests") == 1
