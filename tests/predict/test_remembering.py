from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from c2seg.predict.remembering import Remembering


@dataclass
class Counted:
    num_classes: int = 3
    halo_px: int = 1
    stride_px: int = 2
    windows: list[int] = field(default_factory=list)

    def predict(self, patch, valid):
        self.windows.append(len(valid))
        inner = patch["msi"][:, :, 1:-1, 1:-1]
        return np.concatenate([inner, 2 * inner, valid[:, None, 1:-1, 1:-1].astype(np.float32)], axis=1)


def patch_of(count, seed=0):
    values = np.random.default_rng(seed).standard_normal((count, 1, 6, 6)).astype(np.float32)
    return {"msi": values}, np.ones((count, 6, 6), bool)


def test_a_window_is_computed_once_of_two_times():
    plain, counted = Counted(), Counted()
    remembering = Remembering(counted)
    assert (remembering.num_classes, remembering.halo_px, remembering.stride_px) == (3, 1, 2)
    patch, valid = patch_of(5)
    for index in (1, 3):
        scores = remembering.predict({"msi": patch["msi"][index : index + 1]}, valid[:1])
        scores *= 0  # the caller may
    np.testing.assert_array_equal(remembering.predict(patch, valid), plain.predict(patch, valid))
    assert counted.windows == [1, 1, 3]
    np.testing.assert_array_equal(remembering.predict(patch, valid), plain.predict(patch, valid))
    assert counted.windows == [1, 1, 3, 2]  # 1 and 3 had been asked for twice and were forgotten


def test_other_validity_is_another_window():
    counted = Counted()
    remembering = Remembering(counted)
    patch, valid = patch_of(1)
    remembering.predict(patch, valid)
    found = remembering.predict(patch, ~valid)
    assert counted.windows == [1, 1]
    assert not found[:, 2].any()


def test_memory_is_limited():
    counted = Counted()
    remembering = Remembering(counted, limit_bytes=2 * 3 * 16 * 4)
    patch, valid = patch_of(4)
    remembering.predict(patch, valid)
    remembering.predict(patch, valid)
    assert counted.windows == [4, 2]
