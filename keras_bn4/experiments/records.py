"""Results of long work in a file, so that it goes on where it was interrupted."""

import json
import pathlib
import shutil
import warnings

from keras_bn4.common.files import written_whole


class Records:
    """Results by their settings, in a JSON file that is rewritten after each of them.

    Args:
        path: Path of the file, which need not exist.
        fresh: Whether to forget what it holds.
    """

    def __init__(self, path, fresh=False):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.all = [] if fresh else self._read()

    def find(self, settings):
        """The result with these settings, or `None`."""
        return next((r for r in self.all if r["settings"] == settings), None)

    def add(self, result):
        """Keeps a result, a dict with `settings`, at once."""
        self.all.append(result)
        with written_whole(self.path) as unfinished:
            unfinished.write_text(json.dumps(self.all, indent=1))

    def _read(self):
        if not self.path.exists():
            return []
        try:
            results = json.loads(self.path.read_text())
            if not all("settings" in result for result in results):
                raise ValueError("it holds something else")
        except (ValueError, TypeError) as error:
            aside = self.path.with_suffix(".unreadable")
            shutil.move(self.path, aside)
            warnings.warn(
                f"Earlier results in {self.path} can't be read ({error}). The file is "
                f"now {aside}, and all is run again.",
                stacklevel=3,
            )
            return []
        return results
