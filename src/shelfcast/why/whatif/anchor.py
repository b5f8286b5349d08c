"""The models' response to prices and promotions, mixed with what was estimated of their causes.

A model learns what goes with a price, and where prices followed demand that is not the same as what a price does. An
estimate of causes (`why.causes`) has no such bias where its assumptions hold, but a standard error. How far the models'
mean response lies from it, beyond that error, is taken for their bias, and the two are mixed by their squared errors
(empirical Bayes; Efron & Morris 1973). Weeks that were observed cannot choose the weight: what goes with a price
forecasts them best, whatever its cause.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shelfcast.why.whatif.changes import PROMOTION

PRICE = "price"
LEAST = 1e-12


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

    @property
    def effects(self) -> dict[str, tuple[float, float]]:
        """Part of a plan (`PRICE` or a column of promotions) -> estimate and standard error."""
        price = {} if self.elasticity is None else {PRICE: (self.elasticity, self.elasticity_se)}
        return price | {name: (lift, self.lift_se[name]) for name, lift in self.lift.items()}


@dataclass(frozen=True)
class Anchor:
    """A response, and how much it counts against the models'.

    weights : part of a plan -> 0 (the models alone) to 1 (the estimate alone), for each of `Response.effects`.
    """

    response: Response
    weights: dict[str, float]

    @classmethod
    def of(cls, response: Response, model: dict[str, float]) -> Anchor:
        """By the models' own mean effects (part -> log units); see `weight_by_error`."""
        weights = {
            name: weight_by_error(model[name], estimate, se)
            for name, (estimate, se) in response.effects.items()
            if name in model
        }
        return cls(response, weights)

    def log_factor(self, log_factor_model: np.ndarray, moves: dict[str, np.ndarray]) -> np.ndarray:
        """Logs of the anchored factors on the mean; the model's where nothing moves, or a part without an estimate does.

        Parameters
        ----------
        log_factor_model : the model's logs of the other plan's mean over the present one's.
        moves : part of a plan -> what the other plan differs by: logs of prices, and shares of stores.
        """
        parts = {name: estimate * moves[name] for name, (estimate, _) in self.response.effects.items() if name in moves}
        if not parts:
            return log_factor_model
        sizes = {name: np.abs(part) for name, part in parts.items()}
        weight = sum(self.weights.get(name, 0.0) * size for name, size in sizes.items())
        weight = weight / np.maximum(sum(sizes.values()), LEAST)
        return anchor(log_factor_model, sum(parts.values()), np.where(self._unknown(moves), 0.0, weight))

    def _unknown(self, moves: dict[str, np.ndarray]) -> np.ndarray | bool:
        """Where a part moves that has no estimate; any channel and the channels are two names of one thing."""
        by_channel = [name for name in self.response.lift if name != PROMOTION]
        counted = (
            [PROMOTION] if by_channel else [name for name in moves if name != PRICE and PROMOTION in self.response.lift]
        )
        others = [x for name, x in moves.items() if name not in {*self.response.effects, *counted}]
        return np.any([np.abs(x) > LEAST for x in np.broadcast_arrays(*others)], 0) if others else False

    def error(self, moves: dict[str, np.ndarray]) -> np.ndarray:
        """Standard errors of `log_factor` by those of the estimate."""
        errors = [
            self.weights.get(name, 0.0) * se * moves[name]
            for name, (_, se) in self.response.effects.items()
            if name in moves
        ]
        return np.where(self._unknown(moves), 0.0, np.sqrt(sum(np.square(error) for error in errors)))


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
