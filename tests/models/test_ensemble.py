from __future__ import annotations

import re

import pytest
import torch

from c2seg.errors import ModelFileError
from c2seg.models.ensemble import EnsembleModel
from c2seg.recipes import load_recipe

BANDS = {"msi": 4}


def test_weights_that_do_not_fit_are_told_in_one_line() -> None:
    recipe = load_recipe("unet", "demo", ["inputs=[msi]"])
    tensors = {
        name: torch.clone(value) for name, value in EnsembleModel(recipe, BANDS, 13).networks[0].state_dict().items()
    }
    # As model files hold a single number.
    tensors["encoder.0.1.num_batches_tracked"] = torch.zeros(1, dtype=torch.int64)
    EnsembleModel(recipe, BANDS, 13).load(tensors)
    del tensors["head.bias"]
    tensors |= {"head.weight": tensors["head.weight"][:5], "tail.weight": torch.zeros(1), "tail.bias": torch.zeros(1)}
    told = (
        "the weights do not fit the model UNet: missing tensors: 1 (such as head.bias), unexpected tensors: 2 (such "
        "as tail.weight), tensors of another shape: 1 (such as head.weight)"
    )
    with pytest.raises(ModelFileError, match=f"^{re.escape(told)}$"):
        EnsembleModel(recipe, BANDS, 13).load(tensors)
