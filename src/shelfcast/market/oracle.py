"""What no forecast of the simulated market can beat: the truth, gone on from with its own laws.

With something hidden from it, the oracle tells what that is worth. Axes as in `simulate`; L locations, D draws.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import linalg

from shelfcast.judge.distribution import QUANTILES, quantile_column
from shelfcast.market.laws import EFFECTS, LAW, city_taste, expected, field_law, tastes, utility

HIDEABLE = ("text", "picture", "behavior", "space", "plan", "history")


def oracle(market: dict, cutoffs, places: dict[str, list[str]], hidden=(), draws: int = 400, seed: int = 0) -> pd.DataFrame:  # fmt: skip
    """Forecast by going on from the true state at each cutoff with the true laws.

    Parameters
    ----------
    places : location -> its stores. hidden : what the oracle is not told, of `HIDEABLE`:
        'behavior': the interest of the coming week, which views foretell; 'space': other stores' shocks;
        'plan': promotions and prices to come, drawn from the product's own past instead;
        'history': a product's own appeal and popularity, as for one that is new;
        'text', 'picture': what they tell, drawn from another product instead (together with 'history': what a long
        history does not give away anyway).

    Returns
    -------
    Forecast frame without `method` and `y`; the mean is that of the drawn conditional means, the quantiles those of
    the drawn counts, the dispersion what gives their variance.
    """
    if unknown := set(hidden) - set(HIDEABLE):
        raise ValueError(f"cannot hide {', '.join(sorted(unknown))}; known: {', '.join(HIDEABLE)}.")
    rng = np.random.default_rng(seed)
    products, stores = market["products"], market["stores"]
    e, size = products[EFFECTS], stores["size"].to_numpy()
    member = np.stack([stores["store_id"].isin(names) for names in places.values()]).astype(float)  # L S
    plan = {k[5:]: v for k, v in market.items() if k.startswith("plan_")}
    travel, new = field_law(stores)
    still = linalg.solve_discrete_lyapunov(travel, new)  # covariance of the shocks of a week far from now
    taste = market["taste"] + city_taste(e, stores)
    root, n, p, h = np.linalg.cholesky(new), len(stores), len(products), market["settings"]["horizon"]
    stay, spread = LAW["interest"]
    slow, width = LAW["popularity"]
    step = spread * np.sqrt(1 - stay**2), width * np.sqrt(1 - slow**2)
    begins, goes_on = LAW["stock_out"]
    frames = []
    for cutoff in cutoffs:
        now = market["mondays"].get_loc(cutoff)
        weeks = np.arange(now + 1, now + 1 + h)
        steady = np.full(h, market["regime"][now])  # a change to come is not foreseen
        rival = market["rival"] * (market["regime"][now] > 1)
        v = None if {"text", "picture", "history", "plan"} & set(hidden) else utility(e, taste, plan, weeks, steady)
        counts = np.empty((draws, p, len(places), h), np.int32)
        means = np.zeros((p, len(places), h))
        for k in range(draws):
            at = v if v is not None else _guess(rng, e, market, plan, weeks, steady, now, hidden)
            interest, popularity = market["interest"][:, now + 1], market["popularity"][:, now]
            if "behavior" in hidden:
                interest = stay * market["interest"][:, now] + step[0] * rng.normal(size=p)
            if "history" in hidden:
                popularity = width * rng.normal(size=p)
            field, out = market["field"][:, now], market["out"][:, :, now]
            alone = _alone(rng, field, travel, still, h) if "space" in hidden else None
            mean, sold = np.empty((p, n, h)), np.empty((p, n, h), np.int64)
            for j in range(h):
                interest = interest if j == 0 else stay * interest + step[0] * rng.normal(size=p)
                popularity = slow * popularity + step[1] * rng.normal(size=p)
                field = alone[j] if alone is not None else travel @ field + root @ rng.normal(size=n)
                u = at[:, :, j : j + 1] + (interest + popularity)[:, None, None]
                mean[..., j] = expected(
                    u, (field + rival)[:, None], size, market["level"], market["settings"]["mechanism"]
                )[..., 0]
                lucky = mean[..., j] * rng.gamma(1 / LAW["luck"], LAW["luck"], (p, 1))
                wanted = rng.poisson(lucky * rng.gamma(1 / LAW["till"], LAW["till"], (p, n)))
                out = rng.random((p, n)) < np.where(out, goes_on, begins)
                sold[..., j] = np.where(out, rng.binomial(wanted, rng.random((p, n))), wanted)
                mean[..., j] *= np.where(out, 0.5, 1.0)
            counts[k] = np.einsum("psh,ls->plh", sold, member)
            means += np.einsum("psh,ls->plh", mean, member) / draws
        keys = [f"{i}|{place}" for i in products["product_id"] for place in places]
        frame = pd.MultiIndex.from_product([keys, range(1, h + 1)], names=["unique_id", "horizon"]).to_frame(
            index=False
        )
        flat = counts.reshape(draws, -1)
        mean = means.ravel()
        frame = frame.assign(cutoff=cutoff, ds=cutoff + pd.to_timedelta(7 * frame["horizon"], unit="D"), mean=mean)
        frame["dispersion"] = np.maximum((flat.var(0) - mean) / np.maximum(mean, 1e-9) ** 2, 0)
        names = [quantile_column(q) for q in QUANTILES]
        frame[names] = np.quantile(flat, QUANTILES, axis=0, method="inverted_cdf").T
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _alone(rng, field, travel, still, h) -> list[np.ndarray]:
    """Shocks of the coming weeks as far as each store's own present one tells; each week's law is exact."""
    out, power = [], np.eye(len(field))
    for _ in range(h):
        power = travel @ power
        shared = power @ still  # covariance of d[t + h] with d[t]
        keep = np.diag(np.diag(shared) / np.diag(still))
        rest = still - shared @ keep - keep @ shared.T + keep @ still @ keep
        out.append(keep @ field + rng.multivariate_normal(np.zeros(len(field)), rest, method="eigh"))
    return out


def _guess(rng, e, market, plan, weeks, steady, now, hidden) -> np.ndarray:
    """A utility in which what is hidden is drawn: from other products, or from the product's own past."""
    p, e, own = len(e), e.copy(), market["taste"]
    for kind in ("text", "picture"):
        if kind in hidden:
            donor = rng.integers(0, p, p)
            for name in [c for c in EFFECTS if c.startswith(kind)]:
                e[name] = e[name].to_numpy()[donor]
    if "history" in hidden:
        e["own_appeal"] = rng.normal(0, LAW["own"], p)
        own = tastes(rng, market["stores"], p)
    if "plan" in hidden:
        start = rng.integers(0, now - len(weeks), p)  # a stretch of the product's own past
        drawn = {k: x.copy() for k, x in plan.items()}
        for name in ("log_price", "mailer", "rivals", "display"):
            for j, week in enumerate(weeks):
                drawn[name][..., week] = plan[name][np.arange(p), ..., start + j]
        plan = drawn
    return utility(e, own + city_taste(e, market["stores"]), plan, weeks, steady)
