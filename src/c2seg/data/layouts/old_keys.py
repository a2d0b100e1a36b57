"""Old keys of city.yaml and tiles.yaml (0.1.0). They are read for one release, with a warning."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["with_present_keys"]

_log = logging.getLogger(__name__)


def with_present_keys(content: Any, renamed: Mapping[str, str], where: str) -> Any:
    """Return parsed YAML with old keys replaced by the present ones, and warn of each. ``where`` names their place.

    Content that is not a mapping is returned unchanged: the caller checks it.
    """
    if not isinstance(content, Mapping):
        return content
    for old in content.keys() & renamed.keys():
        _log.warning("%s: the key %s is now %s; the next release does not read the old one", where, old, renamed[old])
    return {renamed.get(key, key): value for key, value in content.items()}
