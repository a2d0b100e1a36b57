"""Pages: who sees what, forms that only this site can send, headers that allow nothing else, and no label anywhere."""

from __future__ import annotations

import re

import pytest

from c2seg.server.web.headers import POLICY
from c2seg.server.web.texts import TEXTS
from helpers.challenge_site import archives, enter, form_token

PUBLIC = ["/", "/board", "/history", "/rules", "/terms", "/license", "/embargo", "/help", "/login"]
OF_TEAMS = ["/team", "/submit"]
OF_ORGANIZERS = [
    f"/organizer{path}" for path in ("", "/entries", "/teams", "/phases", "/phases/1", "/season", "/audit")
]


@pytest.fixture(scope="module")
def entered(site):
    """Entries of two teams, one of them scored and one refused."""
    assert enter(site.client(site.team("Alpha")), archives(0.3)).status_code == 201
    broken = archives(0.3) | {"AB": b"no zip"}
    assert enter(site.client(site.team("Beta & <Sons>".replace("<", "(").replace(">", ")"))), broken).status_code == 201
    site.score()
    return site


@pytest.mark.parametrize("path", PUBLIC)
def test_public_pages(entered, path):
    answer = entered.client().get(path)
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert 'lang="en"' in answer.text


def test_every_answer_has_the_headers(entered):
    client = entered.client()
    for path in ("/", "/nothing", "/api/v1/challenge", "/api/v1/me", "/board.csv", "/style-0.css", "/team"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
    assert "unsafe" not in POLICY


def test_the_style_sheet_is_there(entered):
    client = entered.client()
    [path] = re.findall(r'href="(/style-[0-9a-f]+\.css)"', client.get("/").text)
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", OF_TEAMS + OF_ORGANIZERS + ["/entries/1"])
def test_others_are_sent_to_the_sign_in(entered, path):
    answer = entered.client().get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")


def test_organizers_pages_do_not_exist_for_teams(entered):
    for path in OF_ORGANIZERS:
        assert (path, entered.as_person(entered.team("Alpha")).get(path).status_code) == (path, 404)
        assert (path, entered.as_person(entered.organizer).get(path).status_code) == (path, 200)


def test_a_team_sees_its_entries_only(entered):
    alpha, beta = entered.as_person(entered.team("Alpha")), entered.as_person(entered.team("Beta & (Sons)"))
    assert re.search(r"0\.\d{4}", alpha.get("/entries/1").text)
    for path in ("/entries/1", "/entries/1/receipt.json", "/entries/99", "/entries/99999999999999999999"):
        assert beta.get(path).status_code == 404
    assert "this is no zip file" in beta.get("/entries/2").text.lower()
    assert "Beta &amp; (Sons)" in beta.get("/team").text
    assert beta.post("/entries/1/withdraw", data={"form_token": form_token(beta.get("/team").text)}).status_code == 404


def test_private_scores_are_for_organizers(entered):
    team, organizer = entered.as_person(entered.team("Alpha")), entered.as_person(entered.organizer)
    assert "private tiles" not in team.get("/entries/1").text
    assert "private tiles" in organizer.get("/entries/1").text
    public = team.get("/board?part=private").text
    assert re.findall(r"0\.\d{4}", public) == re.findall(r"0\.\d{4}", team.get("/board").text)
    assert re.findall(r"0\.\d{4}", public) != re.findall(r"0\.\d{4}", organizer.get("/board?part=private").text)
    assert team.get("/board.csv?part=private").text == team.get("/board.csv").text


def test_receipts_have_digests_and_no_times_of_scoring(entered):
    receipt = entered.as_person(entered.team("Alpha")).get("/entries/1/receipt.json")
    assert set(receipt.json()) == {"id", "team", "phase", "method", "received_at", "digest", "archives"}
    assert all(len(archive["sha256"]) == 64 for archive in receipt.json()["archives"])
    assert "attachment" in receipt.headers["content-disposition"]


def test_signing_in_and_out(entered):
    client = entered.client()
    page = client.get("/login?next=/submit").text
    answer = client.post("/login", data={"token": "wrong", "form_token": form_token(page)})
    assert (answer.status_code, "not valid" in answer.text) == (403, True)
    answer = client.post(
        "/login", data={"token": entered.team("Alpha"), "form_token": form_token(page), "next": "/submit"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/submit")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert entered.team("Alpha") not in cookie
    client.post("/logout", data={"form_token": form_token(client.get("/team").text)})
    assert client.get("/team").status_code == 303


@pytest.mark.parametrize("goal", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "javascript:x"])
def test_nobody_is_sent_to_another_site_after_signing_in(entered, goal):
    client = entered.client()
    page = client.get("/login", params={"next": goal}).text
    answer = client.post("/login", data={"token": entered.team("Alpha"), "form_token": form_token(page), "next": goal})
    assert answer.headers["location"] == "/team"


def test_forms_of_other_sites_are_refused(entered):
    client = entered.as_person(entered.organizer)
    token = form_token(client.get("/organizer/teams").text)
    fields = {"name": "Forged", "contact": ""}
    for headers, data in (
        ({}, fields),
        ({}, {**fields, "form_token": "x"}),
        ({}, {**fields, "form_token": form_token(entered.sign_in(entered.organizer).get("/organizer/teams").text)}),
        ({"Origin": "https://evil.example"}, {**fields, "form_token": token}),
        ({"Origin": "null"}, {**fields, "form_token": token}),
        ({"Sec-Fetch-Site": "cross-site"}, {**fields, "form_token": token}),
        ({"Sec-Fetch-Site": "same-site"}, {**fields, "form_token": token}),
    ):
        assert client.post("/organizer/teams", data=data, headers=headers).status_code == 403
    assert client.post("/organizer/teams", json={**fields, "form_token": token}).status_code == 415
    assert "Forged" not in {team.name for team in entered.service.teams()}
    assert client.post("/organizer/teams", data={**fields, "form_token": token}).status_code == 200


def test_a_revoked_token_ends_its_sessions(entered):
    team, issued = entered.service.create_team("Shortlived", actor="test")
    client = entered.sign_in(issued.text)
    assert client.get("/team").status_code == 200
    entered.service.revoke_token(issued.token.id, actor="test")
    assert client.get("/team").status_code == 303
    assert entered.service.team(team.id).name == "Shortlived"


def test_texts_of_organizers_are_shown_without_their_html(entered):
    folder = entered.service.folder.pages
    folder.mkdir(exist_ok=True)
    (folder / "rules.md").write_text(
        "# Ours\n<script>alert(1)</script> {{ title }} [x](javascript:alert(1)) ![i](http://a/b.png)\n"
    )
    try:
        text = entered.client().get("/rules").text
        assert "<script" not in text
        assert 'href="javascript' not in text
        assert "<img" not in text
        assert "C2Seg test season" in text
        (folder / "rules.md").write_text("{{ 1 / 0 }}")
        assert entered.client().get("/rules").status_code == 500
        assert str(folder) not in entered.client().get("/rules").text
    finally:
        (folder / "rules.md").unlink()
    assert set(TEXTS) == {"about", "rules", "terms", "license", "embargo"}


def test_organizers_run_the_season_by_forms(entered):
    client = entered.as_person(entered.organizer)

    def send(path, page, **fields):
        token = form_token(client.get(page).text)
        return client.post(path, data={**fields, "form_token": token})

    answer = send(
        "/organizer/phases", "/organizer/phases", name="Final", opens_at="2098-01-01T00:00", closes_at="2098-02-01T00:00",
        part="private", hidden="1", daily_quota="2", total_quota="3",
    )  # fmt: skip
    assert answer.status_code == 303
    [phase] = [phase for phase in entered.service.challenge().phases if phase.name == "Final"]
    assert (phase.part, phase.hidden, phase.daily_quota, phase.opens_at.year) == ("private", True, 2, 2098)
    path = f"/organizer/phases/{phase.id}"
    assert send(path, path, act="show").status_code == 303
    assert (
        send(
            path, path, act="save", name="Last", opens_at="2098-01-01T00:00", closes_at="", daily_quota="4"
        ).status_code
        == 303
    )
    assert send(path, path, act="save", name="Last", opens_at="never").status_code == 422
    changed = next(p for p in entered.service.challenge().phases if p.id == phase.id)
    assert (changed.name, changed.hidden, changed.daily_quota, changed.closes_at.year) == ("Last", False, 4, 2098)
    assert send("/organizer/entries/2/disqualify", "/entries/2", reason="").status_code == 422
    assert send("/organizer/entries/2/disqualify", "/entries/2", reason="used labels").status_code == 303
    assert "used labels" in client.get("/entries/2").text.lower()
    assert send("/organizer/entries/2/reinstate", "/entries/2").status_code == 303
    issued = send("/organizer/teams/1/token", "/organizer/teams/1").text
    [text] = re.findall(r'<code id="token">([^<]+)</code>', issued)
    assert entered.service.authenticate(text).team_id == 1
    assert text not in client.get("/organizer/teams/1").text
    assert (
        send(
            "/organizer/season",
            "/organizer/season",
            act="save",
            title="New title",
            counting="last",
            embargo_until="2098-01-01T00:00",
        ).status_code
        == 303
    )
    assert "embargo" in client.get("/").text
    assert entered.service.challenge().season.counting == "last"
    send(
        "/organizer/season",
        "/organizer/season",
        act="save",
        title="C2Seg test season",
        counting="best",
        embargo_until="",
    )
    assert entered.service.challenge().season.embargo_until is None
    assert "disqualify" in client.get("/organizer/audit").text


def test_no_answer_tells_of_the_machine_or_of_the_scoring(entered):
    team, program = entered.as_person(entered.team("Alpha")), entered.client(entered.team("Alpha"))
    pages = [
        team.get(path).text for path in [*PUBLIC, *OF_TEAMS, "/entries/1", "/board.csv", "/history.csv", "/nothing"]
    ]
    answers = [
        program.get(f"/api/v1/{path}").text for path in ("challenge", "board", "history", "me", "entries", "entries/1")
    ]
    for text in [*pages, *answers]:
        assert str(entered.data) not in text
        assert "scored_at" not in text
        assert "worker" not in text
    digits = {len(number) for text in answers for number in re.findall(r'"(?:oa|kappa|mf1|miou)":\d\.(\d+)', text)}
    assert max(digits) <= 4
