"""Options of reading: how a retailer's files write text, numbers, dates and weeks, where a file cannot say it itself."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WeekStamp = Literal[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "sunday before",
    "saturday before",
    "day",
]


def _known_encoding(name: str | None) -> str | None:
    try:
        return name if name is None else codecs.lookup(name).name
    except LookupError:
        raise ValueError("there is no such encoding; common ones are utf-8, utf-16, cp1252") from None


def _known_zone(name: str | None) -> str | None:
    try:
        return name if name is None else ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise ValueError("there is no such time zone; write one such as Europe/Berlin") from None


def _one_sign(text: str) -> str:
    sign = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(sign) != 1 or sign in '"\r\n':
        raise ValueError("write one sign, such as ';' or '|', or tab")
    return sign


def _date_order(text: str | None) -> str | None:
    if text not in (None, "day first", "month first") and not {"d", "m"} <= set(re.findall("%([a-zA-Z])", text)):
        raise ValueError("write 'day first', 'month first', or a format with %Y, %m and %d, such as %d.%m.%Y")
    return text


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Reading:
    """`read` of a market or of the base. Numbers, dates and encodings concern text alone: Parquet types say theirs."""

    encoding: Annotated[str | None, AfterValidator(_known_encoding)] = Field(
        default=None, description="of CSV files: cp1252, utf-16 …; null for UTF-8, or UTF-16 with its mark"
    )
    separator: Annotated[str, AfterValidator(_one_sign)] = Field(
        default=",", description="between the cells of CSV files: one sign, or tab"
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="before decimals; null is a point, and refuses 1.234 among whole numbers"
    )
    thousands: Literal[".", ",", " ", "'"] | None = Field(default=None, description="between groups of three digits")
    dates: Annotated[str | None, AfterValidator(_date_order)] = Field(
        default=None, description="'day first', 'month first', or a format such as %d.%m.%Y; null for what is clear"
    )
    time_zone: Annotated[str | None, AfterValidator(_known_zone)] = Field(
        default=None, description="of the stores, such as Europe/Berlin, into which stamps with a zone are converted"
    )
    week_stamp: WeekStamp = Field(
        default="monday",
        description="day that weekly rows are stamped with; 'before' is the day before their Monday; 'day': rows of "
        "promotions, prices and stockouts hold for the day in `week` alone (prepare.freq: D)",
    )
    keep_repeated: bool = Field(default=False, description="true keeps rows that stand twice, however many")

    @property
    def stamp_days(self) -> int:
        """Days from a week's Monday to its stamp; negative where the stamp lies before."""
        if self.week_stamp == "day":
            return 0
        day, _, before = self.week_stamp.partition(" ")
        return WEEKDAYS.index(day) - (7 if before else 0)
