"""prepare.json: what was made of what, step by step, for an auditor. Equal inputs and parameters give equal bytes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from c2seg.records import Artifact, Record

__all__ = ["FileDigest", "GridRecord", "PrepareRecord", "PreparedFile", "PreparedProduct", "Step"]


class FileDigest(Record):
    """A file that was read or written: its name as seen from what was given, and a digest of all its bytes."""

    name: str
    digest: str


class GridRecord(Record):
    """A grid: CRS as WKT and EPSG code, transform (a, b, c, d, e, f of pixel corner to x, y), size in pixels."""

    crs: str
    epsg: int | None
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int
    pixel_m: float


class Step(Record):
    """A step of the work and its parameters, in the order in which they were taken."""

    step: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class PreparedProduct(Record):
    """A product that was read: what it says of itself, and what was done to it."""

    modality: str
    product: str
    sensor: str
    level: str
    acquired: str | None
    unit: str
    bands: tuple[str, ...]
    resolution_m: float
    processing: dict[str, Any]
    shift_m: tuple[float, float]
    """How far its content lay to the east and to the north of the reference; undone in the warp."""
    files: tuple[FileDigest, ...]
    notes: tuple[str, ...]


class PreparedFile(Record):
    """A raster that was written: its bands, how numbers are stored, and the share of valid pixels."""

    name: str
    digest: str
    bands: tuple[str, ...] = ()
    dtype: str = ""
    scale: float = 1.0
    unit: str = ""
    grid: GridRecord | None = None
    valid_share: float | None = None


class PrepareRecord(Artifact):
    """The record of a prepared city. ``key`` is a digest of all inputs and parameters: equal keys, equal files."""

    artifact: Literal["prepare"] = "prepare"
    name: str
    key: str
    c2seg: str
    packages: dict[str, str]
    parameters: dict[str, Any]
    grid: GridRecord
    products: tuple[PreparedProduct, ...]
    registration: tuple[dict[str, Any], ...] = ()
    """Shifts between modalities that were measured, and whether they were applied."""
    steps: tuple[Step, ...] = ()
    outputs: tuple[PreparedFile, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user must know, one line each."""
