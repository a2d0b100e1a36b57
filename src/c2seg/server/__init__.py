"""A challenge server: teams, phases, entries and their scores, kept in a data folder. One folder holds one season.

The core (this package) knows neither HTTP nor HTML; ``web`` does. Modules need the extra ``server``.
"""

from __future__ import annotations
