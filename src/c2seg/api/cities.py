"""Cities: open, look at, inspect."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from c2seg import data
from c2seg.api.arguments import FilePath, as_path, optional_path
from c2seg.api.inspections import Inspection
from c2seg.api.tables import html_table
from c2seg.data import City, CityStatistics, LabeledCity, Scene, city_statistics
from c2seg.data import inspection as inspecting
from c2seg.errors import DataError, needs_extra, unknown_name
from c2seg.legend import Legend
from c2seg.progress import ShowProgress, opened_bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OpenedCity", "inspect_city", "open_city"]


@dataclass(frozen=True)
class OpenedCity:
    """A city on disk. Pixels are read when they are asked for; labels are opened only to look at them."""

    path: Path
    images: City
    """Its images as the rest of the package sees them."""
    label_map: str | None = None

    @property
    def name(self) -> str:
        """Name of the city."""
        return self.images.name

    @property
    def legend(self) -> Legend:
        """Its classes."""
        return self.images.legend

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that every scene has."""
        return self.images.modality_names

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes: one, or several grids."""
        return tuple(scene.name for scene in self.images.scenes)

    @cached_property
    def labeled(self) -> LabeledCity | None:
        """The city with its labels; None if none lie on disk."""
        return data.add_labels(self.path, self.images, self.label_map)

    def statistics(self, *, progress: ShowProgress = False) -> CityStatistics:
        """Return mean, deviation, extremes and quantiles of every band over its valid pixels: one pass over the city."""
        with opened_bars(progress) as bars:
            bands = city_statistics(self.images, self.modalities, bars("statistics"), quantiles=True)
        return CityStatistics.model_validate({"city": self.name, "modalities": bands})

    def plot(
        self,
        modality: str | None = None,
        *,
        scene: str | None = None,
        label: bool = True,
        palette: str = "default",
        pixels: int = 500_000,
        ax: Axes | None = None,
    ) -> Figure | Axes:
        """Draw the images in false color, the valid pixels, and the label where there is one.

        Args:
            modality: Draw this one alone; None: all.
            scene: Name of the scene; None: the first.
            label: Draw the label of a labeled city.
            palette: Colors of the label: ``default`` or a named palette of the legend.
            pixels: At most so many display pixels a panel; no more than that is held in memory.
            ax: Draw into these axes: the image of ``modality`` (None: of the first) alone.

        Returns:
            ``ax``, or else a figure that belongs to no window; a notebook shows it, ``savefig`` writes it.

        Raises:
            InputError: An unknown palette.
            DataError: An unknown modality or scene, or a file that cannot be read.
            MissingExtraError: matplotlib is not installed.
        """
        with needs_extra("drawing a city", "report"):
            from c2seg.report.city import draw_city, draw_image

        shown = self._scene(scene)
        names = tuple(shown.modalities) if modality is None else (shown.modality(modality).name,)
        if ax is not None:
            draw_image(ax, shown, names[0], pixels)
            return ax
        labeled = self.labeled if label else None
        return draw_city(self.images, self.images.scenes.index(shown), names, labeled, palette=palette, pixels=pixels)

    def _scene(self, name: str | None) -> Scene:
        if name is None:
            return self.images.scenes[0]
        if name not in self.scenes:
            raise DataError(f"city {self.name!r}: {unknown_name('scene', name, self.scenes)}")
        return self.images.scenes[self.scenes.index(name)]

    def _repr_html_(self) -> str:
        rows = [
            (scene.name, name, stack.count, f"{stack.source.height} x {stack.source.width}", str(stack.source.dtype))
            for scene in self.images.scenes
            for name, stack in scene.modalities.items()
        ]
        caption = f"{self.name}: {self.path}, legend {self.legend.name}"
        return html_table(("scene", "modality", "bands", "size", "type"), rows, caption)


def open_city(path: FilePath, *, label_map: str | None = None) -> OpenedCity:
    """Open a city: a folder of rasters, a split of the challenge's tiles, or a ``.mat`` file (``docs/data.md``).

    Args:
        path: The city.
        label_map: Label mapping of its labels, if any: a name, a mapping file, or ``auto``. None: what the layout says.

    Raises:
        DataError: There is no city, or the first thing that is wrong with it.
    """
    return OpenedCity(as_path(path), data.open_city(as_path(path)), label_map)


def inspect_city(
    path: FilePath,
    *,
    label_map: str | None = None,
    against: FilePath | None = None,
    headers_only: bool = False,
    progress: ShowProgress = False,
) -> Inspection:
    """Say what a city holds and what is wrong with it, file by file.

    Args:
        path: The city.
        label_map: Label mapping of its labels, or a mapping file.
        against: Another city: HSI bands are compared with it.
        headers_only: Read no pixels: no counts, no statistics.
        progress: False, True for bars, or a callable.

    Raises:
        DataError: There is no city at all; all else is listed in ``problems``.
    """
    with opened_bars(progress) as bars:
        report = inspecting.inspect_city(
            as_path(path),
            label_map=label_map,
            against=optional_path(against),
            headers_only=headers_only,
            progress=bars("inspect"),
        )
    return Inspection(report)
