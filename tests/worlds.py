"""Expected sales of a simulated market by its laws, asked as directly as can be, to compare others' ways with."""

import numpy as np

from shelfcast.market import laws


def own_plan(market):
    return {name.removeprefix("plan_"): np.array(x, float) for name, x in market.items() if name.startswith("plan_")}


def units_by_laws(market, plan, at):
    """(P, S, H) of the weeks number `at` under a plan, with the states and shocks that came."""
    effects = market["products"][laws.EFFECTS]
    taste = market["taste"] + laws.city_taste(effects, market["stores"])
    utility = laws.utility(effects, taste, plan, at, market["regime"][at])
    utility += (market["interest"][:, at] + market["popularity"][:, at])[:, None]
    shock = market["field"][:, at] + market["rival"][:, None] * (market["regime"][at] > 1)
    size = market["stores"]["size"].to_numpy()
    return laws.mean_units(utility, shock, size, market["level"], market["settings"]["mechanism"])
