"""Text forms: what is written is read back; sha256sum reads it too; damage is found, and nothing else is ever raised."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import pytest

from conftest import require
from snapback import (
    DIR_LINE,
    END_MAGIC,
    FILE_LINE,
    MANIFEST_MAGIC,
    SKIPPED_DIR_LINE,
    Block,
    Finding,
    Found,
    Known,
    ManifestDamaged,
    Marker,
    Meta,
    damaged_text,
    dir_line,
    escape,
    folder_key,
    hash_line,
    keep_line,
    marker_text,
    meta_of,
    name_bytes,
    number,
    optional_line,
    original_path,
    parse_damaged,
    parse_end,
    parse_hash_line,
    parse_header,
    parse_keywords,
    parse_marker,
    parse_time,
    parse_xattrs,
    read_blocks,
    special_line,
    stat_words,
    stored_place,
    time_ns,
    time_text,
    tool_version,
    unescape,
    xattr_words,
)

DIGEST = "0123456789abcdef" * 4
AWKWARD = [
    "plain",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\nb",
    "\n",
    "a\r",
    "a\rb",
    "\r",
    "a\r\n",
    "a\\b",
    "\\",
    "\\n",
    "\\040",
    "a\\\nb\r",
    "*star",
    "#sharp",
    "-",
    "--check",
    "path=x",
    "a=b",
    "caf\u00e9",
    "e\u0301",
    "\u6771\u4eac",
    "\U0001f600",
    "\x01\x1b\x7f",
    "\x85\u2028\xa0",
    "\udcff",
    "\udcc3x\udc80",
    "x" * 255,
]


@pytest.fixture
def chance() -> random.Random:
    """Chance that can be had again: SEED=number, as printed."""
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"SEED={seed}")
    return random.Random(seed)


# --- Words of a '#' line ------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ""),
        ("plain.txt", "plain.txt"),
        ("a b", "a\\040b"),
        ("\\", "\\134"),
        ("\0\t\n\r\x1b\x7f", "\\000\\011\\012\\015\\033\\177"),
        ("caf\u00e9", "caf\u00e9"),
        ("\x85", "\\302\\205"),
        ("\xa0", "\\302\\240"),
        ("\udcff\udc80", "\\377\\200"),
        ("a=b#c", "a=b#c"),
        ("\\040", "\\134040"),
    ],
)
def test_a_name_is_written_as_mtree_writes_it(text: str, written: str) -> None:
    require("linux")
    assert (escape(text), unescape(written)) == (written, text)


def test_every_name_is_one_word_and_comes_back(chance: random.Random) -> None:
    require("linux")
    names = AWKWARD + [os.fsdecode(bytes(chance.choices(range(1, 256), k=chance.randint(1, 30)))) for _ in range(3000)]
    names += ["".join(chr(chance.choice([chance.randrange(1, 0x250), chance.randrange(1, 0xD800)])) for _ in range(9)) for _ in range(3000)]
    words = [escape(name) for name in names]
    assert [unescape(word) for word in words] == names
    control = [*map(chr, range(0x21)), *map(chr, range(0x7F, 0xA1)), *map(chr, range(0xDC80, 0xDD00))]
    assert [word for word in words if not word or not set(word).isdisjoint(control)] == []


@pytest.mark.parametrize("text", ["\\", "\\4", "\\400", "\\08", "a\\xb", "\\9zz"])
def test_what_is_no_escape_stays_as_it_is(text: str) -> None:
    assert unescape(text) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (999999999, "0.999999999"),
        (10**9, "1.000000000"),
        (1732312345123456789, "1732312345.123456789"),
        (-1, "-0.000000001"),
        (-999999999, "-0.999999999"),
        (-(10**9), "-1.000000000"),
        (-1500000000, "-1.500000000"),
        (2**32 * 10**9, "4294967296.000000000"),
        ((2**63 - 1) * 10**9 + 999999999, "9223372036854775807.999999999"),  # the last one that tmpfs keeps
        (-(2**63) * 10**9, "-9223372036854775808.000000000"),
    ],
)
def test_every_time_that_a_disk_can_keep_is_written_and_read(ns: int, text: str) -> None:
    assert (time_text(ns), time_ns(text)) == (text, ns)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1.",
        ".5",
        "1.5",
        "1.0000000000",
        "+1.000000000",
        "--1.000000000",
        " 1.000000000",
        "1.000000000\n",
        "1e9",
        "nan",
        "0x1.000000000",
        "\u0661.000000000",
        "9" * 30 + ".000000000",
        "1.00000000a",
    ],
)
def test_what_is_no_time_is_damage(text: str) -> None:
    with pytest.raises(ManifestDamaged):
        time_ns(text)


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [("0", 10, 0), ("18446744073709551615", 10, 2**64 - 1), ("0755", 8, 0o755), ("7777", 8, 0o7777), ("09", 10, 9)]
    + [(text, 10, None) for text in ("", "-1", "+1", " 1", "1 ", "1\n", "1.0", "1_0", "0x1", "\u0661", "9" * 21)]
    + [("0788", 8, None), ("9", 8, None), ("rwx", 8, None)],
)
def test_whole_numbers_are_read_and_nothing_else(text: str, base: int, value: Optional[int]) -> None:
    try:
        read: Optional[int] = number({"uid": text}, "uid", base)
    except ManifestDamaged:
        read = None
    assert read == value


def test_a_number_that_is_not_there_is_damage() -> None:
    with pytest.raises(ManifestDamaged, match="uid= is no number"):
        number({}, "uid")


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"user.a": b""},
        {"user.a": b"1", "user.b": bytes(range(256))},
        {"user.a=b c": b"=", "user.caf\u00e9\udcff\\": b"\n"},
        {"system.posix_acl_access": b"\x02\x00\x00\x00\x01\x00\x06\x00", "security.capability": b"\x01" * 20},
        {"user.long": b"x" * 65536},
    ],
)
def test_extended_attributes_come_back(attributes: Dict[str, bytes]) -> None:
    require("linux")
    words = xattr_words(attributes)
    assert parse_xattrs(parse_keywords(f"{FILE_LINE}size=1{words} path=a")) == attributes
    assert len(words.split(" ")) == len(attributes) + 1


@pytest.mark.parametrize("value", ["M", "MQ", "MQ=", "M Q==", "M_==", "%%%%", "caf\u00e9", "\udcff"])
def test_an_attribute_that_is_no_base64_is_damage(value: str) -> None:
    with pytest.raises(ManifestDamaged, match="an extended attribute is no base64"):
        parse_xattrs({"xattr.user.a": value})


# --- What is recorded of a file ------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a file"
    made.write_bytes(b"12345")
    made.chmod(0o4640)
    os.utime(made, ns=(0, -1500000000))
    return made


@pytest.mark.needs("linux")
def test_a_file_is_recorded_in_mtrees_words(file: Path) -> None:
    info = file.stat()
    expected = {
        "mode": "4640",
        "uid": str(info.st_uid),
        "gid": str(info.st_gid),
        "size": "5",
        "time": "-1.500000000",
        "ctime": time_text(info.st_ctime_ns),
        "ino": str(info.st_ino),
    }
    with_ctime, without = (parse_keywords(f"# {stat_words(info, wanted)}") for wanted in (True, False))
    assert with_ctime == expected
    assert without == {word: expected[word] for word in ("mode", "uid", "gid", "size", "time")}


@pytest.mark.needs("linux")
def test_hard_linked_files_carry_what_finds_the_group(file: Path) -> None:
    os.link(file, file.with_name("second"))
    info = file.stat()
    words = parse_keywords(f"# {stat_words(info, True)}")
    assert (words["ino"], words["nlink"], words["resdevice"]) == (str(info.st_ino), "2", str(info.st_dev))


@pytest.mark.needs("linux")
def test_what_is_recorded_is_what_shall_be_restored(file: Path) -> None:
    info, attributes = file.stat(), {"user.a": b"\0"}
    line = FILE_LINE + stat_words(info, True) + xattr_words(attributes)
    assert meta_of(parse_keywords(line)) == Meta(0o4640, info.st_uid, info.st_gid, -1500000000, attributes)
    folder = file.parent.stat()
    line = dir_line("a b/c", folder, attributes)
    assert meta_of(parse_keywords(line)) == Meta(folder.st_mode & 0o7777, folder.st_uid, folder.st_gid, folder.st_mtime_ns, attributes)
    assert (line.startswith(DIR_LINE), line.endswith(" path=a\\040b/c")) == (True, True)


@pytest.mark.needs("linux")
def test_links_and_special_files_have_a_line_of_their_own(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to("../a b")
    info = link.lstat()
    line = special_line("link", "Documents/link", info, " link=../a\\040b")
    assert parse_keywords(line) == {
        "type": "link",
        "mode": "0777",
        "uid": str(info.st_uid),
        "gid": str(info.st_gid),
        "time": time_text(info.st_mtime_ns),
        "link": "../a\\040b",
        "path": "Documents/link",
    }
    os.link(link, file.with_name("link 2"), follow_symlinks=False)
    words = parse_keywords(special_line("link", "a", link.lstat()))
    assert (words["ino"], words["nlink"], words["resdevice"]) == (str(info.st_ino), "2", str(info.st_dev))


GOOD_META = {"mode": "0644", "uid": "0", "gid": "0", "time": "0.000000000"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "0999"},
        {"mode": ""},
        {"mode": "7" * 21},
        {"uid": "-1"},
        {"uid": "1" * 5000},
        {"gid": "x"},
        {"time": ""},
        {"time": "1"},
        {"xattr.user.a": "!"},
    ],
)
def test_metadata_that_cannot_be_is_damage(wrong: Dict[str, str]) -> None:
    assert meta_of(GOOD_META) == Meta(0o644, 0, 0, 0)
    with pytest.raises(ManifestDamaged):
        meta_of({**GOOD_META, **wrong})


@pytest.mark.parametrize(
    ("line", "kept", "optional"),
    [
        ("# type=file size=1", "# type=file size=1 kept=S", "# type=file size=1"),
        ("# type=dir mode=0755 path=a", "# type=dir mode=0755 kept=S path=a", "# type=dir mode=0755 optional path=a"),
        ("# type=fifo kept=R path=a", "# type=fifo kept=R path=a", "# type=fifo kept=R optional path=a"),
        ("# type=link link=x optional path=a", "# type=link link=x optional kept=S path=a", "# type=link link=x optional path=a"),
    ],
)
def test_lines_are_marked_once(line: str, kept: str, optional: str) -> None:
    assert (keep_line(line, "S"), optional_line(line)) == (kept, optional)
    assert (keep_line(kept, "S"), optional_line(optional)) == (kept, optional)


# --- Hash lines ------


def test_hash_lines_come_back(chance: random.Random) -> None:
    names = AWKWARD + ["".join(chance.choices("ab\\\n\rn/ *", k=chance.randint(1, 8))) for _ in range(5000)]
    lines = [hash_line(DIGEST, name) for name in names]
    assert [parse_hash_line(line) for line in lines] == [(DIGEST, name) for name in names]
    assert [line for line in lines if "\n" in line or line.endswith("\r")] == []


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file of each awkward name, whose content is that name."""
    require("linux")
    for name in AWKWARD:
        (tmp_path / name).write_bytes(name_bytes(name))
    return tmp_path


def sha256(name: str) -> str:
    return hashlib.sha256(name_bytes(name)).hexdigest()


@pytest.mark.parametrize("program", ["sha256sum", "shasum -a 256"])
def test_what_the_stock_tools_write_is_read(files: Path, program: str) -> None:
    require(program.split(maxsplit=1)[0])
    for extra in ([], ["--binary"]):
        done = subprocess.run([*program.split(), *extra, "--", *AWKWARD[:18], *AWKWARD[20:]], cwd=files, stdout=subprocess.PIPE, check=True)
        told = [parse_hash_line(os.fsdecode(line)) for line in done.stdout.split(b"\n")[:-1]]
        assert told == [(sha256(name), name) for name in AWKWARD[:18] + AWKWARD[20:]]


@pytest.mark.parametrize("program", ["sha256sum --strict", "shasum -a 256 --strict"])
def test_the_stock_tools_read_what_is_written(files: Path, program: str) -> None:
    require(program.split(maxsplit=1)[0])
    # README says where they stop: at a carriage return at the end; a file "-" at the top, their name for the input, is no alias
    names = [name for name in AWKWARD if not name.endswith("\r") and name != "-"]
    lines = [MANIFEST_MAGIC + "{}", *(hash_line(sha256(name), name) for name in names), "# end {}", ""]
    (files / "SHA256SUMS").write_bytes(name_bytes("\n".join(lines)))
    done = subprocess.run([*program.split(), "-c", "SHA256SUMS"], cwd=files, capture_output=True)
    assert (done.returncode, done.stderr, done.stdout.count(b": OK\n")) == (0, b"", len(names))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\\",
        DIGEST,
        f"{DIGEST}  ",
        f"{DIGEST} a",
        f"{DIGEST}\ta",
        f"{DIGEST} ?a",
        f"{DIGEST[:-1]}  a",
        f"{DIGEST}0  a",
        f"{DIGEST.upper()}  a",
        f"{'g' * 64}  a",
        f"{chr(0x661) * 64}  a",
        f" {DIGEST}  a",
        f"\\\\{DIGEST}  a",
        f"\\{DIGEST}  a\\",
        f"\\{DIGEST}  a\\t",
        f"\\{DIGEST}  \\\\\\x",
        f"SHA256 (a) = {DIGEST}",
        "# type=dir path=a",
    ],
)
def test_what_is_no_line_of_checksums_is_damage(line: str) -> None:
    with pytest.raises(ManifestDamaged):
        parse_hash_line(line)


@pytest.mark.parametrize(
    ("meta", "stored", "original"),
    [
        (FILE_LINE + "size=1", "Documents/a b", "Documents/a b"),
        (FILE_LINE + "size=1", "../2026-11-20_230001/Documents/a", "Documents/a"),
        (FILE_LINE + "size=1 path=Documents/new\\040name", "../2026-11-20_230001/Documents/old", "Documents/new name"),
        (FILE_LINE + "size=1 path=Documents/a\\012b", "Documents/a%0Ab", "Documents/a\nb"),
        (FILE_LINE + "size=1", "Documents/a\\b\n", "Documents/a\\b\n"),
        ("# type=link link=path=x path=a/b", "", "a/b"),
    ],
)
def test_an_entry_has_the_path_that_it_had_in_the_source(meta: str, stored: str, original: str) -> None:
    assert original_path(Known(meta, hash_line(DIGEST, stored) if stored else "")) == original


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        ("Documents/a", ("S", ("Documents", "a"))),
        ("a", ("S", ("a",))),
        ("../2026-11-20_230001/Documents/a", ("2026-11-20_230001", ("Documents", "a"))),
        ("../2026-11-20_230001_2/a", ("2026-11-20_230001_2", ("a",))),
    ]
    + [
        (stored, None)
        for stored in (
            "",
            "/etc/passwd",
            "..",
            "../a",
            "../2026-11-20_230001",
            "../2026-11-20_230001/",
            "../2026-11-20_230001/..",
            "../2026-11-20_230001/../x/a",
            "../2026-11-20_230001.incomplete/a",
            "../../2026-11-20_230001/a",
            "../2026-11-20_230001/../2026-11-20_230001/a",
            "./a",
            "a/../b",
            "a//b",
            "../other-set/a",
            "a\0b",
            "../2026-11-20_230001\n/a",
        )
    ],
)
def test_a_stored_path_leads_into_a_dated_copy_of_this_set_or_nowhere(stored: str, place: Optional[Tuple[str, Tuple[str, ...]]]) -> None:
    try:
        found: Optional[Tuple[str, Tuple[str, ...]]] = stored_place(stored, "S")
    except ManifestDamaged:
        found = None
    assert found == place


# --- A manifest folder by folder ------

META = FILE_LINE + "mode=0644 uid=0 gid=0 size=1 time=0.000000000"


def folder(path: str) -> str:
    return f"{DIR_LINE}mode=0755 uid=0 gid=0 time=0.000000000 path={escape(path)}"


def entry(path: str, kind: str = "fifo") -> str:
    return f"# type={kind} mode=0644 uid=0 gid=0 time=0.000000000 path={escape(path)}"


def a_file(path: str) -> List[str]:
    return [META, hash_line(DIGEST, path)]


def flat(*parts: Any) -> List[str]:
    """Put lines and lists of lines into one list."""
    return [line for part in parts for line in ([part] if isinstance(part, str) else part)]


def shape(lines: Sequence[str]) -> Dict[str, List[str]]:
    """Give the names in each folder of a manifest."""
    return {block.path: list(block.entries) for block in read_blocks(lines)}


SKIPPED = SKIPPED_DIR_LINE + "why=permission\\040denied path="

GOOD: Dict[str, Tuple[List[str], Dict[str, List[str]]]] = {
    "nothing": ([], {"": []}),
    "a source that is a file": (a_file("letter.odt"), {"": ["letter.odt"]}),
    "an empty folder": ([folder("D")], {"": [], "D": []}),
    "a folder": (flat(folder("D"), a_file("D/a"), entry("D/b")), {"": [], "D": ["a", "b"]}),
    "both": (flat(a_file("z"), folder("D"), a_file("D/a")), {"": ["z"], "D": ["a"]}),
    "folders in folders": (
        flat(folder("D"), a_file("D/z"), folder("D/a"), a_file("D/a/x"), folder("D/a/b"), folder("D/a-b"), folder("E")),
        {"": [], "D": ["z"], "D/a": ["x"], "D/a/b": [], "D/a-b": [], "E": []},
    ),
    "a folder that could not be read": (
        flat(folder("D"), SKIPPED + "D/s", a_file("E")[:0], folder("E")),
        {"": [], "D": [], "D/s": [], "E": []},
    ),
    "a file that could not be read": (flat(folder("D"), entry("D/a", "skipped why=gone")), {"": [], "D": ["a"]}),
    "content that lies in another copy": (flat(folder("D"), META, hash_line(DIGEST, "../2026-11-20_230001/D/a")), {"": [], "D": ["a"]}),
    "a moved file": (flat(folder("D"), META + " path=D/new", hash_line(DIGEST, "../2026-11-20_230001/D/old")), {"": [], "D": ["new"]}),
    "an old sha256sum's star": (flat(folder("D"), META, f"{DIGEST} *D/a"), {"": [], "D": ["a"]}),
    "names by their bytes": (
        flat(folder("D"), [line for name in ["\x01", "A", "a", "b\n", "\u00e9", "\U0001f600", "\udcff"] for line in a_file(f"D/{name}")]),
        {"": [], "D": ["\x01", "A", "a", "b\n", "\u00e9", "\U0001f600", "\udcff"]},
    ),
    "a file that is called as a line is": (flat(folder("D"), a_file("D/# type=dir path=x")), {"": [], "D": ["# type=dir path=x"]}),
}


@pytest.mark.parametrize(("lines", "names"), GOOD.values(), ids=GOOD)
def test_a_manifest_is_read_folder_by_folder(lines: List[str], names: Dict[str, List[str]]) -> None:
    assert shape(lines) == names


def test_each_entry_comes_with_its_lines() -> None:
    lines = flat(a_file("z"), folder("D"), a_file("D/a"), entry("D/b", "link link=../x"), SKIPPED + "D/s")
    assert list(read_blocks(lines)) == [
        Block("", "", {"z": Known(META, hash_line(DIGEST, "z"))}),
        Block("D", folder("D"), {"a": Known(META, hash_line(DIGEST, "D/a")), "b": Known(entry("D/b", "link link=../x"))}),
        Block("D/s", SKIPPED + "D/s", {}),
    ]


DAMAGED: Dict[str, Tuple[List[str], str]] = {
    "files out of order": (flat(folder("D"), a_file("D/b"), a_file("D/a")), "line 6: names are out of order"),
    "a link before a file": (flat(folder("D"), entry("D/b"), a_file("D/a")), "line 5: names are out of order"),
    "names in another order than that of bytes": (flat(a_file("\udcff"), a_file("\u00e9")), "line 5: names are out of order"),
    "a file twice": (flat(folder("D"), a_file("D/a"), a_file("D/a")), "line 6: 'a' stands twice, or is no name"),
    "a file and a fifo of one name": (flat(folder("D"), a_file("D/a"), entry("D/a")), "line 5: 'a' stands twice, or is no name"),
    "a file and a folder of one name": (flat(folder("D"), a_file("D/a"), folder("D/a")), "line 5: 'D/a' stands twice"),
    "a link and a folder of one name, later": (
        flat(entry("D", "link link=/etc"), folder("C"), folder("C/D"), folder("D")),
        "line 5: 'D' stands twice",
    ),
    "twice, spelt otherwise": (flat(entry("a"), "# type=fifo path=\\141"), "line 3: 'a' stands twice, or is no name"),
    "a folder twice": ([folder("D"), folder("D")], "line 3: the folder 'D' is out of order"),
    "folders out of order": ([folder("E"), folder("D")], "line 3: the folder 'D' is out of order"),
    "folders by the bytes of the whole path": ([folder("a-b"), folder("a/c")], "line 3: the folder 'a/c' is out of order"),
    "a folder after what is in it": ([folder("D"), folder("D/a/b")], "line 3: the folder 'D/a/b' stands in a folder that was not named"),
    "a folder in a folder of another": ([folder("D"), folder("E/a")], "line 3: the folder 'E/a' stands in a folder that was not named"),
    "a folder in one with a longer name": (
        [folder("D"), folder("DD/a")],
        "line 3: the folder 'DD/a' stands in a folder that was not named",
    ),
    "a file in a folder that was not named": (a_file("D/a"), "line 3: 'D/a' stands outside its folder"),
    "a file outside its folder": (flat(folder("D"), a_file("E/a")), "line 4: 'E/a' stands outside its folder"),
    "a file above its folder": (flat(folder("D"), a_file("a")), "line 4: 'a' stands outside its folder"),
    "a file below its folder": (flat(folder("D"), a_file("D/a/b")), "line 4: 'D/a/b' stands outside its folder"),
    "a fifo outside its folder": (flat(folder("D"), entry("E/a")), "line 3: 'E/a' stands outside its folder"),
    "a moved file outside its folder": (
        flat(folder("D"), META + " path=a", hash_line(DIGEST, "D/a")),
        "line 4: 'a' stands outside its folder",
    ),
    "a file without its checksum": (flat(folder("D"), META), "line 3: the last file has no checksum"),
    "a file without its checksum, then a folder": (flat(folder("D"), META, folder("E")), "line 4: ..."),
    "a file without its checksum, then a file": (flat(META, a_file("a")), "line 3: ..."),
    "a checksum without its file": (flat(folder("D"), hash_line(DIGEST, "D/a")), "line 3: ..."),
    "an empty line": ([folder("D"), ""], "line 3: unknown line ''"),
    "an empty line for a checksum": ([META, ""], "line 3: '' is no line of checksums"),
    "a comment": (["# by hand"], "line 2: unknown line '# by hand'"),
    "a line in front of a line": ([" " + folder("D")], "line 2: ..."),
    "a second first line": ([MANIFEST_MAGIC + "{}"], "line 2: ..."),
    "something after the end": ([END_MAGIC + "{}"], "line 2: ..."),
    "a file with no name": ([META, f"{DIGEST}  "], "line 3: ..."),
    "a file whose name is a point": ([META, f"{DIGEST}  ."], "line 3: '.' stands twice, or is no name"),
    "a file called as the folder above": (flat(folder("D"), a_file("D/..")), "line 4: '..' stands twice, or is no name"),
    "a fifo called as the folder above": ([folder("D"), "# type=fifo path=D/\\056\\056"], "line 3: '..' stands twice, or is no name"),
    "a folder called as the folder above": ([folder("D"), folder("D/..")], "line 3: the path 'D/..' leads elsewhere"),
    "a folder called so in disguise": ([DIR_LINE + "path=\\056\\056"], "line 2: the path '..' leads elsewhere"),
    "a folder from the root": ([folder("/etc")], "line 2: the path '/etc' leads elsewhere"),
    "a folder with no path": ([DIR_LINE + "path="], "line 2: the path '' leads elsewhere"),
    "a stored path that is absolute": ([META, f"{DIGEST}  /etc/passwd"], "line 3: '/etc/passwd' stands outside its folder"),
    "a zero byte in a folder": ([folder("D\0")], "line 2: the path 'D\\x00' leads elsewhere"),
    "a zero byte in a fifo": ([entry("a\0")], "line 2: ..."),
    "a fifo without a path": (["# type=fifo mode=0644"], "line 2: ..."),
    "a folder without a path": ([DIR_LINE + "mode=0755"], "line 2: ..."),
}


@pytest.mark.parametrize(("lines", "why"), DAMAGED.values(), ids=DAMAGED)
def test_a_manifest_that_backup_did_not_write_is_damaged(lines: List[str], why: str) -> None:
    with pytest.raises(ManifestDamaged) as found:
        list(read_blocks(lines))
    said = str(found.value)
    assert (said[: len(why) - 3] + "..." if why.endswith("...") else said) == why
    assert said.isprintable()


def random_names(chance: random.Random, count: int) -> List[str]:
    """Give different names in order of their bytes, many of them awkward, some of them the beginning of another."""
    names = {
        chance.choice(AWKWARD) if chance.random() < 0.3 else "".join(chance.choices("ab-. \\\n\r\u00e9\udcff", k=4)) for _ in range(count)
    }
    return sorted(names - {".", ".."}, key=name_bytes)


def random_block(chance: random.Random, path: str, folders: Sequence[str]) -> Block:
    """Make a folder with some entries, as `backup` writes them; none is called as a folder is."""
    entries: Dict[str, Known] = {}
    for name in random_names(chance, chance.randrange(6)):
        whole = f"{path}/{name}" if path else name
        if whole in folders:
            continue
        kind = chance.randrange(5)
        attributes = {chance.choice(AWKWARD): b"value"} if kind < 2 else {}
        if kind == 0:
            entries[name] = Known(entry(whole, f"link link={escape(chance.choice(AWKWARD))}{xattr_words(attributes)}"))
        elif kind == 1:
            elsewhere = f"../2026-11-20_230001/moved/{chance.choice(AWKWARD)}"
            meta = f"{META}{xattr_words(attributes)} path={escape(whole)}"
            entries[name] = Known(meta, hash_line(DIGEST, elsewhere))
        elif kind == 2:
            entries[name] = Known(META, hash_line(DIGEST, f"../2026-11-20_230001_2/{whole}"))
        else:
            entries[name] = Known(META + " kept=2026-11-20_230001", hash_line(DIGEST, whole))
    line = folder(path) if chance.random() < 0.9 else SKIPPED + escape(path)
    return Block(path, line if path else "", entries)


def random_manifest(chance: random.Random) -> List[Block]:
    paths = [""]
    for _ in range(chance.randrange(12)):
        above = chance.choice(paths)
        paths += [f"{above}/{name}" if above else name for name in random_names(chance, 1)]
    return [random_block(chance, path, paths) for path in sorted(set(paths), key=folder_key)]


def lines_of(blocks: Sequence[Block]) -> List[str]:
    return [
        line
        for block in blocks
        for line in [block.line, *(line for known in block.entries.values() for line in (known.line, known.hash_line))]
        if line
    ]


def test_whatever_tree_is_written_is_read_back(chance: random.Random) -> None:
    require("linux")
    for _ in range(400):
        blocks = random_manifest(chance)
        read = list(read_blocks(lines_of(blocks)))
        assert read == blocks
        assert [list(block.entries) for block in read] == [list(block.entries) for block in blocks]
        assert [original_path(known) for block in read for known in block.entries.values()] == [
            f"{block.path}/{name}" if block.path else name for block in blocks for name in block.entries
        ]


def mutated(chance: random.Random, text: bytes) -> bytes:
    """Hurt a text as a bad disk, a hasty hand or an enemy would."""
    at, other = sorted(chance.choices(range(len(text) + 1), k=2))
    lines = text.split(b"\n")
    nth, mth = chance.randrange(len(lines)), chance.randrange(len(lines))
    way = chance.randrange(9)
    if way == 0:
        return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
    if way == 1:
        return text[:at] + text[other:]
    if way == 2:
        return text[:other] + text[at:]
    if way == 3:
        lines[nth], lines[mth] = lines[mth], lines[nth]
    elif way == 4:
        del lines[nth]
    elif way == 5:
        lines.insert(mth, lines[nth])
    elif way == 6:
        lines[nth] = lines[nth].replace(b"path=", b"path=../", 1) if b"path=" in lines[nth] else lines[nth].replace(b"  ", b"  ../", 1)
    elif way == 7:
        lines[nth] = lines[nth].replace(
            chance.choice([b"=", b" ", b"\\", b"/", b"0"]), chance.choice([b"", b"\\000", b"/", b"/..", b"\xff"]), 1
        )
    else:
        return text[:at] + bytes(4096) + text[at:]
    return b"\n".join(lines)


def use(block: Block) -> None:
    """Read all that a restore would read of a folder. Raises ManifestDamaged."""
    for known in (Known(block.line), *block.entries.values()):
        words = parse_keywords(known.line)
        if known.line.startswith((FILE_LINE, DIR_LINE, "# type=link", "# type=fifo")):
            meta_of(words)
            unescape(words.get("link", ""))
        if known.hash_line:
            number(words, "size")
            stored_place(parse_hash_line(known.hash_line)[1], "2026-11-22_231507")


def test_damage_is_all_that_is_ever_found_in_a_hurt_manifest(chance: random.Random) -> None:
    require("linux")
    good = [name_bytes("\n".join(lines_of(random_manifest(chance)))) for _ in range(60)]
    found = {"damaged": 0, "read": 0, "damaged on use": 0}
    for _ in range(6000):
        hurt = chance.choice(good)
        for _ in range(chance.randint(1, 3)):
            hurt = mutated(chance, hurt)
        if b"\0" in hurt:  # what reads a manifest from the disk refuses that by itself
            continue
        lines = os.fsdecode(hurt).split("\n")
        try:
            blocks = list(read_blocks(lines))
        except ManifestDamaged:
            found["damaged"] += 1
            continue
        # what passes must at least be made of plain names in order, each once
        names = [name for block in blocks for name in block.entries]
        assert [name for name in names if name in ("", ".", "..") or "/" in name or "\0" in name] == []
        assert [folder_key(block.path) for block in blocks] == sorted({folder_key(block.path) for block in blocks})
        assert not any("\0" in block.path or {"", ".", ".."} & set(block.path.split("/")) for block in blocks[1:])
        try:
            for block in blocks:
                use(block)
            found["read"] += 1
        except ManifestDamaged:
            found["damaged on use"] += 1
    assert min(found.values()) > 0, found


# --- First and last line ------

HEADER: Dict[str, Any] = {
    "set": "annas-laptop",
    "seq": 42,
    "taken": "2026-11-22T23:15:07+01:00",
    "layout": "complete",
    "machine": "m",
    "sources": {"Documents": "/home/anna/Documents"},
}
END: Dict[str, Any] = {"files": 1, "dirs": 2, "bytes": 3, "skipped": 0, "sha256": DIGEST}
DEEP = "[" * 100_000


def test_first_and_last_line_are_read() -> None:
    assert parse_header(MANIFEST_MAGIC + json.dumps(HEADER)) == HEADER
    assert parse_end(END_MAGIC + json.dumps(END)) == END


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"set": None}, "its first line is not complete"),
        ({"set": 1}, "its first line is not complete"),
        ({"seq": "42"}, "its first line is not complete"),
        ({"seq": 4.5}, "its first line is not complete"),
        ({"seq": 0}, "its first line is not complete"),
        ({"seq": -1}, "its first line is not complete"),
        ({"seq": None}, "its first line is not complete"),
        ({"seq": [1]}, "its first line is not complete"),
        ({"taken": 0}, "its first line is not complete"),
        ({"sources": []}, "its first line is not complete"),
        ({"sources": None}, "its first line is not complete"),
        ({"sources": {"Documents": 1}}, "its sources have impossible names"),
        ({"sources": {"..": "/"}}, "its sources have impossible names"),
        ({"sources": {"": "/"}}, "its sources have impossible names"),
        ({"sources": {"a/b": "/"}}, "its sources have impossible names"),
        ({"sources": {"SHA256SUMS": "/"}}, "its sources have impossible names"),
        ({"taken": ""}, "its date is no date"),
        ({"taken": "yesterday"}, "its date is no date"),
        ({"taken": "2026-11-22T23:15:07"}, "its date is no date"),
        ({"taken": "2026-13-22T23:15:07+01:00"}, "its date is no date"),
        ({"taken": "2026-11-22T23:15:07+25:00"}, "its date is no date"),
        ({"taken": "\ud800" * 25}, "its date is no date"),
    ],
)
def test_a_first_line_with_something_else_in_it_is_damage(wrong: Dict[str, Any], why: str) -> None:
    with pytest.raises(ManifestDamaged) as found:
        parse_header(MANIFEST_MAGIC + json.dumps({**HEADER, **wrong}))
    assert str(found.value) == why


@pytest.mark.parametrize("word", ["set", "seq", "taken", "sources"])
def test_a_first_line_without_something_is_damage(word: str) -> None:
    with pytest.raises(ManifestDamaged, match="its first line is not complete"):
        parse_header(MANIFEST_MAGIC + json.dumps({key: value for key, value in HEADER.items() if key != word}))


@pytest.mark.parametrize("wrong", [{word: value} for word in ("files", "dirs", "bytes") for value in (None, "1", 1.5, [], {}, 10**400)])
def test_a_last_line_with_impossible_numbers_is_damage(wrong: Dict[str, Any]) -> None:
    with pytest.raises(ManifestDamaged, match="its last line is not complete"):
        parse_end(END_MAGIC + json.dumps({**END, **wrong}))


@pytest.mark.parametrize("wrong", [{"added": "x"}, {"added": None}, {"added": 10**400}, {"sha256": 1}, {"sha256": None}])
def test_a_last_line_with_something_else_in_it_is_damage(wrong: Dict[str, Any]) -> None:
    with pytest.raises(ManifestDamaged, match="its last line is not complete"):
        parse_end(END_MAGIC + json.dumps({**END, **wrong}))


@pytest.mark.parametrize(
    "text", ["", "x", "null", "[]", "1", '"a"', "{", "{}x", "NaN", "\0", "\udcff", DEEP, '{"a":' * 100_000, "9" * 10_000]
)
def test_what_is_no_object_of_json_is_damage(text: str) -> None:
    told = []
    for parse, magic in ((parse_header, MANIFEST_MAGIC), (parse_end, END_MAGIC)):
        with pytest.raises(ManifestDamaged) as found:
            parse(magic + text)
        told.append(str(found.value))
    assert told == ["it is no manifest", "its first or last line is missing"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "it is no manifest"),
        ("# another file", "it is no manifest"),
        ("# snapback manifest 2 {}", "it was written by a newer snapback; use that one"),
        ("# snapback manifest 10 {}", "it was written by a newer snapback; use that one"),
        ("# snapback manifest 1 {}", "its first line is not complete"),
    ],
)
def test_a_manifest_of_a_newer_program_is_told_from_no_manifest(line: str, why: str) -> None:
    with pytest.raises(ManifestDamaged) as found:
        parse_header(line)
    assert str(found.value) == why


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-22T23:15:07+01:00", "2026-11-22 22:15:07"),
        ("2026-11-22T23:15:07.250000-03:30", "2026-11-23 02:45:07.250000"),
        ("2026-11-22T23:15:07+00:00", "2026-11-22 23:15:07"),
        ("2026-11-22T23:15:07", None),
        ("2026-11-22", None),
        ("", None),
        ("x", None),
        ("2026-11-22T23:15:07+01:00 ", None),
        ("2026-02-30T00:00:00+00:00", None),
        ("\udcff", None),
    ],
)
def test_a_time_without_its_distance_to_utc_is_none(text: str, utc: Optional[str]) -> None:
    moment = parse_time(text)
    assert (str((moment - (moment.utcoffset() or timedelta())).replace(tzinfo=None)) if moment else None) == utc


# --- Marker, list of damage, version ------

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "marker",
    [
        Marker(ID, "BLUE-STICK", "2026-11-22T23:15:07+01:00", True),
        Marker(ID, "BLUE-STICK", "", False),
        Marker(ID, "Anna: the blue one # 2", "now"),
        Marker(ID, "caf\u00e9 \udcff \u6771\u4eac", "now"),
        Marker(ID, "id: 9", "offline: yes"),
    ],
)
def test_a_marker_comes_back(marker: Marker) -> None:
    text = marker_text(marker)
    with_windows_line_ends = text.replace("\n", "\r\n")
    with_a_mark_of_byte_order = "\ufeff" + text
    assert [parse_marker(one) for one in (text, with_windows_line_ends, with_a_mark_of_byte_order)] == [marker] * 3


def test_a_marker_says_to_people_that_it_must_stay() -> None:
    assert marker_text(Marker(ID, "BLUE", "now", True)) == (
        "This file marks a backup drive of snapback. Please leave it here: without it no copies are made.\n\n"
        f"id: {ID}\nlabel: BLUE\ncreated: now\noffline: yes\nnames: any\n"
    )


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        (f"id: {ID}", Marker(ID, "drive")),
        (f"  id :{ID}  \n\nlabel:   \nwhatever: 1\n\n", Marker(ID, "drive")),
        (f"label: B\nid: {ID}\noffline: YES", Marker(ID, "B")),
        ("", None),
        ("label: B", None),
        ("id:", None),
        (f"id: {ID[:-1]}", None),
        (f"id: {ID}0", None),
        (f"id: {ID.upper()}", None),
        (f"id: ../{ID}", None),
        (f"id = {ID}", None),
        ("id: " + "\u0661" * 32, None),
        (f"id: {ID[:16]}\0{ID[17:]}", None),
        ("\0" * 4096, None),
        ("\udcff" * 100, None),
    ],
)
def test_what_is_no_marker_is_none(text: str, marker: Optional[Marker]) -> None:
    assert parse_marker(text) == marker


def test_the_list_of_damage_comes_back() -> None:
    findings = [
        Finding(Found.DIFFERS, "2026-11-22_231507", "Documents/a b\n\\c\r", "", "1" * 64),
        Finding(Found.MISSING, "2026-11-20_090000", "Documents/\udcff", "", "2" * 64),
        Finding(Found.UNREADABLE, "2026-11-20_090000", "Documents/e", "i/o error", "1" * 64),
        Finding(Found.MANIFEST, "2026-11-19_090000", "", "cut off"),
    ]
    # the bad file of one date may be shared by every date up to number 7, that of the other up to number 5
    text = damaged_text(findings, "2026-11-23T09:00:00+01:00", {"2026-11-22_231507": 7, "2026-11-20_090000": 5})
    assert parse_damaged(text) == {"1" * 64: 7, "2" * 64: 5}
    assert text.split("\n") == [
        "# found=2026-11-23T09:00:00+01:00 seq=5",
        hash_line("2" * 64, "2026-11-20_090000/Documents/\udcff"),
        hash_line("1" * 64, "2026-11-20_090000/Documents/e"),
        "# found=2026-11-23T09:00:00+01:00 seq=7",
        hash_line("1" * 64, "2026-11-22_231507/Documents/a b\n\\c\r"),
        "",
    ]


def test_no_damage_is_no_list() -> None:
    assert (damaged_text([], "now", {}), parse_damaged("")) == ("", {})


@pytest.mark.parametrize(
    ("text", "damaged"),
    [
        (f"# found=a seq=3\n{'1' * 64}  x\n# found=b seq=9\n{'2' * 64}  y\n", {"1" * 64: 3, "2" * 64: 9}),
        (f"# found=a seq=9\n{'1' * 64}  x\n# found=b seq=3\n{'1' * 64}  x\n", {"1" * 64: 9}),
        (f"{'1' * 64}  x", {"1" * 64: 0}),
        (f"# seq=no\n{'1' * 64}  x\nrubbish\n\0\n\n{'2' * 63}  x\n", {"1" * 64: 0}),
        ("\udcff\n" * 3, {}),
    ],
)
def test_a_list_of_damage_that_is_damaged_itself_loses_no_good_line(text: str, damaged: Dict[str, int]) -> None:
    assert parse_damaged(text) == damaged


PROGRAM = '#!/usr/bin/env python3\n"""snapback: dated copies.\n"""\n\n__version__ = "{}"\n'


VERSIONS: Dict[str, Tuple[str, Optional[Tuple[int, ...]]]] = {
    "three numbers": (PROGRAM.format("0.1.0"), (0, 1, 0)),
    "two numbers": (PROGRAM.format("10.2"), (10, 2)),
    "one number": (PROGRAM.format("1"), (1,)),
    "no first line": (PROGRAM.format("1.0")[23:], (1, 0)),
    "a letter": (PROGRAM.format("1.0a"), None),
    "nothing": (PROGRAM.format(""), None),
    "an endless number": (PROGRAM.format("1." + "9" * 5000), None),
    "another program": (PROGRAM.format("1.0").replace("snapback", "another"), None),
    "no title": (PROGRAM.format("1.0")[-20:], None),
    "an empty file": ("", None),
    "rubbish": ("\0\udcff", None),
}


@pytest.mark.parametrize(("text", "version"), VERSIONS.values(), ids=VERSIONS)
def test_the_version_of_a_program_on_a_drive(text: str, version: Optional[Tuple[int, ...]]) -> None:
    assert tool_version(text) == version


def test_the_version_of_this_program() -> None:
    import snapback

    own = Path(snapback.__file__).read_text(encoding="utf-8")
    assert ".".join(map(str, tool_version(own) or ())) == snapback.__version__


# --- Whatever stands there ------

READERS: Mapping[str, Callable[[str], object]] = {
    "parse_marker": parse_marker,
    "parse_damaged": parse_damaged,
    "parse_header": lambda text: parse_header(MANIFEST_MAGIC + text),
    "parse_end": lambda text: parse_end(END_MAGIC + text),
    "parse_hash_line": parse_hash_line,
    "parse_time": parse_time,
    "time_ns": time_ns,
    "parse_xattrs": lambda text: parse_xattrs({"xattr.a": text, "xattr." + text: ""}),
    "meta_of": lambda text: meta_of(parse_keywords(text)),
    "stored_place": lambda text: stored_place(text, "2026-11-22_231507"),
    "unescape": unescape,
    "tool_version": tool_version,
    "read_blocks": lambda text: list(read_blocks(text.split("\n"))),
}
PIECES = [
    "\0",
    "\n",
    "\r",
    " ",
    "  ",
    "\\",
    "/",
    "..",
    "=",
    ":",
    "#",
    "{",
    "}",
    "[",
    '"',
    ",",
    "-",
    "+",
    ".",
    "\u00e9",
    "\u0661",
    "\udcff",
    "\U0001f600",
]
PIECES += [
    "\\000",
    "\\057",
    "path=",
    "# type=",
    "file ",
    "dir ",
    "fifo ",
    "size=",
    "mode=",
    "time=",
    "xattr.a=",
    "id: ",
    "label:",
    ID,
    DIGEST,
    "0",
    "9",
]
PIECES += [
    "9" * 25,
    "9" * 5000,
    "1e999",
    "NaN",
    "null",
    "true",
    '"seq"',
    '"taken"',
    '"sources"',
    "2026-11-22",
    "T23:15:07",
    "+01:00",
    "2026-11-22_231507",
]
PIECES += ['__version__ = "', '"""snapback: ', "[" * 3000]


@pytest.mark.parametrize("name", READERS)
def test_a_reader_of_text_finds_damage_or_reads_and_never_fails_otherwise(name: str, chance: random.Random) -> None:
    said: List[str] = []
    for _ in range(1500):
        text = "".join(chance.choices(PIECES, k=chance.randint(0, 9)))
        try:
            READERS[name](text)
        except ManifestDamaged as err:
            said.append(str(err))
    assert [text for text in said if not text.isprintable()] == []
