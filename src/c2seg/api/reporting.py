"""The report of runs."""

from __future__ import annotations

from c2seg import report
from c2seg.api.arguments import FilePath, FilePaths, as_paths, optional_path
from c2seg.progress import ShowProgress, opened_bars
from c2seg.report import ReportOptions, ReportResult

__all__ = ["make_report"]


def make_report(
    runs: FilePaths,
    out: FilePath | None = None,
    *,
    figure: FilePath | None = None,
    cities: FilePaths = (),
    references: FilePaths = (),
    label_map: str | None = None,
    palette: str = "default",
    title: str | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> ReportResult:
    """Write a self-contained HTML page of runs: maps, ground truth, scores, curves, provenance.

    Args:
        runs: Run folders, or single maps; maps in the folders are included.
        out: The page, at most 15 MB.
        figure: A figure: ``.png``, ``.svg`` or ``.pdf``. One of ``out`` and ``figure`` is needed.
        cities: Predicted cities, for their images; default: where the maps say.
        references: Label rasters or labeled cities: maps are scored with them.
        label_map: Label mapping of their values.
        palette: The page's initial colors, such as ``colorblind``.
        title: Its heading.
        overwrite: Replace existing files.
        progress: False, True for bars, or a callable.

    Raises:
        InputError, DataError, GridError: What cannot be shown.
        OutputError: A file exists.
    """
    options = ReportOptions(
        optional_path(out),
        optional_path(figure),
        as_paths(cities),
        as_paths(references),
        label_map,
        palette=palette,
        title=title,
        overwrite=overwrite,
    )
    with opened_bars(progress) as bars:
        return report.make_report(as_paths(runs), options, bars=bars)
