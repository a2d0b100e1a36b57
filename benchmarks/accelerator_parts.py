"""The maps that ``accelerator.py`` measures, ours and those of the peers, and the peak that shares refer to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mapping_parts import tiled_inference
from torch import Tensor, nn

from c2seg.artifacts import read_model_file
from c2seg.models import place
from c2seg.models.cost import model_cost
from c2seg.models.ensemble import EnsembleModel
from c2seg.pipeline import fit
from c2seg.predict import MapOptions
from c2seg.predict.city import open_for_model, predict
from c2seg.progress import no_progress
from c2seg.recipes import load_recipe
from c2seg.types import Window

__all__ = ["MapFigures", "absent_peer", "fitted", "map_figures", "peak_tflops"]


@dataclass(frozen=True)
class MapFigures:
    """What a map took."""

    seconds: float
    processor_seconds: float
    megapixels: float
    gflops: float
    """Of the networks, over all pixels once: what windows share and transforms repeat is not counted."""
    peak_gib: float


def peak_tflops(device: torch.device, precision: str) -> float:
    """Return what one large matrix product reaches; the best of five."""
    side = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        synchronize(device)
        begun = time.perf_counter()
        one @ other
        synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best / 1e12


def synchronize(device: torch.device) -> None:
    """Wait for a CUDA device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fitted(recipe: str, preset: str, pair: Path, folder: Path, device: torch.device, *, alone: bool) -> Path:
    """Return the model file of two iterations; ``alone``: of networks without a forest and without transforms."""
    out = folder / f"{recipe}-{preset}-{'alone' if alone else 'whole'}"
    if not (out / "model.safetensors").exists():
        changes = ["training.iterations=2", "validation.folds=0", "training.precision=32"]
        changes += ["model.pretrained=null"] if recipe == "mmglots" else []
        changes += ["forest=null", "prediction.tta=false", "prediction.decision=argmax"] if alone else []
        source, target = sorted(path.parent for path in pair.glob("*/city.yaml"))
        fit(load_recipe(recipe, preset, changes), [source], out, target=target, device=device.type, overwrite=True)
    return out / "model.safetensors"


def map_figures(way: str, model: Path, city: Path, out: Path, device: torch.device, precision: str) -> MapFigures:
    """Return the figures of the second of two maps; the way is ``recipe``, ``networks``, ``monai`` or ``terratorch``."""
    make = (
        _ours(model, city, out, device, precision)
        if way in {"recipe", "networks"}
        else _peer(way, model, city, device, precision)
    )
    make()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun, spent = time.perf_counter(), time.process_time()
    pixels = make()
    synchronize(device)
    seconds, worked = time.perf_counter() - begun, time.process_time() - spent
    header = read_model_file(model).header
    network = _network(model).to("meta")
    side = header.recipe.prediction.window_px
    try:
        gflops = model_cost(network, header.channels, side)[1] / side**2 * pixels
    except (NotImplementedError, RuntimeError):
        gflops = 0.0
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return MapFigures(seconds, worked, pixels / 1e6, gflops, peak)


def _ours(model: Path, city: Path, out: Path, device: torch.device, precision: str) -> Callable[[], int]:
    def make() -> int:
        predict(model, city, MapOptions(out, overwrite=True), device=device.type, precision=precision)
        return int(np.prod(_size(model, city)))

    return make


def _size(model: Path, city: Path) -> tuple[int, int]:
    grid = open_for_model(read_model_file(model).header, city, no_progress).city.scenes[0].grid
    return grid.height, grid.width


def _network(model: Path) -> EnsembleModel:
    loaded = read_model_file(model)
    tensors = {
        name: torch.from_numpy(value.copy()) for name, value in loaded.tensors.items() if name.startswith("networks.")
    }
    header = loaded.header
    return EnsembleModel.loaded(header.recipe, header.channels, header.legend.num_classes, tensors).eval()


class _OneTensor(nn.Module):
    """A network of modalities as peers call it: one tensor of all channels in, logits out."""

    def __init__(self, network: nn.Module, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.network, self.channels = network, dict(channels)

    def forward(self, image: Tensor) -> Tensor:
        parts = torch.split(image, list(self.channels.values()), dim=1)
        patch = {
            name: part.contiguous(memory_format=torch.channels_last)
            for name, part in zip(self.channels, parts, strict=True)
        }
        return self.network(patch)["logits"].float()


def _peer(way: str, model: Path, city: Path, device: torch.device, precision: str) -> Callable[[], int]:
    """Return a map as the peers' documentation makes it: the normalized image in memory, windows, arg-max, classes as bytes."""
    header = read_model_file(model).header
    network = place(_OneTensor(_network(model), header.channels), device)
    settings = header.recipe.prediction
    windowed = tiled_inference(way, settings.window_px, settings.overlap, settings.batch_size)

    def make() -> int:
        prepared = open_for_model(header, city, no_progress)
        reader = prepared.readers(tuple(header.inputs))[0]
        grid = reader.scene.grid
        patch, _ = reader(Window(0, 0, grid.height, grid.width))
        image = torch.from_numpy(np.concatenate([patch[name] for name in header.channels])[None]).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            classes = windowed(network, image)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return int(classes.size)

    return make


def absent_peer(way: str) -> str | None:
    """Return why a peer is not measured, if it cannot be imported."""
    if way not in {"monai", "terratorch"}:
        return None
    try:
        tiled_inference(way, 64, 16, 1)
    except ImportError as error:
        return f"{way} is not installed ({type(error).__name__}): pip install {way}"
    return None
