"""The parts of a model that predict alone: each of its networks, and the forest beside them."""

from __future__ import annotations

from c2seg.artifacts import FOREST, ModelFile
from c2seg.errors import needs_extra
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.backends.forest import forest_predictor
from c2seg.recipes.models import ForestModel
from c2seg.recipes.schema import ONLY_STAGE

__all__ = ["part_predictors"]


def part_predictors(model: ModelFile) -> dict[str, Predictor]:
    """Return the predictors of a model's networks and of its forest by name; none of a model with one part, or of a graph."""
    header = model.header
    if isinstance(header.recipe.model, ForestModel) or model.graph is not None:
        return {}
    with needs_extra("predicting with parts of a model", "train"):
        from c2seg.models.ensemble import tensor_prefix
        from c2seg.predict.backends.torch import network_predictor
    parts: dict[str, Predictor] = {}
    for network in header.recipe.ensemble_networks(tuple(header.inputs)):
        here = tensor_prefix(network.path)
        alone = tensor_prefix(f"{ONLY_STAGE}.0")
        weights = {alone + k.removeprefix(here): v for k, v in model.tensors.items() if k.startswith(here)}
        bands = {name: header.channels[name] for name in network.inputs}
        recipe = header.recipe.alone(network)
        parts[f"network {network.path}"] = network_predictor(
            recipe, bands, header.legend.num_classes, weights, BackendOptions()
        )
    if header.recipe.forest is not None:
        tensors = {k.removeprefix(FOREST): v for k, v in model.tensors.items() if k.startswith(FOREST)}
        parts["forest"] = forest_predictor(
            header.recipe.forest.model, header.channels, header.legend.num_classes, tensors
        )
    return parts if len(parts) > 1 else {}
