"""A map and everything that goes with it in one folder."""

from __future__ import annotations

from c2seg.api.arguments import FilePath, as_path
from c2seg.api.models import Model, load_model
from c2seg.gis import ModelFacts, SideFiles
from c2seg.gis import package as packages
from c2seg.gis.package import Package
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["package_map"]


def package_map(
    map: FilePath,
    out: FilePath,
    *,
    model: Model | FilePath | None = None,
    vector: bool = True,
    simplify: float | None = None,
    title: str | None = None,
    acquired: str | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> Package:
    """Write a folder with copies of a map and its confidence, and with all side files that GIS users need.

    Beside ``MAP.tif``: class names and attribute table (``.aux.xml``), a style for QGIS (``.qml``), the record (``.json``),
    ``.legend.png``, ``.preview.png``, ``.areas.csv``, ``.polygons.gpkg`` and ``.stac.json``. Colors are those of the map.

    Args:
        map: A map of classes, by ``predict`` or ``fuse``, or of others with one band of uint8.
        out: The folder.
        model: The model that made the map (file or run folder): the STAC item describes it (MLM extension).
        vector: Whether it holds polygons, which need the extra ``vector``.
        simplify: Simplify their borders by so many meters; None: they follow the pixels.
        title: Of the preview; None: the city's name.
        acquired: When the images were taken, ISO 8601; None: when the map was made.
        overwrite: Replace the folder.
        progress: False, True for bars, or a callable.

    Raises:
        DataError: It is no map of classes.
        InputError: Invalid settings.
        ModelFileError: No model.
        OutputError: The folder exists or cannot be written.
        MissingExtraError: Polygons need the extra ``vector``.
    """
    opened = model if isinstance(model, Model) or model is None else load_model(model)
    side = SideFiles(
        package=as_path(out),
        simplify_m=simplify,
        title=title,
        acquired=acquired,
        polygons=vector,
        model=ModelFacts(opened.path, opened.header) if opened else None,
    )
    inputs = [opened.path] if opened else []
    with opened_bars(progress) as bars:
        return packages.package_map(as_path(map), side, inputs=inputs, overwrite=overwrite, progress=bars("polygons"))
