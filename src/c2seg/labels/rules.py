"""The rule table: classes of OpenStreetMap tags and their priorities. It is a validated YAML file.

Where features overlap, the higher priority wins, and for equal priorities the smaller polygon. Contested tags depend on named
switches, whose options are a class or 0 (the rule is off).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from c2seg.documents import parse_yaml, read_text
from c2seg.errors import InputError, unknown_name
from c2seg.legend import Legend, c2seg13

__all__ = ["Rule", "RuleTable", "Switch", "default_rules_text", "load_rules"]

DEFAULT_RULES = "osm_c2seg13.yaml"
MAX_RULES = 250  # rule codes are burned as uint8; the last codes are reserved
ANY = "*"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Switch(_Strict):
    """A contested tag: its options by name (a class id, or 0: off), and the default option."""

    default: str
    options: dict[str, int]
    why: str = ""


class Rule(_Strict):
    """A rule: a feature with any of ``tags`` and none of ``unless`` belongs to a class.

    A rule with ``half_width_m`` also matches lines, which are buffered by this width on both sides. ``closed`` is the kind of a
    closed way without ``area=yes``. The default is a line in rules with a width, and an area in others. ``coastline`` matches
    the sea instead of tags.
    """

    name: str
    class_id: int | str = Field(alias="class")  # a class id, or the name of a switch
    priority: int
    tags: dict[str, frozenset[str]] = Field(default_factory=dict)
    unless: dict[str, frozenset[str]] = Field(default_factory=dict)
    half_width_m: float | None = Field(default=None, gt=0, le=500)
    closed: Literal["line", "area"] | None = None
    coastline: bool = False
    why: str = ""

    @property
    def closed_is_area(self) -> bool:
        """True if a closed way without ``area=yes`` is an area."""
        return self.half_width_m is None if self.closed is None else self.closed == "area"

    @field_validator("tags", "unless", mode="before")
    @classmethod
    def _tags(cls, value: Any) -> Any:
        return _tag_lists(value)


class _Table(_Strict):
    name: str
    source: str = ""
    win_share: dict[int, float] = Field(default_factory=dict)
    exclude: dict[str, frozenset[str]] = Field(default_factory=dict)
    switches: dict[str, Switch] = Field(default_factory=dict)
    rules: tuple[Rule, ...]

    @field_validator("exclude", mode="before")
    @classmethod
    def _exclude(cls, value: Any) -> Any:
        return _tag_lists(value)


@dataclass(frozen=True)
class RuleTable:
    """Rules with the choice of every switch, for one legend. Build it with ``load_rules``.

    ``class_ids[i]`` is the class of ``rules[i]`` under the choices, 0 if the rule is off. ``win_share`` is the fraction of a
    pixel, by class id, from which the class always wins.
    """

    name: str
    legend: Legend
    rules: tuple[Rule, ...]
    class_ids: tuple[int, ...]
    switches: Mapping[str, Switch]
    choices: Mapping[str, str]
    win_share: Mapping[int, float]
    exclude: Mapping[str, frozenset[str]]
    digest: str
    keys: frozenset[str] = field(init=False)  # in any rule
    area_keys: frozenset[str] = field(init=False)  # in rules for which any closed way is an area
    _index: Mapping[tuple[str, str], list[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index: dict[tuple[str, str], list[int]] = {}
        for number, rule in enumerate(self.rules):
            for key, values in rule.tags.items():
                for value in values:
                    index.setdefault((key, value), []).append(number)
        object.__setattr__(self, "_index", index)
        object.__setattr__(self, "keys", frozenset(key for key, _ in index))
        area_keys = frozenset(key for rule in self.rules if rule.closed_is_area for key in rule.tags)
        object.__setattr__(self, "area_keys", area_keys)

    @property
    def sea_rule(self) -> int | None:
        """Index of the rule for the sea; None if the table has none."""
        return next((i for i, rule in enumerate(self.rules) if rule.coastline), None)

    @property
    def max_half_width_m(self) -> float:
        """Largest buffer width of a line."""
        return max((rule.half_width_m or 0.0 for rule in self.rules), default=0.0)

    def is_excluded(self, tags: Mapping[str, str]) -> bool:
        """Return True for features with an excluded tag, such as tunnels, which are invisible from above."""
        return _any_of(self.exclude, tags)

    def match_line(self, tags: Mapping[str, str], *, closed: bool) -> int | None:
        """Return the rule of a way that is a line, or None. A closed way may be an area instead (``match_area``)."""
        if closed and tags.get("area") == "yes":
            return None
        return self._best(tags, lambda rule: rule.half_width_m is not None and not (closed and rule.closed_is_area))

    def match_area(self, tags: Mapping[str, str], *, from_way: bool) -> int | None:
        """Return the rule of an area (closed way or multipolygon relation), or None."""
        certain = not from_way or tags.get("area") == "yes"
        return self._best(tags, lambda rule: certain or rule.closed_is_area)

    def _best(self, tags: Mapping[str, str], fits: Callable[[Rule], bool]) -> int | None:
        best: int | None = None
        for key in self.keys:
            value = tags.get(key)
            if value is None or value == "no":
                continue
            for number in (*self._index.get((key, value), ()), *self._index.get((key, ANY), ())):
                rule = self.rules[number]
                if (
                    fits(rule)
                    and not _any_of(rule.unless, tags)
                    and (best is None or self._rank(number) > self._rank(best))
                ):
                    best = number
        return best

    def _rank(self, number: int) -> tuple[bool, int, int]:
        # A rule that is off has the lowest rank. In ties the first rule wins.
        return self.class_ids[number] > 0, self.rules[number].priority, -number


def default_rules_text() -> str:
    """Return the default rule table as YAML text, which can be edited and passed to ``load_rules``."""
    return resources.files("c2seg.labels").joinpath(DEFAULT_RULES).read_text(encoding="utf-8")


def load_rules(
    path: Path | None = None, *, choices: Mapping[str, str] | None = None, legend: Legend | None = None
) -> RuleTable:
    """Read a rule table (None: the default one) and set its switches.

    Raises InputError, with file and rule, for invalid YAML, a class that is not in the legend, or an unknown switch or option.
    """
    legend = legend or c2seg13()
    where = str(path or DEFAULT_RULES)
    text = default_rules_text() if path is None else read_text(path, error=InputError, what="the rule table ")
    table = _parse(text, where)
    selected = _select_options(table, choices or {}, where)
    class_ids = tuple(_class_of(rule, table, selected, legend, where) for rule in table.rules)
    for class_id, share in table.win_share.items():
        _check_class(class_id, legend, f"{where}: win_share")
        if not 0 < share <= 1:
            raise InputError(f"{where}: win_share of class {class_id} is {share}; it must be above 0 and at most 1")
    digest = hashlib.sha256(f"{text}{sorted(selected.items())}".encode()).hexdigest()[:16]
    return RuleTable(
        table.name, legend, table.rules, class_ids, table.switches, selected, table.win_share, table.exclude, digest
    )


def _parse(text: str, where: str) -> _Table:
    try:
        table = _Table.model_validate(parse_yaml(text, f"the rule table {where}"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"the rule table {where} is invalid at {place}: {first['msg']}") from error
    names = [rule.name for rule in table.rules]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates or not 0 < len(names) <= MAX_RULES:
        problem = (
            f"duplicate rule names: {duplicates}" if duplicates else f"{len(names)} rules; 1 to {MAX_RULES} are allowed"
        )
        raise InputError(f"the rule table {where} has {problem}")
    for rule in table.rules:
        if bool(rule.tags) == rule.coastline:
            raise InputError(f"{where}: rule {rule.name!r} needs either tags or coastline: true")
    return table


def _select_options(table: _Table, choices: Mapping[str, str], where: str) -> dict[str, str]:
    selected = {name: switch.default for name, switch in table.switches.items()}
    for name in choices:
        if name not in selected:
            raise InputError(unknown_name("switch", name, selected))
    selected.update(choices)
    for name, option in selected.items():
        if option not in table.switches[name].options:
            raise InputError(
                f"{where}: {unknown_name(f'option of switch {name}', option, table.switches[name].options)}"
            )
    return selected


def _class_of(rule: Rule, table: _Table, selected: Mapping[str, str], legend: Legend, where: str) -> int:
    if isinstance(rule.class_id, str):
        if rule.class_id not in table.switches:
            raise InputError(f"{where}: rule {rule.name!r}: {unknown_name('switch', rule.class_id, table.switches)}")
        switch = table.switches[rule.class_id]
        for option, class_id in switch.options.items():
            if class_id:
                _check_class(class_id, legend, f"{where}: switch {rule.class_id!r}, option {option!r}")
        return switch.options[selected[rule.class_id]]
    _check_class(rule.class_id, legend, f"{where}: rule {rule.name!r}")
    return rule.class_id


def _check_class(class_id: int, legend: Legend, where: str) -> None:
    if class_id not in legend.ids:
        valid = ", ".join(f"{c.id} {c.name}" for c in legend.classes)
        raise InputError(f"{where} has class {class_id}, which legend {legend.name!r} does not have; valid: {valid}")


def _any_of(listed: Mapping[str, frozenset[str]], tags: Mapping[str, str]) -> bool:
    for key, values in listed.items():
        value = tags.get(key)
        if value is not None and value != "no" and (ANY in values or value in values):
            return True
    return False


def _tag_lists(value: Any) -> Any:
    """Accept a single value instead of a list, and YAML's booleans instead of the words yes and no."""
    if not isinstance(value, dict):
        return value
    words = {True: "yes", False: "no"}
    lists = {key: item if isinstance(item, list) else [item] for key, item in value.items()}
    return {k: [words[v] if isinstance(v, bool) else str(v) for v in items] for k, items in lists.items()}
