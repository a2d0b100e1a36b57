"""A scheduler and workers of Dask as a user starts them: processes on TCP, each in a working folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import c2seg

SLOW_SCENE = (800, 40)
PATHS = [str(Path(c2seg.__path__[0]).parent), str(Path(__file__).parents[1])]


class UserCluster:
    """Processes in folders below ``folder``; all end with the context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = None
        self.workers = []

    def start_scheduler(self):
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "scheduler").read_text())

    def start_worker(self, *paths: Path, **environment: str):
        options = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0")
        self.workers.append(self._start("worker", self.address, *options, paths=paths, **environment))
        return self.workers[-1]

    def _start(self, kind, *arguments, paths=(), **environment):
        folder = self.folder / f"{kind} {len(self.workers)}"
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *PATHS]), **environment}
        with (folder / "log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", kind, *arguments, "--no-dashboard"], cwd=folder, env=environment, stdout=log,
                stderr=log,
            )  # fmt: skip

    def __enter__(self):
        self.start_scheduler()
        return self

    def __exit__(self, *_):
        for process in [*self.workers, self.scheduler]:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


class SlowIdentity:
    """Gives the image as probabilities, window by window, and takes its time."""

    num_classes = 3
    halo_px = 0

    def __init__(self, seconds):
        self.seconds = seconds

    def predict(self, patch, valid):
        time.sleep(self.seconds)
        return patch["msi"] + np.float32(os.environ.get("C2SEG_TEST_SHIFT", "0"))


def slow_scene(seconds=0.0):
    """Return a reader of noise, and a predictor."""
    from affine import Affine

    from c2seg.data import Modality, Normalizer, Scene, SceneReader
    from c2seg.raster import ArrayRaster, GridRelation
    from c2seg.types import Grid

    values = np.random.default_rng(0).random((SlowIdentity.num_classes, *SLOW_SCENE)).astype(np.float32)
    stack = Modality(ArrayRaster(values / values.sum(axis=0)), GridRelation(1, 0, 0), "array", "msi")
    scene = Scene("scene", Grid(*SLOW_SCENE, Affine.scale(10, -10)), {"msi": stack}, None)
    plain = Normalizer({"msi": np.zeros(len(values), np.float32)}, {"msi": np.ones(len(values), np.float32)})
    return SceneReader(scene, ("msi",), plain), SlowIdentity(seconds)
