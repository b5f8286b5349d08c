"""Boosted trees fitted to many categories at once, the strongest peer of the base.

    python -m studies.categories.joint_trees    # fits them to the base's first categories, and saves them

All of the base's categories improved them no further, and took twice the time.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from shelfcast import settings
from shelfcast.data.files import atomic
from shelfcast.methods import trees
from studies import parameters
from studies.categories.categories import Study
from studies.panels import category_panels

FOLDER = Path("build/studies/categories/trees")


def fit(folder: Path = FOLDER) -> trees.Trees:
    """Fit the trees and save them to `folder`.

    Raises
    ------
    ValueError : there are fewer than two categories.
    """
    own = settings.load()
    study = parameters.load(Study, "categories")
    categories = own.base.categories[: study.n_joint]
    if len(categories) < 2:
        raise ValueError(f"base.categories names {len(categories)} categories. Joint trees need two at least.")
    panels = list(category_panels(own.base, replace(own.prepare, outlook=False), categories))
    joint = trees.fit(panels, study.seed)
    with atomic(folder) as part:
        joint.save(part)
    return joint


if __name__ == "__main__":
    try:
        print(fit().ranking.to_string(index=False, float_format="{:.4f}".format))
    except ValueError as error:
        sys.exit(f"error: {error}")
