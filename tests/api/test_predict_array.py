"""Probabilities of arrays are those of the city that the arrays came from."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import c2seg
from c2seg.predict.layers import LAYER_NODATA, LAYER_STEPS


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def images():
    """Return a reader of a city folder: arrays by modality, and valid."""

    def of(city):
        arrays = {name: read(city / f"{name}.tif") for name in ("msi", "sar", "hsi")}
        return arrays, read(city / "valid.tif")[0] != 0

    return of


def assert_same(probabilities, model, city, tmp_path, **options):
    model.predict(city, tmp_path / "map.tif", probabilities=tmp_path / "p.tif", overwrite=True, **options)
    expected = read(tmp_path / "p.tif")
    assert probabilities.dtype == np.float32
    assert probabilities.shape == expected.shape
    invalid = np.isnan(probabilities)
    np.testing.assert_array_equal(invalid, expected == LAYER_NODATA)
    np.testing.assert_array_equal(np.rint(probabilities * LAYER_STEPS)[~invalid], expected[~invalid])


@pytest.mark.parametrize("name", ["forest", "unet"])
@pytest.mark.parametrize("ratio", [1, 3])
def test_arrays_of_a_city_give_its_map(trained, images, tmp_path, name, ratio):
    model, target = trained(name, hsi_ratio=ratio)
    arrays, valid = images(target)
    probabilities = model.predict_array(arrays, valid)
    assert_same(probabilities, model, target, tmp_path)
    if name == "unet":
        plain = model.predict_array(arrays, valid, tta=False)
        assert_same(plain, model, target, tmp_path, tta=False)
        assert not np.array_equal(plain, probabilities, equal_nan=True)


@pytest.mark.parametrize("kind", ["per_city", "quantile", "minmax", "source"])
def test_statistics_are_those_of_a_city_and_never_the_patch(trained, images, make_city, tmp_path, kind):
    model, target = trained(overrides=[f"normalization={kind}"])
    arrays, valid = images(target)
    whole = model.predict_array(arrays, valid)
    assert_same(whole, model, target, tmp_path)
    cut = np.s_[..., :32, :32]  # one window: the halo's outside is not valid either way
    patch = {name: values[cut] for name, values in arrays.items()}
    constant = model.predict_array({name: np.full_like(values, 7) for name, values in patch.items()})
    assert np.isfinite(constant).all()
    other = make_city("other", seed=5, gain=0.6)
    assert_same(model.predict_array(*images_of(other), statistics=str(other)), model, other, tmp_path)
    same = np.array_equal(
        model.predict_array(*images_of(other)), model.predict_array(*images_of(other), statistics=other)
    )
    assert same == (kind == "source")


def images_of(city):
    return {name: read(city / f"{name}.tif") for name in ("msi", "sar", "hsi")}, None


def test_statistics_from_a_file_or_an_object(trained, images, tmp_path):
    model, target = trained(target=False)
    arrays, valid = images(target)
    with pytest.raises(c2seg.InputError, match=r"statistics is needed.*without a target"):
        model.predict_array(arrays, valid)
    statistics = c2seg.open_city(target).statistics()
    statistics.write(tmp_path / "statistics.json")
    found = [
        model.predict_array(arrays, valid, given)
        for given in (target, c2seg.open_city(target), statistics, tmp_path / "statistics.json")
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    lacking = statistics.model_copy(update={"modalities": {"msi": statistics.modalities["msi"]}})
    with pytest.raises(c2seg.InputError, match="statistics has no sar"):
        model.predict_array(arrays, valid, lacking)
    narrow = statistics.model_copy(
        update={"modalities": {**statistics.modalities, "sar": statistics.modalities["msi"]}}
    )
    with pytest.raises(c2seg.InputError, match="4 sar bands, the model takes 2"):
        model.predict_array(arrays, valid, narrow)


def test_not_a_number_and_masks_are_not_valid(trained, images):
    model, target = trained()
    arrays, _ = images(target)
    sar = arrays["sar"].astype(np.float64)
    sar[1, 5, 6] = np.nan
    msi = np.ma.masked_array(arrays["msi"], np.zeros(arrays["msi"].shape, bool))
    msi[2, 8, 9] = np.ma.masked
    probabilities = model.predict_array({**arrays, "sar": sar, "msi": msi})
    assert np.argwhere(np.isnan(probabilities[0])).tolist() == [[5, 6], [8, 9]]
    np.testing.assert_allclose(np.nansum(probabilities, axis=0)[0, 0], 1, atol=1e-5)
    assert np.isnan(model.predict_array(arrays, np.zeros(sar.shape[1:], bool))).all()


def test_a_calibrated_model_gives_calibrated_probabilities(trained, images, tmp_path):
    from c2seg.artifacts import read_model_file, write_model_file

    model, target = trained("unet")
    file = read_model_file(model.path)
    write_model_file(model.path, file.header.model_copy(update={"confidence_temperature": 1.7}), file.tensors)
    calibrated = c2seg.load_model(model.path)
    arrays, valid = images(target)
    assert_same(calibrated.predict_array(arrays, valid), calibrated, target, tmp_path)
    assert np.nanmax(calibrated.predict_array(arrays, valid)) < np.nanmax(model.predict_array(arrays, valid))


MISTAKES = [
    ({"msi": np.zeros((0, 9, 9))}, r"arrays\['msi'\] has shape \(0, 9, 9\)"),
    ({"msi": np.zeros((9, 9))}, r"arrays\['msi'\] has shape \(9, 9\)"),
    ({"msi": np.zeros((4, 61, 47), complex)}, r"arrays\['msi'\] has type complex128"),
    ({"msi": [[1, 2]]}, r"arrays\['msi'\] is a list"),
    ({"msi": np.zeros((3, 61, 47))}, "the model takes 4 msi bands, city 'arrays' has 3"),
    ({"sar": np.zeros((2, 40, 40))}, r"arrays\['sar'\] is 40 x 40 pixels and the fine grid 61 x 47: no integer"),
    ({"valid": np.ones((61, 47))}, "valid is float64"),
    ({"valid": np.ones((60, 47), bool)}, r"valid has shape \(60, 47\)"),
    ({"sar": None}, "unknown modality 'sar'"),
]


def test_wrong_arguments_are_named(trained, images):
    model, target = trained()
    arrays, valid = images(target)
    for change, words in MISTAKES:
        given = {k: values for k, values in {**arrays, **change}.items() if k != "valid" and values is not None}
        with pytest.raises(c2seg.C2SegError, match=words):
            model.predict_array(given, change.get("valid", valid))


def test_coarser_arrays_need_one_ratio(trained, images):
    model, target = trained()
    arrays, _ = images(target)
    tiny = {"msi": arrays["msi"][:, :9, :9], "sar": arrays["sar"][:, :9, :9]}
    with pytest.raises(c2seg.InputError, match=r"the ratio is ambiguous: \[5, 6, 7, 8\]"):
        model.predict_array({**tiny, "hsi": arrays["hsi"][:, :2, :2]})
    assert model.predict_array({**tiny, "hsi": arrays["hsi"][:, :3, :3]}).shape == (13, 9, 9)
    with pytest.raises(c2seg.InputError, match="arrays is empty"):
        model.predict_array({})
    with pytest.raises(c2seg.InputError, match="arrays is a ndarray"):
        model.predict_array(arrays["msi"])


def test_xarray_in_and_out(trained, images):
    xarray = pytest.importorskip("xarray")
    model, target = trained(hsi_ratio=3)
    arrays, valid = images(target)
    expected = model.predict_array(arrays, valid)

    def labeled(values, step):
        y, x = (np.arange(size) * step for size in values.shape[1:])
        attrs = {"_FillValue": 0, "long_name": "bands", "area": "Augsburg"}
        return xarray.DataArray(values, dims=("band", "y", "x"), coords={"y": y, "x": x, "spatial_ref": 0}, attrs=attrs)

    given = {name: labeled(values, 3 if name == "hsi" else 1) for name, values in arrays.items()}
    mask = xarray.DataArray(valid, dims=("y", "x"))
    result = model.predict_array({**given, "msi": given["msi"].transpose("y", "x", "band")}, mask)
    np.testing.assert_array_equal(result.values, expected)
    assert result.dims == ("class", "y", "x")
    assert result["class"].values.tolist() == list(model.classes)
    np.testing.assert_array_equal(result["x"], given["msi"]["x"])
    assert "spatial_ref" in result.coords
    assert result.attrs == {"area": "Augsburg"}
    filled = given["sar"].copy()
    filled.values[:, 40, 40] = 0
    assert np.isnan(model.predict_array({**given, "sar": filled}, mask).values[:, 40, 40]).all()
