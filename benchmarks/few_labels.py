"""What a few labels of the target are worth: mIoU over labels per class, against other choices of points and other trainings.

    python benchmarks/few_labels.py [--simulated 3] [--real] [--networks] [--table] [--work FOLDER]

Results are kept in benchmarks/few_labels.json: a stopped run goes on, and ``--table`` prints what is there. A target is divided
into a chessboard of blocks: labels come from one color, and scores from the inner pixels of the other one, further from any
labeled block than features reach. All methods of a pair are scored on the same pixels. Labels are those of the ground truth.

- ``source``: no label of the target. ``inside``: trained on all pixels of the labeled blocks of the target, and nothing else.
- ``labels M``: ``fit --target-labels`` with M points of each class at random. ``points M``: as many points in all, placed at
  random. ``suggest M``: as many in all, picked by ``c2seg suggest`` from the map of ``source``.
- ``alone M``: a forest trained on the points of ``labels M`` and nothing else.

Real pairs need C2SEG_REAL_DATA. Minutes a pair on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import rasterio
from rasterio.windows import Window

import c2seg
from c2seg.data import open_city
from c2seg.legend import Legend

RESULTS = Path(__file__).with_suffix(".json")
COUNTS = (5, 10, 20, 50)
BLOCK_PX = 48
GUARD_PX = 11
FOREST = ("model.trees=40", "model.pixels_per_class=1000")


@dataclass(frozen=True)
class Case:
    """A pair of cities: its name, source, target, ground truth of the target uint8 [H, W], seed."""

    name: str
    source: Path
    target: Path
    truth: Path
    seed: int


@dataclass(frozen=True)
class Task:
    """A case in a folder for its files, with a recipe."""

    case: Case
    recipe: str
    overrides: tuple[str, ...]
    folder: Path

    @property
    def legend(self) -> Legend:
        return open_city(self.case.target).legend

    def truth(self) -> np.ndarray:
        """Return ids uint8 [H, W], 0 where there is none or an image is not valid."""
        city = open_city(self.case.target)
        with rasterio.open(self.case.truth) as dataset:
            ids = dataset.read(1)
        valid = city.scenes[0].read_valid(city.modality_names, city.scenes[0].grid.window)
        known = np.isin(ids, self.legend.ids) & valid
        return np.where(known, ids, 0).astype(np.uint8)

    def score(self, model: Path, name: str) -> float:
        """Return the mIoU of a model's map on the scored pixels."""
        out = self.folder / f"{name}.tif"
        c2seg.load_model(model).predict(self.case.target, out, overwrite=True)
        scores = c2seg.score(out, self.folder / "scored.tif", legend=self.legend)
        assert scores.record.left_out_pixels == 0, "labels must be further away than the guard"
        return round(scores.miou or 0.0, 4)

    def fit(self, name: str, labels: Path | None = None) -> Path:
        """Train on the source, with labels of the target if there are any."""
        run = c2seg.fit(
            self.recipe, preset="demo", overrides=self.overrides, source=self.case.source, target=self.case.target,
            out=self.folder / name, target_labels=labels, seed=self.case.seed, overwrite=True,
        )  # fmt: skip
        assert run.model is not None
        return run.model


def chessboard(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return bool [H, W] of the pixels that may be labeled, and of those that are scored."""
    rows, cols = np.indices(shape)
    black = (rows // BLOCK_PX + cols // BLOCK_PX) % 2 == 0
    inner = np.ones(shape, bool)
    for axis in (rows, cols):
        inner &= (axis % BLOCK_PX >= GUARD_PX) & (axis % BLOCK_PX < BLOCK_PX - GUARD_PX)
    return black, ~black & inner


def write_like(path: Path, ids: np.ndarray, like: Path) -> Path:
    with rasterio.open(like) as dataset:
        profile = {**dataset.profile, "count": 1, "dtype": "uint8", "nodata": None}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(ids[None])
    return path


def write_points(path: Path, places: np.ndarray, truth: np.ndarray, legend: Legend, like: Path) -> Path:
    """Write points (row, column) [N, 2] with the class that the ground truth has there, as a table."""
    names = {item.id: item.name for item in legend.classes}
    with rasterio.open(like) as dataset:
        transform = dataset.transform
    lines = ["x,y,reference"]
    for row, col in places.tolist():
        if truth[row, col]:
            x, y = transform @ (col + 0.5, row + 0.5)
            lines.append(f'{x!r},{y!r},"{names[int(truth[row, col])]}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def by_class(task: Task, count: int) -> np.ndarray:
    """Return up to ``count`` places of each class; the first of more are those of fewer."""
    truth = task.truth()
    truth[~chessboard(truth.shape)[0]] = 0
    places = []
    for number in task.legend.ids:
        here = np.argwhere(truth == number)
        places.append(here[np.random.default_rng((task.case.seed, number)).permutation(len(here))[:count]])
    return np.concatenate(places)


def source_map(task: Task) -> tuple[Path, Path]:
    """Return the map without labels of the target, 0 where nothing may be labeled, and its runner-up layer."""
    model, out = task.folder / "source" / "model.safetensors", task.folder / "suggesting.tif"
    if not model.is_file():
        task.fit("source")
    second = task.folder / "suggesting_second.tif"
    if not out.is_file():
        c2seg.load_model(model).predict(task.case.target, out, runner_up=second, overwrite=True)
        with rasterio.open(out, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            ids = dataset.read(1)
            ids[~chessboard(ids.shape)[0] | (task.truth() == 0)] = 0
            dataset.write(ids[None])
    return out, second


def run_source(task: Task) -> float:
    return task.score(task.fit("source"), "map-source")


def run_inside(task: Task) -> float:
    """Train on the labeled blocks of the target alone."""
    truth = task.truth()
    truth[~chessboard(truth.shape)[0]] = 0
    return _on_target(task, truth, "inside", ())


def run_alone(task: Task, count: int) -> float:
    """Train on the points of ``labels`` alone; a leaf may hold one of them."""
    truth, places = task.truth(), by_class(task, count)
    few = np.zeros_like(truth)
    few[places[:, 0], places[:, 1]] = truth[places[:, 0], places[:, 1]]
    return _on_target(task, few, f"alone{count}", ("model.min_leaf_px=1",))


def _on_target(task: Task, ids: np.ndarray, name: str, overrides: tuple[str, ...]) -> float:
    city = task.folder / f"city-{name}"
    shutil.copytree(task.case.target, city, dirs_exist_ok=True)
    for other in city.glob("label*"):
        other.unlink()
    write_like(city / "label.tif", ids, task.case.truth)
    run = c2seg.fit(
        "forest", preset="demo", overrides=(*FOREST, *overrides), source=city, out=task.folder / name,
        seed=task.case.seed, overwrite=True, label_map="challenge",
    )  # fmt: skip
    assert run.model is not None
    return task.score(run.model, f"map-{name}")


def run_labels(task: Task, count: int) -> float:
    places = by_class(task, count)
    labels = write_points(task.folder / f"labels{count}.csv", places, task.truth(), task.legend, task.case.truth)
    return task.score(task.fit(f"labels{count}", labels), f"map-labels{count}")


def run_points(task: Task, count: int) -> float:
    """Train with as many labels in all as ``labels``, at random places."""
    truth = task.truth()
    allowed = np.argwhere((truth != 0) & chessboard(truth.shape)[0])
    total = len(by_class(task, count))
    places = allowed[np.random.default_rng((task.case.seed, 99)).permutation(len(allowed))[:total]]
    labels = write_points(task.folder / f"points{count}.csv", places, truth, task.legend, task.case.truth)
    return task.score(task.fit(f"points{count}", labels), f"map-points{count}")


def run_suggest(task: Task, count: int) -> float:
    """Train with as many labels in all as ``labels``, where ``c2seg suggest`` asks for them."""
    out, second = source_map(task)
    total = len(by_class(task, count))
    chosen = c2seg.suggest_points(
        out, task.folder / f"suggest{count}.gpkg", n=total, apart_px=2, runner_up=second, city=task.case.target,
        seed=task.case.seed, legend=task.legend, page=False, overwrite=True,
    )  # fmt: skip
    places = np.array([(point.row, point.col) for point in chosen.record.points])
    labels = write_points(task.folder / f"suggest{count}.csv", places, task.truth(), task.legend, task.case.truth)
    return task.score(task.fit(f"suggest{count}", labels), f"map-suggest{count}")


def runs(recipe: str) -> Iterator[tuple[str, Callable[[Task], float]]]:
    """Yield the name of each run of a pair, and what does it; those that tell most come first."""
    yield "source", run_source
    yield "labels 20", lambda task: run_labels(task, 20)
    if recipe != "forest":
        return
    yield "inside", run_inside
    yield "labels 5", lambda task: run_labels(task, 5)
    yield "alone 20", lambda task: run_alone(task, 20)
    yield "labels 50", lambda task: run_labels(task, 50)
    yield "suggest 20", lambda task: run_suggest(task, 20)
    yield "points 20", lambda task: run_points(task, 20)
    yield "labels 10", lambda task: run_labels(task, 10)
    yield "alone 5", lambda task: run_alone(task, 5)
    yield "suggest 5", lambda task: run_suggest(task, 5)
    yield "points 5", lambda task: run_points(task, 5)
    yield "alone 50", lambda task: run_alone(task, 50)


def simulated(work: Path, count: int) -> Iterator[Case]:
    """Yield simulated pairs of other families of layouts and shifts."""
    for index in range(count):
        seed = 1001 * index
        folder = work / f"pair{seed}"
        if not (folder / "pair.yaml").is_file():
            c2seg.simulate_pair(folder, scale=0.15, seed=seed, overwrite=True)
        names = dict(line.split(": ") for line in (folder / "pair.yaml").read_text().splitlines()[:4])
        source, target = folder / names["source"], folder / names["target"]
        yield Case(f"simulated {seed}", source, target, target / "reference.tif", index)


def real(work: Path) -> Iterator[Case]:
    """Yield the real pairs: two places both ways, and halves of two cities both ways."""
    root = Path(os.environ["C2SEG_REAL_DATA"])
    places = root / "s2s1-places"
    for one, other in (("chile", "denmark"), ("denmark", "chile")):
        yield Case(f"{one} to {other}", places / one, places / other, places / other / "label.tif", 0)
    for city in (root / "potsdam-leipzig" / "potsdam", root / "c2seg-ab-quicklook" / "augsburg"):
        left, right = halves(city, work)
        yield Case(f"{city.name} left to right", left, right, right / "label.tif", 0)
        yield Case(f"{city.name} right to left", right, left, left / "label.tif", 0)


def halves(city: Path, work: Path) -> tuple[Path, Path]:
    """Return the left and the right half of a city as folders."""
    folders = work / f"{city.name}-left", work / f"{city.name}-right"
    for index, folder in enumerate(folders):
        folder.mkdir(parents=True, exist_ok=True)
        for file in city.iterdir():
            if file.suffix == ".tif" and not file.name.startswith("label_"):
                _half(file, folder / file.name, index)
            elif file.suffix == ".yaml":
                shutil.copy(file, folder / file.name)
    return folders


def _half(file: Path, out: Path, index: int) -> None:
    with rasterio.open(file) as dataset:
        width = dataset.width // 2
        window = Window(index * width, 0, width, dataset.height)
        profile = {
            "driver": "GTiff", "height": dataset.height, "width": width, "count": dataset.count, "crs": dataset.crs,
            "dtype": dataset.dtypes[0], "nodata": dataset.nodata, "transform": dataset.window_transform(window),
        }  # fmt: skip
        values, descriptions = dataset.read(window=window), dataset.descriptions
    with rasterio.open(out, "w", **profile) as dataset:
        dataset.write(values)
        dataset.descriptions = descriptions


def do(cases: Iterator[Case], recipe: str, overrides: tuple[str, ...], work: Path) -> None:
    """Run everything of every case that has no result yet, one run of all cases after the other."""
    tasks = {}
    for case in cases:
        key = case.name if recipe == "forest" else f"{case.name}, {recipe}"
        task = Task(case, recipe, overrides, work / key.replace(" ", "-").replace(",", ""))
        task.folder.mkdir(parents=True, exist_ok=True)
        truth = task.truth()
        truth[~chessboard(truth.shape)[1]] = 0
        write_like(task.folder / "scored.tif", truth, case.truth)
        tasks[key] = task
    for name, run in runs(recipe):
        for key, task in tasks.items():
            if name not in read_results().get(key, {}):
                value = run(task)
                results = read_results()
                results.setdefault(key, {})[name] = value
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                print(f"{key}: {name} {value:.3f}", flush=True)


def read_results() -> dict[str, dict[str, float]]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the results as Markdown: a line a pair, and the share of the gap to ``inside`` that 20 labels a class close."""
    columns = list(dict.fromkeys(name for case in results.values() for name in case))
    order = ["source", *(f"{kind} {n}" for kind in ("labels", "points", "suggest", "alone") for n in COUNTS), "inside"]
    columns.sort(key=order.index)
    lines = ["| pair | " + " | ".join(columns) + " | gap closed by 20 |", "|---" * (len(columns) + 2) + "|"]
    for key, values in results.items():
        cells = [f"{values[name]:.3f}" if name in values else "-" for name in columns]
        lines.append(f"| {key} | " + " | ".join([*cells, gap_closed(values)]) + " |")
    for title, kind in (("mean of simulated", "simulated"), ("mean of real", "")):
        chosen = [v for k, v in results.items() if "," not in k and k.startswith("simulated") == bool(kind)]
        if len(chosen) > 1:
            means = {n: mean(v[n] for v in chosen) for n in columns if all(n in v for v in chosen)}
            cells = [f"{means[name]:.3f}" if name in means else "-" for name in columns]
            lines.append(f"| {title} | " + " | ".join([*cells, gap_closed(means)]) + " |")
    return "\n".join(lines)


def gap_closed(values: dict[str, float]) -> str:
    if not {"source", "labels 20", "inside"} <= set(values) or values["inside"] <= values["source"]:
        return "-"
    return f"{(values['labels 20'] - values['source']) / (values['inside'] - values['source']):.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=int, default=3)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--networks", action="store_true", help="unet and crosscity with 20 labels a class, too")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--work", type=Path, help="where cities and runs are kept (default: a temporary folder)")
    options = parser.parse_args()
    if not options.table:
        with tempfile.TemporaryDirectory() as temporary:
            work = options.work or Path(temporary)
            do(simulated(work, options.simulated), "forest", FOREST, work)
            if options.real:
                do(real(work), "forest", FOREST, work)
            if options.networks:
                for recipe in ("unet", "crosscity"):
                    do(simulated(work, options.simulated), recipe, (), work)
    print(table(read_results()))


if __name__ == "__main__":
    main()
