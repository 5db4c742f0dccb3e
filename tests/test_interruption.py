"""A run that is interrupted, whenever that is, leaves every earlier copy as it was; the next run finishes the work."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence

import pytest

import snapback
from conftest import COARSE, MIB, SNAPBACK, Cli, Mount, User
from faults import Call, nothing, watched
from trees import (
    Twin,
    ask,
    dates,
    differences,
    leftovers,
    random_edit,
    random_tree,
    remove_tree,
    stock_check,
    text_of,
    twin,
)

pytestmark = pytest.mark.needs("linux")


class Box(NamedTuple):
    """A source and a drive with a set on it."""

    source: Path
    drive: Path

    @property
    def set_folder(self) -> Path:
        return self.drive / "box"

    def copy_of(self, date: str) -> Path:
        return self.set_folder / date / self.source.name

    def argv(self, *more: str) -> List[str]:
        return ["backup", "--no-rotate", "--set", "box", *more, str(self.source), str(self.drive)]

    def back_up(self) -> str:
        """Make a dated copy in this process, and say which."""
        before = set(dates(self.set_folder))
        outcome = ask(*self.argv())
        assert outcome.code in (0, 5), outcome
        (new,) = set(dates(self.set_folder)) - before
        return new


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A marked drive, and a source yet to be made."""
    made = Box(tmp_path / "source", tmp_path / "drive")
    made.drive.mkdir()
    assert ask("init", made.drive).code == 0
    yield made
    remove_tree(tmp_path)
    tmp_path.mkdir()


STRACE = ["strace", "-f", "-qq"]


def killed_at(cli: Cli, nth: int, calls: str, argv: Sequence[str]) -> bool:
    """Run snapback and kill it at the nth of these system calls, in whichever process; False if it ended before.

    When a process is killed that it had forked, it says so and fails.
    """
    inject = f"inject={calls}:signal=KILL:when={nth}"
    strace = [*STRACE, "-o", os.devnull, "-e", f"trace={calls}", "-e", inject]
    ended = cli(*argv, before=strace)
    forked_one_died = ended.code == 1 and "the system ended a part of this run" in ended.err
    assert forked_one_died or ended.code in (0, 5, -signal.SIGKILL), ended
    return forked_one_died or ended.code == -signal.SIGKILL


def whole(box: Box, copies: Dict[str, Twin]) -> None:
    """Assert that these dated copies, and no others, are there as they were made, and pass every check."""
    assert set(dates(box.set_folder)) == set(copies)
    for date, should in copies.items():
        assert differences(twin(box.copy_of(date)), should) == []
        assert stock_check(box.set_folder / date) == []
    if copies:
        outcome = ask("verify", "--drive", box.drive)
        assert outcome.code == 0, outcome


def carries_on(box: Box, copies: Dict[str, Twin]) -> None:
    """Assert that the next run makes a whole copy, leaves the earlier ones alone and clears up."""
    new = box.back_up()
    whole(box, {**copies, new: twin(box.source)})
    assert leftovers(box.set_folder) == []
    assert strays(box) == []


def strays(box: Box) -> List[str]:
    """Name what stands on the drive under a name for work under way."""
    under_way = (".incomplete", ".deleting", ".new", ".tmp", ".part")
    found = [name for folder in (box.drive, box.set_folder) for name in os.listdir(folder)]
    return sorted(name for name in found if name.startswith(".") or name.endswith(under_way))


def make_source(box: Box, seed: int) -> None:
    random_tree(random.Random(seed), box.source, 30)
    for size in (3 * MIB, 700_000):
        (box.source / f"large {size}").write_bytes(text_of(size, size))


def edit(box: Box, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        random_edit(rng, box.source)
    (box.source / "new and large").write_bytes(text_of("new", 2 * MIB))


# --- Killed at any moment ------

CALLS = [  # what changes a disk, and what makes it last
    "mkdir,mkdirat",
    "openat",
    "write,pwrite64,sendfile,copy_file_range",
    "close",
    "link,linkat",
    "symlink,symlinkat,mknod,mknodat",
    "utimensat",
    "fsync,fdatasync,syncfs",
    "rename,renameat,renameat2",
    "unlink,unlinkat,rmdir",
]


def moments(calls: str, coarse: bool = COARSE) -> Iterator[int]:
    """Count calls at which to kill, in ever larger steps; Python's own start opens and closes over a hundred files.

    >>> [nth for nth, _ in zip(moments("write", coarse=False), range(9))]
    [1, 2, 4, 8, 16, 32, 64, 128, 256]
    """
    if calls in ("openat", "close"):
        yield from itertools.count(150, 100 if coarse else 25)
    yield from (2**power for power in itertools.count(0, 2 if coarse else 1))


@pytest.mark.needs("strace", "sha256sum")
@pytest.mark.parametrize("calls", CALLS)
def test_killed_in_the_first_copy_nothing_passes_for_a_copy_and_the_next_run_finishes(
    box: Box, cli: Cli, calls: str
) -> None:
    make_source(box, 3)
    for nth in moments(calls):
        remove_tree(box.set_folder)
        if not killed_at(cli, nth, calls, box.argv()):
            break
        made = dates(box.set_folder)  # killed after the copy had its name: then it is whole
        copies = {date: twin(box.source) for date in made}
        whole(box, copies)
        carries_on(box, copies)


@pytest.mark.needs("strace", "sha256sum")
@pytest.mark.parametrize("calls", CALLS)
def test_killed_in_the_second_copy_the_first_stays_and_the_next_run_finishes(box: Box, cli: Cli, calls: str) -> None:
    make_source(box, 4)
    first = {box.back_up(): twin(box.source)}
    edit(box, 5)
    now = twin(box.source)
    before = box.drive.with_name("drive before")
    subprocess.run(["cp", "-a", str(box.drive), str(before)], check=True)
    for nth in moments(calls):
        remove_tree(box.drive)
        subprocess.run(["cp", "-a", str(before), str(box.drive)], check=True)
        if not killed_at(cli, nth, calls, box.argv()):
            break
        copies = {**first, **{date: now for date in dates(box.set_folder) if date not in first}}
        whole(box, copies)
        carries_on(box, copies)


@pytest.mark.needs("strace", "sha256sum")
def test_killed_again_and_again_it_still_gets_there(box: Box, cli: Cli) -> None:
    make_source(box, 6)
    first = {box.back_up(): twin(box.source)}
    edit(box, 7)
    for nth in (2, 5, 1):
        for calls in CALLS[4:]:
            killed_at(cli, nth, calls, box.argv())
            assert set(first) <= set(dates(box.set_folder))
    copies = {**first, **{date: twin(box.source) for date in dates(box.set_folder) if date not in first}}
    carries_on(box, copies)


# --- Asked to stop ------


def wait_until(true: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    while not true():
        assert run.poll() is None, f"ended too early: {run.communicate()}"
        time.sleep(0.001)


def bytes_in(folders: Sequence[Path]) -> int:
    """Add up the files below folders in which another program is working."""
    total = 0
    for folder in folders:
        for here, _, files in os.walk(folder):
            for name in files:
                try:
                    total += os.lstat(os.path.join(here, name)).st_size
                except FileNotFoundError:
                    continue
    return total


def bytes_read_by(process: int) -> int:
    """Say how much another process, and those that it forked, have read so far."""
    forked = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return sum(int(Path(f"/proc/{one}/io").read_text().split()[1]) for one in [process, *forked])


def copied_so_far(box: Box) -> int:
    return bytes_in([box.set_folder / name for name in leftovers(box.set_folder)])


def many_files(box: Box, count: int, size: int) -> None:
    texts = [text_of(nth, size) for nth in range(7)]
    for nth in range(count):
        folder = box.source / f"folder {nth // 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {nth}").write_bytes(texts[nth % 7] + b"%d" % nth)


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_says_in_one_line_that_earlier_copies_are_untouched(
    box: Box, cli: Cli, asked: signal.Signals, jobs: str
) -> None:
    many_files(box, 10, 1000)
    first = {box.back_up(): twin(box.source)}
    many_files(box, 300, 500_000)
    run = cli.start(*box.argv("--jobs", jobs))
    wait_until(lambda: copied_so_far(box) > 10_000_000, run)
    asked_at = time.monotonic()
    run.send_signal(asked)
    ended = cli.ended(run, timeout=60)
    assert (ended.code, ended.err.count("\n")) == (130, 1), ended
    assert "untouched" in ended.err
    assert time.monotonic() - asked_at < 5
    whole(box, first)
    carries_on(box, first)


@pytest.mark.parametrize("command", [["verify"], ["restore", "latest", "--to", "back"]], ids=["verify", "restore"])
def test_a_reader_asked_to_stop_ends_with_130_and_one_line(box: Box, cli: Cli, tmp_path: Path, command: List[str]) -> None:
    many_files(box, 300, 500_000)
    first = {box.back_up(): twin(box.source)}
    words = [str(tmp_path / word) if word == "back" else word for word in command]
    run = cli.start(*words, "--drive", box.drive)
    wait_until(lambda: bytes_read_by(run.pid) > 20_000_000, run)  # of 150 MB
    run.send_signal(signal.SIGINT)
    ended = cli.ended(run, timeout=60)
    assert (ended.code, ended.err.count("\n")) == (130, 1), ended
    whole(box, first)


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_restore_asked_to_stop_leaves_no_half_file_under_its_name(box: Box, cli: Cli, tmp_path: Path, jobs: str) -> None:
    box.source.mkdir()
    for nth in range(4):
        (box.source / f"large {nth}").write_bytes(text_of(nth, 30_000_000))
    box.back_up()
    back = tmp_path / "back"
    run = cli.start("restore", "latest", "--to", back, "--drive", box.drive, "--jobs", jobs)
    wait_until(lambda: back.exists() and bytes_in([back]) > 5_000_000, run)
    run.send_signal(signal.SIGINT)
    ended = cli.ended(run, timeout=60)
    assert (ended.code, "--merge to go on" in ended.err) == (130, True), ended
    for path in back.rglob("large *"):
        assert path.read_bytes() == (box.source / path.name).read_bytes()
    assert ask("restore", "latest", "--to", back, "--merge", "--drive", box.drive).code == 0
    assert differences(twin(back / box.source.name), twin(box.source)) == []


@pytest.mark.needs("sha256sum")
def test_asked_to_stop_in_a_large_file_it_leaves_no_half_one_to_fill_the_drive(mounted: Callable[..., Mount], tmp_path: Path) -> None:
    """The drive has room for one such file, not for one and a half."""
    box = Box(tmp_path / "source", mounted("tmpfs", "12M").path)
    box.source.mkdir()
    (box.source / "large").write_bytes(text_of("large", 8 * MIB))
    assert ask("init", box.drive).code == 0
    reads = itertools.count(1)

    def stop(call: Call) -> None:
        if (call.name, call.path) == ("read", str(box.source / "large")) and next(reads) == 24:  # of 32 and one
            signal.raise_signal(signal.SIGINT)

    with watched(stop):
        outcome = ask(*box.argv("--jobs", "1"))
    assert (outcome.code, outcome.err.count("\n")) == (130, 1), outcome
    assert next(reads) > 24
    assert bytes_in([box.set_folder / name for name in leftovers(box.set_folder)]) < 10_000
    carries_on(box, {})


@pytest.mark.needs("strace")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("calls", ["close", "write,pwrite64,sendfile,copy_file_range", "link,linkat"])
def test_asked_to_stop_at_any_moment_it_never_passes_over_it(box: Box, cli: Cli, calls: str, jobs: str) -> None:
    """Python drops what is raised while an object is being deleted; and people press the keys more than once.

    strace counts for each thread by itself, so with several jobs the signal comes several times, and may end the run at once.
    """
    make_source(box, 9)
    for nth in moments(calls):
        remove_tree(box.drive)
        box.drive.mkdir()
        assert ask("init", box.drive).code == 0
        inject = f"inject={calls}:signal=INT:when={nth}"
        trace = box.drive.with_name("trace")
        strace = [*STRACE, "-o", str(trace), "-e", f"trace={calls}", "-e", inject]
        ended = cli(*box.argv("--jobs", jobs), before=strace)
        asked = trace.read_text().count("--- SIGINT")
        if not asked:
            break
        assert "Traceback" not in ended.err, (nth, ended)
        if ended.code == 0:
            assert dates(box.set_folder) != [], (nth, ended)  # asked after the copy had been made
        elif ended.code != -signal.SIGINT or asked < 3:
            assert (ended.code, ended.err.count("\n")) == (130, 1), (nth, ended)


def test_what_a_run_had_forked_dies_with_it_and_locks_nobody_out(box: Box, cli: Cli) -> None:
    many_files(box, 300, 500_000)
    run = cli.start(*box.argv("--jobs", "4"))
    wait_until(lambda: copied_so_far(box) > 10_000_000, run)
    forked = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    run.kill()
    run.communicate()
    wait_for_end(forked)
    assert len(forked) == 4
    carries_on(box, {})


def test_a_worker_that_does_not_move_keeps_nobody_waiting(box: Box, cli: Cli) -> None:
    many_files(box, 300, 500_000)
    run = cli.start(*box.argv("--jobs", "2"))
    wait_until(lambda: copied_so_far(box) > 10_000_000, run)
    for worker in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGSTOP)
    run.send_signal(signal.SIGINT)
    ended = cli.ended(run, timeout=60)
    assert (ended.code, ended.err.count("\n")) == (130, 1), ended
    carries_on(box, {})


def goes_on(process: str) -> bool:
    """Tell whether a process runs; one that ended stays listed until somebody asks for its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(processes: Sequence[str]) -> None:
    end = time.monotonic() + 20
    while any(goes_on(one) for one in processes):
        assert time.monotonic() < end, "they go on"
        time.sleep(0.001)


# --- What a killed run had done is not done again ------

COUNTED = """
import sys
sys.path.insert(0, sys.argv[1])
import snapback
code = snapback.main(sys.argv[2:])
written = [int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("wchar")]
print(code, *written)
"""


def bytes_written_by(argv: Sequence[str]) -> int:
    """Run snapback in a process of its own, and say how many bytes it wrote in all."""
    counted = [sys.executable, "-c", COUNTED, str(SNAPBACK.parent), *argv]
    told = subprocess.run(counted, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    code, written = told.stdout.splitlines()[-1].split()
    assert code == "0", told.stdout
    return int(written)


def test_killed_at_nine_tenths_the_next_run_writes_little_again(box: Box, cli: Cli) -> None:
    many_files(box, 200, 500_000)
    total = bytes_in([box.source])
    for _ in range(20):  # the moment cannot be hit exactly
        remove_tree(box.set_folder)
        run = cli.start(*box.argv())
        wait_until(lambda: copied_so_far(box) > 0.88 * total, run)
        run.kill()
        cli.ended(run)
        if not dates(box.set_folder):
            break
    done = copied_so_far(box)
    assert 0.88 * total < done, "not killed in time"
    written = bytes_written_by(box.argv())
    assert written < 0.15 * total, f"{done} of {total} bytes were there, {written} were written again"
    (new,) = dates(box.set_folder)
    whole(box, {new: twin(box.source)})
    assert leftovers(box.set_folder) == []


# --- Leftovers that are not what they seem ------


def make_leftover(box: Box, date: str) -> Path:
    """Turn a dated copy into what a run leaves that was killed just before its end."""
    folder = box.set_folder / date
    left = folder.with_name(f"{date}.incomplete")
    folder.rename(left)
    (left / "SHA256SUMS").unlink()
    twin_file = box.set_folder / "manifests" / f"{date}.gz"
    if twin_file.exists():
        twin_file.unlink()
    if (box.set_folder / "latest").is_symlink():
        (box.set_folder / "latest").unlink()
    return left / box.source.name


def three_files(box: Box) -> None:
    (box.source / "sub").mkdir(parents=True)
    for name in ("one", "two", "sub/three"):
        (box.source / name).write_bytes(text_of(name, 50_000))
        os.utime(box.source / name, (1_600_000_000, 1_600_000_000))


def test_a_good_leftover_is_moved_not_copied(box: Box) -> None:
    three_files(box)
    left = make_leftover(box, box.back_up())
    inodes = [os.stat(left / name).st_ino for name in ("one", "two", "sub/three")]
    new = box.back_up()
    assert [os.stat(box.copy_of(new) / name).st_ino for name in ("one", "two", "sub/three")] == inodes
    whole(box, {new: twin(box.source)})
    assert leftovers(box.set_folder) == []


@pytest.fixture
def own_box(ordinary_user: User) -> Iterator[Box]:
    """A marked drive of an ordinary user's, and a source yet to be made."""
    made = Box(ordinary_user.home / "source", ordinary_user.home / "drive")
    with ordinary_user.acting():
        made.drive.mkdir()
        assert ask("init", made.drive).code == 0
    yield made
    remove_tree(made.source)
    remove_tree(made.drive)


@pytest.mark.needs("sha256sum")
def test_a_leftover_folder_that_forbids_changes_blocks_no_later_run(own_box: Box, ordinary_user: User) -> None:
    with ordinary_user.acting():
        three_files(own_box)
        (own_box.source / "sub").chmod(0o555)
        left = make_leftover(own_box, own_box.back_up())
        inode = (left / "sub" / "three").stat().st_ino
        new = own_box.back_up()
        assert (own_box.copy_of(new) / "sub" / "three").stat().st_ino == inode
        assert differences(twin(own_box.copy_of(new)), twin(own_box.source)) == []
        carries_on(own_box, {new: twin(own_box.source)})


def refuse_links(call: Call) -> None:
    """Be a drive that takes no hard links."""
    if call.name == "link":
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), call.path)


@pytest.mark.parametrize("hook", [nothing, refuse_links], ids=["links", "no links"])
def test_a_leftover_never_takes_the_place_of_a_file_of_this_run(tmp_path: Path, hook: Callable[[Call], None]) -> None:
    """So it is on a drive that takes Foo for foo, where this run has stored the one and looks for a leftover of the other."""
    texts = {"source": b"leftover", "left": b"leftover", "new": b"of this run"}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "foo").write_bytes(text)
    source, left, new = (snapback.Folder.top(str(tmp_path / name)) for name in texts)
    care = snapback.Care(snapback.new_pulse(lambda _files, _size: None, 1), flush=False)
    with watched(hook):
        assert snapback.adopt_leftover(left, snapback.SourceFile(source, "foo", source.stat("foo")), new, "foo", care) is None
    assert {name: (tmp_path / name / "foo").read_bytes() for name in texts} == texts


def zeroed(path: Path) -> None:
    seen = path.stat()
    path.write_bytes(bytes(seen.st_size))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def cut_short(path: Path) -> None:
    seen = path.stat()
    os.truncate(path, seen.st_size // 2)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def with_a_tail(path: Path) -> None:
    seen = path.stat()
    path.write_bytes(path.read_bytes() + b"tail")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"x")


def made_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def closed_up(path: Path) -> None:
    path.chmod(0)


def of_other_mode(path: Path) -> None:
    path.chmod(0o4777)
    os.setxattr(path, "user.left", b"over")


HARMS = [zeroed, cut_short, with_a_tail, made_a_folder, made_a_fifo, closed_up, of_other_mode, Path.unlink]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: str(harm.__name__))
@pytest.mark.needs("sha256sum")
def test_a_leftover_file_that_is_not_the_sources_is_stored_anew(box: Box, harm: Callable[[Path], None]) -> None:
    three_files(box)
    left = make_leftover(box, box.back_up())
    harm(left / "two")
    harm(left / "sub" / "three")
    carries_on(box, {})


def test_a_leftover_older_than_the_source_is_stored_anew(box: Box) -> None:
    three_files(box)
    make_leftover(box, box.back_up())
    changed = text_of("changed", 50_000)
    (box.source / "two").write_bytes(changed)
    os.utime(box.source / "two", (1_600_000_000, 1_600_000_000))
    (box.source / "one").unlink()
    carries_on(box, {})


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(text_of("changed", 50_000)),
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o600),
        lambda path: os.utime(path, (1_500_000_000, 1_500_000_000)),
        lambda path: os.setxattr(path, "user.new", b"x"),
        lambda path: path.unlink(),
    ],
    ids=["other bytes", "emptied", "mode", "time", "attribute", "gone"],
)
@pytest.mark.needs("sha256sum")
def test_a_leftover_hard_link_never_changes_the_copy_it_shares(box: Box, change: Callable[[Path], object]) -> None:
    three_files(box)
    first = {box.back_up(): twin(box.source)}
    left = make_leftover(box, box.back_up())
    assert (left / "two").stat().st_nlink > 1  # it is a link to the first copy
    change(box.source / "two")
    change(box.source / "sub" / "three")
    carries_on(box, first)


def replaced_by_link(path: Path, outside: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(outside)


PLACES = {"a folder": "source/sub", "the source": "source", "the whole date": "", "a file": "source/two"}


@pytest.mark.parametrize("where", list(PLACES.values()), ids=list(PLACES))
@pytest.mark.needs("sha256sum")
def test_a_leftover_symbolic_link_leads_nowhere(box: Box, tmp_path: Path, where: str) -> None:
    """Outside lies just what the source holds, so it would do well as a leftover; none of it may move or change."""
    three_files(box)
    left = make_leftover(box, box.back_up()).parent
    outside = tmp_path / "outside"
    subprocess.run(["cp", "-a", str(box.source), str(tmp_path / "kept")], check=True)
    outside.mkdir()
    subprocess.run(["cp", "-a", str(box.source), str(outside / "source")], check=True)
    should = twin(outside)
    target = outside / where if where else outside
    replaced_by_link(left / where if where else left, target)
    carries_on(box, {})
    assert differences(twin(outside), should) == []


@pytest.mark.parametrize("share", [1, 0.5, 0], ids=["whole", "half", "empty"])
@pytest.mark.needs("sha256sum")
def test_a_manifest_in_an_unfinished_folder_makes_it_no_dated_copy(box: Box, share: float) -> None:
    three_files(box)
    date = box.back_up()
    manifest = (box.set_folder / date / "SHA256SUMS").read_bytes()
    left = make_leftover(box, date).parent
    (left / "SHA256SUMS").write_bytes(manifest[: int(len(manifest) * share)])
    listed = ask("list", "--json", "--drive", box.drive)
    assert f'"{date}"' not in listed.out, listed
    assert ask("restore", date, "--drive", box.drive, "--to", box.drive.with_name("back")).code != 0
    carries_on(box, {})


@pytest.mark.needs("sha256sum")
def test_several_leftovers_are_all_used_and_cleared_away(box: Box) -> None:
    three_files(box)
    left = make_leftover(box, box.back_up())
    subprocess.run(["cp", "-a", str(left.parent), str(box.set_folder / "2026-01-01_000000.incomplete")], check=True)
    (left / "one").unlink()
    carries_on(box, {})


# --- What the loops rest on ------


@pytest.mark.needs("strace")
def test_the_loop_does_kill(box: Box, cli: Cli) -> None:
    make_source(box, 3)
    assert killed_at(cli, 1, "rename,renameat,renameat2", box.argv())
    assert dates(box.set_folder) == []
    assert not killed_at(cli, 60_000, "rename,renameat,renameat2", box.argv())
    assert len(dates(box.set_folder)) == 1
