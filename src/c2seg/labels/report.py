"""Report on a label raster: areas by class, by rule and by contested tag, and unused features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c2seg.labels.build import Labels
from c2seg.labels.burn import OUTSIDE, SAMPLES, UNMAPPED
from c2seg.labels.record import (
    ClassArea,
    ClosedArea,
    Coastline,
    CoverageFacts,
    ExtractFacts,
    LabelRecord,
    RuleArea,
    RuleTableName,
    SkippedArea,
    SwitchFacts,
    UnmatchedTag,
)

__all__ = ["ATTRIBUTION", "LICENSE", "build_report", "format_report"]

ATTRIBUTION = "(c) OpenStreetMap contributors"
LICENSE = "Open Database License (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1-0/"


def build_report(labels: Labels, pixels_by_class: np.ndarray, samples_by_code: np.ndarray) -> LabelRecord:
    """Return the report on a label raster, with areas in km2 and fractions of the covered area.

    ``pixels_by_class`` int64 [256] are the pixel counts of the raster, ``samples_by_code`` int64 [256] its samples (25 per
    pixel) by rule. Areas of classes are from pixels, areas of rules from samples after priorities.
    """
    table, grid = labels.table, labels.grid
    size = grid.height * grid.width
    covered = size - samples_by_code[OUTSIDE] / SAMPLES
    pixel_m2 = grid.pixel_area_m2()
    assert pixel_m2 is not None  # labels have a CRS
    area = _Areas(pixel_m2 / 1e6, float(covered))
    visible = samples_by_code[: len(table.rules)] / SAMPLES
    return LabelRecord(
        height=grid.height,
        width=grid.width,
        pixel_m2=pixel_m2,
        attribution=ATTRIBUTION,
        license=LICENSE,
        extract=ExtractFacts(
            bounds_degrees=labels.coverage.box,
            bounds_from=labels.coverage.source,
            timestamp=labels.coverage.timestamp,
        ),
        coverage=CoverageFacts(
            km2=area.km2(covered),
            covered_share=round(float(covered / size), 6),
            mapped_share=area.share(visible.sum()),
            unmapped_share=area.share(samples_by_code[UNMAPPED] / SAMPLES),
        ),
        classes=tuple(
            ClassArea(id=c.id, name=c.name, km2=area.km2(n), share=area.share(n))
            for c in table.legend.classes
            for n in [pixels_by_class[c.id]]
        ),
        rules=_rules(labels, visible, area),
        switches=tuple(_switch(labels, name, visible, area) for name in table.switches),
        coastline=Coastline(
            state=labels.sea.state,
            ways=labels.sea.ways,
            led_to_edge=labels.sea.led_to_edge,
            unknown_km2=round(labels.sea.unknown_m2 / 1e6, 6),
        ),
        unmatched=_unmatched(labels),
        skipped=tuple(SkippedArea(id=s.osm_id, rule=s.rule, reason=s.reason) for s in labels.extract.skipped),
        closed=tuple(ClosedArea(id=s.osm_id, rule=s.rule, told_by=s.told_by) for s in labels.extract.closed),
        rule_table=RuleTableName(name=table.name, digest=table.digest),
    )


@dataclass(frozen=True)
class _Areas:
    """Converts pixels to km2 and to fractions of the covered pixels."""

    pixel_km2: float
    covered: float

    def km2(self, pixels: float) -> float:
        return round(float(pixels) * self.pixel_km2, 6)

    def share(self, pixels: float) -> float:
        return round(float(pixels / self.covered), 6) if self.covered else 0.0


def _rules(labels: Labels, visible: np.ndarray, area: _Areas) -> tuple[RuleArea, ...]:
    return tuple(
        RuleArea.model_validate(
            {
                "name": rule.name, "class": labels.table.class_ids[i], "features": int(labels.features[i]),
                "km2": area.km2(visible[i]), "share": area.share(visible[i]),
                "geometry_km2": area.km2(labels.geometry_px[i]),
            }
        )
        for i, rule in enumerate(labels.table.rules)
    )  # fmt: skip


def _unmatched(labels: Labels) -> tuple[UnmatchedTag, ...]:
    """Return unmatched tags, the largest areas first."""
    largest = sorted(labels.extract.unmatched.items(), key=lambda item: (-item[1][1], item[0]))
    return tuple(
        UnmatchedTag(tag=tag, features=count, km2=round(square_meters / 1e6, 6))
        for tag, (count, square_meters) in largest
    )


def _switch(labels: Labels, name: str, visible: np.ndarray, area: _Areas) -> SwitchFacts:
    table = labels.table
    switch = table.switches[name]
    under = [i for i, rule in enumerate(table.rules) if rule.class_id == name]
    pixels = visible[under].sum()
    return SwitchFacts.model_validate(
        {
            "name": name, "choice": table.choices[name], "class": switch.options[table.choices[name]],
            "km2": area.km2(pixels), "share": area.share(pixels),
            "geometry_km2": area.km2(labels.geometry_px[under].sum()), "options": dict(switch.options),
        }
    )  # fmt: skip


def format_report(report: LabelRecord, *, most: int = 8) -> str:
    """Return a report as text with lists of at most ``most`` entries."""
    lines = [_extract_text(report), "", f"{'class':<36}{'km2':>10}{'share':>9}"]
    lines += [f"{c.id:>3} {c.name:<32}{c.km2:>10.3f}{c.share:>9.2%}" for c in report.classes]
    lines += ["", f"{'rule':<28}{'class':>6}{'features':>10}{'km2':>10}{'share':>9}"]
    used = [r for r in report.rules if r.class_id and r.features]
    lines += [f"{r.name:<28}{r.class_id:>6}{r.features:>10}{r.km2:>10.3f}{r.share:>9.2%}" for r in used]
    lines += ["", "contested tags (`switches=NAME=OPTION`); share = area that depends on the switch"]
    lines += [_switch_text(switch) for switch in report.switches]
    lines += ["", _coast_text(report.coastline)]
    lines += _listed("areas with unmatched tags", [f"{u.tag} {u.km2:.3f} km2" for u in report.unmatched], most)
    lines += _listed(
        "areas that the extract cuts, closed along its edge",
        [f"{c.id} ({c.rule}): told by {c.told_by}" for c in report.closed],
        most,
    )
    lines += _listed("areas skipped", [f"{s.id} ({s.rule}): {s.reason}" for s in report.skipped], most)
    return "\n".join([*lines, "", f"{report.attribution}, {report.license}"])


def _extract_text(report: LabelRecord) -> str:
    extract, coverage = report.extract, report.coverage
    dated = f", data of {extract.timestamp[:10]}" if extract.timestamp else ""
    return (
        f"{report.height} x {report.width} pixels; the extract (bounds from its {extract.bounds_from}{dated}) covers "
        f"{coverage.covered_share:.1%}, {coverage.km2:.2f} km2; of that {coverage.mapped_share:.1%} is mapped"
    )


def _switch_text(switch: SwitchFacts) -> str:
    options = ", ".join(
        f"{name} ({class_id})" if class_id else name
        for name, class_id in switch.options.items()
        if name != switch.choice
    )
    shown = f"{switch.share:.2%}" if switch.class_id else f"off, {switch.geometry_km2:.3f} km2 mapped"
    return f"  {switch.name} = {switch.choice}: {shown}; or {options}"


def _coast_text(coast: Coastline) -> str:
    if coast.state == "none":
        return "coastline: none in the extract; no sea is labeled"
    text = f"coastline: {coast.ways} pieces, {coast.led_to_edge} loose ends extended to the extract's edge"
    if coast.state == "unclosed":
        text += (
            f"; it is not closed: {coast.unknown_km2:.3f} km2 are unmapped, because sea and land cannot be separated"
        )
    return text


def _listed(title: str, entries: list[str], most: int) -> list[str]:
    if not entries:
        return []
    rest = [f"  ... and {len(entries) - most} more (all are in the JSON)"] if len(entries) > most else []
    return [f"{title}: {len(entries)}", *(f"  {entry}" for entry in entries[:most]), *rest]
