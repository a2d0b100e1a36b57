"""The training loop of networks: iteration-based, resumable to the bit, in one process or several."""

from __future__ import annotations

from c2seg.train.loop import TrainingJob, train
from c2seg.train.side_by_side import at_once, side_by_side
from c2seg.train.signals import StopSignal

__all__ = ["StopSignal", "TrainingJob", "at_once", "side_by_side", "train"]
