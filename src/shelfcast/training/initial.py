"""Parts of a model that start from a decomposition or a regression of the training weeks, before any gradient.

Axes: P products, L locations, T weeks, H horizons, G categories, D width of the text encoder.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.model_selection import TimeSeriesSplit

from shelfcast.model.layers.space import Spillover
from shelfcast.model.salesbert import TEXT_PARTS, SalesBert

PENALTIES = np.logspace(-2, 4, 25)  # that ridge regressions choose from
FOLDS = 4  # stretches of weeks that choose the penalty
MIN_PAIRS = 8  # pairs of weeks; fewer fit nothing


@torch.no_grad()
def fit_text_axes(model: SalesBert, read: torch.Tensor) -> None:
    """Take the principal components of a market's texts (P, D), each with variance 1, as the features of text.

    Texts of a category differ little, and what distinguishes their products (a flavour, a claim) varies less than
    brand and pack do: unscaled, it is hardly learned before the rest is learned by heart.
    """
    model.text_centre.copy_(read.mean(0))
    centred = read - model.text_centre
    n_parts = min(TEXT_PARTS, len(read) // 2)
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    scale = scale[:n_parts] / len(read) ** 0.5
    scaled = torch.where(scale > 1e-3 * scale[:1], axes[:n_parts].T / scale.clamp(min=1e-6), 0.0)
    model.text_basis.zero_()
    model.text_basis[:, :n_parts] = scaled


@torch.no_grad()
def fit_spillover(spillover: Spillover, shock: torch.Tensor) -> None:
    """Start from ridge regression of later weeks on earlier ones; training continues from there.

    shock: (G, L, T), of one category or of several. From zero, a matrix that all products share is learned slower than
    what each of them learns by heart. Later weeks choose the penalty: without spillover it stays near zero.
    """
    x = shock.permute(2, 0, 1).double().cpu().numpy()  # T G L, so that weeks stay in order
    settled = np.flatnonzero(x.any((1, 2)))  # shares are not settled in the first weeks
    x = x[settled.min() :] if len(settled) else x[:0]
    for h, weight in enumerate(spillover.weight, start=1):
        if len(x) - h >= MIN_PAIRS:
            before, after = (part.reshape(-1, x.shape[2]) for part in (x[:-h], x[h:]))
            weight.copy_(torch.as_tensor(_ridge(before, after)))


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients (outputs, inputs) of rows `y` on `x`, as scikit-learn's RidgeCV over `PENALTIES` and folds gives them.

    One decomposition of a fold serves all penalties; RidgeCV fits each anew, which took longer than a short training.
    """
    scores = np.zeros(len(PENALTIES))
    for fitted, judged in TimeSeriesSplit(FOLDS).split(x):
        weights = _ridges(x[fitted], y[fitted], PENALTIES)  # A inputs outputs
        forecast = (x[judged] - x[fitted].mean(0)) @ weights + y[fitted].mean(0)  # A rows outputs
        scores += _r2(y[judged], forecast)
    return _ridges(x, y, PENALTIES[[scores.argmax()]])[0].T


def _ridges(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Ridge regressions with an intercept, (penalties, inputs, outputs), by the eigenvectors of the inputs' covariance."""
    x, y = x - x.mean(0), y - y.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x)
    shrunk = (vectors.T @ (x.T @ y)) / (values.clip(0) + penalties[:, None])[..., None]
    return vectors @ shrunk


def _r2(y: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """R² of each penalty's forecasts (A, rows, outputs), mean over the outputs; one that never varies counts 0."""
    residual = ((y - forecast) ** 2).sum(1)
    total = ((y - y.mean(0)) ** 2).sum(0)
    return np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), 0.0).mean(1)
