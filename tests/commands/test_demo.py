"""The program without a command: the digits in miniature."""

import functools

import pytest

from keras_bn4 import demo


@pytest.mark.slow
def test_it_prints_a_table_and_draws_a_figure(tmp_path, run, monkeypatch):
    fewer = {"configurations": ("batch", "ghosts of 8")}
    monkeypatch.setattr(demo, "run", functools.partial(demo.run, **fewer))
    options = ("--seeds", 2, "--miniature-seeds", 1, "--steps", 2)
    options += ("--output-dir", tmp_path)
    status, printed, _ = run(*options)
    assert status == 0
    table = printed[printed.index("Robust to shift") :]
    assert table.index("all shifts") < table.index("The paper in miniature")
    assert "Ghosts of 8 in minibatches of 64" in table
    assert f"Figure: {tmp_path / 'digits.png'}" in table
    # What to do next.
    assert table.endswith("  python -m keras_bn4 shift MODEL.keras --dataset FOLDER\n")
    assert (tmp_path / "digits.png").stat().st_size > 1000
    # Again, everything is finished.
    results = tmp_path / "results.json"
    before = results.stat().st_mtime_ns
    status, again, _ = run(*options)
    assert status == 0
    assert again[again.index("Robust to shift") :] == table
    assert results.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ((), (10, 5, 300, "results/digits", False)),
        (
            (
                *("--seeds", 1, "--miniature-seeds", 2, "--steps", 2),
                *("--output-dir", "elsewhere", "--fresh"),
            ),
            (1, 2, 2, "elsewhere", True),
        ),
    ],
    ids=["none", "all"],
)
def test_options_reach_the_demonstration(options, given, run, monkeypatch):
    names = ("seeds", "miniature_seeds", "steps", "output_dir", "fresh")

    def end(**arguments):
        assert arguments == dict(zip(names, given))
        raise ValueError("the end")

    monkeypatch.setattr(demo, "run", end)
    assert run(*options) == (1, "", "error: the end\n")


def test_results_of_another_kind(run, tmp_path, monkeypatch):
    results = [{"settings": {"configuration": "batch", "seed": 0}, "test": "high"}]
    monkeypatch.setattr(demo, "run", lambda **arguments: results)
    status, _, error = run("--output-dir", tmp_path)
    assert status == 1
    assert "results.json holds other results than this program writes (" in error
    assert error.endswith("Remove it, or give --fresh.\n")
