"""Compare recipes on pairs of cities: what is run, the runs, their tables, differences with intervals.

Light: a process that computes one task imports this package first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from c2seg.benchmark.compose import run_benchmark

__all__ = ["run_benchmark"]


def __getattr__(name: str) -> object:
    if name != "run_benchmark":
        raise AttributeError(f"module 'c2seg.benchmark' has no attribute {name!r}")
    from c2seg.benchmark.compose import run_benchmark

    return run_benchmark
