"""Overrides that make a recipe train within a second or two."""

from __future__ import annotations

FOREST = ("model.trees=5", "validation.folds=0", "prediction.window_px=32")
UNET = (
    "model.widths=[8, 16]", "training.iterations=20", "training.sampling={patch_px: 16, batch_size: 4}",
    "training.precision=32", "training.optimizer.lr=0.01", "training.ema_decay=0.9",
    "prediction={window_px: 32, tta: true}",
)  # fmt: skip
SHORT = {"forest": FOREST, "unet": UNET}
