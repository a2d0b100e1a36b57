"""docs/reproduce.md: its commands run one after the other, with the simulator in the place of the download. Slow."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest

from c2seg.artifacts.benchmark import BenchmarkTable
from c2seg.benchmark.table_one import TABLE_ONE
from c2seg.cli import run

PAGE = Path(__file__).parents[2] / "docs" / "reproduce.md"
# What a test changes: sizes and seeds of the demo, and the processor of this machine.
CHANGED = {"--preset": "demo", "--device": "cpu"}
SHORT = ["--seeds", "1", "--set", "training.iterations=4"]


def commands() -> list[list[str]]:
    """Return the commands of the page's blocks."""
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
    return [shlex.split(line) for line in text.splitlines() if line]


def simulations() -> list[list[str]]:
    """Return the commands that take the place of the download."""
    return [shlex.split(line) for line in PAGE.read_text().splitlines() if line.startswith("    c2seg simulate")]


def shortened(command: list[str]) -> list[str]:
    """Return a command at the sizes of a test."""
    values = [CHANGED.get(before, part) for before, part in zip(["", *command], command, strict=False)]
    benchmark = values[1] == "benchmark"
    return [*values[1:], *(SHORT if benchmark else [])]


def test_the_page_has_at_most_ten_commands():
    programs = [command[0] for command in commands()]
    assert programs[:2] == ["pip", "unzip"]
    assert set(programs[2:]) == {"c2seg"}
    assert len(programs) <= 10


@pytest.mark.slow
def test_the_page_leads_to_table_one(tmp_path, monkeypatch, capsys):
    pytest.importorskip("earthlib")
    monkeypatch.chdir(tmp_path)
    for command in simulations():
        assert run([*command[1:], "-q"]) == 0
    for command in commands()[2:]:
        capsys.readouterr()
        if command[1] == "score":
            (tmp_path / "data/berlin_multimodal.mat").symlink_to(tmp_path / "data/whole/birch_multimodal.mat")
        assert run(shortened(command)) == 0, command
    table = BenchmarkTable.read("tables/benchmark.json")
    assert set(TABLE_ONE) <= {row.label for row in table.ranking}
    assert not table.failed
    for row in table.ranking:
        assert row.datasets["AB"].miou[0] is not None
        assert row.datasets["AB"].mosaic_miou[0] is not None
    lines = list(csv.DictReader(Path("tables/table1.csv").read_text().splitlines()))
    assert [line["rank"] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    assert {line["label"]: line["published_miou"] for line in lines}["unet"] == "0.0965"
    assert BenchmarkTable.read("tables2/benchmark.json").offline
    assert {row.label for row in BenchmarkTable.read("tables3/benchmark.json").offline} == {
        "mrsn-1b", "mrsn-2b", "mrsn-3b", "mrsn"
    }  # fmt: skip
    assert Path("tables/figure6.png").stat().st_size > 1000
