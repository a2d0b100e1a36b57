"""Seasons in SQLite and in PostgreSQL; one cluster and one decoder for all tests."""

import pytest

from c2seg.challenge import Decoder
from helpers.postgres import binaries, cluster, new_database
from helpers.season_make import Season, SeasonMaker


@pytest.fixture(scope="session")
def postgres():
    """Return the URL of a cluster, or skip."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Return the URL of an empty database; None: SQLite in the data folder."""
    return None if request.param == "sqlite" else new_database(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def confined():
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="session")
def maker(tmp_path_factory):
    return SeasonMaker(tmp_path_factory.mktemp("seasons"))


@pytest.fixture(params=["sqlite", "postgresql"])
def season(request, maker, confined, tmp_path):
    """Return a season in either database."""
    cluster = None if request.param == "sqlite" else request.getfixturevalue("postgres")
    with maker.copy(tmp_path / "data", cluster) as service:
        yield Season(service, maker, confined)


@pytest.fixture
def small(maker, confined, tmp_path):
    """Return a season in SQLite, for what does not depend on the database."""
    with maker.copy(tmp_path / "data") as service:
        yield Season(service, maker, confined)
