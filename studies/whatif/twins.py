"""The twins of the simulated market: drawn, prepared and trained as the pipeline does it.

    python -m studies.whatif.twins [NAME …]     # all of studies/whatif/params.yaml; minutes each; resumable

Each goes to build/studies/whatif/<name>/ as the pipeline would leave it under build/<name>/.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from shelfcast import settings
from shelfcast.data import files, pictures, tables
from shelfcast.market.tables import write
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.model import adapters
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import PARAMS, Settings, Simulation
from shelfcast.training.fit import finish, fit
from shelfcast.training.setup import training_setup
from studies import parameters
from studies.whatif.whatif import WORK, Study

MARKET, VARIANT = "simulated", "shelfcast"  # whose settings the twins have


def simulation(study: Study, name: str) -> Simulation:
    """The simulation of a twin.

    Raises
    ------
    ValueError : no twin of that name.
    """
    if name not in study.twins:
        raise ValueError(f"studies/whatif/params.yaml has no twin {name!r}. There are {', '.join(study.twins)}.")
    return replace(settings.check(PARAMS).simulations[MARKET], **study.twins[name])


def prepare(folder: Path, s: Settings) -> Panel:
    """The panel of the tables in a folder, as notebook 1 builds it."""
    if (folder / "panel").exists():
        return Panel.load(folder / "panel")
    raw = tables.load(s.market.source, folder / "tables", s.market.category, s.market.rename, s.market.read)
    panel = build(raw, s.prepare, {"market": folder.name, "source": s.market.source})
    panel = with_outlook(panel) if s.prepare.outlook else panel
    embeddings, _ = pictures.embed(raw.images, s.prepare.image_encoder, folder / "pictures.parquet")
    panel = replace(panel, pictures=pictures.components(embeddings, list(panel.products.index)))
    with files.atomic(folder / "panel") as part:
        panel.save(part)
    return panel


def train(folder: Path, panel: Panel, s: Settings) -> None:
    """`models/shelfcast/` of a folder, as notebook 3 trains them."""
    setup, work = training_setup(panel, s.finetune), folder / "checkpoints"
    fingerprint = json.dumps([files.folder_md5(folder / "panel"), setup.fingerprint])
    fitted = fit(setup.make_model, *setup.splits, setup.training, s.finetune.seeds, work, fingerprint)
    facts = {"price_plan": s.finetune.price_plan, "backbone": s.finetune.backbone, "scale": setup.market.scale}
    with files.atomic(folder / "models" / VARIANT) as part:
        part.mkdir(parents=True)
        for seed, model in zip(s.finetune.seeds, fitted.models, strict=True):
            adapters.save(model, part / f"seed_{seed}", s.finetune.backbone)
        (part / "variant.json").write_text(json.dumps(facts, indent=1))
    finish(work)


def make(name: str, work: Path = WORK) -> Path:
    """A twin's folder, ready for the study; what is there already is kept."""
    study, folder = parameters.load(Study, "whatif"), work / name
    s = settings.load(MARKET, VARIANT)
    if not (folder / "truth").exists():
        write(folder, simulation(study, name))
    if not (folder / "models" / VARIANT).exists():
        train(folder, prepare(folder, s), s)
    return folder


if __name__ == "__main__":
    try:
        for twin in sys.argv[1:] or parameters.load(Study, "whatif").twins:
            print(make(twin), flush=True)
    except ValueError as error:
        sys.exit(f"error: {error}")
