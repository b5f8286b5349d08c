"""Explanations of forecasts as a frame that holds all that a page needs: one row per product and group of inputs.

| column | meaning |
|---|---|
| `product_id`, `location`, `cutoff` | of which forecast |
| `horizon` | weeks ahead, 0 for the sum of all |
| `group`, `label` | the group of inputs, and its name for people |
| `units` | what the group moves: exact Shapley value; all groups add up to `forecast` - `usual` |
| `gradients` | the same by integrated gradients, to which what stands inside of the groups adds up |
| `usual`, `forecast` | units as usual, and as forecast |
| `words` | JSON: [[word, units], …] in the text's order, of the group text; the word '' is what belongs to none |
| `weeks` | JSON: [[Monday, units], …]: recent weeks of groups that read the past, coming ones of the plan's groups |
| `regions` | JSON: [[location, units], …] |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import torch

from shelfcast.data.schema import CHAIN
from shelfcast.model.forecast import load_models
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MAX_TEXT, MarketTensors, load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel
from shelfcast.validate import nearest
from shelfcast.why.explain.gradients import Attributions, attributions
from shelfcast.why.explain.groups import PLAN, WEEKS, WORDS, Group, groups_of
from shelfcast.why.explain.shapley import shapley
from shelfcast.why.explain.usual import read_inputs
from shelfcast.why.explain.value import coalition_units

STRIP_WEEKS = 26  # recent weeks that are kept
AT_A_TIME = 16  # products, so that many need no more memory
ADDS_UP = 1e-4  # of what the groups move in all


def _adds_up(frame: pd.DataFrame) -> bool:
    parts = frame.groupby(["product_id", "location", "cutoff", "horizon"])
    moved = parts["units"].agg(lambda x: x.abs().sum())
    gap = (parts["units"].sum() - (parts["forecast"].first() - parts["usual"].first())).abs()
    return bool((gap <= ADDS_UP * np.maximum(moved, 1)).all())


SCHEMA = pa.DataFrameSchema(
    {
        "product_id": pa.Column(str),
        "location": pa.Column(str),
        "cutoff": pa.Column("datetime64[ns]", coerce=True),
        "horizon": pa.Column(int, pa.Check.ge(0), coerce=True),
        "group": pa.Column(str),
        "label": pa.Column(str),
        "units": pa.Column(float),
        "gradients": pa.Column(float),
        "usual": pa.Column(float, pa.Check.ge(0)),
        "forecast": pa.Column(float, pa.Check.ge(0)),
        "words": pa.Column(str),
        "weeks": pa.Column(str),
        "regions": pa.Column(str),
    },
    checks=pa.Check(_adds_up, error="contributions do not add up to forecast - usual"),
    unique=["product_id", "location", "cutoff", "horizon", "group"],
    strict=True,
    ordered=True,
)


@dataclass(frozen=True)
class Variant:
    """A trained variant of a market: what is needed to ask why it forecasts what it does."""

    panel: Panel
    market: MarketTensors
    models: list[SalesBert]
    tokenizer: object

    @classmethod
    def load(cls, folder: str | Path, name: str = "shelfcast") -> Variant:
        """Of a market's folder in build/; a ValueError where the variant was not trained."""
        folder = Path(folder)
        panel, models = Panel.load(folder / "panel"), different(load_models(folder / "models" / name))
        facts = json.loads((folder / "models" / name / "variant.json").read_text())
        tokenizer = load_tokenizer(facts["backbone"])
        market = market_tensors(panel, tokenizer, facts["price_plan"], facts["scale"])
        return cls(panel, market, models, tokenizer)


def different(models: list[SalesBert]) -> list[SalesBert]:
    """The models without copies, which seeds that stay with the base are: one of them has the mean of all.

    Where some are copies of each other and others are not, all are kept, so that the mean stays that of all.
    """
    first = models[0].state_dict()
    same = [all(torch.equal(x, first[name]) for name, x in model.state_dict().items()) for model in models[1:]]
    return models[:1] if all(same) else models


def explain(
    variant: Variant,
    products: list[str],
    location: str = CHAIN,
    cutoff: str | pd.Timestamp | None = None,
    horizon: int | None = None,
) -> pd.DataFrame:
    """Why products' forecasts are what they are: a frame as `SCHEMA` says, groups in the order of `groups.NAMES`.

    Parameters
    ----------
    cutoff : the last week that the forecast may use; the latest where none is given.
    horizon : weeks ahead, from 1; the sum of all where none is given.

    Raises
    ------
    ValueError : an unknown product or location, a cutoff that was not observed, or a horizon beyond the forecast's.
    """
    products = list(dict.fromkeys(products))
    if len(products) > AT_A_TIME:
        batches = [products[i : i + AT_A_TIME] for i in range(0, len(products), AT_A_TIME)]
        frames = [explain(variant, batch, location, cutoff, horizon) for batch in batches]
        return pd.concat(frames, ignore_index=True)
    market = variant.market
    rows = [_index(product, market.products, "product") for product in products]
    where = _index(location, market.locations, "location")
    last = market.tensors["labels"].shape[-1]
    if horizon is not None and not 1 <= horizon <= last:
        raise ValueError(
            f"horizon is {horizon}, and forecasts reach {last} {market.frequency.noun}s. Choose 1 to {last}, or none for all."
        )
    cutoff = variant.panel.cutoffs["latest"][-1] if cutoff is None else _week(cutoff)
    inputs, groups = read_inputs(market, rows, cutoff), groups_of(market)
    units = coalition_units(variant.models, inputs, groups)[:, :, where]  # 2^G B H
    units = units.sum(-1) if horizon is None else units[..., horizon - 1]
    contributions = shapley(units)
    inside = attributions(variant.models, inputs, groups, where, horizon)
    frames = []
    for i, row in enumerate(rows):
        text = variant.panel.products["text"].iloc[row] or ""
        details = [_inside(inside, g, i, group, variant, text, cutoff) for g, group in enumerate(groups)]
        frame = pd.DataFrame(details).assign(
            product_id=market.products[row], location=location, cutoff=cutoff, horizon=horizon or 0,
            units=contributions[:, i], usual=units[0, i], forecast=units[-1, i],
        )  # fmt: skip
        frames.append(frame[list(SCHEMA.columns)])
    return SCHEMA.validate(pd.concat(frames, ignore_index=True))


def _index(name: str, names: list[str], kind: str) -> int:
    if name not in names:
        raise ValueError(f"the panel has no {kind} {name!r}{nearest(str(name), names)}. It has {len(names)}.")
    return names.index(name)


def _week(cutoff: str | pd.Timestamp) -> pd.Timestamp:
    try:
        return pd.Timestamp(cutoff)
    except ValueError:
        raise ValueError(f"cutoff {cutoff!r} is no day. Write it as 2026-12-25.") from None


def _inside(
    parts: Attributions, g: int, i: int, group: Group, variant: Variant, text: str, cutoff: pd.Timestamp
) -> dict[str, str | float]:
    """What stands inside of a group for the i-th product."""
    words, weeks, frequency = [], [], variant.market.frequency
    if WORDS in group.columns:
        words = by_word(variant.tokenizer, text, parts.words[i])
    if WEEKS in group.columns:
        past = pd.date_range(end=cutoff, periods=parts.weeks.shape[2], freq=frequency.step)
        weeks += list(zip(past, parts.weeks[g, i], strict=True))[-frequency.periods(STRIP_WEEKS) :]
    if PLAN in group.columns:
        coming = frequency.coming(cutoff, parts.ahead.shape[2])
        weeks += zip(coming, parts.ahead[g, i], strict=True)
    regions = list(zip(variant.market.locations, parts.locations[g, i], strict=True))
    return {
        "group": group.name,
        "label": group.label,
        "gradients": parts.groups[g, i],
        "words": _json(words),
        "weeks": _json([(f"{week:%Y-%m-%d}", value) for week, value in weeks]),
        "regions": _json(regions if parts.locations[g, i].any() else []),
    }


def _json(pairs: list[tuple[str, float]]) -> str:
    return json.dumps([(name, float(f"{value:.4g}")) for name, value in pairs], ensure_ascii=False)


def by_word(tokenizer, text: str, tokens: np.ndarray) -> list[tuple[str, float]]:
    """Attributions of tokens (S,) summed by the words of a text, which end at spaces; then '' for what belongs to none."""
    spans = tokenizer(text, truncation=True, max_length=MAX_TEXT, return_offsets_mapping=True)["offset_mapping"]
    words: list[tuple[int, int, float]] = []
    rest = float(tokens[len(spans) :].sum())
    for (start, end), value in zip(spans, tokens, strict=False):
        if start == end:  # marks that the tokeniser adds
            rest += float(value)
        elif words and start == words[-1][1]:
            first, _, units = words[-1]
            words[-1] = first, end, units + float(value)
        else:
            words.append((start, end, float(value)))
    return [*((text[start:end], units) for start, end, units in words), ("", rest)]
