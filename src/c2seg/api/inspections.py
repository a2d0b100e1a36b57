"""What a city holds and what is wrong with it, as an object, as text and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from c2seg.api.tables import html_table
from c2seg.data.inspected import (
    InspectedCity,
    InspectedLabel,
    InspectedModality,
    InspectedScene,
    InspectedStatistics,
)

__all__ = ["Inspection"]

_SHOWN_BANDS = 8


@dataclass(frozen=True)
class Inspection:
    """The report on a city. ``print`` shows it as ``c2seg inspect`` does."""

    report: InspectedCity
    """All of it: layout, grids, modalities, pixel counts, statistics, class histogram, notes, problems; JSON values."""

    @property
    def name(self) -> str:
        """Name of the city."""
        return str(self.report["name"])

    @property
    def layout(self) -> str:
        """How it lies on disk."""
        return str(self.report["layout"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognized or assumed, and what is remarkable."""
        return tuple(self.report["notes"])

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, file by file; empty: the city can be used."""
        return tuple(self.report["problems"])

    @property
    def scenes(self) -> tuple[InspectedScene, ...]:
        """By scene: grid, modalities, counts, label."""
        return tuple(self.report["scenes"])

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON structure."""
        return dict(self.report)

    def __str__(self) -> str:
        return "\n".join(_lines(self.report))

    def _repr_html_(self) -> str:
        rows = [
            (
                scene["name"],
                name,
                stack["bands"],
                f"{stack['height']} x {stack['width']}",
                stack.get("valid_pixels", "-"),
            )
            for scene in self.scenes
            for name, stack in scene["modalities"].items()
        ]
        wrong = f"{len(self.problems)} problems: {'; '.join(self.problems)}" if self.problems else "no problems found"
        caption = f"{self.name} ({self.layout}): {wrong}"
        return html_table(("scene", "modality", "bands", "size", "valid pixels"), rows, caption)


def _lines(report: InspectedCity) -> list[str]:
    origin = f", {report['split']} city of {report['dataset']}" if report["dataset"] else ""
    lines = [f"{report['name']}: {report['layout']}{origin}, legend {report['legend']}"]
    for scene in report["scenes"]:
        lines += ["", *_scene_lines(scene)]
    for title, texts in (("notes", report["notes"]), ("problems", report["problems"])):
        if texts:
            lines += ["", f"{title}:", *(f"  - {text}" for text in texts)]
    if not report["problems"]:
        lines += ["", "no problems found"]
    return lines


def _scene_lines(scene: InspectedScene) -> list[str]:
    x, y = scene["resolution_xy"]
    unit = scene["crs"] or "no CRS"
    lines = [f"scene {scene['name']}: {scene['height']} x {scene['width']} px of {x:g} x {y:g}, {unit}"]
    if "valid_pixels" in scene:
        pixels = scene["height"] * scene["width"]
        share = scene["valid_pixels"] / pixels
        lines.append(f"  valid in every modality: {scene['valid_pixels']:,} of {pixels:,} px ({share:.1%})")
    if scene["tiles"]:
        t = scene["tiles"]
        lines.append(
            f"  tiles: {t['count']} = {t['rows']} x {t['columns']} of {t['tile_px']} px, step {t['step_px']} px, "
            f"numbered by {t['order']}"
        )
    for name, stack in scene["modalities"].items():
        lines += _modality_lines(name, stack)
    if scene.get("label"):
        lines += _label_lines(scene["label"])
    return lines


def _modality_lines(name: str, stack: InspectedModality) -> list[str]:
    grid = f"{stack['height']} x {stack['width']}" + (f" ({stack['ratio']} x coarser)" if stack["ratio"] > 1 else "")
    roles = " ".join(role or "-" for role in stack["roles"]) if any(stack["roles"]) else ""
    known_nodata = stack["nodata"]
    nodata = "none" if known_nodata is None else known_nodata if isinstance(known_nodata, str) else f"{known_nodata:g}"
    if stack["blank"] is not None:
        nodata = f"{stack['blank']:g} in all bands"
    scale = "".join(
        f", {key} {amount:g}" if isinstance(amount, float) else f", {key} by band"
        for key, amount, plain in (("scale", stack["scale"], 1), ("offset", stack["offset"], 0))
        if amount != plain
    ) + (", masked" if stack["masked"] else "")
    known = [nm for nm in stack["wavelengths_nm"] if nm]
    wavelengths = f", {min(known):.0f} to {max(known):.0f} nm" if known else ""
    lines = [
        f"  {name}: {stack['bands']} bands {stack['dtype']}, {grid}, no-data {nodata}{scale}{wavelengths}  {roles}"
    ]
    if "valid_pixels" in stack:
        lines.append(
            f"    valid {stack['valid_pixels']:,} px; cells without data {stack['empty_cells']:,}, of which NaN "
            f"{stack['nan_cells']:,}"
        )
    if numbers := stack.get("statistics"):
        lines += _statistics_lines(stack, numbers)
    if landmarks := stack.get("landmarks"):
        edge = landmarks["red_edge_band"]
        dips = ", ".join(map(str, landmarks["dip_bands"])) or "none"
        lines.append(f"    red edge at band {edge or '-'}, absorption dips at bands {dips}")
    return [line.rstrip() for line in lines]


def _statistics_lines(stack: InspectedModality, numbers: InspectedStatistics) -> list[str]:
    published = stack.get("published")
    header = f"    {'band':>6} {'mean':>11} {'std':>11} {'min':>11} {'max':>11}"
    if published:
        header += f" {'tile mean':>11} {'published':>11} {'tile std':>11} {'published':>11}"
    lines = [header]
    count = stack["bands"]
    shown = range(count) if count <= _SHOWN_BANDS else [*range(3), *range(count - 3, count)]
    for band in shown:
        columns = [numbers["mean"], numbers["std"], numbers["minimum"], numbers["maximum"]]
        if published:
            columns += [published["mean_here"], published["mean"], published["std_here"], published["std"]]
        row = [values[band] for values in columns]
        lines.append(f"    {band + 1:>6} " + " ".join(f"{value:>11.5g}" for value in row))
        if count > _SHOWN_BANDS and band == 2:
            lines.append(f"    {'...':>6} ({count - 6} more in JSON)")
    return lines


def _label_lines(label: InspectedLabel) -> list[str]:
    lines = [f"  label: {label['origin']}, {label['dtype']}, label mapping {label['label_map']}"]
    if "classes" not in label:
        return lines
    widest = max(len(item["name"]) for item in label["classes"])
    most = max(item["share"] for item in label["classes"]) or 1.0
    for item in label["classes"]:
        bar = "#" * round(24 * item["share"] / most)
        lines.append(f"    {item['id']:>3} {item['name']:<{widest}} {item['pixels']:>12,} {item['share']:>7.2%} {bar}")
    lines.append(f"      0 {'background':<{widest}} {label['background']:>12,}")
    lines.append(f"    255 {'ignore':<{widest}} {label['ignore']:>12,}")
    return [line.rstrip() for line in lines]
