"""Changes to a patch: flips and quarter turns for all modalities alike, gain, offset, noise, style for each band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, rfft2

from c2seg.data import BandStatistics, Normalizer, Patch
from c2seg.recipes.training import Augmentation

__all__ = ["BandUnits", "augment_geometry", "augment_radiometry", "cut_box", "drop_modality", "restyle"]


@dataclass(frozen=True)
class BandUnits:
    """Mean and standard deviation of each band after normalization, float32 [C] by modality.

    Radiometric changes are made in these units around the mean, so that they mean the same for digital numbers,
    reflectance and dB, and under every normalization.
    """

    center: Mapping[str, np.ndarray]
    spread: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, normalizer: Normalizer, statistics: Mapping[str, BandStatistics]) -> BandUnits:
        """Return the units of bands with these statistics after this normalization.

        Channels that are mixed of several bands are taken to have mean 0 and deviation 1, as principal components have.
        """
        center, spread = {}, {}
        for name, found in statistics.items():
            if name in normalizer.projection:
                channels = len(normalizer.projection[name])
                center[name], spread[name] = np.zeros(channels, np.float32), np.ones(channels, np.float32)
                continue
            factor = normalizer.factor[name]
            center[name] = ((found.mean - normalizer.shift[name]) * factor).astype(np.float32)
            spread[name] = (found.std * factor).astype(np.float32)
        return cls(center, spread)


def augment_geometry(array: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Return [..., H, W] turned by ``turns`` x 90 degrees, then mirrored left to right if ``flip``. A view."""
    turned = np.rot90(array, turns, axes=(-2, -1))
    return turned[..., ::-1] if flip else turned


def augment_radiometry(
    patch: Patch, valid: np.ndarray, units: BandUnits, settings: Augmentation, rng: np.random.Generator
) -> Patch:
    """Return the patch with, per band, ``(x - center) g + center + spread (o + n)``; 0 stays where not valid.

    g ~ N(1, gain_std) and o ~ N(0, offset_std) once per band, n ~ N(0, noise_std) per pixel. Modalities are drawn in the
    order of the patch.
    """
    if not (settings.gain_std or settings.offset_std or settings.noise_std):
        return patch
    changed = {}
    for name, values in patch.items():
        bands = values.shape[0]
        center, spread = units.center[name], units.spread[name]
        gain = np.asarray(1.0 + settings.gain_std * rng.standard_normal(bands, np.float32))
        shift = np.asarray(settings.offset_std * rng.standard_normal(bands, np.float32))
        offset = shift * spread + center * (1.0 - gain)
        out = values * gain[:, None, None] + offset[:, None, None]
        if settings.noise_std:
            noise: np.ndarray = rng.standard_normal(values.shape, np.float32)
            out += noise * (spread[:, None, None] * np.float32(settings.noise_std))
        out *= valid
        changed[name] = out
    return changed


def drop_modality(patch: Patch, share: float, rng: np.random.Generator) -> Patch:
    """Return the patch, with probability ``share`` with one of its modalities (drawn evenly) 0 everywhere.

    A patch of one modality is returned as it is. Modality dropout: Neverova et al., TPAMI 2016.
    """
    if len(patch) < 2 or rng.random() >= share:
        return patch
    name = tuple(patch)[rng.integers(len(patch))]
    return patch | {name: np.zeros_like(patch[name])}


def cut_box(size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a random rectangle in a square patch; its sides are a quarter to three quarters of it."""
    height, width = (int(side) for side in rng.integers(max(1, size // 4), 3 * size // 4 + 1, 2))
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    return slice(top, top + height), slice(left, left + width)


def restyle(patch: Patch, valid: np.ndarray, style: Patch, usable: np.ndarray, beta: float) -> Patch:
    """Return the patch with, per band, the amplitudes of low frequencies of another one (FDA, Yang and Soatto, CVPR 2020).

    Square patches of one size; frequencies of at most ``int(beta * side)`` cycles in rows and columns. Phases are kept, but
    the mean is the other's, sign and all: so it is where FDA was defined, on values above 0, while normalized bands have
    means of either sign. Pixels that are not ``valid`` (``usable``: of the other patch) count as the band's mean and stay 0;
    a patch is returned as it is when one of the two has none.
    """
    if not (valid.any() and usable.any()):
        return patch
    size = len(valid)
    reach = int(beta * size)
    low = np.ix_(
        np.r_[0 : reach + 1, size - reach : size], np.arange(reach + 1)
    )  # the other half follows from this one
    changed = {}
    for name, values in patch.items():
        spectrum, other = rfft2(_filled(values, valid)), rfft2(_filled(style[name], usable))
        own, wanted = spectrum[:, *low], other[:, *low]
        length = np.abs(own)
        found = np.abs(wanted) * np.where(length > 0, own / np.where(length > 0, length, 1), 1)
        found[:, 0, 0] = wanted[:, 0, 0]
        spectrum[:, *low] = found
        changed[name] = irfft2(spectrum, s=(size, size)) * valid
    return changed


def _filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return bands [C, H, W] with their means where not valid."""
    if valid.all():
        return values
    means = values[:, valid].mean(axis=1)
    return np.where(valid, values, means[:, None, None])
