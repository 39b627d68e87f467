"""Every notebook runs from top to bottom, on less work than it ships with."""

import os
import pathlib
import re
import subprocess
import sys
import zipfile

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# To trace so many networks would take most of the time.
EAGERLY = "import tensorflow as tf; tf.config.run_functions_eagerly(True)"
LESS = {
    "four_things": f"seeds, miniature_seeds, steps, epochs = 1, 1, 2, 1; {EAGERLY}",
    "robust": f"epochs, severities = 1, (5,); {EAGERLY}",
    "search": f"max_trials, epochs = 2, 1; {EAGERLY}",
    "several_devices": "epochs = 1",
}
NOTEBOOKS = {
    path.stem: nbformat.read(path, as_version=4)
    for path in (ROOT / "notebooks").glob("*.ipynb")
}


def cells_with(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_valid_and_has_no_outputs(name):
    notebook = NOTEBOOKS[name]
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert cells_with(notebook, "installation") == code[:1]
    (parameters,) = cells_with(notebook, "parameters")
    # One variable leads to other data.
    assert "dataset = " in parameters.source

    for cell in code:
        # Public names of what is installed.
        for names in re.findall(r"from keras_bn4\S* import .*", cell.source):
            assert names.startswith("from keras_bn4 import ")
            assert set(names.split(" import ")[1].split(", ")) <= {"demo", "shift"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    notebook = nbformat.from_dict(NOTEBOOKS[name])
    (parameters,) = cells_with(notebook, "parameters")
    parameters.source += f"\n{LESS[name]}"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Where nothing is prepared.
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    images = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert images


def installation():
    (source,) = {
        cell.source
        for notebook in NOTEBOOKS.values()
        for cell in cells_with(notebook, "installation")
    }
    return source


def install(source, folder, *, is_installed=False):
    """Runs the first cell where keras_bn4 is or isn't installed, without a network.

    Args:
        source: String, where to install from.
        folder: The present folder. What pip installs goes to `installed` in it.
        is_installed: Whether the cell finds this package.
    """
    cell = installation()
    default = 'source = ""'
    assert default in cell
    target = folder / "installed"
    target.mkdir()
    return subprocess.run(
        # Without -S Python would find what is installed here.
        [sys.executable, "-S", "-c", cell.replace(default, f"source = {source!r}")],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT if is_installed else target),
            "PIP_TARGET": str(target),
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_first_cell_does_nothing_where_the_package_is_installed(tmp_path):
    process = install("nowhere.whl", tmp_path, is_installed=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert not list((tmp_path / "installed").iterdir())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "There is no clone around it."),
        ("nowhere.whl", "There is no such file."),
        # Not looked up on an index.
        ("keras_bn4", "There is no such file."),
    ],
)
def test_the_first_cell_needs_a_clone_or_something_that_is_there(
    source, reason, tmp_path
):
    process = install(source, tmp_path)
    assert process.returncode == 1
    assert process.stdout == ""
    assert f"keras_bn4 could not be installed from {source!r}. Set" in process.stderr
    assert reason in process.stderr


@pytest.mark.slow
def test_the_first_cell_installs_from_the_clone_around_it(tmp_path):
    (tmp_path / "keras_bn4").mkdir()
    (tmp_path / "keras_bn4/__init__.py").write_text("")
    (tmp_path / "notebooks").mkdir()
    # This one can't be installed.
    process = install("", tmp_path / "notebooks")
    assert process.returncode == 1
    assert f"could not be installed from {str(tmp_path)!r}. Set" in process.stderr
    assert "ERROR: " in process.stderr.partition("Errors:")[2]


@pytest.mark.slow
def test_the_first_cell_installs_a_wheel(tmp_path):
    wheel = tmp_path / "keras_bn4-9.9-py3-none-any.whl"
    about = "keras_bn4-9.9.dist-info"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("keras_bn4/__init__.py", "")
        metadata = "Metadata-Version: 2.1\nName: keras_bn4\nVersion: 9.9\n"
        files.writestr(f"{about}/METADATA", metadata)
        files.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        files.writestr(f"{about}/RECORD", "")
    process = install(wheel.name, tmp_path)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "installed" / "keras_bn4" / "__init__.py").exists()
