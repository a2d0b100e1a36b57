"""Resumable uploads over HTTP: tus 1.0 under ``/api/v1/uploads``."""

from __future__ import annotations

from functools import partial

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from c2seg.server.errors import Refusal
from c2seg.server.views import Principal
from c2seg.server.web import tus
from c2seg.server.web.access import TeamToken, TheSite
from c2seg.server.web.partial import UploadRecord
from c2seg.server.web.piece import Piece
from c2seg.server.web.site import Site

__all__ = ["UPLOADS", "router"]

UPLOADS = "/api/v1/uploads"
router = APIRouter(default_response_class=Response)
_BUFFER = 1 << 18
_WRITERS = 8
"""Pieces that are written at the same time; others wait, and their senders with them."""


@router.options(UPLOADS)
@router.options(UPLOADS + "/{upload_id}")
def options(site: TheSite) -> Response:
    """What the server can do."""
    return Response(status_code=204, headers=tus.options(site.largest_archive_bytes))


@router.post(UPLOADS)
async def create(request: Request, site: TheSite, principal: TeamToken) -> Response:
    """Start an upload; the body may hold its first piece."""
    record = await to_thread.run_sync(partial(_create, request, site, principal))
    headers = {"Location": f"{UPLOADS}/{record.id}", **_state(record)}
    if request.headers.get("content-type") == tus.CONTENT_TYPE:
        headers["Upload-Offset"] = str(await _receive(request, site, record, 0))
    return Response(status_code=201, headers=headers)


@router.head(UPLOADS + "/{upload_id}")
def head(request: Request, site: TheSite, principal: TeamToken, upload_id: str) -> Response:
    """How much has arrived."""
    tus.check_version(request.headers)
    record = site.uploads.record(upload_id, _team(principal))
    headers = {"Upload-Offset": str(site.uploads.offset(record)), "Upload-Length": str(record.length), **_state(record)}
    return Response(status_code=200, headers=headers)


@router.patch(UPLOADS + "/{upload_id}")
async def patch(request: Request, site: TheSite, principal: TeamToken, upload_id: str) -> Response:
    """Append a piece."""
    tus.check_version(request.headers)
    record = site.uploads.record(upload_id, _team(principal))
    offset = tus.offset_of(request.headers)
    end = await _receive(request, site, record, offset)
    return Response(status_code=204, headers={"Upload-Offset": str(end), **_state(record)})


@router.delete(UPLOADS + "/{upload_id}")
def delete(request: Request, site: TheSite, principal: TeamToken, upload_id: str) -> Response:
    """End an upload, and remove what has arrived."""
    tus.check_version(request.headers)
    record = site.uploads.record(upload_id, _team(principal))
    with site.uploads.hold(record):
        site.uploads.remove(record)
    return Response(status_code=204, headers={"Tus-Resumable": tus.VERSION})


def _create(request: Request, site: Site, principal: Principal) -> UploadRecord:
    tus.check_version(request.headers)
    asked = tus.creation(request.headers, site.largest_archive_bytes)
    site.service.check_may_submit(_team(principal))
    dataset = asked.metadata.get("dataset")
    if dataset is not None and dataset not in site.archive_bytes:
        raise Refusal(
            "incomplete", f"there is no data set {ascii(dataset)[:60]}; they are {', '.join(site.archive_bytes)}"
        )
    if dataset is not None and asked.length > site.archive_bytes[dataset]:
        raise tus.TusError(413, f"Upload-Length: at most {site.archive_bytes[dataset]} bytes are allowed for {dataset}")
    if request.headers.get("content-type") == tus.CONTENT_TYPE:
        tus.Checksum.of(request.headers)
    return site.uploads.create(_team(principal), asked.length, {"dataset": dataset} if dataset is not None else {})


async def _receive(request: Request, site: Site, record: UploadRecord, offset: int) -> int:
    """Write a body to disk and return the new offset. Of one that breaks off, what came counts if it has no checksum."""
    limiter = _limiter(request)
    checksum = tus.Checksum.of(request.headers)
    with site.uploads.piece(record, offset, checksum) as piece:
        whole = False
        try:
            await _copy(request, piece, limiter)
            whole = True
        except ClientDisconnect:
            pass  # nobody hears the answer
        finally:
            # Not interrupted by a cancelled request: the descriptors are closed right after it.
            with CancelScope(shield=True):
                await to_thread.run_sync(partial(piece.close, whole=whole), limiter=limiter)
        return piece.offset


def _limiter(request: Request) -> CapacityLimiter:
    """Return the threads for the disk, apart from those of the database. They belong to the event loop: made on first use."""
    state = request.app.state
    if not hasattr(state, "writers"):
        state.writers = CapacityLimiter(_WRITERS)
    limiter: CapacityLimiter = state.writers
    return limiter


async def _copy(request: Request, piece: Piece, limiter: CapacityLimiter) -> None:
    buffer = bytearray()
    async for data in request.stream():
        buffer += data
        if len(buffer) >= _BUFFER:
            await to_thread.run_sync(piece.write, bytes(buffer), limiter=limiter)
            buffer.clear()
    if buffer:
        await to_thread.run_sync(piece.write, bytes(buffer), limiter=limiter)


def _state(record: UploadRecord) -> dict[str, str]:
    return {"Tus-Resumable": tus.VERSION, "Upload-Expires": tus.expires(record.expires_at), "Cache-Control": "no-store"}


def _team(principal: Principal) -> int:
    if principal.team_id is None:
        raise Refusal("forbidden", "only teams submit")
    return principal.team_id
