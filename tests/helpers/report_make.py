"""Cities and run folders of a few pixels, made by code, as `c2seg fit` and `c2seg predict` would leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from c2seg.artifacts import (
    MapKey,
    MapRecord,
    MapRun,
    Provenance,
    RunProvenance,
    RunRecord,
    SourceCity,
    TargetCity,
    ValidationRecord,
    run_provenance,
)
from c2seg.artifacts.maps import PredictedCity
from c2seg.legend import Legend, c2seg13
from c2seg.metrics import confusion_counts
from c2seg.raster import write_map
from c2seg.recipes import load_recipe
from c2seg.types import Grid

UTM = CRS.from_epsg(32633).to_wkt()


def grid(height: int = 48, width: int = 36, crs: str | None = UTM, pixel_m: float = 10.0) -> Grid:
    return Grid(height, width, Affine(pixel_m, 0, 500_000, 0, -pixel_m, 5_800_000), crs)


def write_raster(path: Path, values: np.ndarray, place: Grid, nodata: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype.name, "transform": place.transform, "nodata": nodata,
        "crs": CRS.from_wkt(place.crs) if place.crs else None,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
    return path


def labels(place: Grid, classes: tuple[int, ...] = (3, 7, 10)) -> np.ndarray:
    """Vertical stripes of the classes, with an unlabeled top row."""
    columns = np.array(classes, np.uint8)[np.arange(place.width) * len(classes) // place.width]
    ids = np.tile(columns, (place.height, 1))
    ids[0] = 0
    return ids


def make_city(
    folder: Path, place: Grid, *, modalities: tuple[str, ...] = ("msi", "sar", "hsi"), label: bool = False
) -> Path:
    rng = np.random.default_rng(1)
    ids = labels(place)
    counts = {"msi": 4, "sar": 2, "hsi": 12}
    for name in modalities:
        noise = rng.normal(0, 5, (counts[name], place.height, place.width))
        values = (noise + 40 * ids + 20 * np.arange(counts[name])[:, None, None]).astype(np.float32)
        values[:, :, -2:] = -9999
        write_raster(folder / f"{name}.tif", values, place, nodata=-9999)
    if label:
        write_raster(folder / "label.tif", ids[None], place)
    return folder


def make_map(
    path: Path, ids: np.ndarray, place: Grid, *, city: str = "town", city_path: Path | None = None,
    legend: Legend | None = None, confidence: bool = False, trained: RunProvenance | None = None, fingerprint: str = "f",
) -> Path:  # fmt: skip
    legend = legend or c2seg13()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_map(path, lambda first, last: ids[None, first:last], place, legend, overwrite=True)
    if confidence:
        level = np.where(ids == 0, 255, np.arange(ids.size).reshape(ids.shape) % 201).astype(np.uint8)
        write_raster(path.with_name(path.stem + "_confidence.tif"), level[None], place, nodata=255)
    predicted = process(command=f"c2seg predict model.safetensors {city}", seed=7)
    MapRecord(
        path=path.name,
        area_km2=MapRecord.areas({c.name: int((ids == c.id).sum()) for c in legend.classes}, place.pixel_area_m2()),
        pixels=int((ids > 0).sum()),
        nodata_pixels=int((ids == 0).sum()),
        seconds=1.5,
        peak_memory_mib=200.0,
        key=MapKey(city=fingerprint, scene=city, model="abc"),
        recipe="forest",
        run_id=trained.run_id if trained else None,
        run=MapRun(trained=trained, predicted=predicted),
        city=PredictedCity(name=city, path=str(city_path or path.parent / "gone")),
        confidence=path.stem + "_confidence.tif" if confidence else None,
    ).write(path.with_suffix(".json"))
    return path


def process(*, command: str, seed: int) -> Provenance:
    """What a process on some machine says of itself."""
    known = {
        "c2seg": "0.1.0",
        "commit": "0123abc",
        "python": "3.11.7",
        "machine": "x86_64",
        "packages": {"numpy": "2.0"},
    }
    return Provenance(**known, seed=seed, device="cpu", command=command)


def trained_by(*, seed: int = 7, **changes: Any) -> RunProvenance:
    """Where a run comes from, as `c2seg fit` states it; ``changes`` are fields in the place of these."""
    sources = (SourceCity(name="village", images="aaaa", labels="bbbb"),)
    run = run_provenance(
        process(command="c2seg fit forest --source village --out run", seed=seed), load_recipe("forest"), sources,
        TargetCity(name="town", images="f"),
    )  # fmt: skip
    return RunProvenance.model_validate({**dict(run), **changes})


def make_run(folder: Path, *, curves: bool = False, validation: bool = False, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    RunRecord(**dict(trained_by(**changes)), seconds=12.5).write(folder / "record.json")
    (folder / "recipe.yaml").write_text("name: forest\nmodel: {name: forest, trees: 8}\n")
    if curves:
        rows = [f"{k},{k / 10},0.001,50,{2 / (k + 1):.4f},{1 / (k + 1):.4f}" for k in range(0, 400, 10)]
        text = "step,seconds,learning_rate,patches_per_second,loss,cross_entropy\n" + "\n".join(rows) + "\n400,4"
        (folder / "curves.csv").write_text(text)
    if validation:
        reference = labels(grid())
        counted = confusion_counts(reference, np.where(reference == 7, np.uint8(3), reference), c2seg13().ids)
        ValidationRecord.of("4 folds", counted).write(folder / "validation.json")
    return folder


def wrong_in_one_stripe(place: Grid) -> np.ndarray:
    """The ground truth of `labels`, mapped everywhere, but class 7 as 3."""
    ids = labels(place)
    ids[0] = ids[1]
    ids[ids == 7] = 3
    return ids
