"""Teams, tokens, phases and the season: names, times, and who holds what."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from c2seg.server.database import Database
from c2seg.server.errors import Refusal
from c2seg.server.tables import Token as TokenRow
from c2seg.server.views import Principal
from helpers.season_make import NOON


def test_tokens_name_their_holder_until_they_end(season):
    service = season.service
    team, issued = service.create_team("Team A", "a@example.org", actor="test")
    assert service.authenticate(issued.text) == Principal(issued.token.id, team.id, "Team A")
    assert service.token_valid(issued.token.id).actor == "team Team A"
    renewed = service.rotate_token(issued.token.id, actor="test")
    assert service.authenticate(issued.text) is None
    assert service.token_valid(issued.token.id) is None
    assert service.authenticate(renewed.text).team_id == team.id
    service.revoke_token(renewed.token.id, actor="test")
    assert service.authenticate(renewed.text) is None
    with pytest.raises(Refusal, match="revoked already"):
        service.revoke_token(renewed.token.id, actor="test")
    assert [token.revoked_at is None for token in service.tokens(team.id)] == [False, False]


def test_organizers_and_expiry(small):
    service = small.service
    past = service.issue_organizer_token("Ann", actor="test", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert service.authenticate(past.text) is None
    ann = service.issue_organizer_token("Ann", actor="test")
    principal = service.authenticate(ann.text)
    assert (principal.organizer, principal.team_id, principal.actor) == (True, None, "organizer Ann")


def test_texts_that_are_no_tokens(season):
    service = season.service
    _, issued = service.create_team("Team A", actor="test")
    public, secret = issued.text.split("_", 2)[1:]
    wrong = "A" * 43 if secret[0] != "A" else "B" * 43
    for text in (
        "", "c2seg", f"c2seg_{public}_{wrong}", f"c2seg_{public}_", f"c2seg_{'0' * 16}_{secret}", issued.text + "x",
        issued.text[:-1], "\0", "\ud800", "x" * 65536, f"c2seg_{public}_{secret[:-1]}\n", issued.text.upper(),
        f"c2seg_{public}_{'é' * 43}",
    ):  # fmt: skip
        assert service.authenticate(text) is None
        assert service.token_valid(text) is None
    assert service.authenticate(issued.text) is not None


def test_secrets_are_not_stored(small):
    _, issued = small.service.create_team("Team A", actor="test")
    secret = issued.text.split("_", 2)[2]
    content = b"".join(path.read_bytes() for path in small.service.folder.path.rglob("*") if path.is_file())
    assert secret.encode() not in content
    assert secret not in str(small.service.audit())


def test_comparison_takes_constant_time_functions(small, monkeypatch):
    compared = []
    monkeypatch.setattr(
        "c2seg.server.tokens.hmac.compare_digest", lambda a, b: compared.append((len(a), len(b))) or False
    )
    _, issued = small.service.create_team("Team A", actor="test")
    for text in (issued.text, f"c2seg_{'0' * 16}_{'A' * 43}", "nonsense"):
        assert small.service.authenticate(text) is None
    assert compared == [(32, 32)] * 3


def test_names_of_teams(season):
    service = season.service
    service.create_team("Team A", actor="test")
    for name in ("team  a", "TEAM A", "=cmd", "", "x" * 81, "a\0b", "\ud800", "a\nb", "<b>"):
        with pytest.raises(Refusal) as refused:
            service.create_team(name, actor="test")
        assert refused.value.code == "invalid", name
    for contact in ("a\0b", "\ud800", "x" * 501, "a\nb"):
        with pytest.raises(Refusal, match="contact"):
            service.create_team("Team B", contact, actor="test")
    assert [team.name for team in service.teams()] == ["Team A"]
    with pytest.raises(Refusal, match="needs a reason"):
        service.disqualify_team(service.teams()[0].id, "  ", actor="test")


def test_phases_do_not_overlap(season):
    service = season.service
    first = season.open_phase(days=10)
    for start, days in ((NOON, 1), (NOON - timedelta(days=5), 20), (NOON + timedelta(days=9), 9)):
        with pytest.raises(Refusal, match="same time as phase Development"):
            season.open_phase("Final", days=days, start=start)
    with pytest.raises(Refusal, match="there is a phase Development already"):
        season.open_phase(start=NOON + timedelta(days=20))
    final = season.open_phase("Final", start=NOON + timedelta(days=10, hours=1))
    with pytest.raises(Refusal, match="same time"):
        service.set_phase(first, actor="test", closes_at=NOON + timedelta(days=11))
    moved = service.set_phase(
        final, actor="test", opens_at=NOON + timedelta(days=30), closes_at=NOON + timedelta(days=40)
    )
    assert service.set_phase(first, actor="test", closes_at=NOON + timedelta(days=11)).is_open(
        NOON + timedelta(days=10)
    )
    assert [phase.name for phase in service.challenge().phases] == ["Development", "Final"]
    assert service.challenge(NOON + timedelta(days=31)).current == moved


def test_values_of_phases_that_make_no_sense(small):
    service, later = small.service, NOON + timedelta(days=1)
    for values, text in (
        ({"closes_at": NOON}, "closes before it opens"),
        ({"daily_quota": 0}, "quotas"),
        ({"total_quota": 10**9}, "quotas"),
        ({"name": "<b>"}, "begins with a letter"),
        ({"opens_at": datetime(2027, 3, 1, 12)}, "has no zone"),
    ):
        given = {"name": "One", "opens_at": NOON, "closes_at": later} | values
        with pytest.raises(Refusal, match=text) as refused:
            service.add_phase(given.pop("name"), given.pop("opens_at"), given.pop("closes_at"), actor="test", **given)
        assert refused.value.code == "invalid"
    assert service.challenge().phases == ()
    assert service.add_phase("Endless", NOON, None, actor="test").is_open(NOON + timedelta(days=9999))


def test_a_season_without_a_split_has_no_private_phase(maker, tmp_path):
    with maker.season(tmp_path / "data", public_share=1.0) as service:
        with pytest.raises(Refusal, match="no private tiles"):
            service.add_phase("Final", NOON, None, actor="test", part="private")
        assert service.add_phase("Final", NOON, None, actor="test", part="all").part == "all"


def test_times_keep_their_microseconds(season):
    time = datetime(2027, 3, 1, 12, 30, 45, 123457, tzinfo=UTC)
    assert season.service.add_phase("One", time, None, actor="test").opens_at == time
    assert season.service.challenge().phases[0].opens_at == time


def test_a_write_that_fails_leaves_nothing(season):
    database: Database = season.service.database
    row = {"id": secrets.token_hex(8), "digest": b"x", "team_id": None, "name": "Ann", "created_at": NOON}

    def write_half() -> None:
        with database.write() as session:
            session.add(TokenRow(**row))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    with database.read() as session:
        assert session.get(TokenRow, row["id"]) is None
