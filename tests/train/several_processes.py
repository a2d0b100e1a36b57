"""Trainings of every method in the processes of one torchrun: ``several_processes.py SOURCE TARGET OUT``; used by tests."""

from __future__ import annotations

import sys
from pathlib import Path

from c2seg.pipeline import fit
from c2seg.recipes import load_recipe

SMALL = [
    "model.widths=[4, 8]", "model.dropout=0", "training.iterations=4", "training.precision=32", "validation.folds=0",
    "training.sampling={patch_px: 16, batch_size: 4}", "prediction.window_px=64",
]  # fmt: skip
GROUP = ["model.norm=group"]
DISCRIMINATOR = "{sees: entropy, weight: 0.1, widths: [4, 8]}"
ADVERSARIAL = f"training.method={{name: adversarial, start_after: 0.25, discriminators: [{DISCRIMINATOR}]}}"
CASES = {
    "supervised": ["unet", *SMALL, *GROUP],
    "masked and pseudo-labels": [
        "crosscity@pretraining", *SMALL, *GROUP, "stages.teachers.networks=1", "stages.students.networks=1",
        "forest.model={trees: 5, pixels_per_class: 100}",
    ],
    "adversarial": ["unet", *SMALL, *GROUP, ADVERSARIAL],
    "batch normalization": ["unet", *SMALL, "training.sync_batchnorm=true"],
    "resumed": ["unet", *SMALL, *GROUP, "training.iterations=12"],
}  # fmt: skip


def train_all(source: Path, target: Path, out: Path) -> None:
    """Train every case in a folder of its own."""
    for name, (recipe, *changes) in CASES.items():
        needs = name in {"masked and pseudo-labels", "adversarial"}
        resume = (out / name).is_dir()
        settings = load_recipe(recipe, "tiny", changes)
        fit(settings, [source], out / name, target=target if needs else None, resume=resume)


if __name__ == "__main__":
    train_all(*map(Path, sys.argv[1:]))
