"""What the earlier stages wrote for one market, and the studies' results, as notebook 8 reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shelfcast.data.files import folder_md5
from shelfcast.judge.frame import add_level
from shelfcast.panel.frame import Panel

FILES = ("forecasts.parquet", "metrics.json", "weights.json", "timings.json")  # of notebook 4_evaluate


@dataclass(frozen=True)
class Results:
    """Everything of one market that its page shows, all in the situation that the page's forecast is in.

    panel, panel_md5 : the panel, and the hash of its folder.
    test : forecasts of all methods for weeks that have actuals, with `product_id`, `location`, `level`.
    latest : the page's forecast of the coming weeks, with the same columns.
    situation : 'plan_known' where the retailer's plan covers the coming weeks, else 'no_plan'.
    scores : level -> method -> score, as `metrics.metrics_dict` gives them; `all_scores` of both situations.
    weights : level -> method -> share in the ensemble. timings : method -> seconds.
    history : the training of the variant, by seed and step; none where the market has none of that name.
    still_falling : whether its validation error was lowest at the last step that it may take.
    """

    panel: Panel
    panel_md5: str
    method: str
    test: pd.DataFrame
    latest: pd.DataFrame
    situation: str
    all_scores: dict
    weights: dict
    timings: dict
    history: pd.DataFrame
    still_falling: bool

    @property
    def scores(self) -> dict:
        return self.all_scores[self.situation]

    @property
    def past(self) -> pd.DataFrame:
        """The page's method at the test cutoffs."""
        return self.test[self.test["method"] == self.method]

    @property
    def sold(self) -> pd.DataFrame:
        """Units by series and observed week."""
        observed = self.panel.frame[self.panel.frame["ds"] <= self.panel.weeks[-1]]
        return observed.pivot(index="unique_id", columns="ds", values="y")


def load(folder: str | Path, method: str, variant: str = "shelfcast") -> Results:
    """Read a market's results.

    Parameters
    ----------
    folder : of the market, as `build/soft_drinks`.
    method : the forecast that the page is about: 'ensemble', a trained variant or a peer.
    variant : the trained variant whose training the page shows.

    Raises
    ------
    FileNotFoundError : a file is missing; the message names the notebook that writes it.
    ValueError : there is no panel, or no forecast of `method` for the test weeks and the coming ones.
    """
    folder = Path(folder)
    panel = Panel.load(folder / "panel")
    paths = [folder / name for name in (f"models/{variant}/history.csv", f"models/{variant}/variant.json", *FILES)]
    missing = [
        f"{path} (of notebook {'4_evaluate' if path.name in FILES else '3_finetune'})"
        for path in paths
        if not path.is_file()
    ]
    if missing:
        raise FileNotFoundError(f"the report needs {', '.join(missing)}. Run `dvc repro` to make what is missing.")
    history, trained, forecasts, *facts = paths
    situation = panel.situation(panel.cutoffs["latest"][-1])
    frame = add_level(pd.read_parquet(forecasts))
    frame = frame[frame["situation"] == situation].drop(columns="situation")
    frame[["product_id", "location"]] = frame["unique_id"].str.rsplit("|", n=1, expand=True)
    test = frame[frame["cutoff"].isin(panel.cutoffs["test"]) & frame["y"].notna()]
    latest = frame[(frame["method"] == method) & frame["cutoff"].isin(panel.cutoffs["latest"])]
    if latest.empty or method not in set(test["method"]):
        raise ValueError(
            f"{forecasts} has no rows of report.method {method!r} for the test weeks or for the latest week. "
            "Choose the ensemble, a trained variant or one of evaluate.methods, or run notebook 4_evaluate again."
        )
    scores, weights, timings = (json.loads(path.read_text()) for path in facts)
    panel_md5, history = folder_md5(folder / "panel"), pd.read_csv(history)
    falling = json.loads(trained.read_text())["still_falling"]
    return Results(
        panel, panel_md5, method, test, latest, situation, scores, weights[situation], timings, history, falling
    )


def load_study(study: str, market: str, folder: str | Path = "studies") -> dict:
    """Results of a study that git holds for a market; empty where the study was not run for it."""
    path = Path(folder) / study / "results" / f"{market}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def load_frame(path: str | Path) -> pd.DataFrame:
    """A frame that an earlier stage may have written; empty, without columns, where it did not."""
    return pd.read_parquet(path) if Path(path).is_file() else pd.DataFrame()
