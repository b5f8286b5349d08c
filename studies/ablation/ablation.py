"""Collect the ablations' scores: what leaving out each data source costs, and how well new products are forecast.

    python -m studies.ablation.ablation soft_drinks simulated    # writes results/<market>.json

On a simulated market the costs are compared with the oracle's, the most that a source can contribute.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.data.files import atomic, folder_md5, revision
from shelfcast.judge import metrics
from shelfcast.judge.frame import add_level
from shelfcast.market.oracle import oracle
from shelfcast.market.tables import load_truth
from shelfcast.panel.frame import Panel
from studies.ablation.experiment import AVERAGED

RESULTS = Path("studies/ablation/results")
# ablation -> what is withheld from the oracle in the comparison's reference, and without the data source
ORACLE = {
    "no_behavior": ((), ("behavior",)),
    "no_space": ((), ("space",)),
    "no_plan": ((), ("plan",)),
    "new_no_text": (("history",), ("history", "text")),
    "new_no_picture": (("history",), ("history", "picture")),
}


def costs(scores: pd.DataFrame, whole: str) -> pd.DataFrame:
    """What leaving out each data source costs, against the model `whole`.

    Parameters
    ----------
    scores : columns ablation, level, seed, wql; every ablation with the seeds of `whole`.

    Returns
    -------
    Index level, ablation; estimate, low, high: the relative difference in WQL, its geometric mean over seeds and 90 %
    interval (Student's t; above 0: worse without the source); wql: the mean difference; seeds: their number.
    """
    wide = scores.pivot(index=["level", "seed"], columns="ablation", values="wql")
    rows = {}
    for level, part in wide.groupby("level"):
        for ablation in wide.columns.drop(whole):
            difference = (part[ablation] - part[whole]).mean()
            log_ratio = np.log(part[ablation] / part[whole]).dropna()
            rows[level, ablation] = (*_interval(log_ratio), difference, len(log_ratio))
    columns = ["estimate", "low", "high", "wql", "seeds"]
    index = pd.MultiIndex.from_tuples(rows, names=["level", "ablation"])
    return pd.DataFrame(list(rows.values()), index, columns=columns)


def _interval(log_ratio: pd.Series) -> tuple[float, float, float]:
    """Mean and 90 % interval of relative differences, given as logs of ratios; NaN limits of a single one."""
    n, mean = len(log_ratio), log_ratio.mean()
    half = stats.t.ppf(0.95, n - 1) * log_ratio.std() / np.sqrt(n) if n > 1 else np.nan
    return tuple(float(x) for x in np.expm1([mean, mean - half, mean + half]))


def oracle_costs(folder: Path, panel: Panel, seed: int = 0) -> pd.DataFrame:
    """What withholding each data source costs the oracle of a simulated market; `folder` holds its `truth/`.

    A long history already shows the effects of text and picture, so that these are compared for new products alone.

    Returns
    -------
    Index level, ablation as in `costs`, for those of `ORACLE`; wql: the cost; reference_wql: the oracle's with the source.
    """
    market = load_truth(folder / "truth")
    wql = {}
    for withheld in {withheld for pair in ORACLE.values() for withheld in pair}:
        frame = oracle(market, panel.cutoffs["test"], panel.stores_by_location, withheld=withheld, seed=seed)
        frame = add_level(frame[frame["unique_id"].isin(panel.frame["unique_id"])])
        wql[withheld] = metrics.scores(frame, panel.frame, by=["level"])["wql"]
    rows = {}
    for ablation, (reference, without) in ORACLE.items():
        for level, reference_wql in wql[reference].items():
            rows[level, ablation] = {"wql": wql[without][level] - reference_wql, "reference_wql": reference_wql}
    return pd.DataFrame(rows).T.rename_axis(["level", "ablation"])


def collect(market: str, build: Path = Path("build"), to: Path = RESULTS) -> Path:
    """Write `<to>/<market>.json` from the scores that `make ablate` left in `build`.

    There are two parts, 'whole' (products with a history) and 'new'; a part without new scores stays as the file has it.

    Raises
    ------
    ValueError : there are no scores.
    """
    folder, path = build / market, to / f"{market}.json"
    scores = read_scores(build / "studies/ablation" / market)
    results = _results(scores, folder)
    with atomic(path) as part:
        part.write_text(json.dumps(_with_earlier_parts(results, path), indent=1) + "\n")
    return path


def read_scores(folder: Path) -> pd.DataFrame:
    """The scores of all ablations, with a column `part`; a market without pictures has no rows for some."""
    tables = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
    tables = [table for table in tables if len(table)]
    if not tables:
        raise ValueError(f"{folder}/ holds no scores. Run `make ablate` first.")
    scores = pd.concat(tables, ignore_index=True)
    return scores.assign(part=scores["ablation"].map(_part))


def _part(ablation: str) -> str:
    return "new" if ablation.startswith("new") else "whole"


def _results(scores: pd.DataFrame, folder: Path) -> dict:
    """What the file of a market holds; `folder` is the market's in build/."""
    ours, single = scores["method"] == "shelfcast", scores["seed"] != AVERAGED
    by_part = dict(list(scores[ours & single].groupby("part")))
    table = pd.concat(costs(rows, part) for part, rows in by_part.items() if part in set(rows["ablation"]))
    if (folder / "truth").exists():
        table = table.join(oracle_costs(folder, Panel.load(folder / "panel")).add_prefix("oracle_"))
        table["recovered"] = table["wql"] / table["oracle_wql"]
    # baselines are the same for all ablations of new products
    new = scores[(scores["part"] == "new") & ~single & (ours | (scores["ablation"] == "new"))]
    new = new.assign(name=new["ablation"].where(new["method"] == "shelfcast", new["method"]))
    origin = {"revision": revision(), "panel_md5": folder_md5(folder / "panel")}
    return {
        "made": {part: origin | {"seeds": sorted(map(int, rows["seed"].unique()))} for part, rows in by_part.items()},
        "worth": _nested(table),
        "new": _nested(new.set_index(["level", "name"])[["wql", "wape", "bias"]]),
    }


def _with_earlier_parts(results: dict, path: Path) -> dict:
    """Complete `results` by the parts of the earlier file that were not measured again."""
    earlier = json.loads(path.read_text()) if path.exists() else {"made": {}, "worth": {}, "new": {}}
    parts = earlier["made"].keys() - results["made"].keys()
    levels = dict.fromkeys([*earlier["worth"], *results["worth"]])
    worth = {}
    for level in levels:
        rows = earlier["worth"].get(level, {}).items()
        worth[level] = {ablation: row for ablation, row in rows if _part(ablation) in parts}
        worth[level].update(results["worth"].get(level, {}))
    return {
        "made": {part: earlier["made"][part] for part in parts} | results["made"],
        "worth": worth,
        "new": earlier["new"] if "new" in parts else results["new"],
    }


def _nested(table: pd.DataFrame) -> dict:
    """Level -> name -> column -> number, without the NaN that JSON does not have."""
    rows = table.astype(float).round(6)
    return {
        level: {name: row.dropna().to_dict() for name, row in part.droplevel(0).iterrows()}
        for level, part in rows.groupby(level=0)
    }


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(collect(name))
    except ValueError as error:
        sys.exit(f"error: {error}")
