"""Whatever a Linux disk holds comes back as it was: the awkward tree copied, restored, seen by other programs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set, Tuple

import pytest

from conftest import User
from trees import (
    PATH_LIMIT,
    AnyPath,
    Outcome,
    Twin,
    allocated,
    ask,
    awkward_tree,
    dates,
    differences,
    is_root,
    joined,
    later,
    new_copy,
    opened_folder,
    path_in,
    remove_tree,
    skipped_in,
    stock_check,
    twin,
    without,
)

pytestmark = pytest.mark.needs("linux")

SOCKET = b"special_files/socket"
BEYOND_RSYNC = ["deep", "too long"]  # it gives up below some thousand folders, and on paths longer than PATH_MAX


class Kept(NamedTuple):
    """The awkward tree after two runs and a restore of each."""

    source: Path
    tree: Twin  # of the source, without its socket
    copies: List[Path]
    restored: List[Path]
    outcomes: List[Outcome]


def keep(folder: Path, closed: bool) -> Kept:
    source, drive = folder / "source", folder / "drive"
    awkward_tree(source, closed=closed)
    drive.mkdir()
    before = os.umask(0o027)  # what a copy's modes are must not depend on it
    try:
        outcomes = [ask("backup", "--init", "--no-rotate", "--set", "box", source, drive) for _ in range(2)]
        made = dates(drive / "box")
        for date in made:
            outcomes.append(ask("restore", date, "--drive", drive, "--to", folder / f"restored {date}"))
    finally:
        os.umask(before)
    return Kept(
        source=source,
        tree=without(twin(source), "socket"),
        copies=[drive / "box" / date / "source" for date in made],
        restored=[folder / f"restored {date}" / "source" for date in made],
        outcomes=outcomes,
    )


def rsync_finds(source: Path, copy: Path, *leaving_out: str) -> List[str]:
    compare = ["rsync", "-aHAXSnic", "--delete", "--modify-window=-1", *(f"--exclude=/{name}" for name in leaving_out)]
    told = subprocess.run([*compare, f"{source}/", f"{copy}/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return told.stdout.decode("utf-8", "backslashreplace").splitlines()


def fatter(copy: AnyPath, source: AnyPath) -> List[str]:
    """Name the files that take more room in the copy than in the source."""
    should = allocated(source)
    found = allocated(copy).items()
    return [f"{path!r}: {room} bytes, not {should[path]}" for path, room in found if room > should[path]]


def beyond_sha256sum(line: bytes) -> bool:
    """Say whether no sha256sum can follow a hash line: longer than PATH_MAX, or a carriage return ends the name."""
    return not line.startswith(b"#") and (len(line) - 66 > PATH_LIMIT or line.endswith((b"\r", b"\\r")))


def paths_of(manifest: Path) -> List[bytes]:
    """Read the paths of a manifest in its order, by its description and not by the program's own code."""
    found = []
    for line in manifest.read_bytes().split(b"\n"):
        if line.startswith(b"# type=") and not line.startswith((b"# type=file", b"# type=skipped")):
            found.append(path_in(line))
        elif line and not line.startswith(b"#"):
            name = line.partition(b"  ")[2]
            if line.startswith(b"\\"):
                name = re.sub(rb"\\(.)", lambda found: {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}[found.group(1)], name)
            found.append(name)
    return found


def in_order(tree: Twin, alias: bytes) -> List[bytes]:
    """Put paths in the order of a manifest: a folder, what is in it by bytes of the name, then its folders likewise."""
    inside: Dict[bytes, Tuple[List[bytes], List[bytes]]] = {}
    for path in sorted(tree):
        if path != b".":
            folder, _, name = path.rpartition(b"/")
            inside.setdefault(folder, ([], []))[tree[path].kind == "dir"].append(name)
    found, waiting = [], [b""]
    while waiting:
        folder = waiting.pop()
        found.append(alias + b"/" + folder if folder else alias)
        others, folders = inside.get(folder, ([], []))
        found += [alias + b"/" + joined(folder, name) for name in others]
        waiting += [joined(folder, name) for name in reversed(folders)]
    return found


# --- As root, or as whoever runs this, with everything readable ------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as world:  # made before any test has its own home folder
        world.setenv("HOME", str(folder))
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            world.delenv(name)
        yield keep(folder, closed=is_root())
    remove_tree(folder)


def test_every_run_on_the_awkward_tree_succeeds(kept: Kept) -> None:
    assert [outcome.code for outcome in kept.outcomes] == [0, 0, 0, 0], kept.outcomes


def test_every_copy_is_what_the_source_is(kept: Kept) -> None:
    assert [differences(twin(copy), kept.tree) for copy in kept.copies] == [[], []]


def test_every_restored_tree_is_what_the_source_is(kept: Kept) -> None:
    assert [differences(twin(restored), kept.tree) for restored in kept.restored] == [[], []]


@pytest.mark.needs("rsync")
@pytest.mark.parametrize("which", ["copies", "restored"])
def test_rsync_sees_no_difference_but_the_socket(kept: Kept, which: str) -> None:
    for tree in getattr(kept, which):
        assert rsync_finds(kept.source, tree, *BEYOND_RSYNC) == [f"cS+++++++++ {SOCKET.decode()}"]


@pytest.mark.parametrize("which", ["copies", "restored"])
def test_no_file_takes_more_room_than_its_original(kept: Kept, which: str) -> None:
    assert [fatter(tree, kept.source) for tree in getattr(kept, which)] == [[], []]


def test_the_second_copy_shares_every_file_with_the_first(kept: Kept) -> None:
    def files(copy: Path) -> Dict[bytes, int]:
        found = {}
        for path, entry in kept.tree.items():
            if entry.kind == "file":
                with opened_folder(copy, path.rpartition(b"/")[0]) as here:
                    found[path] = os.stat(path.rpartition(b"/")[2], dir_fd=here).st_ino
        return found

    assert files(kept.copies[0]) == files(kept.copies[1])


@pytest.mark.needs("sha256sum")
def test_sha256sum_agrees_where_it_can_follow(kept: Kept) -> None:
    assert [stock_check(copy.parent, beyond_sha256sum) for copy in kept.copies] == [[], []]


def test_verify_follows_everywhere(kept: Kept) -> None:
    outcome = ask("verify", "--drive", kept.copies[0].parents[2])
    assert outcome.code == 0, outcome


def test_the_manifest_goes_folder_by_folder_in_the_order_of_bytes(kept: Kept) -> None:
    assert paths_of(kept.copies[1].parent / "SHA256SUMS") == in_order(kept.tree, b"source")


@pytest.mark.parametrize(
    "path",
    [
        b"too long/" + b"/".join(bytes([letter]) * 255 for letter in range(ord("a"), ord("a") + 20)) + b"/new\nline",
        b"deep/" + b"d/" * 1200 + b"file",
        b"awkward_names/" + b"\xff" * 255,
        b"awkward_names/carriage return at the end\r",
        b"awkward_names/SHA256SUMS",
        b"awkward_names/--delete",
    ],
    ids=["long", "deep", "255 bytes", "carriage return", "manifest's name", "option's name"],
)
def test_one_file_alone_comes_back(kept: Kept, tmp_path: Path, path: bytes) -> None:
    drive = kept.copies[0].parents[2]
    outcome = ask("restore", "--drive", drive, "--to", tmp_path / "back", "latest", b"source/" + path)
    back = without(twin(tmp_path / "back"), "dir")
    remove_tree(tmp_path / "back")  # pytest cannot
    assert outcome.code == 0, outcome
    assert differences(back, {b"source/" + path: kept.tree[path]}) == []


# --- As an ordinary user ------


def kept_in(manifest: Path) -> Set[str]:
    return set(re.findall(r" kept=(\S+)", manifest.read_bytes().decode("ascii", "replace")))


def open_part(tree: Twin) -> Twin:
    """Leave out what is below the folder of closed places, and the time of those places themselves."""
    return {path: entry for path, entry in tree.items() if not path.startswith(b"closed/")}


CLOSED_FILE = b"source/closed/closed file"
CLOSED_FOLDERS = [b"source/closed/folder 0000", b"source/closed/folder 0111", b"source/closed/folder 0444"]


def set_modes(source: Path, file: int, folders: int) -> None:
    """Open or close what awkward_tree() closed."""
    for path in (CLOSED_FILE, *CLOSED_FOLDERS):
        os.chmod(os.fsencode(source.parent) + b"/" + path, file if path == CLOSED_FILE else folders)


@pytest.fixture
def somebody(ordinary_user: User) -> Iterator[User]:
    """Somebody who is not root, and whose home folder may hold the awkward tree."""
    yield ordinary_user
    for name in os.listdir(ordinary_user.home):
        remove_tree(ordinary_user.home / name)


@pytest.mark.needs("sha256sum")
def test_an_ordinary_user_keeps_all_that_he_can_read_and_is_told_of_the_rest(somebody: User) -> None:
    with somebody.acting():
        kept = keep(somebody.home, closed=True)
        assert [outcome.code for outcome in kept.outcomes[:2]] == [3, 3], kept.outcomes
        assert all("closed" in outcome.out + outcome.err for outcome in kept.outcomes[:2]), kept.outcomes
        for copy, restored in zip(kept.copies, kept.restored):
            assert differences(open_part(twin(copy)), open_part(kept.tree)) == []
            assert differences(open_part(twin(restored)), open_part(kept.tree)) == []
            assert fatter(copy, kept.source) == []
            assert fatter(restored, kept.source) == []
            skipped = skipped_in(copy.parent / "SHA256SUMS")
            assert skipped >= {CLOSED_FILE, *CLOSED_FOLDERS[:2]}, skipped
            assert any(path.startswith(CLOSED_FOLDERS[2]) for path in skipped), skipped  # only its names can be read
            assert all(path.startswith(b"source/closed/") for path in skipped), skipped
            assert stock_check(copy.parent, beyond_sha256sum) == []
        outcome = ask("verify", "--drive", kept.copies[0].parents[2])
        assert outcome.code == 0, outcome


@pytest.mark.needs("rsync")
def test_rsync_sees_no_difference_in_an_ordinary_users_copies_but_the_socket(somebody: User) -> None:
    with somebody.acting():
        kept = keep(somebody.home, closed=False)
        assert [outcome.code for outcome in kept.outcomes] == [0, 0, 0, 0], kept.outcomes
        for tree in kept.copies + kept.restored:
            assert rsync_finds(kept.source, tree, *BEYOND_RSYNC) == [f"cS+++++++++ {SOCKET.decode()}"]


def source_with_closed_places(source: Path) -> None:
    os.makedirs(source / "closed")
    (source / "open").write_bytes(b"readable all the time")
    (source.parent / os.fsdecode(CLOSED_FILE)).write_bytes(b"secret")
    for closed in CLOSED_FOLDERS:
        folder = source.parent / os.fsdecode(closed)
        os.makedirs(folder / "below")
        (folder / "inside").write_bytes(b"hidden")
        (folder / "below" / "further").write_bytes(b"hidden further")


@pytest.mark.needs("sha256sum")
def test_what_can_no_longer_be_read_keeps_its_last_good_copy_on_every_newer_date(somebody: User) -> None:
    source, drive = somebody.home / "source", somebody.home / "drive"
    with somebody.acting():
        source_with_closed_places(source)
        drive.mkdir()
        as_it_was = twin(source)
        codes = [ask("backup", "--init", "--no-rotate", "--set", "box", source, drive).code]
        for mode in (0o000, 0o111, 0o444):
            set_modes(source, 0, mode)
            (source / "open").write_bytes(b"changed: mode %04o" % mode)
            codes.append(ask("backup", "--no-rotate", "--set", "box", source, drive).code)
        assert codes == [0, 3, 3, 3]
        made = dates(drive / "box")
        for date in made[1:]:
            target = somebody.home / f"restored {date}"
            restored = ask("restore", date, "--drive", drive, "--to", target)
            assert (restored.code, restored.err.count(f"{os.fsdecode(CLOSED_FILE)}: it is as it was on ")) == (3, 1), restored
            for tree in (drive / "box" / date / "source", target / "source"):
                found = differences(twin(tree), as_it_was, ignoring=["mode", "mtime_ns"])
                assert [line for line in found if not line.startswith("open: ")] == []
            manifest = drive / "box" / date / "SHA256SUMS"
            assert skipped_in(manifest) == set()
            assert set() < kept_in(manifest) <= set(made), manifest.read_bytes()
            assert stock_check(drive / "box" / date) == []
        assert ask("verify", "--drive", drive).code == 0
        set_modes(source, 0o600, 0o700)
        assert ask("backup", "--no-rotate", "--set", "box", source, drive).code == 0
        newest = drive / "box" / dates(drive / "box")[-1]
        assert differences(twin(newest / "source"), twin(source)) == []
        assert kept_in(newest / "SHA256SUMS") == set()


def test_a_kept_folder_is_named_once_when_it_is_given_back(somebody: User) -> None:
    source, drive = somebody.home / "source", somebody.home / "drive"
    with somebody.acting():
        source_with_closed_places(source)
        drive.mkdir()
        assert ask("backup", "--init", "--no-rotate", "--set", "box", source, drive).code == 0
        set_modes(source, 0o600, 0)
        assert ask("backup", "--no-rotate", "--set", "box", source, drive).code == 3
        restored = ask("restore", "latest", "--drive", drive, "--to", somebody.home / "back")
        told = [line.partition(": it is as it was on ") for line in restored.err.splitlines()[:-1]]
        assert (restored.code, [path for path, _, _ in told]) == (3, sorted(map(os.fsdecode, CLOSED_FOLDERS)))


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444], ids=oct)
def test_a_stored_file_known_to_be_bad_is_not_taken_for_good_once_its_folder_was_closed(somebody: User, mode: int) -> None:
    """Size and times of the bad file are those of the source, so from its next name on nothing would tell it from a good one."""
    source, drive = somebody.home / "source", somebody.home / "drive"
    with somebody.acting():
        source_with_closed_places(source)
        inside = "closed/folder 0111/inside"
        os.utime(source / inside, (1_600_000_000, 1_600_000_000))
        drive.mkdir()
        with later(10):
            stored = new_copy(drive, source) / "source" / inside
        stored.write_bytes(b"rotten")
        os.utime(stored, (1_600_000_000, 1_600_000_000))
        assert ask("verify", "--drive", drive).code == 4
        (source / inside).parent.chmod(mode)
        with later(20):
            outcome = ask("backup", "--no-rotate", "--set", "box", source, drive)
        assert (outcome.code, f"source/{inside}: " in outcome.err) == (3, True), outcome
        (source / inside).parent.chmod(0o755)
        with later(30):
            newest = new_copy(drive, source)
        assert differences(twin(newest / "source"), twin(source)) == []
        assert ask("verify", "latest", "--drive", drive).code == 0


def test_an_ordinary_users_small_file_that_nobody_may_write_keeps_its_attributes(somebody: User) -> None:
    source, drive = somebody.home / "source", somebody.home / "drive"
    with somebody.acting():
        source.mkdir()
        drive.mkdir()
        for mode in (0o444, 0o400, 0o644):
            path = source / f"{mode:o}"
            path.write_bytes(b"small")
            os.setxattr(path, "user.note", b"precious")
            path.chmod(mode)
        assert differences(twin(new_copy(drive, source) / "source"), twin(source)) == []


def test_a_dry_run_names_what_this_user_may_not_read(somebody: User) -> None:
    source, drive = somebody.home / "source", somebody.home / "drive"
    with somebody.acting():
        source_with_closed_places(source)
        set_modes(source, 0, 0)
        drive.mkdir()
        assert ask("init", drive).code == 0
        outcome = ask("backup", "-n", "--set", "box", source, drive)
        closed = sorted(os.fsdecode(path) for path in (CLOSED_FILE, *CLOSED_FOLDERS))
        assert sorted(outcome.err.splitlines()) == [f"cannot be read: {path}: permission denied" for path in closed]
        assert (outcome.code, "1 new and 0 changed of 1 file" in outcome.out) == (3, True), outcome
        assert not (drive / "box").exists()


@pytest.mark.needs("root")
@pytest.mark.parametrize("command", ["list", "verify", "restore latest --to back"])
def test_another_user_is_told_in_one_sentence_how_to_read_a_set_that_is_not_his(
    reachable: Path, ordinary_user: User, command: str
) -> None:
    source, drive = reachable / "source", reachable / "drive"
    for folder in (source, drive):
        folder.mkdir()
    (source / "private").write_bytes(b"x")
    assert ask("backup", "--init", "--no-rotate", "--set", "box", source, drive).code == 0
    words = [str(ordinary_user.home / word) if word == "back" else word for word in command.split()]
    with ordinary_user.acting():
        outcome = ask(*words, "--drive", drive, "--set", "box")
    assert (outcome.code in (1, 2), outcome.err.count("\n")) == (True, 1), outcome
    assert "box" in outcome.err
    assert os.listdir(ordinary_user.home) == []
