"""Renews what the README shows: outputs of its snippets, the table of results, the picture. ``make results-readme``.

    python docs/site/readme.py [--work build/readme] [--jobs 2] [--only outputs,table,picture]

The table is a benchmark on two simulated pairs on which no setting was chosen, at equal training time. It resumes in the work
folder and takes about half an hour of two processors; its summary is kept beside this file (results.json). The picture shows
one of these pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

import c2seg
from c2seg.artifacts.benchmark import BenchmarkTable
from c2seg.cli import run

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = Path(__file__).with_name("results.json")
PICTURE = ROOT / "docs/maps.webp"

# Families of the simulator that no setting was chosen on; even seeds backwards.
SEEDS = (2401, 3402)
SECONDS = 150
RECIPES = {
    "crosscity": "`crosscity` (ours)",
    "unet@control": "control: U-Net with our decoder and decision, source alone",
    "unet": "`unet`",
    "forest": "`forest`",
    "mmglots": "`mmglots` (1st place)",
    "mrsn": "`mrsn` (3rd place)",
}
FIRST, LAST = 2, 5
"""Lines of an output that are shown."""
CAPTION = (
    f"Mean over {len(SEEDS)} simulated pairs of cities on which no setting was chosen, one seed: {SECONDS} processor seconds "
    "of training for every network, `tiny` sizes.\n"
    "In brackets: `crosscity` minus the row, with its 95 % interval.\n"
)
LIMIT = (
    "The limit: two pairs, one seed, small networks from random weights, little training; "
    "no verdict on the published systems.\n"
    "On six real development pairs `crosscity` leads control, forest and U-Net by more than chance, too.\n"
    "The C2Seg datasets cannot be bundled, and nothing was run on a GPU.\n"
    "Every table and its command: [results](docs/results.md).\n"
)


def pair_of(seed: int, work: Path) -> tuple[Path, Path, Path]:
    """Return source, target and ground truth of a pair, simulated once."""
    folder = work / f"pair{seed}"
    if not folder.exists():
        c2seg.simulate_pair(folder, pair="ab", scale=0.25, seed=seed)
    alder, birch = folder / "alder", folder / "birch"
    source, target = (alder, birch) if seed % 2 else (birch, alder)
    return source, target, target / "reference.tif"


def run_table(work: Path, jobs: int) -> None:
    """Run what is missing of the benchmark, and keep its summary."""
    os.environ["OMP_NUM_THREADS"] = "1"
    c2seg.run_benchmark(
        [pair_of(seed, work) for seed in SEEDS],
        list(RECIPES),
        out=work / "benchmark",
        seeds=1,
        equal_seconds=SECONDS,
        overrides=["max_bands=16"],
        baseline="crosscity",
        jobs=jobs,
        progress=True,
    )
    table = BenchmarkTable.read(work / "benchmark/benchmark.json")
    if table.failed:
        raise SystemExit(f"failed: {table.failed}")
    table.model_copy(update={"results": ()}).write(RESULTS, overwrite=True)


def table_text() -> str:
    """Return the table of the README from the summary."""
    table = BenchmarkTable.read(RESULTS)
    rows = {row.label: row for row in table.rows if row.pair == "mean"}
    behind = {item.other: item for item in table.against}
    lines = ["| recipe | OA | mF1 | mIoU | |", "|---|---|---|---|---|"]
    for label in sorted(RECIPES, key=lambda label: -(rows[label].miou[0] or 0)):
        row, other = rows[label], behind.get(label)
        gain = other.difference if other is not None else None
        minus = f"({gain.value:+.3f}, {gain.low:+.3f} .. {gain.high:+.3f})" if gain is not None else ""
        values = " | ".join(f"{mean[0]:.3f}".lstrip("0") for mean in (row.oa, row.mf1, row.miou))
        lines.append(f"| {RECIPES[label]} | {values} | {minus} |")
    return CAPTION + "\n" + "\n".join(lines) + "\n\n" + LIMIT


def draw_picture(work: Path) -> None:
    """Draw images, ground truth and two maps of the first pair, as the report does."""
    source, target, reference = pair_of(SEEDS[0], work)
    folder = work / "benchmark/runs" / f"{source.name}-{target.name}"
    runs = [folder / recipe / "seed0" for recipe in ("crosscity", "forest")]
    figure = work / "maps.png"
    c2seg.make_report(runs, figure=figure, cities=target, references=reference, overwrite=True)
    image = Image.open(figure).convert("RGB")
    image.thumbnail((1800, 1800))
    image.save(PICTURE, quality=85)


def excerpt(text: str) -> str:
    """Return the first and last lines of a long output; a line of three dots stands for the others."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join([*lines[:FIRST], "...", *lines[-LAST:]] if len(lines) > FIRST + LAST else lines)


def parts_of(text: str) -> list[str]:
    """Return a document cut into its fenced blocks and what stands between them."""
    return re.split(r"(^```\w*\n.*?^```\n)", text, flags=re.M | re.S)


def printed_by(parts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Run the blocks of shell and Python in the present folder; yield the number of each and what it prints."""
    names: dict[str, object] = {}
    for number, part in enumerate(parts):
        language, _, code = part.removeprefix("```").partition("\n")
        if not part.startswith("```") or language not in ("sh", "python"):
            continue
        code = code.removesuffix("```\n")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if language == "sh":
                for line in code.splitlines():
                    if run(shlex.split(line, comments=True)[1:]):
                        raise SystemExit(f"failed: {line}")
            else:
                exec(compile(code, "README.md", "exec"), names)
        yield number, out.getvalue()


def outputs(text: str) -> str:
    """Return the README with what its snippets print, below them."""
    parts = [part for part in parts_of(text) if not part.startswith("```text\n")]
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, printed in printed_by(parts):
                if printed.strip():
                    parts[number] += f"```text\n{excerpt(printed)}\n```\n"
        finally:
            os.chdir(before)
    return "".join(parts)


def main() -> None:
    """Renew the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build/readme")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="outputs,table,picture")
    options = parser.parse_args()
    only = options.only.split(",")
    options.work.mkdir(parents=True, exist_ok=True)
    if "table" in only:
        run_table(options.work, options.jobs)
    if "picture" in only:
        draw_picture(options.work)
    text = README.read_text(encoding="utf-8")
    if "outputs" in only:
        text = outputs(text)
    if RESULTS.exists():
        text = re.sub(r"(?<=## Results\n).*?(?=\n## What it promises)", lambda _: table_text(), text, flags=re.S)
    temporary = README.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    shutil.move(temporary, README)


if __name__ == "__main__":
    main()
