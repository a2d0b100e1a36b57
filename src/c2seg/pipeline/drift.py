"""How far the target is from the sources by its images alone: band by band, and by a classifier that tells them apart.

Axes: N sampled pixel, C channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts.runs import BandDrift, DriftRecord
from c2seg.data import Band, City, LabeledCity, PreparedCity, SceneReader
from c2seg.types import Window

__all__ = [
    "SampledPixels",
    "channel_names",
    "measure_drift",
    "readings",
    "sample_pixels",
    "separability",
    "stability_index",
]

_BLOCKS = 64
_SIDE_PX = 24
_PIXELS = 2500  # of each side
_LEAST = 200
_QUANTILES = 10
_RANGE = (0.005, 0.995)
_SMALL, _LARGE = 0.1, 0.25  # the usual bounds of the population stability index


@dataclass(frozen=True)
class SampledPixels:
    """Normalized channels float32 [N, C] of valid pixels, and which of the sampled squares each lies in, int64 [N]."""

    values: np.ndarray
    blocks: np.ndarray


def sample_pixels(
    cities: Sequence[PreparedCity[City] | PreparedCity[LabeledCity]],
    names: Sequence[str],
    seed: int,
    pixels: int = _PIXELS,
) -> SampledPixels:
    """Return about ``pixels`` valid pixels from small squares distributed over the cities' scenes."""
    readers = [reader for city in cities for reader in city.readers(names)]
    areas = np.array([reader.scene.grid.height * reader.scene.grid.width for reader in readers], np.float64)
    rng = np.random.default_rng((seed, 5))
    values, blocks = [], []
    for index in range(_BLOCKS):
        reader = readers[int(rng.choice(len(readers), p=areas / areas.sum()))]
        square = _square(reader, rng)
        if len(square):
            chosen = square[rng.permutation(len(square))[: max(1, pixels // _BLOCKS)]]
            values.append(chosen)
            blocks.append(np.full(len(chosen), index))
    if not values:
        return SampledPixels(np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
    return SampledPixels(np.concatenate(values), np.concatenate(blocks))


def measure_drift(
    source: SampledPixels, target: SampledPixels, channels: Sequence[tuple[str, str]], seed: int
) -> DriftRecord:
    """Return the drift of each channel (modality, name) and of all together, between normalized pixels of both sides."""
    enough = min(len(source.values), len(target.values)) >= _LEAST
    bands = tuple(
        _band(modality, name, source.values[:, index], target.values[:, index])
        for index, (modality, name) in enumerate(channels)
        if enough
    )
    told_apart = round(separability(source, target, seed), 3) if enough else None
    count = min(len(source.values), len(target.values))
    return DriftRecord(bands=bands, pixels=count, separability=told_apart, reading=readings(bands, told_apart))


def stability_index(source: np.ndarray, target: np.ndarray) -> float:
    """Return the population stability index of values [N] against those of the sources [M]: sum of (q - p) ln(q / p).

    p and q are the shares in ten bins that the sources fill equally; a share is at least 1e-3. (Siddiqi, Credit Risk
    Scorecards, 2006.)
    """
    edges = np.unique(np.quantile(source, np.linspace(0, 1, _QUANTILES + 1)[1:-1]))
    shares = []
    for values in (source, target):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts / max(1, len(values)), 1e-3))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def separability(source: SampledPixels, target: SampledPixels, seed: int) -> float:
    """Return the area under the ROC curve of a small forest that tells source from target, 0.5..1, in two-fold validation.

    Squares are held out whole: pixels of one square are alike.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score

    values = np.concatenate([source.values, target.values])
    is_target = np.repeat([0, 1], [len(source.values), len(target.values)])
    odd = np.concatenate([source.blocks, target.blocks]) % 2 == 1
    scores = np.zeros(len(values))
    for held in (odd, ~odd):
        if len(np.unique(is_target[~held])) < 2 or not held.any():
            return 0.5
        forest = ExtraTreesClassifier(40, max_depth=8, min_samples_leaf=5, class_weight="balanced", random_state=seed)
        scores[held] = forest.fit(values[~held], is_target[~held]).predict_proba(values[held])[:, 1]
    return max(0.5, float(roc_auc_score(is_target, scores)))


def readings(bands: Sequence[BandDrift], separability: float | None) -> tuple[str, ...]:
    """Return what drift means, in sentences."""
    if separability is None:
        return ("too few valid pixels to compare the cities",)
    levels = (
        (0.6, "the target's pixels look like the sources'"),
        (0.8, "the target differs from the sources, as cities do"),
        (0.95, "the target is clearly told from the sources: expect less than the validation on the sources says"),
        (
            1.01,
            "hardly any pixel of the target looks like one of the sources: check bands, units and season, and label a sample",
        ),
    )
    text = next(text for bound, text in levels if separability < bound)
    worst = sorted((band for band in bands if band.stability > _LARGE), key=lambda band: -band.stability)
    sentences = [f"{text} (a classifier tells them apart with an AUC of {separability:.2f}; 0.5 is chance)"]
    if worst:
        named = ", ".join(f"{band.modality} {band.band} {band.stability:.2f}" for band in worst[:3])
        more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
        sentences.append(f"bands whose values moved (stability index above {_LARGE}): {named}{more}")
    else:
        moved = sum(band.stability > _SMALL for band in bands)
        sentences.append(f"no band's values moved much (stability index at most {_LARGE}; {moved} above {_SMALL})")
    return tuple(sentences)


def channel_names(inputs: Mapping[str, Sequence[Band]], channels: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return modality and name of every channel; those of a projection are components."""
    return [
        (name, _band_name(bands[index], index) if len(bands) == channels[name] else f"component {index + 1}")
        for name, bands in inputs.items()
        for index in range(channels[name])
    ]


def _band_name(band: Band, index: int) -> str:
    if band.role or band.name:
        return band.role or band.name
    return f"{band.wavelength_nm:.0f} nm" if band.wavelength_nm is not None else f"band {index + 1}"


def _band(modality: str, name: str, source: np.ndarray, target: np.ndarray) -> BandDrift:
    low, high = np.quantile(source, _RANGE)
    outside = float(((target < low) | (target > high)).mean())
    stability = round(stability_index(source, target), 4)
    return BandDrift(modality=modality, band=name, stability=stability, outside=round(outside, 4))


def _square(reader: SceneReader, rng: np.random.Generator) -> np.ndarray:
    """Return the valid pixels float32 [N, C] of a square at a random place."""
    grid = reader.scene.grid
    height, width = min(_SIDE_PX, grid.height), min(_SIDE_PX, grid.width)
    row, col = int(rng.integers(grid.height - height + 1)), int(rng.integers(grid.width - width + 1))
    patch, valid = reader(Window(row, col, height, width))
    return np.concatenate([values[:, valid] for values in patch.values()]).T
