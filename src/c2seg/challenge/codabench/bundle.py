"""Make the bundle: one zip that Codabench's form *Upload a competition* takes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from c2seg.challenge.board import Board
from c2seg.challenge.codabench.columns import FINAL
from c2seg.challenge.codabench.competition import COMPETITION_FILE, KIT, PROGRAM, REFERENCES, SOLUTION, competition
from c2seg.challenge.codabench.draft import filled, page_words
from c2seg.challenge.codabench.kit import make_kit
from c2seg.challenge.codabench.parts import split_board, write_part
from c2seg.challenge.codabench.plan import REFERENCE_FILE, ROUND_FILE, ScoringRound
from c2seg.challenge.codabench.rules import check_bundle
from c2seg.challenge.codabench.settings import CodabenchSettings, read_settings
from c2seg.challenge.codabench.wheels import collect_wheels
from c2seg.challenge.codabench.zipping import write_zip
from c2seg.challenge.split import Part
from c2seg.documents import read_text
from c2seg.errors import DataError
from c2seg.outputs import Output, check_outputs, commit, working_folder, write_faults

__all__ = ["BundleFacts", "make_bundle"]

_COMMAND = {"command": "python3 /app/program/score.py /app/input /app/output"}


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What is in a bundle: wheels by file name, and tiles that each stage scores, by data set."""

    wheels: tuple[str, ...]
    public_tiles: dict[str, int]
    private_tiles: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"wheels": list(self.wheels), "public_tiles": self.public_tiles, "private_tiles": self.private_tiles}


def make_bundle(
    board: Path,
    settings: Path,
    out: Path,
    *,
    wheels: Path | None = None,
    kit: Path | None = None,
    overwrite: bool = False,
) -> BundleFacts:
    """Write the bundle of a leaderboard file with the settings and pages of a folder.

    It holds the ground truth: it is for its owner alone, and is uploaded by the organizer. ``wheels``: a folder to take the
    scorer's packages from, else the package index. ``kit``: the participants' kit (``make_kit``); default: one without images.

    Raises DataError for settings that Codabench would refuse, InputError where wheels or labels of a stage are missing.
    """
    plan, opened = read_settings(settings), Board(board)
    output = Output(out, suffixes=(".zip",))
    check_outputs([output], [board, settings, *(path for path in (wheels, kit) if path)], overwrite=overwrite)
    if kit is not None and not zipfile.is_zipfile(kit):
        raise DataError(f"{kit} is no zip file; make it with c2seg challenge kit")
    parts = split_board(opened, plan.public_share, plan.seed)
    with working_folder(out.parent) as scratch, write_faults(out, scratch):
        program = _program(scratch, plan.python, wheels)
        if kit is None:
            kit = scratch / KIT
            make_kit(board, kit)
        with zipfile.ZipFile(kit) as archive:
            sample = archive.read("sample_submission.zip")
        whole = plan.public_share == 1
        scored: tuple[Part | None, Part | None] = (None, None) if whole else ("public", "private")
        references = [
            _reference(opened, parts, part, scratch / str(number), _round(number, plan))
            for number, part in enumerate(scored)
        ]
        with commit(overwrite=overwrite) as files:
            written = files.add(output, private=True)
            written.touch(mode=0o600)
            write_zip(
                written,
                {
                    COMPETITION_FILE: _as_yaml(competition(plan, opened.datasets, with_mosaic=_with_mosaic(opened))),
                    **_pages(settings, plan, opened),
                    PROGRAM: program,
                    **dict(zip(REFERENCES, references, strict=True)),
                    KIT: kit,
                    SOLUTION: sample,
                },
            )
            check_bundle(written)
        names = tuple(sorted(path.name for path in (scratch / "wheels").glob("*.whl")))
    count = {
        part: {n: sum(p == part for p in of.values()) for n, of in parts.items()} for part in ("public", "private")
    }
    return BundleFacts(names, count["public"], count["public"] if whole else count["private"])


def _program(scratch: Path, python: str, wheels: Path | None) -> Path:
    """Write the scoring program: it is one for both stages."""
    (scratch / "wheels").mkdir()
    start = resources.files("c2seg.challenge.codabench").joinpath("start.py").read_text(encoding="utf-8")
    packages = {f"wheels/{path.name}": path for path in collect_wheels(scratch / "wheels", python, wheels)}
    path = scratch / PROGRAM
    write_zip(path, {"metadata.yaml": _as_yaml(_COMMAND), "score.py": start, **packages})
    return path


def _reference(
    board: Board, parts: dict[str, dict[int, Part]], scored: Part | None, folder: Path, stage: ScoringRound
) -> Path:
    folder.mkdir()
    write_part(board, folder / REFERENCE_FILE, parts, scored)
    archive = folder / "reference.zip"
    write_zip(archive, {ROUND_FILE: stage.as_text(), REFERENCE_FILE: folder / REFERENCE_FILE})
    return archive


def _round(number: int, plan: CodabenchSettings) -> ScoringRound:
    return ScoringRound(prefix=FINAL, is_hidden=plan.hidden_final) if number else ScoringRound()


def _pages(folder: Path, plan: CodabenchSettings, board: Board) -> dict[str, bytes | str | Path]:
    words = page_words(plan, board)
    texts = {
        name: filled(read_text(folder / name), words) for name in (plan.terms, *(page.file for page in plan.pages))
    }
    return {**texts, plan.logo: folder / plan.logo}


def _with_mosaic(board: Board) -> bool:
    return all(board.references(name).windows is not None for name in board.datasets)


def _as_yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
