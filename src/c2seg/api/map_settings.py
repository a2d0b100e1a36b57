"""How maps are made, the same for one city and for many: the settings of ``Model.predict`` and ``predict_cities``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from c2seg.artifacts import MapRecord
from c2seg.parallel import Crew, open_crew
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.progress import Bars

__all__ = ["GivenSettings", "MapSettings", "shows_settings"]

F = TypeVar("F", bound=Callable[..., Any])


class GivenSettings(TypedDict, total=False):
    """The settings as keywords; what is not given is as ``MapSettings`` says."""

    backend: str | None
    device: str
    precision: str
    tta: bool | None
    threads: int | None
    compile: bool
    workers: int
    cluster: str | None
    executor: Executor | None
    min_area_px: int | None
    min_area_keep: Sequence[str] | None
    palette: str
    decision: str | None
    overwrite: bool


@dataclass(frozen=True)
class MapSettings:
    """The settings with their defaults; ``Model.predict`` tells what they are."""

    backend: str | None = None
    device: str = "auto"
    precision: str = "32"
    tta: bool | None = None
    threads: int | None = None
    compile: bool = False
    workers: int = 1
    cluster: str | None = None
    executor: Executor | None = None
    min_area_px: int | None = None
    min_area_keep: Sequence[str] | None = None
    palette: str = "default"
    decision: str | None = None
    overwrite: bool = False

    def options(self, out: Path, **layers: Any) -> MapOptions:
        """Return what is written, with ``layers`` beside the map."""
        spared = None if self.min_area_keep is None else tuple(self.min_area_keep)
        return MapOptions(
            out, workers=self.workers, cluster=self.cluster, overwrite=self.overwrite, palette=self.palette,
            min_area_px=self.min_area_px, min_area_keep=spared, **layers,
        )  # fmt: skip

    @contextmanager
    def crew(self) -> Iterator[Crew | None]:
        """Open the workers, for one city or for many; None: this process alone."""
        with open_crew(self.workers, self.cluster, executor=self.executor, keep_memory=True) as crew:
            yield crew

    def predict(
        self, model: Path, city: Path, options: MapOptions, bars: Bars, command: Sequence[str], crew: Crew | None = None
    ) -> list[MapRecord]:
        """Predict a city. Without a crew its workers are started once its inputs and outputs are checked."""
        # Of executors nothing is known: one thread there and here, since some networks give other bits with other threads.
        threads = self.threads if self.executor is None else self.threads or 1
        return predict(
            model, city, options, backend=self.backend, device=self.device, precision=self.precision, tta=self.tta,
            threads=threads, compile=self.compile, bars=bars, command=command, crew=crew, decision=self.decision,
        )  # fmt: skip


def shows_settings(function: F) -> F:
    """Let the signature of a function name each setting in the place of ``**settings``: for ``help`` and completion."""
    signature = inspect.signature(function)
    given = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type)
        for one in fields(MapSettings)
    ]
    function.__signature__ = signature.replace(parameters=[*given, *settings])  # type: ignore[attr-defined]
    return function
