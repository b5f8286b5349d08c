"""The models' response to prices and promotions, mixed with what was estimated of their causes.

A model learns what goes with a price, and where prices followed demand that is not the same as what a price does. An
estimate of causes (`why.causes`) has no such bias where its assumptions hold, but a standard error. How far the models'
mean response lies from it, beyond that error, is taken for their bias, and the two are mixed by their squared errors
(empirical Bayes; Efron & Morris 1973). Weeks that were observed cannot choose the weight: what goes with a price
forecasts them best, whatever its cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 1e-12


@dataclass(frozen=True)
class Response:
    """What prices and promotions cause, as estimated, with standard errors; None where there is no estimate.

    elasticity : log units per log price, such as -2. lift : log units where all stores promote against where none does.
    """

    elasticity: float | None = None
    elasticity_se: float = 0.0
    lift: float | None = None
    lift_se: float = 0.0


@dataclass(frozen=True)
class Anchor:
    """A response, and how much it counts against the models'.

    price, promotion : weights, 0 (the models alone) to 1 (the estimate alone).
    """

    response: Response
    price: float
    promotion: float

    @classmethod
    def of(cls, response: Response, model_elasticity: float, model_lift: float) -> Anchor:
        """By the models' mean elasticity and lift; see `weight_by_error`."""
        pairs = (
            (model_elasticity, response.elasticity, response.elasticity_se),
            (model_lift, response.lift, response.lift_se),
        )
        return cls(response, *(0.0 if own is None else weight_by_error(model, own, se) for model, own, se in pairs))

    def log_factor(self, log_factor_model: np.ndarray, log_price: np.ndarray, promotion: np.ndarray) -> np.ndarray:
        """Logs of the anchored factors on the mean; 0 differences of the plan leave the model's as they are.

        Parameters
        ----------
        log_factor_model : the model's logs of the other plan's mean over the present one's.
        log_price, promotion : what the other plan differs by: logs of prices, and shares of stores. They broadcast.
        """
        parts = self._parts(log_price, promotion)
        moved = [np.abs(part) for part in parts]
        weights = (self.price, self.promotion)
        total = np.maximum(sum(moved), LEAST)
        weight = sum(w * size for w, size in zip(weights, moved, strict=True)) / total
        return anchor(log_factor_model, sum(parts), weight)

    def error(self, log_price: np.ndarray, promotion: np.ndarray) -> np.ndarray:
        """Standard errors of `log_factor` by those of the estimate."""
        price = self.price * self.response.elasticity_se * log_price
        return np.hypot(price, self.promotion * self.response.lift_se * promotion)

    def _parts(self, log_price: np.ndarray, promotion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log factors by price and by promotion."""
        return (self.response.elasticity or 0.0) * log_price, (self.response.lift or 0.0) * promotion


def anchor(log_factor_model: np.ndarray, log_factor_causal: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """The mix of two logs of factors; `weight` is that of the causal one.

    Worked example: a model says -10 %, the estimate -30 %; half of each gives ``exp((log(.9) + log(.7)) / 2) = .794``.
    """
    return (1 - weight) * log_factor_model + weight * log_factor_causal


def weight_by_error(model: float, estimate: float, se: float) -> float:
    """The weight of an estimate against a model that may be biased: squared bias over squared bias and error.

    The squared distance of the two holds bias² + se², so that the weight is 1 - se² / distance², and 0 where the model
    is within the estimate's error.

    Worked example: elasticities -1 and -2 with a standard error of .5: 1 - .25 / 1 = .75.
    """
    distance = (model - estimate) ** 2
    return float(max(0.0, 1 - se**2 / distance)) if distance > LEAST else 0.0
