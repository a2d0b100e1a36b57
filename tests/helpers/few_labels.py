"""Write a few labels of a made city as the table of the labeling page, or as a vector file."""

from __future__ import annotations

import csv
import json

import numpy as np
import rasterio


def places_of(city, count, seed=0, label="label.tif"):
    """Return ``count`` places (row, column) of each class of a city's label."""
    with rasterio.open(city / label) as dataset:
        ids = dataset.read(1)
    rng = np.random.default_rng(seed)
    places = []
    for number in np.unique(ids[ids > 0]):
        here = np.argwhere(ids == number)
        places += here[rng.permutation(len(here))[:count]].tolist()
    return places, [int(ids[row, col]) for row, col in places]


def write_table(path, like, places, classes, **more):
    """Write points as a table; ``more`` are further columns by name, with a value for all rows."""
    with rasterio.open(like) as dataset:
        transform = dataset.transform
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["x", "y", "reference", *more])
        for (row, col), number in zip(places, classes, strict=True):
            writer.writerow([*(transform @ (col + 0.5, row + 0.5)), number, *more.values()])
    return path


def write_points(path, like, places, classes, *, field="class", crs="urn:ogc:def:crs:EPSG::32633"):
    """Write points as GeoJSON."""
    with rasterio.open(like) as dataset:
        transform = dataset.transform
    features = [
        {
            "type": "Feature", "properties": {field: value},
            "geometry": {"type": "Point", "coordinates": list(transform @ (col + 0.5, row + 0.5))},
        }
        for (row, col), value in zip(places, classes, strict=True)
    ]  # fmt: skip
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": features}))
    return path
