"""Outputs: checked before the work, whole or absent, those of one command all together, and never in place of an input."""

from __future__ import annotations

from c2seg.outputs.checks import (
    Output,
    attributes_output,
    check_output,
    check_outputs,
    map_output,
    raster_output,
    record_output,
    style_output,
)
from c2seg.outputs.commit import Commit, commit
from c2seg.outputs.faults import is_write_fault, write_faults
from c2seg.outputs.files import atomic_file, fsync_path, make_folder, remove_folder, working_folder, write_text
from c2seg.outputs.ledger import Ledger, write_at
from c2seg.outputs.locks import working_in
from c2seg.outputs.results import replaces_json

__all__ = [
    "Commit",
    "Ledger",
    "Output",
    "atomic_file",
    "attributes_output",
    "check_output",
    "check_outputs",
    "commit",
    "fsync_path",
    "is_write_fault",
    "make_folder",
    "map_output",
    "raster_output",
    "record_output",
    "remove_folder",
    "replaces_json",
    "style_output",
    "working_folder",
    "working_in",
    "write_at",
    "write_faults",
    "write_text",
]
