"""Rates: how often an address may ask. Token buckets in memory, bounded in number."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Rates", "address_key"]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    seen_s: float


class Rates:
    """Token buckets by key: ``per_minute`` uses a minute, as many at once after a quiet minute.

    At most ``most_keys`` keys are remembered; the one that was used longest ago is forgotten first. Threads may share it.
    """

    def __init__(
        self, per_minute: int, *, most_keys: int = 50_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute, self._most_keys, self._clock = per_minute, most_keys, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: str) -> int:
        """Return the seconds after which the key may be used once more, 0 if now. Nothing is used up."""
        with self._lock:
            return self._wait_s(self._filled(key))

    def use(self, key: str) -> int:
        """Use the key once. Returns 0, or the seconds to wait if it was used too often (then nothing is used up)."""
        with self._lock:
            bucket = self._filled(key)
            wait = self._wait_s(bucket)
            if not wait:
                bucket.tokens -= 1
            return wait

    def _wait_s(self, bucket: _Bucket) -> int:
        return 0 if bucket.tokens >= 1 else max(1, math.ceil((1 - bucket.tokens) * 60 / self._per_minute))

    def _filled(self, key: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._per_minute, now)
            if len(self._buckets) > self._most_keys:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.tokens = min(self._per_minute, bucket.tokens + (now - bucket.seen_s) * self._per_minute / 60)
            bucket.seen_s = now
        return bucket


def address_key(address: str) -> str:
    """Return what counts as one sender: an IPv4 address, or the /64 network that one customer gets of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
