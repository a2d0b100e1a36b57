"""``import c2seg`` gives every public name, light and whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import c2seg

EVERYTHING_FIRST = """
import importlib, pkgutil, types
import c2seg
for module in pkgutil.walk_packages(c2seg.__path__, "c2seg."):
    if module.name != "c2seg.__main__":
        importlib.import_module(module.name)
for name in c2seg.__all__:
    value = getattr(c2seg, name)
    assert not isinstance(value, types.ModuleType), name
    assert isinstance(value, str) or callable(value), name
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_no_public_name_is_that_of_a_part():
    run(EVERYTHING_FIRST)


def test_names_are_listed_without_importing_anything():
    code = "import c2seg, sys; print(*dir(c2seg)); print(*sys.modules)"
    names, modules = run(code).splitlines()
    assert set(c2seg.__all__) <= set(names.split())
    heavy = {"torch", "numpy", "rasterio", "pydantic", "sklearn", "matplotlib", "xarray", "rich", "yaml", "c2seg.api"}
    assert not heavy & set(modules.split())


def test_a_function_loads_what_it_needs_and_no_more():
    modules = set(run("import c2seg, sys; c2seg.fit, c2seg.load_model, c2seg.open_city; print(*sys.modules)").split())
    assert not modules & {"torch", "sklearn", "matplotlib", "xarray", "rich"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'predict_city'"):
        c2seg.predict_city  # noqa: B018
    assert not hasattr(c2seg, "train_model")


def test_errors_are_those_that_the_parts_raise(tmp_path):
    with pytest.raises(c2seg.DataError, match="does not exist"):
        c2seg.open_city(tmp_path / "none")
    with pytest.raises(c2seg.ModelFileError, match="does not exist"):
        c2seg.load_model(tmp_path)
    assert issubclass(c2seg.OutputError, c2seg.C2SegError)
