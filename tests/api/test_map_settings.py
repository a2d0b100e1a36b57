"""The settings of maps stand in one place: typed, with defaults, and named in both signatures."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

import c2seg
from c2seg.api.map_settings import GivenSettings, MapSettings
from c2seg.api.models import Model


def test_what_may_be_given_is_what_there_is():
    assert get_type_hints(GivenSettings) == get_type_hints(MapSettings)


@pytest.mark.parametrize("function", [Model.predict, c2seg.predict_cities])
def test_signatures_name_every_setting(function):
    parameters = inspect.signature(function).parameters
    defaults = {one.name: one.default for one in fields(MapSettings)}
    assert {name: parameters[name].default for name in defaults} == defaults
    assert "settings" not in parameters


def test_an_unknown_setting_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match="worker"):
        MapSettings(worker=2)
