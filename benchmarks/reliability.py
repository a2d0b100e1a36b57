"""What was tried to make c2seg fail, and what held: hostile files, kills, full disks, damage on disk, files as delivered.

    python benchmarks/reliability.py [--count 600] [--jobs N] [--again PART ...] [--only PART ...]

Runs what `tests/` has for it, and writes the table into docs/reliability.md. Each finished part is kept in
benchmarks/reliability.json with the version that was tried, so that a stopped run goes on; ``--again`` tries a part anew. Parts
are ``hostile KIND``, ``kills COMMAND`` and the names in PYTEST. Hours on two cores with the default count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = Path(__file__).with_suffix(".json"), ROOT / "docs" / "reliability.md"
MARKS = "<!-- table: begin -->", "<!-- table: end -->"
sys.path.insert(0, str(ROOT / "tests"))

# Part -> what it tries, and the tests. All of them, slow ones too, are run.
PYTEST = {
    "what may be opened": "tests/raster/test_opening.py",
    "what a raster says of itself": "tests/raster/test_file_facts.py",
    "one byte changed": "tests/raster/test_digests.py",
    "files as they are delivered": "tests/data/test_files_as_delivered.py",
    "references of scores": "tests/metrics/test_references.py",
    "generated rasters through all commands": "tests/cli/test_odd_rasters.py",
    "outputs named like inputs": "tests/cli/test_inputs_stay.py tests/test_outputs.py",
    "damage to an unfinished map": "tests/predict/test_damaged_scratch.py",
    "damage to states of trainings": "tests/train/test_damaged_state.py",
    "damage to caches": "tests/data/test_cache.py",
}


def environment() -> dict[str, str]:
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source}


def tests(paths: str) -> dict[str, Any]:
    """Run tests; every one that passes held. Tests that skip were not tried."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = ["-m", "pytest", "-q", "-m", "slow or not slow", f"--junitxml={report}", *paths.split()]
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, check=False)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    tried = counts["tests"] - counts["skipped"]
    return {
        "tried": tried,
        "held": tried - counts["failures"] - counts["errors"],
        "unit": "tests",
        "how": f"pytest {paths}",
    }


def hostile(kind: str, count: int) -> dict[str, Any]:
    from hostile.campaign import campaign

    tally = campaign(kind, count)
    numbers = {name: value for name, value in vars(tally).items() if isinstance(value, int)}
    result = {"tried": tally.inputs, "held": tally.inputs - tally.faults, "unit": "files", **numbers}
    return {**result, "faults": tally.examples[:5], "how": f"python -m hostile.campaign {kind!r} {count}"}


def kills(command: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/helpers/killing.py"), "1", command],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = json.loads(done.stdout)[command]
    total = {name: sum(row[name] for row in rows.values()) for name in ("tried", "held")}
    return {
        **total,
        "unit": "kills and full disks",
        "rows": rows,
        "how": f"python tests/helpers/killing.py 1 {command!r}",
    }


def parts(count: int) -> dict[str, Callable[[], dict[str, Any]]]:
    from helpers.killing import COMMANDS
    from hostile.kinds import KINDS

    found: dict[str, Callable[[], dict[str, Any]]] = {}
    found |= {f"hostile {kind}": lambda kind=kind: hostile(kind, count) for kind in KINDS}
    found |= {f"kills {name}": lambda name=name: kills(name) for name in COMMANDS}
    return found | {name: lambda paths=paths: tests(paths) for name, paths in PYTEST.items()}


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of a part with its seconds and the version that was tried."""
    start = time.monotonic()
    return {**work(), "version": version(), "seconds": round(time.monotonic() - start)}


def version() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the table of all finished parts, with the sums of files, kills and tests."""
    lines = ["| tried | how many | held | at | command |", "|---|---|---|---|---|"]
    for name, row in results.items():
        lines.append(
            f"| {name} | {row['tried']:,} {row['unit']} | {row['held']:,} | `{row['version']}` | `{row['how']}` |"
        )
    for unit in dict.fromkeys(row["unit"] for row in results.values()):
        rows = [row for row in results.values() if row["unit"] == unit]
        tried, held = (sum(row[key] for row in rows) for key in ("tried", "held"))
        lines.append(f"| **all {unit}** | **{tried:,}** | **{held:,}** | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600, help="hostile inputs of each kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parts at a time")
    parser.add_argument("--again", nargs="*", default=[], help="parts to try anew")
    parser.add_argument("--only", nargs="*", default=None, help="parts to try, by the beginning of their names")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    wanted = parts(options.count)
    missing = [
        name
        for name in wanted
        if (options.only is None or name.startswith(tuple(options.only)))
        and (name not in results or name in options.again)
    ]
    with ThreadPoolExecutor(options.jobs) as pool:  # each part works in processes of its own
        running = {pool.submit(timed, wanted[name]): name for name in missing}
        for future in as_completed(running):
            name, row = running[future], future.result()
            print(f"{name}: {row['held']} of {row['tried']} held, {row['seconds']} s", flush=True)
            for fault in row.get("faults", []):
                print(f"  {fault}", flush=True)
            results[name] = row
            results = {part: results[part] for part in wanted if part in results}
            keep(results)


def keep(results: dict[str, dict[str, Any]]) -> None:
    """Write the results, and the table into the page."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    head, rest = PAGE.read_text().split(MARKS[0])
    PAGE.write_text(f"{head}{MARKS[0]}\n{table(results)}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    main()
