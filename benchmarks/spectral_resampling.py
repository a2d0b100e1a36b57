"""How near values of bands computed from another sensor's come to those that the sensor would measure, beside interpolation.

    python benchmarks/spectral_resampling.py

Spectra are those of earthlib's library (7,261 measured or simulated spectra, 180 bands of about 10 nm, 400 to 2450 nm; extra
``simulate``), between its bands monotone cubic. So features narrower than the library's bands are not in it. A sensor's bands
are Gaussians at nominal centers and widths. Error: root mean square over spectra and bands, in 0.0001 reflectance, of bands
that the other sensor covers to 90 percent; also with noise of 0.002 in every source band.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from c2seg.data.responses import response_weights
from c2seg.simulate.spectra import open_library

NM = np.arange(402.0, 2447.0)
NOISE = 0.002


def sensors() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Nominal centers and full widths at half maximum in nm, after the agencies' tables."""
    enmap = np.concatenate([np.linspace(418, 900, 78), np.linspace(902, 2445, 133)])
    prisma = np.concatenate([np.linspace(407, 940, 60), np.linspace(943, 2445, 165)])
    gf5 = np.concatenate([np.arange(405, 1004, 4.3), np.arange(1004, 2440, 8.4)])
    sentinel2 = np.array([443, 492, 560, 665, 704, 740, 783, 833, 865, 945, 1614, 2202.0])
    return {
        "EnMAP": (enmap, np.where(enmap < 901, 8.1, 12.5)),
        "PRISMA": (prisma, np.where(prisma < 941, 12.0, 13.0)),
        "GF-5": (gf5, np.where(gf5 < 1004, 4.6, 8.5)),
        "Sentinel-2": (sentinel2, np.array([21, 66, 36, 31, 15, 15, 20, 106, 21, 20, 91, 175.0])),
    }


def values(spectra: np.ndarray, bands: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return what a sensor measures of spectra on ``NM``, float64 [spectra, bands]."""
    response = np.exp(-4 * np.log(2) * ((NM - bands[0][:, None]) / bands[1][:, None]) ** 2)
    result: np.ndarray = spectra @ (response / response.sum(axis=1, keepdims=True)).T
    return result


def linear(centers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return weights of linear interpolation, which is used where widths are not known."""
    return np.stack([np.interp(centers, others, unit) for unit in np.eye(len(others))], axis=1)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=5, help="use every n-th spectrum")
    arguments = parser.parse_args()
    from scipy.interpolate import PchipInterpolator

    library = open_library()
    stored = np.concatenate(list(library.groups.values()))[:: arguments.every]
    spectra = PchipInterpolator(library.wavelengths_nm, stored, axis=1)(NM)
    known, rng = sensors(), np.random.default_rng(0)
    print(f"{len(spectra)} spectra; RMS error in 0.0001 reflectance\n")
    print(
        "| from | to | bands | linear | responses | linear, noisy | responses, noisy |\n|---|---|---|---|---|---|---|"
    )
    for source, target in (
        ("EnMAP", "Sentinel-2"), ("PRISMA", "Sentinel-2"), ("EnMAP", "PRISMA"), ("PRISMA", "EnMAP"), ("EnMAP", "GF-5"),
        ("GF-5", "EnMAP"), ("PRISMA", "GF-5"), ("GF-5", "PRISMA"),
    ):  # fmt: skip
        reference, clean = values(spectra, known[target]), values(spectra, known[source])
        noisy = clean + rng.normal(0, NOISE, clean.shape)
        result = response_weights(*known[target], *known[source])
        covered = result.coverage >= 0.9
        cells = [
            f"{1e4 * np.sqrt(np.mean((measured @ weights.T - reference)[:, covered] ** 2)):.1f}"
            for measured in (clean, noisy)
            for weights in (linear(known[target][0], known[source][0]), result.weights)
        ]
        print(f"| {source} | {target} | {covered.sum()} of {len(covered)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
