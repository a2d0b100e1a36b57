"""Points of a map to label next, for training with a few labels of the target."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from c2seg.api.arguments import FilePath, FilePaths, as_legend, as_path, as_paths, optional_path
from c2seg.api.tables import html_table
from c2seg.legend import Legend
from c2seg.progress import ShowProgress, opened_bars
from c2seg.records import Json
from c2seg.verify.suggest_files import APART_PX, Suggestion, SuggestOptions, make_suggestion

__all__ = ["SuggestedPoints", "suggest_points"]


@dataclass(frozen=True)
class SuggestedPoints(Suggestion):
    """The files of suggested points, and their record."""

    def __str__(self) -> str:
        record = self.record
        looked = ", ".join(record.features) or "their places"
        return (
            f"{len(record.points)} points to label, round {record.round}, by uncertainty ({record.uncertainty}) and "
            f"difference ({looked})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (p.id, p.row, p.col, f"{p.uncertainty:.2f}", "-" if p.distance is None else f"{p.distance:.2f}")
            for p in self.record.points
        ]
        return html_table(("point", "row", "column", "uncertainty", "distance"), rows, f"{self.path}: {self}")

    def as_json(self) -> Json:
        """Return paths and the record, for printing."""
        page = None if self.page is None else str(self.page)
        return {"file": str(self.path), "csv": str(self.csv), "page": page, **self.record.as_json()}


def suggest_points(
    map: FilePath,
    out: FilePath,
    *,
    n: int = 20,
    exclude: FilePaths = (),
    apart_px: int = APART_PX,
    confidence: FilePath | None = None,
    runner_up: FilePath | None = None,
    seed: int = 0,
    legend: Legend | FilePath | None = None,
    city: FilePath | None = None,
    backdrop: FilePath | None = None,
    page: FilePath | bool | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> SuggestedPoints:
    """Pick what to label next for training (``fit`` with ``target_labels``): uncertain, different, rare classes too.

    Such points have no inclusion probability: nothing can be estimated from them, and ``estimate_accuracy`` refuses them. A
    next round excludes the earlier ones, labeled or not.

    Args:
        map: A map of classes.
        out: The points (``.gpkg``); ``.csv``, ``.json`` (the record) and the page are written beside it.
        n: Number of points.
        exclude: Files of points of earlier rounds, and of samples that are to stay apart from training.
        apart_px: Least distance of points from each other and from those of ``exclude``, in pixels.
        confidence: The confidence layer; None: what the map's record names.
        runner_up: The runner-up layer; its margin tells more than the confidence.
        seed: Seed of the candidates.
        legend: The classes, or their YAML file; None: those in the map's tags, else C2Seg's 13.
        city: The city whose images tell how different points are; None: the one that was mapped, if it is still there.
        backdrop: A finer georeferenced picture for the page.
        page: Where to write the page; True: beside the points; False: no page; None: if images are known.
        overwrite: Replace existing files; those with labels are never replaced.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: Options that contradict each other.
        DataError, GridError: A file that cannot be read, or lies elsewhere.
        OutputError: A file exists, or holds labels.
        MissingExtraError: pyogrio is not installed (extra ``vector``).
    """
    options = SuggestOptions(
        out=as_path(out), n=n, exclude=as_paths(exclude), apart_px=apart_px, confidence=optional_path(confidence),
        runner_up=optional_path(runner_up), seed=seed, legend=None if legend is None else as_legend(legend),
        city=optional_path(city), backdrop=optional_path(backdrop),
        page=page if page is None or isinstance(page, bool) else Path(page), overwrite=overwrite,
    )  # fmt: skip
    with opened_bars(progress) as bars:
        suggestion = make_suggestion(as_path(map), options, bars)
    return SuggestedPoints(**{item.name: getattr(suggestion, item.name) for item in fields(suggestion)})
