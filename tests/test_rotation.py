"""Deleting old dated copies: what the plan names goes, and nothing else, whatever happens in the middle."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import gzip
import hashlib
import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import pytest

import snapback
from conftest import MIB, Cli, Mount, User, require, thinned
from faults import Call, Fault, Hit, watched
from trees import (
    DEEP_LEVELS,
    Outcome,
    Twin,
    ask,
    ask_at,
    awkward_tree,
    dates,
    differences,
    opened_folder,
    remove_tree,
    stock_check,
    text_of,
    twin,
)

pytestmark = pytest.mark.needs("linux")

START = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)  # later than any file here, so that none is young
DOCUMENTED = {0, 1, 2, 3, 4, 11, 75, 130}
KEEP_TWO = ("--keep-last", "2")


def date(day: float, more: str = "") -> str:
    """Name the dated copy that is made so many days after START."""
    return (START + timedelta(days=day)).strftime("%Y-%m-%d_%H%M%S") + more


class Box(NamedTuple):
    """A source and a drive with a set on it; days are counted from START."""

    source: Path
    drive: Path

    @property
    def a_set(self) -> Path:
        return self.drive / "box"

    def ask(self, day: float, *words: object) -> Outcome:
        """Run a command on a day."""
        return ask_at(START + timedelta(days=day), *words)

    def back_up(self, day: float, *words: object) -> Outcome:
        return self.ask(day, "backup", "--set", "box", *words, self.source, self.drive)

    def take(self, day: float, *words: object) -> str:
        """Make a dated copy, delete none, and name it."""
        before = set(dates(self.a_set))
        outcome = self.back_up(day, "--no-rotate", *words)
        assert outcome.code == 0, outcome
        (new,) = set(dates(self.a_set)) - before
        return new

    def take_daily(self, count: int) -> List[str]:
        """Make a copy on each of the first days, with something that changes, comes and stays."""
        for day in range(count):
            (self.source / "changes").write_bytes(b"as it was on day %d" % day)
            (self.source / "sub" / f"came on day {day}").write_bytes(b"%d" % day)
            assert self.take(day) == date(day)
        return dates(self.a_set)

    def rotate(self, day: float, *words: object) -> Outcome:
        return self.ask(day, "rotate", "--drive", self.drive, "--set", "box", *words)

    def facts(self, day: float, *words: object) -> Dict[str, Any]:
        """Rotate, and give what is said to machines."""
        outcome = self.rotate(day, "--json", *words)
        facts: Dict[str, Any] = json.loads(outcome.out)
        return facts

    def history(self) -> List[Dict[str, Any]]:
        """Give the lines about rotations."""
        lines = [json.loads(line) for line in (self.a_set / "history.jsonl").read_text().splitlines()]
        return [line for line in lines if line["what"] == "rotate"]

    def copies(self) -> Dict[str, Twin]:
        return {name: twin(self.a_set / name) for name in dates(self.a_set)}


@pytest.fixture
def box(in_memory: Path) -> Box:
    """A marked drive, and a source."""
    return make_box(in_memory)


def make_box(folder: Path, drive: Optional[Path] = None) -> Box:
    """Make a source in a folder, and a drive of its own there unless one is given."""
    made = Box(folder / "source", drive or folder / "drive")
    made.drive.mkdir(exist_ok=True)
    assert ask("init", made.drive).code == 0
    (made.source / "sub" / "deep").mkdir(parents=True)
    (made.source / "sub" / "deep" / "stays").write_bytes(b"as it is")
    (made.source / "sub" / "one").write_bytes(b"two names")
    os.link(made.source / "sub" / "one", made.source / "sub" / "two")
    (made.source / "link").symlink_to("changes")
    os.mkfifo(made.source / "fifo")
    (made.source / "empty folder").mkdir()
    return made


def whole(box: Box, copies: Dict[str, Twin], *names: str) -> None:
    """Assert that these dated copies, and no others, are there as they were, and that nothing else was left."""
    assert dates(box.a_set) == sorted(names)
    for name in names:
        assert differences(twin(box.a_set / name), copies[name]) == []
        assert stock_check(box.a_set / name) == []
    assert sorted(os.listdir(box.a_set / "manifests")) == sorted(f"{name}.gz" for name in names)
    assert deletions(box) == []
    if names:
        outcome = ask("verify", "--drive", box.drive, "--set", "box", "--jobs", "1")
        assert outcome.code == 0, outcome


def deletions(box: Box) -> List[str]:
    """Name what is being deleted."""
    return sorted(name for name in os.listdir(box.a_set) if name.endswith(".deleting"))


def said(outcome: Outcome, code: int, *words: str) -> None:
    """Assert the exit code, that all of these words were said, and that no traceback was."""
    assert (outcome.code, [word for word in words if word not in outcome.out + outcome.err]) == (code, []), outcome
    assert not re.search("Traceback|Errno", outcome.err), outcome


def reseal(manifest: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a manifest above its last line, and make that line true again."""
    above, _, end = manifest.read_bytes().rpartition(b"# end ")
    above = change(above)
    facts = json.loads(end)
    facts["sha256"] = hashlib.sha256(above).hexdigest()
    manifest.write_bytes(above + b"# end " + json.dumps(facts).encode() + b"\n")


@contextlib.contextmanager
def nothing_changes(folder: Path) -> Iterator[None]:
    """Assert that a folder is afterwards what it was."""
    before = twin(folder)
    yield
    assert differences(twin(folder), before) == []


# --- The plan, and what is done ------


def test_a_dry_run_says_the_very_plan_that_is_then_carried_out(box: Box) -> None:
    box.take_daily(5)
    (box.source.parent / "other").mkdir()
    (box.source.parent / "other" / "file").write_bytes(b"of another group")
    assert box.ask(5, "backup", "--set", "box", "--no-rotate", box.source.parent / "other", box.drive).code == 0
    assert box.ask(6, "pin", "2030-01-02", "--note", "the move", "--drive", box.drive).code == 0
    copies = box.copies()
    with nothing_changes(box.drive):
        planned = box.rotate(7, "-n", *KEEP_TWO)
        facts = box.facts(7, "-n", "--json", *KEEP_TWO)
    assert planned.code == 0
    done = box.rotate(7, *KEEP_TWO)
    whole(box, copies, date(1), date(3), date(4), date(5))
    plan = [
        f"keep    {date(1)}     pinned: the move; of source",
        f"keep    {date(3)}     last 2 (2nd); of source",
        f"keep    {date(4)}     newest copy; last 2 (1st); of source",
        f"keep    {date(5)}     newest copy; last 2 (1st); of other",
        f"delete  {date(0)}     older than the 2 copies kept; of source",
        f"delete  {date(2)}     older than the 2 copies kept; of source",
    ]
    assert planned.out.splitlines() == [*plan, "Would delete 2 and keep 4; nothing was deleted."]
    assert done.out.splitlines()[:-1] == plan
    assert done.out.splitlines()[-1].startswith("Deleted 2 old dated copies, which freed ")
    assert (done.code, done.err) == (0, "")
    assert [one["snapshot"] for one in facts["keep"]] == [date(1), date(3), date(4), date(5)]
    assert facts["remove"] == [{"snapshot": date(day), "reasons": ["older than the 2 copies kept"]} for day in (0, 2)]
    assert (facts["dry_run"], facts["removed"], facts["put_off"], facts["failed"]) == (True, [], "", [])


def test_what_is_said_to_machines_is_what_was_done(box: Box) -> None:
    box.take_daily(4)
    planned, done = box.facts(5, "-n", *KEEP_TWO), box.facts(5, *KEEP_TWO)
    assert {word: done[word] for word in ("keep", "remove", "spare")} == {word: planned[word] for word in ("keep", "remove", "spare")}
    assert (done["dry_run"], done["removed"], done["exit_code"]) == (False, [date(0), date(1)], 0)
    assert done["freed"] >= 0  # other tests write to the same disk
    (line,) = box.history()
    assert line == {"what": "rotate", "time": "2030-01-06T12:00:00+00:00", "removed": [date(0), date(1)],
                    "found": [], "failed": []}  # fmt: skip
    assert box.facts(5, *KEEP_TWO)["removed"] == []
    assert len(box.history()) == 1


def test_a_backup_rotates_and_says_so(box: Box) -> None:
    box.take_daily(4)
    copies = box.copies()
    outcome = box.back_up(4, "--json", *KEEP_TWO)
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["removed"] == [date(0), date(1), date(2)]
    whole(box, {**copies, date(4): twin(box.a_set / date(4))}, date(3), date(4))
    assert os.readlink(box.a_set / "latest") == date(4)
    assert [line["removed"] for line in box.history()] == [[date(0), date(1), date(2)]]


def test_nothing_is_deleted_before_the_new_copy_is_whole(box: Box) -> None:
    box.take_daily(3)
    seen: List[List[str]] = []

    def at_a_deletion(call: Call) -> None:
        if call.name in ("rename", "replace") and call.path.endswith(".deleting"):
            seen.append(dates(box.a_set))
            assert stock_check(box.a_set / date(3)) == []
            assert (box.a_set / "manifests" / f"{date(3)}.gz").exists()

    with watched(at_a_deletion):
        assert box.back_up(3, "--keep-last", "1").code == 0
    assert seen[0] == [date(0), date(1), date(2), date(3)]
    assert dates(box.a_set) == [date(3)]


def test_a_backup_says_to_people_what_it_deleted(box: Box) -> None:
    box.take_daily(2)
    (box.a_set / date(0) / "source" / "mine").write_bytes(b"mine")
    outcome = box.back_up(2, "--keep-last", "1")
    freed = r"(, which freed [\d.]+ \w+)?"  # others fill and free the same disk meanwhile
    assert re.search(rf"^Deleted 2 old dated copies{freed}: {date(0)}, {date(1)}$", outcome.out, re.MULTILINE), outcome
    assert f"moved to found: {date(0)}/source/mine" in outcome.out
    assert box.back_up(3, "-q", "--keep-last", "1") == Outcome(0, "", "")


def test_the_line_to_schedule_keeps_what_was_said_of_rotation(in_memory: Path) -> None:
    """Else what runs by itself would delete by other rules than those that somebody tried by hand."""
    words = ["--keep-last", "9", "--keep-within", "2y", "--keep-yearly", "unlimited", "--min-free", "2.5GiB"]
    (in_memory / "source").mkdir()
    (in_memory / "source" / "file").write_bytes(b"x")
    for name, more in (("one", words), ("two", ["--no-rotate"])):
        (in_memory / name).mkdir()
        outcome = ask("backup", "--init", *more, in_memory / "source", in_memory / name)
        (line,) = [line for line in outcome.out.splitlines() if "--if-attached" in line]
        said_again = shlex.split(line)
        pairs = [more[at : at + 2] for at in range(0, len(more), 2)]
        assert all(said_again[said_again.index(pair[0]) :][: len(pair)] == pair for pair in pairs if pair[0] in said_again), line
        assert [pair[0] for pair in pairs if pair[0] not in said_again] == [], line


FAILURES: Dict[str, Callable[[Call], bool]] = {
    "its bytes cannot be flushed": lambda call: call.name == "syncfs",
    "its list cannot be written": lambda call: call.name == "write" and call.path.endswith("incomplete/SHA256SUMS"),
    "it cannot get its name": lambda call: call.name in ("rename", "replace") and call.path.endswith(date(3)),
}


@pytest.mark.parametrize("why", FAILURES)
def test_a_backup_that_fails_deletes_nothing(box: Box, why: str) -> None:
    box.take_daily(3)
    copies = box.copies()
    failed: List[Call] = []

    def fail(call: Call) -> None:
        if FAILURES[why](call):
            failed.append(call)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(fail):
        assert box.back_up(3, "--keep-last", "1").code == 1
    assert failed
    assert box.copies() == copies


def test_a_missing_source_deletes_nothing(box: Box) -> None:
    box.take_daily(3)
    remove_tree(box.source)
    with nothing_changes(box.a_set):
        assert box.back_up(3, "--keep-last", "1").code == 1


@pytest.mark.parametrize("words", [["--no-rotate"], ["--no-rotate", *KEEP_TWO], ["--dry-run", *KEEP_TWO]])
def test_a_backup_that_is_told_so_deletes_nothing(box: Box, words: Sequence[str]) -> None:
    box.take_daily(4)
    copies = box.copies()
    assert box.back_up(4, *words).code == 0
    assert {name: twin(box.a_set / name) for name in copies} == copies


def test_when_nothing_is_said_the_default_policy_holds(box: Box) -> None:
    """January 2030 begins on a Tuesday; the copies are of the 12th to the 31st, and three of the last day."""
    for day in [*range(11, 31), 30.1, 30.2]:
        box.take(day)
    assert box.rotate(31).code == 0
    sundays, last_days = [date(12), date(19)], [date(day) for day in range(24, 30)]
    assert dates(box.a_set) == [*sundays, *last_days, *map(date, (30, 30.1, 30.2))]


WRONG_WORDS: Dict[str, Tuple[Sequence[str], str]] = {
    "no number": (["--keep-daily", "seven"], "keep-daily"),
    "a negative number": (["--keep-daily=-1"], "keep-daily"),
    "half a copy": (["--keep-last", "1.5"], "keep-last"),
    "an empty number": (["--keep-yearly", ""], "keep-yearly"),
    "digits of another script": (["--keep-last", "\u0663"], "keep-last"),
    "no duration": (["--keep-within", "2w"], "keep-within"),
    "an empty duration": (["--keep-within", ""], "keep-within"),
    "a unit twice": (["--keep-within", "1d1d"], "keep-within"),
    "an empty policy": (["--keep-last", "0"], "keep nothing at all"),
    "no time at all": (["--keep-within", "0d"], "keep nothing at all"),
    "no size": (["--min-free", "much"], "is no size"),
    "all of it": (["--min-free", "100%"], "is no size"),
    "a negative size": (["--min-free=-5G"], "is no size"),
    "an empty size": (["--min-free", ""], "is no size"),
    "no such rule": (["--keep-minutely", "5"], "--keep-minutely"),
    "shortened": (["--keep-week", "5"], "--keep-week"),
}


@pytest.mark.parametrize("wrong", WRONG_WORDS)
def test_wrong_words_touch_nothing(box: Box, wrong: str, in_memory: Path) -> None:
    box.take_daily(2)
    words, about = WRONG_WORDS[wrong]
    (in_memory / "new").mkdir()
    with nothing_changes(in_memory):
        for outcome in (box.rotate(3, *words), box.rotate(3, "-n", *words), box.back_up(3, *words),
                        box.ask(3, "backup", "--init", box.source, in_memory / "new", *words)):  # fmt: skip
            said(outcome, 2, about)
            assert outcome.err.count("\n") == 1


# --- What is none of its business ------


def test_only_dated_copies_of_this_set_are_touched(box: Box) -> None:
    box.take_daily(4)
    for folder in (box.drive / "2029-01-01_120000", box.drive / "photos", box.a_set / "photos", box.a_set / "2029-01-01_120000 (copy)",
                   box.a_set / "2029-01-01", box.a_set / f"{date(0)}.old", box.a_set / f"{date(0)}.deleting.old"):  # fmt: skip
        folder.mkdir()
        (folder / "SHA256SUMS").write_bytes((box.a_set / date(0) / "SHA256SUMS").read_bytes())
        (folder / "mine").write_bytes(b"keep")
    (box.a_set / "2029-01-01_120000.txt").write_bytes(b"mine")
    (box.a_set / "2029-01-01_120000.incomplete").mkdir()
    (box.a_set / "2029-01-01_120000.incomplete" / "half").write_bytes(b"half")
    for day in range(3):
        assert box.ask(day, "backup", "--set", "other", "--no-rotate", box.source, box.drive).code == 0
    before = twin(box.drive)
    assert box.rotate(5, "--keep-last", "1").code == 0
    gone = [f"box/{name}".encode() for day in range(3) for name in (date(day), f"manifests/{date(day)}.gz", f"page/{date(day)}.js")]
    should = {path: entry for path, entry in before.items() if not any((path + b"/").startswith(one + b"/") for one in gone)}
    ignoring = ["mtime_ns", "group"]
    now = twin(box.drive)
    for tree in (now, should):
        for name in (b"box/history.jsonl", b"GET-FILES-BACK.html", b"READ-ME-FIRST.txt"):  # which say what there is
            del tree[name]
    assert differences(now, should, ignoring) == []


def test_the_set_of_another_computer_is_refused_unless_it_is_named(box: Box) -> None:
    box.take_daily(3)
    for name in dates(box.a_set):
        reseal(box.a_set / name / "SHA256SUMS", lambda above: above.replace(b'"machine": "', b'"machine": "other'))
    with nothing_changes(box.drive):
        for words in (["rotate", *KEEP_TWO], ["rotate", "-n", *KEEP_TWO], ["pin", "latest"], ["unpin", "latest"]):
            said(box.ask(4, *words, "--drive", box.drive), 2, "another computer", "--set box")
    assert box.ask(4, "rotate", *KEEP_TWO, "--drive", box.drive, "--set", "box").code == 0
    assert dates(box.a_set) == [date(1), date(2)]


@pytest.mark.parametrize("command", [["rotate", *KEEP_TWO], ["rotate", "-n"], ["pin", "latest"], ["unpin", "latest"]])
def test_without_its_marker_nothing_on_a_drive_is_touched(box: Box, command: Sequence[str]) -> None:
    box.take_daily(3)
    (box.drive / "snapback-marker.txt").unlink()
    with nothing_changes(box.drive):
        said(box.ask(4, *command, "--drive", box.drive), 75, "marker")
        said(box.ask(4, *command, "--drive", box.a_set), 75, "marker")


@pytest.mark.parametrize("spoilt", [b"", b"\0" * 100, b"id: nonsense\n"])
def test_with_a_spoilt_marker_nothing_on_a_drive_is_touched(box: Box, spoilt: bytes) -> None:
    box.take_daily(3)
    (box.drive / "snapback-marker.txt").write_bytes(spoilt)
    with nothing_changes(box.drive):
        assert box.rotate(4, *KEEP_TWO).code == 75


# --- What is never dropped ------


def test_the_newest_copy_of_each_group_stays(box: Box, in_memory: Path) -> None:
    box.take_daily(2)
    other = in_memory / "other"
    other.mkdir()
    (other / "file").write_bytes(b"of another source")
    moved = in_memory / "elsewhere" / "source"
    moved.parent.mkdir()
    shutil.copytree(box.source, moved, symlinks=True, ignore=lambda _folder, _names: ["fifo"])
    groups = [[other], [other, box.source], [moved]]
    for day, sources in enumerate([group for group in groups for _ in range(2)], 2):
        assert box.ask(day, "backup", "--set", "box", "--no-rotate", *sources, box.drive).code == 0
    copies = box.copies()
    assert box.rotate(9, "--keep-last", "1").code == 0
    whole(box, copies, date(1), date(3), date(5), date(7))


PINS: Dict[str, Callable[[Path], object]] = {
    "by the command": lambda _pins: None,
    "by hand": lambda pins: (pins / f"{date(1)}.txt").write_text("mine\n"),
    "by hand, with no note": lambda pins: (pins / f"{date(1)}.txt").write_bytes(b""),
    "by hand, without .txt": lambda pins: (pins / date(1)).write_text("mine\n"),
    "with a note that is no text": lambda pins: (pins / f"{date(1)}.txt").write_bytes(bytes(range(256))),
    "with a note that is huge": lambda pins: (pins / f"{date(1)}.txt").write_bytes(b"x" * MIB),
    "by a folder": lambda pins: (pins / f"{date(1)}.txt").mkdir(),
    "by a link to nowhere": lambda pins: (pins / f"{date(1)}.txt").symlink_to("nowhere"),
    "by a fifo": lambda pins: os.mkfifo(pins / f"{date(1)}.txt"),
}


@pytest.mark.parametrize("how", PINS)
def test_a_pinned_copy_stays(box: Box, how: str) -> None:
    box.take_daily(4)
    copies = box.copies()
    if how == "by the command":
        assert box.ask(4, "pin", date(1), "--drive", box.drive).code == 0
    else:
        (box.a_set / "pins").mkdir()
        PINS[how](box.a_set / "pins")
    facts = box.facts(5, "--keep-last", "1")
    assert [facts["exit_code"], facts["removed"]] == [0, [date(0), date(2)]]
    assert [one["reasons"][0][:6] for one in facts["keep"]] == ["pinned", "newest"]
    whole(box, copies, date(1), date(3))
    assert "pinned" in ask("list", "--drive", box.drive).out


def test_a_pin_that_a_user_may_not_read_is_a_pin_all_the_same(ordinary_user: User) -> None:
    with ordinary_user.acting():
        mine = make_box(ordinary_user.home)
        mine.take_daily(3)
        assert mine.ask(4, "pin", date(0), "--drive", mine.drive, "--note", "secret").code == 0
        (mine.a_set / "pins" / f"{date(0)}.txt").chmod(0)
        assert mine.facts(4, "--keep-last", "1")["removed"] == [date(1)]
        (mine.a_set / "pins").chmod(0)
        said(mine.rotate(4, "--keep-last", "1"), 1, "may not")
        outcome = mine.back_up(5, "--keep-last", "1")
        said(outcome, 3, "did not come to its end")
        assert dates(mine.a_set) == [date(0), date(2), date(5)]
        (mine.a_set / "pins").chmod(0o700)


def test_what_is_pinned_while_a_rotation_is_under_way_stays(box: Box) -> None:
    box.take_daily(4)

    def pin_the_next(call: Call) -> None:
        if call.name in ("rename", "replace") and call.path.endswith(f"{date(0)}.deleting"):
            (box.a_set / "pins").mkdir()
            (box.a_set / "pins" / date(1)).touch()

    with watched(pin_the_next):
        facts = box.facts(5, "--keep-last", "1")
    assert facts["removed"] == [date(0), date(2)]
    assert dates(box.a_set) == [date(1), date(3)]


def test_a_copy_dated_in_the_future_stays_and_takes_nobodys_place(box: Box) -> None:
    for day in (0, 1, 100, 2, 3):
        box.take(day)
    copies = box.copies()
    facts = box.facts(4, *KEEP_TWO)
    assert {one["snapshot"]: one["reasons"] for one in facts["keep"]} == {
        date(100): ["date in the future"], date(2): ["last 2 (2nd)"], date(3): ["newest copy", "last 2 (1st)"]}  # fmt: skip
    whole(box, copies, date(2), date(3), date(100))


def damage_first_line(path: Path) -> None:
    path.write_bytes(b"#" + path.read_bytes())


def damage_last_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def point_elsewhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGES = [damage_first_line, damage_last_line, empty, make_a_folder, point_elsewhere, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage.__name__))
def test_a_copy_whose_list_is_damaged_stays_and_that_is_said(box: Box, damage: Callable[[Path], None]) -> None:
    box.take_daily(4)
    copies = box.copies()
    manifest = box.a_set / date(0) / "SHA256SUMS"
    good = manifest.read_bytes()
    damage(manifest)
    damaged = twin(box.a_set / date(0))
    facts = box.facts(5, "--keep-last", "1")
    assert facts["removed"] == [date(1), date(2)]
    kept = facts["keep"][0]
    assert (kept["snapshot"], kept["reasons"][0].partition("; put it back")[0]) == (date(0), "its list is damaged")
    assert differences(twin(box.a_set / date(0)), damaged) == []
    if manifest.is_dir():
        manifest.rmdir()
    elif manifest.exists() or manifest.is_symlink():
        manifest.unlink()
    packed = (box.a_set / "manifests" / f"{date(0)}.gz").read_bytes()
    manifest.write_bytes(gzip.decompress(packed))
    assert manifest.read_bytes() == good
    assert box.facts(5, "--keep-last", "1")["removed"] == [date(0)]
    whole(box, copies, date(3))


@pytest.mark.parametrize("command", ["rotate", "backup"])
def test_a_copy_that_stays_because_its_list_is_damaged_needs_attention(box: Box, command: str) -> None:
    """Its twin serves; until a person puts the list back by it, that copy stays for ever."""
    box.take_daily(3)
    damage_first_line(box.a_set / date(0) / "SHA256SUMS")
    said(box.rotate(3, *KEEP_TWO) if command == "rotate" else box.back_up(3, *KEEP_TWO), 3, date(0), "list is damaged", "gunzip")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage.__name__))
def test_while_no_list_of_some_copy_can_be_read_nothing_in_the_set_is_deleted(box: Box, damage: Callable[[Path], None]) -> None:
    box.take_daily(4)
    damage(box.a_set / date(1) / "SHA256SUMS")
    damage(box.a_set / "manifests" / f"{date(1)}.gz")
    copies = box.copies()
    said(box.rotate(5, "-n", "--keep-last", "1"), 3, date(1), "no old dated copy was deleted", "list", "damaged")
    said(box.rotate(5, "--keep-last", "1"), 3, date(1), "no old dated copy was deleted", "list", "damaged")
    assert box.copies() == copies
    outcome = box.back_up(5, "--keep-last", "1")
    said(outcome, 3, date(1), "no old dated copy was deleted")
    assert {name: twin(box.a_set / name) for name in copies} == copies
    assert box.history() == []


def spoil_the_middle(manifest: Path) -> None:
    manifest.write_bytes(manifest.read_bytes().replace(b"changes", b"chances", 1))


def test_a_list_that_is_damaged_in_its_middle_keeps_its_copy(box: Box) -> None:
    """Its first and last line are read for the plan; before anything is deleted all of it is."""
    box.take_daily(3)
    spoil_the_middle(box.a_set / date(0) / "SHA256SUMS")
    copies = box.copies()
    facts = box.facts(4, "--keep-last", "1")
    assert (facts["removed"], [one["path"] for one in facts["failed"]], facts["exit_code"]) == ([date(1)], [date(0)], 3)
    assert differences(twin(box.a_set / date(0)), copies[date(0)]) == []
    assert (box.a_set / "manifests" / f"{date(0)}.gz").exists()
    said(box.rotate(4, "--keep-last", "1"), 3, date(0), "list is damaged")


def test_the_newest_copy_that_can_be_proved_stays_where_a_newer_one_has_a_list_damaged_in_its_middle(box: Box) -> None:
    box.take_daily(3)
    copies = box.copies()
    spoil_the_middle(box.a_set / date(2) / "SHA256SUMS")
    (box.a_set / "manifests" / f"{date(2)}.gz").unlink()
    outcome = box.rotate(4, "--keep-last", "1")
    assert outcome.code == 3, outcome
    assert date(1) in dates(box.a_set)
    assert differences(twin(box.a_set / date(1)), copies[date(1)]) == []


def test_unfinished_copies_stay(box: Box) -> None:
    box.take_daily(3)
    unfinished = box.a_set / "2029-12-31_120000.incomplete"
    shutil.copytree(box.a_set / date(0), unfinished, symlinks=True, ignore=lambda _folder, _names: ["fifo"])
    was = twin(unfinished)
    assert box.facts(4, "--keep-last", "1")["removed"] == [date(0), date(1)]
    assert differences(twin(unfinished), was) == []


def test_a_way_to_share_files_that_is_not_known_stops_all_deletions(box: Box) -> None:
    box.take_daily(3)
    reseal(box.a_set / date(1) / "SHA256SUMS", lambda above: above.replace(b'"layout": "complete"', b'"layout": "knitted"'))
    copies = box.copies()
    said(box.rotate(4, "--keep-last", "1"), 3, "no old dated copy was deleted")
    assert box.copies() == copies


def test_a_set_without_a_whole_copy_is_left_alone(box: Box) -> None:
    box.take_daily(1)
    os.rename(box.a_set / date(0), box.a_set / f"{date(0)}.incomplete")
    with nothing_changes(box.a_set / f"{date(0)}.incomplete"):
        said(box.rotate(1, "--keep-last", "1"), 3, "there is no whole dated copy")


# --- Clocks ------


CLOCKS: Dict[str, Tuple[float, str]] = {
    "an hour behind the newest copy": (3 - 1 / 24, "before the dated copy"),
    "years behind it": (-3000, "before the dated copy"),
    "more than a year ahead of it": (3 + 367, "more than a year after"),
    "in another century": (3 + 40_000, "more than a year after"),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_with_a_clock_that_cannot_be_right_a_copy_is_made_and_none_deleted(box: Box, clock: str) -> None:
    box.take_daily(4)
    copies = box.copies()
    day, words = CLOCKS[clock]
    said(box.rotate(day, "-n", "--keep-last", "1"), 3, "no old dated copy was deleted", words, date(3))
    said(box.rotate(day, "--keep-last", "1"), 3, "no old dated copy was deleted", words, date(3))
    assert box.copies() == copies
    outcome = box.back_up(day, "--keep-last", "1")
    said(outcome, 3, "no old dated copy was deleted", words, date(3))
    assert dates(box.a_set) == sorted([*copies, date(day)])
    assert {name: twin(box.a_set / name) for name in copies} == copies


@pytest.mark.parametrize("day", [3 - 4 / 1440, 3, 3 + 365], ids=["four minutes behind", "the same second", "a year ahead"])
def test_with_a_clock_that_may_be_right_old_copies_go(box: Box, day: float) -> None:
    box.take_daily(4)
    assert box.back_up(day, "--keep-last", "1").code == 0
    assert dates(box.a_set) == [date(3, "_2") if day == 3 else date(day)]


def test_when_the_clock_is_right_again_copies_of_the_wrong_time_do_not_push_out_the_others(box: Box) -> None:
    box.take_daily(4)
    for day in (-2000, -1999):
        assert box.back_up(day, *KEEP_TWO).code in (0, 3)
    assert dates(box.a_set) == [date(-2000), date(-1999), *map(date, range(4))]
    assert box.back_up(4, *KEEP_TWO).code == 3
    assert box.back_up(5, *KEEP_TWO).code == 0
    assert dates(box.a_set) == [date(4), date(5)]


def test_copies_of_one_second_are_deleted_in_the_order_in_which_they_were_made(box: Box) -> None:
    names = [box.take(0) for _ in range(12)]
    assert names == [date(0), *(date(0, f"_{number}") for number in range(2, 13))]
    copies = box.copies()
    assert box.facts(0, "--keep-last", "3")["removed"] == names[:9]
    assert [name for name in names if (box.a_set / name).exists()] == names[9:]
    for name in names[9:]:
        assert differences(twin(box.a_set / name), copies[name]) == []


def test_in_the_night_when_the_clock_is_set_back_the_later_copy_is_the_newer(
    box: Box, timezone: Callable[[str], None]
) -> None:
    timezone("CET-1CEST,M3.5.0,M10.5.0/3")  # on 27 October 2030, 3 o'clock comes twice
    night = datetime(2030, 10, 27, 0, 50, tzinfo=START.tzinfo)
    names = []
    for minutes in (0, 30, 60):  # 2:50 in summer, 2:20 and 2:50 in winter
        names.append(box.take((night + timedelta(minutes=minutes) - START) / timedelta(days=1)))
    assert names == ["2030-10-27_025000", "2030-10-27_022000", "2030-10-27_025000_2"]
    facts = box.facts((night - START) / timedelta(days=1) + 0.1, *KEEP_TWO)
    assert facts["removed"] == names[:1]
    assert facts["keep"][1]["reasons"][0] == "newest copy"


def test_after_a_journey_the_order_is_that_of_the_numbers(box: Box, timezone: Callable[[str], None]) -> None:
    names = []
    for hour, zone in enumerate(["NZDT-13", "CET-1", "PST8"]):
        timezone(zone)
        names.append(box.take(hour / 24))
    assert names == sorted(names, reverse=True)
    assert box.facts(4 / 24, "--keep-last", "1")["removed"] == names[:2]
    assert dates(box.a_set) == names[2:]


# --- What is deleted, and what is set apart ------


def test_what_other_dates_share_stays_intact(box: Box) -> None:
    (box.source / "large").write_bytes(text_of("large", 20 * MIB))
    box.take_daily(4)
    stays = box.a_set / date(2) / "source" / "sub" / "deep" / "stays"
    assert stays.stat().st_nlink == 4
    copies = box.copies()
    assert box.rotate(5, *KEEP_TWO).code == 0
    assert stays.stat().st_nlink == 2
    whole(box, copies, date(2), date(3))


def test_what_no_list_names_is_set_apart_under_its_path(box: Box, in_memory: Path) -> None:
    box.take_daily(3)
    copies = box.copies()
    top = box.a_set / date(0)
    outside = in_memory / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "stays").write_bytes(b"theirs")
    (top / "note of mine").write_bytes(b"at the top")
    (top / "source" / "sub" / "mine").write_bytes(b"a file")
    (top / "source" / "sub" / "a folder" / "deeper").mkdir(parents=True)
    (top / "source" / "sub" / "a folder" / "deeper" / "stays").write_bytes(b"in folders")
    (top / "source" / "sub" / "a link").symlink_to(outside)
    os.mkfifo(top / "source" / "a fifo")
    (top / "source" / "changes").unlink()
    (top / "source" / "changes").mkdir()
    (top / "source" / "changes" / "inside").write_bytes(b"a file became a folder")
    shutil.rmtree(top / "source" / "sub" / "deep")
    (top / "source" / "sub" / "deep").symlink_to(outside / "deep")
    (top / "source" / "empty folder").rmdir()
    (top / "source" / "empty folder").write_bytes(b"a folder became a file")
    with nothing_changes(outside):
        facts = box.facts(4, *KEEP_TWO)
    paths = ["note of mine", "source/a fifo", "source/changes", "source/empty folder", "source/sub/a folder", "source/sub/a link",
             "source/sub/deep", "source/sub/mine"]  # fmt: skip
    assert sorted(facts["found"]) == [f"{date(0)}/{path}" for path in paths]
    assert (facts["exit_code"], facts["removed"], facts["failed"]) == (0, [date(0)], [])
    found = box.a_set / "found" / date(0)
    there = {path: entry for path, entry in twin(found).items() if entry.kind != "dir"}
    assert {path.decode(): entry.kind for path, entry in there.items()} == {
        "note of mine": "file", "source/a fifo": "fifo", "source/changes/inside": "file", "source/empty folder": "file",
        "source/sub/a folder/deeper/stays": "file", "source/sub/a link": "link", "source/sub/deep": "link",
        "source/sub/mine": "file"}  # fmt: skip
    assert (found / "source" / "sub" / "a folder" / "deeper" / "stays").read_bytes() == b"in folders"
    assert os.readlink(found / "source" / "sub" / "deep") == str(outside / "deep")
    whole(box, copies, date(1), date(2))
    assert box.history()[-1]["found"] == facts["found"]


def test_what_is_set_apart_never_replaces_what_was_set_apart_before(box: Box) -> None:
    box.take_daily(3)
    for content in (b"first", b"second", b"third"):
        place = box.a_set / "found" / date(0) / "source"
        (box.a_set / date(0) / "source" / "mine").write_bytes(content)
        if content != b"third":
            place.mkdir(parents=True, exist_ok=True)
            os.rename(box.a_set / date(0) / "source" / "mine", place / ("mine" if content == b"first" else "mine_2"))
    assert box.rotate(4, *KEEP_TWO).code == 0
    contents = sorted(path.read_bytes() for path in (box.a_set / "found" / date(0) / "source").iterdir())
    assert contents == [b"first", b"second", b"third"]


def test_a_link_in_the_place_of_found_leads_nowhere(box: Box, in_memory: Path) -> None:
    box.take_daily(3)
    (box.a_set / date(0) / "source" / "mine").write_bytes(b"mine")
    (in_memory / "outside").mkdir()
    (box.a_set / "found").symlink_to(in_memory / "outside")
    with nothing_changes(in_memory / "outside"):
        outcome = box.rotate(4, *KEEP_TWO)
    assert outcome.code in (1, 3), outcome
    assert (box.a_set / f"{date(0)}.deleting" / "source" / "mine").read_bytes() == b"mine"
    (box.a_set / "found").unlink()
    assert box.facts(4, *KEEP_TWO)["found"] == [f"{date(0)}/source/mine"]


def a_tree(folder: Path, rng: random.Random, levels: int) -> List[Path]:
    """Make some files and folders; give the folders."""
    folders = [folder]
    for number in range(rng.randrange(6)):
        (folder / rng.choice([f"file {number}", f"{number} path=x", f"new\nline {number}", f"..{number}"])).write_bytes(b"x")
    for number in range(rng.randrange(1, 4) if levels else 0):
        (folder / f"{number}").mkdir()
        folders += a_tree(folder / f"{number}", rng, levels - 1)
    return folders


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_however_a_list_is_cut_up_all_that_it_names_goes_and_nothing_else(
    box: Box, monkeypatch: pytest.MonkeyPatch, jobs: int, seed: int
) -> None:
    """Workers get parts of it that end anywhere, also in the middle of a folder."""
    rng = random.Random(seed)
    folders = a_tree(box.source, rng, 4)
    box.take_daily(3)
    copies = box.copies()
    strays = []
    for folder in rng.sample(folders, len(folders) // 4):
        strays.append(os.path.join(date(0), os.path.relpath(folder, box.source.parent), "mine"))
        (box.a_set / strays[-1]).write_bytes(b"mine")
    with monkeypatch.context() as patched:
        patched.setattr(snapback, "CHUNK", rng.choice([1, 300, 1000, 3000]))
        patched.setattr(snapback.Workers, "PARCEL", 1)
        outcome = box.ask(4, "rotate", "--json", *KEEP_TWO, "--drive", box.drive, "--jobs", jobs)
    facts = json.loads(outcome.out)
    assert (sorted(facts["found"]), facts["removed"], facts["failed"]) == (sorted(strays), [date(0)], []), outcome
    assert all((box.a_set / "found" / stray).read_bytes() == b"mine" for stray in strays)
    whole(box, copies, date(1), date(2))


def test_what_is_deleted_is_what_the_whole_list_names(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read by a shorter way than elsewhere, in parts."""
    box = awkward_box(in_memory)
    assert box.back_up(0, "--no-rotate").code in (0, 3)
    with snapback.proved_manifest(open(box.a_set / date(0) / "SHA256SUMS", "rb")) as manifest:
        wanted = {block.path: list(block.entries) for block in snapback.read_blocks(manifest.lines())}
        for size in (1, 1000, MIB):
            monkeypatch.setattr(snapback, "CHUNK", size)
            begins_in, found = "", {}  # type: str, Dict[str, List[str]]
            for entries in manifest.entries():
                for path, names in snapback.read_names(begins_in, entries):
                    found.setdefault(path, []).extend(names)
                begins_in = snapback.last_folder(begins_in, entries)
            assert found == wanted


WRONG_LISTS: Dict[str, Tuple[bytes, bytes]] = {
    "a name that leads out": (b"  source/sub/one\n", b"  source/sub/../../../mine\n"),
    "a file of another folder": (b"  source/sub/one\n", b"  source/changes/one\n"),
    "a folder above": (b" path=source/sub/deep\n", b" path=source/sub/../../..\n"),
    "no name": (b"  source/sub/one\n", b"  source/sub/..\n"),
    "a line that nobody writes": (b"# type=fifo ", b"# fifo "),
}


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("wrong", WRONG_LISTS)
def test_a_list_that_is_wrong_though_its_checksum_is_right_leads_nowhere(
    box: Box, monkeypatch: pytest.MonkeyPatch, wrong: str, jobs: int
) -> None:
    box.take_daily(4)
    copies = box.copies()
    (box.a_set / "mine").write_bytes(b"mine")
    reseal(box.a_set / date(0) / "SHA256SUMS", lambda above: above.replace(*WRONG_LISTS[wrong]))
    monkeypatch.setattr(snapback.Workers, "PARCEL", 1)
    outcome = box.ask(5, "rotate", *KEEP_TWO, "--drive", box.drive, "--jobs", jobs)
    said(outcome, 3, date(0), "its list is damaged", "delete it by hand")
    assert (dates(box.a_set), deletions(box)) == ([date(2), date(3)], [f"{date(0)}.deleting"])
    assert (box.a_set / "mine").read_bytes() == b"mine"
    assert not (box.a_set / "found").exists()
    for name in dates(box.a_set):
        assert differences(twin(box.a_set / name), copies[name]) == []


STREWN = [".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "._changes", ".directory", ".fuse_hidden0001"]


def test_what_systems_strew_about_is_removed(box: Box) -> None:
    box.take_daily(3)
    copies = box.copies()
    for folder in ("", "source", "source/sub/deep", "source/empty folder"):
        for name in STREWN:
            (box.a_set / date(0) / folder / name).write_bytes(b"strewn")
    facts = box.facts(4, *KEEP_TWO)
    assert (facts["found"], facts["removed"]) == ([], [date(0)])
    assert not (box.a_set / "found").exists()
    whole(box, copies, date(1), date(2))


def test_a_strewn_name_that_a_person_gave_to_a_folder_is_set_apart(box: Box) -> None:
    box.take_daily(3)
    (box.a_set / date(0) / "source" / "._mine").mkdir()
    (box.a_set / date(0) / "source" / "._mine" / "letter").write_bytes(b"mine")
    assert box.facts(4, *KEEP_TWO)["found"] == [f"{date(0)}/source/._mine"]


def test_what_the_source_has_of_strewn_names_is_deleted_with_its_copy(box: Box) -> None:
    (box.source / ".DS_Store").write_bytes(b"of the source")
    box.take_daily(3)
    copies = box.copies()
    assert box.facts(4, *KEEP_TWO)["found"] == []
    whole(box, copies, date(1), date(2))


@pytest.mark.needs("tmpfs")
@pytest.mark.parametrize("where", ["source/sub/deep", "source/empty folder", "source/mine"])
def test_a_disk_mounted_inside_a_dated_copy_is_not_entered(box: Box, where: str) -> None:
    """The first two are listed; what stands on that disk has the very names of the list."""
    box.take_daily(4)
    copies = box.copies()
    place = box.a_set / date(0) / where
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        (place / "stays").write_bytes(b"on another disk")
        facts = box.facts(5, *KEEP_TWO)
        place = box.a_set / f"{date(0)}.deleting" / where
        assert (place / "stays").read_bytes() == b"on another disk"
    finally:
        subprocess.run(["umount", place], check=True)
    assert (facts["exit_code"], facts["removed"]) == (3, [date(1)])
    assert [(one["path"], one["why"]) for one in facts["failed"]] == [(f"{date(0)}/{where}", "another disk is mounted there")]
    assert box.facts(6, *KEEP_TWO)["removed"] == [date(0)]
    whole(box, copies, date(2), date(3))


@pytest.mark.needs("tmpfs")
def test_a_part_of_the_same_disk_mounted_inside_a_dated_copy_stops_that_deletion_only(box: Box, in_memory: Path) -> None:
    box.take_daily(4)
    copies = box.copies()
    (in_memory / "elsewhere").mkdir()
    (in_memory / "elsewhere" / "mine").write_bytes(b"mine")
    place = box.a_set / date(0) / "source" / "sub" / "deep"
    subprocess.run(["mount", "--bind", in_memory / "elsewhere", place], check=True)
    try:
        outcome = box.rotate(5, *KEEP_TWO)
        gc.collect()
        place = box.a_set / f"{date(0)}.deleting" / "source" / "sub" / "deep"
        assert (in_memory / "elsewhere" / "mine").read_bytes() == b"mine"
    finally:
        subprocess.run(["umount", place], check=True)
    said(outcome, 3, "source/sub/deep")
    assert dates(box.a_set) == [date(2), date(3)]
    assert box.rotate(6, *KEEP_TWO).code == 0
    whole(box, copies, date(2), date(3))


def test_an_ordinary_user_deletes_folders_that_he_may_not_write_to(ordinary_user: User) -> None:
    with ordinary_user.acting():
        box = make_box(ordinary_user.home)
        (box.source / "sub" / "closed" / "below").mkdir(parents=True)
        (box.source / "sub" / "closed" / "file").write_bytes(b"x")
        (box.source / "sub" / "closed" / "below" / "file").write_bytes(b"x")
        (box.source / "sub" / "closed" / "file").chmod(0o400)
        for mode in (0o555, 0o500, 0o511):
            (box.source / f"{mode:o}" / "below").mkdir(parents=True)
            (box.source / f"{mode:o}" / "below" / "file").write_bytes(b"x")
            (box.source / f"{mode:o}").chmod(mode)
        (box.source / "sub" / "closed" / "below").chmod(0o555)
        (box.source / "sub" / "closed").chmod(0o555)
        box.take_daily(3)
        copies = box.copies()
        for folder in ("source/sub/closed", "source/555/below"):
            (box.a_set / date(0) / folder).chmod(0)
        outcome = box.rotate(4, *KEEP_TWO)
        assert outcome.code == 0, outcome
        whole(box, copies, date(1), date(2))
        remove_tree(box.drive)
        remove_tree(box.source)


def test_an_ordinary_users_closed_folder_that_is_in_no_list_does_not_stop_the_others(ordinary_user: User) -> None:
    """To move a folder one must be allowed to write in it; this one becomes so, or is reported."""
    with ordinary_user.acting():
        box = make_box(ordinary_user.home)
        box.take_daily(4)
        mine = box.a_set / date(0) / "source" / "mine"
        mine.mkdir()
        (mine / "letter").write_bytes(b"mine")
        mine.chmod(0o555)
        outcome = box.rotate(5, *KEEP_TWO)
        assert outcome.code in (0, 3), outcome
        assert dates(box.a_set) == [date(2), date(3)]
        assert [path.read_bytes() for path in box.a_set.rglob("letter")] == [b"mine"]
        for path in box.a_set.rglob("mine"):
            path.chmod(0o755)


@pytest.mark.needs("root")
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "in no list"])
def test_what_another_user_put_into_a_copy_is_reported_and_keeps_nothing_else(ordinary_user: User, listed: bool) -> None:
    with ordinary_user.acting():
        box = make_box(ordinary_user.home)
        box.take_daily(4)
    place = box.a_set / date(0) / "source" / "sub" / ("deep" if listed else "of root")
    place.mkdir(exist_ok=True)
    (place / "more").write_bytes(b"of root")
    os.chown(place, 0, 0)
    place.chmod(0o700)
    with ordinary_user.acting():
        said(box.rotate(5, *KEEP_TWO), 3, f"{date(0)}/source/sub/{place.name}", "could not be deleted")
        assert dates(box.a_set) == [date(2), date(3)]
    shutil.rmtree(box.a_set / f"{date(0)}.deleting" / "source" / "sub" / place.name)
    with ordinary_user.acting():
        assert box.rotate(6, *KEEP_TWO).code == 0
        assert deletions(box) == []


def awkward_box(folder: Path) -> Box:
    """A drive with two copies of the awkward tree, and one of little else."""
    box = Box(folder / "source", folder / "drive")
    box.drive.mkdir()
    assert ask("init", box.drive).code == 0
    awkward_tree(box.source, closed=False)
    return box


def test_a_copy_of_the_awkward_tree_is_deleted_without_a_trace(in_memory: Path) -> None:
    """Names that are no text or have newlines, trees of 1,200 levels, paths longer than the system takes, any mode."""
    box = awkward_box(in_memory)
    for day in range(2):
        assert box.back_up(day, "--no-rotate").code in (0, 3)
    was = twin(box.a_set / date(1))
    outcome = box.rotate(2, "--keep-last", "1")
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert sorted(os.listdir(box.a_set)) == sorted([date(1), "history.jsonl", "latest", "lock", "manifests", "page"])
    assert differences(twin(box.a_set / date(1)), was) == []
    assert box.history()[0]["removed"] == [date(0)]


def test_strays_in_great_depth_and_with_any_name_are_set_apart(box: Box) -> None:
    with opened_folder(box.source) as root:
        here = os.dup(root)
        for _ in range(DEEP_LEVELS):
            os.mkdir("d", dir_fd=here)
            there = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = there
        os.close(here)
    box.take(0)
    box.take(1)
    with opened_folder(box.a_set / date(0), b"source/" + b"/".join([b"d"] * DEEP_LEVELS)) as deepest:
        for name in (b"caf\xe9", b"new\nline", b"x" * 255):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=deepest))
    facts = box.facts(2, "--keep-last", "1")
    assert (facts["exit_code"], len(facts["found"]), facts["removed"]) == (0, 3, [date(0)])
    with opened_folder(box.a_set / "found" / date(0), b"source/" + b"/".join([b"d"] * DEEP_LEVELS)) as deepest:
        assert sorted(map(os.fsencode, os.listdir(deepest))) == [b"caf\xe9", b"new\nline", b"x" * 255]


@contextlib.contextmanager
def immutable(*paths: Path) -> Iterator[None]:
    """Let nobody change these, not even root; the paths may have moved with `.deleting` by then."""
    subprocess.run(["chattr", "+i", *paths], check=True)
    try:
        yield
    finally:
        for path in paths:
            moved = Path(str(path).replace(date(0), f"{date(0)}.deleting"))
            subprocess.run(["chattr", "-i", moved if moved.exists() else path], check=True)


UNCHANGEABLE = {
    "a listed file": ("source/changes", False),
    "a folder that holds files": ("source/sub/deep", False),
    "an empty folder": ("source/empty folder", False),
    "a folder that forbids writing": ("source/read only", False),
    "a file in no list": ("source/sub/mine", True),
    "a strewn file": ("source/sub/.DS_Store", True),
}


@pytest.mark.needs("root", "chattr", "ext4")
@pytest.mark.parametrize("what", UNCHANGEABLE)
def test_what_nobody_may_delete_is_reported_and_keeps_nothing_else(mounted: Callable[..., Mount], in_memory: Path, what: str) -> None:
    box = make_box(in_memory, mounted("ext4").path)
    (box.source / "read only").mkdir(mode=0o555)
    (box.source / "read only" / "stays").write_bytes(b"x")
    box.take_daily(4)
    copies = box.copies()
    path, is_new = UNCHANGEABLE[what]
    if is_new:
        (box.a_set / date(0) / path).write_bytes(b"mine")
    with immutable(box.a_set / date(0) / path):
        facts = box.facts(5, *KEEP_TWO)
        assert (facts["exit_code"], facts["removed"]) == (3, [date(1)])
        assert [one["path"] for one in facts["failed"]] in ([f"{date(0)}/{path}"], [f"{date(0)}/{path}/stays"])
        assert dates(box.a_set) == [date(2), date(3)]
        again = box.rotate(5, *KEEP_TWO)
        said(again, 3, path, "could not be deleted")
        assert {name: twin(box.a_set / name) for name in dates(box.a_set)} == {name: copies[name] for name in (date(2), date(3))}
    assert box.facts(6, *KEEP_TWO)["removed"] == [date(0)]
    whole(box, copies, date(2), date(3))


def test_a_backup_says_what_could_not_be_deleted(mounted: Callable[..., Mount], in_memory: Path) -> None:
    require("root", "chattr", "ext4")
    box = make_box(in_memory, mounted("ext4").path)
    box.take_daily(2)
    with immutable(box.a_set / date(0) / "source" / "changes"):
        outcome = box.back_up(2, "--keep-last", "1")
        said(outcome, 3, f"{date(0)}/source/changes", "could not be deleted")
        assert "you can rely on this copy" in outcome.err or "everything else is in this copy" in outcome.err
    assert box.back_up(3, "--keep-last", "1").code == 0
    assert dates(box.a_set) == [date(3)]


WHERE_KILLED: Dict[str, Callable[[Path], object]] = {
    "the twin was gone": lambda a_set: (a_set / "manifests" / f"{date(0)}.gz").unlink(),
    "the name was new": lambda _set: None,
    "all but the list was gone": lambda a_set: shutil.rmtree(a_set / f"{date(0)}.deleting" / "source"),
    "the list was gone": lambda a_set: (shutil.rmtree(a_set / f"{date(0)}.deleting" / "source"),
                                        (a_set / f"{date(0)}.deleting" / "SHA256SUMS").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("killed", WHERE_KILLED)
@pytest.mark.parametrize("command", ["rotate", "backup"])
def test_a_deletion_that_was_begun_is_finished_by_a_later_run(box: Box, killed: str, command: str) -> None:
    box.take_daily(3)
    if killed != "the twin was gone":
        (box.a_set / "manifests" / f"{date(0)}.gz").unlink()
        os.rename(box.a_set / date(0), box.a_set / f"{date(0)}.deleting")
    WHERE_KILLED[killed](box.a_set)
    copies = box.copies()
    if command == "rotate":
        outcome, names = box.rotate(4, *KEEP_TWO), [date(1), date(2)]
    else:
        outcome, names = box.back_up(4, *KEEP_TWO), [date(2), date(4)]
        copies[date(4)] = twin(box.a_set / date(4))
    assert (outcome.code, outcome.err) == (0, ""), outcome
    whole(box, copies, *names)


def test_a_deletion_that_was_begun_is_finished_though_the_policy_would_keep_the_copy_now(box: Box) -> None:
    box.take_daily(3)
    copies = box.copies()
    (box.a_set / "manifests" / f"{date(0)}.gz").unlink()
    os.rename(box.a_set / date(0), box.a_set / f"{date(0)}.deleting")
    assert "begun" in box.rotate(4, "-n", "--keep-last", "9").out or box.rotate(4, "--keep-last", "9").code == 0
    whole(box, copies, date(1), date(2))


SPOILT: Dict[str, Callable[[Path], object]] = {
    "its list is damaged": lambda folder: damage_last_line(folder / "SHA256SUMS"),
    "its list is gone, and files are there": lambda folder: (folder / "SHA256SUMS").unlink(),
    "it is a file": lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"x")),
    "it is a link": lambda folder: (os.rename(folder, folder.parent / "moved"), folder.symlink_to("moved")),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_deletion_that_cannot_be_finished_is_reported_and_stops_no_other(box: Box, how: str) -> None:
    box.take_daily(4)
    os.rename(box.a_set / date(0), box.a_set / f"{date(0)}.deleting")
    SPOILT[how](box.a_set / f"{date(0)}.deleting")
    before = {path: entry for path, entry in twin(box.a_set).items() if path.startswith((date(0).encode(), b"moved"))}
    outcome = box.rotate(5, *KEEP_TWO)
    said(outcome, 3, date(0))
    assert dates(box.a_set) == [date(2), date(3)]
    after = {path: entry for path, entry in twin(box.a_set).items() if path.startswith((date(0).encode(), b"moved"))}
    assert differences(after, before, ["group"]) == []


# --- Whichever call fails, and killed at any moment ------

ON_DRIVES = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT]


class Start:
    """A drive to start from again and again, and what must be there afterwards."""

    def __init__(self, box: Box, keep: Sequence[str]) -> None:
        self.box, self.keep, self.kept = box, keep, box.drive.with_name("kept")
        self.copies = box.copies()
        self.going = [os.fsencode(name) for name in self.copies if name not in keep]
        subprocess.run(["cp", "-a", box.drive, self.kept], check=True)
        self.others = self.unnamed()

    def again(self) -> None:
        remove_tree(self.box.drive)
        subprocess.run(["cp", "-a", self.kept, self.box.drive], check=True)

    def unnamed(self) -> Twin:
        """Describe all that no plan names.

        The history grows, the recovery plan says what there is, and folders have the time of what was last made or removed in them.
        """
        found = twin(self.box.drive)
        gone = [b"box/found", b"box/history.jsonl", b"GET-FILES-BACK.html", b"READ-ME-FIRST.txt"]
        gone += [folder + name for folder in (b"box/", b"box/manifests/", b"box/page/") for name in self.going]
        stays = {path: entry for path, entry in found.items() if not path.startswith(tuple(gone))}
        folders = (b"box", b"box/manifests", b"box/page", b".")
        return {path: entry._replace(mtime_ns=0) if path in folders else entry for path, entry in stays.items()}

    def lost(self) -> List[str]:
        """Complain about what is not as it was though no plan named it."""
        return differences(self.unnamed(), self.others, ["group"])

    def finished(self) -> List[str]:
        """Complain unless the next run finishes the work."""
        outcome = self.box.rotate(5, *KEEP_TWO)
        if outcome.code != 0 or dates(self.box.a_set) != list(self.keep) or deletions(self.box):
            return [f"the next run: {outcome}, and there are {os.listdir(self.box.a_set)}"]
        return self.lost()


def no_sentence(outcome: Outcome) -> List[str]:
    """Complain about an outcome that no person could read."""
    lines = outcome.err.count("\n")
    if outcome.code not in DOCUMENTED or "Errno" in outcome.err or "Traceback" in outcome.err or (outcome.code != 0) != (lines > 0):
        return [f"exit {outcome.code} with {outcome.err!r}"]
    if outcome.code in (1, 2, 11, 75) and (lines != 1 or not outcome.err.startswith("snapback: ")):
        return [f"no single sentence: {outcome.err!r}"]
    return []


def none(found: Sequence[str]) -> None:
    if found:
        pytest.fail("\n".join([f"{len(found)} complaints", *found[:20]]), pytrace=False)


def start_with_a_stray(box: Box) -> Start:
    box.take_daily(4)
    (box.a_set / date(1) / "source" / "mine").write_bytes(b"mine")
    return Start(box, [date(2), date(3)])


def test_whichever_call_fails_no_copy_that_stays_is_touched_and_the_next_run_finishes(box: Box) -> None:
    start = start_with_a_stray(box)
    count = Hit(Fault(str(box.drive), 0, errno.EIO))
    with watched(count):
        assert box.rotate(5, *KEEP_TWO).code == 0
    found: List[str] = []
    numbers = itertools.cycle(ON_DRIVES)
    for nth in [*thinned(range(1, count.met + 1, 3), 3), count.met + 1]:
        start.again()
        fault = Fault(str(box.drive), nth, next(numbers))
        hit = Hit(fault)
        with watched(hit):
            outcome = box.rotate(5, *KEEP_TWO)
        complaints = [*no_sentence(outcome), *start.lost(), *start.finished()]
        strays = [path.read_bytes() for path in box.a_set.rglob("mine*")]
        complaints += [] if strays == [b"mine"] else [f"the stray: {strays}"]
        found += [f"{fault} ({hit.calls}): {line}" for line in complaints]
        if nth > count.met:
            assert (outcome.code, hit.calls) == (0, [])
    none(found)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT], ids=errno.errorcode.get)
def test_a_drive_that_fails_for_good_in_the_middle_loses_no_copy_that_stays(box: Box, number: int) -> None:
    start = start_with_a_stray(box)
    found: List[str] = []
    for nth in thinned(range(20, 220, 9), 3):
        start.again()
        fault = Fault(str(box.drive), nth, number, for_good=True)
        with watched(Hit(fault)):
            outcome = box.rotate(5, *KEEP_TWO)
        found += [f"{fault}: {line}" for line in [*no_sentence(outcome), *start.lost(), *start.finished()]]
    none(found)


def test_whichever_call_fails_after_a_new_copy_that_copy_is_said_to_be_made(box: Box) -> None:
    start = start_with_a_stray(box)
    calls: List[Call] = []
    with watched(calls.append):
        assert box.back_up(4, "--keep-last", "3").code == 0
    deleting = next(at for at, call in enumerate(calls) if call.path.endswith(".deleting"))
    found: List[str] = []
    numbers = itertools.cycle(ON_DRIVES)
    for nth in thinned(range(deleting - 12, len(calls), 3), 3):
        start.again()
        number, met = next(numbers), itertools.count()

        def fail(call: Call, nth: int = nth, number: int = number, met: Iterator[int] = met) -> None:
            if next(met) == nth and call.name != "close":
                raise OSError(number, os.strerror(number), call.path)

        with watched(fail):
            outcome = box.back_up(4, "--keep-last", "3")
        complaints = no_sentence(outcome) + [f"exit {outcome.code}"] * (outcome.code not in (0, 3))
        complaints += [] if date(4) in outcome.out and stock_check(box.a_set / date(4)) == [] else [f"not made: {outcome}"]
        remove_tree(box.a_set / date(4))
        (box.a_set / "manifests" / f"{date(4)}.gz").unlink()
        for left in (box.a_set / "page").glob(f"{date(4)}.*"):
            left.unlink()
        (box.a_set / "latest").unlink()
        (box.a_set / "latest").symlink_to(date(3))
        lost = [line for line in start.lost() if not line.startswith(("box/latest", "snapback.py", "READ-ME"))]
        found += [f"{errno.errorcode[number]} at {calls[nth]}: {line}" for line in complaints + lost]
    none(found)


def test_a_backup_whose_rotation_fails_says_that_its_copy_was_made(box: Box) -> None:
    box.take_daily(2)

    def fail(call: Call) -> None:
        if call.name == "unlink" and ".deleting" in call.path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(fail):
        outcome = box.back_up(2, "--keep-last", "1")
    said(outcome, 3, f"Dated copy {date(2)} made", "did not come to its end", "went away or failed", "but those that the plan drops")
    assert "every earlier dated copy on it is untouched" not in outcome.err  # one is half deleted
    assert stock_check(box.a_set / date(2)) == []
    assert box.back_up(3, "--keep-last", "1").code == 0
    assert (dates(box.a_set), deletions(box)) == ([date(3)], [])


def days_ago(days: float) -> float:
    """Give the day, counted from START, that is so many days before now: a process of its own has the real clock."""
    return (datetime.now(timezone.utc) - START) / timedelta(days=1) - days


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("calls", "jobs", "moments"),
    [
        ("unlink,unlinkat,rmdir", "1", [1, 2, 3, 5, 8, 13, 21]),
        ("unlink,unlinkat,rmdir", "2", [2, 150, 300]),
        ("rename,renameat,renameat2", "1", [1, 2, 3]),
    ],
    ids=["removing", "removing, with others", "moving"],
)
def test_killed_at_any_moment_no_copy_that_stays_is_touched_and_the_next_run_finishes(
    box: Box, cli: Cli, calls: str, jobs: str, moments: Sequence[int]
) -> None:
    """With two at work there are so many files that others are forked for them."""
    if jobs == "2":
        for nth in range(700):
            (box.source / f"file {nth}").touch()
    names = [box.take(days_ago(4 - nth)) for nth in range(4)]
    (box.a_set / names[1] / "source" / "mine").write_bytes(b"mine")
    start = Start(box, names[2:])
    for nth in [*thinned(moments, 3), 10_000]:
        start.again()
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={nth}"]
        ended = cli("rotate", *KEEP_TWO, "--drive", box.drive, "--jobs", jobs, before=["strace", "-f", "-qq", "-o", os.devnull, *inject])
        assert ended.code in (0, 1, -signal.SIGKILL), ended
        assert start.lost() == []
        outcome = box.ask(days_ago(0), "rotate", *KEEP_TWO, "--drive", box.drive)
        assert (outcome.code, dates(box.a_set), deletions(box), start.lost()) == (0, names[2:], [], []), (nth, outcome)
        assert [path.read_bytes() for path in box.a_set.rglob("mine*")] == [b"mine"]
        for name in names[2:]:
            assert stock_check(box.a_set / name) == []
    assert ended.code == 0


def test_when_the_system_ends_a_part_of_a_rotation_the_new_copy_is_said_to_be_made(box: Box, cli: Cli) -> None:
    """As it does when memory is short: a forked process dies while the others go on."""
    require("strace")
    for nth in range(2000):
        (box.source / f"file {nth}").touch()
    for nth in range(2):
        box.take(days_ago(4 - nth))
    calls = "unlink,unlinkat"
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when=100"]
    words = ["backup", "--set", "box", "--keep-last", "1", "--jobs", "2", box.source, box.drive]
    ended = cli(*words, before=["strace", "-f", "-qq", "-o", os.devnull, *inject])
    assert (ended.code, "Dated copy" in ended.out, "did not come to its end" in ended.err) == (3, True, True), ended
    new = dates(box.a_set)[-1]
    assert stock_check(box.a_set / new) == []
    assert box.ask(days_ago(0), "rotate", "--keep-last", "1", "--drive", box.drive).code == 0
    assert (dates(box.a_set), deletions(box)) == ([new], [])


# --- Drives that go away ------


@pytest.mark.needs("tmpfs")
@pytest.mark.parametrize("command", ["rotate", "backup"])
def test_a_set_that_is_another_disk_is_not_rotated(mounted: Callable[..., Mount], box: Box, command: str) -> None:
    """The marker is on the disk around it; nobody knows what that other disk is."""
    box.take_daily(3)
    place = box.drive / "box"
    os.rename(place, box.drive.with_name("away"))
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        subprocess.run(["cp", "-a", f"{box.drive.with_name('away')}/.", place], check=True)
        outcome = box.rotate(4, "--keep-last", "1") if command == "rotate" else box.back_up(4, "--keep-last", "1")
        said(outcome, 1, "is another disk")
        assert dates(place) == [date(0), date(1), date(2)]
    finally:
        gc.collect()
        subprocess.run(["umount", place], check=True)


def at_the_first(name: str, ending: str, do: Callable[[], object]) -> Callable[[Call], None]:
    """Give a hook that does something once, before the first such call."""
    done: List[Call] = []

    def hook(call: Call) -> None:
        if not done and call.name == name and call.path.endswith(ending):
            done.append(call)
            do()

    return hook


MARKERS: Dict[str, Callable[[Path], object]] = {
    "gone": lambda marker: marker.unlink(),
    "another drive's": lambda marker: marker.write_text(re.sub("[0-9a-f]{32}", "0" * 32, marker.read_text())),
    "spoilt": lambda marker: marker.write_bytes(b"\0" * 50),
}


@pytest.mark.parametrize("how", MARKERS)
def test_when_the_marker_changes_between_two_deletions_the_second_does_not_happen(box: Box, how: str) -> None:
    box.take_daily(4)
    copies = box.copies()
    marker = box.drive / "snapback-marker.txt"
    with watched(at_the_first("rmdir", f"{date(0)}.deleting", lambda: MARKERS[how](marker))):
        outcome = box.rotate(5, "--keep-last", "1")
    said(outcome, 1, "went away")
    assert outcome.err.count("\n") == 1
    assert dates(box.a_set) == [date(1), date(2), date(3)]
    assert {name: twin(box.a_set / name) for name in dates(box.a_set)} == {name: copies[name] for name in dates(box.a_set)}


def test_when_another_folder_is_put_in_the_drives_place_nothing_in_it_is_deleted(box: Box) -> None:
    box.take_daily(4)
    other = box.drive.with_name("other")
    subprocess.run(["cp", "-a", box.drive, other], check=True)  # with the same marker, as a cloned disk has it

    def swap() -> None:
        os.rename(box.drive, box.drive.with_name("away"))
        os.rename(other, box.drive)

    with watched(at_the_first("rmdir", f"{date(0)}.deleting", swap)):
        said(box.rotate(5, "--keep-last", "1"), 1, "went away")
    assert dates(box.a_set) == [date(0), date(1), date(2), date(3)]


@pytest.mark.parametrize("moment", [("unlink", "stays"), ("rmdir", f"{date(0)}.deleting")], ids=["in a copy", "between two"])
@pytest.mark.parametrize("how", ["fails", "is pulled"])
def test_a_disk_that_goes_away_in_the_middle(
    mounted: Callable[..., Mount], in_memory: Path, how: str, moment: Tuple[str, str]
) -> None:
    disk = mounted("ext4")
    box = make_box(in_memory, disk.path)
    box.take_daily(4)
    copies = box.copies()
    os.sync()
    with watched(at_the_first(*moment, disk.shut_down if how == "fails" else disk.unplug)):
        outcome = box.rotate(5, "--keep-last", "1")
    said(outcome, 1, "went away")
    assert outcome.err.count("\n") == 1
    disk.remount()
    assert date(3) in dates(box.a_set)
    assert {name: twin(box.a_set / name) for name in dates(box.a_set)} == {name: copies[name] for name in dates(box.a_set)}
    assert box.rotate(5, "--keep-last", "1").code == 0
    whole(box, copies, date(3))


# --- Readers, and other runs ------


@contextlib.contextmanager
def reading(a_set: Path) -> Iterator[None]:
    """Share the set as somebody does who reads in it."""
    folder = os.open(a_set, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)


def test_while_somebody_reads_rotation_is_put_off(box: Box) -> None:
    box.take_daily(4)
    with reading(box.a_set):
        outcome = box.rotate(5, *KEEP_TWO)
        said(outcome, 0, "somebody is reading")
        assert outcome.err == ""
        said(box.back_up(5, *KEEP_TWO), 0, "somebody is reading")
        assert box.facts(6, *KEEP_TWO)["put_off"].startswith("somebody is reading")
    assert dates(box.a_set) == [*map(date, range(4)), date(5)]
    assert box.rotate(6, *KEEP_TWO).code == 0
    assert dates(box.a_set) == [date(3), date(5)]


@pytest.mark.parametrize("command", [["verify"], ["restore", "latest", "--to"]], ids=["verify", "restore"])
def test_a_rotation_that_comes_while_somebody_reads_is_put_off_and_the_reader_finishes(
    box: Box, in_memory: Path, command: Sequence[str]
) -> None:
    box.take_daily(4)
    words = [*command, *([in_memory / "back"] if "--to" in command else [])]
    outcomes: List[Outcome] = []
    hook = at_the_first("read", "stays", lambda: outcomes.append(box.rotate(5, *KEEP_TWO)))
    with watched(hook):
        assert box.ask(5, *words, "--drive", box.drive).code == 0
    (outcome,) = outcomes
    said(outcome, 0, "somebody is reading")
    assert len(dates(box.a_set)) == 4


@pytest.mark.parametrize("command", ["rotate", "backup"])
def test_who_comes_while_rotation_is_at_work_is_told_so_in_one_sentence(box: Box, in_memory: Path, command: str) -> None:
    box.take_daily(4)
    outcomes: Dict[str, Outcome] = {}

    def come() -> None:
        outcomes["verify"] = box.ask(5, "verify", "--drive", box.drive)
        outcomes["restore"] = box.ask(5, "restore", "latest", "--to", in_memory / "back", "--drive", box.drive)
        outcomes["rotate"] = box.rotate(5, *KEEP_TWO)
        outcomes["backup"] = box.back_up(5)
        outcomes["list"] = box.ask(5, "list", "--drive", box.drive)

    with watched(at_the_first("unlink", "stays", come)):
        outcome = box.rotate(5, *KEEP_TWO) if command == "rotate" else box.back_up(5, *KEEP_TWO)
    assert outcome.code == 0, outcome
    assert {name: (one.code, one.err.count("\n")) for name, one in outcomes.items()} == {
        "verify": (11, 1), "restore": (11, 1), "rotate": (11, 1), "backup": (11, 1), "list": (0, 0)}  # fmt: skip
    assert not (in_memory / "back").exists()
    assert dates(box.a_set) == [date(2), date(3)] if command == "rotate" else [date(3), date(5)]
    assert box.ask(6, "verify", "--drive", box.drive).code == 0


def test_a_locked_set_is_not_rotated(box: Box) -> None:
    box.take_daily(3)
    copies = box.copies()
    with open(box.a_set / "lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said(box.rotate(4, "--keep-last", "1"), 11, "another run")
        assert box.rotate(4, "-n", "--keep-last", "1").code == 0
    assert box.copies() == copies


# --- Room ------


def box_with_months(mounted: Callable[..., Mount], in_memory: Path, kind: str, size: str = "") -> Box:
    """Six copies of three months, with 2 MiB in each that no other has; the second is pinned."""
    box = make_box(in_memory, mounted(kind, size).path)
    for day in (0, 10, 20, 40, 50, 60):
        (box.source / "changes").write_bytes(text_of(day, 2 * MIB))
        box.take(day)
    assert box.ask(60, "pin", date(10), "--drive", box.drive).code == 0
    return box


def free(box: Box) -> int:
    os.sync()
    return shutil.disk_usage(box.drive).free


@pytest.mark.needs("tmpfs")
def test_for_room_the_oldest_go_but_no_newest_no_pinned_one_and_no_last_of_its_month(
    mounted: Callable[..., Mount], in_memory: Path
) -> None:
    box = box_with_months(mounted, in_memory, "tmpfs")
    copies = box.copies()
    reason = "oldest that others of its month outlive; goes only while too little is free"
    planned = box.facts(61, "-n", "--keep-last", "9", "--min-free", "99%")
    assert planned["spare"] == [{"snapshot": date(day), "reasons": [reason]} for day in (0, 20, 40)]
    assert planned["remove"] == []
    done = box.facts(61, "--keep-last", "9", "--min-free", "99%")
    assert (done["removed"], done["exit_code"]) == ([date(0), date(20), date(40)], 3)  # so much is never free, which is said
    whole(box, copies, date(10), date(50), date(60))
    assert box.facts(62, "--keep-last", "9", "--min-free", "99%")["removed"] == []


def test_a_copy_that_may_go_for_room_is_named_once(box: Box) -> None:
    box.take_daily(3)
    assert box.rotate(4, "-n", *KEEP_TWO, "--min-free", "99.999%").out.splitlines() == [
        f"keep    {date(2)}     newest copy; last 2 (1st)",
        f"delete  {date(0)}     older than the 2 copies kept",
        f"spare   {date(1)}     last 2 (2nd); oldest that others of its month outlive; goes only while too little is free",
        "Would delete 1 and keep 2, of which 1 only while enough is free; nothing was deleted.",
    ]


def test_a_newest_copy_of_its_group_does_not_go_for_room(box: Box, in_memory: Path) -> None:
    box.take_daily(2)
    (in_memory / "other").mkdir()
    (in_memory / "other" / "file").write_bytes(b"of another group")
    assert box.ask(2, "backup", "--set", "box", "--no-rotate", in_memory / "other", box.drive).code == 0
    box.take(3)
    assert box.facts(4, "--keep-last", "9", "--min-free", "99.999%")["removed"] == [date(0), date(1)]
    for day in (40, 41):  # the last of its month, too, but for a pinned one
        box.take(day)
    assert box.ask(42, "pin", date(40), "--drive", box.drive).code == 0
    assert box.facts(42, "--keep-last", "9", "--min-free", "99.999%")["removed"] == []
    assert dates(box.a_set) == [date(2), date(3), date(40), date(41)]


@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs", "btrfs"])
def test_for_room_no_more_go_than_are_needed(mounted: Callable[..., Mount], in_memory: Path, kind: str) -> None:
    box = box_with_months(mounted, in_memory, kind)
    enough = free(box) + 3 * MIB
    facts = box.facts(61, "--keep-last", "9", "--min-free", f"{enough // 1000 + 1}k")
    assert facts["removed"] == [date(0), date(20)]
    assert free(box) >= enough
    assert box.facts(61, "--keep-last", "9", "--min-free", f"{enough // 1000}k")["removed"] == []


@pytest.mark.needs("tmpfs")
def test_what_the_plan_drops_goes_first_and_may_be_enough(mounted: Callable[..., Mount], in_memory: Path) -> None:
    box = box_with_months(mounted, in_memory, "tmpfs")
    facts = box.facts(61, "--keep-last", "4", "--min-free", f"{free(box) // 1000 + 1}k")
    assert facts["removed"] == [date(0)]
    facts = box.facts(61, "--keep-last", "4", "--min-free", f"{free(box) // 1000 + 1000}k")
    assert facts["removed"] == [date(20)]


@pytest.mark.needs("tmpfs")
@pytest.mark.parametrize("words", ["10%", "10.5%", "5M", "5MB", "1MiB", "1000k", "0", "0%"])
def test_where_enough_is_free_none_goes_for_room(mounted: Callable[..., Mount], in_memory: Path, words: str) -> None:
    box = make_box(in_memory, mounted("tmpfs").path)
    for day in range(3):
        box.take(day)
    assert box.facts(61, "--keep-last", "9", "--min-free", words)["removed"] == []


@pytest.mark.needs("tmpfs")
def test_a_backup_makes_room_after_its_copy(mounted: Callable[..., Mount], in_memory: Path) -> None:
    box = box_with_months(mounted, in_memory, "tmpfs")
    outcome = box.back_up(61, "--json", "--keep-last", "9", "--min-free", "99%")
    assert (outcome.code, json.loads(outcome.out)["removed"]) == (3, [date(0), date(20), date(40), date(60)])
    assert dates(box.a_set) == [date(10), date(50), date(61)]


# --- Pins, and what is shown ------


def test_pins_are_shown_and_taken_back(box: Box) -> None:
    box.take_daily(3)
    said(box.ask(4, "pin", date(0), "--note", "before  the\nmove", "--drive", box.drive), 0, f"{date(0)} is pinned")
    listed = ask("list", "--drive", box.drive).out
    assert re.search(rf"{date(0)} .*; pinned\n +before the.{{1,3}}move$", listed, re.MULTILINE), listed
    assert listed.count("pinned") == 1
    assert json.loads(ask("list", "--json", "--drive", box.drive).out)["snapshots"][0]["pinned"] is not None
    said(box.ask(4, "unpin", date(0), "--drive", box.drive), 0, f"{date(0)} is not pinned any more")
    said(box.ask(4, "unpin", date(0), "--drive", box.drive), 0, f"{date(0)} was not pinned")
    assert "pinned" not in ask("list", "--drive", box.drive).out
    assert box.facts(4, "--keep-last", "1")["removed"] == [date(0), date(1)]


WHENS: Dict[str, Tuple[Optional[float], str]] = {
    "latest": (3, "is pinned"),
    date(1): (1, "is pinned"),
    "2030-01-02": (1, "is pinned"),
    "2030-01-02 12:00": (1, "is pinned"),
    "2030-01": (3, "is pinned"),
    "2030": (3, "is pinned"),
    "2030-05-05": (None, "nothing was changed"),
    "2029": (None, "the first one is"),
    "yesterday": (None, "is no date"),
    "": (None, "is no date"),
    "../box": (None, "is no date"),
    "source": (None, "is no date"),
}


@pytest.mark.parametrize("when", WHENS)
def test_a_date_is_meant_as_in_other_commands(box: Box, when: str) -> None:
    box.take_daily(4)
    day, words = WHENS[when]
    said(box.ask(5, "pin", when, "--drive", box.drive), 2 if day is None else 0, words)
    pins = sorted(os.listdir(box.a_set / "pins")) if (box.a_set / "pins").exists() else []
    assert pins == ([] if day is None else [f"{date(day)}.txt"])
    if day is not None:
        said(box.ask(5, "unpin", when, "--drive", box.drive), 0, f"{date(day)} is not pinned any more")
        assert os.listdir(box.a_set / "pins") == []


def test_a_note_can_be_put_in_the_place_of_another(box: Box) -> None:
    box.take_daily(1)
    for note in ("one", "two", "\x1b[31mred", ""):
        assert box.ask(1, "pin", "latest", "--note", note, "--drive", box.drive).code == 0
    assert os.listdir(box.a_set / "pins") == [f"{date(0)}.txt"]
    assert "pinned" in ask("list", "--drive", box.drive).out


@pytest.mark.parametrize("name", [f"{date(0)}.txt", date(0)])
def test_a_pin_made_by_hand_is_taken_back_by_command(box: Box, name: str) -> None:
    box.take_daily(2)
    (box.a_set / "pins").mkdir()
    (box.a_set / "pins" / name).write_text("by hand")
    said(box.ask(4, "unpin", date(0), "--drive", box.drive), 0, "is not pinned any more")
    assert box.facts(4, "--keep-last", "1")["removed"] == [date(0)]


def test_a_copy_that_is_not_whole_cannot_be_pinned(box: Box) -> None:
    box.take_daily(1)
    os.rename(box.a_set / date(0), box.a_set / f"{date(0)}.incomplete")
    said(box.ask(1, "pin", "latest", "--drive", box.drive), 2, "no whole dated copy")


# --- Asked to stop ------


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_rotation_asked_to_stop_says_what_is_so_and_a_later_run_finishes(box: Box) -> None:
    box.take_daily(4)
    copies = box.copies()
    with watched(at_the_first("unlink", "stays", interrupt)):
        outcome = box.rotate(5, *KEEP_TWO)
    assert (outcome.code, outcome.err.count("\n")) == (130, 1), outcome
    assert "every earlier dated copy is untouched" not in outcome.err
    assert (dates(box.a_set), deletions(box)) == ([date(1), date(2), date(3)], [f"{date(0)}.deleting"])
    assert box.rotate(5, *KEEP_TWO).code == 0
    whole(box, copies, date(2), date(3))


def test_the_history_of_a_rotation_asked_to_stop_names_what_is_gone(box: Box) -> None:
    box.take_daily(4)
    with watched(at_the_first("unlink", f"{date(1)}.gz", interrupt)):
        assert box.rotate(5, "--keep-last", "1").code == 130
    assert date(0) not in os.listdir(box.a_set)
    assert date(0) in [name for line in box.history() for name in line["removed"]]


def test_a_backup_asked_to_stop_in_its_rotation_says_that_its_copy_was_made(box: Box) -> None:
    box.take_daily(3)
    with watched(at_the_first("unlink", "stays", interrupt)):
        outcome = box.back_up(3, "--json", *KEEP_TWO)
    said(outcome, 3, "interrupted", "a later run goes on")
    assert json.loads(outcome.out)["snapshot_id"] == date(3)
    assert dates(box.a_set) == [date(1), date(2), date(3)]
    assert stock_check(box.a_set / date(3)) == []
    assert box.back_up(4, *KEEP_TWO).code == 0
    assert (dates(box.a_set), deletions(box)) == ([date(3), date(4)], [])


# --- Histories drawn from a seed ------

HISTORIES = max(1, int(os.environ.get("HISTORIES", "200")) // 5)
STEPS = 6
POLICIES = [
    ["--keep-last", "1"], ["--keep-last", "2"], ["--keep-daily", "2"], ["--keep-hourly", "3", "--keep-monthly", "1"],
    ["--keep-within", "2d"], ["--keep-yearly", "1"], ["--keep-weekly", "1", "--keep-last", "1"], [],
]  # fmt: skip


class Seen(NamedTuple):
    """A dated copy as its own lists say it is, and whether one of them can be proved."""

    seq: int
    taken: datetime
    group: str
    proved: bool


def read_list(text: bytes) -> Optional[Seen]:
    """Read a manifest without snapback; None where its first or last line says nothing."""
    above, magic, end = text.rpartition(b"# end ")
    try:
        is_proved = json.loads(end)["sha256"] == hashlib.sha256(above).hexdigest()
        header = json.loads(above.partition(b"\n")[0].partition(b"# snapback manifest 1 ")[2])
        taken = datetime.fromisoformat(header["taken"])
    except (ValueError, KeyError):
        return None
    return Seen(header["seq"], taken, json.dumps(header["sources"]), is_proved) if magic else None


def unpacked(twin_file: Path) -> bytes:
    """Give what a twin holds; nothing where it is not whole."""
    try:
        return gzip.decompress(twin_file.read_bytes())
    except (OSError, EOFError, zlib.error):
        return b""


def seen_in(a_set: Path) -> Dict[str, Optional[Seen]]:
    """Read a set without snapback; None for a copy of which neither list says anything."""
    found: Dict[str, Optional[Seen]] = {}
    for name in dates(a_set):
        lists: List[Optional[Seen]] = []
        with contextlib.suppress(OSError):
            lists.append(read_list((a_set / name / "SHA256SUMS").read_bytes()))
        lists.append(read_list(unpacked(a_set / "manifests" / f"{name}.gz")))
        found[name] = max((one for one in lists if one), key=lambda one: one.proved, default=None)
    return found


class History:
    """A set with its owner, his mistakes and his disks', and what no step may do."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.rng, self.day, self.told = random.Random(seed), 0.0, [seed]
        self.box = Box(folder / "source", folder / "drive")
        self.others = [folder / "other", folder / "third"]
        for source in (self.box.source, *self.others):
            (source / "sub").mkdir(parents=True)
            (source / "sub" / "stays").write_bytes(source.name.encode())
        self.box.drive.mkdir()
        assert ask("init", self.box.drive).code == 0
        for _ in range(self.rng.randrange(2, 5)):
            self.back_up("--no-rotate")

    @property
    def a_set(self) -> Path:
        return self.box.a_set

    def pinned(self) -> Set[str]:
        pins = self.a_set / "pins"
        return {name[:-4] for name in os.listdir(pins)} if pins.exists() else set()

    def ask(self, *words: object) -> Outcome:
        self.told.append(f"day {self.day:.3f}: {' '.join(str(word) for word in words)}")
        outcome = self.box.ask(self.day, *words)
        self.told.append(f"    -> {outcome.code}, {outcome.err.strip()}")
        assert ("Traceback" in outcome.err, outcome.code in DOCUMENTED) == (False, True), outcome
        return outcome

    def back_up(self, *words: str) -> Outcome:
        self.day += self.rng.choice([0, 0.01, 0.5, 1, 1, 1, 7, 40])
        (self.box.source / "changes").write_bytes(self.rng.getrandbits(64).to_bytes(8, "little"))
        sources = self.rng.choice([[self.box.source]] * 4 + [self.others[:1], self.others, [self.box.source, *self.others]])
        return self.ask("backup", "--set", "box", *words, *sources, self.box.drive)

    def rotation(self) -> None:
        """Rotate, after asking for the plan; only what that names may go."""
        policy = self.rng.choice(POLICIES)
        words = ["rotate", "--json", *policy, "--drive", self.box.drive]
        plan = json.loads(self.ask(*words, "-n").out)
        before = set(dates(self.a_set))
        done = json.loads(self.ask(*words).out)
        gone = before - set(dates(self.a_set))
        named = {one["snapshot"] for one in plan["remove"]}
        assert gone == (named - {one["path"] for one in done["failed"]} if not plan["put_off"] else set())

    def backup(self) -> None:
        self.back_up(*self.rng.choice(POLICIES))

    def failing(self) -> None:
        """Let one call fail, or that one and all later ones, in a backup or a rotation."""
        number = self.rng.choice(ON_DRIVES)
        fault = Fault(str(self.box.drive), int(self.rng.triangular(1, 400, 60)), number, for_good=self.rng.random() < 0.4)
        self.told.append(f"{fault}:")
        with watched(Hit(fault)):
            if self.rng.random() < 0.5:
                self.backup()
            else:
                self.ask("rotate", *self.rng.choice(POLICIES), "--drive", self.box.drive)

    def clock(self) -> None:
        self.day += self.rng.choice([-2000, -30, -1, -0.04, 0.04, 30, 400, 4000])

    def pin(self) -> None:
        self.ask(self.rng.choice(["pin", "unpin"]), self.rng.choice(dates(self.a_set) or ["latest"]), "--drive", self.box.drive)

    def rot(self) -> None:
        """Damage some copy's list, its twin, or both."""
        names = dates(self.a_set)
        if names:
            name = self.rng.choice(names)
            for path in self.rng.choice([[0], [1], [0, 1], [0]]):
                file = [self.a_set / name / "SHA256SUMS", self.a_set / "manifests" / f"{name}.gz"][path]
                if file.exists():
                    self.told.append(f"damaged: {file}")
                    self.rng.choice([damage_last_line, spoil_the_middle, empty])(file)

    def mend(self) -> None:
        """Do what is said of a list that is damaged: put it back, or take its folder away by hand."""
        for name, seen in seen_in(self.a_set).items():
            listed, packed = self.a_set / name / "SHA256SUMS", self.a_set / "manifests" / f"{name}.gz"
            if seen is None or not seen.proved:
                self.told.append(f"taken away by hand: {name}")
                remove_tree(self.a_set / name)
                if packed.exists():
                    packed.unlink()
            elif not listed.exists() or read_list(listed.read_bytes()) != seen:
                self.told.append(f"put back by hand: the list of {name}")
                listed.write_bytes(unpacked(packed))

    def stray(self) -> None:
        for name in dates(self.a_set)[:1]:
            folder = self.rng.choice([self.a_set / name, *(path for path in (self.a_set / name).glob("*/sub"))])
            (folder / f"stray {self.rng.getrandbits(32)}").write_bytes(b"mine")

    def step(self) -> None:
        """Do one thing, and assert that nothing was lost that may not be."""
        act = self.rng.choice([self.rotation, self.rotation, self.rotation, self.backup, self.backup, self.failing, self.failing,
                               self.clock, self.pin, self.rot, self.mend, self.stray])  # fmt: skip
        before, pinned, strays = seen_in(self.a_set), self.pinned(), self.strays()
        copies = self.box.copies()
        day = self.day
        act()
        after = seen_in(self.a_set)
        if act in (self.mend, self.rot):
            return
        gone = before.keys() - after.keys()
        now = START + timedelta(days=max(day, self.day))
        newest: Dict[str, Tuple[int, str]] = {}
        for name, seen in before.items():
            if seen and seen.proved:
                newest[seen.group] = max(newest.get(seen.group, (0, "")), (seen.seq, name))
        newer = {seen.group for name, seen in after.items() if seen and seen.proved and name not in before}
        lost = {name for group, (_, name) in newest.items() if group not in newer} & gone
        assert not lost, f"the newest of their groups: {lost}"
        assert not pinned & gone, f"pinned: {pinned & gone}"
        assert not {name for name in gone for seen in [before[name]] if not seen or not seen.proved}, f"unproved: {gone}"
        assert None not in before.values() or not gone, f"though a list is damaged: {gone}"
        assert not {name for name, seen in before.items() if seen and seen.taken > now + timedelta(minutes=6)} & gone, "of the future"
        for name in before.keys() & after.keys() if act != self.stray else ():
            assert differences(twin(self.a_set / name), copies[name]) == [], name
        assert strays <= self.strays(), "strays were lost"

    def strays(self) -> Set[str]:
        return {path.name for path in self.a_set.rglob("stray *")}


def test_in_no_history_is_anything_lost_that_no_plan_names(in_memory: Path) -> None:
    first = os.environ.get("HISTORY", "")
    for seed in [first] if first else map(str, range(HISTORIES)):
        folder = in_memory / seed
        folder.mkdir()
        history = History(folder, seed)
        try:
            for _ in range(STEPS if not first else 10 * STEPS):
                history.step()
        except AssertionError as err:
            pytest.fail("\n".join([f"HISTORY={seed}: {err}", *history.told]), pytrace=False)
        remove_tree(folder)
