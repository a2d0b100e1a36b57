"""Boards: which entry counts, ties, what is hidden from whom, and tables."""

import csv
import io
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from c2seg.server.errors import Refusal
from c2seg.server.service import open_service
from helpers.season_make import NOON, Season


@pytest.fixture
def scored(maker, confined, tmp_path):
    """Return a season with five scored entries of three teams, and its phase. It is made once, and copied."""
    original = maker.folder / "scored"
    if not original.exists():
        with maker.copy(original) as service:
            score_five(Season(service, maker, confined))
    shutil.copytree(original, tmp_path / "data")
    with open_service(tmp_path / "data") as service:
        yield Season(service, maker, confined), 1, service.entries()[::-1]


def score_five(season):
    season.open_phase()
    ann, bob, cem = season.team("Ann"), season.team("Bob"), season.team("Cem")
    for minute, (team, quality) in enumerate([(ann, 0.9), (ann, 0.6), (bob, 0.8), (cem, 0.9), (cem, 0.7)]):
        season.submit(team, quality, at=NOON + timedelta(minutes=minute))
    season.score_all()


def ranking(board):
    return [(row.rank, row.team, row.entry) for row in board.rows]


def test_the_best_entry_of_a_team_counts_and_ties_go_by_time(scored):
    season, phase, _ = scored
    board = season.service.board(phase)
    assert ranking(board) == [(1, "Ann", 1), (2, "Cem", 4), (3, "Bob", 3)]
    assert board.rows[0].means == board.rows[1].means
    assert board.part == "public"
    assert [row.entry for row in season.service.history(phase).rows] == [1, 2, 3, 4, 5]
    assert {row.rank for row in season.service.history(phase).rows} == {None}


def test_the_last_entry_counts_where_the_season_says_so(scored):
    season, phase, _ = scored
    season.service.set_season(actor="test", counting="last")
    assert ranking(season.service.board(phase)) == [(1, "Bob", 3), (2, "Cem", 5), (3, "Ann", 2)]


def test_what_is_withdrawn_or_disqualified_leaves_the_board(scored):
    season, phase, entries = scored
    season.service.withdraw(entries[0].id, actor="test")
    season.service.disqualify_entry(entries[3].id, "copied", actor="test")
    assert ranking(season.service.board(phase)) == [(1, "Bob", 3), (2, "Cem", 5), (3, "Ann", 2)]
    season.service.disqualify_team(entries[2].team_id, "two names", actor="test")
    assert [row.entry for row in season.service.history(phase, private=True).rows] == [2, 5]
    season.service.reinstate_team(entries[2].team_id, actor="test")
    season.service.reinstate_entry(entries[3].id, actor="test")
    assert ranking(season.service.board(phase)) == [(1, "Cem", 4), (2, "Bob", 3), (3, "Ann", 2)]


def test_hidden_boards_are_for_organizers(scored):
    season, phase, entries = scored
    season.service.set_phase(phase, actor="test", hidden=True)
    assert season.service.board(phase) is None
    assert season.service.history_csv(phase) is None
    assert season.service.entry(entries[0].id).scores is None
    assert season.service.board(phase, private=True, part="private").part == "private"
    season.service.set_phase(phase, actor="test", hidden=False)
    assert season.service.board(phase, part="private").part == "public"


def test_the_embargo_holds_for_private_tiles_only(small):
    season = small
    open_phase = season.open_phase(days=1)
    final = season.open_phase("Final", start=NOON + timedelta(days=2), part="private")
    team = season.team()
    season.submit(team)
    entry = season.submit(team, at=NOON + timedelta(days=2))
    season.score_all()
    season.service.set_season(actor="test", embargo_until=datetime.now(UTC) + timedelta(hours=1))
    assert season.service.board(open_phase).rows
    assert season.service.board(final) is None
    assert season.service.entry(entry.id).scores is None
    assert season.service.board(final, private=True).rows
    season.service.set_season(actor="test", lift_embargo=True)
    assert season.service.board(final).rows


def test_tables(scored):
    season, phase, _ = scored
    rows = list(csv.DictReader(io.StringIO(season.service.board_csv(phase))))
    board = season.service.board(phase)
    assert [row["team"] for row in rows] == ["Ann", "Cem", "Bob"]
    assert [float(row["miou"]) for row in rows] == [row.means["miou"] for row in board.rows]
    assert float(rows[0]["AB miou"]) == board.rows[0].datasets["AB"]["miou"]
    assert len(list(csv.reader(io.StringIO(season.service.history_csv(phase))))) == 6


def test_a_board_in_postgresql_is_the_same(season):
    phase = season.open_phase()
    season.submit(season.team("Ann"), 0.7)
    season.submit(season.team("Bob"), 0.9)
    season.score_all()
    assert ranking(season.service.board(phase)) == [(1, "Bob", 2), (2, "Ann", 1)]


def test_unknown_phases(small):
    for phase in (1, 0, -5, 2**31, 2**80):
        with pytest.raises(Refusal) as refused:
            small.service.board(phase)
        assert refused.value.code == "unknown"
