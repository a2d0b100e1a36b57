"""Spoiled requests and archives, a few of each; ``benchmarks/server_mutations.py`` sends thousands."""

from __future__ import annotations

import pytest

from c2seg.server.web.settings import WebLimits, WebSettings
from helpers.challenge_site import OFF, running_site
from hostile.web import archive_campaign, campaign

LIMITS = WebLimits(
    pages_per_minute=OFF.pages_per_minute, writes_per_minute=OFF.writes_per_minute, logins_per_minute=OFF.logins_per_minute,
    header_s=0.3, idle_s=0.3, open_uploads=200,
)  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with running_site(tmp_path_factory.mktemp("hostile"), WebSettings(limits=LIMITS)) as site:
        site.open_phase(daily_quota=5000, total_quota=5000)
        yield site


def test_spoiled_requests_get_an_answer_below_500(target):
    outcome = campaign(target, seed=1, count=50)
    assert outcome.faults == []
    assert len(outcome.statuses) > 6


def test_spoiled_archives_are_refused_or_scored(target):
    outcome = archive_campaign(target, seed=1, count=4)
    assert outcome.faults == []
    assert outcome.statuses["refused"] > 0
