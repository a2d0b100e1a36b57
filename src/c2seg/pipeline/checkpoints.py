"""Scores of a network's weights while it trains, and the best of them on disk, so that a stopped training resumes with both.

Only for offline scores on splits that leak, as published: weights for maps are never chosen this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts.offline import Checkpoints, TileScores
from c2seg.artifacts.tensors import checked_tensors, stored_tensors
from c2seg.errors import DataError
from c2seg.metrics import Confusion
from c2seg.outputs import atomic_file

__all__ = ["ScoredCheckpoints"]

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ScoredCheckpoints:
    """Scores weights every so many iterations and keeps the best; a ``train.Probe``.

    ``score`` counts the confusion of a model's tensors on the tiles of validation, ``named`` gives a network's weights their
    names in a model file.
    """

    folder: Path
    every: int
    score: Callable[[Tensors], Confusion]
    named: Callable[[Tensors], dict[str, np.ndarray]]

    def resume(self, step: int) -> None:
        """Forget the scores after ``step``."""
        earlier = tuple(one for one in self.scored() if (one.step or 0) <= step) if step else ()
        if earlier:
            self._write(earlier)
        else:
            self._file.unlink(missing_ok=True)

    def look(self, step: int, weights: Tensors) -> None:
        """Score the weights after ``step`` iterations; they replace the best on disk if they are better than all before."""
        tensors = self.named(weights)
        result = TileScores.of(step, self.score(tensors))
        earlier = self.scored()
        if all(result.miou > one.miou for one in earlier):
            _write_tensors(self._best, tensors, step)
        self._write((*earlier, result))

    def scored(self) -> tuple[TileScores, ...]:
        """Return the scores until now, by step; those of a damaged file are not known."""
        with suppress(DataError):
            return Checkpoints.read(self._file).scored
        return ()

    def best(self, step: int) -> dict[str, np.ndarray]:
        """Return the tensors that were best, those of ``step``. Raises DataError if they are not on disk any more."""
        metadata, tensors = stored_tensors(self._best)
        if metadata.get("step") != str(step):
            raise DataError(
                f"{self._best} does not hold the weights of step {step}; remove {self.folder} to train anew"
            )
        return checked_tensors(tensors, str(self._best))

    @property
    def _file(self) -> Path:
        return self.folder / "checkpoints.json"

    @property
    def _best(self) -> Path:
        return self.folder / "best.safetensors"

    def _write(self, scored: tuple[TileScores, ...]) -> None:
        Checkpoints(scored=scored).write(self._file)


def _write_tensors(path: Path, tensors: Tensors, step: int) -> None:
    from safetensors.numpy import save_file

    with atomic_file(path, overwrite=True) as temporary:
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary, {"step": str(step)}
        )
