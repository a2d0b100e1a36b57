"""Whether a faster way to predict keeps the classes of the exact one, measured on windows of the scene at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.maps import AgreementRecord
from c2seg.data import Patch
from c2seg.errors import InputError
from c2seg.predict.engine import Predictor, Reader
from c2seg.predict.plan import WindowPlan

__all__ = ["Agreement", "measure_agreement", "sample_windows"]

LEAST_SAME = 0.99
LEAST_SAME_CLEAR = 0.999
CLEAR_MARGIN = 0.05
"""Least difference between the two largest probabilities of a clear pixel."""


@dataclass(frozen=True)
class Agreement:
    """Pixels compared, how many keep their class, and the same of those that are clear in the exact prediction."""

    windows: int
    pixels: int
    same: int
    clear: int
    same_clear: int

    @property
    def accepted(self) -> bool:
        """True if at least 99 % of the pixels and 99.9 % of the clear ones keep their class."""
        return self.same >= LEAST_SAME * self.pixels and self.same_clear >= LEAST_SAME_CLEAR * self.clear

    def __str__(self) -> str:
        same, clear = (
            100 * a / b if b else 100.0 for a, b in ((self.same, self.pixels), (self.same_clear, self.clear))
        )
        return (
            f"{same:.3f} % of {self.pixels} pixels keep their class, {clear:.3f} % of those with a margin above "
            f"{CLEAR_MARGIN} ({self.windows} windows)"
        )

    def record(self) -> AgreementRecord:
        """Return the counts as a map's record holds them."""
        return AgreementRecord(**vars(self), accepted=self.accepted, text=str(self))


def sample_windows(reader: Reader, plan: WindowPlan, halo_px: int, count: int) -> Iterator[tuple[Patch, np.ndarray]]:
    """Yield up to ``count`` windows with valid pixels, evenly distributed over the plan, as batches of one.

    ``valid`` includes the halo. At most four times as many windows are read.
    """
    cols = len(plan.cols)
    total = len(plan.rows) * cols
    # Steps by a number coprime to the total visit windows all over the scene, none twice.
    step = next(s for s in range(max(1, int(total * 0.618)), total + 1) if np.gcd(s, total) == 1)
    sampled = 0
    for index in range(min(total, 4 * count)):
        row, col = divmod(index * step % total, cols)
        patch, valid = reader(plan.windows(row)[col].expand(halo_px))
        if _inner(valid, halo_px).any():
            yield {name: values[None] for name, values in patch.items()}, valid[None]
            sampled += 1
        if sampled == count:
            return


def measure_agreement(
    exact: Predictor, faster: Predictor, reader: Reader, plan: WindowPlan, *, windows: int = 8
) -> Agreement:
    """Compare two predictors on sample windows of a scene. Raises InputError if a prediction is not finite."""
    halo = exact.halo_px
    counts = np.zeros(5, np.int64)
    for patch, valid in sample_windows(reader, plan, halo, windows):
        inner = _inner(valid[0], halo)
        reference, other = (p.predict(patch, valid)[0][:, inner] for p in (exact, faster))
        if not np.isfinite(other).all():
            raise InputError("the reduced precision gives values that are not finite; use `precision='32'`")
        same = reference.argmax(axis=0) == other.argmax(axis=0)
        top = (
            np.partition(reference, -2, axis=0)[-2:]
            if len(reference) > 1
            else np.stack([0 * reference[0], reference[0]])
        )
        clear = top[1] - top[0] > CLEAR_MARGIN
        counts += (1, same.size, same.sum(), clear.sum(), (same & clear).sum())
    return Agreement(*(int(count) for count in counts))


def _inner(valid: np.ndarray, halo: int) -> np.ndarray:
    return valid[halo : valid.shape[-2] - halo, halo : valid.shape[-1] - halo]
