"""Archives on disk, the split of the tiles, seasons that are made whole or not at all."""

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from c2seg.challenge.split import overlapping, split_tiles
from c2seg.errors import C2SegError, DataError, InputError, OutputError
from c2seg.legend import c2seg13
from c2seg.server.archives import Archives
from c2seg.server.creating import SeasonPlan, create_season
from c2seg.server.database import check_url
from c2seg.server.service import open_service
from c2seg.types import Window
from helpers.season_make import write_ids


@pytest.fixture
def store(tmp_path):
    (tmp_path / "archives").mkdir()
    return Archives(tmp_path / "archives")


def upload(tmp_path, content, name="upload"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_equal_contents_are_one_file_for_its_owner(store, tmp_path):
    first = store.adopt(upload(tmp_path, b"abc"))
    assert store.adopt(upload(tmp_path, b"abc")) == first
    assert list(store.digests()) == [first.sha256]
    assert not (tmp_path / "upload").exists()
    assert stat.S_IMODE(store.check(first.sha256).stat().st_mode) == 0o600


def test_one_file_may_stand_for_two_data_sets(store, tmp_path):
    path = upload(tmp_path, b"abc")
    stored = store.adopt_all({"AB": path, "BW": path})
    assert stored["AB"] == stored["BW"]


def test_links_pipes_and_missing_files_are_not_adopted(store, tmp_path):
    (tmp_path / "link").symlink_to(upload(tmp_path, b"abc"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder", "nothing"):
        with pytest.raises(DataError, match=name):
            store.adopt(tmp_path / name)
    assert list(store.digests()) == []


def test_damage_is_noticed_and_names_are_digests(store, tmp_path):
    stored = store.adopt(upload(tmp_path, b"abc"))
    store.path(stored.sha256).write_bytes(b"abd")
    with pytest.raises(DataError, match="was changed"):
        store.check(stored.sha256)
    with pytest.raises(DataError, match="missing"):
        store.check("0" * 64)
    for name in ("../../etc/passwd", "A" * 64, "", "0" * 63):
        with pytest.raises(DataError, match="no SHA-256"):
            store.path(name)


def test_orphans_go_after_a_while(store, tmp_path):
    old, young, used = (store.adopt(upload(tmp_path, text)) for text in (b"old", b"young", b"used"))
    for stored in (old, used):
        os.utime(store.path(stored.sha256), (time.time() - 100, time.time() - 100))
    assert store.remove_orphans({used.sha256}, older_s=50) == 1
    assert sorted(store.digests()) == sorted([young.sha256, used.sha256])


def windows(rows, cols, step, size):
    return {r * cols + c: Window(r * step, c * step, size, size) for r in range(rows) for c in range(cols)}


def test_tiles_that_share_pixels_are_one_group():
    assert overlapping(windows(3, 3, 16, 16)) == [[n] for n in range(9)]
    assert overlapping(windows(3, 3, 15, 16)) == [list(range(9))]
    shifted = {0: Window(0, 0, 16, 16), 1: Window(0, 16, 16, 16), 2: Window(0, 30, 16, 16), 3: Window(40, 0, 16, 16)}
    assert sorted(map(sorted, overlapping(shifted))) == [[0], [1, 2], [3]]


def test_parts_have_their_share_of_every_class():
    rng = np.random.default_rng(0)
    pixels = {n: rng.multinomial(256, rng.dirichlet(np.full(13, 0.3))) for n in range(300)}
    parts = split_tiles(pixels, None, 0.3, np.random.default_rng(1))
    public = sum(pixels[n] for n, part in parts.items() if part == "public")
    share = public / sum(pixels.values())
    assert np.all(np.abs(share - 0.3) < 0.05)
    assert abs(public.sum() / 256 / 300 - 0.3) < 0.02
    assert parts == split_tiles(pixels, None, 0.3, np.random.default_rng(1))
    assert parts != split_tiles(pixels, None, 0.3, np.random.default_rng(2))


def test_splits_that_are_not_possible():
    one = {0: np.array([5, 0]), 1: np.array([0, 0])}
    with pytest.raises(InputError, match="no labeled pixel is"):
        split_tiles(one, None, 0.5, np.random.default_rng(0))
    for share in (0, -1, 1.1, float("nan")):
        with pytest.raises(InputError, match="public_share"):
            split_tiles(one, None, share, np.random.default_rng(0))
    assert split_tiles(one, None, 1, np.random.default_rng(0)) == {0: "public", 1: "public"}


def test_the_data_folder_is_for_its_owner(small):
    for path in [small.service.folder.path, *small.service.folder.path.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert len(small.service.secret()) == 32


def test_a_season_is_made_whole_or_not_at_all(maker, tmp_path, database):
    wrong = dict(maker.references())
    wrong["BW"] = type(wrong["BW"])(write_ids(tmp_path / "wrong.tif", np.full((32, 32), 77, np.uint8)), 16)
    with pytest.raises(DataError, match="77"):
        create_season(tmp_path / "data", SeasonPlan("A", wrong, c2seg13()), database=database)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.tif"]
    create_season(tmp_path / "data", SeasonPlan("A", maker.references(), c2seg13()), database=database)
    with pytest.raises(OutputError, match="exists already"):
        create_season(tmp_path / "data", SeasonPlan("A", maker.references(), c2seg13()), database=database)
    if database:
        with pytest.raises(InputError, match="season already"):
            create_season(tmp_path / "more", SeasonPlan("A", maker.references(), c2seg13()), database=database)
        assert not (tmp_path / "more").exists()


def test_processes_may_start_at_the_same_time(maker, tmp_path, database):
    create_season(tmp_path / "data", SeasonPlan("A", maker.references(), c2seg13()), database=database)

    def start(_):
        with open_service(tmp_path / "data") as service:
            return service.jobs.pending()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(start, range(6))) == [set()] * 6


def test_plans_that_make_no_sense(maker, tmp_path):
    good = {"title": "A", "references": maker.references(), "legend": c2seg13()}
    for values, text in (
        ({"references": {}}, "at least one data set"),
        ({"title": " "}, "title"),
        ({"counting": "first"}, "best or its last"),
        ({"references": {"=A": good["references"]["AB"]}}, "begins with a letter"),
        ({"public_share": 0.0}, "public_share"),
    ):
        with pytest.raises(C2SegError, match=text):
            create_season(tmp_path / "data", SeasonPlan(**(good | values)))
        assert list(tmp_path.iterdir()) == []


def test_what_is_no_season(tmp_path):
    with pytest.raises(DataError, match="holds no season"):
        open_service(tmp_path)


def test_urls_of_databases():
    assert check_url("postgres://u@h/d".replace("postgres:", "postgresql:")) == "postgresql+psycopg://u@h/d"
    for url in ("mysql://h/d", "nonsense", ""):
        with pytest.raises(InputError, match="`database`"):
            check_url(url)


def test_a_database_that_is_away_is_said_without_its_password(small):
    from c2seg.server.database import Database

    database = Database("postgresql+psycopg://u:secretword@127.0.0.1:9/d")
    with pytest.raises(OutputError, match="cannot use the database") as error, database.read():
        pass
    assert "secretword" not in str(error.value)
    database.close()
