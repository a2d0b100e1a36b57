"""Write small vector files for tests."""

from __future__ import annotations

import json

POLYGON = {"type": "Polygon", "coordinates": [[[600_050, 5_299_900], [600_150, 5_299_900], [600_150, 5_300_000],
                                              [600_050, 5_300_000], [600_050, 5_299_900]]]}  # fmt: skip


def write_polygons(path, *, field="class", value=4, crs="urn:ogc:def:crs:EPSG::32632", geometry=POLYGON):
    feature = {"type": "Feature", "properties": {field: value}, "geometry": geometry}
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": [feature]}))
    return path
