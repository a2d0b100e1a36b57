"""The contract of layouts."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from c2seg.data.city import City, Label, Scene
from c2seg.data.label_map import resolve_label_maps
from c2seg.data.layouts import Layout
from c2seg.testing.expect import expect
from c2seg.types import Window

__all__ = ["check_layout"]


def check_layout(layout: Layout, path: Path, *, labeled: bool = True, label_files: Sequence[str] = ()) -> None:
    """Check a layout against the contract, on a small city in that layout. Raises AssertionError.

    ``labeled``: the city has labels. ``label_files``: their paths, relative to ``path``. In a copy of the city they are
    replaced by garbage, and the images must not change: labels of a target are never read.
    """
    expect(layout.recognize(path) is True, f"{path} is not recognized")
    with TemporaryDirectory() as folder:
        _check_other_paths(layout, Path(folder))
    city = layout.images(path)
    expect(isinstance(city, City), f"images returns a {type(city).__name__}, not a City")
    expect(not city.problems, f"problems: {'; '.join(city.problems)}")
    expect(bool(city.scenes) and bool(city.modality_names), "there is no scene, or no modality is in every scene")
    for scene in city.scenes:
        _check_scene(scene)
    again: City = pickle.loads(pickle.dumps(city))
    expect(again.fingerprint() == city.fingerprint(), "a pickled city has another fingerprint")
    _check_same_pixels(city, again, "a pickled city")
    labels = layout.labels(path, city, None)
    expect((labels is not None) == labeled, f"labels are {'missing' if labeled else 'present'}")
    if labels is not None:
        _check_labels(city, labels)
    if label_files:
        with TemporaryDirectory() as folder:
            _check_untouched(layout, path, city, label_files, Path(folder))


def _check_other_paths(layout: Layout, folder: Path) -> None:
    text = folder / "notes.txt"
    empty = folder / "empty"
    empty.mkdir()
    text.write_text("no city")
    for path in (text, empty, folder / "nowhere"):
        expect(layout.recognize(path) is False, f"{path.name} is recognized, but is not a city")


def _check_scene(scene: Scene) -> None:
    height, width = scene.grid.height, scene.grid.width
    expect(height > 0 and width > 0, f"scene {scene.name!r} is empty")
    beyond = Window(-3, -2, min(height, 40) + 3, min(width, 40) + 2)
    for name, stack in scene.modalities.items():
        expect(
            len(stack.bands) in (0, stack.count), f"{name}: {len(stack.bands)} bands described, {stack.count} present"
        )
        values, valid = scene.read(name, beyond)
        expected = (stack.count, beyond.height, beyond.width)
        expect(
            values.shape == expected and values.dtype == np.float32,
            f"{name}: {values.dtype} {values.shape}, expected {expected}",
        )
        expect(not valid[:3].any() and not valid[:, :2].any(), f"{name}: pixels beyond the scene are valid")
        expect(bool(np.isfinite(values[:, valid]).all()), f"{name}: valid pixels are not finite")


def _check_labels(city: City, labels: Sequence[Label]) -> None:
    expect(len(labels) == len(city.scenes), f"{len(labels)} labels for {len(city.scenes)} scenes")
    labeled = resolve_label_maps(city, tuple(labels))
    known = {0, 255, *city.legend.ids}
    for index, scene in enumerate(city.scenes):
        ids = labeled.read_label(index, scene.grid.window)
        expect(ids.shape == (scene.grid.height, scene.grid.width), f"{scene.name}: labels are {ids.shape}")
        unknown = set(np.unique(ids).tolist()) - known
        expect(not unknown, f"{scene.name}: labels {sorted(unknown)} are not in the legend")
    labeled.check_classes()


def _check_untouched(layout: Layout, path: Path, city: City, label_files: Sequence[str], folder: Path) -> None:
    copy = folder / path.name
    shutil.copytree(path, copy)
    for name in label_files:
        expect((copy / name).is_file(), f"there is no label file {name}")
        (copy / name).write_bytes(b"no label at all")
    poisoned = layout.images(copy)
    expect(not poisoned.problems, f"broken labels are a problem of the images: {'; '.join(poisoned.problems)}")
    _check_same_pixels(city, poisoned, "a city with broken labels")
    expect(poisoned.fingerprint() == city.fingerprint(), "labels reach the fingerprint of the images")


def _check_same_pixels(first: City, second: City, what: str) -> None:
    for one, other in zip(first.scenes, second.scenes, strict=True):
        window = one.grid.window.intersect(Window(0, 0, 256, 256))
        for name in one.modalities:
            same = all(
                np.array_equal(a, b) for a, b in zip(one.read(name, window), other.read(name, window), strict=True)
            )
            expect(same, f"{what} has different pixels of {name}")
