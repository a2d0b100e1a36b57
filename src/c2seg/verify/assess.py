"""Assess a map before any label: a raster of risk, a table by class and zone, a picture; in windows, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.data.inputs import city_inputs
from c2seg.errors import DataError, GridError, InputError
from c2seg.outputs import Output, check_outputs, commit, raster_output, record_output
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS
from c2seg.progress import Bars, silent_bars
from c2seg.raster import GridRelation, RasterFile, RasterTags, relate_grids, write_cog
from c2seg.types import Window
from c2seg.verify.assessment import Assessment
from c2seg.verify.classmap import ClassMap, open_map
from c2seg.verify.model_of_map import find_model
from c2seg.verify.novelty import Novelty
from c2seg.verify.picture import write_picture
from c2seg.verify.risk import Risk, RiskSources
from c2seg.verify.risk_table import RiskTable
from c2seg.verify.zones import Zones, open_zones

__all__ = ["AssessOptions", "assess"]

_COLUMNS = 512
SHIFT_NOTE = (
    "estimated from the model's own probabilities: between cities these are less right than where they were calibrated; draw a "
    "sample to know (c2seg sample)"
)


@dataclass(frozen=True)
class AssessOptions:
    """What is written, and where things are that the map's record does not name (None: looked for beside the map)."""

    out: Path
    picture: Path | None = None
    confidence: Path | None = None
    model: Path | None = None
    city: Path | None = None
    others: tuple[Path, ...] = ()
    """Maps of other models, on the same grid."""
    parts: bool = False
    """Predict again with every network and the forest of the model alone."""
    zones: Path | None = None
    zone_field: str | None = None
    overwrite: bool = False

    @property
    def outputs(self) -> dict[str, Output]:
        """The files that are written."""
        named = {"out": raster_output(self.out), "record": record_output(self.out, "assessment")}
        return named | ({"picture": Output(self.picture, "picture", (".png",))} if self.picture else {})


def assess(path: Path, options: AssessOptions, bars: Bars = silent_bars) -> Assessment:
    """Write the risk of every pixel of a map as a raster, and return the table by class and zone that lies beside it.

    Bands are uint8 in steps of 1/200, 255 where the map has no class: ``risk``, ``error``, and, where known, ``novelty`` (200:
    twice the threshold), ``outside`` and ``disagreement``. Raises InputError for a map without record or confidence,
    DataError for files that do not fit each other.
    """
    class_map = open_map(path)
    confidence = _confidence(class_map, options)
    given = [path, confidence, options.model, options.zones, *options.others]
    cities = city_inputs(options.city or class_map.city_path or path)
    check_outputs(list(options.outputs.values()), [*given, *cities], overwrite=options.overwrite)
    origin = find_model(class_map, options.model, options.city, bars)
    others = tuple(_other(other, class_map) for other in options.others)
    parts = origin.parts() if options.parts else {}
    reliability, calibration = origin.reliability()
    seen = origin.seen()
    sources = RiskSources(
        class_map,
        RasterFile(confidence),
        reliability,
        Novelty.of(seen) if seen else None,
        origin.reader,
        others,
        tuple(parts.values()),
    )
    zones = open_zones(options.zones, options.zone_field, class_map.grid) if options.zones else None
    table = RiskTable(class_map.legend, zones.names if zones else ())
    work = _Work(sources, table, zones)
    compared = (*(f"map {other.path.name}" for other in others), *parts)
    with commit(overwrite=options.overwrite) as files:
        place = files.add(options.outputs["out"], main=True)
        _write(place, work, bars)
        result = Assessment(
            path=options.out.name,
            map=path.name,
            calibration=calibration,
            layers=sources.layers,
            compared=compared,
            rows=table.rows(has_novelty="novelty" in sources.layers, compared=bool(compared)),
            notes=(*origin.notes, SHIFT_NOTE),
        )
        if options.picture:
            write_picture(files.add(options.outputs["picture"]), place, result)
        files.text(options.outputs["record"], result.as_text())
    return result


@dataclass(frozen=True)
class _Work:
    """Rows of the raster, computed on demand and counted."""

    sources: RiskSources
    table: RiskTable
    zones: Zones | None

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return uint8 [bands, rows, W]."""
        width = self.sources.map.grid.width
        layers = self.sources.layers
        out = np.full((len(layers), last - first, width), LAYER_NODATA, np.uint8)
        for col in range(0, width, _COLUMNS):
            window = Window(first, col, last - first, min(_COLUMNS, width - col))
            risk = self.sources.read(window)
            self.table.add(risk, self.zones.codes(window) if self.zones else None)
            for band, name in enumerate(layers):
                out[band, :, col : col + window.width] = _steps(risk, name)
        return out


def _steps(risk: Risk, name: str) -> np.ndarray:
    values = getattr(risk, name)
    scale = LAYER_STEPS / 2 if name == "novelty" else LAYER_STEPS
    steps = np.rint(np.clip(values * scale, 0, LAYER_STEPS)).astype(np.uint8)
    return np.where(risk.ids == 0, np.uint8(LAYER_NODATA), steps)


def _write(path: Path, work: _Work, bars: Bars) -> None:
    grid, layers = work.sources.map.grid, work.sources.layers
    progress = bars("assess")

    def rows(first: int, last: int) -> np.ndarray:
        values = work.rows(first, last)
        progress(last, grid.height, "rows")
        return values

    bands = [{"SCALE": "0.01" if name == "novelty" else "0.005"} for name in layers]
    write_cog(
        path, rows, grid, count=len(layers), dtype=np.uint8, nodata=LAYER_NODATA, overwrite=True,
        tags=RasterTags({"SOFTWARE": "c2seg"}, bands, layers),
    )  # fmt: skip


def _confidence(class_map: ClassMap, options: AssessOptions) -> Path:
    path = options.confidence or class_map.confidence_path
    if path is None:
        raise InputError(
            f"{class_map.path} has no confidence beside it; predict it again with `confidence`, or give its file"
        )
    raster = RasterFile(path)
    if (raster.height, raster.width) != (class_map.grid.height, class_map.grid.width):
        raise DataError(f"{path} is not the confidence of {class_map.path}: their sizes differ")
    return path


def _other(path: Path, class_map: ClassMap) -> ClassMap:
    """Open a map that is compared. Raises GridError or InputError where it is of another grid or legend."""
    other = open_map(path, class_map.legend)
    relation = relate_grids(class_map.grid, other.grid, str(class_map.path), str(path))
    same = (other.grid.height, other.grid.width) == (class_map.grid.height, class_map.grid.width)
    if relation != GridRelation() or not same:
        raise GridError(f"{path} and {class_map.path} do not cover the same pixels; predict both on one grid")
    return other
