"""What a release is made of: one version everywhere, citation and Zenodo metadata, templates and workflows that parse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import yaml

import c2seg

ROOT = Path(c2seg.__file__).parents[2]


def test_one_version_and_license_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert str(citation["version"]) == zenodo["version"] == c2seg.__version__
    assert citation["license"] == zenodo["license"] == project["license"]
    assert citation["title"] == zenodo["title"]
    assert {"cff-version", "message", "authors", "title"} <= set(citation)
    assert f"## {c2seg.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_types_are_shipped_and_no_address_is_made_up():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (ROOT / "src/c2seg/py.typed").is_file()
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["c2seg"]
    assert not [url for url in project["project"].get("urls", {}).values() if "example" in url]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_workflows_and_templates_are_yaml(path):
    content = yaml.safe_load(path.read_text())
    if "workflows" in path.parts:
        commands = [step["run"] for job in content["jobs"].values() for step in job["steps"] if "run" in step]
        targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
        assert {command.split("make ")[1].split()[0] for command in commands} <= targets
    elif path.name != "config.yml":
        assert {"name", "description", "body"} <= set(content)
