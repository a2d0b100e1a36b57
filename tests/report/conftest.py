"""The browser that pages are tested in."""

from helpers.browsing import browser

__all__ = ["browser"]
