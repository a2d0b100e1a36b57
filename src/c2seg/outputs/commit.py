"""Several files appear together: all are written and synced under temporary names before the first is renamed.

The files that the user named (``main``) come last, so that they stand only beside side files of their own. With
``overwrite`` older files make room first, side files before the main one. An exception puts them back; what a killed process
left is undone by the next run (``temporary``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import OutputError
from c2seg.outputs.checks import Output
from c2seg.outputs.faults import write_faults
from c2seg.outputs.temporary import TemporaryFolder, is_temporary

__all__ = ["Commit", "commit", "fsync_path"]


@dataclass(frozen=True)
class _Item:
    output: Output
    temporary: Path
    private: bool
    main: bool


class Commit:
    """Files that are being written. Get one with ``commit``."""

    def __init__(self, *, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._folders: dict[Path, TemporaryFolder] = {}
        self._items: list[_Item] = []

    def add(self, output: Output | Path, *, main: bool = False, private: bool = False) -> Path:
        """Return where to write an output for now: a path of the same name in a folder of this process.

        An output that is a folder is created there. A ``private`` file is for its owner alone.
        """
        output = output if isinstance(output, Output) else Output(output)
        with write_faults(output.path, output.path.parent):
            temporary = self._folder(output.path.parent).part() / output.path.name
            if output.is_folder:
                temporary.mkdir()
        self._items.append(_Item(output, temporary, private, main))
        return temporary

    def text(self, output: Output | Path, text: str, *, main: bool = False) -> None:
        """Add a text file."""
        path = self.add(output, main=main)
        with write_faults(self._items[-1].output.path, path.parent):
            path.write_text(text, encoding="utf-8")

    def publish(self) -> None:
        """Rename everything that was added to its place; all or nothing. Raises OutputError."""
        items = sorted(self._items, key=lambda item: item.main)  # stable: the main files last
        for item in items:
            with write_faults(item.output.path, item.output.path.parent):
                if not self._overwrite:
                    item.output.check_absent()
                self._finish(item)
        if not items:
            return
        with write_faults(items[-1].output.path, items[-1].output.path.parent):
            stale = [path for item in items for path in item.output.stale]
            if len(items) == 1 and not stale and not items[0].output.is_folder:
                os.replace(items[0].temporary, items[0].output.path)
            else:
                self._rename(items, stale)
            for folder in self._folders:
                if not is_temporary(folder):
                    fsync_path(folder)

    def clear(self) -> None:
        """Remove all temporaries."""
        for folder in self._folders.values():
            folder.remove()

    def _folder(self, parent: Path) -> TemporaryFolder:
        if parent not in self._folders:
            self._folders[parent] = TemporaryFolder(parent)
        return self._folders[parent]

    def _finish(self, item: _Item) -> None:
        """Give a written file its permissions, and sync it to disk."""
        mode = 0o600 if item.private else self._folder(item.output.path.parent).file_mode
        for path in _tree(item.temporary):
            if path.is_file():
                path.chmod(mode)  # some writers create files that only the owner can read
            if not is_temporary(item.output.path):  # what is on its way is synced when it arrives
                fsync_path(path)

    def _rename(self, items: Sequence[_Item], stale: Sequence[Path]) -> None:
        mains = [item.output.path for item in items if item.main] or [items[-1].output.path]
        room = [path for path in (*stale, *(item.output.path for item in items)) if os.path.lexists(path)]
        away = [(path, self._folder(path.parent).part() / path.name) for path in room]
        placed = [(item.temporary, item.output.path) for item in items]
        for parent in {path.parent for path in mains}:
            self._folder(parent).note(mains, placed, away)
        done: list[tuple[Path, Path]] = []
        try:
            for old, new in [*away, *placed]:
                done.append((old, new))
                os.rename(old, new)
        except BaseException:
            for old, new in reversed(done):
                if os.path.lexists(new) and not os.path.lexists(old):
                    os.rename(new, old)
            raise


@contextmanager
def commit(*, overwrite: bool) -> Iterator[Commit]:
    """Yield a ``Commit``. Its files appear when the block ends; if it raises, none does and temporaries are removed.

    Errors of writing inside the block (a full disk) are raised as OutputError, whichever library met them.
    """
    files = Commit(overwrite=overwrite)
    with ExitStack() as stack:
        stack.callback(files.clear)
        with _faults(files):
            yield files
        files.publish()


@contextmanager
def _faults(files: Commit) -> Iterator[None]:
    try:
        yield
    except OutputError as error:  # of what was called with a temporary path
        text = str(error)
        for item in files._items:
            text = text.replace(str(item.temporary), str(item.output.path))
        raise OutputError(text) from error
    except Exception as error:
        where = str(getattr(error, "filename", None))
        items = [item for item in files._items if where.startswith(str(item.temporary.parent))] or files._items[-1:]
        for item in items[:1]:
            with write_faults(item.output.path, item.temporary.parent):
                raise
        raise


def _tree(path: Path) -> Iterator[Path]:
    """Yield a file; or what a folder holds, then the folder."""
    if path.is_dir():
        for folder, _, names in os.walk(path, topdown=False):
            yield from (Path(folder, name) for name in names)
            yield Path(folder)
    else:
        yield path


def fsync_path(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
