"""How often prediction sets hold the right class: on simulated pairs, and on real ones.

    python benchmarks/prediction_sets.py [--work FOLDER]

A forest of the source maps the target. A stratified sample of 300 points takes its labels from the ground truth and gives the
thresholds of ``c2seg certify --sets``. The table has the share of all labeled pixels whose class is in their set, over the area
and as the mean over classes, and the mean size of a set. Sets without labels of the target (``as told``) hold every class
down to a summed probability of 1 - alpha: what the model itself says. Results are kept in benchmarks/prediction_sets.json. Real
pairs need C2SEG_REAL_DATA. About two minutes a pair.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio

import c2seg
from c2seg.data import open_city

RESULTS = Path(__file__).with_suffix(".json")
ALPHAS = (0.1, 0.3)
POINTS = 300
SEEDS = (0, 1, 2)


class Case(NamedTuple):
    """Source, target, and ground truth of the target."""

    name: str
    source: Path
    target: Path
    truth: Path


def cases(work: Path) -> Iterator[Case]:
    for seed in (11, 12):
        folder = work / f"simulated{seed}"
        if not (folder / "pair.yaml").is_file():
            c2seg.simulate_pair(folder, scale=0.1, seed=seed)
        yield Case(f"simulated {seed}", folder / "alder", folder / "birch", folder / "birch" / "reference.tif")
    real = os.environ.get("C2SEG_REAL_DATA")
    if real:
        places = Path(real) / "s2s1-places"
        for source, target in (("chile", "denmark"), ("denmark", "chile")):
            yield Case(f"{source} to {target}", places / source, places / target, places / target / "label.tif")


def label(sample: Path, truth: np.ndarray, like: Path, names: dict[int, str]) -> Path:
    """Write the sample's CSV with the classes of the ground truth."""
    with rasterio.open(like) as dataset, sample.open(newline="") as file:
        rows = list(csv.DictReader(file))
        for row in rows:
            place = dataset.index(float(row["x"]), float(row["y"]))
            row["reference"] = names.get(int(truth[place]), "cannot tell")
    out = sample.with_name("labeled.csv")
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return out


def told_sets(probabilities: np.ndarray, alpha: float) -> np.ndarray:
    """Return bool [K, n]: the most probable classes whose probabilities reach 1 - alpha."""
    order = np.argsort(-probabilities, axis=0)
    summed = np.cumsum(np.take_along_axis(probabilities, order, 0), axis=0)
    taken_in = np.vstack([np.ones((1, probabilities.shape[1]), bool), summed[:-1] < 1 - alpha])
    sets = np.zeros(probabilities.shape, bool)
    np.put_along_axis(sets, order, taken_in, 0)
    return sets


def shares(sets: np.ndarray, index: np.ndarray) -> tuple[float, float, float]:
    """Return the share of pixels whose class is in the set, its mean over classes, and the mean size."""
    held = sets[index, np.arange(len(index))]
    by_class = [held[index == k].mean() for k in np.unique(index)]
    return float(held.mean()), float(np.mean(by_class)), float(sets.sum(0).mean())


def measure(case: Case, work: Path) -> list[dict[str, object]]:
    folder = work / case.name.replace(" ", "-")
    legend = open_city(case.target).legend
    run = c2seg.fit("forest", source=case.source, target=case.target, out=folder / "run", overwrite=True,
                    overrides=["model.trees=60", "validation.folds=0"])  # fmt: skip
    out, layer = folder / "map.tif", folder / "probabilities.tif"
    c2seg.load_model(run.model).predict(case.target, out, probabilities=layer, overwrite=True)
    truth, ids, values = (rasterio.open(path).read() for path in (case.truth, out, layer))
    known = np.isin(truth[0], legend.ids) & (ids[0] != 0)
    index = legend.index_table()[truth[0][known]].astype(np.intp)
    probabilities = values[:, known] / 200.0
    lines: list[dict[str, object]] = []
    for alpha in ALPHAS:
        lines.append(
            {
                "pair": case.name,
                "alpha": alpha,
                "sets": "as told",
                "shares": [shares(told_sets(probabilities, alpha), index)],
            }
        )
        measured = []
        for seed in SEEDS:
            sample = folder / f"sample{seed}.gpkg"
            c2seg.draw_sample(out, sample, n=POINTS, seed=seed, page=False, overwrite=True)
            labeled = label(sample.with_suffix(".csv"), truth[0], out, dict(zip(legend.ids, legend.names, strict=True)))
            sets = folder / "sets.tif"
            c2seg.certify_map(out, labeled, alpha=alpha, probabilities=layer, sets=sets, overwrite=True)
            with rasterio.open(sets) as dataset:
                bits = dataset.read(1)[known].astype(np.int64)
            holds = (bits[None] >> np.arange(legend.num_classes)[:, None]) & 1 == 1
            measured.append(shares(holds, index))
        lines.append({"pair": case.name, "alpha": alpha, "sets": f"{POINTS} points", "shares": measured})
    return lines


def spread(values: np.ndarray) -> str:
    """Return percent: the mean, and the range over samples."""
    low, mean, high = (f"{100 * value:.1f}" for value in (values.min(), values.mean(), values.max()))
    return f"{mean} %" if len(values) == 1 else f"{mean} ({low} .. {high}) %"


def table(results: dict[str, list[dict[str, object]]]) -> str:
    lines = [
        "| pair | 1 - alpha | sets | held, of the area | mean over classes | classes in a set |",
        "|---|---|---|---|---|---|",
    ]
    for line in (line for part in results.values() for line in part):
        area, classes, size = np.asarray(line["shares"]).T
        level = f"{100 * (1 - float(line['alpha'])):.0f} %"
        cells = (line["pair"], level, line["sets"], spread(area), spread(classes), f"{size.mean():.1f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    work = parser.parse_args().work or Path(tempfile.mkdtemp())
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for case in cases(work):
        if case.name not in results:
            results[case.name] = measure(case, work)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
