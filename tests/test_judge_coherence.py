"""Regions add up to their chain, whatever the method."""

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge.coherence import coherent
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES, law_quantiles
from shelfcast.judge.frame import forecast_frame, grid_keys, is_chain

CUTOFFS = [pd.Timestamp("2017-10-23"), pd.Timestamp("2017-10-30")]
LOCATIONS = ["chain", "north", "south"]


def frame(means, dispersion=0.5, quantiles=None, products=("a",), cutoffs=1, locations=LOCATIONS):
    keys = grid_keys(list(products), locations, CUTOFFS[:cutoffs], np.ones((len(products), len(locations), cutoffs, 1)))
    return forecast_frame(keys, means, dispersion, quantiles)


def test_worked_example():
    scaled = coherent(frame([6.0, 1.0, 2.0]))
    assert scaled["mean"].tolist() == [6, 2, 4] and (scaled["dispersion"] == 0.5).all()
    assert np.array_equal(scaled[QUANTILE_COLUMNS].to_numpy(), law_quantiles([6, 2, 4], 0.5))


def test_quantiles_alone_are_scaled_by_the_same_factor():
    quantiles = np.array([6.0, 1.0, 2.0])[:, None] * np.array(QUANTILES) * 2
    scaled = coherent(frame([6.0, 1.0, 2.0], np.nan, quantiles))
    assert np.allclose(scaled[QUANTILE_COLUMNS], quantiles * np.array([[1.0], [2.0], [2.0]]))


@pytest.mark.parametrize("seed", range(3))
def test_regions_add_up_for_every_product_cutoff_and_horizon(seed):
    generator = np.random.default_rng(seed)
    rows = frame(generator.gamma(1, 3, 3 * 4 * 2), products="abcd", cutoffs=2)
    scaled = coherent(rows.sample(frac=1, random_state=seed))
    keys = [scaled["unique_id"].str[0], scaled["cutoff"]]
    total = scaled["mean"].where(is_chain(scaled)).groupby(keys).sum()
    of_regions = scaled["mean"].where(~is_chain(scaled)).groupby(keys).sum()
    assert np.allclose(total, of_regions)
    before = rows[is_chain(rows)].set_index(["unique_id", "cutoff"])["mean"]
    assert before.equals(scaled[is_chain(scaled)].set_index(["unique_id", "cutoff"])["mean"].reindex(before.index))


@pytest.mark.parametrize("law", [True, False])
def test_silent_regions_share_the_chain(law):
    quantiles = None if law else np.array([3.0, 0.0, 0.0])[:, None] * np.array(QUANTILES)
    scaled = coherent(frame([3.0, 0.0, 0.0], 0.5 if law else np.nan, quantiles))
    assert scaled["mean"].tolist() == [3, 1.5, 1.5]
    assert np.isfinite(scaled[QUANTILE_COLUMNS].to_numpy()).all() and scaled["q900"].iloc[1] > 0


def test_a_silent_chain_silences_its_regions():
    scaled = coherent(frame([0.0, 1.0, 2.0]))
    assert scaled["mean"].tolist() == [0, 0, 0] and (scaled[QUANTILE_COLUMNS] == 0).all(axis=None)


@pytest.mark.parametrize("locations", [["chain"], ["north", "south"], ["chain", "north"]])
def test_markets_without_a_chain_or_with_one_region(locations):
    scaled = coherent(frame([5.0, 2.0][: len(locations)], locations=locations))
    expected = [5.0, 5.0] if locations == ["chain", "north"] else [5.0, 2.0][: len(locations)]
    assert scaled["mean"].tolist() == expected


def test_further_columns_and_order_are_kept():
    rows = frame([6.0, 1.0, 2.0]).assign(method="m").iloc[::-1]
    scaled = coherent(rows)
    assert scaled["unique_id"].tolist() == rows["unique_id"].tolist() and (scaled["method"] == "m").all()
