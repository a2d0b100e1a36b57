"""Networks as predictors through PyTorch: channels last, optional bfloat16, test-time transforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from c2seg.artifacts import ModelFile
from c2seg.data import Patch
from c2seg.errors import InputError, one_line, unknown_name
from c2seg.models import choose_device, limit_threads, place, threads_unchanged
from c2seg.models.ensemble import EnsembleModel
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.device_calls import CudaWork, DeviceCalls
from c2seg.predict.backends.device_scores import DeviceScores
from c2seg.predict.backends.threads import WindowThreads
from c2seg.predict.backends.tta import tta_transforms
from c2seg.recipes import Recipe

__all__ = ["TorchPredictor", "load", "network_predictor"]


@dataclass(frozen=True)
class TorchPredictor:
    """A network in evaluation mode; scores are softmax probabilities, averaged over the transforms."""

    model: nn.Module
    num_classes: int
    device: torch.device
    precision: str = "32"
    tta: bool = False
    compiled: bool = False
    tta_transforms: int = 8
    halo_px: int = 0
    threads: WindowThreads = field(default_factory=lambda: torch_threads(), repr=False)
    calls: DeviceCalls | None = field(default=None, repr=False)
    """How batches are computed on a device with memory of its own; None: on the CPU."""

    @property
    def on_device(self) -> DeviceScores | None:
        """Scores that stay on the device, for the engine; None on the CPU."""
        if self.calls is None:
            return None
        return DeviceScores(lambda patch, _: self._on_device(patch), self.device)

    @property
    def stride_px(self) -> int:
        """Windows must have sizes that are multiples of this."""
        return int(getattr(self.model, "stride_px", 1))

    def predict(self, patch: Patch, valid: np.ndarray) -> np.ndarray:
        """Return probabilities float32 [B, K, H, W].

        On a CPU each window goes to a thread of its own: its result does not depend on the other windows of the batch.
        """
        shape = len(valid), self.num_classes, *valid.shape[1:]
        if self.calls is None and not self.compiled:
            return self.threads.map(self._predict, patch, shape)
        with self._compiling():
            if self.calls is None:
                return self.threads.whole(self._predict, patch, shape)
            scores = self.threads.arrays.acquire(shape)
            torch.from_numpy(scores).copy_(self._on_device(patch))
            return scores

    @contextmanager
    def _compiling(self) -> Iterator[None]:
        """Say in one line what torch.compile says in many."""
        try:
            yield
        except RuntimeError as error:
            if not self.compiled or "_dynamo" not in type(error).__module__:
                raise
            reason = one_line(getattr(error, "inner_exception", error))[:200]
            raise InputError(f"`compile`: the network cannot be compiled here ({reason}); leave it out") from error

    def release(self, scores: np.ndarray) -> None:
        """Take back what ``predict`` returned."""
        self.threads.arrays.release(scores)

    def _on_device(self, patch: Patch) -> Tensor:
        """Return probabilities float32 [B, K, H, W] on the device."""
        assert self.calls is not None
        with self._compiling(), torch.no_grad():  # inference tensors could not be blended in place
            return self.calls(self._probabilities, patch)

    @torch.inference_mode()
    def _predict(self, patch: Patch, scores: np.ndarray) -> None:
        """Write the probabilities of windows on the CPU."""
        inputs = {name: torch.from_numpy(values) for name, values in patch.items()}
        output = torch.from_numpy(scores)
        if self.tta:
            output.copy_(self._probabilities(inputs))
            return
        with self._reduced():
            torch.softmax(self._logits(inputs), dim=1, out=output)  # without a copy of so many megabytes

    def _probabilities(self, inputs: dict[str, Tensor]) -> Tensor:
        with self._reduced():
            if not self.tta:
                return self._logits(inputs).softmax(dim=1)
            total = sum(self._transformed(inputs, turns, flip) for turns, flip in tta_transforms(self.tta_transforms))
            assert isinstance(total, Tensor)
            return total / self.tta_transforms

    def _reduced(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _transformed(self, inputs: dict[str, Tensor], turns: int, flip: bool) -> Tensor:
        seen = {name: _turn(values, turns, flip) for name, values in inputs.items()}
        probability = self._logits(seen).softmax(dim=1)
        if flip:
            probability = probability.flip(-1)
        return torch.rot90(probability, -turns, dims=(-2, -1)) if turns else probability  # by 0 it would copy

    def _logits(self, inputs: dict[str, Tensor]) -> Tensor:
        seen = {name: values.contiguous(memory_format=torch.channels_last) for name, values in inputs.items()}
        # Classes outermost before the softmax: blending reads one class after the other.
        return torch.as_tensor(self.model(seen)["logits"].contiguous().float())


def load(model: ModelFile, options: BackendOptions) -> TorchPredictor:
    """Return the predictor of a network's model file. Raises ModelFileError when the weights do not fit."""
    header = model.header
    return network_predictor(header.recipe, header.channels, header.legend.num_classes, model.tensors, options)


def network_predictor(
    recipe: Recipe,
    bands: Mapping[str, int],
    num_classes: int,
    weights: Mapping[str, np.ndarray],
    options: BackendOptions,
) -> TorchPredictor:
    """Return the predictor of a recipe's network, or ensemble, with these weights, named as in a model file."""
    if options.precision not in {"32", "bf16"}:
        raise InputError(unknown_name("precision", options.precision, ["32", "bf16"]))
    with torch.random.fork_rng(devices=[]):  # the random initial weights are replaced
        tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        network = EnsembleModel.loaded(recipe, bands, num_classes, tensors)
    device = choose_device(options.device)
    network = place(network.eval(), device)
    if options.compile:
        network.compile()
    return TorchPredictor(
        network, num_classes, device, options.precision, options.tta, options.compile, options.tta_transforms,
        threads=torch_threads(options.threads), calls=DeviceCalls(CudaWork(device)) if device.type == "cuda" else None,
    )  # fmt: skip


def torch_threads(count: int | None = None) -> WindowThreads:
    """Return threads for windows whose layers take ``count`` threads together; None: as many as torch takes here."""
    return WindowThreads(count or torch.get_num_threads(), limit_threads, threads_unchanged)


def _turn(values: Tensor, turns: int, flip: bool) -> Tensor:
    turned = torch.rot90(values, turns, dims=(-2, -1)) if turns else values
    return turned.flip(-1) if flip else turned
