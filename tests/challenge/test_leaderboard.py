"""The leaderboard: withheld ground truth, exact scores, ranking, history, published rows, tables."""

import csv
import json
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from c2seg.challenge import (
    Board,
    Decoder,
    ReferenceSource,
    SubmissionError,
    count_parts,
    create_board,
    pack_submission,
    reference_tiles,
    tile_windows,
)
from c2seg.cli import run
from c2seg.data.published import CITIES
from c2seg.errors import DataError, InputError
from c2seg.legend import c2seg13
from c2seg.metrics import confusion_counts, scores
from helpers.submission_makers import pack, tiff

IDS = c2seg13().ids


def city(seed, height, width):
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, *range(1, 12), 255], np.uint8), (-(-height // 8), -(-width // 8)))
    return coarse.repeat(8, 0).repeat(8, 1)[:height, :width]


def worsened(reference, seed, share):
    rng = np.random.default_rng(seed)
    guess = rng.integers(1, 14, reference.shape, dtype=np.uint8)
    return np.where((rng.random(reference.shape) < share) | (reference == 255), guess, reference).astype(np.uint8)


@pytest.fixture
def references():
    return {"AB": city(1, 128, 64), "BW": city(2, 96, 96)}  # whole numbers of tiles: no pixel is counted twice


@pytest.fixture
def board(tmp_path, write_map, references):
    sources = {
        name: ReferenceSource(write_map(f"reference/{name}.tif", reference), 32)
        for name, reference in references.items()
    }
    return create_board(tmp_path / "board.sqlite", sources, c2seg13())


@pytest.fixture
def opened(tmp_path, write_map, references):
    sources = {name: ReferenceSource(write_map(f"o/{name}.tif", array), 32) for name, array in references.items()}
    return create_board(tmp_path / "opened.sqlite", sources, c2seg13(), opening=True)


@pytest.fixture
def entry(tmp_path, write_map, references):
    def make(seed, share):
        archives = {}
        for name, reference in references.items():
            source = write_map(f"maps/{name}-{seed}.tif", worsened(reference, seed, share))
            archives[name] = tmp_path / f"{name}-{seed}.zip"
            pack_submission(source, archives[name], c2seg13(), tile_px=32, overwrite=True)
        return archives

    return make


def test_scores_equal_the_metrics_and_means_are_plain(board, entry, references, decoder):
    row = board.add("Team A", "one", entry(5, 0.3), decoder)
    for name, reference in references.items():
        expected = scores(confusion_counts(reference, worsened(reference, 5, 0.3), IDS))
        assert dict(row.datasets[name]) == {m: round(getattr(expected, m), 4) for m in ("oa", "kappa", "mf1", "miou")}
    for metric, value in row.means.items():
        assert value == pytest.approx((row.datasets["AB"][metric] + row.datasets["BW"][metric]) / 2, abs=1e-4)


def test_ranking_ties_history_and_best(board, entry, decoder):
    day = [datetime(2026, 1, d, tzinfo=UTC) for d in range(1, 6)]
    good, bad = entry(5, 0.2), entry(6, 0.6)
    board.add("Late", "x", good, decoder, day[3])
    board.add("Early", "x", good, decoder, day[1])
    board.add("Early", "x", bad, decoder, day[2])
    board.add("Other", "x", bad, decoder, day[0])
    rows = board.rows()
    assert [(r.rank, r.team) for r in rows if not r.published] == [(1, "Early"), (2, "Late"), (3, "Other")]
    assert [r.team for r in board.rows(history=True) if not r.published] == ["Other", "Early", "Early", "Late"]


def test_identical_archives_of_a_team_are_refused(board, entry, decoder):
    first = board.add("Team", "x", entry(5, 0.2), decoder)
    for team, method in (("Team", "x"), (" team".strip(), "y")):
        with pytest.raises(
            SubmissionError, match=rf"has these archives as entry {first.entry} of 2\d{{3}}-.*Z already"
        ):
            board.add(team, method, entry(5, 0.2), decoder)
    other = board.add("Others", "x", entry(5, 0.2), decoder)
    half = board.add("Team", "x", {**entry(5, 0.2), "AB": entry(6, 0.2)["AB"]}, decoder)
    assert [row.entry for row in board.rows(history=True)] == [first.entry, other.entry, half.entry] == [1, 2, 3]


def test_pixels_of_overlapping_tiles_count_once_in_the_mosaic(tmp_path, write_map, decoder, capsys):
    reference, guess = (
        city(1, 80, 70),
        worsened(city(1, 80, 70), 2, 0.4),
    )  # tiles of 32 overlap by 16 rows and 26 columns
    paths = write_map("r.tif", reference), write_map("p.tif", guess)
    board = create_board(tmp_path / "b.sqlite", {"A": ReferenceSource(paths[0], 32)}, c2seg13())
    pack_submission(paths[1], tmp_path / "a.zip", c2seg13(), tile_px=32)
    row = board.add("Team", "x", {"A": tmp_path / "a.zip"}, decoder)
    once = scores(confusion_counts(reference, guess, IDS))
    assert dict(row.mosaic.datasets["A"]) == {m: round(getattr(once, m), 4) for m in ("oa", "kappa", "mf1", "miou")}
    cut = [w.slices for w in tile_windows(80, 70, 32)]
    twice = scores(confusion_counts(np.stack([reference[w] for w in cut]), np.stack([guess[w] for w in cut]), IDS))
    assert row.tiles.datasets["A"]["miou"] == round(twice.miou, 4) != row.mosaic.datasets["A"]["miou"]
    assert run(["score", str(paths[1]), str(paths[0]), "--json", "-q"]) == 0
    assert round(json.loads(capsys.readouterr().out)["miou"], 4) == row.mosaic.means["miou"]


def test_parts_add_to_the_whole(tmp_path, write_map, decoder):
    reference, guess = city(1, 80, 70), worsened(city(1, 80, 70), 2, 0.4)
    board = create_board(tmp_path / "b.sqlite", {"A": ReferenceSource(write_map("r.tif", reference), 32)}, c2seg13())
    pack_submission(write_map("p.tif", guess), tmp_path / "a.zip", c2seg13(), tile_px=32)
    rows, whole = board.references("A"), board.count("A", tmp_path / "a.zip", decoder)
    parts = {number: "odd" if number % 2 else "even" for number in rows.sizes}
    found = count_parts(rows.tile, board.tile_set("A"), rows.windows, parts, tmp_path / "a.zip", decoder)
    assert found["odd"].tiles + found["even"].tiles == whole.tiles
    assert found["odd"].mosaic + found["even"].mosaic == whole.mosaic == confusion_counts(reference, guess, IDS)
    assert 0 < found["odd"].mosaic.pixels < found["odd"].tiles.pixels


@pytest.mark.parametrize("georeferenced", [True, False])
def test_places_of_a_folder_of_tiles(tmp_path, write_map, decoder, georeferenced):
    reference = city(3, 80, 70)
    (tmp_path / "labels").mkdir()
    for number, window in enumerate(tile_windows(80, 70, 32)):
        place = rasterio.Affine(10, 0, 4e5 + 10 * window.col, 0, -10, 5.8e6 - 10 * window.row)
        known = {"crs": "EPSG:32633", "transform": place} if georeferenced else {}
        (tmp_path / f"labels/{number}.tif").write_bytes(tiff(reference[window.slices], **known))
    board = create_board(tmp_path / "b.sqlite", {"A": ReferenceSource(tmp_path / "labels")}, c2seg13())
    guess = worsened(reference, 2, 0.4)
    pack_submission(write_map("p.tif", guess), tmp_path / "a.zip", c2seg13(), tile_px=32)
    row = board.add("Team", "x", {"A": tmp_path / "a.zip"}, decoder)
    once = scores(confusion_counts(reference, guess, IDS)).miou
    assert row.mosaic.means["miou"] == (round(once, 4) if georeferenced else None)


def test_places_of_a_released_citys_tiles(tmp_path):
    tiling = CITIES["Berlin"].tile_grids()[3]  # the second height, numbered along the rows
    reference = np.random.default_rng(0).choice(np.array([0, 1, 3, 10], np.uint8), (tiling.height, tiling.width))
    (tmp_path / "labels").mkdir()
    for number, window in enumerate(tiling.windows()):
        (tmp_path / f"labels/{number}.tif").write_bytes(tiff(reference[window.slices]))
    tiles = list(reference_tiles(ReferenceSource(tmp_path / "labels"), c2seg13()))
    assert [tile.place for tile in tiles] == [(w.row, w.col) for w in tiling.windows()]


def test_a_team_has_a_limit_of_entries_under_every_spelling(tmp_path, references, write_map, entry, decoder):
    sources = {name: ReferenceSource(write_map(f"l/{name}.tif", array), 32) for name, array in references.items()}
    board = create_board(tmp_path / "few.sqlite", sources, c2seg13(), max_entries=2)
    board.add("A Team", "x", entry(5, 0.2), decoder)
    board.add("a team", "y", entry(7, 0.2), decoder)
    with pytest.raises(SubmissionError, match="takes 2 of a team"):
        board.add("A  TEAM", "z", entry(6, 0.2), decoder)
    board.add("B Team", "x", entry(5, 0.2), decoder)
    assert len([row for row in board.rows(history=True) if not row.published]) == 3


def test_published_rows_are_listed_when_asked_for_and_are_the_papers(board, opened):
    assert board.rows() == []
    rows = {r.method.split(" ")[0]: r for r in opened.rows()}
    assert len(rows) == 6
    assert all(r.published and r.rank is None and r.means["kappa"] is None for r in rows.values())
    assert rows["MMGLOTS"].means == {"oa": 0.5043, "kappa": None, "mf1": 0.2835, "miou": 0.1988}
    assert rows["MMGLOTS"].datasets == {}
    for name in ("U-Net", "SegNet", "DeepLabv3+"):  # the paper's averages are plain means
        row = rows[name]
        for metric in ("oa", "mf1", "miou"):
            pair = [row.datasets[d][metric] for d in ("AB", "BW")]
            assert row.means[metric] == pytest.approx(sum(pair) / 2, abs=5.1e-5)
    assert opened.rows()[0].method == "MMGLOTS (winner)"
    assert all(set(row.mosaic.means.values()) == {None} for row in opened.rows())


def test_published_rows_rank_only_on_the_challenges_tiles(tmp_path, write_map):
    one = np.ones((1280, 14 * 128), np.uint8)  # 140 tiles of 128
    other = np.ones((25 * 256, 34 * 256), np.uint8)  # 850 tiles of 256
    sources = {
        "AB": ReferenceSource(write_map("a.tif", one), 128),
        "BW": ReferenceSource(write_map("b.tif", other), 256),
    }
    real = create_board(tmp_path / "real.sqlite", sources, c2seg13(), opening=True)
    assert [r.rank for r in real.rows()] == [1, 2, 3, 4, 5, 6]
    only = create_board(tmp_path / "one.sqlite", {"AB": sources["AB"]}, c2seg13(), opening=True)
    assert [r.rank for r in only.rows()] == [None] * 6


def test_a_bad_entry_leaves_no_trace(board, entry, decoder, files, tmp_path):
    good = entry(5, 0.2)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(good["BW"].read_bytes()[:-100])
    for archives, error, words in (
        ({"AB": good["AB"], "BW": broken}, SubmissionError, "BW: this is no zip file"),
        ({"AB": good["AB"]}, InputError, "BW is missing"),
        ({**good, "XY": broken}, InputError, "unknown data set 'XY'"),
        ({**good, "AB": tmp_path / "gone.zip"}, DataError, "cannot read the submission gone.zip"),
    ):
        with pytest.raises(error, match=words):
            board.add("Team", "x", archives, decoder)
    for team in ("=1+1", "", "a\nb", "x" * 81, "<b>"):
        with pytest.raises(InputError, match="begins with a letter or digit"):
            board.add(team, "x", good, decoder)
    assert board.rows() == []


def test_reference_from_a_folder_of_tiles(tmp_path, write_map, references, decoder):
    reference = references["AB"]
    for number in range(8):
        row, col = number % 4 * 32, number // 4 * 32
        write_map(f"labels/{number}.tif", reference[row : row + 32, col : col + 32])
    board = create_board(tmp_path / "b.sqlite", {"AB": ReferenceSource(tmp_path / "labels")}, c2seg13())
    archive = tmp_path / "s.zip"
    archive.write_bytes(pack({f"{n}_prediction.tif": tiff(np.ones((32, 32), np.uint8)) for n in range(8)}))
    expected = scores(confusion_counts(reference, np.ones_like(reference), IDS))
    assert board.add("Team", "x", {"AB": archive}, decoder).datasets["AB"]["miou"] == round(expected.miou or 0, 4)


def test_the_reference_stays_inside(board, entry, decoder, tmp_path, references):
    board.add("Team", "x", entry(5, 0.2), decoder)
    assert stat.S_IMODE((tmp_path / "board.sqlite").stat().st_mode) == 0o600
    public = json.dumps([r.as_dict() for r in board.rows()])
    assert "labels" not in public
    assert "confusion" not in public
    assert str(tmp_path) not in public


def test_refuses_bad_references_and_other_files(tmp_path, write_map):
    for array, words in (
        (np.full((9, 9), 14, np.uint8), "value 14"),
        (np.zeros((9, 9), np.uint8), "no labeled pixel"),
    ):
        with pytest.raises(DataError, match=words):
            create_board(tmp_path / "b.sqlite", {"AB": ReferenceSource(write_map("t.tif", array), 9)}, c2seg13())
    assert not (tmp_path / "b.sqlite").exists()
    with pytest.raises(InputError, match="at least one data set"):
        create_board(tmp_path / "b.sqlite", {}, c2seg13())
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE x (y)").connection.close()
    (tmp_path / "text").write_text("hello" * 300)
    for name, words in (
        ("other.sqlite", "is not a leaderboard"),
        ("text", "is not a leaderboard"),
        ("gone", "does not exist"),
    ):
        with pytest.raises(DataError, match=words):
            Board(tmp_path / name)


def test_round_trip_on_the_command_line(tmp_path, write_map, references, capsys):
    paths = {name: write_map(f"{name}/label.tif", reference).parent for name, reference in references.items()}
    board = str(tmp_path / "board.sqlite")
    sizes = ["--tile-px", "32", "--tile-px", "BW=48"]
    named = [f"--reference={name}={path}" for name, path in paths.items()]
    assert run(["challenge", "init", board, *named, *sizes, "--opening", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["datasets"] == {"AB": 8, "BW": 4}
    for team, share in (("Alpha", 0.5), ("Beta & Söhne", 0.1)):
        submissions = []
        for name, reference in references.items():
            side = {"AB": "32", "BW": "48"}[name]
            source = str(write_map(f"{team[0]}{name}.tif", worsened(reference, 3, share)))
            archive = str(tmp_path / f"{team[0]}{name}.zip")
            assert run(["submit", "pack", source, "--out", archive, "--tile-px", side]) == 0
            assert f"tiles of {side} x {side} pixels" in capsys.readouterr().err
            assert run(["submit", "check", archive, "--like", source, "--tile-px", side, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["ok"] is True
            submissions.append(f"--submission={name}={archive}")
        assert run(["challenge", "add", board, *submissions, "--team", team, "--json"]) == 0
        added = json.loads(capsys.readouterr().out)
        expected = np.mean([scores(confusion_counts(t, worsened(t, 3, share), IDS)).miou for t in references.values()])
        assert added["miou"] == round(expected, 4)
    table, page = tmp_path / "b.csv", tmp_path / "b.html"
    assert run(["challenge", "rank", board, "--csv", str(table), "--html", str(page), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(r["rank"], r["team"]) for r in rows[:2]] == [(1, "Beta & Söhne"), (2, "Alpha")]
    with table.open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 8
    assert float(lines[0]["BW miou"]) == rows[0]["datasets"]["BW"]["miou"]
    assert float(lines[0]["BW mosaic miou"]) == rows[0]["mosaic"]["datasets"]["BW"]["miou"]
    assert (lines[0]["id"], rows[0]["id"]) == (str(added["id"]), added["id"])
    text = page.read_text(encoding="utf-8")
    assert "Beta &amp; Söhne" in text
    assert "http" not in text.replace("http-equiv", "")
    capsys.readouterr()
    assert run(["challenge", "rank", board, "--history"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == ["tile-counted", "mosaic"]
    assert second.split() == ["rank", "id", "team", "method", *["OA", "Kappa", "mF1", "mIoU"] * 2]
    assert run(["challenge", "rank", board, "--csv", str(table)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["challenge", "init", "b.sqlite", "--reference", "AB"], "give NAME=PATH"),
        (["challenge", "init", "b.sqlite", "--reference", "AB=gone.tif"], "gone.tif does not exist"),
        (["challenge", "init", "b.sqlite", "--reference", "AB=x", "--reference", "AB=y"], "given twice"),
        (["challenge", "init", "b.sqlite", "--reference", "AB=x", "--tile-px", "BW=3"], "--tile-px 'BW=3'"),
        (["challenge", "rank", "gone.sqlite"], "challenge init"),
        (["challenge", "add", "gone.sqlite", "--submission", "AB=x.zip", "--team", "T"], "challenge init"),
        (["submit", "check", "gone.zip", "--like", "gone.tif"], "gone.tif does not exist"),
        (["submit", "pack", "gone.tif", "--out", "x.zip"], "gone.tif does not exist"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not list(Path().glob("*.sqlite"))


def test_two_decoders_do_not_disturb_each_other(board, entry):
    archives = entry(5, 0.2)
    with Decoder() as one, Decoder() as other:
        assert board.add("A", "x", archives, one).means == board.add("B", "x", archives, other).means


def test_round_trip_on_a_simulated_pair(tmp_path, capsys):
    assert run(["simulate", str(tmp_path / "pair"), "--scale", "0.1", "--seed", "1", "-q"]) == 0
    cities = sorted(path.parent for path in (tmp_path / "pair").glob("*/label.tif"))
    names = dict(zip(("AB", "BW"), cities, strict=True))
    board = str(tmp_path / "board.sqlite")
    reference = [f"--reference={name}={path}" for name, path in names.items()]
    assert run(["challenge", "init", board, *reference, "--tile-px", "64", "-q"]) == 0
    submissions = []
    for name, path in names.items():  # the undistorted cover: what a perfect map would show, against noisy labels
        archive = str(tmp_path / f"{name}.zip")
        assert run(["submit", "pack", str(path / "reference.tif"), "--out", archive, "--tile-px", "64", "-q"]) == 0
        assert run(["submit", "check", archive, "--like", str(path), "--tile-px", "64", "-q"]) == 0
        submissions.append(f"--submission={name}={archive}")
    assert run(["challenge", "add", board, *submissions, "--team", "Oracle", "-q"]) == 0
    capsys.readouterr()
    assert run(["challenge", "rank", board, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["rows"][0]
    assert (first["rank"], first["team"]) == (1, "Oracle")
    assert 0.75 < first["oa"] < 0.98
    assert 0.5 < first["miou"] < 0.98
