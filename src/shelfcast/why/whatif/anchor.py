"""The models' mean response to prices and promotions, moved towards what was estimated of their causes.

A model learns what goes with a price, and where prices followed demand that is not the same as what a price does. An
estimate of causes (`why.causes`) has no such bias where its assumptions hold, but a standard error. How far the models'
mean response lies from it, beyond that error, is taken for their bias, and the two are weighed by their squared errors
(empirical Bayes; Efron & Morris 1973). Weeks that were observed cannot choose the weight: what goes with a price
forecasts them best, whatever its cause. How products differ stays as the model says, which was nearer to the truth of
the simulated market than one response for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from shelfcast.why.whatif.changes import PROMOTION

PRICE = "price"
LEAST = 1e-12


class Estimate(Protocol):
    """What an effect was estimated to be, on log units, with its standard error; such as `causes.effects.Effect`."""

    estimate: float
    se: float


@dataclass(frozen=True)
class Response:
    """What prices and promotions cause, as estimated, with standard errors; what was not estimated is left out.

    elasticity : log units per log price, such as -2.
    lift, lift_se : column of promotions -> log units where all stores promote so against where none does. Either of any
        channel ('promotion') or by channel ('promotion: display'); by channel is better where there are several.
    """

    elasticity: float | None = None
    elasticity_se: float = 0.0
    lift: dict[str, float] = field(default_factory=dict)
    lift_se: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        if PROMOTION in self.lift and len(self.lift) > 1:
            raise ValueError(
                "a response has lifts of any channel and by channel, which would count twice. Give one kind."
            )
        if missing := self.lift.keys() - self.lift_se.keys():
            raise ValueError(f"a response has no standard error of the lift of {min(missing)!r}. Give it in lift_se.")

    @classmethod
    def of(cls, price: Estimate | None, lifts: Mapping[str, Estimate]) -> Response:
        """From estimates with their standard errors; price : None where it was not estimated."""
        return cls(
            elasticity=None if price is None else float(price.estimate),
            elasticity_se=0.0 if price is None else float(price.se),
            lift={name: float(lift.estimate) for name, lift in lifts.items()},
            lift_se={name: float(lift.se) for name, lift in lifts.items()},
        )

    @property
    def effects(self) -> dict[str, tuple[float, float]]:
        """Part of a plan (`PRICE` or a column of promotions) -> estimate and standard error."""
        price = {} if self.elasticity is None else {PRICE: (self.elasticity, self.elasticity_se)}
        return price | {name: (lift, self.lift_se[name]) for name, lift in self.lift.items()}

    def log_factor(self, moves: dict[str, np.ndarray]) -> np.ndarray:
        """Logs of the factors on the mean by the estimate alone; `moves` as in `Anchor.log_factor`."""
        return sum(effect * moves[name] for name, (effect, _) in self.effects.items())


@dataclass(frozen=True)
class Anchor:
    """A response, the models' own mean response, and how much the first counts against the second.

    own : part of a plan -> the models' mean effect, log units; see `Response.effects`.
    weights : part of a plan -> 0 (the models alone) to 1 (the estimate alone).
    """

    response: Response
    own: dict[str, float]
    weights: dict[str, float]

    @classmethod
    def of(cls, response: Response, own: dict[str, float]) -> Anchor:
        """With weights by errors; see `weight_by_error`."""
        effects = {name: effect for name, effect in response.effects.items() if name in own}
        return cls(response, own, {name: weight_by_error(own[name], *effect) for name, effect in effects.items()})

    def log_factor(self, log_factor_model: np.ndarray, moves: dict[str, np.ndarray]) -> np.ndarray:
        """Logs of the anchored factors on the mean: the model's, with its mean effects moved to the estimate's.

        What the model says of how products and regions differ stays, and so do parts of a plan without an estimate.

        Worked example: the models' mean elasticity is -1, the estimate -2, its weight .5. A price 10 % lower, of which
        a model makes 15 %, gets log(1.15) + .5 · (-2 + 1) · log(.9) = log(1.21).

        Parameters
        ----------
        log_factor_model : the model's logs of the other plan's mean over the present one's.
        moves : part of a plan -> what the other plan differs by: logs of prices, and shares of stores.
        """
        effects = self.response.effects
        parts = ((w * (effects[name][0] - self.own[name])) * moves[name] for name, w in self.weights.items())
        return log_factor_model + sum(parts)

    def error(self, moves: dict[str, np.ndarray]) -> np.ndarray:
        """Standard errors of `log_factor` by those of the estimate."""
        effects = self.response.effects
        return np.sqrt(sum((w * effects[name][1] * moves[name]) ** 2 for name, w in self.weights.items()))


def weight_by_error(model: float, estimate: float, se: float) -> float:
    """The weight of an estimate against a model that may be biased: squared bias over squared bias and error.

    The squared distance of the two holds bias² + se², so that the weight is 1 - se² / distance², and 0 where the model
    is within the estimate's error.

    Worked example: elasticities -1 and -2 with a standard error of .5: 1 - .25 / 1 = .75.
    """
    distance = (model - estimate) ** 2
    return float(max(0.0, 1 - se**2 / distance)) if distance > LEAST else 0.0
