"""From uploaded archives to an entry: by a form, or from finished uploads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import BinaryIO

from starlette.datastructures import UploadFile

from c2seg.server.errors import Refusal
from c2seg.server.views import Entry, Principal
from c2seg.server.web.partial import UploadRecord
from c2seg.server.web.site import Site
from c2seg.server.web.tus import TusError

__all__ = ["enter_files", "enter_uploads"]

_CHUNK = 1 << 20


def enter_uploads(site: Site, principal: Principal, method: str, uploads: Mapping[str, str]) -> Entry:
    """Make an entry of a team's finished uploads, by data set. Raises TusError and Refusal; nothing is entered then."""
    team_id = _team(principal)
    records = {name: site.uploads.record(upload, team_id) for name, upload in uploads.items()}
    if len({record.id for record in records.values()}) < len(records):
        raise Refusal("invalid", "one upload cannot be the archive of two data sets")
    for name, record in records.items():
        if record.metadata.get("dataset", name) != name:
            raise Refusal("invalid", f"the upload for {name} was started for another data set")
    return _enter(site, principal, method, records)


def enter_files(site: Site, principal: Principal, method: str, files: Mapping[str, UploadFile]) -> Entry:
    """Make an entry of the files of a form, by data set. Raises TusError and Refusal; nothing remains of them then."""
    team_id = _team(principal)
    site.service.check_may_submit(team_id)
    _check_datasets(site, files)
    records: dict[str, UploadRecord] = {}
    try:
        for name, file in files.items():
            size = file.file.seek(0, 2)
            if not 0 < size <= site.archive_bytes[name]:
                raise Refusal(
                    "too_large", f"{name}: the archive has {size} bytes; 1 to {site.archive_bytes[name]} are allowed"
                )
            records[name] = site.uploads.create(team_id, size, {"dataset": name})
            _fill(site, records[name], file.file)
        return _enter(site, principal, method, records)
    finally:
        for record in records.values():
            site.uploads.remove(record)


def _team(principal: Principal) -> int:
    if principal.team_id is None:
        raise Refusal("forbidden", "only teams submit")
    return principal.team_id


def _check_datasets(site: Site, files: Mapping[str, UploadFile]) -> None:
    missing = [name for name in site.archive_bytes if name not in files]
    if missing:
        raise Refusal("incomplete", f"choose an archive for every data set; {', '.join(missing)} is missing")


def _fill(site: Site, record: UploadRecord, stream: BinaryIO) -> None:
    stream.seek(0)
    with site.uploads.piece(record, 0, None) as piece:
        while data := stream.read(_CHUNK):
            piece.write(data)
        piece.close(whole=True)


def _enter(site: Site, principal: Principal, method: str, records: Mapping[str, UploadRecord]) -> Entry:
    """Uploads that became an entry are forgotten; after a refusal, those whose file is still here remain."""
    with ExitStack() as stack:
        stack.enter_context(site.uploads.hold(*records.values()))
        paths = {name: site.uploads.whole(record) for name, record in records.items()}
        try:
            entry = site.service.submit(_team(principal), method, paths, actor=principal.actor)
        except Refusal:
            for record in records.values():
                with suppress(TusError):
                    site.uploads.whole(record)  # forgets the upload if its file was moved
            raise
        for record in records.values():
            site.uploads.remove(record)
    return entry


def room_for(site: Site, size: int) -> bool:
    """Return whether the disk has room for that many bytes twice, as a form needs on its way."""
    return shutil.disk_usage(site.service.folder.incoming).free > 2 * size + (256 << 20)
