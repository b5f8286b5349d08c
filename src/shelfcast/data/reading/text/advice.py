"""What a cell that cannot be read should be, and how to mend it: the ends of the checks' sentences."""

from __future__ import annotations

import datetime
import re

from shelfcast.data.schema import Column

OPTION = "markets.<name>.read"  # of the base: base.read
DATE_ADVICE = (
    f"a date; write 2022-01-31 or 2022-01-31 18:05:00, all rows alike, or set {OPTION}.dates to 'day first', "
    "'month first' or a format such as %d.%m.%Y"
)
SPREADSHEET_DAYS = range(20_000, 80_000)  # from 1954 to 2119, counted as spreadsheets do
SPREADSHEET_EPOCH = datetime.datetime(1899, 12, 30)
WEEK = r"(\d{4}[- ]?)?(W|KW|CW|WK|WEEK|WOCHE)[- ]?\d{1,2}([- /]?\d{4})?"


def advice_on_number(value: str, column: Column) -> str:
    """What the cell should be, and the option that may read it."""
    cure = "write 1234.5, without thousands separators, unit, percent or currency"
    if column.kind == "flag":
        cure = "write 0 to 1, such as 0.5 for 50%"
    if re.fullmatch(r"[-+]?\d{1,3}([.,' ])\d{3}(\1\d{3})*(?!\1)[.,]\d+", value):
        thousands, decimal = next(c for c in value if c in ".,' "), max(".,", key=value.rfind)
        cure += f", or set {OPTION}.thousands: {thousands!r}" + (" and decimal: ','" if decimal == "," else "")
    elif re.fullmatch(r"[-+]?\d*,\d+", value):
        cure += f", or set {OPTION}.decimal: ',' (or thousands: ',' where 1,234 is a thousand and more)"
    elif re.fullmatch(r"[-+]?\d{1,3}([.' ]\d{3})+", value):
        sign = next(c for c in value if c in ".' ")
        cure += f", or set {OPTION}.thousands: {sign!r}"
    elif "." in value and re.fullmatch(r"[-+]?[\d.]+", value):
        cure += f"; {OPTION}.decimal and {OPTION}.thousands say which signs are read"
    elif value.startswith("#"):
        cure += "; spreadsheets write this where a formula fails: mend it there, or empty the cell"
    if column.kind == "flag":
        return f"a number, nor yes or no; {cure}, leave the column out, or move its text to a table of your own"
    return f"a number; {cure}"


def advice_on_date(value: str) -> str:
    """What the cell should be, and what it may have been."""
    if re.fullmatch(r"\d{5}([.,]\d+)?", value) and int(value[:5]) in SPREADSHEET_DAYS:
        day = (SPREADSHEET_EPOCH + datetime.timedelta(days=int(value[:5]))).date()
        return (
            f"a date; a spreadsheet may have written {day} so, as a number of days: format the column as a date there, "
            "such as 2022-01-31, and write the file again"
        )
    if re.fullmatch(r"\d{10}(\d{3}){0,3}([.]\d+)?", value):
        day = datetime.datetime.fromtimestamp(int(value[:10]), datetime.UTC).date()
        return f"a date; it may count seconds since 1970 ({day}, in UTC): write local times such as 2022-01-31 18:05:00"
    if re.fullmatch(WEEK, value.upper()):
        return "a date; write a week as the date of its Monday, such as 2024-01-29 for 2024-W05"
    if re.fullmatch(r"\d{4}[-/. ]?\d{1,2}|\d{1,2}[-/. ]\d{4}|[^\W\d]+[-/. ]+\d{2,4}|\d{4}", value):
        return (
            "a date with a day; write 2022-01-31, a week as the date of its Monday. Months are too long: bring "
            "days or weeks"
        )
    if re.match(r"0{4}", value):
        return "a date; leave the cell empty where none is known"
    return DATE_ADVICE


def total_hint(row: int, n_rows: int) -> str:
    """One more sentence where the only wrong row is the last one."""
    return " It is the last row: if it holds totals, remove it." if row == n_rows - 1 > 0 else ""
