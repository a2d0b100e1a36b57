"""Open, draw and inspect a city; simulate a pair; make labels."""

from __future__ import annotations

import numpy as np
import pytest

import c2seg


def test_an_opened_city(make_city):
    city = c2seg.open_city(str(make_city("augsburg", hsi_ratio=3)))
    assert (city.name, city.modalities, city.scenes) == ("augsburg", ("msi", "sar", "hsi"), ("augsburg",))
    assert city.legend.num_classes == 13
    assert "70 x 91" in city._repr_html_()
    assert city.labeled.class_counts()[1] > 0
    assert c2seg.open_city(make_city("berlin", label=False)).labeled is None
    assert city.statistics().modalities["hsi"].mean.shape == (6,)


def test_a_city_is_drawn_without_a_window(make_city):
    city = c2seg.open_city(make_city("augsburg", hsi_ratio=3, valid=True))
    figure = city.plot()
    assert [axes.get_title().split()[0] for axes in figure.axes] == ["MSI", "SAR", "HSI", "valid", "label"]
    assert figure._repr_png_().startswith(b"\x89PNG")
    valid = figure.axes[3].images[0].get_array()
    assert (np.asarray(valid)[:17, :30, 0] == 64).all()
    assert (np.asarray(valid)[20:, :, 0] == 255).all()
    label = np.asarray(figure.axes[4].images[0].get_array())
    assert set(map(tuple, label.reshape(-1, 4)[:, :3])) == {city.legend.colors()[number] for number in (1, 3, 10)}
    assert len(city.plot("sar", label=False).axes) == 2
    small = np.asarray(city.plot(pixels=200).axes[0].images[0].get_array())
    assert small.shape[0] * small.shape[1] < 300


def test_a_city_is_drawn_into_given_axes(make_city):
    from matplotlib.figure import Figure

    city = c2seg.open_city(make_city("augsburg"))
    axes = Figure().subplots()
    assert city.plot("hsi", ax=axes) is axes
    assert axes.get_title().startswith("HSI")
    with pytest.raises(c2seg.InputError, match="unknown palette"):
        city.plot(palette="rainbow")
    with pytest.raises(c2seg.DataError, match="unknown scene"):
        city.plot(scene="north")
    with pytest.raises(c2seg.DataError, match="unknown modality"):
        city.plot("lidar")


def test_an_inspected_city(make_city):
    found = c2seg.inspect_city(str(make_city("augsburg")))
    assert (found.name, found.layout, found.problems) == ("augsburg", "folder of rasters", ())
    assert found.scenes[0]["modalities"]["msi"]["bands"] == 4
    assert str(found).startswith("augsburg: folder of rasters")
    assert "no problems found" in str(found)
    assert "no problems found" in found._repr_html_()
    assert found.as_dict()["scenes"][0]["label"]["labeled"] == 70 * 91


def test_a_simulated_pair_and_its_faults(tmp_path):
    with pytest.raises(c2seg.InputError, match="scale must be within"):
        c2seg.simulate_pair(str(tmp_path), scale=2)
    with pytest.raises(c2seg.InputError, match="seasons"):
        c2seg.simulate_pair(tmp_path, parameters={"seasons": 1})


def test_labels_need_one_area(tmp_path):
    with pytest.raises(c2seg.InputError, match="either like"):
        c2seg.make_labels(tmp_path / "l.tif", osm=tmp_path / "none.osm")
    with pytest.raises(c2seg.InputError, match="bounds needs resolution"):
        c2seg.make_labels(str(tmp_path / "l.tif"), osm="none.osm", bounds=(11, 48, 11.1, 48.1))
    with pytest.raises(c2seg.InputError, match="are parameters of bounds"):
        c2seg.make_labels(tmp_path / "l.tif", osm="none.osm", like="m.tif", resolution=10)
