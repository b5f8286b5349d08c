"""The tables and sentences that documents quote, each a function of results that git holds.

Results of the pipeline are published to docs/results by `make docs`; those of studies lie in studies/*/results.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path

import pandas as pd

from studies.choices import tables
from studies.retailers.windows import of_all_windows

ROOT = Path(__file__).parents[1]
RESULTS, STUDIES = ROOT / "docs/results", ROOT / "studies"
MARKET, SIMULATED = RESULTS / "soft_drinks", RESULTS / "simulated"
LEVELS = {"product": "whole chain", "product_region": "regions"}


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def markdown(frame: pd.DataFrame) -> str:
    head = [list(frame.columns), ["---"] + ["---:"] * (frame.shape[1] - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*head, *frame.astype(str).to_numpy().tolist()])


def run(command: str) -> str:
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    return re.sub(r"\x1b\[[\d;]*m", "", done.stdout).replace(f"{ROOT}", "…").rstrip()


# ---------------------------------------------------------------- the pipeline's results


def read_scores(market: Path, situation: str = "plan_known") -> dict[str, dict]:
    """Level -> method -> score."""
    return read_json(market / "metrics.json")[situation]


def scores(levels: dict[str, dict] | None = None) -> str:
    """Scores of all methods on the test weeks, by level, best first; with the plan known where none are given."""
    columns = {"wql": "WQL", "wape": "WAPE", "coverage_80": "in 80 % range"}
    parts = {}
    for level, methods in (levels or read_scores(MARKET)).items():
        parts[LEVELS[level]] = pd.DataFrame(methods).T[list(columns)].rename(columns=columns)
    table = pd.concat(parts, axis=1).sort_values(("whole chain", "WQL")).map("{:.3f}".format)
    table.columns = [f"{name}, {level}" for level, name in table.columns]
    return markdown(table.rename_axis("method").reset_index())


def scores_without_plan() -> str:
    return scores(read_scores(MARKET, "no_plan"))


def differences() -> str:
    """The ensemble against each method of the default market, with its interval."""
    lines = []
    for row in pd.read_csv(MARKET / "differences.csv").itertuples():
        verdict = "no clear difference" if row.low * row.high <= 0 else "lower" if row.estimate < 0 else "higher"
        lines.append(
            f"- against `{row.method}`, {LEVELS[row.level]}: {row.estimate:+.1%} WQL "
            f"(90 % interval {row.low:+.1%} to {row.high:+.1%}): {verdict}."
        )
    return "\n".join(lines)


def seeds() -> str:
    table = pd.read_csv(MARKET / "seeds.csv").pivot(index=["level", "method"], columns="seed", values="wql")
    table = table.map("{:.4f}".format).rename(columns=lambda seed: f"seed {seed}").reset_index()
    return markdown(table.assign(level=table["level"].map(LEVELS)))


def facts() -> str:
    f = read_json(MARKET / "facts.json")
    rows = {
        "complete weeks": f"{f['n_weeks']}, from {f['first_week']} to {f['last_week']}",
        "training, validation": f"up to {f['train_end']}, up to {f['validation_end']}; the rest is test",
        "products": f"{f['n_products']}, with {f['share_of_category']:.0%} of the category's units",
        "stores, regions": f"{f['n_stores']}, {f['n_regions']}",
        "households": f"{f['n_customers']:,}",
        "weeks without a sale of a product in a region": f"{f['zero_share_regions']:.0%}",
        "hash of the tables": f"`{f['data_md5']}`",
    }
    return markdown(pd.DataFrame(rows.items(), columns=["what", "value"]))


def quality() -> str:
    table = pd.read_csv(MARKET / "quality.csv")
    table["found"], table["of"] = table["found"].map("{:,}".format), table["of"].map("{:,}".format)
    return markdown(table.assign(share=table["share"].map("{:.2%}".format)))


def simulated() -> str:
    """The simulated market: scores, and how much of the way from the average to the oracle each method goes."""
    table = pd.DataFrame()
    for level, methods in read_scores(SIMULATED).items():
        wql = pd.Series({method: row["wql"] for method, row in methods.items()})
        way = (wql["moving_average_8"] - wql) / (wql["moving_average_8"] - wql["oracle"])
        table[f"WQL, {LEVELS[level]}"] = wql.map("{:.3f}".format)
        table[f"over the oracle's, {LEVELS[level]}"] = (wql / wql["oracle"]).map("{:.2f}".format)
        table[f"way from the average, {LEVELS[level]}"] = way.map("{:.0%}".format)
    return markdown(table.sort_values("WQL, whole chain").rename_axis("method").reset_index())


def limit() -> str:
    """How far `shelfcast` goes to the oracle on the simulated market."""
    lines = []
    for level, methods in read_scores(SIMULATED).items():
        wql = {method: row["wql"] for method, row in methods.items()}
        way = {m: (wql[m] - wql["shelfcast"]) / (wql[m] - wql["oracle"]) for m in ("moving_average_8", "lightgbm")}
        lines.append(
            f"- {LEVELS[level]}: `shelfcast` goes {way['moving_average_8']:.0%} of the way from the eight-week average to "
            f"the oracle, and {way['lightgbm']:.0%} of the way from LightGBM."
        )
    return "\n".join(lines)


def orders() -> str:
    """Orders by the market's own forecast, replayed on the test weeks: money, and against others."""
    rows = []
    for market in (MARKET, SIMULATED):
        for level, leads in read_json(market / "decisions.json")["orders"].items():
            for lead, found in leads.items():
                against = {
                    f"cost against {name}": f"{found[f'cost_against_{name}']:+.1%}"
                    if f"cost_against_{name}" in found
                    else ""
                    for name in ("lightgbm", "textbook", "oracle")
                }
                row = {"orders": f"`{market.name}`, {LEVELS[level]}, lead time {lead.removeprefix('lead_')}"}
                row |= {"cost": f"{found['cost']:,.0f}"} | against
                row |= {"demand sold": f"{found['fill_rate']:.1%}", "stock a series": f"{found['mean_stock']:.1f}"}
                rows.append(row | {"weeks with lost sales": f"{found['stock_outs']:.1%}"})
    return markdown(pd.DataFrame(rows))


def order_policies() -> str:
    """Orders of regions by what feeds them, cheapest first."""
    parts = []
    for market in (MARKET, SIMULATED):
        table = pd.read_csv(market / "orders.csv").sort_values("cost")
        parts.append(table.assign(policy=f"`{market.name}`, " + table["policy"]))
    table = pd.concat(parts)
    formats = {"cost": "{:,.0f}", "fill_rate": "{:.1%}", "mean_stock": "{:.1f}"}
    table = table.assign(**{name: table[name].map(text.format) for name, text in formats.items()})
    names = {"policy": "orders by, lead time", "fill_rate": "demand sold", "mean_stock": "stock a series"}
    return markdown(table.rename(columns=names))


def promotion_plans() -> str:
    """What the plan of promotions gains in the coming weeks, with 80 % ranges."""
    rows = []
    for market in (MARKET, SIMULATED):
        found = read_json(market / "decisions.json")["promotions"]
        if "lack" in found:
            continue

        def with_range(name: str, found: dict = found) -> str:
            return f"{found[name]:,.0f} ({found[f'{name}_low']:,.0f} to {found[f'{name}_high']:,.0f})"

        row = {"market": f"`{market.name}`", "promotions": f"{found['promotions']}", "gain": with_range("money")}
        row |= {"units": with_range("units"), "units of other products": with_range("others")}
        rows.append(row | {"spent": f"{found['spending']:,.0f}"})
    return markdown(pd.DataFrame(rows))


def recommendations() -> str:
    """NDCG and recall of ten recommended products on the test weeks."""
    found = read_json(MARKET / "decisions.json")["recommendations"]
    columns = {}
    for asked, methods in found["scores"].items():
        table = pd.DataFrame(methods).T
        columns[f"NDCG, {asked}"] = table["ndcg"].map("{:.3f}".format)
        columns[f"recall, {asked}"] = table["recall"].map("{:.1%}".format)
    table = pd.DataFrame(columns)
    return markdown(table.sort_values(table.columns[0], ascending=False).rename_axis("method").reset_index())


def recommendation_gains() -> str:
    """The mix against the best of the others, by what is asked."""
    found = read_json(MARKET / "decisions.json")["recommendations"]
    return "\n".join(
        f"- {asked}: NDCG of the mix {own['estimate']:+.1%} ({own['low']:+.1%} to {own['high']:+.1%}) against "
        f"`{own['against']}`, the best of the others."
        for asked, own in found["over_best"].items()
    )


def minutes() -> str:
    """Of the published run, as its executed notebooks say; starting DVC and papermill takes a little more."""
    return f"{math.ceil(read_json(RESULTS / 'run.json')['minutes'])} minutes"  # the notebooks' span: setting out is not in it


def stages() -> str:
    """Seconds of each executed notebook of the published run."""
    seconds = read_json(RESULTS / "run.json")["seconds"]
    rows = [(name, f"{value:.0f}") for name, value in seconds.items()]
    return markdown(pd.DataFrame(rows, columns=["notebook", "seconds"]))


def pipeline() -> str:
    """`dvc dag` as a diagram that GitHub draws: one market, without the stage that only checks parameters."""
    dag = run("dvc dag --md")
    others = re.findall(r'(node\d+)\["(?:check|studies/[^"]*|[^"]*@simulated[^"]*)"\]', dag)
    lines = dag.splitlines()
    if others:
        lines = [line for line in lines if not re.search(rf"\b({'|'.join(others)})\b", line)]
    text = "\n".join(lines)
    nodes = list(dict.fromkeys(re.findall(r"node\d+", text)))  # numbered anew, as DVC's numbers change with any stage
    return re.sub(r"node\d+", lambda match: f"n{nodes.index(match[0]) + 1}", text)


# ---------------------------------------------------------------- results of studies


def study_results(study: str) -> dict[str, dict]:
    """Market -> content of its JSON file."""
    return {path.stem: read_json(path) for path in sorted((STUDIES / study / "results").glob("*.json"))}


def retailers() -> str:
    """WQL over the best single peer's, by retailer."""
    rows = pd.read_csv(STUDIES / "retailers/results/ratios.csv")
    rows["level"] = rows["level"].map(LEVELS)
    wide = rows.pivot(index="retailer", columns=["situation", "level"], values=["ensemble", "shelfcast"])
    wide = wide.loc[rows["retailer"].unique()].map("{:.3f}".format)
    wide.columns = [f"{method}, {level}, {situation.replace('_', ' ')}" for method, situation, level in wide.columns]
    return markdown(wide.reset_index())


def windows() -> str:
    """What 80 % ranges hold in the last test window and in earlier ones, by retailer."""
    rows = of_all_windows(STUDIES / "retailers/results")
    rows["column"] = rows["method"] + ", " + rows["level"].map(LEVELS) + ", " + rows["situation"].str.replace("_", " ")
    wide = rows.pivot(index=["retailer", "weeks_earlier"], columns="column", values="coverage_80")
    wide = pd.concat([part for _, windows in wide.groupby("retailer") for part in (windows, mean_of(windows))])
    return markdown(wide.map("{:.0%}".format).rename_axis(["retailer", "weeks earlier"]).reset_index())


def mean_of(windows: pd.DataFrame) -> pd.DataFrame:
    """The mean over windows as one more row."""
    mean = windows.mean().to_frame().T
    return mean.set_axis(pd.MultiIndex.from_tuples([(windows.index[0][0], "mean")]), axis=0)


def scenes() -> str:
    """WQL and the coverage of 80 % ranges of every method, by scene and level; with the plan and without where there is one."""
    rows = pd.read_csv(STUDIES / "scenes/results/scores.csv")
    rows["column"] = rows["scene"] + ", " + rows["level"].map({"product": "all places", "product_region": "places"})
    with_plan = rows.groupby("scene")["situation"].transform("nunique") > 1
    rows.loc[with_plan, "column"] += ", " + rows["situation"].str.replace("_", " ")
    rows["cell"] = rows["wql"].map("{:.3f}".format) + " (" + rows["coverage_80"].map("{:.0%}".format) + ")"
    wide = rows.pivot(index="column", columns="method", values="cell").loc[rows["column"].unique()]
    order = ["ensemble", "shelfcast", *sorted(set(wide) - {"ensemble", "shelfcast", "oracle"}), "oracle"]
    return markdown(wide[order].rename_axis("scene").reset_index())


def choices() -> str:
    """Settings of the training over markets: mean ratio to LightGBM, change against the present ones."""
    rows = pd.read_csv(STUDIES / "choices/results/scores.csv")
    table = tables.means(rows)
    table["better_on"] = table["better_on"].astype(str) + " of " + table.pop("of").astype(str)
    table["ratio"], table["change"] = table["ratio"].map("{:.4f}".format), table["change"].map("{:+.2%}".format)
    table.columns = ["mean ratio to LightGBM", "change", "better on"]
    return markdown(table.loc[rows["choice"].unique()].reset_index())


def stockouts() -> str:
    """Forecasts over those that learned from demand itself, by share of weeks that were cut and by what was learned."""
    rows = pd.read_csv(STUDIES / "stockouts/results/bias.csv")
    table = {
        "chance of a stock-out": rows["stock_outs"].map("{:.0%}".format),
        "weeks that were cut": rows["cut"].map("{:.0%}".format),
        "level": rows["level"].map(LEVELS),
        "method": rows["method"],
        "learned": rows["learned"],
        "worlds": rows["worlds"].astype(str),
        "mean": rows["mean"].map("{:+.1%}".format),
        "furthest": rows["furthest"].map("{:+.1%}".format),
    }
    return markdown(pd.DataFrame(table))


def causes() -> str:
    """Estimates on simulated worlds beside the truth, by what prices follow."""
    rows = pd.read_csv(STUDIES / "causes/results/worlds_summary.csv")
    names = {"log_price": "price", "promotion: mailer": "mailer", "next_price": "placebo", "other_promotion": "control"}
    rows = rows[rows["treatment"].isin(names)]
    effect = (
        rows["treatment"].map(names).where(rows["truth"] == 0, rows["treatment"].map(names) + ", " + rows["method"])
    )
    table = {
        "market": rows["mechanism"].str.replace("_", "-"),
        "prices follow": rows["confounding"].map({"none": "nothing", "observed": "season", "hidden": "popularity"}),
        "effect": effect.str.replace("_", " "),
        "worlds": rows["worlds"].astype(str),
        "truth": rows["truth"].map("{:.2f}".format),
        "mean estimate": rows["estimate"].map("{:.2f}".format),
        "intervals that hold the truth": rows["covered"].map("{:.0%}".format),
        "right sign": rows["right_sign"].map(lambda share: "" if pd.isna(share) else f"{share:.0%}"),
        "mean width": rows["width"].map("{:.2f}".format),
    }
    return markdown(pd.DataFrame(table))


def causes_retailer() -> str:
    """Effects on orange juice: estimates by method, treatment and group."""
    rows = pd.read_csv(STUDIES / "causes/results/dominicks_oj.csv").dropna(subset=["se"])
    interval = rows.apply(lambda row: f"{row['low']:.2f} to {row['high']:.2f}", axis=1)
    table = {
        "effect of": rows["treatment"].str.replace("_", " "),
        "products": rows["group"].str.replace("=", " "),
        "method": rows["method"].str.replace("_", " "),
        "estimate": rows["estimate"].map("{:.2f}".format),
        "95 % interval": interval,
        "rows": rows["n"].map("{:,.0f}".format),
    }
    return markdown(pd.DataFrame(table))


def controls() -> str:
    """Controls, upper bounds and further peers of the default market, beside `shelfcast` of the same run."""
    return scores(study_results("controls")["soft_drinks"]["scores"])


def control_differences() -> str:
    """WQL of controls, upper bounds and further peers relative to `shelfcast` of the same run."""
    columns = {}
    for level, rows in study_results("controls")["soft_drinks"]["differences"].items():
        table = pd.DataFrame(rows).T.sort_values("estimate")
        columns[LEVELS[level]] = table.apply(
            lambda r: f"{r['estimate']:+.1%} ({r['low']:+.1%} to {r['high']:+.1%})", axis=1
        )
    return markdown(pd.DataFrame(columns).rename_axis("method").reset_index())


def control_origin() -> str:
    origin = study_results("controls")["soft_drinks"]["made"]
    seeds_text = ", ".join(map(str, origin["seeds"]))
    return f"- `soft_drinks`: revision {origin['revision']}, seeds {seeds_text}, panel {origin['panel_md5']}."


def made(study: str = "ablation") -> str:
    lines = []
    for market, results in study_results(study).items():
        for part, origin in sorted(results["made"].items()):
            lines.append(
                f"- `{market}`, {part}: revision {origin['revision']}, seeds {', '.join(map(str, origin['seeds']))}, "
                f"panel {origin['panel_md5']}."
            )
    return "\n".join(lines)


def categories() -> str:
    """Mean scores over many categories, those that the base learned from and those it never saw."""
    table = pd.read_csv(STUDIES / "categories/results/scores.csv")
    table = table[~table["method"].str.startswith("seed_")]
    columns = {}
    for (seen, level), rows in table.sort_values("seen", ascending=False).groupby(["seen", "level"], sort=False):
        mean = rows.groupby("method")[["wql", "wape"]].mean()
        kind = f"{LEVELS[level]}, {rows['category'].nunique()} {'learned from' if seen else 'never seen'}"
        for name in mean:
            columns[f"{name.upper()}, {kind}"] = mean[name]
    frame = pd.DataFrame(columns)
    return markdown(frame.sort_values(frame.columns[0]).map("{:.4f}".format).rename_axis("method").reset_index())


def difference(row: pd.Series) -> str:
    """With its interval, and in how many categories of all the error is lower."""
    return f"{row['estimate']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%}), {row['better']} of {row['of']}"


def category_kinds(rows: pd.DataFrame) -> pd.Series:
    return rows["level"].map(LEVELS) + rows["seen"].map({True: ", learned from", False: ", never seen"})


def pair() -> str:
    """`shelfcast` and the blend against the pair of boosted trees on many categories."""
    rows = pd.read_csv(STUDIES / "categories/results/differences.csv")
    rows = rows[(rows["against"] == "lightgbm_pair") & rows["method"].isin(["shelfcast", "blend"])]
    rows = rows.sort_values("seen", ascending=False, kind="stable")
    score = rows["method"] + ", " + rows["metric"].str.upper()
    rows = rows.assign(text=rows.apply(difference, axis=1), categories=category_kinds(rows), score=score)
    table = rows.pivot(index="categories", columns="score", values="text")
    return markdown(table.loc[list(dict.fromkeys(rows["categories"])), list(dict.fromkeys(score))].reset_index())


def calibration() -> str:
    """How far coverage is from what was promised, at most, by kind of cell."""
    rows = pd.read_csv(STUDIES / "categories/results/calibration.csv")
    rows = rows[rows["seen"] & rows["method"].isin(["shelfcast", "blend", "lightgbm_pair"])]
    coverages = [c for c in rows if c.startswith("coverage_")]
    promised = pd.Series({c: int(c.split("_")[1]) / 100 for c in coverages})
    gap = (rows[coverages] - promised).abs().max(axis=1)
    worst = rows.assign(gap=gap).groupby(["level", "method", "by"], sort=False)["gap"].max().unstack("by")
    overall = rows[rows["by"] == "all"].set_index(["level", "method"])[coverages].map("{:.1%}".format)
    overall.columns = [f"in {c.split('_')[1]} % range" for c in coverages]
    table = overall.join(worst.drop(columns="all").map("{:.1%}".format).add_prefix("furthest, by ")).reset_index()
    return markdown(table.assign(level=table["level"].map(LEVELS)))


def transfer() -> str:
    """WQL by where training starts and by how much history it uses, and what the base brings against none."""
    keys = ["seen", "level", "history"]
    rows = pd.read_csv(STUDIES / "transfer/results/transfer.csv")
    wql = rows[rows["seed"] < 0].pivot(index=keys, columns="start", values="wql")
    against = pd.read_csv(STUDIES / "transfer/results/transfer_differences.csv").query("metric == 'wql'")
    against = against.assign(text=against.apply(difference, axis=1)).pivot(index=keys, columns="against", values="text")
    table = wql.map("{:.4f}".format).replace("nan", "").join(against.add_prefix("base against "))
    table = table.sort_index(level=keys, ascending=[False, True, True]).reset_index()
    table.insert(0, "categories", category_kinds(table))
    table.insert(1, "share of history", table["history"].map(lambda x: f"{x:.0%}" if x else "none, against all"))
    return markdown(table.drop(columns=keys))


def ablation() -> str:
    columns = {}
    for market, results in study_results("ablation").items():
        for level, rows in results["worth"].items():
            table = pd.DataFrame(rows).T
            text = table.apply(lambda r: f"{r['estimate']:+.1%} ({r['low']:+.1%} to {r['high']:+.1%})", axis=1)
            columns[f"{market}, {LEVELS[level]}"] = text
            if "recovered" in table:
                columns[f"of the oracle's, {LEVELS[level]}"] = table["recovered"].dropna().map("{:.0%}".format)
    return markdown(pd.DataFrame(columns).fillna("").rename_axis("ablation").reset_index())


def new_products() -> str:
    columns = {}
    for market, results in study_results("ablation").items():
        for level, rows in results["new"].items():
            wape = pd.DataFrame(rows).T["wape"].sort_values()
            relative = (wape / wape["category_mean"] - 1).map("{:+.1%}".format)
            columns[f"{market}, {LEVELS[level]}"] = wape.map("{:.3f}".format)
            columns[f"against the mean, {market}, {LEVELS[level]}"] = relative
    return markdown(pd.DataFrame(columns).fillna("").rename_axis("forecast").reset_index())


def explanations() -> str:
    """Scores of each way to explain a forecast, by market and location."""
    columns = {
        "size_agreement": "rank agreement by size",
        "agreement": "with sign",
        "precision_recall": "precision–recall",
        "deletion": "deletion",
        "insertion": "insertion",
        "seeds": "between seeds",
        "shuffled": "shuffled weights",
    }
    parts = {}
    for market, results in study_results("explanations").items():
        for location, methods in results["scores"].items():
            parts[market, location] = pd.DataFrame(methods).T.reindex(columns=list(columns))
    table = pd.concat(parts, names=["market", "location", "method"]).rename(columns=columns)
    return markdown(table.map(lambda x: "" if pd.isna(x) else f"{x:.2f}").reset_index())


def explanation_groups() -> str:
    """Rank correlation with the truth over forecasts, by group of inputs."""
    parts = study_results("explanations")["simulated"]["by_group"]
    table = pd.concat({at: pd.DataFrame(methods) for at, methods in parts.items()}, axis=1)
    table.columns = [f"{method}, {at}" for at, method in table.columns]
    return markdown(table.map("{:.2f}".format).rename_axis("group").reset_index())


def explanations_made() -> str:
    lines = []
    for market, results in study_results("explanations").items():
        made, errors = results["made"], results["completeness"]
        lines.append(
            f"- `{market}`: {made['forecasts']} forecasts of {made['models']} models, revision {made['revision']}, panel "
            f"{made['panel_md5']}. Contributions miss adding up by {errors['shapley']:.2%} (Shapley values) and "
            f"{errors['gradients']:.2%} (integrated gradients) at most."
        )
    return "\n".join(lines)


# ---------------------------------------------------------------- benchmarks


def _benchmark(name: str, names: dict[str, str]) -> str:
    """Columns of benchmarks/results/<name>.csv under the names that people read."""
    table = pd.read_csv(ROOT / f"benchmarks/results/{name}.csv")
    return markdown(table[list(names)].rename(columns=names))


def state_benchmark() -> str:
    """Milliseconds of the forecasts after a closed week, with cached keys and values and without."""
    names = {
        "weeks": "weeks",
        "products": "products",
        "append_processor_p50_ms": "appended, p50",
        "append_processor_p99_ms": "p99",
        "full_processor_p50_ms": "all weeks again, p50",
        "ratio_processor": "times faster",
        "kept_mib": "MiB kept",
        "largest_difference": "largest difference",
    }
    return _benchmark("state", names)


MILLION_STEPS = ("common", "texts", "panel", "outlook", "tensors", "score")
CORES = 2  # of a machine, as the one that measured


def million_benchmark() -> str:
    """Minutes by phase, memory and rates of many series in partitions."""
    table = _million()
    names = {
        "series": "series",
        "seeds": "seeds",
        "common_minutes": "in common, min",
        "texts_minutes": "texts, min",
        "forecast_minutes": "panels and forecasts, min",
        "minutes": "all, min",
        "peak_mib": "peak memory, MiB",
        "written_mib": "written, MiB",
        "forecasts_per_s": "forecasts/s, panels included",
        "scored_per_s": "scoring alone",
        "scored_per_cpu_s": "scoring, by processor seconds of one core",
    }
    table = table.assign(series=table["series"].map("{:,}".format))
    return markdown(table[list(names)].rename(columns=names))


def million_seconds() -> str:
    """Processor seconds of each step for a thousand series."""
    table = _million()
    thousands = table["series"] / 1000
    columns = {step: (table[f"{step}_cpu_s"] / thousands).map("{:.2f}".format) for step in MILLION_STEPS}
    return markdown(pd.DataFrame({"series": table["series"].map("{:,}".format), "seeds": table["seeds"], **columns}))


def million_linear() -> str:
    """How the seconds of a series and the memory change with the number of series."""
    table = _million().query("seeds == 1")
    first, last = table.iloc[0], table.iloc[-1]
    if len(table) < 2:
        return f"Only {first.series:,} series were measured so far, with {first.peak_mib:,.0f} MiB at the most."
    each = [1000 * sum(row[f"{step}_cpu_s"] for step in MILLION_STEPS) / row.series for row in (first, last)]
    return (
        f"From {first.series:,} to {last.series:,} series, a series takes {each[0]:.2f} and {each[1]:.2f} milliseconds of "
        "one core; "
        f"memory goes from {first.peak_mib:,.0f} to {last.peak_mib:,.0f} MiB."
    )


def million_on_paper(series: float = 1e8, machines: int = 50) -> str:
    """What very many series on several machines take, from the largest size that was measured."""
    row = _million().query("seeds == 1").iloc[-1]
    times = series / row.series
    hours = {step: times * row[f"{step}_cpu_s"] / 3600 / machines / CORES for step in MILLION_STEPS}
    texts = hours.pop("texts")
    weekly, gib = sum(hours.values()), times * row.written_mib / 1024
    return (
        f"By the processor seconds of {row.series:,} series, {series:,.0f} series on {machines} machines of {CORES} cores "
        f"take {weekly:.1f} hours each week, and {texts:.1f} hours once for the texts of all products; the forecasts are "
        f"about {gib:,.0f} GiB of Parquet. This counts {row.seeds} seed's model, cores that do nothing else, a network and a "
        "shared disk that keep up, and no time for the one process that reads and splits the raw tables: that was not "
        "measured at this size."
    )


def _million() -> pd.DataFrame:
    return pd.read_csv(ROOT / "benchmarks/results/million.csv").sort_values(["seeds", "series"])


def close_benchmark() -> str:
    """What a week's close costs the service, with what it keeps and with everything read again."""
    names = {
        "market": "market",
        "way": "tables and states are",
        "cpu_seconds": "processor's seconds",
        "seconds": "clock's seconds",
        "own_tables_mib": "MiB of tables",
        "states_mib": "MiB of states",
        "largest_difference": "largest difference",
    }
    return _benchmark("close", names)


def store_benchmark() -> str:
    """Events a second of the store alone, beside plain inserts of the same durability."""
    names = {
        "database": "database",
        "batch": "events a batch",
        "store_events_a_second": "store, events a second",
        "plain_events_a_second": "plain inserts",
        "ratio": "ratio",
        "cores": "cores",
        "load": "processes that wanted one",
    }
    return _benchmark("events", names)
