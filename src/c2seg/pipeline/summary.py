"""What a run ends with: the data at a glance, drift, and what usually follows. It reads no label of the target."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c2seg.artifacts import ValidationRecord
from c2seg.artifacts.runs import RunSummary
from c2seg.artifacts.seen import SeenPixels
from c2seg.pipeline.drift import SampledPixels, channel_names, measure_drift, sample_pixels
from c2seg.pipeline.prepare import Prepared

__all__ = ["SummaryFacts", "closing_lines", "seen_pixels", "summarize", "summary_lines"]

_SEEN = 400  # pixels of the sources that a run folder keeps


@dataclass(frozen=True)
class SummaryFacts:
    """What the summary takes from the call: the run folder, the target as it was given, the preset, the seed."""

    out: Path
    target: Path | None
    preset: str | None
    seed: int


def summarize(
    prepared: Prepared, source: SampledPixels, validation: ValidationRecord | None, facts: SummaryFacts
) -> RunSummary:
    """Return the summary of a run on these data; ``source`` is a sample of the sources' pixels."""
    names = {item.id: item.name for item in prepared.legend.classes}
    target, drift = prepared.target, None
    if target is not None:
        sampled = sample_pixels([target], prepared.modalities, facts.seed)
        drift = measure_drift(source, sampled, channel_names(prepared.inputs, prepared.channels), facts.seed)
    return RunSummary(
        source_pixels=prepared.labeled_pixels,
        target_pixels=None if target is None else sum(s.grid.height * s.grid.width for s in target.city.scenes),
        classes=tuple(names[number] for number in prepared.trained_classes),
        bands={name: len(bands) for name, bands in prepared.inputs.items()},
        preset=facts.preset,
        validation=_validation(validation),
        drift=drift,
        next_command=_next(facts),
    )


def seen_pixels(prepared: Prepared, source: SampledPixels, run_id: str) -> SeenPixels:
    """Return the sample of the sources' pixels that a run folder keeps."""
    step = max(1, -(-len(source.values) // _SEEN))
    rows = np.round(source.values[::step].astype(np.float64), 4).tolist()
    return SeenPixels(
        run_id=run_id,
        channels=tuple(f"{modality} {band}" for modality, band in channel_names(prepared.inputs, prepared.channels)),
        values=tuple(map(tuple, rows)),
        blocks=tuple(source.blocks[::step].tolist()),
    )


def summary_lines(summary: RunSummary) -> list[str]:
    """Return a summary as lines for people."""
    bands = ", ".join(f"{count} {name}" for name, count in summary.bands.items())
    target = "" if summary.target_pixels is None else f", {summary.target_pixels:,} pixels of the target"
    preset = f", preset {summary.preset}" if summary.preset else ""
    lines = [
        f"{summary.source_pixels:,} labeled pixels of the sources{target}; {len(summary.classes)} classes; bands: {bands}"
        f"{preset}"
    ]
    return [*lines, *closing_lines(summary)]


def closing_lines(summary: RunSummary) -> list[str]:
    """Return how good a run is on its sources, how far the target is from them, and what follows, as lines for people."""
    lines = [summary.validation] if summary.validation else []
    lines += [f"drift: {text}" for text in summary.drift.reading] if summary.drift else []
    return [*lines, *([f"next: {summary.next_command}"] if summary.next_command else [])]


def _validation(validation: ValidationRecord | None) -> str | None:
    if validation is None or validation.scores.miou is None:
        return None
    return (
        f"in-domain cross-validation on the sources, which is no test of the target: mIoU {validation.scores.miou:.3f} "
        f"({validation.kind})"
    )


def _next(facts: SummaryFacts) -> str:
    """Return the command that makes a map, with the layers that ``c2seg assess`` reads."""
    city = facts.target or Path("CITY")
    place = facts.out / "maps" / (city.resolve().name if facts.target else city.name)
    layers = ("--confidence", f"{place}_confidence.tif", "--runner-up", f"{place}_runner_up.tif")
    return shlex.join(
        ("c2seg", "predict", str(facts.out / "model.safetensors"), str(city), "--out", f"{place}.tif", *layers)
    )
