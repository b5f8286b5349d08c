"""Fill the tables of README and cards from what the pipeline wrote, and draw the report: `make docs`; a test compares.

A block `<!-- fill:NAME -->…<!-- /fill -->` is replaced by what the function NAME returns.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
BUILD, TRUE = ROOT / "build/soft_drinks", ROOT / "build/simulated"
FILES = ("README.md", "docs/data_card.md", "docs/model_card.md", "docs/simulated_market.md")
MANY = ROOT / "categories/results"
LEVELS = {"product": "whole chain", "product_region": "regions"}


def load(name):
    return json.loads((BUILD / name).read_text())


def markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] + ["---:"] * (frame.shape[1] - 1), *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def scores() -> str:
    columns = {"wql": "WQL", "wape": "WAPE", "coverage_80": "in 80 % range"}
    metrics = {level: pd.DataFrame(methods).T[list(columns)] for level, methods in load("metrics.json").items()}
    table = pd.concat({LEVELS[level]: frame.rename(columns=columns) for level, frame in metrics.items()}, axis=1)
    table = table.sort_values(("whole chain", "WQL")).map("{:.3f}".format)
    table.columns = [f"{name}, {level}" for level, name in table.columns]
    return markdown(table.rename_axis("method").reset_index())


def verdict() -> str:
    rows = pd.read_csv(BUILD / "plots/differences.csv")
    lines = []
    for row in rows[rows["method"].isin(["lightgbm", "lightgbm_pair", "alone"])].itertuples():
        word = (
            "no clear difference" if row.low * row.high <= 0 else "lower error" if row.estimate < 0 else "higher error"
        )
        lines.append(
            f"- `shelfcast` against `{row.method}`, {LEVELS[row.level]}: {row.estimate:+.1%} WQL "
            f"(90 % interval {row.low:+.1%} to {row.high:+.1%}): {word}."
        )
    return "\n".join(lines)


def many() -> str:
    """Mean scores over many categories, those that the base learned from and those it never saw."""
    table = pd.read_csv(MANY / "scores.csv")
    table = table[~table["method"].str.startswith("seed_")]
    columns = {}
    for (seen, level), rows in table.sort_values("seen", ascending=False).groupby(["seen", "level"], sort=False):
        mean = rows.groupby("method")[["wql", "wape"]].mean()
        what = f"{LEVELS[level]}, {rows['category'].nunique()} {'learned from' if seen else 'never seen'}"
        columns |= {f"{name.upper()}, {what}": mean[name] for name in mean}
    frame = pd.DataFrame(columns)
    return markdown(frame.sort_values(frame.columns[0]).map("{:.4f}".format).rename_axis("method").reset_index())


def difference(row: pd.Series) -> str:
    """With its interval, and in how many categories of all the error is lower."""
    return f"{row['estimate']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%}), {row['better']} of {row['of']}"


def kinds(rows: pd.DataFrame) -> pd.Series:
    return rows["level"].map(LEVELS) + rows["seen"].map({True: ", learned from", False: ", never seen"})


def pair() -> str:
    """Our model and the blend against the strongest alternative on many categories."""
    rows = pd.read_csv(MANY / "differences.csv")
    rows = rows[(rows["against"] == "lightgbm_pair") & rows["method"].isin(["shelfcast", "blend"])]
    rows = rows.sort_values("seen", ascending=False, kind="stable")
    said, where = rows.apply(difference, axis=1), kinds(rows)
    what = rows["method"] + ", " + rows["metric"].str.upper()
    table = rows.assign(said=said, categories=where, what=what).pivot(index="categories", columns="what", values="said")
    return markdown(table.loc[list(dict.fromkeys(where)), list(dict.fromkeys(what))].reset_index())


def transfer() -> str:
    """WQL by where a model starts and by how much history it learns from, and what the base brings against none."""
    rows = pd.read_csv(MANY / "transfer.csv")
    rows = rows[rows["seed"] < 0].pivot(index=["seen", "level", "history"], columns="start", values="wql")
    said = pd.read_csv(MANY / "transfer_differences.csv").query("metric == 'wql'")
    said = said.assign(text=said.apply(difference, axis=1)).pivot(
        index=["seen", "level", "history"], columns="against", values="text"
    )
    table = rows.map("{:.4f}".format).replace("nan", "").join(said.add_prefix("base against "))
    table = table.sort_index(level=["seen", "level", "history"], ascending=[False, True, True]).reset_index()
    where = kinds(table)
    share = table["history"].map(lambda x: f"{x:.0%}" if x else "none, against all")
    table = table.drop(columns=["seen", "level", "history"])
    table.insert(0, "categories", where)
    table.insert(1, "history", share)
    return markdown(table)


def ranges() -> str:
    """How far coverage is from what was promised, at most, by kind of cell."""
    rows = pd.read_csv(MANY / "calibration.csv")
    rows = rows[rows["seen"] & rows["method"].isin(["shelfcast", "blend", "lightgbm_pair"])]
    inside = [c for c in rows if c.startswith("coverage_")]
    promised = pd.Series({c: int(c.split("_")[1]) / 100 for c in inside})
    gap = (rows[inside] - promised).abs().max(axis=1)
    worst = rows.assign(gap=gap).groupby(["level", "method", "by"], sort=False)["gap"].max().unstack("by")
    overall = rows[rows["by"] == "all"].set_index(["level", "method"])[inside].map("{:.1%}".format)
    overall.columns = [f"in {c.split('_')[1]} % range" for c in inside]
    worst = worst.drop(columns="all").map("{:.1%}".format).add_prefix("furthest, by ")
    table = overall.join(worst).reset_index()
    return markdown(table.assign(level=table["level"].map(LEVELS)))


def truth() -> str:
    """The simulated market: scores, and how much of the way from the average to the oracle each method goes."""
    levels = json.loads((TRUE / "metrics.json").read_text())
    table = pd.DataFrame()
    for level, methods in levels.items():
        wql = pd.Series({method: row["wql"] for method, row in methods.items()})
        way = (wql["moving_average_8"] - wql) / (wql["moving_average_8"] - wql["oracle"])
        table[f"WQL, {LEVELS[level]}"] = wql.map("{:.3f}".format)
        table[f"over the oracle's, {LEVELS[level]}"] = (wql / wql["oracle"]).map("{:.2f}".format)
        table[f"way from the average, {LEVELS[level]}"] = way.map("{:.0%}".format)
    return markdown(table.sort_values("WQL, whole chain").rename_axis("method").reset_index())


def limit() -> str:
    """How far `shelfcast` goes to the oracle, from where one would start without it."""
    levels = json.loads((TRUE / "metrics.json").read_text())
    lines = []
    for level, methods in levels.items():
        wql = {method: row["wql"] for method, row in methods.items()}
        way = {m: (wql[m] - wql["shelfcast"]) / (wql[m] - wql["oracle"]) for m in ("moving_average_8", "lightgbm")}
        lines.append(
            f"- `shelfcast`, {LEVELS[level]}: {way['moving_average_8']:.0%} of the way from the eight-week average to the "
            f"oracle, {way['lightgbm']:.0%} of the way from LightGBM to the oracle."
        )
    return "\n".join(lines)


def once() -> dict[str, dict]:
    """What `make ablate` found, market by market."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "ablation/results").glob("*.json"))}


def worth() -> str:
    columns = {}
    for market, found in once().items():
        for level, rows in found["worth"].items():
            table = pd.DataFrame(rows).T
            columns[f"{market}, {LEVELS[level]}"] = table.apply(
                lambda r: f"{r['estimate']:+.1%} ({r['low']:+.1%} to {r['high']:+.1%})", axis=1
            )
            if "recovered" in table:
                columns[f"of the oracle's, {LEVELS[level]}"] = table["recovered"].dropna().map("{:.0%}".format)
    return markdown(pd.DataFrame(columns).fillna("").rename_axis("kept from the model").reset_index())


def new() -> str:
    columns = {}
    for market, found in once().items():
        for level, rows in found["new"].items():
            wape = pd.DataFrame(rows).T["wape"].sort_values()
            columns[f"{market}, {LEVELS[level]}"] = wape.map("{:.3f}".format)
            columns[f"against the mean, {market}, {LEVELS[level]}"] = (wape / wape["category_mean"] - 1).map(
                "{:+.1%}".format
            )
    return markdown(pd.DataFrame(columns).fillna("").rename_axis("forecast").reset_index())


def made() -> str:
    names = {"whole": "products with a history", "new": "products without one"}
    return "\n".join(
        f"- `{market}`, {names[part]}: revision {made['revision']}, seeds {', '.join(map(str, made['seeds']))}, "
        f"panel {made['panel_md5']}."
        for market, found in once().items()
        for part, made in sorted(found["made"].items())
    )


def seeds() -> str:
    table = pd.read_csv(BUILD / "plots/seeds.csv").pivot(index=["level", "method"], columns="seed", values="wql")
    table = table.map("{:.4f}".format).rename(columns=lambda seed: f"seed {seed}").reset_index()
    return markdown(table.assign(level=table["level"].map(LEVELS)))


def facts() -> str:
    f = load("facts.json")
    rows = {
        "complete weeks": f"{f['n_weeks']}, from {f['first_week']} to {f['last_week']}",
        "trained on, chosen on": f"up to {f['train_end']}, up to {f['validation_end']}; the rest is test",
        "products": f"{f['n_products']}, with {f['share_of_category']:.0%} of the category's units",
        "stores, regions": f"{f['n_stores']}, {f['n_regions']}",
        "households": f"{f['n_customers']:,}",
        "weeks without a sale of a product in a region": f"{f['zero_share_regions']:.0%}",
        "hash of the tables": f"`{f['data_md5']}`",
    }
    return markdown(pd.DataFrame(rows.items(), columns=["what", "value"]))


def quality() -> str:
    table = pd.read_csv(BUILD / "plots/quality.csv")
    table["found"], table["of"] = table["found"].map("{:,}".format), table["of"].map("{:,}".format)
    return markdown(table.assign(share=table["share"].map("{:.2%}".format)))


def minutes() -> str:
    """As the executed notebooks say; starting DVC and papermill takes a little more."""
    seconds = [
        json.loads(p.read_text())["metadata"]["papermill"]["duration"]
        for p in ROOT.glob("build/*/notebooks/[1-9]_*.ipynb")
    ]
    return f"{sum(seconds) / 60:.0f} minutes"


def pipeline() -> str:
    """`dvc dag` as a diagram that GitHub draws: one market, without the stage that only compares parameters."""
    dag = run("dvc dag --md")
    others = re.findall(r'(node\d+)\["(?:check|(?:ablation|categories|tune)/[^"]*|[^"]*@simulated[^"]*)"\]', dag)
    kept = "\n".join(line for line in dag.splitlines() if not re.search(rf"\b({'|'.join(others)})\b", line))
    nodes = list(dict.fromkeys(re.findall(r"node\d+", kept)))  # numbered anew, as DVC's numbers change with any stage
    return re.sub(r"node\d+", lambda found: f"n{nodes.index(found[0]) + 1}", kept)


def commands() -> str:
    """What DVC says of the latest run and of the experiments of this checkout, cut to a page's width."""
    metrics = (BUILD / "metrics.json").relative_to(ROOT)
    scores = "--only-changed --drop '.*(rmsse|bias|coverage|build|yaml).*'"
    newest = run("dvc exp list --name-only").split()[-1]
    shown = [
        f"dvc metrics show --md {metrics} | cut -c1-110",
        f"dvc exp show --no-pager --md {scores}",
        f"dvc metrics diff --md HEAD {newest} | grep -E 'Path|---|[.]w'",
        "dvc plots show",
    ]
    return "\n\n".join(f"```\n$ {command}\n{run(command)}\n```" for command in shown)


def run(command: str) -> str:
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    return re.sub(r"\x1b\[[\d;]*m", "", done.stdout).replace(f"{ROOT}", "…").rstrip()


def fill(text: str, keep=()) -> str:
    def block(match):
        name = match[1]
        gap = "" if name == "minutes" else "\n"
        return match[0] if name in keep else f"<!-- fill:{name} -->{gap}{globals()[name]()}{gap}<!-- /fill -->"

    return re.sub(r"<!-- fill:(\w+) -->.*?<!-- /fill -->", block, text, flags=re.S)


def picture() -> None:
    """The report's first screen, where a Chromium is at hand to draw it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return print("docs/report.png stays as it is: no Chromium was found")
    options = "--headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,880"
    page, out = ROOT / "reports/soft_drinks/index.html", ROOT / "docs/report.png"
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, *options.split(), f"--user-data-dir={profile}", f"--screenshot={out}", page.as_uri()],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    no_experiment = [] if run("dvc exp list --name-only") else ["commands"]  # experiments stay in their own checkout
    for name in FILES:
        path = ROOT / name
        path.write_text(fill(path.read_text(), keep=[*sys.argv[1:], *no_experiment]))
    picture()
