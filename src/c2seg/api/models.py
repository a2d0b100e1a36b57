"""A trained model: what it is, maps of whole cities, probabilities of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from c2seg.api.arguments import FilePath, as_path, optional_path
from c2seg.api.cities import OpenedCity, open_city
from c2seg.api.labeled_arrays import LabeledArrays
from c2seg.api.map_settings import GivenSettings, MapSettings, shows_settings
from c2seg.api.tables import html_table
from c2seg.artifacts import Header, MapRecord, ModelFile, read_model_file
from c2seg.data import Band, BandStatistics, City, CityStatistics, city_of_arrays, city_statistics
from c2seg.data.layouts import is_city
from c2seg.data.spectral import match_bands
from c2seg.errors import InputError, needs_extra
from c2seg.gis import SideFiles
from c2seg.legend import Legend
from c2seg.outputs import Output, check_outputs
from c2seg.predict.arrays import ArrayPredictor
from c2seg.predict.backends import BackendOptions
from c2seg.predict.city import as_trained
from c2seg.progress import ShowProgress, opened_bars
from c2seg.recipes import Recipe

if TYPE_CHECKING:
    from c2seg.predict.backends.export import ExportCheck

__all__ = ["Model", "PredictedCity", "export_model", "load_model"]

Statistics = FilePath | OpenedCity | CityStatistics
"""A city, or statistics of one: as an object, or as the JSON file that it wrote."""


@dataclass(frozen=True)
class PredictedCity:
    """The map of a city: a file, or a folder with one for each scene."""

    out: Path
    maps: tuple[MapRecord, ...]
    """By scene: pixels, area by class in km2, seconds, backend."""

    def _repr_html_(self) -> str:
        rows = [
            (item.path, name, f"{pixels:,}", f"{item.area_km2[name]:.3f}" if item.area_km2 else "")
            for item in self.maps
            for name, pixels in item.class_pixels.items()
        ]
        return html_table(("map", "class", "pixels", "km2"), rows, str(self.out))


@dataclass(frozen=True)
class Model:
    """A model file that was read."""

    path: Path
    file: ModelFile = field(repr=False)

    @property
    def header(self) -> Header:
        """Everything about the model but its weights."""
        return self.file.header

    @property
    def recipe(self) -> Recipe:
        """The recipe that it was trained by."""
        return self.header.recipe

    @property
    def legend(self) -> Legend:
        """Ids, names and colors of its classes."""
        return self.header.legend

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes in the order of its outputs."""
        return self.legend.names

    @property
    def bands(self) -> dict[str, tuple[Band, ...]]:
        """The bands that it takes by modality, in order: name, role, wavelength in nm."""
        return self.header.inputs

    @property
    def digest(self) -> str:
        """16 hex digits over header and weights."""
        return self.file.digest

    @shows_settings
    def predict(
        self,
        city: FilePath,
        out: FilePath,
        *,
        probabilities: FilePath | None = None,
        confidence: FilePath | None = None,
        runner_up: FilePath | None = None,
        preview: FilePath | None = None,
        vector: FilePath | None = None,
        simplify: float | None = None,
        legend_image: FilePath | None = None,
        areas: FilePath | None = None,
        stac: FilePath | None = None,
        package: FilePath | None = None,
        title: str | None = None,
        acquired: str | None = None,
        parts_folder: FilePath | None = None,
        progress: ShowProgress = False,
        command: Sequence[str] = (),
        **settings: Unpack[GivenSettings],
    ) -> PredictedCity:
        """Predict a whole city by windows in bounded memory; a call that was stopped resumes when it is repeated.

        Args:
            city: The city; labels are not opened.
            out: The map: a GeoTIFF of ids (uint8, 0 where an image is not valid). A folder for a city of several scenes.
            probabilities: Also all class probabilities, one band a class (uint8 0..200, 255 nodata). This and the next two are
                GeoTIFFs, or stay in parts if their names end in ``.vrt``, on a disk or in object storage (``docs/mapping.md``).
            confidence: Also the probability of the predicted class (likewise).
            runner_up: Also the runner-up class and the margin over it (likewise).
            preview: Also a PNG with title, legend, scale bar and north arrow.
            vector: Also polygons of the classes, a GeoPackage.
            simplify: Simplify their borders by so many meters, the same for both neighbors; None: they follow the pixels.
            legend_image: Also the legend as a PNG.
            areas: Also a CSV of pixels and areas by class.
            stac: Also a STAC item, which names map, layers and model; ``.stac.json``.
            package: Also a folder with copies of map and layers and with all side files.
            title: Of the previews; None: the city's name.
            acquired: When the images were taken, ISO 8601, for the STAC item; None: when the map was made.
            parts_folder: Where tasks write these layers in parts until the map is complete: a folder that all workers see, or
                one in object storage. None: beside the map; workers of clusters and executors return them.
            backend: ``torch``, ``onnx``, ``openvino``, ``tensorrt``, ``forest``; ``auto`` measures; None: what the model needs.
            device: ``auto``, ``cpu`` or ``cuda``.
            precision: ``32`` or ``bf16``, which is refused where it changes too many classes.
            tta: Average over flips and rotations; None: as the recipe says.
            threads: Of the processor; None: all.
            compile: torch.compile, for backend ``torch``.
            workers: Processes that predict in parallel.
            cluster: A Dask cluster in their place: ``tcp://host:port`` of its scheduler, ``local:N``, or a YAML file that
                names its class (``docs/scaling.md``).
            executor: A ``concurrent.futures.Executor`` in their place (``docs/scaling.md``); it stays open.
            min_area_px: Merge smaller connected areas into their largest neighbor, 2 or more.
            min_area_keep: Names or ids of classes that are left alone then; None: streets.
            palette: Colors of the map.
            decision: How classes follow from the probabilities, by what the map is for: ``argmax``, ``expected_iou``,
                ``expected_oa``, ``unbiased_area`` (``docs/crosscity.md``); None: as the recipe says.
            overwrite: Replace existing files.
            progress: False, True for bars, or a callable.
            command: What repeats this, for the JSON beside the map.

        Raises:
            ModelFileError, DataError: The city is damaged, or lacks what the model needs.
            InputError: Invalid settings.
            OutputError: A file exists or cannot be written.
        """
        chosen = MapSettings(**settings)
        options = chosen.options(
            as_path(out),
            probabilities=optional_path(probabilities),
            confidence=optional_path(confidence),
            runner_up=optional_path(runner_up),
            preview=optional_path(preview),
            parts_folder=optional_path(parts_folder),
            side=SideFiles(
                vector=optional_path(vector),
                legend_image=optional_path(legend_image),
                areas=optional_path(areas),
                stac=optional_path(stac),
                package=optional_path(package),
                simplify_m=simplify,
                title=title,
                acquired=acquired,
            ),
        )
        crews = chosen.crew() if chosen.executor is not None else nullcontext()
        with opened_bars(progress) as bars, crews as crew:
            maps = chosen.predict(self.path, as_path(city), options, bars, command, crew)
        return PredictedCity(as_path(out), tuple(maps))

    def predict_array(
        self,
        arrays: Mapping[str, Any],
        valid: Any = None,
        statistics: Statistics | None = None,
        *,
        backend: str | None = None,
        device: str = "auto",
        tta: bool | None = None,
        threads: int | None = None,
    ) -> Any:
        """Return class probabilities of images in memory, as ``predict`` computes those of a city.

        Args:
            arrays: By modality, numpy or xarray [band, row, column]: integers or floats in the units of the cities that
                the model was trained on (reflectance where ``header.in_physical_units``), not normalized. The largest is
                the fine grid; others may be coarser by an integer factor, from the same corner. NaN and masked cells are
                not valid.
            valid: Bool [row, column] on the fine grid; None: valid wherever the arrays are.
            statistics: Of the city that the images are part of, for models that normalize by it: the city, its
                ``statistics()``, or the JSON file of these. None: those of the target that the model was trained for. The
                images' own statistics never serve. Other models ignore it.
            backend: As in ``predict``, without ``auto``.
            device: ``auto``, ``cpu`` or ``cuda``.
            tta: Average over flips and rotations; None: as the recipe says.
            threads: Of the processor; None: all.

        Returns:
            float32 [class, row, column] on the fine grid, 0..1, classes as in ``classes``, NaN where not valid. A DataArray if
            the image on the fine grid is one: with its coordinates and attributes, and the classes' names as ``class``.

        Raises:
            InputError: An argument has the wrong shape or type, or statistics are missing.
            ModelFileError, DataError: A modality or band is missing.
        """
        settings = self.recipe.prediction
        averaged = settings.tta if tta is None else tta
        options = BackendOptions(device, "32", averaged, threads, tta_transforms=settings.tta_transforms)
        given = LabeledArrays.of(arrays, valid)
        city = city_of_arrays(given.arrays, given.valid, self.legend)
        probabilities = self._arrays.predict(city, self._statistics(statistics), options, backend)
        return given.labeled(probabilities, self.classes)

    @cached_property
    def _arrays(self) -> ArrayPredictor:
        return ArrayPredictor(self.file)

    @cached_property
    def _cities(self) -> dict[str, dict[str, BandStatistics]]:
        """Statistics of cities by their fingerprints: a city is read once, not for every array."""
        return {}

    def _statistics(self, given: Statistics | None) -> dict[str, BandStatistics]:
        """Return what the model normalizes by: empty if that does not depend on the city."""
        if not self.recipe.follows_city:
            return {}
        if given is None:
            return self._target_statistics()
        if not isinstance(given, CityStatistics | OpenedCity):
            path = as_path(given)
            given = CityStatistics.read(path) if path.suffix.lower() == ".json" else open_city(path)
        if isinstance(given, CityStatistics):
            return given.modalities
        return self._statistics_of(given.images)

    def _target_statistics(self) -> dict[str, BandStatistics]:
        statistics = self.header.target_statistics
        if statistics is None:
            raise InputError(
                f"statistics is needed: {self.path} normalizes bands by the predicted city and was trained without a target; "
                "give the city that the arrays are part of"
            )
        return statistics

    def _statistics_of(self, city: City) -> dict[str, BandStatistics]:
        images, _ = match_bands(as_trained(self.header, city), self.header.inputs)
        names = tuple(name for name in self.header.inputs if name in images.modality_names)
        key = images.fingerprint()
        if key not in self._cities:
            self._cities[key] = city_statistics(images, names, quantiles=self.recipe.normalization == "quantile")
        return self._cities[key]

    def _repr_html_(self) -> str:
        rows = [(name, len(bands), ", ".join(_band(band) for band in bands)) for name, bands in self.bands.items()]
        caption = f"{self.recipe.name}, {len(self.classes)} classes of {self.legend.name}: {self.path}"
        return html_table(("modality", "bands", "which"), rows, caption)


def load_model(path: FilePath) -> Model:
    """Read a model: ``model.safetensors`` or an ``.onnx`` file, or the run folder that holds one. Nothing is unpickled.

    Raises:
        ModelFileError: It is missing, damaged, or no model file of c2seg.
    """
    place = as_path(path)
    file = _model_file(place)
    if not file.is_file() and place.is_dir() and is_city(place):
        raise InputError(f"{place} is a city; the model comes first, then the city")
    return Model(file.absolute(), read_model_file(file))


def export_model(model: Model | FilePath, out: FilePath, *, overwrite: bool = False) -> ExportCheck:
    """Write a network as ONNX, for predictions without torch.

    Args:
        model: A model, its file, or its run folder.
        out: The file; its name ends in ``.onnx``.
        overwrite: Replace it.

    Returns:
        Between torch and the written file, by input shape: the largest difference of a probability, and how many are equal.

    Raises:
        InputError: The model is a forest, an ONNX file already, or cannot be written.
        OutputError: ``out`` exists.
        MissingExtraError: It needs the extra ``train,onnx``.
    """
    place = as_path(out)
    source = model.path if isinstance(model, Model) else as_path(model)
    check_outputs([Output(place, suffixes=(".onnx",))], [_model_file(source)], overwrite=overwrite)
    loaded = model if isinstance(model, Model) else load_model(model)
    if loaded.file.graph is not None:
        raise InputError(f"{loaded.path} is an ONNX file already")
    with needs_extra("exporting a model", "train"):
        from c2seg.predict.backends.export import export
    return export(loaded.file, place, overwrite=overwrite)


def _model_file(place: Path) -> Path:
    return place / "model.safetensors" if place.is_dir() else place


def _band(band: Band) -> str:
    if band.wavelength_nm is not None:
        return f"{band.wavelength_nm:.0f} nm"
    return band.role or band.name or "-"
