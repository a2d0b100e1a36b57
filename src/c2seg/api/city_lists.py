"""Many cities with one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from c2seg.api.arguments import FilePath, FilePaths, as_path, as_paths
from c2seg.api.map_settings import GivenSettings, MapSettings, shows_settings
from c2seg.api.models import Model, load_model
from c2seg.api.tables import html_table
from c2seg.artifacts import MapRecord
from c2seg.data.city_lists import city_entries
from c2seg.predict.cities import map_place, standing_maps
from c2seg.predict.cities import predict_cities as predict_listed
from c2seg.predict.city import images_for_model
from c2seg.predict.cleanup import requested_cleanup
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["PredictedCities", "predict_cities"]


@dataclass(frozen=True)
class PredictedCities:
    """Maps of several cities in a folder, and the table ``cities.csv`` of them."""

    out: Path
    table: Path
    maps: dict[str, tuple[MapRecord, ...]]
    """Records by city."""
    failed: dict[str, str]
    """Why a city has no map, in one line, by city."""

    def _repr_html_(self) -> str:
        rows = [(name, item.path, f"{item.pixels:,}", "") for name, items in self.maps.items() for item in items]
        rows += [(name, "", "", error) for name, error in self.failed.items()]
        return html_table(("city", "map", "pixels", "error"), rows, str(self.table))


@shows_settings
def predict_cities(
    model: Model | FilePath,
    cities: FilePaths,
    out: FilePath,
    *,
    progress: ShowProgress = False,
    command: Sequence[str] = (),
    **settings: Unpack[GivenSettings],
) -> PredictedCities:
    """Predict several cities, one map each, and write a table of them. A call that was stopped resumes when it is repeated.

    A city whose map stands from an earlier call, of the same model and images, is not predicted again. One that fails does not
    stop the others. Workers serve all cities.

    Args:
        model: A model, its file, or its run folder.
        cities: Cities, or one list of them: a ``.txt`` file with a path a line, a ``.csv`` file with the columns ``path`` and
            maybe ``name``, or a STAC item collection (``docs/scaling.md``).
        out: The folder of the maps and of ``cities.csv``.
        progress: False, True for bars, or a callable.
        command: What repeats this, for the JSON beside the maps.
        settings: As in ``Model.predict``; ``workers``, ``cluster`` or ``executor`` serve all cities, and ``overwrite`` predicts
            all of them again.

    Raises:
        DataError: A list is damaged, or has two cities of one name.
        InputError: Invalid settings.
        OutputError: The folder cannot be written.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    folder = as_path(out)
    chosen = MapSettings(**settings)
    averaged = loaded.recipe.prediction.tta if chosen.tta is None else chosen.tta

    decision = chosen.decision or loaded.recipe.prediction.decision
    cleanup = requested_cleanup(chosen.min_area_px, chosen.min_area_keep, loaded.legend)

    def standing(city: Path, place: Path) -> list[MapRecord] | None:
        if chosen.overwrite:
            return None
        return standing_maps(
            loaded.file, images_for_model(loaded.header, city), place, tta=averaged, precision=chosen.precision,
            decision=decision, cleanup=cleanup.record() if cleanup else None,
        )  # fmt: skip

    entries = city_entries(as_paths(cities))
    with opened_bars(progress) as bars, chosen.crew() as crew:

        def predicted(city: Path, place: Path) -> list[MapRecord]:
            options = chosen.options(map_place(images_for_model(loaded.header, city), place))
            return chosen.predict(loaded.path, city, options, bars, command, crew)

        result = predict_listed(entries, folder, predicted, standing)
    return PredictedCities(folder, result.table, result.maps, result.failed)
