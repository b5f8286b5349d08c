"""An index over the markets' pages: the same few numbers of each, from the summaries that notebook 8 writes.

python -m shelfcast.report.index build/summaries reports/index.html
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path

from shelfcast.data.files import atomic
from shelfcast.report.theme import percent, units
from shelfcast.settings import SettingsError, check

STYLE = Path("reports/template/style.css")
COLUMNS = {  # of a summary -> heading, and what it means where the heading does not say it
    "units": ("Units expected", ""),
    "range": ("80 % range", ""),
    "change": ("Change", "against as many weeks before"),
    "coverage": ("Weeks in range", "share of the test weeks' sales inside the 80 % range"),
    "gain": ("Error", "of the forecast, against the best alternative's"),
    "orders": ("Cost of orders", "in the replay, against orders by LightGBM's forecast"),
    "promotions": ("Promotions", "margin that the plan gains, with its 80 % range"),
    "recommendations": ("Shoppers", "NDCG of recommendations, against the best other way's"),
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
        f'<th scope="col">{escape(title)}</th>' for title in ("Market", *(head for head, _ in COLUMNS.values()))
    )
    rows = []
    for own in summaries:
        link = f'<a href="{escape(own["name"])}/index.html">{escape(own["title"])}</a>'
        cells = "".join(f'<td class="n">{escape(own["numbers"].get(key, "–"))}</td>' for key in COLUMNS)
        rows.append(f'<tr><th scope="row">{link}<br><span class="id">{escape(own["weeks"])}</span></th>{cells}</tr>')
    meanings = "; ".join(f"<b>{head}</b>: {meaning}" for head, meaning in COLUMNS.values() if meaning)
    count = "1 market" if len(summaries) == 1 else f"{len(summaries)} markets"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Sales forecasts of all markets</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n<main>\n'
        f'<header><p class="eyebrow">shelfcast</p><h1>Sales forecasts of {count}</h1></header>\n'
        "<p>Each market's page says what to order, what to promote, who buys what next, and how far to trust it. Numbers "
        "of different markets compare only as shares.</p>\n"
        f'<div class="table"><div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f"</div></div>\n<p class='caption'>{meanings}.</p>\n</main>\n</body>\n</html>\n"
    )


def main() -> None:
    """Write the index of the markets in `params.yaml`."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m shelfcast.report.index SUMMARIES PAGE")
    folder, target = map(Path, sys.argv[1:])
    try:
        markets = list(check().markets)
    except SettingsError as error:
        sys.exit(f"error: {error}")
    with atomic(target) as part:
        part.write_text(page(read(folder, markets), STYLE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
