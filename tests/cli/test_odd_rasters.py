"""Generated rasters of every type, layout, nodata value and shape through the commands: done, or one clear line."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine

from c2seg.cli import run
from helpers.odd_rasters import NORTH_UP, write_odd

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "complex64")
SHAPES = ((1, 1), (1, 9), (9, 1), (20, 30), (33, 64), (1, 5000), (5000, 1), (2000, 12))
LAYOUTS = (
    {}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"compress": "deflate"}, {"interleave": "band"},
    {"interleave": "pixel", "compress": "lzw"}, {"blockysize": 1},
)  # fmt: skip
FAST = ["--set", "model.trees=2", "--set", "validation.folds=0", "--quiet"]


def extremes(dtype):
    """Return nodata values that a file of this type can have."""
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        if info.bits == 64:
            return [None, 0]  # rasterio holds nodata values in double precision
        return [None, 0, int(info.max), *([int(info.min)] if info.min else [])]
    info = np.finfo(np.dtype(dtype))
    return [None, 0, float(info.min), np.nan, np.inf, -np.inf, 1e20]


def image(rng, ids, dtype, bands):
    """Return [C, H, W]: levels by class with noise, in a part of the range of a type."""
    values = ids[None] * 9.0 + rng.normal(0, 1, (bands, *ids.shape)) + 20
    kind = np.dtype(dtype).kind
    return values.round().astype(dtype) if kind in "iu" else (values / 100).astype(dtype)


def make_city(folder, seed):
    """Write a random city with a label; return its ids."""
    rng = np.random.default_rng(seed)
    dtype, shape = DTYPES[seed % len(DTYPES)], SHAPES[rng.integers(len(SHAPES))]
    ids = np.kron(rng.choice([1, 4, 8], (shape[0] // 4 + 1, shape[1] // 4 + 1)), np.ones((4, 4)))[
        : shape[0], : shape[1]
    ]
    ids = ids.astype(np.uint8)
    values = image(rng, ids, dtype, int(rng.integers(1, 5)))
    nodata = extremes(dtype)[rng.integers(len(extremes(dtype)))]
    if nodata is not None:
        values[:, : shape[0] // 3, : shape[1] // 3] = nodata
    mask = (rng.random(shape) > 0.2) if rng.random() < 0.3 else None
    place = [(NORTH_UP, "EPSG:32632"), (NORTH_UP, "EPSG:32632"), (None, None), (NORTH_UP @ Affine.scale(1, -1), "EPSG:32632"),
             (Affine(1e-4, 0, 11, 0, -1e-4, 48), "EPSG:4326")][rng.integers(5)]  # fmt: skip
    settings = dict(LAYOUTS[rng.integers(len(LAYOUTS))])
    where = {"transform": place[0], "crs": place[1]}
    write_odd(
        folder / "msi.tif", values, nodata=nodata, mask=mask, internal=bool(rng.random() < 0.5), **where, **settings
    )
    write_odd(folder / "label.tif", ids.astype(("uint8", "int16", "float32")[seed % 3])[None], **where)
    return ids


def command(capsys, *words, ok=(0, 2)):
    """Run a command; an internal error has the code 1, a warning of a library is an error of the test."""
    capsys.readouterr()
    code = run([str(word) for word in words])
    shown = capsys.readouterr()
    assert code in ok, (words, shown.err)
    assert "Traceback" not in shown.err
    if code == 2:
        assert (shown.err + shown.out).strip()
    return code, shown.out


def walk(folder, seed, capsys):
    """Take a random city through all commands; return how far it came."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # of writing it
        ids = make_city(folder / "city", seed)
    _, text = command(capsys, "inspect", folder / "city", "--json")
    report = json.loads(text)
    if command(capsys, "fit", "forest", "--source", folder / "city", "--out", folder / "run", *FAST)[0]:
        return "fit"
    model, out = folder / "run/model.safetensors", folder / "run/map.tif"
    command(
        capsys,
        "predict",
        model,
        folder / "city",
        "--out",
        out,
        "--confidence",
        folder / "run/c.tif",
        "--quiet",
        ok=(0,),
    )
    with rasterio.open(out) as dataset:
        predicted = dataset.read(1)
    assert predicted.shape == ids.shape
    assert (predicted != 0).sum() == report["scenes"][0]["valid_pixels"]
    scored = command(capsys, "score", out, folder / "city", "--json", "--quiet")
    if scored[0] == 0:
        json.loads(scored[1])
    label = folder / "city/label.tif"
    command(capsys, "report", folder / "run", "--out", folder / "p.html", "--reference", label, "--quiet", ok=(0,))
    return "report"


@pytest.mark.parametrize("seed", range(11))
def test_a_raster_of_every_type(tmp_path, capsys, seed):
    walk(tmp_path, seed, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(11, 311, 10))
def test_three_hundred_rasters(tmp_path, capsys, first):
    reached = [walk(tmp_path / str(seed), seed, capsys) for seed in range(first, first + 10)]
    assert "report" in reached
