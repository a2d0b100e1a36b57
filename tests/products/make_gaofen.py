"""Gaofen deliveries of the structure that open readers handle, small: images without a grid, their RPCs, tables, metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.rpc import RPC

from c2seg.raster import without_georeference

SCENE = "GF6_WFV_E11.1_N48.1_20210601_L1A1120000001"
AHSI = "GF5B_AHSI_E11.1_N48.1_20220209_002267_L10000074984"
RADAR = "GF3_MYN_FSII_012345_E11.1_N48.1_20200701_L2_HHHV_L20004000000"
LON, LAT, HEIGHT = 11.1, 48.1, 500.0
DEGREE_M = 111_195.0


def rpc(height: int, width: int, pixel_m: float, *, east_m: float = 0.0, tilt: float = 0.4) -> RPC:
    """RPCs of a camera that looks sideways: rows run south, columns east, and a pixel 100 m higher lies 40 m east.

    The numerators have second-order terms, and the denominators a small slope, as those of real images do.
    """
    cos = np.cos(np.radians(LAT))
    lat_scale, lon_scale, height_scale = height * pixel_m / 2 / DEGREE_M, width * pixel_m / 2 / DEGREE_M / cos, 1000.0
    line_num, samp_num = np.zeros(20), np.zeros(20)
    line_num[[1, 2, 7]] = 0.02, -1.0, 0.001
    samp_num[[1, 2, 3, 4]] = 1.0, 0.02, tilt * height_scale / (width * pixel_m / 2), 0.001
    den = np.zeros(20)
    den[[0, 1, 2]] = 1.0, 1e-4, -2e-4
    return RPC(
        line_off=height / 2, samp_off=width / 2, lat_off=LAT, long_off=LON + east_m / DEGREE_M / cos, height_off=HEIGHT,
        line_scale=height / 2, samp_scale=width / 2, lat_scale=lat_scale, long_scale=lon_scale, height_scale=height_scale,
        line_num_coeff=line_num.tolist(), line_den_coeff=den.tolist(), samp_num_coeff=samp_num.tolist(),
        samp_den_coeff=den.tolist(), err_bias=1.0, err_rand=1.0,
    )  # fmt: skip


def rpb(model: RPC) -> str:
    """The text of a ``.rpb`` file."""
    rows = {
        "lineOffset": model.line_off, "sampOffset": model.samp_off, "latOffset": model.lat_off, "longOffset": model.long_off,
        "heightOffset": model.height_off, "lineScale": model.line_scale, "sampScale": model.samp_scale,
        "latScale": model.lat_scale, "longScale": model.long_scale, "heightScale": model.height_scale,
    }  # fmt: skip
    lists = {"lineNumCoef": model.line_num_coeff, "lineDenCoef": model.line_den_coeff, "sampNumCoef": model.samp_num_coeff,
             "sampDenCoef": model.samp_den_coeff}  # fmt: skip
    text = 'satId = "GF";\nbandId = "P";\nSpecId = "RPC00B";\nBEGIN_GROUP = IMAGE\n\terrBias = 1.0;\n\terrRand = 0.0;\n'
    text += "".join(f"\t{key} = {float(value)!r};\n" for key, value in rows.items())
    for key, values in lists.items():
        text += f"\t{key} = (\n" + ",\n".join(f"\t\t\t{value:+.15E}" for value in values) + ");\n"
    return text + "END_GROUP = IMAGE\nEND;\n"


def rpc_txt(model: RPC) -> str:
    """The text of a ``_rpc.txt`` file."""
    keys = {"LINE_OFF": model.line_off, "SAMP_OFF": model.samp_off, "LAT_OFF": model.lat_off, "LONG_OFF": model.long_off,
            "HEIGHT_OFF": model.height_off, "LINE_SCALE": model.line_scale, "SAMP_SCALE": model.samp_scale,
            "LAT_SCALE": model.lat_scale, "LONG_SCALE": model.long_scale, "HEIGHT_SCALE": model.height_scale}  # fmt: skip
    text = "".join(f"{key}: {float(value)!r} pixels\n" for key, value in keys.items())
    for key, values in (("LINE_NUM", model.line_num_coeff), ("LINE_DEN", model.line_den_coeff),
                        ("SAMP_NUM", model.samp_num_coeff), ("SAMP_DEN", model.samp_den_coeff)):  # fmt: skip
        text += "".join(f"{key}_COEFF_{k}: {value:+.15E}\n" for k, value in enumerate(values, 1))
    return text


def write_plain(path: Path, values: np.ndarray) -> Path:
    """Write an image without a grid."""
    count, height, width = values.shape
    with (
        without_georeference(),
        rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype
        ) as dataset,
    ):
        dataset.write(values)
    return path


def write_dem(path: Path, *, hill_m: float = 0.0, base_m: float = HEIGHT, crs: str = "EPSG:32632") -> Path:
    """Write an elevation model around the scene, 30 m: a plane with a hill in the middle."""
    from rasterio.warp import transform

    x, y = (side[0] for side in transform("EPSG:4326", "EPSG:32632", [LON], [LAT]))
    count = 500
    places = (np.arange(count) - count / 2 + 0.5) * 30
    distance = np.hypot(places[:, None], places)
    heights = (base_m + hill_m * np.exp(-((distance / 1500) ** 2))).astype(np.float32)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=count, width=count, dtype="float32", crs=crs,
        transform=Affine(30, 0, x - count * 15, 0, -30, y + count * 15),
    ) as dataset:  # fmt: skip
        dataset.write(heights, 1)
    return path


def metadata(start="2021-06-01 11:20:30") -> str:
    """The XML beside an optical image."""
    return (
        f'<?xml version="1.0"?><ProductMetaData><SatelliteID>GF6</SatelliteID><SensorID>WFV</SensorID><StartTime>{start}'
        "</StartTime></ProductMetaData>"
    )


def write_ahsi(folder: Path, cube_vn: np.ndarray, cube_sw: np.ndarray, *, tables=True, gain=0.02, offset=1.0) -> Path:
    """Write a GF-5B AHSI delivery: two images with RPCs, tables of responses and of calibration."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, cube in (("VN", cube_vn), ("SW", cube_sw)):
        write_plain(folder / f"{AHSI}_{part}.tif", np.round((cube - offset) / gain).astype(np.uint16))
        (folder / f"{AHSI}_{part}.rpb").write_text(rpb(rpc(*cube.shape[1:], 30.0)))
    (folder / f"{AHSI}.xml").write_text(metadata())
    if tables:
        for detector, (centers, width) in ahsi_centers().items():
            rows = "".join(f"{center:.4f},{width:.4f}\n" for center in centers)
            (folder / f"GF5B_AHSI_Spectralresponse_{detector}.raw").write_text(rows)
            (folder / f"GF5B_AHSI_RadCal_{detector}.raw").write_text(f"{gain},{offset}\n" * len(centers))
    return folder


def ahsi_centers():
    """Centers and width of the detectors' bands in nm."""
    return {"VNIR": (np.linspace(390, 1029, 150), 4.5), "SWIR": (np.linspace(1004, 2513, 180), 8.4)}


def write_radar(folder: Path, power: dict[str, np.ndarray], *, level="L2", qualify=1500.0, constant=40.0) -> Path:
    """Write a GF-3 delivery: an amplitude image for each polarization, such that sigma nought is ``power``."""
    folder.mkdir(parents=True, exist_ok=True)
    name = RADAR.replace("_L2_", f"_{level}_")
    for polarization, values in power.items():
        amplitude = np.sqrt(values * 10 ** (constant / 10)) * 65535 / qualify
        path = folder / f"{name.replace('HHHV', polarization)}.tiff"
        with rasterio.open(
            path, "w", driver="GTiff", count=1, height=values.shape[0], width=values.shape[1], dtype="uint16",
            crs="EPSG:4326", transform=Affine(1e-4, 0, LON, 0, -1e-4, LAT),
        ) as dataset:  # fmt: skip
            dataset.write(np.round(amplitude).astype(np.uint16), 1)
    quality, constants = (
        "".join(f"<{p}>{value if p in power else 'NULL'}</{p}>" for p in ("HH", "HV", "VH", "VV"))
        for value in (qualify, constant)
    )
    (folder / f"{name}.meta.xml").write_text(
        f"<product><imageinfo><imagingTime><start>2020-07-01 10:00:00.5</start></imagingTime><QualifyValue>{quality}"
        f"</QualifyValue></imageinfo><processinfo><CalibrationConst>{constants}</CalibrationConst></processinfo></product>"
    )
    return folder
