"""What checksums of unfinished work cost: Python's digests beside each other, and their share of a map, a cache, a state.

    python benchmarks/checksums.py [--size PIXELS] [--mib MIB] [--backend openvino] [--precision 32]

The map is that of ``benchmarks/mapping.py`` (ResNet-18 U-Net, 13 classes, 4 bands), alone and with all its layers. Seconds
are those of processors: writing and checking overlap with the network. A cache is opened when it lies in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mapping_parts import BANDS, OVERLAP, WINDOW, network, predictor, scene_reader, write_onnx, write_scene

import c2seg.predict.scratch as scratch
from c2seg.artifacts import MapKey
from c2seg.data import City, cached, open_city
from c2seg.legend import c2seg13
from c2seg.outputs import atomic_file
from c2seg.predict import MapOptions, WindowPlan, predict_scene

DIGESTS: dict[str, Callable[[bytes], object]] = {
    "crc32": zlib.crc32,
    "adler32": zlib.adler32,
    "blake2b": lambda data: hashlib.blake2b(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}


def speeds(mib: int) -> None:
    data = os.urandom(2**20) * mib
    for name, digest in DIGESTS.items():
        seconds = min(timed(lambda digest=digest: digest(data))[0] for _ in range(5))
        print(f"{name:8} {mib / 1024 / seconds:5.2f} GiB/s")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return processor seconds and seconds."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - clock


def share_of_a_map(folder: Path, options: argparse.Namespace) -> None:
    import torch

    write_scene(folder, options.size, options.size, {"msi": (BANDS, 1)}, "deflate")
    torch.save(network().state_dict(), folder / "weights.pt")
    write_onnx(folder)
    model, reader = predictor(folder, options.backend, options.precision), scene_reader(folder)
    plan = WindowPlan(options.size, options.size, WINDOW, OVERLAP, 32)
    spent, real = [0.0], scratch.checksum

    def measured(values: np.ndarray | bytes, before: int = 0) -> int:
        begun = time.thread_time()
        try:
            return real(values, before)
        finally:
            spent[0] += time.thread_time() - begun

    scratch.checksum = measured
    layers = {name: folder / f"{name}.tif" for name in ("probabilities", "confidence", "runner_up")}
    for text, more in {"the map alone": {}, "with all layers": layers}.items():
        spent[0] = 0.0
        wanted = MapOptions(folder / "map.tif", overwrite=True, batch_size=2, **more)
        seconds, clock = timed(lambda wanted=wanted: predict_scene(reader, model, plan, c2seg13(), wanted, MapKey()))
        print(
            f"{text:16} {clock:6.1f} s, {seconds:6.1f} of processors; checksums {spent[0]:.3f}, {spent[0] / seconds:.2%}"
        )
    scratch.checksum = real


def opening_a_cache(folder: Path) -> None:
    write_scene(folder, 1200, 1200, {"hsi": (116, 1)}, "deflate")
    city: City = open_city(folder)
    built = timed(lambda: cached(city, folder / "cache", 0))[1]
    size = sum(path.stat().st_size for path in (folder / "cache").rglob("*.bin")) / 2**30
    opened = min(timed(lambda: cached(city, folder / "cache", 0))[1] for _ in range(3))
    print(f"cache of {size:.2f} GiB: built in {built:.2f} s, opened in {opened:.2f} s ({size / opened:.2f} GiB/s)")


def saving_a_state(folder: Path, mib: int) -> None:
    import torch

    from c2seg.artifacts.training import TrainedSettings, TrainingIdentity
    from c2seg.recipes import load_recipe
    from c2seg.train.state import State, load_state, save_state, state_file

    identity = TrainingIdentity(
        settings=TrainedSettings.of(load_recipe("unet", "tiny")), seed=0, data="", start="", torch="", device="cpu",
        threads=1, precision="32", processes=1,
    )  # fmt: skip
    tensors = {str(index): torch.randn(2**18) for index in range(mib)}
    state = State(1, identity, {"method": tensors})
    _, before = timed(lambda: torch_save(tensors, folder / "old.pt"))
    _, saved = timed(lambda: save_state(folder, state))
    _, read = timed(lambda: load_state(state_file(folder)))
    print(f"state of {mib} MiB: saved in {saved:.2f} s and read in {read:.2f} s; torch.save {before:.2f} s")


def torch_save(tensors: dict[str, object], path: Path) -> None:
    import torch

    with atomic_file(path, overwrite=True) as temporary:
        torch.save(tensors, temporary)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=3000, help="side of the scene, pixels")
    parser.add_argument("--mib", type=int, default=128, help="size of what digests and states hold")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--precision", default="32")
    arguments = parser.parse_args()
    speeds(arguments.mib)
    with tempfile.TemporaryDirectory() as name:
        share_of_a_map(Path(name), arguments)
        opening_a_cache(Path(name) / "wide")
        saving_a_state(Path(name), arguments.mib)
