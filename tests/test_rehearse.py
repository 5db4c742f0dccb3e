"""Rehearsals: random files come back into a temporary folder, are compared, and nothing of them is left."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

import snapback
from conftest import Mount
from faults import Fault, Hit, watched
from snapback import Block, Known, Meta, Sampled, affordable, blocks_of, draw_files, full_time
from trees import ask, ask_at, dates, new_copy

DAY = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of temporary folders, in which nothing else is."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    made = tmp_path / "Documents"
    for nth in range(30):
        folder = made / f"{nth % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"letter {nth}").write_bytes(b"letter %d " % nth * nth)
        (folder / f"letter {nth}").chmod(0o640 if nth % 2 else 0o400)
    (made / "0").chmod(0o500)
    return made


@pytest.fixture(params=["complete", "changes"])
def copied(request: pytest.FixtureRequest, documents: Path, drive: Path) -> Path:
    """A drive whose newest date shares nearly all with the one before."""
    new_copy(drive, "--layout", request.param, documents)
    (documents / "3" / "new").write_text("new")
    new_copy(drive, "--layout", request.param, documents)
    return drive


def history(drive: Path) -> List[Dict[str, Any]]:
    return [one for one in map(json.loads, (drive / "box" / "history.jsonl").read_text().splitlines()) if one["what"] == "rehearse"]


def stored(drive: Path, name: str) -> List[Path]:
    return [path for path in (drive / "box").rglob(name) if path.is_file()]


def spoil(drive: Path, name: str) -> None:
    for path in stored(drive, name):
        info = path.stat()
        path.chmod(0o600)
        path.write_bytes(b"X" * info.st_size)
        os.utime(path, ns=(info.st_mtime_ns, info.st_mtime_ns))


def test_random_files_come_back_are_compared_and_noted_and_nothing_is_left(copied: Path, temporary: Path) -> None:
    outcome = ask("rehearse", "--drive", copied)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert re.search(r"^Tried 20 random files .*\nA full restore would take (less than a second|about .*) \(31 files, .*\nOK - ",
                     outcome.out), outcome
    (noted,) = history(copied)
    assert {**noted, "time": 0, "bytes": 0, "seconds": 0, "estimate": 0} == {
        "what": "rehearse", "time": 0, "snapshot": dates(copied / "box")[-1], "files": 20, "bytes": 0, "seconds": 0, "estimate": 0,
        "damaged": 0}
    assert list(temporary.iterdir()) == []
    assert "try of a restore: nothing damaged" in (copied / "GET-FILES-BACK.html").read_text("utf-8")


def test_as_many_files_as_are_wanted_are_tried_and_more_than_there_are_is_all(copied: Path, temporary: Path) -> None:
    for count, tried in ((1, 1), (7, 7), (1000, 31)):
        facts = json.loads(ask("rehearse", "--json", "--count", count, "--drive", copied).out)
        assert (facts["files"], facts["all_files"], facts["findings"]) == (tried, 31, [])
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "1000000"])
def test_a_number_that_is_none_is_refused(copied: Path, wrong: str) -> None:
    assert ask("rehearse", "--count", wrong, "--drive", copied).code == 2
    assert history(copied) == []


def test_what_does_not_come_back_is_named_and_noted_as_verify_does(copied: Path, temporary: Path) -> None:
    spoil(copied, "letter 7")
    for path in stored(copied, "letter 8"):
        path.unlink()
    outcome = ask("rehearse", "--count", "100", "--drive", copied)
    lines = outcome.err.splitlines()
    assert (outcome.code, sorted(line.partition(" (")[0] for line in lines[:-1])) == (
        4, ["differs: Documents/3/letter 7", "missing: Documents/0/letter 8"]), outcome
    assert lines[-1].startswith("NOT OK - 2 of 31 files did not come back"), outcome
    listed = (copied / "box" / "damaged.txt").read_text()
    assert ["letter 7" in listed, "letter 8" in listed, "letter 9" in listed] == [True, True, False]
    assert history(copied)[-1]["damaged"] == 2
    assert list(temporary.iterdir()) == []


def test_a_newer_date_whose_lists_are_damaged_is_not_passed_over_in_silence(copied: Path, documents: Path, temporary: Path) -> None:
    assert ask("backup", "--set", "box", documents, copied).code == 0
    newest = dates(copied / "box")[-1]
    (copied / "box" / newest / "SHA256SUMS").write_text("?")
    (copied / "box" / "manifests" / f"{newest}.gz").write_text("?")
    outcome = ask("rehearse", "--drive", copied)
    assert (outcome.code, f"{newest} is newer, but its list is damaged" in outcome.err) == (3, True), outcome
    outcome = ask("status", "--drive", copied)
    assert (outcome.code, "1 newer date with damaged lists" in outcome.err) == (3, True), outcome


def changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[Meta], Meta]) -> None:
    """Let files be restored with other metadata than they should have."""
    real = snapback.write_restored
    monkeypatch.setattr(snapback, "write_restored", lambda fd, info, folder, name, meta, pulse: real(
        fd, info, folder, name, change(meta), pulse))


WRONG = {
    "its permissions did not come back": lambda meta: meta._replace(mode=meta.mode ^ 0o010),
    "its time did not come back": lambda meta: meta._replace(time=meta.time - 1),
}


@pytest.mark.parametrize("why", WRONG)
def test_metadata_that_does_not_come_back_is_a_failure(copied: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    changed(monkeypatch, WRONG[why])
    outcome = ask("rehearse", "--count", "3", "--drive", copied)
    assert (outcome.code, outcome.err.count(why)) == (4, 3), outcome
    assert not (copied / "box" / "damaged.txt").exists()     # nothing on the drive was found damaged


@pytest.mark.needs("linux")
def test_an_attribute_that_does_not_come_back_is_a_failure(
        documents: Path, drive: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        for path in documents.glob("*/letter*"):
            os.setxattr(path, "user.note", b"mine")
    except OSError:
        pytest.skip("this disk has no attributes")
    new_copy(drive, documents)
    assert ask("rehearse", "--count", "3", "--drive", drive).code == 0
    changed(monkeypatch, lambda meta: meta._replace(xattrs={}))
    outcome = ask("rehearse", "--count", "3", "--drive", drive)
    assert (outcome.code, outcome.err.count("its attribute user.note did not come back")) == (4, 3), outcome


@pytest.mark.needs("exfat")
def test_what_the_temporary_place_cannot_hold_is_said_and_no_failure(copied: Path, mounted: Callable[..., Mount]) -> None:
    place = mounted("exfat").path
    outcome = ask("rehearse", "--count", "100", "--to", place, "--drive", copied)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert ["could not hold the permissions of" in outcome.out, "could not hold the time of" in outcome.out] == [True, True], outcome
    assert list(place.iterdir()) == []


def test_the_folder_is_gone_also_after_an_interruption_at_any_moment(documents: Path, drive: Path, temporary: Path) -> None:
    new_copy(drive, documents)
    (temporary / "mine").mkdir()
    (temporary / "mine" / "file").write_text("mine")
    real, moments = snapback.Progress.expect, 0

    for moments in range(1, 200):
        left = [moments]

        def expect(self: Any, files: int, size: int, left: List[int] = left) -> Any:
            tell = real(self, files, size)

            def counted(done_files: int, done_bytes: int) -> None:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
                tell(done_files, done_bytes)
            return counted
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapback.Progress, "expect", expect)
            code = ask("rehearse", "--count", "5", "--jobs", "1", "--drive", drive).code
        assert [path.name for path in temporary.iterdir()] == ["mine"]
        if code == 0:
            break
        assert code == 130
    assert moments > 10
    assert (temporary / "mine" / "file").read_text() == "mine"
    assert len(history(drive)) == 1


@pytest.mark.needs("linux")
def test_whichever_call_fails_in_the_temporary_place_the_drive_is_untouched_and_what_is_left_there_is_said(
        documents: Path, drive: Path, temporary: Path) -> None:
    new_copy(drive, documents)
    for nth in itertools.count(1):
        hit = Hit(Fault(str(temporary), nth, errno.EIO))
        with watched(hit):
            outcome = ask("rehearse", "--count", "1", "--jobs", "1", "--drive", drive)
        left = list(temporary.iterdir())
        assert (outcome.code in {0, 1, 4}, all(str(path) in outcome.err for path in left)) == (True, True), outcome
        for path in left:
            shutil.rmtree(path)
        assert (drive / "box" / "damaged.txt").exists() is False
        if not hit.calls:
            break
    assert nth > 20
    assert ask("verify", "--drive", drive).code == 0


def test_a_place_without_room_is_said_and_nothing_is_made_there(
        copied: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = snapback.free_space
    monkeypatch.setattr(snapback, "free_space", lambda path: (1000, 10**9) if path == str(temporary) else real(path))
    outcome = ask("rehearse", "--drive", copied)
    assert (outcome.code, "are needed in" in outcome.err, "--to" in outcome.err) == (1, True, True), outcome
    assert (list(temporary.iterdir()), history(copied)) == ([], [])


def test_nothing_is_tried_on_the_drive_itself(copied: Path) -> None:
    (copied / "trial").mkdir()
    outcome = ask("rehearse", "--to", copied / "trial", "--drive", copied)
    assert (outcome.code, "on the drive itself" in outcome.err, list((copied / "trial").iterdir())) == (2, True, []), outcome


@pytest.mark.parametrize("wrong", ["nowhere", "a file"])
def test_a_place_that_is_no_folder_is_refused(copied: Path, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "a file").write_text("mine")
    outcome = ask("rehearse", "--to", tmp_path / wrong, "--drive", copied)
    assert (outcome.code, f"there is no folder {tmp_path / wrong}" in outcome.err, history(copied)) == (2, True, []), outcome


def test_a_copy_without_files_is_said_to_have_none(drive: Path, tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    new_copy(drive, "--allow-empty", tmp_path / "empty")
    outcome = ask("rehearse", "--drive", drive)
    assert (outcome.code, "nothing to try" in outcome.out, history(drive)) == (0, True, []), outcome


def test_a_result_that_cannot_be_noted_needs_attention(copied: Path, temporary: Path) -> None:
    (copied / "snapback-marker.txt").rename(copied / "marker")
    outcome = ask("rehearse", "--drive", copied)
    assert (outcome.code, "was not noted" in outcome.err, "OK - " in outcome.out) == (3, True, True), outcome
    assert history(copied) == []


def test_a_list_that_is_damaged_twice_is_no_rehearsal(documents: Path, drive: Path, temporary: Path) -> None:
    copy = new_copy(drive, documents)
    for path in (copy / "SHA256SUMS", drive / "box" / "manifests" / f"{copy.name}.gz"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    assert ask("rehearse", "--drive", drive).code in (2, 4)
    assert list(temporary.iterdir()) == []


def test_of_several_drives_one_that_is_damaged_does_not_hide_the_others(
        documents: Path, tmp_path: Path, home: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sections = []
    for name in ("BLUE", "RED"):
        (tmp_path / name).mkdir()
        new_copy(tmp_path / name, documents)
        marker = snapback.read_marker(snapback.Folder.top(str(tmp_path / name)))
        assert marker
        sections += [f"[drive {marker.id}]", f"label = {name}", f"path = {tmp_path / name}"]
    settings = tmp_path / "settings.ini"
    settings.write_text("\n".join(["[backup]", f"sources = {documents}", "set = box", *sections, ""]))
    for nth in range(30):
        spoil(tmp_path / "BLUE", f"letter {nth}")
    outcome = ask("rehearse", "--config", settings, "--json")
    facts = json.loads(outcome.out)
    assert (outcome.code, [(one["label"], one["exit_code"]) for one in facts["drives"]]) == (4, [("BLUE", 4), ("RED", 0)]), outcome


# --- The choice, and the estimate ------


def files(*sizes: int) -> Block:
    return Block("d", "# type=dir path=d", {
        f"{nth:04}": Known(f"# type=file mode=0644 size={size} time=1.0", "0" * 64 + f"  d/{nth:04}") for nth, size in enumerate(sizes)})


def test_each_file_is_as_likely_as_any_other() -> None:
    hits = dict.fromkeys((f"{nth:04}" for nth in range(10)), 0)
    chance = random.Random(7)
    for _ in range(3000):
        for one in draw_files([files(*range(10))], 3, chance)[0]:
            hits[one.name] += 1
    assert all(800 < count < 1000 for count in hits.values()), hits


def test_links_and_what_could_not_be_read_are_never_drawn() -> None:
    block = Block("", "", {"link": Known("# type=link link=a path=link"), "gone": Known("# type=skipped path=gone"),
                           **files(5).entries})
    assert [one.name for one in draw_files([block], 5, random.Random(1))[0]] == ["0000"]


def test_a_large_file_is_drawn_besides_by_which_speed_is_told() -> None:
    mib = 1 << 20
    drawn, large = draw_files([files(*[10] * 50, 3 * mib, 10**12)], 5, random.Random(3))
    assert (len(drawn), large and large.size) == (5, 3 * mib)
    assert draw_files([files(10, 10)], 5, random.Random(3))[1] is None


def test_no_more_is_read_than_is_affordable_but_for_a_single_file() -> None:
    def sampled(*sizes: int) -> List[Sampled]:
        return [Sampled("", "", str(nth), Known(""), size) for nth, size in enumerate(sizes)]
    assert [one.size for one in affordable(sampled(600, 500, 300, 200), 1000)] == [600, 300]
    assert [one.size for one in affordable(sampled(3000, 2000), 1000)] == [2000]
    assert affordable([], 1000) == []


def test_the_files_that_were_drawn_stand_in_the_order_of_a_list() -> None:
    def one(folder: str, name: str) -> Sampled:
        return Sampled(folder, f"# {folder}", name, Known(name), 0)
    blocks = list(blocks_of([one("b", "x"), one("a/b", "z"), one("a-b", "y"), one("a/b", "a"), one("", "top")]))
    assert [(block.path, list(block.entries)) for block in blocks] == [("", ["top"]), ("a/b", ["a", "z"]), ("a-b", ["y"]), ("b", ["x"])]


def test_the_estimate_counts_files_and_bytes_apart() -> None:
    assert full_time((20, 0, 2.0), (0, 0, 0.0), 1000, 0) == 100.0
    assert full_time((0, 0, 0.0), (1, 10**8, 1.0), 10, 10**10) == 100.0
    assert full_time((20, 0, 2.0), (1, 10**8, 1.1), 1000, 10**10) == 200.0


# --- What status says of it ------


def reminder(moment: datetime, drive: Path) -> List[str]:
    outcome = ask_at(moment, "status", "--drive", drive)
    return [line for line in outcome.out.splitlines() if line.startswith("Try a restore")]


def test_status_reminds_after_90_days_and_that_alone_is_no_trouble(documents: Path, drive: Path, temporary: Path) -> None:
    assert ask_at(DAY, "backup", "--init", "--set", "box", documents, drive).code == 0
    late = DAY + timedelta(days=91)
    assert ask_at(late, "backup", "--set", "box", documents, drive).code == 0
    assert reminder(DAY + timedelta(days=89), drive) == []
    assert reminder(late, drive) == [f"Try a restore {drive.name}: run snapback.py rehearse --drive {drive}"]
    assert ask_at(late, "status", "--drive", drive).code in (0, 3)
    spoil(drive, "letter 7")
    assert ask_at(late, "rehearse", "--count", "100", "--drive", drive).code == 4
    assert len(reminder(late, drive)) == 1, "files did not come back"
    facts = json.loads(ask_at(late, "status", "--json", "--drive", drive).out)
    assert facts["drives"][0]["rehearsed"] == ""
    assert ask_at(late, "backup", "--set", "box", documents, drive).code in (0, 3)
    assert ask_at(late, "rehearse", "--count", "100", "--drive", drive).code == 0
    assert reminder(late + timedelta(days=89), drive) == []
    assert len(reminder(late + timedelta(days=91), drive)) == 1
    assert "last trial" in ask_at(late, "status", "--drive", drive).out


def test_the_exit_code_of_status_is_the_same_with_the_reminder(documents: Path, drive: Path, temporary: Path) -> None:
    assert ask_at(DAY, "backup", "--init", "--set", "box", documents, drive).code == 0
    late = DAY + timedelta(days=100)
    assert ask_at(late, "backup", "--set", "box", documents, drive).code == 0
    before = ask_at(late, "status", "--drive", drive).code
    assert len(reminder(late, drive)) == 1
    assert ask_at(late, "rehearse", "--drive", drive).code == 0
    assert (ask_at(late, "status", "--drive", drive).code, reminder(late, drive)) == (before, [])
