"""``serve_challenge`` refuses in one line what cannot work, and leaves the process as it was."""

from __future__ import annotations

import socket
import tempfile

import pytest

from c2seg.api.serving import serve_challenge
from c2seg.errors import DataError, InputError, OutputError
from c2seg.outputs import working_in
from c2seg.server.web.texts import TEXTS, read_page, write_pages
from helpers.challenge_site import make_season


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_season(tmp_path_factory.mktemp("season"))[0]


def test_a_port_in_use(data):
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(InputError, match=r"`port=\d+`: Address already"),
    ):
        serve_challenge(data, port=other.getsockname()[1], workers=0)
    assert tempfile.tempdir is None or "incoming" not in tempfile.tempdir


def test_one_server_a_folder(data):
    with working_in(data / "incoming"), pytest.raises(OutputError, match="another process"):
        serve_challenge(data, port=0, workers=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": "k.pem"}, "belong together"), ({"workers": -1}, "at least 0"), ({"public_url": "example.org"}, "public_url"),
        ({"host": "999.1.1.1"}, "cannot listen"), ({"port": 70000}, "cannot listen"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(data, options, words):
    with pytest.raises(InputError, match=words):
        serve_challenge(data, **{"port": 0, "workers": 0, **options})


def test_a_folder_without_a_season(tmp_path):
    with pytest.raises(DataError, match="holds no season"):
        serve_challenge(tmp_path)


def test_pages_are_written_once(tmp_path):
    write_pages(tmp_path)
    (tmp_path / "terms.md").write_text("ours")
    write_pages(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(TEXTS)
    facts = {"title": "T", "datasets": ("AB",), "ranked": "last", "embargo": "2030"}
    assert "ours" in read_page(tmp_path, "terms", facts)
    assert "last entry" in read_page(tmp_path, "rules", facts)
    assert "until 2030" in read_page(tmp_path, "embargo", facts)


def test_pages_that_cannot_be_filled_in(tmp_path):
    for text in ("{{ missing_function() }}", "{% for x %}", "{{ ''.__class__.__mro__ }}"):
        (tmp_path / "rules.md").write_text(text)
        with pytest.raises(DataError, match=r"rules.md cannot be filled in"):
            read_page(tmp_path, "rules", {})
