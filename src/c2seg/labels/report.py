"""What a label raster holds and what it lacks: per class, per rule, per contested tag, and what was not used."""

from __future__ import annotations

from typing import Any

import numpy as np

from c2seg.labels.build import Labels
from c2seg.labels.burn import OUTSIDE, SAMPLES, UNMAPPED

__all__ = ["ATTRIBUTION", "LICENSE", "build_report", "format_report"]

ATTRIBUTION = "(c) OpenStreetMap contributors"
LICENSE = "Open Database License (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1-0/"


def build_report(labels: Labels, pixels_by_class: np.ndarray, samples_by_code: np.ndarray) -> dict[str, Any]:
    """Return the report as a plain structure (areas in km2, shares of the covered area).

    ``pixels_by_class`` int64 [256] counts the raster's labels, ``samples_by_code`` int64 [256] its samples (25 per
    pixel) by rule. Areas per class are of whole pixels, areas per rule of samples, after priorities.
    """
    table, grid = labels.table, labels.grid
    pixel_km2 = grid.pixel_area_m2() / 1e6
    size = grid.height * grid.width
    covered = size - samples_by_code[OUTSIDE] / SAMPLES

    def share(pixels: float) -> float:
        return round(float(pixels / covered), 6) if covered else 0.0

    def km2(pixels: float) -> float:
        return round(float(pixels) * pixel_km2, 6)

    visible = samples_by_code[: len(table.rules)] / SAMPLES
    classes = [
        {"id": c.id, "name": c.name, "km2": km2(pixels_by_class[c.id]), "share": share(pixels_by_class[c.id])}
        for c in table.legend.classes
    ]
    rules = [
        {
            "name": rule.name, "class": table.class_ids[i], "features": int(labels.features[i]),
            "km2": km2(visible[i]), "share": share(visible[i]), "geometry_km2": km2(labels.geometry_px[i]),
        }
        for i, rule in enumerate(table.rules)
    ]  # fmt: skip
    unmatched = sorted(labels.extract.unmatched.items(), key=lambda item: (-item[1][1], item[0]))
    return {
        "height": grid.height, "width": grid.width, "pixel_m2": grid.pixel_area_m2(),
        "attribution": ATTRIBUTION, "license": LICENSE,
        "extract": {
            "bounds_degrees": list(labels.coverage.box), "bounds_from": labels.coverage.source,
            "timestamp": labels.coverage.timestamp,
        },
        "coverage": {
            "km2": km2(covered), "covered_share": round(float(covered / size), 6),
            "mapped_share": share(visible.sum()), "unmapped_share": share(samples_by_code[UNMAPPED] / SAMPLES),
        },
        "classes": classes,
        "rules": rules,
        "switches": [_switch(labels, name, visible, share, km2) for name in table.switches],
        "coastline": {
            "state": labels.sea.state, "ways": labels.sea.ways, "led_to_edge": labels.sea.led_to_edge,
            "unknown_km2": round(labels.sea.unknown_m2 / 1e6, 6),
        },
        "unmatched": [
            {"tag": tag, "features": count, "km2": round(area / 1e6, 6)} for tag, (count, area) in unmatched
        ],
        "skipped": [{"id": s.osm_id, "rule": s.rule, "reason": s.reason} for s in labels.extract.skipped],
        "rule_table": {"name": table.name, "digest": table.digest},
    }  # fmt: skip


def _switch(labels: Labels, name: str, visible: np.ndarray, share: Any, km2: Any) -> dict[str, Any]:
    table = labels.table
    switch = table.switches[name]
    under = [i for i, rule in enumerate(table.rules) if rule.class_id == name]
    return {
        "name": name, "choice": table.choices[name], "class": switch.options[table.choices[name]],
        "km2": km2(visible[under].sum()), "share": share(visible[under].sum()),
        "geometry_km2": km2(labels.geometry_px[under].sum()), "options": dict(switch.options),
    }  # fmt: skip


def format_report(report: dict[str, Any], *, most: int = 8) -> str:
    """Return a report as text; lists are cut to ``most`` entries."""
    extract, coverage, coast = report["extract"], report["coverage"], report["coastline"]
    lines = [
        f"{report['height']} x {report['width']} pixels; the extract (bounds from its {extract['bounds_from']}"
        + (f", data of {extract['timestamp'][:10]}" if extract["timestamp"] else "")
        + f") covers {coverage['covered_share']:.1%}, {coverage['km2']:.2f} km2; of that {coverage['mapped_share']:.1%} "
        "is mapped",
        "",
        f"{'class':<36}{'km2':>10}{'share':>9}",
    ]
    lines += [f"{c['id']:>3} {c['name']:<32}{c['km2']:>10.3f}{c['share']:>9.2%}" for c in report["classes"]]
    lines += ["", f"{'rule':<28}{'class':>6}{'features':>10}{'km2':>10}{'share':>9}"]
    used = [r for r in report["rules"] if r["class"] and r["features"]]
    lines += [f"{r['name']:<28}{r['class']:>6}{r['features']:>10}{r['km2']:>10.3f}{r['share']:>9.2%}" for r in used]
    lines += ["", "contested tags (`switches=NAME=OPTION`); share = what moves with the switch"]
    for switch in report["switches"]:
        options = ", ".join(
            f"{name} ({class_id})" if class_id else name
            for name, class_id in switch["options"].items()
            if name != switch["choice"]
        )
        shown = f"{switch['share']:.2%}" if switch["class"] else f"off, {switch['geometry_km2']:.3f} km2 mapped"
        lines.append(f"  {switch['name']} = {switch['choice']}: {shown}; or {options}")
    lines += ["", _coast_text(coast)]
    lines += _listed(
        "areas with tags that no rule takes", [f"{u['tag']} {u['km2']:.3f} km2" for u in report["unmatched"]], most
    )
    lines += _listed("areas skipped", [f"{s['id']} ({s['rule']}): {s['reason']}" for s in report["skipped"]], most)
    return "\n".join([*lines, "", f"{report['attribution']}, {report['license']}"])


def _coast_text(coast: dict[str, Any]) -> str:
    if coast["state"] == "none":
        return "coastline: none in the extract's part; no sea is drawn"
    text = f"coastline: {coast['ways']} pieces, {coast['led_to_edge']} loose ends led to the extract's edge"
    if coast["state"] == "unclosed":
        text += f"; it does not close: {coast['unknown_km2']:.3f} km2 left unmapped because sea or land is not known"
    return text


def _listed(title: str, entries: list[str], most: int) -> list[str]:
    if not entries:
        return []
    rest = [f"  ... and {len(entries) - most} more (JSON lists all)"] if len(entries) > most else []
    return [f"{title}: {len(entries)}", *(f"  {entry}" for entry in entries[:most]), *rest]
