"""What 0.1.0 left on disk, in the present layout. Its files name neither their kind (``artifact``) nor a ``schema``.

Each function takes parsed JSON and returns what the class of that name validates; it changes no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from c2seg.recipes import Recipe
from c2seg.recipes.upgrade import stored_recipe
from c2seg.records import Json

__all__ = [
    "artifact_of",
    "upgraded_header",
    "upgraded_map",
    "upgraded_result",
    "upgraded_run",
    "upgraded_scores",
    "upgraded_state",
    "upgraded_strips",
    "upgraded_tensors",
    "upgraded_validation",
]

_PROVENANCE = (
    "c2seg", "commit", "python", "machine", "packages", "seed", "device", "command", "recipe", "sources", "target",
    "uses_target_images",
)  # fmt: skip


def artifact_of(content: Mapping[str, Any]) -> str | None:
    """Return which kind of artifact parsed JSON is, for files of 0.1.0 by what they hold; None: neither a map nor scores."""
    if "artifact" in content:
        return str(content["artifact"])
    if isinstance(content.get("area_km2"), dict) and isinstance(content.get("path"), str):
        return "map"
    return "scores" if "confusion" in content and "prediction" in content else None


def upgraded_header(content: Json) -> Json:
    """Return a model file's header (its ``format`` 1) as ``Header`` reads it."""
    names = {"format": None, "cities": None, "learnt": "trained_classes", "mixing": "projection"}
    header = _renamed(content, names)
    header["file_scaling"] = False
    header["recipe"] = _recipe(header.get("recipe"))
    header["provenance"] = _provenance(header["provenance"]) if header.get("provenance") else None
    return header


def upgraded_tensors(tensors: Mapping[str, np.ndarray], recipe: Recipe) -> dict[str, np.ndarray]:
    """Return the tensors of a model file of 0.1.0 under their present names.

    Those of a forest had no prefix and have none; those of a network alone had none, those of several ``members.<name>.``.
    """
    if not recipe.stages:
        return dict(tensors)
    last = list(recipe.stages)[-1]
    members = isinstance(recipe.stages[last].networks, dict)
    return {_tensor_name(name, last, members=members): value for name, value in tensors.items()}


def _tensor_name(name: str, last_stage: str, *, members: bool) -> str:
    if name.startswith("forest."):
        return name
    parts = ["discriminator" if part == "critic" else part for part in name.split(".")]
    if parts[0] != "members":
        return ".".join(["networks", last_stage, "0", *parts])
    # A member was its name alone, one of several networks of a phase ``phase.number``.
    return ".".join(["networks", *([last_stage] if members else []), *parts[1:]])


def upgraded_run(content: Json) -> Json:
    """Return a ``record.json`` as ``RunRecord`` reads it."""
    facts = {key: value for key, value in content.items() if key not in _PROVENANCE}
    facts = _renamed(facts, {"gate": "source_check"})
    if facts.get("source_check"):
        check = _renamed(facts["source_check"], {"labelled_pixels": "labeled_pixels"})
        if check.get("adaptation"):
            check["adaptation"] = _renamed(check["adaptation"], {"phases": "stages"})
        if check.get("settings"):
            check["settings"] = _recipe({"source_check": check["settings"]})["source_check"]
        facts["source_check"] = check
    return _provenance(content) | facts


def upgraded_validation(content: Json) -> Json:
    """Return a ``validation.json`` as ``ValidationRecord`` reads it."""
    confusion = {"ids": content.get("ids"), "counts": content.get("counts")}
    return {"kind": content.get("kind"), "scores": content.get("scores"), "confusion": confusion}


def upgraded_scores(content: Json) -> Json:
    """Return what ``c2seg score --out`` wrote as ``ScoreRecord`` reads it."""
    record = dict(content)
    if isinstance(record.get("boundary"), dict):
        counts = _renamed(
            record["boundary"].get("counts"), {"truth": "reference", "truth_matched": "reference_matched"}
        )
        record["boundary"] = record["boundary"] | {"counts": counts}
    return record


def upgraded_map(content: Json) -> Json:
    """Return the JSON beside a map, predicted or fused, as ``MapRecord`` reads it."""
    if "rules" in content:
        return _fused_map(content)
    record = dict(content)
    run = _renamed(record.pop("run", None), {"learnt": "trained", "mapped": "predicted"})
    if run.get("trained"):
        run["trained"] = _provenance(run["trained"])
        record["run_id"] = run["trained"]["run_id"]
    return record | {"run": run or None}


def upgraded_strips(content: Json) -> Json:
    """Return the first line of an unfinished map's ledger as ``StripsKey`` reads it."""
    layers = ["runner_up" if name == "second" else name for name in content.get("layers", [])]
    return content | {"layers": sorted(layers)}


def upgraded_state(content: Json) -> Json:
    """Return the identity in a training's state as ``TrainingIdentity`` reads it."""
    rest = {key: value for key, value in content.items() if key != "recipe"}
    recipe = _recipe(json.loads(str(content.get("recipe", "null")))) or {}
    names = ("model", "training", "background", "normalization", "max_bands")
    return rest | {"settings": {name: recipe.get(name) for name in names}}


def upgraded_result(content: Json) -> Json:
    """Return a benchmark's ``result.json`` as ``BenchmarkResult`` reads it."""
    key = _renamed(content.get("key"), {"truth": "reference"})
    key["recipe"] = _recipe(key.get("recipe"))
    scores = content.get("scores")
    return content | {
        "key": key,
        "uses_target_images": _renamed(content.get("uses_target_images"), {"normalisation": "normalization"}),
        "validation": _stored_validation(content.get("validation")),
        "offline": _stored_validation(content.get("offline")),
        "scores": upgraded_scores(scores) if isinstance(scores, dict) else scores,
    }


def _stored_validation(content: Any) -> Any:
    return upgraded_validation(content) if isinstance(content, dict) else content


def _recipe(content: Any) -> Any:
    return stored_recipe(content) if isinstance(content, dict) else content


def _provenance(content: Mapping[str, Any]) -> Json:
    """Return where a run of 0.1.0 comes from. Its id is a digest of that: the same in its record, its model and its maps."""
    known = {key: content[key] for key in _PROVENANCE if key in content}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    use = _renamed(known.get("uses_target_images"), {"normalisation": "normalization"})
    return known | {"run_id": digest, "uses_target_images": use}


def _fused_map(content: Json) -> Json:
    names = ("path", "pixels", "nodata_pixels", "area_km2", "seconds")
    rules = [_renamed(rule, {"class": "class_id"}) for rule in content["rules"]]
    fusion = {key: content.get(key) for key in ("maps", "threshold", "soft")} | {"rules": rules}
    run = {"predicted": content["run"]} if content.get("run") else None
    return {key: content.get(key) for key in names} | {"fusion": fusion, "run": run}


def _renamed(content: Any, names: Mapping[str, str | None]) -> Json:
    """Return an object with other names of its keys; those with None are left out. What is no object becomes an empty one."""
    items = content.items() if isinstance(content, dict) else ()
    return {str(names.get(key, key)): value for key, value in items if names.get(key, key) is not None}
