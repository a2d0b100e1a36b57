"""The model of a map and the images that it was made from, with what its run folder says of the sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from c2seg.artifacts import MapRecord, ModelFile, ValidationRecord, read_model_file
from c2seg.artifacts.seen import SeenPixels
from c2seg.data import SceneReader
from c2seg.errors import DataError, InputError
from c2seg.metrics.reliability import Reliability
from c2seg.predict import Predictor
from c2seg.predict.city import open_for_model
from c2seg.progress import Bars
from c2seg.verify.classmap import ClassMap
from c2seg.verify.parts import part_predictors

__all__ = ["Calibration", "ModelOfMap", "find_model"]

Calibration = Literal["held-out blocks of the sources", "temperature", "none"]


@dataclass(frozen=True)
class ModelOfMap:
    """What lies beside a map: its record, the model of it with its run folder, and the city; notes on what is missing."""

    record: MapRecord
    model: ModelFile | None
    folder: Path | None
    reader: SceneReader | None
    notes: list[str] = field(default_factory=list)

    def reliability(self) -> tuple[Reliability | None, Calibration]:
        """Return what calibrates the map's confidence (None: it is taken as it is), and where that comes from."""
        if self.record.run is not None and self.record.run.confidence_temperature is not None:
            return None, "temperature"
        path = self.folder / "validation.json" if self.folder else None
        if path is not None and path.is_file():
            counts = ValidationRecord.read(path).reliability
            if counts is not None and any(counts.pixels):
                return counts.counts(), "held-out blocks of the sources"
        self.notes.append(
            "no calibration: the run has no held-out blocks (validation.folds); the confidence is taken as it is"
        )
        return None, "none"

    def seen(self) -> SeenPixels | None:
        """Return the pixels of the sources that the run folder keeps; None, and a note, where it has none."""
        path = self.folder / "seen.json" if self.folder else None
        if path is None or self.model is None:
            return None
        if not path.is_file():
            self.notes.append(f"{path} is missing: no distance to the sources; fit again to have it")
            return None
        seen = SeenPixels.read(path)
        if len(seen.channels) != sum(self.model.header.channels.values()):
            raise DataError(f"{path} is not of this model: it has {len(seen.channels)} channels")
        return seen

    def parts(self) -> dict[str, Predictor]:
        """Return every network of the model, and its forest, as predictors of their own; none of a model of one part."""
        if self.model is None or self.reader is None:
            return {}
        return part_predictors(self.model)


def find_model(class_map: ClassMap, model: Path | None, city: Path | None, bars: Bars) -> ModelOfMap:
    """Return the model and the images of a map: those given, or those that its record leads to.

    Raises InputError where the map has no record, DataError for another model or city.
    """
    record = class_map.record
    if record is None:
        raise InputError(f"{class_map.path} has no record beside it; assess a map that c2seg predict wrote")
    notes: list[str] = []
    place = _model_path(class_map.path, record, model)
    if place is None:
        notes.append("the map's model was not found (`model`): no distance to the sources, confidence as it is")
        return ModelOfMap(record, None, None, None, notes)
    loaded = read_model_file(place)
    if record.key and record.key.model and record.key.model != loaded.digest:
        raise DataError(f"{place} is not the model of {class_map.path}")
    reader = _reader(class_map, record, loaded, city, bars, notes)
    return ModelOfMap(record, loaded, place.parent, reader, notes)


def _model_path(path: Path, record: MapRecord, given: Path | None) -> Path | None:
    """Return the model file of a map: the one given, or that of the run folder which it lies in."""
    if given is not None:
        return given / "model.safetensors" if given.is_dir() else given
    digest = record.key.model if record.key else ""
    for folder in (path.resolve().parent, path.resolve().parent.parent):
        place = folder / "model.safetensors"
        if place.is_file() and read_model_file(place).digest == digest:
            return place
    return None


def _reader(
    class_map: ClassMap, record: MapRecord, model: ModelFile, given: Path | None, bars: Bars, notes: list[str]
) -> SceneReader | None:
    """Return the images of the map as its model sees them; None, and a note, where the city is not there."""
    city = given or class_map.city_path
    if city is None or not city.exists():
        notes.append("the map's city was not found (`city`): no distance to the sources, no parts of the model")
        return None
    prepared = open_for_model(model.header, city, bars("statistics"))
    if record.key and record.key.city and prepared.city.fingerprint() != record.key.city:
        notes.append(f"{city.name} was changed since the map was made, or is another city")
    names = [scene.name for scene in prepared.city.scenes]
    index = names.index(record.scene) if record.scene in names else 0
    grid = prepared.city.scenes[index].grid
    if (grid.height, grid.width) != (class_map.grid.height, class_map.grid.width):
        raise DataError(f"{city} is not the city of {class_map.path}: their sizes differ")
    return prepared.readers(tuple(model.header.inputs))[index]
