"""c2seg: land-cover maps of a city without labels, trained on another city.

The names below are the public interface (docs/python.md). Each is imported when it is first used: importing this package
loads none of its parts, which CONTRIBUTING.md lists. No name here is that of a part: an imported part would replace it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from c2seg._version import __version__

if TYPE_CHECKING:
    from c2seg.api.assessing import assess_map
    from c2seg.api.certifying import certify_map
    from c2seg.api.cities import inspect_city, open_city
    from c2seg.api.city_lists import predict_cities
    from c2seg.api.converting import convert_city
    from c2seg.api.dataset import CityDataset
    from c2seg.api.describing import describe_city
    from c2seg.api.estimating import estimate_accuracy
    from c2seg.api.finding import find_data
    from c2seg.api.fitting import fit
    from c2seg.api.fusing import fuse_maps
    from c2seg.api.labeling import label_cities, make_labels
    from c2seg.api.models import export_model, load_model
    from c2seg.api.packaging import package_map
    from c2seg.api.preparing import prepare_city
    from c2seg.api.recipes import load_recipe
    from c2seg.api.reporting import make_report
    from c2seg.api.sampling_maps import draw_sample
    from c2seg.api.scoring import score
    from c2seg.api.simulating import simulate_pair
    from c2seg.api.suggesting import suggest_points
    from c2seg.benchmark import run_benchmark
    from c2seg.errors import (
        C2SegError,
        DataError,
        GridError,
        InputError,
        MissingExtraError,
        ModelFileError,
        OutputError,
        RecipeError,
        TrainingError,
    )
    from c2seg.legend import Legend

__all__ = [
    "C2SegError",
    "CityDataset",
    "DataError",
    "GridError",
    "InputError",
    "Legend",
    "MissingExtraError",
    "ModelFileError",
    "OutputError",
    "RecipeError",
    "TrainingError",
    "__version__",
    "assess_map",
    "certify_map",
    "convert_city",
    "describe_city",
    "draw_sample",
    "estimate_accuracy",
    "export_model",
    "find_data",
    "fit",
    "fuse_maps",
    "inspect_city",
    "label_cities",
    "load_model",
    "load_recipe",
    "make_labels",
    "make_report",
    "open_city",
    "package_map",
    "predict_cities",
    "prepare_city",
    "run_benchmark",
    "score",
    "simulate_pair",
    "suggest_points",
]

# Where each public name is; names that are not here are errors.
_MODULES = {
    "CityDataset": "c2seg.api.dataset",
    "Legend": "c2seg.legend",
    "assess_map": "c2seg.api.assessing",
    "certify_map": "c2seg.api.certifying",
    "convert_city": "c2seg.api.converting",
    "describe_city": "c2seg.api.describing",
    "draw_sample": "c2seg.api.sampling_maps",
    "estimate_accuracy": "c2seg.api.estimating",
    "export_model": "c2seg.api.models",
    "find_data": "c2seg.api.finding",
    "fit": "c2seg.api.fitting",
    "fuse_maps": "c2seg.api.fusing",
    "inspect_city": "c2seg.api.cities",
    "label_cities": "c2seg.api.labeling",
    "load_model": "c2seg.api.models",
    "load_recipe": "c2seg.api.recipes",
    "make_labels": "c2seg.api.labeling",
    "make_report": "c2seg.api.reporting",
    "open_city": "c2seg.api.cities",
    "package_map": "c2seg.api.packaging",
    "predict_cities": "c2seg.api.city_lists",
    "prepare_city": "c2seg.api.preparing",
    "run_benchmark": "c2seg.benchmark",
    "score": "c2seg.api.scoring",
    "simulate_pair": "c2seg.api.simulating",
    "suggest_points": "c2seg.api.suggesting",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'c2seg' has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "c2seg.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
