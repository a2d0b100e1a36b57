"""Features of a pixel: its bands, their means and standard deviations in windows around it. Computed by window + halo."""

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
    """Window sides of the means and deviations, and projections float32 [components, bands] of many-band modalities."""

    mean_px: tuple[int, ...]
    std_px: tuple[int, ...]
    projections: Mapping[str, np.ndarray]


def halo_px(spec: FeatureSpec) -> int:
    """Return the margin around a window that its features depend on."""
    return max((size // 2 for size in (*spec.mean_px, *spec.std_px)), default=0)


def features(patch: Mapping[str, np.ndarray], valid: np.ndarray, spec: FeatureSpec, order: Sequence[str]) -> np.ndarray:
    """Return float32 [F, H, W] of a patch whose halo is cut off.

    ``patch`` holds normalized float32 [C, H + 2 halo, W + 2 halo] by modality (0 where not ``valid``); means and
    deviations are over valid pixels only.
    """
    from scipy.ndimage import uniform_filter

    bands = np.concatenate([_project(patch[name], spec.projections.get(name)) for name in order])
    halo = halo_px(spec)
    inner = (slice(None), slice(halo, bands.shape[1] - halo), slice(halo, bands.shape[2] - halo))
    weight = valid.astype(np.float64)

    def box(stack: np.ndarray, size: int) -> np.ndarray:
        # mode constant: outside the patch nothing is valid; in float64, since running sums lose digits.
        return np.asarray(uniform_filter(stack, (0, size, size) if stack.ndim == 3 else size, mode="constant"))

    share = {s: np.maximum(box(weight, s), 1e-9) for s in {*spec.mean_px, *spec.std_px}}
    stacks = [bands[inner]]
    wide = bands.astype(np.float64)
    means = {s: box(wide, s) / share[s] for s in {*spec.mean_px, *spec.std_px}}
    stacks += [means[s][inner] for s in spec.mean_px]
    for size in spec.std_px:
        variance = box(wide * wide, size) / share[size] - means[size] ** 2
        stacks.append(np.sqrt(np.maximum(variance, 0.0))[inner])
    return np.concatenate(stacks).astype(np.float32)


def augment_radiometry(
    samples: np.ndarray,
    spec: FeatureSpec,
    copies: int,
    gain_std: float,
    offset_std: float,
    seed: int,
) -> np.ndarray:
    """Return float32 [N (1 + copies), F]: the samples [N, F], then copies as if their bands had other gains and offsets.

    Per sample and band, values and means become ``(x - center) g + center + spread o``, deviations ``|g| x``, with
    g ~ N(1, gain_std), o ~ N(0, offset_std), and center and spread the band's mean and deviation over the samples:
    what the features of such a changed city would be. One gain for a pixel and its surroundings keeps texture.
    """
    if not copies:
        return samples
    rng = np.random.default_rng((seed, 1))
    linear = 1 + len(spec.mean_px)
    bands = samples.shape[1] // (linear + len(spec.std_px))
    center, spread = samples[:, :bands].mean(axis=0), samples[:, :bands].std(axis=0)
    out = np.tile(samples, (1 + copies, 1))
    changed = out[len(samples) :].reshape(copies * len(samples), linear + len(spec.std_px), bands)
    gain = np.asarray(1.0 + gain_std * rng.standard_normal((len(changed), 1, bands), np.float32))
    offset = np.asarray(offset_std * rng.standard_normal((len(changed), 1, bands), np.float32))
    changed[:, :linear] = (changed[:, :linear] - center) * gain + center + offset * spread
    changed[:, linear:] *= np.abs(gain)
    return out


def fit_projections(
    cities: Sequence[tuple[City, Normalizer]], names: Sequence[str], model: ForestModel
) -> dict[str, np.ndarray]:
    """Return principal components float32 [max_bands, C] of each modality with more bands, over all valid pixels.

    Fitted on the normalized sources together and applied unchanged to every city, so that components mean the same.
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
