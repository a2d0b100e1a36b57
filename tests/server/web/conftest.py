"""One site for a module's tests."""

import pytest

from helpers.browsing import browser
from helpers.challenge_site import running_site

__all__ = ["browser"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with running_site(tmp_path_factory.mktemp("site")) as running:
        running.open_phase()
        yield running
