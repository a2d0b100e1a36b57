"""Scores are those of the challenge, each entry is scored once, and what a worker leaves behind is finished by another."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from c2seg.challenge.counting import count_archive
from c2seg.metrics import Confusion, scores
from c2seg.server import scoring
from c2seg.server.errors import Refusal
from c2seg.server.scoring import MAX_CLAIMS, Counted
from c2seg.server.tables import Entry as EntryRow
from c2seg.server.tables import Result
from c2seg.server.worker import run_worker


def results(service, entry_id):
    with service.database.read() as session:
        rows = session.query(Result).filter(Result.entry_id == entry_id).all()
        return [(row.dataset_id, row.part, row.tiles, row.mosaic) for row in rows]


def claim(season, entry_id, worker="w"):
    with season.service.database.write() as session:
        return scoring.claim(session, entry_id, worker, datetime.now(UTC))


def test_scores_are_those_of_the_challenge_on_every_part(season):
    season.open_phase()
    entry = season.submit(season.team())
    season.score_all()
    seen = season.service.entry(entry.id, private=True)
    assert seen.status == "scored"
    worker = season.worker()
    for reference in worker._references:
        sha256 = next(item.sha256 for item in entry.archives if item.dataset == reference.name)
        whole = count_archive(
            reference.tile, reference.tile_set, reference.windows, season.service.archives.path(sha256), season.decoder
        )
        expected = scores(whole.tiles, "challenge")
        shown = seen.others["all"].tiles.datasets[reference.name]
        assert shown == {name: round(getattr(expected, name), 4) for name in ("oa", "kappa", "mf1", "miou")}
        assert seen.others["all"].mosaic.datasets[reference.name]["miou"] == round(
            scores(whole.mosaic, "challenge").miou, 4
        )
    worker.close()
    assert seen.scores == seen.others["public"] != seen.others["private"]


def test_parts_share_no_pixel_and_add_to_the_scene(small):
    small.open_phase()
    entry = small.submit(small.team())
    small.score_all()
    pixels = {}
    for dataset, _, _, mosaic in results(small.service, entry.id):
        pixels[dataset] = pixels.get(dataset, 0) + Confusion.from_dict(json.loads(mosaic)).pixels
    assert list(pixels.values()) == [80 * 70, 48 * 48]


def test_teams_see_scores_of_their_phase_only(small):
    small.open_phase(days=1)
    small.open_phase("Final", start=datetime(2027, 3, 5, 12, tzinfo=UTC), part="private", hidden=True)
    team = small.team()
    first = small.submit(team)
    final = small.submit(team, at=datetime(2027, 3, 5, 12, tzinfo=UTC))
    small.score_all()
    assert small.service.entry(first.id).scores.part == "public"
    assert small.service.entry(first.id).others == {}
    assert small.service.entry(final.id).status == "scored"
    assert small.service.entry(final.id).scores is None
    assert small.service.entry(final.id, private=True).scores.part == "private"


def test_an_entry_is_claimed_by_one_worker_and_scored_once(season):
    season.open_phase()
    entry = season.submit(season.team())
    claimed = claim(season, entry.id)
    assert claim(season, entry.id) is None
    assert season.service.entry(entry.id).status == "scoring"
    assert season.service.queue_position(entry.id) == 1
    with season.service.database.write() as session:
        assert scoring.finish(session, claimed, Counted(refused="AB: no"), "w", datetime.now(UTC))
        assert not scoring.finish(session, claimed, Counted(), "w", datetime.now(UTC))
    assert season.service.entry(entry.id).reason == "AB: no"
    assert claim(season, entry.id) is None
    assert results(season.service, entry.id) == []


def test_a_worker_that_was_thought_dead_cannot_write(season):
    season.open_phase()
    entry = season.submit(season.team())
    slow = claim(season, entry.id, "slow")
    worker = season.worker(stale_s=0)
    worker.tick()  # no worker of that name reports
    assert season.service.entry(entry.id).status == "queued"
    worker.score(entry.id)
    before = results(season.service, entry.id)
    assert len(before) == 4
    with season.service.database.write() as session:
        assert not scoring.finish(session, slow, Counted(refused="late"), "slow", datetime.now(UTC))
    assert season.service.entry(entry.id).status == "scored"
    worker.score(entry.id)  # a job that is there twice
    assert results(season.service, entry.id) == before
    worker.close()


def test_workers_that_report_are_left_in_peace(small):
    small.open_phase()
    entry = small.submit(small.team())
    worker = small.worker()
    worker.tick()
    claim(small, entry.id, worker.name)
    second = small.worker()
    second.tick()
    assert small.service.entry(entry.id).status == "scoring"
    assert len(small.service.queue_state().workers) == 2
    worker.close()  # puts back what it had begun
    assert small.service.entry(entry.id).status == "queued"
    second.close()
    assert small.service.queue_state().workers == ()


def test_an_entry_that_kills_workers_fails_in_the_end(small):
    small.open_phase()
    entry = small.submit(small.team())
    for _ in range(MAX_CLAIMS):
        assert claim(small, entry.id) is not None
        with small.service.database.write() as session:
            scoring.release_stale(session, datetime.now(UTC), 0)
    assert claim(small, entry.id) is None
    assert small.service.entry(entry.id).status == "failed"
    assert small.service.requeue(entry.id, actor="test").status == "queued"
    small.score_all()
    assert small.service.entry(entry.id).status == "scored"
    with pytest.raises(Refusal, match="only a failed one"):
        small.service.requeue(entry.id, actor="test")


def test_an_archive_that_the_store_has_lost_fails_the_entry(small, caplog):
    small.open_phase()
    entry = small.submit(small.team())
    small.service.archives.path(entry.archives[0].sha256).write_bytes(b"something else")
    small.score_all()
    assert small.service.entry(entry.id).status == "failed"
    assert "was changed" in caplog.text
    assert "archives" not in small.service.entry(entry.id).reason


def test_other_trouble_is_tried_again(small, monkeypatch, caplog):
    small.open_phase()
    entry = small.submit(small.team())
    monkeypatch.setattr("c2seg.server.worker.count_entry", lambda *_: 1 / 0)
    small.score_all()
    assert "division by zero" in caplog.text
    assert small.service.entry(entry.id).status == "queued"
    monkeypatch.undo()
    small.score_all()
    assert small.service.entry(entry.id).status == "scored"


def test_withdrawn_entries_are_not_scored(small):
    small.open_phase()
    entry = small.submit(small.team())
    small.service.withdraw(entry.id, actor="test")
    assert claim(small, entry.id) is None
    small.score_all()
    assert results(small.service, entry.id) == []


def test_a_lost_job_is_put_in_again(season):
    season.open_phase()
    entry = season.submit(season.team())
    assert season.service.jobs.pending() == {entry.id}
    season.service.jobs._huey.flush()
    season.service.jobs._huey.storage.close()
    assert season.service.jobs.pending() == set()
    worker = season.worker()
    worker.tick()
    worker.tick()
    assert season.service.jobs.pending() == {entry.id}
    assert season.service.jobs._huey.pending_count() == 1
    season.service.jobs._huey.storage.close()
    worker.close()


def test_jobs_hold_numbers_only(small):
    small.open_phase()
    entry = small.submit(small.team())
    (data,) = small.service.jobs._huey.storage.enqueued_items()
    small.service.jobs._huey.storage.close()
    identity, number = json.loads(bytes(data))
    assert (isinstance(identity, str), number) == (True, entry.id)


def test_a_queue_out_of_order_costs_no_entry(small, caplog):
    small.open_phase()
    small.service.folder.queue.write_bytes(b"no database" * 100)
    for suffix in ("-wal", "-shm"):
        small.service.folder.queue.with_name(f"queue.sqlite{suffix}").unlink(missing_ok=True)
    entry = small.submit(small.team())
    assert entry.status == "queued"
    assert "waits for the next sweep" in caplog.text
    worker = small.worker()
    assert "made anew" in caplog.text
    worker.tick()
    assert worker.jobs.pending() == {entry.id}
    worker.close()


def test_claims_follow_the_clock_of_the_database_row(small):
    small.open_phase()
    entry = small.submit(small.team())
    claim(small, entry.id)
    with small.service.database.read() as session:
        row = session.get(EntryRow, entry.id)
        assert (row.claim, row.worker) == (1, "w")
        assert datetime.now(UTC) - row.claimed_at < timedelta(minutes=5)


@pytest.mark.slow
def test_a_worker_with_its_queue_scores_and_ends(season):
    season.open_phase()
    entry = season.submit(season.team())
    stop = threading.Event()
    options = {"tick_s": 0.1}
    thread = threading.Thread(target=run_worker, args=(season.service.folder.path, stop), kwargs=options)
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while season.service.entry(entry.id).status != "scored":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
    assert season.service.queue_state().workers == ()
    assert season.service.jobs.pending() == set()
