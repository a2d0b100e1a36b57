"""The training loop of networks: iteration-based, resumable to the bit, in one process or several."""

from __future__ import annotations

from c2seg.train.loop import TrainingJob, train

__all__ = ["TrainingJob", "train"]
