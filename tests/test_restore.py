"""Giving files back: what, where to, and what no drive, however hostile, can make of it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import pytest

import snapback
from conftest import COARSE, MIB, Cli, Mount
from trees import Outcome, Twin, allocated, ask, dates, differences, new_copy, remove_tree, text_of, twin

pytestmark = pytest.mark.needs("linux")
LONG_AGO = 1_700_000_000


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small source with one of everything, old enough that nothing in it is in doubt."""
    made = tmp_path / "home" / "src"
    (made / "folder" / "below").mkdir(parents=True)
    (made / "folder next to it").mkdir()
    (made / "empty").mkdir(mode=0o750)
    for name in ("letter", "photo", "folder/one", "folder/below/deep", "folder next to it/other"):
        (made / name).write_bytes(text_of(name, 3000))
    os.link(made / "letter", made / "folder" / "same letter")
    (made / "link").symlink_to("letter")
    os.mkfifo(made / "fifo")
    (made / "photo").chmod(0o4711)
    os.setxattr(made / "photo", "user.note", b"x")
    with open(made / "sparse", "wb") as file:
        file.truncate(2 * MIB)
    for path in [*made.rglob("*"), made]:
        os.utime(path, (LONG_AGO, LONG_AGO + 1), follow_symlinks=False)
    return made


@pytest.fixture
def back(tmp_path: Path) -> Path:
    """Where files are restored to; not made yet."""
    return tmp_path / "back"


def back_up(drive: Path, *sources: object) -> Path:
    return new_copy(drive, *sources)


def give_back(drive: Path, back: Path, *words: object, code: int = 0) -> Outcome:
    """Restore, and assert how it ended."""
    outcome = ask("restore", *(words or ["latest"]), "--drive", drive, "--to", back)
    assert outcome.code == code, outcome
    return outcome


def below(root: Path) -> List[str]:
    """Name all that is in a folder, however deep, but folders that are not empty."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
    )


# --- Which date, and what else there is ------


def two_groups(tmp_path: Path, drive: Path) -> Tuple[str, str]:
    """Make one dated copy of Documents, then one of Pictures; give their dates."""
    for name in ("Documents", "Pictures"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return back_up(drive, tmp_path / "Documents").name, back_up(drive, tmp_path / "Pictures").name


def test_latest_says_where_the_folders_are_that_the_newest_copy_does_not_hold(tmp_path: Path, drive: Path, back: Path) -> None:
    documents, pictures = two_groups(tmp_path, drive)
    outcome = give_back(drive, back, code=3)
    assert below(back) == ["Pictures/file"]
    assert f"{pictures} holds Pictures only; Documents is in {documents}: restore {documents} Documents" in outcome.err


@pytest.mark.parametrize("said", ["Documents/file", "{tmp_path}/Documents/file"])
def test_latest_of_a_path_is_the_newest_copy_that_holds_its_folder(tmp_path: Path, drive: Path, back: Path, said: str) -> None:
    documents, _ = two_groups(tmp_path, drive)
    outcome = give_back(drive, back, "latest", said.format(tmp_path=tmp_path))
    assert below(back) == ["Documents/file"]
    assert f"{documents} is the newest dated copy that holds" in outcome.out


def test_the_list_of_dates_names_the_folders_only_where_they_differ(tmp_path: Path, drive: Path) -> None:
    (tmp_path / "Documents").mkdir()
    back_up(drive, tmp_path / "Documents")
    assert "Documents" not in ask("list", "--drive", drive).out
    (tmp_path / "Pictures").mkdir()
    back_up(drive, tmp_path / "Pictures")
    assert re.findall("; (Documents|Pictures)", ask("list", "--drive", drive).out) == ["Documents", "Pictures"]
    (tmp_path / "old" / "Documents").mkdir(parents=True)
    back_up(drive, tmp_path / "old" / "Documents")
    named = [line.rpartition("; ")[2] for line in ask("list", "--drive", drive).out.splitlines()[2:]]
    assert named == [f"Documents={tmp_path}/Documents", "Pictures", f"Documents={tmp_path}/old/Documents"]


def refused(outcome: Outcome, code: int, *about: str) -> None:
    """Assert that nothing was done, and that this was said in one sentence about these things."""
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (code, "", 1), outcome
    assert [word for word in about if word not in outcome.err] == [], outcome


# --- Whole copies, and parts of them ------


def test_a_whole_copy_comes_back_exactly(source: Path, drive: Path, back: Path) -> None:
    back_up(drive, source)
    for jobs in ("1", "4"):
        give_back(drive, back, "latest", "--jobs", jobs)
        assert differences(twin(back / "src"), twin(source)) == []
        assert allocated(back / "src")[b"sparse"] == 0
        assert os.listdir(back) == ["src"]
        remove_tree(back)


def test_several_sources_come_back_each_under_its_alias(source: Path, drive: Path, back: Path) -> None:
    (source.parent / "notes.txt").write_bytes(b"a source of its own")
    back_up(drive, source / "folder", f"pictures={source}/empty", source.parent / "notes.txt")
    give_back(drive, back)
    assert below(back) == ["folder/below/deep", "folder/one", "folder/same letter", "notes.txt", "pictures"]
    assert (back / "notes.txt").read_bytes() == b"a source of its own"
    give_back(drive, back.parent / "one", "latest", str(source.parent / "notes.txt"))
    assert below(back.parent / "one") == ["notes.txt"]


IN_FOLDER = ["src/folder/below/deep", "src/folder/one", "src/folder/same letter"]

# What is asked for ({} is the source on the computer) -> what comes back.
PATHS: Dict[Tuple[str, ...], Sequence[str]] = {
    ("src/folder",): IN_FOLDER,
    ("src/folder/",): IN_FOLDER,
    ("./src/folder",): IN_FOLDER,
    ("{}/folder",): IN_FOLDER,
    ("{}/folder/",): IN_FOLDER,
    ("src/folder/below",): ["src/folder/below/deep"],
    ("src/folder/below/deep",): ["src/folder/below/deep"],
    ("{}/folder/below/deep",): ["src/folder/below/deep"],
    ("src/letter",): ["src/letter"],
    ("src/folder/same letter",): ["src/folder/same letter"],
    ("src/link",): ["src/link"],
    ("src/fifo",): ["src/fifo"],
    ("src/empty",): ["src/empty"],
    ("src/letter", "{}/photo"): ["src/letter", "src/photo"],
    ("src/letter", "src/letter"): ["src/letter"],
    ("src/folder", "src/folder/one"): IN_FOLDER,
    ("src/folder/one", "src/folder next to it/other"): ["src/folder next to it/other", "src/folder/one"],
}


@pytest.mark.parametrize("asked", PATHS)
def test_a_path_is_as_in_the_copy_or_as_on_the_computer(source: Path, drive: Path, back: Path, asked: Tuple[str, ...]) -> None:
    back_up(drive, source)
    give_back(drive, back, "latest", *(word.format(source) for word in asked))
    assert below(back) == sorted(PATHS[asked])
    there = {
        path: entry
        for path, entry in twin(source).items()
        if (back / "src" / os.fsdecode(path)).is_symlink() or (back / "src" / os.fsdecode(path)).exists()
    }
    assert differences(twin(back / "src"), there, ["group"]) == []


@pytest.mark.parametrize("asked", ["src", "{}", "src/", "{}/"])
def test_the_path_of_a_source_means_all_of_it(source: Path, drive: Path, back: Path, asked: str) -> None:
    back_up(drive, source)
    give_back(drive, back, "latest", asked.format(source))
    assert differences(twin(back / "src"), twin(source)) == []


@pytest.mark.parametrize("asked", [
    "nothing", "src/nothing", "{}/nothing", "src/letter/x", "src/../src/letter", "../src/letter", "src//letter", "rc/letter", "sr",
    "src/folde", "", "/", ".", "./", "..", "src/.", "/etc/passwd", "SHA256SUMS", "src/letter\n", "src/\x1b[31m",
])  # fmt: skip
def test_a_path_that_the_copy_does_not_have_is_refused_before_anything_is_made(source: Path, drive: Path, back: Path, asked: str) -> None:
    back_up(drive, source)
    refused(give_back(drive, back, "latest", "src/letter", asked.format(source), code=2), 2, "there is no")
    assert not back.exists()


ASKED_FOR = [
    b"plain", b"a folder/below", b"back\\slash", b"\\", b"new\nline", b"end\r", b" two  blanks ", b"caf\xe9", "\u00fc".encode(), b"tab\t",
    b"\x1b[31m", b"# x", b"-x", b"$(x)'\"", b"path=x",
]  # fmt: skip


@pytest.mark.parametrize("name", ASKED_FOR, ids=repr)
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_path_that_this_date_lacks_is_looked_for_in_all_others(source: Path, drive: Path, back: Path, name: bytes, kind: str) -> None:
    back_up(drive, source)
    path = source / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    make: Dict[str, Callable[[], object]] = {
        "file": lambda: path.write_bytes(name), "link": lambda: path.symlink_to("letter"), "folder": path.mkdir,
    }  # fmt: skip
    make[kind]()
    back_up(drive, source)
    has_it = back_up(drive, source).name
    remove_tree(path) if kind == "folder" else path.unlink()
    back_up(drive, source)
    wish = f"src/{os.fsdecode(name)}"
    outcome = give_back(drive, back, "latest", wish, code=2)
    refused(outcome, 2, f"the newest that has it is {has_it}: restore {has_it} ")
    assert not back.exists()
    give_back(drive, back, has_it, wish)
    assert os.path.lexists(back / wish)


def test_a_path_that_no_date_has_is_said_to_be_nowhere(source: Path, drive: Path, back: Path) -> None:
    (source / "x").mkdir()
    (source / "x" / "letter 2").write_bytes(b"x")
    (source / "x  src").mkdir()
    (source / "x  src" / "letter 2").write_bytes(b"a path that ends as the one asked for does, in its line of checksums")
    (source / "x path=src").mkdir()
    (source / "x path=src" / "letter 2").write_bytes(b"and as a line of metadata does")
    back_up(drive, source)
    for asked in ("src/letter 2", "src/etter", "letter 3", "2", "src/x/letter"):
        look = snapback.command_text(["find", asked, "--drive", str(drive)])
        refused(give_back(drive, back, "latest", asked, code=2), 2, f"it has: src; to look for it in all dates: {look}")


def test_a_name_without_a_folder_comes_back_from_any_depth(tmp_path: Path, drive: Path, back: Path) -> None:
    back_up(drive, grown_with(tmp_path / "src", "letter", "x/letter", "x/letter 2", "x/other", "y/src", "z/below/letter/in"))
    give_back(drive, back, "latest", "letter")
    assert below(back) == ["src/letter", "src/x/letter", "src/z/below/letter/in"]
    remove_tree(back)
    give_back(drive, back, "latest", "src")   # a path of the copy is no name
    assert len(below(back)) == 6


def test_hard_links_are_made_again_within_what_is_asked_for(source: Path, drive: Path, back: Path) -> None:
    for name in ("zz", "folder/below/aa", "folder/zz"):
        os.link(source / "letter", source / name)
    back_up(drive, source)
    give_back(drive, back, "latest", "src/folder", "src/zz")
    names = ["folder/below/aa", "folder/same letter", "folder/zz", "zz"]
    assert len({(back / "src" / name).stat().st_ino for name in names}) == 1
    assert (back / "src" / "zz").stat().st_nlink == len(names)
    assert not (back / "src" / "letter").exists()


# --- Which date ------


@pytest.fixture
def year(source: Path, drive: Path) -> List[str]:
    """Four dated copies, named by hand; the letter says which is which."""
    names = ["2025-12-31_235959", "2026-03-01_080000", "2026-03-01_200000", "2026-11-22_231507"]
    for name in names:
        (source / "letter").write_bytes(name.encode())
        copy = back_up(drive, source)
        copy.rename(copy.parent / name)
        (copy.parent / "manifests" / f"{copy.name}.gz").rename(copy.parent / "manifests" / f"{name}.gz")
    return names


@pytest.mark.parametrize(("when", "nth", "told"), [
    ("latest", 3, False), ("2026-03-01_080000", 1, False), ("2026-03-01_08", 1, False), ("2026-03-01 08:00", 1, False),
    ("2026-03-01T08:00:00", 1, False), ("2026-03-01", 2, False), ("2026-03", 2, False), ("2026", 3, False), ("2025", 0, False),
    ("2026-03-02", 2, True), ("2026-02", 0, True), ("2026-11-22_231506", 2, True), ("2027", 3, True), ("2026-12-24", 3, True),
])  # fmt: skip
def test_when_means_the_newest_that_begins_so_else_the_one_before(
    year: List[str], drive: Path, back: Path, when: str, nth: int, told: bool
) -> None:
    outcome = give_back(drive, back, when, "src/letter")
    assert (back / "src" / "letter").read_text() == year[nth]
    assert year[nth] in outcome.out
    assert ("There is no dated copy of" in outcome.out) == told, outcome


@pytest.mark.parametrize(("when", "about"), [
    ("1999", "2025-12-31_235959"), ("2025-12-30", "2025-12-31_235959"), ("src/letter", "restore latest src/letter"),
    ("letter", "restore latest letter"), ("Latest", "is no date"), ("20260301", "is no date"), ("", "is no date"),
    ("2026-03-01_080000/../../x", "is no date"), ("..", "is no date"), ("2026-*", "is no date"),
])  # fmt: skip
def test_a_when_that_means_nothing_is_refused(year: List[str], drive: Path, back: Path, when: str, about: str) -> None:
    refused(give_back(drive, back, when, "src/letter", code=2), 2, about)
    assert not back.exists()


# --- Where to ------


def test_without_to_a_new_folder_is_made_where_one_stands(
    source: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = back_up(drive, source)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(3):
        assert ask("restore", "latest", "src/letter", "--drive", drive).code == 0
    made = f"restored-{copy.name}"
    assert below(tmp_path / "here") == [f"{made}/src/letter", f"{made}_2/src/letter", f"{made}_3/src/letter"]


def test_merging_goes_on_where_a_restore_began(source: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = back_up(drive, source)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for words in (["src/letter"], ["--merge"], ["--merge"]):
        assert ask("restore", "latest", *words, "--drive", drive).code == 0
    assert os.listdir() == [f"restored-{copy.name}"]
    assert differences(twin(Path(f"restored-{copy.name}", "src")), twin(source)) == []


def test_merging_goes_on_in_the_newest_of_several_restored_folders(
    source: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = f"restored-{back_up(drive, source).name}"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for words in (["src/letter"], ["src/letter"], ["src/letter"], ["src/photo", "--merge"], ["src/sparse", "--merge"]):
        assert ask("restore", "latest", *words, "--drive", drive).code == 0
    assert below(tmp_path / "here") == sorted([
        f"{made}/src/letter", f"{made}_2/src/letter", f"{made}_3/src/letter", f"{made}_3/src/photo", f"{made}_3/src/sparse",
    ])  # fmt: skip
    Path(f"{made}_4").write_bytes(b"a file is no place to go on")
    assert ask("restore", "latest", "src/link", "--merge", "--drive", drive).code == 0
    assert os.path.lexists(f"{made}_3/src/link")


def test_merging_does_not_go_on_where_a_link_leads(source: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = back_up(drive, source)
    (tmp_path / "elsewhere").mkdir()
    (drive / f"restored-{copy.name}").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(drive)
    assert ask("restore", "latest", "--merge", "--drive", ".").code == 0
    assert below(tmp_path / "elsewhere") == []
    assert (drive / f"restored-{copy.name}_2" / "src" / "letter").exists()


def test_a_dangling_link_where_one_stands_leads_nowhere(source: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands on a hostile drive must not write where its links point."""
    copy = back_up(drive, source)
    (drive / f"restored-{copy.name}").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(drive)
    assert ask("restore", "latest", "src/letter", "--drive", ".").code == 0
    assert not (tmp_path / "elsewhere").exists()
    assert (drive / f"restored-{copy.name}_2" / "src" / "letter").exists()


def leave(_path: Path) -> None:
    """Make nothing there."""


TARGETS: Dict[str, Tuple[Callable[[Path], object], int, str]] = {  # how it is made -> exit code, word
    "not there": (leave, 0, ""),
    "in folders that are not there": (lambda path: path.parent.rmdir(), 0, ""),
    "empty": (Path.mkdir, 0, ""),
    "not empty": (lambda path: (path.mkdir(), (path / "x").write_bytes(b"")), 2, "not empty"),
    "a hidden file in it": (lambda path: (path.mkdir(), (path / ".x").write_bytes(b"")), 2, "not empty"),
    "a file": (lambda path: path.write_bytes(b"x"), 2, "is a file"),
    "a fifo": (os.mkfifo, 2, "is a file"),
    "in a file": (lambda path: (path.parent.rmdir(), path.parent.write_bytes(b"x")), 1, "--to"),
    "a loop of links": (lambda path: path.symlink_to(path), 1, "link"),
    "a link to a folder that is not empty": (lambda path: path.symlink_to("/etc"), 2, "not empty"),
    "with a name that is too long": (leave, 1, "--to"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_only_a_new_or_empty_folder_is_filled(source: Path, drive: Path, tmp_path: Path, target: str) -> None:
    make, code, word = TARGETS[target]
    back_up(drive, source)
    back = tmp_path / "to" / ("x" * 300 if "too long" in target else "back")
    back.parent.mkdir()
    make(back)
    before = twin(tmp_path)
    outcome = give_back(drive, back, "latest", "src/letter", code=code)
    if code:
        refused(outcome, code, word)
        assert differences(twin(tmp_path), before) == []
    else:
        assert below(back) == ["src/letter"]


@pytest.mark.parametrize("inside", ["box", "box/new", "box/{date}", "box/{date}/src", "box/{date}/new", "door", "door/new"])
@pytest.mark.parametrize("more", [[], ["--merge"]])
def test_nothing_is_restored_among_the_dated_copies(source: Path, drive: Path, inside: str, more: List[str]) -> None:
    copy = back_up(drive, source)
    (drive / "door").symlink_to("box")
    before = twin(drive)
    outcome = ask("restore", "latest", "--drive", drive, "--to", drive / inside.format(date=copy.name), *more)
    refused(outcome, 2, "dated copies")
    assert differences(twin(drive), before) == []


def test_an_alias_named_like_the_set_does_not_merge_into_it(source: Path, drive: Path) -> None:
    """The target is the drive's own top, and the alias there is the set."""
    back_up(drive, f"box={source}")
    before = twin(drive / "box")
    ask("restore", "latest", "--drive", drive, "--to", drive, "--merge")
    assert differences(twin(drive / "box"), before) == []


@pytest.mark.needs("mount")
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_full_target_is_one_sentence(mounted: Callable[..., Mount], source: Path, drive: Path, jobs: str) -> None:
    for nth in range(20):
        (source / f"large {nth}").write_bytes(text_of(nth, 100_000))
    back_up(drive, source)
    before = twin(drive)
    disk = mounted("tmpfs", "1M")
    outcome = give_back(drive, disk.path / "back", "latest", "--jobs", jobs, code=1)
    refused(outcome, 1, "is full", str(disk.path / "back"), "untouched", "--to")
    assert differences(twin(drive), before) == []


@pytest.mark.needs("mount")
def test_a_target_that_holds_neither_links_nor_modes_gets_every_byte(mounted: Callable[..., Mount], source: Path, drive: Path) -> None:
    back_up(drive, source)
    disk = mounted("exfat")
    outcome = ask("restore", "latest", "--drive", drive, "--to", disk.path / "back")
    assert (outcome.code, "link" in outcome.err, "fifo" in outcome.err) == (3, True, True), outcome
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert (disk.path / "back" / "src" / path.relative_to(source)).read_bytes() == path.read_bytes()


# --- Merging ------

ASIDE = re.compile(r"\.before-restore-\d{4}-\d\d-\d\d_\d{6}(_\d+)?$")


def merged(drive: Path, back: Path, *words: object, code: int = 0) -> List[str]:
    """Merge; give what was set aside now, as the answer and the disk say in unison."""
    before = {path.name for path in back.rglob("*")}
    outcome = ask("restore", "latest", *words, "--drive", drive, "--to", back, "--merge", "--json")
    assert outcome.code == code, outcome
    facts = json.loads(outcome.out)
    there = [path.name for path in back.rglob("*") if ASIDE.search(path.name) and path.name not in before]
    assert sorted(os.path.basename(name) for name in facts["set_aside"]) == sorted(there)
    return sorted(ASIDE.sub("", name) for name in there)


def test_merging_into_what_is_the_same_changes_nothing(source: Path, drive: Path, back: Path) -> None:
    back_up(drive, source)
    give_back(drive, back)
    before = twin(back)
    inodes = {path: path.lstat().st_ino for path in back.rglob("*")}
    assert merged(drive, back) == []
    assert differences(twin(back), before) == []
    assert {path: path.lstat().st_ino for path in back.rglob("*")} == inodes


@pytest.mark.needs("mount")
@pytest.mark.parametrize("jobs", ["1", "4"])
@pytest.mark.parametrize("other", [b"same", b"else"])
def test_merging_onto_a_disk_that_takes_one_name_for_another_names_what_it_could_not_hold(
    mounted: Callable[..., Mount], source: Path, drive: Path, jobs: str, other: bytes
) -> None:
    for name, content in (("Foo", b"same"), ("foo", other), ("folder/BAR", b"same"), ("folder/bar", other)):
        (source / name).write_bytes(content)
    for name in ("fifo", "link", "folder/same letter"):  # which such a disk cannot hold, either
        (source / name).unlink()
    back_up(drive, source)
    back = mounted("exfat").path / "back"
    back.mkdir()
    for _ in range(2):
        outcome = ask("restore", "latest", "--merge", "--jobs", jobs, "--drive", drive, "--to", back)
        assert outcome.code == 3, outcome
        there = {name for name in below(back) if name.lower() in ("src/foo", "src/folder/bar")}
        missing = {"src/Foo", "src/foo", "src/folder/BAR", "src/folder/bar"} - there
        assert (len(there), [name for name in missing if name not in outcome.err]) == (2, []), outcome
        contents = {name: (source.parent / name).read_bytes() for name in there}
        assert {name: (back / name).read_bytes() for name in there} == contents
        assert [name for name in below(back) if ASIDE.search(name)] == []


def test_merging_gives_back_what_is_missing_and_leaves_what_the_copy_does_not_have(source: Path, drive: Path, back: Path) -> None:
    back_up(drive, source)
    give_back(drive, back)
    for name in ("letter", "photo", "link", "fifo"):
        (back / "src" / name).unlink()
    remove_tree(back / "src" / "folder" / "below")
    (back / "src" / "mine").write_bytes(b"mine")
    assert merged(drive, back) == []
    assert (back / "src" / "mine").read_bytes() == b"mine"
    (back / "src" / "mine").unlink()
    assert differences(twin(back / "src"), twin(source), ["mtime_ns", "group"]) == []
    assert (back / "src" / "letter").read_bytes() == (source / "letter").read_bytes()


def folder_with_a_file(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_bytes(b"precious")


# What stands in the way (a path and what it is) -> what is set aside.
IN_THE_WAY: Dict[str, Tuple[str, Callable[[Path], object], List[str]]] = {
    "a file with other content": ("src/photo", lambda path: path.write_bytes(b"precious"), ["photo"]),
    "an empty file": ("src/photo", lambda path: path.write_bytes(b""), ["photo"]),
    "a folder where a file belongs": ("src/photo", folder_with_a_file, ["photo"]),
    "a link to a file": ("src/photo", lambda path: path.symlink_to("/etc/hostname"), ["photo"]),
    "a link to an equal file": ("src/photo", lambda path: path.symlink_to(path.parents[2] / "home/src/photo"), ["photo"]),
    "a dangling link": ("src/photo", lambda path: path.symlink_to("/nowhere/at/all"), ["photo"]),
    "a fifo where a file belongs": ("src/photo", os.mkfifo, ["photo"]),
    "a file where a folder belongs": ("src/folder", lambda path: path.write_bytes(b"precious"), ["folder"]),
    "a link to a folder where a folder belongs": (
        "src/folder", lambda path: (path.parents[2].joinpath("elsewhere").mkdir(), path.symlink_to("../../elsewhere")), ["folder"],
    ),
    "a link in the place of the source": (
        "src", lambda path: (path.parents[1].joinpath("elsewhere").mkdir(), path.symlink_to("../elsewhere")), ["src"],
    ),
    "another link": ("src/link", lambda path: path.symlink_to("photo"), ["link"]),
    "a file where a link belongs": ("src/link", lambda path: path.write_bytes(b"precious"), ["link"]),
    "a folder where a link belongs": ("src/link", folder_with_a_file, ["link"]),
    "a file where a fifo belongs": ("src/fifo", lambda path: path.write_bytes(b"precious"), ["fifo"]),
    "the second name of a hard link": (
        "src/folder/same letter", lambda path: path.write_bytes(b"precious"), ["same letter"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_THE_WAY)
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_what_is_in_the_way_is_set_aside_and_never_followed(source: Path, drive: Path, back: Path, case: str, jobs: str) -> None:
    path, make, aside = IN_THE_WAY[case]
    back_up(drive, source)
    (back / path).parent.mkdir(parents=True)
    make(back / path)
    stood = twin(back)[path.encode()]
    outside = {at: entry for at, entry in twin(back.parent).items() if not at.startswith(b"back")}
    assert merged(drive, back, "--jobs", jobs) == aside
    (moved,) = [found for found in back.rglob("*") if ASIDE.search(found.name)]
    assert differences({b"x": twin(back)[os.fsencode(moved.relative_to(back))]}, {b"x": stood}, ["mtime_ns"]) == []
    if stood.kind == "dir":
        assert (moved / "precious").read_bytes() == b"precious"
    moved.rename(back.parent / "moved")
    is_, should = twin(back / "src"), twin(source)
    assert differences(is_, should, ["group", "mtime_ns"] if "second name" in case else ["mtime_ns"]) == []
    now = {at: entry for at, entry in twin(back.parent).items() if not at.startswith((b"back", b"moved"))}
    assert differences(now, outside, ["mtime_ns"]) == []


def test_merging_again_and_again_sets_aside_only_what_differs_each_time(source: Path, drive: Path, back: Path) -> None:
    back_up(drive, source)
    for nth in range(3):
        (back / "src").mkdir(parents=True, exist_ok=True)
        (back / "src" / "photo").write_bytes(b"%d" % nth)
        merged(drive, back)
    kept = {path.read_bytes() for path in (back / "src").glob("photo.before-restore-*")}
    assert kept == {b"0", b"1", b"2"}
    assert (back / "src" / "photo").read_bytes() == (source / "photo").read_bytes()


def test_merging_goes_on_after_it_was_killed(source: Path, drive: Path, back: Path) -> None:
    """What it had begun to write under a passing name is in nobody's way."""
    back_up(drive, source)
    (back / "src").mkdir(parents=True)
    (back / "src" / "photo.snapback-part").write_bytes(b"half")
    merged(drive, back)
    assert (back / "src" / "photo").read_bytes() == (source / "photo").read_bytes()


# --- Damaged files ------


def rot(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


@pytest.mark.parametrize("more", [[], ["--merge"], ["--jobs", "1"]])
def test_a_damaged_file_comes_back_beside_its_name(source: Path, drive: Path, back: Path, more: List[str]) -> None:
    copy = back_up(drive, source)
    rot(copy / "src" / "photo")
    os.truncate(copy / "src" / "folder" / "one", 100)
    outcome = give_back(drive, back, "latest", *more, code=4)
    assert outcome.err.splitlines()[:-1] == [
        f"differs: src/{name} (its bytes are not those that were written)" for name in ("photo", "folder/one")
    ]
    assert outcome.err.splitlines()[-1].startswith("NOT OK - 2 files")
    assert (back / "src" / "photo.damaged").read_bytes() == (copy / "src" / "photo").read_bytes()
    assert (back / "src" / "folder" / "one.damaged").stat().st_size == 100
    is_, should = twin(back / "src"), twin(source)
    assert [is_.pop(name) and should.pop(name[:-8]).kind for name in (b"photo.damaged", b"folder/one.damaged")] == ["file"] * 2
    assert differences(is_, should) == []


def test_both_names_of_a_damaged_hard_link_come_back_damaged(source: Path, drive: Path, back: Path) -> None:
    copy = back_up(drive, source)
    rot(copy / "src" / "letter")
    outcome = give_back(drive, back, code=4)
    assert sorted(line.partition(" (")[0] for line in outcome.err.splitlines()[:-1]) == [
        "differs: src/folder/same letter",
        "differs: src/letter",
    ]
    assert {name for name in below(back) if "letter" in name} == {"src/folder/same letter.damaged", "src/letter.damaged"}


MISSING: Dict[str, Tuple[Callable[[Path], object], List[str]]] = {
    "a file removed": (lambda copy: (copy / "src" / "photo").unlink(), ["missing: src/photo"]),
    "a folder in its place": (
        lambda copy: ((copy / "src" / "photo").unlink(), (copy / "src" / "photo").mkdir()), ["unreadable: src/photo"]),
    "a folder removed": (
        lambda copy: remove_tree(copy / "src" / "folder" / "below"), ["missing: src/folder/below/deep"]),
    "a link for a folder": (
        lambda copy: ((copy / "src" / "folder" / "below").rename(copy / "x"), (copy / "src" / "folder" / "below").symlink_to(
            "../../x")), ["missing: src/folder/below/deep"]),
    "all removed": (lambda copy: remove_tree(copy / "src"), [
        f"missing: src/{name}" for name in sorted(["letter", "photo", "sparse", "folder/one", "folder/same letter",
                                                   "folder/below/deep", "folder next to it/other"])]),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING)
def test_what_is_not_there_is_named_and_the_rest_comes_back(source: Path, drive: Path, back: Path, case: str) -> None:
    do, should = MISSING[case]
    copy = back_up(drive, source)
    do(copy)
    outcome = give_back(drive, back, code=4)
    assert sorted(line.partition(" (")[0] for line in outcome.err.splitlines()[:-1]) == sorted(should)
    gone = {line.partition("src/")[2] for line in should}
    assert [name for name in below(back / "src") if not (source / name).is_dir() or name == "empty"] == [
        name for name in below(source) if name not in gone
    ]
    assert f"Restored {7 - len(should)} file" in outcome.out, "it counts what came back"


def test_a_file_that_is_called_damaged_is_not_taken_for_one(source: Path, drive: Path, back: Path) -> None:
    """The damaged file's new name may belong to another file or folder of the copy."""
    for nth in range(3):
        (source / f"file {nth}").write_bytes(b"x" * nth)
    (source / "file 0.damaged").write_bytes(b"a good file")
    (source / "file 1.damaged").mkdir()
    (source / "file 1.damaged" / "inside").write_bytes(b"good")
    copy = back_up(drive, source)
    for nth in range(3):
        (copy / "src" / f"file {nth}").write_bytes(b"rot")
    for jobs in ("1", "4"):
        give_back(drive, back, "latest", "--jobs", jobs, code=4)
        assert (back / "src" / "file 0.damaged").read_bytes() == b"a good file"
        assert (back / "src" / "file 1.damaged" / "inside").read_bytes() == b"good"
        rotten = [path.name for path in (back / "src").iterdir() if path.is_file() and path.read_bytes() == b"rot"]
        assert len(rotten) == 3, rotten
        remove_tree(back)


LONG_NAMES = [b"x" * 255, "\u00e9".encode() * 127 + b"y", b"\xff" * 255, b"\n" * 255, "\U0001f600".encode() * 63 + b"abc"]


@pytest.mark.parametrize("name", LONG_NAMES)
def test_names_of_255_bytes_are_shortened_for_their_endings(source: Path, drive: Path, back: Path, name: bytes) -> None:
    (source / os.fsdecode(name)).write_bytes(b"good")
    copy = back_up(drive, source)
    (back / "src").mkdir(parents=True)
    (back / "src" / os.fsdecode(name)).write_bytes(b"precious")
    give_back(drive, back, "latest", "--merge")
    there = {path.read_bytes(): os.fsencode(path.name) for path in (back / "src").glob("*before-restore*")}
    assert set(there) == {b"precious"}
    assert len(there[b"precious"]) <= 255
    remove_tree(back)
    (copy / "src" / os.fsdecode(name)).write_bytes(b"rot!")
    give_back(drive, back, code=4)
    (path,) = (back / "src").glob("*.damaged")
    assert (path.read_bytes(), len(os.fsencode(path.name)) > 240) == (b"rot!", True)


def test_long_names_that_begin_alike_do_not_meet_when_shortened(source: Path, drive: Path, back: Path) -> None:
    for nth in range(20):
        (source / f"{'x' * 253}{nth:02}").write_bytes(b"%d" % nth)
    copy = back_up(drive, source)
    (back / "src").mkdir(parents=True)
    for nth in range(20):
        (back / "src" / f"{'x' * 253}{nth:02}").write_bytes(b"precious %d" % nth)
    give_back(drive, back, "latest", "--merge", "--jobs", "8")
    there = [path for path in (back / "src").iterdir() if "before-restore" in path.name]
    assert sorted(path.read_bytes() for path in there) == sorted(b"precious %d" % nth for nth in range(20))
    remove_tree(back)
    for nth in range(20):
        (copy / "src" / f"{'x' * 253}{nth:02}").write_bytes(b"rot %d" % nth)
    give_back(drive, back, "latest", "--jobs", "8", code=4)
    there = [path for path in (back / "src").iterdir() if "damaged" in path.name]
    assert sorted(path.read_bytes() for path in there) == sorted(b"rot %d" % nth for nth in range(20))


# --- A hostile drive: manifests made by hand ------

SECRET = b"the secret that must never be read"
DATE, OLDER = "2026-11-22_231507", "2026-11-20_120000"
GOOD = b"good content"


def file(path: str, content: bytes = GOOD, stored: Optional[str] = None, words: str = "", digest: str = "") -> List[str]:
    """Write the two lines of a file."""
    lines = [f"# type=file mode=0644 uid=0 gid=0 size={len(content)} time=1700000000.000000000{words}"]
    if stored is not None:
        lines[0] += f" path={path}"
    return [*lines, f"{digest or hashlib.sha256(content).hexdigest()}  {path if stored is None else stored}"]


def folder(path: str, words: str = "mode=0755 uid=0 gid=0 time=1700000000.000000000") -> List[str]:
    return [f"# type=dir {words} path={path}"]


def special(kind: str, path: str, words: str = "") -> List[str]:
    return [f"# type={kind} mode=0777 uid=0 gid=0 time=1700000000.000000000{words} path={path}"]


def link(path: str, target: str, words: str = "") -> List[str]:
    return special("link", path, f"{words} link={target}")


def manifest(lines: Union[bytes, Iterable[str]], header: Optional[Dict[str, Any]] = None, end: Optional[Dict[str, Any]] = None) -> bytes:
    """Make a manifest whose end hash is right, whatever its lines are; words of header and end may be replaced."""
    first = {
        "set": "box",
        "seq": 5,
        "taken": "2026-11-22T23:15:07+01:00",
        "layout": "complete",
        "sources": {"src": "/home/x/src"},
        "machine": snapback.machine_id(),
        "host": "x",
        **(header or {}),
    }
    text = lines if isinstance(lines, bytes) else "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    above = b"# snapback manifest 1 " + json.dumps(first).encode() + b"\n" + text
    last = {"files": 1, "dirs": 1, "bytes": 1, "sha256": hashlib.sha256(above).hexdigest(), **(end or {})}
    return above + b"# end " + json.dumps(last).encode() + b"\n"


def holds_secret(path: str) -> bool:
    seen = os.lstat(path)
    return stat.S_ISREG(seen.st_mode) and seen.st_size == len(SECRET) and Path(path).read_bytes() == SECRET


class World:
    """A drive with a hostile set, its good neighbours, and everything round it that must stay as it is."""

    def __init__(self, root: Path) -> None:
        self.root, self.drive, self.out, self.source = root, root / "drive", root / "out", root / "x" / "src"
        self.box = self.drive / "box"
        for path in (root / "secret", root / "secret folder" / "x", self.drive / "private", self.drive / "other" / DATE / "src" / "x"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(SECRET)
        for path in (self.source / "x", self.source / "folder" / "inside"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(GOOD)
        (self.drive / "other" / DATE / "SHA256SUMS").write_bytes(manifest([]))
        (self.drive / "snapback-marker.txt").write_text("id: 0123456789abcdef0123456789abcdef\nlabel: evil\n")
        self.out.mkdir()
        self.before = self.outside()

    def outside(self) -> Twin:
        """Describe all but the set, the targets, and what a run puts at the top of its drive."""
        found = {}
        for place in (self.root, self.drive):
            for path in sorted(place.iterdir()):
                if path.name not in ("drive", "box", "out", "READ-ME-FIRST.txt", "GET-FILES-BACK.html", "restore.sh", "snapback.py",
                                     "Snapback.cmd", "Snapback.command"):
                    tree = twin(path) if path.is_dir() else {b".": twin(place)[path.name.encode()]}
                    found.update({f"{path}/".encode() + below: entry for below, entry in tree.items()})
        return found

    def secrets(self) -> List[str]:
        """Name what has the secret's bytes in the set and the targets."""
        return [
            os.path.join(here, name)
            for top in (self.box, self.out)
            if not top.is_symlink()
            for here, _, files in os.walk(top)
            for name in files
            if holds_secret(os.path.join(here, name))
        ]

    def plant(self, text: Union[bytes, List[str]], twins: bool = True) -> None:
        """Make the set anew, with two dates that have all that an honest one would have, and this manifest."""
        remove_tree(self.box)
        for date in (OLDER, DATE):
            for path in (self.box / date / "src" / "x", self.box / date / "src" / "folder" / "inside"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(GOOD)
        lines = [*folder("src"), *file("src/x"), *folder("src/folder"), *file("src/folder/inside")]
        (self.box / OLDER / "SHA256SUMS").write_bytes(manifest(lines, {"seq": 4, "sources": {"older": "/nowhere"}}))
        if isinstance(text, list):
            text = manifest(text)
        (self.box / DATE / "SHA256SUMS").write_bytes(text)
        if twins:
            (self.box / "manifests").mkdir()
            (self.box / "manifests" / f"{DATE}.gz").write_bytes(gzip.compress(text, 1))

    def commands(self) -> Iterator[List[str]]:
        """Give every command that reads a manifest, each with a target of its own."""
        there = ["--drive", str(self.drive), "--set", "box"]
        yield ["list", *there]
        yield ["verify", *there]
        yield ["restore", DATE, *there, "--to", str(self.out / "whole")]
        yield ["restore", DATE, "*", *there, "--to", str(self.out / "planned"), "--dry-run"]
        yield ["find", "*", *there]
        yield ["diff", DATE, DATE, *there]
        yield ["why", "src/folder/inside", *there]
        yield ["backup", "--set", "box", str(self.source), str(self.drive)]
        self.forget_newer()
        yield ["backup", "--set", "box", "-n", str(self.source), str(self.drive)]
        yield ["backup", "--set", "box", "--checksum", str(self.source), str(self.drive)]
        self.forget_newer()
        yield ["restore", DATE, "src", *there, "--to", str(self.out / "merged"), "--merge"]

    def forget_newer(self) -> None:
        """Take the copies away that a run has just made, so that the hostile one is the newest again."""
        for date in dates(self.box):
            if date not in (OLDER, DATE):
                (self.box / date).rename(Path(tempfile.mkdtemp(dir=self.out)) / date)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@contextlib.contextmanager
def caught_reading(world: World) -> Iterator[None]:
    """Assert that no file outside the set is opened by any way, but what a drive has at its top and another set's manifest."""
    real, opened = os.open, set()  # type: Any, Set[str]

    def watching(*args: Any, **options: Any) -> int:
        fd: int = real(*args, **options)
        opened.add(os.readlink(f"/proc/self/fd/{fd}"))
        return fd

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watching)
        yield
    closed = (f"{world.root}/secret", f"{world.drive}/private", f"{world.drive}/other/{DATE}/src")
    assert [path for path in opened if path.startswith(closed)] == []


CODES = {"list": {0, 1, 2, 3}, "find": {0, 1, 2, 3}, **{
    name: {0, 1, 2, 3, 4} for name in ("verify", "restore", "backup", "diff", "why")}}


def holds(world: World, words: List[str]) -> int:
    """Carry out a command; assert that it keeps to its place and its manners, and give its exit code."""
    with caught_reading(world):
        outcome = ask(*words)
    assert outcome.code in CODES[words[0]], outcome
    assert "Traceback" not in outcome.err, outcome
    assert "[Errno" not in outcome.err, outcome
    assert SECRET.decode() not in outcome.out + outcome.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", outcome.out + outcome.err), outcome
    if outcome.code in (1, 2):
        assert (outcome.out, outcome.err.count("\n")) == ("", 1), outcome
    assert differences(world.outside(), world.before) == []
    assert world.secrets() == []
    return int(outcome.code)


class Hostile(NamedTuple):
    """A manifest, what is done to the drive first, and how restore, verify and backup must end."""

    lines: Union[bytes, List[str]]
    restore: int = 4
    prepare: Callable[[World], object] = lambda _world: None
    verify: int = 4
    backup: Sequence[int] = (0, 3, 4)  # it may not meet the bad line, store everything anew with a note, or refuse


SRC = folder("src")
MANY = "9" * 20
ABOVE = [*SRC, *file("src/a"), *folder("src/folder")]


def swap(path: str, make: Callable[[Path, World], object]) -> Callable[[World], object]:
    """Put something else in the place of a path of the dated copy."""

    def do(world: World) -> None:
        remove_tree(world.box / DATE / path) if (world.box / DATE / path).is_dir() else (world.box / DATE / path).unlink()
        make(world.box / DATE / path, world)

    return do


INSIDE = [*SRC, *file("src/x"), *folder("src/folder"), *file("src/folder/inside")]
SECRET_INSIDE = [*SRC, *file("src/x", SECRET), *folder("src/folder"), *file("src/folder/x", SECRET)]
BAD_HEADERS: Sequence[Dict[str, Any]] = [
    {"seq": 0}, {"seq": -1}, {"seq": "5"}, {"seq": None}, {"seq": 5.5}, {"taken": 5}, {"taken": "now"}, {"taken": "2026-11-22"},
    {"taken": "2026-11-22T23:15:07"}, {"sources": []}, {"sources": {"src": 5}}, {"sources": {"../x": "/x"}}, {"sources": {"": "/"}},
    {"sources": {".": "/"}}, {"sources": {"a/b": "/"}}, {"sources": {"a\0b": "/"}}, {"sources": {"SHA256SUMS": "/"}}, {"set": 5},
    {"seq": float("inf")}, {"seq": float("nan")}, {"sources": None}, {"sources": {"src": None}},
]  # fmt: skip
BAD_ENDS: Sequence[Dict[str, Any]] = [
    {"files": None}, {"files": "1"}, {"dirs": []}, {"bytes": 1.5}, {"sha256": None}, {"sha256": "0" * 64}, {"sha256": 5},
    {"sha256": "\u0130"}, {"bytes": float("nan")},
]  # fmt: skip

HOSTILE: Dict[str, Hostile] = {
    # paths that lead elsewhere
    "a folder above": Hostile([*SRC, *folder("../evil")]),
    "a folder that climbs": Hostile([*SRC, *folder("src/.."), *folder("src/../../evil")]),
    "a folder from the root": Hostile([*SRC, *folder("/tmp")]),
    "a folder without a name": Hostile([*SRC, *folder("src/")]),
    "a folder that is the target": Hostile([*folder("."), *file("./x")]),
    "a folder in one that was not named": Hostile([*SRC, *folder("src/a/b")]),
    "a file above": Hostile([*SRC, *file("../evil")]),
    "a file far above": Hostile([*SRC, *file("src/../../evil")]),
    "a file from the root": Hostile([*SRC, *file("/tmp/evil")]),
    "a file called ..": Hostile([*SRC, *file("src/..")]),
    "a file called .": Hostile([*SRC, *file("src/.")]),
    "a file without a name": Hostile([*SRC, *file("src/")]),
    "an escaped way up": Hostile([*SRC, *folder("src/\\056\\056"), *folder("src/\\056\\056/evil")]),
    "an escaped slash": Hostile([*SRC, *file("src/x\\057..\\057..\\057evil", stored="src/x")]),
    "an escaped zero in a file's name": Hostile([*SRC, *file("src/x\\000y", stored="src/x")]),
    "an escaped zero in a folder's name": Hostile([*SRC, *folder("src/x\\000y")]),
    "an escaped zero in a link's name": Hostile([*SRC, *link("src/x\\000y", "x")]),
    "an escaped zero in a link's target": Hostile([*SRC, *link("src/y", "x\\000y")]),
    "a link without a target": Hostile([*SRC, *special("link", "src/y")]),
    "a link to nothing": Hostile([*SRC, *link("src/y", "")]),
    "a zero byte": Hostile(manifest(b"# type=dir mode=0755 uid=0 gid=0 time=1.000000000 path=src\0\n"), 4),
    "a file in another folder's part": Hostile([*SRC, *folder("src/folder"), *file("src/x")]),
    # stored paths that lead elsewhere
    "stored above": Hostile([*SRC, *file("src/x", SECRET, stored="../../../secret")], 4, backup=[0]),
    "stored above its date": Hostile([*SRC, *file("src/x", SECRET, stored=f"../{DATE}/../../private")], 4, backup=[0]),
    "stored in another set": Hostile([*SRC, *file("src/x", SECRET, stored=f"../../other/{DATE}/src/x")], 4, backup=[0]),
    "stored in another set, through a date": Hostile(
        [*SRC, *file("src/x", SECRET, stored=f"../{OLDER}/../../other/{DATE}/src/x")], 4, backup=[0]),
    "stored from the root": Hostile([*SRC, *file("src/x", SECRET, stored="/etc/passwd")], 4, backup=[0]),
    "stored in what is no date": Hostile([*SRC, *file("src/x", stored="../manifests/x")], 4, backup=[0]),
    "stored in what is not finished": Hostile([*SRC, *file("src/x", stored=f"../{OLDER}.incomplete/src/x")], 4, backup=[0]),
    "stored in a date that is a link": Hostile(
        [*SRC, *file("src/x", SECRET, stored="../2026-01-01_000000/x")], 4,
        lambda world: (world.box / "2026-01-01_000000").symlink_to(world.root / "secret folder"), backup=[0, 3]),
    "stored in a date that is not there": Hostile([*SRC, *file("src/x", SECRET, stored="../2026-01-01_000000/x")], 4, backup=[0]),
    # what lies on the drive instead of a file or folder
    "a link for a file": Hostile(
        SECRET_INSIDE, 4, swap("src/x", lambda path, world: path.symlink_to(world.root / "secret")), backup=[0]),
    "a short link for a file": Hostile(
        SECRET_INSIDE, 4, swap("src/x", lambda path, _world: path.symlink_to("../../../private")), backup=[0]),
    "a link for a folder": Hostile(
        SECRET_INSIDE, 4, swap("src/folder", lambda path, world: path.symlink_to(world.root / "secret folder")), backup=[0]),
    "a link for the source": Hostile(
        [*SRC, *file("src/x", SECRET)], 4, swap("src", lambda path, world: path.symlink_to(world.root / "secret folder")), backup=[0]),
    "a folder for a file": Hostile(INSIDE, 4, swap("src/x", lambda path, _world: path.mkdir()), backup=[0]),
    # lines that make no sense
    "a checksum of 63 digits": Hostile([*SRC, *file("src/x", digest="0" * 63)]),
    "a checksum in capitals": Hostile([*SRC, *file("src/x", digest="A" * 64)]),
    "a wrong checksum": Hostile([*SRC, *file("src/x", digest="0" * 64), *folder("src/folder"), *file("src/folder/inside")], 4, backup=[0]),
    "a file without its checksum": Hostile([*SRC, file("src/x")[0]]),
    "a file without its checksum, and then another": Hostile([*SRC, file("src/x")[0], *file("src/y")]),
    "a checksum without its file": Hostile([*SRC, file("src/x")[1]]),
    "an unknown escape": Hostile([*SRC, file("src/x")[0], "\\" + file("src/\\x")[1]]),
    "an empty line": Hostile([*SRC, "", *file("src/x")]),
    "a comment": Hostile([*SRC, "# a comment", *file("src/x")]),
    "an unknown type": Hostile([*SRC, *special("socket", "src/y"), *file("src/x")]),
    "no type": Hostile([*SRC, "# type= path=src/y"]),
    "a line without a path": Hostile([*SRC, "# type=fifo mode=0644 uid=0 gid=0 time=1.000000000"]),
    "a folder without a path": Hostile([*SRC, "# type=dir mode=0644 uid=0 gid=0 time=1.000000000"]),
    "a file twice": Hostile([*SRC, *file("src/x"), *file("src/x")]),
    "a folder twice": Hostile([*SRC, *folder("src/folder"), *folder("src/folder")]),
    "a file and a link of one name": Hostile([*SRC, *file("src/x"), *link("src/x", "/etc")]),
    "a link that is then a folder": Hostile([*SRC, *link("src/a", "../../.."), *folder("src/a"), *file("src/a/evil", stored="src/x")]),
    "a link to another place that is then a folder": Hostile(
        [*SRC, *link("src/a", "/tmp"), *file("src/x"), *folder("src/a"), *file("src/a/evil", stored="src/x")], 4),
    "a link that is then the source": Hostile([*link("src", "/tmp"), *SRC, *file("src/evil", stored="src/x")]),
    "a file that is then a folder": Hostile([*SRC, *file("src/a", stored="src/x"), *folder("src/a"), *file("src/a/x", stored="src/x")]),
    "files out of order": Hostile([*SRC, *file("src/x"), *file("src/a", stored="src/x")]),
    "folders out of order": Hostile([*SRC, *folder("src/folder"), *folder("src/a")]),
    "a mode of nonsense": Hostile([*folder("src", "mode=rwx uid=0 gid=0 time=1.000000000")]),
    "a mode with a nine": Hostile([*folder("src", "mode=0799 uid=0 gid=0 time=1.000000000")]),
    "a negative owner": Hostile([*folder("src", "mode=0755 uid=-1 gid=0 time=1.000000000")]),
    "no owner": Hostile([*folder("src", "mode=0755 time=1.000000000")]),
    "a time of nonsense": Hostile([*folder("src", "mode=0755 uid=0 gid=0 time=yesterday")]),
    "a size of nonsense": Hostile([*SRC, file("src/x")[0].replace("size=", "size=x"), file("src/x")[1]]),
    "an attribute that is no base64": Hostile([*SRC, *file("src/x", words=" xattr.user.x=@@@@")]),
    "an attribute of half a base64": Hostile([*SRC, *file("src/x", words=" xattr.user.x=QQ")]),
    "a device of nonsense": Hostile([*SRC, *special("char", "src/y", " device=linux,x,y")]),
    "a device without a number": Hostile([*SRC, *special("block", "src/y")]),
    # allowed, but odd: it comes back as far as the disk can hold it
    "an owner beyond all owners": Hostile(
        [*folder("src", f"mode=0755 uid={MANY} gid={MANY} time=1.000000000"), *file("src/x"),
         *folder("src/folder"), *file("src/folder/inside")],
        0, verify=0, backup=[0]),
    "the owner that means none": Hostile(
        [*folder("src", "mode=0755 uid=4294967295 gid=4294967295 time=1.000000000"), *file("src/x"), *folder("src/folder"),
         *file("src/folder/inside")], 0, verify=0, backup=[0]),
    "a link owned by nobody there is": Hostile(
        [*SRC, *[line.replace("uid=0 gid=0", f"uid={2**32 - 1} gid={MANY}") for line in link("src/folder-link", "x")], *file("src/x")],
        0, lambda world: (world.box / DATE / "src" / "folder-link").symlink_to("x"), verify=0, backup=[0]),
    "a time beyond all times": Hostile(
        [*folder("src", "mode=0755 uid=0 gid=0 time=999999999999999999.999999999"), *file("src/x"), *folder("src/folder"),
         *file("src/folder/inside")], 0, verify=0, backup=[0]),
    "a link in a time before all times": Hostile(
        [*SRC, *[line.replace("time=1700000000", "time=-999999999999999999") for line in link("src/a", "x")], *file("src/x")],
        0, lambda world: (world.box / DATE / "src" / "a").symlink_to("x"), verify=0, backup=[0]),
    "every bit of the mode": Hostile(
        [*folder("src", "mode=7777777 uid=0 gid=0 time=1.000000000"), *file("src/x"), *folder("src/folder"), *file("src/folder/inside")],
        0, verify=0, backup=[0]),
    "a size beyond all sizes": Hostile(
        [*SRC, file("src/x")[0].replace("size=12", f"size={MANY}"), file("src/x")[1], *folder("src/folder"), *file("src/folder/inside")],
        0, verify=4, backup=[0]),
    "attributes that no disk takes": Hostile(
        [*SRC, *file("src/x", words=" xattr.=QQ== xattr.nonsense=QQ== xattr.user.\\012=QQ== xattr.user.x="
                     + base64.b64encode(bytes(70_000)).decode()), *folder("src/folder"), *file("src/folder/inside")],
        0, verify=0, backup=[0]),
    "an attribute whose name has a zero": Hostile([*SRC, *file("src/x", words=" xattr.user.a\\000b=QQ==")]),
    "names of devices": Hostile(
        [*SRC, *[line for name in ("AUX", "COM1", "CON", "NUL", "PRN", "con.txt") for line in file(f"src/{name}", stored="src/x")],
         *file("src/x")], 0, verify=0, backup=[0]),
    "a device that there is not": Hostile(
        [*SRC, *special("char", "src/a", " optional device=linux,999999999,999999999"), *file("src/x")], 3, verify=0, backup=[0]),
    "a name of 300 bytes": Hostile([*SRC, *file("src/" + "y" * 300, stored="src/x")], 3, verify=0, backup=[0]),
    "a link target of 5000 bytes": Hostile([*SRC, *link("src/a", "y" * 5000), *file("src/x")], 3, backup=[0]),
    "a link that leads out": Hostile(
        [*SRC, *link("src/a", "../../../../../../etc/passwd"), *file("src/x")], 0,
        lambda world: (world.box / DATE / "src" / "a").symlink_to("../../../../../../etc/passwd"), verify=0, backup=[0]),
    "a hard link to a link": Hostile(
        [*SRC, *link("src/a", "/etc/passwd", " ino=1 nlink=2 resdevice=1"), *file("src/x", words=" ino=1 nlink=2 resdevice=1")], 0,
        lambda world: (world.box / DATE / "src" / "a").symlink_to("/etc/passwd"), verify=0, backup=[0]),
    "a hard link to what was not restored": Hostile(
        [*SRC, *file("src/a", words=" ino=1 nlink=2 resdevice=1"), *file("src/x", words=" ino=1 nlink=2 resdevice=1")], 4, backup=[0]),
    # first and last lines
    **{f"header {word}": Hostile(manifest(INSIDE, word), backup=[0, 3]) for word in BAD_HEADERS},
    **{f"end {word}": Hostile(manifest(INSIDE, None, word), backup=[0, 3])
       for word in BAD_ENDS},
    "nothing": Hostile(b"", backup=[0, 3]),
    "one newline": Hostile(b"\n", backup=[0, 3]),
    "zeros": Hostile(bytes(5000), backup=[0, 3]),
    "only an end": Hostile(b"# end {}\n", backup=[0, 3]),
    "no end": Hostile(manifest(INSIDE).rpartition(b"# end")[0], backup=[0, 3]),
    "half an end": Hostile(manifest(INSIDE)[:-20], backup=[0, 3]),
    "no last newline": Hostile(manifest(INSIDE)[:-1], backup=[0, 3]),
    "something after the end": Hostile(manifest(INSIDE) + b"x\n", backup=[0, 3]),
    "two ends": Hostile(manifest(INSIDE) + manifest(INSIDE).rpartition(b"\n# end")[2], backup=[0, 3]),
    "a manifest in a manifest": Hostile(manifest(manifest(INSIDE)), 4),
    "a newer format": Hostile(manifest(INSIDE).replace(b"manifest 1 ", b"manifest 2 "), backup=[0, 3]),
    "deep json": Hostile(b"# snapback manifest 1 " + b"[" * 100_000 + b"\n" + manifest(INSIDE), backup=[0, 3]),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_manifest_leads_nowhere(world: World, case: str) -> None:
    """It ends as documented, in one sentence, and nothing outside is written or read."""
    hostile = HOSTILE[case]
    ended: Dict[str, List[int]] = {}
    for twins in (True, False) if isinstance(hostile.lines, bytes) else (False,):  # a twin counts where the first is no manifest
        world.plant(hostile.lines, twins)
        hostile.prepare(world)
        for words in world.commands():
            kind = "dry run" if "-n" in words else "plan" if "--dry-run" in words else words[0]
            ended.setdefault(kind, []).append(holds(world, words))
        remove_tree(world.out)
        world.out.mkdir()
    assert (set(ended["verify"]), set(ended["restore"])) == ({hostile.verify}, {hostile.restore})
    assert set(ended["backup"]) <= set(hostile.backup), ended
    assert set(ended["dry run"]) <= {0, 3, 4} & {0, 3, *hostile.backup}, ended


@pytest.mark.parametrize("words", [
    {"files": 10**400, "bytes": 10**400, "added": 10**400}, {"files": -5, "bytes": -10**30}, {"added": "x"}, {"added": None},
    {"added": [1]}, {"added": float("nan")}, {"added": float("inf")}, {"added": 1.5}, {"added": {}}, {"files": True, "bytes": False},
    {"skipped": "\x1b[31m", "kept": {}}, {"added": -1},
])  # fmt: skip
def test_odd_numbers_in_the_last_line_disturb_nobody(world: World, words: Dict[str, Any]) -> None:
    world.plant(manifest(INSIDE, None, words))
    for command in world.commands():
        holds(world, command)
        json.loads(
            ask(*command, "--json", *(["--merge"] if command[0] == "restore" else [])).out,
            parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
        )


@pytest.mark.parametrize("words", [
    {"seq": 10**30}, {"seq": 10**4299}, {"seq": 10**4300 - 1}, {"taken": "0001-01-01T00:00:00+23:59"},
    {"taken": "9999-12-31T23:59:59-23:59"}, {"machine": None}, {"machine": ["x"]}, {"host": ["\x1b"], "machine": "other"},
    {"host": "\x1b[31m\n", "machine": "other"}, {"named_after_host": "x"}, {"sources": {}},
    {"sources": {"src": "", "x": "/"}}, {"sources": {"src": "/home/x/src\x1b[2J", "\u202e": "\ud800"}}, {"layout": 5}, {"more": {"x": [1]}},
    {"sources": {f"{nth}": "/" for nth in range(20_000)}},
])  # fmt: skip
def test_odd_words_in_the_first_line_disturb_nobody(world: World, words: Dict[str, Any]) -> None:
    world.plant(manifest(INSIDE, words))
    for command in world.commands():
        holds(world, command)


ON_THE_DRIVE: Dict[str, Callable[[World], object]] = {
    "a link for the manifest": swap("SHA256SUMS", lambda path, world: path.symlink_to(world.root / "secret")),
    "a folder for the manifest": swap("SHA256SUMS", lambda path, _world: path.mkdir()),
    "a link for the date": lambda world: swap("", lambda path, _: path.symlink_to(world.root / "secret folder"))(world),
    "a link for the twins": lambda world: (
        remove_tree(world.box / "manifests"), (world.box / "manifests").symlink_to(world.root / "secret folder")),
    "a link for a twin": lambda world: (
        (world.box / "manifests" / f"{DATE}.gz").unlink(), (world.box / "manifests" / f"{DATE}.gz").symlink_to(world.root / "secret"),
        (world.box / DATE / "SHA256SUMS").unlink()),
    "a link for the set": lambda world: (world.box.rename(world.out / "real"), world.box.symlink_to("other")),
    "a link for the history": lambda world: (world.box / "history.jsonl").symlink_to(world.root / "secret"),
    "a link for the list of damage": lambda world: (world.box / "damaged.txt").symlink_to(world.root / "secret"),
    "a link for the lock": lambda world: (world.box / "lock").symlink_to(world.root / "secret"),
    "a link for latest": lambda world: (world.box / "latest").symlink_to(world.root / "secret folder"),
    "a folder for latest": lambda world: (world.box / "latest").mkdir(),
    "a link for what is not finished": lambda world: (
        world.box / "2026-11-21_000000.incomplete").symlink_to(world.root / "secret folder"),
    "links in what is not finished": lambda world: (
        (world.box / "2026-11-21_000000.incomplete").mkdir(),
        (world.box / "2026-11-21_000000.incomplete" / "src").symlink_to(world.root / "secret folder")),
    "a link for the tool": lambda world: (world.drive / "snapback.py").symlink_to(world.root / "secret"),
    "a link for the plan": lambda world: (world.drive / "READ-ME-FIRST.txt").symlink_to(world.root / "secret"),
    "a link for a passing name": lambda world: (
        world.box / ".latest.box-0123456789ab.incomplete").symlink_to(world.root / "secret folder"),
}  # fmt: skip


@pytest.mark.parametrize("case", ON_THE_DRIVE)
def test_links_on_a_drive_lead_nowhere(world: World, case: str) -> None:
    world.plant(INSIDE)
    ON_THE_DRIVE[case](world)
    for words in world.commands():
        holds(world, words)


# --- A hostile drive: what could hang, or eat all memory ------


FIFOS: Dict[str, Sequence[str]] = {
    "manifest and twin": [f"box/{DATE}/SHA256SUMS", f"box/manifests/{DATE}.gz"],
    "in the set": [f"box/{DATE}/src/x", "box/damaged.txt", "box/history.jsonl", "box/latest"],
    "folders": [f"box/{DATE}", "box/manifests"],
    "lock and top": ["box/lock", "snapback.py", "READ-ME-FIRST.txt"],
    "marker": ["snapback-marker.txt"],
}


@pytest.mark.parametrize("case", FIFOS)
def test_a_fifo_hangs_nobody_wherever_it_stands(world: World, cli: Cli, case: str) -> None:
    world.plant(INSIDE)
    for place in (world.drive / path for path in FIFOS[case]):
        remove_tree(place) if place.is_dir() else place.unlink() if place.exists() else None
        os.mkfifo(place)
    there = ["--drive", world.drive, "--set", "box"]
    for words in (
        ["list", *there],
        ["verify", *there],
        ["restore", "latest", *there, "--to", world.out / "x"],
        ["backup", "--set", "box", world.source, world.drive],
    ):
        ended = cli(*words, timeout=60)
        codes = CODES[str(words[0])] | ({75} if case == "marker" else set())
        assert (ended.code in codes, "Traceback" in ended.err) == (True, False), ended


@pytest.mark.needs("root")
def test_a_device_in_the_place_of_a_file_is_not_read(world: World, cli: Cli) -> None:
    for place in ("src/x", "SHA256SUMS"):
        world.plant(INSIDE, twins=False)
        (world.box / DATE / place).unlink()
        os.mknod(world.box / DATE / place, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero never ends
        for words in (["list"], ["verify"], ["restore", DATE, "--to", str(world.out / place[:3])]):
            ended = cli(*words, "--drive", world.drive, "--set", "box", timeout=60)
            assert (ended.code in CODES[words[0]], "Traceback" in ended.err) == (True, False), (place, ended)


GB = (1 << 30) // (2 if COARSE else 1)  # more than a process of these tests may have, at any rate


def sparse_manifest(path: Path, before: bytes, zeros: int, after: bytes) -> None:
    """Write a manifest with so many zeros in its middle, which take no room on the disk; its end hash is right."""
    above = manifest(b"").partition(b"\n")[0] + b"\n" + before
    sha = hashlib.sha256(above)
    for _ in range(zeros // MIB):
        sha.update(bytes(MIB))
    sha.update(after)
    end = json.dumps({"files": 1, "dirs": 1, "bytes": 1, "sha256": sha.hexdigest()})
    with open(path, "wb") as file:
        file.write(above)
        file.truncate(len(above) + zeros)
        file.seek(0, 2)
        file.write(after + b"# end " + end.encode() + b"\n")


def test_a_line_of_a_gigabyte_takes_no_memory(world: World, cli: Cli) -> None:
    world.plant(INSIDE, twins=False)
    sparse_manifest(world.box / DATE / "SHA256SUMS", b"# type=dir mode=0755 uid=0 gid=0 time=1.000000000 path=", GB, b"\n")
    for words, code in ((["list"], {0, 3}), (["verify", DATE], {4}), (["restore", DATE, "--to", str(world.out / "x")], {4})):
        ended = cli(*words, "--drive", world.drive, "--set", "box", before=["prlimit", f"--as={300 * MIB}"], timeout=60)
        assert (ended.code in code, "Traceback" in ended.err, "MemoryError" in ended.err) == (True, False, False), ended
    ended = cli("backup", "--set", "box", world.source, world.drive, before=["prlimit", f"--as={400 * MIB}"], timeout=60)
    assert (ended.code in (3, 4), "Traceback" in ended.err) == (True, False), ended


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_first_or_last_line_of_a_gigabyte_takes_no_memory(world: World, cli: Cli, where: str) -> None:
    world.plant(INSIDE, twins=False)
    path = world.box / DATE / "SHA256SUMS"
    text = manifest(INSIDE)
    with open(path, "wb") as file:
        file.write(b"# snapback manifest 1 " if where == "first" else text[:-1])
        file.truncate(GB)
        file.seek(0, 2)
        file.write(text if where == "first" else b"\n")
    for words in (["list"], ["verify"], ["restore", DATE, "--to", str(world.out / "x")]):
        ended = cli(*words, "--drive", world.drive, "--set", "box", before=["prlimit", f"--as={300 * MIB}"], timeout=60)
        assert (ended.code in CODES[words[0]], "Traceback" in ended.err) == (True, False), ended
    ended = cli("backup", "--set", "box", world.source, world.drive, before=["prlimit", f"--as={400 * MIB}"], timeout=60)
    assert (ended.code in (0, 3), "Traceback" in ended.err) == (True, False), ended


def test_a_twin_that_unpacks_to_a_flood_does_not_fill_the_disk(world: World, cli: Cli, tmp_path: Path) -> None:
    """Zeros take a thousandth of their room when packed; here no file may become larger than 64 MiB."""
    world.plant(INSIDE)
    (world.box / DATE / "SHA256SUMS").unlink()
    with gzip.open(world.box / "manifests" / f"{DATE}.gz", "wb", 1) as packed:
        for _ in range(80):
            packed.write(bytes(4 * MIB))
    before = ["prlimit", f"--as={300 * MIB}", f"--fsize={64 * MIB}"]
    for words in (["list"], ["verify"]):
        ended = cli(*words, "--drive", world.drive, "--set", "box", before=before, timeout=60)
        assert (ended.code in CODES[words[0]], "Traceback" in ended.err) == (True, False), ended


# --- A hostile drive: mutations ------

TOKENS = [b"..", b"/", b"\\000", b"\\057", b"\0", b" path=", b"link=", b"../" * 20, b"\n", b"\r", b" ", b"\\", b"=", b"# ", b"type=link",
          b"type=dir", b"type=file", b"type=char", b"type=skipped", b"optional", b"kept=2026-11-20_120000", b"nlink=2", b"\xff",
          b"9" * 20, b"-1", b"0", b"src", b"src/x", b"/etc/passwd", b"xattr.user.a=", b"../../secret", b"{", b"}", b'"', b"null", b"NaN",
          b"99999999999999999999999", b"# end ", b"# snapback manifest 1 ", DATE.encode(), f"../{OLDER}/src/x".encode()]  # fmt: skip


def all_kinds_of_lines() -> bytes:
    """Make a manifest with every kind of line that there is."""
    return manifest([
        *file("note", words=" xattr.user.a=QQ=="), *SRC, *link("src/a\\040link", "x"), special("fifo", "src/fifo")[0],
        *file("src/one", words=" ctime=1.000000000 ino=5 nlink=2 resdevice=7"), *file("src/two", words=" ino=5 nlink=2 resdevice=7"),
        "# type=skipped why=permission\\040denied path=src/unread", *file("src/x", words=f" kept={OLDER}"),
        *folder("src/folder"), *file("src/folder/inside", stored=f"../{OLDER}/src/folder/inside"),
        "# type=skipped of=dir why=closed path=src/shut", *folder("src/zz", "mode=0500 uid=1 gid=1 time=-1.000000001 xattr.user.x="),
    ], {"sources": {"src": "/home/x/src", "note": "/home/x/note"}})  # fmt: skip


def mutated(rng: random.Random, text: bytes) -> bytes:
    """Change a manifest in a few places; its end hash is right again, unless the end itself was hit."""
    above, _, end = text.rpartition(b"# end ")
    hit_end = rng.random() < 0.1
    parts = bytearray(end if hit_end else above)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(parts) + 1)
        length = rng.choice([0, 1, 1, 2, 5, 20])
        kind = rng.randrange(6)
        if kind == 0:
            parts[at : at + 1] = bytes([rng.randrange(80)])
        elif kind == 1:
            del parts[at : at + length]
        elif kind == 2:
            parts[at : at + length] = rng.choice(TOKENS)
        elif kind == 3:
            parts[at:at] = rng.choice(TOKENS)
        elif kind == 4:
            lines = bytes(parts).split(b"\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            parts = bytearray(b"\n".join(lines))
        else:
            lines = bytes(parts).split(b"\n")
            del lines[rng.randrange(len(lines))]
            parts = bytearray(b"\n".join(lines))
    if hit_end:
        return above + b"# end " + bytes(parts)
    numbers = json.loads(end)
    return bytes(parts) + b"# end " + json.dumps({**numbers, "sha256": hashlib.sha256(parts).hexdigest()}).encode() + b"\n"


SEEDS = [range(start, start + 20) for start in range(0, 200, 20)]


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_no_mutation_of_a_manifest_gets_out(world: World, seeds: range) -> None:
    text = all_kinds_of_lines()
    for seed in seeds:
        world.plant(mutated(random.Random(seed), text), twins=False)
        for name in ("one", "two"):
            (world.box / DATE / "src" / name).write_bytes(GOOD)
        for words in itertools.islice(world.commands(), None if seed % 4 == 0 else 4):
            try:
                holds(world, [*words, "--jobs", "1"])
            except BaseException:
                print(f"seed {seed}: {' '.join(words)}\n{(world.box / DATE / 'SHA256SUMS').read_bytes()!r}")
                raise
        remove_tree(world.out)
        world.out.mkdir()


def test_what_the_mutations_are_made_of_comes_back_by_itself(world: World) -> None:
    """Otherwise they would all end at the same first line."""
    world.plant(all_kinds_of_lines())
    for name in ("one", "two"):
        (world.box / DATE / "src" / name).write_bytes(GOOD)
    outcome = ask("restore", DATE, "--drive", world.drive, "--set", "box", "--to", world.out / "x")
    assert outcome.code == 4, outcome
    assert [line.partition(" (")[0] for line in outcome.err.splitlines()[:-1]] == [
        "missing: note",
        "src/unread: it is not in this copy: it could not be read then",
        "src/x: it is as it was on 2026-11-20_120000, as it could not be read on the date of this copy",
        "src/shut: it is not in this copy: it could not be read then",
    ]
    assert below(world.out / "x") == ["src/a link", "src/fifo", "src/folder/inside", "src/one", "src/two", "src/x", "src/zz"]


# --- Patterns, and the plan ------


def grown_with(source: Path, *names: str) -> Path:
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    return source


PATTERNS = [
    (["*.odt"], ["a.odt", "b/c.odt", "b/d/[x].odt"]), (["src/*.odt"], ["a.odt"]), (["src/b/**/*.odt"], ["b/c.odt", "b/d/[x].odt"]),
    (["{source}/b/*.odt"], ["b/c.odt"]), (["d*"], ["b/d/[x].odt", "b/d/e"]), (["src/b/d/[x].odt"], ["b/d/[x].odt"]),
    (["src/a.odt", "e*"], ["a.odt", "b/d/e"]), (["[ab].odt"], ["a.odt"]), (["*/"], ["a.odt", "b/c.odt", "b/d/[x].odt", "b/d/e"]),
    (["src/b/d/x.od?", "src/a.odt"], None), (["*.zip"], None), (["[x"], None), (["src/b/d/*/"], None),
]  # fmt: skip


@pytest.mark.parametrize(("words", "names"), PATTERNS, ids=[" ".join(words) for words, _ in PATTERNS])
def test_patterns_bring_back_what_they_match_and_no_empty_folders(
    tmp_path: Path, drive: Path, back: Path, words: List[str], names: Optional[List[str]]
) -> None:
    source = grown_with(tmp_path / "src", "a.odt", "b/c.odt", "b/d/[x].odt", "b/d/e")
    (source / "f").mkdir()
    back_up(drive, source)
    words = [word.format(source=source) for word in words]
    if names is None:
        outcome = ask("restore", "latest", *words, "--drive", drive, "--to", back)
        assert (outcome.code, outcome.out, outcome.err.count("\n"), back.exists()) == (2, "", 1, False)
    else:
        give_back(drive, back, "latest", *words)
        assert below(back) == [f"src/{name}" for name in names] + ["src/f"] * (words == ["*/"])


def test_a_path_that_is_there_is_no_pattern(tmp_path: Path, drive: Path, back: Path) -> None:
    back_up(drive, grown_with(tmp_path / "src", "a*", "ab", "-n"))
    give_back(drive, back, "latest", "src/a*", "./src/-n")
    assert below(back) == ["src/-n", "src/a*"]


def plan(drive: Path, *words: object, code: int = 0) -> Dict[str, Any]:
    """Ask for a plan, and assert that nothing changed for it."""
    before, beside = twin(drive.parent), sorted(os.listdir())
    outcome = ask("restore", *words, "-n", "--drive", drive, "--json")
    assert outcome.code == code, outcome
    assert (differences(twin(drive.parent), before), sorted(os.listdir())) == ([], beside)
    facts: Dict[str, Any] = json.loads(outcome.out)
    return facts


def test_a_plan_says_what_a_restore_then_does(source: Path, drive: Path, back: Path) -> None:
    (source.parent / "notes.txt").write_bytes(b"notes")
    back_up(drive, source, source.parent / "notes.txt")
    planned = plan(drive, "latest", "--to", back)
    done = json.loads(give_back(drive, back, "latest", "--json").out)
    assert {word: planned[word] for word in ("files", "bytes", "snapshot", "target")} == {
        word: done[word] for word in ("files", "bytes", "snapshot", "target")}
    assert [(one["source"], one["files"]) for one in planned["sources"]] == [("notes.txt", 1), ("src", done["files"] - 1)]
    assert (planned["set_aside"], planned["there"], planned["dry_run"]) == ([], 0, True)


def test_a_plan_names_what_would_be_written(tmp_path: Path, drive: Path, back: Path) -> None:
    names = [f"{number:02}" for number in range(22)]
    back_up(drive, grown_with(tmp_path / "src", *names))
    (back / "src").mkdir(parents=True)
    (back / "src" / "00").write_text("00")
    words = "latest", "--to", back, "--merge"
    assert plan(drive, *words)["paths"] == [f"src/{name}" for name in names[1:]]
    told = [line for line in ask("restore", *words, "-n", "--drive", drive).out.splitlines() if "would be written" in line]
    assert told[:20] == [f"would be written: src/{name}" for name in names[1:21]]
    assert [line.partition(";")[0] for line in told[20:21]] == ["... and 1 more that would be written"]


def test_a_plan_says_what_merging_would_set_aside(tmp_path: Path, drive: Path, back: Path) -> None:
    source = grown_with(tmp_path / "src", "same", "other", "longer", "missing", "folder/in", "wasfolder", "linked/in")
    (source / "link").symlink_to("same")
    back_up(drive, source)
    shutil.copytree(source, back / "src", symlinks=True)
    (back / "src" / "other").write_text("OTHER")
    (back / "src" / "longer").write_text("longer than that")
    (back / "src" / "missing").unlink()
    remove_tree(back / "src" / "folder")
    (back / "src" / "folder").write_text("a file")
    (back / "src" / "wasfolder").unlink()
    (back / "src" / "wasfolder").mkdir()
    remove_tree(back / "src" / "linked")
    (back / "src" / "linked").symlink_to(tmp_path)
    (back / "src" / "link").unlink()
    (back / "src" / "link").symlink_to("elsewhere")
    planned = plan(drive, "latest", "--to", back, "--merge")
    assert sorted(planned["set_aside"]) == [f"src/{name}" for name in ("folder", "link", "linked", "longer", "other", "wasfolder")]
    assert (planned["there"], planned["files"]) == (1, 7)
    done = json.loads(give_back(drive, back, "latest", "--merge", "--json").out)
    assert sorted(name.partition(".before")[0] for name in done["set_aside"]) == sorted(
        path.rpartition("/")[2] for path in planned["set_aside"])


def test_a_plan_refuses_what_a_restore_refuses(tmp_path: Path, drive: Path, back: Path) -> None:
    back_up(drive, grown_with(tmp_path / "src", "a"))
    back.mkdir()
    (back / "there").write_text("x")
    for words, code in ((["--to", back], 2), (["--to", drive / "box" / "x"], 2), (["nothing", "--to", tmp_path / "new"], 2)):
        assert "set_aside" not in plan(drive, "latest", *words, code=code)


def test_a_plan_names_what_has_no_room_and_no_name(tmp_path: Path, drive: Path, back: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(drive, grown_with(tmp_path / "src", "a:b", "plain"))
    monkeypatch.setattr(snapback, "free_space", lambda _path: (7, 100))
    monkeypatch.setattr(snapback, "takes_portable_names", lambda _path: True)
    monkeypatch.setattr(snapback, "largest_file", lambda _path: 4)
    planned = plan(drive, "latest", "--to", back, code=3)
    assert (planned["room"], planned["free"]) == (8, 7)
    named = {word: [one["path"] for one in planned["notes"] if word in one["why"]] for word in ("a name", "this size")}
    assert named == {"a name": ["src/a:b"], "this size": ["src/plain"]}
    assert "this would not fit" in ask("restore", "latest", "-n", "--to", back, "--drive", drive).err
