"""Recipes on development pairs: real places both ways, halves of real places, simulated pairs with MSI and SAR alone.

    python benchmarks/real_pairs.py --recipes forest,unet --preset demo --seeds 2
    python benchmarks/real_pairs.py --row forest --row "forest normalization=source" --pairs real
    python benchmarks/real_pairs.py --recipes unet,crosscity --preset demo --equal-time 60 --pairs chile-denmark,denmark-chile
    python benchmarks/real_pairs.py --recipes crosscity,crosscity@no-forest --table      # what is there, run nothing

A row is a recipe, or a recipe and settings; ``--set`` holds for all rows. Every finished cell goes into the results file
(benchmarks/real_pairs.json), and cells that are there are not run again, whatever the commit. Real pairs need
C2SEG_REAL_DATA. ``--pairs``: groups (development, real, simulated, full, styled, frozen) and names, separated by commas.
Frozen pairs are for a recipe that will not be changed any more: no setting is chosen on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from time import process_time

from real_pairs_cities import Folders, chosen
from real_pairs_results import Cell, add_cell, class_tables, differences, packed, place_table, read_cells

from c2seg.artifacts.runs import RunRecord
from c2seg.artifacts.scores import ScoreRecord
from c2seg.benchmark.fusing import fuse_maps
from c2seg.benchmark.pairs import Pair
from c2seg.benchmark.plan import Benchmark, Run, plan
from c2seg.benchmark.running import run_one
from c2seg.benchmark.statement import cost_lines, cost_text
from c2seg.benchmark.tasks import FitTask, FuseTask, PredictTask, ScoreTask, Trained, fit_city, predict_city, score_city
from c2seg.data import open_city
from c2seg.errors import C2SegError
from c2seg.metrics import count_maps, pair_maps

RESULTS = Path(__file__).with_suffix(".json")
_BLOCKS_ALONG = 5
"""Of the shorter side of a target."""


@dataclass(frozen=True)
class Row:
    """A recipe with settings of its own."""

    recipe: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, text: str, more: Sequence[str] = ()) -> Row:
        recipe, *overrides = text.split()
        return cls(recipe, (*overrides, *more))

    @property
    def text(self) -> str:
        return " ".join((self.recipe, *self.overrides))


class HereRunner:
    """Does the parts of a run in this process: forests on small places take seconds, a new process as many."""

    def fit(self, task: FitTask) -> Trained:
        return fit_city(task)

    def predict(self, task: PredictTask) -> float:
        return predict_city(task)

    def fuse(self, task: FuseTask) -> float:
        return fuse_maps(task)

    def score(self, task: ScoreTask) -> ScoreRecord:
        return score_city(task)

    def stop(self) -> None:
        """Nothing runs elsewhere."""


@dataclass(frozen=True)
class Study:
    """Which cells there are to be."""

    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    preset: str
    seeds: int
    equal_seconds: float | None
    results: Path
    work: Path
    keep: bool = False

    def benchmarks(self) -> Iterator[Benchmark]:
        """Yield a benchmark for the rows with equal settings: they share trainings."""
        for overrides in dict.fromkeys(row.overrides for row in self.rows):
            recipes = tuple(dict.fromkeys(row.recipe for row in self.rows if row.overrides == overrides))
            digest = hashlib.sha256(json.dumps([overrides, self.preset, self.equal_seconds]).encode()).hexdigest()[:8]
            yield Benchmark(
                pairs=self.pairs, recipes=recipes, out=self.work / "benchmarks" / digest, preset=self.preset,
                seeds=self.seeds, equal_seconds=self.equal_seconds, overrides=overrides,
            )  # fmt: skip

    @cached_property
    def planned(self) -> list[tuple[Benchmark, list[Run]]]:
        """Every run. SystemExit: a row names no recipe, or settings that it has not."""
        try:
            return [(benchmark, plan(benchmark)) for benchmark in self.benchmarks()]
        except C2SegError as error:
            raise SystemExit(f"rows: {error}") from error

    def waiting(self) -> list[tuple[Benchmark, list[Run]]]:
        """Return the runs without a cell."""
        cells = read_cells(self.results)
        return [(b, [run for run in runs if cell_key(b, run) not in cells]) for b, runs in self.planned]

    def cells(self) -> list[Cell]:
        """Return the cells that are there, in the order of the rows."""
        known = read_cells(self.results)
        keys = [cell_key(benchmark, run) for benchmark, runs in self.planned for run in runs]
        return sorted((known[key] for key in keys if key in known), key=self._place)

    def _place(self, cell: Cell) -> tuple[int, int, int]:
        rows, pairs = [row.text for row in self.rows], [pair.name for pair in self.pairs]
        return rows.index(cell.row), pairs.index(cell.pair), cell.seed


def cell_key(benchmark: Benchmark, run: Run) -> str:
    """Return a digest of what a cell depends on, without paths, prose and settings that are at their defaults."""
    recipe = run.settings().model_dump(mode="json", exclude_defaults=True, exclude={"description", "citation"})
    cities = [fingerprint(path) for path in (run.pair.source, *run.pair.further, run.pair.target)]
    facts = [run.pair.name, recipe, run.seed, benchmark.equal_seconds, benchmark.device, cities]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@cache
def fingerprint(path: Path) -> str:
    return open_city(path).fingerprint()


def row_text(benchmark: Benchmark, run: Run) -> str:
    return Row(run.recipe, benchmark.overrides).text


def run_study(study: Study) -> None:
    """Run what is waiting, seed by seed; a run that fails stops no other."""
    waiting = [(benchmark, run) for benchmark, runs in study.waiting() for run in runs]
    waiting.sort(key=lambda item: item[1].seed)
    for done, (benchmark, run) in enumerate(waiting):
        name = f"[{done + 1}/{len(waiting)}] {run.pair.name}: {row_text(benchmark, run)}, seed {run.seed}"
        try:
            cell = run_cell(benchmark, run)
        except C2SegError as error:
            print(f"{name}: failed: {error}", flush=True)
            continue
        add_cell(study.results, cell)
        print(f"{name}: mIoU {cell.miou:.3f}, OA {cell.oa:.3f}, {cell.processor_seconds:.0f} processor s", flush=True)
        if not study.keep:
            shutil.rmtree(run.folder, ignore_errors=True)


def run_cell(benchmark: Benchmark, run: Run) -> Cell:
    """Train, map, score and count one run."""
    before = process_time()
    result = run_one(benchmark, run, HereRunner())
    spent = process_time() - before
    assert run.pair.reference is not None
    pairs = pair_maps(run.map, run.pair.reference, legend=open_city(run.pair.target).legend)
    side = max(8, min(pairs[0].height, pairs[0].width) // _BLOCKS_ALONG)
    blocks = count_maps(pairs, block_px=side)
    cell = Cell(
        key=cell_key(benchmark, run), pair=run.pair.name, row=row_text(benchmark, run), preset=run.preset, seed=run.seed,
        equal_seconds=benchmark.equal_seconds, commit=result.commit, oa=0.0, miou=0.0,
        processor_seconds=round(_training_seconds(RunRecord.read(run.folder / "record.json"), spent), 1),
        map_seconds=round(result.map_seconds or 0.0, 1), iterations=result.iterations,
        classes=pairs[0].code.legend.names, ids=blocks[0].ids, blocks=packed(blocks),
    )  # fmt: skip
    scored = cell.scores()
    return Cell(**{**vars(cell), "oa": round(scored.oa or 0.0, 4), "miou": round(scored.miou or 0.0, 4)})


def _training_seconds(record: RunRecord, spent: float) -> float:
    """Return the processor seconds of a training as recorded, those of shared trainings included; else those of the run."""
    if record.step_processor_seconds is None or record.iterations is None:
        return spent
    checked = record.source_check.processor_seconds if record.source_check else None
    networks = record.step_processor_seconds * record.iterations
    return networks + (record.forest_processor_seconds or 0.0) + (checked or 0.0)


def stated(study: Study, *, measure: bool) -> str:
    """Return what the waiting runs cost: from finished cells of the same row, else measured in a few steps if asked for."""
    cells, lines = read_cells(study.results).values(), []
    for benchmark, runs in study.waiting():
        unknown = []
        for run in runs:
            row = row_text(benchmark, run), run.preset, benchmark.equal_seconds
            seconds = [cell.processor_seconds for cell in cells if cell.group == row]
            if seconds:
                lines.append(sum(seconds) / len(seconds) / 3600)
            else:
                unknown.append(run)
        if unknown:
            runner = HereRunner() if measure else None
            costs = cost_lines(benchmark, unknown, runner)
            print(cost_text(costs), flush=True)
    return f"{len(lines)} waiting runs of rows that were measured: about {sum(lines):.2f} processor hours of training"


def report(study: Study, baseline: str | None) -> str:
    """Return the tables of a study."""
    cells = study.cells()
    if not cells:
        return "no cell yet"
    first = baseline or cells[0].label
    parts = [class_tables(cells), place_table(cells), differences(cells, first), differences(cells, first, "oa")]
    return "\n\n".join(parts)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="", help="names, files or recipe@variant, separated by commas")
    parser.add_argument("--row", action="append", default=[], help="a recipe and settings of its own (repeatable)")
    parser.add_argument("--set", action="append", default=[], help="key.path=value for every row (repeatable)")
    parser.add_argument("--pairs", default="development")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--equal-time", type=float, help="processor seconds of every training of networks")
    parser.add_argument("--baseline", help="row with which the others are compared (default: the first)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / f"real-pairs-{os.getuid()}")
    parser.add_argument("--keep", action="store_true", help="keep the folders of runs, with maps and models")
    parser.add_argument(
        "--hours", action="store_true", help="say what it costs, measured where unknown, and run nothing"
    )
    parser.add_argument("--table", action="store_true", help="print what is there and run nothing")
    return parser


def rows_of(given: argparse.Namespace) -> tuple[Row, ...]:
    texts = [*filter(None, given.recipes.split(",")), *given.row] or ["forest", "unet"]
    return tuple(dict.fromkeys(Row.parsed(text, given.set) for text in texts))


def study_of(given: argparse.Namespace, rows: Iterable[Row], pairs: Iterable[Pair]) -> Study:
    return Study(
        tuple(rows), tuple(pairs), given.preset, given.seeds, given.equal_time, given.results, given.work, given.keep
    )


def run_as_asked(study: Study, given: argparse.Namespace) -> bool:
    """Run what is missing of a study, unless its table alone is asked for; False: its cost was asked for, and is printed."""
    if given.hours:
        print(stated(study, measure=True))
        return False
    if not given.table:
        print(stated(study, measure=False), flush=True)
        run_study(study)
    return True


def run_and_print(study: Study, given: argparse.Namespace) -> None:
    """Run a study as asked for, and print its tables."""
    if run_as_asked(study, given):
        print(report(study, given.baseline))


def main() -> None:
    given = options().parse_args()
    logging.getLogger("c2seg").setLevel(logging.ERROR)
    folders = Folders(given.work)
    pairs = [make(folders, name) for name, make in chosen(given.pairs).items()]
    run_and_print(study_of(given, rows_of(given), pairs), given)


if __name__ == "__main__":
    main()
