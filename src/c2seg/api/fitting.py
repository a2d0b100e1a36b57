"""Train a model, and the result of a training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from c2seg import pipeline
from c2seg.api.arguments import FilePath, FilePaths, as_path, as_paths, named_files, optional_path
from c2seg.api.recipes import as_recipe
from c2seg.api.tables import html_table, score_line
from c2seg.artifacts.runs import RunSummary
from c2seg.artifacts.scores import ScoreValues
from c2seg.errors import InputError
from c2seg.pipeline import FitResult, Storage
from c2seg.pipeline.prepare import LabelFile
from c2seg.progress import ShowProgress, opened_bars
from c2seg.recipes import Recipe

if TYPE_CHECKING:
    from c2seg.api.models import Model

__all__ = ["TrainedRun", "fit"]

_LOG = logging.getLogger("c2seg.fit")


@dataclass(frozen=True)
class TrainedRun:
    """A run folder and the facts about its run."""

    folder: Path
    recipe: Recipe
    result: FitResult = field(repr=False)
    """What the training returned."""

    @property
    def model(self) -> Path | None:
        """The model file; None where the recipe asks for scores on folds alone."""
        return self.result.model

    @property
    def seconds(self) -> float:
        """Seconds that the training took."""
        return self.result.seconds

    @property
    def notes(self) -> tuple[str, ...]:
        """What was omitted, matched or missing, in words."""
        return self.result.notes

    @property
    def scores(self) -> ScoreValues | None:
        """``oa``, ``kappa``, ``mf1``, ``miou`` and more on the source's held-out folds; None without validation."""
        return self.result.validation.scores if self.result.validation else None

    @property
    def folds(self) -> str:
        """How the held-out folds were made, in words; empty without validation."""
        return self.result.validation.kind if self.result.validation else ""

    @property
    def summary(self) -> RunSummary | None:
        """The run at a glance: pixels, classes, bands, drift between the cities, what usually follows."""
        return self.result.summary

    def load(self) -> Model:
        """Return the model. Raises InputError where there is none."""
        from c2seg.api.models import load_model

        if self.model is None:
            raise InputError(f"the run {self.folder} has no model: its recipe says validation.final = false")
        return load_model(self.model)

    def _repr_html_(self) -> str:
        rows: list[tuple[str, str]] = [
            ("recipe", self.recipe.name),
            ("model", str(self.model or "-")),
            ("seconds", f"{self.seconds:.0f}"),
            *([("held-out folds", score_line(self.scores))] if self.scores else []),
            *(("note", text) for text in self.notes),
        ]
        return html_table(("run", str(self.folder)), rows, self.folds)


def fit(
    recipe: Recipe | FilePath = "crosscity",
    *,
    source: FilePaths,
    target: FilePath | None = None,
    out: FilePath,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    validation: bool = True,
    seed: int = 0,
    device: str = "auto",
    label_map: str | None = None,
    target_labels: FilePath | None = None,
    label_field: str | None = None,
    cache: FilePath | None = None,
    memory_gib: float = 4.0,
    resume: bool = False,
    overwrite: bool = False,
    progress: ShowProgress = False,
    command: Sequence[str] = (),
) -> TrainedRun:
    """Train a recipe on labeled cities and write the run folder ``out``.

    Args:
        recipe: The name of a recipe, a YAML file, or a Recipe.
        source: One labeled city or several: folders, splits of the challenge's tiles, ``.mat`` files.
        target: The unlabeled city. Only its images are opened, never its labels. None: what needs it is omitted.
        out: The run folder: ``model.safetensors``, ``recipe.yaml``, ``record.json``, curves, state, validation.
        preset: ``tiny`` (the default), ``small``, ``paper-ab`` or ``paper-bw``.
        overrides: ``key.path=value`` over recipe and preset.
        validation: False: no model is trained on folds of the sources, whatever the recipe says. A forest takes a third of the
            time or less.
        seed: Of everything random. Equal arguments give equal weights on one machine (CPU).
        device: ``auto``, ``cpu`` or ``cuda``.
        label_map: Label mapping of the sources' labels: a name, a mapping file, or ``auto``. None: what the layout says.
        target_labels: A few labels of the target that you made: points or polygons in a vector file, or the table of the
            labeling page. The run is then few-shot and marked so. None: no label of the target is read.
        label_field: Field of their classes; None: ``class``, else ``reference``.
        cache: Folder for memory-mapped pixels of cities that do not fit in ``memory_gib``.
        memory_gib: GiB of pixels that are kept in memory.
        resume: Resume a run that was stopped; equal arguments are needed.
        overwrite: Replace a model that ``out`` holds.
        progress: False, True for bars, or a callable (see ``docs/python.md``).
        command: What repeats this run, for its record.

    Raises:
        RecipeError: The recipe, a key or a value is wrong.
        DataError: A city is missing, damaged, or does not fit another one.
        OutputError: ``out`` holds a model, or cannot be written.
        MissingExtraError: Networks need the extra ``train``.
        TrainingError: The data have no pixel to train on.
    """
    settings = as_recipe(recipe, preset, overrides if validation else (*overrides, "validation.folds=0"))
    folder = as_path(out)
    with opened_bars(progress) as bars:
        result = pipeline.fit(
            settings,
            as_paths(source),
            folder,
            target=optional_path(target),
            seed=seed,
            device=device,
            overwrite=overwrite,
            resume=resume,
            label_map=label_map,
            preset=None if isinstance(recipe, Recipe) else preset or "tiny",
            target_labels=None if target_labels is None else LabelFile(as_path(target_labels), label_field),
            storage=Storage(optional_path(cache), int(memory_gib * 2**30)),
            inputs=named_files(recipe, label_map),
            bars=bars,
            command=command,
        )
    for text in result.notes:
        _LOG.info(text)
    return TrainedRun(folder, settings, result)
