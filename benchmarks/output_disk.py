"""Disk and memory of the calling process while a map with probabilities is made, by where their parts lie.

    python benchmarks/output_disk.py [--rows 3000] [--columns 1000] [--workers 2] [--json benchmarks/output_disk.json]

A predictor that costs little gives smooth probabilities of 13 classes with some noise; what counts are files. A thread adds up
what the caller's folder takes on its disk (blocks, temporary files too), again and again. Memory is the peak of the calling
process above what it was before the map. Each case is a process of its own:

- ``beside``: the map and its GeoTIFF of probabilities in one folder, parts in the scratch beside them;
- ``elsewhere``: parts in another folder (``parts_folder``) that does not count, as a shared one or object storage;
- ``staying``: probabilities stay in parts elsewhere (``.vrt``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from affine import Affine

from c2seg.artifacts import MapKey
from c2seg.legend import c2seg13
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from c2seg.process import peak_memory_mib
from c2seg.types import Grid, Window

CASES = ("beside", "elsewhere", "staying")


@dataclass(frozen=True)
class Places:
    """A reader whose input is where a pixel is: nothing is read from a disk."""

    grid: Grid

    @property
    def scene(self) -> SimpleNamespace:
        return SimpleNamespace(grid=self.grid, modalities={})

    def __call__(self, window: Window) -> tuple[dict[str, np.ndarray], np.ndarray]:
        rows = np.arange(window.row, window.row_end, dtype=np.float32)[:, None]
        cols = np.arange(window.col, window.col_end, dtype=np.float32)[None]
        shape = (window.height, window.width)
        return {"place": np.stack(np.broadcast_arrays(rows, cols))}, np.ones(shape, bool)


class Waves:
    """Probabilities of waves: each class has its own; noise of a fixed pattern."""

    halo_px = 0
    num_classes = 13
    noise = np.random.default_rng(0).normal(0, 0.3, (64, 64)).astype(np.float32)

    def predict(self, patch: dict[str, np.ndarray], valid: np.ndarray) -> np.ndarray:
        rows, cols = patch["place"][:, 0], patch["place"][:, 1]
        noise = self.noise[rows.astype(int) % 64, cols.astype(int) % 64]
        waves = [4 * np.sin(rows / (20 + 3 * k)) * np.cos(cols / (50 - 2 * k)) + noise for k in range(self.num_classes)]
        scores = np.exp(np.stack(waves, axis=1))
        return scores / scores.sum(axis=1, keepdims=True)


def build(grid: Grid) -> tuple[Places, Waves]:
    return Places(grid), Waves()


class HighWater:
    """The most that a folder took on its disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.most = folder, 0

    def look(self) -> None:
        total = 0
        for place, _, names in os.walk(self.folder):
            for name in names:
                try:
                    total += os.stat(os.path.join(place, name)).st_blocks * 512
                except OSError:  # it was removed in this moment
                    continue
        self.most = max(self.most, total)

    @contextmanager
    def watched(self) -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.look()


def measure(case: str, options: argparse.Namespace, folder: Path) -> dict[str, float | str]:
    grid = Grid(options.rows, options.columns, Affine(10, 0, 500_000, 0, -10, 5_800_000))
    plan = WindowPlan(options.rows, options.columns, 256, 64)
    (folder / "caller").mkdir()
    files = MapOptions(
        folder / "caller" / "map.tif",
        probabilities=folder / ("elsewhere/p.vrt" if case == "staying" else "caller/p.tif"),
        workers=options.workers, **({"parts_folder": folder / "elsewhere"} if case == "elsewhere" else {}),
    )  # fmt: skip
    before = peak_memory_mib()
    water = HighWater(folder / "caller")
    with water.watched():
        predict_scene(*build(grid), plan, c2seg13(), files, MapKey(model="m"), build=partial(build, grid))
    memory = peak_memory_mib() - before
    written = sum(path.stat().st_size for path in (folder / "caller").iterdir())
    pixels = options.rows * options.columns
    return {
        "case": case, "strips": len(plan.rows), "uncompressed_mb": round(14 * pixels / 1e6, 1),
        "final_mb": round(written / 1e6, 1), "peak_disk_mb": round(water.most / 1e6, 1), "caller_memory_mib": round(memory),
    }  # fmt: skip


def main(options: argparse.Namespace) -> None:
    if options.case:
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            print(json.dumps(measure(options.case, options, Path(name))))
        return
    rows = []
    for case in CASES:
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        print(rows[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--json", type=Path)
    main(parser.parse_args())
