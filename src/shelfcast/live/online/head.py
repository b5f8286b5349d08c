"""Online learning: the head of a trained model takes a few steps a week, and an update that does harm is undone.

The body reads weeks as it was trained to; as it stays, one pass gives the states of all weeks, and a week costs steps
of the head alone. A step mixes the latest target weeks with as many older ones, which keeps what was known
(experience replay, Rolnick et al. 2019). The latest `check_weeks` target weeks are not learned from: there the update,
the weights before it and those as trained are compared (prequential evaluation, Dawid 1984), and the best goes on.

Axes: P products, L locations, T weeks, H horizons, C weeks forecast from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from shelfcast.live_options import Stream
from shelfcast.model.forecast import read_text_once
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

TRAINED = ("head", "product.", "outlook_weight")  # how the names of the head's weights begin
CLIP = 1.0  # norm of a gradient
Parts = dict[str, torch.Tensor]  # name -> values of the head's weights
READ = ("static", "weeks", "graph", "input_ids", "text_mask", "has_text", "read", "picture", "has_picture")
BY_WEEK = ("weeks", "plan", "level", "location_shock", "labels")


@dataclass(frozen=True)
class Decision:
    """What a check chose: 'updated', 'kept' (the weights before the update) or 'rolled back' (to those as trained).

    'waited' where nothing new could be learned or checked. Losses are mean negative log-likelihoods of the check's
    labels; NaN where there were none.
    """

    cutoff: pd.Timestamp
    choice: str
    as_trained: float
    before: float
    after: float
    n_checked: int


class HeadLearner:
    """One model that learns week by week. It reads labels of weeks up to the one it is given, and no others.

    Parameters
    ----------
    market : with labels of all weeks; those of later ones are never read.
    until : the last week whose sales the model was trained on: nothing earlier is new.
    hide_plan : share of labels in a step that do not see the plan, as in training.
    """

    def __init__(self, model: SalesBert, market: MarketTensors, until: pd.Timestamp, stream: Stream, hide_plan=0.3):
        self.model, self.until, self.stream = model.eval(), until, stream
        self.market, self.hide_plan = read_text_once([model], market), hide_plan
        for name, p in model.named_parameters():
            p.requires_grad_(name.startswith(TRAINED))
        self.parts = [name for name, p in model.named_parameters() if p.requires_grad]
        self.as_trained = self.values()
        self.generator = torch.Generator().manual_seed(stream.seed)
        ahead = market.frequency.steps(np.arange(1, market.tensors["labels"].shape[-1] + 1)).to_numpy()
        self.targets = market.weeks_index.to_numpy()[:, None] + ahead  # T, H
        self.first, self.states = self._states()

    @torch.no_grad()
    def _states(self, batch: int = 25) -> tuple[torch.Tensor, torch.Tensor]:
        """The product token (P, L, D) and the states of all weeks (P, L, T, D): of each week by earlier weeks alone."""
        fields, parts = self.market.tensors, []
        for start in range(0, len(self.market), batch):
            rows = [fields[name][start : start + batch] if name in fields else None for name in READ]
            static, weeks, graph, ids, mask, has_text, read, picture, has_picture = rows
            if read is None and self.model.config.use_text and self.model.config.body == "compact":
                read = self.model.read_text(ids, mask)
            parts.append(
                self.model.encode(static, weeks, graph, ids, mask, has_text, read, picture, has_picture, at=None)
            )
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def values(self) -> Parts:
        """A copy of the head's weights."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters() if name in set(self.parts)}

    @torch.no_grad()
    def set_values(self, values: Parts) -> None:
        for name, p in self.model.named_parameters():
            if name in values:
                p.copy_(values[name])

    @torch.no_grad()
    def predict(self, cutoff: pd.Timestamp, plan_known: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Mean and dispersion from a cutoff, each (P, L, 1, H) float64, as `model.forecast.as_frame` reads them."""
        at = torch.as_tensor(self.market.weeks_index.get_indexer([cutoff]))
        plan = None if plan_known else torch.tensor(True)
        mean, dispersion = self._decode(torch.arange(len(self.market)), at, plan)
        return mean.double().numpy(), dispersion.double().numpy()

    def _decode(self, rows: torch.Tensor, at: torch.Tensor, hidden: torch.Tensor | None):
        """Of products `rows` from weeks number `at`; hidden : where the plan is not known, broadcast to (B, L, C, H, F)."""
        weeks, plan, level, shock = (self.market.tensors[name][rows][:, :, at] for name in BY_WEEK[:-1])
        if hidden is not None:
            plan = self.market.with_plan_hidden(plan, hidden)
        static = self.market.tensors["static"][rows]
        return self.model.decode(self.first[rows], self.states[rows][:, :, at], static, weeks, plan, level, shock)

    def _wanted(self, after: pd.Timestamp, upto: pd.Timestamp) -> torch.Tensor:
        """(T, H) whose target week is later than `after` and not later than `upto`."""
        return torch.as_tensor((self.targets > np.datetime64(after)) & (self.targets <= np.datetime64(upto)))

    def _loss(self, rows: torch.Tensor, wanted: torch.Tensor, at: torch.Tensor, hide: bool) -> torch.Tensor | None:
        labels = self.market.tensors["labels"][rows][:, :, at]
        labels = torch.where(wanted[at], labels, torch.nan)
        if labels.isnan().all():
            return None
        hidden = None
        if hide and self.market.planned:
            hidden = torch.rand(len(rows), 1, len(at), 1, 1, generator=self.generator) < self.hide_plan
        return self.model.loss(*self._decode(rows, at, hidden), labels)

    @torch.no_grad()
    def check(self, values: Parts, wanted: torch.Tensor) -> float:
        """Mean loss over the wanted labels with these weights; NaN without any."""
        self.set_values(values)
        loss = self._loss(torch.arange(len(self.market)), wanted, torch.nonzero(wanted.any(1))[:, 0], hide=False)
        return float("nan") if loss is None else float(loss)

    def steps(self, start: Parts, upto: pd.Timestamp) -> Parts:
        """The weights after a week's steps from `start`, on labels of target weeks up to `upto`."""
        self.set_values(start)
        trained = [p for name, p in self.model.named_parameters() if name in set(self.parts)]
        optimizer = torch.optim.AdamW(trained, lr=self.stream.learning_rate, weight_decay=0.0)
        recent = self._wanted(max(self.until, upto - pd.Timedelta(weeks=self.stream.recent_weeks)), upto)
        recent_from = torch.nonzero(recent.any(1))[:, 0]
        older = self._wanted(self.market.weeks_index[0], self.until)
        older_from = torch.nonzero(older.any(1))[:, 0]
        for _ in range(self.stream.steps):
            order = torch.randperm(len(self.market), generator=self.generator)
            rows = order[: self.stream.batch_products]
            drawn = torch.randperm(len(older_from), generator=self.generator)[: len(recent_from)]
            both = [(recent, recent_from), (older, older_from[drawn].sort().values)]
            losses = [self._loss(rows, wanted, at, hide=True) for wanted, at in both]
            losses = [loss for loss in losses if loss is not None]
            if not losses:
                continue
            optimizer.zero_grad()
            (sum(losses) / len(losses)).backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimizer.step()
        return self.values()

    def learn(self, cutoff: pd.Timestamp) -> Decision:
        """Learn from target weeks up to `cutoff`, but for those that check it; the model then has the chosen weights."""
        before = self.values()
        upto = cutoff - pd.Timedelta(weeks=self.stream.check_weeks)
        checked = self._wanted(max(self.until, upto), cutoff)
        n_checked = int((~self.market.tensors["labels"].isnan() & checked).sum())
        if not n_checked:
            return Decision(cutoff, "waited", np.nan, np.nan, np.nan, 0)
        after = self.steps(before, upto) if upto > self.until else before
        contestants = {"rolled back": self.as_trained, "kept": before, "updated": after}  # the earlier wins a tie
        losses = {name: self.check(values, checked) for name, values in contestants.items()}
        choice = min(losses, key=lambda name: (not np.isfinite(losses[name]), losses[name]))
        self.set_values(contestants[choice])
        same = choice == "rolled back" and all(torch.equal(self.as_trained[n], before[n]) for n in before)
        return Decision(cutoff, "kept" if same else choice, *losses.values(), n_checked)
