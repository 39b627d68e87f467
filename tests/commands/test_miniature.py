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
    assert (tmp_path / "digits.png").stat().st_size > 1000
    # Again, everything is finished.
    results = tmp_path / "results.json"
    before = results.stat().st_mtime_ns
    status, again, _ = run(*options)
    assert status == 0
    assert again[again.index("Robust to shift") :] == table
    assert results.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            (),
            {
                "seeds": 10,
                "miniature_seeds": 5,
                "steps": 300,
                "output_dir": "results/digits",
                "fresh": False,
            },
        ),
        (
            (
                *("--seeds", 1, "--miniature-seeds", 2, "--steps", 2),
                *("--output-dir", "elsewhere", "--fresh"),
            ),
            {
                "seeds": 1,
                "miniature_seeds": 2,
                "steps": 2,
                "output_dir": "elsewhere",
                "fresh": True,
            },
        ),
    ],
    ids=["none", "all"],
)
def test_options_reach_the_experiment(options, expected, run, monkeypatch):
    def end(**arguments):
        raise ValueError(f"It was given {arguments}.")

    monkeypatch.setattr(demo, "run", end)
    assert run(*options) == (1, "", f"error: It was given {expected}.\n")
