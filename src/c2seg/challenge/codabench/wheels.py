"""The wheels inside a scoring program: this package as it is, and the few packages that scoring needs."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import c2seg
from c2seg._version import __version__
from c2seg.errors import InputError

__all__ = ["SCORING_PACKAGES", "collect_wheels", "own_wheel", "scoring_requirements"]

SCORING_PACKAGES = ("numpy", "affine", "rasterio", "safetensors", "pydantic", "PyYAML")
"""What reading an archive and counting it import; a small part of what c2seg needs."""
_VERSION = f"{__version__}+scoring"
_GLIBC = range(17, 35)
"""manylinux_2_17 to 2_34: what images of Debian 12 and later run."""
_TIME = (1980, 1, 1, 0, 0, 0)


def scoring_requirements() -> tuple[str, ...]:
    """Return the packages with the bounds that c2seg has for them."""
    try:
        stated = [text for text in metadata.requires("c2seg") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:  # run from a folder of sources
        stated = []
    bounds = {re.match(r"[\w-]+", text)[0].lower(): text for text in stated}  # type: ignore[index]
    return tuple(bounds.get(name.lower(), name) for name in SCORING_PACKAGES)


def collect_wheels(folder: Path, python: str, wheels: Path | None = None) -> list[Path]:
    """Put this package and what it needs for scoring into ``folder``, for a version of Python such as ``3.12`` on Linux x86-64.

    ``wheels``: a folder to take them from; None: the package index that pip is set to. Raises InputError where some cannot be
    had.
    """
    number = "cp" + python.replace(".", "")
    sources = ["--no-index", "--find-links", str(wheels)] if wheels else []
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in reversed(_GLIBC)] + ["manylinux2014_x86_64"]
    command = [
        sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--only-binary=:all:", *sources,
        "--dest", str(folder), "--python-version", python, "--implementation", "cp",
        *(word for abi in (number, "abi3", "none") for word in ("--abi", abi)),
        *(word for platform in platforms for word in ("--platform", platform)), *scoring_requirements(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise InputError(
            f"cannot get the wheels that scoring needs with Python {python}: {reasons[-1][:200]}; "
            "give a folder that has them as `wheels`"
        )
    own_wheel(folder)
    return sorted(folder.glob("*.whl"))


def own_wheel(folder: Path) -> Path:
    """Write the installed package as a wheel that depends on what scoring needs; equal sources give equal bytes."""
    root = Path(c2seg.__file__).parent
    info = f"c2seg-{_VERSION}.dist-info"
    requires = "".join(f"Requires-Dist: {text}\n" for text in scoring_requirements())
    about = "Metadata-Version: 2.1\nName: c2seg\nVersion: " + _VERSION + "\nRequires-Python: >=3.11\n" + requires
    tag = "Wheel-Version: 1.0\nGenerator: c2seg\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path = folder / f"c2seg-{_VERSION}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in (
            *((f"c2seg/{file.relative_to(root).as_posix()}", file.read_bytes()) for file in _sources(root)),
            (f"{info}/METADATA", about.encode()),
            (f"{info}/WHEEL", tag.encode()),
        ):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
            wheel.writestr(_info(name), content)
        wheel.writestr(_info(f"{info}/RECORD"), "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return path


def _sources(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".pyo"}:
            yield path


def _info(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    return entry
