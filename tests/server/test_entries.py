"""Entries: what is taken, what is refused with which code, and that quotas hold when many ask at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from c2seg.server.errors import Refusal
from helpers.season_make import NOON


def code(call, *arguments, **options):
    with pytest.raises(Refusal) as refused:
        call(*arguments, **options)
    return refused.value.code


def test_an_entry_is_stored_and_queued(season):
    season.open_phase()
    entry = season.submit(season.team())
    assert (entry.status, entry.team, entry.phase, entry.received_at) == ("queued", "Team A", "Development", NOON)
    assert [item.dataset for item in entry.archives] == ["AB", "BW"]
    assert all(season.service.archives.check(item.sha256).stat().st_size == item.size for item in entry.archives)
    assert season.service.queue_position(entry.id) == 1
    assert list(season.service.folder.incoming.iterdir()) == []
    assert season.service.entry(entry.id) == entry


def test_identical_archives_are_refused_in_a_phase_and_taken_of_others(small):
    small.open_phase(days=1)
    small.open_phase("Final", start=NOON + timedelta(days=2))
    team, rival = small.team(), small.team("Team B")
    first = small.submit(team)
    assert code(small.submit, team, method="other name") == "identical"
    assert small.submit(rival).digest == first.digest
    assert small.submit(team, at=NOON + timedelta(days=2)).phase == "Final"
    small.service.withdraw(first.id, actor="test")
    assert code(small.submit, team) == "identical"


def test_quotas_of_the_day_and_of_the_phase(small):
    small.open_phase(daily_quota=2, total_quota=3)
    team = small.team()
    small.service.withdraw(small.submit(team, seed=0).id, actor="test")  # counts all the same
    small.submit(team, seed=1)
    assert code(small.submit, team, seed=2) == "daily_quota"
    tomorrow = NOON + timedelta(days=1)
    assert small.submit(team, seed=2, at=tomorrow).id
    assert code(small.submit, team, seed=3, at=tomorrow) == "total_quota"
    used = small.service.quota(team.id, small.service.challenge(NOON).current.id, tomorrow)
    assert (used.daily_used, used.total_used, used.remaining) == (1, 3, 0)
    assert used.resets_at == tomorrow.replace(hour=0) + timedelta(days=1)


def test_a_quota_holds_when_many_ask_at_once(season):
    season.open_phase(daily_quota=3)
    team = season.team()
    uploads = [season.maker.archives(season.service.folder.incoming, seed=seed) for seed in range(8)]

    def send(archives):
        try:
            return season.send(team, archives).id
        except Refusal as refused:
            return refused.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, uploads))
    assert answers.count("daily_quota") == 5
    assert len({answer for answer in answers if isinstance(answer, int)}) == 3
    assert len(season.service.entries(team.id)) == 3


def test_one_archive_sent_by_many_at_once_is_one_entry(season):
    season.open_phase()
    team = season.team()
    uploads = [season.maker.archives(season.service.folder.incoming) for _ in range(6)]

    def send(archives):
        try:
            return season.send(team, archives).status
        except Refusal as refused:
            return refused.code

    with ThreadPoolExecutor(6) as pool:
        answers = sorted(pool.map(send, uploads))
    assert answers == ["identical"] * 5 + ["queued"]


def test_invalid_entries_count_in_no_quota_up_to_a_limit(small, monkeypatch):
    monkeypatch.setattr("c2seg.server.entries.INVALID_A_DAY", 2)
    small.open_phase(daily_quota=1)
    team = small.team()
    for text in (b"no zip", b"no zip either"):
        archives = small.maker.archives(small.service.folder.incoming)
        archives["AB"].write_bytes(text)
        entry = small.send(team, archives)
        small.score_all()
        entry = small.service.entry(entry.id)
        assert entry.status == "refused"
        assert entry.reason.startswith("AB: this is no zip file")
    assert code(small.submit, team) == "daily_quota"
    assert small.submit(team, at=NOON + timedelta(days=1)).status == "queued"


def test_what_is_refused_before_anything_is_stored(small):
    team = small.team()
    assert code(small.submit, team) == "closed"
    small.open_phase(start=NOON + timedelta(days=1))
    with pytest.raises(Refusal, match="Development opens at 2027-03-02 11:00 UTC"):
        small.submit(team)
    at, incoming = NOON + timedelta(days=1), small.service.folder.incoming
    archives = small.maker.archives(incoming)
    assert code(small.send, team, {"AB": archives["AB"]}, at) == "incomplete"
    assert code(small.send, team, {**archives, "CD": archives["AB"]}, at) == "incomplete"
    assert code(small.send, team, archives, at, "=SUM(A1)") == "invalid"
    assert code(small.send, team, archives, at, "a\0b") == "invalid"
    archives["BW"].write_bytes(b"x" * (small.service.challenge().datasets[1].max_archive_bytes + 1))
    assert code(small.send, team, archives, at) == "too_large"
    for team_id in (99, 0, -1, 2**31, 2**70):
        assert code(small.service.submit, team_id, "unet", archives, actor="test", received_at=at) == "unknown"
    assert list(small.service.archives.digests()) == []
    assert small.service.entries() == ()


def test_a_disqualified_team_and_an_ended_season_take_nothing(small):
    small.open_phase()
    team = small.team()
    small.service.disqualify_team(team.id, "two names", actor="test")
    with pytest.raises(Refusal, match="disqualified: two names"):
        small.submit(team)
    small.service.reinstate_team(team.id, actor="test")
    small.service.set_season(actor="test", closed=True)
    assert code(small.submit, team) == "closed"
    assert small.service.challenge(NOON).current is None
    small.service.set_season(actor="test", closed=False)
    assert small.submit(team).status == "queued"


def test_who_may_withdraw_what(small):
    phase = small.open_phase()
    team, rival = small.team(), small.team("Team B")
    entry, service = small.submit(team), small.service
    assert code(service.withdraw, entry.id, actor="test", team_id=rival.id) == "forbidden"
    # By the clock the phase lies in the future, so that the team may still withdraw.
    assert service.withdraw(entry.id, actor="test", team_id=team.id).status == "withdrawn"
    assert code(service.withdraw, entry.id, actor="test") == "state"
    assert service.queue_position(entry.id) is None
    assert service.reinstate_entry(entry.id, actor="test").status == "queued"
    service.set_phase(phase, actor="test", opens_at=NOON - timedelta(days=3000), closes_at=NOON - timedelta(days=2000))
    assert code(service.withdraw, entry.id, actor="test", team_id=team.id) == "forbidden"
    assert service.withdraw(entry.id, actor="test").status == "withdrawn"
    assert code(service.withdraw, 99, actor="test") == "unknown"


def test_every_act_is_in_the_log(season):
    season.open_phase()
    entry = season.submit(season.team())
    season.score_all()
    season.service.disqualify_entry(entry.id, "copied", actor="organizer Ann")
    lines = season.service.audit()
    assert [line.action for line in lines[::-1]] == [
        "create season", "issue token", "add phase", "create team", "issue token", "entry received", "entry scored",
        "disqualify entry",
    ]  # fmt: skip
    assert (lines[0].actor, lines[0].subject, dict(lines[0].details)) == (
        "organizer Ann",
        "entry 1",
        {"reason": "copied"},
    )
    assert season.service.audit(limit=2, before=lines[1].id) == lines[2:4]
