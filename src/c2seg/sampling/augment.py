"""Augmentation of patches: flips and quarter turns of all modalities; gain, offset, noise and FDA per band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, rfft2

from c2seg.data import BandStatistics, Normalizer, Patch
from c2seg.recipes.training import Augmentation

__all__ = [
    "BandUnits",
    "Radiometry",
    "apply_fda",
    "augment_geometry",
    "augment_radiometry",
    "cut_box",
    "draw_radiometry",
    "drop_modality",
    "dropped_modality",
    "low_frequencies",
]


@dataclass(frozen=True)
class BandUnits:
    """Mean and standard deviation of each band after normalization, float32 [C] by modality.

    Radiometric augmentations are relative to them. So they have the same strength for digital numbers, reflectance and dB,
    and under every normalization.
    """

    mean: Mapping[str, np.ndarray]
    std: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, normalizer: Normalizer, statistics: Mapping[str, BandStatistics]) -> BandUnits:
        """Return the mean and standard deviation of bands with these statistics after this normalization.

        Projected channels are assumed to have mean 0 and standard deviation 1, as principal components do.
        """
        means, stds = {}, {}
        for name, band_statistics in statistics.items():
            if name in normalizer.projection:
                channels = len(normalizer.projection[name])
                means[name], stds[name] = np.zeros(channels, np.float32), np.ones(channels, np.float32)
                continue
            factor = normalizer.factor[name]
            means[name] = ((band_statistics.mean - normalizer.shift[name]) * factor).astype(np.float32)
            stds[name] = (band_statistics.std * factor).astype(np.float32)
        return cls(means, stds)


def augment_geometry(array: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Return a view of [..., H, W], rotated by ``turns`` x 90 degrees, then flipped left to right if ``flip``."""
    rotated = np.rot90(array, turns, axes=(-2, -1))
    return rotated[..., ::-1] if flip else rotated


@dataclass(frozen=True)
class Radiometry:
    """What ``augment_radiometry`` draws for a modality: ``values * gain + offset + noise * noise_std``; all float32.

    ``gain``, ``offset`` and ``noise_std`` are [C, 1, 1], ``noise`` [C, H, W] or None.
    """

    gain: np.ndarray
    offset: np.ndarray
    noise: np.ndarray | None
    noise_std: np.ndarray


def draw_radiometry(
    shapes: Mapping[str, tuple[int, ...]], units: BandUnits, settings: Augmentation, rng: np.random.Generator
) -> dict[str, Radiometry]:
    """Return the changes of a patch whose modalities have these shapes (C, H, W), drawn in this order; {} for none."""
    if not (settings.gain_std or settings.offset_std or settings.noise_std):
        return {}
    drawn = {}
    for name, shape in shapes.items():
        mean, std = units.mean[name], units.std[name]
        gain = np.asarray(1.0 + settings.gain_std * rng.standard_normal(shape[0], np.float32))
        shift = np.asarray(settings.offset_std * rng.standard_normal(shape[0], np.float32))
        offset = shift * std + mean * (1.0 - gain)
        noise = rng.standard_normal(shape, np.float32) if settings.noise_std else None
        noise_std = std * np.float32(settings.noise_std)
        drawn[name] = Radiometry(gain[:, None, None], offset[:, None, None], noise, noise_std[:, None, None])
    return drawn


def augment_radiometry(
    patch: Patch, valid: np.ndarray, units: BandUnits, settings: Augmentation, rng: np.random.Generator
) -> Patch:
    """Return the patch with, per band, ``(x - mean) g + mean + std (o + n)``; invalid pixels stay 0.

    g ~ N(1, gain_std) and o ~ N(0, offset_std) once per band, n ~ N(0, noise_std) per pixel. Modalities are drawn in the
    order of the patch.
    """
    drawn = draw_radiometry({name: values.shape for name, values in patch.items()}, units, settings, rng)
    changed, whole = dict(patch), valid.all()
    for name, change in drawn.items():
        out = patch[name] * change.gain
        out += change.offset
        if change.noise is not None:
            out += np.multiply(change.noise, change.noise_std, out=change.noise)  # drawn for this patch alone
        if not whole:
            out *= valid
        changed[name] = out
    return changed


def drop_modality(patch: Patch, probability: float, rng: np.random.Generator) -> Patch:
    """Return the patch; with the given probability, one of its modalities (drawn uniformly) is 0 everywhere.

    A patch of one modality is returned unchanged. Modality dropout: Neverova et al., TPAMI 2016.
    """
    name = dropped_modality(tuple(patch), probability, rng)
    return patch if name is None else patch | {name: np.zeros_like(patch[name])}


def dropped_modality(names: Sequence[str], probability: float, rng: np.random.Generator) -> str | None:
    """Return the modality that ``drop_modality`` sets to 0, if any."""
    if len(names) < 2 or rng.random() >= probability:
        return None
    return names[int(rng.integers(len(names)))]


def cut_box(size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a random rectangle in a square patch; its sides are 1/4 to 3/4 of the patch's."""
    height, width = (int(side) for side in rng.integers(max(1, size // 4), 3 * size // 4 + 1, 2))
    row, col = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    return slice(row, row + height), slice(col, col + width)


def apply_fda(patch: Patch, valid: np.ndarray, target: Patch, target_valid: np.ndarray, beta: float) -> Patch:
    """Return the patch with, per band, the low-frequency amplitudes of a target patch (FDA, Yang and Soatto, CVPR 2020).

    Both patches are square and of one size. Frequencies of at most ``int(beta * side)`` cycles in rows and columns are
    replaced; phases are kept. Departure: the mean is the target's, with its sign. (FDA was defined on positive values, where
    this is the same, but normalized bands have means of either sign.) Invalid pixels count as the mean of their band and
    stay 0. If one of the two has no valid pixel, the patch is returned unchanged.
    """
    if not (valid.any() and target_valid.any()):
        return patch
    size = len(valid)
    low = np.ix_(*low_frequencies(size, beta))
    changed = {}
    for name, values in patch.items():
        spectrum = rfft2(_filled(values, valid))
        source_low, target_low = spectrum[:, *low], rfft2(_filled(target[name], target_valid))[:, *low]
        amplitude = np.abs(source_low)
        direction = np.where(amplitude > 0, source_low / np.where(amplitude > 0, amplitude, 1), 1)
        replaced = np.abs(target_low) * direction
        replaced[:, 0, 0] = target_low[:, 0, 0]
        spectrum[:, *low] = replaced
        changed[name] = irfft2(spectrum, s=(size, size)) * valid
    return changed


def low_frequencies(size: int, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the frequencies that ``apply_fda`` replaces in a spectrum ``rfft2`` of a square."""
    reach = int(beta * size)
    return np.r_[0 : reach + 1, size - reach : size], np.arange(reach + 1)  # the other half follows by symmetry


def _filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return bands [C, H, W] with invalid pixels set to the mean of their band."""
    if valid.all():
        return values
    means = values[:, valid].mean(axis=1)
    return np.where(valid, values, means[:, None, None])
