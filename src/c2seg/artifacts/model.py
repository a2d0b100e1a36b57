"""The model file: one ``.safetensors`` that holds weights and all that is needed to use them. Loading never unpickles.

The header's single entry ``c2seg`` is JSON: what the model is, the bands it takes, its normalization and statistics, its
legend, its recipe and its provenance. The same JSON in the metadata of an ONNX file makes that a model file too: it holds
the network's graph in place of named weights, so that it runs without torch.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save, save_file

from c2seg.data import BandStatistics, City, Normalizer, StoredStatistics
from c2seg.errors import InputError, ModelFileError, needs_extra
from c2seg.legend import Legend
from c2seg.outputs import atomic_file
from c2seg.recipes import Recipe

__all__ = [
    "FOREST",
    "BandSpec",
    "Graph",
    "Header",
    "ModelFile",
    "check_city",
    "forest_text",
    "load_model",
    "save_model",
]

FORMAT = 1
FOREST = "forest."
"""What the tensors of a forest that maps together with networks begin with."""


class BandSpec(BaseModel):
    """A band that a model was learnt on."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    role: str | None = None
    wavelength_nm: float | None = None


class Header(BaseModel):
    """Everything about a model but its weights."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    recipe: Recipe
    inputs: dict[str, tuple[BandSpec, ...]]
    """Bands by modality, in input order."""
    statistics: dict[str, dict[str, Any]]
    """Band statistics of the sources by modality (BandStatistics.as_dict)."""
    legend: dict[str, Any]
    provenance: dict[str, Any]
    """Versions, commit, seed, data fingerprints, command."""
    learnt: tuple[int, ...] | None = None
    """Ids of the classes that had labeled pixels; None: not recorded."""
    confidence_temperature: float | None = None
    """Of the ensemble's probabilities where they are shown or summed, never where classes are decided; None: not measured."""
    projection: dict[str, tuple[tuple[float, ...], ...]] = {}
    """What makes the channels of a modality from its normalized bands, where these are not the channels themselves."""
    target_statistics: dict[str, StoredStatistics] | None = None
    """Band statistics of the target by modality, where the normalization follows the city; None: no target, or not recorded."""

    @property
    def channels(self) -> dict[str, int]:
        """The channels of each modality as the model sees them."""
        return {name: len(self.projection.get(name, bands)) for name, bands in self.inputs.items()}

    def normalizer(self, statistics: Mapping[str, BandStatistics]) -> Normalizer:
        """Return the model's normalization of a city with these statistics (used by kinds that follow the city)."""
        own = statistics if self.recipe.follows_city else self.band_statistics()
        projection = {name: np.array(rows, np.float32) for name, rows in self.projection.items()}
        return replace(Normalizer.fit(self.recipe.normalization, own), projection=projection)

    def band_statistics(self) -> dict[str, BandStatistics]:
        """Return the sources' statistics as arrays."""
        return {name: BandStatistics.from_dict(content) for name, content in self.statistics.items()}

    def land_legend(self) -> Legend:
        """Return the legend of the model's outputs."""
        return Legend.from_dict(self.legend, "the model file's legend")


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


def save_model(path: Path, header: Header, tensors: Mapping[str, np.ndarray], *, overwrite: bool = True) -> None:
    """Write a model file, whole or not at all. Equal content gives equal bytes."""
    # One metadata entry only: the library writes several in no fixed order.
    metadata = {"c2seg": header.model_dump_json()}
    with atomic_file(path, overwrite=overwrite) as temporary:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary, metadata)


def load_model(path: Path) -> ModelFile:
    """Read a model file (.safetensors or .onnx). Raises ModelFileError if it is missing, damaged, or none of ours."""
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist; give the model.safetensors of a run")
    if path.suffix == ".onnx":
        return _load_onnx(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is damaged or no model file: {error}") from error
    if "c2seg" not in metadata:
        raise ModelFileError(f"{path} is a safetensors file but not one that c2seg wrote")
    header = _header(path, metadata["c2seg"])
    return ModelFile(header, tensors, _digest(metadata["c2seg"], tensors))


def _header(path: Path, text: str) -> Header:
    try:
        content = json.loads(text)
        if content.get("format") != FORMAT:
            raise ModelFileError(f"{path} has format {content.get('format')}, this version reads {FORMAT}")
        return Header.model_validate(content)
    except (ValidationError, ValueError, AttributeError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: its header cannot be read by this version: {str(error)[:200]}") from error


def _load_onnx(path: Path) -> ModelFile:
    with needs_extra("a model in an ONNX file", "onnx"):
        import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        content = path.read_bytes()
        metadata = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    except (DecodeError, OSError) as error:
        raise ModelFileError(f"{path} is damaged or no ONNX file: {error}") from error
    if "c2seg" not in metadata:
        raise ModelFileError(f"{path} is an ONNX file but not one that `c2seg export` wrote")
    header = _header(path, metadata["c2seg"])
    graph = Graph(content, int(metadata.get("c2seg_stride_px", 1)))
    tensors = load(base64.b64decode(metadata["c2seg_forest"])) if "c2seg_forest" in metadata else {}
    return ModelFile(header, tensors, hashlib.sha256(content).hexdigest()[:16], graph)


def forest_text(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the forest among a model file's tensors as text for the metadata of an ONNX file; empty if there is none."""
    own = {name: np.ascontiguousarray(value) for name, value in tensors.items() if name.startswith(FOREST)}
    return base64.b64encode(save(own)).decode("ascii") if own else ""


def check_city(header: Header, city: City) -> dict[str, int]:
    """Return the channels, by modality, that a city lacks and the model was taught to do without.

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
                "use a model learnt on the same bands, or name roles or wavelengths (or `keep:` the right bands) in city.yaml"
            )
    return absent


def input_bands(city: City, recipe: Recipe) -> dict[str, tuple[BandSpec, ...]]:
    """Return the bands by modality that a recipe takes from a city."""
    names = city.modality_names if recipe.inputs == "all" else recipe.inputs
    if not names:
        raise InputError("the recipe takes no modality")
    scene = city.scenes[0]
    return {
        name: tuple(
            BandSpec(name=b.name, role=b.role, wavelength_nm=b.wavelength_nm) for b in scene.modality(name).bands
        )
        for name in names
    }


def _digest(metadata: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(metadata.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()[:16]
