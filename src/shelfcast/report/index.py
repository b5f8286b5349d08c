"""An index over the markets' pages: the same few numbers of each, from the summaries that notebook 8 writes.

python -m shelfcast.report.index build/summaries reports/index.html
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path

from shelfcast.data.files import atomic
from shelfcast.language import N_, _, joined, ngettext, tag, use
from shelfcast.report.theme import percent, units
from shelfcast.settings import SettingsError, check, load

STYLE = Path("reports/template/style.css")
COLUMNS = {  # of a summary -> heading, and what it means where the heading does not say it
    "units": (N_("Units expected"), ""),
    "range": (N_("80 % range"), ""),
    "change": (N_("Change"), N_("against as many weeks before")),
    "coverage": (N_("Weeks in range"), N_("share of the test weeks' sales inside the 80 % range")),
    "gain": (N_("Error"), N_("of the forecast, against the best alternative's")),
    "orders": (N_("Cost of orders"), N_("in the replay, against orders by LightGBM's forecast")),
    "promotions": (N_("Promotions"), N_("margin that the plan gains, with its 80 % range")),
    "recommendations": (N_("Shoppers"), N_("NDCG of recommendations, against the best other way's")),
}


def decisions(decided: dict, lead_time: int) -> dict[str, str]:
    """The decisions' numbers of a summary; without those that a market has none of.

    Parameters
    ----------
    decided : `decisions.json`. lead_time : that the regions' orders are placed for, or the shortest that was replayed.
    """
    numbers = {}
    replays = decided["orders"].get("product_region", {})
    replay = replays.get(f"lead_{lead_time}") or next(iter(replays.values()), {})
    if "cost_against_lightgbm" in replay:
        numbers["orders"] = percent(replay["cost_against_lightgbm"], 1, True)
    if "money" in decided["promotions"]:
        low, middle, high = (units(decided["promotions"][f"money{end}"]) for end in ("_low", "", "_high"))
        numbers["promotions"] = f"{middle} ({low}–{high})"
    if "over_best" in decided["recommendations"]:
        numbers["recommendations"] = percent(decided["recommendations"]["over_best"]["all"]["estimate"], 1, True)
    return numbers


def save(path: Path, name: str, title: str, weeks: str, numbers: dict[str, str]) -> None:
    """Write a market's summary.

    Parameters
    ----------
    name : the market's folder. weeks : that the forecast covers, in words. numbers : key of `COLUMNS` -> text; what a market
        has none of may be missing.
    """
    unknown = set(numbers) - set(COLUMNS)
    assert not unknown, unknown
    with atomic(path) as part:
        text = {"name": name, "title": title, "weeks": weeks, "numbers": numbers}
        part.write_text(json.dumps(text, indent=1, ensure_ascii=False), encoding="utf-8")


def read(folder: Path, markets: list[str]) -> list[dict]:
    """Summaries of the markets of `params.yaml`, in their order; those that were not run yet are left out."""
    paths = [folder / f"{market}.json" for market in markets]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def page(summaries: list[dict], style: str) -> str:
    """The whole page, which loads nothing."""
    heads = "".join(
        f'<th scope="col">{escape(title)}</th>'
        for title in (_("Market"), *(_(head) for head, _meaning in COLUMNS.values()))
    )
    rows = []
    for own in summaries:
        link = f'<a href="{escape(own["name"])}/index.html">{escape(own["title"])}</a>'
        cells = "".join(f'<td class="n">{escape(own["numbers"].get(key, "–"))}</td>' for key in COLUMNS)
        rows.append(f'<tr><th scope="row">{link}<br><span class="id">{escape(own["weeks"])}</span></th>{cells}</tr>')
    meant = N_("<b>{head}</b>: {meaning}")
    meanings = joined([_(meant, head=_(head), meaning=_(text)) for head, text in COLUMNS.values() if text], ";")
    title = ngettext("Sales forecasts of 1 market", "Sales forecasts of {n} markets", len(summaries))
    head, caption = _("Sales forecasts of all markets"), _("{text}.", text=meanings)
    said = _(
        "Each market's page says what to order, what to promote, who buys what next, and how far to trust it. Numbers "
        "of different markets compare only as shares."
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{tag()}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{head}</title>\n"
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n<main>\n'
        f'<header><p class="eyebrow">shelfcast</p><h1>{title}</h1></header>\n'
        f"<p>{said}</p>\n"
        f'<div class="table"><div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f"</div></div>\n<p class='caption'>{caption}</p>\n</main>\n</body>\n</html>\n"
    )


def main() -> None:
    """Write the index of the markets in `params.yaml`."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m shelfcast.report.index SUMMARIES PAGE")
    folder, target = map(Path, sys.argv[1:])
    try:
        markets = list(check().markets)
        use(load().report.language)
    except SettingsError as error:
        sys.exit(f"error: {error}")
    with atomic(target) as part:
        part.write_text(page(read(folder, markets), STYLE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
