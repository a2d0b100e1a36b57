"""How far interpreters agree, and what holds where they do not.

Axes: I interpreter, n point. References are class ids, 0 no label, 255 cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from c2seg.errors import InputError, unknown_name
from c2seg.verify.samples import CANNOT_TELL, UNLABELED, LabeledSample

__all__ = ["Agreement", "Resolution", "agreement", "cohens_kappa", "fleiss_kappa", "resolved_reference"]

Resolution = Literal["majority", "consensus"]
"""What a point with different classes counts as: the class that most gave (of equals that of the first interpreter), or as a
point that nobody could decide."""


@dataclass(frozen=True)
class Agreement:
    """Agreement over the points that at least two interpreters gave a class.

    ``percent`` is the share of pairs of labels of one point that are equal, 0..1. ``kappa`` is Cohen's for two interpreters and
    Fleiss' for more; None where chance alone explains everything. ``disputed`` are indices of points.
    """

    points: int
    percent: float
    kappa: float | None
    disputed: tuple[int, ...]


def agreement(references: Sequence[np.ndarray]) -> Agreement | None:
    """Return the agreement of interpreters; None if no point has two classes."""
    labels = np.stack(references) if references else np.zeros((0, 0), np.uint8)
    given = (labels != UNLABELED) & (labels != CANNOT_TELL)
    several = given.sum(0) >= 2
    if not several.any():
        return None
    disputed = [index for index in np.flatnonzero(several) if len(set(labels[given[:, index], index].tolist())) > 1]
    votes = _votes(labels[:, several], given[:, several])
    kappa = fleiss_kappa(votes)
    if len(labels) == 2:
        kappa = cohens_kappa(labels[0, several], labels[1, several])
    return Agreement(int(several.sum()), _pairwise(votes), kappa, tuple(int(index) for index in disputed))


def cohens_kappa(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return Cohen's kappa (1960) of two interpreters' classes, [n] each; None if chance agreement is 1."""
    classes = np.union1d(one, other)
    observed = float((one == other).mean())
    chance = float(sum((one == k).mean() * (other == k).mean() for k in classes))
    return None if chance >= 1 else (observed - chance) / (1 - chance)


def fleiss_kappa(votes: np.ndarray) -> float | None:
    """Return Fleiss' kappa (1971) of votes int64 [n, K] by class, at least two a point; None if chance agreement is 1.

    With different numbers of votes a point, pairs of labels are counted.
    """
    shares = votes.sum(0) / votes.sum()
    chance = float((shares**2).sum())
    return None if chance >= 1 else (_pairwise(votes) - chance) / (1 - chance)


def resolved_reference(sample: LabeledSample, how: str = "majority") -> np.ndarray:
    """Return the reference uint8 [n] of the points where interpreters may differ. Raises InputError for an unknown way."""
    if how not in get_args(Resolution):
        raise InputError(unknown_name("way to resolve disputes", how, get_args(Resolution)))
    reference = sample.reference.copy()
    if how == "consensus":
        for one, other in combinations([item.reference for item in sample.interpretations], 2):
            both = ~np.isin(one, (UNLABELED, CANNOT_TELL)) & ~np.isin(other, (UNLABELED, CANNOT_TELL))
            reference[both & (one != other)] = CANNOT_TELL
    return reference


def _votes(labels: np.ndarray, given: np.ndarray) -> np.ndarray:
    classes = np.unique(labels[given])
    return np.stack([((labels == k) & given).sum(0) for k in classes], axis=1)


def _pairwise(votes: np.ndarray) -> float:
    """Return the mean over points of the share of pairs that agree."""
    totals = votes.sum(1)
    return float(((votes * (votes - 1)).sum(1) / (totals * (totals - 1))).mean())
