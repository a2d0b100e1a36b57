"""Landsat Collection 2 products as USGS delivers them, small, with planted numbers; structure after LSDS-1619 and LSDS-1822."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from c2seg.types import Grid
from helpers.prepare_make import grid_of, write_raster

SIDE = 50
GRID: Grid = grid_of(SIDE, 30, 452475, 3408645, 32616)
SUN = 52.5


def numbers(seed: int = 0) -> dict[int, np.ndarray]:
    """Return digital numbers by band, uint16 [H, W]."""
    rng = np.random.default_rng(seed)
    return {number: rng.integers(7273, 43636, (SIDE, SIDE), np.uint16) for number in (1, 2, 3, 4, 5, 6, 7)}


@dataclass
class Landsat:
    """What is written. ``form``: txt, json or xml."""

    level: int = 2
    craft: int = 8
    collection: str = "02"
    bands: dict[int, np.ndarray] = field(default_factory=numbers)
    qa_pixel: np.ndarray | None = None
    qa_radsat: np.ndarray | None = None
    form: str = "txt"

    @property
    def name(self) -> str:
        """The product's name."""
        return f"LC0{self.craft}_L{self.level}{'SP' if self.level == 2 else 'TP'}_021039_20220413_20220420_{self.collection}_T1"

    def write(self, folder: Path) -> Path:
        """Write the files into ``folder/NAME`` and return it."""
        path = folder / self.name
        path.mkdir(parents=True)
        prefix = "SR_" if self.level == 2 else ""
        layers = {f"{prefix}B{number}": values for number, values in self.bands.items()}
        layers |= {
            key: values
            for key, values in {"QA_PIXEL": self.qa_pixel, "QA_RADSAT": self.qa_radsat}.items()
            if values is not None
        }
        for key, values in layers.items():
            write_raster(path / f"{self.name}_{key}.TIF", values[None], GRID)
        (path / f"{self.name}_MTL.{self.form}").write_text(self.metadata(prefix))
        return path

    def metadata(self, prefix: str) -> str:
        """Return the MTL file."""
        files = {f"FILE_NAME_BAND_{number}": f"{self.name}_{prefix}B{number}.TIF" for number in self.bands}
        groups = {
            "PRODUCT_CONTENTS": {
                "LANDSAT_PRODUCT_ID": self.name, "PROCESSING_LEVEL": self.name.split("_")[1],
                "COLLECTION_NUMBER": self.collection, **files,
            },
            "IMAGE_ATTRIBUTES": {
                "SPACECRAFT_ID": f"LANDSAT_{self.craft}", "DATE_ACQUIRED": "2022-04-13",
                "SCENE_CENTER_TIME": "16:20:05.1234560Z", "SUN_ELEVATION": SUN,
                "CLOUD_COVER": 3.25,
            },
            "LEVEL1_RADIOMETRIC_RESCALING": self._scaling(2e-5, -0.1),
        }  # fmt: skip
        if self.level == 2:
            groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = self._scaling(2.75e-5, -0.2)
        if self.form == "json":
            return json.dumps({"LANDSAT_METADATA_FILE": groups})
        if self.form == "xml":
            rows = "".join(
                f"<{name}>{''.join(f'<{k}>{v}</{k}>' for k, v in group.items())}</{name}>"
                for name, group in groups.items()
            )
            return f'<?xml version="1.0"?><LANDSAT_METADATA_FILE>{rows}</LANDSAT_METADATA_FILE>'
        lines = ["GROUP = LANDSAT_METADATA_FILE"]
        for name, group in groups.items():
            rows = [f'    {k} = "{v}"' if isinstance(v, str) else f"    {k} = {v}" for k, v in group.items()]
            lines += [f"  GROUP = {name}", *rows, f"  END_GROUP = {name}"]
        return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])

    def _scaling(self, scale: float, offset: float) -> dict[str, float]:
        pairs = {f"REFLECTANCE_MULT_BAND_{number}": scale for number in self.bands}
        return pairs | {f"REFLECTANCE_ADD_BAND_{number}": offset for number in self.bands}


def tarred(folder: Path, path: Path) -> Path:
    """Pack the files of a product without a top folder."""
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return path
