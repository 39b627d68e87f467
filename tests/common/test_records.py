"""Records of long work: kept at once, found by settings, put aside if unreadable."""

import json

import pytest

from keras_bn4.common.records import Records


def test_results_are_kept_at_once_and_found_by_their_settings(tmp_path):
    path = tmp_path / "made" / "for it" / "results.json"
    records = Records(path)
    one, other = ({"settings": {"seed": seed}, "loss": 0.5} for seed in range(2))
    records.add(one)
    assert json.loads(path.read_text()) == [one]
    records.add(other)
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    again = Records(path)
    assert again.all == [one, other]
    assert again.find({"seed": 1}) == other
    assert again.find({"seed": 2}) is None
    assert Records(path, fresh=True).all == []
    assert Records(path).all == [one, other]


@pytest.mark.parametrize(
    "text",
    [
        *('[{"settings": {"mini', "[1, 2]", '{"a": 1}', "", "3", "null"),
        *('{"settings": 1}', '["settings"]', '[{"settings": 1}]', "[" * 100_000),
        '[{"settings": {"seed": 1}}]',
    ],
)
def test_unreadable_results_are_put_aside(text, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.warns(UserWarning, match=r"results\.json cannot be read"):
        assert Records(path, keys=("loss",)).all == []
    assert not path.exists()
    assert (tmp_path / "results.unreadable").read_text() == text
