"""How often intervals hold what they should: samples drawn again and again from maps whose errors are known.

    python benchmarks/coverage.py                # all cases, 10,000 draws each: about 20 minutes on one core
    python benchmarks/coverage.py --draws 500 --out /tmp/coverage.json

Cases that the result file already has are not run again. Writes ``benchmarks/coverage.json``, and the table by which
``c2seg estimate`` warns (``src/c2seg/verify/coverage.json``).

Axes: D draw, H stratum, K class, H W pixel.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from c2seg.verify.estimators import Shares, areas, iou, overall, producers, ratio, users
from c2seg.verify.intervals import share_accepted
from c2seg.verify.matrix import SampleCounts
from c2seg.verify.ppi import predicted_means

FOLDER = Path(__file__).parent
TABLE = FOLDER.parent / "src/c2seg/verify/coverage.json"
LEVEL = 0.95
SIDE = 600
POINTS = (50, 100, 200, 400, 800)
DESIGNS = ("stratified", "random", "systematic")
TABLE_POINTS = (10, 20, 30, 50, 75, 100, 150, 200, 400, 800)
TABLE_SHARES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
QUANTITIES: dict[str, Callable[[SampleCounts], Shares]] = {
    "overall": overall,
    "area": areas,
    "users": users,
    "producers": producers,
    "iou": iou,
}


@dataclass(frozen=True)
class KnownMap:
    """A map and its reference, uint8 [H, W] of class indices."""

    name: str
    mapped: np.ndarray
    reference: np.ndarray
    classes: int

    def joint(self) -> np.ndarray:
        """Return pixels by mapped and reference class, int64 [K, K]."""
        code = self.mapped.astype(np.int64) * self.classes + self.reference
        return np.bincount(code.ravel(), minlength=self.classes**2).reshape(self.classes, self.classes)


def known_map(name: str, shares: tuple[float, ...], wrong: tuple[float, ...], seed: int) -> KnownMap:
    """Make a map of these shares of reference classes, and of what is mapped as another one of each, in small patches."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 12, mode="wrap")
    reference = np.digitize(field, np.quantile(field, np.cumsum(shares)[:-1])).astype(np.uint8)
    noise = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1, mode="wrap")
    rank = noise.ravel().argsort().argsort().reshape(SIDE, SIDE) / SIDE**2
    mapped = reference.copy()
    for number, share in enumerate(wrong):
        errors = (reference == number) & (rank < share)
        mapped[errors] = rng.choice(np.delete(np.arange(len(shares)), number), int(errors.sum()))
    return KnownMap(name, mapped, reference, len(shares))


def known_maps() -> list[KnownMap]:
    return [
        known_map("four even classes", (0.2, 0.3, 0.3, 0.2), (0.2, 0.15, 0.1, 0.3), 1),
        known_map("a rare class", (0.48, 0.3, 0.2, 0.02), (0.05, 0.1, 0.1, 0.3), 2),
        known_map("a very rare class", (0.7, 0.2, 0.095, 0.005), (0.02, 0.05, 0.1, 0.4), 3),
    ]


def draw(known: KnownMap, design: str, points: int, draws: int, rng: np.random.Generator) -> Iterator[SampleCounts]:
    """Yield counts of samples, in groups that have the same strata."""
    joint, classes = known.joint(), known.classes
    sizes = joint.sum(1)
    if design == "stratified":
        of_stratum = np.minimum(points // classes, sizes)
        matrix = np.stack(
            [
                rng.multivariate_hypergeometric(joint[k], of_stratum[k], draws, method="marginals")
                for k in range(classes)
            ],
            axis=1,
        )
    elif design == "random":
        flat = rng.multivariate_hypergeometric(joint.ravel(), points, draws, method="marginals")
        matrix = flat.reshape(draws, classes, classes)
    else:
        matrix = _grids(known, points, draws, rng)
    yield from _grouped(matrix, sizes, merge=design != "stratified")


def _grids(known: KnownMap, points: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the matrices of square grids of points with a random start, int64 [D, K, K]."""
    step = round((SIDE**2 / points) ** 0.5)
    code = known.mapped.astype(np.int64) * known.classes + known.reference
    rows, cols = rng.integers(0, step, (2, draws))
    made: dict[tuple[int, int], np.ndarray] = {}
    for start in {(int(r), int(c)) for r, c in zip(rows, cols, strict=True)}:
        made[start] = np.bincount(code[start[0] :: step, start[1] :: step].ravel(), minlength=known.classes**2)
    flat = np.stack([made[int(r), int(c)] for r, c in zip(rows, cols, strict=True)])
    return flat.reshape(draws, known.classes, known.classes)


def _grouped(matrix: np.ndarray, sizes: np.ndarray, *, merge: bool) -> Iterator[SampleCounts]:
    whole = SampleCounts.of_map_classes(matrix, sizes, finite=True)
    if not merge:
        yield whole
        return
    pattern = np.minimum(whole.points, 2)
    kinds, places = np.unique(pattern, axis=0, return_inverse=True)
    for number in range(len(kinds)):
        group = SampleCounts.of_map_classes(matrix[places.ravel() == number], sizes, finite=True)
        one = SampleCounts.of_map_classes(matrix[places.ravel() == number][0], sizes, finite=True)
        yield group.merged(one.few())


def measure_case(known: KnownMap, design: str, points: int, draws: int) -> dict[str, object]:
    """Return how often intervals held the values of a map, by quantity and class; and those of plus or minus 1.96 SE."""
    rng = np.random.default_rng([len(known.name), DESIGNS.index(design), points])
    joint = known.joint().astype(float)
    whole = SampleCounts.of_map_classes(joint, joint.sum(1))
    real = {name: ratio(make(whole), whole)[0] for name, make in QUANTITIES.items()}
    ours = {name: np.zeros(len(values)) for name, values in real.items()}
    usual = {name: np.zeros(len(values)) for name, values in real.items()}
    for group in draw(known, design, points, draws, rng):
        for name, make in QUANTITIES.items():
            shares = make(group)
            value, se = ratio(shares, group)
            reach = ndtri((1 + LEVEL) / 2) * se
            usual[name] += (np.abs(value - real[name]) <= reach + 1e-12).sum(0)
            for k, target in enumerate(real[name]):
                weights = np.where(shares.possible[k], group.weights, 0.0)
                held = share_accepted(
                    float(target),
                    np.where(weights > 0, shares.hits[:, k], 0),
                    np.where(weights > 0, shares.misses[:, k], 0),
                    group.points,
                    weights,
                    finite=group.finite_factor,
                )
                ours[name][k] += held.sum()
    return {
        "map": known.name,
        "design": design,
        "points": points,
        "draws": draws,
        "values": {name: [round(float(v), 5) for v in values] for name, values in real.items()},
        "interval": {name: (values / draws).round(4).tolist() for name, values in ours.items()},
        "usual": {name: (values / draws).round(4).tolist() for name, values in usual.items()},
    }


def measure_table(draws: int) -> dict[str, object]:
    """Return the coverage of a share by points and share, of random samples without strata and of three equal strata.

    The lower of the two counts. In the strata the shares are 0.5, 1 and 1.5 times the share of all.
    """
    interval = np.zeros((len(TABLE_POINTS), len(TABLE_SHARES)))
    usual = np.zeros_like(interval)
    for i, points in enumerate(TABLE_POINTS):
        for j, share in enumerate(TABLE_SHARES):
            rng = np.random.default_rng([points, j])
            held = []
            for parts in (np.array([1.0]), np.array([0.5, 1.0, 1.5])):
                of_stratum = np.maximum(points // len(parts), 1)
                hits = rng.binomial(of_stratum, share * parts, (draws, len(parts)))
                size, weights = np.full(hits.shape, of_stratum), np.full(len(parts), 1 / len(parts))
                means = hits / of_stratum
                se = np.sqrt((weights**2 * means * (1 - means) / max(of_stratum - 1, 1)).sum(1))
                near = np.abs((weights * means).sum(1) - share) <= ndtri((1 + LEVEL) / 2) * se
                held.append((share_accepted(share, hits, size - hits, size, weights).mean(), near.mean()))
            interval[i, j], usual[i, j] = np.min(held, axis=0)
    return {
        "points": list(TABLE_POINTS),
        "shares": list(TABLE_SHARES),
        "interval": interval.round(4).tolist(),
        "usual": usual.round(4).tolist(),
    }


def measure_predicted(points: int, draws: int) -> dict[str, object]:
    """Return coverage and mean width of prediction-powered intervals of a share, and the width of those without predictions."""
    rng = np.random.default_rng(points)
    size = 200_000
    probability = rng.beta(0.4, 1.2, size)
    label = rng.random(size) < 0.85 * probability + 0.05
    held, widths, plain, known = 0, 0.0, 0.0, 0
    for _ in range(draws):
        chosen = rng.integers(0, size, points)
        y, f = label[chosen, None].astype(int), probability[chosen, None]
        args = (y, f, np.zeros(points, np.int64), np.ones(1), probability.mean()[None])
        result = predicted_means(*args)
        if np.isfinite(result.value[0]):
            known += 1
            held += bool(result.low[0] <= label.mean() <= result.high[0])
            widths += float(result.high[0] - result.low[0])
            without = predicted_means(*args, tuning=0.0)
            plain += float(without.high[0] - without.low[0])
    return {
        "points": points,
        "draws": draws,
        "share": round(float(label.mean()), 4),
        "coverage": round(held / known, 4),
        "width": round(widths / known, 4),
        "width_without": round(plain / known, 4),
    }


def run(draws: int, out: Path) -> None:
    """Measure every case that the result does not have."""
    result = json.loads(out.read_text()) if out.exists() else {}
    if result.get("draws") != draws:
        result = {"draws": draws, "level": LEVEL, "table": None, "cases": [], "predicted": []}

    def save() -> None:
        parts = [f"{json.dumps(key)}: {_lines(result[key])}" for key in sorted(result)]
        out.write_text("{" + ",\n".join(parts) + "}\n")

    if result["table"] is None:
        result["table"] = measure_table(draws)
        save()
    if not result["predicted"]:
        result["predicted"] = [measure_predicted(points, min(draws, 2000)) for points in (100, 200, 400)]
        save()
    done = {(case["map"], case["design"], case["points"]) for case in result["cases"]}
    for known in known_maps():
        for design in DESIGNS:
            for points in POINTS:
                if (known.name, design, points) not in done:
                    result["cases"].append(measure_case(known, design, points, draws))
                    save()
                    print(summary(result["cases"][-1]), flush=True)
    if out == FOLDER / "coverage.json":
        TABLE.write_text(json.dumps(result["table"]) + "\n")


def _lines(value: object) -> str:
    """Return JSON with a line for each item of a list of cases."""
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return json.dumps(value)
    return "[\n" + ",\n".join(json.dumps(item, sort_keys=True) for item in value) + "\n]"


def summary(case: dict) -> str:
    parts = [f"{name} {min(case['interval'][name]):.3f}..{max(case['interval'][name]):.3f}" for name in QUANTITIES]
    usual = min(min(case["usual"][name]) for name in ("overall", "area"))
    return f"{case['map']}, {case['design']}, {case['points']}: {', '.join(parts)}; 1.96 SE from {usual:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=FOLDER / "coverage.json")
    options = parser.parse_args()
    run(options.draws, options.out)


if __name__ == "__main__":
    main()
