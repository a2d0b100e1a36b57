"""Train, predict, score and report from Python: results are objects, paths are text or paths, nothing is printed."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from short_recipes import FOREST

import c2seg


class OtherPath(os.PathLike):
    """A path that is neither text nor pathlib's."""

    def __init__(self, path):
        self.path = str(path)

    def __fspath__(self):
        return self.path


@pytest.fixture
def cities(make_city):
    return make_city("source", seed=1), make_city("target", seed=2)


def fit(cities, out, **more):
    return c2seg.fit(
        "forest", source=OtherPath(cities[0]), target=str(cities[1]), out=str(out), overrides=FOREST, **more
    )


def test_from_cities_to_a_page(cities, tmp_path, capfd, caplog):
    with caplog.at_level(logging.INFO, "c2seg"):
        run = fit(cities, tmp_path / "run")
    assert run.model == tmp_path / "run/model.safetensors"
    assert run.recipe.model.trees == 5
    assert any("no labeled pixel of 2 Street" in note for note in run.notes)
    logged = [record.getMessage() for record in caplog.records]
    assert logged[-len(run.notes) :] == list(run.notes)
    assert logged[0].startswith("forest, preset tiny, on cpu")
    assert "model.safetensors" in run._repr_html_()
    model = c2seg.load_model(str(tmp_path / "run"))
    assert model.classes[9] == model.legend.classes[9].name
    assert [len(bands) for bands in model.bands.values()] == [4, 2, 6]
    assert len(model.digest) == 16
    assert "13 classes" in model._repr_html_()
    out = tmp_path / "run/maps/target.tif"
    predicted = model.predict(OtherPath(cities[1]), str(out), preview=str(out.with_suffix(".png")))
    assert predicted.maps[0].pixels == 70 * 91
    assert "Forests" in predicted._repr_html_()
    scores = c2seg.score(str(out), OtherPath(cities[1]), out=str(tmp_path / "run/scores.json"), boundary_px=1)
    report = c2seg.make_report(str(tmp_path / "run"), str(tmp_path / "page.html"), cities=str(cities[1]))
    assert report.out.stat().st_size > 1000
    assert scores.record.boundary.tolerance_px == 1
    assert capfd.readouterr() == ("", "")


def test_folds_give_scores_without_a_model(cities, tmp_path):
    changes = [*FOREST, "validation={folds: 2, final: false}"]
    run = c2seg.fit("forest", source=[cities[0]], out=tmp_path / "run", overrides=changes)
    assert run.model is None
    assert 0.3 < run.scores.miou <= 1
    assert "folds" in run.folds
    assert "mIoU" in run._repr_html_()
    with pytest.raises(c2seg.InputError, match=r"validation\.final"):
        run.load()


def test_recipes_by_name_file_or_object(cities, tmp_path):
    recipe = c2seg.load_recipe("forest", overrides=FOREST)
    assert recipe.model.trees == 5
    (tmp_path / "mine.yaml").write_text("base: forest\nname: mine\nmodel: {trees: 3}\nvalidation: {folds: 0}\n")
    assert c2seg.load_recipe(tmp_path / "mine.yaml").model.trees == 3
    run = c2seg.fit(recipe, source=cities[0], out=tmp_path / "run")
    assert run.recipe is recipe
    with pytest.raises(c2seg.InputError, match="preset and overrides"):
        c2seg.fit(recipe, source=cities[0], out=tmp_path / "other", preset="tiny")
    with pytest.raises(c2seg.RecipeError, match="Did you mean 'forest'"):
        c2seg.fit("forrest", source=cities[0], out=tmp_path / "other")


def test_scores_by_class_name(cities, tmp_path):
    label = cities[1] / "label.tif"
    scores = c2seg.score(label, label)
    assert scores.miou == scores.oa == scores.kappa == scores.mf1 == 1
    names = list(scores.iou)
    assert scores.iou[names[0]] == scores.f1[names[0]] == scores.precision[names[0]] == scores.recall[names[0]] == 1
    assert scores.iou[names[1]] is None
    assert scores.confusion.counts.sum() == scores.pixels == 70 * 91
    table = scores._repr_html_()
    assert table.count("<tr>") == 14
    assert "mIoU 1.0000" in table
    scores.write(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["iou"][1] is None
    with pytest.raises(c2seg.OutputError, match="exists already"):
        c2seg.score(label, label, out=tmp_path / "s.json")
    assert c2seg.score(label, label, out=tmp_path / "s.json", overwrite=True).miou == 1


def test_progress_is_silent_bars_or_a_callable(cities, tmp_path, capfd):
    seen = []

    def bars(label):
        return lambda done, total, text="": seen.append((label, done / total))

    fit(cities, tmp_path / "run", progress=bars)
    assert {"statistics", "forest"} <= {label for label, _ in seen}
    assert max(share for _, share in seen) == 1
    assert capfd.readouterr() == ("", "")
    fit(cities, tmp_path / "run", progress=True, overwrite=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "statistics" in err


def test_fused_maps(cities, tmp_path):
    maps = [tmp_path / "a.tif", str(tmp_path / "b.tif")]
    model = fit(cities, tmp_path / "run").load()
    for out in maps:
        model.predict(cities[1], out)
    result = c2seg.fuse_maps(
        maps, tmp_path / "fused.tif", weights=[2, 1], sar=maps[0], rules={"street": maps[1], 7: maps[0]}
    )
    assert [rule.class_id for rule in result.fusion.rules] == [1, 2, 7]
    assert Path(tmp_path / "fused.json").exists()
    with pytest.raises(c2seg.InputError, match="Did you mean 'Street'"):
        c2seg.fuse_maps(maps, tmp_path / "other.tif", rules=[("Streets", maps[0])])
    with pytest.raises(c2seg.InputError, match="say how experts decide"):
        c2seg.fuse_maps(maps, tmp_path / "other.tif", soft=True)


def test_exported_models(trained, tmp_path):
    model, target = trained("unet")
    check = c2seg.export_model(model, str(tmp_path / "net.onnx"))
    assert max(check.largest_difference.values()) < 1e-3
    written = c2seg.load_model(tmp_path / "net.onnx")
    arrays = read_city(target)
    assert np.nanmax(np.abs(written.predict_array(arrays) - model.predict_array(arrays))) < 1e-3
    with pytest.raises(c2seg.InputError, match="ONNX file already"):
        c2seg.export_model(written, tmp_path / "again.onnx")
    with pytest.raises(c2seg.InputError, match=r"end in \.onnx"):
        c2seg.export_model(tmp_path / "run", tmp_path / "net.pt")


def read_city(city):
    import rasterio

    arrays = {}
    for name in ("msi", "sar", "hsi"):
        with rasterio.open(city / f"{name}.tif") as dataset:
            arrays[name] = dataset.read()
    return arrays
