from __future__ import annotations

import numpy as np
import pytest
import rasterio

from c2seg.data import open_city
from c2seg.errors import DataError, InputError
from c2seg.legend import LandClass, Legend
from c2seg.report.runs import open_runs
from c2seg.report.views import class_colors, make_views, palettes
from helpers import report_make as make


def views_of(runs, cities=(), references=(), label_map=None):
    return make_views(open_runs(runs), cities, references, label_map)


def test_maps_of_one_city_are_one_view(tmp_path):
    place = make.grid()
    runs = [make.make_run(tmp_path / name) for name in ("a", "b")]
    for run in runs:
        make.make_map(run / "town.tif", make.labels(place), place)
    make.make_map(runs[1] / "north.tif", make.labels(place), place, city="north", fingerprint="other")
    views = views_of(runs)
    assert [(v.name, [index for index, _ in v.maps]) for v in views] == [("town", [0, 1]), ("north", [1])]


def test_cities_of_one_name_and_grid_are_kept_apart(tmp_path):
    """As simulated cities of several seeds are: each has its own ground truth and images."""
    place = make.grid()
    cities = [make.make_city(tmp_path / pair / "birch", place, label=True) for pair in ("p1", "p2")]
    runs = [make.make_run(tmp_path / name) for name in ("a", "b")]
    for run, city in zip(runs, cities, strict=True):
        fingerprint = open_city(city).fingerprint()
        make.make_map(
            run / "birch.tif", make.labels(place), place, city="birch", city_path=city, fingerprint=fingerprint
        )
    with rasterio.open(cities[1] / "msi.tif", "r+") as dataset:
        dataset.write(dataset.read() + 1)
    make.make_map(
        runs[1] / "birch.tif", make.labels(place), place, city="birch", city_path=cities[1],
        fingerprint=open_city(cities[1]).fingerprint(),
    )  # fmt: skip
    views = views_of(runs, cities, [city / "label.tif" for city in cities])
    assert [(view.name, view.reference.path.parent, view.remark) for view in views] == [
        ("p1/birch", cities[0], ""),
        ("p2/birch", cities[1], ""),
    ]
    # A ground truth elsewhere could be that of either city.
    references = [make.write_raster(tmp_path / f"{k}.tif", make.labels(place)[None], place) for k in (1, 2)]
    with pytest.raises(InputError, match="both fit the map of p1/birch"):
        views_of(runs, references=references)
    views = make_views(open_runs(runs), (), references, None, dict(zip(references, cities, strict=True)))
    assert [view.reference.path for view in views] == references
    views = views_of(runs, references=[references[0], cities[1]])
    assert [view.reference.path for view in views] == [references[0], cities[1] / "label.tif"]


def test_images_come_from_where_the_city_was(tmp_path):
    place = make.grid()
    city = make.make_city(tmp_path / "town", place)
    run = make.make_run(tmp_path / "run")
    make.make_map(run / "town.tif", make.labels(place), place, city_path=city)
    (view,) = views_of([run])
    assert set(view.images.modalities) == {"msi", "sar", "hsi"}
    assert "fingerprints differ" in view.remark  # the map's notes hold another one
    make.make_map(run / "town.tif", make.labels(place), place)
    (view,) = views_of([run])
    assert view.images is None
    assert "`city`" in view.remark
    (view,) = views_of([run], [city])
    assert view.images is not None


def test_a_city_on_another_grid_is_refused(tmp_path):
    run = make.make_run(tmp_path / "run")
    make.make_map(run / "town.tif", make.labels(make.grid()), make.grid())
    city = make.make_city(tmp_path / "other", make.grid(50, 50))
    with pytest.raises(InputError, match=r"'other' \(50 x 50 pixels\) lies on the grid of no map \(town 48 x 36\)"):
        views_of([run], [city])
    with pytest.raises(InputError, match="there is no map"):
        views_of([make.make_run(tmp_path / "bare")], [city])


def test_reference_is_a_raster_or_a_labeled_city(tmp_path):
    place = make.grid()
    city = make.make_city(tmp_path / "town", place, label=True)
    run = make.make_run(tmp_path / "run")
    make.make_map(run / "town.tif", make.labels(place), place)
    for path in (city, city / "label.tif"):
        (view,) = views_of([run], references=[path])
        assert view.reference.path == city / "label.tif"


def test_a_reference_elsewhere_is_refused(tmp_path):
    run = make.make_run(tmp_path / "run")
    make.make_map(run / "town.tif", make.labels(make.grid()), make.grid(crs=None))
    other = make.grid(20, 20, None)
    path = make.write_raster(tmp_path / "label.tif", make.labels(other)[None], other)
    with pytest.raises(InputError, match="fits no map: "):
        views_of([run], references=[path])
    with pytest.raises(DataError, match="does not exist"):
        views_of([run], references=[tmp_path / "none.tif"])
    with pytest.raises(DataError, match="no label"):
        views_of([run], references=[make.make_city(tmp_path / "bare", other)])


def test_legend_is_read_from_the_map(tmp_path):
    place = make.grid()
    legend = Legend("two", (LandClass(2, "Sea & <sand>", "#0000FF"), LandClass(9, "Rock", "#806040")))
    ids = np.where(make.labels(place) == 3, np.uint8(2), np.uint8(9))
    path = make.make_map(tmp_path / "a.tif", ids, place, legend=legend)
    (view,) = views_of([path])
    assert view.legend.classes == legend.classes
    assert class_colors(view.legend, "default") == {2: (0, 0, 255), 9: (128, 96, 64)}
    assert len(palettes(view.legend)["colorblind"]) == 2
    with pytest.raises(InputError, match="unknown palette 'nice'"):
        class_colors(view.legend, "nice")


def test_a_map_without_tags_is_c2seg13(tmp_path):
    place = make.grid()
    path = make.write_raster(tmp_path / "bare.tif", make.labels(place)[None], place)
    (view,) = views_of([path])
    assert view.legend.name == "c2seg13"
    assert view.name == "bare"
