"""Trees that are hard to copy, exact descriptions of trees, and how to get rid of them.

    awkward_tree(root)          one tree with everything that a Linux disk allows and people rarely test
    twin(root)                  what a tree is, exactly: path -> Entry
    differences(is_, should)    what two descriptions do not share, in sentences
    random_tree(rng, root, n)   a tree drawn from a seed ...
    random_edit(rng, root)      ... and one thing that a person or a program does to it
    remove_tree(root)           removes all of these

Paths are bytes, and folders are opened step by step, so that neither the length of a path nor the depth
of a tree matters.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import gc
import hashlib
import io
import os
import random
import re
import socket
import stat
import struct
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Callable, Collection, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import snapback

AnyPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
PATH_LIMIT = 4000  # a little less than Linux's PATH_MAX of 4096, which counts the closing NUL
DEEP_LEVELS = 1200  # more than Python's recursion limit, and more than the usual number of open files
SECOND = 10**9
UNREADABLE = b"(unreadable)"


def is_root() -> bool:
    return os.geteuid() == 0


# --- Folders of any depth ------


def steps_to(path: bytes) -> Iterator[bytes]:
    """Cut a relative path into pieces that the system takes in one call.

    >>> [len(step) for step in steps_to(b"/".join([b"x" * 255] * 20))]
    [3839, 1279]
    """
    if len(path) <= PATH_LIMIT:
        yield path
        return
    step = b""
    for name in path.split(b"/"):
        if step and len(step) + 1 + len(name) > PATH_LIMIT:
            yield step
            step = b""
        step = step + b"/" + name if step else name
    yield step


@contextlib.contextmanager
def opened_folder(root: AnyPath, path: bytes = b"") -> Iterator[int]:
    """Give a descriptor of the folder `path` below `root`, however long that path is."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        steps = list(steps_to(path)) if path else []
        for nth, step in enumerate(steps, 1):
            # on the way a folder need only be passable, not readable
            way = os.O_RDONLY if nth == len(steps) else os.O_PATH
            deeper = os.open(step, way | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = deeper
        yield here
    finally:
        os.close(here)


def names_in(folder: int) -> List[bytes]:
    return sorted(os.fsencode(name) for name in os.listdir(folder))


def joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def parted(path: bytes) -> Tuple[bytes, bytes]:
    folder, _, name = path.rpartition(b"/")
    return folder, name


def by_descriptor(folder: int, name: bytes) -> bytes:
    """Give a short path to a name in an open folder, for the calls that take no folder descriptor."""
    return b"/proc/self/fd/%d/%s" % (folder, name)


# --- Twins: exact descriptions ------


class Entry(NamedTuple):
    """Everything about one path that a copy has to keep; `group` is the first of its hard links, if it has others."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    content: bytes  # the hash of a file, the target of a symbolic link
    xattrs: Tuple[Tuple[str, bytes], ...]
    device: int
    group: bytes


Twin = Dict[bytes, Entry]

KINDS = {
    stat.S_IFDIR: "dir",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def hash_of(folder: int, name: bytes) -> bytes:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    except PermissionError:
        return UNREADABLE
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as source:
        for block in iter(lambda: source.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest().encode()


def xattrs_of(path: Union[bytes, int]) -> Tuple[Tuple[str, bytes], ...]:
    follow = isinstance(path, int)
    found = []
    try:
        for name in sorted(os.listxattr(path, follow_symlinks=follow)):
            if name.startswith("trusted.SGI_ACL_"):  # how xfs keeps the ACL that is listed under its usual name too
                continue
            try:
                found.append((name, os.getxattr(path, name, follow_symlinks=follow)))
            except PermissionError:
                found.append((name, UNREADABLE))
    except OSError as err:
        if err.errno not in (errno.ENOTSUP, errno.EACCES, errno.EPERM):
            raise
    return tuple(found)


def describe(folder: int, name: bytes) -> Tuple[Entry, Tuple[int, int]]:
    """Describe one name in an open folder, and say which inode it is."""
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    kind = KINDS[stat.S_IFMT(seen.st_mode)]
    content = b""
    if kind == "file":
        content = hash_of(folder, name)
    elif kind == "link":
        content = os.readlink(name, dir_fd=folder)
    entry = Entry(
        kind=kind,
        mode=stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        size=seen.st_size if kind == "file" else 0,
        content=content,
        xattrs=xattrs_of(by_descriptor(folder, name)),
        device=seen.st_rdev if kind in ("char", "block") else 0,
        group=b"",
    )
    return entry, (seen.st_dev, seen.st_ino)


def twin(root: AnyPath) -> Twin:
    """Describe a whole tree, its root as "."; a folder that cannot be listed has UNREADABLE as its content."""
    with opened_folder(os.path.join(os.fsencode(root), b"..")) as above:
        top, _ = describe(above, os.path.basename(os.path.realpath(os.fsencode(root))))
    found: Twin = {b".": top}
    inodes: Dict[Tuple[int, int], List[bytes]] = {}
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        try:
            with opened_folder(root, folder) as here:
                for name in names_in(here):
                    path = joined(folder, name)
                    found[path], inode = describe(here, name)
                    if found[path].kind == "dir":
                        waiting.append(path)
                    else:
                        inodes.setdefault(inode, []).append(path)
        except PermissionError:
            found[folder or b"."] = found[folder or b"."]._replace(content=UNREADABLE)
    for paths in inodes.values():
        if len(paths) > 1:
            for path in paths:
                found[path] = found[path]._replace(group=min(paths))
    return found


def without(tree: Twin, *kinds: str) -> Twin:
    """Leave out entries of some kinds, such as sockets, which no copy holds."""
    return {path: entry for path, entry in tree.items() if entry.kind not in kinds}


def shown(path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
    return text if len(text) <= 160 else f"{text[:70]}...({len(path)} bytes)...{text[-70:]}"


def differences(is_: Twin, should: Twin, ignoring: Collection[str] = ()) -> List[str]:
    """Say in sentences how a tree differs from what it should be; `ignoring` names fields of Entry.

    >>> one = Entry("file", 0o644, 0, 0, 5, 3, b"h", (), 0, b"")
    >>> differences({b"a": one, b"b": one}, {b"a": one._replace(mode=0o600), b"c": one})
    ['a: mode is 0o644, should be 0o600', 'b: should not be there', 'c: missing (file)']
    """
    found = []
    for path in sorted(is_.keys() | should.keys()):
        if path not in is_:
            found.append(f"{shown(path)}: missing ({should[path].kind})")
        elif path not in should:
            found.append(f"{shown(path)}: should not be there")
        else:
            for field, has, wants in zip(Entry._fields, is_[path], should[path]):
                if has != wants and field not in ignoring:
                    say = "{:#o}" if field == "mode" else "{!r}"
                    found.append(f"{shown(path)}: {field} is {say.format(has)}, should be {say.format(wants)}")
    return found


def allocated(root: AnyPath) -> Dict[bytes, int]:
    """Say how many bytes of disk each file of a tree occupies."""
    os.sync()  # blocks are counted only once they have a place on the disk
    found = {}
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(PermissionError), opened_folder(root, folder) as here:
            for name in names_in(here):
                seen = os.stat(name, dir_fd=here, follow_symlinks=False)
                if stat.S_ISDIR(seen.st_mode):
                    waiting.append(joined(folder, name))
                elif stat.S_ISREG(seen.st_mode):
                    found[joined(folder, name)] = seen.st_blocks * 512
    return found


# --- Removing ------

GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of linux/fs.h on 64-bit machines
IMMUTABLE, APPEND_ONLY = 0x10, 0x20


def change_flags(folder: int, name: bytes, add: int = 0, remove: int = 0) -> bool:
    """Do what chattr does to a file or folder; False where the file system or the system does not let us."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return False
    try:
        flags = struct.unpack("i", fcntl.ioctl(file, GET_FLAGS, struct.pack("i", 0)))[0]
        fcntl.ioctl(file, SET_FLAGS, struct.pack("i", (flags | add) & ~remove))
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def remove_tree(root: AnyPath) -> None:
    """Remove a tree whatever its modes, flags, depth and names; a root that is missing is fine."""
    if not os.path.lexists(root):
        return
    os.chmod(root, 0o700)
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names, folders = [b""], [emptied(here)]  # of each level on the way down
        while folders:
            if folders[-1]:
                names.append(folders[-1].pop())
                unlock(here, names[-1])
                here = stepped(here, names[-1])
                folders.append(emptied(here))
            else:
                folders.pop()
                if folders:
                    here = stepped(here, b"..")
                    os.rmdir(names.pop(), dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(root)


def stepped(here: int, name: bytes) -> int:
    """Go from one open folder into another."""
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
    os.close(here)
    return there


def emptied(folder: int) -> List[bytes]:
    """Remove everything from a folder but its folders, which are named."""
    folders = []
    for name in names_in(folder):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            folders.append(name)
        else:
            remove_file(folder, name)
    return folders


def unlock(folder: int, name: bytes) -> None:
    if is_root():
        change_flags(folder, name, remove=IMMUTABLE | APPEND_ONLY)
    os.chmod(name, 0o700, dir_fd=folder)


def remove_file(folder: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except PermissionError:
        change_flags(folder, name, remove=IMMUTABLE | APPEND_ONLY)
        os.unlink(name, dir_fd=folder)


# --- The awkward tree ------

NAMES: Sequence[bytes] = [  # each is made as a file; the comment says whom it trips
    b"caf\xe9",  # Latin-1: not UTF-8
    b"\x80", b"\xff\xfe", b"\xed\xa0\x80",  # ... nor are these; the last is a surrogate written as UTF-8
    "\ue000".encode(), "\ufffd".encode(), "\U0001f600".encode(),  # sorted as text they stand elsewhere than as bytes
    "\u00e9 composed".encode(), "e\u0301 decomposed".encode(),
    "\u2028 line separator".encode(), "\u202e right to left".encode(), b"\x1b[31mred", b"\x01", b"\x7f", b"\x85",
    b"new\nline", b"newline at the end\n", b"\n", b"\n# type=dir path=x",
    b"back\\slash", b"\\", b"\\n", b"\\012", b"back\\slash and new\nline",
    b"carriage\rreturn", b"\r\r before",
    b"carriage return at the end\r", b"\\\r", b"\r",
    b"tab\there", b" leading", b"trailing ", b" ", b"  two  blanks  ",
    b"-", b"-rf", b"--delete", b"--", b"-\n",
    b"quote'\"`$(id)`", b"$HOME", b"%s%n", b"{}", b"{0}", b"a;b&c|d", b"!",
    b"*", b"?", b"[a-z]", b"**", b"!(x)",
    b"#", b"# comment", b"=", b"key=value", b"path=x", b"type=skipped", b"...", b".hidden", b"~", b"~root",
    b"colon:name", b"CON", b"nul.txt", b"COM1", b"trailing dot.", b"less<than>",
    b"Case", b"case", b"CASE",
    b"x" * 255, "\u00e9".encode() * 127 + b"y", b"\xff" * 255, b"\n" * 255, b"\\" * 255, b" " * 255,
    b"SHA256SUMS", b"sha256sums", b"SHA256SUMS.expired", b"latest", b"lock", b"manifests", b"history.jsonl",
    b"HOLD.txt",
    b"NOT-THE-WHOLE-DATE.txt", b"2026-11-22_231507", b"2026-11-22_231507.incomplete", b"2026-11-22_231507.deleting",
    b"0" * 64 + b"  x", b"\\" + b"0" * 64 + b"  x", b"file.damaged", b".DS_Store", b"._x", b"Thumbs.db",
]  # fmt: skip

ORDER: Sequence[bytes] = [  # folders of one level, each with a file: who compares whole paths gets another order
    b"a", b"a.b", b"a-b", b"a b", b"a\x01b", b"a\nb", b"a0", b"aa", b"A", b"a\\b", b"a\xffb", b"a#b", b"a!",
]  # fmt: skip

MODES = [0o000, 0o001, 0o222, 0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6711]
FOLDER_MODES = [0o555, 0o700, 0o755, 0o711, 0o1777, 0o2755, 0o3770]
CLOSED_MODES = [0o000, 0o111, 0o444]  # an ordinary user cannot list, or cannot enter, his own folder

TIMES = [  # seconds and nanoseconds
    (0, 0), (0, 1), (-1, 999_999_999), (-1, 0), (-1_000_000_000, 123_456_789),  # 1970, and before
    (1_000_000_000, 1), (1_234_567_890, 999_999_999), (1_700_000_000, 100), (1_700_000_000, 0),
    (2**31 - 1, 999_999_999), (2**31, 0), (2**32, 7), (7_000_000_000, 500_000_000),  # 2038, 2106, 2191
]  # fmt: skip

K = 1024
SPARSE: Sequence[Tuple[str, int, Sequence[Tuple[int, int]]]] = [  # name, size, (start, length) of what is data
    ("all hole", 1024 * K, []),
    ("all hole, odd", 300_001, []),
    ("one byte of hole", 1, []),
    ("hole at the start", 64 * K + 10, [(64 * K, 10)]),
    ("hole in the middle", 256 * K + 4096, [(0, 4096), (256 * K, 4096)]),
    ("hole at the end", 300_000, [(0, 100)]),
    ("hole to the very end of a block", 512 * K, [(0, 4096)]),
    ("data across a buffer's end", 1024 * K, [(256 * K - 1, 2)]),
    ("data at a buffer's end", 512 * K, [(256 * K - 4096, 4096)]),
    ("every other block", 512 * K, [(start, 4096) for start in range(0, 512 * K, 8192)]),
    ("large", 24 * 1024 * K, [(5 * 1024 * K + 123, 5), (20 * 1024 * K, 4096)]),
]
SIZES = [0, 1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 262143, 262144, 262145, 524288, 1_000_003]


def awkward_tree(root: AnyPath, closed: bool = True) -> None:
    """Make the awkward tree in a new folder; `closed` adds what an ordinary user cannot read although it is his."""
    os.makedirs(root)
    for make in (awkward_names, awkward_modes, sparse_files, hard_links, symbolic_links, awkward_xattrs, special_files):
        folder = os.path.join(os.fsencode(root), make.__name__.encode())
        os.mkdir(folder)
        make(folder)
    if closed:
        closed_places(os.path.join(os.fsencode(root), b"closed"))
    deep_tree(os.path.join(os.fsencode(root), b"deep"))
    long_path(os.path.join(os.fsencode(root), b"too long"))
    awkward_owners(root)
    awkward_times(os.path.join(os.fsencode(root), b"times"))
    if is_root():
        flagged_files(os.path.join(os.fsencode(root), b"flagged"))
    set_time(root, -77, 7)


def write(path: AnyPath, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def set_time(path: AnyPath, seconds: int, nanoseconds: int) -> None:
    when = seconds * SECOND + nanoseconds
    os.utime(path, ns=(when, when), follow_symlinks=False)


@functools.lru_cache(maxsize=16)
def text_of(seed: object, size: int) -> bytes:
    """Give bytes that no compression, hole or chance makes equal to others."""
    return random.Random(str(seed)).getrandbits(8 * size).to_bytes(size, "little") if size else b""


def awkward_names(folder: bytes) -> None:
    for name in NAMES:
        write(joined(folder, name), b"named " + name)
    for kind in (b"folders", b"links", b"order", b"empty"):
        os.mkdir(joined(folder, b"all " + kind))
    for name in NAMES:
        os.mkdir(joined(folder, b"all folders/" + name))
        os.symlink(name, joined(folder, b"all links/" + name))
    for name in ORDER:
        os.mkdir(joined(folder, b"all order/" + name))
        write(joined(folder, b"all order/" + name + b"/b"), name)
        write(joined(folder, b"all order/" + name + b".txt"), name)


def awkward_modes(folder: bytes) -> None:
    for mode in MODES:
        if is_root() or mode & 0o400:
            write(joined(folder, b"file %04o" % mode), b"%o" % mode)
            os.chmod(joined(folder, b"file %04o" % mode), mode)
    for mode in FOLDER_MODES:
        os.mkdir(joined(folder, b"folder %04o" % mode))
        write(joined(folder, b"folder %04o/inside" % mode), b"%o" % mode)
        os.mkdir(joined(folder, b"folder %04o/below" % mode))
        set_time(joined(folder, b"folder %04o/below" % mode), 1_500_000_000, mode)
        os.chmod(joined(folder, b"folder %04o" % mode), mode)
        set_time(joined(folder, b"folder %04o" % mode), 1_600_000_000, mode)


def closed_places(folder: bytes) -> None:
    os.mkdir(folder)
    write(joined(folder, b"closed file"), b"secret")
    os.chmod(joined(folder, b"closed file"), 0)
    for mode in CLOSED_MODES:
        place = joined(folder, b"folder %04o" % mode)
        os.makedirs(joined(place, b"below"))
        write(joined(place, b"inside"), b"hidden")
        write(joined(place, b"below/further"), b"hidden further")
        os.chmod(place, mode)


def sparse_files(folder: bytes) -> None:
    for name, size, pieces in SPARSE:
        with open(joined(folder, name.encode()), "wb") as file:
            file.truncate(size)
            for start, length in pieces:
                file.seek(start)
                file.write(text_of((name, start), length))
    for size in SIZES:
        write(joined(folder, b"full %d" % size), text_of(size, size))
    write(joined(folder, b"zeros, written"), bytes(300_000))
    with open(joined(folder, b"reserved, not written"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 100_000)
    os.link(joined(folder, b"all hole"), joined(folder, b"all hole, again"))


def hard_links(folder: bytes) -> None:
    for below in (b"one", b"two", b"two/three"):
        os.mkdir(joined(folder, below))
    groups: Sequence[Sequence[bytes]] = [
        [b"same folder", b"same folder, again"],
        [b"zz first seen last", b"one/x", b"two/x", b"two/three/x"],
        [b"two/three/only deeper", b"one/only deeper"],
        [b"new\nline", b"two/back\\slash"],
        [b"empty", b"one/empty"],
    ]
    for group in groups:
        write(joined(folder, group[0]), b"" if group[0] == b"empty" else b"group of " + group[0])
        for name in group[1:]:
            os.link(joined(folder, group[0]), joined(folder, name))
    os.symlink(b"nowhere", joined(folder, b"a link"))
    os.link(joined(folder, b"a link"), joined(folder, b"one/a link"), follow_symlinks=False)
    os.mkfifo(joined(folder, b"a fifo"))
    os.link(joined(folder, b"a fifo"), joined(folder, b"two/a fifo"))
    write(joined(folder, b"not a group"), b"equal bytes are no hard link")
    write(joined(folder, b"not a group either"), b"equal bytes are no hard link")
    set_time(joined(folder, b"not a group"), 1_500_000_000, 5)
    set_time(joined(folder, b"not a group either"), 1_500_000_000, 5)


def symbolic_links(folder: bytes) -> None:
    targets = {
        b"dangling": b"no such file",
        b"loop": b"loop",
        b"loop a": b"loop b",
        b"loop b": b"loop a",
        b"absolute": b"/etc/passwd",
        b"upwards": b"../../../../../../../../tmp",
        b"to the folder itself": b".",
        b"to its parent": b"..",
        b"with blanks and\nnewline": b" blanks and\nnewline\\ ",
        b"not UTF-8": b"caf\xe9",
        b"long": b"x/" * 2000 + b"end",
        b"trailing slash": b"folder/",
    }
    os.mkdir(joined(folder, b"folder"))
    write(joined(folder, b"folder/file"), b"reached by more than one way")
    for nth, (name, target) in enumerate(targets.items()):
        os.symlink(target, joined(folder, name))
        set_time(joined(folder, name), *TIMES[nth % len(TIMES)])
    os.symlink(b"folder", joined(folder, b"to a folder"))


OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ACCESS = [(OWNER, 6, -1), (USER, 4, 12345), (GROUP, 4, -1), (NAMED_GROUP, 2, 54321), (MASK, 6, -1), (OTHERS, 0, -1)]
DEFAULT = [(OWNER, 7, -1), (USER, 7, 12345), (GROUP, 5, -1), (MASK, 7, -1), (OTHERS, 0, -1)]


def acl(entries: Sequence[Tuple[int, int, int]]) -> bytes:
    """Pack tag, permission and id (-1: none) as linux/posix_acl_xattr.h says."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def awkward_xattrs(folder: bytes) -> None:
    attributes: Dict[str, bytes] = {
        "user.plain": b"value",
        "user.empty": b"",
        "user.binary": bytes(range(256)),
        "user.long": b"x" * 2000,
        "user.caf\u00e9 = #": "\u00e9\n\\ ".encode(),
    }
    if is_root():  # a capability (cap_net_raw+ep) and an attribute that only root sees
        attributes["trusted.secret"] = b"root only"
        attributes["security.capability"] = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    os.mkdir(joined(folder, b"folder"))
    write(joined(folder, b"all of them"), b"x")
    write(joined(folder, b"read only"), b"x")
    for name, value in attributes.items():
        os.setxattr(joined(folder, b"all of them"), name, value)
        if name != "security.capability":
            os.setxattr(joined(folder, b"folder"), name, value)
    os.setxattr(joined(folder, b"read only"), "user.plain", b"x")
    os.chmod(joined(folder, b"read only"), 0o400)
    if is_root():
        os.symlink(b"nowhere", joined(folder, b"link"))
        os.setxattr(joined(folder, b"link"), "trusted.of a link", b"x", follow_symlinks=False)
    write(joined(folder, b"acl"), b"x")
    os.setxattr(joined(folder, b"acl"), "system.posix_acl_access", acl(ACCESS))
    os.mkdir(joined(folder, b"acl folder"))
    write(joined(folder, b"acl folder/older than its folder's acl"), b"inherits nothing")
    os.mkdir(joined(folder, b"acl folder/older folder"))
    os.setxattr(joined(folder, b"acl folder"), "system.posix_acl_default", acl(DEFAULT))
    os.setxattr(joined(folder, b"acl folder"), "system.posix_acl_access", acl(DEFAULT))
    write(joined(folder, b"acl folder/younger"), b"inherits")
    os.mkdir(joined(folder, b"acl folder/younger folder"))
    write(joined(folder, b"acl folder/younger folder/file"), b"inherits")


def special_files(folder: bytes) -> None:
    os.mkfifo(joined(folder, b"fifo"), 0o640)
    set_time(joined(folder, b"fifo"), 1_000_000_000, 5)
    with opened_folder(folder) as here, socket.socket(socket.AF_UNIX) as server:
        server.bind(by_descriptor(here, b"socket"))
    if is_root():
        with contextlib.suppress(PermissionError):  # containers often may not
            os.mknod(joined(folder, b"char"), 0o620 | stat.S_IFCHR, os.makedev(1, 3))
            os.mknod(joined(folder, b"block"), 0o600 | stat.S_IFBLK, os.makedev(7, 300))
            set_time(joined(folder, b"block"), -5, 5)


def deep_tree(root: bytes) -> None:
    """Make folders in folders, hundreds of levels deep, with a file here and there."""
    os.mkdir(root)
    here = os.open(root, os.O_RDONLY)
    for level in range(1, DEEP_LEVELS + 1):
        os.mkdir(b"d", dir_fd=here)
        deeper = os.open(b"d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = deeper
        if level % 300 == 0:
            os.close(os.open(b"file", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here))
            os.utime(here, ns=(0, level * SECOND + level))
    os.close(here)


def long_path(root: bytes) -> None:
    """Make a path that no single system call takes, with all kinds of things at its end."""
    os.mkdir(root)
    path = b""
    for level in range(20):
        above, path = path, joined(path, bytes([ord("a") + level]) * 255)
        with opened_folder(root, above) as here:
            os.mkdir(parted(path)[1], dir_fd=here)
    with opened_folder(root, path) as here:
        for name in (b"file", b"f" * 255, b"new\nline"):
            file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=here)
            os.write(file, b"at the end of a long path")
            os.close(file)
        os.symlink(b"x" * 300, b"link", dir_fd=here)
        os.mkfifo(b"fifo", dir_fd=here)
        os.mkdir(b"empty", 0o750, dir_fd=here)
        os.link(b"file", b"hard link", src_dir_fd=here, dst_dir_fd=here)
        os.setxattr(by_descriptor(here, b"file"), "user.far", b"down")
        os.utime(b"link", ns=(5, 5), dir_fd=here, follow_symlinks=False)
        os.utime(b"file", ns=(-5, -5), dir_fd=here)
        top = os.open(root, os.O_RDONLY)
        os.link(b"file", b"hard link from far below", src_dir_fd=here, dst_dir_fd=top)
        os.close(top)
        os.utime(here, ns=(7, 7))


def awkward_owners(root: AnyPath) -> None:
    """Give some files to other people, as root may; numbers without a name are usual on a disk from elsewhere."""
    folder = os.path.join(os.fsencode(root), b"owners")
    os.mkdir(folder)
    for nth, (uid, gid) in enumerate([(0, 0), (1, 1), (1000, 100), (54321, 12345), (2**32 - 2, 2**32 - 2)]):
        for kind, make in ((b"file", os.mknod), (b"folder", os.mkdir), (b"fifo", os.mkfifo)):
            path = joined(folder, b"%s %d" % (kind, nth))
            make(path)
            if is_root():
                os.chown(path, uid, gid)
                os.chmod(path, 0o6755 if kind == b"file" else 0o2750)  # chown takes these bits away: order matters
        os.symlink(b"nowhere", joined(folder, b"link %d" % nth))
        if is_root():
            os.chown(joined(folder, b"link %d" % nth), uid, gid, follow_symlinks=False)


def awkward_times(folder: bytes) -> None:
    os.mkdir(folder)
    for nth, when in enumerate(TIMES):
        write(joined(folder, b"file %d" % nth), b"%d" % nth)
        os.mkdir(joined(folder, b"folder %d" % nth))
        write(joined(folder, b"folder %d/inside" % nth), b"")
        os.symlink(b"nowhere", joined(folder, b"link %d" % nth))
        for kind in (b"file %d", b"folder %d", b"link %d"):
            set_time(joined(folder, kind % nth), *when)
    set_time(folder, 2**33, 3)


def flagged_files(folder: bytes) -> None:
    """Make files and folders that even root may not change until chattr is asked again."""
    os.mkdir(folder)
    write(joined(folder, b"immutable"), b"cannot be changed")
    write(joined(folder, b"append only"), b"can only grow")
    os.mkdir(joined(folder, b"immutable folder"))
    write(joined(folder, b"immutable folder/inside"), b"cannot be removed")
    with opened_folder(folder) as here:
        change_flags(here, b"immutable", add=IMMUTABLE)
        change_flags(here, b"append only", add=APPEND_ONLY)
        change_flags(here, b"immutable folder", add=IMMUTABLE)


# --- Random trees and random edits ------

ALWAYS = b"always here"  # never edited: a source that became empty stops a run, which is another test's matter
RANDOM_NAMES = [
    b"a", b"b", b"c", b"a.b", b"a-b", b"a b", b"\xe9", b"new\nline", b"back\\slash", "\u00fc".encode(), b"# x",
    b"SHA256SUMS",
]  # fmt: skip
RANDOM_SIZES = [0, 0, 1, 5, 100, 4096, 5000, 70_000, 262_144, 300_000]
LATEST_START = 1_790_000_000  # in 2026; times are drawn from the years before


class NotNowError(Exception):
    """This edit cannot be made to the tree as it is."""


class Listing(NamedTuple):
    """The paths below a root, absolute, in an order that depends on names alone."""

    root: bytes
    folders: List[bytes]
    files: List[bytes]
    others: List[bytes]

    def any_folder(self, rng: random.Random) -> bytes:
        return rng.choice([self.root, *self.folders])

    def one(self, rng: random.Random, paths: Sequence[bytes]) -> bytes:
        if not paths:
            raise NotNowError
        return rng.choice(paths)

    def free_path(self, rng: random.Random) -> bytes:
        path = joined(self.any_folder(rng), rng.choice(RANDOM_NAMES))
        if os.path.lexists(path) or path.count(b"/") > self.root.count(b"/") + 6:
            raise NotNowError
        return path


def listing(root: AnyPath) -> Listing:
    found = Listing(os.fsencode(root), [], [], [])
    for here, folders, files in os.walk(found.root):
        folders.sort()
        for name in sorted(folders + files):
            path = joined(here, name)
            kind = os.lstat(path).st_mode
            if name != ALWAYS:
                paths = found.folders if stat.S_ISDIR(kind) else found.files if stat.S_ISREG(kind) else found.others
                paths.append(path)
    return found


def some_bytes(rng: random.Random) -> bytes:
    size = rng.choice(RANDOM_SIZES)
    return rng.getrandbits(8 * size).to_bytes(size, "little") if size else b""


def some_time(rng: random.Random) -> int:
    return rng.randrange(-SECOND, LATEST_START) * SECOND + rng.choice([0, 1, 999_999_999, rng.randrange(SECOND)])


def same_time(path: bytes, seen: os.stat_result) -> None:
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns), follow_symlinks=False)


def create_file(rng: random.Random, tree: Listing) -> str:
    path = tree.free_path(rng)
    write(path, some_bytes(rng))
    return f"new file {shown(path)}"


def create_folder(rng: random.Random, tree: Listing) -> str:
    path = tree.free_path(rng)
    os.mkdir(path)
    return f"new folder {shown(path)}"


def create_link(rng: random.Random, tree: Listing) -> str:
    path = tree.free_path(rng)
    os.symlink(rng.choice([b"nowhere", b".", b"..", b"/etc/passwd", path, *RANDOM_NAMES]), path)
    return f"new symbolic link {shown(path)}"


def create_fifo(rng: random.Random, tree: Listing) -> str:
    path = tree.free_path(rng)
    os.mkfifo(path)
    return f"new fifo {shown(path)}"


def append(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files)
    with open(path, "ab") as file:
        file.write(b"more" + some_bytes(rng))
    return f"{shown(path)} grew"


def overwrite(path: bytes, rng: random.Random) -> None:
    size = os.path.getsize(path)
    if not size:
        raise NotNowError
    with open(path, "r+b") as file:
        start = rng.randrange(size)
        file.seek(start)
        old = file.read(min(50, size - start))
        file.seek(start)
        file.write(bytes(byte ^ 0x55 for byte in old))


def change_keeping_size(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files)
    overwrite(path, rng)
    return f"{shown(path)} has other bytes, same size"


def change_keeping_size_and_time(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files)
    seen = os.lstat(path)
    overwrite(path, rng)
    same_time(path, seen)
    return f"{shown(path)} has other bytes, same size, same time"


def change_and_date_back(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files)
    overwrite(path, rng)
    when = some_time(rng)
    os.utime(path, ns=(when, when))
    return f"{shown(path)} has other bytes and time {when}"


def touch(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files + tree.folders + tree.others)
    when = some_time(rng)
    os.utime(path, ns=(when, when), follow_symlinks=False)
    return f"{shown(path)} has time {when}"


def change_mode(rng: random.Random, tree: Listing) -> str:
    folder = rng.random() < 0.4
    path = tree.one(rng, tree.folders if folder else tree.files)
    mode = rng.choice([0o700, 0o755, 0o555, 0o1777, 0o2755] if folder else [0o400, 0o600, 0o644, 0o755, 0o4755])
    if is_root() and rng.random() < 0.3:
        mode = 0
    os.chmod(path, mode)
    return f"{shown(path)} has mode {mode:o}"


def change_owner(rng: random.Random, tree: Listing) -> str:
    if not is_root():
        raise NotNowError
    path = tree.one(rng, tree.files + tree.folders + tree.others)
    owner = rng.choice([0, 1000, 54321])
    os.chown(path, owner, owner, follow_symlinks=False)
    return f"{shown(path)} belongs to {owner}"


def rename(rng: random.Random, tree: Listing) -> str:
    old = tree.one(rng, tree.files + tree.others)
    new = tree.free_path(rng)
    os.rename(old, new)
    return f"{shown(old)} became {shown(new)}"


def rename_folder(rng: random.Random, tree: Listing) -> str:
    old = tree.one(rng, tree.folders)
    new = tree.free_path(rng)
    if (new + b"/").startswith(old + b"/"):
        raise NotNowError
    os.rename(old, new)
    return f"folder {shown(old)} became {shown(new)}"


def delete(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files + tree.others)
    os.unlink(path)
    return f"{shown(path)} deleted"


def delete_folder(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.folders)
    remove_tree(path)
    return f"folder {shown(path)} deleted"


def replace_file_by_folder(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files + tree.others)
    os.unlink(path)
    os.mkdir(path)
    write(joined(path, b"a"), some_bytes(rng))
    return f"{shown(path)} became a folder"


def replace_folder_by_file(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.folders)
    remove_tree(path)
    write(path, some_bytes(rng))
    return f"folder {shown(path)} became a file"


def replace_by_link(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files + tree.folders)
    moved = tree.free_path(rng)
    if (moved + b"/").startswith(path + b"/"):
        raise NotNowError
    os.rename(path, moved)
    os.symlink(moved, path)
    return f"{shown(path)} became a symbolic link to where it went, {shown(moved)}"


def replace_as_editors_do(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files)
    write(joined(tree.root, b".new"), some_bytes(rng))
    os.replace(joined(tree.root, b".new"), path)
    return f"{shown(path)} replaced by a new file"


def hard_link(rng: random.Random, tree: Listing) -> str:
    old = tree.one(rng, tree.files + tree.others)
    new = tree.free_path(rng)
    os.link(old, new, follow_symlinks=False)
    return f"{shown(new)} is a hard link of {shown(old)}"


def part_a_group(rng: random.Random, tree: Listing) -> str:
    """Put an equal copy in the place of one of several hard links."""
    path = tree.one(rng, [path for path in tree.files if os.lstat(path).st_nlink > 1])
    seen = os.lstat(path)
    with open(path, "rb") as file:
        content = file.read()
    os.unlink(path)
    write(path, content)
    os.chmod(path, stat.S_IMODE(seen.st_mode))
    same_time(path, seen)
    return f"{shown(path)} is no longer a hard link"


def change_xattr(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files + tree.folders)
    name = rng.choice(["user.one", "user.two"])
    if name in os.listxattr(path) and rng.random() < 0.5:
        os.removexattr(path, name)
    else:
        os.setxattr(path, name, rng.choice([b"", b"x", b"a b\n=\\", bytes(range(256))]))
    return f"{shown(path)} has another {name}"


def swap_names(rng: random.Random, tree: Listing) -> str:
    one, other = tree.one(rng, tree.files), tree.one(rng, tree.files)
    between = joined(tree.root, b".swapped")
    if between in (one, other):  # where an earlier swap was refused half-way
        raise NotNowError
    os.rename(one, between)
    os.rename(other if other != one else between, one)
    if other != one:
        os.rename(between, other)
    return f"{shown(one)} and {shown(other)} swapped names"


def make_sparse(rng: random.Random, tree: Listing) -> str:
    path = tree.one(rng, tree.files)
    size = rng.choice([0, 1, 4096, 100_000, 400_000])
    os.truncate(path, size)
    return f"{shown(path)} cut or stretched to {size}"


def copy_file(rng: random.Random, tree: Listing) -> str:
    old, new = tree.one(rng, tree.files), tree.free_path(rng)
    with open(old, "rb") as file:
        write(new, file.read())
    if rng.random() < 0.5:
        same_time(new, os.lstat(old))
    return f"{shown(new)} is a copy of {shown(old)}"


Edit = Callable[[random.Random, Listing], str]
EDITS: Sequence[Edit] = [
    create_file, create_file, create_folder, create_link, create_fifo, append, change_keeping_size,
    change_keeping_size_and_time, change_and_date_back, touch, change_mode, change_owner, rename, rename_folder, delete,
    delete_folder, replace_file_by_folder, replace_folder_by_file, replace_by_link, replace_as_editors_do, hard_link,
    hard_link, part_a_group, part_a_group, change_xattr, swap_names, make_sparse, copy_file,
]  # fmt: skip
GROWTH: Sequence[Edit] = [
    *[create_file] * 8, *[create_folder] * 4, create_link, create_fifo, hard_link, touch, change_mode, change_xattr,
]  # fmt: skip


def one_of(edits: Sequence[Edit], rng: random.Random, root: AnyPath) -> str:
    """Make one of these edits, drawn again until one can be made."""
    while True:
        edit = rng.choice(edits)
        try:
            return edit(rng, listing(root))
        except NotNowError:
            continue
        except OSError as err:  # his own mode 0400, no attributes here, ...
            if err.errno not in (errno.EACCES, errno.EPERM, errno.ENOTSUP, errno.ENOTEMPTY):
                raise


def random_tree(rng: random.Random, root: AnyPath, size: int) -> None:
    """Make a new folder with one file that no edit touches and about `size` other things."""
    os.mkdir(root)
    write(joined(os.fsencode(root), ALWAYS), b"so that the source is never empty")
    for _ in range(size):
        one_of(GROWTH, rng, root)


def random_edit(rng: random.Random, root: AnyPath) -> str:
    """Change one thing in a random tree, and say which."""
    return one_of(EDITS, rng, root)


# --- What lies on a drive ------

DATE = re.compile(r"\d{4}-\d\d-\d\d_\d{6}(_\d+)?$")
UNFINISHED = re.compile(r"\d{4}-\d\d-\d\d_\d{6}(_\d+)?\.incomplete$")


def dates(a_set: AnyPath) -> List[str]:
    """Name the dated copies in a set's folder, oldest first as far as names tell; [] where there is no such folder."""
    return matching(a_set, DATE)


def leftovers(a_set: AnyPath) -> List[str]:
    return matching(a_set, UNFINISHED)


def matching(folder: AnyPath, names: re.Pattern[str]) -> List[str]:
    try:
        found = [os.fsdecode(name) for name in os.listdir(folder)]
    except FileNotFoundError:
        return []
    return sorted((name for name in found if names.match(name)), key=lambda name: (name[:17], len(name), name))


def stock_check(snapshot: AnyPath, beyond: Callable[[bytes], bool] = lambda _line: False) -> List[str]:
    """Check a dated copy with sha256sum alone; give what it complains about.

    `beyond` says which hash lines no sha256sum can follow; they are left out.
    """
    with open(os.path.join(os.fsencode(snapshot), b"SHA256SUMS"), "rb") as file:
        lines = [line for line in file.read().split(b"\n") if not beyond(line)]
    if not any(line and not line.startswith(b"#") for line in lines):
        return []  # sha256sum calls a list without files an error
    told = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "-"],
        cwd=snapshot,
        input=b"\n".join(lines),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    complaints = told.stdout.decode("utf-8", "backslashreplace").splitlines()
    return complaints if told.returncode == 0 else [*complaints, f"sha256sum ended with {told.returncode}"]


def path_in(line: bytes) -> bytes:
    """Give the original path of a manifest's metadata line that names it, decoded as mtree(5) says."""
    found = re.search(rb" path=(\S*)", line)
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal.group(1), 8)]), found.group(1)) if found else b""


def skipped_in(manifest: AnyPath) -> Set[bytes]:
    """Name what a manifest says was there and could not be read or stored."""
    with open(manifest, "rb") as file:
        return {path_in(line) for line in file.read().split(b"\n") if line.startswith(b"# type=skipped")}


class Outcome(NamedTuple):
    """What a command did: its exit code and what it wrote."""

    code: int
    out: str
    err: str


def ask(*argv: object) -> Outcome:
    """Run a command of snapback in this process."""
    out, err = captured(), captured()
    arguments = [os.fsdecode(arg) if isinstance(arg, (bytes, os.PathLike)) else str(arg) for arg in argv]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = snapback.main(arguments)
    return Outcome(code, written_to(out), written_to(err))


@contextlib.contextmanager
def later(seconds: int, since: Optional[datetime] = None) -> Iterator[None]:
    """Let snapback's clock be ahead: what was just written has rested so long, and nobody has to wait.

    With `since` it stands still, so many seconds after that moment.
    """

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return (since.astimezone(tz) if since else datetime.now(tz)) + timedelta(seconds=seconds)

    before = snapback.datetime
    snapback.datetime = Clock  # type: ignore[misc]
    try:
        yield
    finally:
        snapback.datetime = before  # type: ignore[misc]


def ask_at(moment: datetime, *words: object) -> Outcome:
    """Run a command of snapback at a moment, with one worker unless another number is said."""
    with later(0, since=moment):
        outcome = ask(words[0], "--jobs", "1", *words[1:])
    if outcome.code != 0:
        gc.collect()  # what failed left its folders open, and locked, in the circle of its error and the error's frames
    return outcome


def new_copy(drive: Path, *words: object, codes: Collection[int] = (0,)) -> Path:
    """Make a dated copy in the set `box` of a drive, and give its folder."""
    before = set(dates(drive / "box"))
    outcome = ask("backup", "--init", "--no-rotate", "--set", "box", *words, drive)
    assert outcome.code in codes, outcome
    (new,) = set(dates(drive / "box")) - before
    return drive / "box" / new


def captured() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape", newline="", write_through=True)


def written_to(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return os.fsencode(stream.read()).decode("utf-8", "backslashreplace")
