"""Features of a pixel: its bands, and their means and standard deviations in windows around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.data import City, Normalizer
from c2seg.data.pca import principal_components
from c2seg.recipes.models import ForestModel

__all__ = ["FeatureSpec", "augment_radiometry", "features", "fit_projections", "halo_px"]


@dataclass(frozen=True)
class FeatureSpec:
    """Window sides of means and standard deviations; projections float32 [components, bands] of many-band modalities."""

    mean_px: tuple[int, ...]
    std_px: tuple[int, ...]
    projections: Mapping[str, np.ndarray]


def halo_px(spec: FeatureSpec) -> int:
    """Return the margin around a window that its features depend on."""
    return max((size // 2 for size in (*spec.mean_px, *spec.std_px)), default=0)


def features(patch: Mapping[str, np.ndarray], valid: np.ndarray, spec: FeatureSpec, order: Sequence[str]) -> np.ndarray:
    """Return the features float32 [F, H, W] of a patch without its halo.

    ``patch``: normalized float32 [C, H + 2 halo, W + 2 halo] by modality, 0 where not ``valid``. Means and standard deviations
    are over valid pixels only.
    """
    from scipy.ndimage import uniform_filter

    bands = np.concatenate([_project(patch[name], spec.projections.get(name)) for name in order])
    halo = halo_px(spec)
    inner = (slice(None), slice(halo, bands.shape[1] - halo), slice(halo, bands.shape[2] - halo))
    weight = valid.astype(np.float64)

    def box(stack: np.ndarray, size: int) -> np.ndarray:
        # mode constant: nothing is valid outside the patch; float64, since running sums lose digits.
        return np.asarray(uniform_filter(stack, (0, size, size) if stack.ndim == 3 else size, mode="constant"))

    valid_fraction = {s: np.maximum(box(weight, s), 1e-9) for s in {*spec.mean_px, *spec.std_px}}
    stacks = [bands[inner]]
    exact = bands.astype(np.float64)
    means = {s: box(exact, s) / valid_fraction[s] for s in {*spec.mean_px, *spec.std_px}}
    stacks += [means[s][inner] for s in spec.mean_px]
    for size in spec.std_px:
        variance = box(exact * exact, size) / valid_fraction[size] - means[size] ** 2
        stacks.append(np.sqrt(np.maximum(variance, 0.0))[inner])
    return np.concatenate(stacks).astype(np.float32)


def augment_radiometry(
    samples: np.ndarray,
    spec: FeatureSpec,
    augmentations: int,
    gain_std: float,
    offset_std: float,
    seed: int,
) -> np.ndarray:
    """Return float32 [N (1 + augmentations), F]: the samples [N, F], then copies with other gains and offsets of their bands.

    Per sample and band, values and means become ``(x - mean) g + mean + std o``, standard deviations ``|g| x``. Here
    g ~ N(1, gain_std) and o ~ N(0, offset_std); ``mean`` and ``std`` are those of the band over the samples. These are the
    features of a city with such gains and offsets. A pixel and its surroundings have the same gain, which preserves texture.
    """
    if not augmentations:
        return samples
    rng = np.random.default_rng((seed, 1))
    linear = 1 + len(spec.mean_px)
    bands = samples.shape[1] // (linear + len(spec.std_px))
    mean, std = samples[:, :bands].mean(axis=0), samples[:, :bands].std(axis=0)
    out = np.tile(samples, (1 + augmentations, 1))
    changed = out[len(samples) :].reshape(augmentations * len(samples), linear + len(spec.std_px), bands)
    gain = np.asarray(1.0 + gain_std * rng.standard_normal((len(changed), 1, bands), np.float32))
    offset = np.asarray(offset_std * rng.standard_normal((len(changed), 1, bands), np.float32))
    changed[:, :linear] = (changed[:, :linear] - mean) * gain + mean + offset * std
    changed[:, linear:] *= np.abs(gain)
    return out


def fit_projections(
    cities: Sequence[tuple[City, Normalizer]], names: Sequence[str], model: ForestModel
) -> dict[str, np.ndarray]:
    """Return principal components float32 [max_bands, C] of each modality with more bands, over all valid pixels.

    They are fitted on all normalized sources together and apply unchanged to every city, so that components are comparable.
    """
    scenes = [(scene, normalizer) for city, normalizer in cities for scene in city.scenes]
    return {
        name: principal_components(scenes, name, model.max_bands).axes
        for name in names
        if cities[0][0].scenes[0].modality(name).count > model.max_bands and name not in cities[0][1].projection
    }


def _project(bands: np.ndarray, projection: np.ndarray | None) -> np.ndarray:
    if projection is None:
        return bands
    height, width = bands.shape[1:]
    return np.asarray(projection @ bands.reshape(bands.shape[0], -1)).reshape(-1, height, width)
