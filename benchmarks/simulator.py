"""How real the simulated cities are and how far apart: band statistics, class shares, and a forest across the shift.

    python benchmarks/simulator.py [--pair ab] [--scale 0.3] [--seeds 0 1000 2000] [--shifts 0 0.25 0.5 0.75 1]

Prints one JSON object: statistics beside the published ones, and shift -> in-city score, cross-city score, ratio. The
forest sees bands standardized per city and their 5 x 5 means; in the city it is tested on interleaved blocks that it was
not trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion, uniform_filter
from sklearn.ensemble import RandomForestClassifier

from c2seg.legend import c2seg13
from c2seg.metrics import confusion_counts, scores
from c2seg.raster import RasterFile
from c2seg.simulate import PairInfo, simulate_pair
from c2seg.simulate.specs import package_data

BLOCK = 32  # pixels, side of the interleaved blocks
TRAINING_PIXELS = 12_000


def read(path: Path) -> np.ndarray:
    """Read a whole raster as float32."""
    file = RasterFile(path)
    return file.read(file.grid.window).astype(np.float32)


def features(folder: Path, valid: np.ndarray) -> np.ndarray:
    """Return [F, H, W]: bands (every eighth of the HSI), standardized within the city, and their 5 x 5 means."""
    hsi = read(folder / "hsi.tif")[::8]
    height, width = valid.shape
    if hsi.shape[1:] != valid.shape:
        hsi = hsi.repeat(3, 1).repeat(3, 2)[:, :height, :width]
    bands = np.concatenate([read(folder / "msi.tif"), read(folder / "sar.tif"), hsi])
    bands[:, ~valid] = 0
    mean, std = bands[:, valid].mean(1), bands[:, valid].std(1)
    bands = (bands - mean[:, None, None]) / std[:, None, None]
    return np.concatenate([bands, np.stack([uniform_filter(band, 5) for band in bands])])


def measure(reference: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return OA and mIoU over the classes of the ground truth."""
    result = scores(confusion_counts(reference, predicted.astype(np.uint8), c2seg13().ids))
    return {"oa": result.oa or 0.0, "miou": result.miou or 0.0}


def across(out: Path, names: tuple[str, str], seed: int) -> dict[str, float]:
    """Train a forest on blocks of the source; test on its other blocks and on the target."""
    source, target = (out / name for name in names)
    rng = np.random.default_rng(seed)
    valid = read(source / "valid.tif")[0] > 0
    label = read(source / "label.tif")[0].astype(np.uint8)
    x = features(source, valid)
    rows, columns = np.indices(label.shape)
    black = (rows // BLOCK + columns // BLOCK) % 2 == 0
    usable = valid & (label > 0)
    train = np.flatnonzero((binary_erosion(black, iterations=3) & usable).ravel())
    train = rng.choice(train, min(TRAINING_PIXELS, len(train)), replace=False)
    forest = RandomForestClassifier(60, min_samples_leaf=3, max_features="sqrt", n_jobs=1, random_state=0)
    forest.fit(x.reshape(len(x), -1)[:, train].T, label.ravel()[train])
    test = ~black & usable
    inside = measure(label[test], forest.predict(x[:, test].T))
    valid = read(target / "valid.tif")[0] > 0
    label = read(target / "label.tif")[0].astype(np.uint8)
    x = features(target, valid)
    test = valid & (label > 0)
    pick = np.flatnonzero(test.ravel())
    pick = rng.choice(pick, min(60_000, len(pick)), replace=False)
    cross = measure(label.ravel()[pick], forest.predict(x.reshape(len(x), -1)[:, pick].T))
    return {f"in_city_{k}": v for k, v in inside.items()} | {f"cross_city_{k}": v for k, v in cross.items()}


def statistics(folder: Path, pair: str) -> dict[str, object]:
    """Return means over tiles of per-tile mean and standard deviation, as the published numbers were made."""
    published = package_data("published.yaml")[pair]
    result: dict[str, object] = {}
    for name in ("msi", "sar", "hsi"):
        bands = read(folder / f"{name}.tif")
        size = published["tile_px"] // (3 if name == "hsi" and pair == "bw" else 1)
        means, stds = [], []
        for row in range(0, max(1, bands.shape[1] - size // 2), size):
            for column in range(0, max(1, bands.shape[2] - size // 2), size):
                tile = bands[:, row : row + size, column : column + size].reshape(len(bands), -1)
                means.append(tile.mean(1))
                stds.append(tile.std(1))
        mean, std = np.mean(means, 0), np.mean(stds, 0)
        real = published[name]
        if name == "hsi":
            index = np.array(real["bands"])
            mean, std = mean[index], std[index]
        off = np.abs(mean - real["mean"]) if name == "sar" else np.abs(mean / np.array(real["mean"]) - 1)
        spread = std / np.array(real["std"])
        result[name] = {
            "mean": mean.round(2).tolist(), "published_mean": real["mean"],
            "std": std.round(2).tolist(), "published_std": real["std"],
            ("median_error_db" if name == "sar" else "median_relative_error"): round(float(np.median(off)), 3),
            "median_std_ratio": round(float(np.median(spread)), 3),
        }  # fmt: skip
    return result


def draw(info: PairInfo, path: Path) -> None:
    """Draw ground truth, label, MSI in natural colors and SAR of both cities into a PNG."""
    import matplotlib.pyplot as plt

    colors = np.zeros((256, 3), np.uint8)
    for number, color in c2seg13().colors().items():
        colors[number] = color
    figure, axes = plt.subplots(2, 4, figsize=(20, 14))
    for row, city in zip(axes, (info.source, info.target), strict=True):
        panels = [colors[read(city.path / f"{name}.tif")[0].astype(np.uint8)] for name in ("reference", "label")]
        panels += [stretch(read(city.path / "msi.tif")[[2, 1, 0]]), stretch(read(city.path / "sar.tif")[[0, 1, 0]])]
        for axis, panel, title in zip(row, panels, ("reference", "label", "MSI", "SAR"), strict=True):
            axis.imshow(panel, interpolation="nearest")
            axis.set_title(f"{city.role} {city.name}: {title}")
    figure.tight_layout()
    figure.savefig(path, dpi=60)


def stretch(bands: np.ndarray) -> np.ndarray:
    """Return bands as an RGB image, each between its 1st and 98th percentile."""
    low, high = np.nanpercentile(np.where(bands == 0, np.nan, bands), [1, 98], axis=(1, 2))
    image = (bands - low[:, None, None]) / (high - low)[:, None, None]
    return np.nan_to_num(np.clip(image, 0, 1)).transpose(1, 2, 0)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", default="ab")
    parser.add_argument("--scale", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1000, 2000, 3000])
    parser.add_argument("--shifts", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--figure", type=Path, help="draw the first pair at shift 0.5 into this PNG")
    options = parser.parse_args()
    report: dict[str, object] = {"pair": options.pair, "scale": options.scale, "seeds": options.seeds}
    curve = []
    for shift in options.shifts:
        runs = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                info = simulate_pair(Path(folder) / "pair", options.pair, options.scale, seed, shift)
                seconds = time.perf_counter() - started
                names = info.source.name, info.target.name
                runs.append(across(info.out, names, seed) | {"label_agreement": info.target.label_agreement})
                if "statistics" not in report and shift == 0.5:
                    report["statistics"] = statistics(info.source.path, options.pair)
                    report["shares_percent"] = {k: round(100 * v, 2) for k, v in info.source.shares.items()}
                    if options.figure:
                        draw(info, options.figure)
                    report["seconds_per_pair"] = round(seconds, 1)
        row = {"shift": shift} | {k: round(float(np.mean([r[k] for r in runs])), 4) for k in runs[0]}
        for score in ("oa", "miou"):
            ratios = [r[f"cross_city_{score}"] / r[f"in_city_{score}"] for r in runs]
            row[f"ratio_{score}"] = round(float(np.mean(ratios)), 3)
            row[f"ratio_{score}_by_seed"] = [round(r, 3) for r in ratios]
        curve.append(row)
        print(json.dumps(row), file=sys.stderr)
    report["curve"] = curve
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
