"""A market as its run left it: panel, models, weights and calibration, and the members of the ensemble that must be fitted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shelfcast import settings
from shelfcast.data.files import atomic, folder_md5
from shelfcast.frequency import WEEKLY
from shelfcast.judge.coherence import coherent
from shelfcast.live.engine.run import check_run, live_folder, members_of, version_of
from shelfcast.live.engine.states import forecast_by_state
from shelfcast.methods import METHODS, READ_NO_PLAN, SITUATIONS
from shelfcast.methods.delivery import calibration, delivered
from shelfcast.methods.dispersion import Predict, with_dispersion
from shelfcast.methods.ensemble import Weights
from shelfcast.methods.trees import fitted
from shelfcast.model.forecast import in_situations, load_models
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel
from shelfcast.validate import SettingsError

TREES = "lightgbm"


@dataclass(frozen=True)
class Trained:
    """What forecasts of a market's coming weeks need.

    folder : build/<market>/. weights, stretches : situation -> of the ensemble. version : md5 of models and weights.
    trees : boosted trees, where they have weight. members : methods that have weight in any situation or level.
    """

    settings: settings.Settings
    folder: Path
    panel: Panel
    weights: dict[str, Weights]
    stretches: dict
    version: str
    trees: fitted.Trees | None

    @property
    def members(self) -> list[str]:
        return members_of(self.weights)

    @classmethod
    def load(cls, root: str | Path, market: str) -> Trained:
        """Read a market's run; boosted trees are fitted once, and kept in build/<market>/live/.

        Raises
        ------
        ValueError : the market was not run. SettingsError : params.yaml has no such market.
        """
        options = settings.load(market, path=Path(root) / settings.PARAMS)
        folder = Path(root) / options.folder
        check_run(folder, options.evaluate.methods)
        panel = Panel.load(folder / "panel")
        check_weekly(panel, market)
        weights = json.loads((folder / "weights.json").read_text())
        validation = pd.read_parquet(folder / "validation.parquet")
        trees = kept_trees(folder, panel, options.evaluate.seed) if TREES in members_of(weights) else None
        return cls(options, folder, panel, weights, calibration(validation, weights), version_of(folder), trees)

    def forecast(self, panel: Panel, cutoff: pd.Timestamp, states: Path | None = None) -> pd.DataFrame:
        """The ensemble's forecast frame from one cutoff, in both situations, as notebook 4 delivers it.

        Parameters
        ----------
        panel : this market's, as trained or with later weeks.
        states : folder in which models keep what they have read, so that new weeks alone are read: for the panel's last
            week. Without it the models read all weeks.
        """
        frames = [self._member(name, panel, cutoff, states) for name in self.members]
        return delivered(pd.concat(frames, ignore_index=True), self.weights, self.stretches)

    def _member(self, name: str, panel: Panel, cutoff: pd.Timestamp, states: Path | None) -> pd.DataFrame:
        """Coherent forecasts of one member with `method` and `situation`."""
        models = self.folder / "models" / name
        if models.is_dir():
            facts = json.loads((models / "variant.json").read_text())
            market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
            trained = load_models(models)
            if states is None or cutoff != panel.weeks[-1]:
                return in_situations(trained, market, [cutoff]).assign(method=name)
            made_of = {"version": self.version, "price_plan": facts["price_plan"], "backbone": facts["backbone"]}
            return forecast_by_state(states / f"{name}.safetensors", trained, market, made_of).assign(method=name)
        predict = self._peer(name, panel)
        if name in READ_NO_PLAN:
            frame = coherent(predict([cutoff]))
            own = dict.fromkeys(SITUATIONS, frame)
        else:
            own = {situation: coherent(predict([cutoff], known)) for situation, known in SITUATIONS.items()}
        frames = [frame.assign(method=name, situation=situation) for situation, frame in own.items()]
        return pd.concat(frames, ignore_index=True)

    def _peer(self, name: str, panel: Panel) -> Predict:
        if name == TREES:
            return with_dispersion(panel, self.trees.predict(panel), fitted.DISPERSION_BINS)
        return METHODS[name](panel, self.settings.evaluate.seed)


def check_weekly(panel: Panel, market: str) -> None:
    """A SettingsError for a market that the service, whose weeks close on Sundays, cannot keep up with."""
    if panel.frequency != WEEKLY:
        raise SettingsError(
            f"markets.{market}: the service closes weeks from Monday to Sunday, but prepare.freq and prepare.week_start make "
            f"periods of {panel.frequency.alias}. Serve a market with prepare.freq: W and week_start: MON; the pipeline "
            "forecasts this one with every run."
        )


def kept_trees(folder: Path, panel: Panel, seed: int) -> fitted.Trees:
    """Boosted trees of the market's panel: those that were kept, else fitted as notebook 4 fits them, and kept."""
    own, belongs = live_folder(folder) / TREES, {"panel": folder_md5(folder / "panel"), "seed": seed}
    note = own / "belongs_to.json"
    if note.is_file() and json.loads(note.read_text()) == belongs:
        return fitted.Trees.load(own)
    trees = fitted.fit([panel], seed)
    with atomic(own) as part:
        trees.save(part)
        (part / note.name).write_text(json.dumps(belongs))
    return fitted.Trees.load(own)
