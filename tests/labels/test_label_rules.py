from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from c2seg.errors import InputError
from c2seg.labels import default_rules_text, load_rules
from c2seg.legend import Legend, c2seg13


def _write(path: Path, **changes) -> Path:
    table = {"name": "t", "rules": [{"name": "wood", "class": 10, "priority": 1, "tags": {"natural": ["wood"]}}]}
    path.write_text(yaml.safe_dump(table | changes), encoding="utf-8")
    return path


def test_shipped_table_reaches_every_class_and_documents_every_switch():
    table = load_rules()
    assert set(table.class_ids) - {0} == set(c2seg13().ids)
    assert all(switch.why and switch.default in switch.options for switch in table.switches.values())
    used = {rule.class_id for rule in table.rules if isinstance(rule.class_id, str)}
    assert used == set(table.switches)
    assert {"allotments", "schools_hospitals", "railways", "ports", "aerodromes", "brownfield", "grass"} <= used


def test_streets_are_wide_enough_to_be_seen():
    table = load_rules(choices={"minor_streets": "street"})
    widths = [r.half_width_m for r, c in zip(table.rules, table.class_ids, strict=True) if c == 2]
    assert widths
    assert all(width is not None and width >= 5 for width in widths)
    assert table.win_share == {2: 0.3}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"landuse": "forest"}, "forest"),
        ({"leisure": "park", "natural": "wood"}, "green urban areas"),  # equal priority: the row that stands first
        ({"natural": "water", "landuse": "grass"}, "inland water"),
        ({"landuse": "nonsense"}, None),
        ({"landuse": "no"}, None),
        ({"water": "pond"}, "inland water"),
        ({"natural": "wetland", "wetland": "bog"}, "inland wetland"),
        ({"natural": "wetland", "wetland": "saltmarsh"}, "coastal wetland"),
    ],
)
def test_area_rule(tags, expected):
    table = load_rules()
    rule = table.match_area(tags, from_way=True)
    assert (None if rule is None else table.rules[rule].name) == expected


def test_closed_street_is_a_line_unless_it_says_area():
    table = load_rules()
    ring = {"highway": "primary"}
    assert table.match_line(ring, closed=True) is not None
    assert table.match_area(ring, from_way=True) is None
    square = ring | {"area": "yes"}
    assert table.match_line(square, closed=True) is None
    assert table.match_area(square, from_way=True) is not None
    assert table.match_area(ring, from_way=False) is not None
    assert table.match_line({"man_made": "pier"}, closed=True) is None
    assert table.match_area({"man_made": "pier"}, from_way=True) is not None


def test_tunnels_are_excluded_and_bridges_are_not():
    table = load_rules()
    assert table.is_excluded({"highway": "primary", "tunnel": "yes"})
    assert table.is_excluded({"waterway": "canal", "tunnel": "culvert"})
    assert not table.is_excluded({"highway": "primary", "bridge": "yes", "tunnel": "no"})


def test_switched_off_rule_gives_way():
    tags = {"landuse": "brownfield", "building": "house"}
    on, off = load_rules(), load_rules(choices={"brownfield": "unmapped"})
    assert on.rules[on.match_area(tags, from_way=True)].name == "brownfield"
    assert off.rules[off.match_area(tags, from_way=True)].name == "residential buildings"
    assert on.digest != off.digest


def test_yaml_booleans_are_words(tmp_path):
    path = _write(tmp_path / "r.yaml")
    path.write_text(path.read_text().replace("- wood\n", "- yes\n"), encoding="utf-8")
    table = load_rules(path)
    assert table.match_area({"natural": "yes"}, from_way=True) == 0


def test_rules_for_another_legend(tmp_path):
    legend = Legend.from_dict({"name": "two", "classes": [{"id": 77, "name": "tree", "color": "#00FF00"}]}, "here")
    rules = [{"name": "wood", "class": 77, "priority": 1, "tags": {"natural": "wood"}}]
    assert load_rules(_write(tmp_path / "r.yaml", rules=rules), legend=legend).class_ids == (77,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": [{"name": "x", "class": 14, "priority": 1, "tags": {"a": "b"}}]}, "'x' has class 14.*valid: 1 Surf"),
        ({"rules": [{"name": "x", "class": "grass", "priority": 1, "tags": {"a": "b"}}]}, "unknown switch 'grass'"),
        ({"rules": [{"name": "x", "class": 1, "priority": 1}]}, "either tags or coastline"),
        ({"rules": [{"name": "x", "class": 1, "prio": 1, "tags": {}}]}, r"invalid at rules\.0"),
        ({"rules": []}, "0 rules"),
        ({"rules": [{"name": "x", "class": 1, "priority": 1, "tags": {"a": "b"}}] * 2}, "duplicate rule names"),
        ({"win_share": {2: 1.5}}, "win_share of class 2 is 1.5"),
        ({"win_share": {20: 0.5}}, "win_share has class 20"),
        ({"switches": {"s": {"default": "a", "options": {"a": 1}}, "t": {"default": "z", "options": {"a": 1}}}}, "'z'"),
    ],
)
def test_wrong_tables_say_what_and_where(tmp_path, changes, message):
    path = _write(tmp_path / "mine.yaml", **changes)
    with pytest.raises(InputError, match=message) as error:
        load_rules(path)
    assert "mine.yaml" in str(error.value)


def test_wrong_choices_list_the_valid_ones():
    with pytest.raises(InputError, match=r"unknown switch 'gras'.*Did you mean 'grass'"):
        load_rules(choices={"gras": "shrub"})
    with pytest.raises(InputError, match=r"'forest'.*Valid: artificial_vegetated"):
        load_rules(choices={"grass": "forest"})


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(InputError, match="cannot read the rule table"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("rules: [", encoding="utf-8")
    with pytest.raises(InputError, match="not valid YAML"):
        load_rules(tmp_path / "bad.yaml")


def test_shown_table_is_the_one_used(tmp_path):
    path = tmp_path / "copy.yaml"
    path.write_text(default_rules_text(), encoding="utf-8")
    assert load_rules(path).digest == load_rules().digest


def test_document_has_the_table_as_it_is():
    text = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")
    table = load_rules()
    rules, switches = text.split("### Contested tags")
    for rule in table.rules:
        row = next((line for line in rules.splitlines() if line.startswith(f"| {rule.name} |")), "")
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[2:4] == [str(rule.class_id), str(rule.priority)], rule.name
        values = {value for tags in rule.tags.values() for value in tags}
        assert values <= set(row.replace("`", " ").replace(",", " ").replace("=", " ").split()), rule.name
    for name, switch in table.switches.items():
        row = next((line for line in switches.splitlines() if line.startswith(f"| {name} |")), "")
        assert f"**{switch.default}**" in row
        assert all(option in row for option in switch.options)
