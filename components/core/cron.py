"""Schedules in the five fields of cron, and the six that EventBridge wants of them."""

import re

_NUMBERS = r"\d{1,2}(-\d{1,2})?(,\d{1,2}(-\d{1,2})?)*"
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DAY = rf"([0-7]|{'|'.join(_DAYS[:7])})"
PATTERN = rf"^[0-5]?\d (\*(/\d{{1,2}})?|{_NUMBERS}) (\*|{_NUMBERS}) (\*|{_NUMBERS}) (\*|{_DAY}([,-]{_DAY})*)$"
"""Minute, hour, day of the month, month, day of the week. The minute is one number: nothing starts more than once an hour."""


def eventbridge(schedule: str) -> str:
    """The schedule as EventBridge Scheduler takes it; ValueError where it cannot.

    There one of the two days has to be a question mark, days of the week go by name here because Sunday is 1 there, and a step
    names where it starts ("Schedule types", EventBridge Scheduler User Guide).

    >>> eventbridge("30 */6 * * *"), eventbridge("0 3 * * 1-5")
    ('cron(30 0/6 * * ? *)', 'cron(0 3 ? * MON-FRI *)')
    """
    minute, hour, day, month, weekday = schedule.split()
    if "*" not in (day, weekday):
        raise ValueError(f"{schedule}: a day of the month and a day of the week at once")
    hour = hour.replace("*/", "0/")
    if weekday == "*":
        return f"cron({minute} {hour} {day} {month} ? *)"
    named = re.sub(r"\d", lambda found: _DAYS[int(found[0])], weekday)
    return f"cron({minute} {hour} ? {month} {named} *)"


def runs_a_month(schedule: str) -> float:
    """How often something runs in a month of 730 hours, on average.

    >>> [round(runs_a_month(each), 2) for each in ("0 3 * * *", "0 */6 * * *", "0 5 * * 1-5", "0 4 1 * *")]
    [30.42, 121.67, 21.73, 1.0]
    """
    _, hour, day, month, weekday = schedule.split()
    return (
        (_chosen(hour, 24) * 730 / 24)
        * (_chosen(day, 365 / 12) / (365 / 12))
        * (_chosen(month, 12) / 12)
        * (_chosen(weekday, 7) / 7)
    )


def _chosen(field: str, every: float) -> float:
    """How many of the values of a field are meant."""
    if field.startswith("*"):
        step = field.partition("/")[2]
        return len(range(0, round(every), int(step))) if step else every
    for number, name in enumerate(_DAYS[:7]):
        field = field.replace(name, str(number))
    spans = [part.partition("-") for part in field.split(",")]
    return sum(int(end or start) - int(start) + 1 for start, _, end in spans)
