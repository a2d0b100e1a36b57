"""axe, the checker of accessibility, run in the browser of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_RUN = """
const done = arguments[arguments.length - 1];
const said = (n) => (n.any[0] || n.all[0] || n.none[0] || {}).message;
axe.run(document, { resultTypes: ['violations'] }).then(
  (r) => done(r.violations.map((v) => ({
    id: v.id, help: v.help, nodes: v.nodes.slice(0, 5).map((n) => n.target.join(' ') + ': ' + said(n)),
  }))),
  (e) => done([{ id: 'axe', help: String(e), nodes: [] }]),
);
"""


def violations(browser: Any) -> list[dict[str, Any]]:
    """Return what axe finds wrong on the page that is open."""
    package = pytest.importorskip("axe_core_python")
    browser.script((Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    return browser.post("/execute/async", {"script": _RUN, "args": []})
