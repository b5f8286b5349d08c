"""Text as a number, by the market's signs."""

from __future__ import annotations

from shelfcast.data.reading.database import literal
from shelfcast.reading_options import Reading


def number_of_text(text: str, reading: Reading) -> str:
    """Text as a number, by the market's signs; groups of thousands must be whole groups."""
    decimal, thousands = reading.decimal or ".", reading.thousands
    if thousands is None and decimal == ".":
        return f"TRY_CAST({text} AS DOUBLE)"
    if thousands == " ":
        text = f"translate({text}, '\u00a0\u202f', '  ')"
    if thousands == decimal:  # 1.234 is a thousand and more, 2.50 is not
        grouped = f"regexp_full_match({text}, '[-+]?[1-9][0-9]{{0,2}}([{decimal}][0-9]{{3}})+')"
        other = f"replace({text}, {literal(decimal)}, '.')"
        whole = f"replace({text}, {literal(thousands)}, '')"
        return f"TRY_CAST(CASE WHEN {grouped} THEN {whole} ELSE {other} END AS DOUBLE)"
    groups = f"[0-9]{{1,3}}([{thousands}][0-9]{{3}})+|" if thousands else ""
    pattern = f"[-+]?({groups}[0-9]+)?([{decimal}][0-9]+)?([eE][-+]?[0-9]+)?"
    plain = f"replace({text}, {literal(thousands)}, '')" if thousands else text
    plain = f"replace({plain}, {literal(decimal)}, '.')"
    return f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) THEN TRY_CAST({plain} AS DOUBLE) END"
