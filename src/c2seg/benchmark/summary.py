"""The result of a benchmark: its tables as objects, as text, as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts.benchmark import BenchmarkResult, BenchmarkRow, BenchmarkTable, PairedDifference, RankedRow
from c2seg.benchmark.comparison import comparison_text
from c2seg.benchmark.offline_tables import offline_rows, offline_text
from c2seg.benchmark.statement import CostLine, cost_text
from c2seg.benchmark.table_one import ranking_html, ranking_text
from c2seg.benchmark.tables import LEGEND, as_html, as_text, modality_text

__all__ = ["BenchmarkSummary"]


@dataclass(frozen=True)
class BenchmarkSummary:
    """The result of a benchmark, also in a notebook.

    ``rows`` is the table, ``differences`` are those of ``baseline`` to every other recipe, ``results`` the runs, ``failures``
    the messages of failed runs by name. ``page`` is None where only folds inside cities were run. ``ranking`` is Table I, if it
    was asked for, and ``notes`` say what its numbers are. ``costs`` is what was stated before the first run.
    """

    folder: Path
    baseline: str
    rows: tuple[BenchmarkRow, ...]
    differences: tuple[PairedDifference, ...]
    results: tuple[BenchmarkResult, ...]
    failures: dict[str, str]
    page: Path | None
    ranking: tuple[RankedRow, ...] = ()
    notes: tuple[str, ...] = ()
    costs: tuple[CostLine, ...] = ()
    figure: Path | None = None
    """Figure 6, if it was asked for and could be drawn."""

    def text(self, offline: str | None = None) -> str:
        """Return every table for a terminal; ``offline`` (II or III) adds that published table of offline validation."""
        if not self.rows:
            return cost_text(self.costs)
        parts = [ranking_text(self.ranking, self.notes)] if self.ranking else []
        parts.append(f"{as_text(self.rows, self.baseline)}\n{LEGEND}")
        if self.differences:
            parts.append(comparison_text(self.baseline, self.differences))
        if offline:
            parts.append(offline_text(offline_rows(self.results), offline))
        return "\n\n".join([*parts, modality_text(self.results)])

    def table(self) -> BenchmarkTable:
        """Return what ``benchmark.json`` holds."""
        return BenchmarkTable(
            rows=self.rows,
            against=self.differences,
            results=self.results,
            failed=self.failures,
            offline=tuple(offline_rows(self.results)),
            ranking=self.ranking,
        )

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        table = ranking_html(self.ranking, self.notes) if self.ranking else ""
        return table + as_html(self.rows, self.baseline)
