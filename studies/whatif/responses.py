"""The estimate that models are anchored to, from the weeks before the test weeks.

    python -m studies.whatif.responses FOLDER …     # writes <folder>/responses.json

By double machine learning (`why.causes`); where the folder holds the truth of a simulated market whose prices follow
what no table shows, by its costs as an instrument.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from shelfcast.data.files import atomic
from shelfcast.market.tables import load_truth, raw_tables
from shelfcast.panel.frame import Panel
from shelfcast.why.causes.data import PRICE, PROMOTION, rows, with_cost
from shelfcast.why.causes.effects import Effect, estimate
from shelfcast.why.whatif.anchor import Response


def response(panel: Panel, costs: pd.DataFrame | None = None) -> Response:
    """Elasticity and lift in the chain, from the training and validation weeks.

    costs : product_id, week, cost: the instrument, for a retailer whose prices follow what no table shows.
    """
    known = rows(panel, until=pd.Timestamp(panel.meta["validation_end"]))
    if costs is not None:
        known = with_cost(known, costs)
    price: Effect | None = None
    if "price" in panel.planned:
        price = estimate(known, PRICE, "instrument" if costs is not None else "dml")
    promotions = [name for name in known.treatments if name.startswith(PROMOTION)]
    channels = [name for name in promotions if name != PROMOTION] or promotions
    return Response.of(price, {name: estimate(known, name, "dml") for name in channels})


def write(folder: Path) -> Path:
    """`responses.json` of a folder with panel/, and truth/ where it is a simulated market."""
    costs = None
    if (folder / "truth").exists():
        market = load_truth(folder / "truth")
        if market["settings"]["confounding"] == "hidden":
            costs = raw_tables(market)["prices"]
    with atomic(folder / "responses.json") as part:
        part.write_text(json.dumps(asdict(response(Panel.load(folder / "panel"), costs)), indent=1) + "\n")
    return folder / "responses.json"


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(write(Path(name)))
    except ValueError as error:
        sys.exit(f"error: {error}")
