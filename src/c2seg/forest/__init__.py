"""Random forest on per-pixel features: computing them, training, and trees as arrays."""

from __future__ import annotations

from c2seg.forest.features import FeatureSpec, features, halo_px
from c2seg.forest.fit import fit_forest
from c2seg.forest.trees import Forest

__all__ = ["FeatureSpec", "Forest", "features", "fit_forest", "halo_px"]
