"""A PRISMA L2D file of the agency's structure, small and with known spectra; after the open readers named in the docs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

NAME = "PRS_L2D_STD_20201214060713_20201214060717_0001.he5"
SCALES = {"Vnir": (0.0, 0.9), "Swir": (0.01, 0.8)}
WEST, NORTH = 300000.0, 5000000.0


def centers(detector):
    """Wavelengths in the file's order: descending, the first 3 VNIR and the last 2 SWIR bands not acquired (0)."""
    if detector == "Vnir":
        return np.concatenate([[0, 0, 0], np.linspace(977, 407, 63)]).astype(np.float32)
    return np.concatenate([np.linspace(2497, 943, 171), [0, 0]]).astype(np.float32)


@dataclass
class Prisma:
    """What is written: ``reflectance(wavelengths)`` gives [bands, H, W]."""

    reflectance: object
    shape: tuple[int, int] = (18, 22)
    outside: np.ndarray | None = None
    flags: np.ndarray | None = None
    """Codes [H, W] of all bands."""
    corners: str = "centers"
    angles: bool = True

    def write(self, place: Path) -> Path:
        rows, cols = self.shape
        outside = np.zeros(self.shape, bool) if self.outside is None else self.outside
        with h5py.File(place, "w") as file:
            file.attrs["Processing_Level"] = np.bytes_("2D")
            file.attrs["Product_StartTime"] = np.bytes_("2020-12-14T06:07:13.271")
            file.attrs["Epsg_Code"] = np.uint32(32632)
            less = 1 if self.corners == "centers" else 0
            shift = 15 if less else 0
            for corner, r, c in (
                ("UL", 0, 0),
                ("UR", 0, cols - less),
                ("LL", rows - less, 0),
                ("LR", rows - less, cols - less),
            ):
                file.attrs[f"Product_{corner}corner_easting"] = np.float64(WEST + shift + 30 * c)
                file.attrs[f"Product_{corner}corner_northing"] = np.float64(NORTH - shift - 30 * r)
            swath = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO")
            if self.angles:
                swath["Geometric Fields/Solar_Zenith_Angle"] = np.where(outside, 0, 55).astype(np.float32)
            for detector, (low, high) in SCALES.items():
                nm = centers(detector)
                file.attrs[f"List_Cw_{detector}"] = nm
                file.attrs[f"List_Fwhm_{detector}"] = np.where(nm > 0, 10 + nm / 500, 0).astype(np.float32)
                file.attrs[f"List_Cw_{detector}_Flags"] = (nm > 0).astype(np.int32)
                file.attrs[f"L2Scale{detector}Min"], file.attrs[f"L2Scale{detector}Max"] = (
                    np.float32(low),
                    np.float32(high),
                )
                stored = np.round((self.reflectance(np.maximum(nm, 400)) - low) / (high - low) * 65535)
                stored = np.clip(stored, 0, 65535).astype(np.uint16)
                stored[nm == 0] = 0
                stored[:, outside] = 0
                swath[f"Data Fields/{detector.upper()}_Cube"] = np.moveaxis(stored, 0, 1)
                if self.flags is not None:
                    codes = np.broadcast_to(self.flags, stored.shape).astype(np.uint8).copy()
                    swath[f"Data Fields/{detector.upper()}_PIXEL_L2_ERR_MATRIX"] = np.moveaxis(codes, 0, 1)
        return place
