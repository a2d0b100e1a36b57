"""Draw patches: evenly over the city, or near pixels of classes drawn evenly.

Everything random at step ``i`` comes from generators seeded by (seed, i, slot), so that neither the number of loader
threads nor a restart changes what is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from c2seg.data import City, LabeledCity, Patch, PreparedCity, Scene, SceneReader
from c2seg.data.city import blocks
from c2seg.errors import TrainingError
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling.augment import BandUnits, augment_geometry, augment_radiometry, cut_box, drop_modality, restyle
from c2seg.sampling.zoom import nearest, zoomed
from c2seg.types import Window

__all__ = ["Draw", "PatchSampler", "Sample", "TrainingScene", "training_scenes"]

UNLABELED = 255
_CELL = 32
_TRIES = 10

_Loaded = tuple[Patch, np.ndarray, np.ndarray | None]
"""Bands, validity and targets of one patch, as in ``Sample`` without the first axis."""


@dataclass(frozen=True)
class TrainingScene:
    """A scene to draw from: its reader, band units, valid bool [H, W], and targets uint8 [H, W] (None without labels).

    Targets are output indices, 255 where nothing is learnt (background, ignore, invalid, held out).
    """

    reader: SceneReader
    units: BandUnits
    valid: np.ndarray
    targets: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """One patch of a step: scene, window, quarter turns, mirroring, and the key of its radiometric changes.

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


def training_scenes(
    prepared: PreparedCity[City] | PreparedCity[LabeledCity],
    inputs: Sequence[str],
    *,
    use_labels: bool = True,
    background: int | None = None,
) -> list[TrainingScene]:
    """Read validity (and targets) of every scene of a city into memory, 1 or 2 bytes a pixel, for drawing patches.

    ``background``: the output index that pixels labeled 0 are to teach; None: they teach nothing. With ``use_labels=False``,
    and for a city without labels, there are no targets; but where a fold is held out, targets are 0 on the pixels that may
    be trained on.
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
    """Return valid bool [H, W] and targets uint8 [H, W], or None where there is nothing to tell pixels apart."""
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
    """Return output indices uint8 [H, W] of a window's labels; 255 where they teach nothing."""
    ids = city.read_label(index, window)
    outputs: np.ndarray = city.images.legend.index_table()[ids]
    if background is not None:
        outputs[ids == 0] = background
    return outputs


@dataclass(frozen=True)
class PatchSampler:
    """Draws the patches of a step from scenes and loads them.

    Raises TrainingError when no pixel can be drawn: all invalid, or none labeled where labels are wanted.
    """

    scenes: Sequence[TrainingScene]
    settings: Sampling
    augment: Augmentation
    seed: int
    num_classes: int
    stream: int = 0
    """Tells samplers of one run apart (source, target)."""
    style: PatchSampler | None = None
    """Of the city whose style patches take, where ``augment.fda`` asks for it."""
    _cumulative: np.ndarray = field(init=False, repr=False)
    """int64 [K, cells]: running sums, over the cells of all scenes, of the labeled pixels of each class."""

    def __post_init__(self) -> None:
        if not any(scene.valid.any() for scene in self.scenes):
            raise TrainingError("no pixel of the training cities is valid; see c2seg inspect")
        cells = [_cell_counts(s.targets, self.num_classes) for s in self.scenes if s.targets is not None]
        counts = np.concatenate(cells) if cells else np.zeros((1, self.num_classes), np.int64)
        object.__setattr__(self, "_cumulative", np.ascontiguousarray(np.cumsum(counts, axis=0).T))
        if self.labeled and not self.class_counts().any():
            raise TrainingError("no valid pixel of the training cities carries a class")

    @property
    def labeled(self) -> bool:
        """True if the scenes have targets."""
        return self.scenes[0].targets is not None

    def class_counts(self) -> np.ndarray:
        """Return int64 [K]: pixels of each class that may be learnt from."""
        return self._cumulative[:, -1]

    def draw(self, step: int) -> list[Draw]:
        """Return what is seen at a step."""
        return [self.draw_one(step, slot) for slot in range(self.settings.batch_size)]

    def load(self, draws: Sequence[Draw]) -> Sample:
        """Read and augment the patches of some draws."""
        whole = {draw.key: self._load_one(draw) for draw in draws}
        loaded = [self._mixed(draw, whole) for draw in draws]
        names = loaded[0][0]
        targets = [target for _, _, target in loaded if target is not None]
        return Sample(
            {name: np.stack([patch[name] for patch, _, _ in loaded]) for name in names},
            np.stack([valid for _, valid, _ in loaded]),
            np.stack(targets) if targets else None,
        )

    def draw_one(self, step: int, slot: int) -> Draw:
        """Return what is seen in one place of the batch of a step."""
        key = (self.seed, self.stream, step, slot)
        rng = np.random.default_rng(key)
        # The first slots of a batch are balanced, so that every step holds the stated share.
        balanced = self.labeled and slot < round(self.settings.class_balanced_fraction * self.settings.batch_size)
        size = self.settings.patch_px
        if self.augment.zoom is not None:
            size = max(1, round(size / rng.uniform(*self.augment.zoom)))
        scene, window = self._balanced(rng, size) if balanced else self._uniform(rng, size)
        if self.settings.cat_max_ratio is not None:
            for _ in range(_TRIES):
                if self._largest_share(scene, window) < self.settings.cat_max_ratio:
                    break
                scene, window = self._balanced(rng, size) if balanced else self._uniform(rng, size)
        turns = int(rng.integers(4)) if self.augment.rotations else 0
        flip = bool(rng.integers(2)) if self.augment.flips else False
        return Draw(scene, window, turns, flip, key)

    def _largest_share(self, scene: int, window: Window) -> float:
        """Return the largest class's share of a window's labeled pixels, 0 without any."""
        targets = self.scenes[scene].targets
        if targets is None:
            return 0.0
        found = targets[window.intersect(Window(0, 0, *targets.shape)).slices]
        counts = np.bincount(found[found != UNLABELED], minlength=1)
        return float(counts.max() / max(1, counts.sum()))

    def _uniform(self, rng: np.random.Generator, size: int) -> tuple[int, Window]:
        """Draw a window evenly; one without a usable pixel is drawn again, some times."""
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
        return self._balanced(rng, size) if self.labeled else choice

    def _balanced(self, rng: np.random.Generator, size: int) -> tuple[int, Window]:
        """Draw a class evenly among those that exist, then a pixel of it evenly, then a window that holds it."""
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
        top, left = pick // per_row * _CELL, pick % per_row * _CELL
        rows, cols = np.nonzero(targets[top : top + _CELL, left : left + _CELL] == label)
        chosen = int(rng.integers(len(rows)))
        row = top + int(rows[chosen]) - int(rng.integers(size))
        col = left + int(cols[chosen]) - int(rng.integers(size))
        row = min(max(row, 0), max(0, height - size))
        col = min(max(col, 0), max(0, width - size))
        return index, Window(row, col, size, size)

    def _mixed(self, draw: Draw, whole: Mapping[tuple[int, ...], _Loaded]) -> _Loaded:
        """Return a patch, or one with a rectangle of another patch of the same step; ``whole``: those loaded, by key."""
        loaded = whole[draw.key]
        if not self.augment.cutmix or self.settings.batch_size < 2:
            return loaded
        rng = np.random.default_rng((*draw.key, 4))
        if rng.random() >= self.augment.cutmix:
            return loaded
        _, _, step, slot = draw.key
        other = self.draw_one(step, (slot + int(rng.integers(1, self.settings.batch_size))) % self.settings.batch_size)
        box = cut_box(self.settings.patch_px, rng)
        patch, valid, target = loaded
        # With several processes the other patch may be one that another process loads.
        donor, usable, found = whole[other.key] if other.key in whole else self._load_one(other)
        mixed = {name: _pasted(values, donor[name], box) for name, values in patch.items()}
        labels = None if target is None or found is None else _pasted(target, found, box)
        return mixed, _pasted(valid, usable, box), labels

    def _load_one(self, draw: Draw) -> _Loaded:
        scene = self.scenes[draw.scene]
        size = self.settings.patch_px
        patch, valid = self._read(scene, draw.window)
        patch = self._styled(patch, valid, draw)
        rng = np.random.default_rng((*draw.key, 1))
        patch = augment_radiometry(patch, valid, scene.units, self.augment, rng)
        patch = drop_modality(patch, self.augment.modality_dropout, np.random.default_rng((*draw.key, 2)))
        target = None
        if scene.targets is not None:
            target = np.full((draw.window.height, draw.window.width), UNLABELED, np.uint8)
            inside = draw.window.intersect(Window(0, 0, *scene.targets.shape))
            target[inside.shift(-draw.window.row, -draw.window.col).slices] = scene.targets[inside.slices]
            target = augment_geometry(nearest(target, size), draw.turns, draw.flip)
        turned = {name: augment_geometry(values, draw.turns, draw.flip) for name, values in patch.items()}
        return turned, augment_geometry(valid, draw.turns, draw.flip), target

    def _read(self, scene: TrainingScene, window: Window) -> tuple[Patch, np.ndarray]:
        """Return a window of a scene and its validity, at the size of patches."""
        patch, valid = scene.reader(window)
        size = self.settings.patch_px
        return (patch, valid) if window.height == size else zoomed(patch, valid, size)

    def _styled(self, patch: Patch, valid: np.ndarray, draw: Draw) -> Patch:
        """Return the patch, or one in the style of the other city at the same scale."""
        fda, style = self.augment.fda, self.style
        if fda is None or style is None:
            return patch
        rng = np.random.default_rng((*draw.key, 3))
        if rng.random() >= fda.fraction:
            return patch
        scene, window = style._uniform(rng, draw.window.height)
        return restyle(patch, valid, *self._read(style.scenes[scene], window), fda.beta)


def _pasted(array: np.ndarray, other: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """Return a copy of [..., H, W] with a box of another."""
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
