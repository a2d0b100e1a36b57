"""Sentinel-2 products as ESA delivers them, small, with planted numbers; structure after the product specification document."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from c2seg.types import Grid

SIDE = 120
"""Pixels of 10 m along a side."""
WEST, NORTH, EPSG = 399960.0, 5800020.0, 32633
NATIVE = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60, "B10": 60,
    "B11": 20, "B12": 20,
}  # fmt: skip
BAND_IDS = list(NATIVE)
TILE = "T33UUU"


def grid_at(resolution: int = 10, side: int = SIDE) -> Grid:
    """Return the tile's grid."""
    crs = rasterio.CRS.from_epsg(EPSG).to_wkt()
    count = side * 10 // resolution
    return Grid(count, count, Affine(resolution, 0, WEST, 0, -resolution, NORTH), crs)


def numbers(seed: int = 0, side: int = SIDE) -> dict[str, np.ndarray]:
    """Return digital numbers 1200..6000 of each band at its native resolution, uint16."""
    rng = np.random.default_rng(seed)
    return {
        band: rng.integers(1200, 6000, (side * 10 // res, side * 10 // res), np.uint16) for band, res in NATIVE.items()
    }


def write_jp2(
    path: Path, values: np.ndarray, resolution: float = 10, transform: Affine | None = None, epsg: int = EPSG
) -> Path:
    """Write [H, W] or [C, H, W] as a lossless JP2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = values if values.ndim == 3 else values[None]
    transform = transform or Affine(resolution, 0, WEST, 0, -resolution, NORTH)
    profile = {
        "driver": "JP2OpenJPEG",
        "quality": 100,
        "reversible": "YES",
        "crs": f"EPSG:{epsg}",
        "transform": transform,
    }
    count, height, width = values.shape
    with rasterio.open(path, "w", count=count, height=height, width=width, dtype=values.dtype, **profile) as file:
        file.write(values)
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
    return path


@dataclass
class Safe:
    """What is written. ``offset``: RADIO or BOA offset of all bands, or by band; None: no list of offsets."""

    level: str = "L2A"
    baseline: str = "05.09"
    offset: float | dict[str, float] | None = -1000
    quantification: float = 10000
    bands: dict[str, np.ndarray] = field(default_factory=numbers)
    scl: np.ndarray | None = None
    classi: np.ndarray | None = None
    """[3, H, W] at 60 m: opaque, cirrus, snow."""
    clouds_gml: str | None = None
    responses: bool = True
    granules: tuple[str, ...] = ("A1",)
    old_names: bool = False
    cloud_percent: float = 12.5
    date: str = "20220413"
    more: dict[str, np.ndarray] = field(default_factory=dict)
    """Further images by stem's end, such as B02_20m."""

    @property
    def name(self) -> str:
        """The product's name without suffix."""
        digits = self.baseline.replace(".", "")
        return f"S2B_MSI{self.level}_{self.date}T101559_N{digits}_R065_{TILE}_20220414T082126"

    def write(self, folder: Path) -> Path:
        """Write ``NAME.SAFE`` into a folder and return it."""
        root = folder / f"{self.name}.SAFE"
        listed = [(name, self._images(root, name)) for name in map(self._granule, self.granules)]
        old = f"S2B_OPER_MTD_SAF{self.level}_PDMC_20160914T112016.xml"
        (root / (old if self.old_names else f"MTD_MSI{self.level}.xml")).write_text(self.metadata(listed))
        return root

    def _granule(self, granule: str) -> str:
        if self.old_names:
            return f"S2B_OPER_MSI_{self.level}_TL_SGS__20160914T_{granule}_{TILE}_N02.04"
        return f"{self.level}_{TILE}_{granule}_20220413T101556"

    def _images(self, root: Path, granule: str) -> list[str]:
        images = []
        for band, values in {**self.bands, **self.more}.items():
            resolution = int(band.split("_")[1][:-1]) if "_" in band else NATIVE[band]
            images.append(self._image(root, granule, band.split("_")[0], values, resolution))
        if self.scl is not None:
            images.append(self._image(root, granule, "SCL", self.scl, 20))
        quality = root / "GRANULE" / granule / "QI_DATA"
        if self.classi is not None:
            write_jp2(quality / "MSK_CLASSI_B00.jp2", self.classi, 60)
        if self.clouds_gml is not None:
            quality.mkdir(parents=True, exist_ok=True)
            (quality / "MSK_CLOUDS_B00.gml").write_text(self.clouds_gml)
        return images

    def _image(self, root: Path, granule: str, band: str, values: np.ndarray, resolution: int) -> str:
        stem = f"{granule}_{band}" if self.old_names else f"{TILE}_20220413T101559_{band}"
        place = f"GRANULE/{granule}/IMG_DATA"
        if self.level == "L2A":
            place, stem = f"{place}/R{resolution}m", f"{stem}_{resolution}m"
        write_jp2(root / place / f"{stem}.jp2", values, resolution)
        return stem if self.old_names else f"{place}/{stem}"

    def metadata(self, granules: list[tuple[str, list[str]]]) -> str:
        """Return the product's metadata file."""
        tag = "IMAGE_ID" if self.old_names else "IMAGE_FILE"
        outer = "Granules" if self.old_names else "Granule"
        listed = "".join(
            f'<{outer} granuleIdentifier="{granule}">{"".join(f"<{tag}>{image}</{tag}>" for image in images)}</{outer}>'
            for granule, images in granules
        )
        kind = "BOA" if self.level == "L2A" else "RADIO"
        quantification = "BOA_QUANTIFICATION_VALUE" if self.level == "L2A" else "QUANTIFICATION_VALUE"
        offsets = self.offset if isinstance(self.offset, dict) else dict.fromkeys(BAND_IDS, self.offset)
        rows = "".join(
            f'<{kind}_ADD_OFFSET band_id="{number}">{offsets.get(band, 0):g}</{kind}_ADD_OFFSET>'
            for number, band in enumerate(BAND_IDS)
            if self.offset is not None
        )
        level = self.level[1:]
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd"><n1:General_Info>
<Product_Info><PRODUCT_START_TIME>2022-04-13T10:15:59.024Z</PRODUCT_START_TIME><PRODUCT_URI>{self.name}.SAFE</PRODUCT_URI>
<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><PROCESSING_BASELINE>{self.baseline}</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake>
<Product_Organisation><Granule_List>{listed}</Granule_List></Product_Organisation></Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
</Special_Values><{quantification} unit="none">{self.quantification:g}</{quantification}>{rows}
{self._spectral() if self.responses else ""}</Product_Image_Characteristics></n1:General_Info><n1:Quality_Indicators_Info>
<Cloud_Coverage_Assessment>{self.cloud_percent:g}</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info></n1:Level-{level}_User_Product>
"""

    def _spectral(self) -> str:
        """Triangular responses of 11 steps of 2 nm: centers 500, 520, ... nm, 10 nm wide at half of their maximum."""
        response = " ".join(str(value) for value in [0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0])
        rows = "".join(
            f'<Spectral_Information bandId="{number}" physicalBand="{band.replace("B0", "B")}"><Wavelength>'
            f'<CENTRAL unit="nm">{500 + 20 * number}</CENTRAL></Wavelength><Spectral_Response><STEP unit="nm">2</STEP>'
            f"<VALUES>{response}</VALUES></Spectral_Response></Spectral_Information>"
            for number, band in enumerate(BAND_IDS)
        )
        return f"<Spectral_Information_List>{rows}</Spectral_Information_List>"


def cloud_gml(*polygons: tuple[str, list[list[tuple[float, float]]]]) -> str:
    """Return a mask file with polygons: type, and rings of x, y."""
    features = ""
    for number, (kind, rings) in enumerate(polygons):
        texts = [" ".join(f"{x:g} {y:g}" for x, y in ring) for ring in rings]
        exterior, *holes = (
            f'<gml:LinearRing><gml:posList srsDimension="2">{t}</gml:posList></gml:LinearRing>' for t in texts
        )
        inner = "".join(f"<gml:interior>{hole}</gml:interior>" for hole in holes)
        features += (
            f'<eop:MaskFeature gml:id="{kind}.{number}"><eop:maskType codeSpace="urn:gs2">{kind}</eop:maskType><eop:extentOf>'
            f"<gml:Polygon><gml:exterior>{exterior}</gml:exterior>{inner}</gml:Polygon></eop:extentOf></eop:MaskFeature>"
        )
    members = f"<eop:maskMembers>{features}</eop:maskMembers>" if features else ""
    return (
        '<?xml version="1.0"?><eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" '
        f'xmlns:gml="http://www.opengis.net/gml/3.2"><gml:name>MSK_CLOUDS pixels mask</gml:name>{members}</eop:Mask>'
    )


def zipped(folder: Path, path: Path, *, top: bool = True) -> Path:
    """Zip a SAFE folder with or without its top folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent if top else folder).as_posix())
    shutil.rmtree(folder)
    return path
