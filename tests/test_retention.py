"""Retention: which dated copies a rotation keeps, which it removes, and why; the same as restic keeps."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Dict, FrozenSet, List, Sequence, Tuple, Union

import pytest

from conftest import COARSE
from restic_repository import PASSWORD, seal_repositories
from snapback import (
    DEFAULT_RETENTION,
    PERIODS,
    UNLIMITED,
    Dated,
    Duration,
    Plan,
    Retention,
    UsageError,
    Verdict,
    count_back,
    parse_count,
    parse_duration,
    parse_retention,
    plan_rotation,
)

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
DOCUMENTS = frozenset({("Documents", "/home/anna/Documents")})
PICTURES = frozenset({("Pictures", "/home/anna/Pictures")})


def copies_of(times: Sequence[str], sources: FrozenSet[Tuple[str, str]] = DOCUMENTS, first: int = 1) -> List[Dated]:
    """Make dated copies in the order in which they were made, each called as its time is written."""
    moments = [datetime.fromisoformat(time if "+" in time[10:] else f"{time}+00:00") for time in times]
    return [Dated(time, seq, moment, sources) for seq, (time, moment) in enumerate(zip(times, moments), first)]


def kept(plan: Plan) -> List[str]:
    return [verdict.name for verdict in plan.keep]


def kept_of(times: Sequence[str], **rules: Union[int, Duration]) -> List[str]:
    return kept(plan_rotation(copies_of(times), Retention(**rules), NOW))  # type: ignore[arg-type]


def reasons(plan: Plan) -> Dict[str, Tuple[str, ...]]:
    return {verdict.name: verdict.reasons for verdict in [*plan.keep, *plan.remove]}


# --- What a person says ------


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("1", 1), ("007", 7), ("999999999", 999999999), ("unlimited", UNLIMITED)])
def test_a_count_is_a_number_or_unlimited(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "-1", "-0", "+1", " 1", "1 ", "1.5", "1e3", "all", "Unlimited", "1d", "\u0667", "\u00b2", "9" * 10, "9" * 5000],
    ids=lambda text: text[:10],
)
def test_another_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_count(text)
    assert str(refusal.value) == f"{text!r} is no number of dated copies to keep; write 0 or more, or unlimited"


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("1y5m7d2h", Duration(1, 5, 7, 2)),
        ("6y5m234d37h", Duration(6, 5, 234, 37)),
        ("2h1y", Duration(years=1, hours=2)),
        ("14d", Duration(days=14)),
        ("007d", Duration(days=7)),
        (" 3m ", Duration(months=3)),
        ("0d", Duration()),
        ("999999999y", Duration(years=999999999)),
    ],
)
def test_a_duration_is_years_months_days_and_hours(text: str, duration: Duration) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", " ", "7", "d", "2w", "7s", "7D", "-7d", "+7d", "1d-2h", "1d2d", "1y1m1y", "1d 2h", "1.5d", "1d2", "\u0667d", "9" * 10 + "d"],
)
def test_another_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_duration(text)
    words = "is no duration; write years, months, days and hours, each once, as in 1y5m7d2h (two weeks: 14d)"
    assert str(refusal.value) == f"{text!r} {words}"


@pytest.mark.parametrize("text", ["1y5m7d2h", "14d", "3m", "1y2h"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_duration(text)) == text


def test_what_is_not_said_is_no_rule_unless_nothing_is_said() -> None:
    assert parse_retention({}) == DEFAULT_RETENTION == Retention(last=3, daily=7, weekly=5, monthly=12, yearly=10)
    assert parse_retention({"daily": "2", "yearly": "unlimited", "within": "1m"}) == Retention(
        daily=2, yearly=UNLIMITED, within=Duration(months=1)
    )


def test_a_refusal_names_the_rule() -> None:
    with pytest.raises(UsageError, match=r"^keep-daily: 'x' is no number of dated copies to keep; "):
        parse_retention({"last": "3", "daily": "x"})
    with pytest.raises(UsageError, match=r"^keep-within: '2w' is no duration; "):
        parse_retention({"within": "2w"})


def test_an_empty_policy_is_refused() -> None:
    empty = "these rules keep nothing at all; say how much to keep, for example: --keep-daily 7"
    for words in ({"last": "0"}, {"within": "0d"}, {**dict.fromkeys((period.rule for period in PERIODS), "0"), "within": "0h"}):
        with pytest.raises(UsageError) as refusal:
            parse_retention(words)
        assert str(refusal.value) == empty
    with pytest.raises(UsageError) as refusal:
        plan_rotation(copies_of(["2026-11-22T12:00:00"]), Retention(), NOW)
    assert str(refusal.value) == empty


@pytest.mark.parametrize(
    ("moment", "duration", "before"),
    [
        ("2026-11-22T12:00:00", "1y5m7d2h", "2025-06-15T10:00:00"),
        ("2026-11-22T12:00:00", "14m", "2025-09-22T12:00:00"),
        ("2026-01-31T12:00:00", "1m", "2025-12-31T12:00:00"),
        ("2026-03-31T12:00:00", "1m", "2026-03-03T12:00:00"),  # a 31st of February
        ("2024-03-31T12:00:00", "1m", "2024-03-02T12:00:00"),
        ("2024-02-29T12:00:00", "1y", "2023-03-01T12:00:00"),
        ("2024-02-29T12:00:00", "4y", "2020-02-29T12:00:00"),
        ("2026-03-31T12:00:00", "1m3d", "2026-02-28T12:00:00"),  # the days count from the 3rd of March
        ("2026-01-01T00:00:00", "1h", "2025-12-31T23:00:00"),
        ("0001-02-01T00:00:00", "1m", "0001-01-01T00:00:00"),
    ],
)
def test_durations_are_counted_back_by_the_calendar_as_restic_does(moment: str, duration: str, before: str) -> None:
    found = count_back(datetime.fromisoformat(moment), parse_duration(duration))
    assert found is not None
    assert found.isoformat() == before


@pytest.mark.parametrize("duration", ["2026y", "99999999y", "999999999d", "999999999h", "999999999m", "1y999999999d"])
def test_nothing_is_older_than_the_calendar(duration: str) -> None:
    assert count_back(NOW, parse_duration(duration)) is None
    assert kept_of(["0001-01-01T00:00:00", "2026-11-22T12:00:00"], within=parse_duration(duration)) == [
        "0001-01-01T00:00:00",
        "2026-11-22T12:00:00",
    ]


# --- Each rule ------

TIMES = [
    "2024-02-28T12:00:00",
    "2024-02-29T12:00:00",  # Thursday
    "2025-12-28T12:00:00",  # Sunday of 2025-W52
    "2025-12-29T12:00:00",  # Monday of 2026-W01
    "2026-01-01T12:00:00",  # Thursday of the same week
    "2026-11-20T10:05:00",
    "2026-11-20T10:55:00",
    "2026-11-20T11:00:00",
    "2026-11-22T23:59:59",  # Sunday
    "2026-11-23T00:00:00",  # Monday
]


@pytest.mark.parametrize(
    ("rules", "stay"),
    [
        ({"last": 1}, [9]),
        ({"last": 3}, [7, 8, 9]),
        ({"last": 99}, range(10)),
        ({"last": UNLIMITED}, range(10)),
        ({"hourly": 4}, [6, 7, 8, 9]),
        ({"hourly": UNLIMITED}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
        ({"daily": 3}, [7, 8, 9]),
        ({"daily": UNLIMITED}, [0, 1, 2, 3, 4, 7, 8, 9]),
        ({"weekly": 3}, [4, 8, 9]),
        ({"weekly": UNLIMITED}, [1, 2, 4, 8, 9]),
        ({"monthly": 3}, [3, 4, 9]),
        ({"yearly": 2}, [3, 9]),
        ({"yearly": UNLIMITED}, [1, 3, 9]),
        ({"within": Duration(hours=1)}, [8, 9]),
        ({"within": Duration(days=2, hours=13)}, [8, 9]),  # what is exactly so old is too old
        ({"within": Duration(days=2, hours=14)}, [5, 6, 7, 8, 9]),
        ({"within": Duration(years=1)}, [2, 3, 4, 5, 6, 7, 8, 9]),
        ({"last": 1, "weekly": 2, "yearly": UNLIMITED, "within": Duration(hours=1)}, [1, 3, 8, 9]),
    ],
)
def test_a_rule_keeps_the_newest_of_each_slot_that_has_a_copy(rules: Dict[str, Union[int, Duration]], stay: Sequence[int]) -> None:
    assert kept_of(TIMES, **rules) == [TIMES[place] for place in stay]


def test_what_stays_by_default() -> None:
    daily = [datetime(2020, 1, 1, 23, 15, tzinfo=timezone.utc) + timedelta(days=day) for day in range(2518)]  # to 2026-11-22
    names = [day.date().isoformat() for day in daily]
    plan = plan_rotation([Dated(name, seq, taken) for seq, (name, taken) in enumerate(zip(names, daily))], DEFAULT_RETENTION, NOW)
    years = [f"{year}-12-31" for year in range(2020, 2025)]
    months = ["2025-12-31", "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30", "2026-07-31", "2026-08-31"]
    weeks = ["2026-09-30", "2026-10-25", "2026-10-31", "2026-11-01", "2026-11-08", "2026-11-15"]
    assert kept(plan) == [*years, *months, *weeks, *[f"2026-11-{day}" for day in range(16, 23)]]


def test_the_year_of_a_week_is_not_that_of_its_days() -> None:
    assert kept_of(
        [
            "2015-01-02T12:00:00",  # 2015-W01
            "2015-12-30T12:00:00",  # 2015-W53
            "2016-01-03T12:00:00",  # 2015-W53: takes the slot of the one before
            "2016-01-04T12:00:00",  # 2016-W01
            "2020-12-31T12:00:00",  # 2020-W53
            "2021-01-01T12:00:00",  # 2020-W53
        ],
        weekly=UNLIMITED,
    ) == ["2015-01-02T12:00:00", "2016-01-03T12:00:00", "2016-01-04T12:00:00", "2021-01-01T12:00:00"]


def test_days_of_one_year_that_are_of_weeks_of_two_years_share_no_slot() -> None:
    days = ["2019-01-01T12:00:00", "2019-12-30T12:00:00"]  # 2019-W01 and 2020-W01
    assert kept_of(days, weekly=UNLIMITED) == days


def test_a_leap_day_is_a_day_of_its_own() -> None:
    days = ["2024-02-28T23:00:00", "2024-02-29T00:00:00", "2024-02-29T23:00:00", "2024-03-01T00:00:00"]
    assert kept_of(days, daily=9) == [days[0], days[2], days[3]]
    assert kept_of(days, monthly=9) == [days[2], days[3]]


def test_slots_are_of_local_time() -> None:
    berlin = ["2026-06-01T00:30:00+02:00", "2026-06-01T01:30:00+02:00"]  # by UTC both are of the 31st of May
    assert kept_of(["2026-05-31T21:00:00+00:00", *berlin], daily=9) == ["2026-05-31T21:00:00+00:00", berlin[1]]


def test_in_the_night_that_sets_the_clock_back_the_hour_that_comes_twice_is_one_slot() -> None:
    night = ["2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:15:00+01:00", "2026-10-25T03:00:00+01:00"]
    assert kept_of(night, hourly=9) == [night[0], night[2], night[3]]
    assert kept_of(night, last=2) == night[2:]


def test_in_the_night_that_sets_the_clock_forward_no_hour_is_missed() -> None:
    night = ["2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:59:59+02:00"]
    assert kept_of(night, hourly=9) == [night[0], night[2]]


def test_nothing_and_one_copy() -> None:
    assert plan_rotation([], DEFAULT_RETENTION, NOW) == Plan([], [])
    for rules in (Retention(yearly=1), Retention(within=Duration(hours=1))):
        assert kept(plan_rotation(copies_of(["2001-01-01T12:00:00"]), rules, NOW)) == ["2001-01-01T12:00:00"]


# --- Reasons ------


def test_every_copy_has_its_reasons_in_plain_words() -> None:
    times = ["2026-11-14T12:00:00", "2026-11-21T08:00:00", "2026-11-21T12:00:00", "2026-11-22T08:00:00", "2026-11-22T12:00:00"]
    plan = plan_rotation(copies_of(times), Retention(last=2, daily=2, weekly=1, within=Duration(hours=4)), NOW)
    assert [verdict.name for verdict in [*plan.remove, *plan.keep]] == times[:2] + times[2:]
    assert reasons(plan) == {
        times[0]: ("older than the 2 copies, 2 days and 1 week kept", "not within 4h of the newest copy"),
        times[1]: (
            "2026-11-21T12:00:00 is the newest of that day",
            "2026-11-22T12:00:00 is the newest of that week",
            "older than the 2 copies kept",
            "not within 4h of the newest copy",
        ),
        times[2]: ("daily: newest of 2026-11-21",),
        times[3]: ("last 2 (2nd)",),
        times[4]: (
            "newest copy",
            "within 4h of the newest copy",
            "last 2 (1st)",
            "daily: newest of 2026-11-22",
            "weekly: newest of 2026-W47",
        ),
    }


def test_the_other_rules_speak_alike() -> None:
    times = ["2025-01-01T12:00:00", "2026-11-22T12:00:00", "2026-11-22T12:30:00"]
    rules = Retention(last=UNLIMITED, hourly=1, monthly=1, yearly=UNLIMITED)
    found = reasons(plan_rotation(copies_of(times), rules, NOW))
    assert found == {
        times[0]: ("last unlimited (3rd)", "yearly: newest of 2025"),
        times[1]: ("last unlimited (2nd)",),
        times[2]: (
            "newest copy",
            "last unlimited (1st)",
            "hourly: newest of 2026-11-22 12h",
            "monthly: newest of 2026-11",
            "yearly: newest of 2026",
        ),
    }
    found = reasons(plan_rotation(copies_of(times), Retention(hourly=1, monthly=1, yearly=1), NOW))
    assert found[times[0]] == ("older than the 1 hour, 1 month and 1 year kept",)
    assert found[times[1]] == (f"{times[2]} is the newest of that hour, month and year",)


# --- Groups, pins, clocks ------


def test_each_group_of_same_sources_is_counted_by_itself() -> None:
    documents = copies_of(["2026-11-01T12:00:00", "2026-11-03T12:00:00", "2026-11-05T12:00:00"])
    pictures = copies_of(["2025-11-02T12:00:00", "2025-11-04T12:00:00"], PICTURES, first=4)
    both = copies_of(["2024-11-02T12:00:00"], DOCUMENTS | PICTURES, first=6)
    plan = plan_rotation([*documents, *pictures, *both], Retention(last=1, within=Duration(days=1)), NOW)
    assert kept(plan) == ["2026-11-05T12:00:00", "2025-11-04T12:00:00", "2024-11-02T12:00:00"]


def test_the_same_name_for_another_folder_is_another_group() -> None:
    old, new = frozenset({("Documents", "/home/anna/Documents")}), frozenset({("Documents", "/home/bob/Documents")})
    plan = plan_rotation(copies_of(["2026-11-01T12:00:00"], old) + copies_of(["2026-11-03T12:00:00"], new, 2), Retention(last=1), NOW)
    assert plan.remove == []


def test_a_pinned_copy_stays_whatever_the_rules() -> None:
    times = ["2026-11-01T12:00:00", "2026-11-02T12:00:00", "2026-11-03T12:00:00"]
    first, second, third = copies_of(times)
    plan = plan_rotation([first._replace(pinned="the wedding\x1b[2J"), second._replace(pinned=""), third], Retention(last=1), NOW)
    assert (plan.remove, [verdict.reasons for verdict in plan.keep[:2]]) == ([], [("pinned: the wedding\\x1b[2J",), ("pinned",)])


def test_for_the_others_all_is_as_if_it_were_not_pinned() -> None:
    times = [f"2026-11-{day:02}T{hour}:00:00" for day in (1, 2, 3, 4) for hour in (10, 11)]
    for pinned in range(len(times)):
        plan = plan_rotation(
            [copy._replace(pinned="x") if place == pinned else copy for place, copy in enumerate(copies_of(times))],
            Retention(daily=2, last=1),
            NOW,
        )
        assert set(kept(plan)) - {times[pinned]} == {"2026-11-03T11:00:00", "2026-11-04T11:00:00"} - {times[pinned]}


def test_a_copy_dated_in_the_future_stays_and_takes_no_slot() -> None:
    times = ["2026-11-21T12:00:00", "2027-01-01T12:00:00", "2030-01-01T12:00:00", "2026-11-22T12:00:00", "2031-01-01T12:00:00"]
    rules = Retention(last=1, yearly=2, within=Duration(days=2))
    plan = plan_rotation(copies_of(times), rules, NOW)
    assert (plan.remove, reasons(plan)) == (
        [],
        {
            times[0]: ("within 2d of the newest copy",),
            times[1]: ("date in the future",),
            times[2]: ("date in the future",),
            times[3]: ("within 2d of the newest copy", "last 1 (1st)", "yearly: newest of 2026"),
            times[4]: ("newest copy", "date in the future"),
        },
    )


def test_five_minutes_ahead_are_no_wrong_clock() -> None:
    times = ["2026-11-23T12:05:00", "2026-11-23T12:05:01", "2026-11-23T12:04:00"]
    assert reasons(plan_rotation(copies_of(times), Retention(last=1), NOW)) == {
        times[0]: ("older than the 1 copy kept",),
        times[1]: ("date in the future",),
        times[2]: ("newest copy", "last 1 (1st)"),
    }


def test_only_copies_of_the_future_all_stay() -> None:
    plan = plan_rotation(copies_of(TIMES), Retention(last=1, within=Duration(hours=1)), datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert (plan.remove, kept(plan)) == ([], TIMES)


def test_the_newest_copy_is_the_one_made_last_whatever_its_date() -> None:
    times = ["2026-11-21T12:00:00", "2026-11-22T12:00:00", "1970-01-01T00:00:10"]
    for rules in (Retention(last=1), Retention(daily=1), Retention(yearly=1), Retention(within=Duration(hours=1))):
        assert "1970-01-01T00:00:10" in kept(plan_rotation(copies_of(times), rules, NOW))


def test_that_the_newest_stays_is_a_reason_of_its_own() -> None:
    plan = plan_rotation(copies_of(["2026-11-21T12:00:00", "2026-11-22T12:00:00"]), Retention(yearly=1), NOW)
    assert plan.keep[0].reasons == ("newest copy", "yearly: newest of 2026")


def test_the_order_is_that_of_the_numbers_not_of_dates_or_names() -> None:
    times = ["2026-11-05T12:00:00", "2026-11-01T12:00:00", "2026-11-04T12:00:00", "2026-11-02T12:00:00"]
    shuffled = copies_of(times)
    random.Random(1).shuffle(shuffled)
    plan = plan_rotation(shuffled, Retention(last=2), NOW)
    assert (kept(plan), [verdict.name for verdict in plan.remove]) == (times[2:], times[:2])


def test_a_clock_set_back_for_one_run_takes_no_slot_from_the_copies_that_are_really_of_that_day() -> None:
    times = ["2025-11-30T12:00:00", "2025-12-31T12:00:00", "2026-11-21T12:00:00", "2025-11-15T12:00:00", "2026-11-22T12:00:00"]
    plan = plan_rotation(copies_of(times), Retention(last=1, monthly=9, yearly=9), NOW)
    assert (plan.remove, reasons(plan)[times[0]], reasons(plan)[times[1]], reasons(plan)[times[3]]) == (
        [Verdict(times[2], (f"{times[4]} is the newest of that month and year", "older than the 1 copy kept"))],
        ("monthly: latest date in 2025-11",),
        ("monthly: newest of 2025-12", "yearly: latest date in 2025"),
        ("monthly: newest of 2025-11", "yearly: newest of 2025"),
    )


def test_a_copy_made_while_the_clock_stood_at_its_beginning_is_not_old() -> None:
    times = ["2026-10-01T12:00:00", "2026-11-20T12:00:00", "1970-01-01T00:00:10", "1970-01-01T00:00:20", "2026-11-22T12:00:00"]
    assert kept_of(times, within=Duration(days=7)) == times[1:]
    assert kept_of(times[:4], within=Duration(days=7)) == times[:4]


def test_a_clock_that_flips_between_two_years_costs_no_older_year() -> None:
    years = [f"{year}-12-31T12:00:00" for year in range(2018, 2026)]
    flipping = [time for minute in range(30) for time in (f"1970-01-01T00:{minute:02}:00", f"2026-11-22T12:{minute:02}:00")]
    assert kept_of(years + flipping, yearly=10) == [*years, *flipping[-2:]]


# --- What holds for every history ------

ANCHORS = [
    datetime(year, month, day, hour, tzinfo=timezone.utc)
    for year, month, day, hour in [
        (2004, 12, 31, 12),  # 2004-W53
        (2009, 12, 31, 23),
        (2015, 12, 31, 22),
        (2020, 12, 31, 23),
        (2008, 12, 29, 1),  # a Monday of 2009-W01
        (2019, 12, 30, 0),
        (2012, 2, 29, 0),  # leap days
        (2016, 2, 29, 23),
        (2020, 2, 29, 12),
        (2024, 2, 29, 1),
        (2019, 3, 31, 0),  # nights in which Europe sets its clocks
        (2023, 3, 26, 0),
        (2019, 10, 27, 0),
        (2023, 10, 29, 0),
        (2024, 10, 27, 0),
        (2024, 10, 31, 12),
    ]
]
STEPS = [20, 1800, 3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400, 365 * 86400]  # seconds


def random_times(chance: random.Random) -> List[datetime]:
    """Draw moments in ascending order, in the local time of Berlin: runs of even and odd steps around awkward dates."""
    seconds = set()
    for anchor in chance.sample(ANCHORS, chance.randint(1, 4)):
        at = anchor.timestamp() + chance.randint(-7200, 7200)
        seconds.add(int(at))
        for _ in range(chance.randint(1, 3)):
            step = chance.choice(STEPS)
            for _ in range(chance.randint(1, 14)):
                at += step if chance.random() < 0.5 else chance.randint(1, 2 * step)
                seconds.add(int(at))
    end = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()
    return [datetime.fromtimestamp(second).astimezone() for second in sorted(seconds) if second < end]


def random_count(chance: random.Random) -> int:
    return chance.choice([1, 1, 2, 3, 4, 5, 7, 10, 30, UNLIMITED])


def random_duration(chance: random.Random) -> Duration:
    longest = Duration(years=6, months=20, days=80, hours=200)
    drawn = Duration(*(chance.randint(0, most) if chance.random() < 0.4 else 0 for most in longest))
    return drawn if any(drawn) else Duration(hours=chance.randint(1, 48))


def random_retention(chance: random.Random, alone: str = "") -> Retention:
    """Draw rules: one alone, or some."""
    rules = [*(period.rule for period in PERIODS), "within"]
    chosen = [alone] if alone else chance.sample(rules, chance.randint(1, len(rules)))
    values = {rule: random_duration(chance) if rule == "within" else random_count(chance) for rule in chosen}
    return Retention(**values)  # type: ignore[arg-type]


def random_history(chance: random.Random) -> List[Dated]:
    """Draw the copies of a set: two groups, some pinned, the clock wrong now and then."""
    copies = []
    for seq, taken in enumerate(random_times(chance), 1):
        moment = taken
        if chance.random() < 0.1:
            moment += timedelta(seconds=chance.choice([-1, 1]) * chance.choice(STEPS) * chance.randint(1, 9))
        if chance.random() < 0.02:
            moment = chance.choice([datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(2099, 1, 1, tzinfo=timezone.utc)])
        sources = PICTURES if chance.random() < 0.2 else DOCUMENTS
        copies.append(Dated(f"copy {seq}", seq, moment, sources, "note" if chance.random() < 0.05 else None))
    chance.shuffle(copies)
    return copies


@pytest.fixture
def chance(timezone: Callable[[str], None]) -> random.Random:
    """Chance whose seed is printed, and can be given as SEED; the time zone is Berlin's."""
    timezone(BERLIN)
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"SEED={seed}")
    return random.Random(seed)


HISTORIES = 400
LATER = datetime(2025, 1, 1, tzinfo=timezone.utc)


def test_every_copy_either_stays_or_goes_and_says_why(chance: random.Random) -> None:
    for _ in range(HISTORIES):
        copies = random_history(chance)
        plan = plan_rotation(copies, random_retention(chance), LATER)
        in_order = [copy.name for copy in sorted(copies, key=lambda copy: copy.seq)]
        going = {verdict.name for verdict in plan.remove}
        assert kept(plan) == [name for name in in_order if name not in going]
        assert [verdict.name for verdict in plan.remove] == [name for name in in_order if name in going]
        assert all(words for words in reasons(plan).values())


def test_newest_pinned_and_future_copies_stay_in_every_history(chance: random.Random) -> None:
    for _ in range(HISTORIES):
        copies = random_history(chance)
        newest = {copy.sources: copy.name for copy in sorted(copies, key=lambda copy: copy.seq)}
        stay = {copy.name for copy in copies if copy.pinned is not None or copy.taken > LATER + timedelta(minutes=5)}
        plan = plan_rotation(copies, random_retention(chance), LATER)
        assert stay.union(newest.values()) - set(kept(plan)) == set()


def test_a_second_rotation_removes_nothing_more(chance: random.Random) -> None:
    for _ in range(HISTORIES):
        copies, rules = random_history(chance), random_retention(chance)
        plan = plan_rotation(copies, rules, LATER)
        staying = set(kept(plan))
        assert plan_rotation([copy for copy in copies if copy.name in staying], rules, LATER) == Plan(plan.keep, [])


def test_more_generous_rules_never_keep_less(chance: random.Random) -> None:
    for _ in range(HISTORIES):
        copies, rules = random_history(chance), random_retention(chance)
        counts = {period.rule: getattr(rules, period.rule) for period in PERIODS}
        more = {rule: UNLIMITED if count == UNLIMITED else count + chance.randint(0, 3) for rule, count in counts.items()}
        within = Duration(*(part + chance.randint(0, 3) for part in rules.within))
        generous = Retention(within=within, **more)
        assert set(kept(plan_rotation(copies, rules, LATER))) - set(kept(plan_rotation(copies, generous, LATER))) == set()


def test_pins_change_nothing_for_other_copies(chance: random.Random) -> None:
    for _ in range(HISTORIES):
        copies, rules = random_history(chance), random_retention(chance)
        pinned = {copy.name for copy in copies if copy.pinned is not None}
        loose = plan_rotation([copy._replace(pinned=None) for copy in copies], rules, LATER)
        assert set(kept(plan_rotation(copies, rules, LATER))) == pinned.union(kept(loose))


# --- The same as restic ------

LISTS = 100 if COARSE else 300


def restic_options(rules: Retention, version: Tuple[int, ...]) -> List[str]:
    """Write rules as restic reads them; before 0.16 it had no word for unlimited, and -1 kept nothing."""
    unlimited = "unlimited" if version >= (0, 16) else "1000000"
    counts = {period.rule: getattr(rules, period.rule) for period in PERIODS}
    options = [f"--keep-{rule}={unlimited if count == UNLIMITED else count}" for rule, count in counts.items() if count]
    return options + ([f"--keep-within={rules.within}"] if any(rules.within) else [])


def restic(*words: str) -> str:
    """Run restic; by UTC, so that a day of --keep-within is as long for it as it is here, where a copy's own offset counts."""
    environment = {**os.environ, "TZ": "UTC", "RESTIC_PASSWORD": PASSWORD, "GOMAXPROCS": "1"}
    return subprocess.run(["restic", *words], env=environment, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout


def kept_by_restic(repository: Path, options: Sequence[str]) -> List[str]:
    answer = json.loads(restic("-r", str(repository), "--no-cache", "--no-lock", "--json", "forget", "--dry-run", *options))
    return [snapshot["id"] for group in answer for snapshot in group["keep"] or ()]


@pytest.mark.needs("restic", "openssl")
def test_restic_keeps_the_same(chance: random.Random, tmp_path: Path) -> None:
    version = tuple(map(int, re.findall(r"\d+", restic("version"))[:2]))
    alone = [*(period.rule for period in PERIODS), "within"]
    cases = [(random_times(chance), random_retention(chance, alone[at // 10] if at < 10 * len(alone) else "")) for at in range(LISTS)]
    ids = seal_repositories(tmp_path, [times for times, _ in cases])
    with ThreadPoolExecutor(2) as pool:
        options = [restic_options(rules, version) for _, rules in cases]
        answers = list(pool.map(kept_by_restic, [tmp_path / str(at) for at in range(LISTS)], options))
    wrong = []
    for (times, rules), names, theirs in zip(cases, ids, answers):
        taken = dict(zip(names, times))
        ours = kept(plan_rotation([Dated(name, seq, moment) for seq, (name, moment) in enumerate(taken.items())], rules, LATER))
        # from 0.16 on restic also keeps the oldest while a count is not used up
        free = set(names[:1]) if version >= (0, 16) else set()
        if set(ours) - free != set(theirs) - free:
            only = {True: "ours", False: "restic's"}
            odd = sorted((taken[name].isoformat(), only[name in ours]) for name in set(ours) ^ set(theirs))
            wrong.append(f"{' '.join(restic_options(rules, version))}: {odd}")
    assert wrong == []
