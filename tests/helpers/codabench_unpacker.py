"""Give a bundle to Codabench's own code: its unpacker, and the form of its leaderboard.

    python codabench_unpacker.py CLONE BUNDLE.zip

CLONE is a clone of codalab/codabench. It needs django, djangorestframework, drf-writable-nested and python-dateutil. What would
ask a database or a storage is replaced by nothing; the rules run as they are. Prints stages, pages and columns as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import types
import zipfile
from unittest.mock import MagicMock

import yaml


class Phase:
    """The states of a stage, as the unpacker sets them."""

    PREVIOUS, CURRENT, NEXT = "Previous", "Current", "Next"


STUBS = {
    "competitions.models": {"Phase": Phase, "Submission": MagicMock()},
    "datasets.models": {"Data": MagicMock()},
    "queues.models": {"Queue": MagicMock()},
    "tasks.models": {"Task": MagicMock(), "Solution": MagicMock()},
    "utils": {},
    "utils.storage": {"md5": None},
    "api.serializers.competitions": {"CompetitionSerializer": None},
    "api.serializers.tasks": {
        "TaskSerializer": None, "SolutionSerializer": None, "PhaseTaskInstanceSerializer": MagicMock(),
    },
    "api.serializers.submission_leaderboard": {"SubmissionLeaderBoardSerializer": None},
}  # fmt: skip


def start(clone: str) -> None:
    """Set Django up with a database in memory, and put stubs in place of what stores."""
    sys.path.insert(0, os.path.join(clone, "src", "apps"))
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "leaderboards"], USE_TZ=True, MIGRATION_MODULES={"leaderboards": None},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )  # fmt: skip
    django.setup()
    for name, content in STUBS.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    call_command("migrate", verbosity=0, run_syncdb=True)


def unpacked(bundle: str) -> dict[str, object]:
    """Return what the unpacker makes of a bundle; it raises where it refuses it."""
    from api.serializers.leaderboards import LeaderboardSerializer
    from competitions.unpackers.v2 import V2Unpacker

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(folder)
        with open(os.path.join(folder, "competition.yaml")) as file:
            content = yaml.safe_load(file)
        unpacker = V2Unpacker(competition_yaml=content, temp_directory=folder, creator=MagicMock(id=1))
        unpacker.unpack()
        made = unpacker.competition
        for task in made["tasks"].values():
            assert all(os.path.exists(task[part]["file_path"]) for part in ("scoring_program", "reference_data"))
        form = LeaderboardSerializer(data=made["leaderboards"][0])
        form.is_valid(raise_exception=True)
        columns = [[c.key, c.hidden] for c in form.save().columns.all()]
    stages = [[s["name"], str(s["start"]), s["max_submissions_per_person"], s["hide_output"]] for s in made["phases"]]
    return {"stages": stages, "pages": [page["title"] for page in made["pages"]], "columns": columns}


if __name__ == "__main__":
    start(sys.argv[1])
    sys.stdout.write(json.dumps(unpacked(sys.argv[2])))
