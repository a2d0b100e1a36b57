"""Normalization and augmentation of patches on the device of a training.

Each function computes what its namesake in ``sampling`` or ``data`` does; values agree within 1e-5 of a band's deviation.
Axes: C channel, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from c2seg.data import Modality, Normalizer
from c2seg.methods import Batch
from c2seg.sampling import low_frequencies
from c2seg.sampling.light import NDVI_LEAST, Optics, light_factors
from c2seg.sampling.patches import TrainingScene
from c2seg.sampling.raw import RawBands, RawPatch, RawSample, RawWindow
from c2seg.sampling.zoom import axis_weights
from c2seg.train.resampling import nearest, resampled

__all__ = ["DeviceAugmentation", "apply_fda", "raw_arrays", "to_normal"]

_SIGNED = {np.dtype(np.uint16): np.int16, np.dtype(np.uint32): np.int32}
"""Unsigned types whose bits travel as signed ones: devices compute with few operators on them."""


def raw_arrays(sample: RawSample) -> list[np.ndarray]:
    """Return the arrays of a sample that travel, in the order in which ``DeviceAugmentation`` takes their tensors."""
    arrays = [sample.valid, *(() if sample.targets is None else (sample.targets,))]
    for patch in sample.patches:
        for window in (patch.window, *(() if patch.style is None else (patch.style,))):
            arrays.append(window.valid)
            for bands in window.bands.values():
                arrays += [bands.cells.view(_SIGNED.get(bands.cells.dtype, bands.cells.dtype)), bands.rows, bands.cols]
        if patch.light is not None:
            arrays += [light_factors(optics, patch.light[1]) for optics in patch.light[0].values()]
        for change in patch.radiometry.values():
            arrays += [change.gain, change.offset, change.noise_std]
            arrays += [] if change.noise is None else [change.noise]
    return arrays


class _Tensors:
    """The tensors of a sample, in order."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._rest = iter(tensors)

    def take(self) -> Tensor:
        return next(self._rest)


@dataclass(frozen=True)
class _Bands:
    """What normalizes the raw values of a modality, on the device; see ``Modality.scaled`` and ``Normalizer.apply``."""

    scale: Tensor | None
    offset: Tensor | None
    shift: Tensor
    factor: Tensor | None
    projection: Tensor | None
    knots: Tensor | None

    @classmethod
    def of(cls, name: str, stack: Modality, normalizer: Normalizer, device: torch.device) -> _Bands:
        def by_band(values: object) -> Tensor:
            return torch.as_tensor(np.asarray(values, np.float32).reshape(-1, 1, 1), device=device)

        shift, factor = normalizer.shift[name], normalizer.factor[name]
        knots, projection = normalizer.knots.get(name), normalizer.projection.get(name)
        if knots is not None:
            shift, factor = np.zeros_like(shift), np.ones_like(factor)
        if projection is not None:
            projection = projection * factor
            shift, factor = projection @ shift, np.ones(len(projection), np.float32)
        return cls(
            None if stack.scale == 1.0 else by_band(stack.scale),
            None if stack.offset == 0.0 else by_band(stack.offset),
            by_band(shift),
            None if projection is not None else by_band(factor),
            None if projection is None else torch.as_tensor(projection, device=device),
            None if knots is None else torch.as_tensor(knots, device=device),
        )

    def normalized(self, values: Tensor) -> Tensor:
        """Return normalized channels float32 of raw values [C, h, w]."""
        values = values.float()
        if self.scale is not None:
            values = values * self.scale
        if self.offset is not None:
            values = values + self.offset
        if self.knots is not None:
            values = to_normal(values, self.knots)
        if self.projection is not None:
            values = (self.projection @ values.flatten(1)).reshape(-1, *values.shape[1:])
        values = values - self.shift
        return values if self.factor is None else values * self.factor


@dataclass
class DeviceAugmentation:
    """Makes batches of raw samples whose arrays have arrived on a device."""

    device: torch.device
    beta: float = 0.0
    """Of FDA; see ``apply_fda``."""
    _bands: dict[tuple[int, str], _Bands] = field(default_factory=dict, repr=False)
    _scenes: list[TrainingScene] = field(default_factory=list, repr=False)
    """Held, so that no other scene gets the identity of one of them."""

    def __call__(self, sample: RawSample, arrays: list[Tensor]) -> Batch:
        """Return the batch of a sample; ``arrays`` are its ``raw_arrays`` on the device."""
        tensors = _Tensors(arrays)
        valid = tensors.take()
        targets = None if sample.targets is None else tensors.take().long()
        images = [self._image(patch, sample, tensors) for patch in sample.patches]
        merged = [dict(image) for image in images[: len(sample.cuts)]]
        for image, cut in zip(merged, sample.cuts, strict=True):
            if cut is not None:
                other, box = cut
                for name, values in image.items():
                    image[name] = _pasted(values, images[other][name], box)
        patch = {
            name: torch.stack([image[name] for image in merged]).contiguous(memory_format=torch.channels_last)
            for name in merged[0]
        }
        return Batch(patch, valid, targets)

    def _image(self, patch: RawPatch, sample: RawSample, tensors: _Tensors) -> dict[str, Tensor]:
        size = None if sample.resamples_last else sample.size_px
        image, valid = self._window(patch.window, tensors, size)
        if patch.style is not None:
            style, style_valid = self._window(patch.style, tensors, size)
            if patch.window.valid.any() and patch.style.valid.any():
                image = apply_fda(image, valid, style, style_valid, self.beta)
        for name, optics in patch.light[0].items() if patch.light is not None else ():
            image[name] = _lit(image[name], valid, optics, tensors.take())
        for name, change in patch.radiometry.items():
            gain, offset, noise_std = tensors.take(), tensors.take(), tensors.take()
            values = image[name] * gain + offset
            if change.noise is not None:
                values += tensors.take() * noise_std
            image[name] = values * valid
        if patch.dropped is not None:
            image[patch.dropped] = torch.zeros_like(image[patch.dropped])
        image = {name: _turned(values, patch) for name, values in image.items()}
        if not sample.resamples_last or len(valid) == sample.size_px:
            return image
        whole = bool(patch.window.valid.all())
        seen = _turned(valid, patch)
        return {name: resampled(values, seen, sample.size_px, whole=whole) for name, values in image.items()}

    def _window(self, window: RawWindow, tensors: _Tensors, size: int | None) -> tuple[dict[str, Tensor], Tensor]:
        """Return normalized channels [C, H, H] by modality, and validity, of a window; resampled to ``size`` if given."""
        valid = tensors.take()
        image = {}
        for name, bands in window.bands.items():
            cells, rows, cols = tensors.take(), tensors.take(), tensors.take()
            values = self._of(window.scene, name).normalized(_unsigned(cells, bands))
            if values.shape[1:] != valid.shape:
                values = values[:, rows[:, None], cols]
            image[name] = values.where(valid, values.new_zeros(()))
        if size is None or len(valid) == size:
            return image, valid
        return self._zoomed(image, valid, size, whole=bool(window.valid.all()))

    def _zoomed(
        self, image: dict[str, Tensor], valid: Tensor, size: int, *, whole: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return what ``sampling.zoom.zoomed`` returns."""
        weights = torch.as_tensor(axis_weights(len(valid), size), device=self.device)
        zoomed = {name: weights @ values @ weights.T for name, values in image.items()}
        new_valid = nearest(valid, size)
        if whole:
            return zoomed, new_valid
        covered = weights @ valid.float() @ weights.T
        factor = new_valid / covered.where(new_valid, covered.new_ones(()))
        return {name: values * factor for name, values in zoomed.items()}, new_valid

    def _of(self, scene: TrainingScene, name: str) -> _Bands:
        key = id(scene), name
        if key not in self._bands:
            reader = scene.reader
            self._scenes.append(scene)
            self._bands[key] = _Bands.of(name, reader.scene.modality(name), reader.normalizer, self.device)
        return self._bands[key]


def _lit(values: Tensor, valid: Tensor, optics: Optics, factors: Tensor) -> Tensor:
    """Return what ``sampling.light.changed_light`` returns of a modality; ``factors``: its ``light_factors``."""
    leaves, slope, added, level, width = factors
    reflectance = values * width + level
    if optics.vegetation_bands is not None:
        red, infrared = (reflectance[band] for band in optics.vegetation_bands)
        index = ((infrared - red) / (red + infrared).clamp(min=float(NDVI_LEAST))).clamp(0, 1)
        reflectance = reflectance * (1 + index * leaves)
    changed = (slope * reflectance + added - level) / width.where(width > 0, torch.ones_like(width))
    lit: Tensor = changed.where(width > 0, changed.new_zeros(())) * valid
    return lit


def _unsigned(cells: Tensor, bands: RawBands) -> Tensor:
    """Return values of unsigned types as integers that hold them."""
    if bands.cells.dtype == np.uint16:
        return cells.int() & 0xFFFF
    return cells.long() & 0xFFFFFFFF if bands.cells.dtype == np.uint32 else cells


def _turned(values: Tensor, patch: RawPatch) -> Tensor:
    turned = torch.rot90(values, patch.turns, dims=(-2, -1)) if patch.turns else values
    return turned.flip(-1) if patch.flip else turned


def _pasted(values: Tensor, other: Tensor, box: tuple[slice, slice]) -> Tensor:
    out = values.clone()
    out[..., box[0], box[1]] = other[..., box[0], box[1]]
    return out


def to_normal(values: Tensor, knots: Tensor) -> Tensor:
    """Transform float32 [C, H, W] by knots float64 [2, C, Q]: linear between them, constant beyond."""
    flat = values.flatten(1).double()
    known, scores = knots[0].contiguous(), knots[1]
    last = known.shape[1] - 1
    high = torch.searchsorted(known, flat, right=True).clamp(1, last)
    low = high - 1
    start_value, end_value = known.gather(1, low), known.gather(1, high)
    step = end_value - start_value
    part = ((flat - start_value) / step.where(step > 0, torch.ones_like(step))).clamp(0, 1)
    part = torch.where(step > 0, part, (flat >= end_value).double())
    start, end = scores.gather(1, low), scores.gather(1, high)
    return (start + part * (end - start)).float().reshape(values.shape)


def apply_fda(
    patch: Mapping[str, Tensor], valid: Tensor, target: Mapping[str, Tensor], target_valid: Tensor, beta: float
) -> dict[str, Tensor]:
    """Return the patch with the low-frequency amplitudes of a target patch; both have a valid pixel."""
    size = len(valid)
    rows, cols = (torch.as_tensor(places, device=valid.device) for places in low_frequencies(size, beta))
    changed = {}
    for name, values in patch.items():
        spectrum = torch.fft.rfft2(_filled(values, valid))
        low = spectrum[:, rows[:, None], cols]
        other = torch.fft.rfft2(_filled(target[name], target_valid))[:, rows[:, None], cols]
        amplitude = low.abs()
        direction = torch.where(amplitude > 0, low / amplitude.where(amplitude > 0, amplitude.new_ones(())), 1)
        replaced = other.abs() * direction
        replaced[:, 0, 0] = other[:, 0, 0]
        spectrum[:, rows[:, None], cols] = replaced
        changed[name] = torch.fft.irfft2(spectrum, s=(size, size)) * valid
    return changed


def _filled(values: Tensor, valid: Tensor) -> Tensor:
    """Return bands [C, H, W], 0 where invalid, with invalid pixels set to the mean of their band."""
    means = values.sum(dim=(1, 2)) / valid.sum()
    return values.where(valid, means[:, None, None])
