"""Keeps results in a file, so that an interrupted experiment can continue."""

import json
import pathlib
import shutil
import warnings

from keras_bn4.common.files import written_whole


class Records:
    """Keeps results by their settings, in a JSON file that is rewritten for each one.

    Args:
        path: Path of the file, which need not exist.
        fresh: Whether to discard what the file holds.
    """

    def __init__(self, path, fresh=False):
        self.path = pathlib.Path(path)
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
            results = json.loads(self.path.read_text())
            are_dicts = all(isinstance(x, dict) and "settings" in x for x in results)
            if not isinstance(results, list) or not are_dicts:
                raise ValueError("it holds something else")
        except (ValueError, TypeError, RecursionError) as error:
            aside = self.path.with_suffix(".unreadable")
            shutil.move(self.path, aside)
            warnings.warn(
                f"Earlier results in {self.path} can't be read ({error}). The file was "
                f"moved to {aside}, and everything is run again.",
                stacklevel=3,
            )
            return []
        return results
