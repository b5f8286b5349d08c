"""Products without a history: what text and picture say of how much they sell, and how the plan moves that.

A market has some hundred products and a text some hundred numbers, so that a network learns by heart which text sold
how well. Ridge regression with penalties that leaving products out chooses learns as much as is there; where texts say
nothing, it says nothing. What it says of a product without having seen that product is then what the head for new
products starts from, as a forecast from a history starts from the level.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from transformers import set_seed

from shelfcast.data.schema import CHAIN
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.space import PENALTIES
from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.features import LEVEL_FLOOR

SHARES = (0.0, 0.5, 1.0)  # how loud text and picture are heard, against each other
FEWEST = 20  # products, under which nothing is learned of what they are worth
SOLD = 8  # weeks a product must have sold to be learned from
RATE, DECAY, EPOCHS, ROWS = 0.01, 0.1, 15, 2048  # of the head: learning rate, weight decay, and rows in a step


def fit_appeal(kinds: list[np.ndarray], sold: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Fit the map, and say what it would have said of each product without that product.

    Parameters
    ----------
    kinds : (P, F) each, what is said in one way (text, picture), 0 on average; a row of zeros says nothing.
    sold : (P, L) log of units over what is typical; the first location is the whole, of which the others are parts.

    Returns
    -------
    weights, (F, L) each; intercept (L,); held_out (P, L), each product's by a map of other products.
    """
    n, locations = sold.shape
    whole = np.eye(locations)
    whole[0] = 1.0  # a region sells as the whole does, and what differs there
    target = sold @ np.linalg.inv(whole)
    heard = [0.0] * len(kinds)
    loud = [np.sqrt((x**2).sum(1).mean()) or 1.0 for x in kinds]
    x = [x / s for x, s in zip(kinds, loud, strict=True)]

    def joined(shares) -> np.ndarray:
        return np.concatenate([np.zeros((n, 1)), *(x * share for x, share in zip(x, shares, strict=True))], 1)

    def score(shares) -> float:
        return RidgeCV(PENALTIES).fit(joined(shares), target[:, 0]).best_score_

    if n >= FEWEST:
        heard = max(product(SHARES, repeat=len(kinds)), key=score)
    ridge = RidgeCV(PENALTIES, alpha_per_target=True)
    found = ridge.fit(joined(heard), target)
    parts = np.split(found.coef_.T[1:], np.cumsum([x.shape[1] for x in kinds])[:-1]) if kinds else []
    weights = [w * share / s @ whole for w, share, s in zip(parts, heard, loud, strict=True)]
    folds = KFold(min(10, n), shuffle=True, random_state=0)
    return weights, found.intercept_ @ whole, cross_val_predict(ridge, joined(heard), target, cv=folds) @ whole


@torch.no_grad()
def _appeal(model: SalesBert, market: MarketTensors) -> torch.Tensor:
    """Give the model the map; returns (P, L) what it says of the market's own products without having seen them."""
    t, said = market.tensors, {}
    if model.config.use_text:
        said["text"] = model.read_text(t["input_ids"], t["text_mask"]), t["has_text"]
    if model.config.n_picture:
        said["picture"] = t["picture"], t["has_picture"]
    wanted = ~t["labels"].isnan()
    chain = market.locations.index(CHAIN)
    known = wanted[:, chain].any(-1).sum(-1) >= SOLD
    if known.sum() < 2:
        return torch.zeros(wanted.shape[:2])
    kinds = []
    for name, (x, has) in said.items():
        centre = x[has & known].mean(0) if (has & known).any() else torch.zeros(x.shape[1])
        getattr(model, f"appeal_{name}_centre").copy_(centre)
        kinds.append(((x - centre) * has[:, None])[known].double().numpy())
    a_week = wanted.sum((2, 3)).clamp(min=1)
    y, typical = (torch.where(wanted, x, 0).sum((2, 3)) / a_week for x in (t["labels"], t["typical"][..., None]))
    first = [chain, *(i for i in range(len(market.locations)) if i != chain)]
    sold = torch.log((y + LEVEL_FLOOR) / (typical + LEVEL_FLOOR))[known][:, first].double().numpy()
    weights, bias, held_out = fit_appeal(kinds, sold)
    back = np.argsort(first)
    for name, weight in zip(said, weights, strict=True):
        getattr(model, f"appeal_{name}").copy_(torch.as_tensor(weight[:, back]))
    model.appeal_bias.copy_(torch.as_tensor(bias[back]))
    appeal = model.appeal(said.get("text", (None,))[0], t["has_text"], t["picture"], t["has_picture"]).clone()
    appeal[known] = torch.as_tensor(held_out[:, back], dtype=appeal.dtype)
    return appeal


def fit_new_product_head(model: SalesBert, market: MarketTensors, seed: int) -> SalesBert:
    """Train the head for products without a history on the market's labels, and nothing else of the model."""
    set_seed(seed)
    t, head = market.tensors, model.cold_start
    appeal = _appeal(model.eval(), market)
    wanted = ~t["labels"].isnan()
    p, place, week, _ = wanted.nonzero().T
    typical, plan, y = t["typical"][p, place, week], t["plan"][wanted], t["labels"][wanted]
    head.train()
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=DECAY)
    steps = EPOCHS * -(-len(y) // ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(steps, 2), pct_start=0.1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(ROWS):
            at = p[rows], place[rows]
            mean, dispersion = head(typical[rows], appeal[at], t["static"][at], plan[rows])
            optimizer.zero_grad()
            model.loss(mean, dispersion, y[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()
