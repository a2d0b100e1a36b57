"""The participants' kit: what the test set looks like, a reader, a notebook with a baseline, a sample entry, and the images.

It is made from sizes and places of tiles and from unlabeled cities: no function here reads a withheld label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import yaml

from c2seg.challenge.board import Board, check_label
from c2seg.challenge.codabench.notebook import baseline_notebook
from c2seg.challenge.codabench.sample import write_sample
from c2seg.challenge.codabench.zipping import write_zip
from c2seg.challenge.rules import TileSet
from c2seg.data import add_labels, open_city, write_folder
from c2seg.errors import DataError, InputError, unknown_name
from c2seg.outputs import Output, check_outputs, commit, working_folder, write_faults
from c2seg.progress import Progress, no_progress
from c2seg.types import Window

__all__ = ["make_kit"]


def make_kit(
    board: Path,
    out: Path,
    *,
    images: Mapping[str, Path] | None = None,
    training: Mapping[str, Path] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> list[str]:
    """Write the kit of a leaderboard's data sets as a zip; return the names of the files in it.

    ``images``: the city of each data set, whose images are put in without any label, whatever lies beside them. ``training``:
    labeled cities by name, put in with their labels. Raises InputError for an unknown data set, DataError for a training city
    without labels.
    """
    images, training = images or {}, training or {}
    opened = Board(board)
    for name in images:
        if name not in opened.datasets:
            raise InputError(unknown_name("data set", name, opened.datasets))
    output = Output(out, suffixes=(".zip",))
    check_outputs([output], [board, *images.values(), *training.values()], overwrite=overwrite)
    with working_folder(out.parent) as scratch, write_faults(out, scratch), commit(overwrite=overwrite) as done:
        files = _described(opened, scratch, sorted(training))
        cities = [("images", images, False), ("training", training, True)]
        steps = len(images) + len(training)
        for folder, given, is_labeled in cities:
            for name, city in given.items():
                check_label("city", name)
                files |= _city(city, scratch / folder / name, f"{folder}/{name}", is_labeled=is_labeled)
                progress(sum(1 for file in files if file.endswith("city.yaml")), steps)
        write_zip(done.add(output), files)
    return sorted(files)


def _described(board: Board, scratch: Path, training: list[str]) -> dict[str, bytes | str | Path]:
    """Return everything but images: made of the tiles' sizes and places and of the legend."""
    references = {name: board.references(name) for name in board.datasets}
    sets = {name: TileSet(rows.sizes, board.legend.ids) for name, rows in references.items()}
    windows = {name: rows.windows for name, rows in references.items()}
    del references
    (scratch / "sample").mkdir()
    write_sample(scratch / "sample_submission.zip", sets, board.legend, scratch / "sample")
    texts = resources.files("c2seg.challenge.codabench").joinpath("pages")
    return {
        "README.md": texts.joinpath("kit.md").read_text(encoding="utf-8"),
        "reader.py": resources.files("c2seg.challenge.codabench").joinpath("reader.py").read_text(encoding="utf-8"),
        "baseline.ipynb": baseline_notebook(sets, training),
        "datasets.json": _facts(sets, windows),
        "legend.yaml": yaml.safe_dump(board.legend.as_dict(), sort_keys=False, allow_unicode=True),
        "sample_submission.zip": scratch / "sample_submission.zip",
    }


def _facts(sets: Mapping[str, TileSet], windows: Mapping[str, Mapping[int, Window] | None]) -> str:
    """Return ``datasets.json``: class ids, and row, column, height and width of every tile (row and column null if unknown)."""
    facts = {}
    for name, tiles in sets.items():
        places = windows[name] or {}
        facts[name] = {
            "ids": list(tiles.ids),
            "tiles": {
                str(n): [places[n].row if n in places else None, places[n].col if n in places else None, *size]
                for n, size in tiles.sizes.items()
            },
        }
    return json.dumps(facts, indent=1) + "\n"


def _city(path: Path, folder: Path, inside: str, *, is_labeled: bool) -> dict[str, bytes | str | Path]:
    """Write a city as a folder of rasters and return its files by name in the kit. An unlabeled city has no label by type."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    city = open_city(path)
    labeled = add_labels(path, city, None) if is_labeled else None
    if is_labeled and labeled is None:
        raise DataError(f"{path} has no label; a city to train on needs one")
    write_folder(labeled or city, folder)
    return {
        f"{inside}/{file.relative_to(folder).as_posix()}": file for file in sorted(folder.rglob("*")) if file.is_file()
    }
