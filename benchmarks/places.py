"""Leave one place out: every labeled place is mapped by models trained on each other place, and on all others together.

    python benchmarks/places.py [--places rgb|s2] [--recipes forest] [--preset demo] [--seeds 1] [--table]

Classes are those of the shipped crosswalk ``land4``: built-up, low vegetation, trees, water. ``rgb``: four real places with
blue, green, red (one digitized, as displayed); ``s2``: three real places in reflectance and four simulated cities, with near
infrared. Cells go into benchmarks/places.json and are not run again. Real places need C2SEG_REAL_DATA.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import yaml
from real_pairs import Study, options, rows_of, run_study, study_of
from real_pairs_cities import Folders, copy_window, simulated, written
from real_pairs_results import Cell, compare

from c2seg.benchmark.pairs import Pair
from c2seg.benchmark.tables import aligned
from c2seg.data import open_city
from c2seg.legend.crosswalk import land4

ROLES = {"rgb": ("blue", "green", "red"), "s2": ("blue", "green", "red", "nir")}
DISPLAYED = ("red", "green", "blue")
"""Bands of the digitized place, which states no roles."""
OTHERS = "others"
SEEDS = (4101, 5102)
"""Of the simulated cities."""


@dataclass(frozen=True)
class Place:
    """A labeled city: its name, its folder, and the file with the ground truth that scores its map."""

    name: str
    city: Path
    truth: str = "label.tif"


def places(kind: str, folders: Folders) -> list[Place]:
    """Return the places of a set."""
    real = folders.real
    found = [Place(name, real / "s2s1-places" / name) for name in ("chile", "denmark")]
    found.append(Place("potsdam", real / "potsdam-leipzig" / "potsdam"))
    if kind == "rgb":
        return [*found, Place("augsburg", real / "c2seg-ab-quicklook" / "augsburg")]
    cities = [city for seed in SEEDS for city in simulated(folders, seed)]
    return [
        *found,
        *(Place(f"{city.parent.name.split('-')[-1]}-{city.name}", city, "reference.tif") for city in cities),
    ]


def prepared(place: Place, kind: str, folders: Folders) -> Path:
    """Return a place with the set's bands and the common classes as a folder."""
    return written(folders.work / "places" / f"{kind}-{place.name}", partial(_write, place, kind))


def _write(place: Place, kind: str, out: Path) -> None:
    city = open_city(place.city)
    stated = [band.role for band in city.scenes[0].modality("msi").bands]
    roles = stated if any(stated) else list(DISPLAYED)
    copy_window(place.city / "msi.tif", out / "msi.tif", bands=tuple(roles.index(role) + 1 for role in ROLES[kind]))
    if (place.city / "valid.tif").is_file():
        copy_window(place.city / "valid.tif", out / "valid.tif")
    walk = land4()
    for name in dict.fromkeys(("label.tif", place.truth)):
        copy_window(place.city / name, out / name, change=lambda ids: walk.apply(ids, city.legend))
    (out / "legend.yaml").write_text(yaml.safe_dump(walk.legend.as_dict(), sort_keys=False), encoding="utf-8")
    entry = {"file": "msi.tif", "bands": [{"name": role, "role": role} for role in ROLES[kind]], "scale": _scale(place)}
    content = {"legend": "legend.yaml", "modalities": {"msi": entry}, "label": "label.tif"}
    content |= {"valid": "valid.tif"} if (out / "valid.tif").is_file() else {}
    (out / "city.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _scale(place: Place) -> float:
    file = place.city / "city.yaml"
    if not file.is_file():
        return 1.0
    return float(yaml.safe_load(file.read_text(encoding="utf-8"))["modalities"]["msi"].get("scale", 1.0))


def pairs(kind: str, folders: Folders) -> list[Pair]:
    """Return, for each place, each other one as its source, and all others together."""
    known = places(kind, folders)
    cities = {place.name: prepared(place, kind, folders) for place in known}
    result = []
    for target in known:
        truth = cities[target.name] / target.truth
        sources = [place.name for place in known if place is not target]
        result += [
            Pair(cities[source], cities[target.name], truth, given_name=f"{kind} {source} to {target.name}")
            for source in sources
        ]
        first, *rest = (cities[name] for name in sources)
        name = f"{kind} {OTHERS} to {target.name}"
        result.append(Pair(first, cities[target.name], truth, given_name=name, further=tuple(rest)))
    return result


def table(cells: Sequence[Cell]) -> str:
    """Return mIoU by source and target of each row, and all others together minus single sources."""
    return "\n\n".join(
        _table([c for c in cells if c.label == label], label) for label in dict.fromkeys(c.label for c in cells)
    )


def _table(cells: Sequence[Cell], label: str) -> str:
    of = {cell.key: tuple(cell.pair.split(" ", 1)[1].split(" to ")) for cell in cells}
    targets = list(dict.fromkeys(target for _, target in of.values()))
    sources = [*targets, OTHERS]
    score = {
        (source, target): mean(part)
        for source in sources
        for target in targets
        if (part := [cell.miou for cell in cells if of[cell.key] == (source, target)])
    }
    lines = [[f"{label}: from, to", *targets, "mean"]]
    for source in sources:
        values = [score[source, target] for target in targets if (source, target) in score]
        shown = [f"{score[source, target]:.3f}" if (source, target) in score else "-" for target in targets]
        lines.append([source, *shown, f"{mean(values):.3f}" if values else "-"])
    complete = [t for t in targets if (OTHERS, t) in score and any((s, t) in score for s in targets)]
    if not complete:
        return aligned(lines)
    best = {t: max((s for s in targets if (s, t) in score), key=lambda s, t=t: score[s, t]) for t in complete}
    usual = {t: mean(score[s, t] for s in targets if (s, t) in score) for t in complete}
    counts: dict[str, dict[tuple[str, int], list]] = {"others": {}, "best": {}}
    for cell in cells:
        source, target = of[cell.key]
        if target in best and source in (OTHERS, best[target]):
            counts["others" if source == OTHERS else "best"][target, cell.seed] = cell.confusions()
    compared = compare(counts["others"], counts["best"], "miou")
    assert compared is not None
    interval = compared[0].difference
    gain = mean(score[OTHERS, t] - usual[t] for t in complete)
    return (
        f"{aligned(lines)}\nall others together minus the mean single source: {gain:+.3f}; minus the best one, known later: "
        f"{interval.value:+.3f} ({interval.low:+.3f} .. {interval.high:+.3f})"
    )


def main() -> None:
    parser = options()
    parser.description = __doc__
    parser.set_defaults(results=Path(__file__).with_suffix(".json"), recipes="forest")
    parser.add_argument("--places", choices=list(ROLES), default="rgb")
    given = parser.parse_args()
    logging.getLogger("c2seg").setLevel(logging.ERROR)
    study: Study = study_of(given, rows_of(given), pairs(given.places, Folders(given.work)))
    if not given.table:
        run_study(study)
    print(table(study.cells()))


if __name__ == "__main__":
    main()
