"""The published scores of C2Seg, as data: the challenge's Tables I to III and the dataset paper's Tables 2 and 3."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from c2seg.documents import parse_yaml

__all__ = [
    "OfflineScore",
    "PublishedScore",
    "PublishedSource",
    "published_class_f1",
    "published_offline",
    "published_scores",
    "published_sources",
]


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """A published row, as fractions 0..1; None if not published. ``dataset`` is ``AB``, ``BW`` or ``mean`` (of both).

    ``recipe`` is the recipe of c2seg for the method, or the system of ``c2seg benchmark``; None if there is none.
    """

    source: str
    dataset: str
    method: str
    oa: float | None
    miou: float | None
    mf1: float | None
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedSource:
    """The source of rows. ``protocol`` is the closest protocol of ``c2seg.metrics``, if known."""

    name: str
    title: str
    citation: str
    protocol: str | None
    note: str


@dataclass(frozen=True, slots=True)
class OfflineScore:
    """A score within the source city on a random split that leaks, as fractions 0..1; None if not published.

    ``table`` is that of the challenge (II or III). ``recipe`` is the recipe of c2seg for the method.
    """

    table: str
    dataset: str
    method: str
    recipe: str
    oa: float | None
    miou: float | None
    mf1: float | None


@cache
def published_sources() -> dict[str, PublishedSource]:
    """Return the sources by name, in display order."""
    content = parse_yaml(_text("sources.yaml"), "sources.yaml")
    return {name: PublishedSource(name, **fields) for name, fields in content.items()}


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """Return all published overall scores, by source, dataset and row of the published table."""
    return tuple(
        PublishedScore(
            row["source"], row["dataset"], row["method"],
            _fraction(row["oa"]), _fraction(row["miou"]), _fraction(row["mf1"]), row["recipe"] or None,
        )
        for row in _rows("scores.csv")
    )  # fmt: skip


@cache
def published_offline(table: str) -> tuple[OfflineScore, ...]:
    """Return the scores of the challenge's Table II (MRSN on both datasets) or III (ablations of MRSN) in its order."""
    return tuple(
        OfflineScore(
            row["table"], row["dataset"], row["method"], row["recipe"],
            _fraction(row["oa"]), _fraction(row["miou"]), _fraction(row["mf1"]),
        )
        for row in _rows("offline.csv") if row["table"] == table
    )  # fmt: skip


@cache
def published_class_f1() -> dict[tuple[str, str], tuple[float | None, ...]]:
    """Return F1 of classes 1..13 (fractions) by (dataset, method) of the dataset paper; None: never detected."""
    return {
        (row["dataset"], row["method"]): tuple(_fraction(row[str(k)]) for k in range(1, 14))
        for row in _rows("class_f1.csv")
    }


def _fraction(percent: str) -> float | None:
    # Rounded: 9.65 % is 0.0965, not the nearest double to 9.65 divided by 100.
    return round(float(percent) / 100, 8) if percent else None


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in _text(name).splitlines() if not line.startswith("#")))


def _text(name: str) -> str:
    return resources.files("c2seg.metrics").joinpath("tables", name).read_text(encoding="utf-8")
