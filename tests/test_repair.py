"""Copies that heal: what is damaged is replaced by what is proved good, from wherever it is; nothing good is harmed.

HEALINGS says how many random drives are damaged and healed (30), SEED where they begin (1).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple
from unittest import mock

import pytest

import snapback
from conftest import COARSE, MIB, Mount, User
from faults import Call, Fault, Hit, watched
from test_faults import counted, faults
from test_rotation import reseal
from test_verify import DAMAGES, grown, rewrite, rot
from trees import (
    Outcome,
    Twin,
    ask,
    dates,
    differences,
    later,
    new_copy,
    random_edit,
    random_tree,
    remove_tree,
    shown,
    text_of,
    twin,
    without,
)

pytestmark = pytest.mark.needs("linux")
TIMES = ("mtime_ns",)


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return grown(tmp_path / "src")


def back_up(source: Path, drive: Path, *more: str) -> Path:
    return new_copy(drive, *more, source)


class Mended(NamedTuple):
    code: int
    facts: Dict[str, Any]
    err: str

    @property
    def healed(self) -> List[str]:
        return [one["path"] for one in self.facts["healed"]]

    @property
    def left(self) -> List[str]:
        return [one["path"] for one in self.facts["left"]]

    @property
    def origins(self) -> Set[str]:
        return {one["from"] for one in self.facts["healed"]}


def repair(drive: Path, *more: object) -> Mended:
    outcome = ask("repair", "--json", "--drive", drive, "--set", "box", "--jobs", "1", *more)
    return Mended(outcome.code, json.loads(outcome.out), outcome.err)


def is_well(drive: Path) -> bool:
    return ask("verify", "--jobs", "1", "--drive", drive, "--set", "box").code == 0


def quarantined(drive: Path) -> List[str]:
    """Name what lies in the quarantine of a drive, but for its log; and see that the log explains each."""
    try:
        names = sorted(os.listdir(drive / "box" / "quarantine"))
    except FileNotFoundError:
        return []
    names = [name for name in names if name != "log.txt"]
    log = (drive / "box" / "quarantine" / "log.txt").read_text() if names else ""
    assert [name for name in names if f" {snapback.show(name)} was " not in log] == []
    return names


def whole(copy: Path) -> Twin:
    """Describe a dated copy; nobody needs the times of its list and of its own folder."""
    return {path: entry._replace(mtime_ns=0) if path in (b"SHA256SUMS", b".") else entry for path, entry in twin(copy).items()}


# --- What is damaged, and healed ------


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_was_damaged_is_as_it_was(source: Path, drive: Path, damage: str) -> None:
    """Content, times, modes, hard links; and what stood there instead is in the quarantine, whole."""
    path, do, should = DAMAGES[damage]
    copy = back_up(source, drive)
    before = whole(copy)
    do(copy / path)
    damaged = whole(copy)
    there = {(entry.kind, entry.content) for at, entry in damaged.items() if at in before and entry.content != before[at].content}
    mended = repair(drive)
    assert (mended.code, mended.left, mended.err.startswith("OK - healed: "), mended.err.count("\n")) == (0, [], True, 1)
    assert len(mended.healed) + len(mended.facts["lists"]) == len(should)
    assert differences(whole(copy), before) == []
    kept = {(entry.kind, entry.content) for entry in twin(drive / "box" / "quarantine").values()}
    assert there <= kept
    assert is_well(drive)
    again = repair(drive)
    assert (again.code, again.healed, again.facts["damaged"]) == (0, [], 0)


def test_a_link_in_a_folder_that_is_gone_is_named_and_made_anew(source: Path, drive: Path) -> None:
    (source / "folder" / "link").symlink_to("one")
    os.mkfifo(source / "folder" / "below" / "fifo")
    copy = back_up(source, drive)
    before = whole(copy)
    shutil.rmtree(copy / "src" / "folder")
    found = json.loads(ask("verify", "--json", "--drive", drive).out)["findings"]
    assert {"src/folder/link", "src/folder/below/fifo"} <= {one["path"] for one in found}
    mended = repair(drive)
    assert (mended.code, differences(whole(copy), before)) == (0, [])


@pytest.mark.parametrize("layout", ["complete", "changes"])
def test_what_dates_share_is_healed_for_all_of_them_and_is_shared_as_before(source: Path, drive: Path, layout: str) -> None:
    copies = [back_up(source, drive, "--layout", layout) for _ in range(3)]
    before = [whole(copy) for copy in copies]
    used = [inodes(copy) for copy in copies]
    rot(copies[0] / "src" / "photo")
    (copies[0] / "src" / "folder" / "two").unlink()
    mended = repair(drive)
    names = 3 if layout == "complete" else 1
    assert (mended.code, len(mended.healed)) == (0, names + 1)
    assert quarantined(drive) == sorted(f"{copy.name}__src__photo" for copy in copies[:names])
    assert [whole(copy) for copy in copies] == before
    assert [sorted(one) for one in shared(copies)] == [sorted(one) for one in shared_in(used)]
    assert {tuple(one["snapshots"]) for one in mended.facts["healed"] if "photo" in one["path"]} == (
        {(copy.name,) for copy in copies} if layout == "complete" else {tuple(copy.name for copy in reversed(copies))})


def inodes(copy: Path) -> Dict[str, int]:
    return {f"{copy.name}/{path.relative_to(copy)}": path.stat().st_ino
            for path in copy.rglob("*") if path.is_file() and not path.is_symlink() and path.parent != copy}


def shared_in(used: Sequence[Dict[str, int]]) -> List[Set[str]]:
    groups: Dict[int, Set[str]] = {}
    for one in used:
        for path, inode in one.items():
            groups.setdefault(inode, set()).add(path)
    return sorted(groups.values(), key=min)


def shared(copies: Sequence[Path]) -> List[Set[str]]:
    """Give which files of some dated copies are one."""
    return shared_in([inodes(copy) for copy in copies])


def test_one_date_is_asked_for_and_the_names_that_others_have_for_the_bad_file_are_healed_as_well(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive) for _ in range(3)]
    rot(copies[0] / "src" / "photo")
    rot(copies[0] / "src" / "letter")
    before = shared(copies)
    mended = repair(drive, copies[1].name)
    assert (mended.code, len(mended.healed), is_well(drive), shared(copies)) == (0, 9, True, before)


def test_what_is_put_back_takes_no_more_room_than_before_but_shares_nothing_with_a_fresh_date(source: Path, drive: Path) -> None:
    first, second = back_up(source, drive), back_up(source, drive)
    with later(10):
        third = back_up(source, drive, "--fresh")
    before = shared([first, second, third])
    shutil.rmtree(first / "src" / "folder")
    (third / "src" / "photo").unlink()
    mended = repair(drive)
    assert (mended.code, shared([first, second, third]), is_well(drive)) == (0, before, True)


def test_two_files_of_one_content_never_become_one(source: Path, drive: Path) -> None:
    for name in ("twin 1", "twin 2", "twin 3"):
        (source / name).write_bytes(b"the same bytes")
    copy = back_up(source, drive)
    before = shared([copy])
    (copy / "src" / "twin 1").unlink()
    (copy / "src" / "twin 2").unlink()
    rot(copy / "src" / "twin 3")
    mended = repair(drive)
    assert (mended.code, shared([copy]), len(mended.healed)) == (0, before, 3)


@pytest.mark.parametrize("layout", ["complete", "changes"])
@pytest.mark.parametrize("gone", ["a", "ab"])
def test_a_file_that_comes_back_is_not_made_one_with_what_has_another_name_in_its_date(
        source: Path, drive: Path, layout: str, gone: str) -> None:
    """The second date's `b` is the first one's `a`, moved; the third has both, as two files."""
    (source / "a").write_bytes(b"hello")
    os.utime(source / "a", (10**9, 10**9))
    copies = [back_up(source, drive, "--layout", layout)]
    (source / "a").rename(source / "b")
    copies.append(back_up(source, drive))
    shutil.copy2(source / "b", source / "a")
    copies.append(back_up(source, drive))
    for name in gone:
        with contextlib.suppress(FileNotFoundError):
            (copies[2] / "src" / name).unlink()
    assert repair(drive).code == 0
    stored = [copies[2] / "src" / name for name in "ab"]
    if layout == "changes":
        stored[1] = copies[0] / "src" / "a"
    assert ([path.read_bytes() for path in stored], os.path.samefile(*stored)) == ([b"hello", b"hello"], False)
    assert is_well(drive)


def test_an_empty_file_needs_no_good_copy(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    remove_tree(source)
    (copy / "src" / "nothing").write_bytes(b"something")
    mended = repair(drive)
    assert (mended.code, mended.origins, is_well(drive)) == (0, {"nothing, as an empty file"}, True)


# --- Where good copies are found ------


def other_date(world: World) -> Sequence[object]:
    world.away()
    back_up(world.source, world.drive, "--fresh")
    world.gone()
    return ()


def other_set(world: World) -> Sequence[object]:
    assert ask("backup", "--set", "other", world.source, world.drive).code == 0
    world.gone()
    return ()


def settings_drive(world: World) -> Sequence[object]:
    outcome = ask("backup", "--init", "--set", "theirs", world.source, world.other)
    assert outcome.code == 0, outcome
    ids = [re.findall(r"\b[0-9a-f]{32}\b", (one / "snapback-marker.txt").read_text())[0] for one in (world.drive, world.other)]
    settings = world.drive.parent / "settings.ini"
    settings.write_text(f"[backup]\nsources = /nowhere\n[drive {ids[0]}]\npath = {world.drive}\n[drive {ids[1]}]\npath = {world.other}\n")
    world.gone()
    return ["--config", settings]


def named_drive(world: World) -> Sequence[object]:
    back_up(world.source, world.other)
    world.gone()
    return ["--from", world.other]


def named_set(world: World) -> Sequence[object]:
    back_up(world.source, world.other)
    (world.other / "snapback-marker.txt").unlink()
    world.gone()
    return ["--from", world.other / "box"]


class World(NamedTuple):
    source: Path
    drive: Path
    other: Path

    def away(self) -> None:
        """Let the next date have another source of the same name."""

    def gone(self) -> None:
        remove_tree(self.source)


PLACES: Dict[str, Tuple[Callable[[World], Sequence[object]], str]] = {
    "another date": (other_date, "the copy of 20"),
    "another set": (other_set, "on drive"),
    "a drive of the settings": (settings_drive, "on other"),
    "a drive that is named": (named_drive, "on other"),
    "a set that is named": (named_set, "other/box"),
    "the source": (lambda _world: (), "the source, "),
}


@pytest.mark.parametrize("place", PLACES)
def test_good_copies_are_found_wherever_they_are(source: Path, drive: Path, place: str) -> None:
    prepare, origin = PLACES[place]
    other = drive.with_name("other")
    other.mkdir()
    copy = back_up(source, drive)
    before = whole(copy)
    more = prepare(World(source, drive, other))
    rot(copy / "src" / "photo")
    shutil.rmtree(copy / "src" / "folder" / "below")
    outside = twin(other)
    plan = repair(drive, "-n", *more)
    assert (plan.code, len(plan.healed), plan.left) == (4, 3, [])
    mended = repair(drive, *more)
    assert (mended.code, mended.healed, mended.origins) == (0, plan.healed, plan.origins)
    assert all(origin in one for one in mended.origins - {"the list"}), mended.origins
    assert (differences(whole(copy), before), is_well(drive)) == ([], True)
    assert differences(twin(other), outside) == []


CLAIMS = {
    "other bytes": "photo",
    "a file where a folder is": "folder",
    "a file where a link is": "link",
    "a file below a file": "photo/below",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_one_list_has_good_is_not_replaced_by_what_another_one_says(source: Path, drive: Path, claim: str) -> None:
    """A forged list of the second date says that what is in `deep` lies where the first date has something else."""
    first, second = (back_up(source, drive, "--layout", "changes") for _ in range(2))
    real = f"  ../{first.name}/src/folder/below/deep\n".encode()
    forged = f"  ../{first.name}/src/{CLAIMS[claim]}\n".encode()

    def forge(text: bytes) -> bytes:
        meta, digest = re.findall(rb"(# type=file .*)\n(.{64})" + re.escape(real), text)[0]
        assert (text.count(digest + real), b" path=" in meta) == (1, False)
        return text.replace(meta + b"\n" + digest + real, meta + b" path=src/folder/below/deep\n" + digest + forged)

    reseal(second / "SHA256SUMS", forge)
    before = twin(first)
    mended = repair(drive)
    assert (mended.code, mended.healed, mended.left) == (4, [], [f"{first.name}/src/{CLAIMS[claim]}"])
    assert "two lists contradict each other" in mended.facts["left"][0]["why"]
    assert (differences(twin(first), before), quarantined(drive)) == ([], [])


def test_what_is_good_nowhere_is_named_and_left_as_it_is(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive), back_up(source, drive)]
    remove_tree(source)
    rot(copies[0] / "src" / "photo")
    (copies[0] / "src" / "folder" / "two").unlink()
    (copies[1] / "src" / "folder" / "two").unlink()
    (copies[1] / "src" / "letter").unlink()
    before = twin(copies[0])
    outcome = ask("repair", "--drive", drive)
    named = [f"{copy.name}/src/{name}" for copy in copies for name in ("folder/two", "photo")]
    assert outcome.code == 4
    assert sorted(re.findall(r"^not healed: (\S+): .*no good copy of it was found$", outcome.err, re.MULTILINE)) == sorted(named)
    assert "4 damaged entries could not be healed; good copies were looked for in the other dates and the source" in outcome.err
    assert "healed: 1 file" in outcome.err
    assert quarantined(drive) == []
    assert [one for one in differences(twin(copies[0]), before) if "letter" not in one] == []
    assert (drive / "box" / "damaged.txt").read_text().count("/src/") == 4


LIES: Dict[str, Callable[[Path], object]] = {
    "other bytes, same size and time": rot,
    "a symbolic link to good bytes": lambda path: (path.rename(path.with_name("good")), path.symlink_to("good")),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "gone": os.unlink,
}


@pytest.mark.parametrize("lie", LIES)
def test_only_a_file_with_the_very_bytes_is_believed(source: Path, drive: Path, lie: str) -> None:
    """The source has something else by that name; in a date that nobody damaged is the right file, and it is found after that."""
    copy = back_up(source, drive)
    LIES[lie](source / "photo")
    rot(copy / "src" / "photo")
    before = twin(copy)
    mended = repair(drive)
    assert (mended.code, mended.left, quarantined(drive)) == (4, [f"{copy.name}/src/photo"], [])
    assert differences(twin(copy), before) == []
    assert [name for name in os.listdir(drive / "box" / "quarantine") if name.startswith(".")] == []


def test_what_another_date_has_is_not_believed_either(source: Path, drive: Path) -> None:
    first, second = back_up(source, drive), back_up(source, drive, "--fresh")
    remove_tree(source)
    for copy in (first, second):
        rot(copy / "src" / "photo")
    before = twin(second)
    mended = repair(drive, second.name)
    assert (mended.code, mended.left, quarantined(drive)) == (4, [f"{second.name}/src/photo"], [])
    assert differences(twin(second), before) == []


def test_what_has_another_size_is_not_read_in_the_quarantine(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    good = (source / "photo").read_bytes()
    remove_tree(source)
    rot(copy / "src" / "photo")
    quarantine = drive / "box" / "quarantine"
    quarantine.mkdir()
    for name, content in (("right", good), ("long", good + b"x")):
        (quarantine / f".repair-{name}").write_bytes(content)
    read = set()

    def note(call: Call) -> None:
        if call.name == "open" and "/.repair-" in call.path:
            read.add(os.path.basename(call.path))

    with watched(note):
        mended = repair(drive, copy.name)
    assert (mended.code, read & {".repair-right", ".repair-long"}) == (0, {".repair-right"})


def test_nothing_from_outside_the_set_is_written_to_the_drive_before_its_bytes_are_known(source: Path, drive: Path) -> None:
    """A forged list can name any file of this computer, with its size."""
    copy = back_up(source, drive)
    rot(source / "photo")
    (copy / "src" / "photo").unlink()
    written = []

    def note(call: Call) -> None:
        if call.name == "open" and ".healed." in call.path:
            written.append(call.path)

    with watched(note):
        mended = repair(drive)
    assert (mended.code, mended.left, mended.facts["searched"]) == (4, [f"{copy.name}/src/photo"], ["the other dates", "the source"])
    assert written == []


@pytest.mark.parametrize("place", ["{name}", "{path}/../{name}", "/{path}"])
def test_a_source_that_a_forged_list_has_elsewhere_is_not_read(
        source: Path, drive: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Below the working folder, or on another computer: two slashes lead there on Windows."""
    copy = back_up(source, drive)
    monkeypatch.chdir(source.parent)
    forged = place.format(name=source.name, path=source)
    reseal(copy / "SHA256SUMS", lambda text: text.replace(json.dumps(str(source)).encode(), json.dumps(forged).encode(), 1))
    rot(copy / "src" / "photo")
    assert os.path.samefile(forged, source)
    mended = repair(drive)
    assert (mended.code, mended.left, mended.facts["searched"]) == (4, [f"{copy.name}/src/photo"], ["the other dates"])


def test_the_source_of_another_computer_is_not_read(source: Path, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    monkeypatch.setattr(snapback, "machine_id", lambda: "another")
    mended = repair(drive)
    assert (mended.code, mended.facts["searched"]) == (4, ["the other dates"])


def test_a_place_that_is_no_drive_is_said_before_anything_is_read(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(drive)
    outcome = ask("repair", "--drive", drive, "--from", drive.with_name("nowhere"))
    assert (outcome.code, outcome.err.count("\n"), "nowhere" in outcome.err) == (75, 1, True)
    assert differences(twin(drive), before) == []


# --- Lists ------


def test_second_lists_are_made_anew_and_lists_put_back(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive) for _ in range(4)]
    lists = [(copy / "SHA256SUMS").read_bytes() for copy in copies]
    twins = drive / "box" / "manifests"
    (copies[0] / "SHA256SUMS").write_bytes(lists[0][:-20])
    (twins / f"{copies[1].name}.gz").write_bytes(b"damaged")
    (twins / f"{copies[2].name}.gz").unlink()
    plan = repair(drive, "-n")
    assert (plan.code, plan.facts["lists"], plan.facts["second_lists"]) == (4, [copies[0].name], [copies[1].name, copies[2].name])
    mended = repair(drive)
    assert (mended.code, mended.facts["lists"], mended.facts["second_lists"]) == (0, [copies[0].name], [copies[1].name, copies[2].name])
    assert [(copy / "SHA256SUMS").read_bytes() for copy in copies] == lists
    assert [gzip.decompress((twins / f"{copy.name}.gz").read_bytes()) for copy in copies] == lists
    assert quarantined(drive) == [f"{copies[0].name}__SHA256SUMS"]
    assert (drive / "box" / "quarantine" / f"{copies[0].name}__SHA256SUMS").read_bytes() == lists[0][:-20]


def test_a_date_whose_two_lists_are_damaged_is_named_and_left_alone(source: Path, drive: Path) -> None:
    copy, other = back_up(source, drive), back_up(source, drive)
    (copy / "SHA256SUMS").write_bytes(b"nothing")
    (drive / "box" / "manifests" / f"{copy.name}.gz").write_bytes(b"nothing")
    before = twin(copy)
    mended = repair(drive)
    assert (mended.code, mended.left, mended.facts["lists"], quarantined(drive)) == (4, [f"{copy.name}/SHA256SUMS"], [], [])
    assert differences(twin(copy), before) == []
    assert differences(twin(other / "src"), twin(source)) == []


def test_a_list_is_put_back_only_by_a_second_one_that_proves_itself(source: Path, drive: Path) -> None:
    """It unpacks well, but it is not what was written."""
    copy, _other = back_up(source, drive), back_up(source, drive)
    text = (copy / "SHA256SUMS").read_bytes()
    (copy / "SHA256SUMS").unlink()
    (drive / "box" / "manifests" / f"{copy.name}.gz").write_bytes(gzip.compress(text.replace(b"mode=0644", b"mode=0666", 1)))
    mended = repair(drive)
    assert (mended.code, mended.left, (copy / "SHA256SUMS").exists()) == (4, [f"{copy.name}/SHA256SUMS"], False)


def test_a_second_list_that_rots_after_it_was_read_puts_nothing_in_the_place_of_the_first(source: Path, drive: Path) -> None:
    copy, _other = back_up(source, drive), back_up(source, drive)
    second = drive / "box" / "manifests" / f"{copy.name}.gz"
    (copy / "SHA256SUMS").write_bytes(b"damaged")
    text = gzip.decompress(second.read_bytes())

    def spoil(call: Call) -> None:
        if call.name == "mkdir" and call.path.endswith("quarantine"):
            second.write_bytes(gzip.compress(text.replace(b"mode=0644", b"mode=0666", 1)))

    with watched(spoil):
        mended = repair(drive)
    assert (mended.code, mended.left, quarantined(drive)) == (4, [f"{copy.name}/SHA256SUMS"], [])
    assert (copy / "SHA256SUMS").read_bytes() == b"damaged"


# --- What is not healed ------


def test_a_dated_folder_that_is_gone_is_named_and_not_made_anew(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive, "--layout", "changes") for _ in range(2)]
    shutil.rmtree(copies[0])
    mended = repair(drive)
    assert (mended.code, mended.healed, copies[0].exists()) == (4, [], False)
    assert copies[0].name in mended.left
    assert f"{copies[0].name}/src/photo" in mended.left


def test_a_passing_error_of_reading_is_no_damage(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    before = twin(copy)
    reads = itertools.count()

    def refuse_once(call: Call) -> None:
        if call.name == "open" and call.path == str(copy / "src" / "photo") and next(reads) == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO), call.path)

    with watched(refuse_once):
        mended = repair(drive)
    assert (mended.code, mended.healed, mended.facts["good_now"]) == (0, [], [f"{copy.name}/src/photo"])
    assert (differences(twin(copy), before), quarantined(drive)) == ([], [])
    assert not (drive / "box" / "damaged.txt").exists()


def test_a_list_that_can_be_read_again_is_left_alone(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    before, later_on = twin(copy), []  # type: Twin, List[bool]

    def refuse(call: Call) -> None:
        later_on.extend([True] * ("quarantine" in call.path))
        if call.name == "open" and call.path.endswith(f"{copy.name}/SHA256SUMS") and not later_on:
            raise OSError(errno.EIO, os.strerror(errno.EIO), call.path)

    with watched(refuse):
        mended = repair(drive)
    assert (mended.code, mended.facts["lists"], mended.facts["good_now"]) == (0, [], [f"{copy.name}/SHA256SUMS"])
    assert (differences(twin(copy), before), quarantined(drive)) == ([], [])


def test_where_the_good_one_cannot_be_put_the_bad_one_stays(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(copy)
    refusals = iter(range(1))

    def refuse(call: Call) -> None:
        if call.name == "link" and call.path.endswith("/src/photo") and next(refusals, None) is not None:
            raise OSError(errno.EDOM, os.strerror(errno.EDOM), call.path)

    with watched(refuse):
        mended = repair(drive)
    assert (mended.code, mended.left, quarantined(drive)) == (4, [f"{copy.name}/src/photo"], [])
    assert differences(twin(copy), before, ignoring=["group"]) == []


@pytest.mark.parametrize("name", ["src/photo", "SHA256SUMS"])
def test_what_this_user_may_not_read_is_not_taken_for_damaged(source: Path, drive: Path, name: str) -> None:
    copy = back_up(source, drive)
    before = twin(copy)

    def refuse(call: Call) -> None:
        if call.name == "open" and call.path.endswith(f"{copy.name}/{name}"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), call.path)

    with watched(refuse):
        mended = repair(drive)
    assert (mended.code, mended.left, mended.facts["left"][0]["why"].startswith("Permission denied")) == (4, [f"{copy.name}/{name}"], True)
    assert (differences(twin(copy), before), quarantined(drive)) == ([], [])


def test_what_was_put_in_the_place_meanwhile_is_not_written_over(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    place = copy / "src" / "photo"
    place.unlink()

    def be_quicker(call: Call) -> None:
        if call.name == "link" and call.path == str(place):
            place.write_bytes(b"mine")

    with watched(be_quicker):
        mended = repair(drive)
    assert (mended.code, mended.left, place.read_bytes()) == (4, [f"{copy.name}/src/photo"], b"mine")


def test_a_good_copy_that_the_drive_does_not_give_back_replaces_nothing(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(copy)

    def spoil(call: Call) -> None:
        if call.name == "fsync" and ".healed." in call.path:
            with open(call.path, "r+b") as file:
                file.write(b"other bytes")

    with watched(spoil):
        outcome = ask("repair", "--drive", drive)
    assert (outcome.code, outcome.err.count("\n"), "did not give back what had just been written" in outcome.err) == (1, 1, True)
    assert (differences(twin(copy), before), quarantined(drive)) == ([], [])


def test_what_is_not_right_in_its_place_is_not_called_healed(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    place = copy / "src" / "photo"
    place.unlink()
    waiting = [place]

    def spoil(call: Call) -> None:
        if call.name == "fsync" and call.path == str(place.parent) and waiting and place.exists():
            rewrite(waiting.pop(), b"x" * 5000)

    with watched(spoil):
        mended = repair(drive)
    assert (mended.code, mended.healed, mended.left) == (4, [], [f"{copy.name}/src/photo"])


# --- What is written, and when ------


def test_without_damage_nothing_is_written_but_a_line_of_the_history(source: Path, drive: Path) -> None:
    back_up(source, drive)
    before = twin(drive)
    outcome = ask("repair", "--drive", drive)
    assert (outcome.code, outcome.err, "OK - nothing is damaged" in outcome.out) == (0, "", True)
    changed = {line.partition(":")[0] for line in differences(twin(drive), before, ignoring=TIMES)}
    assert changed - {"GET-FILES-BACK.html", "READ-ME-FIRST.txt"} == {"box/history.jsonl"}  # these two tell when all was read
    last = json.loads((drive / "box" / "history.jsonl").read_text().splitlines()[-1])
    assert (last["what"], last["healed"], last["left"]) == ("repair", 0, 0)


def test_a_trial_writes_nothing_at_all(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive) for _ in range(2)]
    (copies[0] / "SHA256SUMS").unlink()
    (copies[0] / "src" / "link").unlink()
    shutil.rmtree(copies[1] / "src" / "folder")
    rot(copies[0] / "src" / "photo")
    before = twin(drive)
    plan = repair(drive, "-n")
    assert (plan.code, plan.left, plan.facts["dry_run"], plan.facts["quarantine"]) == (4, [], True, None)
    assert differences(twin(drive), before) == []
    outcome = ask("repair", "-n", "--drive", drive)
    assert (outcome.out.count("would be "), "nothing was changed" in outcome.err) == (len(plan.healed) + 1, True)


def test_the_list_of_damage_is_brought_up_to_date(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive), back_up(source, drive)]
    for name in ("photo", "letter"):
        rot(copies[0] / "src" / name)
    assert not is_well(drive)
    (source / "letter").write_bytes(b"another letter")
    assert repair(drive, copies[1].name).code == 4
    listed = (drive / "box" / "damaged.txt").read_text()
    assert ("/src/photo" in listed, listed.count("letter\n"), listed.count("#")) == (False, 4, 2)
    for copy in copies:
        shutil.rmtree(copy / "src" / "folder")
    (source / "letter").write_bytes(text_of("letter", 5000))
    assert repair(drive).code == 0
    assert not (drive / "box" / "damaged.txt").exists()


def test_damage_that_was_found_before_a_repair_stopped_is_not_forgotten(source: Path, drive: Path) -> None:
    """The next dated copy shares no bad file, and says so, though nothing could be healed."""
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")

    def be_full(call: Call) -> None:
        if call.name == "open" and ".healed." in call.path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), call.path)

    with watched(be_full):
        stopped = ask("repair", "--drive", drive)
    assert (stopped.code, "is full" in stopped.err) == (1, True)
    assert (drive / "box" / "damaged.txt").read_text().count("/src/photo\n") == 1
    last = json.loads((drive / "box" / "history.jsonl").read_text().splitlines()[-1])
    assert (last["what"], last["damaged"], last["healed"], last["complete"]) == ("repair", 1, 0, False)
    new = back_up(source, drive)
    assert (new / "src" / "photo").read_bytes() == (source / "photo").read_bytes()


def test_a_set_that_somebody_reads_is_not_repaired_and_that_is_said_at_once(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(copy)
    opened: List[Call] = []
    fd = os.open(drive / "box", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        with watched(lambda call: opened.append(call) if call.path.endswith("/src/photo") else None):
            outcome = ask("repair", "--jobs", "1", "--drive", drive)
        assert (outcome.code, outcome.err.count("\n"), "somebody is reading" in outcome.err) == (11, 1, True)
        assert ask("repair", "-n", "--drive", drive).code == 4
    finally:
        os.close(fd)
    assert (differences(twin(copy), before), quarantined(drive), opened) == ([], [], [])


def test_a_set_on_which_another_run_works_is_not_repaired(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(drive)
    with open(drive / "box" / "lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = ask("repair", "--drive", drive)
    assert (outcome.code, outcome.err.count("\n")) == (11, 1)
    assert differences(twin(drive), before) == []


def test_who_begins_to_read_while_it_reads_puts_the_healing_off(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(copy)
    readers: List[int] = []

    def read_too(call: Call) -> None:
        if call.name == "open" and call.path == str(copy / "src" / "letter") and not readers:
            readers.append(os.open(drive / "box", os.O_RDONLY))
            fcntl.flock(readers[0], fcntl.LOCK_SH | fcntl.LOCK_NB)

    with watched(read_too):
        outcome = ask("repair", "--jobs", "1", "--drive", drive)
    os.close(readers[0])
    assert (outcome.code, differences(twin(copy), before), quarantined(drive)) == (11, [], [])


def test_who_comes_while_it_heals_is_told_so(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    told: List[Outcome] = []

    def come(call: Call) -> None:
        if call.name == "replace" and "quarantine" in call.path and not told:
            with mock.patch.object(snapback, "os", os):
                told.extend(ask(command, "--jobs", "1", "--drive", drive) for command in ("verify", "repair"))

    with watched(come):
        assert repair(drive).code == 0
    assert [outcome.code for outcome in told] == [11, 11]
    assert "damaged files healed" in told[0].err


@pytest.mark.parametrize("trial", [(), ("-n",)])
def test_without_its_marker_a_drive_is_absent(source: Path, drive: Path, trial: Sequence[str]) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    (drive / "snapback-marker.txt").unlink()
    before = twin(drive)
    outcome = ask("repair", "--drive", drive, *trial)
    assert (outcome.code, outcome.err.count("\n")) == (75, 1)
    assert differences(twin(drive), before) == []


def test_a_drive_that_is_swapped_meanwhile_is_not_written_to(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    before = twin(copy)

    def swap(call: Call) -> None:
        if call.name == "fsync" and ".healed." in call.path:
            marker = drive / "snapback-marker.txt"
            marker.write_text(re.sub(r"[0-9a-f]{32}", "0" * 32, marker.read_text()))

    with watched(swap):
        outcome = ask("repair", "--drive", drive)
    assert (outcome.code, "went away" in outcome.err) == (1, True)
    assert differences(twin(copy), before) == []


def test_the_set_of_another_computer_is_refused_unless_it_is_named(source: Path, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(source, drive)
    monkeypatch.setattr(snapback, "machine_id", lambda: "another")
    assert [ask("repair", "--drive", drive, *more).code for more in ((), ("--set", "box"))] == [2, 0]


# --- The quarantine, and what comes after ------


def test_the_quarantine_is_passed_over_by_everything_else(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    (copy / "src" / "letter").unlink()
    (copy / "src" / "letter").mkdir()
    (copy / "src" / "letter" / "inside").write_bytes(b"by a person")
    assert repair(drive).code == 0
    kept = twin(drive / "box" / "quarantine")
    assert (kept[b"."].mode, kept[f"{copy.name}__src__letter/inside".encode()].size) == (0o700, 11)
    assert is_well(drive)
    listed = json.loads(ask("list", "--json", "--drive", drive).out)["snapshots"]
    assert [one["damaged"] for one in listed] == [0]
    new = back_up(source, drive)
    assert os.path.samefile(new / "src" / "photo", copy / "src" / "photo")
    assert ask("rotate", "--keep-last", "1", "--drive", drive).code == 0
    assert (dates(drive / "box"), is_well(drive)) == ([new.name], True)
    assert differences(twin(drive / "box" / "quarantine"), kept) == []


@pytest.mark.needs("root")
def test_what_root_heals_for_somebody_does_not_lock_them_out(ordinary_user: User) -> None:
    with ordinary_user.acting():
        source, drive = grown(ordinary_user.home / "src"), ordinary_user.home / "drive"
        drive.mkdir()
        copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    assert repair(drive).code == 0
    made = [drive / "box" / "quarantine", drive / "box" / "quarantine" / "log.txt"]
    assert [(path.stat().st_uid, path.stat().st_gid) for path in made] == 2 * [(ordinary_user.uid, ordinary_user.gid)]
    with ordinary_user.acting():
        rot(copy / "src" / "letter")
        assert repair(drive).code == 0


def test_a_file_that_was_healed_twice_is_kept_twice(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    for content in (b"1", b"2"):
        rewrite(copy / "src" / "photo", content)
        assert repair(drive).code == 0
    folder = drive / "box" / "quarantine"
    assert sorted((folder / name).read_bytes() for name in quarantined(drive)) == [b"1", b"2"]


def test_a_disk_that_spoils_files_is_news_also_for_who_wants_to_hear_no_good_ones(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    assert ask("repair", "-q", "--drive", drive) == (0, "", "")
    (copy / "src" / "photo").unlink()
    outcome = ask("repair", "-q", "--drive", drive)
    assert outcome == (0, "", "OK - healed: 1 file\n")
    (twin_list,) = (drive / "box" / "manifests").iterdir()
    twin_list.write_bytes(b"?")
    assert ask("repair", "-q", "--drive", drive) == (0, "", "OK - healed: 1 second list\n")


def test_what_the_drive_may_not_have_kept_is_not_noted_as_healed_for_good(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    (copy / "src" / "photo").unlink()
    hit = Hit(Fault(str(drive), 1, errno.EIO, {"syncfs"}))
    with watched(hit):
        outcome = ask("repair", "--jobs", "1", "--drive", drive)
    assert (outcome.code, len(hit.calls)) == (1, 1), outcome
    assert json.loads((drive / "box" / "history.jsonl").read_text().splitlines()[-1])["complete"] is False


def test_status_needs_attention_while_older_dates_are_damaged(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rewrite(source / "photo", b"other bytes")
    back_up(source, drive)
    rot(copy / "src" / "photo")
    assert ask("verify", "--drive", drive).code == 4
    outcome = ask("status", "--drive", drive)
    assert (outcome.code, "damage was found in its copies: run: snapback.py repair" in outcome.err) == (3, True), outcome


def test_verify_says_how_to_heal_and_the_report_says_what_was_done(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive) for _ in range(2)]
    (copies[0] / "src" / "photo").unlink()
    outcome = ask("verify", "--drive", drive)
    words = re.findall(r"run: snapback\.py (repair [^;\n]*)", outcome.err)[0].split()
    outcome = ask(*words)
    assert outcome.code == 0
    assert outcome.out.splitlines()[1:] == [f"healed: {copies[0].name}/src/photo from the copy of {copies[1].name}"]
    assert outcome.err == "OK - healed: 1 file\n"
    rot(copies[0] / "src" / "photo")
    outcome = ask("repair", copies[1].name[:13], "--drive", drive)
    assert (outcome.code, outcome.out.count(" from the source, "), f"lies in {drive}/box/quarantine" in outcome.err) == (0, 2, True)


# --- Killed, and faults ------


class KilledError(BaseException):
    """The process is no more: nothing that it would do afterwards reaches the disk."""


CHANGING = {"mkdir", "unlink", "rmdir", "chmod", "chown", "utime", "mknod", "symlink", "link", "replace", "rename", "setxattr",
            "write", "truncate", "ftruncate"}  # fmt: skip


def killed_at(nth: int, folder: Path) -> Callable[[Call], None]:
    """Give a hook that ends the process before the nth call that changes something below a folder."""
    met = itertools.count(1)
    dead: List[bool] = []

    def hook(call: Call) -> None:
        creates = call.name == "open" and call.flags & (os.O_CREAT | os.O_WRONLY)
        if dead or ((creates or call.name in CHANGING) and call.path.startswith(str(folder)) and next(met) == nth):
            dead.append(True)
            if call.name != "close":
                raise KilledError

    return hook


def interrupted(nth: int, drive: Path, *words: object) -> bool:
    """Run a repair that is killed at some call; False if it ended before."""
    import gc

    try:
        with watched(killed_at(nth, drive)):
            repair(drive, *words)
        return False
    except KilledError:
        return True
    finally:
        gc.collect()  # a process that is dead holds no locks


class Hurt(NamedTuple):
    """A drive with all kinds of damage, kept aside to start from; what it was before."""

    source: Path
    drive: Path
    aside: Path
    before: Dict[str, Twin]
    contents: Set[bytes]

    def start(self) -> None:
        remove_tree(self.drive)
        subprocess.run(["cp", "-a", str(self.aside), str(self.drive)], check=True)

    def complaints(self) -> List[str]:
        """Say what of the dated copies is not as it was before the damage."""
        copies = [self.drive / "box" / date for date in dates(self.drive / "box")]
        return [f"{copy.name}: {line}" for copy in copies for line in differences(whole(copy), self.before[copy.name])]

    def lost(self) -> Set[bytes]:
        """Give the hashes of what was on the drive after the damage and is not any more."""
        return self.contents - contents_of(self.drive / "box", everywhere=True)


def contents_of(a_set: Path, everywhere: bool) -> Set[bytes]:
    """Give the hashes of all files of a set, or of those in its dated folders."""
    folders = [a_set] if everywhere else [a_set / date for date in dates(a_set)]
    return {entry.content for folder in folders for entry in twin(folder).values() if entry.kind == "file"}


@pytest.fixture(params=["complete", "changes"])
def hurt(request: pytest.FixtureRequest, source: Path, drive: Path) -> Hurt:
    with later(10):
        copies = [back_up(source, drive, "--layout", request.param)]
    (source / "new").write_bytes(b"new")
    for ahead in (20, 30):
        with later(ahead):
            copies.append(back_up(source, drive, "--layout", request.param))
    before = {copy.name: whole(copy) for copy in copies}
    rot(copies[0] / "src" / "photo")
    os.truncate(copies[1] / "src" / "new", 1)
    shutil.rmtree(copies[0] / "src" / "folder")
    (copies[0] / "src" / "fifo").unlink(missing_ok=True)
    os.truncate(copies[1] / "SHA256SUMS", 300)
    (drive / "box" / "manifests" / f"{copies[2].name}.gz").unlink()
    aside = drive.with_name("aside")
    subprocess.run(["cp", "-a", str(drive), str(aside)], check=True)
    return Hurt(source, drive, aside, before, contents_of(drive / "box", everywhere=False))


def test_killed_at_any_moment_nothing_is_lost_and_the_next_repair_heals_all(hurt: Hurt) -> None:
    for nth in itertools.count(1, 3 if COARSE else 1):
        hurt.start()
        killed = interrupted(nth, hurt.drive)
        assert (nth, hurt.lost()) == (nth, set())
        mended = repair(hurt.drive)
        assert (nth, mended.code, mended.left) == (nth, 0, [])
        assert (nth, but_for_times(hurt.complaints()), hurt.lost()) == (nth, [], set())
        papers = ("READ-ME-FIRST.txt.incomplete", "GET-FILES-BACK.html.incomplete")  # which the next backup removes
        assert not [path for path in hurt.drive.rglob("*") if path.name.startswith(".") and not path.name.endswith(papers)]
        if not killed:
            break
    assert nth > 40


def but_for_times(complaints: Sequence[str]) -> List[str]:
    """Leave out the times and modes of folders: killed between a file and its folder's time, nobody knows that they are off."""
    return [line for line in complaints if not re.search(r": src(/folder|/folder/below)?: (mtime_ns|mode) is ", line)]


def test_killed_when_the_only_good_copy_is_in_the_quarantine_it_is_found_there_whichever_date_comes_first(
    source: Path, drive: Path
) -> None:
    copies = [back_up(source, drive), back_up(source, drive, "--fresh")]
    (source / "photo").write_bytes(b"another photo")
    unharmed = back_up(source, drive)
    for copy in copies:
        (copy / "src" / "photo").unlink()
    for nth in itertools.count(1):
        (source / "photo").write_bytes(text_of("photo", 5000))
        if not interrupted(nth, drive, copies[0].name):
            pytest.fail("it was never killed at the right moment")
        left = os.listdir(drive / "box" / "quarantine") if (drive / "box" / "quarantine").exists() else []
        if [name for name in left if (drive / "box" / "quarantine" / name).read_bytes() == text_of("photo", 5000)]:
            break
    (source / "photo").write_bytes(b"another photo")
    assert repair(drive, unharmed.name).code == 0
    other = repair(drive, copies[1].name)
    assert (other.code, other.origins) == (0, {"what an interrupted repair left in quarantine"})
    mended = repair(drive)
    assert (mended.code, mended.healed, is_well(drive)) == (0, [f"{copies[0].name}/src/photo"], True)


ON_DRIVES = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ENOENT, errno.EACCES]


def test_whichever_call_fails_nothing_is_lost_and_the_next_repair_heals_all(hurt: Hurt) -> None:
    def well(hook: Callable[[Call], None]) -> None:
        hurt.start()
        with watched(hook):
            assert repair(hurt.drive).code == 0

    found: List[str] = []
    total = counted(hurt.drive, well)
    for fault in itertools.islice(faults(hurt.drive, total, ON_DRIVES, closely=0), 0, None, 4):
        hurt.start()
        hit = Hit(fault)
        with watched(hit):
            outcome = ask("repair", "--jobs", "1", "--drive", hurt.drive)
        here = [f"{outcome.code}: {outcome.err}"] * (outcome.code not in (0, 1, 2, 3, 4, 11, 75) or "Errno" in outcome.err)
        if outcome.code == 0:
            here += [f"0, but {line}" for line in but_for_refused(hurt.complaints(), hit)]
        if outcome.code == 1 and outcome.err.count("\n") != 1:
            here.append(f"no single sentence: {outcome.err}")
        here += [f"lost: {one!r}" for one in hurt.lost()]
        mended = repair(hurt.drive)
        here += [f"the next one: {mended}"] * (mended.code != 0)
        here += but_for_times(but_for_refused(hurt.complaints(), hit)) + [f"lost in the end: {one!r}" for one in hurt.lost()]
        found += [f"{fault} {hit.calls[:1]}: {line}" for line in here]
    assert not found, "\n".join(found)


def but_for_refused(complaints: Sequence[str], hit: Hit) -> List[str]:
    """Leave out what a disk may refuse without harm, as FAT does, and what a failure keeps from being shared."""
    if {call.name for call in hit.calls} & {"chmod", "chown", "utime", "setxattr"}:
        complaints = [line for line in complaints if not re.search(r": (mode|uid|gid|mtime_ns|xattrs) is ", line)]
    return [line for line in complaints if ": group is " not in line]


# --- Random damage on two drives ------

HEALINGS = int(os.environ.get("HEALINGS", "30"))
FIRST_SEED = int(os.environ.get("SEED", "1"))
CHUNK = 10


class Stored(NamedTuple):
    """A stored file that a list needs: its place, its checksum, what it is now."""

    place: str
    digest: str
    info: Optional[os.stat_result]
    good: bool


def hash_now(path: str) -> str:
    """Hash a regular file that is reached through no link; nothing for anything else."""
    folder = os.path.dirname(path)
    if os.path.realpath(folder) != folder or not os.path.lexists(path) or os.path.islink(path) or not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def stored_in(a_set: Path) -> Dict[str, Stored]:
    """Give all stored files of a set, by place, that some list which can be read needs."""
    found: Dict[str, Stored] = {}
    folder = snapback.Folder.top(str(a_set))
    for date in dates(a_set):
        with contextlib.suppress(snapback.ManifestDamaged), snapback.load_manifest(folder, date) as manifest:
            for block in snapback.read_blocks(manifest.lines()):
                for known in block.entries.values():
                    if known.hash_line:
                        digest, stored = snapback.parse_hash_line(known.hash_line)
                        name, parts = snapback.stored_place(stored, date)
                        place = "/".join((name, *parts))
                        path = f"{a_set}/{place}"
                        now = hash_now(path)
                        found[place] = Stored(place, digest, os.lstat(path) if now else None, now == digest)
    return found


def read_dates(a_set: Path) -> List[str]:
    """Name the dated copies of which one list at least proves itself."""
    folder, found = snapback.Folder.top(str(a_set)), []
    for date in dates(a_set):
        with contextlib.suppress(snapback.ManifestDamaged):
            snapback.load_manifest(folder, date).file.close()
            found.append(date)
    return found


def damage_file(rng: random.Random, path: Path) -> str:
    """Do one of the things to a stored file that disks and people do."""
    how = rng.choice(["flip", "flip", "cut", "delete", "delete", "edit", "folder", "link"])
    size = path.lstat().st_size
    if how == "flip" and size:
        seen, content = path.lstat(), bytearray(path.read_bytes())
        content[rng.randrange(size)] ^= 1 << rng.randrange(8)
        rewrite(path, bytes(content))
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    elif how == "cut" and size:
        os.truncate(path, rng.randrange(size))
    elif how == "edit":
        path.unlink()
        path.write_bytes(b"edited %d" % rng.randrange(1000))
    elif how in ("folder", "link"):
        path.unlink()
        path.mkdir() if how == "folder" else path.symlink_to("/etc/passwd")
    else:
        path.unlink()
    return f"{how} {path}"


def damage_list(rng: random.Random, a_set: Path, date: str) -> str:
    which = rng.choice(["first", "first", "second", "second", "both"])
    for path in ([a_set / date / "SHA256SUMS"] if which != "second" else []) + (
            [a_set / "manifests" / f"{date}.gz"] if which != "first" else []):
        if rng.random() < 0.3:
            path.unlink()
        else:
            content = bytearray(path.read_bytes())
            content[rng.randrange(len(content) - 100) if len(content) > 200 else 0] ^= 4
            path.write_bytes(bytes(content))
    return f"{which} list of {date}"


class Case:
    """A source, two drives with dated copies of it, and damage to both, all drawn from a seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        print(f"SEED={seed} HEALINGS=1")
        self.rng = rng = random.Random(seed)
        self.source, self.drive, self.other = (folder / f"{name} {seed}" for name in ("source", "drive", "other"))
        self.story: List[str] = []
        random_tree(rng, self.source, 14)
        self.moments: Dict[str, Twin] = {}
        layout = rng.choice(["complete", "changes"])
        for nth in range(3):
            for drive in (self.drive, self.other):
                drive.mkdir(exist_ok=True)
                if drive == self.drive or rng.random() < 0.6:
                    with later(10 + 20 * nth):
                        before = set(dates(drive / "box"))
                        more = ["--fresh"] if rng.random() < 0.1 else []
                        outcome = ask("backup", "--init", "--no-rotate", "--jobs", "1", "--set", "box", "--layout", layout, *more,
                                      self.source, drive)
                        assert outcome.code in (0, 5), outcome
                    (new,) = set(dates(drive / "box")) - before
                    if drive == self.drive:
                        self.moments[new] = without(twin(self.source), "socket")
            self.story += [random_edit(rng, self.source) for _ in range(rng.randint(0, 6))]
        self.layout, self.killed = layout, False
        if rng.random() < 0.5:
            remove_tree(self.source)
            self.story.append("the source is gone")

    @property
    def a_set(self) -> Path:
        return self.drive / "box"

    def damage(self) -> None:
        for drive, most in ((self.drive, 8), (self.other, 2)):
            if not (drive / "box").exists():
                continue
            for _ in range(self.rng.randint(1, most)):
                files = sorted(one for one in stored_in(drive / "box").values() if one.info)
                if files:
                    self.story.append(damage_file(self.rng, drive / "box" / self.rng.choice(files).place))
            folders = [path for date in dates(drive / "box") for path in sorted((drive / "box" / date).rglob("*"))
                       if path.is_dir() and not path.is_symlink()]
            if folders and self.rng.random() < 0.3:
                folder = self.rng.choice(folders)
                remove_tree(folder)
                self.story.append(f"removed {folder}")
            if self.rng.random() < 0.4:
                self.story.append(damage_list(self.rng, drive / "box", self.rng.choice(dates(drive / "box"))))

    def told(self, *more: object) -> str:
        return "\n".join(map(str, ["", *self.story, self.layout, *more]))

    def available(self) -> Set[str]:
        """Give the checksums of which a good copy is somewhere that a list which can be read, or the source, knows."""
        found = {hashlib.sha256().hexdigest()}
        for drive in (self.drive, self.other):
            if (drive / "box").exists():
                found |= {one.digest for one in stored_in(drive / "box").values() if one.good}
        for date in read_dates(self.a_set):
            for path, entry in self.moments[date].items():
                now = hash_now(os.path.join(os.fsencode(self.source), path).decode("utf-8", "surrogateescape"))
                if entry.kind == "file" and now == entry.content.decode():
                    found.add(now)
        return found


def harmed(before: Dict[str, Stored], a_set: Path) -> List[str]:
    """Complain about good files that are not as they were, to the inode."""
    found = []
    for one in before.values():
        if one.good and one.info:
            try:
                now = os.lstat(a_set / one.place)
            except OSError as err:
                found.append(f"{one.place}: {err}")
                continue
            fields = ("st_ino", "st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_size")
            if [getattr(now, field) for field in fields] != [getattr(one.info, field) for field in fields] or (
                    hash_now(f"{a_set}/{one.place}") != one.digest):
                found.append(f"{one.place} was good and is not as it was")
    return found


def check_case(case: Case) -> None:
    case.damage()
    before, available, lists, contents = stored_in(case.a_set), case.available(), read_dates(case.a_set), contents_of(case.a_set, False)
    other = twin(case.other)
    more = ["--from", case.other] if (case.other / "box").exists() else []
    for _ in range(case.rng.choice([0, 0, 1, 2])):
        nth = case.rng.randint(1, 60)
        case.killed = interrupted(nth, case.drive, *more) or case.killed
        case.story.append(f"killed at {nth}: {case.killed}")
        assert not harmed(before, case.a_set), case.told(*harmed(before, case.a_set))
    mended = repair(case.drive, *more)
    told = case.told(json.dumps(mended.facts, indent=1), mended.err)
    assert not harmed(before, case.a_set), case.told(*harmed(before, case.a_set))
    after = stored_in(case.a_set)
    for place, one in before.items():
        if not one.good:
            healable = one.digest in available and (case.a_set / place.split("/")[0]).exists()
            assert after[place].good == healable, f"{place} is {'not ' * healable}healed: {told}"
            assert healable or place in mended.left, f"{place} is not named: {told}"
    assert mended.code == (4 if mended.left else 0), told
    assert {f"{date}/SHA256SUMS" for date in set(dates(case.a_set)) - set(lists)} <= set(mended.left), told
    assert not differences(twin(case.other), other), told
    assert not contents - contents_of(case.a_set, everywhere=True), told
    found = json.loads(ask("verify", "--json", "--jobs", "1", "--drive", case.drive).out)["findings"]
    assert bool([one for one in found if one["kind"] != "stray"]) == bool(mended.left), told
    if not mended.left:
        is_as_it_was(case, told)


def is_as_it_was(case: Case, told: str) -> None:
    """Assert that each date comes back as the source was, and that no two of its files have become one."""
    for date, should in case.moments.items():
        target = case.drive.with_name("restored")
        outcome = ask("restore", date, "--jobs", "1", "--drive", case.drive, "--to", target)
        assert outcome.code == 0, f"{outcome} {told}"
        wrong = differences(twin(target / case.source.name), should)
        remove_tree(target)
        assert not wrong, f"{date}: {wrong} {told}"
        if case.layout == "complete":
            now = twin(case.a_set / date / case.source.name)
            wrong = [line for line in differences(now, should, ignoring=["group"]) if not line.startswith(".:")]
            if case.killed:  # between a file and the time of its folder: that nobody knows
                folders = tuple(f"{shown(path)}: {field} is" for path, one in should.items() if one.kind == "dir"
                                for field in ("mtime_ns", "mode", "uid", "gid", "xattrs"))
                wrong = [line for line in wrong if not line.startswith(folders)]
            assert not wrong, f"{date}: {wrong} {told}"
            assert not [path for path, entry in now.items() if entry.group and entry.kind == "file" and not should[path].group], told


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + HEALINGS, CHUNK))
def test_everything_that_has_a_good_copy_somewhere_is_healed_all_else_is_named_and_nothing_good_is_harmed(
    first: int, tmp_path: Path
) -> None:
    for seed in range(first, min(first + CHUNK, FIRST_SEED + HEALINGS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        check_case(Case(seed, folder))
        remove_tree(folder)


# --- Other disks ------


@pytest.mark.needs("root", "mount", "exfat")
def test_on_a_stick_without_hard_links(source: Path, mounted: Callable[..., Mount]) -> None:
    stick = mounted("exfat").path
    (source / "odd: name?").write_bytes(b"stored under another name")
    (source / "fifo").unlink()
    first, second = back_up(source, stick), back_up(source, stick)
    (source / "photo").unlink()
    (first / "src" / "odd%3A name%3F").write_bytes(b"other")
    (first / "src" / "letter").unlink()
    shutil.rmtree(first / "src" / "folder")
    mended = repair(stick)
    assert (mended.code, mended.left, is_well(stick)) == (0, [], True)
    assert quarantined(stick) == [f"{first.name}__src__odd%3A name%3F"]
    remove_tree(source)
    rot(first / "src" / "photo")
    mended = repair(stick)
    assert (mended.code, mended.left, second.exists()) == (4, [f"{first.name}/src/photo"], True)


@pytest.mark.needs("root", "mount", "tmpfs")
def test_a_drive_that_is_full_is_said_and_what_was_healed_stays(source: Path, mounted: Callable[..., Mount]) -> None:
    (source / "zeal").write_bytes(text_of("large", 6 * MIB))
    disk = mounted("tmpfs", "16M")
    copy = back_up(source, disk.path)
    before = whole(copy)
    rot(copy / "src" / "photo")
    rot(copy / "src" / "zeal")
    filler = disk.fill(leave=3 * MIB)
    outcome = ask("repair", "--drive", disk.path)
    assert (outcome.code, outcome.err.count("\n"), "is full" in outcome.err) == (1, 1, True)
    filler.unlink()
    mended = repair(disk.path)
    assert (mended.code, mended.healed) == (0, [f"{copy.name}/src/zeal"])
    assert differences(whole(copy), before) == []


@pytest.mark.needs("root", "mount", "tmpfs")
@pytest.mark.parametrize("where", ["quarantine", "src"])
def test_another_disk_that_is_mounted_among_the_copies_is_not_written_to(source: Path, mounted: Callable[..., Mount], where: str) -> None:
    disk = mounted("ext4")
    copy = back_up(source, disk.path)
    rot(copy / "src" / "folder" / "one")
    place = disk.path / "box" / "quarantine" if where == "quarantine" else copy / "src"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    try:
        outcome = ask("repair", "--drive", disk.path)
        assert (outcome.code, os.listdir(place)) == (1 if where == "quarantine" else 4, [])
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert repair(disk.path).code == 0
