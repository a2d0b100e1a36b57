"""Draw a city: its images, where they are valid, its label. Needs matplotlib, but no display.

Axes: h, w display rows and columns, at most the scene's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from c2seg.data import City, LabeledCity, Scene
from c2seg.data.composites import Composite, composites
from c2seg.legend import IGNORE
from c2seg.report.imagery import Sampling, picture, sample_layer

__all__ = ["CityFigure", "draw_city", "draw_image"]

_PANEL_INCHES = 3.2
_UNKNOWN = (191, 191, 191)


class CityFigure(Figure):
    """A figure that a notebook shows where it is the value of a cell; it belongs to no window and to no list of figures."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", bbox_inches="tight")
        return stream.getvalue()


@dataclass(frozen=True)
class _Panel:
    title: str
    rgba: np.ndarray


def draw_image(axes: Axes, scene: Scene, modality: str, pixels: int) -> None:
    """Draw a modality of a scene into axes, in false color where its bands are known; at most ``pixels`` display pixels."""
    composite = _composite(scene, modality)
    _show(axes, _Panel(composite.title, picture(scene, composite, Sampling.within(scene.grid, pixels))))


def draw_city(
    city: City, index: int, modalities: Sequence[str], labeled: LabeledCity | None, *, palette: str, pixels: int
) -> CityFigure:
    """Draw modalities of the scene ``index``, the pixels at which all of them are valid, and its label if there is one.

    Raises InputError for an unknown palette, DataError for a file that cannot be read.
    """
    scene = city.scenes[index]
    sampling = Sampling.within(scene.grid, pixels)
    chosen = [_composite(scene, name) for name in modalities]
    panels = [_Panel(composite.title, picture(scene, composite, sampling)) for composite in chosen]
    panels.append(_Panel("valid", _gray(np.all([panel.rgba[..., 3] > 0 for panel in panels], axis=0))))
    if labeled is not None:
        panels.append(_Panel("label", _label(labeled, index, sampling, palette)))
    figure = CityFigure(figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES * 1.3), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _show(axes, panel)
    figure.suptitle(city.name if len(city.scenes) == 1 else f"{city.name}, {scene.name}")
    if labeled is not None:
        figure.legend(handles=_handles(labeled, palette), loc="outside lower center", ncols=5, fontsize="x-small")
    return figure


def _composite(scene: Scene, modality: str) -> Composite:
    """Return the false-color composite, else the only one there is."""
    return composites(scene.modality(modality))[-1]


def _show(axes: Axes, panel: _Panel) -> None:
    axes.imshow(panel.rgba, interpolation="nearest")
    axes.set_title(panel.title, fontsize="small")
    axes.set_axis_off()


def _gray(valid: np.ndarray) -> np.ndarray:
    """Return uint8 [h, w, 4]: white where valid, dark elsewhere."""
    values = np.where(valid, 255, 64).astype(np.uint8)
    return np.stack([values, values, values, np.full_like(values, 255)], axis=-1)


def _label(labeled: LabeledCity, index: int, sampling: Sampling, palette: str) -> np.ndarray:
    """Return uint8 [h, w, 4]: classes in the legend's colors, gray where unknown, nothing where ignored."""
    label, legend = labeled.labels[index], labeled.images.legend
    values, inside = sample_layer(label, sampling, (0,))
    ids = np.where(inside, legend.apply_label_map(values[0], label.label_map), 0)
    colors = np.zeros((256, 4), np.uint8)
    colors[0] = (*_UNKNOWN, 255)
    for number, color in legend.colors(palette).items():
        colors[number] = (*color, 255)
    colors[IGNORE] = 0
    return colors[ids]


def _handles(labeled: LabeledCity, palette: str) -> list[Patch]:
    legend = labeled.images.legend
    colors = legend.colors(palette)
    return [Patch(color=f"#{bytes(colors[item.id]).hex()}", label=item.name) for item in legend.classes]
