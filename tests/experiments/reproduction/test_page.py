"""The page of the reproduction says what the records of the package say."""

from keras_bn4.experiments.reproduction import RECORDS, RESULTS, page


def test_the_page_is_that_of_the_records():
    message = "Run python -m keras_bn4.experiments.reproduction.page."
    assert page.PATH.read_text() == page.text(), message


def test_records_count_for_every_result_that_they_are_part_of():
    found = page.records_by_name()
    assert set(found) == set(RESULTS)
    names = {path.name for path in RECORDS.glob("*.json")}
    every = [record for records in found.values() for record in records]
    assert len({str(record["settings"]) for record in every}) == len(names)
    assert len(found["figure3"]) == len(found["figure4"]) > len(found["figure1"])


def test_a_result_without_records_has_no_section(monkeypatch):
    monkeypatch.setattr(page.runs, "records_of", lambda trainings, folder: [])
    assert page.text().count("##") == 0
    # Trainings, and seeds.
    assert page.text().count("| 0 of ") == 2 * len(RESULTS)


def test_the_readme_has_the_claims_of_the_records():
    message = "Run python -m keras_bn4.experiments.reproduction.page: it prints them."
    table, sentence = page.evidence()
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    readme = (page.PATH.parents[3] / "README.md").read_text()
    assert rows
    assert table.strip() in readme, message
    assert sentence in readme, message
    verdicts = {row.split(" | ")[-1].removesuffix(" |") for row in rows}
    size = ", other size"
    assert {verdict.removesuffix(size) for verdict in verdicts} <= {
        *("reproduced", "not reproduced", "undecided")
    }
