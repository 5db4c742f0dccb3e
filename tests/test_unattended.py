"""Runs by themselves: what is due and what is not, whom a run tells, how one stands, and when a drive may be unplugged.

A person has settings, folders and drives; the clock is moved by hours, and the scheduler is this file.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import pytest

import snapback
from conftest import Cli, Mount, User
from snapback import DriveStatus, Duration, Seen
from trees import Outcome, ask, dates, differences, later, remove_tree, twin

pytestmark = pytest.mark.needs("linux")
START = datetime(2026, 3, 2, 8, 17, tzinfo=timezone.utc)  # a Monday
MADE = re.compile(r"Dated copy (\S+) made on (\S+):")


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


class Person:
    """Somebody with a home folder in which Documents are, and with drives that each lie at a path of their own."""

    def __init__(self, home: Path, place: Path) -> None:
        """Nothing is made yet but a letter; `place` is where the drives will be."""
        self.home, self.place, self.documents = home, place, home / "Documents"
        self.documents.mkdir()
        (self.documents / "letter").write_text("dear Anna")
        self.ids: Dict[str, str] = {}

    def at(self, hours: float, *words: object) -> Outcome:
        """Run a command so many hours after the start."""
        with later(int(hours * 3600), START):
            return ask(*words)

    def facts(self, hours: float, *words: object) -> Dict[str, Any]:
        """Give what a command says to machines."""
        found: Dict[str, Any] = json.loads(self.at(hours, *words, "--json").out)
        return found

    def drive(self, label: str, *words: str) -> Path:
        """Make a drive."""
        (self.place / label).mkdir()
        made = self.facts(-1, "init", self.place / label, "--label", label, *words)
        assert made["exit_code"] == 0, made
        self.ids[label] = made["id"]
        return self.place / label

    def settings(self, general: str = "", **drives: str) -> None:
        """Write the settings: lines of [backup], and lines for each drive."""
        text = f"[backup]\nsources = ~/Documents\n{general}\n"
        for label, lines in drives.items():
            text += f"[drive {self.ids[label]}]\nlabel = {label}\npath = {self.place / label}\n{lines}\n"
        file = self.home / ".config" / "snapback" / "snapback.ini"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def unplug(self, label: str) -> None:
        """Take a drive away."""
        (self.place / "away").mkdir(exist_ok=True)
        (self.place / label).rename(self.place / "away" / label)

    def plug_in(self, label: str) -> None:
        """Bring it back."""
        (self.place / "away" / label).rename(self.place / label)

    def copies(self, label: str) -> List[str]:
        """Name the dated copies on a drive."""
        drive = self.place / label
        return [name for a_set in sorted(drive.iterdir()) if a_set.is_dir() for name in dates(a_set)]

    def copy(self, label: str) -> Path:
        """Give the folder of the newest dated copy."""
        return next((self.place / label).glob(f"*/{self.copies(label)[-1]}"))

    def record(self, label: str) -> Dict[str, Any]:
        """Give what this computer noted of a drive."""
        text = (self.home / ".local" / "state" / "snapback" / "drives.json").read_text()
        found: Dict[str, Any] = json.loads(text)["seen"][self.ids[label]]
        return found


@pytest.fixture
def anna(home: Path, tmp_path: Path) -> Person:
    return Person(home, tmp_path)


def made_on(outcome: Outcome) -> List[str]:
    """Name the drives that a run made dated copies on."""
    return [drive for _, drive in MADE.findall(outcome.out)]


# --- Without arguments ------


def test_without_arguments_every_attached_drive_gets_what_the_settings_say(anna: Person) -> None:
    (anna.documents / "junk.tmp").write_text("x")
    (anna.home / "Work").mkdir()
    (anna.home / "Work" / "plan").write_text("y")
    anna.drive("BLUE")
    anna.drive("RED")
    anna.settings("    office = ~/Work\nexclude = *.tmp\nset = box", BLUE="keep-last = 1", RED="")
    first, second = anna.at(0, "backup"), anna.at(1, "backup", "-q")
    assert (first.code, made_on(first), second) == (0, ["BLUE", "RED"], Outcome(0, "", ""))
    both = ["2026-03-02_081700", "2026-03-02_091700"]
    assert (dates(anna.place / "BLUE/box"), dates(anna.place / "RED/box")) == (both[1:], both)
    for label in ("BLUE", "RED"):
        held = sorted(str(path.relative_to(anna.copy(label))) for path in anna.copy(label).rglob("*"))
        assert held == ["Documents", "Documents/letter", "SHA256SUMS", "office", "office/plan"]


@pytest.mark.parametrize("words", ["rotate --drive BLUE", "rotate", "rotate --drive BLUE --min-free 1M", "backup DOCUMENTS BLUE",
                                   "backup OTHER BLUE", "backup --min-free 1M"])  # fmt: skip
def test_what_the_settings_keep_no_command_deletes_that_does_not_say_so(anna: Person, words: str) -> None:
    """By default the last 3 of a day are kept."""
    anna.drive("BLUE")
    (anna.home / "Other").mkdir()
    (anna.home / "Other" / "plan").write_text("x")
    anna.settings(BLUE="keep-last = 7")
    for hour in range(6):
        assert anna.at(hour, "backup", "-q").code == 0
    places = {"BLUE": anna.place / "BLUE", "DOCUMENTS": anna.documents, "OTHER": anna.home / "Other"}
    assert anna.at(7, *(places.get(word, word) for word in words.split())).code == 0
    assert len(anna.copies("BLUE")) == (7 if "backup" in words else 6)
    assert anna.at(7, "rotate", "--keep-last", "2").code == 0
    assert len(anna.copies("BLUE")) == (3 if "OTHER" in words else 2)


def test_settings_that_cannot_be_read_let_nothing_be_deleted(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="keep-last = 7")
    for hour in range(6):
        assert anna.at(hour, "backup", "-q").code == 0
    anna.settings("keep-dayly = 7", BLUE="")
    outcome = anna.at(7, "backup", anna.documents, anna.place / "BLUE")
    assert (outcome.code, len(anna.copies("BLUE"))) == (3, 7), outcome
    assert "nothing old was deleted, as it is not known what to keep: the settings file " in outcome.err
    assert (anna.at(8, "rotate", "--drive", anna.place / "BLUE").code, len(anna.copies("BLUE"))) == (2, 7)
    assert (anna.at(8, "rotate", "--drive", anna.place / "BLUE", "--keep-last", "1").code, len(anna.copies("BLUE"))) == (0, 1)


def test_what_stands_on_the_command_line_goes_before_the_settings(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings("keep-last = 1", BLUE="")
    for hour in range(3):
        assert anna.at(hour, "backup", "--keep-last", "2", "--set", "other").code == 0
    assert dates(anna.place / "BLUE/other") == ["2026-03-02_091700", "2026-03-02_101700"]


def test_a_run_leaves_the_settings_in_its_set_without_commands(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings("on-result = true\nset = box", BLUE="every = 7d")
    assert anna.at(0, "backup").code == 0
    left = (anna.place / "BLUE/box/settings.ini").read_text()
    assert ("on-result" in left, "every = 7d" in left, str(anna.documents) in left) == (False, True, True)


def test_a_dry_run_writes_nothing_on_any_drive(anna: Person) -> None:
    anna.drive("BLUE", "--offline")
    anna.drive("RED")
    anna.settings(BLUE="eject = yes", RED="")
    before = twin(anna.place)
    outcome = anna.at(0, "backup", "-n")
    assert (outcome.code, outcome.out.count("Nothing was written.")) == (0, 2), outcome
    assert differences(twin(anna.place), before) == []



def make_it_another_computers(anna: Person) -> None:
    remove_tree(anna.copy("BLUE").parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapback, "machine_id", lambda: "1" * 32)
        assert anna.at(0, "backup", "--set", "box", anna.documents, anna.place / "BLUE").code == 0


def put_a_file_in_the_sets_place(anna: Person) -> None:
    a_set = anna.copy("BLUE").parent
    remove_tree(a_set)
    a_set.write_text("")


def clone(anna: Person) -> None:
    shutil.copytree(anna.place / "BLUE", anna.place / "CLONE")


FAILURES: Dict[str, Tuple[Callable[[Person], None], int, str]] = {  # what happens to BLUE, the exit code, what is said
    "its set is another computer's": (make_it_another_computers, 2, "belongs to another computer"),
    "its set's name is a file's": (put_a_file_in_the_sets_place, 1, "BLUE"),
    "another drive has its id": (clone, 2, "two drives have the id of BLUE"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("first", ["BLUE", "RED"])
def test_one_drives_failure_does_not_stop_the_others(anna: Person, case: str, first: str) -> None:
    happens, code, said = FAILURES[case]
    anna.drive("BLUE")
    anna.drive("RED")
    anna.ids["CLONE"] = "f" * 32  # its path is looked at, too
    others = {"CLONE": ""} if happens is clone else {}
    anna.settings("set = box", **{first: "", "BLUE": "", "RED": "", **others})
    assert anna.at(0, "backup").code == 0
    happens(anna)
    outcome = anna.at(1, "backup", "-q")
    assert (outcome.code, outcome.out, outcome.err.count("\n"), said in outcome.err) == (code, "", 1, True), outcome
    assert dates(anna.place / "RED/box") == ["2026-03-02_081700", "2026-03-02_091700"]


# --- What is due ------


def hours_of_copies(anna: Person, hours: Sequence[float], *words: object) -> List[float]:
    """Run at these hours, quietly, and give those at which a dated copy was made."""
    found = []
    for hour in hours:
        outcome = anna.at(hour, *words)
        assert (outcome.code, outcome.err) == (0, ""), (hour, outcome)
        found += [hour] if made_on(outcome) else []
    return found


AWAKE = [24 * day + hour for day in range(31) if not 10 <= day < 24 for hour in range(10)]  # 8:17 to 17:17, two weeks away
ALWAYS = range(24 * 5)
SHAKY = [hour + (hour * 7919 % 101 - 50) / 3600 for hour in ALWAYS]  # up to 50 seconds early or late


@pytest.mark.parametrize("settings", [True, False], ids=["--if-due", "--every 1d"])
def test_hourly_runs_make_one_copy_on_each_day_that_the_laptop_is_awake(anna: Person, settings: bool) -> None:
    drive = anna.drive("BLUE")
    anna.settings(BLUE="")
    words = ["backup", "--if-due"] if settings else ["backup", "--every", "1d", "--if-attached", anna.documents, drive]
    made = hours_of_copies(anna, AWAKE, *words)
    assert made == [24 * day for day in range(31) if not 10 <= day < 24]


@pytest.mark.parametrize("hours", [ALWAYS, SHAKY], ids=["to the second", "up to 50 seconds off"])
def test_the_hour_of_the_daily_copy_does_not_wander(anna: Person, hours: Sequence[float]) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="")
    assert [round(hour) for hour in hours_of_copies(anna, hours, "backup", "--if-due")] == [24 * day for day in range(5)]


def test_each_drive_has_its_own_every(anna: Person) -> None:
    anna.drive("BLUE")
    anna.drive("RED")
    anna.settings(BLUE="every = 12h", RED="every = 7d")
    made = {hour: made_on(anna.at(hour, "backup", "--if-due")) for hour in range(0, 24 * 8, 6)}
    assert [hour for hour in made if "BLUE" in made[hour]] == list(range(0, 24 * 8, 12))
    assert [hour for hour in made if "RED" in made[hour]] == [0, 24 * 7]


@pytest.mark.parametrize("words", [["--every", "1d"], ["--every", "1d", "-q"], ["--every", "1d", "-n"], ["--every", "1d", "--json"]])
def test_nothing_is_written_on_a_drive_on_which_nothing_is_due(anna: Person, words: List[str]) -> None:
    drive = anna.drive("BLUE")
    anna.settings(BLUE="")
    assert anna.at(0, "backup").code == 0
    before = twin(drive)
    for paths in ([], [anna.documents, drive]):
        outcome = anna.at(23, "backup", *words, *paths)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        assert outcome.out == "" or "due" in outcome.out
    assert differences(twin(drive), before) == []


def interrupt(anna: Person) -> None:
    anna.copy("BLUE").rename(f"{anna.copy('BLUE')}.incomplete")


def damage(anna: Person) -> None:
    newest = anna.copy("BLUE")
    for path in (newest / "SHA256SUMS", newest.parent / "manifests" / f"{newest.name}.gz"):
        os.truncate(path, path.stat().st_size // 2)


def damage_one_list(anna: Person) -> None:
    os.truncate(anna.copy("BLUE") / "SHA256SUMS", 100)


def copy_something_else(anna: Person) -> None:
    (anna.home / "Else").mkdir()
    (anna.home / "Else" / "x").write_text("x")
    assert anna.at(2, "backup", anna.home / "Else", anna.place / "BLUE").code == 0


NEWEST: Dict[str, Tuple[Callable[[Person], None], str, List[float]]] = {  # what becomes of it, more sources, when copies are made then
    "nothing": (lambda _anna: None, "", [24]),
    "it was interrupted": (interrupt, "", [3, 27]),
    "its lists are damaged": (damage, "", [3, 27]),
    "its first list is damaged": (damage_one_list, "", [24]),
    "a copy of other sources is newer": (copy_something_else, "", [24]),
    "the settings have one more source": (lambda _anna: None, "    ~/Else", [3, 27]),
}


@pytest.mark.parametrize("case", NEWEST)
def test_only_a_whole_copy_of_the_same_sources_makes_the_next_one_wait(anna: Person, case: str) -> None:
    happens, more, expected = NEWEST[case]
    anna.drive("BLUE")
    anna.settings(BLUE="")
    assert anna.at(0, "backup").code == 0
    happens(anna)
    (anna.home / "Else").mkdir(exist_ok=True)
    (anna.home / "Else" / "x").write_text("x")
    anna.settings(more, BLUE="")
    assert [hour for hour in range(3, 28) if made_on(anna.at(hour, "backup", "--if-due"))] == expected


def test_a_newest_copy_dated_in_the_future_does_not_stop_copies(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="")
    assert anna.at(24 * 1000, "backup").code == 0
    made = [hour for hour in range(30) if made_on(anna.at(hour, "backup", "--if-due"))]
    assert made == [0, 24]


# --- Drives that are away ------


class Called(NamedTuple):
    """One call of a program: its words, and its environment."""

    words: List[str]
    variables: Dict[str, str]


class Programs:
    """Programs that stand first on PATH and record how they are called."""

    def __init__(self, folder: Path) -> None:
        """The folder is empty."""
        self.folder = folder

    def add(self, name: str, script: str = "") -> None:
        """Make a program that records its call, and does then what a script says."""
        calls = shlex.quote(str(self.folder / f"{name}.calls"))
        (self.folder / name).write_text(
            f"#!/bin/sh\n{{ printf '%s\\0' \"$@\"; printf '\\001'; env -0; printf '\\002'; }} >>{calls}\n{script}\n"
        )
        (self.folder / name).chmod(0o755)

    def calls(self, name: str) -> List[Called]:
        """Give its calls so far."""
        file = self.folder / f"{name}.calls"
        found = []
        for call in file.read_text().split("\2")[:-1] if file.exists() else []:
            words, _, variables = call.partition("\1")
            pairs = (pair.partition("=") for pair in variables.split("\0")[:-1])
            found.append(Called(words.split("\0")[:-1], {name: value for name, _, value in pairs}))
        return found


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A desktop with notify-send."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    made = Programs(tmp_path / "bin")
    made.add("notify-send")
    return made


def notices(programs: Programs) -> List[List[str]]:
    """Give title and text of each notice so far."""
    return [call.words[-2:] for call in programs.calls("notify-send")]


class Heard(NamedTuple):
    """When a person hears of a drive in hourly runs: hours of a line on stderr, with exit code 3, and of a notice."""

    lines: List[int]
    notices: List[int]


def hear(anna: Person, programs: Programs, hours: Sequence[int], *words: str) -> Heard:
    lines, seen = [], []
    for hour in hours:
        before = len(notices(programs))
        outcome = anna.at(hour, "backup", *words)
        assert (outcome.code, outcome.err.count("\n")) in ((0, 0), (3, 1)), (hour, outcome)
        lines += [hour] if outcome.code == 3 else []
        seen += [hour] * (len(notices(programs)) - before)
    return Heard(lines, seen)


@pytest.mark.parametrize(
    ("settings", "hours", "expected"),
    [
        ("remind-after = 3d", range(1, 140), [72, 92, 112, 132]),
        ("remind-after = 3d", [24 * day + hour for day in range(6) for hour in range(1, 15)], [73, 97, 121]),  # asleep at night
        ("", range(1, 24 * 8), [168, 188]),
        ("remind-after = 12h\nevery = 1h", range(1, 14), [12]),
    ],
)
def test_an_absent_drive_is_quiet_until_remind_after_and_then_heard_of_once_a_day(
    anna: Person, programs: Programs, settings: str, hours: Sequence[int], expected: List[int]
) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE=settings)
    assert anna.at(0, "backup").code == 0
    anna.unplug("BLUE")
    assert hear(anna, programs, hours, "--if-due", "-q") == Heard(expected, expected)
    anna.plug_in("BLUE")
    assert hear(anna, programs, [200, 201], "--if-due", "-q") == Heard([], [])
    anna.unplug("BLUE")
    assert hear(anna, programs, [202, 203], "--if-due", "-q") == Heard([], [])


def test_a_drive_that_was_never_attached_is_heard_of_after_remind_after_too(anna: Person, programs: Programs) -> None:
    anna.ids["BLUE"] = "0" * 32
    anna.settings(BLUE="")
    assert hear(anna, programs, range(24 * 8), "--if-due", "-q") == Heard([168, 188], [168, 188])
    said = "BLUE is not attached, so nothing was copied to it; there is no dated copy on it that is known here: attach it soon, and let it"
    assert notices(programs) == [["snapback: BLUE", f"{said} be copied to"]] * 2


YEAR = 24 * 365


@pytest.mark.parametrize("seen", [True, False])
def test_a_clock_that_was_ahead_puts_no_reminder_off(anna: Person, programs: Programs, seen: bool) -> None:
    if seen:
        anna.drive("BLUE")
        anna.settings(BLUE="")
        assert anna.at(YEAR, "backup").code == 0
        anna.unplug("BLUE")
    else:
        anna.ids["BLUE"] = "0" * 32
        anna.settings(BLUE="")
    assert hear(anna, programs, [YEAR + 1], "--if-due", "-q") == Heard([], [])
    assert hear(anna, programs, range(24 * 8), "--if-due", "-q") == Heard([168, 188], [168, 188])


def test_where_nothing_can_be_remembered_an_absent_drive_is_heard_of_each_time(anna: Person, programs: Programs) -> None:
    anna.ids["BLUE"] = "0" * 32
    anna.settings(BLUE="")
    (anna.home / ".local").write_text("no folder")
    assert hear(anna, programs, [0, 1, 200], "--if-due", "-q") == Heard([0, 1, 200], [0, 1, 200])


@pytest.mark.parametrize(
    ("there", "words", "code"),
    [
        ("", [], 75),
        ("", ["--if-attached"], 0),
        ("", ["--if-due"], 0),
        ("", ["--every", "1d"], 0),
        ("RED", [], 0),
        ("RED", ["--if-due"], 0),
    ],
)
def test_an_absent_drive_counts_only_when_none_was_attached(anna: Person, there: str, words: List[str], code: int) -> None:
    for label in ("BLUE", "RED"):
        anna.drive(label)
    anna.settings(BLUE="", RED="")
    assert anna.at(0, "backup").code == 0
    for label in {"BLUE", "RED"} - {there}:
        anna.unplug(label)
    outcome = anna.at(24, "backup", *words)
    assert (outcome.code, made_on(outcome), bool(outcome.err)) == (code, [there] if there else [], code != 0), outcome
    assert "BLUE is not attached, so nothing was copied to it" in outcome.out + outcome.err


def test_by_hand_an_overdue_drive_is_always_spoken_of(anna: Person) -> None:
    anna.drive("BLUE")
    anna.drive("RED")
    anna.settings(BLUE="", RED="")
    assert anna.at(0, "backup").code == 0
    anna.unplug("BLUE")
    told = [anna.at(hour, "backup") for hour in (167, 168, 169)]
    assert [(outcome.code, "BLUE is not attached" in outcome.err, made_on(outcome)) for outcome in told] == [
        (0, False, ["RED"]), (3, True, ["RED"]), (3, True, ["RED"])]  # fmt: skip


def test_a_drive_that_was_exchanged_during_the_run_gets_no_copy(anna: Person, programs: Programs) -> None:
    """The copy on the first drive may take hours."""
    for label in ("BLUE", "RED", "STRANGER"):
        anna.drive(label)
    programs.add("tell", f"cd {anna.place} && [ -e STRANGER ] && mv RED away && mv STRANGER RED || true")
    anna.settings("on-result = tell", BLUE="", RED="")
    before = twin(anna.place / "STRANGER")
    outcome = anna.at(0, "backup")
    assert (outcome.code, made_on(outcome), len(anna.copies("BLUE"))) == (0, ["BLUE"], 1), outcome
    assert "RED is not attached, so nothing was copied to it: another drive, STRANGER, is now at" in outcome.out, outcome
    assert differences(twin(anna.place / "RED"), before) == []
    assert anna.record("RED")["missed_since"]


def put_a_folder_in_the_markers_place(anna: Person) -> None:
    remove_the_marker(anna)
    (anna.place / "BLUE" / "snapback-marker.txt").mkdir()


@pytest.mark.parametrize("with_path", [True, False])
@pytest.mark.parametrize("happens", ["break_the_marker", "remove_the_marker", "put_a_folder_in_the_markers_place"])
def test_a_drive_that_is_there_and_cannot_be_used_is_no_absent_one(
    anna: Person, programs: Programs, happens: str, with_path: bool
) -> None:
    anna.drive("BLUE")
    anna.drive("RED")
    programs.add("tell")
    anna.settings("on-result = tell", BLUE="", RED="")
    assert anna.at(0, "backup", "-q").code == 0
    if not with_path:  # then the place where it was seen last is looked at
        file = anna.home / ".config" / "snapback" / "snapback.ini"
        file.write_text(file.read_text().replace(f"path = {anna.place / 'BLUE'}\n", ""))
    globals()[happens](anna)
    before = twin(anna.place / "BLUE")
    outcome = anna.at(24, "backup", "--if-due", "-q")
    assert (outcome.code, outcome.err.count("\n"), "marker" in outcome.err) == (1, 1, True), outcome
    assert len(notices(programs)) == 1
    assert [call.variables["SNAPBACK_RESULT"] for call in programs.calls("tell")] == ["ok", "ok", "failed", "ok"]
    outcome = anna.at(25, "backup", "--if-attached", "-q", anna.documents, anna.place / "BLUE")
    assert (outcome.code != 0, "marker" in outcome.err) == (True, True), outcome
    assert differences(twin(anna.place / "BLUE"), before) == []


def test_an_automounter_is_not_asked_where_a_drive_was_seen_last(anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would mount again what was ejected."""
    anna.drive("BLUE")
    anna.settings(BLUE="")
    assert anna.at(0, "backup", "-q").code == 0
    remove_the_marker(anna)
    listed = snapback.mounts()
    for kind, broken in (("autofs", 0), ("ext4", 1)):
        monkeypatch.setattr(snapback, "mounts", lambda kind=kind: [*listed, snapback.Mounted(str(anna.place / "BLUE"), kind)])
        assert len(snapback.find_drives({anna.ids["BLUE"]: ""}).broken) == broken


@pytest.mark.needs("root", "mount")
def test_a_drive_that_fails_where_it_was_seen_last_is_no_absent_one(anna: Person, mounted: Callable[..., Mount]) -> None:
    disk = mounted("ext4")
    anna.ids["STICK"] = anna.facts(-1, "init", disk.path, "--label", "STICK")["id"]
    anna.settings(STICK="")
    assert anna.at(0, "backup", "-q").code == 0
    disk.shut_down()
    outcome = anna.at(24, "backup", "--if-due", "-q")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1), outcome


# --- Telling people ------


def test_a_notice_is_shown_once_a_day_for_each_kind_of_trouble(anna: Person, programs: Programs) -> None:
    """Away for too long, and attached without anything to copy, by turns."""
    anna.drive("BLUE")
    anna.settings(BLUE="remind-after = 12h")
    assert anna.at(0, "backup").code == 0
    anna.documents.rename(anna.home / "elsewhere")
    codes = []
    for hour, there in enumerate([True, True, False, False, True, False, True] * 2, 24):
        if there != (anna.place / "BLUE").exists():
            (anna.plug_in if there else anna.unplug)("BLUE")
        codes += [anna.at(hour, "backup", "--if-due", "-q").code]
    assert codes == [1, 1, 3, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1]
    assert ["there is no " in text for _, text in notices(programs)] == [True, False]
    assert anna.at(24 + 21, "backup", "--if-due", "-q").code == 1
    assert ["there is no " in text for _, text in notices(programs)] == [True, False, True]
    (anna.home / "elsewhere").rename(anna.documents)
    assert anna.at(48, "backup", "--if-due", "-q").code == 0
    anna.documents.rename(anna.home / "elsewhere")
    assert anna.at(73, "backup", "--if-due", "-q").code == 1
    assert len(notices(programs)) == 4  # it had been well in between


def test_another_run_that_hangs_is_told_of_when_the_newest_copy_is_old(anna: Person, programs: Programs) -> None:
    anna.drive("BLUE")
    anna.settings("set = box", BLUE="remind-after = 3d")
    assert anna.at(0, "backup").code == 0
    programs.add("tell")
    anna.settings("set = box\non-result = tell", BLUE="remind-after = 3d")
    held = lock(anna)
    told = []
    for hour in (24, 71, 72, 91, 92):
        outcome = anna.at(hour, "backup", "--if-due", "-q")
        assert (outcome.code, "another run of snapback is working on this set" in outcome.err) == (11, True), outcome
        told.append(("that other run may hang" in outcome.err, len(notices(programs)), len(programs.calls("tell"))))
    assert told == [(False, 0, 0), (False, 0, 0), (True, 1, 1), (True, 1, 2), (True, 2, 3)]
    assert {call.variables["SNAPBACK_RESULT"] for call in programs.calls("tell")} == {"failed"}
    os.close(held)


@pytest.mark.parametrize("absent", [True, False])
def test_a_notice_that_nobody_could_be_shown_is_tried_again(anna: Person, programs: Programs, absent: bool) -> None:
    """Nobody may be logged in at night; the line on stderr comes once a day all the same where a drive is away."""
    anna.drive("BLUE")
    anna.settings(BLUE="remind-after = 1d")
    assert anna.at(0, "backup").code == 0
    if absent:
        anna.unplug("BLUE")
    else:
        anna.documents.rename(anna.home / "elsewhere")
    programs.add("notify-send", "exit 1")
    said = [anna.at(hour, "backup", "--if-due", "-q").code for hour in (24, 25)]
    assert (said, len(notices(programs))) == ([3, 0] if absent else [1, 1], 2)
    programs.add("notify-send")
    said = [anna.at(hour, "backup", "--if-due", "-q").code for hour in (26, 27, 43, 44, 45, 46)]
    assert (said, len(notices(programs))) == ([0, 0, 0, 3, 0, 0] if absent else [1] * 6, 4)
    assert ["is not attached" in text for _, text in notices(programs)] == [absent] * 4


@pytest.mark.parametrize("notify", ["", "notify = no"])
@pytest.mark.parametrize("sources", ["~/Documents\nexclude-from = ~/nothing", "~/Documents\nexclude-from = ~/Documents/bad", "~/fifo"])
def test_settings_that_lead_to_nothing_usable_are_told_of_as_well(anna: Person, programs: Programs, sources: str, notify: str) -> None:
    """They were right when they were written; then something went away, or changed."""
    anna.drive("BLUE")
    programs.add("tell")
    (anna.documents / "bad").write_text("!")
    os.mkfifo(anna.home / "fifo")
    anna.settings(f"on-result = tell\n{notify}", BLUE="")
    file = anna.home / ".config" / "snapback" / "snapback.ini"
    file.write_text(file.read_text().replace("sources = ~/Documents", f"sources = {sources}"))
    outcome = anna.at(0, "backup", "--if-due", "-q")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome
    sentence = outcome.err[len("snapback: "):].rstrip("\n")
    assert notices(programs) == ([] if notify else [["snapback: nothing is copied", sentence]])
    (call,) = programs.calls("tell")
    assert {name: call.variables[f"SNAPBACK_{name}"] for name in ("RESULT", "EXIT_CODE", "DRIVE", "MESSAGE")} == {
        "RESULT": "failed", "EXIT_CODE": "2", "DRIVE": "", "MESSAGE": sentence}  # fmt: skip
    assert anna.at(1, "backup", "-n", "-q").code == 2
    assert len(programs.calls("tell")) == 1


def test_a_notice_cannot_be_painted(anna: Person, programs: Programs) -> None:
    anna.drive("BLUE")
    anna.settings("    ~/<b>&amp;\\n", BLUE="")
    assert anna.at(0, "backup", "-q").code == 1
    ((title, text),) = notices(programs)
    assert (title, "&lt;b&gt;&amp;amp;\\\\n" in text, "<" in text) == ("snapback: BLUE", True, False), text


@pytest.mark.parametrize("setting", ["notify = no", ""])
def test_no_notice_where_none_is_wanted(anna: Person, programs: Programs, setting: str) -> None:
    anna.drive("BLUE")
    anna.settings(f"    ~/nothing\n{setting}", BLUE="")
    assert anna.at(0, "backup", "-q").code == 1
    assert len(notices(programs)) == (0 if setting else 1)


# --- How one stands ------


@pytest.mark.parametrize("by_settings", [True, False])
def test_an_offline_drive_that_stays_attached_for_days_is_no_offline_drive(anna: Person, by_settings: bool) -> None:
    drive = anna.drive("BLUE", "--offline")
    if by_settings:
        anna.settings(BLUE="every = 7d")
    words = ["--if-due"] if by_settings else ["--every", "7d", "--if-attached", anna.documents, drive]
    told = []
    for hour in range(0, 24 * 4, 6):
        assert anna.at(hour, "backup", *words).code == 0
        told += [anna.facts(hour, "status")["one_offline"]]
    assert told == [True] * 8 + [False] * 8
    assert "no offline drive: unplug it between copies" in anna.at(90, "status").out


@pytest.mark.parametrize("who", ["a run by settings", "a run by paths", "status", "nobody"])
def test_a_drive_that_was_away_in_between_is_still_an_offline_drive(anna: Person, who: str) -> None:
    drive = anna.drive("BLUE", "--offline")
    if who != "a run by paths":
        anna.settings(BLUE="")
    by_paths = ["backup", "--every", "1d", "--if-attached", anna.documents, drive]
    notices_it = {"a run by settings": ["backup", "--if-due"], "a run by paths": by_paths, "status": ["status"]}
    days = 1 if who in notices_it else 3
    for day in range(0, 30, days):
        assert anna.at(24 * day, *(by_paths if who == "a run by paths" else ["backup"])).code == 0
        anna.unplug("BLUE")
        if who in notices_it:
            assert anna.at(24 * day + 1, *notices_it[who]).code == 0
        anna.plug_in("BLUE")
    found = anna.facts(24 * day + 2, "status")
    assert (found["one_offline"], found["exit_code"]) == (True, 0)


def test_what_was_checked_or_accepted_last_is_known_when_the_drive_is_away(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="")
    for nth in range(60):
        (anna.documents / str(nth)).write_text(str(nth))
    assert anna.at(0, "backup").code == 0
    for nth in range(60):
        (anna.documents / str(nth)).write_text(f"gone {nth}")
    assert anna.at(1, "backup").code == 5
    assert anna.at(2, "verify", "--drive", anna.place / "BLUE").code == 0
    assert (anna.record("BLUE")["checked"], anna.record("BLUE")["hold"] != "") == ("2026-03-02T10:17:00+00:00", True)
    assert anna.at(3, "accept", "--drive", anna.place / "BLUE").code == 0
    anna.unplug("BLUE")
    (one,) = anna.facts(4, "status")["drives"]
    assert (one["checked"], one["hold"], one["attached"]) == ("2026-03-02T10:17:00+00:00", "", False)


def test_without_settings_a_disk_that_is_the_sources_own_stays_known_as_that(anna: Person) -> None:
    drive = anna.drive("BLUE")
    (anna.place / "data").mkdir()
    (anna.place / "data" / "x").write_text("x")
    assert anna.at(0, "backup", anna.place / "data", drive).code == 0
    assert [anna.facts(hour, "status")["two_disks"] for hour in (1, 2)] == [False, False]


def test_a_history_that_somebody_wrote_on_a_drive_cannot_break_a_run(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="")
    assert anna.at(0, "backup").code == 0
    history = anna.copy("BLUE").parent / "history.jsonl"
    lines = ['{"what": "verify", "time": 5}', '{"what": "verify", "time": null}', '"verify"', '{"what": "verify"}', '["verify"]', '"verify']
    history.write_text("\n".join([*lines, "[" * 100_000 + '"verify"', ""]))
    assert [anna.at(1, *words).code for words in (["status"], ["backup"])] == [0, 0]


NOW = START + timedelta(days=100)


def days_ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat(timespec="seconds")


def seen_days_ago(days: float, **facts: Any) -> Seen:
    """What is known of a drive that was copied to so long ago."""
    when = NOW - timedelta(days=days)
    known = Seen(path="/media/anna/BLUE-STICK", set_name="annas-laptop", snapshot=f"{when:%Y-%m-%d_%H%M%S}", taken=days_ago(days),
                 free=999 * 10**9, total=1999 * 10**9, pace=10**9, seen=days_ago(days), checked=days_ago(days))  # fmt: skip
    return known._replace(**facts)


HELD = "on hold since 2026-06-01_081700: 78,579 of 80,000 files of Documents are gone or have other content; and so on"
SCREENS: Dict[str, Tuple[Seen, Seen]] = {
    "well": (seen_days_ago(0.9), seen_days_ago(5.5)),
    "unknown": (Seen(), Seen()),
    "old": (seen_days_ago(99), seen_days_ago(98.6)),
    "held": (seen_days_ago(0.9, hold=HELD, unguarded=True, checked=""), seen_days_ago(99, hold=HELD, unguarded=True, checked="")),
    "damaged": (seen_days_ago(0.9, damaged=78_579), seen_days_ago(6, damaged=78_579)),
    "in samples": (seen_days_ago(29.9, sampled=days_ago(28.6), share=99_999, rotten=True),
                   seen_days_ago(6, checked="", sampled=days_ago(28.6), share=99_999, rotten=True)),
    "full": (seen_days_ago(0.9, free=5 * 10**9), seen_days_ago(6, free=5 * 10**9)),
    "always attached": (seen_days_ago(0.9, offline=True, attached_since=days_ago(99.9)), seen_days_ago(0.9, offline=True)),
    "in the future": (seen_days_ago(-9), seen_days_ago(-9)),
}


@pytest.mark.parametrize("case", SCREENS)
@pytest.mark.parametrize("attached", [(True, True), (True, False), (False, False)])
def test_how_two_drives_stand_fits_one_screen(case: str, attached: Tuple[bool, bool]) -> None:
    drives = [DriveStatus(str(at), label, seen._replace(label=label, path=f"/media/anna/{label}"), there, Duration(days=7))
              for at, (label, seen, there) in enumerate(zip(("BLUE-STICK", "HOME-DISK"), SCREENS[case], attached))]  # fmt: skip
    answer = snapback.status_answer(drives, NOW, True)
    screen = [*answer.lines, *answer.problems]
    assert [line for line in screen if len(line) > 80] == []
    assert len(screen) <= 24, "\n".join(screen)


def test_status_says_all_of_it_in_words_and_to_machines(anna: Person) -> None:
    anna.drive("BLUE", "--offline")
    anna.drive("RED")
    anna.settings(BLUE="remind-after = 14d", RED="")
    for day in range(4):
        (anna.documents / f"photo {day}").write_bytes(b"x" * 10**6)
        assert anna.at(24 * day, "backup").code == 0
    assert anna.at(73, "verify", "--drive", anna.place / "BLUE").code == 0
    anna.unplug("BLUE")
    outcome, found = anna.at(96, "status"), anna.facts(96, "status")
    free, total = (size.rjust(1) for size in ("FREE", "TOTAL"))
    said = re.sub(r"[\d.]+ [GMT]B of [\d.]+ [GMT]B", f"{free} of {total}", outcome.out.replace(str(anna.place), "/media"))
    said = re.sub(r"enough for (\d+ days|years)", "enough for SOME TIME", said)
    assert (outcome.code, outcome.err) == (0, "")
    assert said.splitlines() == [
        "Safe: newest dated copy 1 day ago, on BLUE",
        "",
        "BLUE (offline): away, last seen 23 h ago",
        "  newest copy  2026-03-05_081700, 1 day ago",
        "  last check   23 h ago",
        "  space        FREE of TOTAL free; at the present pace enough for SOME TIME",
        "RED: attached at /media/RED",
        "  newest copy  2026-03-05_081700, 1 day ago",
        "  last check   never: run snapback.py verify --drive /media/RED",
        "  space        FREE of TOTAL free; at the present pace enough for SOME TIME",
        "",
        "Three copies  yes: the original, BLUE and RED",
        "Two disks     yes: BLUE and RED",
        "One offline   yes: BLUE",
        "Plug in next  BLUE",
    ]
    anna.unplug("RED")
    assert "  last check   never: attach it and run snapback.py verify" in anna.at(97, "status").out.splitlines()
    blue, red = found.pop("drives")
    assert found == {"safe": True, "tripwire": True, "three_copies": True, "two_disks": True, "one_offline": True,
                     "plug_in_next": anna.ids["BLUE"], "exit_code": 0}  # fmt: skip
    wanted = {"id": anna.ids["BLUE"], "label": "BLUE", "attached": False, "snapshot": "2026-03-05_081700", "troubles": [], "hold": "",
              "taken": "2026-03-05T08:17:00+00:00", "checked": "2026-03-05T09:17:00+00:00", "seen": "2026-03-05T09:17:00+00:00",
              "offline": True, "same_disk": False, "damaged": 0, "pace": 10**6, "missed_since": "2026-03-06T08:17:00+00:00",
              "attached_since": ""}  # fmt: skip
    assert {key: blue[key] for key in wanted} == wanted
    assert (red["attached"], red["free"] > 0, red["total"] >= red["free"]) == (True, True, True)


def test_the_drive_to_plug_in_next_is_the_one_that_was_copied_to_longest_ago(anna: Person) -> None:
    for hour, label in enumerate(("BLUE", "RED", "GREEN", "NEW")):
        anna.drive(label)
        anna.settings(**{label: ""})
        if label != "NEW":
            assert anna.at(hour, "backup").code == 0
    anna.settings(BLUE="", RED="", GREEN="", NEW="")
    told = []
    for label in ("RED", "BLUE", "GREEN", "NEW"):
        anna.unplug(label)
        (line,) = (line for line in anna.at(9, "status").out.splitlines() if line.startswith("Plug in next"))
        told.append(line.split()[-1])
    assert told == ["RED", "BLUE", "BLUE", "NEW"]


def lose_much(anna: Person) -> None:
    for nth in range(60):
        (anna.documents / str(nth)).write_text(str(nth))
    assert anna.at(1, "backup").code == 0
    for nth in range(60):
        (anna.documents / str(nth)).write_text(f"other {nth}")
    assert anna.at(2, "backup").code == 5


def damage_a_file(anna: Person) -> None:
    os.truncate(anna.copy("BLUE") / "Documents" / "letter", 1)
    assert anna.at(2, "verify", "--drive", anna.place / "BLUE").code == 4


def take_both_away(anna: Person) -> None:
    anna.unplug("BLUE")
    anna.unplug("RED")


def copy_to_red_only(anna: Person) -> None:
    assert anna.at(24 * 9, "backup", "--set", "box", anna.documents, anna.place / "RED").code == 0


def copy_to_both(anna: Person) -> None:
    assert anna.at(24 * 9, "backup").code == 0


def date_in_the_future(anna: Person) -> None:
    assert anna.at(24 * 300, "backup", "--set", "box", anna.documents, anna.place / "BLUE").code == 0


def date_both_in_the_future(anna: Person) -> None:
    assert anna.at(24 * 300, "backup").code == 0


def remove_all(anna: Person) -> None:
    for label in ("BLUE", "RED"):
        remove_tree(anna.copy(label).parent)


def break_the_marker(anna: Person) -> None:
    (anna.place / "BLUE" / "snapback-marker.txt").write_text("snapback marker, but no more")


def remove_the_marker(anna: Person) -> None:
    (anna.place / "BLUE" / "snapback-marker.txt").unlink()


def have_what_cannot_be_read(anna: Person) -> None:
    """A copy is made of it all the same (3): of one file anew, of the other the earlier content."""
    refused = [str(anna.documents / name) for name in ("letter", "secret")]
    (anna.documents / "secret").write_text("x")
    opened = snapback.Folder.open_file

    def open_file(folder: snapback.Folder, name: str, *more: Any) -> int:
        if f"{folder.path}/{name}" in refused:
            raise PermissionError(13, "Permission denied")
        return opened(folder, name, *more)

    os.utime(anna.documents / "letter", (0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapback.Folder, "open_file", open_file)
        assert anna.at(1, "backup", "--jobs", "1").code == 3


class Stand(NamedTuple):
    """What happens after a copy on BLUE and RED at the start, when status is asked, its exit code, and what it says."""

    happens: Callable[[Person], None]
    hour: int
    code: int
    said: str


STANDS: Dict[str, Stand] = {
    "well": Stand(lambda _anna: None, 24, 0, "Safe: newest dated copy 1 day ago, on BLUE"),

    "both overdue": Stand(lambda _anna: None, 24 * 9, 1, "NOT SAFE: there is no recent dated copy"),
    "both overdue and away": Stand(take_both_away, 24 * 9, 1, "RED: its newest copy is 9 days old: attach it for a new one"),
    "one overdue": Stand(copy_to_red_only, 24 * 9, 3, "BLUE: its newest copy is 9 days old: run: snapback.py backup"),
    "caught up": Stand(copy_to_both, 24 * 9, 0, "Safe: newest dated copy just now"),
    "away": Stand(take_both_away, 24, 0, "BLUE: away, last seen 1 day ago"),
    "on hold": Stand(lose_much, 3, 3, "BLUE: on hold since 2026-03-02_101700, as much was lost at once\n  unplug it, or if it was you: "),
    "damaged": Stand(damage_a_file, 3, 3, "BLUE: 1 damaged file in its newest copy: run: snapback.py repair"),
    "in the future": Stand(date_in_the_future, 3, 3, "BLUE: its newest copy is dated in the future: is the clock right?"),
    "the other one counts": Stand(date_in_the_future, 3, 3, "Safe, but see below: newest dated copy 3 h ago, on RED"),
    "both in the future": Stand(date_both_in_the_future, 3, 1, "NOT SAFE: there is no recent dated copy"),
    "not in the copy": Stand(have_what_cannot_be_read, 2, 3, "BLUE: 1 file or folder is not in its newest copy, as "),
    "not anew in the copy": Stand(have_what_cannot_be_read, 2, 3, "BLUE: 1 file or folder is only as before in its newest copy, as "),
    "no copy at all": Stand(remove_all, 3, 1, "BLUE: there is no dated copy on it: run: snapback.py backup"),
    "another computer's": Stand(make_it_another_computers, 3, 3, "belongs to another computer"),
    "its set is a file": Stand(put_a_file_in_the_sets_place, 3, 3, "BLUE: the drive BLUE"),
    "marker damaged": Stand(break_the_marker, 3, 3, "BLUE: the marker of "),
    "marker gone": Stand(remove_the_marker, 3, 3, "holds dated copies, but its marker, snapback-marker.txt, is gone"),
}  # fmt: skip


@pytest.mark.parametrize("case", STANDS)
def test_status_ends_with_0_when_all_is_well_3_when_something_needs_attention_and_1_when_nobody_is_safe(anna: Person, case: str) -> None:
    stand = STANDS[case]
    anna.drive("BLUE")
    anna.drive("RED")
    anna.settings("set = box", BLUE="", RED="")
    assert anna.at(0, "backup").code == 0
    stand.happens(anna)
    outcome = anna.at(stand.hour, "status")
    assert (outcome.code, stand.said in outcome.out + outcome.err) == (stand.code, True), f"{outcome.out}{outcome.err}"
    assert bool(outcome.err) == (stand.code != 0)
    found = anna.facts(stand.hour, "status")
    assert (found["exit_code"], found["safe"]) == (stand.code, stand.code == 0)


def test_a_nearly_full_drive_needs_attention(anna: Person, mounted: Callable[..., Mount]) -> None:
    disk = mounted("tmpfs", "8M")
    assert anna.at(0, "backup", "--init", anna.documents, disk.path).code == 0
    assert anna.at(1, "status").code == 0
    disk.fill(leave=300_000)
    outcome = anna.at(2, "status")
    assert (outcome.code, outcome.err.split(": ")[1][:5]) == (3, "only "), outcome


def test_of_other_sources_no_copy_counts(anna: Person) -> None:
    """Whoever adds a folder to the settings is safe only when it was copied, and a copy of one folder by hand is none of all."""
    anna.drive("BLUE")
    (anna.home / "Else").mkdir()
    (anna.home / "Else" / "x").write_text("x")
    anna.settings(BLUE="")
    assert anna.at(0, "backup").code == 0
    assert anna.at(24 * 8, "backup", anna.home / "Else", anna.place / "BLUE").code == 0
    assert anna.facts(24 * 8, "status")["drives"][0]["taken"] == "2026-03-02T08:17:00+00:00"
    anna.settings("    ~/Else", BLUE="")
    assert [anna.at(24 * 8, *words).code for words in (["status"], ["backup"], ["status"])] == [1, 0, 0]


def test_a_set_of_another_computer_makes_nobody_safe(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapback, "machine_id", lambda: "1" * 32)
        assert anna.at(0, "backup", "--set", "hers", anna.documents, anna.place / "BLUE").code == 0
    for with_settings in (True, False):
        assert (anna.at(1, "status").code, anna.at(1, "status", "--drive", anna.place / "BLUE").code) == (1, 1)
        if with_settings:
            (anna.home / ".config/snapback/snapback.ini").unlink()
    (anna.home / ".local/state/snapback/drives.json").unlink()
    assert anna.at(1, "status", "--drive", anna.place / "BLUE").code == 0  # of a drive that is somebody's one sees how it stands
    outcome = anna.at(1, "status")
    assert (outcome.code, "NOT SAFE" in outcome.out + outcome.err) == (1, True), outcome


def test_without_settings_the_drives_are_known_from_the_local_record(anna: Person) -> None:
    blue, red = anna.drive("BLUE"), anna.drive("RED")
    for drive in (blue, red):
        assert anna.at(0, "backup", "--set", "box", anna.documents, drive).code == 0
    assert anna.at(0, "backup", "--set", "older", anna.documents, blue).code == 0
    anna.unplug("RED")
    found = anna.facts(24, "status")
    assert [(one["label"], one["attached"], one["set_name"], one["snapshot"]) for one in found["drives"]] == [
        ("BLUE", True, "older", "2026-03-02_081700"), ("RED", False, "box", "2026-03-02_081700")]  # fmt: skip
    assert (found["exit_code"], found["plug_in_next"]) == (0, anna.ids["RED"])


def test_without_the_record_too_the_drives_of_the_settings_are_found(anna: Person) -> None:
    anna.drive("BLUE")
    anna.ids["GONE"] = "0" * 32
    anna.settings(BLUE="", GONE="")
    assert anna.at(0, "backup").code == 0
    record = anna.home / ".local/state/snapback/drives.json"
    for spoil in (record.unlink, lambda: record.write_text("[]"), lambda: record.write_text('{"seen": {"x": 5}}'),
                  lambda: record.write_text("{")):  # fmt: skip
        spoil()
        outcome = anna.at(1, "status")
        assert (outcome.code, outcome.err) == (3, "GONE: no dated copy on it is known here: attach it for a new one\n"), outcome
        assert "GONE: never seen here" in outcome.out


def test_a_drive_that_was_named_is_judged_by_the_settings_too(anna: Person) -> None:
    anna.drive("BLUE")
    anna.drive("RED")
    anna.settings(BLUE="remind-after = 30d", RED="")
    assert anna.at(0, "backup").code == 0
    for label, code in (("BLUE", 0), ("RED", 1)):
        found = anna.facts(24 * 9, "status", "--drive", anna.place / label)
        assert ([one["label"] for one in found["drives"]], found["exit_code"]) == ([label], code)
    assert anna.at(0, "status", "--drive", anna.place / "nowhere").code == 75


def test_two_drives_with_one_id_are_told(anna: Person) -> None:
    anna.drive("BLUE")
    anna.ids["CLONE"] = "f" * 32
    anna.settings(BLUE="", CLONE="")
    assert anna.at(0, "backup").code == 0
    clone(anna)
    outcome = anna.at(1, "status")
    assert (outcome.code, "two drives have the id of BLUE" in outcome.err) == (1, True), outcome


@pytest.mark.needs("user")
def test_a_set_of_another_user_is_told(anna: Person, ordinary_user: User, cli: Cli, reachable: Path) -> None:
    (reachable / "drive").mkdir()
    assert anna.at(0, "backup", "--init", anna.documents, reachable / "drive").code == 0
    result = cli("status", "--drive", reachable / "drive", user=ordinary_user)
    assert (result.code, "belongs to another user" in result.err) == (1, True) if os.getuid() == 0 else (result.code >= 0, True)


def test_a_drive_is_not_spoken_of_before_a_copy_is_due_on_it(anna: Person, programs: Programs) -> None:
    """When `every` is longer than a week, and nothing is said of `remind-after`."""
    anna.drive("BLUE")
    anna.settings(BLUE="every = 20d")
    assert anna.at(0, "backup").code == 0
    anna.unplug("BLUE")
    assert hear(anna, programs, range(24, 24 * 22, 24), "--if-due", "-q") == Heard([24 * 20, 24 * 21], [24 * 20, 24 * 21])
    assert (anna.at(24 * 19, "status").code, anna.at(24 * 20, "status").code) == (0, 1)


# --- Several drives attached ------


def test_list_shows_the_other_drives_where_one_cannot_be_used(anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    anna.drive("BLUE"), anna.drive("RED")
    anna.ids["CLONE"] = "f" * 32
    anna.settings("set = box", BLUE="", RED="", CLONE="")
    assert anna.at(0, "backup").code == 0
    clone(anna)
    monkeypatch.chdir(anna.home)
    listed = anna.at(1, "list")
    assert (listed.code, re.findall("box on (.*)", listed.out)) == (2, ["RED"]), listed
    assert listed.err.startswith("BLUE: two drives have the id of BLUE")
    assert [one["drive"] for one in anna.facts(1, "list")["snapshots"]] == [str(anna.place / "RED")]


def test_list_says_of_which_drive_it_speaks(anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    anna.drive("BLUE"), anna.drive("RED")
    anna.settings("set = box", BLUE="", RED="")
    assert anna.at(0, "backup").code == 0
    lose_much(anna)
    monkeypatch.chdir(anna.home)
    assert re.findall("(.*): box: on hold", anna.at(3, "list").err) == ["BLUE", "RED"]


def test_list_shows_all_attached_drives_of_the_settings_and_other_commands_ask_which(
    anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue, red = anna.drive("BLUE"), anna.drive("RED")
    anna.settings("set = box", BLUE="", RED="")
    assert anna.at(0, "backup").code == 0
    monkeypatch.chdir(anna.home)
    listed = anna.at(1, "list")
    assert (listed.code, listed.out.count("2026-03-02_081700"), re.findall("box on (.*)", listed.out)) == (0, 2, ["BLUE", "RED"])
    assert [one["drive"] for one in anna.facts(1, "list")["snapshots"]] == [str(blue), str(red)]
    for words in (["verify"], ["restore", "latest"], ["rotate", "-n"], ["accept"], ["pin", "latest"], ["unpin", "latest"]):
        outcome = anna.at(1, *words)
        said = f"snapback: several drives are attached; say which: --drive {blue}, --drive {red}\n"
        assert outcome == Outcome(2, "", said), outcome
    anna.unplug("RED")
    assert [anna.at(1, *words).code for words in (["list"], ["verify"], ["restore", "latest"], ["rotate", "-n"])] == [0, 0, 0, 0]
    assert differences(twin(anna.home / "restored-2026-03-02_081700" / "Documents"), twin(anna.documents)) == []
    anna.unplug("BLUE")
    assert [anna.at(1, *words).code for words in (["list"], ["verify"], ["restore", "latest"])] == [75, 75, 75]


# --- Being told ------

ODD_WORDS = ["a b", ";", "$HOME", "$(id)", "`id`", "|", "a\\b", "*", "~"]


def test_on_result_is_given_its_words_as_they_are_and_the_facts_as_variables(anna: Person, programs: Programs) -> None:
    anna.drive("BLUE")
    programs.add("tell")
    anna.settings("on-result = tell 'a b' ; $HOME $(id) `id` | a\\b * ~", BLUE="")
    assert anna.at(0, "backup", "-q") == Outcome(0, "", "")
    anna.settings("on-result =\n    tell\n" + "\n".join(f"    {word}" for word in ODD_WORDS), BLUE="")
    anna.documents.rename(anna.home / "moved")
    assert anna.at(24, "backup", "-q").code == 1
    good, bad = programs.calls("tell")
    assert (good.words, bad.words) == (ODD_WORDS, ODD_WORDS)
    copy = anna.copy("BLUE")
    told = [{name[9:]: text for name, text in call.variables.items() if name.startswith("SNAPBACK_")} for call in (good, bad)]
    assert told == [
        {"RESULT": "ok", "EXIT_CODE": "0", "DRIVE": "BLUE", "DRIVE_ID": anna.ids["BLUE"], "SNAPSHOT": copy.name, "PATH": str(copy),
         "MESSAGE": "OK - you can rely on this copy; safe to unplug BLUE"},
        {"RESULT": "failed", "EXIT_CODE": "1", "DRIVE": "BLUE", "DRIVE_ID": anna.ids["BLUE"], "SNAPSHOT": "", "PATH": "",
         "MESSAGE": f"there is no {anna.documents}: no dated copy was made; check the path, or attach its disk"},
    ]  # fmt: skip


def lock(anna: Person) -> int:
    file = os.open(anna.copy("BLUE").parent / "lock", os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


RESULTS: Dict[str, Tuple[Callable[[Person], object], List[str], int, List[str]]] = {  # what happens, the run, its exit code, what is told
    "made": (lambda _anna: None, [], 0, ["ok"]),
    "not due": (lambda _anna: None, ["--if-due"], 0, []),
    "a dry run": (lambda _anna: None, ["-n"], 0, []),
    "absent": (lambda anna: anna.unplug("BLUE"), [], 75, []),
    "absent, quietly": (lambda anna: anna.unplug("BLUE"), ["--if-due"], 0, []),
    "no source": (lambda anna: anna.documents.rename(anna.home / "moved"), [], 1, ["failed"]),
    "no set": (put_a_file_in_the_sets_place, [], 1, ["failed"]),
    "another run is at work": (lock, [], 11, []),
    "much is lost": (lose_much, [], 5, ["ok", "held", "held"]),  # before it, and in it
}


@pytest.mark.parametrize("case", RESULTS)
def test_on_result_is_run_for_each_copy_that_was_made_or_failed(anna: Person, programs: Programs, case: str) -> None:
    happens, words, code, told = RESULTS[case]
    anna.drive("BLUE")
    anna.settings("set = box", BLUE="")
    assert anna.at(0, "backup").code == 0
    programs.add("tell")
    anna.settings("set = box\non-result = tell", BLUE="")
    held = happens(anna)
    assert anna.at(3, "backup", *words).code == code
    assert [call.variables["SNAPBACK_RESULT"] for call in programs.calls("tell")] == told
    if happens is lock and isinstance(held, int):
        os.close(held)


@pytest.mark.parametrize(("program", "why"), [("tell", "it ended with exit status 7"), ("nobody", "there is no program nobody here")])
def test_when_nobody_could_be_told_the_copy_is_good_all_the_same(anna: Person, programs: Programs, program: str, why: str) -> None:
    anna.drive("BLUE")
    anna.drive("RED")
    programs.add("tell", "exit 7")
    anna.settings(f"on-result = {program}", BLUE="", RED="")
    outcome = anna.at(0, "backup")
    sentence = f"on-result was not told of this run: {program}: {why}"
    assert (outcome.code, outcome.err) == (3, f"BLUE: {sentence}\nRED: {sentence}\n"), outcome
    assert outcome.out.count("OK - you can rely on this copy") == 2
    assert [one["problem"] for one in anna.facts(1, "backup")["drives"]] == [sentence] * 2
    assert (len(anna.copies("BLUE")), len(anna.copies("RED"))) == (2, 2)
    assert [text for _, text in notices(programs)] == [sentence] * 2


class Terminal(io.StringIO):
    """A place to print where somebody watches."""

    def isatty(self) -> bool:
        return True


def test_whoever_watches_needs_no_notice(anna: Person, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    anna.drive("BLUE")
    anna.settings("    ~/nothing", BLUE="")
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.redirect_stderr(Terminal()) as said:
        assert snapback.main(["backup"]) == 1
    assert ("there is no" in said.getvalue(), notices(programs)) == (True, [])


# --- Ejecting ------


def is_mounted(path: Path) -> bool:
    return any(one.place == str(path) for one in snapback.mounts())


@pytest.fixture
def stick(mounted: Callable[..., Mount], anna: Person) -> Path:
    """An ext4 of its own that is a drive."""
    place = Path(os.path.realpath(mounted("ext4").path))
    anna.ids["STICK"] = anna.facts(-1, "init", place, "--label", "STICK")["id"]
    return place


@pytest.mark.needs("ext4")
@pytest.mark.parametrize("how", ["--eject", "eject = yes"])
def test_a_drive_is_unmounted_after_its_copy_and_the_last_line_says_that_it_may_be_unplugged(anna: Person, stick: Path, how: str) -> None:
    anna.settings(STICK="eject = yes")
    words = ["--eject", anna.documents, stick] if how == "--eject" else []
    outcome = anna.at(0, "backup", *words)
    assert (outcome.code, outcome.err, is_mounted(stick)) == (0, "", False), outcome
    assert outcome.out.splitlines()[-1] == f"OK - you can rely on this copy; {stick} is ejected: you may unplug it now"
    assert list(stick.iterdir()) == []
    assert anna.record("STICK")["snapshot"] == "2026-03-02_081700"
    assert (anna.at(1, "backup", "--if-due").code, anna.facts(1, "status")["exit_code"]) == (0, 0)


@pytest.mark.needs("ext4")
def test_machines_are_told_whether_a_drive_may_be_unplugged(anna: Person, stick: Path) -> None:
    words: List[object] = ["backup", anna.documents, stick]
    with open(stick / "mine", "w"):
        told = [anna.facts(hour, *words, *eject) for hour, eject in enumerate(([], ["--eject"]))]
    told += [anna.facts(2, *words, "--eject")]
    assert [(one.get("ejected"), one["safe_to_unplug"]) for one in told] == [(None, True), (False, False), (True, True)]


@pytest.mark.needs("ext4")
def test_a_drive_on_which_nothing_is_due_stays(anna: Person, stick: Path) -> None:
    anna.settings(STICK="")
    assert anna.at(0, "backup").code == 0
    anna.settings(STICK="eject = yes")
    assert (anna.at(1, "backup", "--if-due").code, anna.at(1, "backup", "-n").code, is_mounted(stick)) == (0, 0, True)


@pytest.mark.needs("ext4")
@pytest.mark.parametrize("why", ["the script", "the current folder", "a file in use", "a folder of a disk"])
def test_a_drive_that_cannot_be_ejected_gets_its_copy_all_the_same(anna: Person, stick: Path, cli: Cli, why: str) -> None:
    words: List[object] = ["backup", "--eject", "--set", "box", anna.documents, stick]
    if why == "the script":
        told = subprocess.run([sys.executable, "-I", str(stick / "snapback.py"), *map(str, words)], capture_output=True, text=True, cwd="/")
        outcome, reason = Outcome(told.returncode, told.stdout, told.stderr), f"snapback itself runs from {stick}"
    elif why == "the current folder":
        before = os.getcwd()
        os.chdir(stick)
        try:
            outcome, reason = anna.at(0, *words), f"the current folder lies on {stick}"
        finally:
            os.chdir(before)
    elif why == "a file in use":
        with open(stick / "mine", "w"):
            outcome, reason = anna.at(0, *words), "busy"
    else:
        (stick / "folder").mkdir()
        words[-1] = stick = stick / "folder"
        assert anna.at(0, "init", stick).code == 0
        outcome, reason = anna.at(0, *words), f"{stick} is a folder on {stick.parent}"
    assert (outcome.code, reason in outcome.err, is_mounted(stick) or why == "a folder of a disk") == (3, True, True), outcome
    last = outcome.err.splitlines()[-1]
    assert re.fullmatch("OK - you can rely on this copy, but what is said above needs attention; do not unplug .* yet", last), last
    (date,) = dates(stick / "box")
    assert differences(twin(stick / "box" / date / "Documents"), twin(anna.documents)) == []


# --- Copies that share nothing ------


def days_of_fresh_copies(anna: Person, days: Sequence[int]) -> List[int]:
    """Make a copy on these days; give those at which the letter was stored anew."""
    found, before = [], 0
    for day in days:
        assert anna.at(24 * day, "backup").code == 0
        stored = (anna.copy("BLUE") / "Documents" / "letter").stat().st_ino
        found += [day] if stored != before else []
        before = stored
    return found


@pytest.mark.parametrize(
    ("setting", "fresh"),
    [
        ("", [0]),
        ("fresh-every = 30d", [0, 30, 60, 90]),
        ("fresh-every = 30d\nkeep-last = 2", [0, 30, 60, 90]),  # a fresh one is rotated away long before the next
        ("fresh-every = 95d\nkeep-last = 2", [0, 95]),
        ("fresh-every = 1h", list(range(0, 100, 5))),
    ],
)
def test_a_copy_is_fresh_when_the_last_fresh_one_is_older(anna: Person, setting: str, fresh: List[int]) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE=setting)
    assert days_of_fresh_copies(anna, range(0, 100, 5)) == fresh


def test_a_fresh_copy_by_hand_counts_too(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="fresh-every = 30d")
    assert days_of_fresh_copies(anna, [0, 10]) == [0]
    assert anna.at(24 * 20, "backup", "--fresh").code == 0
    assert days_of_fresh_copies(anna, [30, 40, 49, 50]) == [30, 50]  # 30: as the letter of the copy before is not looked at


@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize("other", [0, 7 << 20])  # bytes that another program puts there
def test_without_room_for_a_fresh_copy_one_that_shares_files_is_made(
    anna: Person, mounted: Callable[..., Mount], monkeypatch: pytest.MonkeyPatch, other: int
) -> None:
    disk = mounted("tmpfs", "12M").path
    (anna.documents / "book").write_bytes(os.urandom((7 if not other else 3) << 20))
    anna.ids["STICK"] = anna.facts(-1, "init", disk, "--label", "STICK")["id"]
    anna.settings(STICK="fresh-every = 30d")
    assert anna.at(0, "backup", "-q").code == 0
    if other:
        (disk / "film").write_bytes(bytes(other))
        monkeypatch.setattr(snapback.SetRun, "_first_look", lambda *_: snapback.Look(1, 0, 0, [], []))  # it came after that
    outcome = anna.at(24 * 40, "backup", "-q")
    assert (outcome.code, "STICK has no room for the fresh copy that fresh-every asks for" in outcome.err) == (3, True), outcome
    first, second = sorted(disk.glob("*/????-??-??_*"))
    assert (first / "Documents/book").stat().st_ino == (second / "Documents/book").stat().st_ino
    outcome = anna.at(24 * 41, "backup", "-q", "--fresh")
    assert outcome.code == 1, outcome  # a person who asks for one is given it or nothing


def test_a_fresh_copy_is_due_though_a_clock_was_ahead(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings(BLUE="fresh-every = 30d")
    stored = []
    for day in (400, 0, 1):  # exit code 3: a clock behind the newest copy
        assert anna.at(24 * day, "backup").code in (0, 3)
        stored.append({path.stat().st_ino for path in anna.place.glob("BLUE/*/*_*/*/letter")})
    assert [len(inodes) for inodes in stored] == [1, 2, 2]


def test_a_fresh_copy_trips_as_any_other_does(anna: Person) -> None:
    anna.drive("BLUE")
    anna.settings("keep-last = 1", BLUE="fresh-every = 30d")
    for how in ("dear", "encrypted"):
        for nth in range(60):
            (anna.documents / f"letter {nth}").write_text(f"{how} {nth}")
        outcome = anna.at(0 if how == "dear" else 24 * 40, "backup", "-q")
    assert (outcome.code, len(anna.copies("BLUE"))) == (5, 2), outcome
