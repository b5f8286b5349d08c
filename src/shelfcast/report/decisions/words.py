"""How sentences name products and list things, as HTML."""

from __future__ import annotations

from html import escape

import pandas as pd


def product(labels: pd.Series, name: str) -> str:
    """A product's name and number: 'Cola <span class='id'>11</span>'; the number alone where there is no name."""
    number = f"<span class='id'>{escape(str(name))}</span>"
    return f"{escape(str(labels[name]))} {number}" if name in labels.index else number


def listed(parts: list[str]) -> str:
    """'a, b and c'."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def paragraphs(lines: list[str]) -> str:
    """Plain sentences, escaped, one paragraph each."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)
