"""The model that predicts: one network or an ensemble of several, with the classes as its only outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import lcm

import torch
from torch import Tensor, nn

from c2seg.artifacts import FOREST
from c2seg.errors import ModelFileError
from c2seg.models import build_model
from c2seg.recipes.schema import Recipe

__all__ = ["EnsembleModel", "output_count", "tensor_prefix"]


class EnsembleModel(nn.Module):
    """The networks of a recipe. The last output, that of the background, is dropped.

    Several networks are averaged, in logits or in probabilities as the recipe says. The result is divided by
    ``prediction.temperature``.
    """

    def __init__(self, recipe: Recipe, bands: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        outputs = output_count(recipe, num_classes)
        self.num_classes = num_classes
        self.ensemble = recipe.ensemble
        self.temperature = recipe.prediction.temperature
        networks = recipe.ensemble_networks(tuple(bands))
        self.inputs = {network.path: network.inputs for network in networks}
        self.networks = nn.ModuleList(
            build_model(network.model, {modality: bands[modality] for modality in network.inputs}, outputs)
            for network in networks
        )
        self.stride_px = lcm(*(int(getattr(network, "stride_px", 1)) for network in self.networks))

    @classmethod
    def loaded(
        cls, recipe: Recipe, bands: Mapping[str, int], num_classes: int, tensors: Mapping[str, Tensor]
    ) -> EnsembleModel:
        """Return the networks with the tensors of a model file.

        Raises ModelFileError if they do not fit. That is found before memory is taken: networks are first made of shapes alone.
        """
        try:
            with torch.device("meta"):
                shapes = cls(recipe, bands, num_classes)
        except (NotImplementedError, RuntimeError):  # of a plug-in, perhaps, which computes while it is built
            shapes = None
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            raise ModelFileError(f"the model's recipe makes no network: {str(error)[:200]}") from error
        if shapes is not None:
            shapes._check(tensors)
        model = cls(recipe, bands, num_classes)
        model.load(tensors)
        return model

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors of a model file; ModelFileError if they do not fit."""
        self._check(tensors)
        for _, network, state in self._states(tensors):
            network.load_state_dict(state)

    def _states(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, nn.Module, dict[str, Tensor]]]:
        """Yield every network with its name and its tensors."""
        weights = {key: value for key, value in tensors.items() if not key.startswith(FOREST)}
        for name, network in zip(self.inputs, self.networks, strict=True):
            prefix = tensor_prefix(name)
            yield name, network, {key.removeprefix(prefix): v for key, v in weights.items() if key.startswith(prefix)}

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        for name, network, state in self._states(tensors):
            if wrong := _misfits(state, network.state_dict()):
                part = f" of {name}" if len(self.inputs) > 1 else ""
                raise ModelFileError(f"the weights{part} do not fit the model {type(network).__name__}: {wrong}")

    def forward(self, patch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``logits`` [B, K, H, W] of the K classes."""
        outputs = [
            network({name: patch[name] for name in inputs})["logits"][:, : self.num_classes]
            for inputs, network in zip(self.inputs.values(), self.networks, strict=True)
        ]
        if len(outputs) == 1:
            logits = outputs[0]
        elif self.ensemble == "logits":
            logits = torch.stack(outputs).mean(dim=0)
        else:
            logits = (
                torch.stack([output.float().softmax(dim=1) for output in outputs]).mean(dim=0).clamp_min(1e-9).log()
            )
        return {"logits": logits if self.temperature == 1 else logits / self.temperature}


def tensor_prefix(path: str) -> str:
    """Return the prefix of the tensors of a network (``stage.name``) in a model file."""
    return f"networks.{path}."


def output_count(recipe: Recipe, num_classes: int) -> int:
    """Return the number of outputs of a recipe's networks: the classes, and the background if there is one."""
    return num_classes + (recipe.background != "none")


def _misfits(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return how tensors differ from the expected ones, with an example of each kind."""
    both = [key for key in expected if key in weights]
    kinds = {
        "missing tensors": [key for key in expected if key not in weights],
        "unexpected tensors": [key for key in weights if key not in expected],
        "tensors of another shape": [key for key in both if not _same_shape(weights[key], expected[key])],
        "tensors of another type": [
            key for key in both if expected[key].is_floating_point() and not weights[key].is_floating_point()
        ],
    }
    return ", ".join(f"{kind}: {len(keys)} (such as {keys[0]})" for kind, keys in kinds.items() if keys)


def _same_shape(given: Tensor, expected: Tensor) -> bool:
    return given.shape == expected.shape or (expected.ndim == 0 and given.numel() == 1)
