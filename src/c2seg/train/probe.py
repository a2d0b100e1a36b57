"""What looks at a network while it trains, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

__all__ = ["Probe"]


class Probe(Protocol):
    """Is shown the weights every so many iterations."""

    @property
    def every(self) -> int:
        """Iterations between two looks."""

    def resume(self, step: int) -> None:
        """Forget what was seen after ``step``, from which the training resumes (0: it begins)."""

    def look(self, step: int, weights: Mapping[str, np.ndarray]) -> None:
        """Look at the weights after ``step`` iterations, averaged ones if the model will be; they are not to be changed."""
