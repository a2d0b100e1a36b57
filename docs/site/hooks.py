"""Links of the documents, which GitHub shows as they stand, as links of the site."""

from __future__ import annotations

import re

PAGES = {
    "SECURITY": "security",
    "CONTRIBUTING": "contributing",
    "CHANGELOG": "changelog",
    "CODE_OF_CONDUCT": "conduct",
    "COMPATIBILITY": "compatibility",
    "RELEASING": "releasing",
}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Lead links to documents of the repository's root to their pages; other files of the repository are named only."""
    for root, page in PAGES.items():
        markdown = markdown.replace(f"](../{root}.md", f"]({page}.md")
    return re.sub(r"\[([^\]]+)\]\(\.\./(?!\w+(?:/[\w-]+)*\.(?:md|ipynb)\b)[^)]*\)", r"`\1`", markdown)
