"""Map large scenes: wall time over the network's own time, memory, and two peers, all in one run.

    python benchmarks/mapping.py [--peers PYTHON] [--full] [--json OUT.json]

``--peers`` names a Python that has torch, rasterio, segmentation-models-pytorch, monai and terratorch (docs/mapping.md says how
to make one); without it only our side runs. ``--full`` adds the simulated scene of Beijing's size (13474 x 8706, 4 + 2
bands at 10 m, 116 at 30 m). Every measurement is a process of its own; times are medians of ``--runs``, taken in turns, so that
a slower moment of the machine meets all alike. Printed is one table, with what comes from layout, memory, engine, precision,
overlap and OpenVINO below it; ``--json`` keeps everything.

The network is a ResNet-18 U-Net (segmentation-models-pytorch) with 13 classes on 4 bands, learnt for a moment on the scene,
with windows of 512 pixels and an overlap of a quarter. Peers use it as their documentation does: the image in memory as one
tensor, their windowed inference, arg-max, a GeoTIFF.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mapping_parts import BANDS, OVERLAP, WINDOW, learn, write_onnx, write_scene, write_small_model


def measure(python: str, part: str, folder: Path, *, fresh_memory: bool = False, **options: Any) -> dict[str, Any]:
    """Run a part in a process of its own; ``fresh_memory``: with freed memory returned to the system, as glibc has it."""
    script = str(Path(__file__).with_name("mapping_parts.py"))
    command = [python, "-W", "ignore", script, "--part", part, "--folder", str(folder)]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name.replace('_', '-')}")
        elif value is not False:
            command += [f"--{name.replace('_', '-')}", str(value)]
    environment = os.environ | ({"MALLOC_PERTURB_": "0"} if fresh_memory else {})  # that any is set holds ours back
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {k: statistics.median(run[k] for run in runs) for k, v in runs[0].items() if isinstance(v, float)} | {
        "stages": runs[-1].get("stages"), "runs_seconds": [round(run["seconds"], 2) for run in runs],
    }  # fmt: skip


def agreement(a: Path, b: Path) -> float:
    import rasterio

    with rasterio.open(a) as first, rasterio.open(b) as second:
        return float((first.read(1) == second.read(1)).mean())


def speed(folder: Path, peers: str | None, runs: int, batch: int) -> dict[str, Any]:
    """Run all variants in turns on one scene."""
    ours: dict[str, dict[str, Any]] = {
        "ours torch 32": {"alone": True},
        "ours torch 32, batch 1": {"batch": 1},
        "ours torch bf16, batch 1": {"precision": "bf16", "batch": 1},
        "ours torch 32, fresh memory": {"fresh_memory": True},
        "ours torch 32, fresh memory, NCHW": {"fresh_memory": True, "nchw": True},
        "ours torch bf16": {"precision": "bf16", "alone": True},
        "ours openvino 32": {"backend": "openvino", "alone": True},
        "ours openvino bf16": {"backend": "openvino", "precision": "bf16", "alone": True},
        "ours torch 32, overlap 50 %": {"overlap": WINDOW // 2},
    }
    others: dict[str, dict[str, Any]] = {
        "monai": {"peer": "monai"},
        "monai, channels last": {"peer": "monai", "channels_last": True},
        "monai, channels last, batch 4": {"peer": "monai", "channels_last": True, "batch": 4},
        "monai, channels last, bf16": {"peer": "monai", "channels_last": True, "precision": "bf16"},
        "terratorch": {"peer": "terratorch"},
        "terratorch, channels last": {"peer": "terratorch", "channels_last": True},
    }
    variants = {name: (sys.executable, "ours", more) for name, more in ours.items()}
    if peers:
        variants |= {name: (peers, "peer", more) for name, more in others.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for _ in range(runs):
        for name, (python, part, more) in variants.items():
            options = {"batch": batch if part == "ours" else 1} | more
            found[name].append(measure(python, part, folder, out=_map_of(folder, name), **options))
            say(f"  {name:34} {found[name][-1]['seconds']:7.2f} s")
    table = {name: medians(runs) for name, runs in found.items()}
    for name, row in table.items():
        if "network_seconds" in row:
            for kind in ("seconds", "cpu_seconds"):
                ratios = [run[kind] / run[f"network_{kind}"] for run in found[name]]
                row[f"{kind}_over_network"] = statistics.median(ratios)
    for name, row in table.items():
        row["same_classes"] = agreement(_map_of(folder, "ours torch 32"), _map_of(folder, name))
    return table


def _map_of(folder: Path, name: str) -> Path:
    return folder / f"{''.join(c if c.isalnum() else '_' for c in name)}.tif"


# What a step gives by itself: seconds of the first over seconds of the second.
STEPS = {
    "channels last in place of NCHW, MONAI": ("monai", "monai, channels last"),
    "channels last in place of NCHW, ours": ("ours torch 32, fresh memory, NCHW", "ours torch 32, fresh memory"),
    "the engine, 32 bits": ("monai, channels last", "ours torch 32, fresh memory"),
    "a thread for each window, torch 32 bits": ("ours torch 32, batch 1", "ours torch 32"),
    "a thread for each window, torch bf16": ("ours torch bf16, batch 1", "ours torch bf16"),
    "freed memory taken again, 32 bits": ("ours torch 32, fresh memory", "ours torch 32"),
    "engine and memory, bf16": ("monai, channels last, bf16", "ours torch bf16"),
    "bf16 in place of 32 bits, torch": ("ours torch 32", "ours torch bf16"),
    "bf16 in place of 32 bits, openvino": ("ours openvino 32", "ours openvino bf16"),
    "openvino in place of torch, 32 bits": ("ours torch 32", "ours openvino 32"),
    "openvino in place of torch, bf16": ("ours torch bf16", "ours openvino bf16"),
    "overlap a quarter in place of a half": ("ours torch 32, overlap 50 %", "ours torch 32"),
}


def speed_report(results: dict[str, Any]) -> list[str]:
    rows = results["speed"]
    head = f"{'medians':34} {'s':>7} {'CPU s':>7} {'/network':>8} {'CPU/net.':>8} {'classes':>8} {'x monai':>8} {'x terra':>8}"
    lines = [head]
    for name, row in rows.items():
        times = [rows[peer]["seconds"] / row["seconds"] if peer in rows else None for peer in ("monai", "terratorch")]
        cells = [row.get("seconds_over_network"), row.get("cpu_seconds_over_network"), row["same_classes"], *times]
        text = " ".join(f"{'' if cell is None else f'{cell:.3f}':>8}" for cell in cells)
        lines.append(f"{name:34} {row['seconds']:7.2f} {row['cpu_seconds']:7.2f} {text}")
    lines += [
        f"{name:38} {rows[slow]['seconds'] / rows[fast]['seconds']:.2f} times faster"
        for name, (slow, fast) in STEPS.items() if slow in rows and fast in rows
    ]  # fmt: skip
    lines.append(f"all but the network: {results['engine']['cpu_ms_per_window']:.1f} ms of one processor a window")
    lines += [f"{name}: {results['machine'][name]:.3g}" for name in sorted(results["machine"])]
    return lines


def report(results: dict[str, Any]) -> str:
    """Return the tables of all that was measured, as text."""
    lines = speed_report(results) if "speed" in results else []
    for name, row in results.get("memory", {}).items():
        lines.append(f"memory above the loaded model, {name:20} {row['extra_mib']:7.0f} MiB in {row['seconds']:.1f} s")
    for name, row in results.get("full", {}).items():
        lines.append(
            f"{name:6} {row['seconds']:7.1f} s, {row['seconds_per_megapixel']:.3f} s/Mpx "
            f"({row['over_small']:.2f} x small), {row['extra_mib']:.0f} MiB above the loaded model"
        )
    lines.append(f"load before {results['load']}, after {results['load_after']}; {results['processors']} processors")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(options: argparse.Namespace) -> None:
    results: dict[str, Any] = {"load": os.getloadavg(), "processors": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        base = Path(name)
        msi = {"msi": (BANDS, 1)}
        if options.size:
            measure_speed(base / "scene", options, msi, results)
        if options.memory_size:
            # One convolution of single pixels in place of the network: its own memory, the same for all, stays out.
            say(f"memory on {options.memory_size} x {options.memory_size}")
            write_scene(base / "wide", options.memory_size, options.memory_size, msi, "deflate")
            rows: dict[str, tuple[str, str, dict[str, Any]]] = {"ours": (sys.executable, "ours", {})}
            if options.peers:
                rows |= {name: (options.peers, "peer", {"peer": name}) for name in ("monai", "terratorch")}
            results["memory"] = {}
            for row, (python, part, more) in rows.items():
                more |= {"batch": options.batch if part == "ours" else 1}
                found = measure(python, part, base / "wide", out=base / "wide" / "map.tif", **more)
                results["memory"][row] = found
                say(f"  {row:34} {found['seconds']:7.1f} s, {found['extra_mib']:7.0f} MiB")
        if options.full:
            results["full"] = full_size(base, options)
    results["load_after"] = os.getloadavg()
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(report(results))


def measure_speed(
    folder: Path, options: argparse.Namespace, stacks: dict[str, tuple[int, int]], results: dict[str, Any]
) -> None:
    """Fill in ``machine``, ``engine`` and ``speed``."""
    say(f"load {os.getloadavg()}; scene of {options.size} x {options.size}")
    write_scene(folder, options.size, options.size, stacks, "deflate")
    learn(folder, options.steps)
    write_onnx(folder)
    results["machine"] = machine = measure(sys.executable, "machine", folder)
    runs = [measure(sys.executable, "engine", folder, out=folder / "engine.tif") for _ in range(options.runs)]
    results["engine"] = {"cpu_ms_per_window": statistics.median(run["cpu_ms_per_window"] for run in runs)}
    results["speed"] = speed(folder, options.peers, options.runs, options.batch)
    for precision in ("32", "bf16"):
        row = results["speed"][f"ours torch {precision}"]
        windows = len(range(0, options.size - WINDOW, WINDOW - OVERLAP)) + 1
        reached = machine["window_gflop"] * windows**2 / row["network_seconds"]
        machine[f"network_share_of_gemm_{precision}"] = reached / machine[f"gemm_gflops_{precision}"]


def full_size(base: Path, options: argparse.Namespace) -> dict[str, Any]:
    stacks = {"msi": (4, 1), "sar": (2, 1), "hsi": (116, 3)}
    write_small_model(base / "small.safetensors", stacks)
    write_scene(base / "first", 256, 256, stacks, None)
    found: dict[str, Any] = {}
    for name, (height, width) in {"small": (3000, 3000), "full": (13474, 8706)}.items():
        say(f"writing {height} x {width} with {stacks}")
        write_scene(base / name, height, width, stacks, None)
        row = measure(sys.executable, "city", base / name, out=base / f"{name}.tif", backend=options.city_backend)
        row["seconds_per_megapixel"] = row["seconds"] / (height * width / 1e6)
        found[name] = row
        row["over_small"] = row["seconds_per_megapixel"] / found["small"]["seconds_per_megapixel"]
        say(f"  {name}: {row['seconds']:.1f} s, {row['seconds_per_megapixel']:.3f} s/Mpx, {row['extra_mib']:.0f} MiB")
        for stack in stacks:
            (base / name / f"{stack}.tif").unlink()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="a Python with monai and terratorch")
    parser.add_argument("--size", type=int, default=3000, help="side of the scene for times, pixels; 0: not measured")
    parser.add_argument("--memory-size", type=int, default=8000, help="side of the scene for memory; 0: not measured")
    parser.add_argument("--full", action="store_true", help="also map a simulated scene of Beijing's size")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of learning")
    parser.add_argument("--scratch", type=Path, help="folder for scenes (about 8 GB with --full)")
    parser.add_argument("--city-backend", default="torch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--batch", type=int, default=2, help="windows at a time of ours; peers take 1")
    main(parser.parse_args())
