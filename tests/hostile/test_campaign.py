"""Hostile inputs are refused in one line or opened: no traceback, no hang, no blow-up, nothing written or read elsewhere."""

from __future__ import annotations

from pathlib import Path
from random import Random

import h5py
import numpy as np
import onnx
import pytest

from c2seg.artifacts import read_model_file
from c2seg.data import open_city, write_mat
from c2seg.data.layouts.mat import MatArray
from c2seg.errors import DataError, ModelFileError
from c2seg.forest import Forest
from c2seg.types import Window
from helpers.toy_cities import make_city
from hostile.campaign import Child, campaign
from hostile.kinds import KINDS, attempt
from hostile.mutations import spoil_bytes, spoil_text, spoil_value
from hostile.texts import RELEASED

SAMPLE = {kind: 12 if kind in ("recipe", "legend", "label mapping", "rule table") else 2 for kind in KINDS}
"""By default; texts are quick."""
WHOLE = 600
"""Of each kind, in the slow test: 10,200 together."""


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    with Child(tmp_path_factory.mktemp("hostile")) as process:
        yield process


def test_a_sample_of_every_kind(child):
    tallies = [campaign(kind, count, seed=1, child=child) for kind, count in SAMPLE.items()]
    assert [example for tally in tallies for example in tally.examples] == []
    assert sum(tally.refused for tally in tallies) > sum(tally.accepted for tally in tallies)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_campaign(child, kind):
    tally = campaign(kind, WHOLE, child=child)
    assert tally.inputs == WHOLE
    assert tally.examples == []


@pytest.mark.parametrize(
    ("use", "outcome"),
    [
        ("raise ValueError('x')", "tracebacks"),
        ("while True: pass", "hangs"),
        ("raise MemoryError", "blow_ups"),
        ("(place.parent / 'valid-odd' / 'file').write_text('other')", "outside"),
        ("raise DataError('no')", "refused"),
        ("pass", "accepted"),
        ("import warnings; warnings.warn('x')", "tracebacks"),
    ],
)
def test_outcomes_are_told_apart(tmp_path, monkeypatch, use, outcome):
    calls = iter(["pass", use])

    def run(place: Path) -> None:
        exec(next(calls), {"place": place, "DataError": DataError})

    kind = type(KINDS["legend"])(lambda place: (place / "file").write_text("a"), lambda rng, place: None, run)
    monkeypatch.setitem(KINDS, "odd", kind)
    assert attempt("odd", 0, 0, tmp_path, seconds=0.3)[0] == outcome


def test_a_number_makes_the_same_input_again():
    for spoil, value in (
        (spoil_bytes, bytes(range(99))),
        (spoil_text, "a: 1\nb: 2"),
        (spoil_value, {"a": [1, {"b": 2}]}),
    ):
        first, second = ([spoil(Random(seed), value) for seed in range(20)] for _ in range(2))
        assert repr(first) == repr(second)
        assert any(repr(item) != repr(value) for item in first)


@pytest.mark.parametrize("how", ["link", "external", "virtual", "claims"])
def test_a_mat_file_that_points_outside_is_refused(tmp_path, how):
    write_mat(make_city(24, 18), tmp_path / "city.mat", hdf5=True)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["MSI"] = np.full((4, 18, 24), 4242, np.uint16)
    (tmp_path / "other.bin").write_bytes(bytes(10_000))
    with h5py.File(tmp_path / "city.mat", "r+") as file:
        shape, dtype = file["MSI"].shape, file["MSI"].dtype
        del file["MSI"]
        if how == "link":
            file["MSI"] = h5py.ExternalLink("other.h5", "MSI")
        elif how == "external":
            file.create_dataset("MSI", shape, dtype, external=[(str(tmp_path / "other.bin"), 0, h5py.h5f.UNLIMITED)])
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "MSI", shape)
            file.create_virtual_dataset("MSI", layout)
        else:
            file.create_dataset("MSI", (4, 10**6, 10**6), dtype, chunks=(1, 512, 512))
    if how == "claims":
        array = MatArray(tmp_path / "city.mat", "MSI", (10**6, 10**6, 4), dtype, hdf5=True)
        with pytest.raises(DataError, match="claims 8,000,000,000,000 bytes"):
            array.read(Window(0, 0, 8, 8))
    else:
        with pytest.raises(DataError, match=r"MSI .*which is not read"):
            open_city(tmp_path / "city.mat")


def test_external_data_of_onnx_is_refused(tmp_path):
    model = onnx.load(RELEASED / "unet" / "model.onnx")
    tensor = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="lies in another file"):
        read_model_file(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda values: values.astype(np.float64)),
        ("left", lambda values: np.where(values > 0, 0, values)),  # a child before its parent: a circle
        ("left", lambda values: values[None]),
        ("node_count", lambda values: values * 0 + 2**62),
        ("threshold", lambda values: values * np.nan),
        ("value", lambda values: values * 0),
        ("value", lambda values: -values),
        ("classes", lambda values: values * 0),
        ("depth", lambda values: values - 2**40),
    ],
)
def test_arrays_that_are_no_trees_are_refused(name, change):
    tensors = dict(read_model_file(RELEASED / "forest" / "model.safetensors").tensors)
    Forest.from_tensors(tensors, 10_000, 13)
    with pytest.raises(ModelFileError, match="forest is damaged"):
        Forest.from_tensors({**tensors, name: change(tensors[name])}, 10_000, 13)
