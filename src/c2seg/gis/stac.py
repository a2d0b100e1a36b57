"""A STAC item of a map: where it lies, its classes and layers, and the model that made it.

STAC 1.1 with the extensions projection 2.0, raster 2.0 (values of the layers), classification 1.1 (classes of the map) and,
where the model file is known, machine learning model (MLM) 1.5.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from c2seg.artifacts import Header, MapRecord
from c2seg.documents import json_text
from c2seg.errors import InputError
from c2seg.legend import Legend
from c2seg.records import Json
from c2seg.types import Grid

__all__ = ["Asset", "ModelFacts", "StacFacts", "instant", "stac_text"]

_SCHEMAS = "https://stac-extensions.github.io"
PROJECTION, RASTER, CLASSIFICATION, MLM = (
    f"{_SCHEMAS}/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "classification/v1.1.0", "mlm/v1.5.2")
)
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_TASKS = ["semantic-segmentation"]
_FORMATS = {".onnx": ("ONNX", "onnx"), ".safetensors": ("PyTorch", "safetensors.torch.save_file")}


@dataclass(frozen=True)
class ModelFacts:
    """A model file and its header."""

    path: Path
    header: Header


@dataclass(frozen=True)
class Asset:
    """A file of the item: what it is, its media type, its roles; ``bands`` are those of a raster."""

    path: Path
    title: str
    media_type: str
    roles: tuple[str, ...]
    bands: tuple[Json, ...] = ()


@dataclass(frozen=True)
class StacFacts:
    """What an item says. ``acquired`` is the time of the images, or when the map was made, ISO 8601."""

    name: str
    grid: Grid
    legend: Legend
    acquired: str
    record: MapRecord | None = None
    model: ModelFacts | None = None
    palette: str = "default"


def instant(text: str) -> str:
    """Return a date or time of ISO 8601 as a time in UTC. Raises InputError."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"`acquired`: {text!r} is no date; give one such as 2024-06-30 or 2024-06-30T10:15:00Z"
        ) from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stac_text(path: Path, facts: StacFacts, assets: Mapping[str, Asset]) -> str:
    """Return the JSON of the item that will stand at ``path``; ``assets`` holds the map as ``map``."""
    extensions = [PROJECTION, RASTER, CLASSIFICATION] if facts.grid.crs else [RASTER, CLASSIFICATION]
    content: Json = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": extensions + ([MLM] if facts.model else []),
        "id": facts.name,
        **_place(facts.grid),
        "properties": _properties(facts),
        "links": [],
        "assets": {name: _asset(asset, path, facts) for name, asset in assets.items()},
    }
    if facts.model:
        content["assets"]["model"] = _model_asset(facts.model, path)
    return json_text(content) + "\n"


def _place(grid: Grid) -> Json:
    """Return outline and bounds in degrees; no place without a CRS."""
    if grid.crs is None:
        return {"geometry": None}
    from rasterio.crs import CRS
    from rasterio.warp import transform

    steps = [k / 8 for k in range(8)]
    ring = (
        [(s, 0.0) for s in steps]
        + [(1.0, s) for s in steps]
        + [(1 - s, 1.0) for s in steps]
        + [(0.0, 1 - s) for s in steps]
    )
    points = [grid.transform @ (u * grid.width, v * grid.height) for u, v in [*ring, ring[0]]]
    xs, ys = transform(CRS.from_wkt(grid.crs), "EPSG:4326", *zip(*points, strict=True))
    outline = [[round(x, 7), round(y, 7)] for x, y in zip(xs, ys, strict=True)]
    if not all(math.isfinite(value) for point in outline for value in point):
        return {"geometry": None}
    if _area(outline) < 0:  # outlines go counterclockwise (RFC 7946)
        outline.reverse()
    bounds = [f(point[k] for point in outline) for f in (min, max) for k in (0, 1)]
    return {"geometry": {"type": "Polygon", "coordinates": [outline]}, "bbox": bounds}


def _area(outline: list[list[float]]) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(outline)) / 2


def _properties(facts: StacFacts) -> Json:
    properties: Json = {"datetime": facts.acquired, "title": f"Land cover of {_city(facts)}"}
    if facts.grid.crs:
        properties |= _projection(facts.grid)
    if facts.model:
        properties |= _model(facts.model)
    return properties


def _city(facts: StacFacts) -> str:
    return facts.record.city.name if facts.record and facts.record.city else facts.name


def _projection(grid: Grid) -> Json:
    from rasterio.crs import CRS

    assert grid.crs is not None
    code = CRS.from_wkt(grid.crs).to_epsg()
    known = {"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": grid.crs}
    return {**known, "proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform[:6])}


def _asset(asset: Asset, path: Path, facts: StacFacts) -> Json:
    content: Json = {
        "href": _href(asset.path, path), "title": asset.title, "type": asset.media_type, "roles": list(asset.roles),
    }  # fmt: skip
    if asset.bands:
        content["bands"] = list(asset.bands)
    if "classification" in asset.roles:
        content["classification:classes"] = _classes(facts.legend, facts.palette)
    return content


def _href(file: Path, path: Path) -> str:
    relative = Path(os.path.relpath(file.resolve(), path.parent.resolve())).as_posix()
    return relative if relative.startswith("..") else f"./{relative}"


def _classes(legend: Legend, palette: str = "default") -> list[Json]:
    colors = legend.colors(palette)
    classes: list[Json] = [{"value": 0, "name": "no-data", "title": "no data", "nodata": True}]
    return classes + [
        {
            "value": item.id, "name": _slug(item.name) or f"class-{item.id}", "title": item.name, "description": item.name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*colors[item.id]),
        }
        for item in legend.classes
    ]  # fmt: skip


def _slug(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "-", name.lower()).strip("-")


def _model(model: ModelFacts) -> Json:
    """Return what the MLM extension says of a model. Inputs are normalized; shapes have -1 where the size is free."""
    header = model.header
    recipe, settings = header.recipe, header.recipe.prediction
    window = settings.window_px
    result = {
        "shape": [-1, header.legend.num_classes, window, window],
        "dim_order": ["batch", "class", "height", "width"],
    }
    return {
        "bands": [band for name in header.inputs for band in _input_bands(name, header)],
        "mlm:name": re.sub(r"[^A-Za-z0-9_.\- ]+", "-", f"c2seg {recipe.name}").strip("-. "),
        "mlm:architecture": _architecture(header),
        "mlm:tasks": _TASKS,
        "mlm:framework": _framework(model)[0],
        "mlm:pretrained": True,
        "mlm:input": [_input(name, header, window) for name in header.inputs],
        "mlm:output": [
            {
                "name": "probabilities", "tasks": _TASKS, "result": {**result, "data_type": "float32"},
                "classification:classes": _classes(header.legend)[1:],
            }
        ],
        "mlm:hyperparameters": {"window_px": window, "overlap_px": settings.overlap, "recipe": recipe.name},
    }  # fmt: skip


def _architecture(header: Header) -> str:
    model: Any = header.recipe.model
    return str(getattr(model, "name", header.recipe.name))


def _input(name: str, header: Header, window: int) -> Json:
    bands = _input_bands(name, header)
    return {
        "name": name,
        "bands": [band["name"] for band in bands],
        "input": {
            "shape": [-1, len(bands), window, window],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "description": f"{name} on the grid of the map; the model file normalizes it ({header.recipe.normalization})",
    }


def _input_bands(name: str, header: Header) -> list[Json]:
    return [
        {"name": f"{name}-{number}", **({"description": text} if (text := _band_text(band)) else {})}
        for number, band in enumerate(header.inputs[name], 1)
    ]


def _band_text(band: Any) -> str:
    wavelength = f"{band.wavelength_nm:.0f} nm" if band.wavelength_nm is not None else ""
    return ", ".join(text for text in (band.name, band.role, wavelength) if text)


def _framework(model: ModelFacts) -> tuple[str, str]:
    if _architecture(model.header) == "forest":
        return "scikit-learn", "safetensors.numpy.save_file"
    return _FORMATS.get(model.path.suffix.lower(), _FORMATS[".safetensors"])


def _model_asset(model: ModelFacts, path: Path) -> Json:
    return {
        "href": _href(model.path, path),
        "title": f"Model of recipe {model.header.recipe.name}",
        "type": "application/octet-stream",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": _framework(model)[1],
    }
