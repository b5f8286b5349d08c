"""The forecast frame: one row per series, cutoff and horizon (and method, once several are joined).

| column | meaning |
|---|---|
| `unique_id` | product and location, `<product_id>|<location>` |
| `cutoff`, `ds`, `horizon` | last observed week, forecast week (both their first days), weeks between them |
| `y` | actual units; NaN beyond the data |
| `mean`, `dispersion` | of the distribution; `dispersion` is NaN where a method gives quantiles only |
| `q025` … `q975` | quantiles |
| `unit` | 0 where sales are counts; else the typical amount of one sale, see `judge.distribution` |

A *week* is a period of the market's frequency (`shelfcast.frequency`): a day in a daily market.

Every forecast is made by `forecast_frame`, which checks it against `SCHEMA`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pandera.pandas as pa

from shelfcast.data.schema import CHAIN
from shelfcast.frequency import DAILY, WEEKLY, Frequency
from shelfcast.judge.distribution import QUANTILE_COLUMNS, law_quantiles

NO_SALE = 0.1  # of a typical sale; a quantile of an amount below it is a week without a sale
KEYS = ["unique_id", "ds", "cutoff", "horizon", "y"]


def _quantiles_rise(frame: pd.DataFrame) -> bool:
    return bool((np.diff(frame[QUANTILE_COLUMNS].to_numpy(), axis=1) >= 0).all())


def _horizon_fits(frame: pd.DataFrame) -> bool:
    ahead = frame["ds"] - frame["cutoff"]
    return any(bool((ahead == frequency.steps(frame["horizon"])).all()) for frequency in (WEEKLY, DAILY))


_QUANTILE = pa.Column(float, pa.Check.ge(0))
SCHEMA = pa.DataFrameSchema(
    {
        "unique_id": pa.Column(str),
        "ds": pa.Column("datetime64[ns]", coerce=True),
        "cutoff": pa.Column("datetime64[ns]", coerce=True),
        "horizon": pa.Column(int, pa.Check.ge(1), coerce=True),
        "y": pa.Column(float, nullable=True, coerce=True),
        "mean": pa.Column(float, pa.Check.ge(0)),
        "dispersion": pa.Column(float, pa.Check.ge(0), nullable=True),
        **dict.fromkeys(QUANTILE_COLUMNS, _QUANTILE),
        "unit": pa.Column(float, pa.Check.ge(0)),
    },
    checks=[
        pa.Check(_quantiles_rise, error="quantiles must not fall"),
        pa.Check(_horizon_fits, error="ds must be cutoff + horizon weeks, or days in all rows"),
    ],
    unique=["unique_id", "cutoff", "horizon"],
    strict=True,
    ordered=True,
)


def forecast_frame(
    keys: pd.DataFrame, mean, dispersion=np.nan, quantiles: np.ndarray | None = None, unit=0.0
) -> pd.DataFrame:
    """Make a forecast frame.

    Parameters
    ----------
    keys : the columns `KEYS`, one row per series, cutoff and horizon; further columns are left out.
    mean, dispersion : units a week and dispersion, one per row.
    quantiles : (rows, 13), of a method without a distribution; those of the distribution where none are given. Amounts
        below a tenth of a typical sale become 0, so that a range that begins there holds weeks without a sale.
    unit : 0 for counts, else the typical amount of one sale (`distribution.sales_unit`).

    Raises
    ------
    AssertionError : the frame breaks `SCHEMA`, which only a bug in a method can cause.
    """
    frame = keys[KEYS].reset_index(drop=True)
    frame = frame.assign(mean=np.asarray(mean, float), dispersion=np.asarray(dispersion, float))
    unit = np.broadcast_to(np.asarray(unit, float), len(frame))
    if quantiles is None:
        quantiles = law_quantiles(frame["mean"], frame["dispersion"], unit=unit)
    quantiles = np.where(np.abs(quantiles) < NO_SALE * unit[:, None], 0.0, quantiles)
    frame = pd.concat([frame, pd.DataFrame(quantiles, columns=QUANTILE_COLUMNS, dtype=float)], axis=1)
    try:
        return SCHEMA.validate(frame.assign(unit=unit))
    except pa.errors.SchemaError as error:
        raise AssertionError(f"a forecast breaks the schema of judge/frame.py: {error}") from error


def grid_keys(
    products: list[str],
    locations: list[str],
    cutoffs: list[pd.Timestamp],
    y: np.ndarray,
    frequency: Frequency = WEEKLY,
) -> pd.DataFrame:
    """`KEYS` of every series, cutoff and horizon, in the order of `y`'s axes (P, L, C, H) raveled."""
    series = [f"{product}|{location}" for product in products for location in locations]
    horizons = range(1, y.shape[-1] + 1)
    index = pd.MultiIndex.from_product([series, cutoffs, horizons], names=["unique_id", "cutoff", "horizon"])
    frame = index.to_frame(index=False)
    return frame.assign(ds=frame["cutoff"] + frequency.steps(frame["horizon"]), y=y.ravel())


def is_chain(frame: pd.DataFrame) -> pd.Series:
    """Whether a row forecasts the whole chain, not one of its regions."""
    return frame["unique_id"].str.endswith(f"|{CHAIN}")


def add_level(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the column `level`: `product` for the whole chain, `product_region` for its regions."""
    return frame.assign(level=np.where(is_chain(frame), "product", "product_region"))
