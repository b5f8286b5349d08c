"""Cold start: how much a product without a history sells, from its text and picture, and how the plan moves that.

A market has some hundred products and a text some hundred numbers, so that a network learns by heart which text sold
how well. Ridge regression whose penalties are chosen on left-out products learns as much as the data support. Its
held-out prediction of each product is what the head for new products starts from, as a forecast from a history starts
from the level.
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
from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.training.initial import PENALTIES

WEIGHTS = (0.0, 0.5, 1.0)  # of text and picture against each other
MIN_PRODUCTS = 20  # fewer choose no weights
MIN_WEEKS = 8  # weeks a product must have labels to be learned from
LEARNING_RATE, DECAY, EPOCHS, ROWS = 0.01, 0.1, 15, 2048  # of the head; rows in a step


def fit_appeal(kinds: list[np.ndarray], sales: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Regress sales on embeddings, and predict each product from the others.

    Parameters
    ----------
    kinds : (P, F) embeddings of each kind (text, picture), centred; a row of zeros is a missing one.
    sales : (P, L) log of units over what is typical; the first location is the chain.

    Returns
    -------
    weights, (F, L) for each kind; intercept (L,); held_out (P, L), each product's prediction by a fit of others.
    """
    n, n_locations = sales.shape
    whole = np.eye(n_locations)
    whole[0] = 1.0  # a region sells as the chain does, and what differs there
    target = sales @ np.linalg.inv(whole)
    scales = [np.sqrt((x**2).sum(1).mean()) or 1.0 for x in kinds]
    scaled = [x / scale for x, scale in zip(kinds, scales, strict=True)]

    def joined(weights) -> np.ndarray:
        parts = [x * weight for x, weight in zip(scaled, weights, strict=True)]
        return np.concatenate([np.zeros((n, 1)), *parts], 1)

    def score(weights) -> float:
        return RidgeCV(PENALTIES).fit(joined(weights), target[:, 0]).best_score_

    kind_weights = (0.0,) * len(kinds)
    if n >= MIN_PRODUCTS:
        kind_weights = max(product(WEIGHTS, repeat=len(kinds)), key=score)
    ridge = RidgeCV(PENALTIES, alpha_per_target=True)
    fitted = ridge.fit(joined(kind_weights), target)
    ends = np.cumsum([x.shape[1] for x in kinds])[:-1]
    parts = np.split(fitted.coef_.T[1:], ends) if kinds else []
    weights = [w * own / scale @ whole for w, own, scale in zip(parts, kind_weights, scales, strict=True)]
    folds = KFold(min(10, n), shuffle=True, random_state=0)
    held_out = cross_val_predict(ridge, joined(kind_weights), target, cv=folds) @ whole
    return weights, fitted.intercept_ @ whole, held_out


@torch.no_grad()
def _set_appeal(model: SalesBert, market: MarketTensors) -> torch.Tensor:
    """Give the model the regression; return (P, L) predictions, held out for products it was fitted to."""
    t, embeddings = market.tensors, {}
    if model.config.use_text:
        read = t["read"] if "read" in t else model.read_text(t["input_ids"], t["text_mask"])
        embeddings["text"] = read, t["has_text"]
    if model.config.n_picture:
        embeddings["picture"] = t["picture"], t["has_picture"]
    has_label = ~t["labels"].isnan()
    chain = market.locations.index(CHAIN)
    fitted_to = has_label[:, chain].any(-1).sum(-1) >= MIN_WEEKS
    if fitted_to.sum() < 2:
        return torch.zeros(has_label.shape[:2])
    kinds = []
    for name, (x, has) in embeddings.items():
        own = has & fitted_to
        centre = x[own].mean(0) if own.any() else torch.zeros(x.shape[1])
        getattr(model, f"appeal_{name}_centre").copy_(centre)
        kinds.append(((x - centre) * has[:, None])[fitted_to].double().numpy())
    order = [chain, *(i for i in range(len(market.locations)) if i != chain)]
    sales = _relative_sales(market, has_label)[fitted_to][:, order].double().numpy()
    weights, intercept, held_out = fit_appeal(kinds, sales)
    back = np.argsort(order)
    for name, weight in zip(embeddings, weights, strict=True):
        getattr(model, f"appeal_{name}").copy_(torch.as_tensor(weight[:, back]))
    model.appeal_bias.copy_(torch.as_tensor(intercept[back]))
    text = embeddings.get("text", (None,))[0]
    appeal = model.appeal(text, t["has_text"], t["picture"], t["has_picture"]).clone()
    appeal[fitted_to] = torch.as_tensor(held_out[:, back], dtype=appeal.dtype)
    return appeal


def _relative_sales(market: MarketTensors, has_label: torch.Tensor) -> torch.Tensor:
    """(P, L) log of mean units over what products of the category typically sell, over the labels' weeks."""
    n = has_label.sum((2, 3)).clamp(min=1)
    y = torch.where(has_label, market.tensors["labels"], 0).sum((2, 3)) / n
    typical = torch.where(has_label, market.tensors["typical"][..., None], 0).sum((2, 3)) / n
    return torch.log((y + LEVEL_FLOOR) / (typical + LEVEL_FLOOR))


def fit_new_product_head(model: SalesBert, market: MarketTensors, seed: int) -> SalesBert:
    """Train the head for products without a history on the market's labels, and nothing else of the model."""
    set_seed(seed)
    t, head = market.tensors, model.cold_start
    appeal = _set_appeal(model.eval(), market)
    has_label = ~t["labels"].isnan()
    p, location, week, _ = has_label.nonzero().T
    typical, plan, y = t["typical"][p, location, week], t["plan"][has_label], t["labels"][has_label]
    head.train()
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=DECAY)
    steps = EPOCHS * -(-len(y) // ROWS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(ROWS):
            at = p[rows], location[rows]
            mean, dispersion = head(typical[rows], appeal[at], t["static"][at], plan[rows])
            optimizer.zero_grad()
            model.loss(mean, dispersion, y[rows]).backward()
            optimizer.step()
            schedule.step()
    model.config.new_products = True
    return model.eval()
