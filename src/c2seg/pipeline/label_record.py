"""The labels of the target as records hold them: which pixels, and how far around them scores count nothing."""

from __future__ import annotations

from c2seg.artifacts.target_labels import SceneSpans, TargetLabelsRecord, spans_of
from c2seg.pipeline.prepare import Prepared
from c2seg.recipes import Recipe
from c2seg.recipes.models import ForestModel

__all__ = ["guard_px", "labels_record"]


def labels_record(recipe: Recipe, prepared: Prepared) -> TargetLabelsRecord | None:
    """Return the record of the labels of the target; None where a run has none."""
    labels, target = prepared.target_labels, prepared.target
    if labels is None or target is None:
        return None
    return TargetLabelsRecord(
        file=labels.file,
        digest=labels.digest(),
        city=target.city.fingerprint(),
        labels=labels.unit_counts(prepared.legend),
        pixels=labels.pixels,
        guard_px=guard_px(recipe),
        scenes=tuple(
            SceneSpans(scene=scene.name, spans=spans_of(part.rows, part.cols))
            for scene, part in zip(target.city.scenes, labels.scenes, strict=True)
        ),
    )


def guard_px(recipe: Recipe) -> int:
    """Return how far from a labeled pixel scores leave out others.

    Half the widest window of a forest's features, a quarter of the largest patch of a network: a model has seen much of what
    surrounds a label within it.
    """
    if recipe.target_labels.guard_px is not None:
        return recipe.target_labels.guard_px
    forest = recipe.model if isinstance(recipe.model, ForestModel) else recipe.forest.model if recipe.forest else None
    widest = max((size // 2 for size in (*forest.mean_px, *forest.std_px)), default=0) if forest else 0
    if isinstance(recipe.model, ForestModel):
        return widest
    return max([widest, *(training.sampling.patch_px // 4 for training in recipe.trainings)])
