"""The model file: one ``.safetensors`` that holds weights and all that is needed to use them. Loading never unpickles.

The header's single entry ``c2seg`` is JSON: what the model is, the bands it takes, its normalization and statistics, its
legend, its recipe and its provenance. The same JSON in the metadata of an ONNX file makes that a model file too: it holds
the network's graph in place of named weights, so that it runs without torch.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load, save, save_file

from c2seg._version import __version__
from c2seg.artifacts.provenance import base_names
from c2seg.artifacts.runs import RunProvenance
from c2seg.artifacts.tensors import checked_tensors, read_graph, stored_tensors
from c2seg.artifacts.upgrade import upgraded_header, upgraded_tensors
from c2seg.data import Band, BandStatistics, City, FullStatistics, Normalizer
from c2seg.data.normalize import OF_SOURCES
from c2seg.data.units import PhysicalUnit
from c2seg.documents import parse_json
from c2seg.errors import InputError, ModelFileError
from c2seg.legend import Legend
from c2seg.outputs import atomic_file
from c2seg.plugins import Plugin, require
from c2seg.recipes import Recipe
from c2seg.records import Artifact, Json

__all__ = [
    "FOREST",
    "Graph",
    "Header",
    "ModelFile",
    "StoredLegend",
    "check_city",
    "forest_text",
    "read_model_file",
    "write_model_file",
]

FOREST = "forest."
"""Prefix of the tensors of a forest that predicts together with networks."""


StoredStatistics = Annotated[
    BandStatistics,
    PlainValidator(lambda value: value if isinstance(value, BandStatistics) else BandStatistics.from_dict(value)),
    PlainSerializer(BandStatistics.as_dict),
]
"""Band statistics; on disk ``{"count", "mean", "std", "minimum", "maximum"}``."""

StoredLegend = Annotated[
    Legend,
    PlainValidator(lambda value: value if isinstance(value, Legend) else Legend.from_dict(value, "the legend")),
    PlainSerializer(Legend.as_dict),
]
"""A legend; on disk as in its YAML file."""


class Header(Artifact):
    """Everything about a model except its weights."""

    artifact: Literal["model"] = "model"
    recipe: Recipe
    inputs: dict[str, tuple[Band, ...]]
    """Bands by modality, in input order."""
    statistics: dict[str, StoredStatistics]
    """Band statistics of the sources by modality."""
    legend: StoredLegend
    """Of the model's outputs, in their order."""
    provenance: RunProvenance | None = None
    """The run that trained the model; None: not known."""
    units: dict[str, PhysicalUnit] = Field(default_factory=dict)
    """What the sources' values are, by modality: reflectance, dB, linear power; empty: not recorded."""
    in_physical_units: bool = False
    """Whether optical images are brought to reflectance before anything else."""
    file_scaling: bool = True
    """Whether scale and offset that files state were applied in training; not by 0.1.0."""
    trained_classes: tuple[int, ...] | None = None
    """Ids of the classes that had labeled pixels; None: not recorded."""
    confidence_temperature: float | None = None
    """Of the ensemble's probabilities where they are shown or summed, never where classes are decided; None: not measured."""
    projection: dict[str, tuple[tuple[float, ...], ...]] = Field(default_factory=dict)
    """Projection of a modality's normalized bands onto channels, where these are not the bands themselves."""
    plugins: tuple[Plugin, ...] = ()
    """Plug-ins that the model was made with, with their versions."""
    class_factors: tuple[float, ...] | None = None
    """Factors on the probabilities of the classes, in their order, for their shares in the target, as a few labels tell them;
    None: none."""
    training_shares: tuple[float, ...] | None = None
    """Shares of the classes, in their order, in what the model was trained on (its sampler's); None: not recorded."""
    target_statistics: dict[str, FullStatistics] | None = None
    """Band statistics of the target by modality, where the normalization follows the city; None: no target, or not recorded."""

    @model_validator(mode="after")
    def _fitting(self) -> Header:
        """Refuse parts that do not fit each other: predicting would stop in the middle, or be wrong."""
        if not self.inputs or not all(self.inputs.values()):
            raise ValueError("inputs must name a modality with bands")
        bands = {name: len(listed) for name, listed in self.inputs.items()}
        required = (
            tuple(bands) if self.recipe.decided_normalization in OF_SOURCES or not self.recipe.follows_city else ()
        )
        if missing := [name for name in required if name not in self.statistics]:
            raise ValueError(f"statistics of {missing[0]} are missing")
        for name, part in (*self.statistics.items(), *(self.target_statistics or {}).items()):
            if len(part.mean) != bands.get(name, len(part.mean)):
                raise ValueError(f"statistics of {name} are of {len(part.mean)} bands, not of {bands[name]}")
        for name, rows in self.projection.items():
            if name not in bands or not rows or any(len(row) != bands[name] for row in rows):
                raise ValueError(f"the projection of {name} does not fit its bands")
            if not all(math.isfinite(value) for row in rows for value in row):
                raise ValueError(f"the projection of {name} must be finite")
        if not set(self.trained_classes or ()) <= set(self.legend.ids):
            raise ValueError("trained_classes must be ids of the legend")
        if self.confidence_temperature is not None and not 0 < self.confidence_temperature < math.inf:
            raise ValueError("confidence_temperature must be positive")
        factors = self.class_factors
        if factors is not None and (
            len(factors) != self.legend.num_classes or not all(0 < f < math.inf for f in factors)
        ):
            raise ValueError("class_factors must be positive, one a class")
        shares = self.training_shares
        if shares is not None and (len(shares) != self.legend.num_classes or not all(0 <= s <= 1 for s in shares)):
            raise ValueError("training_shares must be within 0..1, one a class")
        return self

    @property
    def channels(self) -> dict[str, int]:
        """The channels of each modality as the model sees them."""
        return {name: len(self.projection.get(name, bands)) for name, bands in self.inputs.items()}

    def normalizer(self, statistics: Mapping[str, BandStatistics]) -> Normalizer:
        """Return the model's normalization of a city with these statistics (used by kinds that follow the city)."""
        projection = {name: np.array(rows, np.float32) for name, rows in self.projection.items()}
        fitted = Normalizer.of_city(self.recipe.decided_normalization, statistics, self.statistics)
        return replace(fitted, projection=projection)

    def without_folders(self) -> Header:
        """Return the header with base names in place of absolute paths: model files are passed on."""
        content = self.recipe.model_dump(mode="json")
        plain = _each_text(content, base_names)
        recipe = self.recipe if plain == content else Recipe.model_validate(plain)
        process = self.provenance.without_folders() if self.provenance else None
        return self.model_copy(update={"recipe": recipe, "provenance": process})

    @classmethod
    def upgraded(cls, content: Json) -> Json:
        """Return the header of a model of 0.1.0 in the present layout."""
        return upgraded_header(content)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain values with every text that begins with a slash changed."""
    if isinstance(value, dict):
        return {key: _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    return change(value) if isinstance(value, str) and value.startswith("/") else value


@dataclass(frozen=True)
class Graph:
    """A network as ONNX: named inputs float32 [B, C, H, W] by modality, output ``probabilities`` float32 [B, K, H, W]."""

    onnx: bytes
    stride_px: int
    """Heights and widths of the inputs must be multiples of this."""


@dataclass(frozen=True)
class ModelFile:
    """A loaded model file: its header, its tensors by name or its graph, and a digest of all (16 hex digits)."""

    header: Header
    tensors: Mapping[str, np.ndarray]
    digest: str
    graph: Graph | None = None


def write_model_file(
    path: str | os.PathLike[str], header: Header, tensors: Mapping[str, np.ndarray], *, overwrite: bool = True
) -> None:
    """Write a model file atomically. Equal content gives equal bytes. Raises OutputError."""
    # One metadata entry only: the library writes several in no fixed order.
    metadata = {"c2seg": header.without_folders().as_line()}
    with atomic_file(Path(path), overwrite=overwrite) as temporary:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary, metadata)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file (.safetensors or .onnx). Raises ModelFileError if it is missing, damaged, or none of ours.

    Files of 0.1.0 are read in the present layout; the digest is that of the file on disk.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist; give the model.safetensors of a run")
    if path.suffix.lower() == ".onnx":
        return _load_onnx(path)
    metadata, tensors = stored_tensors(path)
    if "c2seg" not in metadata:
        raise ModelFileError(f"{path} is a safetensors file but not one that c2seg wrote")
    header, present = _header(path, metadata["c2seg"])
    checked_tensors(tensors, str(path))
    return ModelFile(
        header, tensors if present else upgraded_tensors(tensors, header.recipe), _digest(metadata["c2seg"], tensors)
    )


def _header(path: Path, text: str) -> tuple[Header, bool]:
    """Return the header, and whether the file is of the present layout."""
    try:
        content = parse_json(text, f"{path}: its header", ModelFileError)
        if not isinstance(content, dict):
            raise ModelFileError(f"{path}: its header is no JSON object")
        if "schema" not in content and content.get("format") != 1:
            raise ModelFileError(f"{path} has format {content.get('format')}, which c2seg {__version__} does not read")
        check_plugins(content.get("plugins", ()), path)
        return Header.parse(content, str(path)), "schema" in content
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"{path}: its header cannot be read: {str(error)[:300]}") from error


def check_plugins(plugins: object, path: Path) -> None:
    """Raise PluginError with the command that installs it if a header lists a plug-in that its recipe needs and that lacks.

    Layouts are listed for the record only.
    """
    listed = TypeAdapter(tuple[Plugin, ...]).validate_python(plugins)
    require((plugin for plugin in listed if plugin.group != "layouts"), str(path))


def _load_onnx(path: Path) -> ModelFile:
    stored = read_graph(path)
    content, metadata = stored.content, stored.metadata
    if "c2seg" not in metadata:
        raise ModelFileError(f"{path} is an ONNX file but not one that `c2seg export` wrote")
    header, present = _header(path, metadata["c2seg"])
    stored.check(header.channels, path)
    graph = Graph(content, _stride(metadata.get("c2seg_stride_px", "1"), path))
    tensors = _forest_tensors(metadata.get("c2seg_forest", ""), path)
    if not present:
        tensors = upgraded_tensors(tensors, header.recipe)
    return ModelFile(header, tensors, hashlib.sha256(content).hexdigest()[:16], graph)


def _stride(text: str, path: Path) -> int:
    if not (text.isdecimal() and len(text) < 5 and 1 <= int(text) <= 1024):
        raise ModelFileError(f"{path}: its c2seg_stride_px is {text[:40]!r}, no number from 1 to 1024")
    return int(text)


def _forest_tensors(text: str, path: Path) -> dict[str, np.ndarray]:
    """Return the tensors that ``forest_text`` wrote."""
    if not text:
        return {}
    try:
        tensors = load(base64.b64decode(text, validate=True))
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: its forest is damaged: {str(error)[:200]}") from error
    return checked_tensors(tensors, str(path))


def forest_text(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the forest among a model file's tensors as text for the metadata of an ONNX file; empty if there is none."""
    forest = {name: np.ascontiguousarray(value) for name, value in tensors.items() if name.startswith(FOREST)}
    return base64.b64encode(save(forest)).decode("ascii") if forest else ""


def check_city(header: Header, city: City) -> dict[str, int]:
    """Return the channels, by modality, that a city lacks and the model was trained to do without.

    Raises ModelFileError or DataError when it lacks what the model needs: modalities, band counts.
    """
    absent: dict[str, int] = {}
    if header.recipe.training.augment.modality_dropout:
        absent = {name: count for name, count in header.channels.items() if name not in city.modality_names}
        if len(absent) == len(header.inputs):
            absent = {}
    counts = city.band_counts(tuple(name for name in header.inputs if name not in absent))
    for name, count in counts.items():
        if count != len(header.inputs[name]):
            raise ModelFileError(
                f"the model takes {len(header.inputs[name])} {name} bands, city {city.name!r} has {count}; "
                "use a model trained on the same bands, or name roles or wavelengths (or `keep:` the right bands) in city.yaml"
            )
    return absent


def input_bands(city: City, recipe: Recipe) -> dict[str, tuple[Band, ...]]:
    """Return the bands by modality that a recipe takes from a city, with the physical layers of its networks."""
    layers = tuple(name for name in recipe.physical if name in city.modality_names)
    names = city.modality_names if recipe.inputs == "all" else (*recipe.inputs, *layers)
    if not names:
        raise InputError("the recipe takes no modality")
    scene = city.scenes[0]
    return {name: scene.modality(name).bands for name in names}


def _digest(metadata: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(metadata.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()[:16]
