"""Pick the fastest backend by a brief measurement on a real batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.artifacts import ModelFile
from c2seg.data import Patch
from c2seg.errors import InputError
from c2seg.predict import Predictor
from c2seg.predict.backends import BackendOptions, load_predictor

__all__ = ["Choice", "fastest"]

_RUNS = 3


@dataclass(frozen=True)
class Choice:
    """The backend chosen, and the seconds of a batch by backend (median of three, after one to warm up)."""

    name: str
    seconds: dict[str, float]


def fastest(
    model: ModelFile,
    names: Sequence[str],
    options: BackendOptions,
    sample: Callable[[Predictor], tuple[Patch, np.ndarray]],
) -> tuple[Choice, Predictor]:
    """Return the fastest of some backends on a batch, and its predictor; those that cannot run the model are left out.

    ``sample`` makes the batch for a predictor's window sizes. Raises the last InputError when no backend can.
    """
    seconds: dict[str, float] = {}
    best: tuple[float, str, Predictor] | None = None
    refusal: InputError | None = None
    batch: tuple[Patch, np.ndarray] | None = None
    for name in names:
        try:
            predictor = load_predictor(model, name, options)
            batch = batch or sample(predictor)
            batch_seconds = _median_seconds(predictor, *batch)
        except InputError as error:
            refusal = error
            continue
        seconds[name] = round(batch_seconds, 4)
        if best is None or batch_seconds < best[0]:
            best = batch_seconds, name, predictor
    if best is None:
        raise refusal or InputError("no backend is installed that can run this model")
    return Choice(best[1], seconds), best[2]


def _median_seconds(predictor: Predictor, patch: Patch, valid: np.ndarray) -> float:
    measured = []
    for _ in range(1 + _RUNS):
        begun = time.perf_counter()
        predictor.predict(patch, valid)
        measured.append(time.perf_counter() - begun)
    return float(np.median(measured[1:]))
