"""What a page shows as one picture: a predicted scene with its maps of several runs, its images, and its ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from c2seg.data import City, Scene, open_city
from c2seg.errors import C2SegError, GridError, InputError
from c2seg.legend import Legend, c2seg13
from c2seg.metrics import MapPair, Reference, ReferenceCode, map_legend, open_references
from c2seg.metrics.pairs import pair_of
from c2seg.pipeline.few_shot import leave_out
from c2seg.report.runs import MapFile, Run, distinct_names
from c2seg.types import Grid

__all__ = ["Reference", "View", "class_colors", "make_views", "palettes"]


@dataclass(frozen=True)
class View:
    """A predicted scene. ``maps`` holds (index of the run, map); ``remark`` says why images are missing or doubtful."""

    name: str
    grid: Grid
    legend: Legend
    maps: tuple[tuple[int, MapFile], ...]
    images: Scene | None = None
    reference: Reference | None = None
    remark: str = ""

    @property
    def code(self) -> ReferenceCode:
        """How the ground truth's values are to be read."""
        return self.reference.code if self.reference else ReferenceCode(self.legend)

    def pair(self, entry: MapFile) -> MapPair:
        """Match a map of this view with the ground truth; only for a view that has one."""
        assert self.reference is not None
        (pair,) = leave_out([pair_of(entry.path, self.reference)])
        return pair


class _Images(NamedTuple):
    """A scene that may be what a view shows, and its city with its fingerprint."""

    city: City
    scene: Scene
    fingerprint: str


def make_views(
    runs: Sequence[Run],
    cities: Sequence[Path],
    references: Sequence[Path],
    label_map: str | None,
    reference_cities: Mapping[Path, Path] | None = None,
) -> list[View]:
    """Group the maps of all runs by what they show, and find images and ground truth.

    ``cities`` are opened for their images (else the city is looked for where it was at prediction time); ``references``
    are label rasters or labeled city folders. Other cities may lie on the same grid: a reference belongs to the predicted city
    of ``reference_cities``, else to the one in whose folder it lies, else to all whose grid it fits. InputError for a city or
    a ground truth that fits no map, and for several ground truths of one map.
    """
    views: list[View] = []
    for index, run in enumerate(runs):
        for entry in run.maps:
            legend = map_legend(entry.raster) or c2seg13()
            place = next((k for k, v in enumerate(views) if _belongs(v, entry, legend)), None)
            if place is None:
                views.append(View(entry.city, entry.raster.grid, legend, ((index, entry),)))
            else:
                views[place] = replace(views[place], maps=(*views[place].maps, (index, entry)))
    views = [replace(view, name=name) for view, name in zip(views, _view_names(views), strict=True)]
    views = _with_images(views, [open_city(path) for path in cities])
    return _with_references(views, references, label_map, reference_cities or {})


def palettes(legend: Legend) -> dict[str, tuple[str, ...]]:
    """Return the colors by palette, one per class; every legend gets one that color-blind readers can use.

    It is called ``colorblind`` also where it is the default.
    """
    colors = {"default": tuple(item.color for item in legend.classes), **legend.palettes}
    spare = c2seg13().palettes["colorblind"]
    if "colorblind" not in colors and legend.num_classes <= len(spare):
        colors["colorblind"] = spare[: legend.num_classes]
    return colors


def class_colors(legend: Legend, palette: str) -> dict[int, tuple[int, int, int]]:
    """Return red, green, blue (0..255) by class id in a palette of ``palettes``; InputError for an unknown one."""
    return replace(legend, palettes=palettes(legend)).colors(palette)


def _belongs(view: View, entry: MapFile, legend: Legend) -> bool:
    first = view.maps[0][1]
    known = first.record is not None and entry.record is not None
    same_place = first.city == entry.city and first.city_path == entry.city_path  # its images may have changed since
    same_city = not known or same_place or first.fingerprint == entry.fingerprint
    same_scene = not known or first.scene == entry.scene
    return same_city and same_scene and legend.ids == view.legend.ids and _same_grid(view.grid, entry.raster.grid)


def _view_names(views: Sequence[View]) -> list[str]:
    """Return the cities' names, with folders where cities have one name, and the scene where a city has several."""
    keys = [(first.city, first.city_path or first.path) for first in (view.maps[0][1] for view in views)]
    cities = dict(zip(dict.fromkeys(keys), distinct_names(list(dict.fromkeys(keys))), strict=True))
    return [
        f"{cities[key]}, {scene}" if keys.count(key) > 1 and (scene := view.maps[0][1].scene) else cities[key]
        for key, view in zip(keys, views, strict=True)
    ]


def _with_images(views: Sequence[View], cities: Sequence[City]) -> list[View]:
    given = [
        _Images(city, scene, fingerprint)
        for city, fingerprint in zip(cities, [city.fingerprint() for city in cities], strict=True)
        for scene in city.scenes
    ]
    used: set[int] = set()
    result = []
    for view in views:
        fitting = [k for k, images in enumerate(given) if _same_grid(images.scene.grid, view.grid)]
        if fitting:
            best = max(fitting, key=lambda k: _likeness(view, given[k]))  # the first of equals
            used.update(fitting)
            result.append(_imaged(view, given[best]))
        else:
            result.append(_recorded_images(view))
    unused = [city for city in cities if not any(given[k].city is city for k in used)]
    if unused:
        sizes = ", ".join(f"{v.name} {v.grid.height} x {v.grid.width}" for v in views) or "there is no map"
        scene = unused[0].scenes[0]
        raise InputError(
            f"city {unused[0].name!r} ({scene.grid.height} x {scene.grid.width} pixels) lies on the grid of no map "
            f"({sizes}); give the city that was predicted"
        )
    return result


def _likeness(view: View, images: _Images) -> tuple[bool, bool]:
    """Rank what the images of a view may be: the very images, else the same names."""
    maps = [entry for _, entry in view.maps]
    named = any((entry.city, entry.scene) == (images.city.name, images.scene.name) for entry in maps)
    return named and images.fingerprint in {entry.fingerprint for entry in maps}, named


def _imaged(view: View, images: _Images) -> View:
    fingerprints = {e.fingerprint for _, e in view.maps} - {None}
    other = bool(fingerprints) and images.fingerprint not in fingerprints
    remark = (
        "The images shown are not byte for byte those that were predicted (their fingerprints differ)." if other else ""
    )
    return replace(view, images=images.scene, remark=remark)


def _recorded_images(view: View) -> View:
    """Look for the city where it was at prediction time."""
    path = next((e.city_path for _, e in view.maps if e.city_path), None)
    if path is None:
        return replace(view, remark="No images: the predicted city was not given (`city`).")
    try:
        city = open_city(path)
    except C2SegError as error:
        reason = str(error).replace(str(path), path.name)
        return replace(view, remark=f"No images: {reason}. The predicted city may be given (`city`).")
    scene_name = view.maps[0][1].scene
    fitting = [scene for scene in city.scenes if _same_grid(scene.grid, view.grid)]
    if not fitting:
        return replace(
            view, remark=f"No images: {path.name} is not on the grid of the map any more; give another `city`."
        )
    scene = next((s for s in fitting if s.name == scene_name), fitting[0])
    return _imaged(view, _Images(city, scene, city.fingerprint()))


def _with_references(
    views: list[View], references: Sequence[Path], label_map: str | None, cities: Mapping[Path, Path]
) -> list[View]:
    opened = [
        (path, reference) for path in references for reference in _open_reference(path, label_map, cities.get(path))
    ]
    owned = [{k for k, view in enumerate(views) if _owns(view, reference)} for _, reference in opened]
    views_with_owner = set().union(*owned)
    result = list(views)
    problems: dict[Path, GridError] = {}
    matched: set[Path] = set()
    for (path, reference), owners in zip(opened, owned, strict=True):
        for k in sorted(owners or set(range(len(views))) - views_with_owner):
            scene = views[k].maps[0][1].scene
            if reference.scene is not None and scene is not None and reference.scene != scene:
                continue
            try:
                pair_of(views[k].maps[0][1].path, reference)
            except GridError as error:
                problems[path] = error
                continue
            other = result[k].reference
            if other is not None and other.path != reference.path:
                raise InputError(
                    f"the references {other.path} and {reference.path} both fit the map of {views[k].name}; give one, or "
                    "each in the folder of its city"
                )
            result[k] = replace(views[k], reference=reference)
            matched.add(path)
    for path in references:
        if path not in matched:
            reason = problems.get(path) or "there is no map of that scene"
            raise InputError(f"the ground truth {path} fits no map: {reason}")
    return result


def _owns(view: View, reference: Reference) -> bool:
    """True if the reference belongs to the city of one of the maps, by what is known of it or because it lies in its folder."""
    cities = {entry.city_path for _, entry in view.maps} - {None}
    return (
        reference.city in cities
        if reference.city
        else any(reference.path.resolve().is_relative_to(str(place)) for place in cities)
    )


def _open_reference(path: Path, label_map: str | None, of: Path | None) -> list[Reference]:
    """Open the references at a path; ``of`` is the city that they belong to, where it is told."""
    opened = open_references(path, None, label_map)
    return [replace(reference, city=of.resolve()) if of else reference for reference in opened]


def _same_grid(a: Grid, b: Grid) -> bool:
    """True for the same pixels; the CRS texts of two files may differ, so only its presence is compared."""
    return (
        (a.height, a.width) == (b.height, b.width)
        and (a.crs is None) == (b.crs is None)
        and bool(a.transform.almost_equals(b.transform, precision=1e-6 * max(1.0, abs(a.transform.a))))
    )
