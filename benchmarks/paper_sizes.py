"""What training at the published sizes takes: seconds a step, peak memory, losses, hours of the whole schedule.

    python benchmarks/paper_sizes.py --make-inputs INPUTS      # two simulated pairs with all bands, minutes, once
    python benchmarks/paper_sizes.py --inputs INPUTS [--device cpu|cuda] [--recipes mmglots,mrsn] [--presets paper-ab]
    python benchmarks/paper_sizes.py --table                   # what was measured
    python benchmarks/paper_sizes.py --inputs INPUTS --pack paper_sizes.tar.gz   # all that another machine needs

Every training of a recipe is a cell: a recipe with stages or several networks has one for each that differs. Cells run in
the product's own steps: patches drawn from a city, read, normalized, augmented by a thread, and trained on. Results are kept
in benchmarks/paper_sizes.json by cell and device: a stopped run goes on. Losses are of the first and the last measured step,
of other patches: they tell that numbers are finite, not that anything was learned.

- CPU: 3 steps, one process a cell, limited to ``--memory-gib`` and ``--cell-seconds`` (no step begins in the second half of
  these; the number of steps is kept); ``--batch`` patches a step (1).
- CUDA: the recipe's batch (halved until it fits), bf16, 15 seconds after 5 steps to warm up; all cells within ``--seconds``
  (8 minutes), so that late cells get less. A forward pass is compared with the CPU's, in 32 bits and in bf16.

Hours are seconds a step times the iterations, and, where fewer patches than the recipe's were measured, times their ratio. On
a CPU they are processor hours, from processor seconds: other work on the machine lengthens the seconds, not these.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tarfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from paper_sizes_parts import (
    GIB,
    PAIRS,
    Cell,
    Figures,
    Limits,
    cells,
    empty,
    measure,
    on_cuda,
    read_cells,
    write_cells,
)

from c2seg.simulate import simulate_pair

CPU = torch.device("cpu")
RESULTS = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parents[1]
SCALES = {"ab": 0.3, "bw": 0.06}
# First what Table I compares, the most expensive first.
RECIPES = (
    *("mmglots", "mmuda", "mrsn", "unet", "segnet", "deeplabv3plus", "mmuda-ensemble", "crosscity", "mmglots@paper"),
    *("highdan", "mrsn-3b", "mrsn-2b", "mrsn-1b", "segformer", "advent", "adaptseg"),
)
MIB = 2**20
PACK_LIMIT = 60 * MIB
MEMORY_WORDS = ("allocate memory", "bad_alloc", "MemoryError", "Cannot allocate", "out of memory")


def in_process(cell: Cell, options: argparse.Namespace) -> Figures:
    """Measure a cell in a process of its own, whose memory and time are limited."""
    fork = multiprocessing.get_context("fork")  # what is imported here need not be imported again
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_limited, args=(theirs, cell, options))
    child.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(options.cell_seconds) else None
    except EOFError:  # killed
        answer = MemoryError()
    if answer is None:
        child.kill()
    child.join()
    if isinstance(answer, Figures):
        return answer
    if answer is None:
        return empty(cell, CPU, f"no step within {options.cell_seconds:.0f} s")
    if isinstance(answer, MemoryError):
        patches = f"{options.batch} patch{'' if options.batch == 1 else 'es'} a step"
        return empty(cell, CPU, f"{patches}: more than {options.memory_gib:g} GiB")
    raise RuntimeError(f"{cell.name}: {answer}")


def _limited(pipe: Connection, cell: Cell, options: argparse.Namespace) -> None:
    """Send the figures of a cell, measured within limits, or the error."""
    limit = int(options.memory_gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        pipe.send(measure(cell, options.inputs, CPU, options.batch, Limits.of("cpu", options.cell_seconds / 2)))
    except (MemoryError, RuntimeError) as error:
        lacking = isinstance(error, MemoryError) or any(word in str(error) for word in MEMORY_WORDS)
        pipe.send(MemoryError() if lacking else f"{type(error).__name__}: {error}")
    except Exception as error:  # told by the parent
        pipe.send(f"{type(error).__name__}: {error}")


# All cells


def run(options: argparse.Namespace) -> None:
    """Measure the cells that have no figures yet for this device, as long as there is time."""
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    known = load()
    measured = {figures.cell for figures in known if figures.device == name}
    waiting = [cell for cell in cells(options.recipes, options.presets) if cell.name not in measured]
    end = time.perf_counter() + options.seconds
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for index, cell in enumerate(waiting):
        share = (end - time.perf_counter()) / (len(waiting) - index)
        if share <= 0:
            print(f"no time for {len(waiting) - index} cells: run again")
            break
        figures = on_cuda(cell, options.inputs, device, share) if device.type == "cuda" else in_process(cell, options)
        known.append(figures)
        write_cells(RESULTS, known)
        print(line(figures), flush=True)


def load() -> list[Figures]:
    """Return what was measured."""
    return [Figures(**item) for item in read_cells(RESULTS)]


HEADER = ("training", "parameters", "steps", "processor time of a step", "memory", "loss", "schedule", "hours")


def table(known: Sequence[Figures]) -> str:
    """Return what was measured as a Markdown table for each device."""
    parts = []
    for device in dict.fromkeys(figures.device for figures in known):
        lines = [line(figures) for figures in known if figures.device == device]
        parts.append("\n".join([device, "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|", *lines]))
    return "\n\n".join(parts)


def line(figures: Figures) -> str:
    """Return one row of the table; on a CUDA device with what a step takes there, patch, precision and forward pass."""
    schedule = f"{figures.iterations} x {figures.recipe_batch}"
    if figures.problem:
        return f"| `{figures.cell}` | | | {figures.problem} | | | {schedule} | |"
    took = f"{figures.processor_seconds:.1f} s"
    if figures.device != "cpu":
        forward = "".join(f", {k} {v:g}" for k, v in (figures.forward or {}).items())
        patches = f"{figures.batch} patches of {figures.patch_px} px"
        took += f" ({figures.step_seconds:.3f} s for {patches} in {figures.precision}{forward})"
    return (
        f"| `{figures.cell}` | {figures.parameters / 1e6:.1f} M | {figures.steps} | {took} | {figures.peak_gib:.2f} GiB | "
        f"{figures.loss_first:.2f}, {figures.loss_last:.2f} | {schedule} | {figures.hours:.0f} |"
    )


def pack(inputs: Path, out: Path) -> None:
    """Write code and inputs into one archive of less than 60 MiB."""
    code = [ROOT / name for name in ("src/c2seg", "pyproject.toml", "README.md", "LICENSE")]
    code += sorted(Path(__file__).parent.glob("paper_sizes*.py"))
    with tarfile.open(out, "w:gz") as archive:
        for path in code:
            archive.add(path, path.relative_to(ROOT), filter=lambda item: None if "__pycache__" in item.name else item)
        for path in sorted(inputs.glob("*/*/*")):
            if path.stem != "reference":
                archive.add(path, Path("inputs") / path.relative_to(inputs))
    size = out.stat().st_size
    print(f"{out}: {size / MIB:.1f} MiB")
    if size > PACK_LIMIT:
        raise SystemExit(f"more than {PACK_LIMIT // MIB} MiB: simulate smaller cities (SCALES)")


def options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--make-inputs", type=Path)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=RECIPES)
    parser.add_argument("--presets", type=lambda text: text.split(","), default=tuple(PAIRS))
    parser.add_argument("--seconds", type=float, default=480.0, help="of all cells")
    parser.add_argument("--cell-seconds", type=float, default=600.0, help="of a cell, on the CPU")
    parser.add_argument("--memory-gib", type=float, default=16.0, help="of a cell, on the CPU")
    parser.add_argument("--batch", type=int, default=1, help="patches a step, on the CPU")
    return parser.parse_args()


def main() -> None:
    given = options()
    if given.table:
        print(table(load()))
    elif given.make_inputs:
        for pair, scale in SCALES.items():
            simulate_pair(given.make_inputs / pair, pair, scale=scale, seed=1)
    elif given.inputs is None:
        raise SystemExit("give --inputs, or make them with --make-inputs")
    elif given.pack:
        pack(given.inputs, given.pack)
    else:
        run(given)


if __name__ == "__main__":
    main()
