"""Make the report: read the runs, score their maps, draw them, write the page and the figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from c2seg.data.inputs import city_inputs
from c2seg.errors import InputError, needs_extra
from c2seg.outputs import Output, check_outputs, commit
from c2seg.progress import Progress, silent_bars
from c2seg.report.assess import ScoredMap, ScorePanel, assess_view
from c2seg.report.figure import FIGURE_FORMATS, figure_uri, write_figure
from c2seg.report.layers import MAX_VIEWS, draw_views
from c2seg.report.page import PageContent, render_page
from c2seg.report.runs import Run, open_runs
from c2seg.report.verification import estimate_path, verified_maps
from c2seg.report.views import View, class_colors, make_views

__all__ = ["ReportOptions", "ReportResult", "check_packages", "make_report"]

MAX_BYTES = 15_000_000
MAX_FIGURES = 3
_TEXT_BYTES = 4_900_000  # reserved for tables, charts, scripts, and maps as files (3.2 MB)


@dataclass(frozen=True)
class ReportOptions:
    """What to write and where to look.

    ``out`` is the page and ``figure`` the figure for a paper (PNG, SVG, PDF); at least one. ``cities`` give images,
    ``references`` labels (rasters or labeled city folders; values in ``label_map``), ``reference_cities`` the city of a label
    raster where it lies elsewhere and several cities may have its grid.
    """

    out: Path | None
    figure: Path | None = None
    cities: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    label_map: str | None = None
    palette: str = "default"
    title: str | None = None
    overwrite: bool = False
    reference_cities: Mapping[Path, Path] = field(default_factory=dict)
    pictures: tuple[tuple[str, str], ...] = ()
    """More pictures at the end of the page: title and data URI of each."""
    tables: tuple[tuple[str, str], ...] = ()
    """More tables before them: title and HTML of each; texts in it must be escaped."""

    @property
    def outputs(self) -> dict[str, Output]:
        """The page and the figure."""
        named = {"out": (self.out, (".html", ".htm")), "figure": (self.figure, FIGURE_FORMATS)}
        return {name: Output(path, name, suffixes) for name, (path, suffixes) in named.items() if path is not None}


@dataclass(frozen=True)
class ReportResult:
    """What was written. ``hidden_views``: number of predicted scenes that are scored but not shown."""

    out: Path | None
    figure: Path | None
    size_bytes: int
    views: int
    hidden_views: int
    panels: tuple[ScorePanel, ...]


def check_packages() -> None:
    """Raise MissingExtraError where no report can be made; call it before long work that ends with one."""
    with needs_extra("a report", "report"):
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401


def make_report(
    runs: Sequence[Path], options: ReportOptions, *, bars: Callable[[str], Progress] = silent_bars
) -> ReportResult:
    """Make the self-contained page (at most 15 MB) and the figure of runs.

    ``runs`` are run folders, or single maps. Scores come from ``options.references``, else from the JSON files of ``c2seg
    score`` in the run folders. Raises C2SegError subclasses for errors of the input; no file is left half written.
    """
    check_packages()
    check_outputs(list(options.outputs.values()), _inputs(runs, options), overwrite=options.overwrite)
    if options.out is None and options.figure is None:
        raise InputError("nothing to write: give `out=page.html` or `figure=figure.pdf`")
    opened = open_runs(runs)
    views = make_views(opened, options.cities, options.references, options.label_map, options.reference_cities)
    for view in views:
        class_colors(view.legend, options.palette)  # an unknown palette is refused before the work
    shown = sorted(views, key=lambda v: -v.grid.height * v.grid.width)[:MAX_VIEWS]
    shown = [view for view in views if view in shown]
    panels: tuple[ScorePanel, ...] = ()
    text, size = "", 0
    if options.out is not None:
        panels = _panels(opened, views, shown, bars)
        room = MAX_BYTES - _TEXT_BYTES - _figure_bytes(shown) - sum(len(uri) for _, uri in options.pictures)
        drawn = draw_views(shown, opened, room, bars("drawing"))
        figures = tuple(figure_uri(view, opened, palette=options.palette) for view in shown[:MAX_FIGURES])
        text = render_page(
            PageContent(
                opened, tuple(shown), tuple(drawn), panels, len(views) - len(shown), options.palette, options.title,
                figures, verified_maps(opened), options.pictures, options.tables,
            )
        )  # fmt: skip
        size = len(text.encode("utf-8"))
    with commit(overwrite=options.overwrite) as files:
        if options.figure is not None:
            figure = files.add(options.outputs["figure"], main=options.out is None)
            write_figure(figure, shown, opened, palette=options.palette, overwrite=True)
        if options.out is not None:
            files.text(options.outputs["out"], text, main=True)
    return ReportResult(options.out, options.figure, size, len(shown), len(views) - len(shown), panels)


def _inputs(runs: Sequence[Path], options: ReportOptions) -> list[Path]:
    """Return what a report is read from; a run folder holds its own earlier pages and figures, too."""
    files = [file for run in runs if run.is_dir() for file in (*run.glob("*"), *run.glob("*/*")) if _is_read(file)]
    cities = [path for city in (*options.cities, *options.references) for path in city_inputs(city)]
    maps = [path for run in runs if not run.is_dir() for path in (run, run.with_suffix(".json"), estimate_path(run))]
    mapping = [Path(options.label_map)] if options.label_map else []
    return [*files, *cities, *maps, *mapping]


def _is_read(file: Path) -> bool:
    return file.suffix.lower() not in {".html", ".htm", *FIGURE_FORMATS}


def _figure_bytes(shown: Sequence[View]) -> int:
    """Room for the figure: its size follows its area, some 0.5 MB a panel at the very most."""
    panels = sum(len(view.maps) + (6 if view.images else 1) for view in shown[:MAX_FIGURES])
    return min(500_000 * panels, 6_000_000)


def _panels(
    runs: Sequence[Run], views: Sequence[View], shown: Sequence[View], bars: Callable[[str], Progress]
) -> tuple[ScorePanel, ...]:
    panels: list[ScorePanel] = []
    for view in views:
        place = shown.index(view) if view in shown else None
        names = {c.id: c.name for c in view.legend.classes}
        if view.reference is not None:
            for part, few_shot in _apart(view):
                note = f"Scored against {view.reference.path.name}.{_FEW_SHOT_NOTE if few_shot else ''}"
                entries = assess_view(part, bars(f"scoring {view.name}"))
                panels.append(
                    ScorePanel(_title(view, few_shot), note, names, entries, place, _trained_here(part, runs))
                )
        else:
            note = "Scored by c2seg score; the ground truth itself was not given, so errors cannot be shown on the map."
            for part, few_shot in _apart(view):
                text = note + (_FEW_SHOT_NOTE if few_shot else "")
                panels += [
                    ScorePanel(_title(view, few_shot), text, names, entries) for entries in _from_files(part, runs)
                ]
    shown_maps = {entry.path.name for view in views for _, entry in view.maps}
    panels += _other_scores(runs, shown_maps)
    return (*panels, *_validation(runs))


_FEW_SHOT_NOTE = (
    " Few-shot: these models were trained on labels of the target, which do not count here, nor does what is near them. Runs "
    "without such labels are scored apart."
)


def _title(view: View, few_shot: bool) -> str:
    return f"Scores on {view.name}{', few-shot' if few_shot else ''}"


def _apart(view: View) -> list[tuple[View, bool]]:
    """Return the view with its unsupervised maps and with its few-shot ones: they are never compared."""
    parts = [(replace(view, maps=tuple(m for m in view.maps if m[1].few_shot == few)), few) for few in (False, True)]
    return [(part, few) for part, few in parts if part.maps]


def _trained_here(view: View, runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the names of the runs whose map shows the city that their model was trained on."""
    names = []
    for index, entry in view.maps:
        trained = runs[index].provenance
        if trained and entry.fingerprint in [source.images for source in trained.sources]:
            names.append(runs[index].name)
    return tuple(names)


def _from_files(view: View, runs: Sequence[Run]) -> list[tuple[ScoredMap, ...]]:
    """Return the scores that score files in the run folders hold for this view's maps, grouped by ground truth.

    Files do not name their ground truth; the same number of labeled pixels in every class means the same ground truth.
    """
    by_reference: dict[tuple[int, ...], list[ScoredMap]] = {}
    for index, entry in view.maps:
        for scored in runs[index].scores:
            confusion = scored.confusion.without_background()
            if scored.prediction == entry.path.name and confusion.ids == view.legend.ids:
                by_reference.setdefault(tuple(confusion.counts.sum(1).tolist()), []).append(
                    ScoredMap.of(index, confusion)
                )
    return [tuple(entries) for entries in by_reference.values()]


def _other_scores(runs: Sequence[Run], shown: set[str]) -> list[ScorePanel]:
    """Return scores of predictions that are not among the maps, such as folders of tiles."""
    panels: dict[tuple[str, tuple[int, ...], bool], list[ScoredMap]] = {}
    names: dict[tuple[str, tuple[int, ...], bool], dict[int, str]] = {}
    for index, run in enumerate(runs):
        for entry in run.scores:
            if entry.prediction not in shown:
                confusion = entry.confusion.without_background()
                key = (entry.prediction, confusion.ids, entry.few_shot)
                panels.setdefault(key, []).append(ScoredMap.of(index, confusion))
                known = {item.id: item.name for item in entry.classes}
                names[key] = {i: known.get(i, f"class {i}") for i in confusion.ids}
    return [
        ScorePanel(
            f"Scores of {key[0]}{', few-shot' if key[2] else ''}", "Scored by c2seg score.", names[key], tuple(entries)
        )
        for key, entries in panels.items()
    ]


def _validation(runs: Sequence[Run]) -> list[ScorePanel]:
    """Return the validation on the sources, one panel per class set and kind of validation."""
    panels: dict[tuple[str, tuple[int, ...], bool], list[ScoredMap]] = {}
    for index, run in enumerate(runs):
        if run.validation:
            key = (run.validation.kind, run.validation.confusion.ids, run.few_shot)
            panels.setdefault(key, []).append(ScoredMap.of(index, run.validation.confusion))
    return [
        ScorePanel(
            f"Validation on the source{', few-shot runs' if few else ''}",
            f"{kind[:1].upper()}{kind[1:]}. The model was trained on this city. "
            "The score tells how well training worked, not how well the model transfers to the target.",
            class_names(ids), tuple(entries),
        )
        for (kind, ids, few), entries in panels.items()
    ]  # fmt: skip


def class_names(ids: Sequence[int]) -> dict[int, str]:
    """Return names for ids whose legend is not at hand: those of C2Seg-13 if they are its ids."""
    from c2seg.legend import c2seg13

    default = {c.id: c.name for c in c2seg13().classes}
    return {i: default[i] for i in ids} if set(ids) <= default.keys() else {i: f"class {i}" for i in ids}
