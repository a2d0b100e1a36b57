"""`c2seg score` from the outside."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score

from c2seg.cli import run


@pytest.fixture
def files(write_raster, maps):
    return str(write_raster("p.tif", maps[1])), str(write_raster("t.tif", maps[0]))


def answer(capsys, *arguments):
    assert run(["score", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_equals_scikit_learn(capsys, files, maps):
    content = answer(capsys, *files)
    known = (maps[0] > 0) & (maps[0] < 255)
    t, p = maps[0][known], maps[1][known]
    present = np.unique(t)
    assert content["oa"] == pytest.approx(accuracy_score(t, p), abs=1e-12)
    assert content["kappa"] == pytest.approx(cohen_kappa_score(t, p), abs=1e-12)
    assert content["mf1"] == pytest.approx(f1_score(t, p, labels=present, average="macro"), abs=1e-12)
    assert content["miou"] == pytest.approx(jaccard_score(t, p, labels=present, average="macro"), abs=1e-12)
    iou = jaccard_score(t, p, labels=present, average=None)
    assert [content["iou"][i - 1] for i in present] == pytest.approx(list(iou), abs=1e-12)
    assert content["iou"][11:] == [None, None]
    assert content["pixels"] == t.size == sum(map(sum, content["confusion"]["counts"]))


def test_table_shows_undefined_as_a_dash(capsys, files):
    assert run(["score", *files, "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "mIoU" in out
    assert " 13 Inland wetlands                          -        -" in out


def test_everything_max_parallel(capsys, files, write_raster, maps, tmp_path):
    worse = np.where(np.arange(70) < 20, np.uint8(3), maps[1])
    other = str(write_raster("worse.tif", worse))
    options = ["--intervals", "--against", other, "--block-px", "10", "--replicates", "200", "--boundary-px", "2"]
    content = answer(capsys, *files, *options, "--out", str(tmp_path / "s.json"))
    assert content["intervals"]["oa"]["low"] < content["oa"] < content["intervals"]["oa"]["high"]
    assert len(content["intervals"]["iou"]) == 13
    assert content["comparison"]["oa"]["difference"]["low"] > 0
    assert content["comparison"]["oa"]["p_value"] < 0.02
    assert content["comparison"]["against_scores"]["oa"] < content["oa"]
    assert 0 < content["boundary"]["mean_f1"] < 1
    assert json.loads((tmp_path / "s.json").read_text()) == content
    assert run(["score", *files, *options]) == 0
    captured = capsys.readouterr()
    assert "minus the other map +0." in captured.out
    assert "boundary F1 within 2 px" in captured.out
    assert "counting: 100 %" in captured.err


def test_protocols_differ_as_they_should(capsys, files):
    values = {p: answer(capsys, *files, "--protocol", p)["miou"] for p in ("challenge", "all13", "mmseg", "mrsn")}
    assert (
        values["challenge"] > values["mmseg"] == values["all13"] != values["mrsn"]
    )  # 11 classes of ground truth, 13 predicted
    assert values["mrsn"] != values["challenge"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "chalenge"], "Did you mean 'challenge'"),
        (["--label-map", "mad"], "Did you mean 'mat'"),
        (["--legend", "none.yaml"], "cannot read the legend none.yaml"),
        (["--block-px", "1000", "--intervals"], "smaller blocks"),
        (["--out", "/proc/none/s.json"], "/proc/none"),
        (["--workers", "0"], "workers"),
    ],
)
def test_bad_options_end_with_2(capsys, files, arguments, words):
    assert run(["score", *files, *arguments, "-q"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_bad_files_end_with_2(capsys, files, write_raster, maps, tmp_path):
    stray = str(write_raster("stray.tif", np.where(maps[0] == 1, 77, maps[0]).astype(np.uint8)))
    assert run(["score", files[0], stray, "-q"]) == 2
    assert "values [77] outside the legend" in capsys.readouterr().err
    two = tmp_path / "two.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(two, "w", driver="GTiff", height=2, width=2, count=2, dtype="uint8"):
            pass
    for arguments, words in (
        ([str(two), files[1]], "has 2 bands"),
        ([files[0], "gone.tif"], "gone.tif does not exist"),
    ):
        assert run(["score", *arguments, "-q"]) == 2
        assert words in capsys.readouterr().err
    existing = tmp_path / "s.json"
    existing.write_text("{}")
    assert run(["score", *files, "--out", str(existing), "-q"]) == 2
    assert run(["score", *files, "--out", str(existing), "-q", "--overwrite"]) == 0


def test_real_labels_score_one_against_themselves(capsys, real_data):
    city = real_data / "c2seg-ab-quicklook" / "augsburg"
    content = answer(capsys, str(city / "label_dense.tif"), str(city))
    assert (content["oa"], content["miou"]) == (1.0, 1.0)


@pytest.mark.slow
def test_100_megapixels_in_bounded_memory(tmp_path):
    """Files of 100 Mpx are scored within 300 MB of what the process needs for 1 Mpx."""
    rng = np.random.default_rng(0)
    peaks = []
    for side in (1000, 10_000):
        paths = []
        for name in ("p", "t"):
            paths.append(str(tmp_path / f"{name}{side}.tif"))
            profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "tiled": True,
                       "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1,
                       "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 4e5, 0, -10, 5.8e6)}  # fmt: skip
            with rasterio.open(paths[-1], "w", **profile) as dataset:
                for row in range(0, side, 1000):
                    values = rng.integers(1, 14, (1000 // 10, side // 10), dtype=np.uint8)
                    dataset.write(values.repeat(10, 0).repeat(10, 1), 1, window=((row, row + 1000), (0, side)))
        code = (
            "import resource, sys; from c2seg.cli import run; code = run(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
        )
        command = [sys.executable, "-c", code, "score", *paths, "--json", "-q", "--intervals"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["pixels"] == side * side
        peaks.append(int(done.stderr.split()[-1]) / 1000)
    assert peaks[1] - peaks[0] < 300
