"""A panel as a table of rows for regressions: log units, log price, promotions, and what was known before the week.

One row per product, location and week. Log units are log(units + 1/2): the derivative of its mean with respect to the
log of a Poisson mean is 1 up to terms of 1/mean² (for a mean of 5 it is 1.00, with log(units + 1) it is 0.89), so that
a coefficient is an elasticity. Below a mean of 5 units a week no such log is safe, and series that sell less are left
out. Amounts (kilograms) are measured in the typical amount of one sale.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.frequency import WEEKLY
from shelfcast.language import N_, _
from shelfcast.panel.frame import Panel

PRICE, PROMOTION, COST = "log_price", "promotion", "log_cost"
KEYS = ["unique_id", "product_id", "location", "ds"]
LEAST_UNITS = 5.0  # mean units a week of a series, see above
LEAST_WEEKS = 26  # rows of a series, from which its own level, trend and season are taken out
LEVEL_WEEKS = (4, 13)  # units, as means over so many weeks; enter as logs
LAST_WEEK = ("category_now", "category_level", "location_now", "weeks_since_promotion", "days_since_promotion")
KNOWN = 0.9  # share of rows in which a control must be known; rows in which it is not are left out
BLOCK = 4  # weeks in a block of weeks that are kept together
TIERS = ("low", "middle", "high")


@dataclass(frozen=True)
class Rows:
    """Rows of one market, ready for `effects.estimate`.

    frame : `KEYS`; `week` and `block` (numbers, of weeks and of blocks of `BLOCK` weeks); `units` (of amounts: in
        the typical amount of one sale), `log_units`,
        `log_price`, promotion shares, controls, `log_cost` where a cost was added, and attributes of products
        (`category`, `brand` where there are such, `price_tier`). No missing values but in attributes and `log_cost`.
    treatments : columns whose effect can be estimated; the others of them are controls then.
    controls : columns known before the week.
    notes : what was selected and how, in sentences. per_week : periods of a week; `week` numbers days in a daily market.
    """

    frame: pd.DataFrame
    treatments: list[str]
    controls: list[str]
    notes: tuple[str, ...] = field(default=())
    per_week: int = 1

    def controls_of(self, treatment: str) -> list[str]:
        """The controls for one treatment: `controls` and the other treatments, but not the sum of a channel's parts."""
        channels = [name for name in self.treatments if name.startswith(f"{PROMOTION}: ")]
        left_out = {treatment, *(channels if treatment == PROMOTION else [PROMOTION] if channels else [])}
        return [name for name in [*self.treatments, *self.controls] if name not in left_out]

    def where(self, chosen: pd.Series | np.ndarray) -> Rows:
        """Those rows alone."""
        return replace(self, frame=self.frame[np.asarray(chosen)].reset_index(drop=True))


def levels_of(per_week: int = 1) -> tuple[str, ...]:
    """Columns of a product's own sales so far."""
    return ("lag_0", *(f"level_{weeks * per_week}" for weeks in LEVEL_WEEKS))


def rows(
    panel: Panel, locations: str = "chain", least_units: float = LEAST_UNITS, until: pd.Timestamp | None = None
) -> Rows:
    """The observed weeks of a panel as rows.

    Parameters
    ----------
    locations : 'chain', or 'regions' for a row per region.
    least_units : mean units a week below which a series is left out.
    until : the last week that is read; series are selected by the weeks up to it, too. All observed weeks where none is
        given.

    Raises
    ------
    ValueError : unknown locations, or no series left that sells enough in enough weeks.
    """
    if locations not in ("chain", "regions"):
        raise ValueError(f"locations is {locations!r}. Say 'chain' or 'regions'.")
    if until is not None:
        panel = replace(panel, frame=panel.frame[panel.frame["ds"] <= until])
    frame = panel.frame[(panel.frame["location"] == CHAIN) == (locations == "chain")]
    frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    log_price, note = _log_price(panel, frame)
    promotions = [name for name in panel.roles["known_future"] if _is_promotion(name) and frame[name].any()]
    values = frame[KEYS].assign(units=frame["y"], log_price=log_price, **{name: frame[name] for name in promotions})
    values = values.assign(units=values["units"] / panel.meta.get("unit", 1.0)).dropna()
    controls = _controls(panel, frame, log_price, promotions).loc[values.index]
    known = controls.columns[(controls.notna().mean() >= KNOWN) & (controls.nunique() > 1)]
    frequency = panel.frequency
    kept, enough = _enough(values.join(controls[known]).dropna(), least_units, frequency.per_week)
    kept["log_units"] = np.log(kept["units"] + 0.5)
    kept["week"] = frequency.number(kept["ds"], frame["ds"].min())
    kept["block"] = kept["week"] // frequency.periods(BLOCK)
    kept = kept.join(_groups(panel), on="product_id")
    treatments = [PRICE, *promotions]
    return Rows(kept.reset_index(drop=True), treatments, list(known), (note, enough), frequency.per_week)


def _is_promotion(name: str) -> bool:
    return name == PROMOTION or name.startswith(f"{PROMOTION}: ")


def _log_price(panel: Panel, frame: pd.DataFrame) -> tuple[pd.Series, str]:
    """Log price of each row, NaN where it is not known, and a sentence on where it comes from."""
    if "price" in panel.planned:
        known = frame["price_known"] > 0
        price = (frame["price"] + frame["price_level"]).where(known)
        return price, _("Prices are those of the retailer's table of prices.")
    return realised_log_price(frame), _(
        "The retailer records a price only with a sale: prices are what was paid for a unit, and weeks without a sale "
        "are left out. Weeks that sold nothing are the weeks of low demand, so that effects of products that often sell "
        "nothing are understated."
    )


def realised_log_price(frame: pd.DataFrame) -> pd.Series:
    """Log of the price paid for a unit in weeks with a sale, over that of the series' first one; NaN in other weeks.

    A panel holds the log of a week's price over the mean of the earlier ones, `price_ratio`, so that prices follow one
    by one: with ratios 0, .2 and .1 they are 0, .2 and .1 + (0 + .2) / 2 = .2.

    Parameters
    ----------
    frame : unique_id, ds, y, price_ratio, sorted by unique_id and ds.
    """
    sold = frame["y"] > 0
    price = pd.Series(np.nan, frame.index)
    for _series, ratio in frame.loc[sold].groupby("unique_id")["price_ratio"]:
        values = np.zeros(len(ratio))
        total = 0.0
        for n, change in enumerate(ratio.to_numpy()):
            values[n] = change + total / n if n else 0.0
            total += values[n]
        price[ratio.index] = values
    return price


def _controls(panel: Panel, frame: pd.DataFrame, log_price: pd.Series, promotions: list[str]) -> pd.DataFrame:
    """What was known before the week: last week's sales, price, promotion and shoppers' behaviour; the calendar; the
    plan of the other products. Seasons and levels are taken out of each series later, see `effects`."""
    before = frame.groupby("unique_id")
    columns = {f"{name}_before": np.log(before[name].shift(1) + 0.5) for name in levels_of(panel.frequency.per_week)}
    events = [name for name in panel.roles["past"] if name.startswith("event_")]
    for name in [*(name for name in LAST_WEEK if name in frame), *events]:
        columns[f"{name}_before"] = before[name].shift(1)
    columns["log_price_before"] = log_price.groupby(frame["unique_id"]).ffill().groupby(frame["unique_id"]).shift(1)
    for name in promotions:
        columns[f"{name}_before"] = before[name].shift(1)
    calendar = [name for name in panel.roles["known_future"] if name.startswith(("holiday", "month_start", "weekday"))]
    for name in [*calendar, *(name for name in ("category_promotion",) if name in frame)]:
        columns[name] = frame[name]
    relative = log_price - log_price.groupby(frame["unique_id"]).transform("mean")
    columns["other_prices"] = mean_of_others(relative, frame["location"], frame["ds"])
    return pd.DataFrame(columns)


def mean_of_others(values: pd.Series, *keys: pd.Series) -> pd.Series:
    """Mean of the other rows with the same keys; 0 where there are none. The row itself may be missing."""
    groups = values.groupby(list(keys))
    n = groups.transform("count") - values.notna()
    return ((groups.transform("sum") - values.fillna(0)) / n.where(n > 0)).fillna(0.0)


def _enough(values: pd.DataFrame, least_units: float, per_week: int = 1) -> tuple[pd.DataFrame, str]:
    """The rows of series that sell enough in enough weeks, and a sentence on the others."""
    least_rows = LEAST_WEEKS * per_week
    series = values.groupby("unique_id")["units"]
    enough = (series.transform("mean") >= least_units) & (series.transform("size") >= least_rows)
    kept, n, n_all = values[enough].copy(), values.loc[enough, "unique_id"].nunique(), values["unique_id"].nunique()
    if not n:
        noun = "week" if per_week == 1 else "day"
        raise ValueError(
            f"none of {n_all} series sells {least_units:g} units a {noun} in {least_rows} {noun}s with a known price. "
            "Estimate effects for the chain in place of regions, or for a larger category."
        )
    share = kept["units"].sum() / values["units"].sum()
    used = N_(
        "{n} of {n_all} series sell at least {least:g} units a week and are used; they make {share:.0%} of units."
    )
    return kept, _(used, n=n, n_all=n_all, least=least_units, share=share)


def _groups(panel: Panel) -> pd.DataFrame:
    """Attributes of products that group them: category and brand where there are such, and thirds by price level."""
    names = {name.lower(): name for name in panel.products.columns}
    groups = panel.products[[names[name] for name in ("category", "brand") if name in names]].copy()
    groups.columns = groups.columns.str.lower()
    level = panel.frame.drop_duplicates("product_id").set_index("product_id").get("price_level")
    if level is not None and level.nunique() >= len(TIERS):
        rank = level.rank(method="first", pct=True)
        groups["price_tier"] = pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=TIERS).astype(str)
    return groups.drop(columns=[name for name in groups if groups[name].isna().all()])


def with_cost(rows: Rows, costs: pd.DataFrame) -> Rows:
    """The rows with `log_cost`, what a unit costs the retailer in the week, as an instrument for the price.

    Parameters
    ----------
    costs : product_id, week (any day of it) and cost (> 0); of several rows of a product and week the mean log counts.

    Raises
    ------
    ValueError : a missing column, costs that are not above zero, or costs of none of the rows.
    """
    if missing := {"product_id", "week", "cost"} - set(costs.columns):
        raise ValueError(f"costs have no column {sorted(missing)[0]!r}. Give product_id, week and cost.")
    if (costs["cost"] <= 0).any():
        raise ValueError(f"{int((costs['cost'] <= 0).sum())} costs are not above zero. Leave out or mend these rows.")
    week = pd.to_datetime(costs["week"])
    monday, own = WEEKLY.week(week).rename("ds"), WEEKLY.week(rows.frame["ds"])
    log_cost = np.log(costs["cost"]).groupby([costs["product_id"].astype(str), monday]).mean().rename(COST)
    frame = rows.frame.drop(columns=COST, errors="ignore")
    of_rows = log_cost.reindex(pd.MultiIndex.from_arrays([frame["product_id"], own]))
    frame = frame.assign(**{COST: of_rows.to_numpy()})
    known = frame[COST].notna()
    if not known.any():
        raise ValueError("no cost belongs to a product and week of the rows. Check product_id and week of the costs.")
    note = _("The cost is known for {share:.0%} of rows.", share=known.mean())
    return replace(rows, frame=frame, notes=(*rows.notes, note))
