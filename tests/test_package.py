"""The package as a house: imports, documentation, and what may be missing."""

import ast
import doctest
import importlib.util
import inspect
import pathlib
import re
import subprocess
import sys

import keras
import pytest

import keras_bn4

ROOT = pathlib.Path(keras_bn4.__file__).parent


def order(documentation):
    """The names of the reading order that a package's documentation gives."""
    return re.findall(r"`(\w+)`", documentation)


def reading_order():
    """All modules, as tuples of names, in the order in which they may import."""
    modules = []
    for part in re.findall(r"^- `(\w+)`:", keras_bn4.__doc__, re.MULTILINE):
        package = ROOT / part / "__init__.py"
        if not package.exists():
            modules.append((part,))
            continue
        modules += [(part, path.stem) for path in package.parent.glob("*.py")]
    return modules


PARTS = re.findall(r"^- `(\w+)`:", keras_bn4.__doc__, re.MULTILINE)


def imported(path):
    """What of this package a file imports: tuples of names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "keras_bn4"
        ):
            parts = tuple(node.module.split(".")[1:])
            found |= {parts} if parts else {(alias.name,) for alias in node.names}
    return found


def test_every_part_is_in_the_reading_order():
    files = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(PARTS) == files | folders


@pytest.mark.parametrize("part", PARTS)
def test_parts_import_only_from_parts_above(part):
    file = ROOT / f"{part}.py"
    files = [file] if file.exists() else (ROOT / part).rglob("*.py")
    for file in files:
        above = {*PARTS[: PARTS.index(part)], part}
        assert {names[0] for names in imported(file)} <= above, file


PUBLIC = {name: getattr(keras_bn4, name) for name in keras_bn4.__all__}
if importlib.util.find_spec("keras_tuner"):
    PUBLIC["HyperBatchNormalization"] = keras_bn4.HyperBatchNormalization
    PUBLIC["ExampleWeightSearch"] = keras_bn4.tuner.ExampleWeightSearch


# Keras Tuner's.
@pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")
@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented_and_their_examples_run(name):
    value = PUBLIC[name]
    assert inspect.getdoc(value)
    modules = [value] if inspect.ismodule(value) else []
    module = value if modules else importlib.import_module(value.__module__)
    examples = doctest.DocTestFinder().find(value, name, module)
    runner = doctest.DocTestRunner()
    for example in examples:
        runner.run(example)
    assert runner.failures == 0
    if inspect.isclass(value) or (inspect.isfunction(value) and name != "revert"):
        assert runner.tries > 0


def test_import_needs_neither_tensorflow_nor_optional_packages():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("the backend is TensorFlow")
    unwanted = ("tensorflow", "keras_tuner", "tensorflow_datasets", "matplotlib")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({unwanted}))
import keras_bn4
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
