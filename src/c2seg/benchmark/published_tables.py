"""The challenge's tables: which recipes they compare, and by which protocol."""

from __future__ import annotations

from collections.abc import Sequence

from c2seg.benchmark.equal import equal_preset
from c2seg.benchmark.table_one import TABLE_ONE
from c2seg.errors import InputError, unknown_name

__all__ = ["DEFAULT_RECIPES", "TABLES", "check_table", "is_offline", "preset_of", "recipes_of"]

TABLES = {
    "I": "the challenge's systems and ours across cities, ranked, the published rows beside",
    "II": "a random split of overlapping tiles inside the source (leaks) beside the score across cities",
    "III": "the same for MRSN and its reductions, trained alike",
}
DEFAULT_RECIPES = ("forest", "unet")
_RECIPES = {"I": TABLE_ONE, "II": ("mrsn",), "III": ("mrsn-1b", "mrsn-2b", "mrsn-3b", "mrsn")}


def check_table(table: str | None) -> None:
    """Raise InputError for a table that is none of the challenge's."""
    if table is not None and table not in TABLES:
        raise InputError(unknown_name("table", table, TABLES))


def is_offline(table: str | None) -> bool:
    """Return whether a table shows the offline protocol."""
    return table in {"II", "III"}


def recipes_of(table: str | None) -> tuple[str, ...]:
    """Return the recipes and systems that a table compares; without a table, two of ours."""
    return DEFAULT_RECIPES if table is None else _RECIPES[table]


def preset_of(table: str | None, preset: str, recipes: Sequence[str], overrides: Sequence[str]) -> str:
    """Return the preset of a table's trainings: Table III trains all alike. Raises InputError if it cannot."""
    return equal_preset(recipes, preset, overrides) if table == "III" else preset
