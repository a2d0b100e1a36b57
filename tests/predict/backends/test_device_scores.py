"""Scores that stay on a device: tensors of the CPU and streams of the test stand in for CUDA."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from c2seg.artifacts import read_model_file
from c2seg.errors import InputError
from c2seg.legend import c2seg13
from c2seg.predict import WindowPlan
from c2seg.predict.backends import BackendOptions, load_predictor
from c2seg.predict.backends.batch import fitting_batch
from c2seg.predict.backends.device_calls import DeviceCalls
from c2seg.predict.backends.device_scores import DeviceScores
from c2seg.predict.backends.ensemble import WeightedEnsemble
from c2seg.predict.backends.factors import with_factors
from c2seg.predict.decision import Decision
from c2seg.predict.engine import predict_parts
from c2seg.predict.layers import decide, expected_pixels

CPU = torch.device("cpu")
LAYERS = ("confidence", "runner_up", "probabilities")
PLANS = [WindowPlan(50, 70, 32, 8), WindowPlan(50, 70, 32), WindowPlan(20, 23, 32, 8)]


@dataclass(frozen=True)
class Known:
    """Probabilities that follow from a window's place; every 16th value is equal in all classes."""

    num_classes: int = 13
    halo_px: int = 0

    def predict(self, patch, valid):
        seeds = np.abs(patch["msi"][:, 0, 0, 0] * 1000).astype(np.int64)
        scores = np.stack([np.random.default_rng(s).random((13, *valid.shape[1:]), np.float32) for s in seeds]) ** 4
        scores[..., ::4, ::4] = 1.0
        return scores / scores.sum(axis=1, keepdims=True)


class OnDevice(Known):
    @property
    def on_device(self):
        return DeviceScores(lambda patch, valid: torch.from_numpy(self.predict(patch, valid)), CPU)


def reader(window):
    rows, cols = np.mgrid[window.row : window.row_end, window.col : window.col_end]
    valid = (rows >= 0) & (rows < 50) & (cols >= 0) & (cols < 60) & ~((rows < 30) & (cols < 25))
    return {"msi": ((rows * 7 + cols + 1) / 1000 * valid.any()).astype(np.float32)[None]}, valid


def parts_of(predictor, plan, **options):
    for part in predict_parts(reader, predictor, plan, batch_size=3, on_device=True, **options):
        yield part, isinstance(part.sums, torch.Tensor)


@pytest.mark.parametrize("plan", PLANS, ids=["overlap", "side by side", "small"])
@pytest.mark.parametrize("decision", [None, Decision(tuple(np.linspace(1, 2, 13)), tuple(np.linspace(0.3, 0, 13)))])
@pytest.mark.parametrize("temperature", [None, 1.7])
def test_a_device_decides_as_numpy(plan, decision, temperature):
    pairs = list(zip(parts_of(Known(), plan), parts_of(OnDevice(), plan), strict=True))
    assert pairs
    for (plain, plain_there), (part, there) in pairs:
        assert (plain_there, there) == (False, True)
        expected, expected_counts = decide(plain, c2seg13(), LAYERS, decision, temperature)
        found, counts = decide(part, c2seg13(), LAYERS, decision, temperature)
        assert counts == expected_counts
        assert list(found) == list(expected)
        np.testing.assert_array_equal(found["ids"], expected["ids"])
        for name in LAYERS:
            assert found[name].dtype == np.uint8
            steps = np.abs(found[name].astype(int) - expected[name])
            assert steps.max(initial=0) <= (0 if temperature is None else 1), name
        np.testing.assert_allclose(
            expected_pixels(part, temperature), expected_pixels(plain, temperature), rtol=1e-5, atol=1e-4
        )


@pytest.mark.parametrize("wrap", ["ensemble", "factors"])
def test_what_wraps_a_predictor_stays_on_its_device(wrap):
    def wrapped(predictor):
        if wrap == "factors":
            return with_factors(predictor, tuple(np.linspace(0.5, 2, 13)))
        return WeightedEnsemble((predictor, Known()), (0.75, 0.25))

    for (plain, _), (part, there) in zip(
        parts_of(wrapped(Known()), PLANS[0]), parts_of(wrapped(OnDevice()), PLANS[0]), strict=True
    ):
        assert there
        np.testing.assert_allclose(part.sums.numpy(), plain.sums, rtol=1e-6, atol=1e-7)
    assert wrapped(Known()).on_device is None


class Work:
    """A device's work, noted in order; ``finish`` may be made to wait."""

    def __init__(self):
        self.events = []
        self.go_on = threading.Event()
        self.go_on.set()

    @contextmanager
    def stream(self):
        yield

    def upload(self, array):
        self.events.append("upload")
        return torch.from_numpy(array)

    def finish(self, result):
        self.events.append("computed")
        assert self.go_on.wait(60)
        self.events.append("finished")


def test_inputs_arrive_while_the_batch_before_is_computed():
    work = Work()
    calls = DeviceCalls(work)
    work.go_on.clear()
    patch = {"msi": np.ones((1, 1, 2, 2), np.float32)}
    uploaded = threading.Event()

    def upload(array, plain=work.upload):
        tensor = plain(array)
        if work.events.count("upload") == 2:
            uploaded.set()
        return tensor

    work.upload = upload
    threads = [threading.Thread(target=calls, args=(lambda inputs: inputs["msi"] * 2, patch)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert uploaded.wait(60)
    work.go_on.set()
    for thread in threads:
        thread.join()
    assert work.events[-2:] == ["computed", "finished"]
    assert work.events.index("finished") > 2  # both uploads came before the first batch was done
    assert work.events[:4].count("upload") == 2


def test_a_batch_that_does_not_fit_is_computed_in_halves():
    sizes = []

    def compute(inputs):
        sizes.append(len(inputs["msi"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs["msi"] + 1

    patch = {"msi": np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)}
    found = DeviceCalls(Work())(compute, patch)
    np.testing.assert_array_equal(found, patch["msi"] + 1)
    assert sizes == [5, 3, 2, 1, 2]

    def nothing_fits(inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match=r"window of 1 x 1 pixels does not fit.*window_px"):
        DeviceCalls(Work())(nothing_fits, patch)


@dataclass
class Meter:
    per_window: int
    free_bytes: int
    fixed: int = 1000
    windows: int = 0

    def peak(self, call):
        return self.fixed + self.per_window * len(call())

    def free(self):
        return self.free_bytes


@pytest.mark.parametrize(
    ("per_window", "free", "expected"), [(100, 10_000, 32), (100, 12_799, 32), (1, 10**9, 64), (100, 150, 1)]
)
def test_batches_are_as_large_as_memory_allows(per_window, free, expected):
    meter = Meter(per_window, free)
    assert fitting_batch(OnDevice(), {"msi": 1}, 8, 4, meter) == expected
    assert fitting_batch(Known(), {"msi": 1}, 8, 4, meter) == 4
    assert fitting_batch(OnDevice(), {"msi": 300}, 660, 4, Meter(1, 10**9)) == 1  # the inputs would be too large


@pytest.mark.parametrize("tta", [False, True])
def test_a_network_gives_its_probabilities_there(model, tta):
    plain = load_predictor(read_model_file(model), "torch", BackendOptions("cpu", tta=tta))
    assert plain.on_device is None
    there = replace(plain, calls=DeviceCalls(Work()))
    rng = np.random.default_rng(0)
    bands = read_model_file(model).header.channels
    patch = {name: rng.standard_normal((3, count, 32, 32)).astype(np.float32) for name, count in bands.items()}
    valid = np.ones((3, 32, 32), bool)
    expected = plain.predict(patch, valid)
    np.testing.assert_allclose(there.predict(patch, valid), expected, atol=1e-5)
    scores = there.on_device.predict(patch, valid)
    scores *= 1.0  # may be changed in place
    np.testing.assert_allclose(scores, expected, atol=1e-5)
