"""Who works at a run: a token in a file beside the runs, which processes on all machines see.

Whoever was cut off and comes back finds another token and ends: two never train in one folder for long. Signs of life go the
other way, for runs that take longer than any deadline.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from c2seg.outputs import make_folder, remove_folder, write_text

__all__ = ["Lease", "Leases"]


@dataclass(frozen=True)
class Lease:
    """The right to work at a run, as long as the file ``claim`` holds the token. Picklable."""

    claim: Path
    token: str

    def state(self) -> Literal["held", "withdrawn", "passed on"]:
        """Return whether the lease is held still, nobody's, or somebody else's."""
        try:
            token = self.claim.read_text(encoding="ascii")
        except FileNotFoundError:
            return "withdrawn"
        except OSError:  # storage that does not answer withdraws nothing
            return "held"
        return "held" if token == self.token else "passed on"

    def give_sign(self, number: int) -> None:
        """Tell that the work continues; ``number`` differs from that of the last sign."""
        with suppress(OSError):
            _sign(self.claim).write_text(f"{self.token} {number}", encoding="ascii")


class Leases:
    """The leases of tasks, by index, in a folder that is there while the context is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def issue(self, index: int) -> Lease:
        """Return a new lease of a task; those before count no longer."""
        lease = Lease(self._folder / f"{index}.claim", uuid.uuid4().hex)
        write_text(lease.claim, lease.token, overwrite=True)
        return lease

    def sign(self, index: int) -> str:
        """Return the last sign of whoever works at a task; empty before the first."""
        with suppress(OSError, UnicodeDecodeError):
            return _sign(self._folder / f"{index}.claim").read_text(encoding="ascii")
        return ""

    def __enter__(self) -> Leases:
        remove_folder(self._folder)  # of a command that was killed
        make_folder(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove_folder(self._folder)


def _sign(claim: Path) -> Path:
    return claim.with_suffix(".sign")
