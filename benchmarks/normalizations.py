"""How bands of two cities are made comparable: normalizations tried with small forests on the real development pairs.

    C2SEG_REAL_DATA=DATA python benchmarks/normalizations.py [KIND ...] [--work FOLDER] [--table]
    C2SEG_REAL_DATA=DATA python benchmarks/normalizations.py physical per_city midway --distances   # simulated pairs, too

Kinds, all on values in physical units (``in_physical_units``) but ``as_stored``; m and s are a band's mean and deviation:

- ``as_stored``, ``physical``: by the source's m and s; ``per_city``: by each city's own; ``midway``: the mean of the two last.
- ``both``: the channels of ``per_city`` and of ``physical`` side by side.
- ``dark_objects``: ``physical`` after the first percentile of each band was moved to that of the source (Chavez 1988).
- ``haze``: as ``dark_objects``, for optical bands alone, and by no more than any shorter wave's: air adds least at long waves.
- ``+indices`` after a kind: NDVI, NDWI and NDBI as further channels, where roles and wavelengths tell their bands.

A forest of 40 trees on bands, means of 3, 9 and 21 pixels and deviations of 7; 300 pixels of a class; every third labeled pixel
is tested; mIoU over classes that both cities have. Results are kept in normalizations.json, kind by kind.

``--distances``: how far a class of the target is from that of the source, in deviations inside a class; and how far the
correlations between bands are, for which no label is needed. Without any forest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from real_pairs_cities import Folders, chosen
from sklearn.ensemble import RandomForestClassifier

from c2seg.data import Normalizer, open_labeled_city
from c2seg.data.statistics import BandStatistics
from c2seg.data.units import in_physical_units
from c2seg.forest import FeatureSpec, features, halo_px

KINDS = (
    "as_stored",
    "physical",
    "per_city",
    "midway",
    "both",
    "dark_objects",
    "haze",
    "per_city+indices",
    "midway+indices",
)
RESULTS = Path(__file__).with_name("normalizations.json")
SPEC = FeatureSpec((3, 9, 21), (7,), {})
TREES, PIXELS, STEP, SEEDS = 40, 300, 3, 1
SWIR_NM = (1550, 1700)
ONE_WAY = ("chile-denmark", "augsburg-we", "potsdam-we", "sim-2101", "sim-2102", "sim-4101", "sim-5102")
LEAST_OF_CLASS = 50  # pixels in each city


@dataclass(frozen=True)
class Place:
    """Values float32 [C, H, W] by modality, where they are valid, ids [H, W], and the bands of the indices by their role."""

    values: dict[str, np.ndarray]
    valid: np.ndarray
    ids: np.ndarray
    roles: dict[str, int]
    centers_nm: dict[str, list[float]]
    """Of the bands by modality; rising numbers where they are not known."""

    @property
    def statistics(self) -> dict[str, BandStatistics]:
        weights = np.ones(int(self.valid.sum()), np.int64)
        return {name: BandStatistics.of(values[:, self.valid], weights) for name, values in self.values.items()}

    @property
    def labeled(self) -> np.ndarray:
        return self.valid & (self.ids != 0) & (self.ids != 255)


def opened(folder: Path, *, as_stored: bool) -> Place:
    city = open_labeled_city(folder)
    images = city.images if as_stored else in_physical_units(city.images)[0]
    [scene] = images.scenes
    window = scene.grid.window
    read = {name: scene.read(name, window) for name in scene.modalities}
    bands = scene.modalities["msi"].bands
    roles = {band.role: index for index, band in enumerate(bands) if band.role}
    short_wave = [i for i, b in enumerate(bands) if b.wavelength_nm and SWIR_NM[0] < b.wavelength_nm < SWIR_NM[1]]
    roles |= {"swir": short_wave[0]} if short_wave else {}
    valid = np.logical_and.reduce([valid for _, valid in read.values()])
    centers = {n: [b.wavelength_nm or i for i, b in enumerate(scene.modalities[n].bands)] for n in read}
    return Place(
        {name: values for name, (values, _) in read.items()}, valid, city.read_label(0, window), roles, centers
    )


def channels(kind: str, place: Place, source: Place) -> np.ndarray:
    """Return normalized channels float32 [C, H, W]."""
    base, _, further = kind.partition("+")
    own, of_source = place.statistics, source.statistics
    kinds = {
        "as_stored": ("source",),
        "physical": ("source",),
        "dark_objects": ("source",),
        "haze": ("source",),
        "both": ("per_city", "source"),
    }
    parts = []
    for name, values in place.values.items():
        if base == "dark_objects" or (base == "haze" and name != "sar"):
            values = values - brighter(place, source, name, guarded=base == "haze")[:, None, None]
        normalizers = [Normalizer.of_city(one, own, of_source) for one in kinds.get(base, (base,))]
        parts += [normalizer.apply(name, values, place.valid) for normalizer in normalizers]
    if further:
        parts.append(indices(place) * place.valid)
    return np.concatenate(parts)


def brighter(place: Place, source: Place, name: str, *, guarded: bool) -> np.ndarray:
    """Return by how much the dark objects of each band are brighter than the source's, float32 [C]."""
    dark = [np.quantile(city.values[name][:, city.valid], 0.01, axis=1) for city in (place, source)]
    difference = (dark[0] - dark[1]).astype(np.float32)
    if not guarded:
        return difference
    order = np.argsort(place.centers_nm[name])
    difference[order] = np.minimum.accumulate(difference[order])
    return difference


def indices(place: Place) -> np.ndarray:
    """Return NDVI, NDWI and NDBI, float32 [0 to 3, H, W]: those whose bands are there."""
    pairs = [("nir", "red"), ("green", "nir"), ("swir", "nir")]
    bands = [(place.values["msi"][place.roles[a]], place.values["msi"][place.roles[b]])
             for a, b in pairs if a in place.roles and b in place.roles]  # fmt: skip
    ratios = [np.clip((a - b) / np.maximum(np.abs(a + b), 0.01), -1.5, 1.5) for a, b in bands]
    return np.array(ratios, np.float32).reshape(-1, *place.valid.shape)


def pixels(kind: str, place: Place, source: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return features float32 [N, F] and ids [N] of labeled pixels."""
    halo = halo_px(SPEC)
    padded = np.pad(channels(kind, place, source), ((0, 0), (halo, halo), (halo, halo)))
    values = features({"all": padded}, np.pad(place.valid, halo), SPEC, ["all"])
    return values[:, place.labeled].T, place.ids[place.labeled]


def scores(kind: str, source: Place, target: Place) -> tuple[float, float]:
    """Return mIoU and overall accuracy, means over seeds."""
    samples, ids = pixels(kind, source, source)
    tested, reference = (part[::STEP] for part in pixels(kind, target, source))
    common, results = np.intersect1d(ids, reference), []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        drawn = np.concatenate([rng.permutation(np.flatnonzero(ids == k))[:PIXELS] for k in np.unique(ids)])
        forest = RandomForestClassifier(TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed)
        predicted = forest.fit(samples[drawn], ids[drawn]).predict(tested)
        hits = [
            ((predicted == k) & (reference == k)).sum() / ((predicted == k) | (reference == k)).sum() for k in common
        ]
        results.append((np.mean(hits), (predicted == reference).mean()))
    miou, accuracy = np.mean(results, axis=0)
    return round(float(miou), 4), round(float(accuracy), 4)


def distances(kind: str, source: Place, target: Place) -> tuple[float, float]:
    """Return how far a class's mean is from its mean in the other city, in its deviations: mean over bands and common classes.

    The second number is the distance that all classes have in common: what a change of each whole band could take away.
    """
    here, there = (channels(kind, place, source) for place in (source, target))
    signed = []
    for k in np.intersect1d(source.ids[source.labeled], target.ids[target.labeled]):
        of_class = [values[:, place.labeled & (place.ids == k)] for values, place in ((here, source), (there, target))]
        if min(values.shape[1] for values in of_class) >= LEAST_OF_CLASS:
            (first, spread), (second, other_spread) = ((values.mean(1), values.var(1)) for values in of_class)
            signed.append((second - first) / np.sqrt((spread + other_spread) / 2 + 1e-12))
    return float(np.abs(signed).mean()), float(np.abs(np.mean(signed, axis=0)).mean())


def correlation_distance(source: Place, target: Place) -> float:
    """Return the root mean square difference of the correlations between bands: of images alone, whatever the normalization."""
    first, second = (
        np.corrcoef(np.concatenate([values[:, place.valid] for values in place.values.values()]))
        for place in (source, target)
    )
    return float(np.sqrt(np.mean((first - second) ** 2)))


def print_distances(kinds: Sequence[str], work: Path) -> None:
    """Print a table of distances: kinds by pairs, what all classes share in brackets."""
    rows: dict[str, list[str]] = {kind: [] for kind in (*kinds, "correlations")}
    for name in ONE_WAY:
        pair = chosen(name)[name](Folders(work), name)
        source, target = (opened(folder, as_stored=False) for folder in (pair.source, pair.target))
        for kind in kinds:
            distance, shared = distances(kind, source, target)
            rows[kind].append(f"{distance:.2f} ({shared:.2f})")
        rows["correlations"].append(f"{correlation_distance(source, target):.2f}")
    print("| normalization | " + " | ".join(ONE_WAY) + " |\n|" + "---|" * (len(ONE_WAY) + 1))
    for kind, cells in rows.items():
        print(f"| {kind} | " + " | ".join(cells) + " |")


def measure(kind: str, work: Path, known: dict[str, dict[str, list[float]]]) -> None:
    for name, maker in chosen("real").items():
        if name in known.setdefault(kind, {}):
            continue
        pair = maker(Folders(work), name)
        source, target = (opened(folder, as_stored=kind == "as_stored") for folder in (pair.source, pair.target))
        known[kind][name] = list(scores(kind, source, target))
        RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "c2seg-normalizations")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--distances", action="store_true", help="distances of classes between two cities")
    options = parser.parse_args()
    if options.distances:
        print_distances(options.kinds, options.work)
        return
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for kind in () if options.table else options.kinds:
        measure(kind, options.work, known)
    names = list(chosen("real"))
    print("| kind | " + " | ".join(names) + " | mean | mean OA |\n|" + "---|" * (len(names) + 3))
    for kind, by_pair in known.items():
        if all(name in by_pair for name in names):
            miou, accuracy = np.mean([by_pair[name] for name in names], axis=0)
            print(
                f"| {kind} | " + " | ".join(f"{by_pair[n][0]:.3f}" for n in names) + f" | {miou:.3f} | {accuracy:.3f} |"
            )


if __name__ == "__main__":
    main()
