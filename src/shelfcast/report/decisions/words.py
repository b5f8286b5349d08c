"""How sentences name products, as HTML."""

from __future__ import annotations

from html import escape

import pandas as pd

from shelfcast.report import names


def product(labels: pd.Series, name: str) -> str:
    """A product's name and number: 'Cola <span class='id'>11</span>'; the number alone where there is no name."""
    return names.product(str(labels[name]) if name in labels.index else "", str(name)).strip()


def paragraphs(lines: list[str]) -> str:
    """Plain sentences, escaped, one paragraph each."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)
