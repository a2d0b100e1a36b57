"""Pages of organizers: the state of the season, entries, phases, the audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from c2seg.server.errors import Refusal
from c2seg.server.views import Phase
from c2seg.server.web.access import Form, OrganizerVisitor, TheSite, Visitor
from c2seg.server.web.render import page
from c2seg.server.web.site import Site
from c2seg.server.web.team import Posted, see_other

__all__ = ["actor_of", "router"]

router = APIRouter(prefix="/organizer", default_response_class=Response)
Before = Annotated[int | None, Query(ge=1, le=2**31)]
_LINES = 100


@router.get("")
def overview(request: Request, site: TheSite, visitor: OrganizerVisitor) -> Response:
    """What waits, what failed, who works."""
    return page(
        request, visitor, "organizer.html.j2", "Organize", queue=site.service.queue_state(),
        entries=site.service.entries(private=True, limit=10), teams=site.service.teams(),
    )  # fmt: skip


@router.get("/entries")
def entries(request: Request, site: TheSite, visitor: OrganizerVisitor, before: Before = None) -> Response:
    """All entries, the newest first."""
    listed = site.service.entries(private=True, limit=_LINES, before=before)
    return page(request, visitor, "entries.html.j2", "Entries", entries=listed, more=_LINES, before=before)


@router.post("/entries/{entry_id}/{act}")
def act_on_entry(site: TheSite, visitor: OrganizerVisitor, form: Posted, entry_id: int, act: str) -> Response:
    """Disqualify, withdraw, reinstate or score an entry again."""
    actor, core = actor_of(visitor), site.service
    if act == "disqualify":
        core.disqualify_entry(entry_id, _reason(form), actor=actor)
        return see_other(f"/entries/{entry_id}", "disqualified")
    if act == "withdraw":
        core.withdraw(entry_id, actor=actor)
        return see_other(f"/entries/{entry_id}", "withdrawn")
    if act == "reinstate":
        core.reinstate_entry(entry_id, actor=actor)
        return see_other(f"/entries/{entry_id}", "reinstated")
    if act == "requeue":
        core.requeue(entry_id, actor=actor)
        return see_other(f"/entries/{entry_id}", "requeued")
    raise Refusal("unknown", "there is no such act")


@router.get("/phases")
def phases(request: Request, visitor: OrganizerVisitor) -> Response:
    """The phases, and a form for one more."""
    return page(request, visitor, "phases.html.j2", "Phases")


@router.post("/phases")
def add_phase(site: TheSite, visitor: OrganizerVisitor, form: Posted) -> Response:
    """Add a phase."""
    opens_at = _time(form, "opens_at") or datetime.now(UTC)
    values: dict[str, Any] = _quotas(form)
    part = form.text("part")
    if part in ("public", "private", "all"):
        values["part"] = part
    site.service.add_phase(
        form.text("name"), opens_at, _time(form, "closes_at"), actor=actor_of(visitor), hidden=bool(form.text("hidden")),
        late=bool(form.text("late")), **values,
    )  # fmt: skip
    return see_other("/organizer/phases", "saved")


@router.get("/phases/{phase_id}")
def phase_page(request: Request, site: TheSite, visitor: OrganizerVisitor, phase_id: int) -> Response:
    """One phase and its form."""
    phase = _phase(site, phase_id)
    return page(request, visitor, "phase.html.j2", phase.name, phase=phase)


@router.post("/phases/{phase_id}")
def change_phase(site: TheSite, visitor: OrganizerVisitor, form: Posted, phase_id: int) -> Response:
    """Change a phase: all fields, or open, close, show or hide it now."""
    phase, act = _phase(site, phase_id), form.text("act")
    changes: dict[str, Any]
    if act == "open":
        changes = {"opens_at": datetime.now(UTC)}
    elif act == "close":
        changes = {"closes_at": datetime.now(UTC)}
    elif act in ("show", "hide"):
        changes = {"hidden": act == "hide"}
    else:
        changes = {"name": form.text("name"), **_times(form, phase), **_quotas(form)}
    site.service.set_phase(phase_id, actor=actor_of(visitor), **changes)
    return see_other("/organizer/phases", "saved")


@router.get("/season")
def season(request: Request, visitor: OrganizerVisitor) -> Response:
    """Title, counting, embargo and end of the season."""
    return page(request, visitor, "season.html.j2", "Season")


@router.post("/season")
def change_season(site: TheSite, visitor: OrganizerVisitor, form: Posted) -> Response:
    """Change the season, or end it, or open it again."""
    actor, act = actor_of(visitor), form.text("act")
    if act in ("end", "reopen"):
        site.service.set_season(actor=actor, closed=act == "end")
    else:
        embargo, counting = _time(form, "embargo_until"), form.text("counting")
        site.service.set_season(
            actor=actor, title=form.text("title"), counting="last" if counting == "last" else "best",
            embargo_until=embargo, lift_embargo=embargo is None,
        )  # fmt: skip
    return see_other("/organizer/season", "saved")


@router.get("/audit")
def audit(request: Request, site: TheSite, visitor: OrganizerVisitor, before: Before = None) -> Response:
    """Who did what, the newest first."""
    lines = site.service.audit(limit=_LINES, before=before)
    return page(request, visitor, "audit.html.j2", "Audit log", lines=lines, more=_LINES, before=before)


def actor_of(visitor: Visitor) -> str:
    """Return the name of a signed-in organizer in the audit log."""
    if visitor.principal is None:
        raise Refusal("forbidden", "sign in with an organizer's token")
    return visitor.principal.actor


def _phase(site: Site, phase_id: int) -> Phase:
    for phase in site.service.challenge().phases:
        if phase.id == phase_id:
            return phase
    raise Refusal("unknown", "there is no such phase")


def _reason(form: Form) -> str:
    reason = form.text("reason")
    if not reason:
        raise Refusal("invalid", "give a reason; it is shown to the team and stands in the audit log")
    return reason


def _time(form: Form, name: str) -> datetime | None:
    """Return a time in UTC from a field ``datetime-local``, None for an empty one."""
    text = form.text(name)
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("invalid", f"{name}: give a time such as 2026-05-31T12:00, in UTC") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _times(form: Form, phase: Phase) -> dict[str, datetime]:
    """Return the times that differ: the fields show minutes, and an untouched one keeps its seconds."""
    changes = {}
    for name, old in (("opens_at", phase.opens_at), ("closes_at", phase.closes_at)):
        new = _time(form, name)
        if new is not None and (old is None or new != old.replace(second=0, microsecond=0)):
            changes[name] = new
    return changes


def _quotas(form: Form) -> dict[str, int]:
    quotas = {}
    for name in ("daily_quota", "total_quota"):
        text = form.text(name)
        if text and not (text.isascii() and text.isdigit() and len(text) <= 6):
            raise Refusal("invalid", f"{name}: give a whole number of entries")
        if text:
            quotas[name] = int(text)
    return quotas
