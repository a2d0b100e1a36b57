"""Simulated cities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from c2seg import simulate
from c2seg.api.arguments import FilePath, as_path
from c2seg.progress import ShowProgress, opened_bars
from c2seg.simulate import DEFAULT_SHIFT, PairInfo

__all__ = ["simulate_pair"]


def simulate_pair(
    out: FilePath,
    *,
    pair: str = "ab",
    scale: float = 0.25,
    seed: int = 0,
    shift: float = DEFAULT_SHIFT,
    parameters: Mapping[str, float] | None = None,
    source_layout: FilePath | None = None,
    target_layout: FilePath | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> PairInfo:
    """Write two cities with a known ground truth and a known difference to ``out/<name>/``.

    Args:
        out: The folder of both. Each city has images, ``label.tif``, ``valid.tif`` and ``reference.tif`` (without faults).
        pair: Sensors and sizes: ``ab`` (HSI at 10 m) or ``bw`` (HSI at 30 m).
        scale: Sides in pixels relative to the real scenes, up to 1.
        seed: Of everything random; its thousands choose one of four families of layouts and shifts.
        shift: Size of the difference, 0..1: every parameter at once.
        parameters: Single parameters of the difference, 0..1 by name (``docs/simulator.md``).
        source_layout: A class raster (uint8, 0..13) in place of an invented source.
        target_layout: The same for the target.
        overwrite: Replace existing cities.
        progress: False, True for bars, or a callable.

    Returns:
        What was written: ``source.path`` and ``target.path`` are the cities.

    Raises:
        InputError: A value out of range.
        OutputError: A file exists.
        MissingExtraError: It needs ``pip install 'c2seg[simulate]'``.
    """
    given = {"source": source_layout, "target": target_layout}
    layouts: dict[str, Path] = {role: as_path(path) for role, path in given.items() if path is not None}
    with opened_bars(progress) as bars:
        return simulate.simulate_pair(
            as_path(out),
            pair,
            scale,
            seed,
            shift,
            parameters,
            bars("simulate"),
            overwrite,
            layouts=layouts,
        )
