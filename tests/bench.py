#!/usr/bin/env python3
"""Measure snapback against the fastest peers, side by side in one run: `make bench`.

Everybody works on the same trees and takes turns; the table shows medians, and how many times as long snapback took.
Sources are read once beforehand, so that all find them in memory. Copies count as done when they are on the disk: peers
are followed by `sync` on the clock, snapback flushes by itself. What has to stand ready (an empty repository, an
earlier copy) is made off the clock.

BENCH_CACHE   keeps the trees to copy (/var/tmp/snapback-bench)
BENCH_DEST    an existing folder for the copies, such as one on another disk (the same)
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes.util
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union

SNAPBACK = Path(__file__).resolve().parent.parent / "snapback.py"
MIB = 1 << 20

Word = Union[str, Path]
Act = Callable[[Path], object]  # gets a folder


class BenchError(Exception):
    """A program ended otherwise than it should, so there is nothing to measure."""


# --- What is measured ------


class Scale(NamedTuple):
    """How much there is to do."""

    part: str  # of the Linux source
    generated: int  # small files, where the Linux source is not to be had
    large: int  # files of 6 MB
    grown: int  # files after growing to ten times as many
    far: int  # small files on a drive far away
    rounds: int


SCALES: Dict[str, Scale] = {
    "small": Scale("drivers/net", 6_000, 40, 20_000, 400, 3),
    "normal": Scale(".", 80_000, 200, 100_000, 2_000, 5),
    "big": Scale(".", 80_000, 200, 1_000_000, 4_000, 3),
}


class Tree(NamedTuple):
    """A folder to copy, and how the table calls it."""

    path: Path
    title: str


class Entrant(NamedTuple):
    """One program's way to do the work: `act` is timed, `prepare` is not; both get a fresh folder of their own."""

    name: str  # its first word is the program
    act: Act
    prepare: Act = lambda _: None


class Line(NamedTuple):
    """One line of the table, as it is printed."""

    work: str
    ours: str
    peer: str
    theirs: str
    ratio: str
    goal: str
    met: str


HEADINGS = Line("work", "snapback s", "peer", "peer s", "ratio", "goal", "met")


class Bench:
    """Where things lie, how often they are done, and how a program is run, timed and compared."""

    def __init__(self, cache: Path, scratch: Path, scale: Scale) -> None:
        """`cache` keeps trees from one run to the next, `scratch` is a new folder for everything else."""
        self.cache, self.scratch, self.scale = cache, scratch, scale
        self._numbers = itertools.count(1)
        home = self.fresh_folder()
        self._environment = {
            "BORG_BASE_DIR": str(home),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "RESTIC_PASSWORD": "bench",
        }

    def fresh_folder(self) -> Path:
        """Return a new empty folder on the disk that is written to."""
        folder = self.scratch / str(next(self._numbers))
        folder.mkdir()
        return folder

    def run(self, *words: Word, cwd: Optional[Path] = None) -> int:
        """Run a program in silence and return the most memory that it had, in bytes.

        Raises BenchError, with what it said, when it fails.
        """
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(words, cwd=cwd, env=self._environment, stdout=subprocess.DEVNULL, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status  # or Popen would wait once more
            if status != 0:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                raise BenchError(f"{' '.join(map(str, words))} failed: {said}")
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def snapback(self, *words: Word) -> int:
        """Run snapback as `run` does."""
        return self.run(sys.executable, "-I", SNAPBACK, *words)

    def run_and_sync(self, place: Path, *words: Word) -> None:
        """Run a peer that leaves its copy in memory, and see it to the disk."""
        self.run(*words)
        self.run("sync", "-f", place)

    def race(self, entrants: Sequence[Entrant], rounds: int = 0) -> List[float]:
        """Let all take turns for some rounds and return each one's median, in seconds."""
        seconds: List[List[float]] = [[] for _ in entrants]
        places: List[Path] = []
        for number in range(rounds or self.scale.rounds):
            for entrant, times in zip(entrants, seconds):
                place = self.fresh_folder()
                places.append(place)
                entrant.prepare(place)
                os.sync()
                start = time.perf_counter()
                entrant.act(place)
                times.append(time.perf_counter() - start)
                print(f"    round {number + 1}: {entrant.name}: {times[-1]:.3f} s", file=sys.stderr)
        for place in places:  # only now: ext4 makes files slowly for minutes after many were removed
            shutil.rmtree(place)
        return [statistics.median(times) for times in seconds]

    def compare(self, work: str, ours: Act, peers: Mapping[Entrant, float]) -> List[Line]:
        """Race snapback against its peers, each with the ratio that snapback may reach at most."""
        print(f"  {work}", file=sys.stderr)
        present = [peer for peer in peers if shutil.which(peer.name.split()[0])]
        our_seconds, *their_seconds = self.race([Entrant("snapback", ours), *present])
        lines = [
            timed_line(work, our_seconds, peer.name, seconds, peers[peer])
            for peer, seconds in zip(present, their_seconds)
        ]
        return lines + [
            Line(work, f"{our_seconds:.2f}", peer.name, "not installed", "-", f"{goal:.1f}", "-")
            for peer, goal in peers.items()
            if peer not in present
        ]


def timed_line(work: str, ours: float, peer: str, theirs: float, goal: float) -> Line:
    """Hold our seconds against a peer's; `goal` is the ratio that is good enough."""
    ratio = ours / theirs
    return Line(work, f"{ours:.2f}", peer, f"{theirs:.2f}", f"{ratio:.2f}", f"{goal:g}", yes_or_no(ratio <= goal))


def yes_or_no(true: bool) -> str:
    """Word a verdict for the table."""
    return "yes" if true else "NO"


# --- Trees ------


def linux_source(cache: Path) -> Optional[Path]:
    """Return the tree of Debian's linux-source, fetched at the first call; None where it is not to be had."""
    for makefile in sorted(cache.glob("linux-source-*/Makefile"), reverse=True):
        return makefile.parent
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return None
    depends = subprocess.run(["apt-cache", "depends", "linux-source"], stdout=subprocess.PIPE, encoding="utf-8")
    packages = [line.split()[-1] for line in depends.stdout.splitlines() if "Depends: linux-source-" in line]
    if not packages:
        return None
    print(f"  fetching {packages[0]}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            subprocess.run(["apt-get", "download", "-qq", packages[0]], cwd=folder, check=True)
            subprocess.run(["dpkg", "-x", next(Path(folder).glob("*.deb")), "deb"], cwd=folder, check=True)
            archive = next(Path(folder).glob(f"deb/usr/src/{packages[0]}.tar.*"))
            subprocess.run(["tar", "xf", archive], cwd=folder, check=True)
        except (subprocess.CalledProcessError, StopIteration):
            return None
        return (Path(folder) / packages[0]).rename(cache / packages[0])


def made_once(tree: Path, write: Act) -> Path:
    """Return a tree from the cache, and let `write` make it first where it is missing."""
    if not tree.exists():
        print(f"  making {tree}", file=sys.stderr)
        part = tree.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        write(part)
        part.rename(tree)
    return tree


def write_small_files(count: int) -> Act:
    """Return what fills a folder with text-sized files, 20 in each of many folders: 0 to 40 KB, most of them small."""

    def write(tree: Path) -> None:
        for number in range(count):
            folder = tree / f"{number // 400:03}" / f"{number // 20 % 20:02}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.txt").write_bytes(os.urandom((number * 7919 % 200) ** 2))

    return write


def write_large_files(count: int) -> Act:
    """Return what fills a folder with files of 6 MB."""

    def write(tree: Path) -> None:
        for number in range(count):
            (tree / f"{number:03}.bin").write_bytes(os.urandom(6_000_000))

    return write


def write_empty_files(count: int) -> Act:
    """Return what fills a folder with empty files, 1,000 in each of its folders."""

    def write(tree: Path) -> None:
        for number in range(count):
            folder = tree / f"{number // 1000:04}"
            if number % 1000 == 0:
                folder.mkdir()
            (folder / f"{number % 1000:03}").touch()

    return write


def warm(path: Path, kind: str) -> Tree:
    """Read a tree once, so that it lies in memory, and count its files."""
    count = 0
    for folder, _, names in os.walk(path):
        for name in names:
            count += 1
            file = os.path.join(folder, name)
            if not os.path.islink(file):
                with open(file, "rb") as opened:
                    while opened.read(MIB):
                        pass
    return Tree(path, f"{count:,} {kind} files")


def small_files(bench: Bench) -> Tree:
    """Return the tree of small files: the Linux source, or a generated one."""
    linux = linux_source(bench.cache)
    if linux:
        return warm(linux / bench.scale.part, "small")
    count = bench.scale.generated
    return warm(made_once(bench.cache / f"small-{count}", write_small_files(count)), "small")


def large_files(bench: Bench) -> Tree:
    """Return the folder of large files."""
    count = bench.scale.large
    return warm(made_once(bench.cache / f"large-{count}", write_large_files(count)), "large")


def empty_files(bench: Bench, count: int) -> Tree:
    """Return a tree of so many empty files."""
    return warm(made_once(bench.cache / f"empty-{count}", write_empty_files(count)), "empty")


# --- Rows ------


def first_copy(bench: Bench, tree: Tree, goals: Mapping[str, float]) -> List[Line]:
    """Copy a tree for the first time, with a hash of every file; only restic and borg keep hashes as well."""
    source = tree.path
    peers = [
        Entrant("cp -a", lambda place: bench.run_and_sync(place, "cp", "-a", source, place)),
        Entrant("rsync -a", lambda place: bench.run_and_sync(place, "rsync", "-a", source, place)),
        Entrant(
            "restic backup",
            lambda place: bench.run_and_sync(place, "restic", "-r", place, "backup", "--compression", "off", source),
            prepare=lambda place: bench.run("restic", "-r", place, "init"),
        ),
        Entrant(
            "borg create",
            lambda place: bench.run_and_sync(place, "borg", "create", "-C", "none", f"{place}/repo::first", source),
            prepare=lambda place: bench.run("borg", "init", "-e", "none", place / "repo"),
        ),
    ]
    return bench.compare(
        f"first copy, {tree.title}",
        lambda place: bench.snapback("backup", "--init", source, place, "-q"),
        {peer: goals[peer.name] for peer in peers},
    )


def copy_unchanged(bench: Bench, tree: Tree) -> List[Line]:
    """Make a further copy of a tree in which nothing has changed: hard links, and folders of its own."""
    drive, earlier = bench.fresh_folder(), bench.fresh_folder()
    bench.snapback("backup", "--init", tree.path, drive, "-q")
    bench.run("cp", "-a", f"{tree.path}/.", earlier)

    def link_and_list(place: Path) -> None:
        bench.run("cp", "-al", earlier, place)
        bench.run("find", tree.path, "-printf", "%p %m %U %G %s %T@ %C@\\n")
        bench.run("sync", "-f", place)

    def link_by_rsync(place: Path) -> None:
        bench.run_and_sync(place, "rsync", "-a", f"--link-dest={earlier}", f"{tree.path}/", place)

    return bench.compare(
        f"nothing changed, {tree.title}",
        lambda _: bench.snapback("backup", "--no-rotate", tree.path, drive, "-q"),  # deleting has a row of its own
        {Entrant("cp -al + find -printf", link_and_list): 1.3, Entrant("rsync -a --link-dest", link_by_rsync): 0.4},
    )


def copy_unchanged_by_changes(bench: Bench, tree: Tree) -> List[Line]:
    """Make a further copy of a tree in which nothing has changed, as on drives without hard links: a list that refers to the first."""
    drive, restic, borg = (bench.fresh_folder() for _ in range(3))
    words = ["--layout", "changes", "--no-rotate", tree.path, drive, "-q"]
    bench.snapback("backup", "--init", *words)
    bench.run("restic", "-r", restic, "init")
    bench.run("restic", "-r", restic, "backup", "--compression", "off", tree.path)
    bench.run("borg", "init", "-e", "none", borg / "repo")
    bench.run("borg", "create", "-C", "none", f"{borg}/repo::first", tree.path)
    counted = itertools.count()

    def list_both(_: Path) -> None:
        for place in (tree.path, drive):
            bench.run("find", place, "-printf", "%p %m %U %G %s %T@ %C@\\n")

    return bench.compare(
        f"nothing changed, layout changes, {tree.title}",
        lambda _: bench.snapback("backup", *words),
        {
            Entrant("find -printf of source and drive", list_both): 4.0,
            Entrant("restic backup", lambda place: bench.run_and_sync(place, "restic", "-r", restic, "backup", tree.path)): 1.0,
            Entrant("borg create", lambda place: bench.run_and_sync(
                place, "borg", "create", "-C", "none", f"{borg}/repo::{next(counted)}", tree.path)): 1.0,
        },
    )


def verify(bench: Bench, tree: Tree) -> List[Line]:
    """Read a whole dated copy back and compare all hashes."""
    drive = bench.fresh_folder()
    bench.snapback("backup", "--init", tree.path, drive, "-q")
    snapshot = only_snapshot(drive)
    return bench.compare(
        f"verify, {tree.title}",
        lambda _: bench.snapback("verify", "--drive", drive, "-q"),
        {Entrant("sha256sum -c", lambda _: bench.run("sha256sum", "-c", "SHA256SUMS", cwd=snapshot)): 0.6},
    )


def restore(bench: Bench, tree: Tree) -> List[Line]:
    """Bring a whole dated copy back, with all hashes checked on the way; the peer checks none."""
    drive = bench.fresh_folder()
    bench.snapback("backup", "--init", tree.path, drive, "-q")
    snapshot = only_snapshot(drive)
    return bench.compare(
        f"restore, {tree.title}",
        lambda place: bench.snapback("restore", "latest", "--drive", drive, "--to", place / "restored", "-q"),
        {Entrant("rsync -a", lambda place: bench.run_and_sync(place, "rsync", "-a", snapshot, place)): 0.8},
    )


def rotate(bench: Bench, tree: Tree) -> List[Line]:
    """Delete the oldest of several dated copies that share their files, as most do; the peer reads no list and moves no stray."""
    drive = bench.fresh_folder()
    bench.snapback("backup", "--init", tree.path, drive, "-q", "--no-rotate")
    for _ in range(2 * bench.scale.rounds):
        bench.snapback("backup", tree.path, drive, "-q", "--no-rotate")
    return bench.compare(
        f"rotate, {tree.title}",
        lambda _: bench.snapback("rotate", "--keep-last", str(len(snapshots(drive)) - 1), "--drive", drive, "-q"),
        {Entrant("rm -rf", lambda _: bench.run_and_sync(drive, "rm", "-rf", snapshots(drive)[0])): 1.2},
    )


FAR = 0.005  # seconds that each call to a drive far away takes longer


@contextlib.contextmanager
def far_drive(bench: Bench) -> Iterator[Path]:
    """Give an empty drive that is far away: a folder seen through FUSE, where calls wait, side by side."""
    place, packages = bench.fresh_folder(), bench.cache / "packages"
    if not (packages / "mfusepy.py").exists():
        bench.run(sys.executable, "-m", "pip", "install", "-q", "--target", packages, "mfusepy==3.1.1")
    library = ctypes.util.find_library("fuse3") or "libfuse3.so.3"  # libfuse 2 lets no two calls into one folder
    environment = {**os.environ, "PYTHONPATH": str(packages), "FUSE_LIBRARY_PATH": library}
    server = subprocess.Popen(
        [sys.executable, SNAPBACK.parent / "tests" / "slow_disk.py", bench.fresh_folder(), place, str(FAR)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not os.path.ismount(place):
            if server.poll() is not None:
                raise BenchError("slow_disk.py serves nothing; it needs /dev/fuse and libfuse3")
            time.sleep(0.05)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], stderr=subprocess.DEVNULL)
        server.kill()  # it would serve on where somebody else's name space has the mount, too
        server.wait()


def far_away(bench: Bench, layout: str) -> List[Line]:
    """Do everything on a drive to which each call takes 5 ms longer, with one worker and with eight."""
    count = bench.scale.far
    tree = Tree(made_once(bench.cache / f"small-{count}", write_small_files(count)), f"{count:,} small files")
    seconds: Dict[str, List[float]] = {}
    for jobs in (1, 8):
        with far_drive(bench) as drive:
            copy = ["backup", "--init", "--no-rotate", "--layout", layout, tree.path, drive]
            work: Dict[str, List[Word]] = {
                "first copy": copy,
                "nothing changed": copy,
                "verify": ["verify", "latest", "--drive", drive],
                "restore": ["restore", "latest", "--drive", drive, "--to", bench.fresh_folder()],
            }
            if layout == "complete":  # where nothing changed the other one has nothing to delete
                work["rotate"] = ["rotate", "--keep-last", "1", "--drive", drive]
            for name, words in work.items():
                start = time.perf_counter()
                bench.snapback(*words, "--jobs", str(jobs), "-q")
                seconds.setdefault(name, []).append(time.perf_counter() - start)
                print(f"    {name}, {layout}: --jobs {jobs}: {seconds[name][-1]:.3f} s", file=sys.stderr)
    return [
        timed_line(f"{name}, {layout}, far away, {tree.title}", eight, "snapback --jobs 1", one, 0.25)
        for name, (one, eight) in seconds.items()
    ]


def snapshots(drive: Path) -> List[Path]:
    """Return the folders of the dated copies on a drive, oldest first."""
    return sorted(manifest.parent for manifest in drive.glob("*/[0-9]*-*_*/SHA256SUMS"))


def only_snapshot(drive: Path) -> Path:
    """Return the folder of the one dated copy on a drive."""
    (snapshot,) = snapshots(drive)
    return snapshot


def start(bench: Bench) -> List[Line]:
    """Start the program and ask for no more than its version."""
    ours, bare = bench.race(
        [
            Entrant("snapback --version", lambda _: bench.snapback("--version")),
            Entrant("python3 -c pass", lambda _: bench.run(sys.executable, "-c", "pass")),
        ],
        rounds=20,
    )
    more, goal = (ours - bare) * 1000, 60
    met = yes_or_no(more <= goal)
    return [Line("start", f"{ours:.3f}", "python3 -c pass", f"{bare:.3f}", f"+{more:.0f} ms", f"+{goal} ms", met)]


def growth(bench: Bench) -> List[Line]:
    """Copy ten times as many files, for the first time and once more unchanged."""
    few, many = (empty_files(bench, count) for count in (bench.scale.grown // 10, bench.scale.grown))
    few_drive, many_drive = bench.fresh_folder(), bench.fresh_folder()
    first = bench.race(
        [
            Entrant("many", lambda place: bench.snapback("backup", "--init", many.path, place, "-q")),
            Entrant("few", lambda place: bench.snapback("backup", "--init", few.path, place, "-q")),
        ]
    )
    bench.snapback("backup", "--init", many.path, many_drive, "-q")
    bench.snapback("backup", "--init", few.path, few_drive, "-q")
    unchanged = bench.race(
        [
            Entrant("many, unchanged", lambda _: bench.snapback("backup", "--no-rotate", many.path, many_drive, "-q")),
            Entrant("few, unchanged", lambda _: bench.snapback("backup", "--no-rotate", few.path, few_drive, "-q")),
        ]
    )
    return [
        timed_line(f"growth, {work}, {many.title}", ours, few.title, theirs, 11)
        for work, (ours, theirs) in (("first copy", first), ("nothing changed", unchanged))
    ]


def memory(bench: Bench) -> List[Line]:
    """Take the peak memory for very many files, of a first copy and of one where nothing has changed."""
    tree, drive, goal = empty_files(bench, bench.scale.grown), bench.fresh_folder(), 150
    lines = []
    for work, init in (("first copy", ["--init"]), ("nothing changed", [])):
        peak = bench.snapback("backup", *init, tree.path, drive, "-q") / MIB
        met = yes_or_no(peak <= goal)
        lines.append(Line(f"memory, {work}, {tree.title}", f"{peak:.0f} MiB", "-", "-", "-", f"{goal} MiB", met))
    return lines


# Goals are ratios: snapback's seconds by the peer's, at most.
SMALL_FILES = {"cp -a": 0.8, "rsync -a": 0.8, "restic backup": 0.7, "borg create": 0.7}
LARGE_FILES = {"cp -a": 1.6, "rsync -a": 0.6, "restic backup": 0.7, "borg create": 0.7}

ROWS: Dict[str, Callable[[Bench], List[Line]]] = {
    "first-small": lambda bench: first_copy(bench, small_files(bench), SMALL_FILES),
    "first-large": lambda bench: first_copy(bench, large_files(bench), LARGE_FILES),
    "unchanged": lambda bench: copy_unchanged(bench, small_files(bench)),
    "unchanged-changes": lambda bench: copy_unchanged_by_changes(bench, small_files(bench)),
    "verify-small": lambda bench: verify(bench, small_files(bench)),
    "verify-large": lambda bench: verify(bench, large_files(bench)),
    "restore-small": lambda bench: restore(bench, small_files(bench)),
    "restore-large": lambda bench: restore(bench, large_files(bench)),
    "rotate": lambda bench: rotate(bench, small_files(bench)),
    "far-complete": lambda bench: far_away(bench, "complete"),
    "far-changes": lambda bench: far_away(bench, "changes"),
    "start": start,
    "growth": growth,
    "memory": memory,
}
ONLY_BIG = {"memory"}  # what a small scale says nothing about


# --- Command line ------

PEER_PACKAGES = {"borg": "borgbackup", "restic": "restic", "rsync": "rsync"}
FUSE_PACKAGE = "libfuse3-3"


def install_peers() -> None:
    """Let root have the peers that are missing, by apt-get; what cannot be had is said in the table."""
    missing = [package for program, package in PEER_PACKAGES.items() if not shutil.which(program)]
    missing += [] if ctypes.util.find_library("fuse3") else [FUSE_PACKAGE]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {', '.join(missing)}", file=sys.stderr)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing], stdout=sys.stderr)


def aligned(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()


def markdown(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the table as README shows it."""
    for number, line in enumerate(lines):
        yield f"| {' | '.join(line)} |"
        if number == 0:
            yield "|---" * len(line) + "|"


def circumstances(bench: Bench) -> str:
    """Say on what the figures were taken."""
    df = subprocess.run(["df", "--output=fstype", bench.scratch], stdout=subprocess.PIPE, encoding="utf-8")
    disk = "".join(df.stdout.split()[1:]) or "an unknown file system"
    return (
        f"{os.cpu_count()} processors, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"copies on {disk}; medians of {bench.scale.rounds} rounds"
    )


def main(argv: Sequence[str]) -> int:
    """Measure the rows that were asked for and print the table; exit code 1 when a program failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="normal", help="how much to do (default: normal)")
    parser.add_argument("--only", metavar="NAME", action="append", choices=ROWS, help=f"one row: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="how often everybody takes a turn")
    parser.add_argument("--markdown", action="store_true", help="print the table as README shows it")
    arguments = parser.parse_args(argv)
    scale = SCALES[arguments.scale]
    if arguments.rounds:
        scale = scale._replace(rounds=arguments.rounds)
    cache = Path(os.environ.get("BENCH_CACHE", "/var/tmp/snapback-bench"))
    cache.mkdir(parents=True, exist_ok=True)
    install_peers()
    names = arguments.only or [name for name in ROWS if arguments.scale == "big" or name not in ONLY_BIG]
    lines = [HEADINGS]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DEST", cache)) as scratch:
        bench = Bench(cache, Path(scratch), scale)
        for name in names:
            lines += ROWS[name](bench)
        said = circumstances(bench)
    print(said, "", *(markdown(lines) if arguments.markdown else aligned(lines)), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as err:
        sys.exit(f"bench.py: {err}")
