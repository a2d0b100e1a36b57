"""Estimated class shares and the decisions that use them, by forests on the development pairs of ``real_pairs.py``.

    python benchmarks/class_shares.py [--pairs development] [--table]

A pair is a fit of the forest (``demo``) and of one without some blocks of the source, whose labels calibrate the first
(temperature) and give BBSE its matrix. Reported per pair: the distance of estimated from true shares (half the sum of absolute
differences, labeled pixels of the target), and OA, mIoU and the distance of mapped from true shares by decision. Results are
kept in benchmarks/class_shares.json. Real pairs need C2SEG_REAL_DATA.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import rasterio
from real_pairs_cities import Folders, chosen

import c2seg
from c2seg.benchmark.pairs import Pair
from c2seg.benchmark.tables import aligned
from c2seg.data import open_city, open_labeled_city
from c2seg.metrics import confusion_counts, scores
from c2seg.predict.calibration import calibrated, fit_temperature
from c2seg.predict.decision import ModelFacts, decide_for
from c2seg.predict.shares import bbse_shares, mlls_shares

RESULTS = Path(__file__).with_suffix(".json")
BLOCK_PX = 24
DECISIONS = ("argmax", "expected_iou", "expected_oa", "unbiased_area", "unbiased_area by mlls")
Values = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Seen:
    """Probabilities [K, N] and classes [N] of labeled pixels of the target, of held-out ones of the source; training shares."""

    chance: np.ndarray
    truth: np.ndarray
    held: np.ndarray
    known: np.ndarray
    training: np.ndarray


def seen_of(pair: Pair, file: Path) -> Seen:
    """Return what forests see of a pair, from a file if it is there."""
    if file.is_file():
        with np.load(file) as stored:
            return Seen(**{name: stored[name] for name in stored.files})
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model = fitted(pair.source, pair.target, work / "whole")
        shares = model.header.training_shares
        assert shares is not None
        target = mapped(model, pair.target, pair.reference, work / "target")
        seen = Seen(*target, *held_out(pair, work), np.array(shares))
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **vars(seen))
    return seen


def measure(seen: Seen) -> Values:
    """Return distances of estimated shares by method, and scores by decision."""
    chance, held, known = seen.chance, seen.held, seen.known
    classes = len(chance)
    true = np.bincount(seen.truth, minlength=classes) / len(seen.truth)
    temperature = fit_temperature(held, known)
    warm = calibrated(chance, temperature)
    columns = [held[:, known == k].mean(axis=1) if (known == k).any() else np.zeros(classes) for k in range(classes)]
    estimates = {
        "training": seen.training,
        "source": np.bincount(known, minlength=classes) / len(known),
        "mean": chance.mean(axis=1),
        "calibrated mean": warm.mean(axis=1),
        "mlls": mlls_shares(chance, seen.training),
        "calibrated mlls": mlls_shares(warm, seen.training),
        "bbse": bbse_shares(np.stack(columns, axis=1), chance.mean(axis=1)),
    }
    values: Values = {"shares": {name: distance(part, true) for name, part in estimates.items()}}
    values["calibration"] = {"temperature": temperature}
    facts = ModelFacts(tuple((seen.training > 0).tolist()), tuple(seen.training.tolist()), temperature)
    for kind in DECISIONS:
        name, _, area_shares = kind.partition(" by ")
        decision = decide_for(name, chance, facts, area_shares or "mean")
        values[kind] = scored(chance.argmax(axis=0) if decision is None else decision.classes(chance), seen.truth, true)
    return values


def scored(index: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    ids = tuple(range(1, len(seen) + 1))
    result = scores(confusion_counts(truth.astype(np.uint8) + 1, index.astype(np.uint8) + 1, ids))
    area = distance(np.bincount(index, minlength=len(seen)) / len(index), seen)
    return {"oa": round(result.oa or 0.0, 4), "miou": round(result.miou or 0.0, 4), "area": area}


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return round(float(np.abs(first - second).sum() / 2), 4)


def fitted(source: Path, target: Path, out: Path) -> c2seg.Model:
    run = c2seg.fit("forest", preset="demo", source=source, target=target, out=out, overwrite=True)
    assert run.model is not None
    return c2seg.load_model(run.model)


def mapped(model: c2seg.Model, city: Path, reference: Path | None, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities float32 [K, N] and output indices [N] of the labeled pixels of a city."""
    layer = out.with_suffix(".probabilities.tif")
    model.predict(city, out.with_suffix(".tif"), probabilities=layer, overwrite=True)
    with rasterio.open(layer) as dataset:
        steps = dataset.read()
    if reference is None:
        ids = open_labeled_city(city).read_label(0, open_city(city).scenes[0].grid.window)
    else:
        with rasterio.open(reference) as dataset:
            ids = dataset.read(1)
    table = model.legend.index_table()
    known = (steps[0] != 255) & (table[ids] < model.legend.num_classes)
    chance = steps[:, known].astype(np.float32)
    return chance / np.maximum(chance.sum(axis=0), 1), table[ids[known]].astype(np.intp)


def held_out(pair: Pair, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities [K, N] and classes [N] of blocks of the source by a forest that was not trained on them."""
    source = open_labeled_city(pair.source)
    ids = source.read_label(0, source.images.scenes[0].grid.window)
    rows, cols = np.indices(ids.shape)
    held = (rows // BLOCK_PX + cols // BLOCK_PX) % 4 == 0
    rest = work / "rest"
    shutil.copytree(pair.source, rest, dirs_exist_ok=True)
    with rasterio.open(pair.source / "label.tif") as dataset:
        profile = {**dataset.profile, "driver": "GTiff", "nodata": None}
    profile = {key: profile[key] for key in ("driver", "height", "width", "count", "dtype", "crs", "transform")}
    for name, values in (("label.tif", np.where(held, 255, ids)), ("held.tif", np.where(held, ids, 255))):
        (rest / name).unlink(missing_ok=True)
        with rasterio.open(rest / name, "w", **{**profile, "dtype": "uint8"}) as dataset:
            dataset.write(values.astype(np.uint8)[None])
    return mapped(fitted(rest, pair.target, work / "part"), pair.source, rest / "held.tif", work / "source")


def read_results() -> dict[str, Values]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def table(results: Mapping[str, Values]) -> str:
    """Return distances of shares by method, and scores by decision, with their means."""
    parts = []
    methods = list(next(iter(results.values()))["shares"])
    lines = [["distance of shares", *methods]]
    lines += [[name, *(f"{values['shares'][m]:.3f}" for m in methods)] for name, values in results.items()]
    lines.append(["mean", *(f"{mean(values['shares'][m] for values in results.values()):.3f}" for m in methods)])
    parts.append(aligned(lines))
    kinds = [key for key in next(iter(results.values())) if key not in ("shares", "calibration")]
    for score in ("oa", "miou", "area"):
        lines = [[score, *kinds]]
        lines += [[name, *(f"{values[k][score]:.3f}" for k in kinds)] for name, values in results.items()]
        lines.append(["mean", *(f"{mean(values[k][score] for values in results.values()):.3f}" for k in kinds)])
        parts.append(aligned(lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default="development")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "class-shares")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    logging.getLogger("c2seg").setLevel(logging.ERROR)
    for name, make in ({} if given.table else chosen(given.pairs)).items():
        if name in read_results():
            continue
        values = measure(seen_of(make(Folders(given.work), name), given.work / "class-shares" / f"{name}.npz"))
        RESULTS.write_text(json.dumps({**read_results(), name: values}, indent=1) + "\n", encoding="utf-8")
        print(name, values, flush=True)
    print(table(read_results()))


if __name__ == "__main__":
    main()
