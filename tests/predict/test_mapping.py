from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate
from test_engine import CLASSES, Identity, scene_of

import c2seg.predict.publish as publish
from c2seg.artifacts import MapKey
from c2seg.errors import OutputError
from c2seg.legend import LandClass, Legend
from c2seg.predict import MapOptions, WindowPlan, predict_scene

LEGEND = Legend(
    "three", (LandClass(2, "two", "#0000FF"), LandClass(5, "five", "#00FF00"), LandClass(9, "nine", "#FF0000"))
)
KEY = MapKey(model="abc")


@pytest.fixture
def reader():
    rng = np.random.default_rng(0)
    usable = np.ones((80, 50), bool)
    usable[:10, :20] = False
    array = rng.random((CLASSES, 80, 50)).astype(np.float32)
    return scene_of(array / array.sum(axis=0), valid=usable)


def run(reader, path, predictor=None, **options):
    plan = WindowPlan(80, 50, 16, 4)
    return predict_scene(reader, predictor or Identity(), plan, LEGEND, MapOptions(path, **options), KEY)


class DiesAt:
    """A predictor that fails at its n-th call, as a killed process would."""

    halo_px = 0
    num_classes = CLASSES

    def __init__(self, calls):
        self.left = calls

    def predict(self, patch, valid):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return patch["msi"]


def test_the_map_is_the_argmax_where_valid(reader, tmp_path):
    result = run(reader, tmp_path / "map.tif", confidence=tmp_path / "c.tif", probabilities=tmp_path / "p.tif")
    array = reader.scene.modalities["msi"].source.array
    usable = reader.scene.valid.source.array[0] != 0
    expected = np.where(usable, np.array(LEGEND.ids)[array.argmax(axis=0)], 0)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        found = dataset.read(1)
        assert dataset.nodata == 0
        assert dataset.colormap(1)[5] == (0, 255, 0, 255)
        assert dataset.tags(1)["CLASS_9"] == "nine"
    # Blending rounds: ties within a rounding error may go either way.
    second = np.sort(array, axis=0)
    clear = second[-1] - second[-2] > 1e-5
    np.testing.assert_array_equal(found[clear | ~usable], expected[clear | ~usable])
    assert result.nodata_pixels == 200
    assert result.pixels == 80 * 50 - 200
    assert sum(result.class_pixels.values()) == result.pixels
    assert result.area_km2 == {}  # the scene has no CRS
    with rasterio.open(tmp_path / "p.tif") as dataset:
        np.testing.assert_allclose(dataset.read()[:, usable] / 200, array[:, usable], atol=0.0026)
        assert (dataset.read()[:, ~usable] == 255).all()
    with rasterio.open(tmp_path / "c.tif") as dataset:
        np.testing.assert_allclose(dataset.read(1)[usable] / 200, array.max(axis=0)[usable], atol=0.0026)
    assert cog_validate(tmp_path / "map.tif", quiet=True)[0]
    assert json.loads((tmp_path / "map.json").read_text())["pixels"] == result.pixels
    assert "nine" in (tmp_path / "map.qml").read_text()
    assert not (tmp_path / ".map.tif.scratch").exists()


def test_a_stopped_map_goes_on_with_the_same_bytes(reader, tmp_path):
    run(reader, tmp_path / "whole.tif")
    whole = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "map.tif"
    for calls in (0, 1, 5, 9):
        with pytest.raises(KeyboardInterrupt):
            run(reader, path, DiesAt(calls))
        assert not path.exists()
    assert run(reader, path).resumed_strips > 0
    assert path.read_bytes() == whole


def test_a_torn_ledger_line_does_not_count(reader, tmp_path):
    run(reader, tmp_path / "whole.tif")
    path = tmp_path / "map.tif"
    with pytest.raises(KeyboardInterrupt):
        run(reader, path, DiesAt(14))
    ledger = tmp_path / ".map.tif.scratch" / "ledger.jsonl"
    lines = ledger.read_text()
    ledger.write_text(lines[:-20])
    finished = lines.count('"strip"')
    assert finished > 1
    assert run(reader, path).resumed_strips == finished - 1
    assert path.read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_another_key_starts_afresh(reader, tmp_path, monkeypatch):
    path = tmp_path / "map.tif"
    with pytest.raises(KeyboardInterrupt):
        run(reader, path, DiesAt(14))
    monkeypatch.setattr("test_mapping.KEY", MapKey(model="other"))
    assert run(reader, path).resumed_strips == 0


def test_a_stop_while_the_file_is_written_leaves_no_map(reader, tmp_path, monkeypatch):
    path = tmp_path / "map.tif"

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publish, "write_map", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(reader, path)
    assert not path.exists()
    predictor = Identity()
    run(reader, path, predictor)
    assert predictor.calls == 0
    run(reader, tmp_path / "whole.tif")
    assert path.read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_existing_outputs_and_second_writers_are_refused(reader, tmp_path):
    path = tmp_path / "map.tif"
    run(reader, path)
    with pytest.raises(OutputError, match="`overwrite=True`"):
        run(reader, path)
    run(reader, path, overwrite=True)

    class Nested(Identity):
        def predict(self, patch, valid):
            with pytest.raises(OutputError, match="another process"):
                run(reader, path, overwrite=True)
            return super().predict(patch, valid)

    run(reader, path, Nested(), overwrite=True)


def test_second_class_and_preview(reader, tmp_path):
    from matplotlib.image import imread

    run(reader, tmp_path / "map.tif", runner_up=tmp_path / "s.tif", preview=tmp_path / "map.png")
    with rasterio.open(tmp_path / "map.tif") as dataset:
        found = dataset.read(1)
    with rasterio.open(tmp_path / "s.tif") as dataset:
        second, margin = dataset.read()
        assert dataset.nodata == 255
        assert dataset.descriptions == ("runner-up", "margin")
        assert dataset.scales == (1.0, 0.005)
    usable = found != 0
    assert set(np.unique(second[usable])) == set(LEGEND.ids)
    assert (second[usable] != found[usable]).all()
    assert (second[~usable] == 255).all()
    assert margin[usable].max() <= 200
    image = (imread(tmp_path / "map.png") * 255).round().astype(np.uint8)
    shown = {tuple(color) for color in image[..., :3].reshape(-1, 3).tolist()}
    assert {LEGEND.colors("default")[item.id] for item in LEGEND.classes} <= shown
    assert "nine" in (tmp_path / "map.tif.aux.xml").read_text()


def test_stages_are_timed(reader, tmp_path):
    result = run(reader, tmp_path / "map.tif")
    assert set(result.stages) == {"read", "predict", "blend", "write", "publish"}
    written = json.loads((tmp_path / "map.json").read_text())
    assert written["stages"] == result.stages
    assert written["seconds"] >= written["stages"]["publish"]
