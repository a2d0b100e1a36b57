"""A run as the template shows it: its line in the table of runs, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from c2seg.artifacts import RunProvenance
from c2seg.report.assess import ScorePanel
from c2seg.report.contexts import RunContext, RunScore
from c2seg.report.runs import MapFile, Run

__all__ = ["run_context", "trained_on"]


def _run_scores(index: int, panels: Sequence[ScorePanel]) -> list[RunScore]:
    cells: list[RunScore] = []
    for panel in panels:
        for name in ("miou", "oa"):
            values = {entry.run: getattr(entry.scores, name) for entry in panel.entries}
            known = [value for value in values.values() if value is not None]
            value = values.get(index)
            cells.append({"value": value, "best": len(known) > 1 and value is not None and value == max(known)})
    return cells


def _device(run: Run) -> str:
    """Return the device that a run was trained on: where it was left to the machine, a GPU if its memory was used."""
    trained = run.provenance
    if trained is None or trained.device != "auto":
        return trained.device if trained else ""
    if run.record is None:
        return "auto (not recorded)"
    return "cuda" if run.record.device_memory_mib else "cpu"


def run_context(index: int, run: Run, scored: Sequence[ScorePanel], first: int) -> RunContext:
    """Return what the template shows of a run; ``first`` is the run that the page opens with."""
    trained = run.provenance
    seconds = run.record.seconds if run.record else None
    commands = [trained.without_folders().command if trained else "", *(_map_command(entry) for entry in run.maps)]
    return {
        "index": index,
        "name": run.name,
        "recipe_name": run.recipe_name + (", few-shot" if run.few_shot else ""),
        "trained_on": trained_on(run),
        "predicted": ", ".join(dict.fromkeys(entry.city for entry in run.maps)),
        "seed": trained.seed if trained else None,
        "seconds": _duration(seconds) if seconds is not None else "",
        "device": _device(run),
        "scores": _run_scores(index, scored),
        "best": index == first,
        "curves": run.curves,
        "recipe": run.recipe,
        "commands": list(dict.fromkeys(command for command in commands if command)),
        "provenance": _provenance(run),
    }


def trained_on(run: Run) -> str:
    """Return the names of the cities that a run was trained on."""
    return ", ".join(source.name for source in run.provenance.sources) if run.provenance else ""


def _map_command(entry: MapFile) -> str:
    return entry.record.run.predicted.without_folders().command if entry.record and entry.record.run else ""


def _provenance(run: Run) -> list[tuple[str, str]]:
    rows = [("Run folder", run.folder.name if run.folder else "a single map")]
    if run.provenance:
        rows += _trained_rows(run.provenance, _device(run))
    return rows + [(f"Map {entry.path.name}", _map_facts(entry)) for entry in run.maps]


def _trained_rows(trained: RunProvenance, device: str) -> list[tuple[str, str]]:
    """Return the rows on where a model comes from, and what of the target was used."""
    rows = [("Run id", trained.run_id), ("c2seg", trained.c2seg)]
    rows += [("Commit", trained.commit)] if trained.commit else []
    rows += [("Python", trained.python), ("Machine", trained.machine), ("Device", device)]
    rows += [("Seed", str(trained.seed))]
    rows += [("Packages", ", ".join(f"{name} {version}" for name, version in sorted(trained.packages.items())))]
    rows += [("Source city", f"{c.name}: images {c.images}, labels {c.labels}") for c in trained.sources]
    if trained.target:
        rows.append(("Target city", f"{trained.target.name}: images {trained.target.images}"))
    if trained.uses_target_images.normalization:
        rows.append(("Normalization", "uses the unlabeled images of the predicted city"))
    if trained.uses_target_images.training:
        rows.append(("Training", "uses the unlabeled images of the target city"))
    if trained.target_labels:
        labels = trained.target_labels
        by_class = ", ".join(f"{name} {count}" for name, count in labels.labels.items())
        rows.append(
            ("Few-shot", f"trained on labels of the target, {labels.file} ({by_class}), digest {labels.digest}")
        )
    return rows


def _map_facts(entry: MapFile) -> str:
    record = entry.record
    if record is None:
        return "nothing is recorded beside it"
    key = record.key.model_dump(mode="json", exclude_none=True) if record.key else {}
    parts = [f"{name} {value}" for name, value in sorted(key.items())] + [f"{record.seconds} s"]
    if record.peak_memory_mib is not None:
        parts.append(f"{record.peak_memory_mib} MiB at most")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
