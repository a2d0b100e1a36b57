"""Unfinished uploads: what was acknowledged survives, what was not checked does not count, and old ones are removed."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from c2seg.server.web import piece as piece_module
from c2seg.server.web.partial import PartialStore
from c2seg.server.web.tus import Checksum, TusError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    return PartialStore(tmp_path / "incoming", expire_s=100, open_uploads=3, clock=clock)


def send(store, record, offset, data, checksum=None, *, whole=True):
    with store.piece(record, offset, checksum) as piece:
        piece.write(data)
        piece.close(whole=whole)


def status(call, *arguments, **options) -> int:
    with pytest.raises(TusError) as error:
        call(*arguments, **options)
    return error.value.status


def again(tmp_path, clock):
    """The store of a server that starts again."""
    return PartialStore(tmp_path / "incoming", expire_s=100, open_uploads=3, clock=clock)


def test_pieces_add_up_over_a_restart(store, tmp_path, clock):
    record = store.create(1, 10, {"dataset": "AB"})
    send(store, record, 0, b"01234")
    later = again(tmp_path, clock)
    same = later.record(record.id, 1)
    assert (same, later.offset(same)) == (record, 5)
    assert status(later.whole, same) == 409
    send(later, same, 5, b"56789")
    assert later.whole(same).read_bytes() == b"0123456789"


def test_offsets_must_fit_and_pieces_must_end(store):
    record = store.create(1, 4, {})
    assert status(send, store, record, 1, b"a") == 409
    assert status(send, store, record, 0, b"abcde") == 413
    assert store.offset(record) == 0


def test_a_wrong_checksum_and_a_part_of_a_checked_piece_do_not_count(store, tmp_path, clock):
    record = store.create(1, 4, {})
    right = Checksum("sha256", hashlib.sha256(b"abcd").digest())
    assert status(send, store, record, 0, b"abcx", right) == 460
    send(store, record, 0, b"ab", right, whole=False)
    assert store.offset(record) == 0
    assert again(tmp_path, clock).offset(record) == 0
    send(store, record, 0, b"abcd", right)
    assert store.whole(record).read_bytes() == b"abcd"


def test_a_part_without_checksum_counts(store):
    record = store.create(1, 4, {})
    send(store, record, 0, b"ab", whole=False)
    assert store.offset(record) == 2


def test_long_pieces_are_made_safe_on_the_way(store, monkeypatch, tmp_path, clock):
    monkeypatch.setattr(piece_module, "_EVERY_BYTES", 8)
    record = store.create(1, 100, {})
    with store.piece(record, 0, None) as piece:
        for _ in range(5):
            piece.write(b"abc")
        assert again(tmp_path, clock).offset(record) == 9  # the process ends here
    assert store.offset(record) == 9


def test_bytes_beyond_the_offset_are_written_over(store):
    record = store.create(1, 6, {})
    with store.piece(record, 0, None) as piece:
        piece.write(b"xxxxxx")  # and never closed
    send(store, record, 0, b"abc")
    send(store, record, 3, b"def")
    assert store.whole(record).read_bytes() == b"abcdef"


def test_one_request_at_a_time(store):
    record = store.create(1, 4, {})
    with store.piece(record, 0, None):
        assert status(send, store, record, 0, b"a") == 423
        answers = []
        thread = threading.Thread(target=lambda: answers.append(status(send, store, record, 0, b"a")))
        thread.start()
        thread.join()
        assert answers == [423]
    send(store, record, 0, b"a")


def test_teams_do_not_see_each_others_uploads(store):
    record = store.create(1, 4, {})
    assert status(store.record, record.id, 2) == 404
    assert status(store.record, "../../etc/passwd", 1) == 404
    assert store.records(2) == []
    assert store.records(1) == [record]


def test_a_team_has_a_bounded_number_of_unfinished_uploads(store):
    for _ in range(3):
        record = store.create(1, 4, {})
    assert status(store.create, 1, 4, {}) == 429
    store.create(2, 4, {})
    store.remove(record)
    store.create(1, 4, {})


def test_many_uploads_start_at_the_same_time(tmp_path):
    store = PartialStore(tmp_path / "incoming", expire_s=100, open_uploads=1)
    with ThreadPoolExecutor(32) as pool:
        records = list(pool.map(lambda team: store.create(team, 10, {}), range(150)))
    assert {store.offset(record) for record in records} == {0}
    assert len(PartialStore(tmp_path / "incoming", expire_s=100, open_uploads=1).records(149)) == 1


def test_a_full_disk_is_said_before_the_upload(store):
    assert status(store.create, 1, 10**15, {}) == 507
    assert store.records(1) == []


def test_old_uploads_are_removed(store, tmp_path, clock):
    record = store.create(1, 4, {})
    old = store.create(1, 4, {})
    clock.now += 101
    assert status(store.record, record.id, 1) == 410
    assert status(store.record, record.id, 1) == 404
    assert store.records(1) == []
    store.sweep()
    assert status(store.record, old.id, 1) == 404
    assert [path.name for path in (tmp_path / "incoming").iterdir() if path.is_file()] == []


def test_files_that_no_record_names_are_swept(store, tmp_path, clock):
    folder = tmp_path / "incoming"
    (folder / "stray.part").write_bytes(b"x")
    (folder / "broken.json").write_text("{")
    again(tmp_path, clock)
    assert [path.name for path in folder.iterdir() if path.is_file()] == []


def test_an_upload_whose_file_became_an_entry_is_gone(store, tmp_path):
    record = store.create(1, 1, {})
    send(store, record, 0, b"a")
    (tmp_path / "incoming" / f"{record.id}.part").unlink()
    assert status(store.whole, record) == 404
    assert store.records(1) == []
