"""What every test may ask for.

LOOPS       LOOPS=coarse in the environment: the longest loops try fewer of their moments, faults, files (`COARSE`, `thinned`).
            `make check` says so to the oldest of two Pythons: the newest, which is twice as fast, runs every loop in full, and
            what these loops look for, the order of system calls, is the same on any
HISTORIES   how many random histories are lived through (test_histories.py); nearly all of them by the newest Python, which is
            the fastest
needs       `@pytest.mark.needs("root", "rsync")`: skipped, with the reason, where one of them is missing. Where CI=true
            is set nothing may be missing but what NEVER_IN_CI names, so that no test is skipped for good unnoticed.
run, cli    the program by `snapback.main([...])`, and as a process of its own
mounted     file systems of its own: ext4, xfs, btrfs, exfat, ntfs, tmpfs; read-only, full, unplugged, failing
ordinary_user, timezone     somebody who is not root; another time zone

A developer's own home folder, settings, time zone, umask and network have no say in any test.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import itertools
import marshal
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

import pytest

import pythons
import snapback
from trees import remove_tree

collect_ignore = ["slow_disk.py"]  # a program of the bench, with a library that it alone installs

SNAPBACK = Path(snapback.__file__).resolve()
NOBODY = 65534
MIB = 1 << 20

COARSE = os.environ.get("LOOPS") == "coarse"

Argument = Union[str, "os.PathLike[str]"]


Thing = TypeVar("Thing")


def thinned(things: Sequence[Thing], step: int = 4) -> Sequence[Thing]:
    """Give all that a long loop is to try; in coarse loops only every so many-th."""
    return things[::step] if COARSE else things


# --- Needs ------

NEVER_IN_CI = {"macos", "windows", "wine"}

# A Windows Python on this machine: the command that takes its arguments, such as `wine C:\\Python38\\python.exe`.
WINE_PYTHON = shlex.split(os.environ.get("SNAPBACK_WINE_PYTHON", ""))
WINE_WORLD = dict(os.environ)  # with the home folder in which Wine keeps its C: drive

PROGRAMS = {
    "busybox", "chattr", "chromedriver", "chromium", "cp", "cron", "crontab", "dash", "desktop-file-validate", "find", "getfacl", "gio",
    "git", "openssl", "prlimit", "restic", "rsync", "setfacl", "setfattr", "sh", "sha256sum", "shasum", "strace", "sync", "systemd-analyze",
}


class FileSystem(NamedTuple):
    """How a file system is made and mounted; the smallest size its mkfs takes."""

    size: str
    mkfs: Sequence[str]
    mount: Sequence[str]


FILE_SYSTEMS: Dict[str, FileSystem] = {
    "ext4": FileSystem("32M", ["mkfs.ext4", "-q", "-F"], ["mount"]),
    "xfs": FileSystem("300M", ["mkfs.xfs", "-q"], ["mount"]),
    "btrfs": FileSystem("120M", ["mkfs.btrfs", "-q"], ["mount"]),
    "exfat": FileSystem("32M", ["mkfs.exfat"], ["mount.exfat-fuse"]),
    "ntfs": FileSystem("32M", ["mkfs.ntfs", "-q", "-F", "-Q"], ["mount.ntfs-3g"]),
    "tmpfs": FileSystem("32M", [], ["mount"]),
}


def is_root() -> bool:
    """Whether this process may do everything."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def can_mount() -> bool:
    """Whether this process may really mount and has loop devices; root in a container often may not."""
    if not is_root() or not shutil.which("losetup"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode != 0:
            return False
        subprocess.run(["umount", folder], check=True)
    return subprocess.run(["losetup", "-f"], capture_output=True).returncode == 0


def ordinary_user_can_start_it() -> bool:
    """Whether somebody other than root can start this Python and read the program: both may lie below /root."""
    if not hasattr(os, "geteuid"):
        return False
    command = [sys.executable, "-I", "-c", "import sys, ctypes; open(sys.argv[1]).close()", str(SNAPBACK)]
    try:
        return subprocess.run(command, capture_output=True, preexec_fn=becoming(ordinary_ids())).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def wine_works() -> bool:
    """Whether the command in SNAPBACK_WINE_PYTHON starts a Windows Python."""
    if not WINE_PYTHON:
        return False
    command = [*WINE_PYTHON, "-c", "import os; print(os.name)"]
    done = subprocess.run(command, input=b"", capture_output=True, env=WINE_WORLD)
    return done.stdout.strip() == b"nt"


CONDITIONS: Dict[str, Tuple[Callable[[], bool], str]] = {
    "linux": (lambda: sys.platform.startswith("linux"), "this is not Linux"),
    "macos": (lambda: sys.platform == "darwin", "this is not macOS"),
    "windows": (lambda: os.name == "nt", "this is not Windows"),
    "wine": (wine_works, "SNAPBACK_WINE_PYTHON names no Windows Python that starts here"),
    "root": (is_root, "this is not root"),
    "user": (ordinary_user_can_start_it, f"an ordinary user cannot reach {sys.executable} and {SNAPBACK}"),
    "mount": (can_mount, "nothing can be mounted here"),
    "other-python": (lambda: len(pythons.find_pythons()) > 1, "there is only one Python here"),
}


@functools.lru_cache(maxsize=None)
def why_missing(need: str) -> Optional[str]:
    """Say why a need is not met here; None when it is.

    Raises pytest.UsageError for a need that no table knows.
    """
    if need in CONDITIONS:
        met, reason = CONDITIONS[need]
        return None if met() else reason
    if need in FILE_SYSTEMS:
        kind = FILE_SYSTEMS[need]
        absent = [program for program in (*kind.mkfs[:1], kind.mount[0]) if not shutil.which(program)]
        return why_missing("mount") or (f"{absent[0]} is not installed" if absent else None)
    if need in PROGRAMS:
        return None if shutil.which(need) else f"{need} is not installed"
    raise pytest.UsageError(f"no such need: {need!r}; conftest.py has the tables")


def require(*needs: str) -> None:
    """Skip the running test where a need is not met; fail it on CI, which has all but NEVER_IN_CI."""
    for need in needs:
        reason = why_missing(need)
        if reason and os.environ.get("CI") == "true" and need not in NEVER_IN_CI:
            pytest.fail(f"CI must be able to run this, but {reason}", pytrace=False)
        elif reason:
            pytest.skip(f"needs {need}: {reason}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold every `needs` of a test against this machine."""
    for marker in item.iter_markers("needs"):
        require(*marker.args)


# --- A world of its own ------


def pytest_configure() -> None:
    """Give the whole session one time zone, one umask and a PATH on which mkfs and losetup stand."""
    os.environ["TZ"] = "UTC"
    if hasattr(time, "tzset"):
        time.tzset()
    os.umask(0o022)
    snapback.parser_of = functools.lru_cache(maxsize=None)(snapback.parser_of)  # a process of its own builds one, and that but once
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="snapback-state-")  # what runs before a test has its own home
    _DISK.callback(shutil.rmtree, os.environ["XDG_STATE_HOME"], True)
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if not os.environ.get("TMPDIR") and is_root() and memory() and not why_missing("ext4"):
        put_temporary_folders(_DISK)


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of every garbage collection: many tests ask for one, and it took most of their time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Give the session's disk back."""
    _DISK.close()


# --- A disk of the session's own ------

_DISK = contextlib.ExitStack()
CLONE_NEWNS = 0x00020000
DISK_SIZE = "3G"  # of which a few hundred megabytes are used at any time


def put_temporary_folders(disk: contextlib.ExitStack) -> None:
    """Let all temporary folders lie on an ext4 in memory, until `disk` is closed.

    Hundreds of runs flush what they write. On a disk that others use as well they would wait for all that those have
    written: that was half of the tests' time. The mount is seen by this session only, and gone when it is killed.
    """
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return
    command("mount", "--make-rprivate", "/")
    folder = tempfile.mkdtemp(prefix="snapback-disk-")
    disk.callback(os.rmdir, folder)
    with tempfile.NamedTemporaryFile(dir=memory()) as image:  # its name can go as soon as it is mounted
        command("truncate", "-s", DISK_SIZE, image.name)
        command("mkfs.ext4", "-q", "-F", image.name)
        command("mount", "-o", "loop,discard,noinit_itable", image.name, folder)
    disk.callback(command, "umount", "-l", folder)
    os.chmod(folder, 0o1777)
    disk.callback(setattr, tempfile, "tempdir", tempfile.tempdir)
    tempfile.tempdir = folder


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield home folders that nobody has used yet."""
    base = tmp_path_factory.mktemp("homes")
    return (base / str(number) for number in itertools.count(1))


@pytest.fixture(autouse=True)
def home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty home folder that this test has; no network can be reached from it."""
    folder = next(_homes)
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("XDG_", "SNAPBACK_"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(socket.socket, "connect", _refuse_network)
    return folder


def _refuse_network(_socket: socket.socket, address: object) -> None:
    raise AssertionError(f"a network connection to {address!r} was tried")


@pytest.fixture
def timezone() -> Iterator[Callable[[str], None]]:
    """Return a function that sets the local time zone; POSIX names work everywhere: CET-1CEST,M3.5.0,M10.5.0/3."""

    def set_timezone(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    yield set_timezone
    set_timezone("UTC")


# --- The program ------


class Result(NamedTuple):
    """How a run of the program ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return `run(*arguments) -> Result`, which calls `snapback.main` in this process."""

    def run_main(*arguments: Argument) -> Result:
        capsys.readouterr()
        try:
            code = snapback.main([os.fspath(argument) for argument in arguments])
        except SystemExit as err:  # argparse's way to end after --help
            code = err.code if isinstance(err.code, int) else 0 if err.code is None else 1
        return Result(code, *capsys.readouterr())

    return run_main


class User(NamedTuple):
    """Somebody who is not root, with a home folder that only they may enter, in a place that they can reach."""

    uid: int
    gid: int
    home: Path

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Let this very process, with all its threads, act as this user for a while."""
        if not is_root():
            yield
            return
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)


def ordinary_ids() -> Tuple[int, int]:
    """Return user and group of an ordinary user: nobody's for root, otherwise one's own."""
    return (NOBODY, NOBODY) if is_root() else (os.getuid(), os.getgid())


def becoming(ids: Tuple[int, int]) -> Callable[[], None]:
    """Return what a child process must call to become that user for good; for one's own ids it does nothing."""

    def become() -> None:
        if ids != (os.geteuid(), os.getegid()):
            os.setgroups([])
            os.setgid(ids[1])
            os.setuid(ids[0])

    return become


@pytest.fixture
def ordinary_user(reachable: Path) -> User:
    """Return somebody who is not root: nobody, or who runs the tests."""
    require("user")
    uid, gid = ordinary_ids()
    own = reachable / "home-of-an-ordinary-user"
    own.mkdir(mode=0o700)
    os.chown(own, uid, gid)
    return User(uid, gid, own)


# What Python does with a script, but for compiling it: that takes 0.2 to 0.4 s each time, as a script is never cached.
AS_SCRIPT = """
import marshal, sys
with open(sys.argv[1], "rb") as file:
    code = marshal.load(file)
del sys.argv[:2]
__file__ = sys.argv[0]
exec(code)
"""


@functools.lru_cache(maxsize=None)
def compiled() -> str:
    """Compile the program, once for all tests, and say where that lies; everybody may read it."""
    folder = tempfile.mkdtemp(prefix="snapback-compiled-")
    _DISK.callback(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    place = os.path.join(folder, "snapback")
    with open(place, "wb") as file:
        marshal.dump(compile(SNAPBACK.read_bytes(), os.fspath(SNAPBACK), "exec", dont_inherit=True), file)
    return place


def as_script(*flags: str) -> List[str]:
    """Give the words that start the program as this Python starts a script, but compiled."""
    return [sys.executable, *flags, "-c", AS_SCRIPT, compiled(), str(SNAPBACK)]


class Cli:
    """The program as a process of its own, as cron starts it: with a bare environment, away from the checkout.

    This Python gets it compiled; many other tests, and another `python`, start the file itself.
    """

    def __init__(self, home: Path) -> None:
        """`home` is the home folder and current folder unless a user or `cwd` says otherwise."""
        self.home = home
        self.started: List[subprocess.Popen[str]] = []

    def start(
        self,
        *arguments: Argument,
        user: Optional[User] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[Path] = None,
        before: Sequence[Argument] = (),
        python: str = sys.executable,
    ) -> subprocess.Popen[str]:
        """Start it and do not wait; `before` is a command to start it by, such as `["strace", "-f"]`.

        What still runs when the test ends is killed.
        """
        place = user.home if user else self.home
        kept = ("PATH", "TZ", "TMPDIR", "TEMP", "SYSTEMROOT")
        bare = {name: os.environ[name] for name in kept if name in os.environ}
        bare.update(HOME=str(place), LANG="C.UTF-8", TERM="dumb")
        program = as_script("-I") if python == sys.executable else [python, "-I", str(SNAPBACK)]
        process = subprocess.Popen(
            [*before, *program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            env={**bare, **(env or {})},
            cwd=cwd or place,
            preexec_fn=becoming((user.uid, user.gid)) if user else None,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: Argument, stdin: str = "", timeout: float = 120, **how: Any) -> Result:
        """Run it to its end; `timeout` in seconds, the other words as for `start`."""
        process = self.start(*arguments, **how)
        return self.ended(process, stdin=stdin, timeout=timeout)

    def ended(self, process: subprocess.Popen[str], stdin: str = "", timeout: float = 120) -> Result:
        """Wait for a process that `start` returned; one ended by a signal has the code -signal."""
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"not done after {timeout} s: {process.args}\n{out}\n{err}")
        return Result(process.returncode, out, err)


@pytest.fixture
def cli(home: Path) -> Iterator[Cli]:
    """Return `cli(*arguments, user=, env=, cwd=, stdin=, timeout=) -> Result`, and `cli.start(...)` for a process."""
    program = Cli(home)
    yield program
    for process in program.started:
        with process:  # closes its pipes and waits for it
            process.kill()


# --- File systems ------

FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): from now on the file system fails every write, without warning
SHUTDOWN_NOLOGFLUSH = 2


def command(*words: Argument) -> str:
    """Run a program of the test bench and return what it printed; its own words are in the error if it fails."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    assert done.returncode == 0, f"{' '.join(map(os.fspath, words))}: {done.stdout}"
    return done.stdout.strip()


class Mount:
    """A file system of its own, on an image behind a loop device (tmpfs has neither), for one test."""

    def __init__(self, kind: str, size: str, image: Path, path: Path, options: Sequence[str]) -> None:
        """Nothing is made yet; `size` is such as 64M, `path` an empty folder."""
        self.kind, self.size, self.image, self.path, self.options = kind, size, image, path, list(options)
        self.device: Optional[str] = None

    def make(self) -> None:
        """Make the image and mount it."""
        if self.kind != "tmpfs":
            command("truncate", "-s", self.size, self.image)
            command(*FILE_SYSTEMS[self.kind].mkfs, self.image)
        self._attach(self.options)

    def _attach(self, options: Sequence[str]) -> None:
        if self.kind == "tmpfs":
            source = ["-t", "tmpfs", "tmpfs"]
            options = [f"size={self.size}", *options]
        else:
            self.device = command("losetup", "-f", "--show", self.image)
            source = [self.device]
        flags = ["-o", ",".join(options)] if options else []
        command(*FILE_SYSTEMS[self.kind].mount, *flags, *source, self.path)

    def _detach(self) -> None:
        """Unmount it, whoever may still be at work there, and give its device back."""
        gc.collect()  # a run in this process that failed left its folders open, in the circle of its error and the error's frames
        daemon = self._daemon()
        if not _comes_true(self._unmounted, 10):  # a killed run's workers hold their files for a moment longer
            command("umount", "-l", self.path)
        if daemon and not _comes_true(lambda: self._daemon() is None, 30):  # it goes on writing after umount has returned
            os.kill(daemon, signal.SIGKILL)
            _wait_until(lambda: self._daemon() is None)
        if self.device:
            command("losetup", "-d", self.device)
            self.device = None

    def _unmounted(self) -> bool:
        """Try to unmount it; say whether it is unmounted now, be it since long."""
        return subprocess.run(["umount", self.path], capture_output=True).returncode == 0 or not self._is_mounted()

    def _is_mounted(self) -> bool:
        """Look into the system's own list: os.path.ismount takes a mount whose daemon has died for none."""
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
        return os.fsencode(self.path) in [line.split(b" ")[4] for line in lines]

    def _daemon(self) -> Optional[int]:
        """Return the process id of the FUSE daemon that serves this device, if one does."""
        program = FILE_SYSTEMS[self.kind].mount[0]
        if not self.device or program == "mount":
            return None
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # a process that has just ended
                words = entry.read_bytes().split(b"\0")
                if self.device.encode() in words and program.encode() in words[0]:
                    return int(entry.parent.name)
        return None

    def read_only(self) -> None:
        """Mount it read-only; refused while a file is open for writing."""
        if self.kind == "exfat":
            self._detach()
            self._attach(["ro", *self.options])
        else:
            gc.collect()
            again = ["mount", "-o", "remount,ro", os.fspath(self.path)]
            if not _comes_true(lambda: subprocess.run(again, capture_output=True).returncode == 0, 10):
                command(*again)  # for its words

    def remount(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Unmount it and mount it again, writable: what was not written to the device is gone from the cache.

        Nothing may have been written below it, on this machine's own disk.
        """
        if self.kind == "tmpfs":
            command("mount", "-o", "remount,rw", self.path)
        else:
            self._detach()
            assert os.listdir(self.path) == []
            meanwhile()
            self._attach(self.options)

    def unplug(self) -> None:
        """Take it away in the middle: FUSE gives ENOTCONN from now on, others leave an empty mount point behind."""
        daemon = self._daemon()
        if daemon:
            os.kill(daemon, signal.SIGKILL)
            _wait_until(lambda: self._daemon() is None)
        else:
            command("umount", "-l", self.path)

    def turned_read_only(self) -> bool:
        """Try to turn it read-only as it is; say whether that was done.

        Ext4 does it to itself, as when it has found an error; others refuse it while a file is open for writing.
        """
        how = "remount,abort" if self.kind == "ext4" else "remount,ro"
        return subprocess.run(["mount", "-i", "-o", how, self.path], capture_output=True).returncode == 0

    def fill(self, leave: int = 0) -> Path:
        """Fill it with a file, which is returned, until about `leave` bytes are free."""
        filler = self.path / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
            os.fsync(file.fileno())
        if leave:
            os.truncate(filler, max(0, filler.stat().st_size - leave))
        return filler

    def shut_down(self) -> None:
        """Let it fail every write from now on (ext4, xfs); an image that lies on it is a device that has failed."""
        import fcntl

        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FS_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NOLOGFLUSH))
        finally:
            os.close(folder)

    def close(self) -> None:
        """Unmount it, whatever state it is in; rmdir makes sure of it, before somebody empties the folder."""
        if self.device or self._is_mounted():
            self._detach()
        self.path.rmdir()


def _comes_true(true: Callable[[], bool], seconds: float) -> bool:
    """Wait, but not longer than that, for something to be so; say whether it is."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    assert _comes_true(true, seconds), f"not so after {seconds} s"


MEMORY = Path("/dev/shm")
ENOUGH_MEMORY = 2048 * MIB  # free there, or its disk is used: in a container it may hold next to nothing


@functools.lru_cache(maxsize=None)
def memory() -> Optional[str]:
    """Say where folders in memory can be made, as large as tests need and with attributes; None where there is no such place."""
    try:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            os.setxattr(folder, "user.test", b"")  # refused by Linux up to 6.5
            room = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return os.fspath(MEMORY) if room.f_bavail * room.f_frsize >= ENOUGH_MEMORY else None


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Give a folder in memory, where that can be had: hundreds of runs flush what they write."""
    root = Path(tempfile.mkdtemp(prefix="snapback-test-", dir=memory()))
    yield root
    remove_tree(root)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder in memory, where that can be had."""
    with folder_in_memory() as root:
        yield root


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """An empty folder that is to become a drive."""
    made = tmp_path / "drive"
    made.mkdir()
    return made


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Return a folder that an ordinary user can enter; `tmp_path` of root cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="snapback-test-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def mounted(reachable: Path, in_memory: Path) -> Iterator[Callable[..., Mount]]:
    """Return `mounted(kind, size=..., image_in=..., options=...) -> Mount`; skips by itself where it cannot be made.

    `image_in` is a folder for the image, which otherwise lies in memory: a busy disk would keep everybody waiting for
    what is written to it. A drive whose device can fail:

        disk = mounted("ext4", "400M")
        drive = mounted("xfs", image_in=disk.path)
        disk.shut_down()
    """
    with contextlib.ExitStack() as stack:

        def mount(kind: str, size: str = "", image_in: Optional[Path] = None, options: Sequence[str] = ()) -> Mount:
            require(kind)
            path = Path(tempfile.mkdtemp(prefix=kind, dir=reachable))
            image = (image_in or in_memory) / f"{path.name}.img"
            drive = Mount(kind, size or FILE_SYSTEMS[kind].size, image, path, options)
            stack.callback(drive.close)
            drive.make()
            return drive

        yield mount
