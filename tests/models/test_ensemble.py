from __future__ import annotations

import re

import pytest
import torch

from c2seg.errors import ModelFileError
from c2seg.models.ensemble import EnsembleModel, tensor_prefix
from c2seg.recipes import load_recipe

BANDS = {"msi": 4}


def test_weights_that_do_not_fit_are_told_in_one_line() -> None:
    recipe = load_recipe("unet", "demo", ["inputs=[msi]"])
    model = EnsembleModel(recipe, BANDS, 13)
    prefix = tensor_prefix(*model.inputs)
    tensors = {prefix + name: torch.clone(value) for name, value in model.networks[0].state_dict().items()}
    # As model files hold a single number.
    tensors[f"{prefix}encoder.0.1.num_batches_tracked"] = torch.zeros(1, dtype=torch.int64)
    model.load(tensors)
    del tensors[f"{prefix}head.bias"]
    tensors[f"{prefix}head.weight"] = tensors[f"{prefix}head.weight"][:5]
    tensors |= {f"{prefix}tail.weight": torch.zeros(1), f"{prefix}tail.bias": torch.zeros(1)}
    told = (
        "the weights do not fit the model UNet: missing tensors: 1 (such as head.bias), unexpected tensors: 2 (such "
        "as tail.weight), tensors of another shape: 1 (such as head.weight)"
    )
    with pytest.raises(ModelFileError, match=f"^{re.escape(told)}$"):
        model.load(tensors)
