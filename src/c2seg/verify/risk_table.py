"""Risk by class and zone, added up window by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2seg.legend import Legend
from c2seg.verify.assessment import RiskRow
from c2seg.verify.risk import Risk
from c2seg.verify.zones import NO_ZONE

__all__ = ["RiskTable"]

_SUMS = ("pixels", "error", "risk", "new", "disagreement")


class RiskTable:
    """Sums over the pixels of each class, in the whole map and in each zone."""

    def __init__(self, legend: Legend, zones: Sequence[str]) -> None:
        self.legend = legend
        self.zones = (NO_ZONE, *zones) if zones else ()
        self._sums = np.zeros((max(1, len(self.zones)), 256, len(_SUMS)))

    def add(self, risk: Risk, codes: np.ndarray | None) -> None:
        """Add the pixels of a window; ``codes`` [H, W] are those of its zones."""
        place = np.zeros(risk.ids.shape, np.int64) if codes is None else codes.astype(np.int64)
        key = (place * 256 + risk.ids).ravel()
        values = (
            np.ones(risk.ids.shape), risk.error, risk.risk, None if risk.novelty is None else risk.novelty > 1,
            risk.disagreement,
        )  # fmt: skip
        for index, value in enumerate(values):
            if value is not None:
                counts = np.bincount(key, value.ravel(), minlength=self._sums.shape[0] * 256)
                self._sums[..., index] += counts.reshape(-1, 256)

    def rows(self, *, has_novelty: bool, compared: bool) -> tuple[RiskRow, ...]:
        """Return all classes together, every class that the map has, and every class of every zone."""
        ids = list(self.legend.ids)
        whole = self._sums.sum(axis=0)
        named: list[tuple[str, str | None, np.ndarray]] = [("all classes", None, whole[ids].sum(axis=0))]
        named += [(item.name, None, whole[item.id]) for item in self.legend.classes]
        for index, zone in enumerate(self.zones):
            named.append(("all classes", zone, self._sums[index][ids].sum(axis=0)))
            named += [(item.name, zone, self._sums[index][item.id]) for item in self.legend.classes]
        return tuple(_row(name, zone, sums, has_novelty, compared) for name, zone, sums in named if sums[0])


def _row(name: str, zone: str | None, sums: np.ndarray, has_novelty: bool, compared: bool) -> RiskRow:
    means = dict(zip(_SUMS[1:], np.round(sums[1:] / sums[0], 4).tolist(), strict=True))
    return RiskRow(
        name=name,
        zone=zone,
        pixels=int(sums[0]),
        error=means["error"],
        risk=means["risk"],
        new=means["new"] if has_novelty else None,
        disagreement=means["disagreement"] if compared else None,
    )
