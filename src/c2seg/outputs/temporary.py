"""Hidden folders for files on their way to their places. Those of processes that died are undone and removed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

__all__ = ["TemporaryFolder", "clear_leftovers", "identity", "is_temporary"]

_PREFIX = ".c2seg-tmp"
_OWNER, _JOURNAL = "owner", "journal.json"
_NAME = re.compile(rf"{re.escape(_PREFIX)}-(?P<host>[\w.]+)-(?P<pid>\d+)-\w+")

_OWN: set[Path] = set()  # in use by this process
_NEW = threading.Lock()  # no thread takes another's new folder for that of an earlier process with this number

Identity = tuple[int, int, int, int]
"""Of a file or folder, whatever its name: device, inode, time of change of its content in ns, size."""


class TemporaryFolder:
    """A new folder beside outputs that nobody else can read or plant files in: same file system, random name, mode 0700.

    It holds the lock of the file ``owner`` as long as this process lives. The name tells host and process.
    """

    def __init__(self, folder: Path) -> None:
        clear_leftovers(folder)
        with _NEW:
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{_host()}-{os.getpid()}-", dir=folder))
            _OWN.add(self.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._owner = os.open(self.path / _OWNER, flags, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: the process alone tells
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.file_mode = stat.S_IMODE(os.fstat(self._owner).st_mode)
        """Permissions of a new file by the user's umask. (Reading the umask would change it for a moment.)"""
        self._parts = 0

    def part(self) -> Path:
        """Return a new folder in this one, so that a file there can have its final name."""
        path = self.path / str(self._parts)
        self._parts += 1
        path.mkdir(mode=0o700)
        return path

    def note(
        self, mains: Iterable[Path], placed: Iterable[tuple[Path, Path]], away: Iterable[tuple[Path, Path]]
    ) -> None:
        """Note what is about to be renamed, so that a killed commit can be undone.

        ``placed``: from here to places; ``away``: older files from their places to here.
        """
        content = {
            "main": [str(path.absolute()) for path in mains],
            "placed": [[str(place.absolute()), identity(path)] for path, place in placed],
            "away": [[str(place.absolute()), str(path.absolute())] for place, path in away],
        }
        descriptor = os.open(self.path / _JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Remove the folder with all that is left in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        _OWN.discard(self.path)
        os.close(self._owner)


def is_temporary(path: Path) -> bool:
    """Return True for a path in such a folder."""
    return any(part.startswith(_PREFIX) for part in path.parts)


def identity(path: Path) -> Identity | None:
    """Return what identifies a file or folder under any name; None if it is not there."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def clear_leftovers(folder: Path) -> None:
    """Remove the temporaries of processes of this host and user that are gone, and undo what they left half renamed."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(_PREFIX)]
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match["host"] == _host() and _is_abandoned(folder / name, int(match["pid"])):
            _undo(folder / name / _JOURNAL)
            shutil.rmtree(folder / name, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^\w.]", "_", socket.gethostname())[:32] or "host"


def _is_abandoned(path: Path, pid: int) -> bool:
    """True for a folder of this user whose process is gone and holds its lock no more."""
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
            return False
        with _NEW:
            ours = path in _OWN
        return not ours and not _lives(pid) and not _is_locked(path / _OWNER)
    except OSError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return pid != os.getpid()  # an earlier process of the same number, as in containers


def _is_locked(owner: Path) -> bool:
    try:
        descriptor = os.open(owner, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # killed between its first two calls
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _undo(journal: Path) -> None:
    """Undo the renaming of a killed process, unless its main files stand: then it had finished.

    New files are removed. If the older main files still stand, what lay beside them comes back; else it goes with them.
    """
    try:
        content = json.loads(journal.read_text(encoding="utf-8"))
        mains = [Path(path) for path in content["main"]]
        placed = {Path(place): tuple(known) for place, known in content["placed"]}
        away = [(Path(place), Path(path)) for place, path in content["away"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, or cut off: nothing was renamed yet
        return
    new = {place for place, known in placed.items() if identity(place) == known}
    if new.issuperset(mains):
        return
    for place in new:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    if all(os.path.lexists(path) for path in mains):
        for place, path in away:
            if os.path.lexists(path) and not os.path.lexists(place):
                os.rename(path, place)
