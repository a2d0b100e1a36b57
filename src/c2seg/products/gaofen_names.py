"""What Gaofen deliveries call their images, where the images lie, and the published bands of the sensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from c2seg.errors import DataError
from c2seg.products.delivery import Delivery
from c2seg.products.native import GdalFile
from c2seg.products.rpc_model import RpcModel, parse_rpc
from c2seg.raster.placement import horizontal_wkt
from c2seg.types import Grid

__all__ = ["PRODUCT", "GaofenImage", "ImageName", "Wide", "image_names", "open_image", "wide_bands"]

PRODUCT = r"^GF[356][A-Z0-9]{0,2}_.*\.(TIFF?|GEOTIFF)$"
"""Images of Gaofen-3, -5 (also 5A, 5B) and -6."""

_NAME = re.compile(r"^(?P<satellite>GF[356][A-Z0-9]{0,2})_(?P<sensor>[A-Z0-9]+)_", re.I)
_LEVEL = re.compile(r"_(L1A|L1B|L2A|L2|L3|L4)(?=[_\d])", re.I)
_PART = re.compile(r"[-_](VN|SW|MUX|MSS\d?|PAN\d?|[1-9])$", re.I)
_POLARIZATION = re.compile(r"_(HH|HV|VH|VV)(?=_)", re.I)
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wide:
    """A band of a multispectral sensor: its name, role, and the published edges of its range in nm."""

    name: str
    role: str | None
    low_nm: float
    high_nm: float

    @property
    def center_nm(self) -> float:
        """The middle of the range."""
        return (self.low_nm + self.high_nm) / 2

    @property
    def width_nm(self) -> float:
        """The width of the range, which stands for the full width at half maximum."""
        return self.high_nm - self.low_nm


_WIDE = {
    "PMS": (
        Wide("B1", "blue", 450, 520), Wide("B2", "green", 520, 600), Wide("B3", "red", 630, 690), Wide("B4", "nir", 760, 900),
    ),
    "WFV": (
        Wide("B1", "blue", 450, 520), Wide("B2", "green", 520, 590), Wide("B3", "red", 630, 690), Wide("B4", "nir", 770, 890),
        Wide("B5", None, 690, 730), Wide("B6", None, 730, 770), Wide("B7", None, 400, 450), Wide("B8", None, 590, 630),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageName:
    """What an image's name says: satellite, sensor, level, polarization, and its end (VN, SW, MUX, PAN, 1, ...)."""

    name: str
    satellite: str
    sensor: str
    level: str
    part: str
    polarization: str

    @property
    def stem(self) -> str:
        """The name without folder and suffix."""
        return PurePosixPath(self.name).stem

    @property
    def scene(self) -> str:
        """What the images of one product have in common."""
        return _POLARIZATION.sub("", _PART.sub("", self.stem))


@dataclass(frozen=True)
class GaofenImage:
    """An open image: size (rows, columns), number of bands, nodata, and a grid or an RPC model (read from ``rpc``)."""

    name: ImageName
    file: GdalFile
    size: tuple[int, int]
    count: int
    nodata: tuple[float, ...]
    grid: Grid | None
    model: RpcModel | None
    rpc: str | None
    is_complex: bool

    def need_grid(self) -> Grid:
        """The grid. Raises DataError if the image has none."""
        if self.grid is None:
            raise DataError(f"{self.file} has no CRS; download the geocoded product")
        return self.grid

    def need_model(self) -> RpcModel:
        """The RPC model. Raises DataError if there is none."""
        if self.model is None:
            raise DataError(
                f"{self.file} has neither a CRS nor a file of RPCs ({self.name.stem}.rpb); download it again"
            )
        return self.model


def image_names(names: Sequence[str]) -> list[ImageName]:
    """Return what the names of images say, sorted; other files are left out."""
    images = []
    for name in sorted(names):
        plain = PurePosixPath(name)
        match = _NAME.match(plain.name)
        if match and re.search(PRODUCT, plain.name, re.I):
            level, part, polarization = (how.search(plain.stem) for how in (_LEVEL, _PART, _POLARIZATION))
            ends = [(hit[1] if hit else "").upper() for hit in (level, part, polarization)]
            images.append(ImageName(name, match["satellite"].upper(), match["sensor"].upper(), *ends))
    return images


def wide_bands(sensor: str) -> tuple[Wide, ...] | None:
    """Return the bands of a multispectral sensor; None if it is not known."""
    return next((bands for key, bands in _WIDE.items() if sensor.startswith(key)), None)


def open_image(delivery: Delivery, name: ImageName) -> GaofenImage:
    """Open an image, on its grid if it has a CRS, else with its RPCs. Raises DataError if it is damaged."""
    file = delivery.raster(name.name)
    with file.open() as dataset:
        size, count, crs, transform = (dataset.height, dataset.width), dataset.count, dataset.crs, dataset.transform
        nodata = (float(dataset.nodata),) if dataset.nodata is not None else ()
        is_complex = any(kind.startswith("complex") for kind in dataset.dtypes)
    on_grid = crs is not None and not transform.is_identity
    grid = Grid(*size, transform, horizontal_wkt(crs.to_wkt())) if on_grid else None
    rpc = None if on_grid else _rpc_of(delivery, name)
    text = delivery.read(rpc, _MOST_BYTES).decode("utf-8", "replace") if rpc else ""
    model = parse_rpc(text, f"{delivery.path}: {rpc}") if rpc else None
    return GaofenImage(name, file, size, count, nodata, grid, model, rpc, is_complex)


def _rpc_of(delivery: Delivery, name: ImageName) -> str | None:
    """Return the file of RPCs that belongs to an image, of its name or of its scene's."""
    for stem in (name.stem, name.scene):
        names = delivery.find(rf"^{re.escape(stem)}(\.rpb|\.rpc|_rpc\.txt)$")
        if names:
            return names[0]
    return None
