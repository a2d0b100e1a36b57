"""A map fused from few-shot maps is few-shot."""

from __future__ import annotations

import numpy as np

from c2seg.artifacts import MapKey, MapRecord, TargetLabelsRecord
from c2seg.artifacts.target_labels import SceneSpans
from c2seg.fusion import FuseOptions, Rules, fuse, open_map
from c2seg.legend import c2seg13
from helpers.rasters import write_raster


def test_a_fused_map_leaves_out_what_any_of_its_models_was_trained_on(tmp_path):
    labels = TargetLabelsRecord(
        file="l.csv", digest="d", city="c", labels={"Forests": 1}, pixels=1, guard_px=1,
        scenes=(SceneSpans(scene="s", spans=((2, 3, 1),)),),
    )  # fmt: skip
    for name, few in (("a", ()), ("b", (labels,))):
        write_raster(tmp_path / f"{name}.tif", np.full((1, 6, 7), 10, np.uint8))
        record = MapRecord(
            path=f"{name}.tif", pixels=42, nodata_pixels=0, area_km2={}, seconds=0, key=MapKey(city="c", scene="s"),
            target_labels=few,
        )  # fmt: skip
        record.write(tmp_path / f"{name}.json")
    maps = [open_map(tmp_path / f"{name}.tif", c2seg13()) for name in ("a", "b")]
    fused = fuse(maps, Rules(()), c2seg13(), FuseOptions(tmp_path / "fused.tif"))
    assert fused.few_shot
    assert fused.labels_here() == (labels,)
