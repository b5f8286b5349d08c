"""What a reader must know about the data, as sentences."""

from __future__ import annotations

from shelfcast.data.schema import CHAIN
from shelfcast.language import N_, _, day, last_day, periods, sentences
from shelfcast.panel.frame import Panel
from shelfcast.report.theme import percent

SOURCES = {  # what the source of the data means for the page
    "simulated": N_(
        "<b>Nothing on this page is real.</b> Products, shops and sales come from a simulation, so that a "
        "forecast can be compared with the best that is possible."
    ),
    "complete_journey": N_(
        "Units are those bought by the {n_customers:,} households of a panel (the Complete Journey, "
        "84.51°), not the full sales of the stores. A price is seen only when somebody bought."
    ),
}


def limits(panel: Panel) -> list[str]:
    """What a reader must know about the data before acting on the page, most important first."""
    meta, weeks = panel.meta, panel.meta["horizon"]
    until, n_weeks = day(last_day(panel.weeks[-1])), len(panel.weeks)
    observed = panel.frame[(panel.frame["location"] != CHAIN) & (panel.frame["ds"] <= panel.weeks[-1])]
    holidays = panel.frame.groupby("ds")["holiday"].max()
    reach = [_("The data reach from {first} to {last}: {n} weeks.", first=day(panel.weeks[0]), last=until, n=n_weeks)]
    if n_weeks < periods(104):
        reach.append(
            _("With less than two years no yearly season can be learned, and every holiday was seen once at most.")
        )
    small = [
        _(
            "Weekly sales of one product in one region are small: {share} of those weeks "
            "are zero, so a range says more than a single number.",
            share=percent(observed["y"].eq(0).mean()),
        )
    ]
    if meta.get("amounts"):
        small.append(_("Units are amounts, of which a usual sale has {unit}.", unit=f"{meta['unit']:g}"))
    uses = "price" in panel.roles["known_future"]
    lines = [
        sentences(reach),
        sentences(small),
        _("The forecast uses prices of the coming weeks.")
        if uses
        else _("The forecast does not use prices of the coming weeks."),
        _(
            "Public holidays: {last} in the last {weeks} weeks, {coming} in the next {weeks}.",
            last=f"{holidays.iloc[-2 * weeks : -weeks].sum():.0f}",
            coming=f"{holidays.iloc[-weeks:].sum():.0f}",
            weeks=weeks,
        ),
    ]
    if "share_of_category" in meta:
        share = percent(meta["share_of_category"])
        made = N_("The {n} products shown make {share} of the category's units.")
        lines.insert(2, _(made, n=len(panel.products), share=share))
    first = SOURCES.get(meta["source"])
    return [_(first, **meta), *lines] if first else lines
