"""Suggest points to label for training, and write them: GeoPackage, CSV, record, and the page to label them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts.provenance import relative_path
from c2seg.data import Scene, open_city
from c2seg.data.inputs import city_inputs
from c2seg.errors import C2SegError, DataError, InputError
from c2seg.legend import Legend
from c2seg.outputs import check_outputs, commit
from c2seg.progress import Bars, silent_bars
from c2seg.raster import RasterFile
from c2seg.verify.chips import ChipLayer, display_layer
from c2seg.verify.classmap import ClassMap, check_has_pixels, open_map
from c2seg.verify.imagery import city_layers, scene_of
from c2seg.verify.labelpage import PagePoints, write_page
from c2seg.verify.reading import check_same_crs, reference_values
from c2seg.verify.rows import PointRow, read_rows
from c2seg.verify.samples import CANNOT_TELL, UNLABELED, GridRecord, LegendRecord, SampledMap
from c2seg.verify.strata import open_confidence
from c2seg.verify.suggest import Pool, Uncertainty, draw_pool, pick_points, pixel_features
from c2seg.verify.suggestions import SuggestedPoint, SuggestionRecord
from c2seg.verify.writing import check_unlabeled, empty_texts, points_csv, sample_outputs, write_points

__all__ = ["SuggestOptions", "Suggestion", "make_suggestion"]

APART_PX = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SuggestOptions:
    """What is suggested. See ``c2seg.suggest_points`` for the meaning of each."""

    out: Path
    n: int = 20
    exclude: tuple[Path, ...] = ()
    apart_px: int = APART_PX
    confidence: Path | None = None
    runner_up: Path | None = None
    seed: int = 0
    legend: Legend | None = None
    city: Path | None = None
    backdrop: Path | None = None
    page: Path | bool | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Suggestion:
    """Suggested points and their files. ``page`` is None where no images are known."""

    path: Path
    csv: Path
    page: Path | None
    page_bytes: int
    record: SuggestionRecord


@dataclass(frozen=True)
class _Earlier:
    """Points of earlier files: row and column int64 [m, 2], and class ids [m] (the reference, else 0)."""

    places: np.ndarray
    ids: np.ndarray
    rounds: int


def make_suggestion(path: Path, options: SuggestOptions, bars: Bars = silent_bars) -> Suggestion:
    """Pick points of the map at ``path`` to label for training, and write their files.

    Raises InputError for options that contradict each other, DataError for files that cannot be read or lie elsewhere,
    OutputError for files that exist or hold labels.
    """
    if options.n < 1:
        raise InputError(f"`n` must be at least 1, found {options.n}")
    class_map = open_map(path, options.legend)
    scene = _scene(class_map, options)
    layers = _layers(scene, options)
    page = (options.page if isinstance(options.page, Path) else options.out.with_suffix(".html")) if layers else None
    outputs = sample_outputs(options.out, page)
    check_outputs(list(outputs.values()), _inputs(class_map, options), overwrite=options.overwrite)
    check_unlabeled(list(outputs.values()))
    record = _record(class_map, scene, options, bars)
    grid = class_map.grid
    points = tuple((point.id, point.row, point.col) for point in record.points)
    shown = PagePoints(record.sample_id, options.out.stem, grid, record.legend, points)
    with commit(overwrite=options.overwrite) as files:
        size = write_page(files.add(outputs["page"]), shown, layers, bars("page")) if page else 0
        files.text(outputs["csv"], points_csv(record.sample_id, grid, points))
        files.text(outputs["record"], record.as_text())
        write_points(files.add(outputs["points"], main=True), "suggestion", grid, _columns(record))
    return Suggestion(options.out, outputs["csv"].path, page, size, record)


def _record(class_map: ClassMap, scene: Scene | None, options: SuggestOptions, bars: Bars) -> SuggestionRecord:
    uncertainty = _uncertainty(class_map, options)
    earlier = _earlier(class_map, options.exclude)
    apart = options.apart_px
    pool = draw_pool(class_map, uncertainty, options.n, earlier.places, apart, options.seed, bars("candidates"))
    check_has_pixels(class_map.count(), class_map.path)
    if not len(pool.row):
        raise InputError(f"every pixel of {class_map.path} lies within {apart} pixels of a point of `exclude`")
    rows = np.concatenate([pool.row, earlier.places[:, 0]])
    cols = np.concatenate([pool.col, earlier.places[:, 1]])
    scene = _on_same_pixels(scene, class_map)
    features = pixel_features(scene, rows, cols)
    mapped = class_map.ids_at(earlier.places[:, 0], earlier.places[:, 1])
    seen = np.where(earlier.ids > 0, earlier.ids, mapped)
    chosen, distances = pick_points(pool, features, options.n, apart, seen[seen > 0].tolist())
    if len(chosen) < options.n:
        _log.info("only %d points lie %d pixels apart from each other and from earlier ones", len(chosen), apart)
    return SuggestionRecord(
        path=options.out.name,
        map=SampledMap(
            path=relative_path(class_map.path, options.out),
            digest=class_map.count().digest,
            pixels=int(class_map.class_pixels().sum()),
        ),
        seed=options.seed,
        round=earlier.rounds + 1,
        exclude=tuple(file.name for file in options.exclude),
        apart_px=apart,
        uncertainty=uncertainty.name,
        features=tuple(scene.modalities) if scene else (),
        legend=LegendRecord.of(class_map.legend),
        grid=GridRecord.of(class_map.grid),
        points=_points(pool, chosen, distances),
    ).signed()


def _points(pool: Pool, chosen: np.ndarray, distances: np.ndarray) -> tuple[SuggestedPoint, ...]:
    return tuple(
        SuggestedPoint(
            id=number,
            row=int(pool.row[place]),
            col=int(pool.col[place]),
            uncertainty=round(float(pool.uncertainty[place]), 4),
            distance=round(float(distance), 4) if math.isfinite(distance) else None,
        )
        for number, (place, distance) in enumerate(zip(chosen, distances, strict=True), 1)
    )


def _uncertainty(class_map: ClassMap, options: SuggestOptions) -> Uncertainty:
    if options.runner_up is not None:
        raster = RasterFile(options.runner_up)
        same = (raster.height, raster.width) == (class_map.grid.height, class_map.grid.width)
        if raster.count != 2 or raster.dtype != np.uint8 or not same:
            raise DataError(f"{options.runner_up} is no runner-up layer of {class_map.path}; give that of `runner_up`")
        return Uncertainty("margin", margin=raster)
    layer = open_confidence(class_map, options.confidence)
    if layer is not None:
        return Uncertainty("confidence", confidence=layer)
    _log.info("no confidence beside %s: points are picked by difference and rare classes alone", class_map.path)
    return Uncertainty("none")


def _earlier(class_map: ClassMap, files: tuple[Path, ...]) -> _Earlier:
    """Read the points of earlier rounds, or of samples, with the classes that they were given."""
    places, ids, rounds = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)], 0
    for file in files:
        rows = read_rows(file)
        check_same_crs(class_map.grid.crs, rows, file)
        places.append(_pixels(class_map, rows, file))
        values = reference_values(rows, class_map.legend, file)
        ids.append(np.where((values == CANNOT_TELL) | (values == UNLABELED), 0, values).astype(np.int64))
        rounds = max(rounds, _round_of(file))
    return _Earlier(np.concatenate(places), np.concatenate(ids), rounds)


def _pixels(class_map: ClassMap, rows: list[PointRow], file: Path) -> np.ndarray:
    """Return row and column of points, int64 [m, 2]. Raises DataError for one outside the map."""
    inverse = ~class_map.grid.transform
    places = np.array([(inverse @ (row.x, row.y))[::-1] for row in rows], np.float64).reshape(-1, 2)
    pixels: np.ndarray = np.floor(places).astype(np.int64)
    outside = ((pixels < 0) | (pixels >= (class_map.grid.height, class_map.grid.width))).any(axis=1)
    if outside.any():
        row = rows[int(np.flatnonzero(outside)[0])]
        raise DataError(f"{file}: point {row.point_id} lies outside {class_map.path}; give points of this map")
    return pixels


def _round_of(file: Path) -> int:
    """Return the round of earlier suggestions; 0 for a sample or a file without its record."""
    beside = file.with_suffix(".json")
    try:
        return SuggestionRecord.read(beside).round if beside.is_file() else 0
    except DataError:
        return 0


def _scene(class_map: ClassMap, options: SuggestOptions) -> Scene | None:
    """Return the scene that was mapped; None if it is not known or not there any more."""
    if options.city is not None:
        return scene_of(open_city(options.city), class_map)
    path = class_map.city_path
    try:
        return scene_of(open_city(path), class_map) if path is not None and path.exists() else None
    except C2SegError as error:
        _log.info("the images that were mapped are not used: %s", error)
        return None


def _on_same_pixels(scene: Scene | None, class_map: ClassMap) -> Scene | None:
    """Return the scene if its pixels are the map's; places tell the difference of others."""
    same = scene is not None and (scene.grid.height, scene.grid.width) == (class_map.grid.height, class_map.grid.width)
    return scene if same else None


def _layers(scene: Scene | None, options: SuggestOptions) -> list[ChipLayer]:
    if options.page is False:
        return []
    layers = [display_layer(RasterFile(options.backdrop), options.backdrop.stem)] if options.backdrop else []
    layers += city_layers(scene) if scene else []
    if not layers and options.page:
        raise InputError("a page needs images; give the city that was mapped (`city`), or a picture (`backdrop`)")
    return layers


def _inputs(class_map: ClassMap, options: SuggestOptions) -> list[Path]:
    city = options.city or class_map.city_path
    files = [
        class_map.path, class_map.path.with_suffix(".json"), class_map.confidence_path, options.confidence,
        options.runner_up, options.backdrop, *options.exclude,
    ]  # fmt: skip
    return [*(file for file in files if file is not None), *(city_inputs(city) if city is not None else ())]


def _columns(record: SuggestionRecord) -> dict[str, np.ndarray]:
    count = len(record.points)
    numbers = np.empty(count, object)
    numbers[:] = record.sample_id
    columns = {
        "sample_id": numbers,
        "point_id": np.array([point.id for point in record.points], np.int32),
        "row": np.array([point.row for point in record.points], np.int64),
        "col": np.array([point.col for point in record.points], np.int64),
    }
    return columns | {name: empty_texts(count) for name in ("reference", "confidence", "interpreter", "comment")}
