"""Files that are whole or not there, whenever a process is killed."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def written_whole(path):
    """Yields a path to write to, and renames that file to `path` at the end.

    Renaming is atomic, so that an interruption leaves the old file or the new one. If
    an error ends the block, the unfinished file is removed.

    Args:
        path: Path of the file. The one that is yielded is in the same folder and has
            the same suffix.
    """
    path = pathlib.Path(path)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
