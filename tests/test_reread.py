"""A dated copy that is read back before it counts as one."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import json
import os
import re
import signal
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Sequence, Set, Tuple

import pytest

import snapback
from faults import Call, watched
from test_sample import LAYOUTS, listed
from test_settings import for_drives, write_settings
from test_verify import rot
from trees import Outcome, ask, dates, differences, leftovers, remove_tree, text_of, twin

pytestmark = pytest.mark.needs("linux")


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return grown(tmp_path / "src")


def grown(made: Path) -> Path:
    """Make a few files, old enough that nothing of them is in doubt; one has two names."""
    (made / "below").mkdir(parents=True)
    for name in ("letter", "photo", "below/deep", "below/film"):
        (made / name).write_bytes(text_of(name, 3000))
    os.link(made / "below" / "film", made / "film")
    rest(made)
    return made


def rest(made: Path) -> None:
    for path in [*made.rglob("*"), made]:
        os.utime(path, (1_700_000_000, 1_700_000_000))


def backup(source: Path, drive: Path, *words: str) -> Outcome:
    return ask("backup", "--init", "--no-rotate", "--jobs", "1", "--set", "box", *words, source, drive)


def newest(drive: Path) -> Path:
    return drive / "box" / dates(drive / "box")[-1]


Harm = Callable[[Path], object]


def is_read_back(call: Call) -> bool:
    """Tell whether a call begins to read an unfinished copy back: by its list."""
    name, folder = os.path.basename(call.path), os.path.basename(os.path.dirname(call.path))
    return (call.name, name) == ("open", "SHA256SUMS") and folder.endswith(".incomplete") and not call.flags & os.O_CREAT


def is_published(call: Call) -> bool:
    """Tell whether a call gives a dated copy its name."""
    return call.name in ("rename", "replace") and snapback.SNAPSHOT_NAME.fullmatch(os.path.basename(call.path)) is not None


@contextlib.contextmanager
def harmed(*harms: Harm) -> Iterator[None]:
    """Do harm to the unfinished copy when it is read back: for the first time, for the second, and so on."""
    waiting = list(harms)

    def strike(call: Call) -> None:
        if waiting and is_read_back(call):
            waiting.pop(0)(Path(call.path).parent)

    with watched(strike):
        yield
    assert not waiting


def carries_on(source: Path, drive: Path, before: Sequence[str]) -> None:
    """Assert that no dated copy came and those that were are whole; that a plain run makes one that is the source, and clears up."""
    gc.collect()  # what failed holds the lock
    assert dates(drive / "box") == list(before)
    assert not before or ask("verify", "--drive", drive).code == 0
    outcome = backup(source, drive)
    assert outcome.code == 0, outcome
    assert differences(twin(newest(drive) / "src"), twin(source)) == []
    assert ask("verify", "--drive", drive).code == 0
    assert leftovers(drive / "box") == []


# --- All is well ------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_that_reads_back_is_made_and_says_so(source: Path, drive: Path, layout: str) -> None:
    assert backup(source, drive, "--layout", layout).code == 0
    (source / "new").write_bytes(b"new")
    rest(source)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and path.name != "film") + 3000
    outcome = backup(source, drive, "--layout", layout, "--reread", "--json")
    assert (outcome.code, json.loads(outcome.out)["bytes_read_back"]) == (0, size)
    assert json.loads((drive / "box" / "history.jsonl").read_text().splitlines()[-1])["read_back"] is True
    outcome = backup(source, drive, "--layout", layout, "--reread")
    assert f"All {snapback.size_text(size)} of it read back from drive as written\n" in outcome.out
    outcome = backup(source, drive, "--layout", layout, "--json")
    assert json.loads(outcome.out)["bytes_read_back"] is None
    assert json.loads((drive / "box" / "history.jsonl").read_text().splitlines()[-1])["read_back"] is False


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_that_a_copy_holds_and_its_list_is_read_from_the_drive_before_it_has_its_name(
    source: Path, drive: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backup(source, drive, "--layout", layout).code == 0
    (source / "new").write_bytes(b"new")
    forgotten: Set[int] = set()
    published: List[Set[int]] = []
    real = os.posix_fadvise

    def watching(fd: int, offset: int, length: int, advice: int) -> None:
        if (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED):
            forgotten.add(os.fstat(fd).st_ino)
        real(fd, offset, length, advice)

    def note(call: Call) -> None:
        if is_published(call):
            published.append(set(forgotten))

    monkeypatch.setattr(os, "posix_fadvise", watching)
    with watched(note):
        assert backup(source, drive, "--layout", layout, "--reread").code == 0
    held = {path.stat().st_ino for date in dates(drive / "box") for path in (drive / "box" / date / "src").rglob("*") if path.is_file()}
    assert (len(published), held | {(newest(drive) / "SHA256SUMS").stat().st_ino} <= published[0]) == (1, True)


# --- What was just written is not what is read ------


def cut_off(path: Path) -> None:
    os.truncate(path, 100)


NEW: Dict[str, Tuple[Harm, str]] = {
    "other bytes": (lambda copy: rot(copy / "src" / "new"), "src/new"),
    "shorter": (lambda copy: cut_off(copy / "src" / "new"), "src/new"),
    "gone": (lambda copy: (copy / "src" / "new").unlink(), "src/new"),
    "a folder gone": (lambda copy: remove_tree(copy / "src" / "fresh"), "src/fresh"),
    "the list": (lambda copy: rot(copy / "SHA256SUMS"), "SHA256SUMS"),
    "the end of the list": (lambda copy: cut_off(copy / "SHA256SUMS"), "SHA256SUMS"),
    "both names of a file": (lambda copy: rot(copy / "src" / "fresh" / "one"), "src/fresh/one"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("harm", NEW)
def test_a_copy_whose_new_part_does_not_read_back_is_none(source: Path, drive: Path, layout: str, harm: str) -> None:
    assert backup(source, drive, "--layout", layout).code == 0
    before = dates(drive / "box")
    (source / "fresh").mkdir()
    for name in ("new", "fresh/one"):
        (source / name).write_bytes(text_of(name, 3000))
    os.link(source / "fresh" / "one", source / "fresh" / "two")
    rest(source)
    with harmed(NEW[harm][0]):
        outcome = backup(source, drive, "--layout", layout, "--reread")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1), outcome
    assert f"does not read back as it was written, as {NEW[harm][1]}" in outcome.err
    assert "no new dated copy was made, and every earlier dated copy on it is untouched; the disk or its cable" in outcome.err
    assert listed(drive) == []
    carries_on(source, drive, before)


def test_a_drive_that_went_away_meanwhile_is_not_called_damaged(source: Path, drive: Path) -> None:
    assert backup(source, drive).code == 0

    def unplug(copy: Path) -> None:
        rot(copy / "src" / "photo")
        drive.rename(drive.with_name("elsewhere"))

    with harmed(unplug):
        outcome = backup(source, drive, "--reread")
    drive.with_name("elsewhere").rename(drive)
    assert (outcome.code, "went away or failed" in outcome.err, listed(drive)) == (1, True, [])
    assert len(dates(drive / "box")) == 1


def test_a_person_may_end_it_while_it_is_read_back(source: Path, drive: Path) -> None:
    with harmed(lambda _copy: signal.raise_signal(signal.SIGINT)):
        outcome = backup(source, drive, "--reread")
    assert (outcome.code, len(leftovers(drive / "box"))) == (130, 1), outcome
    carries_on(source, drive, [])


# --- What older dates share is damaged ------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["photo", "film", "moved"])
def test_damage_that_older_dates_share_is_stored_anew_in_the_same_run(source: Path, drive: Path, layout: str, name: str) -> None:
    assert backup(source, drive, "--layout", layout).code == 0
    old = newest(drive)
    rot(old / "src" / ("photo" if name == "moved" else name))
    if name == "moved":
        (source / "photo").rename(source / "moved")
    (source / "new").write_bytes(b"new")
    rest(source)
    outcome = backup(source, drive, "--layout", layout, "--reread")
    assert outcome.code == 3, outcome
    bad = ["src/film", "src/below/film"] if name == "film" else ["src/photo"]
    number = "2 files" if name == "film" else "1 file"
    assert f"{number} of {old.name} did not read back as written, as {' and '.join(bad)}; a good copy is stored anew" in outcome.err
    assert "OK - you can rely on this copy, but" in outcome.err
    assert differences(twin(newest(drive) / "src"), twin(source)) == [] or layout == "changes"
    assert listed(drive) == sorted(f"{old.name}/{one}" for one in bad)
    assert ask("verify", "latest", "--drive", drive).code == 0
    assert {one["path"] for one in json.loads(ask("verify", "--json", "--drive", drive).out)["findings"]} == set(bad)
    assert (leftovers(drive / "box"), backup(source, drive, "--layout", layout, "--reread").code) == ([], 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_found_damaged_twice_makes_no_copy(source: Path, drive: Path, layout: str) -> None:
    """The second time it is another file that older dates share; the run after that stores both anew."""
    assert backup(source, drive, "--layout", layout).code == 0
    old = newest(drive)
    rot(old / "src" / "photo")
    with harmed(lambda _copy: None, lambda _copy: rot(old / "src" / "letter")):
        outcome = backup(source, drive, "--layout", layout, "--reread")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1), outcome
    assert f"1 file of {old.name} did not read back as written, as src/letter; no new dated copy was made; " in outcome.err
    assert (dates(drive / "box"), listed(drive)) == ([old.name], [f"{old.name}/src/letter", f"{old.name}/src/photo"])
    gc.collect()
    assert backup(source, drive, "--layout", layout, "--reread").code == 0
    assert ask("verify", "latest", "--drive", drive).code == 0


def test_damage_in_what_is_shared_and_in_what_is_new_makes_no_copy_and_both_are_remembered(source: Path, drive: Path) -> None:
    assert backup(source, drive).code == 0
    old = newest(drive)
    rot(old / "src" / "photo")
    (source / "new").write_bytes(b"new")
    with harmed(lambda copy: rot(copy / "src" / "new")):
        outcome = backup(source, drive, "--reread")
    assert (outcome.code, "as src/new: no new dated copy" in outcome.err) == (1, True), outcome
    assert listed(drive) == [f"{old.name}/src/photo"]
    gc.collect()
    assert backup(source, drive, "--reread").code == 0
    assert differences(twin(newest(drive) / "src"), twin(source)) == []


def test_a_new_file_with_the_bytes_of_an_old_one_is_no_reason_to_call_that_damaged(source: Path, drive: Path) -> None:
    assert backup(source, drive).code == 0
    (source / "copied").write_bytes((source / "photo").read_bytes())
    with harmed(lambda copy: rot(copy / "src" / "copied")):
        outcome = backup(source, drive, "--reread")
    assert (outcome.code, "as src/copied: no new dated copy" in outcome.err, listed(drive)) == (1, True, []), outcome


def test_a_file_that_only_the_drive_has_any_more_and_is_damaged_is_not_passed_on(source: Path, drive: Path) -> None:
    """It cannot be read in the source, so the earlier content would be kept: but that is bad."""
    assert backup(source, drive).code == 0
    rot(newest(drive) / "src" / "photo")
    (source / "photo").write_bytes(b"changed")

    def refuse(call: Call) -> None:
        if (call.name, call.path) == ("open", str(source / "photo")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(refuse):
        outcome = backup(source, drive, "--reread")
    assert outcome.code == 3, outcome
    assert not (newest(drive) / "src" / "photo").exists()
    assert ask("verify", "latest", "--drive", drive).code == 0


# --- Whatever fails, whenever ------


@contextlib.contextmanager
def struck(nth: int) -> Iterator[List[Call]]:
    """Let the nth call on the drive fail, counted from when the copy is read back until it has its name; gives the call that failed."""
    met, counting, hit = itertools.count(1), [], []  # type: Iterator[int], List[bool], List[Call]

    def strike(call: Call) -> None:
        counting.extend([True] * is_read_back(call))
        if not counting or call.name == "close" or "/drive" not in call.path:
            return
        if is_published(call):
            counting.clear()
        if next(met) == nth:
            hit.append(call)
            raise OSError(errno.EIO, os.strerror(errno.EIO), call.path)

    with watched(strike):
        yield hit


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_is_made_only_whole_whichever_call_fails_while_it_is_read_back(tmp_path: Path, drive: Path, layout: str) -> None:
    """Each run stores one file more, and is the next run of the one before it."""
    source = tmp_path / "src"
    source.mkdir()
    words = (source, drive, "--layout", layout, "--reread")
    for nth in itertools.count(1):
        (source / str(nth % 4)).write_bytes(b"%d" % nth)
        before = dates(drive / "box")
        with struck(nth) as hit:
            outcome = backup(*words)
        gc.collect()
        made = len(dates(drive / "box")) - len(before)
        assert (outcome.code, made) in ([(1, 0), (0, 1)] if hit else [(0, 1)]), (nth, hit, outcome)
        assert (outcome.err.count("\n"), re.search("Traceback|Errno", outcome.err)) == (int(outcome.code != 0), None), outcome
        assert listed(drive) == []
        if made:
            assert ask("verify", "latest", "--drive", drive).code == 0
        if not hit:
            break
    assert (nth > 25, leftovers(drive / "box"), ask("verify", "--drive", drive).code) == (True, [], 0)
    assert differences(twin(newest(drive) / "src"), twin(source)) == [] or layout == "changes"


# --- In the settings ------

SAID: Dict[str, Tuple[str, str, Sequence[str], bool]] = {  # in general, of the drive, on the command line: whether it is read back
    "nothing": ("", "", (), False),
    "in general": ("reread = yes", "", (), True),
    "of the drive": ("", "reread = yes", (), True),
    "not of the drive": ("reread = yes", "reread = no", (), False),
    "on the command line": ("reread = no", "reread = no", ("--reread",), True),
}


@pytest.mark.parametrize("case", SAID)
def test_the_settings_say_whether_a_copy_is_read_back(source: Path, drive: Path, home: Path, case: str) -> None:
    general, own, words, expected = SAID[case]
    assert ask("init", drive).code == 0
    write_settings(home, for_drives(source, drive, more=general) + own)
    outcome = ask("backup", *words)
    assert (outcome.code, "read back from" in outcome.out) == (0, expected), outcome


def test_the_command_to_be_scheduled_reads_back_as_the_run_did(source: Path, drive: Path) -> None:
    outcome = ask("backup", "--init", "--reread", source, drive)
    assert "--if-attached -q --reread\n" in outcome.out
