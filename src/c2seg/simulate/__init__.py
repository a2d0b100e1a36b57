"""Two physically plausible cities with a controlled domain shift, rendered from measured spectra, and their truth."""

from __future__ import annotations

from c2seg.simulate.city import CityInfo
from c2seg.simulate.knobs import FAMILIES, Knobs, family_of
from c2seg.simulate.pair import DEFAULT_SHIFT, PairInfo, simulate_pair

__all__ = ["DEFAULT_SHIFT", "FAMILIES", "CityInfo", "Knobs", "PairInfo", "family_of", "simulate_pair"]
