import os
import signal
import subprocess
import sys

import pytest

from keras_bn4.common import files
from keras_bn4.common.files import written_whole


# The longest names that a file can have, in bytes.
@pytest.mark.parametrize("stem", ["results", "r" * 250, "ä" * 125])
def test_a_file_is_there_when_it_is_whole(stem, tmp_path):
    path = tmp_path / f"{stem}.json"
    path.write_text("old")
    with written_whole(path) as unfinished:
        assert unfinished.suffix == ".json"
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def interrupted():
        with written_whole(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="The superuser may write anywhere.")
def test_a_folder_without_permission_is_named_before_the_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="no permission to write to its folder"):
        files.check_writable(tmp_path / "results.txt")


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.txt"
    path.write_text("old")
    code = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(files.__file__)!r})  # without Keras
from files import written_whole
with written_whole({str(path)!r}) as unfinished:
    unfinished.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ValueError, "path of a file to write. Received: ''"),
        (None, ValueError, "Received: None"),
        ("none/a.csv", FileNotFoundError, "'none/a.csv': there is no such folder"),
        (".", IsADirectoryError, "it is a folder. Give the path of a file"),
    ],
)
def test_paths_that_no_file_can_have(path, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message), written_whole(path):
        raise AssertionError("The block was entered.")
    assert not list(tmp_path.iterdir())
