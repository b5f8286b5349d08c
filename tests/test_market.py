"""The simulated market: its laws, twins that differ in prices alone, its tables, and the limit that the oracle sets."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shelfcast import settings
from shelfcast.data import tables as data_tables
from shelfcast.data.files import folder_md5
from shelfcast.judge.metrics import scores
from shelfcast.market import laws, tables
from shelfcast.market.laws import LAW
from shelfcast.market.oracle import oracle
from shelfcast.market.truth import draw
from shelfcast.settings import Simulation

ROOT = Path(__file__).parents[1]
MECHANISMS = ("log_linear", "choice")
SMALL = dict(n_products=40, n_new=6, n_stores=8, n_weeks=60)


@pytest.fixture(scope="module", params=MECHANISMS)
def market(request):
    return draw(Simulation(mechanism=request.param, **SMALL))


def test_the_true_means_reproduce_the_counts_within_sampling_error(market):
    """Weekly totals against their means, by the variance of luck, store counts and Poisson: a standard normal."""
    mean, total = market["mean"], market["mean"].sum(1)
    luck, store = LAW.luck_variance, LAW.store_dispersion
    variance = (total + luck * total**2 + store * (1 + luck) * (mean**2).sum(1)).sum(0)
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
    utility, size = np.random.default_rng(0).normal(size=(5, 3, 2)), np.array([1.0, 2.0, 3.0])
    level = {"shoppers": 10.0, "nothing": 4.0}
    bought = laws.mean_units(utility, np.zeros((3, 2)), size, level, "choice")
    nothing = 10 * size[:, None] * 4 / (4 + np.exp(utility).sum(0))
    np.testing.assert_allclose(bought.sum(0) + nothing, 10 * size[:, None] * np.ones((3, 2)))
    utility[0] += 1  # one product gains and every other loses, unlike under the log-linear law
    more = laws.mean_units(utility, np.zeros((3, 2)), size, level, "choice")
    assert (more[0] > bought[0]).all() and (more[1:] < bought[1:]).all()


def test_twins_differ_in_their_prices_alone():
    observed, hidden, none = (draw(Simulation(confounding=c, **SMALL)) for c in ("observed", "hidden", "none"))
    follows_from_prices = {"price", "plan_log_price", "mean", "wanted", "sold"}
    for name, value in none.items():
        if isinstance(value, np.ndarray) and name not in follows_from_prices:
            for other in (observed, hidden):
                np.testing.assert_array_equal(value, other[name], err_msg=name)
    popularity = none["popularity"]

    def slope(twin, cause):  # of log price on what moves demand
        cause, price = (x - x.mean(1, keepdims=True) for x in (cause, np.log(twin["price"])))
        return (cause * price).sum() / (cause**2).sum()

    assert slope(hidden, popularity) > slope(observed, popularity) + 0.2
    season = laws.season(none["products"], np.arange(popularity.shape[1]))
    assert slope(observed, season) > slope(none, season) + 0.15


def test_views_lead_sales_by_a_week(market):
    old = (market["products"]["launch"] < 0).to_numpy()
    views, interest = np.log(market["views"][old] + 1), market["interest"][old]
    views = views - views.mean(1, keepdims=True)
    lags = [np.corrcoef(views[:, 1:-1].ravel(), interest[:, 1 + k : k + 59].ravel())[0, 1] for k in (0, 1, 2)]
    assert lags[1] > max(lags[0], lags[2]) + 0.1


def test_local_shocks_travel_east():
    stores = pd.DataFrame({"x": [0.1, 0.35, 0.6], "y": [0.5, 0.55, 0.6]})
    travel, covariance = laws.shock_law(stores)
    assert travel[1, 0] > travel[0, 1] + 0.5 and travel[2, 1] > travel[1, 2] + 0.5
    shared = covariance - 1e-4 * 0.3**2 * np.eye(3)
    np.testing.assert_allclose([travel.sum(0), shared.sum(0)], 0, atol=1e-9)  # over the map they add up to nothing
    assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_laws_are_pinned_by_the_hash_of_their_tables(tmp_path, mechanism):
    tables.write(tmp_path, Simulation(mechanism=mechanism))
    text = (ROOT / "docs/simulated_market.md").read_text()
    assert f"| {mechanism} | `{folder_md5(tmp_path / 'tables')}` |" in text


def test_tables_pass_the_checks_of_raw_tables_and_depend_on_the_seed_alone(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tables.write(tmp_path / name, Simulation(seed=seed, **SMALL))
    hashes = [folder_md5(tmp_path / name / "tables") for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]
    loaded = data_tables.load("simulated", tmp_path / "a/tables", None)
    truth = tables.load_truth(tmp_path / "a/truth")
    assert set(loaded.products["product_id"]) == set(truth["products"]["product_id"])
    assert loaded.query("SELECT sum(quantity) FROM sales").squeeze() == truth["sold"].sum()
    pictures = sorted((tmp_path / "a/tables/images").glob("*.png"))
    assert [path.stem for path in pictures] == sorted(truth["products"]["product_id"])
    assert all(Image.open(path).size == (128, 128) for path in pictures)


def test_the_truth_that_is_read_is_the_truth_that_was_drawn(tmp_path, market):
    tables.write(tmp_path, Simulation(**market["settings"]))
    truth = tables.load_truth(tmp_path / "truth")
    assert truth.keys() == market.keys()
    for name, value in market.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(truth[name], value)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(truth[name], value, err_msg=name)
        else:
            assert all(np.atleast_1d(truth[name] == value)), name


def test_oracle_is_calibrated_and_worse_without_information(market):
    """Judged on the weeks it did not draw: each piece of information that is withheld costs, a history most of all."""
    stores = market["stores"]["store_id"].tolist()
    locations = {"chain": stores, "region_1": stores[:4], "region_2": stores[4:]}
    cutoffs = market["mondays"][20:56:4]
    frames = {}
    for withheld in ((), ("behavior",), ("plan",), ("history",), ("history", "text", "picture")):
        frame = oracle(market, cutoffs, locations, withheld, draws=40)
        frames["+".join(withheld)] = frame
    table = scores(pd.concat([f.assign(method=m) for m, f in frames.items()]), frames[""])
    wql = table["wql"]
    assert wql[""] < wql["behavior"] < wql["history"] < wql["history+text+picture"] and wql[""] < wql["plan"]
    assert abs(table.loc["", "coverage_80"] - 0.8) < 0.04 and abs(table.loc["", "bias"]) < 0.06


def test_actuals_of_the_oracle_are_the_sales_of_its_locations(market):
    stores = market["stores"]["store_id"].tolist()
    locations = {"chain": stores, "region_1": stores[2:5]}
    last = market["mondays"][SMALL["n_weeks"] - 3]  # two weeks of sales are left, and two of the plan alone
    frame = oracle(market, [last], locations, draws=2)
    products = market["products"].set_index("product_id")
    for row in frame.itertuples():
        product, location = row.unique_id.split("|")
        week, number = SMALL["n_weeks"] - 3 + row.horizon, products.index.get_loc(product)
        if week >= SMALL["n_weeks"] or week < products.loc[product, "launch"]:
            assert np.isnan(row.y)
        else:
            members = [stores.index(store) for store in locations[location]]
            assert row.y == market["sold"][number, members, week].sum()


def test_leak_the_oracle_does_not_see_what_comes_after_the_cutoff(market):
    """Sales, shocks, popularity and the regime after the cutoff are changed: the forecast stays."""
    now, cutoff = 40, market["mondays"][40]
    changed = dict(market, regime=market["regime"].copy())
    changed["regime"][now + 1 :] = 2.0
    for name, first in (("field", now + 1), ("popularity", now + 1), ("interest", now + 2), ("sold", now + 1)):
        changed[name] = market[name].copy()
        changed[name][..., first:] += 3
    locations = {"chain": market["stores"]["store_id"].tolist()}
    before, after = (oracle(m, [cutoff], locations, draws=3).drop(columns="y") for m in (market, changed))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_errors(tmp_path):
    with pytest.raises(settings.SettingsError, match=r"mechanism is 'linear'.*'log_linear' or 'choice'"):
        settings.build(Simulation, {"mechanism": "linear"}, "params.yaml: simulations.simulated")
    market = draw(Simulation(**SMALL))
    with pytest.raises(ValueError, match=r"cannot withhold prices\. Choose of text, picture"):
        oracle(market, market["mondays"][:1], {}, ("prices",))


def test_command_line_writes_a_line_of_params(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = "simulations:\n  small: {n_products: 8, n_new: 2, n_stores: 3, n_weeks: 50, mechanism: choice}\n"
    Path("params.yaml").write_text(line)
    tables.main("small")
    assert "build/small: 8 products" in capsys.readouterr().out
    assert tables.load_truth("build/small/truth")["settings"]["mechanism"] == "choice"
    assert Path("build/small/tables/transactions.parquet").exists()
    command = [sys.executable, "-m", "shelfcast.market.tables", "smal"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: params.yaml has no simulation 'smal'; the nearest name is 'small'" in done.stderr
    Path("params.yaml").write_text(line.replace("n_weeks: 50", "n_weeks: many"))
    with pytest.raises(settings.SettingsError, match=r"^params\.yaml: simulations\.small: n_weeks is 'many'"):
        tables.main("small")


@pytest.mark.parametrize(
    ("settings_of_line", "words"),
    [
        ("n_weeks: 40", "n_weeks is 40"),
        ("n_weeks: 100000", "n_weeks is 100000"),
        ("n_products: 1", "n_products is 1"),
        ("n_products: 9, n_new: 9", "n_new may be at most half of n_products"),
        ("n_stores: 1", "n_stores is 1"),
        ("n_stores: 100000", "n_stores is 100000"),
        ("horizon: 0", "horizon is 0"),
        ("n_new: -1", "n_new is -1"),
    ],
)
def test_sizes_that_cannot_be_simulated(tmp_path, monkeypatch, settings_of_line, words):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"simulations:\n  small: {{{settings_of_line}}}\n")
    with pytest.raises(settings.SettingsError, match=rf"params\.yaml: simulations\.small: {words}"):
        tables.main("small")
    assert not Path("build").exists()
