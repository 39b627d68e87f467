from keras_bn4.common import tables


def test_columns_are_aligned():
    lines = [["layer", "α", "loss"], ["a heading"], ["  Keras", "0.05", "1.5"]]
    assert tables.text(lines, left=1).splitlines() == [
        "layer         α  loss",
        "a heading",
        "  Keras    0.05   1.5",
    ]


def test_markdown():
    text = tables.markdown(["layer", "loss"], [["Keras", "1.5"]])
    assert text == "| layer | loss |\n|---|---|\n| Keras | 1.5 |"


def test_some_texts_and_how_many_more():
    assert tables.some(["a", "b"]) == "a, b"
    assert tables.some(f"l{i}" for i in range(7)) == "l0, l1, l2, l3, l4 and 2 more"


def test_spans():
    assert tables.span([0.5, 0.1, 0.3]) == "0.1-0.5"
    assert tables.span([0.0, 0.0]) == "0"


def test_csv(tmp_path):
    tables.to_csv([{"a": 1, "b": "x, y"}, {"a": 2, "b": ""}], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == 'a,b\n1,"x, y"\n2,\n'
