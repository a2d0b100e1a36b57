"""The scenes that the trainings of a run draw patches from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from c2seg.pipeline.prepare import Prepared
from c2seg.sampling import TrainingScene, training_scenes

__all__ = ["RunScenes"]


@dataclass
class RunScenes:
    """Reads validity and labels once for all trainings of a run, which share them; they run in parallel threads."""

    data: Prepared
    _scenes: dict[tuple[object, ...], list[TrainingScene]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def of_sources(self, inputs: Sequence[str], *, use_labels: bool, background: int | None) -> list[TrainingScene]:
        """Return the scenes of the sources; see ``training_scenes``."""

        def read() -> list[TrainingScene]:
            cities = (
                training_scenes(city, inputs, use_labels=use_labels, background=background)
                for city in self.data.sources
            )
            return [scene for scenes in cities for scene in scenes]

        return self._once(("sources", tuple(inputs), use_labels, background), read)

    def of_target(self, inputs: Sequence[str]) -> list[TrainingScene]:
        """Return the scenes of the target, without labels."""
        target = self.data.target
        assert target is not None
        return self._once(("target", tuple(inputs)), lambda: training_scenes(target, inputs))

    def _once(self, key: tuple[object, ...], read: Callable[[], list[TrainingScene]]) -> list[TrainingScene]:
        with self._lock:
            if key not in self._scenes:
                self._scenes[key] = read()
            return self._scenes[key]
