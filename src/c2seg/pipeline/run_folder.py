"""The run folder: which files a fit ends with, and writing them so that all appear together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from c2seg.artifacts import Header, RunRecord, ValidationRecord, write_model_file
from c2seg.artifacts.seen import SeenPixels
from c2seg.errors import OutputError
from c2seg.outputs import Output, check_outputs, commit, make_folder, replaces_json
from c2seg.recipes import Recipe

__all__ = ["RunFiles", "check_run_folder", "write_run"]


@dataclass(frozen=True)
class RunFiles:
    """What a fit ends with. ``tensors`` are empty if only folds were trained: then there is no model file."""

    recipe: Recipe
    """As asked for; the header has what was trained."""
    header: Header
    tensors: Mapping[str, np.ndarray]
    record: RunRecord
    validation: ValidationRecord | None
    curves: str
    seen: SeenPixels
    best: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Tensors that were best on the validation tiles of a random split (``best.safetensors``), where they are not the last."""


def check_run_folder(out: Path, recipe: Recipe, inputs: Sequence[Path], *, overwrite: bool, resume: bool) -> None:
    """Raise OutputError when a run folder holds a model or cannot be written, InputError when a file would replace an input.

    Resuming needs no permission to overwrite.
    """
    if (out / "model.safetensors").exists() and not (overwrite or resume):
        raise OutputError(f"{out} holds a model already; give another folder or `overwrite=True`")
    make_folder(out)
    read = [*inputs, *_named_files(recipe.model_dump(mode="json"))]
    check_outputs(list(_outputs(out).values()), read, overwrite=overwrite or resume)


def write_run(out: Path, run: RunFiles) -> None:
    """Write all files of a run; the model, or without one the record, appears last."""
    outputs = _outputs(out)
    with commit(overwrite=True) as files:
        if run.tensors:
            write_model_file(files.add(outputs["model"], main=True), run.header, run.tensors)
        files.text(outputs["recipe"], yaml.safe_dump(run.recipe.model_dump(mode="json"), sort_keys=False))
        files.text(outputs["record"], run.record.as_text(), main=not run.tensors)
        if run.validation:
            files.text(outputs["validation"], run.validation.as_text())
        if run.best:
            write_model_file(files.add(outputs["best"]), run.header, run.best)
        if run.tensors:
            files.text(outputs["seen"], run.seen.as_text())
        if run.curves:
            files.text(outputs["curves"], run.curves)


def _named_files(value: object) -> Iterator[Path]:
    """Yield the files that a recipe names, such as pretrained weights."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named_files(item)
    elif isinstance(value, str) and Path(value).suffix in {".safetensors", ".pth"}:
        yield Path(value)


def _outputs(out: Path) -> dict[str, Output]:
    """Return the files that a fit ends with; those of an earlier run without a model may be replaced."""
    record = replaces_json("run", out / "record.json")

    def of_a_run(_: Path) -> bool:
        return record(out / "record.json") or (out / "stages").is_dir()

    return {
        "model": Output(out / "model.safetensors"),
        "best": Output(out / "best.safetensors", "best", replaces=of_a_run),
        "record": Output(out / "record.json", replaces=record),
        "validation": Output(out / "validation.json", replaces=replaces_json("validation", out / "validation.json")),
        "seen": Output(out / "seen.json", replaces=replaces_json("seen", out / "seen.json")),
        "recipe": Output(out / "recipe.yaml", replaces=of_a_run),
        "curves": Output(out / "curves.csv", replaces=of_a_run),
    }
