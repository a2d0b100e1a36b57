"""Make the files of a released version that later versions must go on opening, with that version's own commands.

    git worktree add --detach /tmp/released 938abed          # the commit of 0.1.0
    PYTHONPATH=/tmp/released/src .venv/bin/python tests/released/make.py tests/released/0.1.0

What the files are and what to do with them is in the README.md beside them, which this script does not write. Every command
runs in a temporary folder with relative paths. The two places where 0.1.0 writes an absolute path (the JSON beside a map and
the key of a benchmark's result hold that of the city) get `/city` in the place of that folder. One thread, so that the
stopped training can go on anywhere; its bits belong to the machine, which `machine.json` describes.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

VERSION = "0.1.0"

CITIES = "--source source --target target --quiet"
TINY = "--set training.sampling.patch_px=16 --set training.sampling.batch_size=4 --set prediction.window_px=32"
UNET = (
    f"fit unet {CITIES} {TINY} --set model.widths=[2,4] --set training.iterations=120 --set training.checkpoint_every=40 "
    "--set training.precision=32"
)
CROSSCITY = (
    f"fit crosscity {CITIES} {TINY} --set model.widths=[2,4] --set training.precision=32 --set training.iterations=12 "
    "--set training.checkpoint_every=4 --set forest.model.trees=3 --set forest.model.max_depth=4"
)
STAGED = (
    f"{CROSSCITY} --set forest=null --set phases.teachers.networks=1 --set phases.students.networks=1 --set "
    "training.iterations=60 --set training.ema_decay=null --set training.optimiser.name=sgd"
)
MEMBERS = (
    f"fit mmuda-ensemble {CITIES} {TINY} --set training.iterations=2 --set training.precision=32 "
    "--set members.hrnet-w48=null --set members.resnext101=null "
    "--set 'members.hrnet-w32.model={name: unet, widths: [2, 4]}' "
    "--set 'members.efficientnet-b7.model={name: unet, widths: [4, 8]}'"
)
FOREST = f"fit forest {CITIES} --set model.trees=4 --set model.max_depth=6 --set validation.folds=2"
PREDICT = "predict forest/model.safetensors target --quiet"

# Command, and the file at whose appearance (and so many lines in it) it is stopped.
COMMANDS: tuple[tuple[str, str | None, int], ...] = (
    (f"{FOREST} --out forest --set prediction.window_px=8", None, 0),
    (f"{PREDICT} --out forest/maps/target.tif --probabilities forest/maps/chances.tif --confidence forest/maps/sure.tif "
     "--second forest/maps/second.tif --preview forest/maps/target.png", None, 0),
    ("score forest/maps/target.tif truth.tif --quiet --intervals --block-px 16 --replicates 20 --boundary-px 1 --out "
     "forest/scores.json", None, 0),
    (f"{PREDICT} --out stopped-map/target.tif", "stopped-map/.target.tif.scratch/ledger.jsonl", 3),
    (f"{UNET} --out unet", None, 0),
    ("predict unet/model.safetensors target --quiet --out unet/maps/target.tif", None, 0),
    ("export unet/model.safetensors unet/model.onnx --quiet", None, 0),
    (f"{UNET} --out unet-stopped", "unet-stopped/state.pt", 0),
    (f"{CROSSCITY} --out crosscity --set gate={{}}", None, 0),
    ("predict crosscity/model.safetensors target --quiet --out crosscity/maps/target.tif --confidence "
     "crosscity/maps/sure.tif", None, 0),
    (f"{STAGED} --out crosscity-whole", None, 0),
    (f"{STAGED} --out crosscity-stopped", "crosscity-stopped/phases/students/state.pt", 0),
    (f"{MEMBERS} --out members", None, 0),
    ("predict members/model.safetensors target --quiet --no-tta --out members/maps/target.tif", None, 0),
    ("benchmark --pair source:target:truth.tif --recipes forest --seeds 1 --set model.trees=2 --set model.max_depth=4 "
     "--out benchmark --quiet", None, 0),
    ("submit pack forest/maps/target.tif --tile-px 32 --out challenge/submission.zip --quiet", None, 0),
    ("challenge init challenge/board.sqlite --truth small=truth.tif --tile-px 32 --empty --quiet", None, 0),
    ("challenge add challenge/board.sqlite --submission small=challenge/submission.zip --team us --submitted-at "
     "2024-01-02T03:04:05 --quiet", None, 0),
    ("challenge rank challenge/board.sqlite --csv challenge/rank.csv", None, 0),
)  # fmt: skip

# For their size: states of finished trainings, pictures, pages, and what is there twice.
LEFT_OUT = (
    "unet/state.pt", "crosscity/**/state.pt", "crosscity/gate", "crosscity-whole/phases", "crosscity-whole/*.yaml",
    "crosscity-whole/*.csv", "members/members", "benchmark/runs/**/model.safetensors",
    "benchmark/**/*.html", "benchmark/**/*.png", "benchmark/calibration", "challenge/submission.zip",
)  # fmt: skip


def make_city(name: str, seed: int, size: tuple[int, int]) -> None:
    """Write blobs of classes 1, 3, 10 with means of their own in three MSI bands and one SAR band; a target's truth aside."""
    rng = np.random.default_rng(seed)
    points = rng.random((9, 2)) * size
    rows, cols = np.mgrid[: size[0], : size[1]]
    blobs = ((rows[..., None] - points[:, 0]) ** 2 + (cols[..., None] - points[:, 1]) ** 2).argmin(axis=-1) % 3
    signal_ = (blobs - 1) * (1.0 if name == "source" else 1.3)
    noise = rng.normal(0, 4, (4, *size))
    bands = np.stack([sign * 12 * signal_ for sign in (1, -1, 1, -1)]) + noise
    write(Path(name) / "msi.tif", np.round(1000 + bands[:3]).astype(np.uint16))
    write(Path(name) / "sar.tif", np.round(-100 + bands[3:]).astype(np.int16))
    truth = np.array([1, 3, 10], np.uint8)[blobs][None]
    write(Path("source/label.tif") if name == "source" else Path("truth.tif"), truth)
    roles = "[{role: blue, wavelength_nm: 490}, {role: green, wavelength_nm: 560}, {role: red, wavelength_nm: 665}]"
    text = f"name: {name}\nmodalities:\n  msi:\n    file: msi.tif\n    bands: {roles}\n  sar:\n    file: sar.tif\n"
    (Path(name) / "city.yaml").write_text(text, encoding="utf-8")


def write(path: Path, array: np.ndarray) -> None:
    """Write [C, H, W] as a small GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=array.shape[0], height=array.shape[1], width=array.shape[2], dtype=array.dtype,
        transform=Affine(10.0, 0, 5e5, 0, -10.0, 5e6), crs="EPSG:32633", compress="deflate", zlevel=9,
    ) as dataset:  # fmt: skip
        dataset.write(array)


def run(command: str, stop_at: str | None, lines: int) -> None:
    """Run a command, or stop it once a file is there."""
    print("c2seg", command, file=sys.stderr)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(
        [sys.executable, "-m", "c2seg", *shlex.split(command)], env=environment, stdout=subprocess.DEVNULL
    )
    if stop_at is None:
        if process.wait():
            raise SystemExit("failed")
        return
    place = Path(stop_at)
    while process.poll() is None and not (place.exists() and place.read_bytes().count(b"\n") >= lines):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL if lines else signal.SIGTERM)
    if process.wait() not in {-signal.SIGKILL, 143}:
        raise SystemExit("it ended before it was stopped")


def neutral(folder: Path) -> None:
    """Replace this folder's own path in what was written; complain if it is somewhere else than in a JSON file."""
    for path in filter(Path.is_file, folder.rglob("*")):
        content = path.read_bytes()
        if str(folder).encode() not in content:
            continue
        if path.suffix not in {".json", ".jsonl"}:
            raise SystemExit(f"{path} holds the path of the temporary folder")
        path.write_bytes(content.replace(str(folder).encode(), b"/city"))


def machine() -> dict[str, object]:
    """Return what the bits of a network depend on."""
    import torch

    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "gdal": rasterio.__gdal_version__,
        "processor": _processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    import c2seg

    if c2seg.__version__ != VERSION:
        raise SystemExit(f"this is c2seg {c2seg.__version__}; put the src/ of {VERSION} first on PYTHONPATH")
    out = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        os.chdir(folder)
        make_city("source", 1, (64, 64))
        make_city("target", 2, (56, 64))
        for command, stop_at, lines in COMMANDS:
            run(command, stop_at, lines)
        for pattern in LEFT_OUT:
            for path in list(folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        neutral(folder)
        Path("machine.json").write_text(json.dumps(machine(), indent=2) + "\n", encoding="utf-8")
        for path in folder.iterdir():
            place = out / path.name
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(path, place) if path.is_dir() else shutil.copy(path, place)
        os.chdir("/")


if __name__ == "__main__":
    main()
