"""The crew that a command works with: processes of this machine, or the cluster that the user names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from c2seg.documents import read_yaml
from c2seg.errors import InputError
from c2seg.parallel.crew import Crew
from c2seg.parallel.plain import ExecutorCrew, checked_executor
from c2seg.parallel.processes import LocalCrew

__all__ = ["open_crew"]

_CONNECT_S = 30
_LOCAL = "local:"
_FORMS = (
    "give tcp://HOST:PORT of a scheduler, local:N for N processes here, or a YAML file that names a cluster's class"
)


def open_crew(
    workers: int,
    cluster: str | None,
    *,
    executor: Executor | None = None,
    keep_memory: bool = False,
    ahead: int | None = None,
) -> AbstractContextManager[Crew | None]:
    """Return the crew of a command as a context: of ``workers`` processes, or of a cluster; None for this process alone.

    ``executor`` is one that the user has made; ``workers`` above 1 says then how many processes it has. ``ahead``: tasks that a
    worker has at a time, with the one that it computes; None: as is best for strips.

    ``cluster`` is the address of a Dask scheduler (``tcp://host:8786``), ``local:N``, or a YAML file with ``module``,
    ``class``, ``kwargs`` and ``workers`` of a cluster that is started for this work and scaled to so many workers
    (dask-jobqueue, dask-kubernetes, coiled). Raises InputError for one that cannot be used, MissingExtraError without dask.
    """
    if workers < 1:
        raise InputError(f"`workers` must be at least 1, found {workers}")
    if executor is not None:
        if cluster is not None:
            raise InputError("give `cluster` or executor=, not both")
        return ExecutorCrew(checked_executor(executor), workers if workers > 1 else None, ahead=ahead or 2)
    if cluster is None:
        return nullcontext() if workers == 1 else LocalCrew(workers, keep_memory=keep_memory, depth=ahead or 2)
    if workers != 1:
        raise InputError("give `workers` or `cluster`, not both")
    from c2seg.parallel.cluster import ClusterCrew

    return ClusterCrew(_connector(cluster), cluster, depth=ahead or 3)


def _connector(cluster: str) -> Callable[[ExitStack], Any]:
    if cluster.startswith(_LOCAL):
        count = cluster.removeprefix(_LOCAL)
        if not count.isdecimal() or not int(count):
            raise InputError(f"`cluster`: {cluster!r} has no number of processes; {_FORMS}")
        return lambda stack: _client(stack, _local_cluster(int(count), stack))
    if "://" in cluster:
        return lambda stack: _client(stack, cluster)
    if Path(cluster).suffix.lower() in (".yaml", ".yml"):
        described = _Described.read(Path(cluster))
        return lambda stack: _client(stack, described.start(stack))
    raise InputError(f"`cluster`: {cluster!r} names no cluster; {_FORMS}")


def _client(stack: ExitStack, where: Any) -> Any:
    from distributed import Client

    return stack.enter_context(Client(where, timeout=_CONNECT_S, set_as_default=False))  # type: ignore[no-untyped-call]


def _local_cluster(count: int, stack: ExitStack) -> Any:
    from distributed import LocalCluster

    # One thread a process: tasks are computed one by one. Without a limit of memory nobody pauses or kills a worker.
    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, host="127.0.0.1"
    )
    return stack.enter_context(cluster)


class _Described:
    """A cluster that a YAML file describes."""

    def __init__(self, path: Path, content: Any) -> None:
        known = {"module", "class", "kwargs", "workers"}
        if not isinstance(content, dict) or not {"module", "class"} <= set(content) <= known:
            raise InputError(
                f"`cluster`: {path} must have module and class of a Dask cluster, and may have kwargs and workers"
            )
        self.path = path
        self.module, self.name = str(content["module"]), str(content["class"])
        self.kwargs = content.get("kwargs") or {}
        self.workers = content.get("workers", 1)
        if not isinstance(self.kwargs, dict) or not isinstance(self.workers, int) or self.workers < 1:
            raise InputError(f"`cluster`: in {path}, kwargs must be a mapping and workers a number of 1 or more")

    @classmethod
    def read(cls, path: Path) -> _Described:
        return cls(path, read_yaml(path, what="a cluster"))

    def start(self, stack: ExitStack) -> Any:
        try:
            made = getattr(importlib.import_module(self.module), self.name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"`cluster`: {self.path}: {error}; install the package that has it") from error
        cluster = stack.enter_context(made(**self.kwargs))
        cluster.scale(self.workers)
        return cluster
