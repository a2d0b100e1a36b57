"""Report on the content and the problems of a city, as plain values for printing or JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from c2seg.data import remarks
from c2seg.data.city import City, LabeledCity, Layer, Modality, Scene, blocks
from c2seg.data.fill import FillSearch
from c2seg.data.inspected import (
    InspectedCity,
    InspectedLabel,
    InspectedModality,
    InspectedScene,
    InspectedStatistics,
    InspectedTiles,
)
from c2seg.data.label_map import detect_label_map, resolve_label_maps
from c2seg.data.layouts import Layout, layout_of, open_city
from c2seg.data.published import CITIES, PublishedCity, published_means
from c2seg.data.radiometry import dark_ends
from c2seg.data.spectra import compare_landmarks, find_landmarks, wavelength_notes
from c2seg.data.splits import leak_report, published_split
from c2seg.data.statistics import BandStatistics, city_statistics, statistics_problem
from c2seg.data.tiling import TileGrid
from c2seg.data.units import radar_unit, radar_unit_of, units_note
from c2seg.errors import C2SegError
from c2seg.legend import BACKGROUND, IGNORE
from c2seg.progress import Progress, no_progress
from c2seg.raster import ArrayRaster
from c2seg.types import Grid, Window

__all__ = ["inspect_city"]

_BLOCK_VALUES = 8_000_000  # values read at once
_FAR = 0.02  # of the published deviation: rounding and one NaN stay far below


def inspect_city(
    path: Path,
    *,
    label_map: str | None = None,
    against: Path | None = None,
    headers_only: bool = False,
    progress: Progress = no_progress,
) -> InspectedCity:
    """Return a report on a city: layout, grids, modalities, pixel counts, statistics, class histogram, notes, problems.

    ``label_map``: of the label (see ``open_labeled_city``). ``against``: another city, to compare bands and units with.
    ``headers_only``: read only the pixels that opening needs. Problems are collected by file. Raises DataError only if no
    layout recognizes ``path``. All values are JSON types.
    """
    layout = layout_of(path)
    city = layout.images(path)
    other = open_city(against) if against is not None else None  # a wrong path shows before the work
    report = _Report(list(city.notes), list(city.problems))
    labels = _open_labels(layout, path, city, label_map, report)
    check = getattr(layout, "check", None)
    if check and not headers_only:
        codes = {IGNORE, *labels.images.legend.codes(labels.labels[0].label_map)} if labels else None
        report.problems += check(path, city, codes, _part(progress, 0.0, 0.2))
    scenes: list[InspectedScene] = []
    for index, scene in enumerate(city.scenes):
        entry = _scene_entry(scene)
        valid: Layer | None = None
        if not headers_only:
            first, last = (0.2 + 0.5 * k / len(city.scenes) for k in (index, index + 1))
            valid = _survey(city, scene, entry, report, _part(progress, first, last))
        if labels is not None:
            entry["label"] = _label_entry(labels, index, valid, report, headers_only=headers_only)
        scenes.append(entry)
    known = _published(city)
    if known and not headers_only:
        _compare_published(city, known, scenes[0], report, _part(progress, 0.7, 1.0))
    if not headers_only:
        _compare_bands(city, known, other, scenes, report)
        report.notes += remarks.of_city(city)
    progress(1.0, 1.0)
    return {
        "path": str(path),
        "layout": layout.NAME,
        "name": city.name,
        "dataset": known.dataset if known else None,
        "split": known.split if known else None,
        "legend": city.legend.name,
        "scenes": scenes,
        "notes": list(dict.fromkeys(report.notes)),
        "problems": list(dict.fromkeys(report.problems)),
    }


def _part(progress: Progress, first: float, last: float) -> Progress:
    """Return a progress callable for a part of the whole work."""

    def part(done: float, total: float, text: str = "") -> None:
        progress(first + (last - first) * done / max(total, 1e-9), 1.0, text)

    return part


class _Report:
    """Notes and problems collected so far."""

    def __init__(self, notes: list[str], problems: list[str]) -> None:
        self.notes = notes
        self.problems = problems


def _value_notes(city: City, other: City) -> list[str]:
    note = units_note({city.name: radar_unit_of(city), other.name: radar_unit_of(other)})
    return [*([note] if note else []), *dark_ends([city, other]), *remarks.same_images(city, other)]


def _published(city: City) -> PublishedCity | None:
    known = CITIES.get(city.name)
    if known is None or len(city.scenes) != 1 or city.scenes[0].tiles not in known.tile_grids():
        return None
    return known


def _open_labels(layout: Layout, path: Path, city: City, label_map: str | None, report: _Report) -> LabeledCity | None:
    if not city.scenes:
        return None
    try:
        labels = layout.labels(path, city, label_map)
        return None if labels is None else resolve_label_maps(city, labels)
    except C2SegError as error:
        report.problems.append(str(error))
        return None


def _scene_entry(scene: Scene) -> InspectedScene:
    grid = scene.grid
    return {
        "name": scene.name,
        "height": grid.height,
        "width": grid.width,
        "crs": _crs_name(grid),
        "resolution_xy": list(grid.resolution_xy),
        "bounds_xy": list(grid.bounds_xy),
        "pixel_area_m2": grid.pixel_area_m2(),
        "valid_raster": scene.valid.origin if scene.valid else None,
        "tiles": _tiles_entry(scene.tiles) if scene.tiles else None,
        "modalities": {name: _modality_entry(stack) for name, stack in scene.modalities.items()},
    }


def _tiles_entry(tiles: TileGrid) -> InspectedTiles:
    return {
        "count": tiles.count,
        "tile_px": tiles.tile_px,
        "step_px": tiles.step_px,
        "rows": len(tiles.row_offsets),
        "columns": len(tiles.col_offsets),
        "order": tiles.order,
    }


def _crs_name(grid: Grid) -> str | None:
    if not grid.crs:
        return None
    from rasterio.crs import CRS

    code = CRS.from_wkt(grid.crs).to_epsg()
    return f"EPSG:{code}" if code else grid.crs


def _modality_entry(stack: Modality) -> InspectedModality:
    nodata = stack.source.nodata
    relation = stack.relation
    return {
        "origin": stack.origin,
        "bands": stack.count,
        "dtype": str(stack.source.dtype),
        "height": stack.source.height,
        "width": stack.source.width,
        "ratio": relation.ratio,
        "offset_px": [relation.row_offset, relation.col_offset],
        "nodata": nodata if nodata is None or np.isfinite(nodata) else str(nodata),
        "blank": stack.nodata_all_bands,
        "scale": stack.scale if isinstance(stack.scale, float) else list(stack.scale),
        "offset": stack.offset if isinstance(stack.offset, float) else list(stack.offset),
        "masked": stack.mask is not None,
        "names": [band.name for band in stack.bands],
        "roles": [band.role for band in stack.bands],
        "wavelengths_nm": [band.wavelength_nm for band in stack.bands],
    }


def _survey(city: City, scene: Scene, entry: InspectedScene, report: _Report, progress: Progress) -> Layer | None:
    """Count pixels and compute statistics of all modalities in one pass.

    Returns the mask of pixels that are valid in all modalities; None if one is unreadable.
    """
    total = sum(s.source.height * s.source.width * s.count for s in scene.modalities.values())
    done = 0
    layers = []
    for name, stack in scene.modalities.items():
        source = stack.source
        valid = np.zeros((1, source.height, source.width), np.uint8)
        statistics: BandStatistics | None = None
        nan_px, fill = 0, FillSearch()
        size = max(64, int((_BLOCK_VALUES / max(1, source.count)) ** 0.5) // 64 * 64)
        try:
            for window in blocks(Window(0, 0, source.height, source.width), size):
                raw = source.read(window)
                weights = scene.cell_weights(name, raw, window)
                rows, cols = window.slices
                valid[0, rows, cols] = weights > 0
                fill.add(raw, weights > 0)
                if raw.dtype.kind == "f":
                    nan_px += int((~np.isfinite(raw)).any(axis=0).sum())
                values = stack.scaled(raw.reshape(source.count, -1))
                part = BandStatistics.of(values, weights.ravel())
                statistics = part if statistics is None else statistics.merge(part)
                done += raw.size
                progress(done, total, name)
        except C2SegError as error:
            report.problems.append(str(error))
            continue
        layers.append(Layer(ArrayRaster(valid), stack.relation))
        counted = entry["modalities"][name]
        counted["valid_pixels"] = statistics.count if statistics else 0
        counted["nan_cells"] = nan_px
        counted["empty_cells"] = int((valid == 0).sum())
        problem = statistics_problem(replace(city, scenes=(scene,)), name, statistics)
        if problem:
            report.problems.append(problem)
        counted["statistics"] = _statistics_entry(statistics) if statistics and statistics.count else None
        if name == "sar" and statistics and (unit := radar_unit(statistics.mean, statistics.minimum)):
            report.notes.append(
                f"{stack.origin or name}: the values look like {'dB' if unit == 'dB' else 'linear power'}"
            )
        if scene.valid is None and (note := fill.note(stack.origin or name)):
            report.notes.append(note)
        if nan_px:
            report.notes.append(
                f"{stack.origin or name}: {nan_px} pixels contain NaN or infinity; they are treated as nodata"
            )
    if len(layers) < len(scene.modalities):
        return None
    return _all_valid(scene, layers, entry)


def _statistics_entry(statistics: BandStatistics) -> InspectedStatistics:
    return {
        "kind": "pooled",
        "count": statistics.count,
        "mean": statistics.mean.tolist(),
        "std": statistics.std.tolist(),
        "minimum": statistics.minimum.tolist(),
        "maximum": statistics.maximum.tolist(),
    }


def _all_valid(scene: Scene, layers: list[Layer], entry: InspectedScene) -> Layer:
    valid = np.zeros((1, scene.grid.height, scene.grid.width), np.uint8)
    for window in blocks(scene.grid.window, 2048):
        here = np.ones((window.height, window.width), bool)
        for layer in [*layers, *([scene.valid] if scene.valid else [])]:
            here &= layer.read_marked(window)
        valid[(0, *window.slices)] = here
    entry["valid_pixels"] = int(valid.sum())
    return Layer(ArrayRaster(valid))


def _label_entry(
    labels: LabeledCity, index: int, valid: Layer | None, report: _Report, *, headers_only: bool
) -> InspectedLabel:
    label = labels.labels[index]
    legend = labels.images.legend
    entry: InspectedLabel = {
        "origin": label.origin, "label_map": label.label_map, "dtype": str(label.source.dtype)
    }  # fmt: skip
    try:
        detected = detect_label_map(labels.images, index, label)
        if detected != label.label_map:
            report.notes.append(
                f"{label.origin}: values and images suggest the label mapping {detected!r}, not {label.label_map!r}; "
                f"to use it, set `label_map={detected}`"
            )
    except C2SegError:  # undecided; values outside the label mapping are reported below
        pass
    if headers_only:
        return entry
    grid = labels.images.scenes[index].grid
    counts, valid_counts = np.zeros(256, np.int64), np.zeros(256, np.int64)
    wrong: dict[str, None] = {}
    for window in blocks(grid.window, 1024):
        try:
            ids = labels.read_label(index, window)
        except C2SegError as error:
            wrong.setdefault(str(error))
            continue
        counts += np.bincount(ids.ravel(), minlength=256)
        if valid is not None:
            valid_counts += np.bincount(ids[valid.read(window)[0][0] != 0], minlength=256)
    report.problems += list(wrong)[:8]
    labeled = int(counts[list(legend.ids)].sum())
    entry["background"] = int(counts[BACKGROUND])
    entry["ignore"] = int(counts[IGNORE])
    entry["labeled"] = labeled
    entry["classes"] = [
        {
            "id": item.id,
            "name": item.name,
            "pixels": int(counts[item.id]),
            "share": counts[item.id] / labeled if labeled else 0.0,
            "valid_pixels": int(valid_counts[item.id]) if valid is not None else None,
        }
        for item in legend.classes
    ]
    if not labeled and not wrong:
        report.problems.append(f"{label.origin}: no pixel has a class of {legend.name}")
    return entry


def _compare_published(
    city: City, known: PublishedCity, entry: InspectedScene, report: _Report, progress: Progress
) -> None:
    """Compare statistics with the published ones and report the leaks of the random splits. For source cities only."""
    tiles = city.scenes[0].tiles
    if known.split != "train" or tiles is None:
        return
    for split in ("uda", "mrsn"):
        try:
            report.notes.append(
                f"random split {split!r} leaks: {leak_report(published_split(split, tiles.count), tiles).text}"
            )
        except C2SegError:  # published for the other city only
            continue
    published = published_means(known.dataset)
    for k, (name, values) in enumerate(entry["modalities"].items()):
        mean, std = published.get(name, (np.empty(0), np.empty(0)))
        if len(mean) != values["bands"] or not values.get("statistics"):
            continue
        part = _part(progress, k / len(entry["modalities"]), (k + 1) / len(entry["modalities"]))
        here = city_statistics(city, [name], part, kind="tiles")[name]
        off = float(np.max(np.abs(here.mean - mean) / std))
        std_off = float(np.max(np.abs(here.std / std - 1)))
        values["published"] = {
            "kind": "averages over tiles", "mean": mean.tolist(), "std": std.tolist(), "mean_here": here.mean.tolist(),
            "std_here": here.std.tolist(), "largest_mean_difference_in_std": off, "largest_std_difference": std_off,
        }  # fmt: skip
        if max(off, std_off) > _FAR:
            report.notes.append(
                f"{name}: tile-averaged statistics differ from the published ones by up to {off:.2f} standard deviations "
                f"in the mean and {std_off:.1%} in the deviation: other units, other bands or other data"
            )


def _compare_bands(
    city: City, known: PublishedCity | None, other: City | None, scenes: list[InspectedScene], report: _Report
) -> None:
    """Report wavelengths that are not ascending, and bands whose wavelengths differ from those of another city.

    Wavelengths are compared if both cities have them, else landmarks of the mean spectra.
    """
    others: dict[str, np.ndarray] = {}
    if known is not None:
        others[f"the source city of {known.dataset} (published mean)"] = published_means(known.dataset)["hsi"][0]
    if other is not None:
        report.notes += _value_notes(city, other)
        gap = _wavelength_gap(city, other)
        if gap is None and "hsi" in other.modality_names:
            others[other.name] = city_statistics(other, ["hsi"])["hsi"].mean
        elif gap is not None and gap > 1:
            report.notes.append(f"hsi: wavelengths differ from those of {other.name} by up to {gap:.0f} nm at one band")
    for entry in scenes:
        hsi = entry["modalities"].get("hsi")
        statistics = hsi.get("statistics") if hsi else None
        if hsi is None or not statistics:
            continue
        report.notes += [f"hsi: {note}" for note in wavelength_notes(hsi["wavelengths_nm"])]
        landmarks = find_landmarks(np.asarray(statistics["mean"]))
        if landmarks is None or all(hsi["wavelengths_nm"]):
            continue
        hsi["landmarks"] = {
            "red_edge_band": None if landmarks.red_edge is None else landmarks.red_edge + 1,
            "dip_bands": [dip + 1 for dip in landmarks.dips],
        }
        for name, mean in others.items():
            there = find_landmarks(mean)
            if there is not None:
                report.notes += [f"hsi: {note}" for note in compare_landmarks(landmarks, there, name)]


def _wavelength_gap(city: City, other: City) -> float | None:
    """Return the largest difference of a band in nm; None unless both cities have the wavelengths of the same bands."""
    if not all("hsi" in c.modality_names for c in (city, other)):
        return None
    here, there = ([b.wavelength_nm for b in c.scenes[0].modality("hsi").bands] for c in (city, other))
    pairs = [(a, b) for a, b in zip(here, there, strict=False) if a is not None and b is not None]
    if not pairs or not len(pairs) == len(here) == len(there):
        return None
    return max(abs(a - b) for a, b in pairs)
