"""Trainings that several runs share: what one has finished, another one with an equal training takes over.

The shipped case are the networks of the challenge's second place: those of its ensemble are what its generator starts from.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts.training import SharedTrainingCosts, TrainingIdentity
from c2seg.errors import C2SegError, DataError
from c2seg.outputs import remove_folder, working_folder
from c2seg.train.state import load_state, state_file

__all__ = ["SharedResult", "SharedTrainings"]

_log = logging.getLogger(__name__)

_COSTS = "costs.json"
_CURVES = "curves.csv"

Costs = tuple[float | None, float | None]
"""Seconds and processor seconds of an iteration; None: not measured."""


@dataclass(frozen=True)
class SharedResult:
    """How a training was shared: its key, the seconds that it took whoever ran it, and whether that was another run."""

    key: str
    seconds: float
    reused: bool


@dataclass(frozen=True)
class SharedTrainings:
    """The folder of finished trainings. ``what`` tells all that a training depends on beside its identity, as text."""

    folder: Path
    what: str

    def key(self, identity: TrainingIdentity) -> str:
        """Return the name of a training's folder: a digest of all that its result depends on."""
        return hashlib.sha256(f"{identity.as_line()}\n{self.what}".encode()).hexdigest()[:32]

    def adopt(self, identity: TrainingIdentity, folder: Path) -> bool:
        """Put the state of an equal training into ``folder``, if one is finished; return whether it is there now.

        A damaged one is removed.
        """
        place = self.folder / self.key(identity)
        state = state_file(place)
        if state is None or state_file(folder):
            return False
        try:
            SharedTrainingCosts.read(place / _COSTS)
            load_state(state)
        except DataError as error:
            _log.warning("a finished training is damaged, the network is trained again: %s", error)
            remove_folder(place)
            return False
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            shutil.copyfile(place / _CURVES, folder / _CURVES)
        _link(state, folder / state.name)
        return True

    def finish(
        self, identity: TrainingIdentity, folder: Path, costs: Costs, steps: int, *, adopted: bool
    ) -> tuple[Costs, SharedResult]:
        """Store a training that is finished in ``folder``, unless it is there; return its costs, as whoever ran it measured."""
        key = self.key(identity)
        place = self.folder / key
        if not place.exists():
            self._store(folder, place, SharedTrainingCosts(step_seconds=costs[0], step_processor_seconds=costs[1]))
        if adopted or costs[0] is None:
            with suppress(C2SegError):
                stored = SharedTrainingCosts.read(place / _COSTS)
                costs = stored.step_seconds, stored.step_processor_seconds
        return costs, SharedResult(key, (costs[0] or 0.0) * steps, adopted)

    def _store(self, folder: Path, place: Path, costs: SharedTrainingCosts) -> None:
        """Make the folder of a finished training, whole or not at all; another process may be as fast."""
        state = state_file(folder)
        if state is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with working_folder(self.folder) as new:
            _link(state, new / state.name)
            shutil.copyfile(folder / _CURVES, new / _CURVES)
            costs.write(new / _COSTS)
            with suppress(OSError):
                new.rename(place)


def _link(source: Path, place: Path) -> None:
    """Put a file at a second place without a copy where that is possible: states are replaced, never changed."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
