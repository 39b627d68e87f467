"""Results in a file, from which an interrupted experiment continues."""

import json
import pathlib
import shutil
import warnings

from keras_bn4.common.errors import reason_of
from keras_bn4.common.files import written_whole


class Records:
    """Keeps results by their settings, in a JSON file that is rewritten for each one.

    Args:
        path: Path of the file, which need not exist.
        fresh: Whether to discard what the file holds.
        keys: Names that every result has besides `"settings"`.
    """

    def __init__(self, path, fresh=False, keys=()):
        self.path = pathlib.Path(path)
        self.keys = keys
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.all = [] if fresh else self._read()

    def find(self, settings):
        """Returns the result with these settings, or `None`."""
        return next((r for r in self.all if r["settings"] == settings), None)

    def add(self, result):
        """Writes a result, a dict with `"settings"`, to the file at once."""
        self.all.append(result)
        with written_whole(self.path) as unfinished:
            unfinished.write_text(json.dumps(self.all, indent=1))

    def _read(self):
        if not self.path.exists():
            return []
        try:
            return read(self.path, self.keys)
        except ValueError as error:
            aside = self.path.with_suffix(".unreadable")
            shutil.move(self.path, aside)
            warnings.warn(
                f"{error} The file was moved to {aside}, and everything is run again.",
                stacklevel=3,
            )
            return []


def read(path, keys=()):
    """Reads a file of results.

    Args:
        path: `pathlib.Path`, or what `importlib.resources` has for a file in a zip.
        keys: Names that every result has besides `"settings"`.

    Returns:
        List of dicts, each with a dict of `"settings"`.

    Raises:
        ValueError: if the file holds anything else.
    """
    try:
        results = json.loads(path.read_text())
    # Lists in lists without end are a `RecursionError`.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({reason_of(error)}).") from error
    if not isinstance(results, list) or not all(_is_result(x, keys) for x in results):
        raise ValueError(f"{path} cannot be read (it is not a list of results).")
    return results


def _is_result(value, keys):
    if not isinstance(value, dict) or not value.keys() >= set(keys):
        return False
    return isinstance(value.get("settings"), dict)
