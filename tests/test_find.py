"""Finding things: every version of a file in all dates, what differs between two of them, and why something is copied."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
import random
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Set, Tuple

import pytest

import snapback
from conftest import COARSE
from faults import Call, Fault, Hit, watched
from trees import (
    Outcome,
    ask,
    ask_at,
    awkward_tree,
    dates,
    later,
    new_copy,
    random_edit,
    random_tree,
    remove_tree,
    set_time,
    twin,
)  # fmt: skip

pytestmark = pytest.mark.needs("linux")
LAYOUTS = ["complete", "changes"]


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "src"
    made.mkdir()
    return made


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(path: Path, text: str, seconds: int = 1_700_000_000) -> Path:
    """Write a file that has rested."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    set_time(path, seconds, 0)
    return path


def facts(*words: object, code: int = 0) -> Dict[str, Any]:
    """Ask for JSON, and assert how it ended."""
    outcome = ask(*words, "--json")
    assert outcome.code == code, outcome
    found: Dict[str, Any] = json.loads(outcome.out)
    return found


def find(drive: Path, word: object, *more: object, code: int = 0) -> Dict[str, Dict[str, Any]]:
    """Give what is found, by path."""
    found = facts("find", word, "--drive", drive, *more, code=code)["files"]
    by_path = {one["path"]: one for one in found}
    assert len(by_path) == len(found)
    return by_path


def reseal(manifest: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a list above its last line, and make that line true again; there is no second list any more."""
    above, _, end = manifest.read_bytes().rpartition(b"# end ")
    above = change(above)
    manifest.write_bytes(above + b"# end " + json.dumps({**json.loads(end), "sha256": hashlib.sha256(above).hexdigest()}).encode() + b"\n")
    (manifest.parents[1] / "manifests" / f"{manifest.parent.name}.gz").unlink()


def spoil(drive: Path, date: str, twin_too: bool = True) -> None:
    (drive / "box" / date / "SHA256SUMS").write_bytes(b"spoilt")
    if twin_too:
        (drive / "box" / "manifests" / f"{date}.gz").write_bytes(b"spoilt")


# --- Every version ------


def three_dates(source: Path, drive: Path, layout: str) -> List[str]:
    """Make dates in which a letter changes, is as before once more, and a photo is moved, and another file goes."""
    made = []
    for text in ("first", "second", "second"):
        write(source / "letter.odt", text, 1_700_000_000 + len(made))
        write(source / "folder" / ("photo" if len(made) < 2 else "moved"), "p" * 2_000_000)
        if len(made) == 2:
            (source / "folder" / "photo").unlink()
            (source / "gone").unlink()
        else:
            write(source / "gone", "gone")
        made.append(new_copy(drive, "--layout", layout, source).name)
    return made


def test_every_version_is_told_with_its_dates_and_where_it_lies(source: Path, drive: Path, layout: str) -> None:
    first, second, third = three_dates(source, drive, layout)
    (letter,) = find(drive, "letter.odt").values()
    assert (letter["path"], letter["gone"], letter["set"]) == ("src/letter.odt", False, "box")
    told = [(one["first"], one["last"], one["dates"], one["size"], one["sha256"]) for one in letter["versions"]]
    digests = [hashlib.sha256(text).hexdigest() for text in (b"first", b"second")]
    assert told == [(first, first, 1, 5, digests[0]), (second, third, 2, 6, digests[1])]
    assert [one["mtime"] for one in letter["versions"]] == ["2023-11-14T22:13:20+00:00", "2023-11-14T22:13:22+00:00"]
    assert [(drive / one["stored"]).read_text() for one in letter["versions"]] == ["first", "second"]


def test_the_commands_that_are_told_bring_each_version_back(source: Path, drive: Path, layout: str, tmp_path: Path) -> None:
    three_dates(source, drive, layout)
    for path, one in find(drive, "src/**").items():
        for version in one["versions"]:
            assert ask(*version["restore"], "--to", tmp_path / "back").code == 0
            back = tmp_path / "back" / path
            assert back.is_dir() if version["type"] == "dir" else hashlib.sha256(back.read_bytes()).hexdigest() == version["sha256"]
            remove_tree(tmp_path / "back")


def test_what_the_newest_date_does_not_have_is_marked(source: Path, drive: Path, layout: str) -> None:
    first, second, third = three_dates(source, drive, layout)
    found = find(drive, "**/*")
    assert {path for path, one in found.items() if one["gone"]} == {"src/gone", "src/folder/photo"}
    (moved,) = found["src/folder/moved"]["versions"]
    (photo,) = found["src/folder/photo"]["versions"]
    assert (moved["first"], photo["last"], moved["sha256"]) == (third, second, photo["sha256"])
    assert layout == "complete" or moved["stored"] == f"box/{first}/src/folder/photo"
    told = ask("find", "gone", "--drive", drive).out
    assert ("src/gone; not in the newest date" in told, found["src/gone"]["versions"][0]["sha256"][:8] in told) == (True, False)


@pytest.mark.parametrize(("word", "way"), [
    ("Letter.odt", "for a part of a name: snapback.py find '*Letter*' --drive {drive} --set box; capitals count"),
    ("src/x/.profil", "for a part of a name: snapback.py find '*.profil*' --drive {drive} --set box; capitals count"),
    ("*.ODT", "capitals count"),
])  # fmt: skip
def test_where_nothing_is_found_the_way_on_is_told(source: Path, drive: Path, word: str, way: str) -> None:
    name = new_copy(drive, write(source / "letter.odt", "1").parent).name
    first, *rest = ask("find", word, "--drive", drive, "--set", "box").out.splitlines()
    assert (first.partition(": ")[2], rest) == (f"nothing found for '{word}' in the one dated copy, {name}", [way.format(drive=drive)])
    assert len(ask("find", "letter.odt", "--drive", drive, "--set", "box").out.splitlines()) == 4


def test_a_date_of_other_folders_makes_nothing_look_gone(source: Path, drive: Path, tmp_path: Path) -> None:
    write(source / "letter", "1")
    write(tmp_path / "other" / "letter", "2")
    new_copy(drive, source)
    new_copy(drive, tmp_path / "other")
    assert {path: one["gone"] for path, one in find(drive, "letter").items()} == {"src/letter": False, "other/letter": False}


def test_the_order_of_dates_is_that_in_which_they_were_made(source: Path, drive: Path) -> None:
    write(source / "letter", "1")
    noon = datetime(2026, 11, 22, 12).astimezone()
    for day in (0, -3, -1):  # the clock was wrong
        outcome = ask_at(noon + timedelta(days=day), "backup", "--init", "--no-rotate", "--set", "box", source, drive)
        assert outcome.code == 0, outcome
    (version,) = find(drive, "letter")["src/letter"]["versions"]
    assert (version["first"][:10], version["last"][:10], version["dates"]) == ("2026-11-22", "2026-11-21", 3)


SAME = ["a b.txt", "src/folder/a b.txt", "{source}/folder/a b.txt", "{source}/folder/a b.tx?", "a*.txt", "**/folder/*b.txt",
        "src/*/a b.txt", "src/folder/*", "./src/folder/a b.txt"]  # fmt: skip


@pytest.mark.parametrize("word", SAME)
def test_a_name_a_pattern_and_either_path_find_the_same(source: Path, drive: Path, word: str) -> None:
    write(source / "folder" / "a b.txt", "1")
    write(source / "folder below" / "b.txt", "2")
    new_copy(drive, source)
    assert list(find(drive, word.format(source=source))) == ["src/folder/a b.txt"]


@pytest.mark.parametrize(("word", "paths"), [
    ("src", ["src", "src/src"]), ("/src", ["src"]), ("src/", ["src"]), ("folder/", ["src/folder"]),
    ("folder", ["src/folder", "src/x/folder"]),
    ("[xy]", ["src/x"]), ("?", ["src/x"]), ("FOLDER", []), ("x/folder", []), ("**/x/folder", ["src/x/folder"]), ("src/x", ["src/x"]),
    ("/nowhere", []),
])  # fmt: skip
def test_patterns_are_those_of_excludes(source: Path, drive: Path, word: str, paths: List[str]) -> None:
    for name in ("src", "x/folder", "folder/file"):
        write(source / name, name)
    new_copy(drive, source)
    assert sorted(find(drive, word)) == paths


def test_awkward_names_are_found_and_come_back(source: Path, drive: Path, tmp_path: Path, layout: str) -> None:
    names = [b"a*b", b"[x]", b"back\\slash", b"new\nline", b"\xff\xfe", b"-n", b"!not", b"#hash", b"end ", b"tab\t", b"cr\r", b"\xc2\xa0"]
    names.append(b"size=1")
    for name in names:
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(name)
    (source / "aXb").write_bytes(b"another")
    new_copy(drive, "--layout", layout, source)
    for name in names:
        word = os.fsdecode(name)
        found = find(drive, f"./{word}")
        path = f"src/{word}"
        assert path in found
        assert set(found) - {path} <= ({"src/aXb"} if name == b"a*b" else set())
        assert ask(*found[path]["versions"][0]["restore"], "--to", tmp_path / "back").code == 0
        assert [(one.name, one.read_bytes()) for one in (tmp_path / "back" / "src").iterdir()] == [(word, name)]
        remove_tree(tmp_path / "back")


def test_names_that_the_drive_spells_otherwise_are_found_as_they_were(source: Path, drive: Path) -> None:
    write(source / "what: is?" / "a*.txt", "1")
    assert ask("init", drive).code == 0
    marker = drive / "snapback-marker.txt"
    marker.write_text(marker.read_text().replace("names: any", "names: portable"))
    new_copy(drive, source)
    for word in ("a*.txt", "src/what: is?/a*.txt", "a[*].txt", "*: is?"):
        assert list(find(drive, word)) == ["src/what: is?" + ("" if word == "*: is?" else "/a*.txt")]
    (version,) = find(drive, "a*.txt")["src/what: is?/a*.txt"]["versions"]
    assert (drive / version["stored"]).read_text() == "1"


@pytest.mark.needs("root")
def test_looking_at_few_lines_finds_what_looking_at_all_does(source: Path, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.rmdir()
    awkward_tree(source)
    new_copy(drive, source, codes=(0, 3))
    paths = [path for path in sorted(find(drive, "**")) if path.count("/") < 10]
    words = {"*e*", "*.txt", "a*", "type", "path=*", "*[ab]*", "src/a*/**", "src/*/*", "*\\040*", "* *"}
    words |= {path.rpartition("/")[2] for path in paths[::len(paths) // 6]} | set(paths[:: len(paths) // 6])
    found = {word: ask("find", f"./{word}", "--drive", drive, "--json") for word in words}
    monkeypatch.setattr(snapback, "plain_part", lambda _glob: "")
    assert {word: ask("find", f"./{word}", "--drive", drive, "--json") for word in words} == found
    assert sum(outcome.out.count('"versions"') for outcome in found.values()) > len(words)


def fails_to_open(path: Path) -> Callable[[Call], None]:
    """Let a file of the source be closed to this user, even if that is root."""

    def hook(call: Call) -> None:
        if call.name == "open" and call.path == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), call.path)

    return hook


def test_what_could_not_be_read_is_neither_gone_nor_a_version(source: Path, drive: Path) -> None:
    kept, skipped = write(source / "kept", "1"), source / "skipped"
    first = new_copy(drive, source).name
    write(kept, "22")
    write(skipped, "3")
    with watched(lambda call: (fails_to_open(kept)(call), fails_to_open(skipped)(call), None)[2]):
        second = new_copy(drive, "--jobs", "1", source, codes=(3,)).name
    found = find(drive, "src/*")
    assert {path: one["gone"] for path, one in found.items()} == {"src/kept": False, "src/skipped": False}
    (version,) = found["src/kept"]["versions"]
    assert (version["first"], version["last"], version["kept"]) == (first, second, first)
    (version,) = found["src/skipped"]["versions"]
    assert (version["type"], version["why"], version["restore"]) == ("skipped", "permission denied", None)
    told = ask("find", "src/*", "--drive", drive).out
    assert f"kept from {first}, as it could not be read then" in told
    assert "not in it, as it could not be read then (permission denied)" in told


def test_what_a_check_found_damaged_is_marked_until_a_date_has_it_whole(source: Path, drive: Path) -> None:
    write(source / "letter", "12345")
    stored = new_copy(drive, source) / "src" / "letter"
    seen = stored.stat()
    stored.write_text("spoil")
    os.utime(stored, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert ask("verify", "--drive", drive).code == 4
    assert [one["damaged"] for one in find(drive, "letter")["src/letter"]["versions"]] == [True]
    assert "FOUND DAMAGED" in ask("find", "letter", "--drive", drive).out
    told = ask("why", "src/letter", "--drive", drive).out.splitlines()[1:]
    assert (told[0].endswith("; FOUND DAMAGED by a check"), told[1:]) == (
        True, [f"an earlier date may have it: snapback.py find src/letter --drive {drive}"])
    new_copy(drive, source)
    (version,) = find(drive, "letter")["src/letter"]["versions"]
    assert (version["damaged"], (drive / version["stored"]).read_text()) == (False, "12345")


# --- Where it is looked ------


def test_that_nothing_was_found_is_said_with_where_it_was_looked(source: Path, drive: Path) -> None:
    write(source / "letter", "1")
    names = [new_copy(drive, source).name for _ in range(2)]
    outcome = ask("find", "lettre", "--drive", drive)
    said = f"box on drive: nothing found for 'lettre' in 2 dated copies, {names[0]} to {names[1]}\n"
    way = f"for a part of a name: snapback.py find '*lettre*' --drive {drive}; capitals count\n"
    assert outcome == Outcome(0, said + way, "")
    found = facts("find", "lettre", "--drive", drive)
    assert (found["files"], found["searched"]) == ([], [{"drive": str(drive), "set": "box", "snapshots": names}])


def test_all_sets_are_looked_through_unless_one_is_named(source: Path, drive: Path) -> None:
    write(source / "letter", "1")
    new_copy(drive, source)
    assert ask("backup", "--set", "crate", source, drive).code == 0
    found = facts("find", "letter", "--drive", drive)["files"]
    assert [(one["set"], one["versions"][0]["restore"][-2:]) for one in found] == [("box", ["--set", "box"]), ("crate", ["--set", "crate"])]
    (one,) = facts("find", "letter", "--drive", drive, "--set", "crate")["files"]
    assert (one["set"], one["versions"][0]["restore"][-2:]) == ("crate", ["--set", "crate"])
    assert ask("find", "letter", "--drive", drive, "--set", "chest").code == 2


def test_all_attached_drives_of_the_settings_are_looked_through(source: Path, tmp_path: Path, home: Path) -> None:
    write(source / "letter", "1")
    sections = ""
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        new_copy(tmp_path / name, source)
        number = facts("init", tmp_path / name)["id"]
        sections += f"[drive {number}]\npath = {tmp_path / name}\n"
    write(home / ".config/snapback/snapback.ini", f"[backup]\nsources = {source}\n{sections}")
    found = facts("find", "letter")
    assert [one["drive"] for one in found["files"]] == [str(tmp_path / "near"), str(tmp_path / "far")]
    shutil.rmtree(tmp_path / "far")
    assert [one["drive"] for one in facts("find", "letter")["files"]] == [str(tmp_path / "near")]
    shutil.rmtree(tmp_path / "near")
    assert ask("find", "letter").code == 75


def test_no_marker_and_no_leave_to_write_is_needed_and_nothing_is_written(source: Path, drive: Path) -> None:
    write(source / "letter", "1")
    date = new_copy(drive, source).name
    (drive / "snapback-marker.txt").unlink()
    before = twin(drive)

    def refuse(call: Call) -> None:
        writes = call.name in {"mkdir", "unlink", "rename", "replace", "link", "symlink", "utime", "chmod"}
        if (writes or (call.name == "open" and call.flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))) and call.path.startswith(str(drive)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), call.path)

    with watched(refuse):
        assert list(find(drive, "letter")) == ["src/letter"]
        for words in (["diff", date, date], ["why", source / "letter"], ["restore", date, "-n"]):
            outcome = ask(*words, "--drive", drive)
            assert (outcome.code, outcome.err) == (0, "")
    assert twin(drive) == before


def test_a_list_that_is_damaged_is_read_from_its_twin(source: Path, drive: Path) -> None:
    write(source / "letter", "1")
    date = new_copy(drive, source).name
    spoil(drive, date, twin_too=False)
    assert list(find(drive, "letter")) == ["src/letter"]


def test_a_date_that_cannot_be_looked_through_is_named(source: Path, drive: Path) -> None:
    write(source / "letter", "1")
    names = [new_copy(drive, source).name for _ in range(3)]
    spoil(drive, names[1])
    outcome = ask("find", "letter", "--drive", drive)
    assert (outcome.code, outcome.err.count("\n")) == (3, 1)
    assert f"box/{names[1]} could not be looked through" in outcome.err
    (version,) = find(drive, "letter", code=3)["src/letter"]["versions"]
    assert (version["first"], version["last"], version["dates"]) == (names[0], names[2], 2)
    for name in (names[0], names[2]):
        spoil(drive, name)
    outcome = ask("find", "letter", "--drive", drive)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (4, "", 1)


@pytest.mark.parametrize(("good", "evil"), [(b"  src/letter", b"  ../../letter"), (b"path=src/sub", b"path=../sub")])
def test_nothing_of_a_date_counts_whose_list_turns_out_to_be_hostile(source: Path, drive: Path, good: bytes, evil: bytes) -> None:
    write(source / "a", "1")
    write(source / "letter", "1")
    (source / "sub").mkdir()
    names = [new_copy(drive, source).name for _ in range(2)]
    reseal(drive / "box" / names[1] / "SHA256SUMS", lambda text: text.replace(good, evil))
    outcome = ask("find", "*", "--drive", drive, "--json")
    found = json.loads(outcome.out)
    assert (outcome.code, [one["snapshot"] for one in found["unreadable"]], found["searched"][0]["snapshots"]) == (3, [names[1]], names[:1])
    assert {version["last"] for one in found["files"] for version in one["versions"]} == {names[0]}


# --- What differs ------


def diff(drive: Path, *words: object, code: int = 0) -> Dict[str, Tuple[str, int, int]]:
    """Give what differs, by path: the kind, and the sizes before and after."""
    found = facts("diff", *words, "--drive", drive, code=code)["changes"]
    by_path = {(f"{one['origin']} -> " if one["origin"] else "") + one["path"] + "/" * one["folder"]: (
        one["kind"], one["before"], one["after"]) for one in found}
    assert len(by_path) == len(found)
    return by_path


def before_and_after(source: Path) -> Iterator[None]:
    """Make a tree; then change it in every way."""
    for name in ("same", "changed", "touched", "mode", "retyped", "old name", "removed", "gone/1", "gone/below/2", "moved/a",
                 "moved/below/b"):
        write(source / name, name)
    (source / "link").symlink_to("same")
    (source / "wasfolder").mkdir()
    write(source / "wasfile", "x")
    for path in source.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    yield
    write(source / "changed", "CHANGED!", 1_700_000_001)
    set_time(source / "touched", 1_700_000_002, 0)
    (source / "mode").chmod(0o600)
    (source / "retyped").unlink()
    os.mkfifo(source / "retyped")
    (source / "old name").rename(source / "new name")
    (source / "removed").unlink()
    shutil.rmtree(source / "gone")
    (source / "deep").mkdir()
    (source / "moved").rename(source / "deep" / "moved")
    (source / "link").unlink()
    (source / "link").symlink_to("elsewhere")
    (source / "wasfolder").rmdir()
    write(source / "wasfolder", "now")
    (source / "wasfile").unlink()
    write(source / "wasfile" / "in", "in")
    write(source / "new" / "one", "1")
    write(source / "new" / "below" / "two", "22")
    write(source / "added", "added")
    yield


EACH = {
    "src/changed": ("changed", 7, 8), "src/touched": ("metadata", 7, 7), "src/mode": ("metadata", 4, 4),
    "src/retyped": ("other type", 7, 0),
    "src/old name -> src/new name": ("moved", 8, 8), "src/removed": ("removed", 7, 0), "src/gone/": ("removed", 0, 0),
    "src/gone/1": ("removed", 6, 0), "src/gone/below/": ("removed", 0, 0), "src/gone/below/2": ("removed", 12, 0),
    "src/moved/": ("removed", 0, 0), "src/moved/below/": ("removed", 0, 0), "src/deep/": ("added", 0, 0),
    "src/deep/moved/": ("added", 0, 0),
    "src/deep/moved/below/": ("added", 0, 0), "src/moved/a -> src/deep/moved/a": ("moved", 7, 7),
    "src/moved/below/b -> src/deep/moved/below/b": ("moved", 13, 13), "src/link": ("changed", 0, 0),
    "src/wasfolder": ("other type", 0, 3), "src/wasfolder/": ("removed", 0, 0), "src/wasfile": ("other type", 1, 0),
    "src/wasfile/": ("added", 0, 0), "src/wasfile/in": ("added", 0, 2), "src/new/": ("added", 0, 0), "src/new/one": ("added", 0, 1),
    "src/new/below/": ("added", 0, 0), "src/new/below/two": ("added", 0, 2), "src/added": ("added", 0, 5),
}  # fmt: skip
FOLDED = """\
added           5 B  src/added
changed         8 B  src/changed (was 7 B)
moved          20 B  src/moved/ -> src/deep/moved/ (2 files)
removed        18 B  src/gone/ (2 files)
changed         0 B  src/link (leads to elsewhere)
metadata             src/mode (mode 0644 to 0600)
added           3 B  src/new/ (2 files)
moved           8 B  src/old name -> src/new name
removed         7 B  src/removed
other type           src/retyped (file then, fifo now)
metadata             src/touched (time)
added           2 B  src/wasfile/ (1 file)
other type           src/wasfile (a folder now)
other type           src/wasfolder (a folder then)
removed         0 B  src/wasfolder/ (0 files)
"""


@pytest.fixture
def two_dates(source: Path, drive: Path, layout: str) -> Tuple[str, str]:
    names = []
    for _ in before_and_after(source):
        names.append(new_copy(drive, "--layout", layout, source).name)
    return names[0], names[1]


def test_all_that_differs_between_two_dates_is_told(drive: Path, two_dates: Tuple[str, str]) -> None:
    assert diff(drive, *two_dates) == EACH
    totals = facts("diff", *two_dates, "--drive", drive)["totals"]
    assert totals["moved"] == {"files": 3, "folders": 0, "bytes": 28}
    assert totals["removed"] == {"files": 3, "folders": 5, "bytes": 25}


def test_a_folder_that_is_new_or_gone_or_moved_as_a_whole_is_one_line_for_people(drive: Path, two_dates: Tuple[str, str]) -> None:
    outcome = ask("diff", *two_dates, "--drive", drive)
    *lines, last = outcome.out.splitlines(keepends=True)
    assert ("".join(lines), outcome.code, outcome.err) == (FOLDED, 0, "")
    assert last.startswith(f"From {two_dates[0]} to {two_dates[1]}: 4 added (10 B), 3 removed (25 B), 2 changed (8 B), 3 moved (28 B), ")


def test_the_way_back_is_the_same_turned_round(drive: Path, two_dates: Tuple[str, str]) -> None:
    turned = {"added": "removed", "removed": "added"}
    back = diff(drive, two_dates[1], two_dates[0])
    assert back == {" -> ".join(reversed(path.split(" -> "))): (turned.get(kind, kind), after, before) for path, (kind, before, after)
                    in EACH.items()}


def test_a_date_is_compared_with_the_newest_and_the_newest_with_the_folders_as_they_are(
    source: Path, drive: Path, two_dates: Tuple[str, str]
) -> None:
    assert diff(drive, two_dates[0]) == EACH
    assert diff(drive, *two_dates[1:], two_dates[1]) == {}
    assert ask("diff", two_dates[1], two_dates[1], "--drive", drive).out == f"Nothing differs between {two_dates[1]} and {two_dates[1]}.\n"
    (source / "same").unlink()
    found = facts("diff", "latest", "--drive", drive)
    assert ((found["old"], found["new"]), [(one["kind"], one["path"]) for one in found["changes"] if one["kind"] != "perhaps"]) == (
        (two_dates[1], "source"), [("removed", "src/same")])


@pytest.mark.parametrize("seed", range(4 if COARSE else 12))
def test_two_lists_are_told_apart_as_by_two_tables(source: Path, drive: Path, seed: int) -> None:
    rng = random.Random(seed)
    source.rmdir()
    random_tree(rng, source, 40)
    names = [new_copy(drive, "--layout", rng.choice(LAYOUTS), source, codes=(0, 3)).name]
    for _ in range(15):
        random_edit(rng, source)
    names.append(new_copy(drive, "--layout", rng.choice(LAYOUTS), source, codes=(0, 3)).name)
    tables: List[Dict[str, Tuple[str, str]]] = []
    for name in names:
        with snapback.load_manifest(snapback.Folder.top(str(drive / "box")), name) as manifest:
            entries = [(block.path, snapback.Known(block.line)) for block in snapback.read_blocks(manifest.lines()) if block.path]
            entries += [(snapback.original_path(known), known) for block in snapback.read_blocks(manifest.lines())
                        for known in block.entries.values()]
            tables.append({path: (snapback.parse_keywords(known.line)["type"], known.hash_line.lstrip("\\")[:64])
                           for path, known in entries})
    found = facts("diff", *names, "--drive", drive)["changes"]
    come = {one["path"] for one in found if one["kind"] in ("added", "moved")}
    gone = {one["origin"] or one["path"] for one in found if one["kind"] in ("removed", "moved")}
    retyped = {one["path"] for one in found if one["kind"] == "other type"}
    other = {path for path in tables[0].keys() & tables[1].keys() if "dir" in (tables[0][path][0], tables[1][path][0])
             and tables[0][path] != tables[1][path]}
    assert come - other == tables[1].keys() - tables[0].keys()
    assert gone - other == tables[0].keys() - tables[1].keys()
    assert retyped == {path for path in tables[0].keys() & tables[1].keys() if tables[0][path][0] != tables[1][path][0]}
    contents = {one["path"] for one in found if one["kind"] == "changed"}
    assert contents >= {path for path in tables[0].keys() & tables[1].keys() if tables[0][path][0] == tables[1][path][0]
                        and tables[0][path][1] != tables[1][path][1]}


def test_small_files_that_are_alike_by_chance_are_not_called_moved(source: Path, drive: Path) -> None:
    write(source / "licence", "free", 1_700_000_000)
    first = new_copy(drive, source).name
    (source / "licence").unlink()
    write(source / "other", "free", 1_700_000_001)
    new_copy(drive, source)
    assert diff(drive, first) == {"src/licence": ("removed", 4, 0), "src/other": ("added", 0, 4)}


def test_what_could_not_be_read_is_not_called_removed(source: Path, drive: Path) -> None:
    for name in ("kept", "skipped", "folder/in"):
        write(source / name, name)
    first = new_copy(drive, source).name
    second = new_copy(drive, source).name
    manifest = drive / "box" / second / "SHA256SUMS"
    digest = {name: hashlib.sha256(name.encode()).hexdigest().encode() for name in ("kept", "skipped", "folder/in")}

    def change(text: bytes) -> bytes:
        text = re.sub(rb"# type=file ([^\n]*)\n(%s)" % digest["kept"], rb"# type=file \1 kept=2026-01-01_000000\n\2", text)
        text = re.sub(rb"# type=file [^\n]*\n%s[^\n]*\n" % digest["skipped"], b"# type=skipped why=closed path=src/skipped\n", text)
        return re.sub(rb"# type=dir [^\n]*folder\n# type=file [^\n]*\n%s[^\n]*\n" % digest["folder/in"],
                      b"# type=skipped of=dir why=closed path=src/folder\n", text)

    reseal(manifest, change)
    unread = "not read", 0, 0
    assert diff(drive, first, second) == {"src/kept": ("not read", 4, 4), "src/skipped": unread, "src/folder": unread}
    assert {kind for kind, _, _ in diff(drive, second, first).values()} == {"not read"}


def test_dates_without_a_common_source_are_not_compared_and_what_one_has_alone_is_said(source: Path, drive: Path, tmp_path: Path) -> None:
    write(source / "a", "1")
    write(tmp_path / "other" / "b", "2")
    first, second = new_copy(drive, source).name, new_copy(drive, tmp_path / "other").name
    both = new_copy(drive, source, tmp_path / "other").name
    assert ask("diff", first, second, "--drive", drive).code == 2
    outcome = ask("diff", first, both, "--drive", drive)
    said = f"not compared, as only {both} has it: other\nNothing differs between {first} and {both}.\n"
    assert outcome == Outcome(0, said, "")


def test_the_folders_as_they_are_are_compared_without_reading_unless_asked(source: Path, drive: Path) -> None:
    for name in ("same", "rot", "mode", "touched"):
        write(source / name, name)
    with later(100):
        date = new_copy(drive, source).name
    seen = (source / "rot").stat()
    (source / "rot").write_text("ROT")
    os.utime(source / "rot", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (source / "mode").chmod(0o600)
    set_time(source / "touched", 1_700_000_009, 0)
    opened: Set[str] = set()
    with watched(lambda call: opened.add(call.path) if call.name == "open" else None):
        found = diff(drive, date, "source")
    assert {path: kind for path, (kind, _, _) in found.items()} == {
        "src/rot": "perhaps", "src/mode": "metadata", "src/touched": "perhaps"}
    told = ask("diff", date, "source", "--drive", drive).out.splitlines()
    assert [line.partition("src/")[2] for line in told if line.startswith("perhaps")] == [
        "rot (only reading would tell: --checksum)", "touched (its time changed; only reading would tell: --checksum)"]
    assert opened & {str(path) for path in source.iterdir()} == set()
    found = diff(drive, date, "source", "--checksum")
    assert {path: kind for path, (kind, _, _) in found.items()} == {
        "src/rot": "changed", "src/mode": "metadata", "src/touched": "metadata"}
    assert ask("diff", date, date, "--checksum", "--drive", drive).code == 2


def test_what_was_left_out_is_not_called_added(source: Path, drive: Path, home: Path) -> None:
    for name in ("a", "b.tmp", "c.bak"):
        write(source / name, name)
    with later(100):
        date = new_copy(drive, "--exclude", "*.tmp", "--exclude", "*.bak", source).name
    assert diff(drive, date, "source") == {}
    number = facts("init", drive)["id"]
    write(home / ".config/snapback/snapback.ini", f"[backup]\nsources = {source}\nexclude = *.tmp\n[drive {number}]\npath = {drive}\n")
    assert diff(drive, date, "source") == {"src/c.bak": ("added", 0, 5)}


def test_a_folder_of_the_source_that_cannot_be_read_is_said(source: Path, drive: Path) -> None:
    write(source / "folder" / "a", "1")
    write(source / "b", "2")
    with later(100):
        date = new_copy(drive, source).name

    def hook(call: Call) -> None:
        if call.name in ("open", "scandir") and call.path == str(source / "folder"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), call.path)

    with watched(hook):
        outcome = ask("diff", date, "source", "--drive", drive)
    said = f"not read             src/folder (could not be read now: permission denied)\nFrom {date} to source: 1 not read\n"
    assert outcome == Outcome(3, said, "1 entry could not be read, so this is not all\n")


def test_another_computers_copy_is_not_compared_with_folders_of_this_one(
    source: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(source / "a", "1")
    date = new_copy(drive, source).name
    monkeypatch.setattr(snapback, "machine_id", lambda: "another")
    outcome = ask("diff", date, "source", "--drive", drive)
    assert (outcome.code, outcome.out, "was made on another computer" in outcome.err) == (2, "", True)


# --- Why ------


def why(drive: Path, path: object, *more: object) -> Tuple[bool, str, str]:
    """Ask why something is copied, or not: the verdict, its reason, and where the rule stands."""
    found = facts("why", path, "--drive", drive, *more)
    return found["included"], found["why"], found["where"]


@pytest.fixture
def ruled(source: Path, drive: Path, home: Path) -> Path:
    """Settings with rules of every kind, and a source in which each has something to say; give the settings."""
    for name in ("a", "b.tmp", "keep.tmp", "c.bak", "build/in", "tagged/in", "cache/in", "drop/../plain/in", "plain/build"):
        write(source / name, name)
    write(source / "tagged" / ".nobackup", "")
    write(source / "cache" / "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
    (source / "link").symlink_to("plain")
    patterns = write(home / "patterns", "# of mine\n\n*.bak\n")
    new_copy(drive, source)
    return write(home / ".config/snapback/snapback.ini", f"""[backup]
sources =
    {source}
set = box
exclude-from = {patterns}
exclude =
    # these
    *.tmp

    !keep.tmp
    build/
exclude-caches = yes
exclude-if-present = .nobackup

[drive {facts("init", drive)["id"]}]
path = {drive}
""")


RULINGS = [
    ("a", True, "no rule leaves it out", ""),
    ("b.tmp", False, "the pattern '*.tmp' matches", "{settings}, line 8"),
    ("keep.tmp", True, "the pattern '!keep.tmp' takes it in", "{settings}, line 10"),
    ("c.bak", False, "the pattern '*.bak' matches", "{patterns}, line 3"),
    ("build/in", False, "the pattern 'build/' matches build, and all that is in that is left out", "{settings}, line 11"),
    ("plain/build", True, "no rule leaves it out", ""),
    ("tagged/in", False, "{source}/tagged has an entry '.nobackup', and what is in such a folder is left out", "{settings}, line 13"),
    ("tagged/.nobackup", True, "no rule leaves it out", ""),
    ("cache/in", False, "{source}/cache has an entry 'CACHEDIR.TAG', and what is in such a folder is left out", "{settings}, line 12"),
    ("link/in", False, "{source}/link is a symbolic link: it is copied as such, and what it leads to is not", ""),
    ("link", True, "no rule leaves it out", ""),
    ("", True, "it is a source itself, and no rule leaves out a source", ""),
    ("a/in", False, "{source}/a is no folder", ""),
    ("not there.tmp", False, "the pattern '*.tmp' matches", "{settings}, line 8"),
]


@pytest.mark.parametrize(("path", "included", "reason", "where"), RULINGS, ids=[row[0] or "the source" for row in RULINGS])
def test_the_rule_that_decides_is_told_with_its_place(
    source: Path, drive: Path, ruled: Path, path: str, included: bool, reason: str, where: str
) -> None:
    words = {"source": source, "settings": ruled, "patterns": ruled.parents[2] / "patterns"}
    expected = included, reason.format(**words), where.format(**words)
    assert why(drive, source / path) == expected
    assert why(drive, f"src/{path}") == expected  # as in the copy


def test_the_verdict_is_that_of_a_run(source: Path, drive: Path, ruled: Path) -> None:
    assert ask("backup").code == 0
    newest = facts("list", "--drive", drive, code=0)["snapshots"][-1]
    for path in source.rglob("*"):
        included = why(drive, path)[0]
        assert included == os.path.lexists(drive / newest["set"] / newest["snapshot"] / "src" / path.relative_to(source)), path


def test_rules_of_the_command_line_are_asked_too(source: Path, drive: Path) -> None:
    write(source / "a.tmp", "1")
    date = new_copy(drive, "--exclude", "*.tmp", source).name
    assert why(drive, source / "a.tmp") == (False, "the pattern '*.tmp' matches", f"as it stands in the list of {date}")
    assert why(drive, source / "a.tmp", "--exclude", "a.*") == (False, "the pattern 'a.*' matches", "--exclude 'a.*'")
    assert why(drive, source / "a.tmp", "-x") == (True, "no rule leaves it out", "")


@pytest.mark.needs("root", "mount", "tmpfs")
def test_another_disk_is_told(mounted: Callable[..., Any], drive: Path) -> None:
    disk = mounted("tmpfs").path
    write(disk / "a", "1")
    new_copy(drive, "-x", f"src={disk.parent}")
    assert why(drive, disk / "a", "-x") == (False, f"{disk} is on another disk than the source", "--one-file-system")
    assert why(drive, disk, "-x")[0] is True


def test_the_drive_itself_is_told(source: Path) -> None:
    drive = write(source / "below" / "drive" / "file", "1").parent
    assert ask("init", drive).code == 0
    new_copy(drive, source)
    assert why(drive, drive / "file") == (False, f"{drive} is the drive, or holds dated copies", "")


def test_whether_the_last_copy_has_it_is_told(source: Path, drive: Path, timezone: Callable[[str], None]) -> None:
    timezone("UTC0")
    write(source / "a", "1")
    write(source / "skipped", "2")
    first = new_copy(drive, source).name
    with watched(fails_to_open(source / "new")):
        write(source / "new", "3")
        write(source / "later", "4")
        second = new_copy(drive, "--jobs", "1", source, codes=(3,)).name
    write(source / "last", "5")
    told = {name: ask("why", source / name, "--drive", drive).out.splitlines()[1].partition(second)[2]
            for name in ("a", "new", "later", "last")}
    ways = {name: "an earlier date may have it" in ask("why", source / name, "--drive", drive).out for name in told}
    assert ways == {"a": False, "new": True, "later": False, "last": True}
    has, has_not = ", has it (1 B, changed 2023-11-14 22:13)", ", does not have it"
    assert told == {"a": has, "new": f"{has_not}, as it could not be read then (permission denied)", "later": has, "last": has_not}
    assert first != second


def test_what_is_in_no_source_is_told_with_the_sources(source: Path, drive: Path, tmp_path: Path) -> None:
    new_copy(drive, write(source / "a", "1").parent)
    outcome = ask("why", tmp_path / "elsewhere", "--drive", drive)
    assert outcome == Outcome(0, f"{tmp_path}/elsewhere lies in no source, so it is not copied; the sources are: {source}\n", "")


def test_without_settings_or_drive_nothing_is_told(source: Path) -> None:
    outcome = ask("why", source)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)


def test_a_drive_that_is_away_leaves_the_rules(source: Path, drive: Path, ruled: Path, tmp_path: Path) -> None:
    drive.rename(tmp_path / "away")
    outcome = ask("why", source / "b.tmp")
    first, second = outcome.out.splitlines()
    assert (outcome.code, "is left out: the pattern '*.tmp' matches" in first) == (0, True)
    assert second.startswith("Whether the last copy has it is not known: ")


# --- Drives that fail meanwhile ------


@pytest.mark.parametrize("words", [["find", "a"], ["diff", "latest", "2026"], ["why", "src/a"], ["restore", "latest", "-n"]], ids=" ".join)
def test_nothing_is_read_while_old_dates_are_deleted(source: Path, drive: Path, words: List[str]) -> None:
    new_copy(drive, write(source / "a", "1").parent)
    if words[0] == "diff":
        words = ["diff", *2 * dates(drive / "box")]
    folder = os.open(drive / "box", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        assert ask(*words, "--drive", drive).code == 11
    finally:
        os.close(folder)
    assert ask(*words, "--drive", drive).code == 0


def as_told(outcome: Outcome) -> str:
    """Give what was told, but for the room on a disk that others use, too."""
    return re.sub(r'"free": \d+', "", outcome.out)


READERS = [["find", "letter"], ["find", "*"], ["diff"], ["why"], ["restore", "latest", "*.odt", "-n"]]


@pytest.fixture
def read(source: Path, drive: Path) -> Callable[[Sequence[str]], List[object]]:
    for text in ("one", "other"):
        write(source / "letter", text)
        write(source / "folder" / f"{text}.odt", text)
        new_copy(drive, source)
    first, second = dates(drive / "box")
    more: Dict[str, List[object]] = {"diff": [first, second], "why": [source / "letter"]}
    return lambda words: [*words, *more.get(words[0], []), "--drive", drive, "--json"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_whichever_call_fails_nothing_is_missed_in_silence(
    drive: Path, read: Callable[[Sequence[str]], List[object]], words: List[str], number: int
) -> None:
    whole = ask(*read(words))
    assert whole.code == 0
    for nth in itertools.count(1, 5 if COARSE else 1):
        hit = Hit(Fault(str(drive), nth, number))
        with watched(hit):
            outcome = ask(*read(words))
        if not hit.calls:
            break
        as_ever = outcome.code == 0 and as_told(outcome) == as_told(whole)
        assert as_ever or (outcome.code in (1, 2, 3, 4, 75) and outcome.err), (nth, hit.calls, outcome)
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_drive_that_goes_away_is_not_taken_for_one_without_the_file(
    drive: Path, tmp_path: Path, read: Callable[[Sequence[str]], List[object]], words: List[str]
) -> None:
    """A pulled stick stays mounted, and looks as if nothing had ever been on it."""
    whole = ask(*read(words))
    kept = tmp_path / "kept"
    drive.rename(kept)
    for nth in itertools.count(1, 7 if COARSE else 2):
        shutil.copytree(kept, drive, symlinks=True)
        met: List[Call] = []

        def pull(call: Call, nth: int = nth, met: List[Call] = met) -> None:
            if call.path.startswith(str(drive)):
                met.append(call)
                if len(met) == nth:
                    for path in drive.iterdir():
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

        with watched(pull):
            outcome = ask(*read(words))
        shutil.rmtree(drive)
        if len(met) < nth:
            break
        failed = outcome.code in (1, 75) and outcome.err.count("\n") == 1
        assert failed or as_told(outcome) == as_told(whole), (nth, met[nth - 1], outcome)
