"""Write the city.yaml of a folder of rasters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from c2seg.api.arguments import FilePath, as_path
from c2seg.data.describing import describe_folder
from c2seg.errors import DataError, OutputError
from c2seg.outputs import commit

__all__ = ["DescribedCity", "describe_city"]


@dataclass(frozen=True)
class DescribedCity:
    """A city.yaml that was written, a legend that was written beside it (None: none), and what is uncertain, one line each."""

    path: Path
    text: str
    legend: Path | None
    uncertain: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "path": str(self.path),
            "legend": None if self.legend is None else str(self.legend),
            "uncertain": list(self.uncertain),
            "text": self.text,
        }

    def __str__(self) -> str:
        return self.text.rstrip()


def describe_city(folder: FilePath) -> DescribedCity:
    """Write the city.yaml of a folder of rasters, from the files and what they say of themselves.

    Which raster is which modality, label or mask of valid pixels is told by names, bands and values. Bands get names, roles,
    wavelengths and widths from band names, ENVI headers, tags, or a text file ``wavelengths*.txt`` with one number for each
    band. Nodata, scale and offset are those of the files. A label whose classes have names or unknown ids gets a
    ``legend.yaml``. What is uncertain stands in the file as comments. Images are sampled, a label is read whole.

    Args:
        folder: The folder. An existing city.yaml, or a legend in the way, is never replaced.

    Raises:
        DataError: ``folder`` is no folder, or has no raster that can be an image of a city.
        OutputError: It has a city.yaml.
    """
    place = as_path(folder)
    if not place.is_dir():
        raise DataError(f"{place} is {'a file' if place.exists() else 'not there'}; give a folder of rasters")
    if (place / "city.yaml").exists():
        raise OutputError(f"{place / 'city.yaml'} exists and is not replaced; see it with c2seg inspect, or remove it")
    described = describe_folder(place)
    legend = place / "legend.yaml" if described.legend else None
    with commit(overwrite=False) as files:
        if described.legend and legend:
            files.text(legend, yaml.safe_dump(described.legend.as_dict(), sort_keys=False, allow_unicode=True))
        files.text(place / "city.yaml", described.text, main=True)
    return DescribedCity(place / "city.yaml", described.text, legend, described.uncertain)
