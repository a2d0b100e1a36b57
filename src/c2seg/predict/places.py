"""Where the parts of a map lie while it is made, and what is removed once its files stand."""

from __future__ import annotations

from pathlib import Path

from c2seg.artifacts import MapKey, MapRecord, StripsKey
from c2seg.checksums import checksum, json_checksum
from c2seg.legend import Legend
from c2seg.outputs import remove_folder
from c2seg.predict.options import MapOptions
from c2seg.predict.parts import LayerParts, StripParts, layer_tags, remove_older_parts
from c2seg.predict.scratch import scratch_folder
from c2seg.raster import remove_stored
from c2seg.types import Grid

__all__ = ["clear_unfinished", "strip_parts", "strips_key"]

_PARTS = ".parts"


def strips_key(options: MapOptions, key: MapKey) -> StripsKey:
    """Return what determines the strips of a map."""
    return StripsKey(**dict(key), layers=tuple(sorted({"ids", *options.layers})))


def strip_parts(options: MapOptions, key: MapKey, grid: Grid, legend: Legend, *, on_this_machine: bool) -> StripParts:
    """Return where the parts of each layer lie.

    That is beside its VRT if it stays in parts, else in ``options.parts_folder``, or in the scratch. Tasks write those
    in the scratch only ``on_this_machine``, others anywhere.
    """
    run = _run(options, key)
    layers = []
    for name, path in options.layers.items():
        if name in options.stays_in_parts:
            folder = path.with_suffix(_PARTS) / run
        else:
            folder = (_shared(options, run) or scratch_folder(options.out) / "parts") / name
        by_tasks = on_this_machine or name in options.stays_in_parts or options.parts_folder is not None
        layers.append(LayerParts(name, folder.absolute(), grid, layer_tags(name, legend, key.model), by_tasks))
    return StripParts(tuple(layers), run)


def clear_unfinished(options: MapOptions, record: MapRecord) -> None:
    """Remove the rows and parts of a map whose files stand, and older parts of layers that stay in parts."""
    remove_folder(scratch_folder(options.out))
    run = _run(options, record.key or MapKey())
    if shared := _shared(options, run):
        remove_stored(shared)
    for path in options.stays_in_parts.values():
        remove_older_parts(path.with_suffix(_PARTS), run)


def _shared(options: MapOptions, run: str) -> Path | None:
    """Return the folder of this map in ``options.parts_folder``, which maps of other names and places may share."""
    if options.parts_folder is None:
        return None
    place = checksum(str(options.out.absolute()).encode(), int(run, 16))
    return options.parts_folder / f"{options.out.stem}-{place:08x}"


def _run(options: MapOptions, key: MapKey) -> str:
    """Return what tells the parts of a map from those of another model, city or option."""
    return f"{json_checksum(strips_key(options, key).as_json()):08x}"
