"""Speckle statistics and the filter in power."""

import numpy as np
import pytest

from c2seg.simulate.parameters import Parameters
from c2seg.simulate.radar import RadarSensor, lee_filter, speckle
from c2seg.simulate.specs import city_spec
from c2seg.types import Window


@pytest.mark.parametrize("looks", [1.0, 3.0, 4.4])
def test_speckle_has_mean_one_and_the_right_number_of_looks(looks: float) -> None:
    values = speckle(1, 1, Window(0, 0, 700, 700), looks, 2.1)[0, 4:-4, 4:-4]
    assert values.mean() == pytest.approx(1, abs=0.015)
    assert values.mean() ** 2 / values.var() == pytest.approx(looks, rel=0.06)


def test_speckle_is_correlated_over_a_resolution_cell_only() -> None:
    values = speckle(1, 1, Window(0, 0, 600, 600), 4.4, 2.1)[0, 4:-4, 4:-4]

    def correlation(lag: int) -> float:
        return float(np.corrcoef(values[:, lag:].ravel(), values[:, :-lag].ravel())[0, 1])

    assert correlation(1) > 0.3
    assert abs(correlation(5)) < 0.03


def test_lee_filter_keeps_the_mean_power_and_lowers_the_variance() -> None:
    power = 0.05 * speckle(2, 1, Window(0, 0, 400, 400), 4.0, 1.0)
    smooth = lee_filter(power, 3, 4.0)[:, 4:-4, 4:-4]
    assert smooth.mean() == pytest.approx(0.05, rel=0.02)
    assert smooth.var() < 0.6 * power.var()


def test_lee_filter_keeps_a_bright_point() -> None:
    power = np.full((1, 21, 21), 0.05, np.float32)
    power[0, 10, 10] = 10.0
    assert lee_filter(power, 3, 4.4)[0, 10, 10] > 5


def test_water_is_dark_and_corners_are_bright() -> None:
    spec = city_spec("ab", "source", scale=0.1, seed=0, parameters=Parameters.from_shift(0))
    radar = RadarSensor.make(spec)
    window = Window(0, 0, 40, 40)
    dark = radar.observe(np.full((2, 40, 40), 10**-2.0, np.float32), window)
    bright = radar.observe(np.full((2, 40, 40), 10**0.2, np.float32), window)
    assert dark.mean() == pytest.approx(-20, abs=1.2)
    assert bright.mean() - dark.mean() == pytest.approx(21.9, abs=1.0)


def test_order_of_polarizations_is_swapped_between_the_pairs() -> None:
    tables = {
        pair: RadarSensor.make(city_spec(pair, "source", scale=0.1, seed=0, parameters=Parameters.from_shift(0))).table
        for pair in ("ab", "bw")
    }
    assert tables["ab"][0].mean() < tables["ab"][1].mean()
    assert tables["bw"][0].mean() > tables["bw"][1].mean()
