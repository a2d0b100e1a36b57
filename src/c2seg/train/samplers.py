"""What a step of a training draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.errors import InputError
from c2seg.recipes.training import MaskedMethod, PseudoLabelMethod
from c2seg.sampling import PatchSampler
from c2seg.train.job import TrainingJob

__all__ = ["Samplers", "samplers_of"]


@dataclass(frozen=True)
class Samplers:
    """What a step draws: patches of the sources, of the target, and of the target's few labels."""

    source: PatchSampler
    target: PatchSampler | None
    labeled: PatchSampler | None

    def class_counts(self) -> np.ndarray:
        """Return int64 [K] of trainable pixels of the sources; a class of the target's labels alone counts as a usual one."""
        counts = self.source.class_counts()
        if self.labeled is None or not counts.any():
            return counts
        usual = int(np.median(counts[counts > 0]))
        return np.where((counts == 0) & (self.labeled.class_counts() > 0), usual, counts)


def samplers_of(job: TrainingJob, processes: int) -> Samplers:
    """Return the samplers of a training; InputError for a batch that is too small for what shares it."""
    training = job.recipe.training
    sampling = training.sampling
    source_size, target_size = sampling.batch_size, sampling.batch_size
    # source and target share one batch
    if job.target and isinstance(training.method, PseudoLabelMethod | MaskedMethod):
        size = min(max(1, round(training.method.target_fraction * sampling.batch_size)), sampling.batch_size - 1)
        source_size, target_size = sampling.batch_size - size, size
    labeled, parts = None, processes * training.accumulate
    if job.labeled_target:
        labeled = _labeled_sampler(job, parts, source_size)
        source_size -= labeled.settings.batch_size
    if min(source_size, target_size) < parts:
        raise InputError(
            f"a batch of {sampling.batch_size} patches ({source_size} of sources, {target_size} of the target) has too few for "
            f"{processes} processes in {training.accumulate} parts each; give a larger training.sampling.batch_size"
        )
    source_sampling, target_sampling = (
        sampling.model_copy(update={"batch_size": size}) for size in (source_size, target_size)
    )
    target = None
    if job.target:
        target = PatchSampler(job.target, target_sampling, training.augment, job.seed, job.num_classes, stream=1)
    source = PatchSampler(job.source, source_sampling, training.augment, job.seed, job.num_classes, fda_target=target)
    return Samplers(source, target if training.method.uses_target else None, labeled)


def _labeled_sampler(job: TrainingJob, parts: int, source_size: int) -> PatchSampler:
    """Return the sampler of patches around the target's few labels: each of them shows one, which no other patch may cover."""
    training = job.recipe.training
    size = max(parts, round(job.recipe.target_labels.batch_fraction * training.sampling.batch_size))
    if size > source_size - parts:
        raise InputError(
            f"labels of the target need room in the batch: sampling.batch_size is {training.sampling.batch_size}, and "
            f"{source_size} patches of it show sources; give a larger one"
        )
    sampling = training.sampling.model_copy(
        update={"batch_size": size, "class_balanced_fraction": 1.0, "cat_max_ratio": None}
    )
    augment = training.augment.model_copy(update={"cutmix": 0.0, "fda": None})
    return PatchSampler(job.labeled_target, sampling, augment, job.seed, job.num_classes, stream=2)
