"""``competition.yaml``: the challenge in Codabench's language (version 2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from c2seg.challenge.codabench.columns import FINAL, Column, columns
from c2seg.challenge.codabench.settings import CodabenchSettings, Stage
from c2seg.challenge.counting import DIGITS

__all__ = ["COMPETITION_FILE", "KIT", "PROGRAM", "REFERENCES", "SOLUTION", "competition"]

COMPETITION_FILE = "competition.yaml"
PROGRAM = "scoring_program.zip"
REFERENCES = ("development_reference.zip", "final_reference.zip")
KIT = "starting_kit.zip"
SOLUTION = "sample_submission.zip"
_RULES = {"best": "Force_Best", "last": "Force_Last"}
# Parts are archives: Codabench would zip a folder into a place that it shares between challenges.


def competition(settings: CodabenchSettings, datasets: Sequence[str], *, with_mosaic: bool) -> dict[str, Any]:
    """Return the content of ``competition.yaml``.

    Codabench reads the first leaderboard only and uses it in all stages. So the final has columns of its own, which are hidden
    where the organizer wants them hidden.
    """
    stages = ((settings.development, "Development", ""), (settings.final, "Final", FINAL))
    optional = {name: getattr(settings, name) for name in ("contact_email", "reward", "queue")}
    shown = columns(datasets, with_mosaic=with_mosaic)
    final = columns(datasets, with_mosaic=with_mosaic, prefix=FINAL)
    return {
        "version": 2,
        "title": settings.title,
        "description": settings.description,
        "image": settings.logo,
        "terms": settings.terms,
        "docker_image": settings.docker_image,
        "registration_auto_approve": not settings.approve_participants,
        "enable_detailed_results": True,
        "show_detailed_results_in_submission_panel": True,
        "show_detailed_results_in_leaderboard": False,
        "make_programs_available": False,
        "make_input_data_available": False,
        "can_participants_make_submissions_public": False,
        **{name: value for name, value in optional.items() if value},
        "pages": [{"title": page.title, "file": page.file} for page in settings.pages],
        "tasks": [_task(number, name, settings.public_share) for number, (_, name, _) in enumerate(stages)],
        "solutions": [{"index": 0, "name": "Sample submission", "path": SOLUTION, "tasks": [0, 1]}],
        "phases": [_stage(n, stage, name, settings) for n, (stage, name, _) in enumerate(stages)],
        "leaderboards": [
            {
                "title": "Leaderboard",
                "key": "main",
                "submission_rule": _RULES[settings.counts],
                "hidden": False,
                "columns": [
                    _column(n, column, is_hidden=n >= len(shown) and settings.hidden_final)
                    for n, column in enumerate((*shown, *final))
                ],
            }
        ],
    }


def _task(number: int, name: str, public_share: float) -> dict[str, Any]:
    part = "all tiles" if public_share == 1 else ("the public tiles", "the private tiles")[number]
    return {
        "index": number, "name": name, "description": f"Scores {part} of the test set.",
        "scoring_program": PROGRAM, "reference_data": REFERENCES[number],
    }  # fmt: skip


def _stage(number: int, stage: Stage, name: str, settings: CodabenchSettings) -> dict[str, Any]:
    is_hidden = number == 1 and settings.hidden_final
    return {
        "index": number,
        "name": name,
        "description": f"Up to {stage.entries_per_day} a day and {stage.entries} entries in all.",
        "start": _time(stage.start),
        **({"end": _time(stage.end)} if stage.end else {}),
        "max_submissions_per_day": stage.entries_per_day,
        "max_submissions": stage.entries,
        "execution_time_limit": settings.time_limit_s,
        "accepts_only_result_submissions": True,
        "hide_output": is_hidden,
        "hide_score_output": is_hidden,
        "starting_kit": KIT,
        "tasks": [number],
    }


def _column(number: int, column: Column, *, is_hidden: bool) -> dict[str, Any]:
    return {
        "title": column.title, "key": column.key, "index": number, "sorting": "desc", "precision": DIGITS,
        "hidden": is_hidden,
    }  # fmt: skip


def _time(value: datetime) -> str:
    """Return a time as text: Codabench cuts the hours off what YAML reads as a time."""
    return value.strftime("%Y-%m-%d %H:%M:%S")
