from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from c2seg.data import BlockFolds, LabeledCity, Normalizer, PreparedCity, city_statistics, open_city
from c2seg.data.layouts import open_labeled_city
from c2seg.errors import TrainingError
from c2seg.recipes.training import Augmentation, Sampling
from c2seg.sampling import BandUnits, PatchSampler, augment_geometry, augment_radiometry, drop_modality, training_scenes
from c2seg.sampling.zoom import nearest, zoomed
from c2seg.train.loader import batches, to_batch
from c2seg.train.resampling import resampled

NAMES = ("msi", "sar", "hsi")
PLAIN = Augmentation(flips=False, rotations=False)


def scenes_of(path, **options):
    labeled = path if isinstance(path, LabeledCity) else open_labeled_city(path)
    statistics = city_statistics(labeled.images, NAMES)
    normalizer = Normalizer.fit("per_city", statistics)
    return training_scenes(PreparedCity(labeled, statistics, normalizer), NAMES, **options)


def sampler_of(scenes, *, seed=0, augment=PLAIN, **sampling):
    settings = Sampling(**({"patch_px": 16, "batch_size": 6} | sampling))
    return PatchSampler(scenes, settings, augment, seed, 13)


def test_a_step_is_a_function_of_seed_and_step(make_city):
    scenes = scenes_of(make_city(hsi_ratio=3))
    rich = Augmentation(gain_std=0.1, offset_std=0.1, noise_std=0.1)
    first, second = sampler_of(scenes, augment=rich), sampler_of(scenes, augment=rich)
    second.draw(3)  # what was drawn before does not matter
    assert first.draw(7) == second.draw(7)
    assert first.draw(7) != first.draw(8)
    assert first.draw(7) != sampler_of(scenes, augment=rich, seed=1).draw(7)
    a, b = first.load(first.draw(7)), second.load(second.draw(7))
    for name in NAMES:
        np.testing.assert_array_equal(a.patch[name], b.patch[name])
    np.testing.assert_array_equal(a.targets, b.targets)


def test_loader_threads_change_nothing(make_city):
    sampler = sampler_of(scenes_of(make_city()), augment=Augmentation(noise_std=0.2))
    expected = list(batches(sampler, 2, 9, threads=0))
    for threads in (1, 3):
        found = list(batches(sampler, 2, 9, threads=threads))
        assert len(found) == len(expected) == 7
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.patch["msi"], b.patch["msi"])
            np.testing.assert_array_equal(a.targets, b.targets)


def test_processes_share_a_batch(make_city):
    sampler = sampler_of(scenes_of(make_city()))
    (whole,) = batches(sampler, 4, 5, threads=0)
    parts = [next(batches(sampler, 4, 5, rank=r, processes=2, threads=0)) for r in range(2)]
    np.testing.assert_array_equal(whole.patch["sar"][0::2], parts[0].patch["sar"])
    np.testing.assert_array_equal(whole.patch["sar"][1::2], parts[1].patch["sar"])


def test_balanced_draws_visit_classes_evenly_and_hold_them(make_city):
    path = make_city(height=120, width=150)
    scenes = scenes_of(path)
    # Make one class rare: 12 pixels.
    scenes[0].targets[scenes[0].targets == 9] = 255
    scenes[0].targets[40:43, 60:64] = 9
    sampler = sampler_of(scenes, class_balanced_fraction=1.0)
    hits = 0
    for step in range(100):
        sample = sampler.load(sampler.draw(step))
        hits += sum(bool((target == 9).any()) for target in sample.targets)
    assert hits > 600 / 3 * 0.8


def test_the_balanced_share_is_exact(make_city):
    scenes = scenes_of(make_city(height=300, width=300))
    scenes[0].targets[:] = 255
    scenes[0].targets[5, 5] = 0
    sampler = sampler_of(scenes, class_balanced_fraction=0.5, batch_size=4)
    for step in range(5):
        holding = [(t == 0).any() for t in sampler.load(sampler.draw(step)).targets]
        assert holding[:2] == [True, True]


def test_patches_and_targets_stay_aligned(make_city):
    """The class can be read off the first band's sign, whatever the flips and turns."""
    scenes = scenes_of(make_city())
    sampler = sampler_of(scenes, augment=Augmentation())
    for step in range(10):
        sample = sampler.load(sampler.draw(step))
        band, target = sample.patch["msi"][:, 0], sample.targets
        assert band[target == 0].mean() < -0.3 < 0.3 < band[target == 9].mean()
    turns = {draw.turns for step in range(10) for draw in sampler.draw(step)}
    flips = {draw.flip for step in range(10) for draw in sampler.draw(step)}
    assert turns == {0, 1, 2, 3}
    assert flips == {True, False}


def test_zoom_is_off_by_default_and_drawn_evenly_when_on(make_city):
    scenes = scenes_of(make_city(height=120, width=150))
    plain = sampler_of(scenes, patch_px=16)
    assert {draw.window.height for step in range(20) for draw in plain.draw(step)} == {16}
    zoom = sampler_of(scenes, patch_px=16, augment=Augmentation(zoom=(0.5, 2.0)))
    sides = [draw.window.height for step in range(100) for draw in zoom.draw(step)]
    assert (min(sides), max(sides)) == (8, 32)
    assert 0.15 < np.mean(np.array(sides) <= 10) < 0.4  # factors of 1.55 and more are 30 % of 0.5 .. 2
    sample = zoom.load(zoom.draw(3))
    again = zoom.load(zoom.draw(3))
    assert sample.valid.shape == sample.targets.shape == (6, 16, 16)
    np.testing.assert_array_equal(sample.patch["hsi"], again.patch["hsi"])


def test_zoomed_patches_and_targets_stay_aligned(make_city):
    scenes = scenes_of(make_city(valid=True))
    sampler = sampler_of(scenes, augment=Augmentation(zoom=(0.4, 3.0)))
    bands = {0: [], 9: []}
    for step in range(20):
        sample = sampler.load(sampler.draw(step))
        for label, found in bands.items():
            found.append(sample.patch["msi"][:, 0][sample.targets == label])
        assert (sample.targets[~sample.valid] == 255).all()
        for values in sample.patch.values():
            assert (values[np.broadcast_to(~sample.valid[:, None], values.shape)] == 0).all()
    assert np.concatenate(bands[0]).mean() < -0.3 < 0.3 < np.concatenate(bands[9]).mean()


def test_a_zoom_is_bilinear_among_valid_pixels():
    rows, cols = np.mgrid[:12, :12].astype(np.float32)
    plane = np.stack([2 * rows - cols, np.ones_like(rows)])
    wide, valid = zoomed({"msi": plane}, np.ones((12, 12), bool), 24)
    assert valid.all()
    inner = slice(2, -2)
    expected = 2 * (rows.repeat(2, 0).repeat(2, 1) + np.tile([[-0.25], [0.25]], (12, 24)))
    expected -= cols.repeat(2, 0).repeat(2, 1) + np.tile([[-0.25, 0.25]], (24, 12))
    np.testing.assert_allclose(wide["msi"][0][inner, inner], expected[inner, inner], atol=1e-5)
    same, _ = zoomed({"msi": plane}, np.ones((12, 12), bool), 12)
    np.testing.assert_allclose(same["msi"], plane, atol=1e-6)
    hole = np.ones((12, 12), bool)
    hole[3:6, 4:9] = False
    found, kept = zoomed({"msi": plane * hole}, hole, 30)
    np.testing.assert_array_equal(kept, nearest(hole, 30))
    np.testing.assert_allclose(found["msi"][1], kept.astype(np.float32), atol=1e-6)  # no dark rim around the hole
    tiny, _ = zoomed({"msi": plane[:, :1, :1]}, np.ones((1, 1), bool), 5)
    np.testing.assert_array_equal(tiny["msi"], np.broadcast_to(plane[:, :1, :1], (2, 5, 5)))


@pytest.mark.parametrize("zoom", [(2.0, 0.5), (0.0, 1.0), (1.0, 20.0)])
def test_a_zoom_that_cannot_be_is_refused(zoom):
    with pytest.raises(ValueError, match="two rising factors"):
        Augmentation(zoom=zoom)


def test_patches_of_one_class_are_drawn_again(make_city):
    scenes = scenes_of(make_city(height=120, width=150))
    scenes[0].targets[:] = 3
    scenes[0].targets[:, 70:80] = 5

    def largest(**sampling):
        sampler = sampler_of(scenes, class_balanced_fraction=0.0, **sampling)
        patches = [target for step in range(30) for target in sampler.load(sampler.draw(step)).targets]
        return np.array([max((target == label).mean() for label in (3, 5)) for target in patches])

    off, on = largest(), largest(cat_max_ratio=0.75)
    assert (off < 0.75).mean() < 0.25  # 5 to 11 columns of the strip: 17 of 135 places
    assert (on < 0.75).mean() > 0.65  # eleven tries: 0.77
    scenes[0].targets[:] = 3
    assert (largest(cat_max_ratio=0.75) == 1).all()  # nothing else exists: the last draw is taken


def test_invalid_pixels_are_0_and_never_targets(make_city):
    scenes = scenes_of(make_city(valid=True))
    augment = Augmentation(gain_std=0.5, offset_std=0.5, noise_std=0.5)
    sampler = sampler_of(scenes, augment=augment, class_balanced_fraction=0.0)
    seen = 0
    for step in range(20):
        sample = sampler.load(sampler.draw(step))
        seen += int((~sample.valid).sum())
        for values in sample.patch.values():
            assert (values[np.broadcast_to(~sample.valid[:, None], values.shape)] == 0).all()
        assert (sample.targets[~sample.valid] == 255).all()
    assert seen


def test_a_patch_larger_than_the_city_is_padded_as_invalid(make_city):
    sampler = sampler_of(scenes_of(make_city(height=20, width=30)), patch_px=40)
    sample = sampler.load(sampler.draw(0))
    assert sample.valid.shape == (6, 40, 40)
    assert (sample.valid.sum(axis=(1, 2)) == 600).all()


def test_held_out_blocks_teach_nothing(make_city):
    path = make_city()
    folds = (BlockFolds(4, 16, 3),)
    labeled = replace(open_labeled_city(path), folds=folds).holding_out(2)
    (scene,) = scenes_of(labeled)
    window = scene.reader.scene.grid.window
    assert (scene.targets[folds[0].fold(window) == 2] == 255).all()
    assert (scene.targets != 255).any()
    np.testing.assert_array_equal(scene.targets != 255, folds[0].training(window, 2))


def test_geometry_is_one_to_one():
    array = np.arange(9).reshape(1, 3, 3)
    views = {augment_geometry(array, turns, flip).tobytes() for turns in range(4) for flip in (False, True)}
    assert len(views) == 8


def test_radiometry_is_in_units_of_the_band(make_city):
    """The same changes under every normalization: standardized afterwards, they are equal."""
    city = open_city(make_city())
    statistics = city_statistics(city, NAMES)
    window = city.scenes[0].grid.window
    valid = np.ones((70, 91), bool)
    settings = Augmentation(gain_std=0.2, offset_std=0.3, noise_std=0.1)
    standard = Normalizer.fit("source", statistics)
    results = {}
    for kind in ("source", "none", "minmax"):
        normalizer = Normalizer.fit(kind, statistics)
        units = BandUnits.of(normalizer, statistics)
        patch = {n: normalizer.apply(n, city.scenes[0].read(n, window)[0], valid) for n in NAMES}
        changed = augment_radiometry(patch, valid, units, settings, np.random.default_rng(0))
        results[kind] = {
            n: standard.apply(n, v / normalizer.factor[n][:, None, None] + normalizer.shift[n][:, None, None], valid)
            for n, v in changed.items()
        }
    for name in NAMES:
        np.testing.assert_allclose(results["none"][name], results["source"][name], atol=2e-3)
        np.testing.assert_allclose(results["minmax"][name], results["source"][name], atol=2e-3)
        assert results["source"][name].std() > 0.5


def test_nothing_to_learn_is_said(make_city):
    scenes = scenes_of(make_city())
    scenes[0].targets[:] = 255
    with pytest.raises(TrainingError, match="no valid pixel of the training cities has a class label"):
        sampler_of(scenes)
    scenes[0].valid[:] = False
    with pytest.raises(TrainingError, match="no pixel of the training cities is valid"):
        sampler_of(scenes)


def test_one_modality_is_dropped_at_the_stated_rate():
    patch = {name: np.ones((2, 3, 3), np.float32) for name in NAMES}
    rng = np.random.default_rng(0)
    lost = [[n for n, v in drop_modality(patch, 0.3, rng).items() if not v.any()] for _ in range(3000)]
    assert max(map(len, lost)) == 1
    shares = [sum(n in found for found in lost) / 3000 for n in NAMES]
    np.testing.assert_allclose(shares, 0.1, atol=0.02)
    alone = {"msi": patch["msi"]}
    assert drop_modality(alone, 0.99, rng) is alone


def test_a_rectangle_of_another_patch_comes_with_its_labels_and_validity(make_city):
    scenes = scenes_of(make_city(valid=True))
    plain = sampler_of(scenes, patch_px=16)
    mixed = sampler_of(scenes, augment=PLAIN.model_copy(update={"cutmix": 1.0}), patch_px=16)
    for step in range(5):
        draws = plain.draw(step)
        assert draws == mixed.draw(step)
        own, found = plain.load(draws), mixed.load(draws)
        for slot in range(6):
            channels = {**own.patch, "valid": own.valid[:, None], "targets": own.targets[:, None]}
            after = {**found.patch, "valid": found.valid[:, None], "targets": found.targets[:, None]}
            fits = []
            for other in range(6):
                if other == slot:
                    continue
                kept = np.all([(after[n][slot] == channels[n][slot]).all(axis=0) for n in channels], axis=0)
                taken = np.all([(after[n][slot] == channels[n][other]).all(axis=0) for n in channels], axis=0)
                rows, cols = np.flatnonzero((~kept).any(axis=1)), np.flatnonzero((~kept).any(axis=0))
                inside = taken[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
                fits.append(bool((kept | taken).all() and inside.all() and 2 <= min(inside.shape) <= 12))
            assert any(fits)
    assert (sampler_of(scenes, batch_size=1, augment=Augmentation(cutmix=1.0)).load(plain.draw(0)[:1]).valid).any()


def test_mixed_patches_do_not_depend_on_which_others_are_loaded(make_city):
    sampler = sampler_of(scenes_of(make_city()), augment=Augmentation(cutmix=0.7, noise_std=0.1))
    draws = sampler.draw(3)
    together = sampler.load(draws)
    for slot, draw in enumerate(draws):
        alone = sampler.load([draw])
        np.testing.assert_array_equal(alone.targets[0], together.targets[slot])
        for name, values in alone.patch.items():
            np.testing.assert_array_equal(values[0], together.patch[name][slot])


# Enlarged patches


def test_a_street_seen_from_afar_keeps_its_contrast_in_an_enlarged_patch():
    """A window of twice the patch, enlarged five times in one resampling: nothing is lost that the window shows."""
    street = np.zeros((1, 64, 64), np.float32)
    street[:, :, 20] = 1.0
    texture = np.random.default_rng(0).standard_normal((1, 64, 64), np.float32)
    valid = np.ones((64, 64), bool)
    once = zoomed({"street": street, "texture": texture}, valid, 160)[0]
    small = zoomed({"street": street, "texture": texture}, valid, 32)
    twice = zoomed(*small, 160)[0]
    assert once["street"].max() > 0.85 > 0.5 >= twice["street"].max()
    assert once["texture"].std() > 1.5 * twice["texture"].std()


def test_what_shrinks_is_averaged_and_not_skipped():
    stripes = np.tile([1.0, -1.0], 30).astype(np.float32)[None, None, :].repeat(60, axis=1)
    shrunk = zoomed({"msi": stripes}, np.ones((60, 60), bool), 25)[0]["msi"]
    assert np.abs(shrunk[:, :, 1:-1]).max() < 0.1
    level = zoomed({"msi": np.full((1, 60, 60), 3.0, np.float32)}, np.ones((60, 60), bool), 25)[0]["msi"]
    np.testing.assert_allclose(level, 3.0, rtol=1e-6)


@pytest.mark.parametrize("size", [25, 40, 100])
def test_numpy_and_torch_resample_alike(size):
    rng = np.random.default_rng(1)
    valid = rng.random((40, 40)) > 0.2
    values = rng.standard_normal((3, 40, 40), np.float32) * valid
    expected, _ = zoomed({"msi": values}, valid, size)
    np.testing.assert_allclose(
        resampled(torch.from_numpy(values), torch.from_numpy(valid), size, whole=bool(valid.all())),
        expected["msi"],
        atol=1e-4,
    )


def test_windows_become_the_patches_of_a_direct_reading(make_city):
    scenes = scenes_of(make_city(valid=True, height=90, width=110))
    augment = Augmentation(zoom=(0.5, 2.0), enlarge=2.5, gain_std=0.1, offset_std=0.1)
    sampler = sampler_of(scenes, patch_px=16, augment=augment)
    draws = sampler.draw(0)
    windows, expected = sampler.load(draws, resample=False), sampler.load(draws)
    assert len(set(windows.windows.sides)) > 2
    assert expected.windows is None
    batch = to_batch(windows, torch.device("cpu"))
    assert batch.targets.shape == batch.valid.shape == (6, 40, 40)
    np.testing.assert_array_equal(batch.targets, expected.targets)
    np.testing.assert_array_equal(batch.valid, expected.valid)
    for name, values in expected.patch.items():
        assert values.shape[-2:] == (40, 40)
        np.testing.assert_allclose(batch.patch[name], values, atol=2e-4)


def test_loaders_leave_the_resampling_to_the_device(make_city):
    scenes = scenes_of(make_city())
    enlarging = sampler_of(scenes, patch_px=16, augment=Augmentation(zoom=(0.5, 2.0), enlarge=2))
    assert next(batches(enlarging, 0, 1)).windows is not None
    mixed = sampler_of(scenes, patch_px=16, augment=Augmentation(enlarge=2, cutmix=0.5))
    assert next(batches(mixed, 0, 1)).patch["msi"].shape[-1] == 32
    assert next(batches(sampler_of(scenes, patch_px=16), 0, 1)).windows is None
