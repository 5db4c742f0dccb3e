"""Drives that die in the middle: pulled out, filled by another program, turned read-only, failing, at any moment of a run.

On each file system one drive lives through a long series of such runs. After each one it is attached again: what was
there before is there and right, what was announced too, and the next run gets there.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Collection, Dict, Iterator, List, NamedTuple, Sequence
from unittest.mock import Mock

import pytest

import snapback
from conftest import COARSE, Mount, command, thinned
from faults import Call, Fault, Hit, is_below, nothing, watched
from trees import DATE, Outcome, Twin, ask, dates, differences, later, leftovers, new_copy, remove_tree, stock_check, text_of, twin

pytestmark = pytest.mark.needs("linux", "sha256sum")
Mounting = Callable[..., Mount]

WRITING = {
    "mkdir", "unlink", "rmdir", "chmod", "chown", "utime", "mknod", "symlink", "link", "replace", "rename", "setxattr", "write",
    "truncate", "ftruncate", "fsync", "syncfs",
}  # fmt: skip

DRIVES = {  # the file system, and the layout that is chosen by hand where it is not the usual one
    "ext4": ("ext4", []), "xfs": ("xfs", []), "btrfs": ("btrfs", []), "ntfs": ("ntfs", []), "exfat": ("exfat", []),
    "ext4, changes": ("ext4", ["--layout", "changes"]),
}  # fmt: skip


def writes(call: Call) -> bool:
    return call.name in WRITING or (call.name == "open" and bool(call.flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))


def any_call(_call: Call) -> bool:
    return True


def publishes(call: Call) -> bool:
    return call.name in ("replace", "rename") and DATE.match(os.path.basename(call.path)) is not None


class Moment:
    """A hook that lets something happen to a drive before the nth of certain calls on it; what was refused is tried again later."""

    def __init__(self, drive: Path, nth: int, of: Callable[[Call], bool], happen: Callable[[], bool]) -> None:
        self.drive, self.nth, self.of, self.happen = str(drive), nth, of, happen
        self.met, self.at = 0, ""  # the call before which it happened

    def __call__(self, call: Call) -> None:
        if self.at or call.name == "close" or not is_below(call.path, self.drive) or not self.of(call):
            return
        self.met += 1
        if self.met >= self.nth:
            if self.happen():
                self.at = f"{call.name} {os.path.relpath(call.path, self.drive)}"
            self.nth += 20


class Stick:
    """A drive on a device of its own, what its dated copies must be, and a source that is another each day."""

    def __init__(self, mounted: Mounting, folder: Path, name: str) -> None:
        kind, self.layout = DRIVES[name]
        self.below = mounted("ext4", "800M")
        self.disk = mounted(kind, image_in=self.below.path)
        self.source, self.back, self.drive = folder / "source", folder / "back", self.disk.path
        self.copies: Dict[str, Twin] = {}
        self.day = 0
        (self.source / "sub").mkdir(parents=True)
        for nth in range(4):
            (self.source / "sub" / f"stays {nth}").write_bytes(b"%d" % nth * 10_000)
        for _ in range(3):
            assert self.take("--init") == []

    @property
    def a_set(self) -> Path:
        return self.drive / "box"

    def dates(self) -> List[str]:
        """Name the dated copies; a folder whose list has expired is none any more."""
        return [name for name in dates(self.a_set) if (self.a_set / name / "SHA256SUMS").exists()]

    def edit(self) -> None:
        self.day += 1
        (self.source / f"new {self.day % 3}").write_bytes(b"%d" % self.day * 5_000)
        (self.source / "changes").write_bytes(b"%d" % self.day * 100)

    def ask(self, *words: object, hook: Callable[[Call], None] = nothing) -> Outcome:
        """Run a command, each day's at its time, so that nothing is young enough to be read again."""
        with later(self.day * 86400), watched(hook, flushing=True):
            outcome = ask(words[0], "--jobs", "1", *words[1:])
        gc.collect()  # what failed left its folders open in the circle of its error and the error's frames
        held = [path for path in open_files() if is_below(path, str(self.drive))]
        assert held == [], f"{words[0]} left files open: {held}"
        return outcome

    def back_up(self, *more: object, hook: Callable[[Call], None] = nothing) -> Outcome:
        self.edit()
        return self.ask("backup", "--set", "box", *self.layout, *more, self.source, self.drive, hook=hook)

    def took(self) -> List[str]:
        """Note what there is now, the new one as the source is now; name what is new."""
        there = self.dates()
        new = [name for name in there if name not in self.copies]
        self.copies = {name: self.copies[name] for name in there if name in self.copies}
        self.copies.update((name, twin(self.source)) for name in new)
        return new

    def take(self, *more: object) -> List[str]:
        """Make a dated copy, all being well; complain about what is not."""
        outcome = self.back_up("--no-rotate", *more)
        new = self.took()
        wrong = [f"the next run: {outcome}, {new}"] if (outcome.code, outcome.err, len(new)) != (0, "", 1) else []
        return wrong + [f"{name} was left" for name in leftovers(self.a_set)]

    def wrong(self, *dropped: str) -> List[str]:
        """Complain about copies that are not as they were made; those that rotation was told to drop may be gone."""
        there = self.dates()
        found = [f"{name} is gone" for name in self.copies if name not in (*there, *dropped)]
        found += [f"{name}: {line}" for name in there for line in stock_check(self.a_set / name)]
        outcome = self.ask("verify", "--drive", self.drive)
        return found if outcome.code == 0 else [*found, f"verify: {outcome}"]

    def comes_back(self, name: str, *more: object) -> List[str]:
        """Restore a dated copy; complain about what is not as it was."""
        outcome = self.ask("restore", name, "--drive", self.drive, "--to", self.back, *more)
        back = {path: entry for path, entry in twin(self.back / "source").items() if not path.endswith(b".damaged")}
        found = [f"back: {line}" for line in differences(back, self.copies[name])]
        remove_tree(self.back)
        return found if outcome.code == 0 else [*found, f"restore: {outcome}"]


def open_files() -> Iterator[str]:
    """Give the paths of what this process holds open."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            yield os.readlink(f"/proc/self/fd/{number}")


# --- What happens to it ------


def pulled(stick: Stick) -> bool:
    stick.disk.unplug()
    return True


def filled(stick: Stick) -> bool:
    stick.disk.fill()
    return True


def read_only(stick: Stick) -> bool:
    return stick.disk.turned_read_only()


def fails(stick: Stick) -> bool:
    stick.below.shut_down()
    return True


Way = Callable[[Stick], bool]
WAYS: Dict[Way, Sequence[str]] = {  # what is said of it
    fails: ["went away or failed", "is read-only", "cannot be read"],
    pulled: ["went away", "cannot be read"],
    read_only: ["is read-only"],
    filled: ["is full", "does not fit"],
}
SAFE = ["untouched", "no dated copy on it was touched but those that the plan drops"]
WAY_OUT = ["attach", "make room"]


def attach_again(stick: Stick, way: Way) -> None:
    stick.disk.remount(stick.below.remount if way is fails else nothing_meanwhile)
    (stick.drive / "filler").unlink(missing_ok=True)
    command("sync", "-f", stick.drive)  # btrfs counts what is free only then


def nothing_meanwhile() -> None:
    """Nothing has to be done between unmounting and mounting."""


def unclear(outcome: Outcome, way: Way) -> List[str]:
    """Complain unless a run said in one sentence what happened, what is safe and what to do; or, of a copy that is whole, what remains."""
    lines = outcome.err.splitlines()
    if "Traceback" in outcome.err or "Errno" in outcome.err or outcome.code not in (0, 1, 3, 4, 75):
        return [f"exit {outcome.code}: {outcome.err}"]
    if outcome.code == 0:
        return [f"exit 0, but {outcome.err}"] if lines else []
    if outcome.code in (1, 75):
        missing = [words for words in (WAYS[way], SAFE, WAY_OUT) if not any(word in lines[0] for word in words)]
        if len(lines) != 1 or (missing if outcome.code == 1 else missing[:1]) or not lines[0].startswith("snapback: "):
            return [f"exit {outcome.code}, without {missing}: {outcome.err}"]
    return [f"exit 4, without a word on the disk: {outcome.err}"] if outcome.code == 4 and "attach it again" not in lines[-1] else []


class Trial(NamedTuple):
    """What is to happen, before which call."""

    way: Way
    nth: int
    of: Callable[[Call], bool]


def trials(nths: Sequence[int], of: Callable[[Call], bool], ways: Collection[Way] = WAYS) -> List[Trial]:
    """Let the ways take turns."""
    return [Trial(way, nth, of) for nth, way in zip(nths, itertools.cycle(ways))]


def live_through(stick: Stick, trial: Trial, act: Callable[[Moment], List[str]]) -> List[str]:
    """Let it happen while something is done; complain about what is not right then, and when the drive is attached again."""
    moment = Moment(stick.drive, trial.nth, trial.of, lambda: trial.way(stick))
    found = act(moment)
    if not moment.at:  # it was over before, or the system refused
        attach_again(stick, trial.way)
    return [f"{trial.way.__name__} at call {trial.nth}, {moment.at}: {line}" for line in found]


# --- What it was doing ------


@pytest.fixture(params=DRIVES)
def stick(request: pytest.FixtureRequest, mounted: Mounting, reachable: Path) -> Iterator[Stick]:
    made = Stick(mounted, reachable, request.param)
    yield made
    remove_tree(made.source)


def copying(stick: Stick, trial: Trial) -> List[str]:
    """Copying, publishing and rotating in one run."""
    oldest = stick.dates()[:-2]

    def act(moment: Moment) -> List[str]:
        outcome = stick.back_up("--keep-last", "3", hook=moment)
        found = unclear(outcome, trial.way)
        attach_again(stick, trial.way)
        found += stick.wrong(*oldest)
        new = stick.took()
        if outcome.code in (0, 3) and len(new) != 1:
            found.append(f"exit {outcome.code} announced a dated copy that is not there: {outcome.err}")
        return found + [line for name in new for line in stick.comes_back(name)] + stick.take()

    return live_through(stick, trial, act)


def rotating(stick: Stick, trial: Trial) -> List[str]:
    oldest = stick.dates()[:-2]

    def act(moment: Moment) -> List[str]:
        order = ["rotate", "--drive", stick.drive, "--keep-last", "2"]
        found = unclear(stick.ask(*order, hook=moment), trial.way)
        attach_again(stick, trial.way)
        found += stick.wrong(*oldest)
        outcome = stick.ask(*order)
        found += [f"rotating again: {outcome}"] if (outcome.code, outcome.err) != (0, "") else []
        stick.took()
        found += [f"rotating again left {sorted(stick.copies)}"] if len(stick.copies) != 2 else []
        return found + stick.wrong() + stick.take() + stick.take()

    return live_through(stick, trial, act)


def verifying(stick: Stick, trial: Trial) -> List[str]:
    """What cannot be read may be a bad spot or a disk that is dying: it is called damage, but not without saying so."""
    stick.disk.remount()  # so that nothing is in memory

    def act(moment: Moment) -> List[str]:
        outcome = stick.ask("verify", "--drive", stick.drive, hook=moment)
        found = unclear(outcome, trial.way)
        attach_again(stick, trial.way)
        return found + stick.wrong() + stick.take()

    return live_through(stick, trial, act)


def restoring(stick: Stick, trial: Trial) -> List[str]:
    """What came back under its own name is right; the same command with --merge goes on."""
    stick.disk.remount()
    should = stick.copies[stick.dates()[-1]]

    def act(moment: Moment) -> List[str]:
        outcome = stick.ask("restore", "latest", "--drive", stick.drive, "--to", stick.back, hook=moment)
        found = unclear(outcome, trial.way)
        here = twin(stick.back / "source") if (stick.back / "source").exists() else {}
        files = [path for path, entry in should.items() if entry.kind == "file"]
        if "is newer, but its list is damaged" in outcome.err:  # as far as could be read: then an older one came back, and that is said
            remove_tree(stick.back)
            here = {}
        found += [f"{path!r} came back wrong" for path in files if path in here and here[path].content != should[path].content]
        if outcome.code == 0:
            found += [f"exit 0, but {path!r} is missing" for path in files if path not in here]
        attach_again(stick, trial.way)
        return found + stick.comes_back(stick.dates()[-1], "--merge") + stick.wrong()

    return live_through(stick, trial, act)


def none(found: Sequence[str]) -> None:
    """Assert that there are no complaints; if there are, show them."""
    if found:
        pytest.fail("\n".join([f"{len(found)} complaints", *found[:30]]), pytrace=False)


EACH = 24 if COARSE else 8
READING = [*trials((20, 50, 80, 110, 140), any_call, [fails, pulled]), Trial(read_only, 95, any_call), Trial(filled, 65, any_call)]


def test_whatever_happens_while_a_copy_is_made_what_was_announced_is_there_and_the_next_run_gets_there(stick: Stick) -> None:
    found = []
    for trial in [Trial(fails, 1, publishes), *trials(range(2, 86, EACH), writes)]:
        found += copying(stick, trial)
    none(found)


def test_whatever_happens_while_old_dates_are_deleted_the_others_are_whole_and_the_next_run_finishes(stick: Stick) -> None:
    assert stick.take() == []
    none([line for trial in trials(range(2, 32, EACH), writes) for line in rotating(stick, trial)])


def test_whatever_happens_while_copies_are_read_is_said_and_is_no_damage(stick: Stick) -> None:
    none([line for trial in thinned(READING, 2) for line in verifying(stick, trial)])
    none([line for trial in thinned(READING, 2) for line in restoring(stick, trial)])


# --- Well again a moment later ------


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "exfat"])
def test_a_device_that_fails_writes_for_a_moment_is_noticed(mounted: Mounting, reachable: Path, kind: str) -> None:
    """What another program's flush was told, and what failed before the run's own flush begins, counts too."""
    below = mounted("tmpfs", "150M")  # where it is full, the device fails
    disk = mounted(kind, image_in=below.path)
    source = reachable / "source"
    source.mkdir()
    for nth in range(30):
        (source / f"stays {nth}").write_bytes(text_of(nth, 20_000))
    first = new_copy(disk.path, source)
    for nth in range(10):
        (source / f"new {nth}").write_bytes(text_of(nth, 60_000))
    moment = []

    def fails_for_a_moment(call: Call) -> None:
        if not moment and call.name == "open" and call.path.endswith(".incomplete/source/new 3"):
            moment.append(below.fill())
        elif moment and call.name == "write" and call.path.endswith("SHA256SUMS"):
            subprocess.run(["sync", "-f", disk.path], capture_output=True)
            moment[0].unlink(missing_ok=True)

    with watched(fails_for_a_moment, flushing=True), later(100):
        outcome = ask("backup", "--set", "box", "--jobs", "1", source, disk.path)
    gc.collect()
    assert (len(moment), outcome.code, outcome.err.count("\n")) == (1, 1, 1), outcome
    moment[0].unlink(missing_ok=True)
    disk.remount()
    assert (dates(disk.path / "box"), stock_check(first)) == ([first.name], [])
    with later(200):
        second = new_copy(disk.path, source)
    disk.remount()
    assert [stock_check(copy) for copy in (first, second)] == [[], []]
    assert ask("verify", "--drive", disk.path).code == 0


# --- What it says ------


class Sight(NamedTuple):
    """A source and a drive with two dated copies, in plain folders."""

    source: Path
    drive: Path

    def holds(self, path: str) -> bool:
        return is_below(path, str(self.drive))

    def asked(self, *words: object, hook: Callable[[Call], None] = nothing) -> Outcome:
        with watched(hook), later(100):
            return ask(words[0], "--jobs", "1", *words[1:])


@pytest.fixture
def sight(tmp_path: Path, drive: Path) -> Sight:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for name in ("one", "sub/two", "sub/three"):
        (source / name).write_bytes(name.encode())
    new_copy(drive, source)
    (source / "one").write_bytes(b"another")
    new_copy(drive, source)
    return Sight(source, drive)


def looks_empty(drive: Path) -> bool:
    for path in drive.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


@pytest.mark.parametrize("words", [["verify"], ["restore", "latest"], ["restore", "2026", "--merge"], ["list"]], ids=" ".join)
def test_a_drive_that_went_away_while_it_was_looked_at_is_not_called_empty(sight: Sight, tmp_path: Path, words: List[str]) -> None:
    """A pulled FAT stick stays mounted, and looks as if nothing had ever been on it."""
    kept = tmp_path / "kept"
    sight.drive.rename(kept)
    target = ["--to", tmp_path / "back"] if words[0] == "restore" else []
    found = []
    for nth in itertools.count(2, 9 if COARSE else 1):
        shutil.copytree(kept, sight.drive, symlinks=True)
        moment = Moment(sight.drive, nth, any_call, lambda: looks_empty(sight.drive))
        outcome = sight.asked(*words, *target, "--drive", sight.drive, hook=moment)
        shutil.rmtree(sight.drive)
        shutil.rmtree(tmp_path / "back", ignore_errors=True)
        if not moment.at:
            assert outcome.code == 0, outcome
            break
        said = outcome.code in (1, 75) and "attach" in outcome.err and outcome.err.count("\n") == 1
        found += [f"gone at call {nth}, {moment.at}: {outcome}"] if not said and outcome.code != 0 else []
    none(found)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_dead_disk_is_not_believed_to_be_there_because_its_marker_is_in_memory(mounted: Mounting, kind: str) -> None:
    below = mounted("ext4", "800M")
    disk = mounted(kind, image_in=below.path)  # btrfs keeps small files where they stay in memory: there it is not seen
    assert ask("init", disk.path).code == 0
    disk.remount()
    drive = snapback.open_drive(str(disk.path))
    assert drive.is_there()
    below.shut_down()
    assert not drive.is_there()
    drive.let_go()


@pytest.mark.parametrize(("number", "words"), [
    (getattr(errno, "EUCLEAN", errno.EBADMSG), ["is broken", "repair", "snapback.py verify"]),
    (errno.EBADMSG, ["is broken", "repair", "snapback.py verify"]),
    (errno.ENOMEM, ["no memory left", "end other programs"]),
], ids=["metadata", "checksum", "memory"])  # fmt: skip
def test_what_is_wrong_with_a_disk_is_told_from_what_is_wrong_with_the_computer(sight: Sight, number: int, words: List[str]) -> None:
    hit = Hit(Fault(str(sight.drive / "box"), 1, number, {"mkdir"}))
    outcome = sight.asked("backup", "--set", "box", sight.source, sight.drive, hook=hit)
    missing = [word for word in (*words, "untouched") if word not in outcome.err]
    assert (outcome.code, outcome.err.count("\n"), missing) == (1, 1, []), outcome


def test_a_disk_that_is_gone_is_no_lack_of_memory(sight: Sight) -> None:
    """Ext4 says so when it asks for a block that the disk no longer has."""
    def gone(call: Call) -> None:
        if call.name == "mkdir" and is_below(call.path, str(sight.drive / "box")):
            (sight.drive / "snapback-marker.txt").unlink()
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    outcome = sight.asked("backup", "--set", "box", sight.source, sight.drive, hook=gone)
    assert (outcome.code, "went away or failed" in outcome.err) == (1, True), outcome


def test_a_copy_that_could_not_be_published_for_good_is_none(sight: Sight) -> None:
    before = dates(sight.drive / "box")

    def refuse(call: Call) -> None:
        if call.name == "fsync" and call.path == str(sight.drive / "box"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    outcome = sight.asked("backup", "--set", "box", sight.source, sight.drive, hook=refuse)
    assert (outcome.code, dates(sight.drive / "box")) == (1, before), outcome
    outcome = sight.asked("backup", "--set", "box", sight.source, sight.drive)
    assert (outcome.code, len(dates(sight.drive / "box")), leftovers(sight.drive / "box")) == (0, len(before) + 1, []), outcome


def test_lists_that_cannot_be_read_are_not_taken_for_no_copies(sight: Sight, tmp_path: Path) -> None:
    def unreadable(call: Call) -> None:
        if call.name == "read" and call.path.endswith(("SHA256SUMS", ".gz")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    outcome = sight.asked("restore", "latest", "--drive", sight.drive, "--to", tmp_path / "back", hook=unreadable)
    assert (outcome.code, outcome.err.count("\n"), "attach it again" in outcome.err) == (4, 1, True), outcome


def test_a_spot_that_cannot_be_read_makes_verify_and_restore_doubt_the_disk(sight: Sight, tmp_path: Path) -> None:
    def unreadable(call: Call) -> None:
        if call.name == "read" and call.path.endswith("source/sub/two"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    for words in (["verify"], ["restore", "latest", "--to", str(tmp_path / "back")]):
        outcome = sight.asked(*words, "--drive", sight.drive, hook=unreadable)
        assert (outcome.code, "unreadable: " in outcome.err, "attach it again" in outcome.err.splitlines()[-1]) == (4, True, True), outcome


def test_the_report_of_a_verification_is_not_lost_with_the_listing_of_other_sets(sight: Sight) -> None:
    """What can be known before the long reading is asked before it, but by the recovery page, which can do without."""
    read: List[Call] = []

    def fails_later(call: Call) -> None:
        if call.path.endswith("source/sub/two") and call.name == "read":
            read.append(call)
        if read and call.path == str(sight.drive) and call.name == "scandir":
            raise OSError(errno.EIO, os.strerror(errno.EIO), call.path)

    outcome = sight.asked("verify", "--drive", sight.drive, hook=fails_later)
    assert (outcome.code, "OK - everything is there" in outcome.out) == (0, True), outcome
    assert "READ-ME-FIRST.txt on drive could not be brought up to date (Input/output error" in outcome.out


def test_a_call_that_fails_leaves_no_file_open_on_the_drive(sight: Sight, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open file keeps a drive from being ejected for as long as this process lives."""
    def no_second_list(call: Call) -> None:
        if call.name == "open" and call.path.endswith(".gz.incomplete"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    backup, verify = ["backup", "--set", "box", sight.source, sight.drive], ["verify", "--drive", sight.drive]
    hooks = [Hit(Fault(str(sight.drive / "box"), nth, errno.EIO, {"fstat"})) for nth in range(1, 12)]
    for words, hook in [(backup, no_second_list), *((verify, hook) for hook in hooks)]:
        outcome = sight.asked(*words, hook=hook)
        gc.collect()
        assert list(filter(sight.holds, open_files())) == [], outcome
    monkeypatch.setattr(snapback, "open", Mock(side_effect=OSError(errno.ENOTCONN, "gone")), raising=False)
    with pytest.raises(OSError, match="gone"):
        snapback.manifest_file(snapback.Folder.top(str(sight.drive / "box" / dates(sight.drive / "box")[0])))
    assert [path for path in open_files() if path.endswith("SHA256SUMS")] == []
