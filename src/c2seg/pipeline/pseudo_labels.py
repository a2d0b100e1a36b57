"""Label the target by the networks of a stage, for the stage after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.models.ensemble import tensor_prefix
from c2seg.pipeline.prepare import FitJob, Prepared
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.backends.forest import forest_predictor
from c2seg.predict.backends.torch import network_predictor
from c2seg.predict.decision import expected_iou, sample_probabilities
from c2seg.predict.plan import window_plan
from c2seg.predict.pseudo_labels import pseudo_labels
from c2seg.predict.remembering import Remembering
from c2seg.recipes import Recipe
from c2seg.recipes.schema import ONLY_STAGE, Network
from c2seg.recipes.training import PseudoLabelMethod

__all__ = ["Teacher", "label_target"]


@dataclass(frozen=True)
class Teacher:
    """A trained network, and its weights by tensor name."""

    network: Network
    weights: Mapping[str, np.ndarray]

    def predictor(self, recipe: Recipe, data: Prepared, device: str) -> Predictor:
        """Return the predictor of this network alone."""
        settings = recipe.prediction
        options = BackendOptions(device, tta=settings.tta, tta_transforms=settings.tta_transforms)
        bands = {name: data.channels[name] for name in self.network.inputs}
        prefix = tensor_prefix(f"{ONLY_STAGE}.0")
        weights = {prefix + name: value for name, value in self.weights.items()}
        return network_predictor(recipe.alone(self.network), bands, data.legend.num_classes, weights, options)


def label_target(
    job: FitJob,
    data: Prepared,
    method: PseudoLabelMethod,
    teachers: Sequence[Teacher],
    forest: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, ...]:
    """Return pseudo-labels uint8 [H, W], output indices, 255 without label, of each scene of the target.

    ``forest`` are the tensors of the recipe's forest, which also labels if the method says so.
    """
    recipe, target = job.recipe, data.target
    assert target is not None
    classes = data.legend.num_classes
    predictors: list[Predictor] = [teacher.predictor(recipe, data, job.device) for teacher in teachers]
    weights = [1 / len(predictors)] * len(predictors)
    inputs = teachers[0].network.inputs
    if method.forest and recipe.forest:
        inputs = data.modalities  # the forest uses all of them, the networks of a stage may not
        predictors.append(forest_predictor(recipe.forest.model, data.channels, classes, forest))
        weights = [weight * (1 - recipe.forest.weight) for weight in weights] + [recipe.forest.weight]
    if method.decision == "expected_iou":  # which sees most of a small city before it is labeled
        predictors = [Remembering(one) if getattr(one, "on_device", None) is None else one for one in predictors]
    ensemble = WeightedEnsemble(predictors, weights)
    labels = []
    for reader in target.readers(inputs):
        plan = window_plan(reader.scene, recipe.prediction, ensemble)
        decision = None
        if method.decision == "expected_iou":
            decision = expected_iou(sample_probabilities(reader, ensemble, plan), data.present)
        scene_labels = pseudo_labels(
            reader,
            predictors,
            plan,
            keep_fraction=method.keep_fraction,
            decision=decision,
            weights=weights,
            batch_size=recipe.prediction.batch_size,
            progress=job.bars(f"pseudo-labels of {target.city.name}"),
        )
        labels.append(scene_labels)
    return tuple(labels)
