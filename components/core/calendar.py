"""Dates that a service wants to start from: the same on every run of a month, so that two previews of a day agree."""

from datetime import date, timedelta


def next_month(today: date) -> date:
    """The first day of the next month that is more than a day away, so that it is still to come when the cloud is told.

    >>> str(next_month(date(2026, 11, 21))), str(next_month(date(2026, 11, 30)))
    ('2026-12-01', '2027-01-01')
    """
    tomorrow = today + timedelta(days=1)
    return (tomorrow.replace(day=1) + timedelta(days=31)).replace(day=1)
