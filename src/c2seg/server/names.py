"""Names that people give: of teams, methods, phases, data sets."""

from __future__ import annotations

from c2seg.challenge.board import check_label
from c2seg.errors import InputError
from c2seg.server.errors import Refusal

__all__ = ["check_id", "check_name", "check_text", "spelled"]

_LARGEST_ID = 2**31 - 1


def check_name(kind: str, name: str) -> None:
    """Raise Refusal (invalid) for a name that tables and spreadsheets would not show as it is."""
    try:
        check_label(kind, name)
    except InputError as error:
        raise Refusal("invalid", str(error)) from None


def check_text(kind: str, text: str, longest: int = 500) -> str:
    """Return a free text without blanks around. Raises Refusal (invalid) for control characters and overlong ones."""
    text = text.strip()
    if len(text) > longest or not all(character.isprintable() for character in text):
        raise Refusal("invalid", f"the {kind} has at most {longest} characters, in one line")
    return text


def check_id(kind: str, number: int) -> int:
    """Return a number that a row may have. Raises Refusal (unknown) for any other, which databases would choke on."""
    if not 0 < number <= _LARGEST_ID:
        raise Refusal(
            "unknown", f"there is no {kind} {number}" if abs(number) < 1 << 63 else f"there is no such {kind}"
        )
    return number


def spelled(name: str) -> str:
    """Return what two spellings of one name have in common."""
    return " ".join(name.casefold().split())
