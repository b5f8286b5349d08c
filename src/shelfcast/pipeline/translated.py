"""The markdown of notebook 8 in the language of its market, for nbconvert (see `reports/template/conf.json`)."""

from __future__ import annotations

from nbconvert.preprocessors import Preprocessor

from shelfcast.data.labels import category_label
from shelfcast.language import _, tag, using
from shelfcast.settings import load


class Translated(Preprocessor):
    """Headings and texts are messages as sentences in code are; cells that stay out of the page stay as they are."""

    def preprocess(self, nb, resources):
        """The notebook's markdown translated, and what the template itself writes, in `resources["page"]`."""
        given = nb.metadata.get("papermill", {}).get("parameters", {})
        language, period, words = "en", "week", {}
        if "market" in given:
            s = load(given["market"], overrides=given.get("overrides"))
            language, period = s.report.language, s.prepare.frequency.noun
            words = s.market.words.given()
        with using(language, period, words):
            for cell in nb.cells:
                if cell.cell_type == "markdown" and "analyst" not in cell.metadata.get("tags", []):
                    cell.source = _(cell.source)
            market = category_label(given.get("market", "sales"))
            resources["page"] = {
                "lang": tag(),
                "title": _("{market}: sales forecast", market=market),
                "sections": _("Sections"),
            }
        return nb, resources
