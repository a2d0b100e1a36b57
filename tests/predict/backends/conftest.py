from __future__ import annotations

import pytest

from c2seg.pipeline import fit
from c2seg.recipes import load_recipe

SETTINGS = [
    "model.widths=[8, 16]", "training.iterations=60", "training.sampling={patch_px: 16, batch_size: 8}",
    "prediction={window_px: 32, batch_size: 3}", "training.optimizer.lr=0.01",
]  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def model(trained, make_city):
    """A U-Net that has learnt the small cities of the tests."""
    path = trained / "run" / "model.safetensors"
    if not path.exists():
        fit(load_recipe("unet", "tiny", SETTINGS), [make_city("source", seed=1)], trained / "run")
    return path
