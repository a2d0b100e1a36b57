"""A training step and the prediction of a whole city on an accelerator, beside MONAI and TerraTorch with the same networks.

    python benchmarks/paper_sizes.py --make-inputs INPUTS                 # simulated pairs, minutes, once
    python benchmarks/accelerator.py --inputs INPUTS --pack accelerator.tar.gz [--wheels DIR]  # for a machine without a network
    python benchmarks/accelerator.py --inputs INPUTS --device cuda        # 15 minutes in all
    python benchmarks/accelerator.py --inputs INPUTS --device cpu --presets tiny --rehearsal
    python benchmarks/accelerator.py --table

Cells are `crosscity` and `mmglots` in the presets `tiny`, `small` and `paper-ab`: a training step of each network (on CUDA with
patches that the loader augments, and with raw ones that the device augments), a map by `c2seg predict` as the recipe says, one
of the networks alone without forest and transforms, and the same networks in the windowed inference of the peers
(`pip install monai terratorch`; each is optional, and a line says what is absent). Models are fitted for two iterations: what
weights say costs nothing. Every cell has its share of the time that is left. Results are kept in benchmarks/accelerator.json by
cell and device as they come: a stopped run goes on.

Seconds per megapixel are of the second map, since the first makes the kernels; city and model are opened in both. The share of
peak is the networks' arithmetic (three forward passes for a step) over what one large matrix product reaches on the same device
in the same precision. A rehearsal is run to see that all of it works; its figures are of no accelerator.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerator_parts import absent_peer, fitted, map_figures, peak_tflops
from paper_sizes_parts import OTHER_PRESETS, PAIRS, Cell, Limits, cells, measure, read_cells, write_cells

RESULTS = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parents[1]
MIB = 2**20
PACK_LIMIT = 60 * MIB
RECIPES, PRESETS = ("crosscity", "mmglots"), ("tiny", "small", "paper-ab")
WAYS = ("recipe", "networks", "monai", "terratorch")
CODE = ("paper_sizes_parts.py", "accelerator.py", "accelerator_parts.py", "mapping_parts.py")


@dataclass(frozen=True)
class Row:
    """What was measured of a cell; ``problem``: why nothing was."""

    cell: str
    device: str
    rehearsal: bool
    problem: str | None = None
    precision: str = "32"
    batch: int = 0
    """Patches of a step."""
    seconds: float = 0.0
    """Of a step, or of a megapixel."""
    processor_seconds: float = 0.0
    waiting_seconds: float = 0.0
    """Of a step, for patches."""
    share_of_peak: float = 0.0
    peak_gib: float = 0.0
    """Of the device's memory; on a CPU of the process."""
    versions: str = ""


Work = Callable[[float], Row]
"""Measures a cell within so many seconds."""


class Bench:
    """The cells of a run, and where they are kept."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.device = torch.device(options.device)
        self.name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        self.precision = "bf16" if self.device.type == "cuda" else "32"
        self.peak = peak_tflops(self.device, self.precision)

    def work(self) -> dict[str, Work]:
        """Return what is to be measured, by cell: maps after the steps of their preset."""
        wanted: dict[str, Work] = {}
        for preset in self.options.presets:
            for cell in cells(self.options.recipes, [preset]):
                for place in ("loader", "device") if self.device.type == "cuda" else ("loader",):
                    wanted[f"step {cell.name} augmented by {place}"] = self._step(cell, place)
            for recipe in self.options.recipes:
                for way in WAYS:
                    wanted[f"map {recipe} {preset} {way}"] = self._map(recipe, preset, way)
        return wanted

    def row(self, cell: str, **figures: object) -> Row:
        """Return a row of this device."""
        versions = f"torch {torch.__version__}"
        return replace(Row(cell, self.name, self.options.rehearsal, versions=versions), **figures)

    def _step(self, cell: Cell, place: str) -> Work:
        training = cell.recipe.training.model_copy(update={"augment_on": place})
        changed = replace(cell, recipe=cell.recipe.model_copy(update={"training": training}))
        batch = training.sampling.batch_size if self.device.type == "cuda" else min(2, training.sampling.batch_size)

        def run(seconds: float) -> Row:
            limits = Limits.of(self.device.type, seconds)
            figures = measure(
                changed, self.options.inputs, self.device, batch, replace(limits, seconds=min(15.0, seconds / 2))
            )
            done = 3 * figures.forward_gflops * figures.batch / 1000 / figures.step_seconds
            return self.row(
                f"step {cell.name} augmented by {place}", precision=figures.precision, batch=figures.batch,
                seconds=figures.step_seconds, processor_seconds=figures.processor_seconds,
                waiting_seconds=figures.waiting_seconds, share_of_peak=round(done / self.peak, 4), peak_gib=figures.peak_gib,
            )  # fmt: skip

        return run

    def _map(self, recipe: str, preset: str, way: str) -> Work:
        name = f"map {recipe} {preset} {way}"
        pair = self.options.inputs / (PAIRS | OTHER_PRESETS)[preset]

        def run(seconds: float) -> Row:
            if absent := absent_peer(way):
                return self.row(name, problem=absent)
            model = fitted(recipe, preset, pair, self.folder, self.device, alone=way != "recipe")
            city = sorted(path.parent for path in pair.glob("*/city.yaml"))[1]
            figures = map_figures(way, model, city, self.folder / "map.tif", self.device, self.precision)
            return self.row(
                name, precision=self.precision, seconds=round(figures.seconds / figures.megapixels, 4),
                processor_seconds=round(figures.processor_seconds / figures.megapixels, 4),
                share_of_peak=round(figures.gflops / 1000 / figures.seconds / self.peak, 4),
                peak_gib=round(figures.peak_gib, 2),
            )  # fmt: skip

        return run


def run(options: argparse.Namespace) -> None:
    """Measure the cells that have no figures yet for this device, as long as there is time."""
    end = time.perf_counter() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        known = load()
        measured = {row.cell for row in known if row.device == bench.name and row.problem is None}
        waiting = {cell: work for cell, work in bench.work().items() if cell not in measured}
        for index, (cell, work) in enumerate(waiting.items()):
            share = (end - time.perf_counter()) / (len(waiting) - index)
            if share <= 0:
                print(f"no time for {len(waiting) - index} cells: run again")
                return
            try:
                row = work(share)
            except torch.OutOfMemoryError:
                row = bench.row(cell, problem="does not fit the memory")
            known = [one for one in known if (one.cell, one.device) != (row.cell, row.device)] + [row]
            write_cells(RESULTS, known)
            print(line(row), flush=True)


def load() -> list[Row]:
    """Return what was measured."""
    return [Row(**item) for item in read_cells(RESULTS)]


def line(row: Row) -> str:
    """Return one row of the table."""
    start = f"| {row.cell} | {row.device}{' (rehearsal)' if row.rehearsal else ''} |"
    if row.problem:
        return f"{start} {row.problem} |"
    of = f"a step of {row.batch} patches" if row.batch else "a megapixel"
    return (
        f"{start} {row.precision} | {row.seconds:.3f} s {of} | {row.processor_seconds:.3f} s of processors | "
        f"{100 * row.share_of_peak:.1f} % of peak | {row.peak_gib:.2f} GiB | {row.waiting_seconds:.4f} s waiting |"
    )


def pack(inputs: Path, wheels: Path | None, out: Path) -> None:
    """Write code, inputs of the pair and wheels into one archive of less than 60 MiB."""
    code = [ROOT / name for name in ("src/c2seg", "pyproject.toml", "README.md", "LICENSE")]
    code += [Path(__file__).parent / name for name in CODE]
    with tarfile.open(out, "w:gz") as archive:
        for path in code:
            archive.add(path, path.relative_to(ROOT), filter=lambda item: None if "__pycache__" in item.name else item)
        for path in sorted((inputs / "ab").glob("*/*")):
            if path.stem != "reference":
                archive.add(path, Path("inputs") / path.relative_to(inputs))
        for path in sorted(wheels.glob("*.whl")) if wheels else ():
            archive.add(path, Path("wheels") / path.name)
    size = out.stat().st_size
    print(f"{out}: {size / MIB:.1f} MiB")
    if size > PACK_LIMIT:
        raise SystemExit(f"more than {PACK_LIMIT // MIB} MiB: simulate smaller cities, or take fewer wheels")


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--pack", type=Path)
    parser.add_argument(
        "--wheels", type=Path, default=None, help="folder of wheels to pack: what the other machine lacks"
    )
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=RECIPES)
    parser.add_argument("--presets", type=lambda text: text.split(","), default=PRESETS)
    parser.add_argument("--seconds", type=float, default=840.0, help="of all cells")
    parser.add_argument("--rehearsal", action="store_true", help="mark the figures as those of a rehearsal")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.table:
        print("\n".join(map(line, load())))
    elif given.inputs is None:
        raise SystemExit("give --inputs; benchmarks/paper_sizes.py --make-inputs makes them")
    elif given.pack:
        pack(given.inputs, given.wheels, given.pack)
    else:
        run(given)


if __name__ == "__main__":
    main()
