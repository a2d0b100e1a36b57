"""Area error of 25 samples per pixel: upright 5 x 5 grid against the turned one that c2seg label uses.

    python benchmarks/label_sampling.py

Random rectangles at random places, three sizes (in pixels), along the axes and turned; prints the root mean square and
the largest relative error of the summed shares.
"""

from __future__ import annotations

import numpy as np
import shapely
from shapely.affinity import rotate, translate

from c2seg.labels.burn import _DX, _DY, SAMPLES

SIZE = 100
REPEATS = 40


def area(polygon: shapely.Polygon, dx: np.ndarray, dy: np.ndarray) -> float:
    """Return the summed shares of a polygon, in pixels, from samples at these places of each pixel."""
    row, col = np.divmod(np.arange(SIZE * SIZE), SIZE)
    shapely.prepare(polygon)
    inside = sum(int(shapely.contains_xy(polygon, col + x, row + y).sum()) for x, y in zip(dx, dy, strict=True))
    return inside / SAMPLES


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    steps = (np.arange(5) + 0.5) / 5
    patterns = {"upright": (np.tile(steps, 5), np.repeat(steps, 5)), "turned": (_DX, _DY)}
    print(f"{'size (px)':>12}{'angle':>8}{'pattern':>10}{'rms error':>12}{'largest':>10}")
    for size in (10, 20, 40):
        for angle in (0.0, None):
            errors: dict[str, list[float]] = {name: [] for name in patterns}
            for _ in range(REPEATS):
                width, height = size * rng.uniform(0.8, 1.2, 2)
                turned = rotate(shapely.box(0, 0, width, height), rng.uniform(5, 85) if angle is None else angle)
                polygon = translate(turned, *(SIZE / 2 - size / 2 + rng.uniform(0, 1, 2)))
                for name, (dx, dy) in patterns.items():
                    errors[name].append(area(polygon, dx, dy) / polygon.area - 1)
            for name, values in errors.items():
                shown = "any" if angle is None else "0"
                rms, largest = np.sqrt(np.mean(np.square(values))), np.abs(values).max()
                print(f"{size:>12}{shown:>8}{name:>10}{rms:>12.3%}{largest:>10.3%}")


if __name__ == "__main__":
    main()
