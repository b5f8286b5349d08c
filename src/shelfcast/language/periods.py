"""What messages call the periods of a market: they are written for weeks, and speak of days in a daily market.

Messages stay as they are in code and catalogues. Where a market is forecast by the day, `active` passes every message
through `in_days`, before names and numbers fill its placeholders: `4 weeks` becomes `28 days`, `a week` `a day`. A
message that means weeks of the calendar in every market stands in `KEPT`; what a rule would say badly has a rule before it.
"""

from __future__ import annotations

import re
from functools import cache

PERIODS = ("week", "day")
KEPT = {  # messages about weeks of the calendar, whatever a market is forecast by
    "8-week average",
    "8-week average and safety stock",
    "the mean of the last eight weeks, as a spreadsheet would",
    "the mean of the last eight weeks, times the season of earlier years",
    "rows of single days, not of weeks",
    "weekly rows, all on a {day}",
    "taken as the week from Monday that they mean",
    "Drift is not watched in a daily market: its limits were tried on weeks alone.",
}
# What to look for, and what to say of days instead; the first rules go first. An 8-week average stays one.
RULES = {
    "en": (
        (r"\bMondays\b", "Days"),
        (r"\bin the week of ", "on "),
        (r"\bthe week of ", ""),
        (r"\bWeek of\b", "Day"),
        (r"\bweekly\b", "daily"),
        (r"\bWeekly\b", "Daily"),
        (r"(?<!8-)\bweek(s|s'|'s)?\b", r"day\1"),
        (r"\bWeek(s|s'|'s)?\b", r"Day\1"),
    ),
    "zh": (
        ("各周的星期一", "日期"),
        ("所在周", ""),
        ("那一周起", "起"),
        ("周段", "时段"),
        ("(测试|训练|验证|商品|停业|缺失|完整|观察|促销)周", r"\1日"),
        ("周销量", "日销量"),
        ("(?<!8)周", "天"),
    ),
}


@cache
def in_days(text: str, language: str) -> str:
    """A message for a daily market: its weeks are days; placeholders stay as they are.

    Examples
    --------
    ``in_days("Next {weeks} weeks", "en")`` is 'Next {weeks} days'.
    """
    parts = re.split(r"(\{[^}]*\})", text)
    return "".join(part if part.startswith("{") else _replaced(part, language) for part in parts)


def _replaced(text: str, language: str) -> str:
    for pattern, said in RULES.get(language, ()):
        text = re.sub(pattern, said, text)
    return text
