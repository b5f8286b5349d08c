"""Effects on log units: by double machine learning, and by the plain regressions that people would run instead.

Partially linear regression (Robinson 1988; Chernozhukov et al. 2018): log units = effect · treatment + g(controls) +
noise, with learners for what controls say of units and of the treatment, cross-fitted over products (over blocks of weeks
where there are more of these), by the library DoubleML. Before that, each series' own level,
trend and season of the year are taken out of all columns by least squares (Frisch & Waugh 1933), so that a product's
weeks are compared with its other weeks. With a cost as instrument only the part of a price that follows the cost counts.
Standard errors are clustered by product and by block of weeks (Cameron, Gelbach & Miller 2011) from the cross-fitted
residuals: DoubleML's own for two ways sums within folds and counts noise of single rows twice, which makes intervals of
such data about three times as wide as they need be. The plain regressions are those of the library pyfixest. Intervals are Student's t with the smaller
number of clusters less one as degrees of freedom (Cameron & Miller 2015).
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.why.causes.data import COST, PRICE, Rows
from shelfcast.why.causes.errors import clustered_se, strata_of
from shelfcast.why.causes.learners import LEARNERS, learner_of

METHODS = ("dml", "instrument", "naive", "two_way")
CLUSTERS = ("product_id", "block")
FOLDS = 4  # of products, and of blocks of weeks; fewer where there are fewer of them
SEASON_WEEKS = 78  # weeks of data from which on a season is told from a trend
YEAR = 365.25 / 7  # weeks
LEAST_SPREAD = 0.005  # standard deviation of a log price within series, below which nothing can be learned from it
WEAK = 10.0  # F statistic of the cost on the price, below which an instrument is called weak (Staiger & Stock 1997)


@dataclass(frozen=True)
class Effect:
    """One effect on log units, per unit of the treatment: for `log_price` an elasticity.

    method : one of `METHODS`. group : of products, 'all' or 'column=value'.
    low, high : the 95 % interval. n : rows; series : product-locations. clusters : name -> number.
    first_stage : F statistic of the cost on the price, for 'instrument'; NaN else.
    """

    treatment: str
    method: str
    estimate: float
    se: float
    low: float
    high: float
    n: int
    series: int
    clusters: dict[str, int] = field(default_factory=dict)
    group: str = "all"
    first_stage: float = np.nan


def estimate(
    rows: Rows,
    treatment: str = PRICE,
    method: str = "dml",
    clusters: tuple[str, ...] = CLUSTERS,
    learner: str = "linear",
    seed: int = 0,
    group: str = "all",
    strata: str | None = None,
) -> Effect:
    """One effect.

    Parameters
    ----------
    treatment : a column of `rows.treatments`, or any other column whose effect should be tested.
    method : 'dml'; 'instrument', with `log_cost` as the instrument; 'naive', least squares with a constant a series;
        'two_way', least squares with a constant a series and a week.
    clusters : one or two columns; rows of one value of them may depend on each other.
    learner : 'linear' (ridge regression) or 'trees' (LightGBM).
    seed : of the folds.
    strata : a column by whose values the effect may differ without counting as chance, such as 'brand' where the same
        brands are asked about; of 'dml' and 'instrument'. See `clustered_se`.

    Raises
    ------
    ValueError : an unknown method, learner or column, a treatment that hardly varies, fewer than two clusters, no cost.
    """
    check(rows, treatment, method, clusters, learner, strata)
    n_series = rows.frame["unique_id"].nunique()
    first_stage = np.nan
    if method in ("naive", "two_way"):
        estimate, se = _plain(rows.frame, treatment, method, clusters)
    else:
        frame = within(rows, treatment, instrument=method == "instrument")
        model = fit(frame, treatment, rows.controls_of(treatment), clusters, method, learner, seed)
        residuals = cross_fitted(model, frame, treatment, clusters)
        stratum = None if strata is None else strata_of(frame, strata)
        n_own = (
            own_columns(frame, rows.per_week).shape[1] * n_series
        )  # what was taken out of each series costs degrees of freedom
        lost = np.sqrt(len(frame) / (len(frame) - n_own))
        estimate, se = float(model.coef[0]), lost * clustered_se(residuals, clusters, stratum)
        first_stage = _first_stage(residuals, clusters) if method == "instrument" else np.nan
    counts = {name: rows.frame[name].nunique() for name in clusters}
    half = stats.t.ppf(0.975, min(counts.values()) - 1) * se
    size = {"n": len(rows.frame), "series": n_series, "clusters": counts}
    interval = {"low": estimate - half, "high": estimate + half}
    return Effect(treatment, method, estimate, se, **interval, **size, group=group, first_stage=first_stage)


def by_group(rows: Rows, column: str, treatment: str = PRICE, least: int = 4, **options: Any) -> list[Effect]:
    """The effect within each group of products: `column` is 'category', 'brand', 'price_tier' or any other of the frame.

    Groups of fewer than `least` products are left out. `options` are those of `estimate`.

    Raises
    ------
    ValueError : as `estimate`; no such column.
    """
    if column not in rows.frame:
        raise ValueError(f"rows have no column {column!r}. Group products by one of {', '.join(_groups_of(rows))}.")
    effects = []
    for name, part in rows.frame.groupby(column):
        if part["product_id"].nunique() >= least:
            own = rows.where(rows.frame[column] == name)
            effects.append(estimate(own, treatment, group=f"{column}={name}", **options))
    return effects


def table(effects: list[Effect]) -> pd.DataFrame:
    """A row an effect; `clusters` as text."""
    columns = [name for name in Effect.__dataclass_fields__]
    frame = pd.DataFrame([{name: getattr(effect, name) for name in columns} for effect in effects], columns=columns)
    text = frame["clusters"].map(lambda counts: ", ".join(f"{n} {name}" for name, n in counts.items()))
    return frame.assign(clusters=text)


def _groups_of(rows: Rows) -> list[str]:
    return [name for name in ("category", "brand", "price_tier") if name in rows.frame]


def check(
    rows: Rows,
    treatment: str,
    method: str = "dml",
    clusters: tuple[str, ...] = CLUSTERS,
    learner: str = "linear",
    strata: str | None = None,
) -> None:
    """Raise a ValueError where an effect cannot be estimated, see `estimate`."""
    for name, known, what in ((method, METHODS, "method"), (learner, LEARNERS, "learner")):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}. Choose of {', '.join(known)}.")
    for name in (treatment, *clusters, *([] if strata is None else [strata])):
        if name not in rows.frame:
            raise ValueError(f"rows have no column {name!r}. Treatments are {', '.join(rows.treatments)}.")
    for name in clusters:
        if (n := rows.frame[name].nunique()) < 2:
            raise ValueError(f"there is {n} cluster of {name!r}, and two are needed. Take more products or weeks.")
    spread = rows.frame[treatment] - rows.frame.groupby("unique_id")[treatment].transform("mean")
    if spread.std() < LEAST_SPREAD:
        raise ValueError(
            f"{treatment!r} hardly varies within products (standard deviation {spread.std():.4f}), so that its effect "
            "cannot be seen. Take more weeks, or products whose values change."
        )
    if method == "instrument" and (treatment != PRICE or COST not in rows.frame):
        raise ValueError("an instrument needs log_price as the treatment and a cost. Add the cost by data.with_cost.")


def _plain(frame: pd.DataFrame, treatment: str, method: str, clusters: tuple[str, ...]) -> tuple[float, float]:
    """Least squares without controls, clustered."""
    effects = "unique_id" if method == "naive" else "unique_id + week"
    names = list(dict.fromkeys(["log_units", "unique_id", "week", *clusters]))
    data = frame[names].assign(treatment=frame[treatment])
    model = regress(f"log_units ~ treatment | {effects}", data, clusters)
    return float(model.coef()["treatment"]), float(model.se()["treatment"])


def own_columns(frame: pd.DataFrame, per_week: int = 1) -> np.ndarray:
    """(n, 2 or 4): a constant and a trend, and a year's wave where the weeks reach far enough; see `data.Rows`."""
    week = frame["week"].to_numpy(float) / per_week
    columns = [np.ones(len(week)), (week - week.mean()) / max(np.ptp(week), 1)]
    if np.ptp(week) + 1 >= SEASON_WEEKS:
        columns += [np.sin(2 * np.pi * week / YEAR), np.cos(2 * np.pi * week / YEAR)]
    return np.stack(columns, 1)


def within(rows: Rows, treatment: str, instrument: bool = False) -> pd.DataFrame:
    """log_units, treatment, controls and instrument without each series' own level, trend and season; other columns stay.

    Rows without a value of the instrument are left out where it is used.
    """
    frame = rows.frame.dropna(subset=[COST]) if instrument else rows.frame
    names = ["log_units", treatment, *rows.controls_of(treatment), *([COST] if instrument else [])]
    own, values = own_columns(frame, rows.per_week), frame[names].to_numpy(float)
    residuals = np.empty_like(values)
    for positions in frame.groupby("unique_id").indices.values():
        q, _ = np.linalg.qr(own[positions])
        residuals[positions] = values[positions] - q @ (q.T @ values[positions])
    return frame.assign(**dict(zip(names, residuals.T, strict=True)))


def fit(
    frame: pd.DataFrame,
    treatment: str,
    controls: list[str],
    clusters: tuple[str, ...] = CLUSTERS,
    method: str = "dml",
    learner: str = "linear",
    seed: int = 0,
) -> Any:
    """A fitted DoubleMLPLR, or DoubleMLPLIV for 'instrument', of a frame that `within` made.

    Its columns are y, d, z and x0, x1 … in the order of `controls`.
    """
    doubleml = _doubleml()
    most = max(clusters, key=lambda name: frame[name].nunique())
    names = {name: f"x{i}" for i, name in enumerate(controls)} | {treatment: "d", "log_units": "y"}
    roles = {"y_col": "y", "d_cols": "d", "x_cols": [names[name] for name in controls], "cluster_cols": "fold"}
    kind = doubleml.DoubleMLPLR
    if method == "instrument":
        names, roles, kind = names | {COST: "z"}, roles | {"z_cols": "z"}, doubleml.DoubleMLPLIV
    data = frame[list(names)].rename(columns=names).assign(fold=pd.factorize(frame[most])[0])
    learners = [learner_of(learner, seed) for _ in range(3 if method == "instrument" else 2)]
    with seeded(seed):
        folds = min(FOLDS, frame[most].nunique())
        return kind(doubleml.DoubleMLData(data, **roles), *learners, n_folds=folds).fit()


def cross_fitted(model: Any, frame: pd.DataFrame, treatment: str, clusters: tuple[str, ...]) -> pd.DataFrame:
    """y, d and, with an instrument, z: what the controls do not explain of units, treatment and cost; and the clusters."""
    iv = "ml_r" in model.predictions
    learners = {"y": ("ml_l", "log_units"), "d": ("ml_r" if iv else "ml_m", treatment)} | (
        {"z": ("ml_m", COST)} if iv else {}
    )
    residuals = {
        name: frame[column].to_numpy() - model.predictions[learner].ravel()
        for name, (learner, column) in learners.items()
    }
    return frame[list(clusters)].assign(**residuals)


def _first_stage(residuals: pd.DataFrame, clusters: tuple[str, ...]) -> float:
    """F statistic of the cost on the price, clustered."""
    price, cost = residuals["d"], residuals["z"]
    slope = (price @ cost) / (cost @ cost)
    stage = residuals.drop(columns="z").assign(y=price, d=cost)
    return float((slope / clustered_se(stage, clusters)) ** 2)


def regress(formula: str, data: pd.DataFrame, clusters: tuple[str, ...]) -> Any:
    """Least squares by pyfixest, clustered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tells of columns that others imply, which it leaves out
        return _pyfixest().feols(formula, data, vcov={"CRV1": " + ".join(clusters)})


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """DoubleML draws its folds from numpy's global stream, which is left as it was."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _doubleml():
    """Imported where it is used: it takes seconds."""
    import doubleml

    return doubleml


def _pyfixest():
    """Imported where it is used: it takes seconds, and warns of what it lacks."""
    logging.getLogger("pyfixest").setLevel(logging.ERROR)
    import pyfixest

    return pyfixest
