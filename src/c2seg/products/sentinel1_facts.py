"""What is said of a Sentinel-1 product: a record for auditors, and notes for the user."""

from __future__ import annotations

from c2seg.products.base import Fact, ProductOptions
from c2seg.products.elevation import Elevation
from c2seg.products.sentinel1_image import GrdImage
from c2seg.products.sentinel1_safe import Manifest, Safe

__all__ = ["FIRST_NOISE_IPF", "FLOOR_DB", "notes_of", "processing_of"]

FLOOR_DB = -50.0
"""Lowest backscatter that is written, in dB: power without noise may be 0 or negative."""
FIRST_NOISE_IPF = 2.50
"""Earlier processors wrote noise tables on another scale."""


def processing_of(
    image: GrdImage, manifest: Manifest, elevation: Elevation | None, options: ProductOptions
) -> dict[str, Fact]:
    """Return what is done, for the record."""
    if elevation is None:
        geocoding = "tie points of the annotation, GDAL's thin plate splines"
    else:
        from sarsen.version import __version__

        geocoding = f"range-Doppler on an elevation model, sarsen {__version__}"
    heights = image.annotation.points.height
    return {
        "processor": f"IPF {manifest.ipf or 'unknown'}",
        "mode": image.annotation.mode,
        "pass": image.annotation.direction,
        "calibration": options.backscatter,
        "thermal_noise": _noise(image),
        "border": "zeros, and dark cells along the edges" if image.border_noise else "zeros",
        "multilook": options.multilook or "as the grid's pixel size needs",
        "speckle": options.speckle if options.speckle == "none" else f"{options.speckle}, {options.speckle_px} px",
        "resampling": "bilinear, in linear power",
        "floor_db": FLOOR_DB,
        "geocoding": geocoding,
        "elevation_datum": elevation.datum if elevation else None,
        "tie_point_heights_m": [round(float(heights.min()), 1), round(float(heights.max()), 1)],
        "terrain_flattening": "not done",
        "orbit": "state vectors of the annotation; no later orbit file is applied",
        "orbit_files_of_the_agency": list(manifest.orbit_files),
    }


def _noise(image: GrdImage) -> str:
    if image.annotation.is_denoised:
        return "subtracted by the agency"
    return "subtracted" if image.noise else "not subtracted"


def notes_of(safe: Safe, image: GrdImage, manifest: Manifest, elevation: Elevation | None) -> tuple[str, ...]:
    """Return what the user must know."""
    name = safe.name
    notes = list(elevation.notes) if elevation else [
        f"{name}: no elevation model is given; pixels are placed by tie points on a smooth terrain, which moves hills and "
        "mountains by about their height toward the satellite; give `dem`"
    ]  # fmt: skip
    if not image.annotation.is_denoised and image.noise is None:
        why = "on another scale (IPF before 2.50)" if 0 < manifest.ipf_number < FIRST_NOISE_IPF else "missing"
        notes.append(f"{name}: its thermal noise tables are {why}; no noise is subtracted, dark areas are too bright")
    images = {item.polarization for item in safe.images()}
    absent = [item for item in manifest.polarizations if item not in images]
    if absent:
        notes.append(f"{name}: its manifest lists {' and '.join(absent)}, whose images are not here")
    return tuple(notes)
