"""Hostile texts: YAML of every kind, OpenStreetMap XML, and the files of a run folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random

import yaml

from c2seg.api.cities import inspect_city
from c2seg.artifacts.benchmark import BenchmarkResult
from c2seg.data import TileGrid, open_labeled_city, write_folder, write_tiles
from c2seg.data.label_map import load_label_map
from c2seg.data.layouts import layout_of
from c2seg.documents import json_text
from c2seg.labels import grid_from_bounds, load_rules, make_labels
from c2seg.labels.rules import default_rules_text
from c2seg.legend import c2seg13, load_legend
from c2seg.recipes import load_recipe, presets, recipe_names, recipe_text, variants
from c2seg.report.runs import open_runs
from helpers.label_maps import UTM, OsmFile, utm_bounds
from helpers.toy_cities import make_city
from hostile.mutations import DOCUMENTS, FILES, VALUES, spoil_bytes, spoil_file, spoil_json, spoil_text, spoil_yaml

RELEASED = Path(__file__).parents[1] / "released" / "0.1.0"


def spoil_yamls(rng: Random, place: Path) -> None:
    """Spoil one of the YAML files of the input."""
    spoil_yaml(rng, rng.choice(sorted(place.rglob("*.yaml"))))


def recipes(place: Path) -> None:
    """Every shipped recipe, one over another, and a resolved one."""
    for name in recipe_names():
        (place / f"{name}.yaml").write_text(recipe_text(name), encoding="utf-8")
    (place / "over.yaml").write_text(f"base: {place / 'unet.yaml'}\ntraining: {{iterations: 3}}\n", encoding="utf-8")
    shutil.copy(RELEASED / "crosscity" / "recipe.yaml", place / "resolved.yaml")
    (place / "shipped.json").write_text(
        json.dumps({path.name: path.read_text(encoding="utf-8") for path in place.glob("*.yaml")}), encoding="utf-8"
    )


def use_recipes(place: Path) -> None:
    """Load the recipe that was changed, if it is known which, with its presets and variants."""
    shipped = json.loads((place / "shipped.json").read_text(encoding="utf-8"))
    for name, text in shipped.items():
        path = place / name
        if not path.is_file() or path.is_symlink() or path.stat().st_size != len(text.encode()) or _differs(path, text):
            for preset in (None, *presets(str(path))[:2]):
                load_recipe(str(path), preset)
            for variant in variants(str(path))[:2]:
                load_recipe(f"{path}@{variant}")


def _differs(path: Path, text: str) -> bool:
    return path.read_bytes() != text.encode()


def legends(place: Path) -> None:
    """The legend of the challenge."""
    (place / "legend.yaml").write_text(yaml.safe_dump(c2seg13().as_dict(), sort_keys=False), encoding="utf-8")


def use_legend(place: Path) -> None:
    """Load it and give it out again, with its colors."""
    legend = load_legend(place / "legend.yaml")
    for palette in ("default", *legend.palettes):
        legend.colors(palette)
    json_text(legend.as_dict())
    legend.index_table()


def label_maps(place: Path) -> None:
    """A label mapping."""
    (place / "map.yaml").write_text("0: 0\n10: 1\n20: 2\n30: 3\n", encoding="utf-8")


def use_label_map(place: Path) -> None:
    """Load it."""
    load_label_map(place / "map.yaml", c2seg13())


def rule_tables(place: Path) -> None:
    """The shipped rule table, and a short one, where a change more often matters."""
    (place / "rules.yaml").write_text(default_rules_text(), encoding="utf-8")
    (place / "short.yaml").write_text(
        "name: short\nwin_share: {13: 0.3}\nexclude: {tunnel: ['yes']}\n"
        "switches: {s: {default: a, options: {a: 1, b: 0}, why: x}}\nrules:\n"
        "- {name: water, class: s, priority: 3, tags: {natural: [water]}}\n"
        "- {name: road, class: 13, priority: 9, tags: {highway: [primary]}, half_width_m: 5, closed: line}\n",
        encoding="utf-8",
    )


def use_rules(place: Path) -> None:
    """Load both."""
    for name in ("rules.yaml", "short.yaml"):
        load_rules(place / name).match_line({"highway": "primary"}, closed=False)


def folder_city(place: Path) -> None:
    """A folder city of 24 x 18 pixels, with every key of city.yaml, a legend file and a label mapping."""
    write_folder(make_city(24, 18), place / "city")
    described = yaml.safe_load((place / "city" / "city.yaml").read_text(encoding="utf-8"))
    described |= {
        "legend": "legend.yaml",
        "label": {"file": "label.tif", "label_map": "map.yaml"},
        "valid": "valid.tif",
    }
    described["modalities"]["hsi"] |= {"keep": "1-3, 5", "wavelengths_nm": [400.0, 500.0, 600.0, 700.0]}
    described["modalities"]["hsi"].pop("bands", None)
    (place / "city" / "city.yaml").write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    legends(place / "city")
    (place / "city" / "map.yaml").write_text("".join(f"{i}: {i}\n" for i in range(14)), encoding="utf-8")


def tile_city(place: Path) -> None:
    """The same as tiles."""
    write_tiles(make_city(24, 18, ratio=1), place / "city", TileGrid(24, 18, 8, 8, "columns"))


def use_city(place: Path) -> None:
    """Open the city, inspect it with its pixels, and print that as JSON."""
    path = next((path for path in sorted(place.iterdir()) if path.stem == "city"), place / "city.mat")
    layout_of(path)
    strict_json(json_text(inspect_city(path).as_dict()))
    city = open_labeled_city(path, "mat" if path.suffix == ".mat" else None)
    for index, scene in enumerate(city.images.scenes):
        city.read_label(index, scene.grid.window)


def strict_json(text: str) -> None:
    """Raise AssertionError for what is JSON in Python only."""

    def wrong(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads(text, parse_constant=wrong)


def osm_xml(place: Path) -> None:
    """A small map with areas, a hole, streets and a coast."""
    osm = OsmFile()
    osm.bounds = (0, 0, 400, 400)
    outer, inner = osm.box(20, 20, 300, 300), osm.box(100, 100, 200, 200, landuse="meadow")
    osm.relation([(outer, "outer"), (inner, "inner")], landuse="forest")
    osm.way([(0, 350), (200, 360), (400, 340)], highway="primary")
    osm.way([(350, 0), (360, 200), (355, 400)], natural="coastline")
    osm.box(310, 20, 340, 60, natural="water")
    osm.write(place / "map.osm")


_XML = (
    '<!DOCTYPE a [<!ENTITY x "' + "y" * 1000 + '">' + "".join(
        f'<!ENTITY x{n} "{f"&x{n - 1 if n else str()};" * 20}">' for n in range(12)
    ) + ']><osm version="0.6"><node id="1" lat="1" lon="1"><tag k="a" v="&x11;"/></node></osm>',
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><osm version="0.6"><tag k="a" v="&x;"/></osm>',
    "<osm version='0.6'>" + "<node>" * 100_000, "<" * 100_000, "<osm/>", "<osm version='9'/>",
)  # fmt: skip


def spoil_osm(rng: Random, place: Path) -> None:
    """Change attributes of OpenStreetMap XML, or its text, bytes or file; some are compressed, some renamed."""
    path = place / "map.osm"
    text = path.read_text(encoding="utf-8")
    how = rng.random()
    if how < 0.55:
        for _ in range(rng.choice((1, 1, 2, 5))):
            found = rng.choice(list(re.finditer(r'"([^"]*)"', text)))
            value = rng.choice((*map(str, VALUES), "181", "-91.5", "1e400", "5", "1001", "way", "node", "outer", "yes"))
            value = re.sub(r"[<&\x00\"]", "", value) if rng.random() < 0.9 else value
            text = text[: found.start(1)] + value + text[found.end(1) :]
        path.write_text(text, encoding="utf-8")
    elif how < 0.75:
        path.write_bytes(spoil_text(rng, text).encode("utf-8", "surrogatepass"))
    elif how < 0.9:
        path.write_bytes(spoil_bytes(rng, text.encode()))
    elif how < 0.95:
        path.write_text(rng.choice(_XML), encoding="utf-8")
    else:
        rng.choice((*FILES, *DOCUMENTS))(path)
        if path.is_file() and rng.random() < 0.5:
            path.rename(path.with_name(rng.choice(("map.osm.pbf", "map.osm.gz", "map.osm.bz2", "map.o5m"))))


def use_extract(place: Path) -> None:
    """Make labels of it, as pixels."""
    names = [path for path in sorted(place.iterdir()) if path.name.startswith("map.")]
    path = names[0] if names else place / "map.osm"
    labels = make_labels(path, load_rules(), grid_from_bounds(utm_bounds(0, 0, 400, 400), 20.0, UTM))
    labels.rows(0, labels.grid.height)
    strict_json(json_text(list(labels.extract.unmatched.items())))


def run_folder(place: Path) -> None:
    """Run folders of 0.1.0: a forest, a network, a run of a benchmark."""
    for name in ("forest", "unet"):
        shutil.copytree(RELEASED / name, place / name)
    shutil.copytree(RELEASED / "benchmark/runs/source-target/forest/seed0", place / "seed0")


def spoil_run(rng: Random, place: Path) -> None:
    """Spoil a file of a run folder."""
    files = [
        path for path in sorted(place.rglob("*")) if path.is_file() and path.suffix not in (".safetensors", ".onnx")
    ]
    path = rng.choice(files)
    if path.suffix == ".json":
        spoil_json(rng, path)
    elif path.suffix == ".yaml":
        spoil_yaml(rng, path)
    else:
        spoil_file(rng, path)


def use_run(place: Path) -> None:
    """Open the runs as ``c2seg report`` does, count the maps' pixels, and read the benchmark's result."""
    for name in ("forest", "unet", "seed0"):
        for run in open_runs([place / name]):
            for entry in run.maps:
                entry.count_ids()
            for record in (run.record, run.validation, *run.scores):
                if record is not None:
                    strict_json(json_text(record.as_json()))
    BenchmarkResult.read(place / "seed0" / "result.json")
