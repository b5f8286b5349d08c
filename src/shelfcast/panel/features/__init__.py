"""Families of features: each a function of (facts, grid) that returns columns with a role, a unit and a meaning.

Every feature at week t is computed from weeks <= t alone, unless its role says otherwise; see `panel.grid.Column`.
"""

from shelfcast.panel.features.behavior import behavior
from shelfcast.panel.features.history import levels, shoppers
from shelfcast.panel.features.launches import launches
from shelfcast.panel.features.location import location_totals
from shelfcast.panel.features.prices import prices
from shelfcast.panel.features.promotions import promotions
from shelfcast.panel.features.season import calendar, last_year, weekdays
from shelfcast.panel.features.stores import location_share, store_traits

# A new family is added here. Their order is that of the columns, which models know.
FAMILIES = (
    location_share,
    levels,
    promotions,
    shoppers,
    location_totals,
    calendar,
    last_year,
    weekdays,
    prices,
    behavior,
    launches,
    store_traits,
)
