"""Map large scenes: wall time over the network's own time, memory, and two peers, all in one run.

    python benchmarks/mapping.py [--peers PYTHON] [--full] [--json OUT.json]

``--peers`` names a Python that has torch, rasterio, segmentation-models-pytorch, monai and terratorch (docs/mapping.md says how
to make one); without it only our side runs. ``--full`` adds the simulated scene of Beijing's size (13474 x 8706, 4 + 2
bands at 10 m, 116 at 30 m). Every measurement is a process of its own; times are medians of ``--runs``, taken in turns, so that
a slower moment of the machine meets all alike. Printed is one table, with what comes from layout, memory, engine, precision,
overlap and OpenVINO below it; ``--json`` keeps everything.

The network is a ResNet-18 U-Net (segmentation-models-pytorch) with 13 classes on 4 bands, learnt for a moment on the scene,
with windows of 512 pixels and an overlap of a quarter. Peers use it as their documentation does: the image in memory as one
tensor, their windowed inference, arg-max, a GeoTIFF.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, BANDS, WINDOW, OVERLAP = 13, 4, 512, 128
SHIFT, FACTOR = 1500.0, 1 / 600.0


# --- the scene ---------------------------------------------------------------------------------------------------------


def write_scene(
    folder: Path, height: int, width: int, stacks: dict[str, tuple[int, int]], compress: str | None
) -> None:
    """Write int16 stacks (bands, ratio to the fine grid) block by block: patches of classes with their own spectra."""
    import rasterio
    from affine import Affine

    folder.mkdir(parents=True, exist_ok=True)
    means = np.random.default_rng(0).normal(1500, 400, (CLASSES, 256))
    for name, (bands, ratio) in stacks.items():
        rows, cols = -(-height // ratio), -(-width // ratio)
        profile = {
            "driver": "GTiff", "height": rows, "width": cols, "count": bands, "dtype": "int16", "crs": "EPSG:32650",
            "transform": Affine(10 * ratio, 0, 4e5, 0, -10 * ratio, 4.4e6), "tiled": True, "blockxsize": 256,
            "blockysize": 256, "interleave": "pixel", "bigtiff": "IF_SAFER",
        }  # fmt: skip
        if compress:
            profile |= {"compress": compress, "zlevel": 1}
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as dataset:
            for top in range(0, rows, 512):
                for left in range(0, cols, 512):
                    size = min(512, rows - top), min(512, cols - left)
                    block = _block(top * ratio, left * ratio, size, ratio, means[:, :bands])
                    dataset.write(block, window=((top, top + size[0]), (left, left + size[1])))


def class_map(top: int, left: int, size: tuple[int, int], ratio: int) -> np.ndarray:
    """Return classes uint8 [H, W] 0..12 that follow from the place alone."""
    y = (top + ratio * np.arange(size[0]))[:, None] / 90
    x = (left + ratio * np.arange(size[1]))[None, :] / 90
    field = np.sin(y) + np.sin(1.3 * x + 0.7 * np.sin(0.31 * y)) + np.sin(0.45 * (x + y)) + np.cos(0.21 * x - 0.37 * y)
    return np.clip((field + 4) / 8 * CLASSES, 0, CLASSES - 1).astype(np.uint8)


def _block(top: int, left: int, size: tuple[int, int], ratio: int, means: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng((top, left))
    truth = class_map(top, left, size, ratio)
    noise = rng.normal(0, 150, size).astype(np.float32)
    return np.stack([(means[:, band][truth] + np.roll(noise, 7 * band, axis=1)).astype(np.int16)
                     for band in range(means.shape[1])])  # fmt: skip


# --- the network -------------------------------------------------------------------------------------------------------


def network(weights: Path | None = None) -> Any:
    """Return the network; for weights that do not exist, one convolution of single pixels."""
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    if weights is not None and not weights.exists():
        return torch.nn.Conv2d(BANDS, CLASSES, 1).eval()
    net = smp.Unet("resnet18", encoder_weights=None, in_channels=BANDS, classes=CLASSES)
    if weights is not None:
        net.load_state_dict(torch.load(weights, weights_only=True))
    return net.eval()


def learn(folder: Path, steps: int) -> None:
    """Teach the network the scene for a moment, so that its decisions have the margins of a learnt one."""
    import rasterio
    import torch

    net = network().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    rng = np.random.default_rng(1)
    with rasterio.open(folder / "msi.tif") as dataset:
        for _ in range(steps):
            places = [
                (int(rng.integers(dataset.height - 128)), int(rng.integers(dataset.width - 128))) for _ in range(8)
            ]
            images = np.stack([dataset.read(window=((r, r + 128), (c, c + 128))) for r, c in places])
            truth = np.stack([class_map(r, c, (128, 128), 1) for r, c in places])
            loss = torch.nn.functional.cross_entropy(net(_tensor(images)), torch.from_numpy(truth).long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    torch.save(net.state_dict(), folder / "weights.pt")


def _tensor(image: np.ndarray) -> Any:
    import torch

    return torch.from_numpy((image.astype(np.float32) - SHIFT) * np.float32(FACTOR))


def wrapped(net: Any, nchw: bool = False) -> Any:
    import torch

    class Network(torch.nn.Module):
        stride_px = 32

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, patch: dict[str, Any]) -> dict[str, Any]:
            return {"logits": self.net(patch["msi"].contiguous() if nchw else patch["msi"])}

    return Network().eval()


# --- ours --------------------------------------------------------------------------------------------------------------


def predictor(folder: Path, backend: str, precision: str, nchw: bool = False) -> Any:
    """Return the network as a predictor of the product; ``nchw``: in torch's default layout instead of channels last."""
    import torch

    if backend == "torch":
        from c2seg.backends.torch import TorchPredictor
        from c2seg.models import place

        device = torch.device("cpu")
        net = wrapped(network(folder / "weights.pt"), nchw)
        return TorchPredictor(net if nchw else place(net, device), CLASSES, device, precision)
    from c2seg.backends import BackendOptions, load_predictor
    from c2seg.legend import c2seg13
    from c2seg.modelfile import Graph, Header, ModelFile
    from c2seg.recipes import load_recipe

    header = Header(
        recipe=load_recipe("unet", "tiny"), inputs={}, statistics={}, legend=c2seg13().as_dict(), provenance={}
    )
    graph = Graph((folder / "network.onnx").read_bytes(), 32)
    return load_predictor(ModelFile(header, {}, "", graph), backend, BackendOptions(precision=precision))


def write_onnx(folder: Path) -> None:
    from c2seg.backends.export import network_graph

    shapes = {"msi": (2, BANDS, 64, 64)}
    graph = network_graph(wrapped(network(folder / "weights.pt")), shapes, 32, {})
    (folder / "network.onnx").write_bytes(graph.onnx)


def scene_reader(folder: Path) -> Any:
    from c2seg.data import Normaliser, SceneReader, open_city

    scene = open_city(folder).scenes[0]
    shift, factor = np.full(BANDS, SHIFT, np.float32), np.full(BANDS, FACTOR, np.float32)
    return SceneReader(scene, ("msi",), Normaliser({"msi": shift}, {"msi": factor}))


def part_ours(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Map file to file; also run the network alone on the same windows, already read, in the same process."""
    from c2seg.inference import MapOptions, WindowPlan, map_scene
    from c2seg.legend import c2seg13

    model, reader = predictor(folder, options.backend, options.precision, options.nchw), scene_reader(folder)
    grid = reader.scene.grid
    plan = WindowPlan(grid.height, grid.width, WINDOW, options.overlap, 32)
    warm = np.zeros((options.batch, BANDS, WINDOW, WINDOW), np.float32)
    model.predict({"msi": warm}, np.ones((options.batch, WINDOW, WINDOW), bool))  # loading ends with the first window
    before = loaded_mib()
    begun, work = time.perf_counter(), time.process_time()
    result = map_scene(reader, model, plan, c2seg13(), MapOptions(out, batch_size=options.batch, overwrite=True), {})
    wall, work = time.perf_counter() - begun, time.process_time() - work
    found = {"seconds": wall, "cpu_seconds": work, "extra_mib": peak_mib() - before, "stages": result.stages}
    if options.alone:
        found["network_seconds"], found["network_cpu_seconds"] = network_alone(model, reader, plan, options)
    return found


def part_engine(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the processor milliseconds a window, file to file, of all but the network: its place takes ready scores."""
    from c2seg.inference import MapOptions, WindowPlan, map_scene
    from c2seg.legend import c2seg13

    reader = scene_reader(folder)
    grid = reader.scene.grid
    ready = np.zeros((1, CLASSES, WINDOW, WINDOW), np.float32)
    for top in range(0, WINDOW, 64):  # areas of a class, as a learnt network gives them
        ready[:, top // 64, top : top + 64] = 1

    class Ready:
        num_classes, halo_px, seconds = CLASSES, 0, 0.0

        def predict(self, patch: dict[str, np.ndarray], valid: np.ndarray) -> np.ndarray:
            begun = time.thread_time()
            scores = ready.copy()
            self.seconds += time.thread_time() - begun
            return scores

    model = Ready()
    plan = WindowPlan(grid.height, grid.width, WINDOW, OVERLAP, 32)
    begun = time.process_time()
    map_scene(reader, model, plan, c2seg13(), MapOptions(out, overwrite=True), {})
    work = time.process_time() - begun - model.seconds
    return {"cpu_ms_per_window": 1000 * work / (len(plan.rows) * len(plan.cols))}


def network_alone(model: Any, reader: Any, plan: Any, options: argparse.Namespace) -> tuple[float, float]:
    """Return seconds and processor seconds of the network on as many windows, cycling through 16 already in memory."""
    windows = [window for index in range(len(plan.rows)) for window in plan.windows(index)]
    held = [reader(window)[0]["msi"] for window in windows[:: max(1, len(windows) // 16)]]
    batches = [np.stack([held[(i + k) % len(held)] for k in range(options.batch)]) for i in range(len(held))]
    valid = np.ones((options.batch, WINDOW, WINDOW), bool)

    def run(batch: np.ndarray) -> None:
        model.predict({"msi": batch}, valid)

    run(batches[0])
    count = -(-len(windows) // options.batch)
    begun, work = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(2) as pool:  # as the engine asks for them: two batches under way
        for _ in pool.map(run, (batches[index % len(batches)] for index in range(count))):
            pass
    factor = len(windows) / (count * options.batch)
    return (time.perf_counter() - begun) * factor, (time.process_time() - work) * factor


# --- peers -------------------------------------------------------------------------------------------------------------


def part_peer(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Map file to file with a peer's windowed inference, the image in memory as its documentation has it."""
    import rasterio
    import torch

    net = network(folder / "weights.pt")
    if options.channels_last:
        net = net.to(memory_format=torch.channels_last)
    windowed = {"monai": _monai, "terratorch": _terratorch}[options.peer](options)
    with torch.no_grad():
        net(torch.zeros(options.batch, BANDS, WINDOW, WINDOW))
    before = loaded_mib()
    begun, work = time.perf_counter(), time.process_time()
    with rasterio.open(folder / "msi.tif") as dataset:
        image, profile = _tensor(dataset.read())[None], dataset.profile
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16")
    with torch.no_grad(), autocast:
        scores = windowed(net, image)
    classes = (scores[0].argmax(dim=0) + 1).numpy().astype(np.uint8)
    profile.update(count=1, dtype="uint8", compress="deflate", zlevel=6, interleave="band")
    with rasterio.open(out, "w", **profile) as dataset:
        dataset.write(classes, 1)
    wall, work = time.perf_counter() - begun, time.process_time() - work
    return {"seconds": wall, "cpu_seconds": work, "extra_mib": peak_mib() - before}


def _monai(options: argparse.Namespace) -> Callable[[Any, Any], Any]:
    from monai.inferers import sliding_window_inference

    def run(net: Any, image: Any) -> Any:
        return sliding_window_inference(image, (WINDOW, WINDOW), options.batch, net, overlap=options.overlap / WINDOW)

    return run


def _terratorch(options: argparse.Namespace) -> Callable[[Any, Any], Any]:
    import importlib.util
    import types

    # Only its tiled inference is wanted: the package's top imports every data set and model it has, and all they need.
    place = Path(next(iter(importlib.util.find_spec("terratorch").submodule_search_locations)))
    for name, path in (
        ("terratorch", place),
        ("terratorch.models", place / "models"),
        ("terratorch.tasks", place / "tasks"),
    ):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    sys.modules["terratorch.registry"] = types.ModuleType("terratorch.registry")
    sys.modules["terratorch.registry"].BACKBONE_REGISTRY = None
    from terratorch.tasks.tiled_inference import tiled_inference

    # Its overlap is crop - stride - 2 * delta: the same share of new pixels per window as ours with its default delta.
    def run(net: Any, image: Any) -> Any:
        return tiled_inference(net, image, crop=WINDOW, stride=WINDOW - options.overlap, batch_size=options.batch)

    return run


# --- the machine -------------------------------------------------------------------------------------------------------


def part_machine(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return GFLOP/s of matrix products, and the network's operations on one window."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    found: dict[str, Any] = {}
    for name, dtype in (("32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(4096, 4096).to(dtype), torch.randn(4096, 4096).to(dtype)
        a @ b
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - begun)
        found[f"gemm_gflops_{name}"] = 2 * 4096**3 / min(times) / 1e9
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network()(torch.zeros(1, BANDS, WINDOW, WINDOW))
    return found | {"window_gflop": counter.get_total_flops() / 1e9, "threads": torch.get_num_threads()}


def part_city(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Map a folder of several stacks with a small U-Net through the product's own entry, as a user does."""
    from c2seg.api import predict
    from c2seg.inference import MapOptions

    model = folder.parent / "small.safetensors"
    first = folder.parent / "first"  # a scene of one window: loading ends with it
    predict(model, first, MapOptions(first / "map.tif", overwrite=True), backend=options.backend)
    before = loaded_mib()
    begun = time.perf_counter()
    (result,) = predict(model, folder, MapOptions(out, overwrite=True), backend=options.backend)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "extra_mib": peak_mib() - before, "stages": result.stages, "pixels": result.pixels}


def write_small_model(path: Path, stacks: dict[str, tuple[int, int]]) -> None:
    """Write a model file of a small U-Net on all bands (random weights: only time and memory are measured)."""
    import torch

    from c2seg.legend import c2seg13
    from c2seg.modelfile import BandSpec, Header, save_model
    from c2seg.models import build_model
    from c2seg.recipes import load_recipe

    sets = ["model.widths=[8, 16]", "normalisation=source", "prediction={window_px: 256, tta: false}"]
    recipe = load_recipe("unet", "tiny", sets)
    torch.manual_seed(0)
    counts = {name: bands for name, (bands, _) in stacks.items()}
    net = build_model(recipe.model, counts, CLASSES)
    statistics = {
        name: {"count": 1, "mean": [SHIFT] * n, "std": [1 / FACTOR] * n, "minimum": [0.0] * n, "maximum": [4000.0] * n}
        for name, n in counts.items()
    }
    header = Header(
        recipe=recipe, inputs={name: tuple(BandSpec() for _ in range(n)) for name, n in counts.items()},
        statistics=statistics, legend=c2seg13().as_dict(), provenance={},
    )  # fmt: skip
    save_model(path, header, {name: value.numpy() for name, value in net.state_dict().items()})


def loaded_mib() -> float:
    """Return the resident memory now, and let its peak begin here: what loading took for a moment stays out."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory_mib("VmRSS")


def peak_mib() -> float:
    return _memory_mib("VmHWM")


def _memory_mib(kind: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


# --- the run -----------------------------------------------------------------------------------------------------------

PARTS = {"ours": part_ours, "peer": part_peer, "engine": part_engine, "machine": part_machine, "city": part_city}


def measure(python: str, part: str, folder: Path, *, fresh_memory: bool = False, **options: Any) -> dict[str, Any]:
    """Run a part in a process of its own; ``fresh_memory``: with freed memory returned to the system, as glibc has it."""
    command = [python, "-W", "ignore", __file__, "--part", part, "--folder", str(folder)]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name.replace('_', '-')}")
        elif value is not False:
            command += [f"--{name.replace('_', '-')}", str(value)]
    environment = os.environ | ({"MALLOC_PERTURB_": "0"} if fresh_memory else {})  # that any is set holds ours back
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {k: statistics.median(run[k] for run in runs) for k, v in runs[0].items() if isinstance(v, float)} | {
        "stages": runs[-1].get("stages"), "runs_seconds": [round(run["seconds"], 2) for run in runs],
    }  # fmt: skip


def agreement(a: Path, b: Path) -> float:
    import rasterio

    with rasterio.open(a) as first, rasterio.open(b) as second:
        return float((first.read(1) == second.read(1)).mean())


def speed(folder: Path, peers: str | None, runs: int, batch: int) -> dict[str, Any]:
    """Run all variants in turns on one scene."""
    ours: dict[str, dict[str, Any]] = {
        "ours torch 32": {"alone": True},
        "ours torch 32, batch 1": {"batch": 1},
        "ours torch bf16, batch 1": {"precision": "bf16", "batch": 1},
        "ours torch 32, fresh memory": {"fresh_memory": True},
        "ours torch 32, fresh memory, NCHW": {"fresh_memory": True, "nchw": True},
        "ours torch bf16": {"precision": "bf16", "alone": True},
        "ours openvino 32": {"backend": "openvino", "alone": True},
        "ours openvino bf16": {"backend": "openvino", "precision": "bf16", "alone": True},
        "ours torch 32, overlap 50 %": {"overlap": WINDOW // 2},
    }
    others: dict[str, dict[str, Any]] = {
        "monai": {"peer": "monai"},
        "monai, channels last": {"peer": "monai", "channels_last": True},
        "monai, channels last, batch 4": {"peer": "monai", "channels_last": True, "batch": 4},
        "monai, channels last, bf16": {"peer": "monai", "channels_last": True, "precision": "bf16"},
        "terratorch": {"peer": "terratorch"},
        "terratorch, channels last": {"peer": "terratorch", "channels_last": True},
    }
    variants = {name: (sys.executable, "ours", more) for name, more in ours.items()}
    if peers:
        variants |= {name: (peers, "peer", more) for name, more in others.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for _ in range(runs):
        for name, (python, part, more) in variants.items():
            options = {"batch": batch if part == "ours" else 1} | more
            found[name].append(measure(python, part, folder, out=_map_of(folder, name), **options))
            say(f"  {name:34} {found[name][-1]['seconds']:7.2f} s")
    table = {name: medians(runs) for name, runs in found.items()}
    for name, row in table.items():
        if "network_seconds" in row:
            for kind in ("seconds", "cpu_seconds"):
                ratios = [run[kind] / run[f"network_{kind}"] for run in found[name]]
                row[f"{kind}_over_network"] = statistics.median(ratios)
    for name, row in table.items():
        row["same_classes"] = agreement(_map_of(folder, "ours torch 32"), _map_of(folder, name))
    return table


def _map_of(folder: Path, name: str) -> Path:
    return folder / f"{''.join(c if c.isalnum() else '_' for c in name)}.tif"


# What a step gives by itself: seconds of the first over seconds of the second.
STEPS = {
    "channels last in place of NCHW, MONAI": ("monai", "monai, channels last"),
    "channels last in place of NCHW, ours": ("ours torch 32, fresh memory, NCHW", "ours torch 32, fresh memory"),
    "the engine, 32 bits": ("monai, channels last", "ours torch 32, fresh memory"),
    "a thread for each window, torch 32 bits": ("ours torch 32, batch 1", "ours torch 32"),
    "a thread for each window, torch bf16": ("ours torch bf16, batch 1", "ours torch bf16"),
    "freed memory taken again, 32 bits": ("ours torch 32, fresh memory", "ours torch 32"),
    "engine and memory, bf16": ("monai, channels last, bf16", "ours torch bf16"),
    "bf16 in place of 32 bits, torch": ("ours torch 32", "ours torch bf16"),
    "bf16 in place of 32 bits, openvino": ("ours openvino 32", "ours openvino bf16"),
    "openvino in place of torch, 32 bits": ("ours torch 32", "ours openvino 32"),
    "openvino in place of torch, bf16": ("ours torch bf16", "ours openvino bf16"),
    "overlap a quarter in place of a half": ("ours torch 32, overlap 50 %", "ours torch 32"),
}


def speed_report(results: dict[str, Any]) -> list[str]:
    rows = results["speed"]
    head = f"{'medians':34} {'s':>7} {'CPU s':>7} {'/network':>8} {'CPU/net.':>8} {'classes':>8} {'x monai':>8} {'x terra':>8}"
    lines = [head]
    for name, row in rows.items():
        times = [rows[peer]["seconds"] / row["seconds"] if peer in rows else None for peer in ("monai", "terratorch")]
        cells = [row.get("seconds_over_network"), row.get("cpu_seconds_over_network"), row["same_classes"], *times]
        text = " ".join(f"{'' if cell is None else f'{cell:.3f}':>8}" for cell in cells)
        lines.append(f"{name:34} {row['seconds']:7.2f} {row['cpu_seconds']:7.2f} {text}")
    lines += [
        f"{name:38} {rows[slow]['seconds'] / rows[fast]['seconds']:.2f} times faster"
        for name, (slow, fast) in STEPS.items() if slow in rows and fast in rows
    ]  # fmt: skip
    lines.append(f"all but the network: {results['engine']['cpu_ms_per_window']:.1f} ms of one processor a window")
    lines += [f"{name}: {results['machine'][name]:.3g}" for name in sorted(results["machine"])]
    return lines


def report(results: dict[str, Any]) -> str:
    """Return the tables of all that was measured, as text."""
    lines = speed_report(results) if "speed" in results else []
    for name, row in results.get("memory", {}).items():
        lines.append(f"memory above the loaded model, {name:20} {row['extra_mib']:7.0f} MiB in {row['seconds']:.1f} s")
    for name, row in results.get("full", {}).items():
        lines.append(
            f"{name:6} {row['seconds']:7.1f} s, {row['seconds_per_megapixel']:.3f} s/Mpx "
            f"({row['over_small']:.2f} x small), {row['extra_mib']:.0f} MiB above the loaded model"
        )
    lines.append(f"load before {results['load']}, after {results['load_after']}; {results['processors']} processors")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(options: argparse.Namespace) -> None:
    results: dict[str, Any] = {"load": os.getloadavg(), "processors": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        base = Path(name)
        msi = {"msi": (BANDS, 1)}
        if options.size:
            measure_speed(base / "scene", options, msi, results)
        if options.memory_size:
            # One convolution of single pixels in place of the network: its own memory, the same for all, stays out.
            say(f"memory on {options.memory_size} x {options.memory_size}")
            write_scene(base / "wide", options.memory_size, options.memory_size, msi, "deflate")
            rows: dict[str, tuple[str, str, dict[str, Any]]] = {"ours": (sys.executable, "ours", {})}
            if options.peers:
                rows |= {name: (options.peers, "peer", {"peer": name}) for name in ("monai", "terratorch")}
            results["memory"] = {}
            for row, (python, part, more) in rows.items():
                more |= {"batch": options.batch if part == "ours" else 1}
                found = measure(python, part, base / "wide", out=base / "wide" / "map.tif", **more)
                results["memory"][row] = found
                say(f"  {row:34} {found['seconds']:7.1f} s, {found['extra_mib']:7.0f} MiB")
        if options.full:
            results["full"] = full_size(base, options)
    results["load_after"] = os.getloadavg()
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(report(results))


def measure_speed(
    folder: Path, options: argparse.Namespace, stacks: dict[str, tuple[int, int]], results: dict[str, Any]
) -> None:
    """Fill in ``machine``, ``engine`` and ``speed``."""
    say(f"load {os.getloadavg()}; scene of {options.size} x {options.size}")
    write_scene(folder, options.size, options.size, stacks, "deflate")
    learn(folder, options.steps)
    write_onnx(folder)
    results["machine"] = machine = measure(sys.executable, "machine", folder)
    runs = [measure(sys.executable, "engine", folder, out=folder / "engine.tif") for _ in range(options.runs)]
    results["engine"] = {"cpu_ms_per_window": statistics.median(run["cpu_ms_per_window"] for run in runs)}
    results["speed"] = speed(folder, options.peers, options.runs, options.batch)
    for precision in ("32", "bf16"):
        row = results["speed"][f"ours torch {precision}"]
        windows = len(range(0, options.size - WINDOW, WINDOW - OVERLAP)) + 1
        reached = machine["window_gflop"] * windows**2 / row["network_seconds"]
        machine[f"network_share_of_gemm_{precision}"] = reached / machine[f"gemm_gflops_{precision}"]


def full_size(base: Path, options: argparse.Namespace) -> dict[str, Any]:
    stacks = {"msi": (4, 1), "sar": (2, 1), "hsi": (116, 3)}
    write_small_model(base / "small.safetensors", stacks)
    write_scene(base / "first", 256, 256, stacks, None)
    found: dict[str, Any] = {}
    for name, (height, width) in {"small": (3000, 3000), "full": (13474, 8706)}.items():
        say(f"writing {height} x {width} with {stacks}")
        write_scene(base / name, height, width, stacks, None)
        row = measure(sys.executable, "city", base / name, out=base / f"{name}.tif", backend=options.city_backend)
        row["seconds_per_megapixel"] = row["seconds"] / (height * width / 1e6)
        found[name] = row
        row["over_small"] = row["seconds_per_megapixel"] / found["small"]["seconds_per_megapixel"]
        say(f"  {name}: {row['seconds']:.1f} s, {row['seconds_per_megapixel']:.3f} s/Mpx, {row['extra_mib']:.0f} MiB")
        for stack in stacks:
            (base / name / f"{stack}.tif").unlink()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="a Python with monai and terratorch")
    parser.add_argument("--size", type=int, default=3000, help="side of the scene for times, pixels; 0: not measured")
    parser.add_argument("--memory-size", type=int, default=8000, help="side of the scene for memory; 0: not measured")
    parser.add_argument("--full", action="store_true", help="also map a simulated scene of Beijing's size")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of learning")
    parser.add_argument("--scratch", type=Path, help="folder for scenes (about 8 GB with --full)")
    parser.add_argument("--city-backend", default="torch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--backend", default="torch", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="32", help=argparse.SUPPRESS)
    parser.add_argument("--overlap", type=int, default=OVERLAP, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=2, help="windows at a time of ours; peers take 1")
    parser.add_argument("--channels-last", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--nchw", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(PARTS[arguments.part](arguments.folder, arguments.out, arguments)))
    else:
        main(arguments)
