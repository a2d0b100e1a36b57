"""Typed JSON objects of a report on a city. Keys marked NotRequired are set only if pixels were read."""

from __future__ import annotations

from typing import NotRequired, TypedDict

__all__ = [
    "InspectedCity",
    "InspectedClass",
    "InspectedLabel",
    "InspectedLandmarks",
    "InspectedModality",
    "InspectedScene",
    "InspectedStatistics",
    "InspectedTiles",
    "PublishedStatistics",
]


class InspectedTiles(TypedDict):
    """Tiling of a scene."""

    count: int
    tile_px: int
    step_px: int
    rows: int
    columns: int
    order: str


class InspectedStatistics(TypedDict):
    """Band statistics of the scaled values of valid pixels; lists by band."""

    kind: str
    count: int
    mean: list[float]
    std: list[float]
    minimum: list[float]
    maximum: list[float]


class PublishedStatistics(TypedDict):
    """Published averages over tiles, and the same averages of this city."""

    kind: str
    mean: list[float]
    std: list[float]
    mean_here: list[float]
    std_here: list[float]
    largest_mean_difference_in_std: float
    largest_std_difference: float


class InspectedLandmarks(TypedDict):
    """Bands (1-based) of the landmarks of a mean spectrum."""

    red_edge_band: int | None
    dip_bands: list[int]


class InspectedModality(TypedDict):
    """A modality: its raster, its bands, and counts of pixels on the fine grid and of cells on the native grid."""

    origin: str
    bands: int
    dtype: str
    height: int
    width: int
    ratio: int
    offset_px: list[int]
    nodata: float | str | None
    """NaN and infinity are the texts ``nan``, ``inf``, ``-inf``, because JSON has no such numbers."""
    blank: float | None
    """``Modality.nodata_all_bands``."""
    scale: float | list[float]
    offset: float | list[float]
    masked: bool
    """Whether the file has a mask or an alpha band."""
    names: list[str]
    roles: list[str | None]
    wavelengths_nm: list[float | None]
    valid_pixels: NotRequired[int]
    nan_cells: NotRequired[int]
    empty_cells: NotRequired[int]
    statistics: NotRequired[InspectedStatistics | None]
    published: NotRequired[PublishedStatistics]
    landmarks: NotRequired[InspectedLandmarks]


class InspectedClass(TypedDict):
    """Labeled pixels of a class, and their fraction (``share``) of all labeled pixels."""

    id: int
    name: str
    pixels: int
    share: float
    valid_pixels: int | None


class InspectedLabel(TypedDict):
    """A label raster and its histogram."""

    origin: str
    label_map: str
    dtype: str
    background: NotRequired[int]
    ignore: NotRequired[int]
    labeled: NotRequired[int]
    classes: NotRequired[list[InspectedClass]]


class InspectedScene(TypedDict):
    """A scene: its grid, its modalities, its label."""

    name: str
    height: int
    width: int
    crs: str | None
    resolution_xy: list[float]
    bounds_xy: list[float]
    pixel_area_m2: float | None
    valid_raster: str | None
    tiles: InspectedTiles | None
    modalities: dict[str, InspectedModality]
    valid_pixels: NotRequired[int]
    """Valid in every modality."""
    label: NotRequired[InspectedLabel]


class InspectedCity(TypedDict):
    """The whole report. ``problems`` list errors, ``notes`` what was recognized or is remarkable."""

    path: str
    layout: str
    name: str
    dataset: str | None
    split: str | None
    legend: str
    scenes: list[InspectedScene]
    notes: list[str]
    problems: list[str]
