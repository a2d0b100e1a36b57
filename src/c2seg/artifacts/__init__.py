"""Files that c2seg writes and reads back: the model file, and where a result comes from."""

from __future__ import annotations

from c2seg.artifacts.model import (
    FOREST,
    BandSpec,
    Graph,
    Header,
    ModelFile,
    check_city,
    forest_text,
    input_bands,
    load_model,
    save_model,
)
from c2seg.artifacts.provenance import provenance

__all__ = [
    "FOREST",
    "BandSpec",
    "Graph",
    "Header",
    "ModelFile",
    "check_city",
    "forest_text",
    "input_bands",
    "load_model",
    "provenance",
    "save_model",
]
