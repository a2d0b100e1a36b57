"""Changes to a patch: flips and quarter turns for all modalities alike, gain, offset and noise for each band by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from c2seg.data import BandStatistics, Normaliser, Patch
from c2seg.recipes.schema import Augmentation

__all__ = ["BandUnits", "augment_geometry", "augment_radiometry", "drop_modality"]


@dataclass(frozen=True)
class BandUnits:
    """Mean and standard deviation of each band after normalisation, float32 [C] by modality.

    Radiometric changes are made in these units around the mean, so that they mean the same for digital numbers,
    reflectance and dB, and under every normalisation.
    """

    centre: Mapping[str, np.ndarray]
    spread: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, normaliser: Normaliser, statistics: Mapping[str, BandStatistics]) -> BandUnits:
        """Return the units of bands with these statistics after this normalisation.

        Channels that are mixed of several bands are taken to have mean 0 and deviation 1, as principal components have.
        """
        centre, spread = {}, {}
        for name, found in statistics.items():
            if name in normaliser.mixing:
                channels = len(normaliser.mixing[name])
                centre[name], spread[name] = np.zeros(channels, np.float32), np.ones(channels, np.float32)
                continue
            factor = normaliser.factor[name]
            centre[name] = ((found.mean - normaliser.shift[name]) * factor).astype(np.float32)
            spread[name] = (found.std * factor).astype(np.float32)
        return cls(centre, spread)


def augment_geometry(array: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Return [..., H, W] turned by ``turns`` x 90 degrees, then mirrored left to right if ``flip``. A view."""
    turned = np.rot90(array, turns, axes=(-2, -1))
    return turned[..., ::-1] if flip else turned


def augment_radiometry(
    patch: Patch, valid: np.ndarray, units: BandUnits, settings: Augmentation, rng: np.random.Generator
) -> Patch:
    """Return the patch with, per band, ``(x - centre) g + centre + spread (o + n)``; 0 stays where not valid.

    g ~ N(1, gain_std) and o ~ N(0, offset_std) once per band, n ~ N(0, noise_std) per pixel. Modalities are drawn in the
    order of the patch.
    """
    if not (settings.gain_std or settings.offset_std or settings.noise_std):
        return patch
    changed = {}
    for name, values in patch.items():
        bands = values.shape[0]
        centre, spread = units.centre[name], units.spread[name]
        gain = np.asarray(1.0 + settings.gain_std * rng.standard_normal(bands, np.float32))
        shift = np.asarray(settings.offset_std * rng.standard_normal(bands, np.float32))
        offset = shift * spread + centre * (1.0 - gain)
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
