"""What all requests share: the core, the unfinished uploads, cookies and rates."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from c2seg.server.service import Service
from c2seg.server.web.partial import PartialStore
from c2seg.server.web.rates import Rates, address_key
from c2seg.server.web.sessions import Signer
from c2seg.server.web.settings import WebSettings

__all__ = ["Site", "address_of", "make_site", "site_of"]


@dataclass(frozen=True)
class Site:
    """The state of one server process."""

    service: Service
    settings: WebSettings
    uploads: PartialStore
    signer: Signer
    reads: Rates
    writes: Rates
    logins: Rates
    archive_bytes: dict[str, int] = field(default_factory=dict)
    """The largest valid archive by data set."""

    @property
    def largest_archive_bytes(self) -> int:
        """Of all data sets."""
        return max(self.archive_bytes.values())

    @property
    def cookie_name(self) -> str:
        """The name of the session's cookie; the prefix makes browsers insist on https and on this host."""
        return "__Host-c2seg" if self.settings.secure else "c2seg"


def make_site(service: Service, settings: WebSettings) -> Site:
    """Prepare what requests need. Raises OutputError if the folder of uploads is not writable."""
    limits = settings.limits
    datasets = service.challenge().datasets
    return Site(
        service=service,
        settings=settings,
        uploads=PartialStore(
            service.folder.incoming, expire_s=limits.expire_s, open_uploads=max(limits.open_uploads, len(datasets))
        ),
        signer=Signer(service.secret(), session_s=limits.session_s),
        reads=Rates(limits.pages_per_minute),
        writes=Rates(limits.writes_per_minute),
        logins=Rates(limits.logins_per_minute),
        archive_bytes={dataset.name: dataset.max_archive_bytes for dataset in datasets},
    )


def site_of(connection: HTTPConnection) -> Site:
    """Return the site that a request came to."""
    site: Site = connection.app.state.site
    return site


def address_of(connection: HTTPConnection) -> str:
    """Return what counts as the sender of a request."""
    return address_key(connection.client.host if connection.client else "")
