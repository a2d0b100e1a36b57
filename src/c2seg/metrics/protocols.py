"""Scores as pure functions of confusion counts, under named protocols.

Published numbers differ in the classes of a mean and in the treatment of undefined values. A protocol is such a convention,
so that published numbers can be reproduced. C class, M[i, j] number of pixels of class i predicted as j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from c2seg.errors import InputError, unknown_name
from c2seg.legend import BACKGROUND
from c2seg.metrics.confusion import Confusion

__all__ = ["PROTOCOLS", "Protocol", "Scores", "protocol_ids", "scores"]

PerClass = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A convention of scores.

    - ``classes``: the classes of the means: those in the ``reference``, in the ``union`` of ground truth and prediction, or
      ``all``.
    - ``background``: ground truth 0 is a class like the others.
    - ``f1_dropped``: F1 of a class without a correct pixel is undefined and not part of the mean.
    - ``outside_counts``: OA divides by all labeled pixels, not only by those predicted as one of the classes.
    - ``outside_is_class``: predictions outside the classes are one more class, which scores 0.
    - ``refuses_outside``: files with predicted values that are neither a class nor 0 are rejected.
    """

    name: str
    summary: str
    classes: Literal["reference", "union", "all"]
    background: bool = False
    f1_dropped: bool = False
    outside_counts: bool = True
    outside_is_class: bool = False
    refuses_outside: bool = False


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol("challenge", "means over the classes of the ground truth (default)", "reference", refuses_outside=True),
        Protocol("all13", "means over all classes of the legend; absent classes score 0 (the dataset paper)", "all"),
        Protocol("highdan", "means over classes in ground truth or prediction (scikit-learn's default)", "union",
                 outside_is_class=True),
        Protocol("mmseg", "means over classes in ground truth or prediction; F1 only of classes with a correct pixel", "union",
                 f1_dropped=True),
        Protocol("mrsn", "background is a class like the others; absent classes score 0", "all",
                 background=True, outside_counts=False),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scores:
    """All scores of a map (or of a set of tiles), as fractions 0..1; None if undefined.

    ``oa`` overall accuracy, ``kappa`` Cohen's kappa, ``mf1`` and ``miou`` class means, ``quantity_disagreement`` and
    ``allocation_disagreement`` are those of Pontius and Millones (2011); their sum is 1 - OA over the counted pixels. ``iou``,
    ``f1``, ``precision``, ``recall`` and ``support`` (ground truth pixels) are in the order of ``ids``. ``iou`` and ``f1`` are
    None for classes that are not in the protocol's means. ``pixels`` is the number of labeled pixels.
    """

    protocol: str
    ids: tuple[int, ...]
    pixels: int
    oa: float | None
    kappa: float | None
    mf1: float | None
    miou: float | None
    quantity_disagreement: float | None
    allocation_disagreement: float | None
    iou: PerClass
    f1: PerClass
    precision: PerClass
    recall: PerClass
    support: tuple[int, ...]


def protocol_ids(ids: tuple[int, ...], protocol: str) -> tuple[int, ...]:
    """Return the ids to count for a protocol. Background is the first one if it is a class."""
    return (BACKGROUND, *ids) if _protocol(protocol).background and BACKGROUND not in ids else tuple(ids)


def scores(confusion: Confusion, protocol: str = "challenge") -> Scores:
    """Return all scores of the counts under a named protocol.

    IoU = M[c,c] / (row + column - M[c,c]), F1 = 2 M[c,c] / (row + column), kappa = (po - pe) / (1 - pe) (Cohen, 1960). A
    prediction outside the legend is an error and is part of the row and the totals. A protocol with background needs counts
    with id 0 (``protocol_ids``); others remove that row. Raises InputError for an unknown protocol.
    """
    rules = _protocol(protocol)
    if rules.background and BACKGROUND not in confusion.ids:
        raise InputError(f"protocol {protocol!r} needs counts with background (id 0) as a class; count over (0, *ids)")
    if not rules.background:
        confusion = confusion.without_background()
    matrix = confusion.counts[:, :-1].astype(float)
    outside = confusion.counts[:, -1].astype(float)
    correct, columns = np.diag(matrix), matrix.sum(0)
    rows = matrix.sum(1) + outside
    iou = _ratio(correct, rows + columns - correct)
    f1 = _ratio(2 * correct, rows + columns)
    if rules.f1_dropped:
        f1[correct == 0] = np.nan
    used = {"reference": rows > 0, "union": rows + columns > 0, "all": np.ones(len(rows), bool)}[rules.classes]
    if rules.classes == "all":
        iou, f1 = np.nan_to_num(iou, nan=0.0), np.nan_to_num(f1, nan=0.0)
    iou[~used], f1[~used] = np.nan, np.nan
    extra_class = rules.outside_is_class and bool(outside.any())
    oa, kappa, quantity, allocation = _agreement(correct, rows, columns, outside.sum(), rules)
    return Scores(
        protocol=protocol,
        ids=confusion.ids,
        pixels=confusion.pixels,
        oa=oa,
        kappa=kappa,
        mf1=_mean(f1, extra_class),
        miou=_mean(iou, extra_class),
        quantity_disagreement=quantity,
        allocation_disagreement=allocation,
        iou=_plain(iou),
        f1=_plain(f1),
        precision=_plain(_ratio(correct, columns)),
        recall=_plain(_ratio(correct, rows)),
        support=tuple(int(n) for n in rows),
    )


def _agreement(
    correct: np.ndarray, rows: np.ndarray, columns: np.ndarray, outside: float, rules: Protocol
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return OA, kappa, quantity and allocation disagreement. Predictions outside are a category without ground truth."""
    total = rows.sum()
    if not total:
        return None, None, None, None
    chance = float((rows / total) @ (columns / total))
    observed = float(correct.sum() / total)
    kappa = (observed - chance) / (1 - chance) if chance < 1 else None
    quantity = float((np.abs(rows - columns).sum() + outside) / (2 * total))
    allocation = float((np.minimum(rows, columns) - correct).sum() / total)
    counted = total if rules.outside_counts else total - outside
    return (float(correct.sum() / counted) if counted else None), kappa, quantity, allocation


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    ratio = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _mean(values: np.ndarray, extra_class: bool) -> float | None:
    """Return the mean of the defined values. ``extra_class`` adds a class that scores 0."""
    defined = values[~np.isnan(values)]
    count = len(defined) + int(extra_class)
    return float(defined.sum() / count) if count else None


def _plain(values: np.ndarray) -> PerClass:
    return tuple(None if np.isnan(v) else float(v) for v in values)


def _protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(unknown_name("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]
