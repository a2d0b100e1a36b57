"""What a download that failed has put in the place of a file: a web page, nothing, a part of an archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["UNFINISHED", "archive_problem", "download_problem"]

UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".aria2", ".!ut", ".filepart")
"""Suffixes that browsers and download tools give to files until these are whole."""

_HEAD_BYTES = 1024
_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body")
_POINTER = b"version https://git-lfs"


def download_problem(path: Path) -> str | None:
    """Return why a file is not what its name says, if a failed download explains it; None otherwise.

    Only the first bytes are read. A file that is damaged further down is not seen.
    """
    if path.suffix.lower() in UNFINISHED:
        return f"{path} is an unfinished download; let it finish, or download it again"
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return None
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return f"{path} is empty; download it again"
    if text.startswith(_PAGE) or (text.startswith(b"<?xml") and b"<html" in text):
        return (
            f"{path} is a web page, not the file: the host answered with a page, such as Google Drive's warning; open the "
            "link in a browser, confirm, and download it again"
        )
    if text.startswith(_POINTER):
        return f"{path} is a pointer of Git LFS, not the file; fetch it with git lfs pull"
    return None


def archive_problem(path: Path) -> str | None:
    """Return why a zip archive cannot be unpacked: a failed download, or one that broke off; None if it can be."""
    if problem := download_problem(path):
        return problem
    try:
        if zipfile.is_zipfile(path):
            return None
        with path.open("rb") as stream:
            begins = stream.read(2) == b"PK"
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    if begins:
        return f"{path} is incomplete: its end, with the list of its files, is missing; download it again"
    return f"{path} is no zip archive; download it again"
