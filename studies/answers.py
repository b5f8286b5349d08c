"""Each study's answer in three sentences, with the figures of its results in git; its README quotes it.

docs/fill.py fills the blocks `<!-- fill:answer_… -->` with these functions' text.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import yaml

from shelfcast.language import N_, _, items
from studies.choices.tables import PRESENT, means
from studies.retailers.ranges import BAND, outside
from studies.retailers.windows import of_all_windows

STUDIES = Path(__file__).parent
MARKETS = {"held-out retailer": "held-out retailers", "untouched category": "untouched categories"}
LEVELS = {"product": "the whole chain", "product_region": "regions"}
SOURCES = {
    "no_text": "product text",
    "no_behavior": "shoppers' behaviour",
    "no_space": "other regions",
    "no_plan": "promotions and prices",
}


TERMS = (N_("few slots"), N_("apart and budget"), N_("costly"), N_("display alone"))  # of the study of promotions
PLANS = (
    *(N_("own response in full"), N_("models alone"), N_("one response for all"), N_("naive lift"), N_("sold most")),
    *(N_("retailer's choice"), N_("random")),
)

SCENE_AIMS = {"ratio": 1.02, "coverage": 0.05}  # of the ensemble's WQL to the best peer's, and off 80 %


def answer_any_retailer() -> str:
    """The base for any market: zero-shot and fine-tuned, on retailers and categories that it has not seen."""
    if not (STUDIES / "any_retailer/results/scores.csv").exists():
        return "Not measured yet: `make any-retailer folder=…` trains the bases, scores all methods and writes the results."
    table, scores = _csv("any_retailer", "differences"), _csv("any_retailer", "scores")
    tries = scores[scores["method"].str.startswith("fine_tuned")]
    chosen = tries.groupby("method")["validation"].mean().idxmin()
    zero, zero_met = _any_retailer_rows(table, "zero_shot", "lightgbm_part", 0.0)
    tuned, tuned_met = _any_retailer_rows(table, chosen, "from_nothing", -0.03)
    seen, _met = _any_retailer_rows(table, "zero_shot", "from_nothing", 0.0)
    n_rows = len(table[["kind", "level"]].drop_duplicates())
    verdict = "Little or nothing" if zero_met + tuned_met < n_rows else "Something"
    return (
        f"{verdict}: the aims, zero-shot not worse than LightGBM of a quarter of the history and fine-tuned 3 % better than "
        f"from nothing, are reached in {zero_met} and in {tuned_met} of {n_rows} comparisons. As it is, the base scores "
        f"against that LightGBM {zero}, and against the model trained on all of the market's history {seen}. Fine-tuned "
        f"(`{chosen}`, the better try on the validation weeks), it scores against training from nothing {tuned}."
    )


def _any_retailer_rows(table: pd.DataFrame, method: str, against: str, aim: float) -> tuple[str, int]:
    """Relative WQL by kind of market and level in words, and in how many of them it is `aim` or lower."""
    rows = table[(table["method"] == method) & (table["against"] == against)]
    words = [
        f"{row.estimate:+.1%} (from {row.low:+.1%} to {row.high:+.1%}) on {MARKETS[row.kind]}, {LEVELS[row.level]}"
        for row in rows.itertuples()
    ]
    return items(words), int((rows["estimate"] <= aim).sum())


def answer_any_retailer_scores() -> str:
    """WQL of each method on each market as a table."""
    if not (STUDIES / "any_retailer/results/scores.csv").exists():
        return "Not measured yet."
    scores = _csv("any_retailer", "scores")
    wql = scores.pivot(index=["market", "level"], columns="method", values="wql").reset_index()
    wql["level"] = wql["level"].map(LEVELS)
    lines = ["| " + " | ".join(wql.columns) + " |", "| --- | --- |" + " ---: |" * (len(wql.columns) - 2)]
    for row in wql.itertuples(index=False):
        cells = [f"{value:.3f}" if isinstance(value, float) else value for value in row]
        lines.append("| " + " | ".join("–" if cell == "nan" else cell for cell in cells) + " |")
    return "\n".join(lines)


def _json(study: str, name: str) -> dict:
    return json.loads((STUDIES / study / "results" / f"{name}.json").read_text())


def _csv(study: str, name: str) -> pd.DataFrame:
    return pd.read_csv(STUDIES / study / "results" / f"{name}.csv")


def _difference(row) -> str:
    """'1.7% higher (90 % interval -4.3% to +8.2%)'."""
    side = "lower" if row["estimate"] < 0 else "higher"
    return f"{abs(row['estimate']):.1%} {side} (90 % interval {row['low']:+.1%} to {row['high']:+.1%})"


def _verdict(row) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "no clear difference"
    return "lower" if row["estimate"] < 0 else "higher"


def answer_ablation() -> str:
    real, simulated = (_json("ablation", market) for market in ("soft_drinks", "simulated"))
    chain, regions = (pd.DataFrame(real["worth"][level]).T.loc[list(SOURCES)] for level in LEVELS)
    most = chain["estimate"].idxmax()
    others = chain.drop(index=most)["estimate"].max()
    recovered = {source: simulated["worth"]["product"][source]["recovered"] for source in ("no_plan", "no_behavior")}
    gain = {name: _new_product_gain(results) for name, results in (("real", real), ("simulated", simulated))}
    text = {name: r["worth"]["product"]["new_no_text"] for name, r in (("real", real), ("simulated", simulated))}
    return (
        f"On soft drinks {SOURCES[most]} contribute most: without them WQL is {chain['estimate'][most]:.1%} higher for "
        f"the whole chain and {regions['estimate'][most]:.1%} in regions, and no other source costs more than "
        f"{others:.1%} there. "
        f"On the simulated market, whose best possible forecast is known, the model recovers "
        f"{recovered['no_plan']:.0%} of what promotions and prices can contribute to the whole chain, and "
        f"{recovered['no_behavior']:.0%} of what shoppers' behaviour can. "
        f"Products without a history are forecast with a WAPE {gain['real']:.1%} below the category's mean on soft "
        f"drinks and {gain['simulated']:.1%} on the simulated market; without their text WQL is "
        f"{text['real']['estimate']:.1%} and {text['simulated']['estimate']:.1%} higher."
    )


def _new_product_gain(results: dict) -> float:
    new = results["new"]["product"]
    return 1 - new["new"]["wape"] / new["category_mean"]["wape"]


def answer_categories() -> str:
    table = _csv("categories", "differences").query("against == 'lightgbm_pair' and metric == 'wql'")
    rows = table.set_index(["seen", "method", "level"])
    ours = {(seen, level): rows.loc[(seen, "shelfcast", level)] for seen in (True, False) for level in LEVELS}
    calibration = _csv("categories", "calibration").query("seen and method == 'shelfcast' and by == 'all'")
    coverage = calibration.set_index("level")["coverage_80"]
    n_seen, n_unseen = (ours[seen, "product"]["of"] for seen in (True, False))
    return (
        f"Over {n_seen} categories that the base has learned from, the mean WQL of `shelfcast` is "
        f"{_difference(ours[True, 'product'])} for the whole chain and {_difference(ours[True, 'product_region'])} in "
        f"regions than that of the strongest peer, the geometric mean of LightGBM of the category and of many. "
        f"Over {n_unseen} unseen categories it is {_difference(ours[False, 'product'])} and "
        f"{_difference(ours[False, 'product_region'])}. "
        f"Its 80 % ranges hold {coverage['product']:.1%} of the actuals for the whole chain and "
        f"{coverage['product_region']:.1%} in regions, on the categories that the base has learned from."
    )


def answer_transfer() -> str:
    table = _csv("transfer", "transfer_differences").query("against == 'language_model' and metric == 'wql'")
    rows = table.set_index(["seen", "level", "history"])
    chain = {(seen, history): rows.loc[(seen, "product", history)] for seen in (True, False) for history in (0, 0.1, 1)}
    return (
        f"For categories that the base has learned from, the WQL of a model that starts from it is "
        f"{_difference(chain[True, 1])} than from the language model alone, for the whole chain with all weeks to learn "
        f"from, and {_difference(chain[True, 0.1])} with a tenth of them. "
        f"For categories that it has never seen it is {_difference(chain[False, 1])} and "
        f"{_difference(chain[False, 0.1])}. "
        f"The base as it is, without any training on the category, has a WQL {_difference(chain[True, 0])} and "
        f"{_difference(chain[False, 0])} than a model that learned from all of the category's weeks without it."
    )


def answer_controls() -> str:
    results = _json("controls", "soft_drinks")
    scores, differences = results["scores"]["product"], results["differences"]["product"]
    wql = {method: score["wql"] for method, score in scores.items()}
    alone = differences["alone"]
    ours = wql["shelfcast_price_plan"] / wql["alone"] - 1
    trees = wql["lightgbm_price_plan"] / wql["lightgbm"] - 1
    return (
        f"On soft drinks, for the whole chain, the model trained on this category alone has a WQL "
        f"{_difference(alone)} than `shelfcast`, which started from other categories: {_verdict(alone)}. "
        f"Like it, versions without what the language model learned ({wql['random_backbone']:.4f}) and without any "
        f"({wql['small_transformer']:.4f}) reach what `alone` does ({wql['alone']:.4f}), so that product texts bring "
        f"nothing on this category. "
        f"The prices of the coming weeks, which no real forecast has, would change WQL by {ours:+.1%} for `alone` and by "
        f"{trees:+.1%} for LightGBM."
    )


def answer_tune() -> str:
    results = yaml.safe_load((STUDIES / "tune/results/soft_drinks_shelfcast.yaml").read_text())
    trials = pd.DataFrame(results["trials"]).T
    complete = trials[~trials["pruned"].astype(bool)]["wql"].astype(float)
    fresh = pd.DataFrame(results["fresh_wql"]).T.mean(axis=1)
    proposed = trials[[name for name in results["proposed"]]].eq(pd.Series(results["proposed"])).all(axis=1).idxmax()
    return (
        f"The best of {len(trials)} trials for soft drinks lowered the validation WQL from {complete.iloc[0]:.4f} to "
        f"{complete.min():.4f} ({complete.min() / complete.iloc[0] - 1:+.1%}). "
        f"Trained again with fresh seeds, the proposed settings still had {fresh[int(proposed)] / fresh.iloc[0] - 1:+.1%}. "
        f"The proposal is in `results/` and is not applied: eight validation weeks that choose among settings flatter "
        f"what they choose, and settings that an earlier search had found were worse on the test weeks "
        f"([experiments](../../docs/experiments.md))."
    )


def answer_efficiency() -> str:
    rows = _csv("efficiency", "efficiency").set_index("row")
    full, half, lora, compact = (rows.loc[name] for name in ("full_6", "full_3", "lora_3", "compact"))
    int8 = half["wql_chain_int8"] / half["wql_chain"] - 1
    return (
        f"Where the encoder carries the weeks, three of its six layers halve the seconds to train "
        f"({half['train_seconds']:.0f} against {full['train_seconds']:.0f}) and change the error by {half['loss']:+.1%}; "
        f"adapters on these layers make the file {lora['mb']:.0f} MB in place of {half['mb']:.0f} ({lora['loss']:+.1%}). "
        f"Weights of int8 take {half['mb_int8']:.0f} MB and change the error by {int8:+.1%}. "
        f"The compact body, the default, changes it by {compact['loss']:+.1%} and trains in "
        f"{compact['train_seconds']:.0f} seconds."
    )


def answer_retailers() -> str:
    ratios = _csv("retailers", "ratios")
    known, hidden = (ratios[ratios["situation"] == name] for name in ("plan_known", "no_plan"))
    chain = known[known["level"] == "product"].set_index("retailer")
    peers = ", ".join(f"{name} ({count})" for name, count in known["peer"].value_counts().items())
    best, worst = chain["ensemble"].idxmin(), chain["ensemble"].idxmax()
    return (
        f"No single peer is best everywhere: over {chain.shape[0]} retailers, each at two levels, the best one is {peers}. "
        f"The ensemble's WQL is {known['ensemble'].mean():.3f} times that of the best single peer in the mean, and "
        f"`shelfcast` alone {known['shelfcast'].mean():.3f} times; as if no plan were known, {hidden['ensemble'].mean():.3f} "
        f"and {hidden['shelfcast'].mean():.3f}. "
        f"For the whole chain the ensemble gains most on {best} ({chain['ensemble'][best]:.3f}) and least on {worst} "
        f"({chain['ensemble'][worst]:.3f})."
    )


def answer_windows() -> str:
    """Whether 80 % ranges hold what they promise over several test windows."""
    rows = of_all_windows(STUDIES / "retailers/results")
    last = _csv("retailers", "scores").dropna(subset="coverage_low")  # our own methods
    off = outside(last)
    chain = rows[rows["level"] == "product"].groupby(["retailer", "method", "situation"])["coverage_80"]
    n_windows = rows.groupby("retailer")["weeks_earlier"].nunique()
    each = ", ".join(f"{count} on {name}" for name, count in n_windows.items())
    means, (low, high) = chain.mean(), (chain.min().min(), chain.max().max())
    error = (chain.std() / chain.size() ** 0.5).max()
    return (
        f"Over several test windows ({each}), 80 % ranges for the whole chain hold {means.min():.0%} to {means.max():.0%} in "
        f"the mean, by retailer, method and situation, with standard errors of up to {error:.0%}. A single window of eight "
        f"weeks says little: there it is {low:.0%} to {high:.0%}, since what happens in a week happens to all products. "
        f"Over all retailers, {len(off)} of {len(last)} coverages of the last window (each retailer, method, situation and "
        f"level) lie outside of {BAND[0]:.0%} to {BAND[1]:.0%}{_where(off)}, {(~off['by_chance']).sum()} of them by more than "
        f"chance, by 90% intervals for which products and blocks of two weeks are resampled."
    )


def _where(off: pd.DataFrame) -> str:
    """Of which retailers rows are, in brackets."""
    return f" ({', '.join(off['retailer'].unique())})" if len(off) else ""


def answer_scenes() -> str:
    """Whether the pipeline serves other trades: three sentences."""
    rows = _csv("scenes", "scores")
    rows["scene"] = rows["scene"].str.replace("_", " ")
    keys = ["scene", "situation", "level"]
    ours = rows[rows["method"] == "ensemble"].set_index(keys)
    oracle = rows[rows["method"] == "oracle"].set_index(keys)["wql"]
    peers = rows[~rows["method"].isin(["ensemble", "shelfcast", "oracle"])].groupby(keys)["wql"].min()
    ratio, off = (ours["wql"] / peers).sort_values(), (ours["coverage_80"] - 0.8).sort_values(key=abs)
    held, above = ours["coverage_80"], ours["wql"] / oracle
    serves = ratio.iloc[-1] <= SCENE_AIMS["ratio"] and abs(off.iloc[-1]) <= SCENE_AIMS["coverage"]
    return (
        f"{'Yes' if serves else 'In part'}: the same notebooks, model, peers and page run on each of the other trades "
        f"({', '.join(dict.fromkeys(rows['scene']))}) by lines of parameters alone. "
        f"The ensemble's WQL is {ratio.iloc[0]:.2f} to {ratio.iloc[-1]:.2f} times that of the best single peer, the aim being "
        f"{SCENE_AIMS['ratio']:g} at most (best for {ratio.index[0][0]}, worst for {ratio.index[-1][0]}), and "
        f"{above.min():.2f} to {above.max():.2f} times that of the best forecast possible. "
        f"Its 80 % ranges held {held.min():.0%} to {held.max():.0%} of the test weeks or days, furthest off for "
        f"{off.index[-1][0]}; the aim is {SCENE_AIMS['coverage'] * 100:.0f} points off at most."
    )


def answer_stockouts() -> str:
    """Both the units that were learned from and the forecasts, against the aim of at most 2 %."""
    worlds, bias = _csv("stockouts", "worlds"), _csv("stockouts", "bias")
    own = worlds[worlds["level"] == "product"]
    history = own.groupby("learned")["history"].agg(lambda off: off.loc[off.abs().idxmax()])
    means = bias[bias["level"] == "product"].groupby("learned")["mean"]
    furthest = {
        name: means.get_group(name).loc[means.get_group(name).abs().idxmax()] for name in ("sales", "corrected")
    }
    n, cut = own[["stock_outs", "seed"]].drop_duplicates().shape[0], bias["cut"]
    kept = "is kept" if abs(furthest["corrected"]) <= 0.02 else "is missed"
    return (
        f"In {n} simulated markets of which {cut.min():.0%} to {cut.max():.0%} of the weeks of products in stores are cut, "
        f"all units sold are up to {abs(history['sales']):.1%} below demand, and corrected ones at most "
        f"{abs(history['corrected']):.1%} off. "
        f"Forecasts that learned from sales are off those that learned from demand by up to {furthest['sales']:+.1%} in the "
        f"mean over markets, and those that learned from corrected demand by {furthest['corrected']:+.1%}: the aim of 2 % "
        f"{kept}. "
        "A single market is off by more, since few weeks of few large products decide what its forecasts add up to."
    )


def answer_choices() -> str:
    scores = _csv("choices", "scores")
    table = means(scores)
    n_markets = table["of"].max()
    others = table.drop(index=PRESENT).query("of > @n_markets / 2")
    best, worst = others["change"].idxmin(), others["change"].idxmax()
    ratio = scores.pivot_table(index="market", columns="choice", values="ratio")
    error = (ratio[best] / ratio[PRESENT] - 1).sem()
    kept = abs(others["change"][best]) < 2 * error
    return (
        f"Over {n_markets} markets the present settings have a validation WQL of {table['ratio'][PRESENT]:.3f} times "
        f"LightGBM's in the mean. Of {len(others)} choices '{best}' is best ({others['change'][best]:+.1%}, standard error "
        f"over markets {error:.1%}, better on {others['better_on'][best]} of {others['of'][best]}) and '{worst}' worst "
        f"({others['change'][worst]:+.1%}, better on {others['better_on'][worst]} of {others['of'][worst]}). "
        f"{'No choice is better by two standard errors, so the present settings stay.' if kept else f'{best} is taken.'}"
    )


def answer_whatif() -> str:
    scores = _csv("whatif", "scores").query("plan == 'all' and level == 'product'").set_index(["market", "method"])
    names = {
        "simulated_none": "where prices follow nothing that sells",
        "simulated": "where prices follow season",
        "simulated_hidden": "where prices follow popularity that no table shows",
    }
    judged = [market for market in names if (market, "model") in scores.index]
    response = scores["response"]
    plain = ", ".join(f"{response[market, 'model']:.3f} {names[market]}" for market in judged)
    anchored = [market for market in judged if (market, "anchored") in scores.index]
    better = ", ".join(f"{response[market, 'anchored']:.3f} {names[market]}" for market in anchored)
    leaning = f"anchored to the estimate of causes it is {better}" if anchored else "no estimate has anchored it yet"
    first = judged[0]
    return (
        f"On the simulated market the models' answer to another plan, applied to what truly sells under the present one, "
        f"misses the truth by this share of the chain's units: {plain}; {leaning}. "
        f"Forecasts under other plans as a whole, which also miss what the present plan sells, are off by "
        f"{scores['forecast'][first, 'model']:.3f} {names[first]}, against {scores['present'][first, 'model']:.3f} under the "
        f"present plan. "
        f"{_rises()}"
    )


def _rises() -> str:
    rises = _csv("whatif", "rises").query("level == 'product'")
    sums = rises.assign(raised=rises["share"] * rises["n"]).groupby(["market", "method"])[["raised", "n"]].sum()
    share = (sums["raised"] / sums["n"]).unstack("method")
    parts = [
        f"{row['model']:.2%} on {market}{'' if pd.isna(row['anchored']) else f' ({row.anchored:.2%} anchored)'}"
        for market, row in share.sort_values("model").iterrows()
    ]
    return f"A price rise raises the chain's forecast in this share of products and weeks: {', '.join(parts)}."


EXPLANATIONS = {
    "shapley": "Shapley values",
    "gradients": "integrated gradients",
    "attention": "attention",
    "rollout": "attention rollout",
}


def best_explanation() -> str:
    """The method whose order of what moves a forecast is nearest to the truth, over all locations that were looked at."""
    scores = _json("explanations", "simulated")["scores"]
    mean = pd.DataFrame({at: {m: row["size_agreement"] for m, row in rows.items()} for at, rows in scores.items()})
    return str(mean.mean(axis=1).idxmax())


def answer_explanations() -> str:
    simulated, real = (_json("explanations", market) for market in ("simulated", "soft_drinks"))
    best = best_explanation()
    chain, drinks = simulated["scores"]["chain"], real["scores"]["chain"][best]
    found = chain[best]
    agreement = ", ".join(f"{rows[best]['size_agreement']:.2f} for {at}" for at, rows in simulated["scores"].items())
    groups = pd.Series(simulated["by_group"]["chain"][best]).drop("season_in_own").sort_values(ascending=False)
    names = {"own": "own recent sales", "behavior": "shoppers' behaviour", "regions": "neighbouring regions"}
    told = [f"{names.get(name, name)} ({value:.2f})" for name, value in groups.items()]
    return (
        f"On the simulated market, whose laws are known, {EXPLANATIONS[best]} order the inputs of a forecast by size "
        f"nearest to the truth (rank correlation {agreement}), and find for the whole chain the "
        f"inputs that truly matter with an area under precision–recall of {found['precision_recall']:.2f}, where guessing "
        f"reaches {found['chance']:.2f}; attention reaches {chain['attention']['size_agreement']:.2f} and "
        f"{chain['attention']['precision_recall']:.2f}. "
        f"Over products they follow the truth well for {', '.join(told[:3])}, and worst for {', '.join(told[-2:])}. "
        f"Inputs taken away in their order move the forecast {found['deletion']:.2f} times as far as in a random one "
        f"({drinks['deletion']:.2f} on soft drinks), two seeds agree with {found['seeds']:.2f}, and a model with shuffled "
        f"weights with {found['shuffled']:.2f}, while attention hardly notices these ({chain['attention']['shuffled']:.2f})."
    )


def answer_causes() -> str:
    table = _csv("causes", "worlds")
    table["covered"] = table["truth"].between(table["low"], table["high"])
    table["error"] = table["estimate"] - table["truth"]
    price = table[table["treatment"] == "log_price"]
    held = price["confounding"] != "hidden"
    fine, hidden = (part.groupby("method") for part in (price[held], price[~held]))
    dml = price[held & (price["method"] == "dml")]
    covered, off = fine["covered"].mean(), fine["error"].agg(lambda error: error.abs().mean())
    covered_hidden, bias_hidden = hidden["covered"].mean(), hidden["error"].mean()
    placebo = table[table["treatment"] == "next_price"].groupby(table["confounding"] == "hidden")["covered"].mean()
    signs = (dml["estimate"] * dml["truth"] > 0).mean()
    every = price[price["method"] == "dml"]
    return (
        f"On {len(dml)} simulated worlds in which prices follow nothing or the season, {covered['dml']:.0%} of the 95 % "
        f"intervals of double machine learning hold the true own-price elasticity and {signs:.0%} of the signs are right; "
        f"it is off by {off['dml']:.2f} in the mean, the naive regression by {off['naive']:.2f} "
        f"({covered['naive']:.0%} of its intervals hold the truth). "
        f"Where prices follow a popularity that no table shows it is biased by {bias_hidden['dml']:+.2f} and "
        f"{covered_hidden['dml']:.0%} of its intervals hold the truth; with the cost as instrument the bias is "
        f"{bias_hidden['instrument']:+.2f}, and {covered_hidden['instrument']:.0%} of (wider) intervals do; next month's price "
        f"raises an alarm in {1 - placebo[True]:.0%} of these worlds and in {1 - placebo[False]:.0%} of the others. "
        f"Over all {len(every)} worlds, confounded or not, {every['covered'].mean():.0%} of the intervals hold the truth. "
        f"{_orange_juice()}"
    )


def _orange_juice() -> str:
    rows = _csv("causes", "dominicks_oj")
    own = rows[(rows["treatment"] == "log_price") & (rows["method"] == "dml") & (rows["group"] == "all")].iloc[0]
    cross = _csv("causes", "dominicks_oj_cross_prices")
    is_own = cross["product_id"] == cross["price_of"]
    positive = (cross.loc[~is_own, "estimate"] > 0).mean()
    return (
        f"On a retailer's orange juice the own-price elasticity is {own['estimate']:.1f} (95 % interval {own['low']:.1f} to "
        f"{own['high']:.1f}; published estimates lie between -2 and -4), if the assumptions hold that stand with it; with "
        f"the prices of all products in one regression it is {cross.loc[is_own, 'estimate'].mean():.1f} in the mean, from "
        f"{cross.loc[is_own, 'estimate'].min():.1f} to {cross.loc[is_own, 'estimate'].max():.1f} by product, and "
        f"{positive:.0%} of the cross-price effects are above zero."
    )


def answer_promotions() -> str:
    shares = _csv("promotions", "shares").set_index(["terms", "plan"])
    plans, own = _csv("promotions", "plans"), _csv("promotions", "own")
    usual = shares.index.get_level_values("terms")[0]
    ours = shares.xs("shelfcast", level="plan")
    others = shares.loc[usual].drop(index=["shelfcast", "oracle", "hindsight"])["share"].sort_values(ascending=False)
    term = N_("{share:.0%} ({terms})")
    by_terms = [
        _(term, share=share, terms=_(terms.replace("_", " "))) for terms, share in ours["share"].drop(usual).items()
    ]
    made = plans[plans["plan"] == "shelfcast"]
    held = made["gain"].between(made["low"], made["high"])
    trial, other = N_("{share:.0%} with {value:g}"), N_("{plan} {share:.0%}")
    tried = [_(trial, share=share, value=value) for value, share in zip(own["own"], own["share"], strict=True)]
    text = N_(
        "On the simulated market the plan reaches {share:.0%} (95 % interval "
        "{low:.0%} to {high:.0%}, over {cutoffs:.0f} cutoffs; the aim "
        "is 80 %) of the true gain of the plan that knows the laws and the state of the market at the cutoff, under the "
        "usual terms, and {by_terms} under others. "
        "Under the usual terms the other plans reach: {others}. "
        "The 80 % range of a plan's gain held the true one in {held:.0%} of {n} plans, and gains of single "
        "promotions, added, are {added:+.1%} off those of plans as a whole; on the "
        "validation weeks the plan reached {tried} of a product's own response."
    )
    return _(
        text,
        **ours.loc[usual, ["share", "low", "high", "cutoffs"]].to_dict(),
        by_terms=items(by_terms),
        others=items([_(other, plan=_(name), share=share) for name, share in others.items()]),
        held=held.mean(),
        n=len(held),
        added=made["added"].sum() / made["gain"].sum() - 1,
        tried=items(tried),
    )


def answer_drift() -> str:
    judged, tried = _csv("drift", "judged"), _csv("drift", "set")
    names = {"joint": "The joint detector", "page_hinkley": "Page-Hinkley", "adwin": "ADWIN"}
    parts = []
    for kind in names:
        own = judged[judged["kind"] == kind]
        row = own.iloc[0]
        before = tried.merge(own[["kind", "threshold", "slack"]].head(1))["false_a_year"].iloc[0]
        found = "; ".join(
            f"of strength {part.strength:g}, {part.soon:.0%} within three weeks and {part.ever:.0%} at all, after "
            f"{part.delay:g} weeks in the median"
            for part in own.itertuples()
        )
        aim = "within" if row["false_a_year"] <= 1 else "above"
        parts.append(
            f"{names[kind]} gives {row['false_a_year']:.1f} false alarms a market and year ({before:.1f} on the worlds its "
            f"threshold was set on), {aim} the limit of one. Of changes it finds: {found}."
        )
    return f"Over {judged['worlds'].max()} worlds that set no threshold: " + " ".join(parts)


def answer_stream() -> str:
    worlds = _csv("stream", "worlds")
    calm, changed = worlds[worlds["strength"] == 0], worlds[worlds["strength"] > 0]
    parts = []
    for way in ("level", "online", "refit"):
        cost, gain = (part[part["way"] == way] for part in (calm, changed))
        part = f"{way} {cost['against_frozen'].mean():+.1%} where laws stay and {gain['against_frozen'].mean():+.1%} where they change"
        if way == "online" and gain["gain"].notna().any():
            part += f" ({gain['gain'].mean():.0%} of the refit's gain at {gain['compute'].mean():.0%} of its seconds)"
        parts.append(part)
    n = worlds[["seed", "strength"]].drop_duplicates()["strength"].gt(0).sum()
    return (
        f"Error (WQL) against the models as trained, on the mean over {n} worlds of each kind, chain and regions: "
        f"{'; '.join(parts)}. The aims are 70 % of the refit's gain at 5 % of its seconds, and at most .5 % lost."
    )


def answer_default_way() -> str:
    from studies.stream.stream import default_way  # takes seconds, which other answers need not wait

    worlds = _csv("stream", "worlds")
    n = worlds[["seed", "strength"]].drop_duplicates().shape[0]
    return f"`{default_way(worlds)}`, by {n} worlds; a few worlds say little, and the study goes on where it stopped."
