"""A pair of cities and short recipes for the public interface."""

from __future__ import annotations

import pytest
from short_recipes import SHORT

import c2seg


@pytest.fixture
def trained(make_city, tmp_path):
    """Return a maker: fits a short recipe on a source for a target and returns (model, target); more keys by ``overrides``."""

    def make(name="forest", overrides=(), target=True, **shape):
        source = make_city("source", seed=1, **shape)
        other = make_city("target", seed=2, gain=1.7, valid=True, height=61, width=47, **shape)
        run = c2seg.fit(
            name, source=str(source), target=str(other) if target else None, out=str(tmp_path / "run"),
            overrides=[*SHORT[name], *overrides], overwrite=True,
        )  # fmt: skip
        return run.load(), other

    return make
