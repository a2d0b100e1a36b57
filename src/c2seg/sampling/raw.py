"""Patches as they travel to a device that augments them: raw native cells, and what the augmentation draws.

The random numbers are those of ``PatchSampler.load``: augmented on a device or by the loader, a patch has the same values up
to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.sampling.augment import Radiometry, augment_geometry, draw_radiometry, dropped_modality
from c2seg.sampling.light import Light, Optics
from c2seg.sampling.patches import Draw, PatchSampler, TrainingScene, pasted
from c2seg.sampling.zoom import nearest
from c2seg.types import Window

__all__ = ["RawBands", "RawPatch", "RawSample", "RawWindow", "load_raw"]


@dataclass(frozen=True)
class RawBands:
    """Raw values [C, h, w] of the native cells of a window, and the cell of each of its rows and columns, int64 [H], [W]."""

    cells: np.ndarray
    rows: np.ndarray
    cols: np.ndarray


@dataclass(frozen=True)
class RawWindow:
    """A square window of a scene: bands by modality, and validity bool [H, H]."""

    scene: TrainingScene
    bands: Mapping[str, RawBands]
    valid: np.ndarray


@dataclass(frozen=True)
class RawPatch:
    """A window, and what becomes of it; see ``PatchSampler``."""

    window: RawWindow
    radiometry: Mapping[str, Radiometry]
    """By modality; empty: not changed."""
    turns: int
    flip: bool
    dropped: str | None = None
    """The modality that is set to 0."""
    style: RawWindow | None = None
    """The window of the target whose amplitudes the patch takes (FDA)."""
    light: tuple[Mapping[str, Optics], Light] | None = None
    """The other light of the patch, and the optics of its modalities."""


@dataclass(frozen=True)
class RawSample:
    """Patches of a step, with valid bool [B, S, S] and targets uint8 [B, S, S] or None in their final form.

    ``patches`` begins with the B of the step; others follow of which only rectangles are seen. ``cuts`` has for each of the B
    the index of another patch and a rectangle that comes from it (CutMix), or None.
    """

    patches: tuple[RawPatch, ...]
    cuts: tuple[tuple[int, tuple[slice, slice]] | None, ...]
    valid: np.ndarray
    targets: np.ndarray | None
    size_px: int
    resamples_last: bool
    """True if windows are resampled after all else, not before the changes of radiometry."""


def load_raw(sampler: PatchSampler, draws: Sequence[Draw]) -> RawSample:
    """Read the patches of the given draws, and draw their augmentation, without applying it to images."""
    cuts = [sampler.cut(draw) for draw in draws]
    order = {draw.key: draw for draw in [*draws, *(cut[0] for cut in cuts if cut is not None)]}
    index = {key: number for number, key in enumerate(order)}
    patches = {key: _patch(sampler, draw) for key, draw in order.items()}
    masks = [_mask(sampler, draw, patches[draw.key].window.valid) for draw in draws]
    targets = [sampler.targets_of(draw) for draw in draws]
    for number, cut in enumerate(cuts):
        if cut is None:
            continue
        other, box = cut
        masks[number] = pasted(masks[number], _mask(sampler, other, patches[other.key].window.valid), box)
        theirs, target = sampler.targets_of(other), targets[number]
        targets[number] = None if target is None or theirs is None else pasted(target, theirs, box)
    labeled = [target for target in targets if target is not None]
    return RawSample(
        tuple(patches.values()),
        tuple(None if cut is None else (index[cut[0].key], cut[1]) for cut in cuts),
        np.stack(masks),
        np.stack(labeled) if labeled else None,
        sampler.size_px,
        sampler.resamples_last,
    )


def _patch(sampler: PatchSampler, draw: Draw) -> RawPatch:
    scene, augment = sampler.scenes[draw.scene], sampler.augment
    side = draw.window.height if sampler.resamples_last else sampler.size_px
    inputs = scene.reader.inputs
    shapes = {name: (len(scene.units.mean[name]), side, side) for name in inputs}
    style = sampler.style(draw)
    return RawPatch(
        raw_window(scene, draw.window),
        draw_radiometry(shapes, scene.units, augment, np.random.default_rng((*draw.key, 1))),
        draw.turns,
        draw.flip,
        dropped_modality(tuple(inputs), augment.modality_dropout, np.random.default_rng((*draw.key, 2))),
        None if style is None else raw_window(*style),
        sampler.light(draw),
    )


def raw_window(scene: TrainingScene, window: Window) -> RawWindow:
    """Read a window of a scene without scaling, normalizing or upsampling it."""
    images = scene.reader.scene
    bands, valid = {}, np.ones((window.height, window.width), bool)
    for name in scene.reader.inputs:
        cells, valid_here = images.read_raw(name, window)
        bands[name] = RawBands(cells, *images.modality(name).relation.nearest(window))
        valid &= valid_here
    return RawWindow(scene, bands, valid)


def _mask(sampler: PatchSampler, draw: Draw, valid: np.ndarray) -> np.ndarray:
    return augment_geometry(nearest(valid, sampler.size_px), draw.turns, draw.flip)
