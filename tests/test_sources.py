"""Sources that change while they are read, between runs, or under their disguises: what the next dated copy has of them."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple
from unittest import mock

import pytest

import snapback
from conftest import Cli
from faults import Call, nothing, watched
from trees import Outcome, ask, dates, differences, later, opened_folder, remove_tree, stock_check, text_of, twin, without

pytestmark = pytest.mark.needs("linux", "sha256sum")

OLD = 1_500_000_000_123_456_789
SMALL, LARGE = 1000, 600_000  # one read, and several
MIB = 1 << 20


class Box:
    """A source and a marked drive; every run takes place ten seconds after the one before."""

    def __init__(self, folder: Path) -> None:
        self.source, self.drive, self.secret = folder / "source", folder / "drive", folder / "secret"
        self.source.mkdir()
        self.drive.mkdir()
        self.secret.write_bytes(b"not to be copied")
        self.runs = 0
        self.since: Optional[datetime] = None  # the clock goes on

    def write(self, name: str, content: bytes, when: int = OLD) -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(when, when))
        return path

    def run(self, *words: object, hook: Callable[[Call], None] = nothing, code: int = 0, after: int = 10) -> Outcome:
        """Run a command; `after` seconds have passed since the last.

        There is always room enough for it to do without a first look, so that hooks meet the one walk only.
        """
        self.runs += after
        with later(self.runs, self.since), watched(hook), mock.patch.object(snapback, "used_on_disks", return_value={}):
            outcome = ask(*words)
        assert outcome.code == code, outcome
        return outcome

    def back_up(self, *more: str, hook: Callable[[Call], None] = nothing, code: int = 0, after: int = 10) -> Path:
        """Make a dated copy; give what it has of the source. It must agree with its manifest."""
        self.said = self.run("backup", "--no-rotate", "--set", "box", *more, self.source, self.drive, hook=hook, code=code, after=after)
        copy = self.drive / "box" / dates(self.drive / "box")[-1]
        assert stock_check(copy) == []
        return copy / "source"

    def faithful(self, *more: str, jobs: int = 1) -> Path:
        """Make a dated copy that equals the source, while the one before stays as it was."""
        before = {date: twin(self.drive / "box" / date) for date in dates(self.drive / "box")}
        copy = self.back_up(*more, "--jobs", str(jobs))
        assert differences(twin(copy), without(twin(self.source), "socket")) == []
        for date, was in before.items():
            assert differences(twin(self.drive / "box" / date), was) == []
        return copy


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.run("init", made.drive)
    yield made
    remove_tree(tmp_path)
    tmp_path.mkdir()


def at(name: str, path: Path, act: Callable[[], object], times: int = 1) -> Callable[[Call], None]:
    """Give a hook that does something just before a call on a path, so many times."""
    left = [None] * times

    def hook(call: Call) -> None:
        if (call.name, call.path) == (name, str(path)) and left:
            left.pop()
            act()

    return hook


def line_of(copy: Path, path: str) -> str:
    """Give what the manifest says of a path."""
    lines = (copy.parent / "SHA256SUMS").read_text().splitlines()
    for meta, line in zip(lines, [*lines[1:], ""]):
        if meta.endswith(f" path=source/{path}") or line.endswith(f"  source/{path}"):
            return meta
    raise AssertionError(f"{path} is not in {copy}")


def inode(path: Path) -> int:
    return os.lstat(path).st_ino


def opened(box: Box, *more: str, code: int = 0, after: int = 10) -> Tuple[Path, List[str]]:
    """Make a dated copy, and name the files of the source that were opened for it."""
    names: List[str] = []

    def hook(call: Call) -> None:
        path = os.path.relpath(call.path, box.source)
        if call.name == "open" and not path.startswith("..") and os.path.isfile(call.path):
            names.append(path)

    copy = box.back_up(*more, "--jobs", "1", hook=hook, code=code, after=after)
    return copy, sorted(set(names))


# --- Changing while it is read ------


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"and more")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    """Put other bytes of the same number in place, and the old time back."""
    seen = path.stat()
    with open(path, "r+b") as file:
        file.write(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replace(path: Path) -> None:
    new = path.with_name("passing name")
    new.write_bytes(b"an editor's new file")
    os.replace(new, path)


CHANGES: Dict[str, Callable[[Path], object]] = {"grows": grow, "shrinks": shrink, "is rewritten": rewrite, "is replaced": replace}


@pytest.mark.parametrize("moment", ["open", "read", "fstat"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changes_once_while_it_is_read_is_read_again(box: Box, how: str, size: int, moment: str) -> None:
    path = box.write("changes", text_of(how, size))
    box.write("stays", b"x")
    copy = box.back_up("--jobs", "1", hook=at(moment, path, lambda: CHANGES[how](path)), code=0)
    is_, should = (twin(tree) for tree in (copy, box.source))
    if how == "is replaced" and moment != "open":  # the old file was read whole before its name went to another
        assert (copy / "changes").read_bytes() in (text_of(how, size), path.read_bytes())
        should = {**should, b"changes": is_[b"changes"]}
    assert differences(is_, should, ignoring=["mtime_ns"]) == []
    box.faithful()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("how", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_keeps_changing_is_stored_as_last_read_and_said(box: Box, how: str, size: int) -> None:
    path = box.write("changes", text_of(how, size))
    box.write("stays", b"x")
    copy = box.back_up("--jobs", "1", hook=at("fstat", path, lambda: CHANGES[how](path), times=100), code=3)
    assert "source/changes: kept changing while it was read\n" in box.said.err
    assert line_of(copy, "changes").endswith(" changing")
    assert (copy / "stays").read_bytes() == b"x"
    box.run("verify", "--drive", box.drive)
    box.faithful()


# --- Vanishing, and becoming something else ------


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"x")


def become_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("../secret")


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BECOMES: Dict[str, Callable[[Path], object]] = {
    "nothing": os.unlink, "a folder": become_folder, "a link": become_link, "a fifo": become_fifo}  # fmt: skip


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("becomes", BECOMES)
def test_a_new_file_that_becomes_something_else_before_it_is_opened_is_said(box: Box, becomes: str, size: int) -> None:
    path = box.write("passing", text_of(becomes, size))
    box.write("stays", b"x")
    copy = box.back_up("--jobs", "1", hook=at("open", path, lambda: BECOMES[becomes](path)), code=3)
    assert sorted(os.listdir(copy)) == ["stays"]
    assert "source/passing: " in box.said.err
    assert line_of(copy, "passing").startswith("# type=skipped why=")
    box.faithful()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("becomes", BECOMES)
def test_a_changed_file_that_becomes_something_else_keeps_its_last_good_copy(box: Box, becomes: str, size: int) -> None:
    path = box.write("passing", text_of("before", size))
    box.write("stays", b"x")
    first = box.faithful()
    box.write("passing", text_of("after", size), OLD + 5)
    copy = box.back_up("--jobs", "1", hook=at("open", path, lambda: BECOMES[becomes](path)), code=3)
    assert (copy / "passing").read_bytes() == text_of("before", size)
    assert f" kept={first.parent.name}" in line_of(copy, "passing")
    assert f"the copy of {first.parent.name} is kept" in box.said.err
    box.faithful()


def test_the_last_good_copy_is_kept_from_copy_to_copy(box: Box) -> None:
    path = box.write("passing", b"before")
    first = box.faithful()
    path.chmod(0)
    for nth in range(3):
        os.utime(path, ns=(OLD + nth, OLD + nth))
        copy = box.back_up("--jobs", "1", hook=refused_at("open", path), code=3)
        assert (copy / "passing").read_bytes() == b"before"
        assert f" kept={first.parent.name}" in line_of(copy, "passing")
        assert inode(copy / "passing") == inode(first / "passing")
        assert f"the copy of {first.parent.name} is kept" in box.said.err
    path.chmod(0o644)
    box.faithful()


def refused_at(name: str, path: Path) -> Callable[[Call], None]:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", str(path))

    return at(name, path, refuse, times=100)


def test_a_stored_file_known_to_be_bad_is_not_taken_for_good_once_its_original_could_not_be_looked_at(box: Box) -> None:
    path = box.write("letter", b"good")
    box.write("other", b"x")
    first = box.faithful()
    (first / "letter").write_bytes(b"evil")
    os.utime(first / "letter", ns=(OLD, OLD))
    box.run("verify", "--drive", box.drive, code=4)

    def not_to_be_seen(call: Call) -> None:
        if (call.name, call.path) == ("stat", str(path)):
            raise OSError(errno.EIO, os.strerror(errno.EIO), call.path)

    second = box.back_up(hook=not_to_be_seen, code=3)
    assert not (second / "letter").exists()
    assert b"type=skipped" in (second.parent / "SHA256SUMS").read_bytes()
    assert "letter" in box.said.err
    third = box.faithful()
    assert (third / "letter").read_bytes() == b"good"
    box.run("verify", "latest", "--drive", box.drive)


def test_a_file_deleted_before_the_first_look_at_it_was_simply_deleted(box: Box) -> None:
    path = box.write("passing", b"x")
    box.write("stays", b"x")
    copy = box.back_up("--jobs", "1", hook=at("stat", path, path.unlink))
    assert sorted(os.listdir(copy)) == ["stays"]


def folder_goes(path: Path) -> None:
    shutil.rmtree(path)


def folder_becomes_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"x")


def folder_becomes_link(path: Path) -> None:
    shutil.rmtree(path)
    other = path.parent.parent / "elsewhere"
    other.mkdir(exist_ok=True)
    (other / "secret").write_bytes(b"not to be copied")
    path.symlink_to("../elsewhere")


FOLDERS: Dict[str, Callable[[Path], object]] = {
    "nothing": folder_goes, "a file": folder_becomes_file, "a link": folder_becomes_link}  # fmt: skip


@pytest.mark.parametrize("moment", ["open", "scandir"])
@pytest.mark.parametrize("becomes", FOLDERS)
def test_a_folder_that_becomes_something_else_keeps_what_the_copy_before_has(box: Box, becomes: str, moment: str) -> None:
    box.write("a", b"x")
    box.write("folder/file", b"in it")
    box.write("folder/below/file", b"further in")
    box.write("z", b"x")
    first = box.faithful()
    folder = box.source / "folder"
    copy = box.back_up("--jobs", "1", hook=at(moment, folder, lambda: FOLDERS[becomes](folder)), code=0 if moment == "scandir" else 3)
    if moment == "open":
        assert differences(twin(copy), twin(first), ignoring=["mtime_ns"]) == []
        assert f"source/folder: vanished; the copy of {first.parent.name} is kept" in box.said.err
    else:  # an open folder that is emptied is an empty folder
        assert sorted(os.listdir(copy)) == ["a", "folder", "z"]
        assert os.listdir(copy / "folder") == []
    box.faithful()


@pytest.mark.parametrize("becomes", FOLDERS)
def test_a_new_folder_that_becomes_something_else_is_said(box: Box, becomes: str) -> None:
    box.write("a", b"x")
    box.write("folder/file", b"in it")
    folder = box.source / "folder"
    hook = at("open", folder, lambda: FOLDERS[becomes](folder))

    def after_the_first_look(call: Call) -> None:
        if any(name.endswith(".incomplete") for name in os.listdir(box.drive / "box")):
            hook(call)

    (box.drive / "box").mkdir()
    copy = box.back_up("--jobs", "1", hook=after_the_first_look, code=3)
    assert sorted(os.listdir(copy)) == ["a"]
    assert "source/folder: vanished" in box.said.err
    box.faithful()


def test_the_source_itself_that_vanishes_stops_the_run(box: Box) -> None:
    path = box.write("folder/file", b"x")
    box.faithful()
    shutil.copytree(box.source, box.source.with_name("kept"))
    hook = at("open", path.parent, lambda: shutil.rmtree(box.source))
    outcome = box.run("backup", "--set", "box", "--jobs", "1", box.source, box.drive, hook=hook, code=1)
    assert (outcome.err.count("\n"), f"the source {box.source} " in outcome.err) == (1, True), outcome
    assert len(dates(box.drive / "box")) == 1
    box.source.with_name("kept").rename(box.source)
    box.faithful()


# --- What counts as a change ------


def test_what_did_not_change_is_not_read_again_and_costs_no_space(box: Box) -> None:
    for name in ("a", "b/c", "large"):
        box.write(name, text_of(name, LARGE if name == "large" else SMALL))
    first = box.faithful()
    second, names = opened(box)
    assert names == []
    assert [inode(first / name) == inode(second / name) for name in ("a", "b/c", "large")] == [True] * 3


def test_the_change_time_tells_of_a_file_whose_size_and_time_were_put_back(box: Box) -> None:
    path = box.write("changes", text_of("before", SMALL))
    first = box.faithful()
    seen = path.stat()
    rewrite(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    second = box.faithful()
    assert (first / "changes").read_bytes() != (second / "changes").read_bytes()


def test_without_a_change_time_only_checksum_finds_it_and_says_that_it_may_be_rot(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapback, "WITH_CTIME", False)
    path = box.write("rots", text_of("before", SMALL))
    box.write("sound", text_of("sound", SMALL))
    first = box.faithful()
    rewrite(path)
    missed = box.back_up()
    assert (missed / "rots").read_bytes() == text_of("before", SMALL)  # README names this
    found, names = opened(box, "--checksum", code=3)
    assert names == ["rots", "sound"]
    assert (found / "rots").read_bytes() == path.read_bytes()
    assert (first / "rots").read_bytes() == (missed / "rots").read_bytes() == text_of("before", SMALL)
    assert inode(found / "sound") == inode(first / "sound")
    assert "source/rots: has other content though its size and times are as before" in box.said.err
    assert missed.parent.name in box.said.err
    assert box.back_up("--checksum")  # said once
    assert box.said.err == ""


def test_checksum_reads_everything_and_links_what_is_the_same(box: Box) -> None:
    for name in ("a", "b"):
        box.write(name, text_of(name, LARGE))
    first = box.faithful()
    second, names = opened(box, "--checksum")
    assert names == ["a", "b"]
    assert [inode(first / name) == inode(second / name) for name in names] == [True, True]


def test_a_file_younger_than_three_seconds_at_the_last_run_is_read_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have changed once more in the same tick of a coarse clock, and its times would not tell."""
    monkeypatch.setattr(snapback, "WITH_CTIME", False)
    box.since, box.runs = datetime.now(timezone.utc), 100
    for age in (1, 2, 6):
        moment = int((box.since.timestamp() + 100 - age) * 10**9)
        box.write(f"{age} s", text_of("before", SMALL), moment)
    first = box.back_up(after=0)
    for path in box.source.iterdir():
        rewrite(path)
    second, names = opened(box)
    assert names == ["1 s", "2 s"]
    changed = {name: (first / name).read_bytes() != (second / name).read_bytes() for name in ("1 s", "2 s", "6 s")}
    assert changed == {"1 s": True, "2 s": True, "6 s": False}


def test_a_young_file_that_is_still_the_same_is_linked(box: Box) -> None:
    box.write("young", text_of("young", SMALL))
    first = box.back_up(after=-box.runs)  # its change time is now
    second, names = opened(box)
    assert names == ["young"]
    assert inode(first / "young") == inode(second / "young")
    third, names = opened(box)
    assert names == []
    assert inode(first / "young") == inode(third / "young")


TOUCHES: Dict[str, Callable[[Path], object]] = {
    "later": lambda path: os.utime(path, ns=(OLD + 1, OLD + 1)),
    "earlier": lambda path: os.utime(path, ns=(OLD - 10**18, OLD - 10**18)),
    "by one nanosecond": lambda path: os.utime(path, ns=(OLD, OLD + 1)),
    "another mode": lambda path: path.chmod(0o751),
    "an attribute": lambda path: os.setxattr(path, "user.note", b"x"),
}


@pytest.mark.parametrize("how", TOUCHES)
def test_a_small_file_that_was_only_touched_is_stored_anew(box: Box, how: str) -> None:
    path = box.write("touched", text_of("same", SMALL))
    first = box.faithful()
    TOUCHES[how](path)
    second = box.faithful()  # the copy before is as it was, too
    assert inode(first / "touched") != inode(second / "touched")
    third = box.faithful()
    assert inode(second / "touched") == inode(third / "touched")


@pytest.mark.parametrize("how", TOUCHES)
def test_a_large_file_that_was_only_touched_is_linked_and_the_manifest_tells(box: Box, how: str, tmp_path: Path) -> None:
    path = box.write("touched", b"")
    with open(path, "r+b") as file:
        file.write(b"begins")
        file.truncate(16 * MIB)
    os.utime(path, ns=(OLD, OLD))
    first = box.faithful()
    was = twin(first)
    TOUCHES[how](path)
    second = box.back_up()
    assert inode(first / "touched") == inode(second / "touched")
    assert differences(twin(first), was) == []
    box.run("restore", second.parent.name, "--drive", box.drive, "--to", tmp_path / "back")
    assert differences(twin(tmp_path / "back" / "source"), twin(box.source)) == []


def test_a_clock_that_jumps_loses_and_overwrites_no_copy(box: Box, tmp_path: Path) -> None:
    day = 86400
    made: Dict[str, Any] = {}
    for nth, after in enumerate((10, 400 * day, -399 * day, 0, 0, 3600)):
        before = {date: twin(box.drive / "box" / date) for date in dates(box.drive / "box")}
        box.write("letter", b"%d" % nth)
        facts = json.loads(box.run("backup", "--no-rotate", "--json", "--set", "box", box.source, box.drive, after=after).out)
        made[facts["snapshot_id"]] = facts["seq"]
        for date, was in before.items():
            assert differences(twin(box.drive / "box" / date), was) == []
        box.run("restore", "latest", "--drive", box.drive, "--to", tmp_path / f"back {nth}")
        assert (tmp_path / f"back {nth}" / "source" / "letter").read_bytes() == b"%d" % nth
    assert list(made.values()) == [1, 2, 3, 4, 5, 6]


def test_the_number_of_a_copy_that_was_removed_is_not_given_again(box: Box) -> None:
    box.write("letter", b"x")
    for _ in range(3):
        box.faithful()
    newest = dates(box.drive / "box")[-1]
    remove_tree(box.drive / "box" / newest)
    assert json.loads(box.run("backup", "--no-rotate", "--json", "--set", "box", box.source, box.drive).out)["seq"] == 4


def renumber(copy: Path, seq: int) -> None:
    """Give a dated copy, and its twin, another number, as a manifest has it that is whole."""
    lines = (copy / "SHA256SUMS").read_bytes().splitlines(keepends=True)
    lines[0] = re.sub(rb'"seq": \d+', b'"seq": %d' % seq, lines[0])
    digest = hashlib.sha256(b"".join(lines[:-1])).hexdigest().encode()
    lines[-1] = re.sub(rb'"sha256": "\w+"', b'"sha256": "%s"' % digest, lines[-1])
    (copy / "SHA256SUMS").write_bytes(b"".join(lines))
    (copy.parent / "manifests" / f"{copy.name}.gz").write_bytes(gzip.compress(b"".join(lines)))


def test_a_number_that_no_reader_believes_is_never_given(box: Box) -> None:
    box.write("letter", b"x")
    copy = box.faithful().parent
    renumber(copy, snapback.COUNT_LIMIT - 1)
    last = box.faithful().parent
    assert f'"seq": {snapback.COUNT_LIMIT},'.encode() in (last / "SHA256SUMS").read_bytes()
    before = twin(box.drive / "box")
    refused = box.run("backup", "--no-rotate", "--set", "box", box.source, box.drive, code=4)
    assert (refused.out, refused.err.count("\n"), "nothing was copied" in refused.err) == ("", 1, True), refused
    assert "--set" in refused.err
    assert differences(twin(box.drive / "box"), before, ignoring=["mtime_ns"]) == []
    box.run("verify", "--drive", box.drive)


def test_a_line_that_no_reader_believes_is_never_published(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.write("letter", b"x")
    box.faithful()
    deep = "/".join([" " * 250] * 4)  # a blank is written as four characters
    box.write(f"{deep}/letter", b"x")
    monkeypatch.setattr(snapback, "LINE_LIMIT", 4000)
    for jobs in ("1", "2"):
        refused = box.run("backup", "--no-rotate", "--jobs", jobs, "--set", "box", box.source, box.drive, code=1)
        assert (refused.out, refused.err.count("\n")) == ("", 1), refused
        assert [word for word in ("040", "too long", "no dated copy was made", "--exclude") if word not in refused.err] == []
    assert len(dates(box.drive / "box")) == 1
    box.run("verify", "--drive", box.drive)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_attributes_too_large_for_a_line_keep_nothing_else_from_being_copied(
    box: Box, monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    for name in ("letter", "new", "folder/inside"):
        box.write(name, b"x")
    was_there = box.write("was there", b"as it was")
    box.faithful()
    monkeypatch.setattr(snapback, "LINE_LIMIT", 4000)
    for path in (was_there, box.write("new", b"changed"), box.write("heavy", b"x"), box.source / "folder"):
        os.setxattr(path, "user.heavy", bytes(3000))  # written as 4000 characters
    was_there.write_bytes(b"other")
    copy = box.back_up("--jobs", jobs, code=3)
    why = "too many or too large extended attributes"
    for name in ("heavy", "new", "was there", "folder"):
        assert re.search(rf"source/{name}: [^\n]*{why}", box.said.err), box.said
    assert line_of(copy, "heavy").startswith("# type=skipped why=too\\040many")
    assert " kept=" in line_of(copy, "was there")
    assert ((copy / "was there").read_bytes(), (copy / "new").read_bytes()) == (b"as it was", b"x")
    assert (copy / "folder" / "inside").read_bytes() == b"x"
    assert not (copy / "heavy").exists()
    box.run("verify", "--drive", box.drive)


def test_a_source_that_goes_away_when_its_copy_is_made_is_no_failure(box: Box) -> None:
    """What has its final name is a dated copy, and the run must not say otherwise."""
    box.write("letter", b"x")
    published: List[str] = []

    def hook(call: Call) -> None:
        if call.name == "replace" and call.path.startswith(str(box.drive / "box" / "2")):
            published.append(call.path)
        if published and call.path.startswith(str(box.source)):
            raise OSError(errno.EIO, "Input/output error")

    box.back_up("--jobs", "1", hook=hook, code=0)
    assert len(published) == 1


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_stored_file_that_somebody_edited_is_not_linked_on(box: Box, jobs: str) -> None:
    """The older date keeps what it has; the new one is right."""
    box.write("letter", b"as it was")
    first = box.faithful()
    (first / "letter").write_bytes(b"edited!!!")
    second = box.back_up("--jobs", jobs)
    assert (second / "letter").read_bytes() == b"as it was"
    assert (first / "letter").read_bytes() == b"edited!!!"
    third = box.back_up("--jobs", jobs)
    assert inode(second / "letter") == inode(third / "letter")


@pytest.mark.parametrize("how", ["link", "symbolic link", "fifo", "folder"])
def test_a_history_that_is_something_else_changes_no_older_copy(box: Box, how: str) -> None:
    box.write("letter", b"as it was")
    first = box.faithful()
    history = box.drive / "box" / "history.jsonl"
    history.unlink()
    make: Dict[str, Callable[[], object]] = {
        "link": lambda: os.link(first / "letter", history), "symbolic link": lambda: history.symlink_to(first / "letter"),
        "fifo": lambda: os.mkfifo(history), "folder": history.mkdir,
    }  # fmt: skip
    make[how]()
    was = twin(first)
    second = box.back_up(code=3)
    assert ("the dated copy is whole" in box.said.err, "history" in box.said.err) == (True, True), box.said
    assert differences(twin(second), twin(box.source)) == []
    assert differences(twin(first), was) == []
    box.run("verify", "--drive", box.drive)
    assert differences(twin(first), was) == []


def test_a_source_that_moved_is_read_again_but_stored_only_once(box: Box) -> None:
    box.write("a", text_of("a", SMALL))
    box.write("b/c", text_of("c", LARGE))
    first = box.faithful()
    box.source.rename(box.source.with_name("elsewhere"))
    box.source = box.source.with_name("elsewhere")
    names: List[str] = []
    moved = [f"source={box.source}", str(box.drive)]
    box.run("backup", "--set", "box", "--jobs", "1", *moved, hook=lambda call: names.append(call.path))
    second = box.drive / "box" / dates(box.drive / "box")[-1] / "source"
    assert differences(twin(second), twin(box.source)) == []
    assert {str(box.source / "a"), str(box.source / "b" / "c")} <= set(names)
    assert [inode(first / name) == inode(second / name) for name in ("a", "b/c")] == [True, True]


# --- Hard links ------


def link(box: Box, *names: str, content: Optional[bytes] = None) -> None:
    """Make a file with several names."""
    first = box.write(names[0], content if content is not None else b"group of " + names[0].encode())
    for name in names[1:]:
        (box.source / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(first, box.source / name)


def part(box: Box, name: str) -> None:
    """Put an equal file, with the same time, in the place of a name."""
    content = (box.source / name).read_bytes()
    (box.source / name).unlink()
    box.write(name, content)


def join(box: Box, first: str, *names: str) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (box.source / name).unlink()
        os.link(box.source / first, box.source / name)


def move(box: Box, old: str, new: str) -> None:
    (box.source / new).parent.mkdir(exist_ok=True)
    (box.source / old).rename(box.source / new)


class Story(NamedTuple):
    """What is there at first, and what is done to it between two dated copies."""

    begins: Callable[[Box], object]
    goes_on: Callable[[Box], object]


def apart(box: Box, *names: str) -> None:
    for name in names:
        box.write(name, b"the same")


STORIES: Dict[str, Story] = {
    "nothing happens": Story(lambda box: link(box, "a", "b", "c/d"), lambda _box: None),
    "a group is split": Story(lambda box: link(box, "a", "b"), lambda box: part(box, "b")),
    "a group is split at its first name": Story(lambda box: link(box, "a", "b", "c"), lambda box: part(box, "a")),
    "a group of four becomes two of two": Story(
        lambda box: link(box, "a", "b", "c", "d"), lambda box: (part(box, "c"), join(box, "c", "d"))),
    "two files are joined": Story(lambda box: apart(box, "a", "b"), lambda box: join(box, "a", "b")),
    "two files are joined at the second": Story(lambda box: apart(box, "a", "b"), lambda box: join(box, "b", "a")),
    "a file joins a group": Story(
        lambda box: (link(box, "b", "c", content=b"the same"), apart(box, "a")), lambda box: join(box, "b", "a")),
    "two groups are joined": Story(
        lambda box: (link(box, "a", "b", content=b"x"), link(box, "c", "d", content=b"x")),
        lambda box: join(box, "a", "c", "d")),
    "two groups swap a name": Story(
        lambda box: (link(box, "a", "b", content=b"x"), link(box, "c", "d", content=b"x")),
        lambda box: (move(box, "b", "e"), move(box, "d", "b"), move(box, "e", "d"))),
    "a name gets other content": Story(
        lambda box: link(box, "a", "b", "c"), lambda box: ((box.source / "b").unlink(), box.write("b", b"other"))),
    "a name gets other content of the same size and time": Story(
        lambda box: link(box, "a", "b", content=b"12345"), lambda box: ((box.source / "a").unlink(), box.write("a", b"54321"))),
    "the whole group changes": Story(
        lambda box: link(box, "a", "b", "c/d"), lambda box: box.write("b", b"other content for all")),
    "the whole group changes, same size and time": Story(
        lambda box: link(box, "a", "b", content=b"12345"), lambda box: box.write("a", b"54321")),
    "the group is touched": Story(lambda box: link(box, "a", "b"), lambda box: os.utime(box.source / "a", ns=(OLD, OLD + 7))),
    "a name is added": Story(lambda box: link(box, "b", "c"), lambda box: join(box, "b", "a", "d")),
    "a name is removed": Story(lambda box: link(box, "a", "b", "c"), lambda box: (box.source / "a").unlink()),
    "only one name is left": Story(lambda box: link(box, "a", "b"), lambda box: (box.source / "a").unlink()),
    "a name moves": Story(lambda box: link(box, "a", "b"), lambda box: move(box, "a", "z/a")),
    "a single file gets a second name": Story(lambda box: apart(box, "b"), lambda box: join(box, "b", "a")),
    "a name becomes a symbolic link": Story(
        lambda box: link(box, "a", "b", "c"), lambda box: become_link(box.source / "b")),
    "files trade places": Story(
        lambda box: (link(box, "a", "b", content=b"one"), apart(box, "c")),
        lambda box: (move(box, "a", "x"), move(box, "c", "a"), move(box, "x", "c"))),
    "large group, split": Story(
        lambda box: link(box, "a", "b", content=bytes(16 * MIB)), lambda box: part(box, "b")),
    "large files, joined": Story(
        lambda box: [box.write(name, bytes(16 * MIB)) for name in "ab"], lambda box: join(box, "a", "b")),
}  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("story", STORIES)
def test_files_share_their_bytes_in_a_copy_exactly_where_they_do_in_the_source(
    box: Box, story: str, jobs: int, tmp_path: Path
) -> None:
    box.write("always", b"x")
    STORIES[story].begins(box)
    box.faithful(jobs=jobs)
    STORIES[story].goes_on(box)
    copies = [box.faithful(jobs=jobs) for _ in range(2)]
    for copy in copies:
        assert shared_names(copy) == shared_names(box.source)
    box.run("restore", "latest", "--drive", box.drive, "--to", tmp_path / "back")
    assert differences(twin(tmp_path / "back" / "source"), twin(box.source)) == []


def shared_names(tree: Path) -> Sequence[List[str]]:
    """Give the names of each file that has several in a tree."""
    by_inode: Dict[int, List[str]] = {}
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            by_inode.setdefault(inode(path), []).append(str(path.relative_to(tree)))
    return sorted(names for names in by_inode.values() if len(names) > 1)


@pytest.mark.parametrize("nth", range(3))
def test_a_group_whose_first_name_cannot_be_read_still_holds_together(box: Box, nth: int) -> None:
    """Whichever name is refused, the others are stored, and nothing else takes their place."""
    link(box, "a", "b", "c")
    path = box.source / "abc"[nth]
    copy = box.back_up("--jobs", "1", hook=refused_at("open", path), code=0 if nth else 3)
    should = itertools.compress(["a", "b", "c"], [number != nth or nth > 0 for number in range(3)])
    assert sorted(os.listdir(copy)) == list(should)
    box.faithful()


# --- Many of something ------


def many_empty_folders(source: Path) -> None:
    (source / "0").mkdir(parents=True)
    (source / "0" / "file").write_bytes(b"x")
    for nth in range(1, 1500):
        (source / str(nth)).mkdir()


def one_file_in_many_folders(source: Path) -> None:
    (source / "first").mkdir(parents=True)
    (source / "first" / "file").write_bytes(b"x")
    for nth in range(1500):
        (source / str(nth)).mkdir()
        os.link(source / "first" / "file", source / str(nth) / "file")


def one_file_on_each_of_many_levels(source: Path) -> None:
    with opened_folder(source) as top:
        here = os.dup(top)
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
            os.close(here)
            here = below
        os.close(here)


@pytest.mark.needs("prlimit")
@pytest.mark.parametrize("make", [many_empty_folders, one_file_in_many_folders, one_file_on_each_of_many_levels])
def test_no_more_files_are_open_than_a_system_allows(box: Box, cli: Cli, make: Callable[[Path], None], tmp_path: Path) -> None:
    box.source.mkdir(exist_ok=True)
    make(box.source)
    few = ["prlimit", "--nofile=1024:1024"]
    for command in (["backup", box.source], ["backup", box.source], ["restore", "latest", "--to", tmp_path / "back"]):
        words = [*command, box.drive] if command[0] == "backup" else [*command, "--drive", box.drive]
        ended = cli(*words, before=few)
        assert (ended.code, ended.err) == (0, "")
    again = cli("restore", "latest", "--to", tmp_path / "back", "--merge", "--drive", box.drive, before=few)
    assert (again.code, again.err) == (0, "")
