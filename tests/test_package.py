"""The package as a whole: its reading order, its documentation, optional packages."""

import ast
import doctest
import importlib
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


PARTS = re.findall(r"^- `(\w+)`:", keras_bn4.__doc__, re.MULTILINE)
FOLDERS = sorted(path.parent for path in ROOT.rglob("*/__init__.py"))


def reading_order(folder):
    """The modules and folders in a folder, in the order its documentation gives.

    That is the last paragraph of its docstring that begins with "Read".
    """
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    paragraphs = [p for p in docstring.split("\n\n") if p.startswith("Read ")]
    return re.findall(r"`(\w+)`", paragraphs[-1]) if paragraphs else []


def contents(folder):
    """The names of the modules and folders in a folder."""
    names = {path.stem for path in folder.glob("*.py")}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}
    return names - {"__init__", "__main__"}


def imported(path):
    """The modules of this package that a file imports, as tuples of names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        package, *names = (node.module or "").split(".")
        if package == "keras_bn4":
            folder = ROOT.joinpath(*names)
            for alias in node.names:
                inside = folder.is_dir() and alias.name in contents(folder)
                found.add((*names, alias.name) if inside else tuple(names))
    return found


def test_every_part_is_in_the_reading_order():
    assert set(PARTS) == contents(ROOT)


@pytest.mark.parametrize("part", PARTS)
def test_parts_import_only_from_parts_above(part):
    file = ROOT / f"{part}.py"
    files = [file] if file.exists() else (ROOT / part).rglob("*.py")
    for file in files:
        above = {*PARTS[: PARTS.index(part)], part}
        # The version is the package's own.
        assert {names[0] for names in imported(file) if names} <= above, file


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_modules_of_a_folder_import_only_from_those_before(folder):
    order = reading_order(folder)
    assert set(order) == contents(folder)
    here = folder.relative_to(ROOT).parts
    for i, name in enumerate(order):
        inside = folder / name
        files = inside.rglob("*.py") if inside.is_dir() else [inside.with_suffix(".py")]
        for file in files:
            siblings = {
                names[len(here)]
                for names in imported(file)
                if names[: len(here)] == here and len(names) > len(here)
            }
            assert siblings <= {*order[:i], name}, file


def test_no_module_is_named_like_one_of_python_or_like_a_public_name():
    modules = {name for folder in (ROOT, *FOLDERS) for name in contents(folder)}
    assert not modules & set(sys.stdlib_module_names)
    for folder in (ROOT, *FOLDERS):
        package = importlib.import_module(
            ".".join(("keras_bn4", *folder.relative_to(ROOT).parts))
        )
        for name in contents(folder) & set(getattr(package, "__all__", ())):
            assert inspect.ismodule(getattr(package, name)), (folder, name)


PUBLIC = {
    name: getattr(module, name)
    for module in (keras_bn4, keras_bn4.datasets)
    for name in module.__all__
}
# Examples would need a converted model, a data set or a folder of images on disk.
WITHOUT_EXAMPLE_TO_RUN = ("revert", "stream", "ImageFolder")
if importlib.util.find_spec("keras_tuner"):
    PUBLIC["HyperBatchNormalization"] = keras_bn4.HyperBatchNormalization


def test_what_is_listed_is_public():
    assert set(dir(keras_bn4)) - {"tuner"} == set(PUBLIC) - set(
        keras_bn4.datasets.__all__
    )
    for name in ("set_example_weigth", "common_", "__path"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(keras_bn4, name)


SIGNATURES = {name: x for name, x in PUBLIC.items() if not inspect.ismodule(x)}
SIGNATURES["ExampleWeightSweep"] = keras_bn4.example_weight.ExampleWeightSweep
if importlib.util.find_spec("keras_tuner"):
    SIGNATURES |= {x: getattr(keras_bn4.tuner, x) for x in keras_bn4.tuner.__all__}
# Data can be of many kinds, which no annotation says.
DATA = ("data", "x", "y", "sample_weight", "validation_data")


@pytest.mark.parametrize("name", SIGNATURES)
def test_public_signatures_are_annotated(name):
    value = SIGNATURES[name]
    functions = {"": value}
    if inspect.isclass(value):
        functions = {"__init__": value.__init__}
        functions |= {
            own: method
            for own, method in vars(value).items()
            # What Keras and Keras Tuner call is as they declare it.
            if inspect.isfunction(method)
            and not own.startswith("_")
            and not any(hasattr(base, own) for base in value.__mro__[1:])
        }
    for own, function in functions.items():
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            if parameter.name in ("self", *DATA) or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                continue
            assert parameter.annotation is not parameter.empty, (own, parameter.name)
        if own != "__init__":
            assert signature.return_annotation is not signature.empty, own


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
    is_callable = inspect.isclass(value) or inspect.isfunction(value)
    if is_callable and name not in WITHOUT_EXAMPLE_TO_RUN:
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
