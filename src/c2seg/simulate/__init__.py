"""Simulated pairs of cities with a controlled domain shift, rendered from measured spectra, and their ground truth."""

from __future__ import annotations

from c2seg.simulate.city import CityInfo
from c2seg.simulate.pair import DEFAULT_SHIFT, PairInfo, simulate_pair
from c2seg.simulate.parameters import FAMILIES, Parameters, family_of
from c2seg.simulate.specs import city_names

__all__ = [
    "DEFAULT_SHIFT",
    "FAMILIES",
    "CityInfo",
    "PairInfo",
    "Parameters",
    "city_names",
    "family_of",
    "simulate_pair",
]
