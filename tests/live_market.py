"""A small market as its run leaves it in build/, for the service: models with random weights, peers and an ensemble of all."""

import json

import pandas as pd
import yaml
from small_models import make_models, save_models
from small_retailer import add_optional_tables, load_retailer, make_retailer, small_trees

from shelfcast import methods
from shelfcast.model.forecast import in_situations
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.pipeline import evaluate

MARKET = "tiny"
PREPARE = {"n_products": 6, "n_regions": 2, "validation_weeks": 6, "test_weeks": 6, "outlook": False}
PEERS = ["moving_average_8", "lightgbm"]


def make_run(root, backbone):
    """Write tables, params.yaml and build/tiny/ as notebooks 1, 3 and 4 do; return build/tiny/."""
    raw = add_optional_tables(make_retailer())
    panel = load_retailer(raw, root / "tables", outlook=False)
    line = {"source": "tables", "tables": "tables", "category": "TEA"}
    params = {"markets": {MARKET: line}, "prepare": PREPARE, "evaluate": {"methods": PEERS}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    folder = root / "build" / MARKET
    panel.save(folder / "panel")
    models, facts = make_models(panel, backbone)
    save_models(folder, models, facts | {"seeds": [0, 1]})
    market = market_tensors(panel, load_tokenizer(backbone), facts["price_plan"], facts["scale"])
    in_situations(models, market, panel.cutoffs["validation"]).to_parquet(
        folder / "models/shelfcast/validation.parquet"
    )
    (folder / "seconds").mkdir()
    (folder / "seconds/shelfcast.json").write_text(json.dumps({"fit_seconds": 0.0}))
    ours, _ = evaluate.variant_forecasts(folder, panel)
    with small_trees(20):
        peers = methods.forecast_all(panel, PEERS)
    frame, weights = evaluate.deliver([ours, peers], ["shelfcast"], seed=0)
    frame.to_parquet(folder / "forecasts.parquet", index=False)
    pd.concat([ours.validation, peers.validation]).to_parquet(folder / "validation.parquet", index=False)
    (folder / "weights.json").write_text(json.dumps(weights))
    return folder


def all_members(weights):
    """The same weights for every member, so that each has a say whatever was selected."""
    names = sorted({"shelfcast", *PEERS})
    return {
        situation: {level: dict.fromkeys(names, 1 / len(names)) for level in own} for situation, own in weights.items()
    }
