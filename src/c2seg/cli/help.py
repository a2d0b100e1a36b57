"""What ``--help`` adds to the commands: groups of commands, panels of options, an example of each command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

__all__ = ["COMMAND_GROUPS", "EXAMPLES", "arguments_of", "commands_of", "with_help"]

COMMAND_GROUPS = {
    "Data": ("demo", "simulate", "init", "inspect", "prepare", "convert", "label"),
    "Models and maps": ("recipes", "fit", "predict", "fuse", "package", "export"),
    "How good is a map": ("score", "assess", "sample", "estimate", "certify", "suggest"),
    "Comparisons and challenges": ("report", "benchmark", "submit", "challenge", "serve"),
}

_DATA = "Data"
_OUTPUT = "Output"
_TRAINING = "Training"
_COMPUTING = "Time, memory, devices"
_MESSAGES = "Messages"

# Options that are in no panel are listed first, under "Options"; a command's own entry, such as `predict --confidence`, counts
# before that of all commands.
_PANELS = {
    _DATA: (
        "--source", "--target", "--target-labels", "--label-field", "--label-map", "--city", "--reference", "--against",
        "--legend", "--msi", "--hsi", "--sar", "--dem", "--dem-datum", "--osm", "--like", "--data", "--pair", "--model",
        "--zones", "--zone", "--zone-field", "--confidence", "--runner-up", "--probabilities", "--other", "--board",
        "--source-layout", "--target-layout", "--valid", "--images", "--training", "--submission", "--backdrop",
    ),
    _OUTPUT: (
        "--out", "--overwrite", "--csv", "--html", "--preview", "--picture", "--page", "--no-page", "--title",
        "--palette", "--package", "--vector", "predict --confidence", "predict --runner-up", "predict --probabilities",
        "fuse --probabilities", "--sets", "--kit",
    ),
    _TRAINING: ("--preset", "--set", "--seed", "--seeds", "--no-validation", "--equal-time"),
    _COMPUTING: (
        "--device", "--workers", "--cluster", "--threads", "--jobs", "--memory", "--cache", "--precision", "--compile",
        "--backend", "--resume", "--dry-run",
    ),
    _MESSAGES: ("--json", "--quiet"),
}  # fmt: skip

EXAMPLES = {
    "demo": "c2seg demo --out demo",
    "simulate": "c2seg simulate pair --scale 0.1",
    "init": "c2seg init potsdam",
    "inspect": "c2seg inspect potsdam",
    "prepare": "c2seg prepare potsdam --msi S2A_MSIL2A.SAFE --sar S1A_IW_GRDH.SAFE --dem dem.tif",
    "convert": "c2seg convert potsdam tiles --layout tiles",
    "label": "c2seg label potsdam/label.tif --osm brandenburg.osm.pbf --like potsdam/msi.tif",
    "recipes": "c2seg recipes forest --preset tiny",
    "fit": "c2seg fit forest --source augsburg --target berlin --out run",
    "predict": "c2seg predict run/model.safetensors berlin --out run/maps/berlin.tif",
    "fuse": "c2seg fuse run/maps/berlin.tif run2/maps/berlin.tif run3/maps/berlin.tif --out fused.tif",
    "package": "c2seg package run/maps/berlin.tif --out berlin-package",
    "export": "c2seg export run/model.safetensors model.onnx",
    "score": "c2seg score run/maps/berlin.tif berlin/label.tif",
    "assess": "c2seg assess run/maps/berlin.tif --out risk.tif",
    "sample": "c2seg sample run/maps/berlin.tif points.gpkg --n 400",
    "estimate": "c2seg estimate run/maps/berlin.tif points.csv",
    "certify": "c2seg certify run/maps/berlin.tif points.csv --alpha 0.1",
    "suggest": "c2seg suggest run/maps/berlin.tif next.gpkg --n 20",
    "report": "c2seg report run --city berlin --out run.html",
    "benchmark": "c2seg benchmark --pair augsburg:berlin --recipes forest,unet --out table --dry-run",
    "submit pack": "c2seg submit pack map.tif --out AB.zip --tile-px 128",
    "submit check": "c2seg submit check AB.zip --like C2Seg_AB/test/msi",
    "submit join": "c2seg submit join entry.zip AB=AB.zip BW=BW.zip",
    "challenge init": "c2seg challenge init board.sqlite --reference AB=berlin/label.tif",
    "challenge add": "c2seg challenge add board.sqlite --team ours --submission AB=AB.zip",
    "challenge rank": "c2seg challenge rank board.sqlite --html board.html",
    "challenge draft": "c2seg challenge draft season",
    "challenge kit": "c2seg challenge kit kit.zip --board board.sqlite --images AB=berlin",
    "challenge codabench": "c2seg challenge codabench bundle.zip --board board.sqlite --settings season",
    "serve init": "c2seg serve init season --title 'Cross-city 2026' --reference AB=berlin/label.tif",
    "serve run": "c2seg serve run season --port 8000",
    "serve worker": "c2seg serve worker season",
    "serve season": "c2seg serve season season --title 'Cross-city 2027'",
    "serve add-team": "c2seg serve add-team season ours --contact team@example.org",
    "serve teams": "c2seg serve teams season",
    "serve disqualify-team": "c2seg serve disqualify-team season --team ours --reason 'two accounts'",
    "serve reinstate-team": "c2seg serve reinstate-team season --team ours",
    "serve add-token": "c2seg serve add-token season --team ours",
    "serve add-organizer": "c2seg serve add-organizer season Ada",
    "serve revoke-token": "c2seg serve revoke-token season 3f9a0c",
    "serve tokens": "c2seg serve tokens season",
    "serve add-phase": "c2seg serve add-phase season final --opens 2026-05-01T00:00 --closes 2026-06-01T00:00",
    "serve set-phase": "c2seg serve set-phase season final --closes 2026-06-08T00:00",
    "serve phases": "c2seg serve phases season",
    "serve entries": "c2seg serve entries season --limit 20",
    "serve withdraw": "c2seg serve withdraw season 12",
    "serve disqualify": "c2seg serve disqualify season 12 --reason 'ground truth was used'",
    "serve reinstate": "c2seg serve reinstate season 12",
    "serve requeue": "c2seg serve requeue season 12",
    "serve board": "c2seg serve board season final --csv board.csv",
    "serve audit": "c2seg serve audit season --limit 50",
    "serve backup": "c2seg serve backup season --out backups/monday",
    "serve restore": "c2seg serve restore backups/monday --data season2",
    "serve archive": "c2seg serve archive season --out season.zip",
    "serve upgrade": "c2seg serve upgrade season",
}


def with_help(root: Any) -> Any:
    """Return an application (click's object) whose options are in panels, and whose commands end with an example."""
    for path, command in commands_of(root):
        for parameter in command.params:
            panel = _panel(path, parameter.opts)
            if panel is not None:
                parameter.rich_help_panel = panel
        if path in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[path]}".replace("[", r"\[")
    return root


def commands_of(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield the commands below a group with their paths, such as ``submit pack``; no groups."""
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {path}", leaf) for path, leaf in commands_of(command))


def arguments_of(path: str) -> list[str]:
    """Return the arguments of a command's example, without the names of program and command."""
    return shlex.split(EXAMPLES[path])[1 + len(path.split()) :]


def _panel(path: str, names: list[str]) -> str | None:
    for name in (*(f"{path} {option}" for option in names), *names):
        panel = next((panel for panel, options in _PANELS.items() if name in options), None)
        if panel is not None:
            return panel
    return None
