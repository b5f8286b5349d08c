"""The simulated market: its laws, its twin, its tables, and the limit that the oracle sets."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shelfcast.market import laws as demand
from shelfcast.market import oracle
from shelfcast.market import tables as simulate
from shelfcast.data import tables
from shelfcast.judge.metrics import scores

SMALL = dict(n_products=40, n_new=6, n_stores=8, n_weeks=60)


@pytest.fixture(scope="module", params=simulate.MECHANISMS)
def market(request):
    return simulate.draw(simulate.Settings(mechanism=request.param, **SMALL))


def test_truth_reproduces_the_counts_within_sampling_error(market):
    """Weekly totals against their means, by the variance that luck, till and Poisson give: a standard normal."""
    mean, total = market["mean"], market["mean"].sum(1)
    luck, till = demand.LAW["luck"], demand.LAW["till"]
    variance = (total + luck * total**2 + till * (1 + luck) * (mean**2).sum(1)).sum(0)
    z = (market["wanted"].sum((0, 1)) - total.sum(0)) / np.sqrt(variance)
    assert abs(z.mean()) < 4 / np.sqrt(len(z)) and 0.7 < z.std() < 1.3


def test_stock_outs_only_take_away(market):
    same = market["sold"] == market["wanted"]
    assert (market["sold"] <= market["wanted"]).all() and same[~market["out"]].all() and not same.all()
    assert 0.005 < market["out"].mean() < 0.05


def test_nothing_sells_before_its_launch(market):
    before = np.arange(SMALL["n_weeks"]) < market["products"]["launch"].to_numpy()[:, None]
    assert before.any() and not market["mean"].sum(1)[before].any() and market["mean"].sum(1)[~before].all()


def test_shares_of_a_choice_sum_to_one():
    v, size = np.random.default_rng(0).normal(size=(5, 3, 2)), np.array([1.0, 2.0, 3.0])
    level = {"shoppers": 10.0, "nothing": 4.0}
    bought = demand.expected(v, np.zeros((3, 2)), size, level, "choice")
    nothing = 10 * size[:, None] * 4 / (4 + np.exp(v).sum(0))
    np.testing.assert_allclose(bought.sum(0) + nothing, 10 * size[:, None] * np.ones((3, 2)))
    v[0] += 1  # one gains, every other loses: no such thing under the log-linear law
    more = demand.expected(v, np.zeros((3, 2)), size, level, "choice")
    assert (more[0] > bought[0]).all() and (more[1:] < bought[1:]).all()


def test_twins_differ_in_their_prices_alone():
    observed, hidden, none = (
        simulate.draw(simulate.Settings(confounding=c, **SMALL)) for c in ("observed", "hidden", "none")
    )
    follows = {"price", "plan_log_price", "mean", "wanted", "sold"}
    for name, value in none.items():
        if isinstance(value, np.ndarray) and name not in follows:
            for other in (observed, hidden):
                np.testing.assert_array_equal(value, other[name], err_msg=name)
    popularity = none["popularity"]

    def slope(twin, cause):  # of log price on what moves demand
        cause, price = (x - x.mean(1, keepdims=True) for x in (cause, np.log(twin["price"])))
        return (cause * price).sum() / (cause**2).sum()

    assert slope(hidden, popularity) > slope(observed, popularity) + 0.2
    season = demand.season(none["products"], np.arange(popularity.shape[1]))
    assert slope(observed, season) > slope(none, season) + 0.15


def test_views_lead_sales_by_a_week(market):
    known = (market["products"]["launch"] < 0).to_numpy()
    views, interest = np.log(market["views"][known] + 1), market["interest"][known]
    views = views - views.mean(1, keepdims=True)
    at = [np.corrcoef(views[:, 1:-1].ravel(), interest[:, 1 + k : k + 59].ravel())[0, 1] for k in (0, 1, 2)]
    assert at[1] > max(at[0], at[2]) + 0.1


def test_shocks_travel_with_the_wind():
    stores = pd.DataFrame({"x": [0.1, 0.35, 0.6], "y": [0.5, 0.55, 0.6]})
    travel, new = demand.field_law(stores)
    assert travel[1, 0] > travel[0, 1] + 0.5 and travel[2, 1] > travel[1, 2] + 0.5
    np.testing.assert_allclose([travel.sum(0), (new - 1e-4 * 0.3**2 * np.eye(3)).sum(0)], 0, atol=1e-9)  # over the map
    assert np.linalg.eigvalsh(new).min() > 0


@pytest.mark.parametrize("mechanism", simulate.MECHANISMS)
def test_the_laws_are_those_that_were_settled(tmp_path, mechanism):
    simulate.write(tmp_path, simulate.Settings(mechanism=mechanism))
    text = (Path(__file__).parents[1] / "docs" / "simulated_market.md").read_text()
    assert f"| {mechanism} | `{tables.folder_md5(tmp_path / 'tables')}` |" in text


def test_written_tables_pass_the_door_and_depend_on_the_seed_alone(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        simulate.write(tmp_path / name, simulate.Settings(seed=seed, **SMALL))
    hashes = [tables.folder_md5(tmp_path / name / "tables") for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]
    read = tables.load("tables", tmp_path / "a/tables", None)
    truth = simulate.load_truth(tmp_path / "a/truth")
    assert read.transactions["quantity"].sum() == truth["sold"].sum()
    pictures = sorted((tmp_path / "a/tables/images").glob("*.png"))
    assert [path.stem for path in pictures] == sorted(truth["products"]["product_id"])
    assert all(Image.open(path).size == (128, 128) for path in pictures)


def test_oracle_is_calibrated_and_pays_for_what_is_hidden(market):
    """On the weeks it did not draw; hidden things cost what they are worth, a hidden history most of all."""
    stores = market["stores"]["store_id"].tolist()
    places = {"chain": stores, "region_1": stores[:4], "region_2": stores[4:]}
    cutoffs = market["mondays"][20:56:4]
    sold = market["sold"].cumsum(1)[:, [7, 3, 7]]
    sold[:, 2] -= sold[:, 1]
    frames = {}
    for hidden in ((), ("behavior",), ("plan",), ("history",), ("history", "text", "picture")):
        frame = oracle.oracle(market, cutoffs, places, hidden, draws=40)
        at = market["mondays"].get_indexer(frame["ds"])
        item = market["products"]["product_id"].tolist().index
        key = frame["unique_id"].str.split("|", expand=True)
        row, place = key[0].map(item), key[1].map(list(places).index)
        frames["+".join(hidden)] = frame.assign(y=sold[row, place, at])
    table = scores(pd.concat([f.assign(method=m) for m, f in frames.items()]), frames[""], by=["method"])
    wql = table["wql"]
    assert wql[""] < wql["behavior"] < wql["history"] < wql["history+text+picture"] and wql[""] < wql["plan"]
    assert abs(table.loc["", "coverage_80"] - 0.8) < 0.04 and abs(table.loc["", "bias"]) < 0.06


def test_errors():
    with pytest.raises(ValueError, match="mechanism is 'linear'; choose one of log_linear, choice"):
        simulate.Settings(mechanism="linear")
    market = simulate.draw(simulate.Settings(**SMALL))
    with pytest.raises(ValueError, match="cannot hide prices; known: text, picture"):
        oracle.oracle(market, market["mondays"][:1], {}, ("prices",))
