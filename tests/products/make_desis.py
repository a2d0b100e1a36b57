"""DESIS products as DLR delivers them, small and with known spectra; structure after the open readers named in the docs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from products.make_enmap import write

NAME = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220"
CENTERS = np.linspace(401.3, 999.5, 60)


def write_desis(folder: Path, cube, *, gains=None, offsets=None, quality=None, level="L2A", invalid=None) -> Path:
    """Write a product; ``cube`` [60, H, W] reflectance, ``quality`` [10, H, W] or None."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(CENTERS)
    gains = np.full(count, 1e-4) if gains is None else gains
    offsets = np.zeros(count) if offsets is None else offsets
    stored = np.round((cube - offsets[:, None, None]) / gains[:, None, None]).astype(np.int16)
    if invalid is not None:
        stored[:, invalid] = -32768
    name = NAME.replace("L2A", level)
    write(folder / f"{name}-SPECTRAL_IMAGE.tif", stored)
    if quality is not None:
        write(folder / f"{name}-QL_QUALITY-2.tif", quality.astype(np.uint8))
    rows = "".join(
        f"<band><bandNumber>{k + 1}</bandNumber><wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><gainOfBand>{float(gains[k])}"
        f"</gainOfBand><offsetOfBand>{float(offsets[k])}</offsetOfBand><wavelengthCenterOfBand>{CENTERS[k]:.4f}"
        "</wavelengthCenterOfBand></band>"
        for k in range(count)
    )
    (folder / f"{name}-METADATA.xml").write_text(
        '<?xml version="1.0"?><hsi_doc xmlns="http://www.dlr.de/desis"><base><temporalCoverage><startTime>2022-04-04T19:32:59.1Z'
        "</startTime></temporalCoverage></base><specific><interiorOrientation><band><bandNumber>1</bandNumber></band>"
        f"</interiorOrientation><bandCharacterisation>{rows}</bandCharacterisation></specific></hsi_doc>"
    )
    return folder
