"""The training loop of networks: iteration-based, with bit-identical resume, in one process or several."""

from __future__ import annotations

from c2seg.train.job import TrainingJob, TrainingResult
from c2seg.train.loop import train
from c2seg.train.parallel import max_parallel, train_in_parallel
from c2seg.train.shared import SharedTrainings
from c2seg.train.signals import StopSignal

__all__ = [
    "SharedTrainings",
    "StopSignal",
    "TrainingJob",
    "TrainingResult",
    "max_parallel",
    "train",
    "train_in_parallel",
]
