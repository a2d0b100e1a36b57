"""A run: which data, recipe and versions it comes from, and the facts of its training (``record.json``)."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from c2seg.artifacts.provenance import Provenance
from c2seg.artifacts.target_labels import TargetLabelsRecord
from c2seg.artifacts.upgrade import upgraded_run
from c2seg.recipes import Recipe
from c2seg.recipes.schema import SourceCheck
from c2seg.records import Artifact, Json, Record

__all__ = [
    "BandDrift",
    "DriftRecord",
    "LabelTrial",
    "PretrainedFacts",
    "RunProvenance",
    "RunRecord",
    "RunSummary",
    "SharedTraining",
    "SourceCheckRecord",
    "SourceCity",
    "SourceSizeRecord",
    "TargetCity",
    "TargetImageUse",
    "TargetLabelChoices",
    "TrainingFacts",
    "run_provenance",
]


class TargetCity(Record):
    """An unlabeled city: its name and the fingerprint of its images."""

    name: str
    images: str


class SourceCity(TargetCity):
    """A labeled city: name, fingerprints of images and labels."""

    labels: str


class TargetImageUse(Record):
    """Whether anything was made with the images of the target city, which has no labels."""

    normalization: bool
    """Inputs are standardized by statistics of the predicted city."""
    training: bool
    """Networks were trained on images of the target, too."""


class RunProvenance(Provenance):
    """Where a model comes from. Its file carries it, and so does every map made with it.

    ``run_id`` is a digest of what determines a run: the recipe with all its settings, fingerprints of images and labels, seed,
    device, versions of c2seg, Python and packages, the commit and the kind of machine. Names of cities and the command
    line are no part of it: a renamed folder is the same run.
    """

    run_id: str
    recipe: str
    """Name of the recipe."""
    sources: tuple[SourceCity, ...]
    target: TargetCity | None
    uses_target_images: TargetImageUse
    target_labels: TargetLabelsRecord | None = None
    """The labels of the target that were trained on: the run is few-shot; None: none was."""

    @property
    def few_shot(self) -> bool:
        """True if labels of the target were trained on: never compared with runs without any."""
        return self.target_labels is not None


def run_provenance(
    process: Provenance,
    recipe: Recipe,
    sources: tuple[SourceCity, ...],
    target: TargetCity | None,
    target_labels: TargetLabelsRecord | None = None,
) -> RunProvenance:
    """Return the provenance of a run of ``recipe`` in this process, with its id."""
    use = TargetImageUse(normalization=recipe.follows_city, training=bool(recipe.uses_target and target is not None))
    determines = {
        "process": process.model_dump(mode="json", exclude={"command"}),
        "recipe": recipe.model_dump(mode="json"),
        "sources": [(city.images, city.labels) for city in sources],
        "target": target.images if target else None,
    }
    if target_labels is not None:
        determines["target_labels"] = target_labels.digest
    digest = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:16]
    return RunProvenance(
        **dict(process),
        run_id=digest,
        recipe=recipe.name,
        sources=sources,
        target=target,
        uses_target_images=use,
        target_labels=target_labels,
    )


class PretrainedFacts(Record):
    """What was loaded into a network's encoders before training."""

    source: str
    loaded: int
    """Number of tensors."""
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    first_convolution: str
    line: str
    """All of it in one line for people."""


class SharedTraining(Record):
    """Seconds of a training, whoever ran it, and whether the run took it over from another one."""

    seconds: float
    reused: bool


class TrainingFacts(Record):
    """Facts of the training of networks. Seconds are those that pass; processor seconds count every thread."""

    iterations: int | None = None
    trainings: int | None = None
    """Number of networks trained, over all stages."""
    precision: str | None = None
    parameters: int | None = None
    """Of the networks that make the map."""
    gflops_128: float | None = None
    """Of the same, for a patch of 128 x 128 pixels."""
    pretrained: PretrainedFacts | None = None
    random_start: str | None = None
    """A note if the recipe is published with pretrained weights and starts at random here."""
    step_seconds: float | None = None
    """Of all trainings, by iteration of the recipe."""
    step_processor_seconds: float | None = None
    forest_seconds: float | None = None
    """Of a forest beside the networks."""
    forest_processor_seconds: float | None = None
    shared_trainings: dict[str, SharedTraining] = Field(default_factory=dict)
    """Trainings that other runs of a benchmark may have in common, by a digest of all that they depend on."""


class AdaptationCheck(Record):
    """Whether adapting stages stay: mIoU on held-out blocks ``with`` and ``without`` them, by decision."""

    stages: tuple[str, ...]
    adaptation_kept: bool = Field(alias="kept")
    miou: dict[str, dict[str, float]]


class ForestWeightCheck(Record):
    """The forest's weight beside the networks, and mIoU by tried weight and decision."""

    weight: float
    miou: dict[str, dict[str, float]]


class BeforeAfter(Record):
    """A measure before and after calibration."""

    before: float
    after: float


class CalibrationCheck(Record):
    """The temperature of the ensemble's probabilities, and what it changes; errors by decision."""

    temperature: float
    log_loss: BeforeAfter
    expected_calibration_error: dict[str, BeforeAfter]


class SourceCheckRecord(Record):
    """What the source check measured on held-out blocks of the sources, and what it cost."""

    settings: SourceCheck
    labeled_pixels: int
    notes: tuple[str, ...]
    adaptation: AdaptationCheck | None = None
    forest: ForestWeightCheck | None = None
    calibration: CalibrationCheck | None = None
    trainings: int | None = None
    step_seconds: float | None = None
    step_processor_seconds: float | None = None
    forest_seconds: float | None = None
    forest_processor_seconds: float | None = None
    seconds: float | None = None
    processor_seconds: float | None = None


class SourceSizeRecord(Record):
    """How much the sources have to train networks on, and the factors of length, width and weight that follow from it."""

    labeled_pixels: int
    cells: int
    """Pairs of a cell of 8 x 8 pixels and a class that has a labeled pixel in it: neighbors are alike, and count once."""
    length: float
    """Factor of the iterations of every training."""
    width: float
    """Factor of the widths of every network."""
    beside_forest: float = 1.0
    """Factor of the networks' weight beside a forest."""
    notes: tuple[str, ...] = ()


class BandDrift(Record):
    """How far the values of a band differ between the sources and the target, as normalized for the model."""

    modality: str
    band: str
    """Name, role or wavelength of the band, or its number."""
    stability: float
    """Population stability index over ten bins of equal frequency in the sources: 0 if the distributions are equal."""
    outside: float
    """Fraction of the target's pixels outside the range of 99 % of the sources' pixels."""


class DriftRecord(Record):
    """How well the target can be told from the sources by its images alone."""

    bands: tuple[BandDrift, ...]
    pixels: int
    """Sampled of each side."""
    separability: float | None
    """Area under the ROC curve of a classifier that tells pixels of the two apart, on blocks it did not see: 0.5 if they are
    alike, 1 if they share nothing; None: too few pixels."""
    reading: tuple[str, ...]
    """What it means, in sentences."""


class RunSummary(Record):
    """A run at a glance."""

    source_pixels: int
    """Labeled pixels of the sources."""
    target_pixels: int | None
    """Valid or not; None: no target."""
    classes: tuple[str, ...]
    """That have labels in the sources."""
    bands: dict[str, int]
    """Number by modality."""
    preset: str | None = None
    validation: str | None = None
    """In-domain cross-validation on the sources in a line; None: there was none."""
    drift: DriftRecord | None = None
    next_command: str | None = None
    """What usually follows."""


class LabelTrial(Record):
    """What was tried on the target's labels, and its mean IoU there, on labels that it was not trained on."""

    name: str
    miou: float


class NormalizationCheck(Record):
    """How far the target is from any mixture of the sources' classes under two normalizations, and which one serves."""

    normalization: str
    midway: float
    per_city: float
    """Distances within 0 and 1 (``c2seg.pipeline.comparison``)."""
    notes: tuple[str, ...] = ()


class TargetLabelChoices(Record):
    """What a few labels of the target decided, by trials on labels that were held out; ``notes`` say it in words."""

    trials: tuple[LabelTrial, ...] = ()
    normalization: str
    weight: float
    """Of the target's labels in the training; 0: they were not worth any."""
    temperature: float | None = None
    class_factors: dict[str, float] | None = None
    """Factors on the probabilities of the classes, by name, for their shares in the target."""
    notes: tuple[str, ...] = ()


class RunRecord(RunProvenance, TrainingFacts, Artifact):
    """``record.json`` of a run folder: provenance of the run, facts and costs of its training."""

    artifact: Literal["run"] = "run"
    source_size: SourceSizeRecord | None = None
    """What the sources have for networks; None: a forest, or not recorded."""
    source_check: SourceCheckRecord | None = None
    normalization_check: NormalizationCheck | None = None
    """What decided on ``normalization: auto``; None: nothing could be compared, or not recorded."""
    label_choices: TargetLabelChoices | None = None
    """What the target's labels decided in a few-shot run."""
    label_check: SourceCheckRecord | None = None
    """What held-out labels of the target decided of trained networks."""
    summary: RunSummary | None = None
    """The run at a glance; None: not recorded."""
    seconds: float | None = None
    """Of the whole fit; None: not recorded."""
    peak_memory_mib: float | None = None
    device_memory_mib: float | None = None
    """Reserved on a CUDA device at most; None: none was used, or not recorded."""

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return a record of 0.1.0 in the present layout."""
        return upgraded_run(content)
