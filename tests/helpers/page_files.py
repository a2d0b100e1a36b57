"""What pages take for granted: cities, models, maps, extracts, products and labels of people, made by code on a small scale."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import osmium
import pyogrio
import rasterio
import shapely

import c2seg
from c2seg.artifacts import MapRecord
from c2seg.challenge import pack_submission
from c2seg.legend import c2seg13
from c2seg.verify.samples import SampleRecord
from c2seg.verify.suggestions import SuggestionRecord
from helpers.label_maps import ORIGIN, UTM, OsmFile
from helpers.verify_make import write_labels

# Simulated cities: some tiles of 64 pixels fit into each.
SCALES = {"ab": 0.1, "bw": 0.03}
PAIR_OF = {"alder": "ab", "birch": "ab", "cedar": "bw", "dogwood": "bw"}
LENGTHS = {"forest": "model.trees=10", "unet": "training.iterations=4"}


@dataclass
class Shelf:
    """A folder of things that are made once, when the first page asks for them."""

    folder: Path

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            make(path)
        return path

    def city(self, name: str) -> Path:
        pair = PAIR_OF[name]
        return self.once(pair, lambda out: c2seg.simulate_pair(out, pair=pair, scale=SCALES[pair], seed=1)) / name

    def run(self, recipe: str) -> Path:
        cities = {"source": self.city("alder"), "target": self.city("birch")}
        settings = {"preset": "demo", "overrides": [LENGTHS[recipe]]}
        return self.once(recipe, lambda out: c2seg.fit(recipe, out=out, **cities, **settings))

    def map(self, city: str, layer: str = "map") -> Path:
        """Return a map of a city, or its layer ``probabilities``."""

        def predict(out: Path) -> None:
            model = c2seg.load_model(self.run("forest"))
            model.predict(self.city(city), out / "map.tif", probabilities=out / "probabilities.tif")

        return self.once(f"{city} map", predict) / f"{layer}.tif"

    def tiles(self, city: str, side: int, step: int) -> Path:
        """Return a city cut into tiles, with its labels."""
        cut = {"layout": "tiles", "tile_px": side, "step_px": step}
        return self.once(f"{city} tiles {side} {step}", lambda out: c2seg.convert_city(self.city(city), out, **cut))

    def packed(self, city: str, side: int) -> Path:
        """Return the archive of a map of a city, its ground truth."""
        path = self.city(city) / "reference.tif"
        return self.once(f"{city} {side}.zip", lambda out: pack_submission(path, out, c2seg13(), tile_px=side))


Maker = Callable[[Shelf, Path], object]


def city(name: str) -> Maker:
    return lambda shelf, out: out.symlink_to(shelf.city(name))


def pair(shelf: Shelf, out: Path) -> None:
    out.symlink_to(shelf.city("alder").parent)


def run(recipe: str) -> Maker:
    return lambda shelf, out: shutil.copytree(shelf.run(recipe), out)


def raster(name: str, of: str = "birch") -> Maker:
    """Return a maker of one raster of a city, such as its labels."""
    return lambda shelf, out: shutil.copy(shelf.city(of) / f"{name}.tif", out)


def layer(name: str) -> Maker:
    """Return a maker of a map with its record, or of its probabilities."""

    def make(shelf: Shelf, out: Path) -> None:
        for path in (source := shelf.map("birch", name)).parent.glob(f"{source.stem}.*"):
            shutil.copy(path, out.with_suffix(path.suffix))

    return make


def published_split(name: str, side: int, step: int) -> Maker:
    return lambda shelf, out: out.symlink_to(shelf.tiles(name, side, step))


def label_tiles(name: str, side: int) -> Maker:
    return lambda shelf, out: shutil.copytree(shelf.tiles(name, side, side) / "label", out)


def archive(name: str, side: int) -> Maker:
    return lambda shelf, out: shutil.copy(shelf.packed(name, side), out)


def predicted_tiles(shelf: Shelf, out: Path) -> None:
    with zipfile.ZipFile(shelf.packed("birch", 64)) as file:
        file.extractall(out)


def labels_of(points: str) -> Maker:
    """Return what people do on the page of a sample: the ground truth is read at its points."""

    def make(shelf: Shelf, out: Path) -> None:
        path = out.with_name(f"{points}.json")
        kind = SuggestionRecord if json.loads(path.read_text())["artifact"] == "suggestion" else SampleRecord
        record = kind.read(path)
        map_path = out.parent / record.map.path
        city = MapRecord.read(map_path.with_suffix(".json")).city.path
        with rasterio.open(map_path.parent / city / "reference.tif") as file:
            write_labels(out, path.with_suffix(".csv"), record, file.read(1))

    make.by_people = True  # type: ignore[attr-defined]
    return make


def districts(shelf: Shelf, out: Path) -> None:
    """The north and the south of a city as polygons."""
    with rasterio.open(shelf.city("birch") / "msi.tif") as file:
        west, south, east, north = file.bounds
        crs = file.crs.to_string()
    middle = (south + north) / 2
    halves = [shapely.box(west, middle, east, north), shapely.box(west, south, east, middle)]
    pyogrio.raw.write(
        out, np.array(shapely.to_wkb(halves), object), [np.array(["north", "south"], object)], ["name"],
        geometry_type="Polygon", crs=crs, driver="GPKG",
    )  # fmt: skip


def image_of_town(shelf: Shelf, out: Path) -> None:
    """The red band of the place that ``town`` maps."""
    values = np.full((1, 120, 150), 1000, np.uint16)
    transform = rasterio.Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1] + 1200)
    profile = {"driver": "GTiff", "count": 1, "height": 120, "width": 150, "dtype": "uint16", "crs": UTM}
    out.parent.mkdir(exist_ok=True)
    with rasterio.open(out, "w", transform=transform, **profile) as file:
        file.write(values)


KINDS = (
    {"natural": "water"}, {"landuse": "residential"}, {"landuse": "industrial"}, {"landuse": "quarry"}, {"leisure": "park"},
    {"landuse": "farmland"}, {"landuse": "vineyard"}, {"landuse": "meadow"}, {"landuse": "forest"}, {"natural": "scrub"},
    {"natural": "sand"}, {"natural": "wetland"},
)  # fmt: skip


def town(shelf: Shelf, out: Path) -> None:
    """An extract in which every class has several blocks, and streets run between them."""
    extract = OsmFile()
    extract.bounds = (-200, -200, 1700, 1400)
    for row in range(4):
        for column in range(5):
            west, south = 300 * column, 300 * row
            extract.box(west, south, west + 300, south + 300, **KINDS[(5 * row + column) % len(KINDS)])
        extract.way([(0, 300 * row), (1500, 300 * row)], highway="primary")
    plain = extract.write(out.with_name("town.osm"))
    header = osmium.io.Header()
    header.add_box(osmium.io.Reader(str(plain)).header().box())
    with osmium.SimpleWriter(str(out), header=header) as writer:
        for feature in osmium.FileProcessor(str(plain)):
            writer.add(feature)
    plain.unlink()


def list_of_towns(shelf: Shelf, out: Path) -> None:
    image_of_town(shelf, out.with_name("town") / "msi.tif")
    out.write_text("path,name\ntown,Town\n")


def list_of_cities(shelf: Shelf, out: Path) -> None:
    out.write_text(f"path,name\n{shelf.city('birch')},Berlin\n{shelf.city('alder')},Augsburg\n")


def local_cluster(shelf: Shelf, out: Path) -> None:
    """A cluster of this machine in the place of Slurm's."""
    out.write_text(
        "module: distributed\nclass: LocalCluster\nworkers: 1\n"
        "kwargs: {n_workers: 0, threads_per_worker: 1, dashboard_address: null}\n"
    )
