"""Plans of cities: shares, rivers, strips; windows rendered alone."""

import numpy as np
import pytest

from c2seg.errors import InputError
from c2seg.simulate import Parameters
from c2seg.simulate.layout import classify, lay_out_city, measure_shares
from c2seg.simulate.plan import valid_at
from c2seg.simulate.render import Renderer
from c2seg.simulate.specs import city_spec
from c2seg.types import Window


def _spec(pair="ab", role="source", scale=0.2, seed=0, shift=0.5, **parameters):
    return city_spec(pair, role, scale=scale, seed=seed, parameters=Parameters.from_shift(shift, parameters))


def _land(plan):
    spec = plan.spec
    y, x = np.indices((spec.height, spec.width), dtype=np.float32)
    gsd = np.float32(spec.gsd_m)
    return classify(plan, ((x + 0.5) * gsd).ravel(), ((y + 0.5) * gsd).ravel()).land.reshape(x.shape)


@pytest.mark.parametrize("seed", [0, 1000, 2000, 3000])
@pytest.mark.parametrize(("pair", "role"), [("ab", "source"), ("ab", "target"), ("bw", "target")])
def test_shares_come_out_as_specified(pair: str, role: str, seed: int) -> None:
    spec = _spec(pair, role, 0.4 if pair == "ab" else 0.08, seed)
    shares = measure_shares(lay_out_city(spec))
    off = sum(abs(100 * shares[k] - spec.shares[k]) for k in shares)
    assert off < 15, shares
    assert min(shares.values()) > 0, shares


def test_all_classes_exist_in_a_small_city() -> None:
    for seed in (0, 1, 2):
        for role in ("source", "target"):
            plan = lay_out_city(_spec(role=role, scale=0.15, seed=seed))
            assert set(range(1, 14)) <= set(np.unique(_land(plan)).tolist())


def test_shares_and_streets_move_with_their_parameters() -> None:
    near = _spec(role="target", shift=0)
    far = _spec(role="target", shift=1)
    assert near.shares == pytest.approx(_spec(role="source", shift=1).shares, rel=1e-3)
    assert far.shares[3] > near.shares[3]
    assert lay_out_city(near).roads.grid_share == 0
    assert lay_out_city(far).roads.grid_share > 0.5
    assert _spec(role="target", shift=0, season=1.0).days["hsi"] != near.days["hsi"]


def test_families_have_different_layouts() -> None:
    lands = [_land(lay_out_city(_spec(seed=seed))) for seed in (0, 1000)]
    assert (lands[0] == lands[1]).mean() < 0.5
    assert len(lay_out_city(_spec(seed=3000)).channels) == 2


def test_strip_leaves_a_fifth_of_the_box_empty() -> None:
    spec = _spec(role="target", scale=0.2)
    y, x = np.indices((spec.height, spec.width), dtype=np.float32) * np.float32(10)
    valid = valid_at(spec, x.ravel(), y.ravel())
    assert 0.17 < 1 - valid.mean() < 0.26


@pytest.mark.parametrize("pair", ["ab", "bw"])
def test_a_window_alone_equals_the_window_of_the_whole(pair: str) -> None:
    spec = _spec(pair, "target", 0.2 if pair == "ab" else 0.025)
    renderer = Renderer(lay_out_city(spec))
    whole = renderer(spec.grid.window)
    window = Window(33, 60, 48, 54)
    alone = renderer(window)
    rows, columns = window.slices
    for name in ("msi", "sar", "reference", "label", "gap", "valid"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name)[..., rows, columns], err_msg=name)
    coarse = alone.hsi_window
    np.testing.assert_array_equal(alone.hsi, whole.hsi[(slice(None), *coarse.slices)])


def test_label_is_the_reference_without_noise_and_less_with_it() -> None:
    plain = Renderer(lay_out_city(_spec(shift=0)))(Window(0, 0, 120, 150))
    noisy = Renderer(lay_out_city(_spec(shift=0, label_noise=1.0)))(Window(0, 0, 120, 150))
    np.testing.assert_array_equal(plain.msi, noisy.msi)
    assert not plain.gap.any()
    assert 0.1 < noisy.gap.mean() < 0.6
    assert (plain.label == plain.reference).mean() > 0.96
    assert (noisy.label == noisy.reference).mean() < 0.93


def test_changed_land_cover_shows_in_hsi_more_than_in_msi() -> None:
    spec = _spec(shift=0)
    before = Renderer(lay_out_city(spec))(spec.grid.window)
    after = Renderer(lay_out_city(_spec(shift=0, land_cover_change=1.0)))(spec.grid.window)
    np.testing.assert_array_equal(before.reference, after.reference)
    hsi = (before.hsi != after.hsi).any(0).mean()
    msi = (before.msi != after.msi).any(0).mean()
    assert 0.02 < hsi < 0.35
    assert msi < hsi


def test_modalities_are_displaced_by_the_parameter() -> None:
    renderer = Renderer(lay_out_city(_spec(shift=0, coregistration=1.0)))
    lengths = {name: np.hypot(*shift) for name, shift in renderer.displacement_m.items()}
    assert lengths == pytest.approx({"msi": 3, "hsi": 15, "sar": 6})


@pytest.mark.parametrize("scale", [0, 0.01, 1.1, -1])
def test_scale_is_checked(scale: float) -> None:
    with pytest.raises(InputError, match="scale must be within"):
        _spec(scale=scale)


def test_pair_is_checked() -> None:
    with pytest.raises(InputError, match="unknown pair 'ac'"):
        _spec("ac")
