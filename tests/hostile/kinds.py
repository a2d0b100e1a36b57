"""The kinds of hostile inputs: which valid files they start from, how these are spoiled, and who opens them."""

from __future__ import annotations

import hashlib
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from c2seg.errors import C2SegError
from hostile import binaries, texts

__all__ = ["KINDS", "Kind", "attempt"]


@dataclass(frozen=True)
class Kind:
    """``prepare`` writes valid files to a folder; ``spoil`` spoils a copy of them; ``use`` opens it as a user would."""

    prepare: Callable[[Path], None]
    spoil: Callable[[Random, Path], None]
    use: Callable[[Path], None]


KINDS: dict[str, Kind] = {
    name: Kind(*functions)
    for name, functions in {
        "recipe": (texts.recipes, texts.spoil_yamls, texts.use_recipes),
        "legend": (texts.legends, texts.spoil_yamls, texts.use_legend),
        "label mapping": (texts.label_maps, texts.spoil_yamls, texts.use_label_map),
        "rule table": (texts.rule_tables, texts.spoil_yamls, texts.use_rules),
        "city.yaml": (texts.folder_city, texts.spoil_yamls, texts.use_city),
        "tiles.yaml": (texts.tile_city, texts.spoil_yamls, texts.use_city),
        "forest": (binaries.forest, binaries.spoil_safetensors, binaries.use_model),
        "network": (binaries.network, binaries.spoil_safetensors, binaries.use_model),
        "ONNX": (binaries.onnx_model, binaries.spoil_onnx, binaries.use_model),
        ".mat classic": (binaries.classic_mat, binaries.spoil_mat, texts.use_city),
        ".mat v7.3": (binaries.hdf5_mat, binaries.spoil_hdf5, texts.use_city),
        "OSM XML": (texts.osm_xml, texts.spoil_osm, texts.use_extract),
        "OSM PBF": (binaries.osm_pbf, binaries.spoil_any, texts.use_extract),
        "run folder": (texts.run_folder, texts.spoil_run, texts.use_run),
        "training state": (binaries.training_state, binaries.spoil_any, binaries.use_state),
        "ledger": (binaries.stopped_map, binaries.spoil_scratch, binaries.use_scratch),
        "raster": (binaries.rasters, binaries.spoil_any, binaries.use_rasters),
    }.items()
}


class _Hang(BaseException):
    """The alarm. No ``except Exception`` may catch it."""


def attempt(
    kind: str,
    seed: int,
    number: int,
    folder: Path,
    *,
    seconds: float = 0,
    show: bool = False,
    prepared: Callable[[], None] = lambda: None,
) -> tuple[str, str]:
    """Make an input of a kind in ``folder``, open it, and return the outcome with details."""
    name = kind.replace(" ", "-").replace(".", "-")
    valid, place = folder / f"valid-{name}", folder / "input"
    if not valid.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        KINDS[kind].prepare(place)
        shutil.copytree(place, valid, symlinks=True)
        KINDS[kind].use(place)  # what is valid opens; and whatever is imported on first use is
        prepared()
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(valid, place, symlinks=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        KINDS[kind].spoil(Random(f"{kind} {seed} {number}"), place)
    before = _listing(folder)
    outcome = _outcome(lambda: KINDS[kind].use(place), seconds, show=show)
    return ("outside", "files beside the input changed") if _listing(folder) != before else outcome


def _outcome(use: Callable[[], None], seconds: float, *, show: bool) -> tuple[str, str]:
    def ring(*_: Any) -> None:
        raise _Hang

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            use()
        return "accepted", ""
    except C2SegError as error:
        return ("refused", str(error)) if str(error).strip() else ("tracebacks", "an error without a message")
    except _Hang:
        return "hangs", f"more than {seconds} s of processor time"
    except MemoryError as error:
        return "blow_ups", repr(error)[:200]
    except BaseException as error:
        if show:
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "tracebacks", f"{error!r:.200} at {Path(last.filename).name}:{last.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _listing(folder: Path) -> str:
    """Return a digest of names and contents of everything in the folder but the input."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0] != "input" and path.is_file():
            digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()
