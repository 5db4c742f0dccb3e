"""The layout `changes`: a dated folder holds what is new, its list says where the rest lies, and every date comes back whole.

What both layouts promise is asked of both. `histories` of random days stand in test_changes_histories.py.
"""

from __future__ import annotations

import errno
import gc
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

import pytest

import snapback
from conftest import MIB, Mount, User, command, thinned
from faults import Call, Fault, Hit, watched
from test_rotation import deletions, nothing_changes, reseal, said
from trees import Outcome, Twin, ask, ask_at, awkward_tree, dates, differences, remove_tree, stock_check, twin, without

pytestmark = pytest.mark.needs("linux")

START = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)  # later than any file here, so that none is young
LAYOUTS = ["changes", "complete"]
NOTICE = "NOT-THE-WHOLE-DATE.txt"


FAULTS = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT]


class KilledError(BaseException):
    """No call comes after it."""


def date(day: float) -> str:
    return (START + timedelta(days=day)).strftime("%Y-%m-%d_%H%M%S")


class Box:
    """A source, a drive with a set on it, and what the source was on each day, counted from START."""

    def __init__(self, folder: Path, drive: Path, layout: str = "changes") -> None:
        self.folder, self.source, self.drive, self.layout = folder, folder / "source", drive, layout
        self.was: Dict[str, Twin] = {}
        drive.mkdir(exist_ok=True)
        assert ask("init", drive).code == 0
        (self.source / "sub" / "deep").mkdir(parents=True)
        (self.source / "empty").mkdir()
        for name in ("one", "sub/two", "sub/deep/three", "sub/deep/four"):
            (self.source / name).write_bytes(name.encode() * 100)

    @property
    def a_set(self) -> Path:
        return self.drive / "box"

    def ask(self, day: float, *words: object) -> Outcome:
        return ask_at(START + timedelta(days=day), *words)

    def back_up(self, day: float, *words: object) -> Outcome:
        layout = [] if "--layout" in words else ["--layout", self.layout]
        return self.ask(day, "backup", "--set", "box", *layout, *words, self.source, self.drive)

    def take(self, day: float, *words: object, code: int = 0) -> Path:
        """Make a dated copy, delete none, and give its folder."""
        before, now = set(dates(self.a_set)), without(twin(self.source), "socket")
        outcome = self.back_up(day, "--no-rotate", *words)
        assert outcome.code == code, outcome
        (new,) = set(dates(self.a_set)) - before
        self.was[new] = now
        return self.a_set / new

    def rotate(self, day: float, *words: object) -> Outcome:
        return self.ask(day, "rotate", "--drive", self.drive, "--set", "box", *words)

    def restored(self, name: str, code: int = 0) -> Twin:
        target = self.folder / "restored"
        outcome = ask("restore", name, "--drive", self.drive, "--set", "box", "--to", target)
        assert outcome.code == code, outcome
        tree = twin(target / self.source.name)
        remove_tree(target)
        return tree

    def states(self) -> Dict[str, str]:
        listed = ask("list", "--drive", self.drive, "--set", "box", "--json")
        return {one["snapshot"]: one["state"] for one in json.loads(listed.out)["snapshots"]}

    def whole(self) -> List[str]:
        return [name for name, state in self.states().items() if state == "whole"]

    def sound(self, *names: str, ignoring: Sequence[str] = ()) -> None:
        """Assert that these dates, and no others, are whole: by other people's tools, by verify, and restored."""
        assert self.whole() == sorted(names)
        for name in names:
            assert stock_check(self.a_set / name) == []
            assert differences(self.restored(name), self.was[name], ignoring) == []
        outcome = ask("verify", "--drive", self.drive, "--set", "box", "--jobs", "1")
        assert outcome.code == 0, outcome

    def stored(self, name: str) -> List[str]:
        """Name the files in a dated folder."""
        top = self.a_set / name
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file() or path.is_symlink())


@pytest.fixture
def box(in_memory: Path) -> Box:
    return Box(in_memory, in_memory / "drive")


@pytest.fixture(params=LAYOUTS)
def either(in_memory: Path, request: pytest.FixtureRequest) -> Box:
    """The same in each layout."""
    return Box(in_memory, in_memory / "drive", request.param)


# --- What lies in a dated folder ------


def test_a_day_without_changes_costs_a_list_and_a_notice(box: Box) -> None:
    box.take(0)
    before = twin(box.drive)
    box.take(1)
    came = {os.fsdecode(path) for path in twin(box.drive).keys() - before.keys()}
    here = f"box/{date(1)}"
    assert came == {here, f"{here}/SHA256SUMS", f"{here}/{NOTICE}", f"box/manifests/{date(1)}.gz", f"box/page/{date(1)}.js"}
    after = twin(box.drive)
    changed = {path for path in before if before[path].content != after[path].content}
    assert changed == {b"box/history.jsonl", b"box/latest", b"GET-FILES-BACK.html", b"READ-ME-FIRST.txt"}
    assert f"restore {date(1)}" in (box.a_set / date(1) / NOTICE).read_text()
    box.sound(date(0), date(1))


@pytest.mark.needs("exfat")
def test_on_a_drive_without_hard_links_only_what_changed_is_stored(mounted: Callable[..., Mount], in_memory: Path) -> None:
    box = Box(in_memory, mounted("exfat").path)
    (box.source / "sub" / "link").symlink_to("two")
    os.link(box.source / "one", box.source / "sub" / "again")
    os.setxattr(box.source / "one", "user.colour", b"green")
    os.chmod(box.source / "sub" / "two", 0o640)
    for day in range(3):
        assert box.ask(day, "backup", "--set", "box", "--no-rotate", box.source, box.drive).code == 0
        box.was[date(day)] = twin(box.source)
        (box.source / "sub" / "two").write_bytes(b"day %d" % day)
    assert [box.stored(date(day)) for day in (1, 2)] == [["NOT-THE-WHOLE-DATE.txt", "SHA256SUMS", "source/sub/two"]] * 2
    box.sound(date(0), date(1), date(2))
    said(box.rotate(3, "--keep-last", "1"), 0, "Deleted 2")
    assert box.states() == {date(0): snapback.State.EXPIRED.value, date(2): "whole"}
    assert box.stored(date(0)) == ["NOT-THE-WHOLE-DATE.txt", "SHA256SUMS.expired", "source/one", "source/sub/deep/four",
                                   "source/sub/deep/three"]  # fmt: skip
    box.sound(date(2))


def change_back_and_forth(source: Path) -> Iterator[str]:
    """Change a source in one way after the other, each of which has misled somebody."""
    (source / "sub" / "two").rename(source / "sub" / "a two")
    yield "renamed to a name that comes before"
    (source / "sub" / "a two").rename(source / "zz two")
    yield "moved to a place that comes later"
    (source / "sub" / "deep").rename(source / "a deep")
    yield "a folder moved before its old place"
    (source / "a deep").rename(source / "sub" / "zz")
    yield "and behind it"
    (source / "one").rename(source / "x")
    (source / "zz two").rename(source / "one")
    (source / "x").rename(source / "zz two")
    yield "swapped names"
    yield from turn_over(source)
    yield from change_what_it_is(source / "one", source / "sub" / "a link")
    os.unlink(source / "log.2")
    (source / "log.2").symlink_to("log.1")
    yield "a link where a file was"
    os.unlink(source / "log.1")
    (source / "log.1").mkdir()
    (source / "log.1" / "log.1").write_bytes(b"in the folder")
    yield "a folder where a file was"
    remove_tree(source / "log.1")
    (source / "log.1").write_bytes(b"in the folder")
    yield "and a file where the folder was"
    (source / "empty" / "emptier").mkdir()
    os.chmod(source / "empty", 0o1777)
    yield "an empty folder in an empty folder"
    remove_tree(source / "empty")
    yield "no empty folder"
    for name in ("back\\slash", "new\nline", "carriage\rreturn", "cr at the end\r", " blanks  ", "..a", "# type=file", "caf\udce9"):
        (source / name).write_bytes(os.fsencode(name))
        (source / "sub" / name).mkdir()
        (source / "sub" / name / name).write_bytes(os.fsencode(name) * 2)
    yield "odd names"
    yield "nothing"
    (source / "sub").rename(source / "new\nplace")
    yield "odd names moved"


def turn_over(source: Path) -> Iterator[str]:
    for nth in range(3):
        for number in (3, 2, 1):
            if (source / f"log.{number}").exists():
                (source / f"log.{number}").rename(source / f"log.{number + 1}")
        if (source / "log").exists():
            (source / "log").rename(source / "log.1")
        (source / "log").write_bytes(b"day %d" % nth * 300_000)
        yield f"log is turned over, {nth}"


def change_what_it_is(path: Path, other: Path) -> Iterator[str]:
    os.utime(path, (1_600_000_000, 1_600_000_000))
    yield "touched"
    os.chmod(path, 0o600)
    yield "re-moded"
    os.chown(path, 1234, 1234)
    yield "re-owned"
    os.setxattr(path, "user.colour", b"green")
    yield "has an attribute"
    os.link(path, other)
    yield "has a second name"
    os.unlink(path)
    yield "has its second name alone"
    shutil.copy2(other, path)
    yield "a copy of it under its first name"


@pytest.mark.needs("root", "sha256sum")
def test_every_date_comes_back_as_its_source_was(either: Box) -> None:
    either.take(0)
    story = {date(day): what for day, what in enumerate(change_back_and_forth(either.source), 1) if either.take(day, code=0)}
    for name, what in story.items():
        complaints = stock_check(either.a_set / name, beyond=lambda line: line.endswith(b"\r"))
        assert complaints == [], what
        assert differences(either.restored(name), either.was[name]) == [], what
    assert ask("verify", "--drive", either.drive, "--set", "box").code == 0


MOVES: Dict[str, Callable[[Path], None]] = {
    "renamed": lambda source: (source / "sub" / "two").rename(source / "sub" / "a two") and None,
    "renamed, to come later": lambda source: (source / "one").rename(source / "zz") and None,
    "its folder moved": lambda source: (source / "sub").rename(source / "zz") and None,
    "touched": lambda source: os.utime(source / "one", (1_600_000_000, 1_600_000_000)),
    "re-moded": lambda source: os.chmod(source / "one", 0o600),
    "re-owned": lambda source: os.chown(source / "one", 1234, 1234),
}


@pytest.mark.needs("root", "sha256sum")
@pytest.mark.parametrize("what", MOVES)
def test_what_has_the_same_bytes_is_referred_to(box: Box, what: str) -> None:
    box.take(0)
    MOVES[what](box.source)
    new = box.take(1)
    assert box.stored(new.name) == [NOTICE, "SHA256SUMS"]
    box.sound(date(0), date(1))


def test_one_stored_file_never_serves_two_names(box: Box) -> None:
    """A copy of a file that was moved is a file of its own: editing one of them must not change both."""
    box.take(0)
    (box.source / "one").rename(box.source / "moved")
    shutil.copy2(box.source / "moved", box.source / "moved too")
    new = box.take(1)
    lines = [line.split("  ", 1)[1] for line in (new / "SHA256SUMS").read_text().splitlines() if not line.startswith("#")]
    assert len(set(lines)) == len(lines) == 5


@pytest.mark.parametrize("size", [100, 17 * MIB])
def test_a_file_that_came_in_the_place_of_one_that_moved_away_has_its_own_content(either: Box, size: int) -> None:
    """With the same bytes, and another time: what is stored could serve both names, as each for itself has a right to it."""
    (either.source / "one").write_bytes(b"1" * size)
    either.take(0)
    (either.source / "one").rename(either.source / "moved")
    (either.source / "one").write_bytes(b"1" * size)
    os.utime(either.source / "one", (1_600_000_000, 1_600_000_000))
    new = either.take(1)
    places = [line.split("  ", 1)[1] for line in (new / "SHA256SUMS").read_text().splitlines() if not line.startswith("#")]
    stored = [os.path.realpath(new / place) for place in places]
    assert len({os.stat(path).st_ino for path in stored}) == 5
    either.sound(date(0), date(1))


def test_a_large_file_that_came_as_a_copy_of_one_that_is_gone_is_in_its_date(either: Box) -> None:
    for name in ("big", "sub/big"):
        (either.source / name).write_bytes(name.encode() * MIB)
    either.take(0)
    for old, new in (("big", "sub/a copy"), ("sub/big", "new here")):
        (either.source / new).write_bytes((either.source / old).read_bytes())
        (either.source / old).unlink()
    either.take(1)
    either.sound(date(0), date(1))
    if either.layout == "changes":
        assert either.stored(date(1)) == [NOTICE, "SHA256SUMS"]


def test_a_large_file_that_was_only_touched_does_not_stop_the_run_where_another_of_its_content_is_gone(either: Box) -> None:
    for nth, name in enumerate(("kept", "gone")):
        (either.source / name).write_bytes(b"1" * MIB)
        os.utime(either.source / name, (1_600_000_000 + nth, 1_600_000_000))
    either.take(0)
    os.utime(either.source / "kept", (1_600_000_100, 1_600_000_100))
    (either.source / "gone").unlink()
    either.take(1)
    either.sound(date(0), date(1))


# --- Every date, whatever the run was like ------


def test_the_awkward_tree_comes_back_from_a_date_that_stored_nothing(box: Box) -> None:
    remove_tree(box.source)
    awkward_tree(box.source)
    box.take(0)
    assert box.stored(box.take(1).name) == [NOTICE, "SHA256SUMS"]
    assert differences(box.restored(date(1)), box.was[date(1)]) == []


def test_a_single_file_and_several_sources_are_referred_to(box: Box) -> None:
    (box.folder / "letter").write_bytes(b"dear")
    (box.folder / "other" / "in").mkdir(parents=True)
    (box.folder / "other" / "in" / "file").write_bytes(b"in")
    words = ["backup", "--set", "box", "--no-rotate", "--layout", "changes", box.folder / "letter", box.source, box.folder / "other",
             box.drive]  # fmt: skip
    for day in range(2):
        assert box.ask(day, *words).code == 0
    assert box.stored(date(1)) == [NOTICE, "SHA256SUMS"]
    assert ask("restore", date(1), "--drive", box.drive, "--to", box.folder / "r").code == 0
    assert (box.folder / "r" / "letter").read_bytes() == b"dear"
    assert differences(twin(box.folder / "r" / "source"), twin(box.source)) == []
    assert differences(twin(box.folder / "r" / "other"), twin(box.folder / "other")) == []


CLOSED: Dict[str, str] = {"a file": "sub/two", "a folder": "sub/deep", "a folder with all below it": "sub"}


@pytest.mark.needs("user", "sha256sum")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("what", CLOSED)
def test_what_cannot_be_read_is_kept_from_day_to_day(ordinary_user: User, layout: str, what: str) -> None:
    with ordinary_user.acting():
        box = Box(ordinary_user.home, ordinary_user.home / "drive", layout)
        first = box.take(0)
        os.chmod(box.source / CLOSED[what], 0)
        for day in (1, 2):
            outcome = box.back_up(day, "--no-rotate")
            said(outcome, 3, f"the copy of {first.name} is kept")
            assert box.restored(date(day), code=3).keys() == box.was[date(0)].keys()
            assert stock_check(box.a_set / date(day)) == []
            if layout == "changes":
                assert box.stored(date(day)) == [NOTICE, "SHA256SUMS"]
        os.chmod(box.source / CLOSED[what], 0o755)
        assert ask("verify", "--drive", box.drive, "--set", "box").code == 0


@pytest.mark.parametrize(("words", "stores"), [(["--fresh"], True), (["--checksum"], False), (["--allow-empty"], False)])
def test_what_is_asked_of_a_run_holds_in_this_layout(box: Box, words: Sequence[str], stores: bool) -> None:
    box.take(0)
    new = box.take(1, *words)
    assert ("source/one" in box.stored(new.name)) == stores
    assert box.stored(box.take(2).name) == [NOTICE, "SHA256SUMS"]
    if stores:
        remove_tree(box.a_set / date(0))
        (box.a_set / "manifests" / f"{date(0)}.gz").unlink()
        box.sound(date(1), date(2))
    else:
        box.sound(date(0), date(1), date(2))


@pytest.mark.needs("sha256sum")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["tmpfs", "exfat"])
def test_what_a_killed_run_had_stored_is_not_stored_again(mounted: Callable[..., Mount], in_memory: Path, kind: str) -> None:
    box = Box(in_memory, mounted(kind).path)
    box.take(0)
    for nth in range(5):
        (box.source / "sub" / f"new {nth}").write_bytes(b"%d" % nth * 50_000)

    def kill(call: Call) -> None:
        if call.name in ("rename", "replace") and call.path == f"{box.a_set}/{date(1)}":
            raise KilledError

    with pytest.raises(KilledError), watched(kill):
        box.back_up(1, "--no-rotate")
    gc.collect()
    assert box.whole() == [date(0)]
    outcome = box.back_up(2, "--no-rotate", "--json")
    facts = json.loads(outcome.out)
    assert (outcome.code, facts["data_added"], facts["files_new"], facts["files_unmodified"]) == (0, 0, 5, 4)
    box.was[date(2)] = twin(box.source)
    box.sound(date(0), date(2))
    assert not list(box.a_set.glob("*.incomplete"))


@pytest.mark.needs("sha256sum")
def test_whichever_call_fails_in_a_run_every_earlier_date_is_whole_and_the_next_run_is(box: Box) -> None:
    box.take(0)
    (box.source / "sub" / "two").write_bytes(b"of day one")
    (box.source / "one").rename(box.source / "moved")
    (box.source / "new").mkdir()
    (box.source / "new" / "new").write_bytes(b"new")
    kept = box.drive.with_name("kept")
    subprocess.run(["cp", "-a", box.drive, kept], check=True)
    count = Hit(Fault(str(box.drive), 0, errno.EIO))
    with watched(count):
        assert box.back_up(1, "--no-rotate").code == 0
    numbers, found = itertools.cycle(FAULTS), []  # type: Iterator[int], List[str]
    for nth in thinned(range(1, count.met + 1, 11), 3):
        remove_tree(box.drive)
        subprocess.run(["cp", "-a", kept, box.drive], check=True)
        hit = Hit(Fault(str(box.drive), nth, next(numbers)))
        with watched(hit):
            outcome = box.back_up(1, "--no-rotate")
        if outcome.code not in (0, 1, 3, 75) or "Traceback" in outcome.err:
            found.append(f"{hit.fault}: {outcome}")
        box.was[date(1)] = box.was[date(2)] = twin(box.source)
        again = box.back_up(2, "--no-rotate")
        if again.code != 0 or date(2) not in box.whole():
            found.append(f"{hit.fault}: the next run: {again}")
        for name in box.whole():
            found += [f"{hit.fault}: {line}" for line in stock_check(box.a_set / name)]
            if not (name == date(1) and outcome.code == 3):
                found += [f"{hit.fault}: {line}" for line in differences(box.restored(name), box.was[name])]
    assert found == []


def test_a_dry_run_says_what_is_then_stored(either: Box) -> None:
    either.take(0)
    (either.source / "new").write_bytes(b"new")
    (either.source / "one").write_bytes(b"changed")
    (either.source / "sub").rename(either.source / "moved")
    with nothing_changes(either.drive):
        planned = json.loads(either.back_up(1, "-n", "--json").out)
    done = json.loads(either.back_up(1, "--no-rotate", "--json").out)
    asked = ("data_added", "total_files_processed", "files_changed")
    assert {word: planned[word] for word in asked} == {word: done[word] for word in asked}
    assert done["data_added"] == 10


def test_a_run_of_ransomware_is_held(either: Box) -> None:
    for nth in range(200):
        (either.source / f"file {nth}").write_bytes(b"%d" % nth)
    either.take(0)
    either.take(1)
    for nth in range(200):
        (either.source / f"file {nth}").write_bytes(b"encrypted %d" % nth)
    outcome = either.back_up(2, "--keep-last", "1")
    assert (outcome.code, either.whole()) == (5, [date(0), date(1), date(2)]), outcome
    said(either.rotate(3, "--keep-last", "1"), 5, "on hold")
    assert either.whole() == [date(0), date(1), date(2)]
    assert ask("accept", "--drive", either.drive, "--set", "box").code == 0
    assert either.rotate(3, "--keep-last", "1").code == 0
    either.was[date(2)] = twin(either.source)
    either.sound(date(2))


def test_a_set_that_changes_its_layout_twice_stays_whole(box: Box) -> None:
    for day, layout in enumerate(["complete", "changes", "complete", "changes"]):
        (box.source / f"day {day}").write_bytes(b"%d" % day)
        box.take(day, "--layout", layout)
    everything = [f"source/day {day}" for day in range(3)]
    assert set(everything) <= set(box.stored(date(2)))
    assert box.stored(date(3)) == [NOTICE, "SHA256SUMS", "source/day 3"]
    box.sound(*map(date, range(4)))
    for keep in (3, 2, 1):
        assert box.rotate(5, "--keep-last", str(keep)).code == 0
        box.sound(*map(date, range(4 - keep, 4)))
    box.take(6, "--layout", "complete")
    assert box.rotate(7, "--keep-last", "1").code == 0
    assert box.states() == {date(6): "whole"}
    box.sound(date(6))


# --- A person was at the drive ------


def nothing_left(box: Box, name: str) -> None:
    remove_tree(box.a_set / name)
    (box.a_set / "manifests" / f"{name}.gz").unlink()


def renamed(box: Box, name: str) -> None:
    (box.a_set / name).rename(box.a_set / "my old copy")
    (box.a_set / "manifests" / f"{name}.gz").unlink()


def emptied(box: Box, name: str) -> None:
    for path in (box.a_set / name / "source").iterdir():
        remove_tree(path) if path.is_dir() else path.unlink()


def cut_off(box: Box, name: str) -> None:
    for path in (box.a_set / name / "source").rglob("*"):
        if path.is_file():
            os.truncate(path, 5)


def became_links(box: Box, name: str) -> None:
    for path in (box.a_set / name / "source").rglob("*"):
        if path.is_file():
            path.rename(path.with_suffix(".real"))
            path.symlink_to(path.with_suffix(".real").name)


HANDS: Dict[str, Callable[[Box, str], None]] = {
    "deleted": nothing_left,
    "renamed": renamed,
    "emptied": emptied,
    "cut off": cut_off,
    "became links": became_links,
}


@pytest.mark.needs("sha256sum")
@pytest.mark.parametrize("hand", HANDS)
def test_what_an_old_date_has_no_more_is_stored_again_and_that_is_said(box: Box, hand: str) -> None:
    box.take(0)
    (box.source / "sub" / "two").write_bytes(b"of day one")
    box.take(1)
    HANDS[hand](box, date(0))
    checked = ask("verify", date(1), "--drive", box.drive, "--set", "box", "--json")
    found = {one["path"] for one in json.loads(checked.out)["findings"]}
    assert (checked.code, found) == (4, {"source/one", "source/sub/deep/three", "source/sub/deep/four"}), checked
    (box.a_set / "damaged.txt").unlink()  # it would have them stored anew by itself
    new = box.take(2, code=3)
    assert box.stored(new.name) == [NOTICE, "SHA256SUMS", "source/one", "source/sub/deep/four", "source/sub/deep/three"]
    (box.source / "one").touch()
    outcome = box.back_up(3, "--no-rotate")
    assert "stored again" not in outcome.err
    assert stock_check(box.a_set / date(2)) == stock_check(box.a_set / date(3)) == []
    assert differences(box.restored(date(2)), box.was[date(2)]) == []


def test_what_was_stored_again_is_said_in_a_sentence(box: Box) -> None:
    box.take(0)
    emptied(box, date(0))
    outcome = box.back_up(1, "--no-rotate")
    said(outcome, 3, f"4 files that had not changed were stored again, as the folder of {date(0)} no longer has them", "snapback.py verify",
         "you can rely on this copy")  # fmt: skip


def test_what_is_known_to_be_damaged_is_stored_anew_though_an_older_date_has_it(box: Box) -> None:
    for day in range(3):
        box.take(day)
    path = box.a_set / date(0) / "source" / "one"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    assert ask("verify", date(0), "--drive", box.drive, "--set", "box").code == 4
    new = box.take(3)
    assert box.stored(new.name) == [NOTICE, "SHA256SUMS", "source/one"]
    assert stock_check(new) == []
    assert box.stored(box.take(4).name) == [NOTICE, "SHA256SUMS"]
    assert stock_check(box.a_set / date(4)) == []


# --- Rotation ------


def lived_in(box: Box, days: int = 5) -> List[str]:
    """Make a copy on each of the first days: something comes, changes and goes each day."""
    for day in range(days):
        (box.source / "sub" / "two").write_bytes(b"as it was on day %d" % day)
        (box.source / f"came on day {day}").write_bytes(b"%d" % day)
        (box.source / f"came on day {day - 2}").unlink() if day > 1 else None
        box.take(day)
    return [date(day) for day in range(days)]


def needed_of(box: Box, name: str) -> List[str]:
    """Name the files in a dated folder that lists of whole dates need."""
    found = set()
    for other in box.whole():
        for line in (box.a_set / other / "SHA256SUMS").read_text().splitlines():
            _, _, stored = line.partition("  ")
            place, _, path = stored[3:].partition("/") if stored.startswith("../") else (other, "", stored)
            if not line.startswith("#") and place == name:
                found.add(path)
    return sorted(found)


ROTATIONS: Dict[str, Tuple[Sequence[str], Sequence[int]]] = {
    "of the oldest": (["--keep-last", "4"], [1, 2, 3, 4]),
    "of all but one": (["--keep-last", "1"], [4]),
    "of those between": (["--keep-last", "2", "--keep-within", "0d"], [3, 4]),
    "of all but the pinned": (["--keep-last", "1"], [1, 4]),
    "of some in the middle": (["--keep-last", "1"], [0, 2, 4]),
}


@pytest.mark.needs("sha256sum")
@pytest.mark.parametrize("what", ROTATIONS)
def test_rotation_frees_what_no_kept_list_needs_and_nothing_else(box: Box, what: str) -> None:
    words, kept = ROTATIONS[what]
    names = lived_in(box)
    for day in kept:
        if day != 4 and "--keep-last" in words and words[1] == "1":
            assert ask("pin", date(day), "--drive", box.drive, "--set", "box").code == 0
    outcome = box.rotate(9, *words)
    said(outcome, 0, f"Deleted {5 - len(kept)} old dated cop")
    box.sound(*map(date, kept))
    for name in names:
        if (box.a_set / name).exists():
            extra = ["SHA256SUMS" if name in box.whole() else "SHA256SUMS.expired", NOTICE]
            assert box.stored(name) == sorted([*extra, *needed_of(box, name)])
            assert needed_of(box, name) or name in box.whole()
    assert sorted(os.listdir(box.a_set / "manifests")) == [f"{date(day)}.gz" for day in kept]
    with nothing_changes(box.drive):
        assert box.rotate(9, *words).code == 0


@pytest.mark.needs("sha256sum")
def test_what_nothing_needs_any_more_goes_whole_and_strays_go_to_found(box: Box) -> None:
    lived_in(box, 3)
    (box.a_set / date(0) / "source" / "mine").write_bytes(b"mine")
    said(box.rotate(5, "--keep-last", "1"), 0)
    assert "source/mine" in box.stored(date(0))
    assert "was deleted" in (box.a_set / date(0) / NOTICE).read_text()
    box.take(6, "--fresh")
    said(box.rotate(7, "--keep-last", "1"), 0, "moved to found")
    assert (box.states(), (box.a_set / "found" / date(0) / "source" / "mine").read_bytes()) == ({date(6): "whole"}, b"mine")
    assert sorted(os.listdir(box.a_set / "found" / date(0) / "source")) == ["mine"]
    box.sound(date(6))


@pytest.mark.needs("sha256sum")
def test_for_room_dates_go_one_by_one_and_the_kept_ones_stay_whole(box: Box) -> None:
    lived_in(box)
    outcome = box.rotate(9, "--keep-last", "5", "--min-free", "900T")
    said(outcome, 3, "which is less than --min-free asks for")
    assert box.whole() == [date(4)]
    assert box.stored(date(0)) == sorted(["SHA256SUMS.expired", NOTICE, *needed_of(box, date(0))])
    box.sound(date(4))


def test_a_held_set_lets_nothing_go(box: Box) -> None:
    for nth in range(200):
        (box.source / f"file {nth}").write_bytes(b"%d" % nth)
    box.take(0)
    for nth in range(200):
        (box.source / f"file {nth}").write_bytes(b"encrypted %d" % nth)
    box.take(1, code=5)
    with nothing_changes(box.drive):
        said(box.rotate(2, "--keep-last", "1"), 5, "on hold")


def spoil(path: Path) -> None:
    """Change a byte in the middle of a list."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :])


@pytest.mark.parametrize("day", [0, 1, 2, 3])
def test_a_damaged_list_with_a_good_twin_loses_no_file(box: Box, day: int) -> None:
    """Also where it is that of a date which the plan drops: it stays, and so does what it needs."""
    lived_in(box, 4)
    spoil(box.a_set / date(day) / "SHA256SUMS")
    outcome = box.rotate(5, "--keep-last", "2")
    assert (outcome.code, date(day) in box.whole()) == (3 if day < 2 else 0, True), outcome
    for name in box.whole():
        assert differences(box.restored(name), box.was[name]) == []
    shutil.copy(box.a_set / "manifests" / f"{date(day)}.gz", box.folder / "twin.gz")
    with open(box.a_set / date(day) / "SHA256SUMS", "wb") as file:
        subprocess.run(["gzip", "-dc", box.folder / "twin.gz"], stdout=file, check=True)
    outcome = box.rotate(6, "--keep-last", "2")
    assert (outcome.code, box.whole()) == (0, [date(2), date(3)]), outcome
    box.sound(date(2), date(3))


@pytest.mark.parametrize("day", [0, 1, 2, 3])
def test_while_a_list_and_its_twin_are_damaged_nothing_is_deleted(box: Box, day: int) -> None:
    lived_in(box, 4)
    spoil(box.a_set / date(day) / "SHA256SUMS")
    spoil(box.a_set / "manifests" / f"{date(day)}.gz")
    before = without(twin(box.drive), "none")
    outcome = box.rotate(5, "--keep-last", "1")
    assert (outcome.code, differences(twin(box.drive), before)) == (3, []), outcome
    assert "damaged" in outcome.err


def test_what_a_list_needs_stays_also_where_it_says_so_as_sha256sum_does_on_windows(box: Box) -> None:
    lived_in(box, 3)
    reseal(box.a_set / date(2) / "SHA256SUMS", lambda text: re.sub(rb"(?m)^([0-9a-f]{64})  ", rb"\1 *", text))
    (box.a_set / "manifests" / f"{date(2)}.gz").unlink()
    assert box.rotate(4, "--keep-last", "1").code == 0
    box.sound(date(2))
    (box.source / "sub" / "two").write_bytes(b"and on")
    box.take(5)
    assert box.rotate(6, "--keep-last", "1").code == 0
    box.sound(date(5))


@pytest.mark.parametrize("let_go", [False, True])
def test_a_folder_that_a_person_gave_another_name_keeps_what_other_dates_need_of_it(box: Box, let_go: bool) -> None:
    lived_in(box, 4)
    if let_go:
        assert box.rotate(4, "--keep-last", "2").code == 0
    (box.a_set / date(0)).rename(box.a_set / date(0.5))
    assert box.rotate(5, "--keep-last", "2").code == 0
    (box.a_set / date(0.5)).rename(box.a_set / date(0))
    box.sound(date(2), date(3))
    assert box.stored(date(0)) == [NOTICE, "SHA256SUMS.expired", *needed_of(box, date(0))]


@pytest.mark.parametrize("day", [0, 1, 3])
def test_what_is_said_of_a_date_whose_lists_are_damaged_costs_no_other_date_a_file(either: Box, day: int) -> None:
    lived_in(either, 4)
    if either.layout == "complete" or day == 3:      # its ends are damaged, so that it is seen at once
        (either.a_set / date(day) / "SHA256SUMS").write_bytes(b"")
    else:
        spoil(either.a_set / date(day) / "SHA256SUMS")
    (either.a_set / "manifests" / f"{date(day)}.gz").unlink()
    outcome = either.rotate(5, "--keep-last", "1")
    if either.layout == "complete":
        assert (outcome.code, "then remove its folder" in outcome.err) == (3, True), outcome
        remove_tree(either.a_set / date(day))
    else:
        told = "rename its list SHA256SUMS to SHA256SUMS.expired"
        assert (outcome.code, told in outcome.err, "do not remove its folder" in outcome.err) == (3, True, True), outcome
        assert told in ask("verify", "--drive", either.drive).err
        (either.a_set / date(day) / "SHA256SUMS").rename(either.a_set / date(day) / "SHA256SUMS.expired")
    either.sound(*(date(one) for one in range(4) if one != day))
    assert either.rotate(6, "--keep-last", "1").code in (0, 3)
    either.sound(date(2 if day == 3 else 3))
    either.take(7)
    either.sound(date(2 if day == 3 else 3), date(7))


def test_nobody_is_told_to_delete_a_damaged_date_that_others_may_need(either: Box) -> None:
    either.take(0)
    spoil(either.a_set / date(0) / "source" / "one")
    outcome = ask("verify", "--drive", either.drive)
    assert outcome.code == 4
    assert ("may be deleted" in outcome.err) == (either.layout == "complete")
    assert ("delete no dated folder by hand" in outcome.err) == (either.layout == "changes")
    either.take(1)
    outcome = ask("list", "--drive", either.drive)
    assert "older dated copies have damaged files" in outcome.out
    assert ("delete the older ones" in outcome.out) == (either.layout == "complete")


def test_a_damaged_list_of_a_date_that_was_let_go_blocks_nobody(box: Box) -> None:
    lived_in(box, 4)
    assert box.rotate(5, "--keep-last", "2").code == 0
    spoil(box.a_set / date(0) / "SHA256SUMS.expired")
    (box.source / "one").write_bytes(b"new")
    stays = box.stored(date(0))
    box.take(6)
    outcome = box.rotate(7, "--keep-last", "1")
    said(outcome, 3, f"{date(0)}: could not be deleted (its list is damaged", "what is in it stays")
    assert (box.whole(), box.stored(date(0))) == ([date(6)], stays)
    box.sound(date(6))
    said(box.rotate(8, "--keep-last", "1"), 0)
    for text in (b"", b"# snapback manifest 1 {}\n", b"\0" * 300):
        (box.a_set / date(0) / "SHA256SUMS.expired").write_bytes(text)
        box.take(9)
        said(box.rotate(9.5, "--keep-last", "1"), 3, "its list is damaged")
        assert len(box.whole()) == 1


def test_a_date_pinned_in_the_last_moment_keeps_what_it_needs(box: Box) -> None:
    lived_in(box, 4)

    def pin_it(call: Call) -> None:
        if call.name in ("rename", "replace") and call.path == f"{box.a_set}/{date(0)}/SHA256SUMS.expired":
            (box.a_set / "pins").mkdir(exist_ok=True)
            (box.a_set / "pins" / f"{date(1)}.txt").write_text("now")

    with watched(pin_it):
        assert box.rotate(5, "--keep-last", "1").code == 0
    box.sound(date(1), date(3))


def test_a_date_that_was_let_go_is_none_for_any_command(box: Box) -> None:
    lived_in(box, 3)
    assert box.rotate(5, "--keep-last", "1").code == 0
    assert os.readlink(box.a_set / "latest") == date(2)
    listed = ask("list", "--drive", box.drive)
    said(listed, 0, f"{date(0)}     deleted, but for the files that later dates need")
    for words in (["verify", date(0)], ["pin", date(0)], ["restore", date(0), "--to", box.folder / "r"]):
        outcome = ask(*words, "--drive", box.drive)
        assert (outcome.code, outcome.err.count("\n"), f"the first one is {date(2)}" in outcome.err) == (2, 1, True), outcome
    assert not (box.folder / "r").exists()


def test_neither_numbers_nor_names_come_again(box: Box) -> None:
    lived_in(box, 3)
    assert box.rotate(5, "--keep-last", "1").code == 0
    remove_tree(box.a_set / date(2))  # by hand
    (box.a_set / "manifests" / f"{date(2)}.gz").unlink()
    expired = [name for name in dates(box.a_set) if (box.a_set / name / "SHA256SUMS.expired").exists()]
    seqs = {json.loads((box.a_set / name / "SHA256SUMS.expired").read_text().splitlines()[0][len("# snapback manifest 1 "):])["seq"]
            for name in expired}
    new = box.back_up(0, "--no-rotate", "--json")
    facts = json.loads(new.out)
    assert (new.code, facts["snapshot_id"], facts["seq"] > max(seqs)) == (0, date(0) + "_2", True), new


def test_what_a_failed_rotation_left_is_freed_though_the_plan_drops_nothing_more(box: Box) -> None:
    lived_in(box, 4)

    def fail(call: Call) -> None:
        if call.name == "unlink" and "/source/" in call.path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(fail):
        assert box.rotate(5, "--keep-last", "1").code in (1, 3)
    assert box.whole() == [date(3)]
    assert box.rotate(6, "--keep-last", "1").code == 0
    assert box.stored(date(0)) == sorted([NOTICE, "SHA256SUMS.expired", *needed_of(box, date(0))])
    box.sound(date(3))


def test_a_complete_date_that_was_let_go_goes_with_the_last_that_needs_it(box: Box) -> None:
    box.take(0, "--layout", "complete")
    box.take(1)
    assert box.rotate(2, "--keep-last", "1").code == 0
    assert box.states() == {date(0): snapback.State.EXPIRED.value, date(1): "whole"}
    for day in (3, 4):
        box.take(day, "--layout", "complete", "--fresh")
    nothing_left(box, date(1))  # by hand: no date of this layout is left
    assert box.rotate(5, "--keep-last", "1").code == 0
    assert box.states() == {date(4): "whole"}
    box.sound(date(4))


# --- Whichever call fails ------

def broken_rotation(box: Box, hook: Callable[[Call], None]) -> List[str]:
    """Rotate with a hook before each call; complain about what is then wrong, and unless the next run finishes."""
    found: List[str] = []
    try:
        with watched(hook):
            outcome = box.rotate(5, "--keep-last", "2")
        if "Traceback" in outcome.err or "Errno" in outcome.err or outcome.code not in (0, 1, 3, 75):
            found.append(f"{outcome}")
    except KilledError:
        gc.collect()
    whole = box.whole()
    if not {date(3), date(4)} <= set(whole):
        found.append(f"only {whole} are whole")
    for name in whole:
        found += [f"{name}: {line}" for line in [*stock_check(box.a_set / name), *differences(box.restored(name), box.was[name])]]
    again = box.rotate(6, "--keep-last", "2")
    if again.code != 0 or box.whole() != [date(3), date(4)] or deletions(box):
        found.append(f"not finished: {again} {box.states()}")
    for name in dates(box.a_set):
        if name not in box.whole() and box.stored(name) != sorted([NOTICE, "SHA256SUMS.expired", *needed_of(box, name)]):
            found.append(f"not freed: {box.stored(name)}")
    return found


@pytest.mark.needs("sha256sum")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["fails once", "fails for good", "is killed"])
def test_whatever_happens_in_a_rotation_no_date_that_is_shown_lacks_a_file(box: Box, how: str) -> None:
    lived_in(box)
    (box.a_set / date(1) / "source" / "mine").write_bytes(b"mine")
    kept = box.drive.with_name("kept")
    subprocess.run(["cp", "-a", box.drive, kept], check=True)
    count = Hit(Fault(str(box.drive), 0, errno.EIO))
    with watched(count):
        assert box.rotate(5, "--keep-last", "2").code == 0
    numbers, found = itertools.cycle(FAULTS), []  # type: Iterator[int], List[str]
    for nth in thinned(range(1, count.met + 1, 17), 3):
        remove_tree(box.drive)
        subprocess.run(["cp", "-a", kept, box.drive], check=True)
        hit = Hit(Fault(str(box.drive), nth, next(numbers), for_good=how != "fails once"))

        def kill(call: Call, hit: Hit = hit) -> None:
            try:
                hit(call)
            except OSError as err:
                raise KilledError from err

        complaints = broken_rotation(box, kill if how == "is killed" else hit)
        if hit.fault.number == errno.ENOENT:  # then it says of a file that this went before: a later run that drops a date frees it
            complaints = [line for line in complaints if not line.startswith("not freed")]
        found += [f"{hit.fault}: {line}" for line in complaints]
    assert found == []


# --- Lists that somebody has tampered with ------

SECRET = b"the secret of somebody else" * 10


def tamper(box: Box, manifest: Path, old: str, new: str) -> None:
    """Let a list say that a file is the secret's, and lies at another place; its last line, and its twin, are right again."""
    digest = hashlib.sha256(SECRET).hexdigest()

    def change(above: bytes) -> bytes:
        lines = above.decode().split("\n")
        at = next(nth for nth, line in enumerate(lines) if line.endswith(f"  {old}"))
        lines[at] = f"{digest}  {new}"
        lines[at - 1] = re.sub(r" size=\d+ ", f" size={len(SECRET)} ", lines[at - 1]) + f" path=source/{old.rpartition('source/')[2]}"
        return "\n".join(lines).encode()

    reseal(manifest, change)
    twin_of = box.a_set / "manifests" / f"{manifest.parent.name}.gz"
    if twin_of.exists():
        twin_of.write_bytes(gzip.compress(manifest.read_bytes()))


@pytest.fixture
def secret(box: Box) -> Path:
    """A folder outside the set with the secret in it, to which links in the oldest date lead."""
    place = box.drive / "another set"
    place.mkdir()
    (place / "secret").write_bytes(SECRET)
    box.take(0)
    (box.a_set / date(0) / "source" / "link").symlink_to(place / "secret")
    (box.a_set / date(0) / "source" / "folder").symlink_to(place)
    return place


LEADS_OUT: Dict[str, str] = {
    "to another set": "../another set/secret",
    "up and away": f"../{date(0)}/../../another set/secret",
    "above the set": "../../another set/secret",
    "up from its own folder": "source/../../../another set/secret",
    "an absolute path": f"../{date(0)}//another set/secret",
    "through a link": f"../{date(0)}/source/link",
    "through a linked folder": f"../{date(0)}/source/folder/secret",
    "to a folder": f"../{date(0)}/source/sub",
    "nowhere in a date": f"../{date(0)}",
    "to a date with dots": "../../2030-01-01_120000/source/one",
}


@pytest.mark.parametrize("how", LEADS_OUT)
def test_a_reference_that_leads_out_of_the_set_is_never_followed(box: Box, secret: Path, how: str) -> None:
    box.take(1)
    tamper(box, box.a_set / date(1) / "SHA256SUMS", f"../{date(0)}/source/one", LEADS_OUT[how])
    with nothing_changes(secret):
        target = box.folder / "restored"
        restored = ask("restore", date(1), "--drive", box.drive, "--to", target)
        checked = ask("verify", date(1), "--drive", box.drive)
        again = box.back_up(2, "--no-rotate")
        rotated = box.rotate(3, "--keep-last", "1")
    assert not [path for path in [*target.rglob("*"), *(box.a_set / date(2)).rglob("*")] if path.is_file() and path.read_bytes() == SECRET]
    assert restored.code in (1, 3, 4), restored
    assert checked.code == 4, checked
    assert again.code in (0, 3, 4), again
    assert rotated.code in (0, 3), rotated
    assert not re.search("Traceback|Errno", restored.err + checked.err + again.err + rotated.err)


LEADS_AWAY: Dict[str, str] = {
    "up and away": "source/../../../another set/secret",
    "from its top": "/another set/secret",
    "through a link": "source/link",
    "through a linked folder": "source/folder/secret",
    "to a folder": "source/sub",
    "to its own list": "SHA256SUMS.expired",
    "to its own notice": NOTICE,
}


@pytest.mark.parametrize("how", LEADS_AWAY)
@pytest.mark.parametrize("needed", [True, False], ids=["needed", "no more needed"])
def test_a_list_of_a_date_that_was_let_go_leads_no_deletion_out_of_it(box: Box, secret: Path, how: str, needed: bool) -> None:
    (box.source / "sub" / "two").write_bytes(b"of day one")
    box.take(1)
    assert box.rotate(2, "--keep-last", "1").code == 0
    tamper(box, box.a_set / date(0) / "SHA256SUMS.expired", "source/sub/two", LEADS_AWAY[how])
    box.take(3, *([] if needed else ["--fresh"]))
    with nothing_changes(secret):
        outcome = box.rotate(4, "--keep-last", "1")
    assert outcome.code in (0, 3), outcome
    assert "Traceback" not in outcome.err
    box.sound(date(3))


def test_a_disk_that_is_mounted_in_a_date_that_was_let_go_is_not_entered(box: Box, mounted: Callable[..., Mount]) -> None:
    disk = mounted("tmpfs").path
    (disk / "two").write_bytes(b"on another disk")
    box.take(0)
    (box.source / "sub" / "two").write_bytes(b"of day one")
    box.take(1)
    place = box.a_set / date(0) / "source" / "sub"
    command("mount", "--bind", disk, place)
    try:
        with nothing_changes(disk):
            outcome = box.rotate(2, "--keep-last", "1")
    finally:
        command("umount", place)
    said(outcome, 3, "another disk is mounted there")
    assert box.rotate(3, "--keep-last", "1").code == 0


# --- Names that a drive takes for one ------


@pytest.mark.needs("exfat")
def test_folders_that_differ_by_case_alone_are_never_merged(mounted: Callable[..., Mount], in_memory: Path) -> None:
    box = Box(in_memory, mounted("exfat").path)
    twins = [("Docs", "docs"), ("sub/Photos", "sub/photos"), ("sub/\u00c9t\u00e9", "sub/\u00e9t\u00e9")]
    for pair in twins:
        for nth, name in enumerate(pair):
            (box.source / name).mkdir()
            (box.source / name / "in").write_bytes(b"in %d" % nth)
            (box.source / name / f"only in {nth}").write_bytes(b"only %d" % nth)
    for name in ("Letter", "letter", "stra\u00dfe", "strasse"):  # exFAT holds the last two side by side, other drives do not
        (box.source / name).write_bytes(os.fsencode(name))
    for day in range(4):
        box.take(day)
        for one, other in twins if day > 0 else ():  # both change, so both have a folder in the next date
            for nth, name in enumerate((one, other)):
                (box.source / name / "in").write_bytes(b"in %d on day %d" % (nth, day))
    box.sound(*map(date, range(4)))
    for one, other in twins:
        assert (box.a_set / date(3) / "source" / one / "in").read_bytes() == b"in 0 on day 2"
        assert len(list((box.a_set / date(3) / "source" / one).parent.glob("?" + Path(other).name[1:] + "~*"))) == 1


@pytest.mark.needs("exfat")
def test_whole_dated_folders_on_a_drive_without_hard_links_are_made_when_asked_for_and_their_price_is_said(
    mounted: Callable[..., Mount], in_memory: Path
) -> None:
    box = Box(in_memory, mounted("exfat").path)
    for day in range(2):
        outcome = box.ask(day, "backup", "--set", "box", "--no-rotate", "--layout", "complete", box.source, box.drive)
        assert (outcome.code, "takes its full size;" in outcome.out) == (0, True), outcome
        assert not (box.a_set / date(day) / "NOT-THE-WHOLE-DATE.txt").exists()
        for path in (path for path in box.source.rglob("*") if path.is_file()):
            assert (box.a_set / date(day) / "source" / path.relative_to(box.source)).read_bytes() == path.read_bytes()
    outcome = box.ask(2, "backup", "--set", "box", "--no-rotate", box.source, box.drive)
    assert (outcome.code, "full size" in outcome.out) == (0, False)
