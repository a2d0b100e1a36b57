"""Published facts of the four C2Seg cities: sizes, tiles, bands, files, band statistics.

Sources: Hong et al., "Cross-City Matters", Remote Sensing of Environment 299:113856, 2023, and its released code
(sizes, files, window rule); the challenge's releases (bands, archives). The roles of the MSI and SAR bands are inferred
from the published band means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

from c2seg.data.tiling import Order, TileGrid

__all__ = [
    "ARCHIVES",
    "CITIES",
    "DATASETS",
    "RELEASE_FILES",
    "RELEASE_PAGE",
    "PublishedCity",
    "PublishedDataset",
    "band_roles",
    "challenge_tiles",
    "city_of_tiles",
    "published_means",
]


@dataclass(frozen=True, slots=True)
class PublishedDataset:
    """Properties of both cities of a dataset. Band roles are in file order."""

    hsi_bands: int
    msi_roles: tuple[str, ...]
    sar_roles: tuple[str, ...]
    tile_px: int
    mat_hsi_ratio: int
    """Pixels of the 10 m grid per HSI pixel in the full-scene files; tiles hold all modalities at 10 m."""

    def bands(self) -> dict[str, int]:
        """Return the number of bands by modality."""
        return {"msi": len(self.msi_roles), "sar": len(self.sar_roles), "hsi": self.hsi_bands}

    def roles(self, modality: str) -> tuple[str, ...]:
        """Return the roles of a modality's bands; empty if unknown."""
        return {"msi": self.msi_roles, "sar": self.sar_roles}.get(modality, ())


MSI_ROLES = ("blue", "green", "red", "nir")
"""Bands of the multispectral images in both releases of both datasets."""

DATASETS = {
    "C2Seg-AB": PublishedDataset(242, MSI_ROLES, ("vh", "vv"), 128, 1),
    "C2Seg-BW": PublishedDataset(116, MSI_ROLES, ("hh", "hv"), 256, 3),
}

ARCHIVES = {
    "C2Seg_AB.zip": "1a7eddf6b90b875ba1ab4cc173818296",
    "C2Seg_BW.zip": "4728fa97747fad55de8c55fcbef8be60",
}
"""MD5 of the challenge's archives."""

RELEASE_PAGE = "https://github.com/danfenghong/RSE_Cross-city"
"""Page of the dataset paper, whose README links the folders of both releases on Google Drive and Baidu."""

RELEASE_FILES = {
    "Augsburg": ("augsburg_multimodal.mat",),
    "Berlin": ("berlin_multimodal.mat",),
    "Beijing": ("beijing.mat", "beijing_label.mat"),
    "Wuhan": ("wuhan.mat", "wuhan_label.mat"),
}
"""Files of the full-scene release by city; the tiles of AB and of BW are an archive each."""


@dataclass(frozen=True, slots=True)
class PublishedCity:
    """A city: its dataset and split, and its size on the 10 m grid."""

    name: str
    dataset: str
    split: Literal["train", "test"]
    height: int
    width: int
    other_heights: tuple[int, ...] = ()
    """Other heights in the released code."""

    def tile_grids(self, orders: tuple[Order, ...] = ("columns", "rows")) -> tuple[TileGrid, ...]:
        """Return the possible tilings of the release, the documented one first."""
        tile = DATASETS[self.dataset].tile_px
        step = tile // 2 if self.split == "train" else tile
        heights = (self.height, *self.other_heights)
        return tuple(TileGrid(height, self.width, tile, step, order) for height in heights for order in orders)


CITIES = {
    city.name: city
    for city in (
        PublishedCity("Augsburg", "C2Seg-AB", "train", 886, 1360),
        PublishedCity("Berlin", "C2Seg-AB", "test", 2465, 811, other_heights=(2456,)),
        PublishedCity("Beijing", "C2Seg-BW", "train", 13474, 8706),
        PublishedCity("Wuhan", "C2Seg-BW", "test", 6225, 8670),
    )
}


def challenge_tiles(dataset: str, height: int, width: int) -> TileGrid:
    """Return the tiles in which the challenge scores a target city of a dataset (``C2Seg-AB``, ``C2Seg-BW``).

    They touch, and the last row and column are shifted back. A smaller city, as simulated ones are, has smaller tiles.
    """
    tile = DATASETS[dataset].tile_px
    while tile > min(height, width):
        tile //= 2
    return TileGrid(height, width, tile, tile)


def city_of_tiles(count: int, tile_px: int) -> PublishedCity | None:
    """Return the city with this number of tiles of this size; None if there is none."""
    for city in CITIES.values():
        tiles = city.tile_grids()[0]
        if (tiles.count, tiles.tile_px) == (count, tile_px):
            return city
    return None


def band_roles(modality: str, count: int, city: PublishedCity | None) -> tuple[str | None, ...]:
    """Return the roles of a modality's bands (None: unknown), also for cities that are not in the releases."""
    if city is not None and (roles := DATASETS[city.dataset].roles(modality)):
        return roles
    return MSI_ROLES if modality == "msi" and count == len(MSI_ROLES) else (None,) * count


@cache
def published_means(dataset: str) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean and standard deviation, float64 [C], by modality of a dataset's source tiles.

    They are averages over the statistics of tiles (``kind="tiles"`` of ``city_statistics``), in digital numbers and dB.
    Source: see ``published_statistics.json``.
    """
    text = resources.files("c2seg.data").joinpath("published_statistics.json").read_text(encoding="utf-8")
    content = json.loads(text)[dataset]
    return {name: (np.array(entry["mean"]), np.array(entry["std"])) for name, entry in content.items()}
