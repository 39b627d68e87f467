"""Atomic writing of files."""

import contextlib
import os
import pathlib

# In bytes, on the file systems of today.
LONGEST_NAME = 255


@contextlib.contextmanager
def written_whole(path):
    """Yields a path to write to, and renames that file to `path` at the end.

    Renaming is atomic, so that an interruption leaves the old file or the new one. If
    an error ends the block, the unfinished file is removed.

    Args:
        path: Path of the file. The one that is yielded is in the same folder and has
            the same suffix.

    Raises:
        ValueError, OSError: as `check_writable` does.
    """
    check_writable(path)
    path = pathlib.Path(path)
    end = f".{os.getpid()}.unfinished{path.suffix}"
    # The longest names have no room for more.
    room = LONGEST_NAME - len(os.fsencode(f".{end}"))
    stem = os.fsencode(path.stem)[:room].decode(errors="ignore")
    unfinished = path.with_name(f".{stem}{end}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        # Of a full disk, say, which Python tells without the file.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def check_writable(path):
    """Raises an error unless a file can stand at a path.

    Raises:
        ValueError: if this is not the path of a file.
        OSError: if the folder does not exist or is not writable, or if the path is a
            folder.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ValueError(f"Expected the path of a file to write. Received: {path!r}.")
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"Cannot write {str(path)!r}: it is a folder. Give the path of a file."
        )
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"Cannot write {str(path)!r}: there is no such folder. Create it first."
        )
    # An existing file is replaced, so its folder must be writable, not the file.
    if not os.access(path.absolute().parent, os.W_OK):
        raise PermissionError(
            f"Cannot write {str(path)!r}: no permission to write to its folder."
        )
