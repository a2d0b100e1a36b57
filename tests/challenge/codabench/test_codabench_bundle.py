"""The bundle: what Codabench demands, which labels each stage holds, and the scores that its program writes."""

import importlib.util
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from c2seg.challenge import Board, Decoder
from c2seg.challenge.codabench import bundle as module
from c2seg.challenge.codabench.bundle import make_bundle
from c2seg.challenge.codabench.columns import columns
from c2seg.challenge.codabench.rules import bundle_faults, check_bundle
from c2seg.challenge.codabench.scorer import main
from c2seg.challenge.codabench.wheels import SCORING_PACKAGES, own_wheel, scoring_requirements
from c2seg.cli import run
from c2seg.errors import DataError, InputError
from helpers import codabench_unpacker
from helpers.codabench_worker import run_scoring


def opened(bundle):
    with zipfile.ZipFile(bundle) as archive:
        return yaml.safe_load(archive.read("competition.yaml")), {n: archive.read(n) for n in archive.namelist()}


def unpacked(data, folder):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder


def scored_here(bundle, stage, entry, root):
    """Run the scorer in this process on what the worker would lay out."""
    content, files = opened(bundle)
    unpacked(files[content["tasks"][stage]["reference_data"]], root / "ref")
    unpacked(Path(entry).read_bytes(), root / "res")
    (root / "res/metadata").write_text("exitCode: null\n")
    return main([str(root), str(root / "output")])


def test_the_competition_is_what_codabench_takes(default_bundle):
    bundle, facts = default_bundle
    check_bundle(bundle)
    content, files = opened(bundle)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    assert [stage["name"] for stage in content["phases"]] == ["Development", "Final"]
    assert [stage["max_submissions"] for stage in content["phases"]] == [60, 2]
    assert [stage["hide_output"] for stage in content["phases"]] == [False, True]
    assert content["docker_image"] == "python:3.12-slim"
    assert content["leaderboards"][0]["submission_rule"] == "Force_Best"
    shown = content["leaderboards"][0]["columns"]
    assert [c["key"] for c in shown if not c["hidden"]][:5] == ["miou", "oa", "kappa", "mf1", "mosaic_miou"]
    assert {c["key"].startswith("final_") for c in shown if c["hidden"]} == {True}
    assert all(c["precision"] == 4 for c in shown)
    page = files["submitting.md"].decode()
    assert '--out "B W.zip" --tile-px 32' in page
    assert "4 Industrial, commercial, transport; 5 " in files["data.md"].decode()
    assert not [name for name in content["pages"] if "$" in files[name["file"]].decode()]
    assert set(facts.public_tiles) == {"AB", "B W"}


def test_each_stage_holds_its_labels_only(default_bundle, season, tmp_path):
    bundle, facts = default_bundle
    content, files = opened(bundle)
    whole = Board(season / "board.sqlite")
    parts = [
        Board(unpacked(files[task["reference_data"]], tmp_path / str(task["index"])) / "reference.sqlite")
        for task in content["tasks"]
    ]
    for name in whole.datasets:
        rows, first, second = (board.references(name) for board in (whole, *parts))
        labels = {n: [r.tile(n).labels for r in (rows, first, second)] for n in rows.sizes}
        assert all(np.array_equal(a, np.maximum(b, c)) for a, b, c in labels.values())
        assert all(not b.any() or not c.any() for _, b, c in labels.values())
        assert sum(b.any() for _, b, _ in labels.values()) <= facts.public_tiles[name] < len(rows.sizes)
        assert any(c.any() for *_, c in labels.values())
    assert parts[0].rows() == []


def test_scores_are_those_of_the_board_and_of_score(changed_bundle, season, tmp_path, capsys):
    bundle, _ = changed_bundle(public_share=1)
    assert scored_here(bundle, 0, season / "entry.zip", tmp_path / "run") == 0
    capsys.readouterr()
    values = json.loads((tmp_path / "run/output/scores.json").read_text())
    with Decoder() as decoder:
        counts = Board(season / "board.sqlite").count_all({n: season / f"{n}.zip" for n in ("AB", "B W")}, decoder)
    found = []
    for name in ("AB", "B W"):
        prediction, reference = season / f"maps/{name}.tif", season / name
        assert run(["score", str(prediction), str(reference), "--json", "-q"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    for metric in ("miou", "oa", "kappa", "mf1"):
        assert values[f"mosaic_{metric}"] == round(np.mean([result[metric] for result in found]), 4)
    assert values["b_w_miou"] == round(found[1]["miou"], 4)  # no tile overlaps another there
    assert counts["AB"].tiles.pixels > counts["AB"].mosaic.pixels
    keys = [c.key for c in columns(["AB", "B W"], with_mosaic=True)]
    assert list(values) == keys
    page = (tmp_path / "run/output/detailed_results.html").read_text()
    assert f"{values['miou']:.4f}" in page


def test_the_finals_page_hides_its_scores(default_bundle, season, tmp_path):
    assert scored_here(default_bundle[0], 1, season / "entry.zip", tmp_path) == 0
    page = (tmp_path / "output/detailed_results.html").read_text()
    values = json.loads((tmp_path / "output/scores.json").read_text())
    assert len(values) == 16
    assert all(key.startswith("final_") for key in values)
    assert not any(f"{value:.4f}" in page for value in values.values())


def test_an_open_final_hides_nothing(changed_bundle, tmp_path):
    content, files = opened(changed_bundle(hidden_final=False)[0])
    assert not any(column["hidden"] for column in content["leaderboards"][0]["columns"])
    assert not any(stage["hide_output"] for stage in content["phases"])
    assert '"is_hidden": false' in (unpacked(files["final_reference.zip"], tmp_path) / "round.json").read_text()


def test_a_refused_entry_says_why_and_has_no_scores(default_bundle, season, tmp_path, capsys):
    bundle, _ = default_bundle
    cut = tmp_path / "cut.zip"
    with zipfile.ZipFile(cut, "w") as archive:
        archive.write(season / "AB.zip", "AB.zip")
        archive.writestr("B W.zip", (season / "B W.zip").read_bytes()[:-30])
    assert scored_here(bundle, 0, cut, tmp_path / "run") == 1
    assert (
        capsys.readouterr().err
        == "refused: B W: this is no zip file, is truncated, or carries a comment; pack it again\n"
    )
    assert "B W: this is no zip file" in (tmp_path / "run/output/detailed_results.html").read_text()
    assert not (tmp_path / "run/output/scores.json").exists()
    (tmp_path / "run/ref/reference.sqlite").write_text("secret labels")
    assert main([str(tmp_path / "run"), str(tmp_path / "run/output")]) == 1
    told = capsys.readouterr().err
    assert "no fault of the entry" in told
    assert "secret" not in told
    assert str(tmp_path) not in told


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.update(version=1), "version must be 2"),
        (lambda c: c.update(image="gone.png"), "the image gone.png is missing"),
        (lambda c: c["pages"][0].update(file="gone.md"), "the page gone.md is missing"),
        (lambda c: c["tasks"][0].update(reference_data="gone.zip"), "reference_data gone.zip is missing"),
        (lambda c: c["tasks"][0].pop("scoring_program"), "has no scoring program"),
        (lambda c: c["tasks"][1].update(scoring_program="starting_kit.zip"), "no archive with a command"),
        (lambda c: c["tasks"][1].update(index=0), "tasks need an index each"),
        (lambda c: c["phases"][0].pop("end"), "must start after the end of Development"),
        (lambda c: c["phases"][1].update(start=c["phases"][0]["end"]), "must start after the end of Development"),
        (lambda c: c["phases"][0].update(tasks=[7]), "has no task, or one that is not there"),
        (lambda c: c["leaderboards"].append(c["leaderboards"][0]), "only the first leaderboard is used"),
        (lambda c: c["leaderboards"][0]["columns"][0].update(key="oa"), "different values of key"),
        (lambda c: c["leaderboards"][0]["columns"][0].update(title="x" * 37), "1 to 36 characters"),
        (lambda c: c["leaderboards"][0]["columns"][0].update(computation="avg"), "stand together"),
        (lambda c: c["leaderboards"][0].update(submission_rule="Best"), "submission_rule Best is unknown"),
    ],
)  # fmt: skip
def test_what_codabench_would_refuse_is_told(default_bundle, tmp_path, change, fault):
    content, files = opened(default_bundle[0])
    change(content)
    path = tmp_path / "changed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files | {"competition.yaml": yaml.safe_dump(content)}).items():
            archive.writestr(name, data)
    assert any(fault in text for text in bundle_faults(path))
    with pytest.raises(DataError, match="Codabench would refuse it"):
        check_bundle(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"python": "3.10"}, "too old"),
        ({"python": "3.11"}, "docker_image has Python 3.12, python says 3.11"),
        ({"docker_image": "Python;rm"}, "no name of an image"),
        ({"final": {"start": "2020-01-01", "entries_per_day": 1, "entries": 1}}, "must start after"),
        ({"terms": "gone.md"}, "gone.md does not exist"),
        ({"terms": "../board.sqlite"}, "outside"),
        ({"quota": 3}, "quota"),
    ],
)  # fmt: skip
def test_wrong_settings(changed_bundle, changes, words):
    with pytest.raises(DataError, match=words):
        changed_bundle(**changes)


def test_an_empty_page_and_a_missing_file_of_settings(season, settings, tmp_path):
    folder = settings()
    (folder / "terms.md").write_text(" \n")
    with pytest.raises(DataError, match=r"terms\.md is empty"):
        make_bundle(season / "board.sqlite", folder, tmp_path / "x.zip")
    (folder / "challenge.yaml").unlink()
    with pytest.raises(DataError, match="challenge draft"):
        make_bundle(season / "board.sqlite", folder, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_scoring_packages_are_some_of_ours_and_the_wheel_is_the_package(tmp_path):
    required = [text for text in scoring_requirements() if ">=" in text]
    assert len(required) == len(SCORING_PACKAGES)  # each is one that c2seg itself requires
    first, second = own_wheel(tmp_path).read_bytes(), own_wheel(tmp_path).read_bytes()
    assert first == second
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert {"c2seg/challenge/codabench/scorer.py", "c2seg/py.typed"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_missing_wheels_are_told(season, settings, tmp_path):
    (tmp_path / "wheels").mkdir()
    with pytest.raises(
        InputError, match=r"cannot get the wheels that scoring needs with Python 3\.12: ERROR.*`wheels`"
    ):
        make_bundle(season / "board.sqlite", settings(), tmp_path / "x.zip", wheels=tmp_path / "wheels")
    assert not list(tmp_path.glob("*x.zip*"))


def test_the_commands_make_a_challenge(season, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "collect_wheels", lambda folder, python, wheels: [own_wheel(folder)])
    settings, kit, bundle = (str(tmp_path / name) for name in ("settings", "kit.zip", "bundle.zip"))
    board = ["--board", str(season / "board.sqlite")]
    assert run(["challenge", "draft", settings]) == 0
    assert run(["challenge", "draft", settings]) == 2
    assert run(["challenge", "kit", kit, *board, "--images", f"AB={season / 'AB'}"]) == 0
    assert run(["challenge", "codabench", bundle, *board, "--settings", settings, "--kit", kit]) == 0
    told = capsys.readouterr().err
    assert "challenge.yaml exists already; give another name or --overwrite" in told
    assert re.search(r"bundle\.zip: [\d,]+ bytes, 1 wheels; AB: \d public, \d private tiles; B W: ", told)
    assert opened(bundle)[1]["starting_kit.zip"] == Path(kit).read_bytes()
    words = [
        "challenge",
        "codabench",
        bundle,
        *board,
        "--settings",
        settings,
        "--kit",
        str(season / "board.sqlite"),
        "--overwrite",
    ]
    assert run(words) == 2
    assert "is no zip file; make it with c2seg challenge kit" in capsys.readouterr().err
    assert not list(tmp_path.glob(".c2seg*"))


@pytest.mark.slow
def test_the_program_scores_where_nothing_is_installed_and_without_a_network(season, settings, tmp_path, capsys):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = settings(python=version, docker_image=f"python:{version}-slim")
    bundle = tmp_path / "bundle.zip"
    try:
        facts = make_bundle(season / "board.sqlite", folder, bundle)
    except InputError as error:
        pytest.skip(str(error))
    assert len(facts.wheels) < 25
    assert not [name for name in facts.wheels if name.startswith(("torch", "scipy", "scikit"))]
    for stage in (0, 1):
        done = run_scoring(bundle, stage, season / "entry.zip", tmp_path / str(stage))
        assert (done.code, done.stderr) == (0, "")
        assert scored_here(bundle, stage, season / "entry.zip", tmp_path / f"here{stage}") == 0
        assert done.scores == json.loads((tmp_path / f"here{stage}/output/scores.json").read_text())
    content, files = opened(bundle)
    (tmp_path / "sample.zip").write_bytes(files[content["solutions"][0]["path"]])
    assert run_scoring(bundle, 0, tmp_path / "sample.zip", tmp_path / "sample").scores["oa"] > 0
    capsys.readouterr()


@pytest.mark.slow
def test_codabenchs_own_code_takes_the_bundle(default_bundle):
    """C2SEG_CODABENCH names a clone of codalab/codabench."""
    clone = os.environ.get("C2SEG_CODABENCH")
    if not clone:
        pytest.skip("C2SEG_CODABENCH names no clone of codalab/codabench")
    for package in ("django", "rest_framework", "drf_writable_nested", "dateutil"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    words = [sys.executable, codabench_unpacker.__file__, clone, str(default_bundle[0])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads(done.stdout)
    content = opened(default_bundle[0])[0]
    assert made["pages"] == [page["title"] for page in content["pages"]]
    assert made["columns"] == [[c["key"], c["hidden"]] for c in content["leaderboards"][0]["columns"]]
    assert [stage[1][:19] for stage in made["stages"]] == [stage["start"] for stage in content["phases"]]
    assert [stage[2:] for stage in made["stages"]] == [[60, False], [2, True]]
