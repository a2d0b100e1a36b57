"""Which files a map consists of, and how it is computed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from c2seg.errors import InputError, OutputError
from c2seg.gis import SideFiles
from c2seg.outputs import Output, attributes_output, map_output, raster_output, record_output, style_output
from c2seg.predict.decision import Decision
from c2seg.raster import is_object, object_names, object_url

__all__ = ["MapOptions"]

VRT = ".vrt"
"""Suffix of a layer that stays in parts."""


@dataclass(frozen=True)
class MapOptions:
    """Which files a map consists of, how windows are batched, and by how many processes they are computed."""

    out: Path
    probabilities: Path | None = None
    """All class probabilities, one band per class. Like the next two, a GeoTIFF; or a VRT, on a disk or in object storage,
    whose parts stay in a folder beside it."""
    confidence: Path | None = None
    """The probability of the predicted class."""
    runner_up: Path | None = None
    """The runner-up class, and the margin over it."""
    parts_folder: Path | None = None
    """A folder that all workers see, or one in object storage: tasks write there what the layers are assembled of."""
    preview: Path | None = None
    """A PNG of the map in the legend's colors."""
    batch_size: int = 1
    workers: int = 1
    cluster: str | None = None
    """A Dask cluster whose workers compute the strips, in place of ``workers`` processes; see ``parallel.open_crew``."""
    overwrite: bool = False
    palette: str = "default"
    decision: Decision | None = None
    """How a pixel's class follows from the probabilities; None: the most probable class."""
    temperature: float | None = None
    """Of the probabilities in the layers and the expected areas; None: the model's own. No class depends on it."""
    min_area_px: int | None = None
    """Connected areas of fewer pixels are merged into their largest neighbor, 2 or more; None: no cleanup."""
    min_area_keep: tuple[str, ...] | None = None
    """Names or ids of classes that the cleanup leaves alone; None: streets and roads, where the legend has them."""
    side: SideFiles = field(default_factory=SideFiles)
    """Files for GIS users that are made on request."""

    @property
    def layers(self) -> dict[str, Path]:
        """The files beside the map by layer."""
        return {name: path for name, path in self.places.items() if name not in {"ids", "preview"}}

    @property
    def places(self) -> dict[str, Path]:
        """All files by what they hold; the map itself, ``ids``, last."""
        named = {
            "probabilities": self.probabilities, "confidence": self.confidence, "runner_up": self.runner_up,
            "preview": self.preview, "ids": self.out,
        }  # fmt: skip
        return {name: path for name, path in named.items() if path is not None}

    @property
    def outputs(self) -> dict[str, Output]:
        """All files on disks that are written: ``places``, styles, class names and record beside them, and ``side``."""
        places = {name: path for name, path in self.layers.items() if name not in self.objects}
        named = {name: raster_output(path, name) for name, path in places.items()}
        named = {name: replace(output, suffixes=(*output.suffixes, VRT)) for name, output in named.items()}
        named["ids"] = map_output(self.out)
        if self.preview is not None:
            named["preview"] = Output(self.preview, "preview", (".png",))
        if self.confidence is not None and "confidence" not in self.stays_in_parts:
            named["confidence style"] = style_output(self.confidence)
        beside = {"style": style_output(self.out), "attributes": attributes_output(self.out)}
        return named | beside | {"record": record_output(self.out, "map")} | self.side.outputs

    @property
    def objects(self) -> dict[str, Path]:
        """The layers whose file is an object."""
        return {name: path for name, path in self.layers.items() if is_object(path)}

    @property
    def stays_in_parts(self) -> dict[str, Path]:
        """The layers that are not assembled: where their VRT lies."""
        return {name: path for name, path in self.layers.items() if path.suffix.lower() == VRT}

    def check_objects(self) -> None:
        """Raise InputError for an output that object storage cannot take, OutputError for an object that exists."""
        for parameter, path in (("out", self.out), ("preview", self.preview)):
            if path is not None and is_object(path):
                raise InputError(f"`{parameter}`: {object_url(path)}: only layers can be written to object storage")
        for name, path in self.objects.items():
            if path.suffix.lower() != VRT:
                raise InputError(
                    f"`{name}`: {object_url(path)}: object storage takes a layer in parts; the name must end in {VRT}"
                )
            if not self.overwrite and path.name in object_names(path.parent):
                raise OutputError(f"{object_url(path)} exists already; give another name or `overwrite=True`")
