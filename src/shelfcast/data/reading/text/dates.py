"""Text as a date: in the declared format, or in the one of the first row that reads all rows."""

from __future__ import annotations

import re
import warnings

from pandas.tseries.api import guess_datetime_format

from shelfcast.data.reading.database import literal
from shelfcast.data.reading.text.advice import OPTION
from shelfcast.data.reading.text.cell import Cells
from shelfcast.data.schema import Column
from shelfcast.reading_options import Reading

ISO = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?"
ZONE = r"(Z|[+-]\d\d:?(\d\d)?)"
ORDERS = {"day first": ("%d", "%m"), "month first": ("%m", "%d")}
# What pandas does not guess: years of two digits, hours before and after noon. Day, sign, month, year, time.
SHORT = re.compile(
    r"(\d{1,2}|[a-z]{3})(?P<sign>[-/. ])(\d{1,2}|[a-z]{3})(?P=sign)(?P<year>\d{4}|\d\d)"
    r"(?P<time> \d{1,2}:\d\d(?P<seconds>:\d\d)?(?P<noon> ?[ap]m)?)?",
    re.IGNORECASE,
)


def date_of_text(cells: Cells, target: str, reading: Reading) -> str:
    """SQL of the date; whole numbers such as 20220131 are text, too. NULL where a cell cannot be read.

    Raises
    ------
    ValueError : stamps have zones that nobody declared, or dates may be read in two ways.
    """
    text = cells.filled
    zoned = f"regexp_matches({text}, '[0-9]{{2}}:[0-9]{{2}}.*{ZONE}$')"
    if cells.count(zoned):
        return _local_time(cells, zoned, target, reading)
    if reading.dates not in (None, *ORDERS):
        return f"CAST(try_strptime({text}, {literal(reading.dates)}) AS {target})"
    rows = cells.database.rows(f"SELECT {text} FROM {cells.relation} WHERE {text} IS NOT NULL LIMIT 1")
    first = rows[0][0] if rows else ""
    form = _format(first, reading.dates == "day first")
    if form.startswith("%Y-%m-%d"):  # a cast alone would read 3-4-22 as the year 3, and drop a zone
        return f"CASE WHEN regexp_full_match({text}, '{ISO}') THEN TRY_CAST({text} AS {target}) END"
    if "%d" not in form:  # nothing known, or a month or a year alone
        return f"CAST(NULL AS {target})"
    if reading.dates is None and not form.startswith("%Y"):
        form = _clear_order(cells, first, form)
    return f"CAST(try_strptime({text}, {literal(form)}) AS {target})"


def _format(first: str, day_first: bool) -> str:
    """The format of a cell, empty where none is known; a year of four digits in front is followed by the month."""
    if re.fullmatch(ISO, first):
        return "%Y-%m-%d"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a day above 12 stands first
        year_first = guess_datetime_format(first) or ""
        if year_first.startswith("%Y"):
            return year_first
        return guess_datetime_format(first, dayfirst=day_first) or _short_format(first, day_first)


def _short_format(first: str, day_first: bool) -> str:
    parts = SHORT.fullmatch(first)
    if parts is None:
        return ""
    left, right = (parts[1].isdigit(), parts[3].isdigit())
    if not (left or right):
        return ""
    order = ("%d" if left else "%b", "%d" if right else "%b")
    if left and right:
        order = ORDERS["day first" if day_first else "month first"]
    form = parts["sign"].join([*order, "%Y" if len(parts["year"]) == 4 else "%y"])
    if not parts["time"]:
        return form
    seconds = ":%S" if parts["seconds"] else ""
    if not parts["noon"]:
        return f"{form} %H:%M{seconds}"
    return f"{form} %I:%M{seconds}{' ' if parts['noon'].startswith(' ') else ''}%p"


def _year_first(form: str) -> str:
    """The format with a year of two digits first, where it has one at the end: 22-01-31 is often written so."""
    parts = re.fullmatch(r"%[dm](\W)%[dm]\1%y(.*)", form)
    return f"%y{parts[1]}%m{parts[1]}%d{parts[2]}" if parts else form


def _clear_order(cells: Cells, first: str, form: str) -> str:
    """The one order of day, month and year that reads every row.

    Raises
    ------
    ValueError : several orders do, with different dates.
    """
    forms = list(dict.fromkeys((form, _format(first, True), _year_first(form))))
    unread = [
        cells.count(f"{cells.filled} IS NOT NULL AND try_strptime({cells.filled}, {literal(f)}) IS NULL") for f in forms
    ]
    fitting = sorted((f for f, n in zip(forms, unread, strict=True) if n == 0), key=lambda f: f.upper())
    if len(fitting) > 1:
        names = [{"%d": "day", "%m": "month", "%y": "year"}[f[:2]] for f in fitting]
        year = f", to the format {fitting[-1]}" if names[-1] == "year" else ""
        raise ValueError(
            f"{cells.table}.{cells.name} may be read with the {' or the '.join(names)} first, as {first!r} in row 0. "
            f"Set {OPTION}.dates to 'day first' or 'month first'{year}, or write 2022-01-31."
        )
    return fitting[0] if fitting else form


def _local_time(cells: Cells, zoned: str, target: str, reading: Reading) -> str:
    """Stamps with zones or offsets, also changing ones, in the named zone's time."""
    stamps = f"SELECT row_number() OVER () - 1 AS row, {cells.filled} AS cell FROM {cells.relation}"
    if reading.time_zone is None:
        found = f"SELECT DISTINCT regexp_extract({cells.filled}, '{ZONE}$') FROM {cells.relation} WHERE {zoned} ORDER BY 1 LIMIT 3"
        zones = [zone for (zone,) in cells.database.rows(found)]
        raise zone_error(cells, "UTC" if set(zones) <= {"Z", "+00:00"} else " and ".join(zones))
    bare = f"SELECT row, cell FROM ({stamps}) WHERE NOT regexp_matches(cell, '{ZONE}$') LIMIT 1"
    for row, cell in cells.database.rows(bare):
        raise ValueError(
            f"{cells.table}.{cells.name}: row {row} ({cell}) has no time zone, while others have. Write all rows alike."
        )
    return f"CAST(TRY_CAST({cells.filled} AS TIMESTAMPTZ) AT TIME ZONE {literal(reading.time_zone)} AS {target})"


def zone_error(cells: Cells, zone: str) -> ValueError:
    """The error of stamps with a zone that nobody declared."""
    return ValueError(
        f"{cells.table}.{cells.name} carries the time zone {zone}. Convert it to the stores' local time and drop the "
        f"zone, or set {OPTION}.time_zone to the stores' zone, such as Europe/Berlin; else late sales fall into the wrong week."
    )


def in_week(sql: str, column: Column, reading: Reading) -> str:
    """A date moved from the day that weekly rows are stamped with to the Monday of their week.

    Weeks of plans that are Mondays already stay, since a retailer may stamp its tables differently.
    """
    days = reading.stamp_days
    if days == 0:
        return sql
    if column.kind == "week":
        return f"CASE WHEN isodow({sql}) = {days % 7 + 1} THEN {sql} - INTERVAL ({days}) DAY ELSE {sql} END"
    return f"{sql} - INTERVAL ({days}) DAY"
