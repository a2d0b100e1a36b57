"""Pairs of cities of the published data: found under a folder, and recognized where they are given one by one."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from c2seg.benchmark.pairs import Pair
from c2seg.data import City, add_labels, open_city
from c2seg.data.finding import PublishedData, find_data
from c2seg.data.identity import identify
from c2seg.data.label_map import contradicted_label_map, states_label_map
from c2seg.data.layouts import is_city
from c2seg.data.pairing import data_pairs
from c2seg.data.published import CITIES, DATASETS, challenge_tiles
from c2seg.errors import DataError, InputError
from c2seg.progress import Progress, no_progress

__all__ = ["check_label_numbers", "of_dataset", "pairs_under"]

_LOG = logging.getLogger(__name__)


def pairs_under(root: Path, progress: Progress = no_progress) -> tuple[Pair, ...]:
    """Return the pairs of C2Seg under a folder, named AB and BW.

    A dataset that is not there at all is left out, with a note. Raises InputError if one is there in part or broken, and if
    there is none.
    """
    data = find_data(root, progress=progress)
    pairs = data_pairs(data)
    here = {f"C2Seg-{pair.dataset}" for pair in pairs}
    for dataset in DATASETS:
        if dataset not in here and (reasons := _reasons(data, dataset)):
            more = f" ({len(reasons) - 1} more: c2seg inspect {root})" if len(reasons) > 1 else ""
            raise InputError(f"{dataset} under {root} cannot be used: {reasons[0]}{more}")
    if not pairs:
        raise InputError(f"{root} holds no pair of C2Seg; missing: {'; '.join(data.missing)}")
    for dataset in (name for name in DATASETS if name not in here):
        _LOG.info("%s is not under %s: its columns are left out", dataset, root)
    for line in data.missing:
        if line.partition(":")[0] in here:
            _LOG.warning("%s", line)
    return tuple(
        Pair(pair.source.path, pair.target.path, pair.reference, dataset=pair.dataset, given_name=pair.dataset)
        for pair in pairs
    )


def _reasons(data: PublishedData, dataset: str) -> list[str]:
    """Return why a dataset of which something is there gives no pair; empty if nothing of it is there."""
    cities = [city for city in data.cities if city.dataset == dataset]
    named = dataset.replace("-", "_")
    broken = [line for line in data.broken if named in line]
    packed = [f"{path} is not unpacked; unpack it where it lies" for path in data.archives if named in path.name]
    problems = [f"{city.name}: {text}" for city in cities for text in city.problems]
    reasons = [*problems, *broken, *packed]
    if cities and not reasons:
        return [line for line in data.missing if line.startswith(dataset)]
    return reasons


def of_dataset(pair: Pair, source: City, target: City) -> Pair:
    """Return a pair with the dataset that its cities are of, and the side of the challenge's tiles; as it is if of none."""
    if pair.inside:
        return pair
    cities = identify(pair.source, source), identify(pair.target, target)
    if None in cities or [one.role for one in cities if one] != ["source", "target"]:
        return pair
    first, second = (one for one in cities if one is not None)
    if first.dataset != second.dataset:
        return pair
    grid = target.scenes[0].grid
    tiles = challenge_tiles(first.dataset, grid.height, grid.width) if len(target.scenes) == 1 else None
    real = not first.simulated and not second.simulated and {first.name, second.name} <= set(CITIES)
    return replace(pair, dataset=first.dataset[-2:], tile_px=tiles.tile_px if tiles else None, is_published=real)


def check_label_numbers(pair: Pair, source: City) -> None:
    """Raise DataError if the labels of the source, or the ground truth, evidently have another label mapping than stated."""
    for path, city in ((pair.source, source), (pair.reference, None)):
        if path is None or not is_city(path):
            continue
        labeled = add_labels(path, city or open_city(path))
        if labeled is not None and (problem := contradicted_label_map(labeled, is_stated=states_label_map(path))):
            raise DataError(problem)
