"""Put the archives of an entry's data sets into one, as Codabench takes an entry."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from c2seg.errors import DataError, InputError
from c2seg.outputs import Output, check_outputs, commit

__all__ = ["join_archives"]


def join_archives(archives: Mapping[str, Path], out: Path, *, overwrite: bool = False) -> None:
    """Write one zip that holds ``NAME.zip`` for every data set, stored as they are; equal archives give equal bytes.

    Raises DataError for a file that is no zip file.
    """
    if not archives:
        raise InputError("an entry needs an archive for every data set (NAME=FILE.zip)")
    output = Output(out, suffixes=(".zip",))
    check_outputs([output], list(archives.values()), overwrite=overwrite)
    for path in archives.values():
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise DataError(f"{path} is no zip file; make it with c2seg submit pack")
    with commit(overwrite=overwrite) as files, zipfile.ZipFile(files.add(output), "w") as joined:
        for name, path in archives.items():
            entry = zipfile.ZipInfo(f"{name}.zip", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            joined.writestr(entry, path.read_bytes())
