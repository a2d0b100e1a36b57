"""What benchmarks/mapping.py measures: its scene, its network, and each measurement as a process of its own.

    python benchmarks/mapping_parts.py --part PART --folder FOLDER [--out MAP.tif] ...

prints one JSON object. A peer's part needs no c2seg: it runs in the peers' own environment.
"""

from __future__ import annotations

import argparse
import json
import sys
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
    reference = class_map(top, left, size, ratio)
    noise = rng.normal(0, 150, size).astype(np.float32)
    return np.stack([(means[:, band][reference] + np.roll(noise, 7 * band, axis=1)).astype(np.int16)
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
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    rng = np.random.default_rng(1)
    with rasterio.open(folder / "msi.tif") as dataset:
        for _ in range(steps):
            places = [
                (int(rng.integers(dataset.height - 128)), int(rng.integers(dataset.width - 128))) for _ in range(8)
            ]
            images = np.stack([dataset.read(window=((r, r + 128), (c, c + 128))) for r, c in places])
            reference = np.stack([class_map(r, c, (128, 128), 1) for r, c in places])
            loss = torch.nn.functional.cross_entropy(net(_tensor(images)), torch.from_numpy(reference).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
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
        from c2seg.models import place
        from c2seg.predict.backends.torch import TorchPredictor

        device = torch.device("cpu")
        net = wrapped(network(folder / "weights.pt"), nchw)
        return TorchPredictor(net if nchw else place(net, device), CLASSES, device, precision)
    from c2seg.artifacts import Graph, Header, ModelFile
    from c2seg.legend import c2seg13
    from c2seg.predict.backends import BackendOptions, load_predictor
    from c2seg.recipes import load_recipe

    header = Header(recipe=load_recipe("unet", "tiny"), inputs={}, statistics={}, legend=c2seg13())
    graph = Graph((folder / "network.onnx").read_bytes(), 32)
    return load_predictor(ModelFile(header, {}, "", graph), backend, BackendOptions(precision=precision))


def write_onnx(folder: Path) -> None:
    from c2seg.predict.backends.export import network_graph

    shapes = {"msi": (2, BANDS, 64, 64)}
    graph = network_graph(wrapped(network(folder / "weights.pt")), shapes, 32, {})
    (folder / "network.onnx").write_bytes(graph.onnx)


def scene_reader(folder: Path) -> Any:
    from c2seg.data import Normalizer, SceneReader, open_city

    scene = open_city(folder).scenes[0]
    shift, factor = np.full(BANDS, SHIFT, np.float32), np.full(BANDS, FACTOR, np.float32)
    return SceneReader(scene, ("msi",), Normalizer({"msi": shift}, {"msi": factor}))


def part_ours(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Map file to file; also run the network alone on the same windows, already read, in the same process."""
    from c2seg.artifacts import MapKey
    from c2seg.legend import c2seg13
    from c2seg.predict import MapOptions, WindowPlan, predict_scene

    model, reader = predictor(folder, options.backend, options.precision, options.nchw), scene_reader(folder)
    grid = reader.scene.grid
    plan = WindowPlan(grid.height, grid.width, WINDOW, options.overlap, 32)
    warm = np.zeros((options.batch, BANDS, WINDOW, WINDOW), np.float32)
    model.predict({"msi": warm}, np.ones((options.batch, WINDOW, WINDOW), bool))  # loading ends with the first window
    before = loaded_mib()
    begun, work = time.perf_counter(), time.process_time()
    result = predict_scene(
        reader, model, plan, c2seg13(), MapOptions(out, batch_size=options.batch, overwrite=True), MapKey()
    )
    wall, work = time.perf_counter() - begun, time.process_time() - work
    found = {"seconds": wall, "cpu_seconds": work, "extra_mib": peak_mib() - before, "stages": result.stages}
    if options.alone:
        found["network_seconds"], found["network_cpu_seconds"] = network_alone(model, reader, plan, options)
    return found


def part_engine(folder: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the processor milliseconds a window, file to file, of all but the network: its place takes ready scores."""
    from c2seg.artifacts import MapKey
    from c2seg.legend import c2seg13
    from c2seg.predict import MapOptions, WindowPlan, predict_scene

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
    predict_scene(reader, model, plan, c2seg13(), MapOptions(out, overwrite=True), MapKey())
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
    windowed = tiled_inference(options.peer, WINDOW, options.overlap, options.batch)
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


def tiled_inference(peer: str, window: int, overlap: int, batch: int) -> Callable[[Any, Any], Any]:
    """Return the windowed inference of ``monai`` or ``terratorch`` as a function of a network and an image [1, C, H, W]."""
    return {"monai": _monai, "terratorch": _terratorch}[peer](window, overlap, batch)


def _monai(window: int, overlap: int, batch: int) -> Callable[[Any, Any], Any]:
    from monai.inferers import sliding_window_inference

    def run(net: Any, image: Any) -> Any:
        return sliding_window_inference(image, (window, window), batch, net, overlap=overlap / window)

    return run


def _terratorch(window: int, overlap: int, batch: int) -> Callable[[Any, Any], Any]:
    if "terratorch" not in sys.modules:
        _skip_the_top_of_terratorch()
    from terratorch.tasks.tiled_inference import tiled_inference

    # Its overlap is crop - stride - 2 * delta: the same share of new pixels per window as ours with its default delta.
    def run(net: Any, image: Any) -> Any:
        return tiled_inference(net, image, crop=window, stride=window - overlap, batch_size=batch)

    return run


def _skip_the_top_of_terratorch() -> None:
    """Let only its tiled inference be imported: the package's top imports all its data sets and models, and what they need."""
    import importlib.util
    import types

    spec = importlib.util.find_spec("terratorch")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("terratorch")
    place = Path(next(iter(spec.submodule_search_locations)))
    folders = {"terratorch": place, "terratorch.models": place / "models", "terratorch.tasks": place / "tasks"}
    for name, path in folders.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    sys.modules["terratorch.registry"] = types.ModuleType("terratorch.registry")
    sys.modules["terratorch.registry"].BACKBONE_REGISTRY = None


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
    from c2seg.predict import MapOptions
    from c2seg.predict.city import predict

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

    from c2seg.artifacts import Header, write_model_file
    from c2seg.data import Band, BandStatistics
    from c2seg.legend import c2seg13
    from c2seg.models import build_model
    from c2seg.recipes import load_recipe

    sets = ["model.widths=[8, 16]", "normalization=source", "prediction={window_px: 256, tta: false}"]
    recipe = load_recipe("unet", "tiny", sets)
    torch.manual_seed(0)
    counts = {name: bands for name, (bands, _) in stacks.items()}
    net = build_model(recipe.model, counts, CLASSES)
    statistics = {
        name: BandStatistics(1, *(np.full(n, value) for value in (SHIFT, 1 / FACTOR, 0.0, 4000.0)))
        for name, n in counts.items()
    }
    header = Header(
        recipe=recipe, inputs={name: tuple(Band() for _ in range(n)) for name, n in counts.items()},
        statistics=statistics, legend=c2seg13(),
    )  # fmt: skip
    write_model_file(path, header, {name: value.numpy() for name, value in net.state_dict().items()})


def loaded_mib() -> float:
    """Return the resident memory now, and let its peak begin here: what loading took for a moment stays out."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory_mib("VmRSS")


def peak_mib() -> float:
    return _memory_mib("VmHWM")


def _memory_mib(kind: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


PARTS = {"ours": part_ours, "peer": part_peer, "engine": part_engine, "machine": part_machine, "city": part_city}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--precision", default="32")
    parser.add_argument("--overlap", type=int, default=OVERLAP)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--nchw", action="store_true")
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    if arguments.part != "peer":
        from c2seg.process import keep_freed_memory, set_up

        set_up()  # as the commands do
        keep_freed_memory()
    print(json.dumps(PARTS[arguments.part](arguments.folder, arguments.out, arguments)))
