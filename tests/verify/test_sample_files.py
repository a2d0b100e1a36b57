"""Labels read back: what is wrong with them is one clear line each."""

from __future__ import annotations

import re

import numpy as np
import pytest

from c2seg.api.sampling_maps import draw_sample
from c2seg.errors import C2SegError, DataError
from c2seg.verify import CANNOT_TELL, open_map, read_sample
from c2seg.verify.samples import agreed_reference
from helpers import report_make, verify_make

IDS = verify_make.patchy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("reading")
    path = verify_make.make_map(place, IDS)
    draw_sample(path, place / "sample.gpkg", n=50, page=False)
    return place


@pytest.fixture
def sample(folder):
    return read_sample(folder / "sample.gpkg")


def labels(folder, tmp_path, sample, name="anna.csv", reference=IDS, **options):
    return verify_make.write_labels(tmp_path / name, folder / "sample.csv", sample.record, reference, **options)


def test_labels_come_back(folder, tmp_path, sample):
    reference = IDS.copy()
    reference[IDS == 3] = 255
    reference[IDS == 7] = 0
    path = labels(folder, tmp_path, sample, reference=reference)
    read = read_sample([folder / "sample.gpkg", path], open_map(folder / "map.tif"))
    mapped = IDS[read.row, read.col]
    expected = np.where(mapped == 3, CANNOT_TELL, np.where(mapped == 7, 0, mapped))
    assert read.reference.tolist() == expected.tolist()
    assert read.interpreters == ("anna",)
    assert read.labeled.tolist() == (~np.isin(mapped, [3, 7])).tolist()
    assert read.inclusion.min() > 0
    assert sample.interpretations == ()


def test_a_csv_alone_finds_the_record_beside_the_map(folder, tmp_path, sample):
    path = labels(folder, tmp_path, sample)
    assert read_sample(path, open_map(folder / "map.tif")).labeled.all()
    assert read_sample([folder / "sample.json", path]).labeled.all()
    with pytest.raises(DataError, match=r"the record of the sample \w{8}\.\.\. of .*anna.csv is neither beside it"):
        read_sample(path)


def test_semicolons_and_decimal_commas_of_spreadsheets(folder, tmp_path, sample):
    path = labels(folder, tmp_path, sample)
    lines = [re.sub(r'"[^"]*"', lambda m: m[0].replace(",", "\0"), line) for line in path.read_text().splitlines()]
    lines = [lines[0].replace(",", ";"), *(line.replace(",", ";").replace(".", ",") for line in lines[1:])]
    path.write_text("\ufeff" + "\n".join(lines).replace("\0", ",") + "\n")
    assert read_sample(path, open_map(folder / "map.tif")).labeled.all()


def test_labels_entered_in_the_geopackage(folder, tmp_path, sample):
    import pyogrio.raw

    info, _, shapes, columns = pyogrio.raw.read(folder / "sample.gpkg")
    fields = dict(zip(info["fields"], columns, strict=True))
    fields["reference"] = np.array([str(IDS[r, c]) for r, c in zip(fields["row"], fields["col"], strict=True)], object)
    fields["confidence"][0] = "high"
    path = tmp_path / "edited.gpkg"
    write = {"geometry_type": "Point", "driver": "GPKG", "layer": "sample"}
    pyogrio.raw.write(path, shapes, list(fields.values()), list(fields), crs=info["crs"], **write)
    read = read_sample(path, open_map(folder / "map.tif"))
    assert read.reference.tolist() == IDS[read.row, read.col].tolist()
    assert read.interpreters == ("edited",)
    assert read.interpretations[0].confidence[0] == 3
    pyogrio.raw.write(path, shapes, list(fields.values()), list(fields), crs="EPSG:32632", **write)
    with pytest.raises(DataError, match=r"edited.gpkg is in another CRS than the map"):
        read_sample(path, open_map(folder / "map.tif"))


def test_several_interpreters(folder, tmp_path, sample):
    other = np.where(IDS == 3, 255, np.where(IDS == 7, 10, IDS)).astype(np.uint8)
    paths = [labels(folder, tmp_path, sample), labels(folder, tmp_path, sample, "ben.csv", other, who="ben")]
    read = read_sample([folder / "sample.json", *paths])
    assert read.interpreters == ("anna", "ben")
    assert (
        read.reference.tolist() == IDS[read.row, read.col].tolist()
    )  # ties go to the first, a class before cannot tell
    paths.append(labels(folder, tmp_path, sample, "carl.csv", other, who="carl"))
    read = read_sample([folder / "sample.json", *paths])
    assert set(read.reference[IDS[read.row, read.col] == 7].tolist()) == {10}
    with pytest.raises(DataError, match="both hold labels of the interpreter 'anna'"):
        read_sample([folder / "sample.json", paths[0], labels(folder, tmp_path, sample, "twice.csv")])


def test_agreed_reference():
    votes = [np.array(row, np.uint8) for row in ([1, 1, 255, 0, 2], [2, 1, 255, 0, 3], [2, 3, 0, 0, 255])]
    assert agreed_reference(votes, 5).tolist() == [2, 1, 255, 0, 2]
    assert agreed_reference([], 2).tolist() == [0, 0]


def edit(path, pattern, new, count=1):
    text = path.read_text()
    changed = re.sub(pattern, new, text, count=count, flags=re.M)
    assert changed != text
    path.write_text(changed)
    return path


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        (r"(Surface water),,anna", r"Ocean,,anna", r"the references 'Ocean' are not in legend 'c2seg13'"),
        (r"^((?:[^,]*,){2})[\d.]+", r"\g<1>400000.0", r"point 1 at 400000, [\d.e+]+ lies outside the map"),
        (r"^((?:[^,]*,){2})(\d+)5\.0", r"\g<1>\g<2>1.0", r"point \d+ was moved to"),
        (r"^(\w{32}),1,", r"\1,7,", r"point 7 (occurs twice|was moved)"),
        (r"^(\w{32}),1,", r"\1,900,", r"point 900 is not one of the 50 points"),
        (r"^(\w{32}),1,", r"\1,one,", r"point_id 'one' is no number"),
        (r"^\w{32}", "f" * 32, r"holds points of several samples"),
        (r",reference,", ",class,", r"lacks the columns reference"),
        (r",,anna", ",certain,anna", r"the confidence 'certain' of point \d+ is none of low, medium, high"),
    ],
)
def test_wrong_labels(folder, tmp_path, sample, pattern, new, message):
    path = edit(labels(folder, tmp_path, sample), pattern, new)
    with pytest.raises(DataError, match=message) as error:
        read_sample([folder / "sample.json", path], open_map(folder / "map.tif"))
    assert "\n" not in str(error.value)


def test_a_duplicated_row(folder, tmp_path, sample):
    path = labels(folder, tmp_path, sample)
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\r\n")
    with pytest.raises(DataError, match="point 1 occurs twice; remove one of the rows"):
        read_sample([folder / "sample.json", path])


def test_a_sample_of_another_map(folder, tmp_path):
    cases = {
        "is of another map": verify_make.make_map(tmp_path / "other", verify_make.patchy(seed=5)),
        "in another CRS": verify_make.make_map(tmp_path / "crs", IDS, crs=report_make.CRS.from_epsg(32632).to_wkt()),
        "no CRS": verify_make.make_map(tmp_path / "none", IDS, crs=None),
        "120 x 150 pixels": verify_make.make_map(tmp_path / "size", IDS[:50]),
    }
    for message, path in cases.items():
        with pytest.raises(C2SegError, match="another CRS" if message == "no CRS" else message):
            read_sample(folder / "sample.gpkg", open_map(path))
    other = cases["is of another map"]
    assert read_sample(folder / "sample.gpkg", open_map(other), other_map=True).record.design == "stratified"


def test_a_changed_record_is_noticed(folder, tmp_path, sample):
    record = tmp_path / "sample.json"
    record.write_text((folder / "sample.json").read_text())
    edit(record, r'"inclusion": [\d.]+', '"inclusion": 0.5')
    with pytest.raises(DataError, match="was changed after its points were drawn"):
        read_sample([record, folder / "sample.csv"])


def test_files_that_are_no_sample(folder, tmp_path):
    (tmp_path / "empty.csv").write_text("sample_id,point_id,x,y,reference\n")
    (tmp_path / "fake.gpkg").write_text("no database")
    (tmp_path / "alone.csv").write_text("point_id,x,y,reference\n1,2,3,water\n")
    for name, message in {
        "empty.csv": "holds no point",
        "fake.gpkg": "it is no GeoPackage",
        "alone.csv": "no sample_id",
    }.items():
        with pytest.raises(DataError, match=message):
            read_sample(tmp_path / name)
    with pytest.raises(DataError, match="is no sample; give a GeoPackage"):
        read_sample(folder / "map.tif")
