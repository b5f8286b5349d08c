"""Models with random weights, and a market's folder with them as training leaves it."""

import json

import torch

from shelfcast.model import adapters
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors


def make_models(panel, backbone, body="compact", seeds=(0, 1)):
    """Models whose every part matters: what starts at zero gets random weights; and the facts that training writes."""
    market, models = market_tensors(panel, load_tokenizer(backbone)), []
    for seed in seeds:
        torch.manual_seed(seed)
        model = SalesBert.from_backbone(backbone, layers=2, width=32, body=body, **market.sizes())
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name.endswith("gate") or name.startswith(("head.1", "head_plan", "spillover")):
                    p.copy_(0.1 * torch.randn_like(p))
        models.append(model.eval())
    return models, {"backbone": backbone, "price_plan": False, "scale": market.scale}


def save_models(folder, models, facts):
    """`models/shelfcast/` of a market's folder; models and facts as `make_models` gives them."""
    own = folder / "models/shelfcast"
    for seed, model in enumerate(models):
        adapters.save(model, own / f"seed_{seed}", facts["backbone"])
    (own / "variant.json").write_text(json.dumps(facts))
