"""Drives that come, go, fill up and change places, on a fake disk; fake Windows and fake macOS too.

The fake (pyfakefs) is an outsider: of snapback nothing is replaced but the constants that name the platform.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import gc
import gzip
import hashlib
import json
import os
import re
import stat
import sys
import types
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple
from unittest import mock

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem, OSType
from pyfakefs.fake_os import FakeOsModule
from pyfakefs.fake_path import FakePathModule
from pyfakefs.helpers import get_uid, set_uid

import snapback
from faults import Call, is_below, watched
from trees import DATE, Outcome, ask, dates

TOOL_TEXT = Path(snapback.__file__).read_text("utf-8")
LONG_AGO = 1_500_000_000
SYSTEM_SIZE, STICK_SIZE = 1_000_000_000, 50_000_000

Contents = Dict[str, Tuple[int, int, bytes]]  # path -> mode, time, bytes or target


# --- A fake computer ------


class Drawer(NamedTuple):
    """A drive that is not attached."""

    folder: object
    disk: object


class Computer:
    """Anna's computer, with her documents on its own disk; drives are attached and taken away."""

    def __init__(self, fs: FakeFilesystem, top: str = "/") -> None:
        self.fs, self.top = fs, top
        self.documents = self.path("home", "anna", "Documents")
        self.write(self.path("opt", "snapback.py"), TOOL_TEXT)
        self.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.write(os.path.join(self.documents, "letter.txt"), "Dear Bob")
        self.write(os.path.join(self.documents, "photos", "cat.jpg"), "meow" * 5000)
        self.write(os.path.join(self.documents, "photos", "old", "dog.jpg"), "woof" * 100)

    def path(self, *parts: str) -> str:
        return self.top + os.sep.join(parts)

    def write(self, path: str, text: str, when: int = LONG_AGO) -> str:
        if self.fs.exists(path):
            os.unlink(path)
        self.fs.create_file(path, contents=text)
        os.utime(path, (when, when))
        self.fs.get_object(path).st_ctime = when  # a file just touched would be read again by the next run
        return path

    def attach(self, path: str, size: int = STICK_SIZE) -> str:
        """Attach a new, empty drive."""
        self.fs.add_mount_point(path, total_size=size)
        return path

    def detach(self, path: str) -> Drawer:
        """Take a drive away; its mount point stays behind, empty, on the computer's own disk."""
        parent = self.fs.get_object(os.path.dirname(path))
        drawer = Drawer(parent.entries.pop(os.path.basename(path)), self.fs.mount_points.pop(path))
        self.fs.create_dir(path)
        return drawer

    def attach_again(self, path: str, drawer: Drawer) -> None:
        os.rmdir(path)
        self.fs.get_object(os.path.dirname(path)).entries[os.path.basename(path)] = drawer.folder
        self.fs.mount_points[path] = drawer.disk

    def back_up(self, *words: str) -> str:
        """Make a dated copy that is all right; give its path. The last word is the drive."""
        outcome = on_fake("backup", *words)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        found = re.search(r"^Dated copy \S+ made on .*?: (.*)$", outcome.out, re.MULTILINE)
        assert found, outcome
        return found.group(1)


def on_fake(*words: str) -> Outcome:
    """Run a command with one worker: the fake disk knows no threads."""
    return ask(*words, "--jobs", "1")


def faithful_open(self: FakeOsModule, path: str, flags: int, mode: int = 0o777, *, dir_fd: object = None) -> int:
    """Open a file on the fake disk without changing its mode and ctime, as pyfakefs does where the file exists."""
    try:
        self.lstat(path, dir_fd=dir_fd)
    except OSError:
        return plain_open(self, path, flags, mode & ~0o022, dir_fd=dir_fd)
    with mock.patch.object(self, "chmod", return_value=None):
        return plain_open(self, path, flags, mode, dir_fd=dir_fd)


plain_open = FakeOsModule.open


@pytest.fixture
def faithful_fs(fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFilesystem]:
    """The fake disk, where opening a file changes nothing of it."""
    monkeypatch.setattr(FakeOsModule, "open", faithful_open)
    yield fs
    gc.collect()  # folders that are still open belong to this disk, and must be closed before it ends


@pytest.fixture
def computer(faithful_fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch) -> Computer:
    """Anna's computer, called annas-laptop; it runs Linux."""
    faithful_fs.os = OSType.LINUX
    faithful_fs.set_disk_usage(SYSTEM_SIZE, "/")
    monkeypatch.setattr(snapback, "__file__", "/opt/snapback.py")
    monkeypatch.setenv("HOME", "/home/anna")
    call_host(monkeypatch, "annas-laptop")
    return Computer(faithful_fs)


def call_host(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(nodename=name, release="6.1", sysname="Linux"))


@pytest.fixture
def stick(computer: Computer) -> str:
    """A drive with its marker."""
    computer.attach("/media/stick")
    assert on_fake("init", "/media/stick").code == 0
    return "/media/stick"


# --- What is there ------


def contents(top: str = "/") -> Contents:
    """Describe everything below a folder, with modes and times."""
    found: Contents = {}
    for here, folders, files in os.walk(top):
        for path in [here, *(os.path.join(here, name) for name in folders + files)]:
            seen = os.lstat(path)
            what = b""
            if stat.S_ISLNK(seen.st_mode):
                what = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(seen.st_mode):
                what = read(path)
            found[path] = (seen.st_mode, seen.st_mtime_ns, what)
    return found


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def files_in(folder: str) -> Dict[str, bytes]:
    """Give what is in the files of a folder, and b"/" for each folder in it."""
    found = {}
    for here, folders, files in os.walk(folder):
        below = os.path.relpath(here, folder).replace(os.sep, "/")
        prefix = "" if below == "." else below + "/"
        found.update({prefix + name: read(os.path.join(here, name)) for name in files})
        found.update({prefix + name: b"/" for name in folders})
    return found


def names(folder: str) -> List[str]:
    return sorted(os.listdir(folder))


def refused(outcome: Outcome, code: int, *words: str) -> None:
    """Assert that a command ended so, in one sentence that holds these words."""
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (code, "", 1), outcome
    missing = [word for word in words if word not in outcome.err]
    assert missing == [], outcome.err


@contextlib.contextmanager
def nothing_changes(top: str = "/") -> Iterator[None]:
    """Assert that everything is as before, but for the local record of drives; `top` may be a single drive."""
    before = contents(top)
    yield
    after = contents(top)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    changed = [path for path in changed if not snapback.state_path().startswith(path)]
    assert changed == []


def wrong_hashes(copy: str) -> List[str]:
    """Hold a dated copy against its SHA256SUMS without snapback."""
    lines = read(os.path.join(copy, "SHA256SUMS")).decode().splitlines()
    listed = dict(reversed(line.split("  ", 1)) for line in lines if not line.startswith("#"))
    there = {path: what for path, what in files_in(copy).items() if what != b"/" and path != "SHA256SUMS"}
    assert there.keys() == listed.keys()
    return [path for path, what in there.items() if hashlib.sha256(what).hexdigest() != listed[path]]


# --- Absent drives ------


ABSENT: Dict[str, Callable[[Computer], str]] = {  # why a drive is absent -> makes it so, and gives its path
    "no such folder": lambda _computer: "/media/nothing",
    "a folder below one that is missing": lambda _computer: "/media/no/thing",
    "an empty folder": lambda computer: computer.fs.create_dir("/media/empty").path,
    "an empty disk": lambda computer: computer.attach("/media/new"),
    "a folder of somebody's": lambda computer: os.path.dirname(computer.write("/media/other/file", "x")),
    "an empty mount point": lambda computer: unplugged(computer, "/media/stick"),
}


@pytest.mark.parametrize("text", ["", "id: none\n"])
@pytest.mark.parametrize("more", [[], ["--if-attached"]])
def test_a_drive_with_a_spoilt_marker_is_a_failure_not_an_absent_drive(computer: Computer, text: str, more: List[str]) -> None:
    """From cron an absent drive is silence, and silence must not hide that no copies are made any more."""
    drive = os.path.dirname(computer.write("/media/x/snapback-marker.txt", text))
    with nothing_changes():
        refused(on_fake("backup", *more, computer.documents, drive), 1, drive, "damaged")


def unplugged(computer: Computer, path: str) -> str:
    computer.attach(path)
    computer.back_up("--init", computer.documents, path)
    computer.detach(path)
    return path


@pytest.mark.parametrize("why", ABSENT)
def test_an_absent_drive_is_said_and_nothing_is_made(computer: Computer, why: str) -> None:
    path = ABSENT[why](computer)
    with nothing_changes():
        refused(on_fake("backup", computer.documents, path), 75, path, "nothing was copied")
        refused(on_fake("backup", "--dry-run", computer.documents, path), 75, path)


@pytest.mark.parametrize("why", ABSENT)
def test_an_absent_drive_is_no_failure_if_that_was_said(computer: Computer, why: str) -> None:
    path = ABSENT[why](computer)
    with nothing_changes():
        assert on_fake("backup", "--if-attached", "-q", computer.documents, path) == (0, "", "")
        said = on_fake("backup", "--if-attached", computer.documents, path)
        assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("more", [[], ["-n"], ["--init"], ["--init", "-n"]], ids=" ".join)
def test_a_drive_whose_marker_is_gone_is_told_from_one_that_is_absent(
    computer: Computer, stick: str, more: List[str], known: bool
) -> None:
    first = computer.back_up(computer.documents, stick)
    os.unlink(stick + "/snapback-marker.txt")
    if not known:
        os.unlink(snapback.state_path())
    with nothing_changes():
        refused(on_fake("backup", *more, computer.documents, stick), 75, "marker", "is gone", "dated copies", f"snapback.py init {stick}")
    before = contents(first)
    assert on_fake("init", stick).code == 0
    second = computer.back_up(computer.documents, stick)
    assert dates(stick + "/annas-laptop") == [os.path.basename(first), os.path.basename(second)]
    assert {path: contents(first)[path] for path in before} == before
    assert on_fake("verify", "--drive", stick).code == 0


def test_an_absent_drive_is_told_by_the_name_it_has(computer: Computer) -> None:
    computer.attach("/media/stick")
    assert on_fake("init", "--label", "BLUE-STICK", "/media/stick").code == 0
    computer.detach("/media/stick")
    refused(on_fake("backup", computer.documents, "/media/stick"), 75, "BLUE-STICK", "not attached", "attach it")


@pytest.mark.parametrize(
    ("place", "way_out"),
    [("/media/nothing", "mkdir /media/nothing"), ("/media/empty", "snapback.py init /media/empty")],
)
def test_the_way_out_is_a_command(computer: Computer, place: str, way_out: str) -> None:
    computer.fs.create_dir("/media/empty")
    refused(on_fake("backup", computer.documents, place), 75, way_out)


def test_a_file_is_no_drive(computer: Computer) -> None:
    path = computer.write("/media/file", "x")
    with nothing_changes():
        refused(on_fake("backup", computer.documents, path), 2, path, "is a file")


@pytest.mark.parametrize("command", [["list"], ["verify"], ["restore", "latest", "--to", "/back"]])
def test_reading_from_an_absent_drive_makes_nothing(computer: Computer, command: List[str]) -> None:
    for path in ("/media/nothing", unplugged(computer, "/media/stick")):
        with nothing_changes():
            outcome = on_fake(*command, "--drive", path)
            assert (outcome.code in (2, 75), outcome.out, outcome.err.count("\n")) == (True, "", 1), outcome


def test_an_attached_drive_goes_on_where_it_was(computer: Computer, stick: str) -> None:
    computer.back_up(computer.documents, stick)
    drawer = computer.detach(stick)
    refused(on_fake("backup", computer.documents, stick), 75)
    computer.attach_again(stick, drawer)
    computer.back_up(computer.documents, stick)
    assert len(dates("/media/stick/annas-laptop")) == 2


def marker_id(path: str) -> str:
    return next(line[4:] for line in read(path + "/snapback-marker.txt").decode().splitlines() if line.startswith("id: "))


# --- Drives in each other's place ------


def test_another_drive_at_the_same_place_has_its_own_history(computer: Computer, stick: str) -> None:
    first = computer.back_up(computer.documents, stick)
    drawer = computer.detach(stick)
    os.rmdir(stick)
    computer.attach(stick)
    assert on_fake("init", "--label", "OTHER", stick).code == 0
    second = computer.back_up(computer.documents, stick)
    assert names(stick + "/annas-laptop/manifests") == [os.path.basename(second) + ".gz"]
    computer.detach(stick)
    computer.attach_again(stick, drawer)
    assert dates(stick + "/annas-laptop") == [os.path.basename(first)]


@contextlib.contextmanager
def when_read(path: str, act: Callable[[], object]) -> Iterator[None]:
    """Let something happen at the moment when a file of the source is opened for the first time."""
    waiting = [act]

    def hook(call: Call) -> None:
        if call[:2] == ("open", path) and waiting:
            waiting.pop()()

    with watched(hook):
        yield
    assert waiting == []


def change_marker(stick: str) -> None:
    path = stick + "/snapback-marker.txt"
    text = read(path).decode()
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub("^id: .", "id: " + ("0" if "id: 0" not in text else "1"), text, flags=re.MULTILINE))


SWAPPED: Dict[str, Callable[[Computer, str], object]] = {
    "another marker": lambda _computer, stick: change_marker(stick),
    "no marker": lambda _computer, stick: os.unlink(stick + "/snapback-marker.txt"),
    "taken away": lambda computer, stick: computer.detach(stick),
}


@pytest.mark.parametrize("how", SWAPPED)
def test_a_drive_that_is_swapped_in_the_middle_gets_no_dated_copy(
    computer: Computer, stick: str, how: str
) -> None:
    first = computer.back_up(computer.documents, stick)
    new = computer.write(computer.documents + "/new", "new")
    with when_read(new, lambda: SWAPPED[how](computer, stick)):
        outcome = on_fake("backup", computer.documents, stick)
    refused(outcome, 1, stick, "went away", "untouched")
    assert dates(stick + "/annas-laptop") == ([] if how == "taken away" else [os.path.basename(first)])
    if how == "taken away":
        assert names(stick) == []  # by then it is this computer's own disk


def test_two_drives_have_a_history_each(computer: Computer, stick: str) -> None:
    other = computer.attach("/media/other")
    on_stick = [computer.back_up(computer.documents, stick)]
    on_other = [computer.back_up("--init", computer.documents, other)]
    computer.write(computer.documents + "/new", "new")
    on_stick.append(computer.back_up(computer.documents, stick))
    on_other.append(computer.back_up(computer.documents, other))
    for drive, copies in ((stick, on_stick), (other, on_other)):
        assert dates(drive + "/annas-laptop") == [os.path.basename(copy) for copy in copies]
        assert ["new" in files_in(copy + "/Documents") for copy in copies] == [False, True]
        assert wrong_hashes(copies[1]) == []
        assert on_fake("verify", "--drive", drive).code == 0
    ids = {re.findall(r"^id: (\w{32})$", read(drive + "/snapback-marker.txt").decode(), re.M)[0] for drive in (stick, other)}
    assert len(ids) == 2


# --- What lies on a drive (DESIGN, section 3) ------


def test_what_lies_on_a_drive_is_what_design_says(computer: Computer, stick: str) -> None:
    first, second = (os.path.basename(computer.back_up(computer.documents, stick)) for _ in range(2))
    in_copy = ["Documents", "Documents/letter.txt", "Documents/photos", "Documents/photos/cat.jpg",
               "Documents/photos/old", "Documents/photos/old/dog.jpg", "SHA256SUMS"]  # fmt: skip
    a_set = {"history.jsonl", "latest", "lock", "manifests", "page"}
    a_set |= {path for date in (first, second) for path in (f"manifests/{date}.gz", f"page/{date}.js")}
    a_set |= {path for date in (first, second) for path in (date, *(f"{date}/{name}" for name in in_copy))}
    should = {"snapback-marker.txt", "READ-ME-FIRST.txt", "GET-FILES-BACK.html", "restore.sh", "snapback.py", "Snapback.cmd",
              "Snapback.command", "annas-laptop"}  # fmt: skip
    should |= {f"annas-laptop/{path}" for path in a_set}
    assert {os.path.relpath(path, stick) for path in contents(stick)} - {"."} == should
    assert stat.S_IMODE(os.stat(stick + "/annas-laptop").st_mode) == 0o700
    assert os.readlink(stick + "/annas-laptop/latest") == second
    assert read(stick + "/snapback.py").decode() == TOOL_TEXT


def test_damage_is_listed_beside_the_copies_and_nowhere_else(computer: Computer, stick: str) -> None:
    copy = computer.back_up(computer.documents, stick)
    before = set(contents(stick))
    computer.write(copy + "/Documents/letter.txt", "Dear Rob")
    assert on_fake("verify", "--drive", stick).code == 4
    assert set(contents(stick)) - before == {stick + "/annas-laptop/damaged.txt"}


def test_the_marker_says_what_it_is(computer: Computer) -> None:
    computer.attach("/media/stick")
    assert on_fake("init", "--label", "BLUE STICK", "--offline", "/media/stick").code == 0
    text = read("/media/stick/snapback-marker.txt").decode()
    found = dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))
    assert found.keys() == {"id", "label", "created", "offline", "names"}
    assert re.fullmatch("[0-9a-f]{32}", found["id"])
    assert (found["label"], found["offline"], found["names"]) == ("BLUE STICK", "yes", "any")
    assert re.match("This file marks a backup drive.*leave it here", text)


def test_a_manifest_begins_ends_and_has_a_twin_as_design_says(computer: Computer, stick: str) -> None:
    copy = computer.back_up(computer.documents, stick)
    manifest = read(copy + "/SHA256SUMS")
    first, *middle, last = manifest.decode().splitlines()
    header = json.loads(first[len("# snapback manifest 1 ") :])
    assert header["sources"] == {"Documents": "/home/anna/Documents"}
    assert (header["set"], header["seq"], header["layout"]) == ("annas-laptop", 1, "complete")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", header["taken"])
    assert (len(header["machine"]), "0123456789abcdef" in header["machine"]) == (32, False)
    end = json.loads(last[len("# end ") :])
    size = sum(len(what) for what in files_in(computer.documents).values() if what != b"/")
    counted = {"files": 3, "dirs": 3, "bytes": size, "skipped": 0, "gone": 0, "other": 0, "hold": False}
    assert {word: end[word] for word in counted} == counted
    above = manifest[: manifest.rindex(b"# end ")]
    assert end["sha256"] == hashlib.sha256(above).hexdigest()
    paths = [line.split("  ")[1] for line in middle if not line.startswith("#")]
    assert paths == ["Documents/letter.txt", "Documents/photos/cat.jpg", "Documents/photos/old/dog.jpg"]
    assert gzip.decompress(read(f"{stick}/annas-laptop/manifests/{os.path.basename(copy)}.gz")) == manifest


def test_history_has_a_line_for_each_run_and_check(computer: Computer, stick: str) -> None:
    computer.back_up(computer.documents, stick)
    assert on_fake("verify", "--drive", stick).code == 0
    computer.back_up(computer.documents, stick)
    lines = read(stick + "/annas-laptop/history.jsonl").decode().splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["backup", "verify", "backup"]


# --- Full drives ------


def test_a_run_that_cannot_fit_is_refused_before_anything_is_copied(computer: Computer) -> None:
    stick = computer.attach("/media/stick", 1_000_000)
    first = computer.back_up("--init", computer.documents, stick)
    computer.write(computer.documents + "/film", "x" * 2_000_000)
    refused(on_fake("backup", computer.documents, stick), 1, "does not fit", "2.0 MB", "untouched", stick)
    assert dates(stick + "/annas-laptop") == [os.path.basename(first)]
    assert [path for path in contents(stick) if path.endswith((".incomplete", "film"))] == []


@pytest.mark.parametrize("spare", [0, 1, 100, 500, 1000, 1500, 2000, 3000, 5000, 10_000])
def test_a_drive_that_is_full_in_the_middle_keeps_what_it_had(
        computer: Computer, stick: str, spare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files would fit; what else is written may not."""
    monkeypatch.setattr(snapback, "cluster_size", lambda _path: 1)  # the fake disk counts bytes
    first = computer.back_up(computer.documents, stick)
    for nth in range(5):
        computer.write(f"{computer.documents}/new {nth}", str(nth) * 10_000)
    used = computer.fs.get_disk_usage(stick).used
    computer.fs.set_disk_usage(used + 50_000 + spare, stick)
    outcome = on_fake("backup", computer.documents, stick)
    made = [os.path.join(stick, "annas-laptop", date) for date in dates(stick + "/annas-laptop")]
    if outcome.code == 1:
        refused(outcome, 1, "full" if spare else "does not fit", "untouched", stick)  # a new folder's room is counted, too
        assert made == [first]
    else:
        assert outcome.code in (0, 3), outcome  # tidying up may find no room
        assert files_in(made[1] + "/Documents") == files_in(computer.documents)
    assert [wrong for copy in made for wrong in wrong_hashes(copy)] == []
    assert on_fake("verify", "--drive", stick).code == 0
    computer.fs.set_disk_usage(STICK_SIZE, stick)
    last = computer.back_up(computer.documents, stick)
    assert files_in(last + "/Documents") == files_in(computer.documents)
    assert wrong_hashes(last) == []
    assert [path for path in contents(stick) if "incomplete" in path] == []


@pytest.mark.parametrize("size", [0, 10, 200, 1000, 100_000])
def test_a_disk_too_small_for_a_marker_and_the_tool_becomes_no_broken_drive(computer: Computer, size: int) -> None:
    path = computer.attach("/media/tiny", size)
    refused(on_fake("init", path), 1, "full", path)
    assert [name for name in names(path) if name.startswith(".")] == []
    computer.fs.set_disk_usage(STICK_SIZE, path)
    copy = computer.back_up("--init", computer.documents, path)
    assert files_in(copy + "/Documents") == files_in(computer.documents)
    assert names(path) == ["GET-FILES-BACK.html", "READ-ME-FIRST.txt", "Snapback.cmd", "Snapback.command", "annas-laptop", "restore.sh",
                           "snapback-marker.txt", "snapback.py"]


# --- Read-only drives ------

WRITES = {"mkdir", "unlink", "rmdir", "chmod", "chown", "utime", "mknod", "symlink", "link", "replace", "write"}
CREATES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@contextlib.contextmanager
def read_only(drive: str) -> Iterator[None]:
    """Let every call that would change something on a drive fail with EROFS."""

    def hook(call: Call) -> None:
        if is_below(call.path, drive) and (call.name in WRITES or (call.name == "open" and call.flags & CREATES)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), call.path)

    with watched(hook):
        yield


def test_a_read_only_drive_can_be_read_and_nothing_else(computer: Computer, stick: str) -> None:
    copy = computer.back_up(computer.documents, stick)
    with nothing_changes(stick), read_only(stick):
        refused(on_fake("backup", computer.documents, stick), 1, "read-only", "untouched", stick)
        listed = on_fake("list", "--drive", stick)
        assert (listed.code, os.path.basename(copy) in listed.out) == (0, True)
        assert on_fake("verify", "--drive", stick).code == 0
        assert on_fake("restore", "latest", "--drive", stick, "--to", "/back").code == 0
    assert files_in("/back/Documents") == files_in(computer.documents)


def test_a_read_only_disk_cannot_become_a_drive(computer: Computer) -> None:
    path = computer.attach("/media/cd")
    with nothing_changes(), read_only(path):
        refused(on_fake("init", path), 1, "read-only", path)
        refused(on_fake("backup", "--init", computer.documents, path), 1, "read-only", path)


def test_a_drive_of_somebody_else_is_told_from_a_broken_one(computer: Computer, stick: str) -> None:
    computer.back_up(computer.documents, stick)
    for here, _, _ in os.walk(stick):
        os.chmod(here, 0o555)
    computer.fs.chmod(stick, 0o555)
    os.chmod("/home/anna", 0o777)
    before = contents(stick)
    with acting_as(1000):
        outcome = on_fake("backup", computer.documents, stick)
    refused(outcome, 1, "may not write", stick, "untouched")
    assert contents(stick) == before


@contextlib.contextmanager
def acting_as(user: int) -> Iterator[None]:
    before = get_uid()
    set_uid(user)
    try:
        yield
    finally:
        set_uid(before)


# --- A drive inside a source ------


def test_the_drive_is_left_out_of_a_source_that_holds_it(computer: Computer) -> None:
    drive = computer.attach("/home/anna/Documents/stick")
    copies = [computer.back_up("--init", computer.documents, drive) for _ in range(2)]
    for copy in copies:
        assert sorted(name for name in files_in(copy + "/Documents") if "/" not in name) == ["letter.txt", "photos"]
        assert wrong_hashes(copy) == []


def test_the_drive_is_known_by_what_it_is_not_by_its_path(computer: Computer) -> None:
    drive = computer.attach("/home/anna/Documents/stick")
    os.symlink(drive, "/media-stick")
    copy = computer.back_up("--init", computer.documents, "/media-stick")
    assert "stick" not in files_in(copy + "/Documents")


def test_a_drive_in_a_source_counts_as_nothing_that_was_asked_for(computer: Computer) -> None:
    drive = computer.attach("/home/anna/Documents/stick")
    outcome = on_fake("backup", "--init", computer.documents, drive)
    assert (outcome.code, "left out as you asked" in outcome.out) == (0, False), outcome


def test_a_folder_of_the_source_is_no_place_for_its_copies(computer: Computer) -> None:
    inside = computer.fs.create_dir("/home/anna/Documents/copies").path
    with nothing_changes():
        refused(on_fake("backup", "--init", computer.documents, inside), 2, inside, "inside", computer.documents)


# --- Sources ------


def test_several_sources_folders_and_single_files(computer: Computer, stick: str) -> None:
    notes = computer.write("/home/anna/notes.txt", "do not forget")
    keys = computer.write("/home/anna/.ssh/id", "secret")
    computer.write("/home/anna/Pictures/a", "a")
    words = ["/home/anna/Pictures", notes, computer.documents, f"key={keys}"]
    copies = [computer.back_up(*words, stick) for _ in range(2)]
    for copy in copies:
        assert names(copy) == ["Documents", "Pictures", "SHA256SUMS", "key", "notes.txt"]
        assert [read(copy + "/notes.txt"), read(copy + "/key")] == [b"do not forget", b"secret"]
        assert files_in(copy + "/Documents") == files_in(computer.documents)
        assert wrong_hashes(copy) == []
    assert os.stat(copies[0] + "/key").st_ino == os.stat(copies[1] + "/key").st_ino
    assert on_fake("restore", "latest", keys, "--drive", stick, "--to", "/back").code == 0
    assert files_in("/back") == {"key": b"secret"}


def test_a_source_is_compared_with_the_newest_copy_that_holds_it(computer: Computer, stick: str) -> None:
    computer.write("/home/anna/Pictures/a", "a")
    first = computer.back_up(computer.documents, "/home/anna/Pictures", stick)
    computer.back_up("/home/anna/Pictures", stick)
    last = computer.back_up(computer.documents, stick)
    assert os.stat(first + "/Documents/letter.txt").st_ino == os.stat(last + "/Documents/letter.txt").st_ino


REFUSED: Dict[str, Tuple[Sequence[str], Sequence[str]]] = {  # why -> sources; words of the message
    "same base name": (["/home/anna/Documents", "/srv/Documents"], ["/srv/Documents", "Documents-2=", "both be called"]),
    "base names differ in case": (["/home/anna/Documents", "/srv/documents"], ["/srv/documents", "both be called"]),
    "same alias": (["a=/home/anna/Documents", "a=/srv/Documents"], ["both be called 'a'", "a-2="]),
    "named twice": (["/home/anna/Documents", "/home/anna/Documents"], ["named twice"]),
    "named twice, with a slash": (["/home/anna/Documents", "/home/anna/Documents/"], ["named twice"]),
    "named twice, under two names": (["a=/home/anna/Documents", "b=/home/anna/Documents"], ["named twice"]),
    "one in the other": (["/home/anna/Documents", "/home/anna/Documents/photos"], ["lies inside", "name only one"]),
    "a file in the other": (["/home/anna/Documents", "/home/anna/Documents/letter.txt"], ["lies inside"]),
    "the drive": (["/media/stick"], ["is the drive itself"]),
    "an alias with a name that is taken": (["sha256sums=/home/anna/Documents"], ["NAME=/home/anna/Documents", "another name"]),
    "an alias that is a dot": (["..=/home/anna/Documents"], ["no plain file name"]),
    "an alias without a path": (["papers="], ["papers=", "NAME=PATH"]),
    "no source": ([], ["at least one source"]),
}


@pytest.mark.parametrize("why", REFUSED)
def test_sources_that_make_no_sense_are_refused_and_nothing_is_touched(
    computer: Computer, stick: str, why: str
) -> None:
    computer.write("/srv/Documents/x", "x")
    computer.write("/srv/documents/x", "x")
    words, said = REFUSED[why]
    with nothing_changes():
        outcome = on_fake("backup", *words, stick)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    missing = [word for word in said if word.lower() not in outcome.err.lower()]
    assert missing == [], outcome.err


@pytest.mark.parametrize("why", [why for why in REFUSED if why != "the drive"])
def test_sources_that_make_no_sense_make_no_drive(computer: Computer, why: str) -> None:
    computer.write("/srv/Documents/x", "x")
    computer.write("/srv/documents/x", "x")
    computer.attach("/media/new")
    with nothing_changes():
        assert on_fake("backup", "--init", *REFUSED[why][0], "/media/new").code == 2


def test_another_name_settles_a_clash(computer: Computer, stick: str) -> None:
    computer.write("/srv/Documents/x", "x")
    copy = computer.back_up(computer.documents, "work=/srv/Documents", stick)
    assert names(copy) == ["Documents", "SHA256SUMS", "work"]


def test_a_path_with_an_equals_sign_is_a_path_where_there_is_one(computer: Computer, stick: str) -> None:
    computer.write("/home/anna/x=y/file", "x")
    os.chdir("/home/anna")
    assert names(computer.back_up("x=y", stick)) == ["SHA256SUMS", "x=y"]
    os.rename("/home/anna/x=y", "/home/anna/y")
    assert names(computer.back_up("x=y", stick)) == ["SHA256SUMS", "x"]


def test_a_source_that_is_missing_stops_the_run_and_makes_nothing(computer: Computer, stick: str) -> None:
    with nothing_changes():
        refused(on_fake("backup", computer.documents, "/srv/none", stick), 1, "/srv/none", "no dated copy")
        refused(on_fake("backup", "-n", computer.documents, "/srv/none", stick), 1, "/srv/none", "no dated copy")


def test_a_source_that_has_gone_stops_the_run(computer: Computer, stick: str) -> None:
    notes = computer.write("/home/anna/notes.txt", "x")
    copy = computer.back_up(computer.documents, notes, stick)
    os.unlink(notes)
    refused(on_fake("backup", computer.documents, notes, stick), 1, notes)
    assert dates(stick + "/annas-laptop") == [os.path.basename(copy)]


def empty(folder: str) -> None:
    for here, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(here, name))
        for name in folders:
            os.rmdir(os.path.join(here, name))


def test_a_source_that_has_become_empty_stops_the_run_unless_that_is_meant(computer: Computer, stick: str) -> None:
    first = computer.back_up(computer.documents, stick)
    was = files_in(computer.documents)
    empty(computer.documents)
    with nothing_changes(stick):
        words = (computer.documents, "is empty", "no dated copy", "--allow-empty")
        refused(on_fake("backup", computer.documents, stick), 1, *words)
        refused(on_fake("backup", "-n", computer.documents, stick), 1, *words)
    second = computer.back_up("--allow-empty", computer.documents, stick)
    assert files_in(second + "/Documents") == {}
    assert files_in(first + "/Documents") == was
    computer.back_up(computer.documents, stick)  # it is known to be empty now


def test_a_source_that_was_empty_from_the_beginning_may_be_so(computer: Computer, stick: str) -> None:
    computer.fs.create_dir("/home/anna/Empty")
    copies = [computer.back_up("/home/anna/Empty", stick) for _ in range(2)]
    assert [names(copy) for copy in copies] == [["Empty", "SHA256SUMS"]] * 2


def test_a_single_file_that_has_become_empty_is_simply_changed(computer: Computer, stick: str) -> None:
    notes = computer.write("/home/anna/notes.txt", "x")
    computer.back_up(notes, stick)
    computer.write(notes, "", LONG_AGO + 5)
    assert read(computer.back_up(notes, stick) + "/notes.txt") == b""


# --- Sets and computers ------


def test_a_set_has_the_name_that_it_is_given(computer: Computer, stick: str) -> None:
    computer.back_up("--set", "papers", computer.documents, stick)
    computer.back_up(computer.documents, "--set", "papers", stick)
    computer.back_up(computer.documents, stick)
    assert [len(dates(f"{stick}/{name}")) for name in ("papers", "annas-laptop")] == [2, 1]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a b", "2026-11-22_231507", "nul", "COM1.x", "SNAPBACK.py", "x" * 101])
def test_a_name_that_cannot_be_a_sets_is_refused(computer: Computer, stick: str, name: str) -> None:
    with nothing_changes():
        refused(on_fake("backup", "--set", name, computer.documents, stick), 2, "cannot name a set")


HOSTS = [("Annas Laptop.local", "Annas-Laptop"), ("", "computer"), ("con", "con-set"), ("2026-11-22_231507", "2026-11-22_231507-set"),
         ("snapback.py", "snapback"), ("\u00e9t\u00e9", "t")]  # fmt: skip


@pytest.mark.parametrize(("host", "name"), HOSTS)
def test_a_set_is_named_after_the_host_whatever_that_is_called(
    computer: Computer, stick: str, monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    call_host(monkeypatch, host)
    copy = computer.back_up(computer.documents, stick)
    assert os.path.basename(os.path.dirname(copy)) == name


def test_a_host_with_a_new_name_finds_its_set(computer: Computer, stick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = computer.back_up(computer.documents, stick)
    call_host(monkeypatch, "bobs-laptop")
    second = computer.back_up(computer.documents, stick)
    assert os.path.dirname(second) == os.path.dirname(first)
    assert os.stat(first + "/Documents/letter.txt").st_ino == os.stat(second + "/Documents/letter.txt").st_ino


def become_another_computer(computer: Computer) -> None:
    computer.write("/etc/machine-id", "fedcba9876543210fedcba9876543210\n")


def test_a_set_of_another_computer_is_refused(computer: Computer, stick: str) -> None:
    copy = computer.back_up(computer.documents, stick)
    become_another_computer(computer)
    with nothing_changes():
        for words in ([], ["--set", "annas-laptop"], ["--dry-run"]):
            outcome = on_fake("backup", *words, computer.documents, stick)
            refused(outcome, 2, "another computer", "annas-laptop", "--set", "--adopt")
    other = computer.back_up("--set", "new-laptop", computer.documents, stick)
    assert os.path.dirname(other) == stick + "/new-laptop"
    assert dates(stick + "/annas-laptop") == [os.path.basename(copy)]


def test_a_new_computer_may_go_on_with_the_old_ones_history(
    computer: Computer, stick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = computer.back_up(computer.documents, stick)
    become_another_computer(computer)
    call_host(monkeypatch, "new-laptop")
    second = computer.back_up("--adopt", computer.documents, stick)
    third = computer.back_up(computer.documents, stick)
    assert {os.path.dirname(copy) for copy in (first, second, third)} == {stick + "/annas-laptop"}
    assert len({os.stat(copy + "/Documents/letter.txt").st_ino for copy in (first, second, third)}) == 1


def test_who_adopts_says_which_where_there_are_several(
    computer: Computer, stick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        computer.back_up("--set", name, computer.documents, stick)
    become_another_computer(computer)
    call_host(monkeypatch, "new-laptop")
    with nothing_changes():
        refused(on_fake("backup", "--adopt", computer.documents, stick), 2, "one, two", "--set")
    assert os.path.dirname(computer.back_up("--adopt", "--set", "two", computer.documents, stick)) == stick + "/two"


# --- Guards of init ------


def test_init_and_if_attached_do_not_go_together(computer: Computer) -> None:
    computer.attach("/media/new")
    with nothing_changes():
        for path in ("/media/new", "/media/nothing"):
            refused(on_fake("backup", "--init", "--if-attached", computer.documents, path), 2, "--if-attached")


@pytest.mark.parametrize("mount_point_stays", [True, False])
def test_where_a_drive_is_known_to_be_none_is_made(computer: Computer, stick: str, mount_point_stays: bool) -> None:
    computer.detach(stick)
    if not mount_point_stays:
        os.rmdir(stick)
    with nothing_changes():
        refused(on_fake("backup", "--init", computer.documents, stick), 75, stick, "attach")


def test_a_person_may_make_another_drive_where_one_is_known(computer: Computer, stick: str) -> None:
    computer.detach(stick)
    assert on_fake("init", stick).code == 0
    computer.back_up(computer.documents, stick)


@pytest.mark.parametrize("command", [["init"], ["backup", "--init", "/home/anna/Documents"]])
def test_a_folder_that_is_missing_is_not_made_but_the_command_is_shown(computer: Computer, command: List[str]) -> None:
    with nothing_changes():
        refused(on_fake(*command, "/media/My Disk"), 2, "mkdir '/media/My Disk'")


@pytest.mark.parametrize("command", [["init"], ["backup", "--init", "/home/anna/Documents"]])
def test_a_file_becomes_no_drive(computer: Computer, command: List[str]) -> None:
    path = computer.write("/media/file", "x")
    with nothing_changes():
        refused(on_fake(*command, path), 2, path, "is a file")


SYNCHRONISED = [  # a folder, and a file or folder whose presence betrays the service
    ("/home/anna/Dropbox/copies", ""), ("/home/anna/Dropbox (Private)/copies", ""),
    ("/home/anna/OneDrive/copies", ""), ("/home/anna/OneDrive - Firm/copies", ""),
    ("/home/anna/Library/Mobile Documents/com~apple~CloudDocs/copies", ""),
    ("/home/anna/Library/CloudStorage/GoogleDrive-a@b/My Drive/copies", ""), ("/home/anna/Google Drive/copies", ""),
    ("/home/anna/Sync/copies", "/home/anna/Sync/.stfolder/x"), ("/home/anna/Nextcloud/copies", ""),
    ("/home/anna/ownCloud/copies", ""), ("/srv/any/copies", "/srv/any/.owncloudsync.log"),
    ("/home/anna/pCloud Drive/copies", ""), ("/home/anna/MEGA/copies", ""), ("/home/anna/Seafile/copies", ""),
    ("/srv/any/copies", "/srv/any/.dropbox.cache/x"), ("/home/anna/dropbox", ""),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "sign"), SYNCHRONISED)
def test_a_synchronised_folder_is_no_backup(computer: Computer, folder: str, sign: str) -> None:
    computer.fs.create_dir(folder)
    if sign:
        computer.write(sign, "x")
    with nothing_changes():
        for command in (["init"], ["backup", "--init", "papers=/home/anna/Documents"]):
            refused(on_fake(*command, folder), 2, folder, "synchronised", "--anyway")


def test_a_synchronised_folder_becomes_a_drive_if_somebody_insists(computer: Computer) -> None:
    computer.fs.create_dir("/home/anna/Dropbox/copies")
    assert on_fake("init", "--anyway", "/home/anna/Dropbox/copies").code == 0
    computer.back_up(computer.documents, "/home/anna/Dropbox/copies")


def test_a_folder_that_only_sounds_like_a_synchronised_one_is_fine(computer: Computer) -> None:
    for folder in ("/media/My Dropbox", "/media/Boxes", "/media/megabytes", "/media/stfolder"):
        computer.fs.create_dir(folder)
        assert on_fake("init", folder).code == 0


def test_init_says_what_to_do_next(computer: Computer, stick: str) -> None:
    section = ["Its section in snapback.ini, for runs by themselves:", f"  [drive {marker_id(stick)}]"]
    assert on_fake("init", stick).out.splitlines()[-3:] == [f"Next, make a dated copy:  snapback.py backup ~/Documents {stick}", *section]
    computer.back_up(computer.documents, stick)
    there = f"It has dated copies already:  snapback.py list --drive {stick}"
    assert on_fake("init", stick).out.splitlines()[-3:] == [there, *section]
    os.unlink(stick + "/snapback-marker.txt")
    said = on_fake("init", stick).out.splitlines()[-3:]
    instead = "Its section in snapback.ini, for runs by themselves, in the place of the one it had:"
    assert said == [there, instead, f"  [drive {marker_id(stick)}]"]


def test_init_changes_nothing_where_there_is_a_marker(computer: Computer, stick: str) -> None:
    computer.back_up(computer.documents, stick)
    with nothing_changes():
        again = on_fake("init", stick)
        assert (again.code, again.err, "already" in again.out, "stick" in again.out) == (0, "", True, True)
        renamed = on_fake("init", "--label", "OTHER", stick)
        assert (renamed.code, renamed.err.startswith("--label had no effect")) == (3, True)


def test_backup_with_init_goes_on_where_there_is_a_marker(computer: Computer, stick: str) -> None:
    marker = read(stick + "/snapback-marker.txt")
    computer.back_up("--init", computer.documents, stick)
    assert read(stick + "/snapback-marker.txt") == marker


def test_a_run_that_made_a_marker_ends_with_the_line_to_schedule(computer: Computer) -> None:
    computer.attach("/media/new")
    outcome = on_fake("backup", "--init", computer.documents, "/media/new")
    (words,) = [line.split() for line in outcome.out.splitlines() if line.startswith("  ") and " backup " in line]
    after = words[words.index("backup") :]
    assert "/opt/snapback.py" in words
    assert {"/home/anna/Documents", "/media/new", "--if-attached", "-q"} <= set(after)
    assert "--init" not in after
    assert on_fake(*after) == (0, "", "")


def test_offline_is_refused_for_a_disk_that_stays(computer: Computer) -> None:
    folder = computer.fs.create_dir("/srv/copies").path
    with nothing_changes():
        refused(on_fake("init", "--offline", folder), 2, folder, "same disk", "--offline")


@pytest.mark.parametrize("name", ["READ-ME-FIRST.txt", "restore.sh", "Snapback.cmd", "Snapback.command", "snapback.py"])
def test_a_file_of_somebody_elses_is_left_alone(computer: Computer, name: str) -> None:
    path = computer.attach("/media/new")
    computer.write(f"{path}/{name}", "mine")
    outcome = on_fake("init", path)
    assert (outcome.code, name in outcome.err, "left alone" in outcome.err) == (3, True, True), outcome
    assert read(f"{path}/{name}") == b"mine"


TOOLS = {"0.0.1": True, "999.0": False}  # version on the drive -> whether it is replaced


@pytest.mark.parametrize("version", TOOLS)
def test_the_tool_on_a_drive_is_replaced_only_by_a_newer_one(computer: Computer, stick: str, version: str) -> None:
    there = re.sub('^__version__ = .*$', f'__version__ = "{version}"', TOOL_TEXT, flags=re.MULTILINE)
    computer.write(stick + "/snapback.py", there)
    computer.back_up(computer.documents, stick)
    assert read(stick + "/snapback.py").decode() == (TOOL_TEXT if TOOLS[version] else there)


# --- Excludes ------

TREE = ["a.o", "keep.o", "build/x", "src/build/y", "src/main.c", "src/a.o", "cache/CACHEDIR.TAG", "cache/data",
        "cache/below/data", "no cache/CACHEDIR.TAG", "no cache/data", "private/.nobackup", "private/z",
        "private/below/z", "disk/on another disk", "Thumbs.DB", "file.log/inside", "a[1]"]  # fmt: skip

EXCLUDES: Sequence[Tuple[Sequence[str], Sequence[str]]] = [  # options, what is then missing
    ([], []),
    (["--exclude", "*.o"], ["a.o", "keep.o", "src/a.o"]),
    (["--exclude", "*.o", "--exclude", "!keep.o"], ["a.o", "src/a.o"]),
    (["--exclude", "!keep.o", "--exclude", "*.o"], ["a.o", "keep.o", "src/a.o"]),
    (["--exclude", "/a.o"], ["a.o"]),
    (["--exclude", "build"], ["build/x", "src/build/y"]),
    (["--exclude", "/build/"], ["build/x"]),
    (["--exclude", "src/build"], ["src/build/y"]),
    (["--exclude", "**/build"], ["build/x", "src/build/y"]),
    (["--exclude", "a.o/"], []),
    (["--exclude", "*.log"], ["file.log/inside"]),
    (["--exclude", "thumbs.db"], []),
    (["--exclude", "a[[]1]"], ["a[1]"]),
    (["--exclude", "Documents/a.o"], []),
    (["--exclude-from", "/patterns"], ["a.o", "src/a.o", "build/x"]),
    (["--exclude-from", "/patterns", "--exclude", "!a.o"], ["build/x"]),
    (["--exclude-caches"], ["cache/data", "cache/below/data"]),
    (["--exclude-if-present", ".nobackup"], ["private/z", "private/below/z"]),
    (["--exclude-if-present", ".nobackup", "--exclude-if-present", "main.c"],
     ["private/z", "private/below/z", "src/a.o", "src/build/y"]),
    (["-x"], ["disk/on another disk"]),
    (["-x", "--exclude-caches", "--exclude", "src"],
     ["disk/on another disk", "cache/data", "cache/below/data", "src/build/y", "src/main.c", "src/a.o"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "missing"), EXCLUDES)
def test_what_is_excluded_is_not_in_the_copy_and_all_else_is(
    computer: Computer, stick: str, options: Sequence[str], missing: Sequence[str]
) -> None:
    plant(computer)
    copy = computer.back_up(*options, computer.path("srv", "tree"), stick)
    is_file: Set[str] = {path for path, what in files_in(copy + "/tree").items() if what != b"/"}
    assert set(TREE) - is_file == set(missing)
    assert is_file <= set(TREE)
    assert wrong_hashes(copy) == []


def plant(computer: Computer) -> None:
    for name in TREE:
        computer.write(f"/srv/tree/{name}", name)
    computer.write("/srv/tree/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# more")
    computer.write("/patterns", "# a comment\n\n*.o\r\n!keep.o\n/build/\n")
    os.unlink("/srv/tree/disk/on another disk")
    os.rmdir("/srv/tree/disk")
    computer.attach("/srv/tree/disk")
    computer.write("/srv/tree/disk/on another disk", "x")


def test_a_disk_that_is_not_entered_leaves_its_folder(computer: Computer, stick: str) -> None:
    plant(computer)
    copied = files_in(computer.back_up("-x", "/srv/tree", stick) + "/tree")
    assert (copied["disk"], [path for path in copied if path.startswith("disk/")]) == (b"/", [])


def test_what_was_excluded_is_counted(computer: Computer, stick: str) -> None:
    plant(computer)
    outcome = on_fake("backup", "--exclude", "*.o", "--exclude", "build", "/srv/tree", stick)
    assert (outcome.code, "5 left out as you asked" in outcome.out) == (0, True), outcome


def test_what_is_excluded_later_is_gone_from_later_copies_only(computer: Computer, stick: str) -> None:
    plant(computer)
    first = computer.back_up("/srv/tree", stick)
    second = computer.back_up("--exclude", "src", "/srv/tree", stick)
    third = computer.back_up("/srv/tree", stick)
    assert ["src/main.c" in files_in(copy + "/tree") for copy in (first, second, third)] == [True, False, True]


BROKEN_EXCLUDES = [
    (["--exclude", "[a"], "'['"), (["--exclude", "/"], "everything"), (["--exclude-from", "/none"], "/none"),
    (["--exclude-if-present", "a/b"], "plain name"), (["--exclude"], "expected one argument"),
    (["--exclude", "[z-a]"], "impossible range"), (["--exclued", "x"], "--exclued"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "said"), BROKEN_EXCLUDES)
def test_an_exclude_that_makes_no_sense_is_refused(computer: Computer, stick: str, options: List[str], said: str) -> None:
    with nothing_changes():
        refused(on_fake("backup", computer.documents, stick, *options), 2, said)


# --- Dry runs ------


def test_a_dry_run_says_all_and_writes_nothing_at_all(computer: Computer, stick: str) -> None:
    with nothing_changes():
        first = on_fake("backup", "--dry-run", computer.documents, stick)
    assert first.code == 0
    for line in ("new             8 B  Documents/letter.txt", "new         20.0 kB  Documents/photos/cat.jpg",
                 "new           400 B  Documents/photos/old/dog.jpg", "Would copy 20.4 kB", "Nothing was written."):  # fmt: skip
        assert line in first.out, first.out
    computer.back_up(computer.documents, stick)
    computer.write(computer.documents + "/letter.txt", "Dear Bobby", LONG_AGO + 7)
    with nothing_changes():
        second = on_fake("backup", "-n", computer.documents, stick)
    lines = [line for line in second.out.splitlines() if "Documents/" in line]
    assert (second.code, lines) == (0, ["changed        10 B  Documents/letter.txt"])


def test_a_dry_run_of_a_first_copy_of_many_files_says_what_is_in_which_folder(computer: Computer, stick: str) -> None:
    for nth in range(30):
        computer.write(f"/home/anna/Music/album/disc/{nth}", "12")
    computer.write("/home/anna/Music/song", "1")
    said = on_fake("backup", "-n", "/home/anna/Music", stick).out.splitlines()
    assert said[:-1] == ["new             1 B  Music/: 1 file", "new            60 B  Music/album/: 30 files",
                         "All files are new; add --json to see all"]  # fmt: skip
    computer.back_up("/home/anna/Music", stick)
    computer.write("/home/anna/Music/other", "1")
    assert on_fake("backup", "-n", "/home/anna/Music", stick).out.splitlines()[:-1] == ["new             1 B  Music/other"]


def test_a_dry_run_leaves_out_what_is_excluded_and_the_drive(computer: Computer) -> None:
    drive = computer.attach("/home/anna/Documents/stick")
    assert on_fake("init", drive).code == 0
    with nothing_changes():
        outcome = on_fake("backup", "-n", "--exclude", "photos", computer.documents, drive)
    assert (outcome.code, [line for line in outcome.out.splitlines() if "Documents/" in line]) == (
        0, ["new             8 B  Documents/letter.txt"])  # fmt: skip


def test_a_dry_run_makes_no_drive(computer: Computer) -> None:
    computer.attach("/media/new")
    with nothing_changes():
        refused(on_fake("backup", "--init", "--dry-run", computer.documents, "/media/new"), 2, "snapback.py init")


def test_a_dry_run_does_not_clear_up_after_an_interrupted_run(computer: Computer, stick: str) -> None:
    copy = computer.back_up(computer.documents, stick)
    os.rename(copy, copy + ".incomplete")
    with nothing_changes():
        assert on_fake("backup", "-n", computer.documents, stick).code == 0


# --- Other systems ------


class System(NamedTuple):
    """What another system is like: where things are, and what snapback's constants are there."""

    kind: OSType
    home: str
    drive: str
    constants: Dict[str, Any]


WINDOWS = System(OSType.WINDOWS, "C:\\Users\\Anna", "E:\\", {
    "WINDOWS": True, "MACOS": False, "WITH_CTIME": False, "IGNORE_CASE": True, "HAS_DIR_FD": False,
    "drive_letters": list, "volume_kind": lambda _path: "NTFS"})  # fmt: skip
MACOS = System(OSType.MACOS, "/Users/anna", "/Volumes/STICK", {
    "WINDOWS": False, "MACOS": True, "WITH_CTIME": True, "IGNORE_CASE": False, "HAS_DIR_FD": True})  # fmt: skip


class Registry(types.ModuleType):
    """As much of winreg as there is a machine id in it."""

    HKEY_LOCAL_MACHINE = 1

    @staticmethod
    @contextlib.contextmanager
    def OpenKey(_key: int, path: str, *_how: int) -> Iterator[str]:  # noqa: N802 - so it is called on Windows
        yield path

    @staticmethod
    def QueryValueEx(path: str, name: str) -> Tuple[str, int]:  # noqa: N802
        if (path, name) != ("SOFTWARE\\Microsoft\\Cryptography", "MachineGuid"):
            raise FileNotFoundError(errno.ENOENT, "no such value")
        return "a machine", 1


class Runtime(types.ModuleType):
    """As much of msvcrt as there are locks in it."""

    LK_NBLCK = 2

    @staticmethod
    def locking(_file: int, _how: int, _count: int) -> None:
        """Lock nothing: nobody else is there."""


@pytest.fixture(params=[WINDOWS, MACOS], ids=["windows", "macos"])
def system(request: pytest.FixtureRequest, faithful_fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch) -> System:
    """A fake computer with another system, Anna's home on it, and an empty drive."""
    chosen: System = request.param
    faithful_fs.os = chosen.kind
    for name, value in chosen.constants.items():
        monkeypatch.setattr(snapback, name, value)
    script = os.path.join(chosen.home, "snapback.py")
    monkeypatch.setattr(snapback, "__file__", script)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, chosen.home)
    monkeypatch.setenv("LOCALAPPDATA", os.path.join(chosen.home, "AppData"))
    monkeypatch.setenv("COMPUTERNAME", "ANNAS-PC")
    monkeypatch.setitem(sys.modules, "winreg", Registry("winreg"))
    monkeypatch.setitem(sys.modules, "msvcrt", Runtime("msvcrt"))
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(FakeOsModule, "listxattr", lambda *_, **__: [])  # elsewhere there is no such call
    call_host(monkeypatch, "annas-pc")
    if chosen.kind is OSType.WINDOWS:
        # pyfakefs 5.10 takes the real system's basename
        monkeypatch.setattr(FakePathModule, "basename", lambda self, path: self.split(path)[1], raising=False)
        monkeypatch.setattr(snapback.os, "_supports_fd", snapback.os.supports_fd - {snapback.os.utime})
    faithful_fs.create_file(script, contents=TOOL_TEXT)
    for name, text in (("letter.txt", "Dear Bob"), ("photos/cat.jpg", "meow" * 5000), ("photos/old/dog", "woof")):
        path = os.path.join(chosen.home, "Documents", *name.split("/"))
        faithful_fs.create_file(path, contents=text)
        os.utime(path, (LONG_AGO, LONG_AGO))
    os.makedirs(os.path.join(chosen.home, "Documents", "empty folder"))
    if chosen.drive not in faithful_fs.mount_points:
        faithful_fs.add_mount_point(chosen.drive, total_size=STICK_SIZE)
    return chosen


def documents_of(system: System) -> str:
    return os.path.join(system.home, "Documents")


def test_elsewhere_too_copies_are_made_listed_checked_and_given_back(system: System) -> None:
    source, drive = documents_of(system), system.drive
    assert on_fake("init", "--label", "STICK", drive).code == 0
    first = on_fake("backup", source, drive)
    assert (first.code, first.err) == (0, ""), first
    with open(os.path.join(source, "letter.txt"), "a", encoding="utf-8") as file:
        file.write(", how are you?")
    second = on_fake("backup", source, drive)
    assert (second.code, second.err) == (0, ""), second
    (a_set,) = [name for name in names(drive) if os.path.isdir(os.path.join(drive, name))]
    copies = [os.path.join(drive, a_set, date) for date in names(os.path.join(drive, a_set)) if DATE.match(date)]
    assert [read(os.path.join(copy, "Documents", "letter.txt")) for copy in copies] == [
        b"Dear Bob", b"Dear Bob, how are you?"]  # fmt: skip
    assert [wrong_hashes(copy) for copy in copies] == [[], []]
    assert len({os.stat(os.path.join(copy, "Documents", "photos", "cat.jpg")).st_ino for copy in copies}) == 1
    listed = on_fake("list", "--drive", drive)
    assert (listed.code, [os.path.basename(copy) in listed.out for copy in copies]) == (0, [True, True])
    checked = on_fake("verify", "--drive", drive)
    assert (checked.code, checked.err) == (0, ""), checked
    target = os.path.join(system.home, "back")
    restored = on_fake("restore", "latest", "--drive", drive, "--to", target)
    assert (restored.code, restored.err) == (0, ""), restored
    assert files_in(os.path.join(target, "Documents")) == files_in(source)
    assert os.stat(os.path.join(target, "Documents", "photos", "cat.jpg")).st_mtime == LONG_AGO


def test_elsewhere_too_one_file_comes_back_by_the_path_it_had(system: System) -> None:
    source, drive = documents_of(system), system.drive
    assert on_fake("backup", "--init", source, drive).code == 0
    wanted = os.path.join(source, "photos", "cat.jpg")
    target = os.path.join(system.home, "back")
    restored = on_fake("restore", "latest", wanted, "--drive", drive, "--to", target)
    assert (restored.code, restored.err) == (0, ""), restored
    assert files_in(target) == {
        "Documents": b"/", "Documents/photos": b"/", "Documents/photos/cat.jpg": read(wanted)}  # fmt: skip


def test_elsewhere_too_damage_is_found(system: System) -> None:
    source, drive = documents_of(system), system.drive
    assert on_fake("backup", "--init", source, drive).code == 0
    (path,) = [path for path in contents(drive) if path.endswith("cat.jpg")]
    with open(path, "r+b") as file:
        file.write(b"M")
    checked = on_fake("verify", "--drive", drive)
    assert (checked.code, "differs" in checked.err, "cat.jpg" in checked.err) == (4, True, True), checked


def test_elsewhere_too_an_absent_drive_is_absent(system: System) -> None:
    top = system.drive if system.kind is OSType.WINDOWS else "/"
    for place in (system.drive, os.path.join(system.drive, "no", "thing")):
        with nothing_changes(top):
            outcome = on_fake("backup", documents_of(system), place)
            assert (outcome.code, outcome.err.count("\n")) == (75, 1), outcome
            assert on_fake("backup", "--if-attached", documents_of(system), place).code == 0


def test_elsewhere_too_what_an_interrupted_run_left_is_cleared_up(system: System) -> None:
    source, drive = documents_of(system), system.drive
    assert on_fake("backup", "--init", source, drive).code == 0
    (a_set,) = [name for name in names(drive) if os.path.isdir(os.path.join(drive, name))]
    folder = os.path.join(drive, a_set)
    os.makedirs(os.path.join(folder, "2020-01-01_000000.incomplete", "Documents", "photos"))
    left = os.path.join(folder, "2020-01-01_000000.incomplete", "Documents", "photos", "new.jpg")
    for path in (left, os.path.join(source, "photos", "new.jpg")):
        with open(path, "w", encoding="utf-8") as file:
            file.write("purr" * 3000)
        os.utime(path, (LONG_AGO, LONG_AGO))
    outcome = on_fake("backup", source, drive)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert [name for name in names(folder) if "incomplete" in name] == []
    assert on_fake("verify", "--drive", drive).code == 0


# --- What Windows refuses, and what the fake disk does not know of it ------

WINERRORS = {  # to Python on Linux the numbers mean nothing
    3: errno.ENOENT, 5: errno.EACCES, 32: errno.EACCES, 1142: errno.EMLINK,
}
PLAIN, FOLDER_LIMIT, FILE_LIMIT = "\\\\?\\", 248, 260
OFFLINE, RECALL_ON_OPEN, RECALL_ON_ACCESS = 0x1000, 0x40000, 0x400000
JUNCTION, CLOUD_FOLDER = 0xA0000003, 0x9000001A


def winerror(number: int, path: str) -> OSError:
    """Make an error as Windows' calls raise it; open and read have no number of their own."""
    error = OSError(WINERRORS[number], "refused", path)
    error.winerror = number  # type: ignore[attr-defined]
    return error


class Seen:
    """What a look at a file gives, with attributes that the fake disk does not know."""

    def __init__(self, below: Any, attributes: int, tag: int) -> None:
        self.below, self.st_file_attributes, self.st_reparse_tag = below, attributes, tag

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


class SeenInListing:
    """An entry of a listing."""

    def __init__(self, windows: StrictWindows, path: str, below: Any) -> None:
        self.windows, self.path, self.below, self.name = windows, path, below, below.name

    def stat(self, follow_symlinks: bool = True) -> Any:
        return self.windows.seen(self.path, self.below.stat(follow_symlinks=follow_symlinks), True)


class StrictPath:
    """The functions of os.path that look at the disk."""

    def __init__(self, below: Any) -> None:
        self.below = below

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.below, name)
        return (lambda path: call(within_limit(path, FILE_LIMIT))) if name in ("isdir", "realpath") else call


def within_limit(path: str, limit: int) -> str:
    """Give a path as the fake disk knows it, if Windows would take it."""
    if not path.startswith(PLAIN) and len(path.encode("utf-16-le", "surrogatepass")) >= 2 * limit:
        raise winerror(3, path)
    return path[len(PLAIN):] if path.startswith(PLAIN) else path


STRICT_CALLS = {"stat", "lstat", "scandir", "listdir", "open", "mkdir", "makedirs", "unlink", "rmdir", "replace", "rename", "link", "utime",
                "chmod", "readlink"}


class StrictWindows:
    """The fake disk's `os`, as strict as Windows: by the length of a path, a read-only mark, who holds a file, and what is in the cloud."""

    def __init__(self, below: Any) -> None:
        self.below, self.path = below, StrictPath(below.path)
        self.attributes: Dict[str, int] = {}         # by a file's name
        self.tags: Dict[str, int] = {}
        self.refusals: Dict[Tuple[str, str], Tuple[int, int]] = {}   # call, name -> number of the error, how often
        self.opened: List[str] = []
        self.supports_fd: Set[object] = set()
        self.supports_effective_ids: Set[object] = set()
        self.access = lambda path, mode, **_: below.access(within_limit(path, FILE_LIMIT), mode)
        self.links_of_a_file = 1023

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.below, name)
        if name not in STRICT_CALLS:
            return call

        def strict(*words: Any, **options: Any) -> Any:
            limit = FOLDER_LIMIT if name == "mkdir" else FILE_LIMIT
            paths = [within_limit(word, limit) if isinstance(word, str) else word for word in words]
            call_name = "create" if name == "open" and words[1] & os.O_CREAT else name
            self.refuse(call_name, str(paths[0 if name in ("open", "unlink", "rmdir", "mkdir") else -1]), str(paths[0]))
            if name == "scandir":
                return self.listing(paths[0], call(*paths))
            if name == "open":
                self.opened.append(self.path.basename(paths[0]))
            result = call(*paths, **options)
            return self.seen(paths[0], result, False) if name in ("stat", "lstat") else result
        return strict

    @contextlib.contextmanager
    def listing(self, folder: str, entries: Any) -> Iterator[Iterator[SeenInListing]]:
        with entries:
            yield (SeenInListing(self, self.path.join(folder, entry.name), entry) for entry in entries)

    def seen(self, path: str, below: Any, listed: bool) -> Any:
        name = self.path.basename(path)
        attributes = self.attributes.get(name, 0)
        assert listed or not attributes & RECALL_ON_OPEN, f"a look at {name} would fetch it from the cloud"
        return Seen(below, attributes, self.tags.get(name, 0))

    def refuse(self, call: str, path: str, old_path: str) -> None:
        assert JUNCTION not in [self.tags.get(part, 0) for part in path.split("\\")[:-1]], f"{call} behind a junction: {path}"
        number, left = self.refusals.get((call, self.path.basename(path)), (0, 0))
        if left:
            self.refusals[call, self.path.basename(path)] = (number, left - 1)
            raise winerror(number, path)
        if call in ("unlink", "rmdir", "replace") and self.below.path.lexists(path) and not self.below.lstat(path).st_mode & stat.S_IWUSR:
            raise winerror(5, path)
        if call == "rename" and self.below.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it is there", path)
        if call == "link" and self.below.lstat(old_path).st_nlink >= self.links_of_a_file:
            raise winerror(1142, path)


class Kernel32:
    """As much of kernel32 as there is opening in it: it says which files are held."""

    def __init__(self, below: Any) -> None:
        self.below = below
        self.held: Dict[str, int] = {}
        self.error = 0

    def __call__(self, _name: str, use_last_error: bool) -> Kernel32:
        assert use_last_error
        return self

    @property
    def CreateFileW(self) -> Any:  # noqa: N802
        def create_file(path: str, *_how: object) -> object:
            self.error = self.held.get(self.below.path.basename(path), 0)
            return ctypes.c_void_p(-1).value if self.error else path
        return create_file


def as_strict_as_windows(monkeypatch: pytest.MonkeyPatch) -> StrictWindows:
    """Let the fake Windows be as strict as real ones, without anybody having to wait."""
    strict = StrictWindows(snapback.os)
    monkeypatch.setattr(snapback, "os", strict)
    monkeypatch.setattr(snapback, "NOFOLLOW", 0)
    kernel = Kernel32(strict.below)
    monkeypatch.setattr(ctypes, "WinDLL", kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.error, raising=False)
    monkeypatch.setattr(ctypes, "WinError", lambda number: winerror(number, ""), raising=False)
    monkeypatch.setattr(Runtime, "open_osfhandle", staticmethod(strict.below.open), raising=False)
    monkeypatch.setattr(Registry, "KEY_READ", 1, raising=False)
    monkeypatch.setattr(Registry, "KEY_WOW64_64KEY", 2, raising=False)
    monkeypatch.setattr(snapback.time, "sleep", lambda _seconds: None)
    return strict


@pytest.fixture
def strictly(system: System) -> Iterator[Callable[[], StrictWindows]]:
    """Return what makes the fake Windows strict: pyfakefs undoes what a fixture did of that, and must find its own again in the end."""
    with pytest.MonkeyPatch.context() as patch:
        yield functools.partial(as_strict_as_windows, patch)


on_windows = pytest.mark.parametrize("system", [WINDOWS], indirect=True, ids=[""])


def hold(windows: StrictWindows, name: str, number: int) -> None:
    """Let another program have a file open, or (5) forbid it to us."""
    windows.refusals["open", name] = (5, 99)
    ctypes.WinDLL.held[name] = number  # type: ignore[attr-defined]


def add(system: System, path: str, text: str) -> str:
    """Add an old file to Anna's documents, be its path as long as it may."""
    whole = documents_of(system) + "\\" + path
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "w", encoding="utf-8") as file:
        file.write(text)
    os.utime(whole, (LONG_AGO, LONG_AGO))
    return whole


def newest_copy(system: System) -> str:
    (a_set,) = [name for name in names(system.drive) if os.path.isdir(os.path.join(system.drive, name))]
    return os.path.join(system.drive, a_set, dates(os.path.join(system.drive, a_set))[-1])


@on_windows
@pytest.mark.parametrize("drive_has", [snapback.Layout.COMPLETE, snapback.Layout.CHANGES])
def test_paths_of_any_length_are_copied_checked_given_back_and_deleted(
        system: System, strictly: Callable[[], StrictWindows], drive_has: snapback.Layout) -> None:
    strictly()
    add(system, "\\".join(letter * 80 for letter in "abc") + "\\letter.txt", "Dear Bob, from far below")
    add(system, "\U0001f600" * 120 + ".txt", "fewer than 248 characters, each of which counts twice")
    assert snapback.extended("\\\\nas\\anna\\" + "x" * 300) == "\\\\?\\UNC\\nas\\anna\\" + "x" * 300
    assert snapback.usual("\\\\?\\UNC\\nas\\anna") == "\\\\nas\\anna"
    to_drive = (documents_of(system), system.drive, "--layout", drive_has.value)
    assert on_fake("backup", "--init", *to_drive).code == 0
    add(system, "letter.txt", "Dear Bob, anew")
    again = on_fake("backup", *to_drive, "--keep-last", "1")
    assert (again.code, again.err) == (0, ""), again
    deep = "C:\\" + "\\".join(["far away" * 11] * 3)
    restored = on_fake("restore", "latest", "--drive", system.drive, "--to", deep)
    assert (restored.code, restored.err, PLAIN in restored.out) == (0, "", False), restored
    assert files_in(deep + "\\Documents") == files_in(documents_of(system))
    assert len(dates(os.path.dirname(newest_copy(system)))) == (1 if drive_has is snapback.Layout.COMPLETE else 2)
    assert on_fake("verify", "--drive", system.drive).code == 0


@on_windows
def test_what_only_a_cloud_service_has_is_named_in_one_line_and_not_downloaded(
        system: System, strictly: Callable[[], StrictWindows]) -> None:
    windows = strictly()
    documents = documents_of(system)
    for number in range(7):
        add(system, f"film {number}", "film" * 100)
    assert on_fake("backup", "--init", documents, system.drive).code == 0
    add(system, "film 0", "another film")                   # freed here, changed on another device
    for name in ("slides 1", "slides 2", "photos\\CACHEDIR.TAG"):
        add(system, name, "Signature: 8a477f597d28d172789f06886806bc55")
    windows.attributes = {**{f"film {number}": RECALL_ON_ACCESS for number in range(7)},
                          "slides 1": OFFLINE, "slides 2": RECALL_ON_OPEN, "CACHEDIR.TAG": RECALL_ON_ACCESS}
    windows.tags["photos"] = CLOUD_FOLDER
    windows.opened.clear()
    outcome = on_fake("backup", "--exclude-caches", documents, system.drive)
    (cloud, end) = outcome.err.splitlines()
    assert (outcome.code, end.startswith("NOT COMPLETE - 4 things")) == (3, True), outcome
    assert cloud.startswith("4 files are kept only in the cloud (OneDrive or the like) and were not copied: Documents/film 0, "), cloud
    assert "an earlier copy is kept of 1;" in cloud
    assert '"Always keep on this device"' in cloud
    assert {name for name in windows.opened if name in windows.attributes} == set()
    copied = files_in(os.path.join(newest_copy(system), "Documents"))
    assert (copied["film 0"], sorted(name for name in copied if "slides" in name), "photos/cat.jpg" in copied) == (b"film" * 100, [], True)
    looked = on_fake("backup", "-n", documents, system.drive)
    assert (looked.code, "4 files are kept only in the cloud" in looked.err) == (3, True), looked
    assert on_fake("verify", "--drive", system.drive).code == 0


@on_windows
def test_files_that_other_programs_have_open_are_named_in_one_line(
        system: System, strictly: Callable[[], StrictWindows], monkeypatch: pytest.MonkeyPatch) -> None:
    windows = strictly()
    for number in range(9):
        add(system, f"mail box {number}", "mail")
    assert on_fake("backup", "--init", documents_of(system), system.drive).code == 0
    for number in range(9):
        add(system, f"mail box {number}", f"mail {number}")
    add(system, "secret", "secret")
    add(system, "half locked", "half")
    add(system, "to be deleted", "it can be read")
    for number in range(8):
        hold(windows, f"mail box {number}", 32)
    hold(windows, "secret", 5)
    hold(windows, "to be deleted", 0)  # refused as Python asks for it, not as Windows can be asked
    chunks = snapback.chunks

    def locked_within(fd: int, size: int) -> Iterator[Any]:
        if size == len("half"):
            raise OSError(errno.EACCES, "Permission denied")
        yield from chunks(fd, size)
    monkeypatch.setattr(snapback, "chunks", locked_within)
    outcome = on_fake("backup", documents_of(system), system.drive)
    (in_use, secret, end) = outcome.err.splitlines()
    assert (outcome.code, end.startswith("NOT COMPLETE - 10 things")) == (3, True), outcome
    assert secret == "Documents/secret: permission denied"
    assert in_use.startswith("9 files are open in another program and were not copied: Documents/mail box 0, "), in_use
    assert ", and 4 more (all are named in its list, SHA256SUMS); an earlier copy is kept of 8; close it" in in_use
    copied = files_in(os.path.join(newest_copy(system), "Documents"))
    assert (copied["mail box 0"], copied["mail box 8"], copied["to be deleted"]) == (b"mail", b"mail 8", b"it can be read")


@on_windows
def test_a_virus_scanner_that_holds_what_is_new_is_waited_for(system: System, strictly: Callable[[], StrictWindows]) -> None:
    windows = strictly()
    assert on_fake("backup", "--init", documents_of(system), system.drive).code == 0
    first = os.path.basename(newest_copy(system))
    for call, name, number in (
            ("replace", "2", 5), ("replace", "history.jsonl", 32), ("unlink", "letter.txt", 32), ("rmdir", "photos", 32),
            ("replace", first + ".deleting", 5), ("rename", "letter.txt", 32)):
        windows.refusals[call, name] = (number, 3)
    windows.refusals["replace", "SHA256SUMS"] = windows.refusals["replace", "READ-ME-FIRST.txt"] = (5, 3)
    publish = windows.refuse

    def of_any_date(call: str, path: str, old_path: str) -> None:
        if call == "replace" and old_path.endswith(".incomplete") and DATE.fullmatch(os.path.basename(path)):
            publish(call, "2", "2")
        publish(call, path, old_path)
    windows.refuse = of_any_date  # type: ignore[method-assign]
    outcome = on_fake("backup", "--keep-last", "1", documents_of(system), system.drive)
    assert (outcome.code, outcome.err, first in outcome.out) == (0, "", True), outcome
    assert windows.refusals["replace", "2"] == windows.refusals["replace", first + ".deleting"] == (5, 0)
    assert windows.refusals["unlink", "letter.txt"] == windows.refusals["rmdir", "photos"] == (32, 0)
    assert dates(os.path.dirname(newest_copy(system))) == [os.path.basename(newest_copy(system))] != [first]
    windows.refusals["replace", "2"] = (32, 99)
    refused(on_fake("backup", documents_of(system), system.drive), 1, "a virus scanner", "every earlier dated copy on it is untouched")
    assert on_fake("verify", "--drive", system.drive).code == 0


@on_windows
def test_the_guard_against_ransomware_is_named_where_it_may_have_refused(
        system: System, strictly: Callable[[], StrictWindows], monkeypatch: pytest.MonkeyPatch) -> None:
    windows = strictly()
    assert on_fake("backup", "--init", documents_of(system), system.drive).code == 0
    guard = "Microsoft\\Windows Defender\\Windows Defender Exploit Guard\\Controlled Folder Access"
    values: Dict[str, int] = {}

    def query(path: str, name: str) -> Tuple[Any, int]:
        if name == "MachineGuid":
            return "a machine", 1
        if name != "EnableControlledFolderAccess" or path not in values:
            raise FileNotFoundError(errno.ENOENT, "no such value")
        return values[path], 4
    monkeypatch.setattr(Registry, "QueryValueEx", staticmethod(query))
    for local, policy, on in ((0, None, False), (1, None, True), (2, None, False), (1, 0, False), (0, 1, True)):
        values = {f"SOFTWARE\\{guard}": local, **({} if policy is None else {f"SOFTWARE\\Policies\\{guard}": policy})}
        assert snapback.guards_folders() is on, values
    desktop = os.path.join(system.home, "Desktop")
    restore = ("restore", "latest", "--drive", system.drive, "--to")
    for number, call, name, command in (
            (3, "create", "SHA256SUMS", ("backup", documents_of(system), system.drive)),
            (5, "create", "dog", (*restore, f"{desktop}\\back")), (3, "makedirs", "not made", (*restore, f"{desktop}\\not made"))):
        windows.refusals = {(call, name): (number, 99)}
        refused(on_fake(*command), 1, '; "Controlled folder access" of Windows is on', "Windows Security", "run the same command again")
    values = {}
    outcome = on_fake(*restore, f"{desktop}\\not made")
    assert (outcome.code, "Controlled" in outcome.err) == (1, False), outcome


@on_windows
def test_a_mark_read_only_hinders_no_deletion_and_comes_back_with_the_file(system: System, strictly: Callable[[], StrictWindows]) -> None:
    strictly()
    os.chmod(add(system, "contract", "signed"), stat.S_IREAD)
    assert on_fake("backup", "--init", documents_of(system), system.drive).code == 0
    first = newest_copy(system)
    assert os.lstat(os.path.join(first, "Documents", "contract")).st_mode & stat.S_IWUSR
    for path in ("Documents\\letter.txt", "Documents\\contract", "Documents\\photos", "SHA256SUMS"):
        os.chmod(os.path.join(first, path), 0o555)
    with open(os.path.join(system.drive, "READ-ME-FIRST.txt"), "a", encoding="utf-8") as plan:
        plan.write("of long ago")
    os.chmod(os.path.join(system.drive, "READ-ME-FIRST.txt"), 0o444)
    outcome = on_fake("backup", "--keep-last", "1", documents_of(system), system.drive)
    assert (outcome.code, outcome.err, os.path.exists(first)) == (0, "", False), outcome
    assert b"of long ago" not in read(os.path.join(system.drive, "READ-ME-FIRST.txt"))
    back = os.path.join(system.home, "back")
    for merged in ("signed", "signed by somebody else"):
        assert on_fake("restore", "latest", "--merge", "--drive", system.drive, "--to", back).code == 0
        given_back = os.path.join(back, "Documents", "contract")
        marked = [os.lstat(os.path.join(back, "Documents", name)).st_mode & stat.S_IWUSR for name in ("contract", "letter.txt")]
        assert (read(given_back), marked) == (b"signed", [0, stat.S_IWUSR]), merged
        os.chmod(given_back, 0o666)
        os.unlink(given_back)
        add(System(system.kind, back, "", {}), "contract", "signed by somebody else")
        os.chmod(given_back, 0o444)


@on_windows
def test_a_file_that_can_have_no_more_names_is_copied_again(system: System, strictly: Callable[[], StrictWindows]) -> None:
    windows = strictly()
    windows.links_of_a_file = 2
    for nth in range(3):
        outcome = on_fake("backup", "--init", documents_of(system), system.drive)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        assert os.lstat(os.path.join(newest_copy(system), "Documents", "letter.txt")).st_nlink == nth % 2 + 1


@on_windows
def test_no_junction_is_entered_and_a_disk_behind_one_is_named(
        system: System, strictly: Callable[[], StrictWindows], monkeypatch: pytest.MonkeyPatch) -> None:
    windows = strictly()
    places = {"My Music": "\\\\?\\C:\\Users\\Anna\\Music", "disk": "\\\\?\\Volume{12345678-0000-0000-0000-100000000000}\\", "odd": ""}

    def read_link(path: str, **_: object) -> str:
        place = places[os.path.basename(path)]
        if not place:
            raise ValueError("not a symbolic link")
        return place
    monkeypatch.setattr(windows, "readlink", read_link, raising=False)

    def no_privilege(*_words: object, **_options: object) -> None:
        raise OSError(errno.EINVAL, "a required privilege is not held by the client")
    monkeypatch.setattr(windows, "symlink", no_privilege, raising=False)
    for name in places:
        windows.tags[name] = JUNCTION
        add(system, f"{name}\\song", "la la la")
    outcome = on_fake("backup", "--init", "--jobs", "1", documents_of(system), system.drive)
    assert outcome.code == 3, outcome
    assert "sockets" not in outcome.out
    (disk, odd, _end) = outcome.err.splitlines()
    assert disk.startswith("Documents/disk: another disk is shown there, which was not copied")
    assert odd == "Documents/odd: a kind of link that is not known"
    copy = newest_copy(system)
    assert [name for name in files_in(copy) if "song" in name] == []
    (line,) = [line for line in read(os.path.join(copy, "SHA256SUMS")).decode().splitlines() if "Music" in line]
    assert (" link=C:\\134Users\\134Anna\\134Music " in line, line.endswith(" path=Documents/My\\040Music")) == (True, True), line
    stray = os.path.join(copy, "Documents", "photos", "My Music")
    os.makedirs(os.path.join(stray, "inside"))

    def unlink(path: str, **_: object) -> None:  # which on Windows removes a junction, too
        os.rename(path, "E:\\gone") if path == stray else os.unlink(path)
    monkeypatch.setattr(windows, "unlink", unlink, raising=False)
    folder = snapback.Folder.top(os.path.dirname(copy))
    snapback.remove_tree(folder, os.path.basename(copy))
    assert names("E:\\gone") == ["inside"]
