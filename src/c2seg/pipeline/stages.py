"""Train a recipe's networks, stage by stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from c2seg.artifacts import FOREST, TrainingFacts
from c2seg.data import Band
from c2seg.errors import InputError
from c2seg.models import last_layers
from c2seg.models.ensemble import output_count, tensor_prefix
from c2seg.pipeline.costs import Stopwatch, training_facts
from c2seg.pipeline.forest import forest_tensors
from c2seg.pipeline.offline import TileWatch
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.pipeline.pseudo_labels import Teacher, label_target
from c2seg.pipeline.scenes import RunScenes
from c2seg.pipeline.sharing import training_text
from c2seg.process import is_first
from c2seg.raster import short
from c2seg.recipes import Recipe
from c2seg.recipes.schema import ONLY_STAGE, Network, Stage
from c2seg.recipes.training import MaskedMethod, PseudoLabelMethod
from c2seg.sampling import TrainingScene, sparse_scenes, with_few_labels
from c2seg.train import SharedTrainings, StopSignal, TrainingJob, TrainingResult, max_parallel, train, train_in_parallel
from c2seg.train.curves import join_curves
from c2seg.train.probe import Probe

__all__ = ["TrainedStages", "train_stages"]

Weights = dict[str, np.ndarray]

NETWORK_SEED = 1_000_000
"""Between the seeds of the networks of a stage, so that runs with neighboring seeds share none."""


@dataclass(frozen=True)
class TrainedStages:
    """The tensors of a model file, and the costs of training them."""

    tensors: Weights
    facts: TrainingFacts
    curves: str = ""
    """Curves of all trainings as CSV."""


@dataclass(frozen=True)
class _Trained:
    """A network, the result of its training, and the folder of its curves."""

    network: Network
    result: TrainingResult
    folder: Path

    @property
    def weights(self) -> Weights:
        return self.result.weights


def train_stages(job: FitJob, data: Prepared, folder: Path, watch: TileWatch | None = None) -> TrainedStages:
    """Train every stage of a recipe, and its forest.

    ``data`` are the job's cities close at hand; both hold out the same fold, if any. ``watch`` looks at the network that
    predicts while it trains. Raises InputError when the cities lack modalities of every stage.
    """
    stopwatch = Stopwatch()
    recipe = job.recipe
    forest = forest_tensors(job, recipe.forest.model) if recipe.forest else {}
    forest_costs = stopwatch.spent() if recipe.forest else None
    stages = _Stages(job, data, folder, forest, watch)
    for name in recipe.stages:
        stages.train(name)
    trained = [network for networks in stages.done.values() for network in networks]
    ensemble_paths = {network.path for network in recipe.ensemble_networks(data.modalities)}
    if not ensemble_paths:
        raise InputError(f"recipe {recipe.name}: the cities lack modalities of every stage")
    folders, names = [one.folder / "curves.csv" for one in trained], [one.network.path for one in trained]
    curves = join_curves(folders, names) if is_first() else ""
    in_ensemble = [one for one in trained if one.network.path in ensemble_paths]
    tensors = {tensor_prefix(t.network.path) + key: value for t in in_ensemble for key, value in t.weights.items()}
    tensors |= {FOREST + name: value for name, value in forest.items()}
    trainings = [(one.result, one.network.training.iterations) for one in trained]
    predicting = [one.result for one in in_ensemble]
    return TrainedStages(
        tensors, training_facts(recipe.training.iterations, trainings, predicting, forest_costs), curves
    )


@dataclass
class _Stages:
    """The stages of a run: those that are done, by name, in order."""

    job: FitJob
    data: Prepared
    folder: Path
    forest: Weights
    watch: TileWatch | None = None
    done: dict[str, list[_Trained]] = field(default_factory=dict)
    scenes: RunScenes = field(init=False)

    def __post_init__(self) -> None:
        self.scenes = RunScenes(self.data)

    def train(self, name: str) -> None:
        """Train the networks of a stage; nothing if the cities lack a modality that it needs."""
        stage = self.job.recipe.stages[name]
        networks = self.job.recipe.stage_networks(name, self.data.modalities)
        if not networks:
            return
        labels = self._pseudo_labels(name, stage)
        trainings = [self._training(stage, network, index, labels) for index, network in enumerate(networks)]
        # Counted networks are alike and finish together; named ones may differ much.
        results = (
            train_in_parallel([one.run for one in trainings], self.job.device)
            if isinstance(stage.networks, int)
            else [one.run(None) for one in trainings]
        )
        if isinstance(stage.networks, int):
            results = _shared_clock(results, max_parallel(len(trainings), self.job.device))
        self.done[name] = [
            _Trained(network, result, training.folder)
            for network, result, training in zip(networks, results, trainings, strict=True)
        ]

    def _training(self, stage: Stage, network: Network, index: int, labels: Sequence[np.ndarray]) -> _Training:
        folder = _network_folder(self.job.recipe, self.folder, network)
        return _Training(
            self.job,
            self.data,
            network,
            self.job.seed + index * NETWORK_SEED,
            folder,
            self._initial_weights(stage, network, index),
            tuple(labels),
            self.scenes,
            self.watch.probe(network, folder, self.forest) if self.watch else None,
        )

    def _initial_weights(self, stage: Stage, network: Network, index: int) -> Weights:
        """Return the initial weights of a network: parts that are named, or all of the stage before if it is the same."""
        if stage.init_from is not None:
            weights = {name: networks[min(index, len(networks) - 1)].weights for name, networks in self.done.items()}
            return _parts(network.stage, stage.init_from, weights)
        if not self.done:
            return {}
        before = list(self.done.values())[-1]
        last = before[-1].network
        if (last.model, last.inputs) != (network.model, network.inputs):
            return {}
        return before[min(index, len(before) - 1)].weights

    def _pseudo_labels(self, name: str, stage: Stage) -> tuple[np.ndarray, ...]:
        """Return the target's pseudo-labels if the stage trains on them, by the networks of the last stage that can label."""
        method = stage.training.method
        if not isinstance(method, PseudoLabelMethod):
            return ()
        able = [done for done in self.done if self.job.recipe.stages[done].predicts_classes]
        if not able:
            raise InputError(f"stages.{name}: the cities lack modalities of every stage that could label the target")
        teachers = [Teacher(one.network, one.weights) for one in self.done[able[-1]]]
        labels = label_target(self.job, self.data, method, teachers, self.forest)
        if self.data.target_labels is None or not self.job.recipe.target_labels.weight:
            return labels
        return with_few_labels(labels, self.data.target_labels, self.data.legend)


@dataclass(frozen=True)
class _Training:
    """One training of a run; ``labels``: pseudo-labels of the target's scenes, if its images are trained on with labels."""

    job: FitJob
    data: Prepared
    network: Network
    seed: int
    folder: Path
    start: Mapping[str, np.ndarray]
    labels: tuple[np.ndarray, ...]
    scenes: RunScenes
    probe: Probe | None = None

    def run(self, stop: StopSignal | None) -> TrainingResult:
        """Train; a network that was pretrained without classes comes without the layers that follow from their number."""
        self.folder.mkdir(parents=True, exist_ok=True)
        masked = isinstance(self.network.training.method, MaskedMethod)
        job = self._job(masked=masked)
        result = train(job, resume=self.job.resume, progress=self.job.bars(self._label()), stop=stop)
        if not masked:
            return result
        heads = last_layers(self.network.model, job.bands)
        return replace(result, weights={name: value for name, value in result.weights.items() if name not in heads})

    def _job(self, *, masked: bool) -> TrainingJob:
        recipe, classes = self.job.recipe.alone(self.network), self.data.legend.num_classes
        bands = {name: self._bands(name) for name in self.network.inputs}
        return TrainingJob(
            recipe=recipe,
            bands={name: len(specs) for name, specs in bands.items()},
            num_classes=sum(map(len, bands.values())) if masked else output_count(recipe, classes),
            source=self._source(recipe, use_labels=not masked),
            target=self._target(),
            labeled_target=[] if masked else self._labeled_target(),
            seed=self.seed,
            folder=self.folder,
            data=_fingerprint(self.job, self.labels),
            device=self.job.device,
            inputs=bands,
            initial_weights=self.start,
            probe=self.probe,
            shared=self._shared(recipe),
        )

    def _shared(self, recipe: Recipe) -> SharedTrainings | None:
        """Return where finished trainings are that runs have in common; folds, and what a probe looks at, are the run's own."""
        folder = self.job.storage.trainings
        if folder is None or self.probe is not None or self.data.held_out is not None:
            return None
        return SharedTrainings(folder, training_text(recipe, self.data, self.network))

    def _bands(self, modality: str) -> tuple[Band, ...]:
        projection = self.data.projection
        if modality in projection:
            return (Band(),) * len(projection[modality])
        return self.data.inputs[modality]

    def _source(self, recipe: Recipe, *, use_labels: bool) -> list[TrainingScene]:
        background = self.data.legend.num_classes if recipe.background == "trained" else None
        return self.scenes.of_sources(self.network.inputs, use_labels=use_labels, background=background)

    def _target(self) -> list[TrainingScene]:
        training = self.network.training
        if self.data.target is None or not (training.method.uses_target or training.aligns):
            return []
        scenes = self.scenes.of_target(self.network.inputs)
        if not self.labels:
            return scenes
        return [replace(scene, targets=labels) for scene, labels in zip(scenes, self.labels, strict=True)]

    def _labeled_target(self) -> list[TrainingScene]:
        """Return the target's scenes with its few labels; none where no label of it is trained on."""
        labels, target = self.data.target_labels, self.data.target
        if labels is None or target is None or not self.job.recipe.target_labels.weight:
            return []
        return sparse_scenes(target, self.network.inputs, labels, self.data.legend)

    def _label(self) -> str:
        """Return what progress calls this training."""
        networks = self.job.recipe.stages[self.network.stage].networks
        alone = networks == 1 or isinstance(networks, dict)
        name = self.network.name if isinstance(networks, dict) else self.network.stage
        name = name if alone else f"{name}/{self.network.name}"
        return name if self.data.held_out is None else f"fold {self.data.held_out + 1} {name}"


def _shared_clock(results: Sequence[TrainingResult], count: int) -> list[TrainingResult]:
    """Return results with costs as if each training had run alone: parallel trainings share their clocks."""
    return [
        replace(
            result,
            step_seconds=result.step_seconds and result.step_seconds / count,
            step_processor_seconds=result.step_processor_seconds and result.step_processor_seconds / count,
        )
        for result in results
    ]


def _parts(stage: str, sources: Mapping[str, str | None], done: Mapping[str, Weights]) -> Weights:
    """Return initial weights taken from parts of earlier stages; those of a stage that was left out stay random."""
    weights: Weights = {}
    for place, origin in sources.items():
        name, _, part = (origin or "").partition("/")
        if name not in done:
            continue
        prefix = f"{part}." if part else ""
        chosen = {key.removeprefix(prefix): v for key, v in done[name].items() if key.startswith(prefix)}
        if not chosen:
            raise InputError(f"stages.{stage}.init_from: no tensor of the stage {name} is in its part {part!r}")
        weights |= {f"{place}.{key}" if place else key: value for key, value in chosen.items()}
    return weights


def _network_folder(recipe: Recipe, folder: Path, network: Network) -> Path:
    """Return where a training keeps its state and curves; what 0.1.0 left elsewhere is moved there first."""
    place = folder / "stages" / network.stage / network.name
    released = _released_folder(recipe, folder, network)
    if not place.exists() and (released / "state.pt").exists():
        place.mkdir(parents=True)
        for name in ("state.pt", "curves.csv"):
            if (released / name).exists():
                (released / name).rename(place / name)
    return place


def _released_folder(recipe: Recipe, folder: Path, network: Network) -> Path:
    """Return where 0.1.0 kept the training of a network."""
    stage = recipe.stages[network.stage]
    if isinstance(stage.networks, dict):
        return folder / "members" / network.name
    if list(recipe.stages) == [ONLY_STAGE]:
        return folder
    released = folder / "phases" / network.stage
    return released / network.name if stage.networks > 1 else released


def _fingerprint(job: FitJob, labels: Sequence[np.ndarray]) -> str:
    """Return a digest of all that a network is trained on."""
    data, settings = job.prepared, job.recipe.target_labels
    few = [settings.weight, settings.batch_fraction] if data.target_labels is not None else []
    digest = hashlib.sha256(json.dumps([*data.identity(), data.held_out, *few]).encode())
    for values in labels:
        digest.update(values.data)
    return short(digest)
