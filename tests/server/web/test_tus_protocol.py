"""Headers of tus 1.0, and what they may not say."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c2seg.server.web.tus import CONTENT_TYPE, Checksum, TusError, check_version, creation, expires, offset_of


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def status(call, *arguments) -> int:
    with pytest.raises(TusError) as error:
        call(*arguments)
    return error.value.status


def test_creation_reads_length_and_metadata():
    wanted = creation(
        {"upload-length": "100", "upload-metadata": f"dataset {encoded('AB')},filename {encoded('ü.zip')}, flag"}, 100
    )
    assert wanted.length == 100
    assert wanted.metadata == {"dataset": "AB", "filename": "ü.zip", "flag": ""}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 400), ({"upload-defer-length": "1"}, 400), ({"upload-length": "-1"}, 400), ({"upload-length": "1e3"}, 400),
        ({"upload-length": "٣"}, 400), ({"upload-length": "0"}, 400), ({"upload-length": "101"}, 413),
        ({"upload-length": "9" * 400}, 400), ({"upload-length": "1", "upload-metadata": "a !"}, 400),
        ({"upload-length": "1", "upload-metadata": "a YQ==,a YQ=="}, 400),
        ({"upload-length": "1", "upload-metadata": ","}, 400),
        ({"upload-length": "1", "upload-metadata": "a /w=="}, 400),
        ({"upload-length": "1", "upload-metadata": "a" * 5000}, 400),
    ],
)  # fmt: skip
def test_creation_refuses(headers, code):
    assert status(creation, headers, 100) == code


def test_a_piece_names_its_offset_and_type():
    assert offset_of({"content-type": CONTENT_TYPE, "upload-offset": "12"}) == 12
    assert status(offset_of, {"content-type": "text/plain", "upload-offset": "12"}) == 415
    assert status(offset_of, {"content-type": CONTENT_TYPE}) == 400


def test_versions():
    check_version({"tus-resumable": "1.0.0"})
    assert status(check_version, {}) == 412
    assert status(check_version, {"tus-resumable": "0.2.2"}) == 412


def test_checksums():
    digest = hashlib.sha256(b"piece").digest()
    checksum = Checksum.of({"upload-checksum": f"sha256 {base64.b64encode(digest).decode()}"})
    assert checksum is not None
    assert checksum.matches(digest)
    assert not checksum.matches(hashlib.sha256(b"other").digest())
    assert Checksum.of({}) is None
    assert status(Checksum.of, {"upload-checksum": "crc32 YQ=="}) == 400
    assert status(Checksum.of, {"upload-checksum": "sha256 no base64"}) == 400


def test_times_are_those_of_http():
    assert expires(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"


def refusal_of(call, *arguments) -> int | None:
    try:
        call(*arguments)
    except TusError as error:
        return error.status
    return None


@settings(max_examples=50)
@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_readers(length, metadata):
    for call, headers in (
        (lambda h: creation(h, 1000), {"upload-length": length, "upload-metadata": metadata}),
        (Checksum.of, {"upload-checksum": metadata}),
        (offset_of, {"content-type": CONTENT_TYPE, "upload-offset": length}),
    ):
        assert refusal_of(call, headers) in (None, 400, 413)
