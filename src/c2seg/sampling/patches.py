"""Draw patches, uniformly over the city or class-balanced.

All random numbers of step ``i`` come from generators seeded by (seed, i, slot). So neither the number of loader threads nor
a resume changes the patches.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from c2seg.data import City, LabeledCity, Patch, PreparedCity, Scene, SceneReader
from c2seg.data.city import blocks
from c2seg.errors import TrainingError
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling.augment import BandUnits, apply_fda, augment_geometry, augment_radiometry, cut_box, drop_modality
from c2seg.sampling.light import Light, Optics, changed_light, draw_light, optics_of
from c2seg.sampling.zoom import nearest, zoomed
from c2seg.types import Window

__all__ = ["Draw", "PatchSampler", "Sample", "TrainingScene", "pasted", "training_scenes"]

UNLABELED = 255
_log = logging.getLogger(__name__)
_CELL = 32
_TRIES = 10

_Loaded = tuple[Patch, np.ndarray, np.ndarray | None]
"""Bands, validity and targets of one patch, as in ``Sample`` without the first axis."""


@dataclass(frozen=True)
class TrainingScene:
    """A scene to draw patches from: reader, band units, valid bool [H, W], targets uint8 [H, W] (None without labels).

    Targets are output indices; 255 is not trained on (background, ignore, invalid, held out).
    """

    reader: SceneReader
    units: BandUnits
    valid: np.ndarray
    targets: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """One patch of a step: scene, window, quarter turns, flip, and the key that seeds its other augmentations.

    ``key`` is (seed, stream, step, slot).
    """

    scene: int
    window: Window
    turns: int
    flip: bool
    key: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """Patches of a step: float32 [B, C, H, W] by modality, valid bool [B, H, W], targets uint8 [B, H, W] or None."""

    patch: Patch
    valid: np.ndarray
    targets: np.ndarray | None
    windows: Windows | None = None
    """Given where ``patch`` is not resampled yet: valid and targets have their final size B x ``windows.size_px`` squared."""


@dataclass(frozen=True)
class Windows:
    """Windows of a city of different sizes in one array, each in the upper left corner, which become patches of ``size_px``."""

    sides: tuple[int, ...]
    valid: np.ndarray
    """Bool [B, H, W] of the windows."""
    size_px: int


def training_scenes(
    prepared: PreparedCity[City] | PreparedCity[LabeledCity],
    inputs: Sequence[str],
    *,
    use_labels: bool = True,
    background: int | None = None,
) -> list[TrainingScene]:
    """Read validity and targets of every scene of a city into memory, 1 or 2 bytes a pixel, for drawing patches.

    ``background``: the output index of pixels labeled 0; None: they are not trained on. Without labels or with
    ``use_labels=False`` there are no targets. Exception: with a fold held out, targets are 0 on pixels that may be
    trained on.
    """
    labeled = prepared.city if isinstance(prepared.city, LabeledCity) else None
    units = BandUnits.of(prepared.normalizer, prepared.statistics)
    scenes = []
    for index, reader in enumerate(prepared.readers(inputs)):
        valid, targets = _read_scene(reader.scene, labeled, index, inputs, use_labels=use_labels, background=background)
        scenes.append(TrainingScene(reader, units, valid, targets))
    return scenes


def _read_scene(
    scene: Scene,
    city: LabeledCity | None,
    index: int,
    inputs: Sequence[str],
    *,
    use_labels: bool,
    background: int | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return valid bool [H, W] and targets uint8 [H, W], or None if all valid pixels are equivalent."""
    valid = np.zeros((scene.grid.height, scene.grid.width), bool)
    has_targets = city is not None and (use_labels or city.held_out is not None)
    targets = np.full(valid.shape, UNLABELED, np.uint8) if has_targets else None
    for window in blocks(scene.grid.window, 512):
        part = window.slices
        valid[part] = scene.read_valid(inputs, window)
        if city is None or targets is None:
            continue
        if use_labels:
            targets[part] = _outputs(city, index, window, background)
        else:
            targets[part][city.trainable(index, window)] = 0
        targets[part][~valid[part]] = UNLABELED
    return valid, targets


def _outputs(city: LabeledCity, index: int, window: Window, background: int | None) -> np.ndarray:
    """Return output indices uint8 [H, W] of a window's labels; 255 is not trained on."""
    ids = city.read_label(index, window)
    outputs: np.ndarray = city.images.legend.index_table()[ids]
    if background is not None:
        outputs[ids == 0] = background
    return outputs


@dataclass(frozen=True)
class PatchSampler:
    """Draws the patches of a step from scenes and loads them.

    Raises TrainingError when no pixel can be drawn: all are invalid, or none is labeled although scenes have targets.
    """

    scenes: Sequence[TrainingScene]
    settings: Sampling
    augment: Augmentation
    seed: int
    num_classes: int
    stream: int = 0
    """Distinguishes the samplers of a run (source, target)."""
    fda_target: PatchSampler | None = None
    """Sampler of the city whose amplitudes ``augment.fda`` uses."""
    _cumulative: np.ndarray = field(init=False, repr=False)
    """int64 [K, cells]: running sums, over the cells of all scenes, of the labeled pixels of each class."""
    _optics: tuple[Mapping[str, Optics], ...] = field(init=False, repr=False, default=())
    """Of each scene, where the light is changed."""

    def __post_init__(self) -> None:
        if not any(scene.valid.any() for scene in self.scenes):
            raise TrainingError("no pixel of the training cities is valid; see c2seg inspect")
        cells = [_cell_counts(s.targets, self.num_classes) for s in self.scenes if s.targets is not None]
        counts = np.concatenate(cells) if cells else np.zeros((1, self.num_classes), np.int64)
        object.__setattr__(self, "_cumulative", np.ascontiguousarray(np.cumsum(counts, axis=0).T))
        if self.augment.light is not None:
            readers = [scene.reader for scene in self.scenes]
            optics = tuple(optics_of(reader.scene, reader.normalizer) for reader in readers)
            object.__setattr__(self, "_optics", optics)
            if not any(optics):
                _log.warning("training.augment.light changes nothing: no band has a known wavelength and reflectance")
        if self.labeled and not self.class_counts().any():
            raise TrainingError("no valid pixel of the training cities has a class label")

    @property
    def labeled(self) -> bool:
        """True if the scenes have targets."""
        return self.scenes[0].targets is not None

    def class_counts(self) -> np.ndarray:
        """Return int64 [K], the number of trainable pixels of each class."""
        return self._cumulative[:, -1]

    def draw(self, step: int) -> list[Draw]:
        """Return the draws of a step."""
        return [self.draw_one(step, slot) for slot in range(self.settings.batch_size)]

    @property
    def size_px(self) -> int:
        """Side of the patches that are trained on."""
        return round(self.settings.patch_px * self.augment.enlarge)

    @property
    def resamples_last(self) -> bool:
        """True if patches may stay windows of the city until all else is done."""
        return self.size_px != self.settings.patch_px and not self.augment.cutmix

    def load(self, draws: Sequence[Draw], *, resample: bool = True) -> Sample:
        """Read and augment the patches of the given draws.

        ``resample=False``: patches that are to be enlarged stay windows of the city; ``zoom.resampled`` makes the patches.
        """
        if self.resamples_last and not resample:
            return self._load_windows(draws)
        patches = {draw.key: self._load_one(draw) for draw in draws}
        loaded = [self._cutmix(draw, patches) for draw in draws]
        names = loaded[0][0]
        targets = [target for _, _, target in loaded if target is not None]
        return Sample(
            {name: np.stack([patch[name] for patch, _, _ in loaded]) for name in names},
            np.stack([valid for _, valid, _ in loaded]),
            np.stack(targets) if targets else None,
        )

    def _load_windows(self, draws: Sequence[Draw]) -> Sample:
        """Read and augment the windows of the given draws, without resampling their images."""
        loaded = [self._load_one(draw, resample=False) for draw in draws]
        sides = tuple(valid.shape[-1] for _, valid, _ in loaded)
        largest = max(sides)

        def padded(array: np.ndarray) -> np.ndarray:
            rest = largest - array.shape[-1]
            return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, rest)] * 2) if rest else array

        patch = {name: np.stack([padded(patch[name]) for patch, _, _ in loaded]) for name in loaded[0][0]}
        targets = [target for _, _, target in loaded if target is not None]
        valid = [valid for _, valid, _ in loaded]
        return Sample(
            patch,
            np.stack([nearest(mask, self.size_px) for mask in valid]),
            np.stack(targets) if targets else None,
            Windows(sides, np.stack([padded(mask) for mask in valid]), self.size_px),
        )

    def draw_one(self, step: int, slot: int) -> Draw:
        """Return the draw of one slot of the batch of a step."""
        key = (self.seed, self.stream, step, slot)
        rng = np.random.default_rng(key)
        # The first slots of a batch are class-balanced, so that every step has the stated fraction.
        class_balanced = self.labeled and slot < round(self.settings.class_balanced_fraction * self.settings.batch_size)
        size = self.settings.patch_px
        if self.augment.zoom is not None:
            size = max(1, round(size / rng.uniform(*self.augment.zoom)))
        scene, window = self._class_balanced(rng, size) if class_balanced else self._uniform(rng, size)
        if self.settings.cat_max_ratio is not None:
            for _ in range(_TRIES):
                if self._largest_class_fraction(scene, window) < self.settings.cat_max_ratio:
                    break
                scene, window = self._class_balanced(rng, size) if class_balanced else self._uniform(rng, size)
        turns = int(rng.integers(4)) if self.augment.rotations else 0
        flip = bool(rng.integers(2)) if self.augment.flips else False
        return Draw(scene, window, turns, flip, key)

    def _largest_class_fraction(self, scene: int, window: Window) -> float:
        """Return the fraction of the largest class among the labeled pixels of a window; 0 if there are none."""
        targets = self.scenes[scene].targets
        if targets is None:
            return 0.0
        labels = targets[window.intersect(Window(0, 0, *targets.shape)).slices]
        counts = np.bincount(labels[labels != UNLABELED], minlength=1)
        return float(counts.max() / max(1, counts.sum()))

    def _uniform(self, rng: np.random.Generator, size: int) -> tuple[int, Window]:
        """Draw a window uniformly; a window without a trainable pixel is drawn again, up to ten times."""
        areas = np.array([scene.valid.size for scene in self.scenes], np.float64)
        choice: tuple[int, Window] | None = None
        for _ in range(_TRIES):
            index = int(rng.choice(len(areas), p=areas / areas.sum()))
            scene = self.scenes[index]
            height, width = scene.valid.shape
            row = int(rng.integers(max(1, height - size + 1)))
            col = int(rng.integers(max(1, width - size + 1)))
            choice = index, Window(row, col, size, size)
            part = slice(row, row + size), slice(col, col + size)
            if (scene.targets[part] != UNLABELED).any() if scene.targets is not None else scene.valid[part].any():
                return choice
        assert choice is not None
        return self._class_balanced(rng, size) if self.labeled else choice

    def _class_balanced(self, rng: np.random.Generator, size: int) -> tuple[int, Window]:
        """Draw uniformly one of the present classes, then a pixel of it, then a window that contains the pixel."""
        present = np.flatnonzero(self.class_counts())
        label = int(rng.choice(present))
        sums = self._cumulative[label]
        pick = int(np.searchsorted(sums, rng.integers(sums[-1]), side="right"))
        index = 0
        while pick >= (cells := np.prod([-(-side // _CELL) for side in self.scenes[index].valid.shape])):
            pick -= int(cells)
            index += 1
        targets = self.scenes[index].targets
        assert targets is not None
        height, width = targets.shape
        per_row = -(-width // _CELL)
        cell_row, cell_col = pick // per_row * _CELL, pick % per_row * _CELL
        rows, cols = np.nonzero(targets[cell_row : cell_row + _CELL, cell_col : cell_col + _CELL] == label)
        chosen = int(rng.integers(len(rows)))
        row = cell_row + int(rows[chosen]) - int(rng.integers(size))
        col = cell_col + int(cols[chosen]) - int(rng.integers(size))
        row = min(max(row, 0), max(0, height - size))
        col = min(max(col, 0), max(0, width - size))
        return index, Window(row, col, size, size)

    def cut(self, draw: Draw) -> tuple[Draw, tuple[slice, slice]] | None:
        """Return the patch of the step that a rectangle of a patch comes from, and the rectangle, if drawn (CutMix)."""
        if not self.augment.cutmix or self.settings.batch_size < 2:
            return None
        rng = np.random.default_rng((*draw.key, 4))
        if rng.random() >= self.augment.cutmix:
            return None
        _, _, step, slot = draw.key
        other = self.draw_one(step, (slot + int(rng.integers(1, self.settings.batch_size))) % self.settings.batch_size)
        return other, cut_box(self.size_px, rng)

    def style(self, draw: Draw) -> tuple[TrainingScene, Window] | None:
        """Return the target's window whose amplitudes a patch takes, if drawn (FDA)."""
        fda, target = self.augment.fda, self.fda_target
        if fda is None or target is None:
            return None
        rng = np.random.default_rng((*draw.key, 3))
        if rng.random() >= fda.fraction:
            return None
        scene, window = target._uniform(rng, draw.window.height)
        return target.scenes[scene], window

    def light(self, draw: Draw) -> tuple[Mapping[str, Optics], Light] | None:
        """Return the other sun, air and season of a patch and the optics of its modalities, if the recipe asks for them."""
        if self.augment.light is None:
            return None
        return self._optics[draw.scene], draw_light(self.augment.light, np.random.default_rng((*draw.key, 5)))

    def targets_of(self, draw: Draw) -> np.ndarray | None:
        """Return the targets uint8 [size, size] of a patch in its final geometry; None without labels."""
        targets = self.scenes[draw.scene].targets
        if targets is None:
            return None
        target = np.full((draw.window.height, draw.window.width), UNLABELED, np.uint8)
        inside = draw.window.intersect(Window(0, 0, *targets.shape))
        target[inside.shift(-draw.window.row, -draw.window.col).slices] = targets[inside.slices]
        return augment_geometry(nearest(target, self.size_px), draw.turns, draw.flip)

    def _cutmix(self, draw: Draw, patches: Mapping[tuple[int, ...], _Loaded]) -> _Loaded:
        """Return a patch, with a rectangle of another patch of the step if drawn; ``patches``: by key."""
        loaded = patches[draw.key]
        if (cut := self.cut(draw)) is None:
            return loaded
        other, box = cut
        patch, valid, target = loaded
        # With several processes, another process may have loaded the other patch.
        other_patch, other_valid, other_target = patches[other.key] if other.key in patches else self._load_one(other)
        merged = {name: pasted(values, other_patch[name], box) for name, values in patch.items()}
        labels = None if target is None or other_target is None else pasted(target, other_target, box)
        return merged, pasted(valid, other_valid, box), labels

    def _load_one(self, draw: Draw, *, resample: bool = True) -> _Loaded:
        scene = self.scenes[draw.scene]
        patch, valid = self._read(scene, draw.window) if resample else scene.reader(draw.window)
        patch = self._with_light(self._with_fda(patch, valid, draw), valid, draw)
        rng = np.random.default_rng((*draw.key, 1))
        patch = augment_radiometry(patch, valid, scene.units, self.augment, rng)
        patch = drop_modality(patch, self.augment.modality_dropout, np.random.default_rng((*draw.key, 2)))
        rotated = {name: augment_geometry(values, draw.turns, draw.flip) for name, values in patch.items()}
        return rotated, augment_geometry(valid, draw.turns, draw.flip), self.targets_of(draw)

    def _read(self, scene: TrainingScene, window: Window) -> tuple[Patch, np.ndarray]:
        """Return a window of a scene and its validity, resized to the patch size."""
        patch, valid = scene.reader(window)
        size = self.size_px
        return (patch, valid) if window.height == size else zoomed(patch, valid, size)

    def _with_light(self, patch: Patch, valid: np.ndarray, draw: Draw) -> Patch:
        """Return the patch under another sun, air and season, if the recipe asks for one."""
        drawn = self.light(draw)
        return patch if drawn is None else changed_light(patch, valid, *drawn)

    def _with_fda(self, patch: Patch, valid: np.ndarray, draw: Draw) -> Patch:
        """Return the patch, with amplitudes of the target city at the same scale if drawn."""
        if (style := self.style(draw)) is None or self.augment.fda is None:
            return patch
        scene, window = style
        other = scene.reader(window) if len(valid) == window.height else self._read(scene, window)
        return apply_fda(patch, valid, *other, self.augment.fda.beta)


def pasted(array: np.ndarray, other: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """Return a copy of [..., H, W] with a box of another array."""
    out = array.copy()
    out[..., *box] = other[..., *box]
    return out


def _cell_counts(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return int64 [cells, K] of targets [H, W] in cells of 32 pixels, row by row."""
    height, width = targets.shape
    rows, cols = -(-height // _CELL), -(-width // _CELL)
    counts = np.zeros((rows * cols, num_classes), np.int64)
    for row in range(rows):
        band = targets[row * _CELL : (row + 1) * _CELL]
        cell = row * cols + np.arange(width)[None, :] // _CELL
        used = band != UNLABELED
        flat = np.broadcast_to(cell, band.shape)[used].astype(np.int64) * num_classes + band[used]
        counts += np.bincount(flat, minlength=counts.size)[: counts.size].reshape(counts.shape)
    return counts
