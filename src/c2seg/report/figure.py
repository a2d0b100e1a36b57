"""The figure for a paper: images, ground truth and the maps of all runs side by side, with the legend below."""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from c2seg.data.composites import composites
from c2seg.errors import InputError
from c2seg.legend import Legend
from c2seg.outputs import atomic_file
from c2seg.report.imagery import Sampling, picture, sample_ids
from c2seg.report.layers import reference_ids
from c2seg.report.runs import Run
from c2seg.report.views import View, class_colors

__all__ = [
    "FIGURE_FORMATS",
    "WIDTH_INCHES",
    "check_figure",
    "colored",
    "draw_legend",
    "figure_uri",
    "panel_letter",
    "save_figure",
    "write_figure",
]

FIGURE_FORMATS = (".png", ".svg", ".pdf")
WIDTH_INCHES = 7.16  # both columns of an IEEE page
_WIDEST_INCHES, _LONGEST_INCHES = 2.4, 4.0  # of a panel
_LEAST_INCHES = 0.2
_MOST_PANELS = 10  # side by side
_TITLE_POINTS = 6.5
_TITLE_INCHES, _LINE_INCHES = 0.24, 0.11  # of one line, and of each more
_UNKNOWN = (0.75, 0.75, 0.75)
_PIXELS = 700_000  # of a panel: beyond what print shows

Panels = list[tuple[str, np.ndarray]]


def check_figure(path: Path) -> None:
    """Raise InputError unless the suffix names a format that can be written."""
    if path.suffix.lower() not in FIGURE_FORMATS:
        raise InputError(f"the figure {path} has suffix {path.suffix!r}; give one of {', '.join(FIGURE_FORMATS)}")


def write_figure(
    path: Path, views: Sequence[View], runs: Sequence[Run], *, palette: str = "default", overwrite: bool = False
) -> None:
    """Write the figure as PNG (400 dpi), SVG or PDF, one row per view (more, beyond ten panels).

    Equal content gives equal bytes. Raises InputError for another format, or when there is no map to show.
    """
    check_figure(path)
    figure = _draw(views, runs, palette, _PIXELS)
    with atomic_file(path, overwrite=overwrite) as temporary:
        save_figure(figure, temporary, path.suffix.lower()[1:], dpi=400)


def figure_uri(view: View, runs: Sequence[Run], *, palette: str = "default", dpi: int = 200) -> str:
    """Return the figure of one view as a data URI (WebP) for a page."""
    stream = io.BytesIO()
    save_figure(_draw([view], runs, palette, 160_000), stream, "webp", dpi=dpi)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def save_figure(figure: Any, target: Any, kind: str, *, dpi: int) -> None:
    """Write a figure of matplotlib to a path or stream; equal content gives equal bytes."""
    import matplotlib

    # No dates and fixed identifiers, so that a figure under version control changes only with its content.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context({"svg.hashsalt": "c2seg", "pdf.fonttype": 42, "svg.fonttype": "none"}):
        extra = {"pil_kwargs": {"quality": 90}} if kind == "webp" else {}
        figure.savefig(target, format=kind, dpi=dpi, metadata=metadata, **extra)


def _draw(views: Sequence[View], runs: Sequence[Run], palette: str, pixels: int) -> Any:
    from matplotlib.figure import Figure

    if not views:
        raise InputError("there is no map to draw: predict with `out` in the run folder, or give a map")
    lines = [
        line
        for view in views
        for line in _lines(view, _panels(view, runs, palette, Sampling.within(view.grid, pixels)))
    ]
    width = max(len(line.panels) * line.width for line in lines)
    width = max(width, 3.5)  # one column: room for the legend
    legend_columns = max(1, int(width / 1.4))
    legend_lines = math.ceil(views[0].legend.num_classes / legend_columns)
    height = sum(line.height + line.above for line in lines) + 0.12 + 0.14 * legend_lines
    figure = Figure(figsize=(width, height))
    top = height
    for line in lines:
        top -= line.height + line.above
        margin = (width - len(line.panels) * line.width) / 2
        for k, (title, image) in enumerate(line.panels):
            place = margin + k * line.width + 0.02, top, line.width - 0.04, line.height
            axes = figure.add_axes((place[0] / width, place[1] / height, place[2] / width, place[3] / height))
            axes.imshow(image, interpolation="none", aspect="auto")
            axes.set_title(title, fontsize=_TITLE_POINTS, pad=2.5, parse_math=False)
            axes.set_axis_off()
            if k == 0:
                _scale_bar(axes, line.view, image.shape[1])
    draw_legend(figure, views[0].legend, palette, columns=legend_columns)
    return figure


@dataclass(frozen=True)
class _Line:
    """Panels of a view that stand side by side, their height and width in inches; titles are broken to that width."""

    view: View
    panels: Panels
    height: float
    width: float

    @property
    def above(self) -> float:
        """Inches that the titles take."""
        return _TITLE_INCHES + _LINE_INCHES * max(title.count("\n") for title, _ in self.panels)


def _lines(view: View, panels: Panels) -> list[_Line]:
    """Give the panels of a view their letters, and arrange them in lines of equal length."""
    columns = math.ceil(len(panels) / math.ceil(len(panels) / _MOST_PANELS))
    height, width = _panel_inches(view, columns)
    letters = max(8, int(width * 72 / (0.55 * _TITLE_POINTS)))  # about half as wide as high
    named = [
        ("\n".join(textwrap.wrap(f"({panel_letter(k)}) {title}", letters)), image)
        for k, (title, image) in enumerate(panels)
    ]
    return [_Line(view, named[first : first + columns], height, width) for first in range(0, len(named), columns)]


def panel_letter(number: int) -> str:
    """Return the letter of a panel: a, b, c; after z, numbers."""
    return "abcdefghijklmnopqrstuvwxyz"[number] if number < 26 else str(number + 1)


def _panel_inches(view: View, panels: int) -> tuple[float, float]:
    """Return height and width of each of a row's panels, true to the ground's proportions, except for long strips."""
    x, y = view.grid.resolution_xy
    ratio = view.grid.height * y / (view.grid.width * x)
    width = min(_WIDEST_INCHES, WIDTH_INCHES / max(1, panels), _LONGEST_INCHES / ratio)
    return max(width * ratio, _LEAST_INCHES), max(width, _LEAST_INCHES)


def _panels(view: View, runs: Sequence[Run], palette: str, sampling: Sampling) -> Panels:
    panels: Panels = []
    for modality in view.images.modalities.values() if view.images else ():
        assert view.images is not None
        for item in composites(modality):
            rgba = picture(view.images, item, sampling).astype(np.float32) / 255.0
            rgba[..., :3][rgba[..., 3] == 0] = 1.0
            panels.append((item.title.split(" (")[0], rgba[..., :3]))
    colors = class_colors(view.legend, palette)
    if view.reference is not None:
        panels.append(("Reference", colored(reference_ids(view, sampling), colors)))
    for index, entry in view.maps:
        panels.append((runs[index].name, colored(sample_ids(entry.raster, sampling), colors)))
    return panels


def colored(ids: np.ndarray, colors: Mapping[int, tuple[int, int, int]]) -> np.ndarray:
    """Return the colors of ids uint8 [h, w], as fractions [h, w, 3]: white for 0 and 255, gray for unknown ones."""
    table = np.tile(np.array(_UNKNOWN, np.float32), (256, 1))
    table[[0, 255]] = 1.0
    for number, rgb in colors.items():
        table[number] = _fractions(rgb)
    colored: np.ndarray = table[ids]
    return colored


def _fractions(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    return rgb[0] / 255.0, rgb[1] / 255.0, rgb[2] / 255.0


def _scale_bar(axes: Any, view: View, columns: int) -> None:
    """Draw a bar of a round length, about a quarter of the panel; none without a CRS."""
    side_m = view.grid.pixel_side_m()
    if side_m is None:
        return
    meters = side_m * view.grid.width / columns
    longest = meters * columns / 4
    power = 10.0 ** math.floor(math.log10(longest))
    length = next(factor * power for factor in (5, 2, 1) if factor * power <= longest)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    share = length / meters / columns
    x, y = [0.04, 0.04 + share], [0.04, 0.04]
    for width, color in ((3.6, "black"), (2.0, "white")):
        axes.plot(x, y, transform=axes.transAxes, color=color, linewidth=width, solid_capstyle="butt")
    axes.annotate(
        text, (0.04, 0.04), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points", fontsize=5.5,
        color="black", va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
    )  # fmt: skip


def draw_legend(figure: Any, legend: Legend, palette: str, *, columns: int) -> None:
    """Draw the classes and their colors at the lower edge."""
    from matplotlib.patches import Patch

    colors = class_colors(legend, palette)
    handles = [
        Patch(facecolor=_fractions(colors[c.id]), edgecolor="0.4", linewidth=0.4, label=c.name) for c in legend.classes
    ]
    drawn = figure.legend(
        handles=handles, loc="lower center", ncols=min(columns, len(handles)), fontsize=6.5, frameon=False,
        handlelength=1.2, columnspacing=1.2, borderaxespad=0.3, labelspacing=0.35,
    )  # fmt: skip
    for text in drawn.get_texts():
        text.set_parse_math(False)  # a class name with a dollar sign is no formula
