"""EnMAP products as DLR delivers them, small and with known spectra; structure after the open readers named in the docs."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

NAME = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
CENTERS = np.concatenate([np.linspace(418.2, 993.1, 91), np.linspace(902.3, 2445.5, 133)])
WIDTHS = np.concatenate([np.linspace(6.5, 11.0, 91), np.linspace(7.0, 11.5, 133)])
TRANSFORM = Affine(30, 0, 360000, 0, -30, 5810000)


def spectrum(nm, kind="vegetation"):
    """Reflectance of a material at wavelengths in nm."""
    nm = np.asarray(nm, float)
    if kind == "soil":
        return 0.1 + 0.25 * (nm - 400) / 2050
    edge = 0.4 / (1 + np.exp(-(nm - 715) / 15))
    return 0.04 + edge * np.exp(-(((nm - 850) / 1100) ** 2)) - 0.03 * np.exp(-0.5 * ((nm - 1450) / 50) ** 2)


@dataclass
class EnMap:
    """What is written. ``cube`` [224, H, W] reflectance in the order of the metadata's bands."""

    cube: np.ndarray
    level: str = "L2A"
    nodata: int = -32768
    empty: tuple[int, ...] = (131, 132, 133)
    layers: dict[str, np.ndarray] = field(default_factory=dict)
    gains: np.ndarray | None = None
    offsets: np.ndarray | None = None
    invalid: np.ndarray | None = None
    lists: bool = True
    sort: bool = False
    """Bands in the order of wavelengths, with lists of channels, as processor 1.x writes them."""
    extension: str = "TIF"
    driver: str = "GTiff"

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        order = np.argsort(CENTERS, kind="stable") if self.sort else np.arange(len(CENTERS))
        detectors = np.where(np.arange(len(CENTERS)) < 91, "vnir", "swir")[order]
        gains = np.full(224, 1e-4) if self.gains is None else self.gains
        offsets = np.zeros(224) if self.offsets is None else self.offsets
        stored = np.round((self.cube[order] - offsets[:, None, None]) / gains[:, None, None]).astype(np.int16)
        if self.invalid is not None:
            stored[:, self.invalid] = self.nodata
        stored[[number - 1 for number in self.empty]] = self.nodata
        name = NAME.replace("L2A", self.level)
        write(folder / f"{name}-SPECTRAL_IMAGE.{self.extension}", stored, self.driver)
        for layer, values in self.layers.items():
            write(folder / f"{name}-{layer}.{self.extension}", values, self.driver)
        (folder / f"{name}-METADATA.XML").write_text(self.metadata(order, detectors, gains, offsets))
        return folder

    def metadata(self, order, detectors, gains, offsets):
        rows = "".join(
            f'<bandID number="{i + 1}"><wavelengthCenterOfBand>{CENTERS[k]:.3f}</wavelengthCenterOfBand>'
            f"<FWHMOfBand>{WIDTHS[k]:.5f}</FWHMOfBand><GainOfBand>{gains[i]!r}</GainOfBand>"
            f"<OffsetOfBand>{offsets[i]!r}</OffsetOfBand></bandID>"
            for i, k in enumerate(order)
        )
        lists = "".join(
            f"<{d}ProductQuality><numChannelsExpected>{(detectors == d).sum()}</numChannelsExpected><expectedChannelsList>"
            f"{','.join(str(i + 1) for i in np.flatnonzero(detectors == d))}</expectedChannelsList></{d}ProductQuality>"
            for d in ("vnir", "swir")
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><metadata/>'
            f"<base><archivedVersion>01.03.02</archivedVersion><level>{self.level}</level><temporalCoverage><startTime>"
            "2022-07-24T10:45:26.123456Z</startTime></temporalCoverage></base><specific>"
            f"<backgroundValue>{self.nodata}</backgroundValue><bandCharacterisation>{rows}</bandCharacterisation>"
            f"{lists if self.lists else ''}</specific></level_X>"
        ).replace("np.float64(", "").replace(")", "")  # fmt: skip


def write(path, values, driver="GTiff"):
    """Write a raster [C, H, W] or [H, W] on the grid of all test products."""
    values = values if values.ndim == 3 else values[None]
    options = {"interleave": "bsq"} if driver == "ENVI" else {"tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.open(
        path, "w", driver=driver, height=values.shape[1], width=values.shape[2], count=len(values), dtype=values.dtype,
        crs="EPSG:32633", transform=TRANSFORM, **options,
    ) as dataset:  # fmt: skip
        dataset.write(values)


def half_and_half(shape=(20, 24), centers=CENTERS):
    """A cube [bands, H, W]: vegetation in the west, soil in the east."""
    cube = np.empty((len(centers), *shape))
    cube[:, :, : shape[1] // 2] = spectrum(centers)[:, None, None]
    cube[:, :, shape[1] // 2 :] = spectrum(centers, "soil")[:, None, None]
    return cube


def zipped(folder: Path, place: Path, top: str = "") -> Path:
    """Pack a folder's files into a zip, under a folder ``top``."""
    with zipfile.ZipFile(place, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{top}/{file.name}" if top else file.name)
    return place


def tarred(files, place: Path) -> Path:
    """Pack files into a compressed tar."""
    with tarfile.open(place, "w:gz") as archive:
        for file in files:
            archive.add(file, f"dims/{file.name}")
    return place
