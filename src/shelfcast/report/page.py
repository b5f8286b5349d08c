"""The page's pieces as HTML: headings, tables and facts. Its figures are shown by `theme.show`."""

from __future__ import annotations

import platform
import re
from html import escape
from importlib.metadata import version

import numpy as np
import pandas as pd
from IPython.display import HTML

from shelfcast.data.files import revision
from shelfcast.data.schema import CHAIN
from shelfcast.language import _, periods
from shelfcast.report.names import product
from shelfcast.report.theme import percent, units

PACKAGES = ("shelfcast", "torch", "transformers", "lightgbm", "statsforecast", "pandas", "scikit-learn")


def header(eyebrow: str, headline: str, tiles: dict[str, str], notice: str = "") -> HTML:
    """The page's first lines; `tiles` are large numbers by what they mean, `notice` a text of the company's own."""
    said = f"<p class='notice'>{escape(notice)}</p>" if notice else ""
    boxes = [f"<div class='tile'><b>{number}</b><span>{meaning}</span></div>" for meaning, number in tiles.items()]
    return HTML(
        f"<header><p class='eyebrow'>{eyebrow}</p><h1>{headline}</h1>{said}</header><div class='tiles'>{''.join(boxes)}</div>"
    )


def hero(texts: dict[str, str], picture: HTML) -> HTML:
    """Short texts by their heading, next to a picture."""
    blocks = [f"<h2>{title}</h2>{text}" for title, text in texts.items()]
    return HTML(f"<div class='hero'><div>{''.join(blocks)}</div>{picture.data}</div>")


def bullets(lines: list[str], style: str = "") -> str:
    """A list of those lines that are not empty."""
    items = [f"<li>{line}</li>" for line in lines if line]
    return f"<ul class='{style}'>{''.join(items)}</ul>"


def part(title: str, text: str, *pieces: HTML) -> HTML:
    """A part of a section, under a heading of its own."""
    heading = f"<h3>{title}</h3>" if title else ""
    return HTML(f"{heading}<p>{text}</p>{''.join(piece.data for piece in pieces)}")


def table(frame: pd.DataFrame, search: str = "", tall: bool = False) -> HTML:
    """A table that the page's script sorts on a click; cells are HTML (escape what comes from data).

    The first column names the rows, so its cells are headings of their rows to a screen reader.
    """
    body = frame.to_html(index=False, escape=False, border=0, classes="sortable", na_rep="–", justify="unset")
    body = re.sub(r"<th>", '<th scope="col">', body)
    body = re.sub(r"(<tr>\s*)<td>(.*?)</td>", r'\1<th scope="row">\2</th>', body, flags=re.DOTALL)
    box = f'<input type="search" placeholder="{search}" aria-label="{search}">' if search else ""
    return HTML(f'<div class="table">{box}<div class="scroll{" tall" if tall else ""}">{body}</div></div>')


def spark(past, future) -> str:
    """A word-sized line for a table cell: what sold, then (orange, dashed) what is expected."""
    values, n_past = np.concatenate([past, future]).astype(float), len(past)
    top, steps = max(values.max(), 1), len(values) - 1
    points = [f"{100 * i / steps:.1f},{21 - 19 * value / top:.1f}" for i, value in enumerate(values)]
    return (
        f'<svg class="spark" viewBox="0 0 100 22" aria-hidden="true"><polyline points="{" ".join(points[:n_past])}"/>'
        f'<polyline class="next" points="{" ".join(points[max(n_past - 1, 0) :])}"/></svg>'
    )


def product_table(products: pd.DataFrame, sold: pd.DataFrame, ahead: pd.DataFrame) -> pd.DataFrame:
    """Cells of every product; changes beyond the 80 % range are coloured.

    Parameters
    ----------
    products : as `outlook.by_product` gives them. sold : units by series and observed week.
    ahead : the chain's forecast of the coming weeks, with `product_id`.
    """
    weeks, expected = ahead["ds"].nunique(), ahead.sort_values("ds").groupby("product_id")["mean"].agg(list)
    rows = []
    for row in products.itertuples():
        style = "up" if row.low > row.last else "down" if row.high < row.last else ""
        half_year = sold.loc[f"{row.Index}|{CHAIN}"].iloc[-periods(26) :].dropna()
        cells = {
            _("Product"): product(row.label, row.Index),
            _("Trend"): spark(half_year, expected[row.Index]),
            _("Next {weeks} weeks", weeks=weeks): units(row.mean),
            _("a week"): f"{row.mean / weeks:,.1f}",
            _("80 % range"): f"{row.low:,.0f}–{row.high:,.0f}",
            _("Last {weeks} weeks", weeks=weeks): f"{row.last:,.0f}",
            _("Change"): f"<span class='{style}'>{percent(row.change, sign=True)}</span>",
        }
        rows.append(cells)
    return pd.DataFrame(rows)


def parameters(settings: dict, prefix: str = "") -> list[str]:
    """Nested settings, one a line: 'finetune.warm_start.steps = 3'."""
    lines = []
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            lines += parameters(value, f"{prefix}{name}.")
        else:
            lines.append(f"{prefix}{name}&nbsp;= {escape(str(value))}")
    return lines


def provenance(market: str, meta: dict, test_weeks: pd.Series, settings: dict) -> pd.DataFrame:
    """Where the page comes from: data, weeks, revision, parameters, versions, time.

    Parameters
    ----------
    meta : of the panel. test_weeks : Mondays that forecasts were scored on. settings : section -> name -> value.
    """
    facts = {
        _("Market"): _(
            "{market}: {category} of source {source}",
            market=market,
            category=meta["category"] or _("all categories"),
            source=meta["source"],
        ),
        _("Data"): f"md5 {meta['data_md5']}",
        _("Weeks"): _(
            "Mondays {first} to {last}; test weeks {first_test} to {last_test}",
            first=meta["first_week"],
            last=meta["last_week"],
            first_test=f"{test_weeks.min():%Y-%m-%d}",
            last_test=f"{test_weeks.max():%Y-%m-%d}",
        ),
        _("Revision"): revision(),
        _("Parameters"): "; ".join(parameters(settings)),
        _("Versions"): f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        _("Written"): f"{pd.Timestamp.now(tz='UTC'):%Y-%m-%d %H:%M} UTC",
    }
    return pd.DataFrame(facts.items(), columns=[_("What"), _("Value")])
