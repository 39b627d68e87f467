"""Claims of work in a folder that workers on any machines share.

A claim is a file that is created only if it does not exist, which file systems do
atomically. While its worker lives, a thread touches it as a heartbeat. A claim that was
not touched for some minutes is expired, and another worker may take it over.

A take-over deletes nothing, since of two workers that both saw an expired claim the
slower one could delete the claim of the faster one. Instead the claims of a piece of
work are numbered. Only the highest number counts, and to take over is to create the
next one. A worker that was only suspended, and finds a higher number, has lost.
"""

import json
import os
import pathlib
import re
import socket
import threading
import uuid

EXPIRES = 120.0


class ClaimLost(Exception):
    """Another worker has taken over."""


class Claim:
    """The claim of a piece of work, as a context that gives it back.

    Attributes:
        lost: Whether another worker has taken over.
    """

    def __init__(self, path, token, expires):
        self.path = path
        self.lost = False
        self._token = token
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, args=(expires / 8,), daemon=True
        )
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.give_back()

    def check(self):
        """Raises `ClaimLost` if another worker has taken over."""
        folder, name, number = self.path.parent, self.path.stem, _number(self.path)
        # A number that was given back is taken again, by another worker.
        is_own = _content(self.path).get("token") == self._token
        if not is_own or _newest(folder, name) != number:
            self.lost = True
        if self.lost:
            raise ClaimLost(f"Another worker has taken over {name}.")

    def give_back(self):
        """Lets others claim the work at once, unless it is theirs already."""
        self._end.set()
        self._thread.join()
        try:
            self.check()
        except ClaimLost:
            return
        # The highest number last, since the ones below it are expired.
        for number in range(_number(self.path) + 1):
            self.path.with_suffix(f".{number}").unlink(missing_ok=True)

    def _beat(self, seconds):
        while not self._end.wait(seconds):
            try:
                self.check()
                os.utime(self.path)
            except (FileNotFoundError, ClaimLost):
                self.lost = True
                return
            except OSError:
                continue  # A network file system that is away for a moment.


def take(folder, name, expires=EXPIRES):
    """Claims a piece of work.

    Args:
        folder: Path of the folder of claims, which has to exist.
        name: String, the name of the work.
        expires: Float, the seconds without heartbeat after which a claim is void. It
            has to be the same for all workers.

    Returns:
        A `Claim`, or `None` if another worker has it.
    """
    folder = pathlib.Path(folder)
    newest = _newest(folder, name)
    if newest is not None and not _is_expired(folder, f"{name}.{newest}", expires):
        return None
    path = folder / f"{name}.{0 if newest is None else newest + 1}"
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    who = {"host": socket.gethostname(), "process": os.getpid()}
    who["token"] = uuid.uuid4().hex
    with os.fdopen(file, "w") as opened:
        json.dump(who, opened)
    return Claim(path, who["token"], expires)


def holder(folder, name):
    """Who has claimed a piece of work, in words, or `None`."""
    folder = pathlib.Path(folder)
    newest = _newest(folder, name)
    if newest is None:
        return None
    try:
        found = _content(folder / f"{name}.{newest}")
    except OSError:
        return None  # A network file system that is away for a moment.
    return f"process {found['process']} on {found['host']}" if found else None


def _content(path):
    """What a claim says, or an empty dict if it is given back or not written yet."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _number(path):
    return int(path.suffix[1:])


def _newest(folder, name):
    """The highest number of the claims of a piece of work, or `None`."""
    pattern = re.compile(re.escape(name) + r"\.(\d+)")
    found = [pattern.fullmatch(entry) for entry in os.listdir(folder)]
    return max((int(match[1]) for match in found if match), default=None)


def _is_expired(folder, entry, expires):
    try:
        touched = (folder / entry).stat().st_mtime
    except FileNotFoundError:
        return False  # Given back in the meantime; the next attempt finds it free.
    # The file system's own time, since the clocks of machines differ.
    clock = folder / f"clock-{uuid.uuid4().hex}"
    clock.touch()
    now = clock.stat().st_mtime
    clock.unlink()
    return now - touched > expires
