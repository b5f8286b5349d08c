"""What is searched: the study's own parameters, names of settings, and a variant's settings with other values.

A name is a setting of `finetune`, as 'weight_decay', or of its warm start, as 'warm_start.learning_rate'.
"""

from __future__ import annotations

from dataclasses import fields, replace

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast.model_options import Finetune, WarmStart
from shelfcast.settings import SettingsError, nearest
from studies import parameters

WARM_START = "warm_start."
INTEGER_STEPS = {"batch_weeks": 1, "compact_layers": 1, "width": 32}  # attention heads share the width
Range = list[float]  # least and most


@dataclass(frozen=True, config=parameters.STRICT)
class Ranges:
    """Name -> least and most: always searched, with a start from the base, and without one."""

    always: dict[str, Range] = Field(default_factory=dict)
    warm_start: dict[str, Range] = Field(default_factory=dict)
    from_backbone: dict[str, Range] = Field(default_factory=dict)

    def of(self, warm_start: bool) -> dict[str, Range]:
        """The ranges that apply, by full name."""
        if warm_start:
            return self.always | {WARM_START + name: limits for name, limits in self.warm_start.items()}
        return self.always | self.from_backbone


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    market: str
    variant: str
    ranges: Ranges
    fresh_seeds: list[int]
    trials: int = Field(default=30, ge=1)
    timeout_minutes: float = Field(default=90.0, ge=0)
    candidates: int = Field(default=3, ge=1)
    sampler_seed: int = 0


def with_values(finetune: Finetune, values: dict[str, float]) -> Finetune:
    """The settings with other values, by name."""
    own = {name: value for name, value in values.items() if not name.startswith(WARM_START)}
    warm = {name.removeprefix(WARM_START): value for name, value in values.items() if name.startswith(WARM_START)}
    return replace(finetune, **own, warm_start=replace(finetune.warm_start, **warm))


def present_values(finetune: Finetune, names: list[str]) -> dict[str, float]:
    """The settings' own values of these names.

    Raises
    ------
    SettingsError : a name that is no setting.
    """
    values = {name: getattr(finetune, name) for name in _names(Finetune)}
    values |= {WARM_START + name: getattr(finetune.warm_start, name) for name in _names(WarmStart)}
    for name in names:
        if name not in values:
            raise SettingsError(f"studies/tune/params.yaml: no setting {name!r}{nearest(name, values)}. Rename it.")
    return {name: values[name] for name in names}


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def search_space(ranges: dict[str, Range], present: dict[str, float]) -> dict[str, BaseDistribution]:
    """Name -> distribution to try values from, on a log scale where the range spans a factor of ten.

    Raises
    ------
    SettingsError : a range that is empty, or leaves out the present value.
    """
    space = {}
    for name, limits in ranges.items():
        low, high = limits
        if not low < high:
            raise SettingsError(
                f"the range of {name} is [{low}, {high}]. The first number must be less than the second."
            )
        if not low <= present[name] <= high:
            raise SettingsError(f"{name} is {present[name]}, outside of its range [{low}, {high}]. Widen the range.")
        log = 0 < 10 * low <= high
        step = INTEGER_STEPS.get(name.removeprefix(WARM_START))
        if step:
            space[name] = IntDistribution(int(low), int(high), log=log and step == 1, step=step)
        else:
            space[name] = FloatDistribution(low, high, log=log)
    return space
