"""What the server refuses, with a code that programs may rely on."""

from __future__ import annotations

from typing import Literal

from c2seg.errors import C2SegError

__all__ = ["Code", "Refusal"]

Code = Literal[
    "closed",  # no phase is open, the phase is not, or the season is over
    "daily_quota",
    "disqualified",
    "forbidden",  # the entry is another team's, or it is too late
    "identical",  # the team has these archives in this phase already
    "incomplete",  # a data set's archive is missing, or one is of no data set
    "invalid",  # a name or value breaks a rule
    "state",  # the entry is in no state that allows it
    "too_large",
    "total_quota",
    "unknown",  # there is no such team, phase, entry or token
]


class Refusal(C2SegError):
    """A request that the rules of the season do not allow. The message is one line, and fit for a participant.

    It never names a path of the server, a label, or anything that depends on one.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
