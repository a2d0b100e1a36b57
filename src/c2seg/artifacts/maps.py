"""A map: what determines it, how it was made, its content (the JSON beside it); and the rows of an unfinished map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from c2seg.artifacts.provenance import Provenance
from c2seg.artifacts.runs import RunProvenance
from c2seg.artifacts.target_labels import TargetLabelsRecord
from c2seg.artifacts.upgrade import upgraded_map, upgraded_strips
from c2seg.records import Artifact, Json, Record

__all__ = [
    "AgreementRecord",
    "BackendChoice",
    "CleanupRecord",
    "CleanupSettings",
    "DecisionWeights",
    "FusedMap",
    "FusedRule",
    "FusionRecord",
    "MapKey",
    "MapNotes",
    "MapRecord",
    "MapRun",
    "PredictedCity",
    "StripNote",
    "StripsKey",
]


class CleanupSettings(Record):
    """Areas of fewer pixels are merged into their largest neighbor, except those of the excluded classes."""

    min_area_px: int
    connectivity: int
    excluded_classes: tuple[str, ...] = Field(alias="kept")


class CleanupRecord(CleanupSettings):
    """How small areas were merged, and how many pixels changed their class."""

    changed_pixels: int


class DecisionWeights(Record):
    """A pixel's class is argmax over k of ``scale[k] * p[k] - offset[k]``."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]


class MapKey(Record):
    """All that determines a map: maps of equal keys have the same pixels. ``model`` and ``city`` are digests."""

    model: str = ""
    city: str = ""
    scene: str = ""
    window_px: int | None = None
    overlap_px: int | None = None
    batch_size: int | None = None
    tta: bool | None = None
    device: str | None = None
    precision: str | None = None
    compile: bool | None = None
    backend: str | None = None
    cleanup: CleanupSettings | None = None
    decision: DecisionWeights | None = None


class BackendChoice(Record):
    """The backend used, and measured seconds per batch by backend; ``resumed``: that of a stopped run."""

    name: str
    seconds: dict[str, float]
    resumed: bool


class AgreementRecord(Record):
    """A reduced precision against 32 bits: pixels that keep their class, of all and of the clear ones."""

    windows: int
    pixels: int
    same: int
    clear: int
    same_clear: int
    accepted: bool
    text: str


class MapRun(Record):
    """How a map was computed: the run that trained its model, the process that made the map, and what it measured first."""

    trained: RunProvenance | None = None
    predicted: Provenance
    workers: int = 1
    threads: int | None = None
    backend_choice: BackendChoice | None = None
    precision_check: AgreementRecord | None = None
    absent: tuple[str, ...] = ()
    """Modalities that the city lacks and the model was trained to do without."""
    bands: tuple[str, ...] = ()
    """What was recognized in the city's files, and done to its bands so that they match the model's, as texts."""
    confidence_temperature: float | None = None
    decision: str | None = None
    """How a pixel's class follows from the probabilities; None: as the recipe says (maps of earlier versions)."""


class PredictedCity(Record):
    """The predicted city: its name, and its path as seen from the map (absolute in older files)."""

    name: str
    path: str


class FusedMap(Record):
    """A map that was fused: its path as seen from the fused one, its fingerprint and weight."""

    path: str
    fingerprint: str
    weight: float


class FusedRule(Record):
    """The effect of a rule: the class taken from an expert, pixels where the rule held, pixels whose class it changed."""

    class_id: int
    name: str
    expert: str
    held: int
    changed: int


class FusionRecord(Record):
    """How maps were fused."""

    maps: tuple[FusedMap, ...]
    rules: tuple[FusedRule, ...]
    threshold: float | None
    soft: bool


class MapNotes(Record):
    """What is known of a map before it is computed."""

    run_id: str | None = None
    """Id of the run that trained the model; None: not known, or of several."""
    recipe: str | None = None
    city: PredictedCity | None = None
    confidence: str | None = None
    """File name of the confidence beside the map, if it was written."""
    runner_up: str | None = None
    """File name of the runner-up and the margin beside the map, if they were written."""
    run: MapRun | None = None
    target_labels: tuple[TargetLabelsRecord, ...] = ()
    """Labels of targets that the models behind the map were trained on: such a map is few-shot."""

    @property
    def few_shot(self) -> bool:
        """True if a model behind the map was trained on labels of a target."""
        return bool(self.target_labels)


class MapRecord(MapNotes, Artifact):
    """The JSON beside a map, written by ``predict`` and ``fuse``.

    Pixels and areas (km2) are by class name; without a CRS there is no area. ``stages`` are busy seconds by stage (read,
    predict, blend, write, clean if requested, publish); stages overlap. ``peak_memory_mib`` is that of the
    process since its start and of its workers.
    """

    artifact: Literal["map"] = "map"
    path: str
    """File name of the map."""
    pixels: int
    """Pixels of a class."""
    nodata_pixels: int
    class_pixels: dict[str, int] = Field(default_factory=dict)
    expected_pixels: dict[str, float] | None = None
    """Sums of probabilities, for models with a decision of their own or a temperature, which then calibrates them."""
    area_km2: dict[str, float]
    expected_area_km2: dict[str, float] | None = None
    """Probability-weighted areas, from ``expected_pixels``."""
    seconds: float
    stages: dict[str, float] = Field(default_factory=dict)
    resumed_strips: int = 0
    """Strips taken over from a stopped run."""
    peak_memory_mib: float | None = None
    key: MapKey | None = None
    cleanup: CleanupRecord | None = None
    fusion: FusionRecord | None = None
    """How it was fused from others; None: a map of a model."""

    def labels_here(self) -> tuple[TargetLabelsRecord, ...]:
        """Return the labels on pixels of this map that the models behind it were trained on; fused maps name no city."""
        city = self.key.city if self.key else None
        return tuple(labels for labels in self.target_labels if city is None or labels.city == city)

    @property
    def scene(self) -> str | None:
        """Name of the predicted scene, if recorded."""
        return self.key.scene if self.key else None

    @staticmethod
    def areas(pixels: Mapping[str, float] | None, pixel_m2: float | None) -> dict[str, float]:
        """Return km2 by class name; empty without pixels or without their size."""
        if pixels is None or pixel_m2 is None:
            return {}
        return {name: round(count * pixel_m2 / 1e6, 6) for name, count in pixels.items()}

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return a map's JSON of 0.1.0 in the present layout."""
        return upgraded_map(content)


class StripsKey(MapKey, Artifact):
    """The first line of the ledger of an unfinished map: finished rows count for a map of an equal key only."""

    artifact: Literal["strips"] = "strips"
    layers: tuple[str, ...] = ()

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return a ledger's first line of 0.1.0 in the present layout."""
        return upgraded_strips(content)


class StripNote(Record):
    """What the ledger notes of a finished strip: pixels by id (256), and the sums of probabilities if recorded."""

    counts: tuple[int, ...]
    expected: tuple[float, ...] | None = None
    checksums: dict[str, int] = Field(default_factory=dict)
    """Of its pixels, by layer."""
    parts: dict[str, str] = Field(default_factory=dict)
    """Marks of the files that hold its rows, by layer; layers that are not named are in the caller's row files."""
