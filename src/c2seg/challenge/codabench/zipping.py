"""Archives whose bytes depend on their content alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_zip"]

_TIME = (1980, 1, 1, 0, 0, 0)
_STORED = (".zip", ".whl", ".png", ".tif", ".sqlite")
_BUFFER = 1 << 20


def write_zip(path: Path, files: Mapping[str, bytes | str | Path]) -> None:
    """Write an archive of contents, texts and files by name, in the order of their names. Files are streamed."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            if isinstance(content, Path):
                with content.open("rb") as stream, archive.open(entry, "w", force_zip64=True) as member:
                    while part := stream.read(_BUFFER):
                        member.write(part)
            else:
                archive.writestr(entry, content)
