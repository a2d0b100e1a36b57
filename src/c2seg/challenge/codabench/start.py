"""The file ``score.py`` of a scoring program: installs the scorer from the wheels beside it, without a network, and runs it.

It is copied as it is and runs where nothing is installed: it needs Python 3.11 with pip, and no other package.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Install into a temporary folder, score, and return the exit code."""
    here = Path(__file__).resolve().parent
    if sys.version_info < (3, 11):  # noqa: UP036  # an image may have any
        sys.stderr.write(f"the scoring program needs Python 3.11, this is {sys.version.split()[0]}: set docker_image\n")
        return 1
    with tempfile.TemporaryDirectory() as packages:
        command = [
            sys.executable, "-m", "pip", "--isolated", "--quiet", "--disable-pip-version-check", "install", "--no-index",
            "--no-cache-dir", "--no-compile", "--root-user-action", "ignore", "--find-links", str(here / "wheels"),
            "--target", packages, "c2seg",
        ]  # fmt: skip
        installed = subprocess.run(command, capture_output=True, text=True)
        if installed.returncode:
            last = [line for line in installed.stderr.splitlines() if line.strip()][-1:]
            version = ".".join(map(str, sys.version_info[:2]))
            sys.stderr.write(f"the scoring program cannot be installed for Python {version}: {' '.join(last)}\n")
            return 1
        return subprocess.run(
            [sys.executable, "-P", "-m", "c2seg.challenge.codabench.scorer", *sys.argv[1:3]],
            env={**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
