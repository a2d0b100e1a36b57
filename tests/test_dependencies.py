"""What we depend on: bounds with reasons, the versions of continuous integration, known holes, and no pickle."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import c2seg

ROOT = Path(c2seg.__file__).parents[2]
PROJECT = ROOT / "pyproject.toml"


APART = {"ukis", "torchgeo", "terratorch"}  # extras of hundreds of megabytes, for one choice each: no part of `all`


def requirements() -> list[Requirement]:
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = {name: texts for name, texts in project["optional-dependencies"].items() if name not in APART}
    texts = sum(extras.values(), project["dependencies"])
    return [Requirement(text) for text in texts if not text.startswith("c2seg")]


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    return {normalized(name): Version(text) for name, text in (line.split("==") for line in lines)}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_bound_has_its_reason():
    lines = [line.strip() for line in PROJECT.read_text().splitlines()]
    bounds = [
        line for line in lines if re.match(r'("[A-Za-z]|mat = |simulate = |imagenet = |requires = ).*[>=]=', line)
    ]
    assert len(bounds) > 30
    assert [line for line in bounds if "#" not in line] == []


def test_the_versions_of_continuous_integration_are_allowed_and_of_no_build():
    versions = pinned()
    for requirement in requirements():
        assert versions[normalized(requirement.name)] in requirement.specifier, requirement
    assert [name for name, value in versions.items() if value.local] == []
    assert "c2seg" not in versions


def test_what_is_installed_is_allowed():
    for requirement in requirements():
        if requirement.name != "pip-audit":
            assert version(requirement.name) in requirement.specifier, requirement


@pytest.mark.slow
def test_no_installed_package_has_a_known_hole():
    if importlib.util.find_spec("pip_audit") is None:
        pytest.skip("pip-audit is not installed: known holes are not asked for")
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        pytest.skip(f"pip-audit cannot ask for known holes: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    asked = [package for package in packages if "vulns" in package]
    ours = {normalized(requirement.name) for requirement in requirements()}
    if not ours & {normalized(package["name"]) for package in asked}:
        pytest.skip(f"pip-audit cannot ask for known holes: its service knows none of {len(packages)} packages")
    holes = {p["name"]: [hole["id"] for hole in p["vulns"]] for p in asked if p["vulns"]}
    assert holes == {}


# Between processes of one run, and for a check that a city can be handed to one.
MAY_PICKLE = {
    "benchmark/child.py", "benchmark/processes.py", "parallel/calls.py", "testing/layouts.py", "testing/products.py"
}  # fmt: skip


def test_nothing_that_is_read_from_disk_is_unpickled():
    """SECURITY.md promises it."""
    offenders = []
    for path in sorted((ROOT / "src/c2seg").rglob("*.py")):
        name = str(path.relative_to(ROOT / "src/c2seg"))
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        offenders += [f"{name}:{call.lineno}" for call in calls if not safe(call, name)]
    assert offenders == []


def safe(call: ast.Call, name: str) -> bool:
    text = ast.unparse(call.func)
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    if text in {"pickle.load", "pickle.loads", "Unpickler", "pickle.Unpickler", "joblib.load", "marshal.loads"}:
        return name in MAY_PICKLE
    if text == "torch.load":
        return options.get("weights_only") == "True"
    return "allow_pickle" not in options or options["allow_pickle"] == "False"
