"""Downloads inside the page: one Excel workbook and CSVs, as links that hold their file and work without a network.

Cells of text never become formulas: a spreadsheet that opens a CSV would run what begins with = + - or @, so such cells
get an apostrophe before them; the workbook writes text as text.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd
import xlsxwriter
from IPython.display import HTML

from shelfcast.language import N_, _, code, is_reworded
from shelfcast.report import names

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP, CSV injection
MOST_BYTES = 4_000_000  # of a file inside the page; base64 makes a third more of it
MOST_ROWS = 1_048_575  # of an Excel sheet, below its heading
WIDEST = 48  # characters of a column
CAPTIONS = {  # of columns in the workbook; CSVs keep the names that systems read
    **{"product_id": N_("Product number"), "product": N_("Product"), "location": N_("Place"), "week_of": N_("Week of")},
    **{
        "expected": N_("Expected"),
        "median": N_("Median"),
        "low_80": N_("80 % range from"),
        "high_80": N_("80 % range to"),
    },
    **{"cutoff": N_("Last observed week"), "arrives": N_("Can be sold from"), "note": N_("Note"), "ds": N_("Week of")},
    **{"expected_demand": N_("Expected demand"), "order_up_to": N_("Fill up to"), "on_hand": N_("On hand")},
    **{"on_order": N_("On order"), "quantity": N_("Order"), "expected_fill": N_("Demand met"), "value": N_("Worth")},
    **{"unit_cost": N_("Unit cost"), "horizon": N_("Weeks ahead"), "price": N_("Price")},
    **{
        "price_promoted": N_("Promotion price"),
        "units_without": N_("Units without promotion"),
        "units": N_("More units"),
    },
    **{"units_low": N_("More units from"), "units_high": N_("More units to"), "others": N_("Units of other products")},
    **{"others_low": N_("Units of other products from"), "others_high": N_("Units of other products to")},
    **{"money": N_("Margin gained"), "money_low": N_("Margin gained from"), "money_high": N_("Margin gained to")},
    **{
        "units_model": N_("More units by the model"),
        "units_cause": N_("More units by causes"),
        "spending": N_("Spending"),
    },
    **{
        "chosen": N_("In the plan"),
        "planned_now": N_("Planned already"),
        "group": N_("Group"),
        "shoppers": N_("Shoppers"),
    },
    **{"buyers_of_100": N_("Buyers of 100"), "buyers_low": N_("Buyers from"), "buyers_high": N_("Buyers to")},
}
SHEETS = [N_("about"), N_("forecasts"), N_("orders"), N_("promotions"), N_("groups")]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def csv(frame: pd.DataFrame) -> bytes:
    """The frame as CSV in UTF-8 with a byte-order mark, as Excel wants it; text that would be a formula is neutralised."""
    safe = frame.copy()
    for name in safe:
        if not pd.api.types.is_numeric_dtype(safe[name]) and not pd.api.types.is_datetime64_any_dtype(safe[name]):
            safe[name] = safe[name].map(neutral)
    safe.columns = [neutral(str(name)) for name in safe]
    return safe.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d").encode("utf-8-sig")


def neutral(value):
    """Text that a spreadsheet would run as a formula, with an apostrophe before it; anything else as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(DANGEROUS) else value


def workbook(sheets: Mapping[str, pd.DataFrame], made: pd.Timestamp, notes: list[str]) -> bytes:
    """An Excel workbook with a sheet a frame, and first one that says what they hold.

    Parameters
    ----------
    made : day that the file's properties name, so that the same run gives the same bytes. notes : lines of the first
        sheet.

    Raises
    ------
    ValueError : a frame has more rows than a sheet can hold.
    """
    buffer = io.BytesIO()
    never = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(buffer, {"constant_memory": True, **never})
    book.set_properties({"created": made.to_pydatetime()})
    bold, whole, fraction, date = (
        book.add_format({"bold": True, "bottom": 1}),
        book.add_format({"num_format": "#,##0"}),
        book.add_format({"num_format": "#,##0.00"}),
        book.add_format({"num_format": "yyyy-mm-dd"}),
    )
    first = book.add_worksheet(_(SHEETS[0]))
    first.set_column(0, 0, 110)
    for i, line in enumerate(notes):
        first.write_string(i, 0, line)
    for name, frame in sheets.items():
        if len(frame) > MOST_ROWS:
            raise ValueError(
                f"sheet {name!r} has {len(frame):,} rows, and Excel reads {MOST_ROWS:,}. Use the Parquet file."
            )
        _sheet(book.add_worksheet(_(name)), captioned(frame), bold, whole, fraction, date)
    book.close()
    return buffer.getvalue()


def captioned(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame for people who do not say what the columns' names say: in another language, or with words of their own."""
    if code() == "en" and not is_reworded():
        return frame
    said = frame.copy()
    if "location" in said:
        said["location"] = said["location"].map(names.location_label)
    if "note" in said:
        said["note"] = said["note"].map(_)
    return said.rename(columns={name: _(CAPTIONS[name]) for name in said if name in CAPTIONS})


def _sheet(sheet, frame: pd.DataFrame, bold, whole, fraction, date) -> None:
    """Heading, rows in order (constant memory writes each row once), widths, a frozen heading with filters."""
    writers = []
    for i, name in enumerate(frame):
        values = frame[name]
        if pd.api.types.is_datetime64_any_dtype(values):
            cells = [value.to_pydatetime() if pd.notna(value) else None for value in values]
            writers.append((sheet.write_datetime, cells, date, 12))
        elif pd.api.types.is_bool_dtype(values):
            writers.append((sheet.write_boolean, values.tolist(), None, 9))
        elif pd.api.types.is_numeric_dtype(values):
            style = whole if pd.api.types.is_integer_dtype(values) else fraction
            writers.append((sheet.write_number, values.astype(float).tolist(), style, 12))
        else:
            cells = ["" if pd.isna(value) else str(value) for value in values]
            writers.append((sheet.write_string, cells, None, max(map(len, cells), default=0)))
        sheet.set_column(i, i, min(max(writers[-1][-1], len(str(name))) + 2, WIDEST))
    for i, name in enumerate(frame):
        sheet.write_string(0, i, str(name), bold)
    for row in range(len(frame)):
        for i, (write, cells, style, _width) in enumerate(writers):
            value = cells[row]
            if value is not None and value == value and not (isinstance(value, float) and not np.isfinite(value)):
                write(row + 1, i, value, style)
    sheet.freeze_panes(1, 0)
    if len(frame):
        sheet.autofilter(0, 0, len(frame), len(frame.columns) - 1)


def links(files: Mapping[str, bytes], described: Mapping[str, str]) -> HTML:
    """Links that hold their files.

    A file above `MOST_BYTES` is left out and said so, that the page stays one that opens at once.

    Parameters
    ----------
    files : name -> content. described : name -> what it holds.
    """
    items = []
    for name, content in files.items():
        text = _("{what} ({size})", what=escape(described[name]), size=size(len(content)))
        if len(content) > MOST_BYTES:
            large = _(
                "{name} is too large for this page: {text}. The run's folder has the same rows.",
                name=escape(name),
                text=text,
            )
            items.append(f"<li>{large}</li>")
            continue
        kind = XLSX if name.endswith(".xlsx") else "text/csv;charset=utf-8"
        data = base64.b64encode(content).decode()
        link = f'<a download="{escape(name)}" href="data:{kind};base64,{data}">{escape(name)}</a>'
        line = _("{name}: {text}", name=link, text=text)
        items.append(f"<li>{line}</li>")
    return HTML(f"<ul class='downloads'>{''.join(items)}</ul>")


def size(n_bytes: int) -> str:
    """'12 kB', '1.3 MB'."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3))} kB"


def forecast_frame(ahead: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """The forecast for a spreadsheet: a row per product, location and week; units, and the ends of the 80 % range."""
    rows = ahead.sort_values(["product_id", "location", "ds"])
    columns = {"product_id": rows["product_id"], "product": rows["product_id"].map(labels)}
    columns |= {"location": rows["location"], "week_of": rows["ds"]}
    columns |= {"expected": rows["mean"], "median": rows["q500"], "low_80": rows["q100"], "high_80": rows["q900"]}
    return pd.DataFrame(columns).reset_index(drop=True)


def with_names(frame: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """A frame with the product's name behind its number."""
    place = list(frame).index("product_id") + 1
    named = frame.copy()
    named.insert(place, "product", named["product_id"].map(labels))
    return named
