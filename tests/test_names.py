"""Names and dates: of dated copies, of sets, of sources on the drive; what a person types and what is shown."""

from __future__ import annotations

import os
import random
import subprocess
from datetime import datetime, timedelta, timezone
from typing import Callable, Dict, List, Sequence, Tuple

import pytest

from conftest import require
from snapback import (
    DEVICE_NAMES,
    SNAPSHOT_NAME,
    TOP_NAMES,
    ManifestDamaged,
    Snapshot,
    State,
    UsageError,
    age_text,
    choose_snapshot,
    fitting,
    folder_key,
    give_aliases,
    name_bytes,
    plain_parts,
    set_name_for,
    shell_word,
    show,
    size_text,
    snapshot_name,
    why_no_alias,
    why_no_set_name,
)

NOON = datetime(2026, 11, 22, 12, 0, 0)


# --- Names of dated copies ------


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ([], "2026-11-22_120000"),
        (["2026-11-22_115959", "2026-11-22_120001"], "2026-11-22_120000"),
        (["2026-11-22_120000"], "2026-11-22_120000_2"),
        (["2026-11-22_120000", "2026-11-22_120000_2"], "2026-11-22_120000_3"),
        (["2026-11-22_120000.incomplete"], "2026-11-22_120000_2"),
        (["2026-11-22_120000.deleting", "2026-11-22_120000_2.gz"], "2026-11-22_120000_3"),
        (["2026-11-22_120000_2"], "2026-11-22_120000"),
        ([f"2026-11-22_120000_{number}" for number in range(2, 11)] + ["2026-11-22_120000"], "2026-11-22_120000_11"),
        (["latest", "manifests", "lock"], "2026-11-22_120000"),
    ],
)
def test_a_dated_copy_is_named_by_local_time_and_never_as_another_is(taken: List[str], name: str) -> None:
    assert (snapshot_name(NOON, taken), bool(SNAPSHOT_NAME.fullmatch(name))) == (name, True)


def test_the_hour_that_comes_twice_in_autumn_gives_two_names(timezone: Callable[[str], None]) -> None:
    timezone("CET-1CEST,M3.5.0,M10.5.0/3")
    names: List[str] = []
    for utc in (0, 1, 2):  # 02:30 summer time, 02:30 winter time, 03:30
        moment = datetime.fromtimestamp(1792888200 + utc * 3600).astimezone()  # 2026-10-25T00:30:00Z and on
        names.append(snapshot_name(moment, names))
    assert names == ["2026-10-25_023000", "2026-10-25_023000_2", "2026-10-25_033000"]


def test_the_hour_that_spring_leaves_out_costs_no_name(timezone: Callable[[str], None]) -> None:
    timezone("CET-1CEST,M3.5.0,M10.5.0/3")
    moments = [datetime.fromtimestamp(1774744200 + step * 1800).astimezone() for step in (0, 1, 2)]
    assert [snapshot_name(moment, []) for moment in moments] == [
        "2026-03-29_013000",
        "2026-03-29_030000",
        "2026-03-29_033000",
    ]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("2026-11-22_231507", True),
        ("2026-11-22_231507_2", True),
        ("2026-11-22_231507_10", True),
        ("2026-11-22_231507_1", False),
        ("2026-11-22_231507_0", False),
        ("2026-11-22_231507_02", False),
        ("2026-11-22_231507\n", False),
        ("2026-11-22_231507.incomplete", False),
        ("2026-11-22_231507 copy", False),
        ("2026-11-22", False),
        ("\u0662\u0660\u0662\u0666-11-22_231507", False),  # digits, but Arabic ones
        ("x2026-11-22_231507", False),
        ("", False),
    ],
)
def test_only_what_the_program_writes_is_the_name_of_a_dated_copy(name: str, is_one: bool) -> None:
    assert bool(SNAPSHOT_NAME.fullmatch(name)) == is_one


# --- Names of sets ------

LETTERS = "only letters, digits, '.', '-' and '_' are possible (at most 100)"
DATED = "it looks like a dated copy"
DEVICE = "it is a device name on Windows"
IN_USE = "that name has another use on a drive"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("annas-laptop", ""),
        ("A_1.b-2", ""),
        (".hidden", ""),
        ("x" * 100, ""),
        ("console", ""),
        ("com0", ""),
        ("2026", ""),
        ("", LETTERS),
        (".", LETTERS),
        ("..", LETTERS),
        ("...", LETTERS),
        ("x" * 101, LETTERS),
        ("a/b", LETTERS),
        ("a\\b", LETTERS),
        ("a b", LETTERS),
        ("a:b", LETTERS),
        ("caf\u00e9", LETTERS),
        ("a\0", LETTERS),
        ("a\n", LETTERS),
        ("annas.", "Windows drops a dot at the end"),
        ("2026-11-22_231507", DATED),
        ("2026-11-22_231507.incomplete", DATED),
        ("2026-11-22_231507_2", DATED),
        ("con", DEVICE),
        ("CON", DEVICE),
        ("Nul.txt", DEVICE),
        ("lpt9.a.b", DEVICE),
        ("snapback.py", IN_USE),
        ("SNAPBACK.PY", IN_USE),
        ("read-me-first.TXT", IN_USE),
        ("get-files-back.html", IN_USE),
        ("Restore.sh", IN_USE),
        ("python", IN_USE),
    ],
)
def test_a_set_has_a_name_that_every_disk_can_hold_and_nothing_else_has(name: str, why: str) -> None:
    assert why_no_set_name(name) == why


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("annas-laptop", "annas-laptop"),
        ("annas-laptop.local", "annas-laptop"),
        ("Annas Laptop", "Annas-Laptop"),
        ("Anna's  MacBook", "Anna-s-MacBook"),
        ("DESKTOP-1A2B", "DESKTOP-1A2B"),
        ("-x-", "x"),
        ("", "computer"),
        (".local", "computer"),
        ("\u7535\u8111", "computer"),
        ("AUX", "AUX-set"),
        ("python", "python-set"),
        ("x" * 300, "x" * 60),
    ],
)
def test_a_set_is_called_after_the_computer(host: str, name: str) -> None:
    assert set_name_for(host) == name


def test_whatever_a_computer_is_called_its_set_has_a_possible_name() -> None:
    hosts = [*TOP_NAMES, *DEVICE_NAMES, "2026-11-22_231507", "2026-11-22_231507_2", "...", "_", "- -", "\0", "x" * 59 + "-y"]
    assert {host: set_name_for(host) for host in hosts if why_no_set_name(set_name_for(host))} == {}


# --- Names of sources on the drive ------

NOT_PLAIN = "it is no plain file name"
RESERVED = "that name has another use in a dated copy"


@pytest.mark.parametrize(
    ("alias", "why"),
    [
        ("Documents", ""),
        ("...", ""),
        ("--", ""),
        (" ", ""),
        ("a b\n", ""),
        ("caf\u00e9\udcff", ""),
        ("sha256", ""),
        ("my-SHA256SUMS", ""),
        ("", NOT_PLAIN),
        (".", NOT_PLAIN),
        ("..", NOT_PLAIN),
        ("-", NOT_PLAIN),
        ("a/b", NOT_PLAIN),
        ("/", NOT_PLAIN),
        ("a\0b", NOT_PLAIN),
        ("SHA256SUMS", RESERVED),
        ("sha256sums", RESERVED),
        ("Sha256Sums.expired", RESERVED),
        ("NOT-THE-WHOLE-DATE.txt", RESERVED),
        ("not-the-whole-date.TXT", RESERVED),
    ],
)
def test_a_source_has_a_plain_name_that_the_copy_itself_does_not_need(alias: str, why: str) -> None:
    assert why_no_alias(alias) == why


@pytest.mark.parametrize(
    ("words", "aliases"),
    [
        ([], []),
        ([("", "/home/anna/Documents")], ["Documents"]),
        ([("", "/home/anna/Documents/")], ["Documents"]),
        ([("", "C:\\Users\\Anna\\Pictures\\")], ["Pictures"]),
        ([("", "D:\\")], ["D"]),
        ([("", "/")], ["root"]),
        ([("papers", "/home/anna/Documents")], ["papers"]),
        ([("", "/a/x"), ("", "/b/y")], ["x", "y"]),
        ([("", "/a/x"), ("x-2", "/b/x")], ["x", "x-2"]),
        ([("", "/a/x"), ("", "/a/x/y")], ["x", "y"]),  # whether one lies in the other is for the disk to say
    ],
)
def test_each_source_is_called_by_its_own_name_unless_told_otherwise(words: List[Tuple[str, str]], aliases: List[str]) -> None:
    assert give_aliases(words) == [(alias, path) for alias, (_, path) in zip(aliases, words)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [("", "/a/x"), ("", "/b/x")],
            "/a/x and /b/x would both be called 'x' on the drive; give one another name, for example: x-2=/b/x",
        ),
        (
            [("", "/Mu"), ("", "/m/mu")],
            "/Mu and /m/mu would both be called 'mu' on the drive; give one another name, for example: mu-2=/m/mu",
        ),
        (
            [("Stra\u00dfe", "/a"), ("STRASSE", "/b")],
            "/a and /b would both be called 'STRASSE' on the drive; give one another name, for example: STRASSE-2=/b",
        ),
        ([("", "/a/x"), ("", "/a/x")], "/a/x is named twice; name it once"),
        ([("one", "/a/x"), ("two", "/a/x")], "/a/x is named twice; name it once"),
        (
            [("", "/SHA256SUMS")],
            f"/SHA256SUMS cannot be called 'SHA256SUMS' on the drive ({RESERVED}); give it another name: NAME=/SHA256SUMS",
        ),
        (
            [("-", "/a\x1b[2J")],
            "/a\\x1b[2J cannot be called '-' on the drive (it is no plain file name); give it another name: NAME=/a\\x1b[2J",
        ),
    ],
)
def test_no_two_sources_share_a_name_and_the_refusal_shows_the_way_out(words: List[Tuple[str, str]], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        give_aliases(words)
    assert (str(refused.value), int(refused.value.code)) == (message, 2)


# --- What is shown ------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain caf\u00e9 \u6771\u4eac \U0001f600", "plain caf\u00e9 \u6771\u4eac \U0001f600"),
        ("a\\b", "a\\b"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\0", "\\x00"),
        ("\x7f\x9b", "\\x7f\\x9b"),  # 9b alone begins a command on some terminals
        ("\u202egpj.exe", "\\u202egpj.exe"),  # would be read backwards
        ("\u200b\u2028\ufeff", "\\u200b\\u2028\\ufeff"),
        ("\xa0", "\\xa0"),
        ("\udc80\udcff", "\\x80\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_nothing_that_is_shown_can_drive_a_terminal_or_deceive_the_eye(text: str, shown: str) -> None:
    assert (show(text), show(text).isprintable()) == (shown, True)


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/media/usb", "/media/usb"),
        ("~/Documents", "~/Documents"),
        ("a=b,c:d@e%f+g-h.i", "a=b,c:d@e%f+g-h.i"),
        ("", "''"),
        ("My Disk", "'My Disk'"),
        ("it's", "'it'\\''s'"),
        ("$HOME;`id`", "'$HOME;`id`'"),
        ("a*", "'a*'"),
        ("caf\u00e9", "'caf\u00e9'"),
        ("a\nb", "'a\\nb'"),
    ],
)
def test_a_command_in_a_message_can_be_copied_into_a_shell(word: str, quoted: str) -> None:
    assert shell_word(word) == quoted


@pytest.mark.needs("sh")
def test_the_shell_itself_reads_a_quoted_word_as_it_was() -> None:
    words = ["plain", "My Disk", "it's", 'a"b', "$HOME", "`id`", "a\\b", "", "*", "!x", "a;b&c|d", "#", "-n", "caf\u00e9"]
    script = "printf '%s\\0' " + " ".join(map(shell_word, words))
    printed = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout
    assert printed.decode().split("\0")[:-1] == words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1024, "1.0 kB"),
        (9949, "9.9 kB"),
        (99_449, "99.4 kB"),
        (99_500, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_298_681_992, "1.3 GB"),
        (4_000_787_030_016, "4.0 TB"),
        (7 * 10**15, "7.0 PB"),
        (5 * 10**18, "5000 PB"),
        (1234.5, "1.2 kB"),
    ],
)
def test_sizes_are_written_as_they_stand_on_the_box_of_a_disk(count: float, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-86400, "in the future"),
        (-61, "in the future"),
        (-60, "just now"),  # two clocks are never quite the same
        (0, "just now"),
        (30, "just now"),
        (59.9, "just now"),
        (60, "1 min ago"),
        (3599.7, "59 min ago"),
        (3600, "1 h ago"),
        (3900, "1 h 5 min ago"),
        (86399, "23 h 59 min ago"),
        (86400, "1 day ago"),
        (90000, "1 day 1 h ago"),
        (2 * 86400, "2 days ago"),
        (2 * 86400 + 3600, "2 days 1 h ago"),
        (800 * 86400, "800 days ago"),
    ],
)
def test_ages_are_written_as_people_say_them(seconds: float, text: str) -> None:
    noon = NOON.replace(tzinfo=timezone.utc)
    assert age_text(noon - timedelta(seconds=seconds), noon) == text


def test_an_age_that_nobody_knows_is_no_age() -> None:
    assert age_text(None, NOON) == "?"


# --- Which dated copy is meant ------

COPIES: Sequence[Snapshot] = [
    Snapshot("2025-12-31_235959", State.WHOLE, {"seq": 1}),
    Snapshot("2026-11-20_090000", State.WHOLE, {"seq": 2}),
    Snapshot("2026-11-22_090000", State.WHOLE, {"seq": 3}),
    Snapshot("2026-11-22_231507", State.WHOLE, {"seq": 4}),
    Snapshot("2026-11-22_231507_2", State.WHOLE, {"seq": 5}),
    Snapshot("2026-11-24_120000", State.DAMAGED),
    Snapshot("2026-11-25_120000.incomplete", State.INCOMPLETE),
    Snapshot("2026-11-26_120000.deleting", State.DELETING),
]


@pytest.mark.parametrize(
    ("when", "name"),
    [
        ("latest", "2026-11-22_231507_2"),
        ("2026", "2026-11-22_231507_2"),
        ("2025", "2025-12-31_235959"),
        ("2026-11", "2026-11-22_231507_2"),
        ("2026-11-20", "2026-11-20_090000"),
        ("2026-11-22", "2026-11-22_231507_2"),
        ("2026-11-22_09", "2026-11-22_090000"),
        ("2026-11-22 09:00", "2026-11-22_090000"),
        ("2026-11-22T09:00:00", "2026-11-22_090000"),
        (" 2026-11-20 ", "2026-11-20_090000"),
        ("2026-11-22_231507", "2026-11-22_231507"),  # the very name is meant, not what begins so
        ("2026-11-22_231507_2", "2026-11-22_231507_2"),
        ("2026-11-21", "2026-11-20_090000"),
        ("2026-11-22 10:00", "2026-11-22_090000"),
        ("2026-10", "2025-12-31_235959"),
        ("2027", "2026-11-22_231507_2"),
        ("2026-11-24", "2026-11-22_231507_2"),  # that one is damaged
        ("2026-11-25_120000", "2026-11-22_231507_2"),
    ],
)
def test_a_date_means_the_newest_copy_that_begins_so_or_the_one_before(when: str, name: str) -> None:
    forwards = choose_snapshot(when, COPIES).name
    backwards = choose_snapshot(when, COPIES[::-1]).name
    assert (forwards, backwards) == (name, name)


NO_DATE = "'{0}' is no date; write latest, or a date such as 2026-11-22"


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("2025-12-30", "there is no dated copy from 2025-12-30 or before; the first one is 2025-12-31_235959"),
        ("1999", "there is no dated copy from 1999 or before; the first one is 2025-12-31_235959"),
        ("Documents/x", NO_DATE.format("Documents/x")),
        ("yesterday", NO_DATE.format("yesterday")),
        ("", NO_DATE.format("")),
        ("202", NO_DATE.format("202")),
        ("2026-1", NO_DATE.format("2026-1")),
        ("2026-11-22_2315071", NO_DATE.format("2026-11-22_2315071")),
        ("..", NO_DATE.format("..")),
        ("20\x1b[1m", NO_DATE.format("20\\x1b[1m")),
        ("\u0662\u0660\u0662\u0666", NO_DATE.format("\u0662\u0660\u0662\u0666")),
    ],
)
def test_what_is_no_date_or_too_early_is_refused_with_the_way_out(when: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose_snapshot(when, COPIES)
    assert str(refused.value) == message


@pytest.mark.parametrize("when", ["latest", "2026", "Documents"])
def test_without_a_whole_copy_no_date_is_found(when: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose_snapshot(when, [copy for copy in COPIES if copy.state is not State.WHOLE])
    assert str(refused.value) == "there is no whole dated copy here yet"


def test_the_number_in_the_manifest_says_which_copy_is_newest_even_if_the_clock_went_back() -> None:
    copies = [
        Snapshot("2031-01-01_000000", State.WHOLE, {"seq": 7}),  # taken while the clock was wrong
        Snapshot("2026-11-22_120000", State.WHOLE, {"seq": 8}),
    ]
    chosen = {when: choose_snapshot(when, copies).name for when in ("latest", "2026", "2031", "2040")}
    assert chosen == {
        "latest": "2026-11-22_120000",
        "2026": "2026-11-22_120000",
        "2031": "2031-01-01_000000",
        "2040": "2026-11-22_120000",
    }


def test_of_the_hour_that_comes_twice_the_later_copy_is_found() -> None:
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    names: List[str] = []
    for zone in (summer, winter):
        names.append(snapshot_name(datetime(2026, 10, 25, 2, 30, tzinfo=zone), names))
    copies = [Snapshot(name, State.WHOLE, {"seq": seq}) for seq, name in enumerate(names, 1)]
    chosen = [choose_snapshot(when, copies).name for when in ("2026-10-25_02", "2026-10-25 02:30:00", "2026-10-25_023000_2")]
    assert chosen == ["2026-10-25_023000_2", "2026-10-25_023000", "2026-10-25_023000_2"]


# --- Paths and lengths ------


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a", ("a",)),
        ("a/b c/d", ("a", "b c", "d")),
        (".../..a/a..", ("...", "..a", "a..")),
        ("a\\b", ("a\\b",)),
        ("a\n\udcff", ("a\n\udcff",)),
        (" / ", (" ", " ")),
        ("/".join("x" * 2000), ("x",) * 2000),
    ],
)
def test_a_path_of_a_manifest_is_made_of_plain_names(path: str, parts: Tuple[str, ...]) -> None:
    assert plain_parts(path) == parts


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc", "a/", "a//b", ".", "./a", "a/./b", "a/.", "..", "../a", "a/../b", "a/..", "a\0", "a/\0/b"],
)
def test_a_path_that_could_lead_elsewhere_is_damage(path: str) -> None:
    with pytest.raises(ManifestDamaged) as refused:
        plain_parts(path)
    assert str(refused.value) == f"the path '{show(path)}' leads elsewhere"


@pytest.mark.parametrize(
    ("name", "limit", "fitted"),
    [
        ("a", 255, "a.damaged"),
        ("x" * 247, 255, "x" * 247 + ".damaged"),
        ("x" * 248, 255, "x" * 247 + ".damaged"),
        ("\u00e9" * 127, 255, "\u00e9" * 123 + ".damaged"),  # two bytes each, and never half of one
        ("\U0001f600" * 63, 255, "\U0001f600" * 61 + ".damaged"),
        ("\udcff" * 255, 255, "\udcff" * 247 + ".damaged"),
        ("abc", 10, "ab.damaged"),
        ("", 255, ".damaged"),
    ],
)
def test_a_name_with_an_ending_still_fits_the_disk(name: str, limit: int, fitted: str) -> None:
    assert (fitting(name, ".damaged", limit), len(name_bytes(fitted)) <= limit) == (fitted, True)


NAMES = ["a", "A", "B", "a-b", "a b", "a.b", "a\tb", "\x01", "!", "~", "_", "z", "\n"]
NAMES += ["\u00e9", "e\u0301", "\uffff", "\U00010000", "\udc80", "\udcff"]


def test_folders_stand_in_the_order_of_their_names_bytes_folder_by_folder() -> None:
    require("linux")
    chance = random.Random(5)
    paths = {"/".join(chance.choices(NAMES, k=chance.randint(1, 4))) for _ in range(500)}
    by_bytes = sorted(paths, key=lambda path: os.fsencode(path).split(b"/"))
    assert sorted(paths, key=folder_key) == by_bytes
    assert folder_key("") == ()
    assert all(folder_key("") < folder_key(path) for path in paths)


@pytest.mark.needs("linux", "find")
def test_the_order_is_that_of_a_real_disk_seen_by_another_program(tmp_path: os.PathLike[str]) -> None:
    chance = random.Random(7)
    for _ in range(60):
        os.makedirs(os.path.join(os.fspath(tmp_path), *chance.choices(NAMES, k=3)), exist_ok=True)
    command = ["find", ".", "-mindepth", "1", "-printf", "%P\\0"]
    raw = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout.split(b"\0")[:-1]
    # what LC_ALL=C sort does with the slash below every other byte
    in_order = sorted(raw, key=lambda path: path.replace(b"/", b"\0"))
    assert [os.fsencode(path) for path in sorted(map(os.fsdecode, raw), key=folder_key)] == in_order


def test_a_folder_stands_right_before_what_is_in_it() -> None:
    paths = ["a-b", "a", "a/b", "a.b", "a/b/c", "a b", "ab", "a/a", "b"]
    assert sorted(paths, key=folder_key) == ["a", "a/a", "a/b", "a/b/c", "a b", "a-b", "a.b", "ab", "b"]


def test_names_become_the_bytes_that_lie_on_the_disk() -> None:
    require("linux")
    table: Dict[str, bytes] = {"a": b"a", "\u00e9": b"\xc3\xa9", "\udce9": b"\xe9", "\uffff": b"\xef\xbf\xbf", "": b""}
    assert {name: name_bytes(name) for name in table} == table
