"""Files that c2seg writes and reads back, one class per kind: the model file, the records of runs, maps, scores, benchmarks.

Every class has ``read`` and ``write`` and a schema number (``records.Artifact``). Files of 0.1.0 are read, too
(``upgrade``). What 0.1.0 did not know, or a newer version added, is an error that names the version.
"""

from __future__ import annotations

from c2seg.artifacts.maps import MapKey, MapNotes, MapRecord, MapRun, StripNote, StripsKey
from c2seg.artifacts.model import (
    FOREST,
    Graph,
    Header,
    ModelFile,
    check_city,
    forest_text,
    input_bands,
    read_model_file,
    write_model_file,
)
from c2seg.artifacts.provenance import Provenance, provenance
from c2seg.artifacts.runs import RunProvenance, RunRecord, SourceCity, TargetCity, TrainingFacts, run_provenance
from c2seg.artifacts.scores import ScoreRecord, ScoreValues
from c2seg.artifacts.target_labels import TargetLabelsRecord
from c2seg.artifacts.training import TrainedSettings, TrainingIdentity
from c2seg.artifacts.validation import ValidationRecord

__all__ = [
    "FOREST",
    "Graph",
    "Header",
    "MapKey",
    "MapNotes",
    "MapRecord",
    "MapRun",
    "ModelFile",
    "Provenance",
    "RunProvenance",
    "RunRecord",
    "ScoreRecord",
    "ScoreValues",
    "SourceCity",
    "StripNote",
    "StripsKey",
    "TargetCity",
    "TargetLabelsRecord",
    "TrainedSettings",
    "TrainingFacts",
    "TrainingIdentity",
    "ValidationRecord",
    "check_city",
    "forest_text",
    "input_bands",
    "provenance",
    "read_model_file",
    "run_provenance",
    "write_model_file",
]
