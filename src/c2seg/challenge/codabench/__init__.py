"""A challenge on Codabench: the bundle that its editor takes, the scoring program inside, and the participants' kit.

What Codabench reads and runs is known from its source of March 2026 (codalab/codabench, commit c7dbc75); ``rules`` holds it.
"""

from __future__ import annotations
