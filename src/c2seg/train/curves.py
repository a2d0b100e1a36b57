"""Losses over the steps, as CSV: step, seconds, learning_rate, patches_per_second, loss, further losses by name."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from c2seg.outputs import write_faults

__all__ = ["Curves", "join_curves"]


class Curves:
    """Appends rows. When a run resumes from a step, later rows are dropped first."""

    def __init__(self, path: Path, start: int, *, enabled: bool = True) -> None:
        self.path = path
        self.enabled = enabled
        self._rows = _rows_up_to(path, start) if enabled else []
        self._before = float(self._rows[-1][1]) if len(self._rows) > 1 else 0.0
        self._clock = time.perf_counter()
        self._file: IO[str] | None = None
        self._writer: Any = None

    def __enter__(self) -> Curves:
        if self.enabled:
            with write_faults(self.path, self.path.parent):
                self._file = self.path.open("w", newline="", encoding="utf-8")
            self._writer = csv.writer(self._file)
            self._writer.writerows(self._rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with write_faults(self.path):
                self._file.close()

    def add(self, step: int, learning_rate: float, patches_per_second: float, losses: Mapping[str, float]) -> None:
        """Add a row; the names of the losses must be the same in all rows."""
        if not self.enabled:
            return
        if not self._rows:
            self._rows = [["step", "seconds", "learning_rate", "patches_per_second", *losses]]
            self._writer.writerow(self._rows[0])
        seconds = self._before + time.perf_counter() - self._clock
        numbers = [f"{value:.6g}" for value in losses.values()]
        self._writer.writerow([step, f"{seconds:.3f}", f"{learning_rate:.6g}", f"{patches_per_second:.1f}", *numbers])

    def flush(self) -> None:
        """Write buffered rows to the file."""
        if self._file is not None:
            with write_faults(self.path):
                self._file.flush()


def _rows_up_to(path: Path, step: int) -> list[list[str]]:
    if not step or not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (ValueError, csv.Error):  # no text
        return []
    earlier = [row for row in rows if len(row) == len(header) and _is_whole(row) and int(row[0]) <= step]
    return [header, *earlier] if header[:2] == ["step", "seconds"] else []


def _is_whole(row: Sequence[str]) -> bool:
    """Return whether a row has a step and numbers; no weight depends on one that was damaged."""
    try:
        return int(row[0]) >= 0 and all(isfinite(float(value)) for value in row[1:2])
    except ValueError:
        return False


def join_curves(parts: Sequence[Path], names: Sequence[str] = ()) -> str:
    """Return the curves of consecutive trainings as one CSV. Steps and seconds continue; columns are the union of all.

    Of several parts with ``names``, the column ``stage`` says which a row is of.
    """
    rows: list[dict[str, str]] = []
    step, seconds = 0, 0.0
    for number, part in enumerate(parts):
        stage = {"stage": names[number]} if names and len(parts) > 1 else {}
        with part.open(newline="", encoding="utf-8") as file:
            part_rows = list(csv.DictReader(file))
        rows += [
            row | {"step": str(step + int(row["step"])), "seconds": f"{seconds + float(row['seconds']):.3f}"} | stage
            for row in part_rows
        ]
        if rows:
            step, seconds = int(rows[-1]["step"]), float(rows[-1]["seconds"])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
