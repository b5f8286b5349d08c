"""The study of several retailers: which ones it finds, what it compares, and that earlier rows stay."""

import pandas as pd
import pytest
import yaml
from scipy import stats

from shelfcast import settings
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES
from studies import parameters
from studies.retailers import earlier, ranges, retailers
from studies.retailers.retailers import COLUMNS, Study


def table(retailer: str, ensemble: float) -> pd.DataFrame:
    wql = {"ensemble": ensemble, "shelfcast": 0.3, "lightgbm": 0.4, "fracast": 0.5}
    rows = [(retailer, "no_plan", "product", name, value, 0.5, 0.8, 1.0) for name, value in wql.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_every_folder_with_transactions_is_a_retailer(tmp_path):
    for name, file in (("north", "transactions.csv"), ("south", "transactions.parquet"), ("notes", "readme.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    lines = retailers.markets(Study(lines={"north": {"rename": "sku=product_id"}}, categories=["FRZN A/B"]), tmp_path)
    assert list(lines) == ["north", "south", "frzn_a_b"]
    assert lines["north"]["rename"] == "sku=product_id" and lines["frzn_a_b"]["category"] == "FRZN A/B"
    with pytest.raises(ValueError, match=r"notes/ has no subfolder with transactions"):
        retailers.markets(Study(), tmp_path / "notes")


def test_the_studys_own_parameters_make_a_project(tmp_path):
    """Its params.yaml is understood by the settings that the notebooks read."""
    study = parameters.load(Study, "retailers")
    lines = retailers.markets(Study(categories=study.categories), None)
    retailers.prepare_work(study, lines, tmp_path)
    assert (tmp_path / "notebooks").is_dir() and len(lines) == 8
    project = settings.load("yogurt", path=tmp_path / "params.yaml")
    assert project.market.category == "YOGURT"
    assert project.evaluate.methods == study.sections["evaluate"]["methods"]
    base = yaml.safe_load((tmp_path / "params.yaml").read_text())["base"]["categories"]
    assert not set(study.categories) & set(base)  # no choice has seen them


def test_ratios_to_the_best_single_peer():
    row = retailers.ratios(table("north", 0.38)).iloc[0]
    assert (row["peer"], row["ensemble"], row["shelfcast"]) == ("lightgbm", pytest.approx(0.95), pytest.approx(0.75))


def test_rows_of_other_retailers_stay(tmp_path):
    for retailer, ensemble in (("north", 0.2), ("south", 0.3), ("north", 0.4)):
        retailers.write(table(retailer, ensemble), tmp_path)
    ratios = pd.read_csv(tmp_path / "ratios.csv").set_index("retailer")
    assert ratios["ensemble"].to_dict() == {"south": 0.75, "north": 1.0}


def test_an_earlier_window_has_no_later_row(tmp_path):
    days = pd.date_range("2024-01-01", periods=20, freq="7D")
    whole = tmp_path / "north"
    whole.mkdir()
    rows = pd.DataFrame({"timestamp": days, "store_id": "007", "product_id": "1", "quantity": 1.0})
    rows.to_csv(whole / "transactions.csv", index=False)
    later = pd.DataFrame({"week": [*days, days[-1] + pd.Timedelta(weeks=4)], "product_id": "1"})
    later.to_parquet(whole / "promotions.parquet")
    pd.DataFrame({"product_id": ["1"]}).to_parquet(whole / "products.parquet")
    read = {path.stem: pd.read_parquet(path) for path in earlier.cut(whole, tmp_path / "cut", 8).iterdir()}
    assert pd.to_datetime(read["transactions"]["timestamp"]).max() == days[11] == read["promotions"]["week"].max()
    assert set(read["transactions"]["store_id"]) == {"007"} and len(read["products"]) == 1
    with pytest.raises(ValueError, match=r"holds no row up to .* Cut fewer weeks than 30"):
        earlier.cut(whole, tmp_path / "none", 30)


def test_windows_stand_side_by_side(tmp_path):
    for weeks in (8, 16, 8):
        earlier.write(table("north_8", 0.2), "north", weeks, tmp_path)
    kept = pd.read_csv(tmp_path / "earlier.csv")
    assert kept.groupby("weeks_earlier").size().to_dict() == {8: 4, 16: 4} and set(kept["retailer"]) == {"north"}


def forecasts(y: list[float]) -> pd.DataFrame:
    """Of two products over eight weeks: a normal's quantiles around 10, as amounts."""
    keys = pd.MultiIndex.from_product([["a|chain", "b|chain"], pd.date_range("2024-01-01", periods=8, freq="7D")])
    frame = keys.to_frame(index=False, name=["unique_id", "ds"]).assign(
        y=y, unit=0.1, dispersion=float("nan"), mean=10.0
    )
    normal = stats.norm.ppf(QUANTILES) + 10
    return frame.assign(**dict(zip(QUANTILE_COLUMNS, normal, strict=True)))


def test_the_interval_of_a_coverage_holds_it():
    inside = [10.0] * 6 + [14.0] * 2  # of each product: its last block of two weeks lies outside
    low, high = ranges.coverage_interval(forecasts(inside * 2))
    assert low < 0.75 < high and (low, high) == (pytest.approx(0.5), pytest.approx(1.0))
    assert ranges.coverage_interval(forecasts([10.0] * 16)) == (1.0, 1.0)  # what never changes has no chance


def test_coverages_outside_of_the_band_are_told_from_chance():
    scores = pd.DataFrame(
        [
            ("inside", 0.8, 0.7, 0.9),
            ("by chance", 0.7, 0.6, 0.76),
            ("too low", 0.6, 0.5, 0.7),
            ("too high", 0.9, 0.86, 1),
        ],
        columns=["retailer", "coverage_80", "coverage_low", "coverage_high"],
    )
    off = ranges.outside(scores).set_index("retailer")["by_chance"]
    assert off.to_dict() == {"by chance": True, "too low": False, "too high": False}
