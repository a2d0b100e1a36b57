from __future__ import annotations

import numpy as np
import pytest

from c2seg.data import Normalizer, PreparedCity, city_statistics
from c2seg.data.layouts import open_labeled_city
from c2seg.recipes.training import FDA, Augmentation, Sampling
from c2seg.sampling import PatchSampler, apply_fda, training_scenes
from c2seg.train.loader import batches

NAMES = ("msi", "sar", "hsi")
WHOLE = np.ones((16, 16), bool)


def patch_of(seed, bands=3, side=16):
    rng = np.random.default_rng(seed)
    return {"msi": (rng.standard_normal((bands, side, side)) + rng.standard_normal((bands, 1, 1))).astype(np.float32)}


def low(beta, side=16):
    frequency = np.abs(np.fft.fftfreq(side, 1 / side))
    near = frequency <= int(beta * side)
    return near[:, None] & near[None, :]


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.25, 0.5])
def test_low_amplitudes_are_the_targets_and_phases_the_sources(beta):
    source, target = patch_of(0), patch_of(1)
    found = apply_fda(source, WHOLE, target, WHOLE, beta)["msi"]
    assert found.dtype == np.float32
    own, other, new = (np.fft.fft2(values) for values in (source["msi"], target["msi"], found))
    window = low(beta)
    np.testing.assert_allclose(np.abs(new[:, window]), np.abs(other[:, window]), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(new[:, ~window], own[:, ~window], rtol=1e-3, atol=1e-3)
    waves = window.copy()
    waves[0, 0] = False
    turned = new[:, waves] * np.conj(own[:, waves])  # on the positive real axis where the phase is kept
    np.testing.assert_allclose(turned.imag, 0, atol=1e-3 * np.abs(turned).max(initial=1))
    assert (turned.real >= 0).all()
    np.testing.assert_allclose(found.mean(axis=(1, 2)), target["msi"].mean(axis=(1, 2)), atol=1e-5)


def test_invalid_pixels_stay_0_and_count_as_the_mean():
    hole, gap = WHOLE.copy(), WHOLE.copy()
    hole[:5, :7], gap[10:, 9:] = False, False
    source, target = patch_of(0), patch_of(1)
    cut = {"msi": source["msi"] * hole}
    found = apply_fda(cut, hole, {"msi": target["msi"] * gap}, gap, 0.1)["msi"]
    assert (found[:, ~hole] == 0).all()
    filled = {}
    for name, values, valid in (("own", source["msi"], hole), ("other", target["msi"], gap)):
        means = values[:, valid].mean(axis=1)[:, None, None]
        filled[name] = {"msi": np.where(valid, values, means)}
    expected = apply_fda(filled["own"], WHOLE, filled["other"], WHOLE, 0.1)["msi"]
    np.testing.assert_allclose(found[:, hole], expected[:, hole], atol=1e-5)
    nothing = np.zeros_like(WHOLE)
    assert apply_fda(cut, hole, target, nothing, 0.1) is cut
    assert apply_fda(cut, nothing, target, WHOLE, 0.1) is cut


@pytest.fixture
def scenes(make_city):
    """Scenes of a source and of a target that is much brighter, both in the source's units; the target without labels."""
    source, target = (open_labeled_city(make_city(n, seed=s, gain=g)) for n, s, g in (("a", 1, 1.0), ("b", 2, 2.0)))
    statistics = city_statistics(source.images, NAMES)
    normalizer = Normalizer.fit("source", statistics)
    return (
        training_scenes(PreparedCity(source, statistics, normalizer), NAMES),
        training_scenes(PreparedCity(target.images, statistics, normalizer), NAMES),
    )


def sampler_of(scenes, fda, with_target=True, **augment):
    settings = Sampling(patch_px=16, batch_size=8)
    changes = Augmentation(**({"flips": False, "rotations": False, "fda": fda} | augment))
    other = PatchSampler(scenes[1], settings, changes, 0, 13, stream=1)
    return PatchSampler(scenes[0], settings, changes, 0, 13, fda_target=other if with_target else None)


def test_the_stated_share_of_the_sources_patches_is_apply_fdad(scenes):
    plain, styled = sampler_of(scenes, None), sampler_of(scenes, FDA(fraction=0.3, beta=0.1))
    changed = []
    for step in range(40):
        draws = plain.draw(step)
        assert styled.draw(step) == draws
        before, after = plain.load(draws), styled.load(draws)
        np.testing.assert_array_equal(before.targets, after.targets)
        differs = [(before.patch[n] != after.patch[n]).any(axis=(1, 2, 3)) for n in NAMES]
        np.testing.assert_array_equal(differs[0], differs[2])
        changed += differs[0].tolist()
    assert np.mean(changed) == pytest.approx(0.3, abs=0.08)


def test_a_apply_fdad_patch_has_the_mean_of_a_window_of_the_target(scenes):
    sampler = sampler_of(scenes, FDA(fraction=1.0, beta=0.01))
    whole = scenes[1][0].reader(scenes[1][0].reader.scene.grid.window)[0]["sar"][0].astype(np.float64)
    sums = np.pad(whole, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    means = (sums[16:, 16:] - sums[:-16, 16:] - sums[16:, :-16] + sums[:-16, :-16]) / 256
    found = sampler.load(sampler.draw(5)).patch["sar"][:, 0].mean(axis=(1, 2))
    gaps = np.abs(found[:, None] - means.ravel()).min(axis=1)
    assert (gaps < 1e-4).all()
    original = sampler_of(scenes, None)
    before = original.load(original.draw(5)).patch["sar"][:, 0].mean(axis=(1, 2))
    assert np.abs(found - before).max() > 0.1


def test_a_apply_fdad_step_is_a_function_of_seed_and_step(scenes):
    options = {"noise_std": 0.1, "flips": True, "rotations": True, "zoom": (0.5, 2.0)}
    sampler = sampler_of(scenes, FDA(), **options)
    expected = list(batches(sampler, 3, 7, threads=0))
    for found, sample in zip(batches(sampler_of(scenes, FDA(), **options), 3, 7, threads=2), expected, strict=True):
        for name in NAMES:
            np.testing.assert_array_equal(found.patch[name], sample.patch[name])
    part = next(batches(sampler, 3, 4, rank=1, processes=2, threads=0))
    np.testing.assert_array_equal(part.patch["hsi"], expected[0].patch["hsi"][1::2])


def test_the_targets_own_patches_are_left_as_they_are(scenes):
    fda = sampler_of(scenes, FDA(fraction=1.0)).fda_target
    plain = sampler_of(scenes, None).fda_target
    a, b = (s.load(s.draw(2)).patch["msi"] for s in (fda, plain))
    np.testing.assert_array_equal(a, b)
