"""Scores that stay on the device: windows are blended and decided there, and only the bytes of the layers come back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from c2seg.data import Patch
from c2seg.legend import Legend
from c2seg.predict.calibration import LEAST
from c2seg.predict.decision import Decision
from c2seg.predict.engine import Strip

__all__ = ["DeviceScores", "decide_on_device", "expected_on_device"]

_STEPS, _NODATA = 200.0, 255


@dataclass(frozen=True)
class DeviceScores:
    """What ``predict`` of a predictor returns, as a tensor of its device."""

    compute: Callable[[Patch, np.ndarray], Tensor]
    device: torch.device

    def predict(self, patch: Patch, valid: np.ndarray) -> Tensor:
        """Return probabilities float32 [B, K, H, W]; the caller owns them."""
        return self.compute(patch, valid)

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return float32 of any content; for the engine's sums."""
        return torch.empty(shape, device=self.device)

    def of(self, values: np.ndarray) -> Tensor:
        """Return an array as a tensor of the device."""
        return torch.as_tensor(values, device=self.device)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Return zeros float32 that take no memory."""
        return torch.zeros((), device=self.device).expand(shape)


@dataclass(frozen=True)
class _Part:
    """A strip's sums [K, H, W], weights [H, W] (or [1, 1]) and validity on the device of its sums."""

    sums: Tensor
    weights: Tensor
    valid: Tensor

    @classmethod
    def of(cls, strip: Strip) -> _Part:
        sums = torch.as_tensor(strip.sums)
        weights = strip.weights(0, strip.last - strip.first)
        return cls(
            sums, *(torch.as_tensor(np.ascontiguousarray(v), device=sums.device) for v in (weights, strip.valid))
        )

    def calibrated(self, temperature: float) -> _Part:
        """Return the part with ``calibration.calibrated`` probabilities."""
        powers = (self.sums / self.weights).clamp_min(LEAST) ** (1 / temperature)
        return _Part(powers / powers.sum(dim=0), torch.ones_like(self.weights[:1, :1]), self.valid)

    def bytes(self, values: Tensor) -> Tensor:
        """Return values [..., H, W] over the weights in 0..1 as uint8 0..200, nodata where invalid."""
        steps = ((values / self.weights).clamp(0.0, 1.0) * _STEPS).round().byte()
        return steps.where(self.valid, torch.full_like(steps, _NODATA))


def decide_on_device(
    strip: Strip, legend: Legend, names: Collection[str], decision: Decision | None, temperature: float | None
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Return what ``layers.decide`` returns, computed where the sums are."""
    part = _Part.of(strip)
    table = torch.as_tensor(legend.id_table(), device=part.sums.device)
    scores = _scores(part, decision)
    index = scores.max(dim=0).indices  # the first of equal ones
    layers = {"ids": table[index].where(part.valid, table.new_zeros(()))}
    shown = part if temperature is None else part.calibrated(temperature)
    best = shown.sums.gather(0, index[None])[0]
    if "confidence" in names:
        layers["confidence"] = shown.bytes(best)
    if "runner_up" in names:
        layers["runner_up"] = _runner_up(shown, scores, index, best, table)
    if "probabilities" in names:
        layers["probabilities"] = shown.bytes(shown.sums).transpose(0, 1)
    arrays = {name: values.contiguous().cpu().numpy() for name, values in layers.items()}
    return arrays, np.bincount(arrays["ids"].ravel(), minlength=256).tolist()


def expected_on_device(strip: Strip, temperature: float | None) -> np.ndarray:
    """Return what ``layers.expected_pixels`` returns, computed where the sums are."""
    part = _Part.of(strip)
    shown = part if temperature is None else part.calibrated(temperature)
    probabilities = (shown.sums / shown.weights).where(part.valid, part.sums.new_zeros(()))
    totals: np.ndarray = probabilities.sum(dim=(1, 2), dtype=torch.float64).cpu().numpy()
    return totals


def _scores(part: _Part, decision: Decision | None) -> Tensor:
    """Return scores [K, H, W] whose argmax decides."""
    if decision is None:
        return part.sums
    scale, offset = (part.sums.new_tensor(values).view(-1, 1, 1) for values in (decision.scale, decision.offset))
    return part.sums * scale - offset * part.weights


def _runner_up(shown: _Part, scores: Tensor, index: Tensor, best: Tensor, table: Tensor) -> Tensor:
    """Return uint8 [H, 2, W]: the id of the largest other score, and the margin over it."""
    other = index if len(scores) == 1 else scores.scatter(0, index[None], -torch.inf).max(dim=0).indices
    ids = table[other].where(shown.valid, table.new_full((), _NODATA))
    return torch.stack([ids, shown.bytes(best - shown.sums.gather(0, other[None])[0])], dim=1)
