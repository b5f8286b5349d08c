"""Amounts such as kilograms and litres: their distribution by hand, on draws of known law, and in forecast frames."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from shelfcast.judge import metrics, totals
from shelfcast.judge.distribution import (
    QUANTILE_COLUMNS,
    QUANTILES,
    Amounts,
    dispersion_of,
    fit_dispersion,
    law_quantiles,
    sales_unit,
    variance,
)
from shelfcast.judge.frame import forecast_frame, grid_keys

MONDAY = pd.Timestamp("2017-10-30")


def draws(mean, dispersion, unit, n, generator):
    """The law that `Amounts` comes near to: a negative binomial number of exponential sales of mean unit / 2."""
    rate = 2 * mean / unit
    sales = generator.poisson(rate * generator.gamma(1 / dispersion, dispersion, n))
    return np.where(sales > 0, generator.gamma(np.maximum(sales, 1), unit / 2), 0.0)


def test_unit_of_a_market():
    assert sales_unit({}) == sales_unit({"amounts": False, "unit": 1.0}) == 0
    assert sales_unit({"amounts": True, "unit": 1.5}) == 1.5


@pytest.mark.parametrize(("mean", "dispersion", "unit"), [(2.0, 0.5, 1.0), (0.3, 1.0, 1.5), (40.0, 0.2, 9.0)])
def test_mean_and_variance_of_amounts(mean, dispersion, unit):
    law = Amounts.of(mean, dispersion, unit)
    survival = integrate.quad(lambda y: float(1 - law.cdf(y)), 0, 60 * mean + 60 * unit, limit=500)[0]
    second = integrate.quad(lambda y: 2 * y * float(1 - law.cdf(y)), 0, 60 * mean + 60 * unit, limit=500)[0]
    assert survival == pytest.approx(mean, rel=1e-3)
    assert second - survival**2 == pytest.approx(unit * mean + dispersion * mean**2, rel=1e-2)
    assert variance(mean, dispersion, unit) == pytest.approx(unit * mean + dispersion * mean**2)
    assert dispersion_of(mean, variance(mean, dispersion, unit), unit) == pytest.approx(dispersion)


def test_weeks_without_a_sale_by_hand():
    """Mean 2, no dispersion, unit 1: four sales are expected, exp(-4) of the weeks have none."""
    law = Amounts.of(2.0, 0.0, 1.0)
    assert law.cdf(0.0) == pytest.approx(np.exp(-4), rel=1e-3) and law.cdf(-0.1) == 0
    assert law.ppf(np.array([0.01, 0.5]))[0] == 0 and law.ppf(np.array([0.01, 0.5]))[1] > 1


def test_quantiles_of_amounts_hold_what_they_say():
    generator = np.random.default_rng(0)
    y = draws(3.0, 0.4, 1.5, 40_000, generator)
    below = (y[:, None] <= law_quantiles([3.0], 0.4, unit=1.5)).mean(0)
    assert below == pytest.approx(np.maximum(QUANTILES, (y == 0).mean()), abs=0.02)
    assert (y == 0).mean() == pytest.approx(float(Amounts.of(3.0, 0.4, 1.5).cdf(0)), abs=0.01)
    assert fit_dispersion(y, np.full(len(y), 3.0), 1.5) == pytest.approx(0.4, rel=0.15)


def test_a_small_region_keeps_its_median():
    """0.4 kg a week in a market of rows of 0.1 kg: as a count the median would be 0."""
    amounts, counts = law_quantiles([0.4], 0.1, (0.5,), unit=0.1), law_quantiles([0.4], 0.1, (0.5,))
    assert counts == 0 and 0.3 < amounts < 0.4


def test_rows_of_both_kinds_at_once():
    both = law_quantiles([3.0, 3.0], [0.4, 0.4], unit=[0.0, 1.5])
    assert both[0].tolist() == law_quantiles([3.0], 0.4)[0].tolist()
    assert both[1].tolist() == law_quantiles([3.0], 0.4, unit=1.5)[0].tolist()


def amounts_frame(dispersion=0.4, n=400, seed=1):
    generator = np.random.default_rng(seed)
    mean = generator.uniform(0.5, 20, n)
    y = np.array([draws(m, 0.4, 1.5, 1, generator)[0] for m in mean])
    keys = grid_keys([f"p{i}" for i in range(n)], ["chain"], [MONDAY], y.reshape(n, 1, 1, 1))
    return forecast_frame(keys, mean, dispersion, unit=1.5).assign(method="m")


def test_less_than_a_tenth_of_a_sale_is_none():
    keys = grid_keys(["a"], ["chain"], [MONDAY], np.zeros((1, 1, 1, 1)))
    quantiles = np.linspace(0.1, 1.3, len(QUANTILES))[None]
    frame = forecast_frame(keys, 1.0, quantiles=quantiles, unit=5.0)
    assert frame[QUANTILE_COLUMNS].iloc[0].tolist() == [0.0] * 4 + quantiles[0, 4:].tolist()
    assert metrics.scores(frame.assign(method="m"), frame).loc["m", "coverage_80"] > 0.3, "a week without a sale"
    assert np.allclose(forecast_frame(keys, 1.0, quantiles=quantiles)[QUANTILE_COLUMNS], quantiles)


def test_coverage_of_amounts():
    frame = amounts_frame(n=3000)
    history = frame[["unique_id", "ds", "y"]]
    row = metrics.scores(frame, history).loc["m"]
    for coverage in (50, 80, 95):
        assert row[f"coverage_{coverage}"] == pytest.approx(coverage / 100, abs=0.03)
    narrow = amounts_frame(dispersion=0.001, n=3000)  # a control that must fail
    assert metrics.scores(narrow, history).loc["m", "coverage_80"] < 0.75
    quantiles_alone = metrics.scores(frame.assign(dispersion=np.nan), history).loc["m"]
    assert quantiles_alone["coverage_80"] == pytest.approx(row["coverage_80"], abs=0.02)


def test_totals_of_amounts():
    """A series' week has variance 1.5 * 4 + 0 = 6; two independent weeks have 12 around a mean of 8."""
    keys = grid_keys(["a"], ["chain"], [MONDAY], np.full((1, 1, 1, 2), np.nan))
    sums = totals.sums(forecast_frame(keys, 4.0, 0.0, unit=1.5), 0.0)
    assert sums["sd"].item() == pytest.approx(np.sqrt(12), rel=1e-6) and sums["mean"].item() == 8
    low, high = law_quantiles([8.0], 0.0, (0.1, 0.9), unit=1.5)[0]
    assert sums[["low", "high"]].to_numpy().ravel() == pytest.approx([low, high])


def test_amounts_are_not_rounded():
    frame = amounts_frame(n=50)
    assert (frame[QUANTILE_COLUMNS].to_numpy() % 1 != 0).any()
    assert fit_dispersion([0.2, 0.3, 0.4] * 50, [0.3] * 150, 0.05) < 0.2
