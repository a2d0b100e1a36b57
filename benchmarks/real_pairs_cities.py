"""The pairs of ``real_pairs.py``: places as given, halves of a place, simulated pairs (most without HSI), and frozen ones.

City folders are written once into a work folder, by window, without a change to their values.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import yaml
from rasterio.windows import Window

import c2seg
from c2seg.benchmark.pairs import Pair

DEVELOPMENT_SEEDS = (2101, 2102, 4101, 5102)
"""Of the last two, materials change each by itself (docs/simulator.md)."""
FULL_SEEDS = (1106, 2105, 4107, 5108)
"""Of pairs with the hyperspectral bands, too."""
FROZEN_SEEDS = {"ab": (3801, 5802), "bw": (3803,)}
"""Of pairs with all modalities, both ways, on which no setting was ever chosen."""
SCALE = {"ab": 0.15, "bw": 0.1}
POTSDAM_COLUMN = 96
"""Where its tiles leave all classes on both sides."""
GUARD_PX = {"augsburg": 14, "potsdam": 2}
"""Columns on each side of the cut that neither half has; of Augsburg 0.5 km."""


@dataclass(frozen=True)
class Folders:
    """Where data of others lie, and where city folders are written."""

    work: Path

    @property
    def real(self) -> Path:
        folder = self.real_or_none()
        if folder is None:
            raise SystemExit("real pairs: C2SEG_REAL_DATA does not name the folder of the real images")
        return folder

    def real_or_none(self) -> Path | None:
        folder = os.environ.get("C2SEG_REAL_DATA")
        return Path(folder) if folder else None


Maker = Callable[[Folders, str], Pair]


def development() -> Mapping[str, Maker]:
    """Return the pairs that settings may be chosen on, by name."""
    makers: dict[str, Maker] = {"chile-denmark": _places, "denmark-chile": _places}
    makers |= dict.fromkeys(("augsburg-we", "augsburg-ew", "potsdam-we", "potsdam-ew"), _halves)
    makers |= {f"sim-{seed}": _simulated for seed in DEVELOPMENT_SEEDS}
    return makers


def styled() -> Mapping[str, Maker]:
    """Return the halves of Augsburg, the tested one restyled to the band quantiles of Berlin's images."""
    return dict.fromkeys(("augsburg-we-styled", "augsburg-ew-styled"), _styled)


def full() -> Mapping[str, Maker]:
    """Return simulated pairs with all modalities, which settings may be chosen on, too."""
    return {f"full-{seed}": _simulated for seed in FULL_SEEDS}


def frozen() -> Mapping[str, Maker]:
    """Return the pairs that are scored once, when a recipe is as it will be."""
    names = [f"frozen-{kind}-{seed}" for kind, seeds in FROZEN_SEEDS.items() for seed in seeds]
    return {f"{name}{way}": _frozen for name in names for way in ("", "-back")}


def chosen(names: str) -> dict[str, Maker]:
    """Return makers by name: of groups (development, real, simulated, full, styled, frozen) and single pairs."""
    real = {name: maker for name, maker in development().items() if not name.startswith("sim-")}
    groups: dict[str, Mapping[str, Maker]] = {
        "development": development(),
        "real": real,
        "simulated": {name: maker for name, maker in development().items() if name not in real},
        "full": full(),
        "styled": styled(),
        "frozen": frozen(),
    }
    known = {**development(), **full(), **styled(), **frozen()}
    makers: dict[str, Maker] = {}
    for name in names.split(","):
        if name not in groups and name not in known:
            raise SystemExit(f"no pair or group {name}; there are {', '.join([*groups, *known])}")
        makers |= groups.get(name) or {name: known[name]}
    return makers


def _places(folders: Folders, name: str) -> Pair:
    source, target = (folders.real / "s2s1-places" / part for part in name.split("-"))
    return Pair(source, target, target / "label.tif", given_name=name)


def _halves(folders: Folders, name: str) -> Pair:
    place, order = name.split("-")[:2]
    first, second = (half(folders, place, side) for side in order)
    return Pair(first, second, second / "label.tif", given_name=name)


def half(folders: Folders, place: str, side: str) -> Path:
    """Return the western (``w``) or eastern (``e``) half of a place as a folder."""
    city = folders.real / {"augsburg": "c2seg-ab-quicklook", "potsdam": "potsdam-leipzig"}[place] / place
    with rasterio.open(city / "msi.tif") as dataset:
        width = dataset.width
    cut, guard = POTSDAM_COLUMN if place == "potsdam" else width // 2, GUARD_PX[place]
    columns = (0, cut - guard) if side == "w" else (cut + guard, width)
    return written(folders.work / f"{place}-{side}", lambda out: _write_columns(city, out, columns))


def written(out: Path, write: Callable[[Path], None]) -> Path:
    """Return a folder, which is written under another name first unless it is there."""
    if not out.is_dir():
        partial = out.with_name(f".{out.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        if out.is_dir():  # another process was first
            shutil.rmtree(partial)
        else:
            partial.rename(out)
    return out


def _write_columns(city: Path, out: Path, columns: tuple[int, int]) -> None:
    """Write some columns of every raster of a city; YAML files are copied without the city's name."""
    for file in sorted(city.iterdir()):
        if file.suffix == ".tif" and file.stem != "label_dense":
            copy_window(file, out / file.name, columns)
        elif file.name == "city.yaml":
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            content.pop("name", None)
            (out / file.name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        elif file.suffix == ".yaml":
            shutil.copy(file, out / file.name)


def copy_window(
    file: Path,
    out: Path,
    columns: tuple[int, int] | None = None,
    bands: tuple[int, ...] | None = None,
    change: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> None:
    """Copy some columns and some bands (from 1) of a raster; ``change`` takes and returns values [C, H, W]."""
    with rasterio.open(file) as dataset:
        first, last = columns or (0, dataset.width)
        window = Window(first, 0, last - first, dataset.height)
        numbers = bands or tuple(range(1, dataset.count + 1))
        profile = {
            "driver": "GTiff", "height": dataset.height, "width": last - first, "count": len(numbers), "crs": dataset.crs,
            "dtype": dataset.dtypes[0], "nodata": dataset.nodata, "transform": dataset.window_transform(window),
        }  # fmt: skip
        values = change(dataset.read(numbers, window=window))
    with rasterio.open(out, "w", **profile) as dataset:
        dataset.write(values)


def _styled(folders: Folders, name: str) -> Pair:
    plain = _halves(folders, name.removesuffix("-styled"))
    berlin = folders.real / "c2seg-ab-quicklook" / "berlin"
    target = written(
        plain.target.with_name(f"{plain.target.name}-styled"), lambda out: _restyle(plain.target, berlin, out)
    )
    return Pair(plain.source, target, target / "label.tif", given_name=name)


def _restyle(city: Path, style: Path, out: Path) -> None:
    """Write a city whose bands have the quantiles of those of another city's images."""
    with rasterio.open(style / "valid.tif") as dataset:
        inside = dataset.read(1) != 0
    for file in city.glob("*.tif"):
        if file.stem in ("label", "valid"):
            shutil.copy(file, out / file.name)
            continue
        with rasterio.open(style / file.name) as dataset:
            quantiles = np.sort(dataset.read()[:, inside], axis=1)
        copy_window(file, out / file.name, change=lambda values, quantiles=quantiles: with_quantiles(values, quantiles))


def with_quantiles(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Return values [C, H, W] whose bands have the quantiles of rising values [C, N]; equal values stay equal."""
    changed = np.empty_like(values)
    for index, band in enumerate(values):
        levels, inverse, counts = np.unique(band, return_inverse=True, return_counts=True)
        middle = (np.cumsum(counts) - counts / 2) / band.size
        places = np.clip((middle * quantiles.shape[1]).astype(int), 0, quantiles.shape[1] - 1)
        changed[index] = quantiles[index][places].astype(values.dtype)[inverse].reshape(band.shape)
        assert len(levels) == len(places)
    return changed


def _simulated(folders: Folders, name: str) -> Pair:
    """Return a simulated pair, without its hyperspectral bands unless it is a full one; of even seeds backwards."""
    kind, number = name.split("-")
    seed = int(number)
    cities = simulated(folders, seed, full=kind == "full")
    source, target = cities if seed % 2 else cities[::-1]
    return Pair(source, target, target / "reference.tif", given_name=name)


def _frozen(folders: Folders, name: str) -> Pair:
    """Return a simulated pair with all modalities; ``-back``: from its target to its source."""
    _, kind, seed, *back = name.split("-")
    cities = simulated(folders, int(seed), full=True, kind=kind)
    source, target = cities[::-1] if back else cities
    return Pair(source, target, target / "reference.tif", given_name=name)


def simulated(folders: Folders, seed: int, *, full: bool = False, kind: str = "ab") -> tuple[Path, Path]:
    """Return source and target of a simulated pair (``ab`` or ``bw``), both with MSI and SAR alone unless ``full``."""
    name = f"{'full' if full else 'simulated'}-{'' if kind == 'ab' else f'{kind}-'}{seed}"
    whole = written(folders.work / name, lambda out: _simulate(out, seed, full=full, kind=kind))
    pair = yaml.safe_load((whole / "pair.yaml").read_text(encoding="utf-8"))
    return whole / pair["source"], whole / pair["target"]


def _simulate(out: Path, seed: int, *, full: bool, kind: str) -> None:
    pair = c2seg.simulate_pair(out, pair=kind, scale=SCALE[kind], seed=seed)
    for city in () if full else (pair.source, pair.target):
        folder = out / city.name
        (folder / "hsi.tif").unlink()
        content = yaml.safe_load((folder / "city.yaml").read_text(encoding="utf-8"))
        del content["modalities"]["hsi"]
        (folder / "city.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
