"""What the page's template sees: plain structures whose keys are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from c2seg.report.charts import Chart
from c2seg.report.layers import Layer
from c2seg.report.runs import Curves

__all__ = [
    "AreaCell",
    "AreaColumn",
    "AreaRow",
    "BarCell",
    "ClassF1Row",
    "ClassF1Table",
    "ClassRow",
    "ConfusionCell",
    "ConfusionRow",
    "EntryContext",
    "HeadlineCell",
    "MapDownload",
    "PanelColumn",
    "PanelContext",
    "PublishedContext",
    "PublishedRow",
    "PublishedTable",
    "RunContext",
    "RunScore",
    "ViewContext",
    "ViewData",
]


class RunScore(TypedDict):
    """A score in the table of runs; ``best`` of its column."""

    value: float | None
    best: bool


class RunContext(TypedDict):
    """A run: its line in the table of runs, and where it comes from. ``best``: it is opened first."""

    index: int
    name: str
    recipe_name: str
    trained_on: str
    predicted: str
    seed: int | None
    seconds: str
    device: str
    scores: list[RunScore]
    best: bool
    curves: Curves | None
    recipe: str
    commands: list[str]
    provenance: list[tuple[str, str]]


class AreaColumn(TypedDict):
    """A column of the table of areas; ``run`` is None for the ground truth."""

    title: str
    run: int | None
    total: str


class AreaCell(TypedDict):
    """An area and its share, as text."""

    area: str
    share: str


class AreaRow(TypedDict):
    """The areas of a class."""

    id: int
    name: str
    color: str
    cells: list[AreaCell]


class ViewContext(TypedDict):
    """A predicted scene: texts, colors, areas."""

    name: str
    facts: str
    remark: str
    agreement: str
    palettes: list[str]
    palette: str
    palette_names: dict[str, str]
    areas: list[AreaRow]
    area_columns: list[AreaColumn]
    area_unit: str
    area_note: str
    downloads: list[MapDownload]
    reliability: Chart | None


class MapDownload(TypedDict):
    """A map that the page carries: its run, the file's name, a data URI."""

    run: int
    name: str
    uri: str


class ViewData(TypedDict):
    """What the script needs of a view; ``left_layer`` and ``right_layer`` are keys of the layers shown first."""

    width: int
    height: int
    aspect: float
    meters: float | None
    step: float
    stepX: float
    names: dict[str, str]
    palettes: dict[str, dict[str, str]]
    layers: Sequence[Layer]
    left_layer: str | None
    right_layer: str


class HeadlineCell(TypedDict):
    """A score with its interval; ``best`` of its column, if there are several."""

    value: float | None
    low: float | None
    high: float | None
    best: bool


class ConfusionCell(TypedDict):
    """A cell of a confusion matrix; ``id`` is the map's class, or ``other``."""

    id: int | str
    n: int
    of_reference: str
    of_map: str
    right: bool
    title: str
    text: str


class ConfusionRow(TypedDict):
    """A row of a confusion matrix: a class of the ground truth."""

    id: int
    name: str
    color: str
    cells: list[ConfusionCell]


class EntryContext(TypedDict):
    """The scores of one run in a panel."""

    run: int
    name: str
    best: bool
    headline: list[HeadlineCell]
    below: str
    findings: list[str]
    matrix: list[ConfusionRow]


class BarCell(TypedDict):
    """A score of a class by one run, and its bar's width in percent."""

    run: int
    value: float | None
    width: float


class ClassRow(TypedDict):
    """The scores of a class, by measure."""

    name: str
    color: str
    support: int
    cells: Mapping[str, list[BarCell]]


class PanelColumn(TypedDict):
    """A column of the confusion matrices."""

    id: int | str
    name: str
    color: str


class PanelContext(TypedDict):
    """A panel of scores; ``csv`` is the table by class as a data URI."""

    title: str
    warning: str
    note: str
    view: int | None
    compared: bool
    interval_note: str
    csv: str
    entries: list[EntryContext]
    classes: list[ClassRow]
    columns: list[PanelColumn]


class PublishedRow(TypedDict):
    """A line of a table of results; ``run`` is one of this page, None in published ones."""

    method: str
    cities: str
    oa: float | None
    mf1: float | None
    miou: float | None
    run: int | None


class PublishedTable(TypedDict):
    """Published results of one source."""

    title: str
    rows: list[PublishedRow]
    note: str
    citation: str


class ClassF1Row(TypedDict):
    """F1 of a class by method."""

    name: str
    cells: list[float | None]


class ClassF1Table(TypedDict):
    """Published F1 by class."""

    columns: list[str]
    rows: list[ClassF1Row]


class PublishedContext(TypedDict):
    """Everything published that stands beside the page's scores."""

    notes: list[str]
    page_rows: list[PublishedRow]
    """Scores of this page by convention of the sources: in a table of their own."""
    tables: list[PublishedTable]
    class_f1: ClassF1Table
