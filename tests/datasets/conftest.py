import pytest
from dataset_helpers import no_network, prepare


@pytest.fixture(scope="session")
def tfds():
    pytest.importorskip("tensorflow")
    return pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="session")
def tiny(tfds, tmp_path_factory):
    """A folder with the small data set "tiny"."""
    folder = tmp_path_factory.mktemp("tiny")
    prepare(tfds, folder)
    return folder


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """An empty folder for archives, in a test that has no network."""
    no_network(monkeypatch)
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder
