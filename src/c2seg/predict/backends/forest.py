"""The forest as a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts import ModelFile
from c2seg.data import Patch
from c2seg.data.physical_layers import measured
from c2seg.errors import InputError, ModelFileError
from c2seg.forest import FeatureSpec, Forest, features, halo_px
from c2seg.predict.backends import BackendOptions, processors
from c2seg.recipes.models import ForestModel

__all__ = ["ForestPredictor", "forest_predictor", "load"]

_CHUNK = 16384


@dataclass(frozen=True)
class ForestPredictor:
    """Features with a halo, then the trees; results are bit-identical for any number of threads."""

    forest: Forest
    spec: FeatureSpec
    order: tuple[str, ...]
    num_classes: int
    threads: int = 2

    @property
    def halo_px(self) -> int:
        """Half the widest window of the features."""
        return halo_px(self.spec)

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W]; 0 where not valid."""
        return np.stack([self._one({k: v[i] for k, v in patch.items()}, valid[i]) for i in range(valid.shape[0])])

    def _one(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        values = features(patch, valid, self.spec, self.order)
        halo = self.halo_px
        inner = valid[halo : valid.shape[0] - halo, halo : valid.shape[1] - halo]
        samples = values[:, inner].T
        chunks = [samples[i : i + _CHUNK] for i in range(0, len(samples), _CHUNK)]
        scores = np.zeros((self.num_classes, *inner.shape), np.float32)
        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(lambda chunk: self.forest.predict(chunk, self.num_classes), chunks))
        if parts:
            scores[:, inner] = np.concatenate(parts).T
        return scores


def load(model: ModelFile, options: BackendOptions) -> ForestPredictor:
    """Return the predictor of a forest model file."""
    if options.tta:
        raise InputError(
            "`tta` changes nothing for a forest: its features do not depend on rotations and flips; leave it out"
        )
    header = model.header
    assert isinstance(header.recipe.model, ForestModel)
    classes = header.legend.num_classes
    return forest_predictor(header.recipe.model, header.channels, classes, model.tensors, options.threads)


def forest_predictor(
    settings: ForestModel,
    bands: Mapping[str, int],
    num_classes: int,
    tensors: Mapping[str, np.ndarray],
    threads: int | None = None,
) -> ForestPredictor:
    """Return the predictor of a forest with these tensors, named as in a forest's model file."""
    bands = {name: bands[name] for name in measured(bands)}
    prefix = "projection."
    projections = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    for name, rows in projections.items():
        if rows.ndim != 2 or not len(rows) or rows.dtype.kind != "f" or rows.shape[1] != bands.get(name):
            raise ModelFileError(f"the projection of {name[:80]} in the model file does not fit its bands")
    spec = FeatureSpec(settings.mean_px, settings.std_px, projections)
    values = sum(len(projections[name]) if name in projections else count for name, count in bands.items())
    forest = Forest.from_tensors(tensors, values * (1 + len(settings.mean_px) + len(settings.std_px)), num_classes)
    return ForestPredictor(forest, spec, tuple(bands), num_classes, threads or processors())
