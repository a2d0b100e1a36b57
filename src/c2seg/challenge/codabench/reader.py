"""Read the images of a kit, cut maps into tiles, and check an archive. It needs numpy and rasterio, and nothing of c2seg."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

HERE = Path(__file__).resolve().parent


def read_images(folder: str | Path) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Return array [band, row, column] and rasterio's profile by name of modality (msi, hsi, sar), each on its grid."""
    images = {}
    for path in sorted(Path(HERE, folder).glob("*.tif")):
        if path.stem not in {"label", "valid"}:
            with rasterio.open(path) as dataset:
                images[path.stem] = dataset.read(), dataset.profile
    return images


def read_label(folder: str | Path) -> np.ndarray:
    """Return uint8 [row, column] of a training city: class ids, 0 and 255 where nothing is known."""
    with rasterio.open(Path(HERE, folder, "label.tif")) as dataset:
        label: np.ndarray = dataset.read(1)
    return label


def dataset_facts(name: str) -> tuple[list[int], dict[int, tuple[int, int, int, int]]]:
    """Return class ids, and row, column, height and width of every test tile by number (row and column None if unknown)."""
    facts = json.loads(Path(HERE, "datasets.json").read_text())[name]
    return facts["ids"], {int(number): (*place,) for number, place in facts["tiles"].items()}


def write_archive(name: str, ids: np.ndarray, path: str | Path) -> None:
    """Cut a map of class ids, uint8 [row, column], into the tiles of a data set, and write its archive."""
    _, tiles = dataset_facts(name)
    with zipfile.ZipFile(path, "w") as archive:
        for number, (row, col, height, width) in tiles.items():
            archive.writestr(f"{number}_prediction.tif", _tiff(ids[row : row + height, col : col + width]))


def check(name: str, path: str | Path) -> None:
    """Raise ValueError unless an archive holds exactly the tiles of a data set, in size and values."""
    ids, tiles = dataset_facts(name)
    with zipfile.ZipFile(path) as archive:
        names = {
            int(match[1]) for match in (re.fullmatch(r"(\d+)_prediction\.tif", n) for n in archive.namelist()) if match
        }
        if names != set(tiles) or len(archive.namelist()) != len(tiles):
            raise ValueError(f"{path}: the archive does not hold exactly the {len(tiles)} tiles of {name}")
        for number, (_, _, height, width) in tiles.items():
            with rasterio.open(io.BytesIO(archive.read(f"{number}_prediction.tif"))) as dataset:
                values = dataset.read()
            if values.shape != (1, height, width) or values.dtype != np.uint8:
                raise ValueError(
                    f"{path}: tile {number} is {values.dtype} {values.shape}, not uint8 (1, {height}, {width})"
                )
            if not np.isin(values, [0, *ids]).all():
                raise ValueError(f"{path}: tile {number} holds values that are no class ids")


def _tiff(ids: np.ndarray) -> bytes:
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=ids.shape[0],
            width=ids.shape[1],
            count=1,
            dtype="uint8",
            nodata=0,
            compress="deflate",
        ) as dataset:
            dataset.write(ids.astype(np.uint8), 1)
        return bytes(memory.read())
