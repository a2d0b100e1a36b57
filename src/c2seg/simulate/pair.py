"""Simulate a pair of cities: a labeled source, and a target with known differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from c2seg.errors import DataError, InputError, OutputError, unknown_name
from c2seg.outputs import Output, check_outputs, commit
from c2seg.progress import Progress, no_progress
from c2seg.raster import RasterFile
from c2seg.simulate.city import CityInfo, check_own_files, city_output, simulate_city
from c2seg.simulate.parameters import Parameters, family_of
from c2seg.simulate.specs import CitySpec, city_spec
from c2seg.simulate.spectra import open_library
from c2seg.types import Window

__all__ = ["DEFAULT_SHIFT", "PairInfo", "simulate_pair"]

DEFAULT_SHIFT = 0.5


@dataclass(frozen=True)
class PairInfo:
    """The two written cities and the settings of the simulation."""

    out: Path
    pair: str
    scale: float
    seed: int
    family: int
    parameters: Parameters
    source: CityInfo
    target: CityInfo


def simulate_pair(
    out: Path,
    pair: str = "ab",
    scale: float = 0.25,
    seed: int = 0,
    shift: float = DEFAULT_SHIFT,
    parameters: Mapping[str, float] | None = None,
    progress: Progress = no_progress,
    overwrite: bool = False,
    *,
    layouts: Mapping[str, Path] | None = None,
) -> PairInfo:
    """Write two cities to ``out/<city name>/`` and ``out/pair.yaml``.

    ``pair`` is ``ab`` (EnMAP, Sentinel-2, Sentinel-1; HSI on the 10 m grid) or ``bw`` (Gaofen-5, -6, -3; HSI at 30 m).
    ``scale`` multiplies the sides in pixels (1: the real sizes). ``shift`` 0..1 sets all parameters of the domain shift, and
    ``parameters`` sets single ones. The thousands of the seed select the family of layouts and shifts. ``layouts`` are class
    rasters (such as those of ``c2seg label``) for ``source`` or ``target`` instead of random layouts. The city is then the
    upper left part of the raster, with the size of the pair and scale, or the whole raster if it is smaller. It has the
    raster's georeference if that is a 10 m grid.

    The same arguments give bit-identical files with the same versions on the same machine. Each city folder also contains
    ``reference.tif``, the land cover without label errors.

    Raises InputError for arguments out of range, OutputError if files exist, MissingExtraError without earthlib.
    """
    out = Path(out)
    strengths = Parameters.from_shift(shift, parameters)
    specs = {role: city_spec(pair, role, scale=scale, seed=seed, parameters=strengths) for role in ("source", "target")}
    if out.exists() and not out.is_dir():
        raise OutputError(f"cannot write to {out}: it is not a folder")
    outputs = {role: city_output(out / spec.name) for role, spec in specs.items()} | {"pair": Output(out / "pair.yaml")}
    check_outputs(list(outputs.values()), (layouts or {}).values(), overwrite=overwrite)
    for spec in specs.values():
        check_own_files(out / spec.name)
    open_library()
    rasters = {}
    for role, path in (layouts or {}).items():
        if role not in specs:
            raise InputError(unknown_name("role", role, specs))
        rasters[role], specs[role] = _read_layout(Path(path), specs[role])
    sizes = {role: float(spec.height * spec.width) for role, spec in specs.items()}
    infos: dict[str, CityInfo] = {}
    before = 0.0
    with commit(overwrite=overwrite) as files:
        for role, spec in specs.items():
            info = simulate_city(
                files.add(outputs[role]), spec, raster=rasters.get(role),
                progress=_part(progress, before, 2 * sizes[role], 2 * sum(sizes.values())),
            )  # fmt: skip
            infos[role] = replace(info, path=out / spec.name)
            before += 2 * sizes[role]
        text = yaml.safe_dump(_describe(pair, scale, seed, shift, strengths, specs), sort_keys=False)
        files.text(outputs["pair"], text, main=True)
    return PairInfo(out, pair, scale, seed, family_of(seed), strengths, infos["source"], infos["target"])


def _part(progress: Progress, before: float, length: float, whole: float) -> Progress:
    """Return a progress callable for a part of the work."""

    def show(done: float, total: float, text: str = "") -> None:
        progress(before + done / total * length, whole, text)

    return show


def _read_layout(path: Path, spec: CitySpec) -> tuple[npt.NDArray[np.uint8], CitySpec]:
    """Read a class raster and limit the city to its size."""
    file = RasterFile(path)
    height, width = min(spec.height, file.height), min(spec.width, file.width)
    values = file.read(Window(0, 0, height, width))[0]
    if values.dtype.kind not in "ui" or int(values.max(initial=0)) > 13:
        raise DataError(f"the layout {path} must contain class ids 0..13, found {values.dtype} up to {values.max()}")
    if not values.any():
        raise DataError(f"the layout {path} has no class in its upper left {height} x {width} pixels")
    spec = replace(spec, height=height, width=width, strip=False)
    a, b, x, d, e, y = file.grid.transform[:6]
    if file.grid.crs and (a, b, d, e) == (10.0, 0.0, 0.0, -10.0):
        spec = replace(spec, crs=file.grid.crs, origin_xy=(x, y))
    return values.astype(np.uint8), spec


def _describe(
    pair: str, scale: float, seed: int, shift: float, parameters: Parameters, specs: Mapping[str, CitySpec]
) -> dict[str, object]:
    return {
        "pair": pair,
        "source": specs["source"].name,
        "target": specs["target"].name,
        "scale": scale,
        "seed": seed,
        "family": family_of(seed),
        "shift": shift,
        "parameters": asdict(parameters),
        "days_of_year": {spec.name: dict(spec.days) for spec in specs.values()},
        "intended_shares_percent": {
            spec.name: {k: round(v, 4) for k, v in spec.shares.items()} for spec in specs.values()
        },
    }
