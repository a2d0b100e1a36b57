"""Class probabilities of images in memory: the windows, blending and transforms of a whole map.

Axes: K class, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from c2seg.artifacts import Header, ModelFile, check_city
from c2seg.data import BandStatistics, City
from c2seg.data.units import in_one_unit, too_bright
from c2seg.errors import InputError
from c2seg.predict import Predictor, predict_rows
from c2seg.predict.backends import BackendOptions, default_backend, load_predictor
from c2seg.predict.calibration import calibrated
from c2seg.predict.city import batch_size, prepare_for_model, without_forest
from c2seg.predict.plan import window_plan

__all__ = ["ArrayPredictor"]


@dataclass
class ArrayPredictor:
    """A model file that predicts many cities in memory: networks and trees are made once."""

    model: ModelFile
    _predictors: dict[tuple[bool, str, BackendOptions], Predictor] = field(default_factory=dict, repr=False)

    def predict(
        self,
        city: City,
        statistics: Mapping[str, BandStatistics],
        options: BackendOptions,
        backend: str | None = None,
    ) -> np.ndarray:
        """Return probabilities float32 [K, H, W] of a city's first scene in the legend's order, NaN where not valid.

        They are those of the map's layer of probabilities, not rounded: calibrated if the model has a temperature.
        ``statistics`` by modality serve models whose normalization follows the city. Raises ModelFileError for a city that
        lacks bands, InputError for a backend that cannot run the model and for statistics that do not fit.
        """
        absent = check_city(self.model.header, city)
        model = without_forest(self.model) if absent else self.model
        header = model.header
        if header.recipe.follows_city:
            _check_statistics(statistics, {n: len(bands) for n, bands in header.inputs.items() if n not in absent})
        _check_units(header, city, statistics)
        predictor = self._predictor(model, bool(absent), backend, options)
        scene = city.scenes[0]
        [reader] = prepare_for_model(header, city, statistics, absent).readers(tuple(header.inputs))
        plan = window_plan(scene, header.recipe.prediction, predictor)
        probabilities = np.full((predictor.num_classes, scene.grid.height, scene.grid.width), np.nan, np.float32)
        temperature = None if absent else header.confidence_temperature
        for strip in predict_rows(reader, predictor, plan, batch_size=batch_size(header)):
            scores = strip.scores if temperature is None else calibrated(strip.scores, temperature)
            probabilities[:, strip.first : strip.last][:, strip.valid] = scores[:, strip.valid]
        return probabilities

    def _predictor(self, model: ModelFile, alone: bool, backend: str | None, options: BackendOptions) -> Predictor:
        name = backend or default_backend(model)
        key = (alone, name, options)
        if key not in self._predictors:
            self._predictors[key] = load_predictor(model, name, options)
        return self._predictors[key]


def _check_units(header: Header, city: City, statistics: Mapping[str, BandStatistics]) -> None:
    """Refuse numbers where the model, and the city whose part the images are, have reflectance."""
    for name in header.inputs if header.in_physical_units else ():
        known = statistics.get(name, header.statistics.get(name))
        if known is None or not in_one_unit(name, known, header.statistics[name]):
            continue
        if bright := too_bright(city.scenes[0], name):
            raise InputError(
                f"{name} has values up to {bright:.4g}, where the model takes reflectance (0..1): multiply by the scale of the "
                "images and take off their offset, as `c2seg inspect` tells them"
            )


def _check_statistics(statistics: Mapping[str, BandStatistics], bands: Mapping[str, int]) -> None:
    for name, count in bands.items():
        if name not in statistics:
            raise InputError(f"statistics has no {name}, which the model normalizes; it has {', '.join(statistics)}")
        if len(statistics[name].mean) != count:
            raise InputError(f"statistics has {len(statistics[name].mean)} {name} bands, the model takes {count}")
