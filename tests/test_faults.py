"""Whichever call fails, and however: what was there stays, what is new is whole or absent, and the next run gets there.

Each loop lets the first call on one side fail, then the second, the third ... until a run passes untouched. Errors take
turns from call to call; FAULTS=all in the environment tries every error at every call, which takes half an hour.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import pytest

from conftest import COARSE
from faults import Call, Fault, Hit, is_below, nothing, watched
from trees import Outcome, Twin, ask, dates, differences, later, remove_tree, set_time, shown, text_of, twin

pytestmark = pytest.mark.needs("linux")

ESCAPED = 99
DOCUMENTED = {0, 1, 2, 3, 4, 11, 75}
ON_DRIVES = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ENOENT, errno.EACCES]
IN_SOURCES = [errno.EIO, errno.ENOENT, errno.EACCES]
ALL_OF_THEM = os.environ.get("FAULTS") == "all"
# So many calls are tried one by one, then every fourth, and of less usual runs only every fourth; coarsely every twelfth.
CLOSELY, STEP = (0, 12) if COARSE else (60, 4)


# --- A source, and drives in several states ------


class World(NamedTuple):
    """A source as it is now, and drives to start from: each loop works on copies of them."""

    folder: Path
    source: Path
    tree: Twin
    first: Twin  # the first dated copy, taken when the source was another

    @property
    def drive(self) -> Path:
        return self.folder / "drive"

    @property
    def a_set(self) -> Path:
        return self.drive / "box"

    def start_from(self, state: str) -> Dict[str, Twin]:
        """Lay out the drive in one of its states; give its dated copies."""
        remove_tree(self.drive)
        subprocess.run(["cp", "-a", str(self.folder / state), str(self.drive)], check=True)
        return {date: twin(self.a_set / date) for date in dates(self.a_set)}

    def backup(self, *more: str) -> List[str]:
        return ["backup", "--set", "box", *more, str(self.source), str(self.drive)]


def make_source(source: Path) -> None:
    (source / "sub" / "deep").mkdir(parents=True)
    for name, content in [("changes", b"before"), ("goes", b"for a while"), ("large", text_of(1, 300_000)),
                          ("sub/stays", b"as it is"), ("sub/deep/stays too", b"as it is"), ("sub/one", b"two names"),
                          ("sub/deep/also changes", b"before")]:  # fmt: skip
        (source / name).write_bytes(content)
    os.setxattr(source / "sub" / "stays", "user.note", b"a note")
    os.setxattr(source / "sub" / "deep", "user.note", b"of a folder")
    os.link(source / "sub" / "one", source / "sub" / "two")
    (source / "link").symlink_to("changes")
    os.mkfifo(source / "sub" / "fifo")


def edit(source: Path) -> None:
    (source / "changes").write_bytes(b"after all")
    (source / "sub" / "deep" / "also changes").write_bytes(b"after all")
    (source / "comes").write_bytes(b"later")
    (source / "goes").unlink()


def settle(source: Path) -> None:
    """Give everything in a tree an old time."""
    for here, folders, files in os.walk(source, topdown=False):
        for nth, name in enumerate(sorted(folders + files)):
            set_time(os.path.join(here, name), 1_500_000_000 + nth, 7)
    set_time(source, 1_500_000_000, 1)


FIRST, SECOND, THIRD, AT_LAST = 10, 20, 30, 40  # seconds later than it is, so that nothing is young enough to be read again


def quick(*argv: object, hook: Callable[[Call], None] = nothing, syncfs: bool = True, after: int = AT_LAST) -> Outcome:
    """Run a command with one worker, without waiting for a disk to be flushed; tell of an error that escapes it."""
    with watched(hook, syncfs), later(after):
        try:
            return ask(*argv, "--jobs", "1")
        except OSError as err:
            return Outcome(ESCAPED, "", f"{err!r} escaped")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Drives called new (only a marker), second (one dated copy), interrupted (and half another), third (two copies)."""
    folder = tmp_path_factory.mktemp("faults")
    source = folder / "source"
    made = World(folder, source, {}, {})
    made.drive.mkdir()
    assert quick("init", made.drive).code == 0
    keep(made, "new")
    make_source(source)
    settle(source)
    assert quick(*made.backup(), after=FIRST).code == 0
    keep(made, "second")
    (date,) = dates(made.a_set)
    first = twin(made.a_set / date)
    edit(source)
    settle(source)
    outcome = quick(*made.backup(), hook=refuse_to_publish, after=SECOND)
    assert outcome.code == 1, outcome
    keep(made, "interrupted")
    made = made._replace(tree=twin(source), first=first)
    assert quick(*made.backup(), after=THIRD).code == 0
    keep(made, "third")
    yield made
    remove_tree(folder)
    folder.mkdir()


def keep(world: World, state: str) -> None:
    subprocess.run(["cp", "-a", str(world.drive), str(world.folder / state)], check=True)


def refuse_to_publish(call: Call) -> None:
    if call.name == "syncfs":
        raise OSError(errno.EIO, os.strerror(errno.EIO))


# --- What must hold ------


def wrong_hashes(snapshot: Path) -> List[str]:
    """Hold a dated copy against its SHA256SUMS, with hashlib alone; the names here need no escapes."""
    lines = (snapshot / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ", 1)) for line in lines if not line.startswith("#"))
    there = {
        str(path.relative_to(snapshot)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(snapshot.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != "SHA256SUMS"
    }
    return sorted(path for path in listed.keys() | there.keys() if listed.get(path) != there.get(path))


def no_sentence(outcome: Outcome) -> List[str]:
    """Complain about a run that did not say in one line why it failed, or said something though all was well."""
    lines = outcome.err.count("\n")
    if outcome.code == 0:
        return [f"exit 0, but it said {outcome.err!r}"] if lines else []
    if outcome.code not in DOCUMENTED or not lines or "Errno" in outcome.err or "Traceback" in outcome.err:
        return [f"exit {outcome.code} with {outcome.err!r}"]
    if outcome.code in (1, 2, 11, 75) and (lines != 1 or not outcome.err.startswith("snapback: ")):
        return [f"no single sentence: {outcome.err!r}"]
    return []


def lost(world: World, copies: Dict[str, Twin]) -> List[str]:
    """Complain about earlier dated copies that are not as they were, and about new ones that are not whole."""
    found = []
    for date, was in copies.items():
        found += [f"{date}: {line}" for line in differences(twin(world.a_set / date), was)]
    for date in dates(world.a_set):
        if not (world.a_set / date / "SHA256SUMS").exists():
            found.append(f"{date} has no manifest")
        else:
            found += [f"{date}: {path} has not the hash in its manifest" for path in wrong_hashes(world.a_set / date)]
    if dates(world.a_set):
        checked = quick("verify", "--drive", world.drive)
        found += [f"verify says {checked}"] if checked.code != 0 else []
    return found


def leftovers(drive: Path) -> List[str]:
    """Complain about what lies there under a name for work under way."""
    return [f"{path} was left" for path in sorted(drive.rglob("*")) if ".incomplete" in path.name]


def is_source(world: World, date: str) -> List[str]:
    """Complain about what a dated copy does not share with the source."""
    return [f"the copy: {line}" for line in differences(twin(world.a_set / date / "source"), world.tree)]


METADATA = {"chmod", "chown", "utime", "setxattr"}


def excused(complaints: Sequence[str], hit: Hit) -> List[str]:
    """Leave out what a disk may refuse without harm, as FAT does: metadata, links of both kinds, special files.

    The manifest has the truth of it.
    """
    refused = {call.name for call in hit.calls}
    fields = [": mode is", ": uid is", ": gid is", ": mtime_ns is", ": xattrs is"] if refused & METADATA else []
    fields += [": group is"] if refused & {"link", "open"} else []  # opening the folder of the first name
    fields += [": missing (link)"] if "symlink" in refused else []
    fields += [": missing (fifo)"] if "mknod" in refused else []
    return [line for line in complaints if not any(field in line for field in fields)]


def gets_there(world: World, copies: Set[str], hit: Hit) -> List[str]:
    """Complain unless a run without faults makes a copy that equals the source, and clears up.

    What the drive refused of a file's metadata stays refused: later copies share that file.
    """
    outcome = quick(*world.backup())
    if outcome.code != 0:
        return [f"the next run ended with {outcome}"]
    new = [date for date in dates(world.a_set) if date not in copies]
    if len(new) != 1:
        return [f"the next run made {new}"]
    hashes = [f"the next run's {path} has not its hash" for path in wrong_hashes(world.a_set / new[0])]
    return [*excused(is_source(world, new[0]), hit), *hashes, *leftovers(world.drive)]


def not_named(complaints: Sequence[str], outcome: Outcome) -> List[str]:
    """Give those complaints about paths in a copy that a run's own words mention neither by name nor by a folder's."""
    named = [line.split(": ")[0][len("source/") :] for line in outcome.err.splitlines() if line.startswith("source/")]
    return [line for line in complaints if not any(is_below(line.split(": ")[1], path) for path in named)]


# --- Loops ------


def counted(folder: Path, act: Callable[[Callable[[Call], None]], object]) -> int:
    """Count the calls below a folder of something that goes well."""
    hit = Hit(Fault(str(folder), 0, errno.EIO))
    act(hit)
    return hit.met


def faults(folder: Path, total: int, numbers: Sequence[int], closely: int = CLOSELY) -> Iterator[Fault]:
    """Give faults for calls 1 to `total` + 1, the last of which never happens; the errors take turns."""
    turn = itertools.count()
    for nth in range(1, total + 2):
        if ALL_OF_THEM:
            yield from (Fault(str(folder), nth, number) for number in numbers)
        elif nth <= closely or nth % STEP == 0 or nth == total + 1:
            yield Fault(str(folder), nth, numbers[next(turn) % len(numbers)])


def complain(found: List[str], fault: Fault, hit: Hit, complaints: Sequence[str]) -> None:
    found += [f"{fault} ({', '.join(f'{call.name} {call.path}' for call in hit.calls[:2])}): {line}" for line in complaints]


def none(found: Sequence[str]) -> None:
    """Assert that there are no complaints; if there are, show them."""
    if found:
        pytest.fail("\n".join([f"{len(found)} complaints", *found[:100]]), pytrace=False)


STATES = ["new", "second", "interrupted"]


def try_taking(world: World, state: str, fault: Fault, syncfs: bool) -> Tuple[Hit, Outcome, List[str]]:
    """Make a dated copy while the drive fails; complain about all that is not as it must be."""
    copies = world.start_from(state)
    hit = Hit(fault)
    outcome = quick(*world.backup(), hook=hit, syncfs=syncfs)
    new = [date for date in dates(world.a_set) if date not in copies]
    complaints = no_sentence(outcome) + lost(world, copies)
    if outcome.code in (0, 3):
        wrong = is_source(world, new[0]) if len(new) == 1 else [f"the copy: none, or several: {new}"]
        complaints += excused(wrong if outcome.code == 0 else not_named(wrong, outcome), hit)
    elif new and outcome.code != 1:
        complaints.append(f"exit {outcome.code}, but {new} was made")
    elif new:
        complaints += is_source(world, new[0])  # it failed after publishing: nothing new was promised
        complaints.append(f"exit 1 says that there is no new dated copy, but there is {new}")
    return hit, outcome, complaints + gets_there(world, {*copies, *new}, hit)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("syncfs", [True, False], ids=["one flush for all", "a flush for each file"])
def test_taking_and_publishing_is_whole_or_absent_whichever_call_on_the_drive_fails(
    world: World, state: str, syncfs: bool
) -> None:
    def well(hook: Callable[[Call], None]) -> None:
        world.start_from(state)
        assert quick(*world.backup(), hook=hook, syncfs=syncfs).code == 0

    found: List[str] = []
    total = counted(world.drive, well)
    for fault in faults(world.drive, total, ON_DRIVES, CLOSELY if syncfs and state == "second" else 0):
        hit, outcome, complaints = try_taking(world, state, fault, syncfs)
        complain(found, fault, hit, complaints)
        if fault.nth > total:
            assert (hit.calls, outcome.code) == ([], 0)
    none(found)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_drive_that_refuses_one_link_in_passing_still_has_links(world: World, nth: int) -> None:
    """What is tried first says how copies are laid out; another link that is refused costs a copy of that file alone."""
    copies = world.start_from("second")
    hit = Hit(Fault(str(world.drive), nth, errno.EPERM, {"link"}))
    assert quick(*world.backup(), hook=hit).code == 0
    (new,) = [date for date in dates(world.a_set) if date not in copies]
    assert ([call.name for call in hit.calls], (world.a_set / new / "NOT-THE-WHOLE-DATE.txt").exists()) == (["link"], False)
    assert is_source(world, new) == []


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_drive_that_fails_for_good_in_the_middle(world: World, state: str, number: int) -> None:
    found: List[str] = []
    for nth in (1, 5, 12, 20, 40, 70, 100, 130, 160, 200, 240):
        fault = Fault(str(world.drive), nth, number, for_good=True)
        hit, _, complaints = try_taking(world, state, fault, syncfs=True)
        complain(found, fault, hit, complaints)
    none(found)


def what_was_read(outcome: Outcome) -> List[int]:
    """Give how many files a verification met, how many of them it read, and their bytes."""
    facts = json.loads(outcome.out)
    return [facts.get(word, 0) for word in ("files", "files_read", "bytes_read")]


def test_verifying_changes_no_copy_and_passes_over_nothing_whichever_call_fails(world: World) -> None:
    def well(hook: Callable[[Call], None]) -> None:
        assert quick("verify", "--drive", world.drive, hook=hook).code == 0

    world.start_from("third")
    all_of_it = what_was_read(quick("verify", "--json", "--drive", world.drive))
    found: List[str] = []
    total = counted(world.drive, well)
    for fault in faults(world.drive, total, ON_DRIVES):
        copies = world.start_from("third")
        hit = Hit(fault)
        outcome = quick("verify", "--json", "--drive", world.drive, hook=hit)
        complaints = no_sentence(outcome)
        if outcome.code == 0 and what_was_read(outcome) != all_of_it:
            complaints.append("exit 0, though a file was not read")
        for date, was in copies.items():
            complaints += differences(twin(world.a_set / date), was)
        if outcome.code == 4 or fault.nth % 10 == 0:
            complaints += gets_there(world, set(copies), hit)  # with whatever list of damage was left
            checked = quick("verify", "--drive", world.drive)
            complaints += [f"the next check says {checked}"] if checked.code != 0 else []
        complain(found, fault, hit, complaints)
    none(found)


def half_restored(target: Path, should: Twin) -> List[str]:
    """Complain about restored files under their own names that are not what they were."""
    if not target.exists():
        return []
    return [
        f"{shown(path)} has other content than it had"
        for path, entry in twin(target / "source").items() if entry.kind == "file"
        and not path.endswith((b".damaged", b".snapback-part")) and entry.content != should[path].content
    ] if (target / "source").exists() else []  # fmt: skip


@pytest.mark.parametrize("side", ["drive", "back"])
def test_restoring_gives_right_files_or_says_so_whichever_call_fails(world: World, side: str) -> None:
    target, failing_side = world.folder / "back", world.folder / side
    command = ["restore", "latest", "--drive", str(world.drive), "--to", str(target)]

    def well(hook: Callable[[Call], None]) -> None:
        assert quick(*command, hook=hook).code == 0
        remove_tree(target)

    world.start_from("third")
    before = twin(world.drive)
    found: List[str] = []
    total = counted(failing_side, well)
    for fault in faults(failing_side, total, ON_DRIVES):
        hit = Hit(fault)
        outcome = quick(*command, hook=hit)
        complaints = no_sentence(outcome) + half_restored(target, world.tree)
        if outcome.code in (0, 3):
            should = differences(twin(target / "source"), world.tree, ignoring=["group"])
            wrong = [f"back: {line}" for line in should]
            complaints += excused(wrong if outcome.code == 0 else not_named(wrong, outcome), hit)
        complain(found, fault, hit, complaints)
        remove_tree(target)
        if fault.nth % 20 == 0 or fault.nth == total:
            complain(found, fault, hit, differences(twin(world.drive), before))
    none(found)


def test_merging_loses_nothing_that_was_there_whichever_call_fails(world: World) -> None:
    """Every file that stood in the target is there afterwards, under its own name or beside it."""
    target, before = world.folder / "merged", world.folder / "before merging"
    command = ["restore", "latest", "--merge", "--drive", str(world.drive), "--to", str(target)]
    (before / "source" / "sub").mkdir(parents=True)
    for name in ("changes", "large", "sub/one", "sub/mine", "sub/deep"):
        (before / "source" / name).write_bytes(b"mine: " + name.encode())
    subprocess.run(["cp", "-a", str(world.source / "sub" / "stays"), str(before / "source" / "sub")], check=True)
    mine = {entry.content for entry in twin(before).values() if entry.kind == "file"}

    def well(hook: Callable[[Call], None]) -> None:
        subprocess.run(["cp", "-a", str(before), str(target)], check=True)
        assert quick(*command, hook=hook).code == 0
        remove_tree(target)

    world.start_from("third")
    found: List[str] = []
    total = counted(target, well)
    for fault in faults(target, total, ON_DRIVES):
        subprocess.run(["cp", "-a", str(before), str(target)], check=True)
        hit = Hit(fault)
        outcome = quick(*command, hook=hit)
        after = twin(target)
        there = {entry.content for entry in after.values() if entry.kind == "file"}
        complaints = no_sentence(outcome) + [f"{len(mine - there)} files were lost"] * (not mine <= there)
        again = quick(*command)
        complaints += [f"merging again: {again}"] if again.code != 0 else []
        now = twin(target / "source")
        wrong = differences({path: now[path] for path in world.tree if path in now}, world.tree, ignoring=["group"])
        complaints += [f"after merging again: {line}" for line in excused(wrong, hit)]
        complain(found, fault, hit, complaints)
        remove_tree(target)
    none(found)


# --- Faults of the source ------


def but_for_groups(wrong: Sequence[str], hit: Hit) -> List[str]:
    """Leave out that the other name of a file which could not be read is no hard link now."""
    grouped = any(call.path.endswith(("/sub/one", "/sub/two")) for call in hit.calls)
    return [line for line in wrong if not (grouped and ": group is" in line)]


def try_with_source(world: World, state: str, fault: Fault) -> Tuple[Hit, List[str]]:
    """Make a dated copy while the source fails; complain about all that is not as it must be."""
    copies = world.start_from(state)
    hit = Hit(fault)
    outcome = quick(*world.backup(), hook=hit)
    new = [date for date in dates(world.a_set) if date not in copies]
    complaints = no_sentence(outcome) + lost(world, copies)
    if outcome.code in (0, 3):
        wrong = but_for_groups(is_source(world, new[0]), hit)
        complaints += wrong if outcome.code == 0 else not_named(wrong, outcome)
        complaints += not_the_earlier(world, wrong, new[0], copies)
    elif outcome.code == 1:
        complaints += [f"exit 1, but {new} was made"] * bool(new)
        complaints += [f"the source is not blamed: {outcome.err}"] * (f"{world.source}" not in outcome.err)
    else:
        complaints.append(f"exit {outcome.code}")
    return hit, complaints + gets_there(world, {*copies, *new}, hit)


def not_the_earlier(world: World, wrong: Sequence[str], date: str, copies: Dict[str, Twin]) -> List[str]:
    """Complain about files that are in a copy but neither as in the source nor as in the copy before."""
    found = []
    copy = twin(world.a_set / date / "source")
    before = next(iter(copies.values()), {})
    for path in {line.split(": ")[1] for line in wrong}:
        entry, was = copy.get(path.encode()), before.get(b"source/" + path.encode())
        if entry and entry.kind == "file" and (was is None or entry.content != was.content) and (
                entry.content != world.tree[path.encode()].content):  # fmt: skip
            found.append(f"the copy: {path} is neither what it is nor what it was")
        if entry is None and was is not None and path.encode() in world.tree and was.kind == world.tree[path.encode()].kind:
            found.append(f"the copy: {path} was not kept from the copy before")
    return found


@pytest.mark.parametrize("state", STATES)
def test_a_copy_of_a_failing_source_says_what_is_missing_and_keeps_what_there_was(world: World, state: str) -> None:
    def well(hook: Callable[[Call], None]) -> None:
        world.start_from(state)
        assert quick(*world.backup(), hook=hook).code == 0

    found: List[str] = []
    total = counted(world.source, well)
    for fault in faults(world.source, total, IN_SOURCES):
        hit, complaints = try_with_source(world, state, fault)
        complain(found, fault, hit, complaints)
    none(found)


FIRST_SIGNS = {  # how a disk dies: the error, and the calls that it is seen by; listing may go on from memory
    "everything fails": (errno.EIO, {"open", "stat", "fstat", "scandir", "listdir", "read", "readlink"}),
    "files cannot be seen": (errno.ENOENT, {"open", "stat", "readlink"}),
    "files cannot be seen or read": (errno.ENOENT, {"open", "stat", "read", "readlink"}),
}


@pytest.mark.parametrize("how", FIRST_SIGNS)
@pytest.mark.parametrize("state", ["new", "second"])
def test_a_source_that_dies_in_the_middle_makes_no_copy_that_passes_for_whole(
    world: World, state: str, how: str
) -> None:
    """What cannot be seen because its disk is dying has not been deleted."""
    number, names = FIRST_SIGNS[how]
    found: List[str] = []
    for nth in range(1, 40, 1 if ALL_OF_THEM else 2):
        copies = world.start_from(state)
        fault = Fault(str(world.source), nth, number, names, for_good=True)
        hit = Hit(fault)
        outcome = quick(*world.backup(), hook=hit)
        complaints = no_sentence(outcome)
        new = [date for date in dates(world.a_set) if date not in copies]
        whole = outcome.code == 0 and len(new) == 1 and is_source(world, new[0]) == []  # it died when all was copied
        if hit.calls and outcome.code not in (1, 3) and not whole:
            complaints.append(f"exit {outcome.code}")
        for date in new:
            complaints += not_named(is_source(world, date), outcome)
        complain(found, fault, hit, complaints)
    none(found)
