"""What a sample tells of a map: found beside the map (``MAP.estimate.json``) and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg.errors import C2SegError
from c2seg.report.runs import MapFile, Run
from c2seg.verify.classmap import open_map
from c2seg.verify.reading import read_record
from c2seg.verify.records import EstimateRecord
from c2seg.verify.samples import SampleRecord

__all__ = ["VerifiedMap", "estimate_path", "verified_maps"]


@dataclass(frozen=True)
class VerifiedMap:
    """A map with its estimate. ``sample`` is None where its record is not there; ``remarks`` say what does not fit."""

    run: int
    entry: MapFile
    path: Path
    estimate: EstimateRecord
    sample: SampleRecord | None
    remarks: tuple[str, ...]


def estimate_path(map_path: Path) -> Path:
    """Return where the estimate of a map is looked for."""
    return map_path.with_suffix(".estimate.json")


def verified_maps(runs: Sequence[Run]) -> tuple[VerifiedMap, ...]:
    """Return the maps of runs that have an estimate beside them. Raises DataError for a damaged one."""
    verified = []
    for index, run in enumerate(runs):
        for entry in run.maps:
            path = estimate_path(entry.path)
            if path.is_file():
                estimate = EstimateRecord.read(path)
                sample, remarks = _sample(path, estimate)
                verified.append(
                    VerifiedMap(index, entry, path, estimate, sample, (*_of_this_map(entry, estimate), *remarks))
                )
    return tuple(verified)


def _sample(path: Path, estimate: EstimateRecord) -> tuple[SampleRecord | None, tuple[str, ...]]:
    """Return the record of the sample that an estimate names, and what is wrong with it."""
    place = path.parent / estimate.sample.path
    name = Path(estimate.sample.path).name
    try:
        record = read_record(place.with_suffix(".json"))
    except C2SegError as error:
        reason = str(error).replace(str(place.parent), "").lstrip("/")
        return None, (f"The record of the sample, {name}, was not read, so its points are not shown: {reason}.",)
    if record.sample_id != estimate.sample.sample_id:
        return None, (f"{name} is the record of another sample than the one that was estimated from.",)
    return record, ()


def _of_this_map(entry: MapFile, estimate: EstimateRecord) -> tuple[str, ...]:
    """Say whether the map has changed since it was estimated."""
    try:
        digest = open_map(entry.path).count().digest
    except C2SegError as error:
        return (f"Whether the map is still the one that was checked is not known: {error}.",)
    if digest != estimate.map.digest:
        return ("This map is not the one that was checked: its digest differs. Estimate again.",)
    return ()
