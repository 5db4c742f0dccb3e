r"""Windows: a real Windows Python under Wine, where one has been set up, and what Windows forbids, looked for on Linux.

    SNAPBACK_WINE_PYTHON='wine C:\\Python38\\python.exe' make test TESTS=tests/test_windows.py

The command takes Python's arguments.  Wine shows this machine's files as drive Z:.  It knows no symbolic links, renames
folders with open files, and has no limit of 260 characters; the second of these is looked for without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import pytest

import snapback
from conftest import SNAPBACK, WINE_PYTHON, WINE_WORLD, Result
from trees import ask, dates, remove_tree, stock_check, text_of

YEAR_2023 = 1_700_000_000
LETTER, PHOTO = "Мои письма/первое письмо.txt", "Фото 2023/photo.jpg"
PHOTO_SHOWN = PHOTO.encode("cp1252", "backslashreplace").decode("cp1252")  # where output is redirected


def z(path: object) -> str:
    """Say how Windows calls a path of this machine."""
    return "Z:" + str(path).replace("/", "\\")


def start(*words: object) -> subprocess.Popen[str]:
    """Start a Windows Python; its standard streams must be pipes, Wine knows no others."""
    return subprocess.Popen(
        [*WINE_PYTHON, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", errors="replace", env=WINE_WORLD)


def windows(*words: object) -> Result:
    """Run snapback on Windows to its end."""
    process = start("-I", z(SNAPBACK), *words)
    out, err = process.communicate("", timeout=120)
    assert "Traceback" not in err, err
    return Result(process.returncode, out, err)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source as people have them, old enough that nothing in it is in doubt."""
    made = tmp_path / "Anna's files"
    sizes = {LETTER: 300, PHOTO: 300_000, "Фото 2023/program.exe": 5000, "locked for writing": 40, "empty": 0}
    for name, size in sizes.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(text_of(name, size))
    (made / "nothing in it").mkdir()
    (made / "locked for writing").chmod(0o444)
    for path in [*made.rglob("*"), made]:
        os.utime(path, ns=(YEAR_2023 * 10**9, YEAR_2023 * 10**9 + 123_456_700))
    return made


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A folder that Windows has made a drive."""
    made = tmp_path / "BLUE STICK"
    made.mkdir()
    if WINE_PYTHON:
        assert windows("init", z(made), "--label", "синий").code == 0
    return made


def set_of(drive: Path) -> Path:
    """Give the folder of the drive's only set."""
    (found,) = [path.parent for path in drive.glob("*/manifests")]
    return found


def back_up(source: Path, drive: Path, *more: str) -> Path:
    """Make a dated copy on Windows in which nothing needs attention, and give its folder."""
    before = set(dates(set_of(drive))) if list(drive.glob("*/manifests")) else set()
    outcome = windows("backup", *more, z(source), z(drive))
    assert (outcome.code, outcome.err) == (0, ""), outcome
    (new,) = set(dates(set_of(drive))) - before
    return set_of(drive) / new


def contents(top: Path) -> Dict[str, Tuple[bytes, int]]:
    """Give content and time (Windows counts in 100 ns) of all that is in a folder."""
    return {str(path.relative_to(top)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns // 100)
            for path in top.rglob("*")}


def files_in(top: Path) -> Set[str]:
    """Give the paths of all files in a folder."""
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


# --- The main job, under Wine ------


@pytest.mark.needs("wine")
def test_it_says_its_version() -> None:
    assert windows("--version") == Result(0, f"snapback {snapback.__version__}\n", "")


@pytest.mark.needs("wine")
def test_a_second_copy_links_what_is_unchanged(source: Path, drive: Path) -> None:
    first = back_up(source, drive)
    (source / "new").write_bytes(b"new")
    (source / LETTER).write_bytes(b"changed")
    second = back_up(source, drive)
    assert contents(second / source.name) == contents(source)
    same = {name for name in files_in(first) if os.path.samefile(first / name, second / name)}
    assert same == files_in(first) - {"SHA256SUMS", f"{source.name}/{LETTER}"}
    assert not stock_check(first)
    assert not stock_check(second)


@pytest.mark.needs("wine")
def test_it_lists_and_verifies(source: Path, drive: Path) -> None:
    names = [back_up(source, drive).name, back_up(source, drive).name]
    listed = json.loads(windows("list", "--json", "--drive", z(drive)).out)
    assert all(name in json.dumps(listed) for name in names)
    checked = json.loads(windows("verify", "--json", "--drive", z(drive)).out)
    assert checked["exit_code"] == 0
    assert windows("verify", "latest", "--quick", "-q", "--drive", z(drive)) == Result(0, "", "")


@pytest.mark.needs("wine")
@pytest.mark.parametrize("said", [
    "{source}\\{letter}", "{alias}\\{letter}", "{alias}/{letter}",
], ids=["as it was on the computer", "as in the copy", "with slashes"])
def test_it_restores_one_file(source: Path, drive: Path, tmp_path: Path, said: str) -> None:
    back_up(source, drive)
    letter = LETTER.replace("/", "\\")
    path = said.format(source=z(source), alias=source.name, letter=letter if "\\" in said else LETTER)
    outcome = windows("restore", "latest", path, "--drive", z(drive), "--to", z(tmp_path / "back"))
    assert outcome.code == 0, outcome
    restored = [path for path in (tmp_path / "back").rglob("*") if path.is_file()]
    assert restored == [tmp_path / "back" / source.name / LETTER]
    assert restored[0].read_bytes() == (source / LETTER).read_bytes()


@pytest.mark.needs("wine")
def test_it_restores_everything(source: Path, drive: Path, tmp_path: Path) -> None:
    back_up(source, drive)
    assert windows("restore", "latest", "--drive", z(drive), "--to", z(tmp_path / "back")).code == 0
    assert contents(tmp_path / "back" / source.name) == contents(source)


@pytest.mark.needs("wine")
def test_merging_sets_aside_what_differs(source: Path, drive: Path, tmp_path: Path) -> None:
    back_up(source, drive)
    there = tmp_path / "back" / source.name / LETTER
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    assert windows("restore", "latest", "--merge", "--drive", z(drive), "--to", z(tmp_path / "back")).code == 0
    assert there.read_bytes() == (source / LETTER).read_bytes()
    (aside,) = there.parent.glob("*.before-restore-*")
    assert aside.read_bytes() == b"mine"


@pytest.mark.needs("wine")
def test_damage_is_found_and_stored_anew(source: Path, drive: Path, tmp_path: Path) -> None:
    damaged = back_up(source, drive) / source.name / PHOTO
    damaged.write_bytes(text_of("rot", damaged.stat().st_size))
    assert windows("verify", "--drive", z(drive)).code == 4
    assert windows("restore", "latest", "--drive", z(drive), "--to", z(tmp_path / "back")).code == 4
    assert (tmp_path / "back" / source.name / (PHOTO + ".damaged")).read_bytes() == damaged.read_bytes()
    assert (back_up(source, drive) / source.name / PHOTO).read_bytes() == (source / PHOTO).read_bytes()


@pytest.mark.needs("wine")
def test_linux_and_windows_read_each_others_drives(source: Path, drive: Path, tmp_path: Path) -> None:
    back_up(source, drive)
    assert ask("verify", "--drive", drive).code == 0
    outcome = ask("restore", "latest", f"z:{z(source)[2:]}\\{PHOTO}", "--drive", drive, "--to", tmp_path / "on Linux")
    assert outcome.code == 0, outcome
    assert (tmp_path / "on Linux" / source.name / PHOTO).read_bytes() == (source / PHOTO).read_bytes()
    assert ask("backup", "--set", "linux", source, drive).code == 0
    assert windows("verify", "--set", "linux", "--drive", z(drive)).code == 0
    assert windows("restore", "latest", "--set", "linux", "--drive", z(drive), "--to", z(tmp_path / "back")).code == 0
    assert contents(tmp_path / "back" / source.name) == contents(source)


@pytest.mark.needs("wine")
def test_a_drive_inside_the_source_is_left_out(tmp_path: Path) -> None:
    drive = tmp_path / "source" / "drive"
    drive.mkdir(parents=True)
    (tmp_path / "source" / "file").write_bytes(b"file")
    assert windows("init", z(drive)).code == 0
    assert sorted(contents(back_up(tmp_path / "source", drive) / "source")) == ["file"]


@pytest.mark.needs("wine")
def test_hard_links_stay_hard_links(source: Path, drive: Path, tmp_path: Path) -> None:
    os.link(source / PHOTO, source / "same photo")
    copy = back_up(source, drive) / source.name
    assert os.path.samefile(copy / PHOTO, copy / "same photo")
    assert windows("restore", "latest", "--drive", z(drive), "--to", z(tmp_path / "back")).code == 0
    assert os.path.samefile(tmp_path / "back" / source.name / PHOTO, tmp_path / "back" / source.name / "same photo")


# --- Other programs, under Wine ------

LOCKED = "msvcrt.locking(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), msvcrt.LK_NBLCK, 1)"
OPENED = "assert ctypes.windll.kernel32.CreateFileW(sys.argv[1], 0xC0000000, 0, None, 3, 0, None) != -1"  # not shared
HOLDER = """if True:
    import ctypes, msvcrt, os, sys
    {}
    print("held", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)  # on Windows that is the end without any cleaning up
"""


@pytest.fixture
def hold() -> Iterator[Callable[[str, Path], Callable[[], int]]]:
    """Return `hold(how, path)`: another program locks or opens a file; what it returns ends that program."""
    holders: List[subprocess.Popen[str]] = []

    def end(holder: subprocess.Popen[str]) -> int:
        with holder:  # without reading on: a server of Wine's may keep its pipes open
            if holder.stdin:
                holder.stdin.close()
            return holder.wait(60)

    def begin(how: str, path: Path) -> Callable[[], int]:
        holder = start("-c", HOLDER.format(how), z(path))
        holders.append(holder)
        assert holder.stdout
        assert holder.stdout.readline().strip() == "held"
        return lambda: end(holder)

    yield begin
    for holder in holders:
        end(holder)


@pytest.mark.needs("wine")
def test_a_second_run_is_refused_at_once_and_a_dead_one_locks_nobody_out(
        source: Path, drive: Path, hold: Callable[[str, Path], Callable[[], int]]) -> None:
    back_up(source, drive)
    end = hold(LOCKED, set_of(drive) / "lock")
    assert windows("backup", z(source), z(drive)).code == 11
    assert windows("list", "--drive", z(drive)).code == 0
    end()
    back_up(source, drive)


@pytest.mark.needs("wine")
def test_a_file_that_another_program_has_open_is_noted_and_its_last_good_copy_kept(
        source: Path, drive: Path, hold: Callable[[str, Path], Callable[[], int]]) -> None:
    good = (back_up(source, drive) / source.name / PHOTO).read_bytes()
    (source / PHOTO).write_bytes(b"edited")
    (source / "mail box").write_bytes(b"mail")
    hold(OPENED, source / PHOTO)
    hold(OPENED, source / "mail box")
    outcome = windows("backup", z(source), z(drive))
    assert outcome.code == 3, outcome
    in_use, _end = outcome.err.splitlines()
    assert in_use == (f"2 files are open in another program and were not copied: {source.name}/mail box, {source.name}/{PHOTO_SHOWN}; "
                      "an earlier copy is kept of 1; close it, and run the same command again")
    copy = set_of(drive) / dates(set_of(drive))[-1] / source.name
    assert (copy / PHOTO).read_bytes() == good
    assert not (copy / "mail box").exists()
    assert windows("verify", "--drive", z(drive)).code == 0


# What a Windows Python does with snapback's own functions; sys.argv[1] is where that lies.
WITH_SNAPBACK = "import os, sys, stat, threading, winreg, _winapi\nsys.path.insert(0, sys.argv[1])\nimport snapback\n"
HELD_FOR_A_MOMENT = WITH_SNAPBACK + """
folder = snapback.Folder.top(sys.argv[2])
for name, call in (("a", lambda: folder.rename("a", folder, "b")), ("b", lambda: folder.unlink("b")),
                   ("c", lambda: snapback.move_to_free(folder, "c", folder, "d"))):
    if name != "b":
        os.close(folder.create_file(name))
    handle = _winapi.CreateFile(folder.at(name), 0xC0000000, 0, 0, 3, 0, 0)
    threading.Timer(0.3, _winapi.CloseHandle, [handle]).start()
    call()
    print(name, *folder.names())
"""
MARK_ALL_READ_ONLY = WITH_SNAPBACK + r"""
for top, _folders, files in os.walk("\\\\?\\" + os.path.abspath(sys.argv[2])):
    for name in files:
        os.chmod(os.path.join(top, name), stat.S_IREAD)
"""
GUARD_ON_AND_OFF = WITH_SNAPBACK + r"""
place = r"SOFTWARE\Microsoft\Windows Defender\Windows Defender Exploit Guard\Controlled Folder Access"
for value in (1, 2):
    with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, place, 0, winreg.KEY_WRITE | winreg.KEY_WOW64_64KEY) as key:
        winreg.SetValueEx(key, "EnableControlledFolderAccess", 0, winreg.REG_DWORD, value)
    print(snapback.guards_folders())
winreg.DeleteKeyEx(winreg.HKEY_LOCAL_MACHINE, place, winreg.KEY_WOW64_64KEY, 0)
print(snapback.guards_folders())
"""


def printed_by(script: str, *words: object) -> List[str]:
    """Run a script in a Windows Python, and give the lines that it prints."""
    out, err = start("-c", script, z(SNAPBACK.parent), *words).communicate("", timeout=120)
    assert err == ""
    return str(out).splitlines()


@pytest.mark.needs("wine")
def test_what_a_virus_scanner_holds_for_a_moment_is_moved_and_removed_when_it_lets_go(tmp_path: Path) -> None:
    assert printed_by(HELD_FOR_A_MOMENT, z(tmp_path)) == ["a b", "b", "c d"]


# --- The whole cycle on drive letters, under Wine ------


class Letter(NamedTuple):
    """A place on a drive letter, as Windows and as this machine call it, and how dated copies share files there."""

    said: str
    path: Path
    layout: str


def wine_prefix() -> Path:
    return Path(WINE_WORLD.get("WINEPREFIX") or Path(WINE_WORLD["HOME"]) / ".wine")


@pytest.fixture(params=["C: with hard links", "exFAT"])
def letter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Letter]:
    """An empty drive: a folder of C:, which is like NTFS in that, or a stick of its own letter."""
    if request.param.startswith("C:"):
        made = Path(tempfile.mkdtemp(prefix="snapback", dir=wine_prefix() / "drive_c"))
        yield Letter(f"C:\\{made.name}", made, "complete")
        remove_tree(made)
        return
    stick = request.getfixturevalue("mounted")("exfat").path
    free = next(link for link in (wine_prefix() / "dosdevices" / f"{one}:" for one in "efghijklmnop") if not os.path.lexists(link))
    time.sleep(5)  # until a Wine that was used has ended: it knows letters from its start
    free.symlink_to(stick)
    yield Letter(free.name.upper(), stick, "changes")
    free.unlink()


def run_without_trouble(*words: object) -> str:
    outcome = windows(*words)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


@pytest.mark.needs("wine", "root", "mount")
def test_the_whole_cycle_on_a_drive_letter(
        source: Path, letter: Letter, tmp_path: Path, hold: Callable[[str, Path], Callable[[], int]]) -> None:
    deep = source.joinpath(*(f"{number} {'x' * 60}" for number in range(6)))
    deep.mkdir(parents=True)
    (deep / "deep letter.txt").write_bytes(b"from far below")
    assert len(str(deep)) > 360
    to_letter = ("backup", z(source), letter.said)
    run_without_trouble("init", letter.said, "--label", "синий")
    assert "6 new, 0 changed, 0 unchanged" in run_without_trouble(*to_letter)
    assert "0 new, 0 changed, 6 unchanged; 0 B copied" in run_without_trouble(*to_letter)

    (source / LETTER).write_bytes(b"changed")
    found = snapback.parse_marker((letter.path / snapback.MARKER).read_text(encoding="utf-8"))
    assert found
    settings = tmp_path / "snapback.ini"
    settings.write_text(f"[backup]\nsources =\n    {z(source)}\nkeep-last = 2\n[drive {found.id}]\n", encoding="utf-8")
    assert "Deleted 1 old dated copy" in run_without_trouble("backup", "--config", z(settings))  # it finds the letter by itself
    copies = [path.parent for path in sorted(letter.path.glob("*/2*/SHA256SUMS"))]
    assert [stock_check(copy) for copy in copies] == [[], []]
    assert f'"layout": "{letter.layout}"' in (copies[-1] / "SHA256SUMS").read_text("utf-8").partition("\n")[0]
    assert json.loads(run_without_trouble("verify", "--json", "--drive", letter.said))["exit_code"] == 0
    assert copies[-1].name in run_without_trouble("list", "--drive", letter.said)
    assert run_without_trouble("status", "--config", z(settings)).startswith("Safe")

    end = hold(OPENED, source / PHOTO)
    (source / PHOTO).touch()
    outcome = windows(*to_letter)
    assert outcome.code == 3, outcome
    assert outcome.err.startswith(
        f"1 file is open in another program and was not copied: {source.name}/{PHOTO_SHOWN}; an earlier copy is kept; close it")
    end()
    interrupt_in_the_middle(source, letter)
    run_without_trouble(*to_letter)
    assert list(letter.path.glob("*/*.incomplete")) == []

    run_without_trouble("restore", "latest", "--drive", letter.said, "--to", z(tmp_path / "back"))
    assert contents(tmp_path / "back" / source.name) == contents(source)
    assert (tmp_path / "back" / source.name / "locked for writing").stat().st_mode & 0o222 == 0
    newest = set_of(letter.path) / dates(set_of(letter.path))[-1]
    assert printed_by(MARK_ALL_READ_ONLY, f"{letter.said}\\{newest.parent.name}") == []
    for lock in letter.path.glob("*/lock"):
        lock.chmod(0o644)
    run_without_trouble("rotate", "--keep-last", "1", "--drive", letter.said)
    assert [path.parent for path in letter.path.glob("*/2*/SHA256SUMS")] == [newest]
    run_without_trouble("verify", "--drive", letter.said)


@pytest.mark.needs("wine", "root", "mount")
def test_names_that_differ_by_case_never_take_each_others_place(source: Path, letter: Letter) -> None:
    (source / "Letter").write_bytes(b"upper")
    (source / "letter").write_bytes(b"lower case")
    run_without_trouble("init", letter.said)
    for _ in range(2):
        assert windows("backup", z(source), letter.said).code in (0, 3)  # the second name has a place of its own, or is named
    copy = set_of(letter.path) / dates(set_of(letter.path))[-1]
    assert stock_check(copy) == []
    assert (set_of(letter.path) / dates(set_of(letter.path))[0] / source.name / "Letter").read_bytes() == b"upper"


def interrupt_in_the_middle(source: Path, letter: Letter) -> None:
    """Kill a run when it has begun to store something large."""
    (source / "film").write_bytes(text_of("film", 8_000_000))
    running = start("-I", z(SNAPBACK), "backup", z(source), letter.said)
    deadline = time.monotonic() + 60
    while not list(letter.path.glob("*/*.incomplete/*/film")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    running.kill()
    with running:
        pass
    assert len(list(letter.path.glob("*/*.incomplete"))) == 1


# --- What people and drives say, under Wine ------


@pytest.mark.needs("wine")
def test_every_code_page_gets_what_it_can_show(source: Path, drive: Path) -> None:
    back_up(source, drive)
    for code_page in ("cp437", "cp850", "cp866", "cp932", "cp1252", "ascii", "utf-8"):
        done = subprocess.run([*WINE_PYTHON, z(SNAPBACK), "restore", "latest", "nothing ☃", "--drive", z(drive), "--to", z(drive / "back")],
                              input=b"", capture_output=True, env={**WINE_WORLD, "PYTHONIOENCODING": code_page})
        said = done.stderr.decode(code_page)
        assert (done.returncode, "Traceback" in said, "nothing" in said) == (2, False, True), (code_page, said)
        assert ("☃" in said, "\\u2603" in said) == ((True, False) if code_page == "utf-8" else (False, True)), (code_page, said)


@pytest.mark.needs("wine")
def test_the_guard_against_ransomware_is_read_from_the_registry() -> None:
    assert printed_by(GUARD_ON_AND_OFF) == ["True", "False", "False"]


@pytest.mark.needs("wine")
def test_an_alias_stands_before_a_windows_path(source: Path, drive: Path) -> None:
    assert windows("backup", f"pictures={z(source / 'Фото 2023')}", z(drive)).code == 0
    assert sorted(contents(set_of(drive) / dates(set_of(drive))[0] / "pictures")) == ["photo.jpg", "program.exe"]


@pytest.mark.needs("wine")
@pytest.mark.parametrize(("words", "code"), [
    (["backup", "no such|name", "{drive}"], 1),
    (["backup", "alias=no such|name", "{drive}"], 1),
    (["backup", "Q:\\nothing", "{drive}"], 1),
    (["backup", "{source}", "Q:\\nothing"], 75),
    (["backup", "{source}", "no such|name"], 75),
    (["backup", "{source}", "{SOURCE}", "{drive}"], 2),
    (["backup", "{drive}", "{drive}"], 2),
    (["restore", "{source}", "--drive", "{drive}"], 2),
    (["list", "--drive", "Q:\\"], 75),
])
def test_odd_words_are_refused_in_a_sentence(source: Path, drive: Path, words: Sequence[str], code: int) -> None:
    outcome = windows(*(word.format(source=z(source), SOURCE=z(source).swapcase(), drive=z(drive)) for word in words))
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert outcome.err.startswith("snapback: ")
    assert list(drive.glob("*/2*")) == []


@pytest.mark.needs("wine")
@pytest.mark.parametrize("name", [
    "..\\escaped", "..\\..\\..\\escaped", "C:escaped", "{z}\\escaped", "file:stream", "nul", "com1.txt", "dot.", "blank ",
    "que?tion",
])
def test_a_name_that_windows_takes_for_another_place_leads_nowhere(
        source: Path, drive: Path, tmp_path: Path, name: str) -> None:
    rename_in_manifest(back_up(source, drive) / "SHA256SUMS", PHOTO, name.format(z=z(tmp_path)))
    before = files_in(tmp_path)
    outcome = windows("restore", "latest", "--drive", z(drive), "--to", z(tmp_path / "back"))
    assert outcome.code != 0, outcome
    written = files_in(tmp_path) - before
    assert {path for path in written if not path.startswith(f"back/{source.name}/")} == set()
    assert {Path(path).name for path in written} <= {path.name for path in source.rglob("*")} - {Path(PHOTO).name}


def rename_in_manifest(manifest: Path, path: str, name: str) -> None:
    """Do as an enemy would who wants a file to be restored under a name of his choice: the manifest stays sound."""
    *lines, end = manifest.read_text("utf-8").splitlines()
    (at,) = (nth for nth, line in enumerate(lines) if line.endswith(f"/{path}"))
    folder = lines[at][66:].rpartition("/")[0]
    lines[at - 1] += f" path={snapback.escape(f'{folder}/{name}')}"
    above = "".join(line + "\n" for line in lines).encode()
    facts = json.loads(end[len("# end "):])
    facts["sha256"] = hashlib.sha256(above).hexdigest()
    manifest.write_bytes(above + b"# end " + json.dumps(facts).encode() + b"\n")


@pytest.mark.needs("wine")
def test_a_run_by_settings_copies_what_is_due_and_status_says_so(source: Path, drive: Path, tmp_path: Path) -> None:
    found = snapback.parse_marker((drive / snapback.MARKER).read_text(encoding="utf-8"))
    assert found
    settings = tmp_path / "snapback.ini"
    lines = ["[backup]", "sources =", f"    {z(source)}", "exclude =", "    *.exe", f"[drive {found.id}]", f"path = {z(drive)}", ""]
    settings.write_bytes("\r\n".join(lines).encode("utf-16"))  # as the old Notepad saved text
    for made in (1, 1):
        outcome = windows("backup", "--if-due", "-q", "--config", z(settings))
        assert (outcome, len(dates(set_of(drive)))) == (Result(0, "", ""), made)
    (copied,) = [path for path in set_of(drive).glob("2*/*") if path.is_dir()]
    assert files_in(copied) == files_in(source) - {"Фото 2023/program.exe"}
    status = windows("status", "--config", z(settings))
    assert (status.code, status.out.partition(":")[0]) == (0, "Safe"), status


@pytest.mark.needs("wine")
def test_a_task_starts_a_windows_path(source: Path, drive: Path) -> None:
    outcome = windows("schedule", "--with", "task", "--json", z(source), z(drive))
    words = json.loads(outcome.out)["command"]
    assert outcome.code == 0
    assert (words[1:4], words[4:6]) == (["-I", z(SNAPBACK), "backup"], [z(source), z(drive)])


# --- What Windows forbids, looked for on Linux ------


def open_below(path: str) -> List[str]:
    """List what this process has open at a path, or below it."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            place = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the one that listed them
            continue
        if (place + "/").startswith(path + "/"):
            found.append(place)
    return found


@pytest.fixture
def as_strict_as_windows(monkeypatch: pytest.MonkeyPatch) -> Dict[str, int]:
    """Make it work by paths, as on Windows, and fail where it renames or removes what is open; count the calls."""
    calls = {"replace": 0, "unlink": 0, "rmdir": 0}

    def strict(name: str, ways: int) -> Callable[..., None]:
        call = getattr(os, name)

        def checked(*paths: str, **how: Any) -> None:
            for path in paths[:ways]:
                assert open_below(path) == [], f"{name} of what is open"
            calls[name] += 1
            call(*paths, **how)
        return checked

    monkeypatch.setattr(snapback, "HAS_DIR_FD", False)
    for name, ways in (("replace", 2), ("unlink", 1), ("rmdir", 1)):
        monkeypatch.setattr(os, name, strict(name, ways))
    return calls


@pytest.mark.needs("linux")
def test_nothing_open_is_renamed_or_removed(
        source: Path, tmp_path: Path, as_strict_as_windows: Dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    argv = ("backup", "--init", "--set", "box", source, drive)
    assert ask(*argv).code == 0
    (date,) = dates(drive / "box")
    shutil.copytree(drive / "box" / date, drive / "box" / "2026-01-01_000000.incomplete")
    (source / LETTER).write_bytes(b"changed")
    (source / PHOTO).write_bytes(text_of("cannot be read to its end", 500_000))
    fail_in_the_middle(monkeypatch, PHOTO.rpartition("/")[2])
    outcome = ask(*argv)
    assert outcome.code == 3, outcome
    copy = drive / "box" / dates(drive / "box")[-1] / source.name
    copy.joinpath(LETTER).write_bytes(b"CHANGED")
    assert ask("verify", "--drive", drive).code == 4
    assert ask("restore", "latest", "--drive", drive, "--to", tmp_path / "back").code == 4
    (tmp_path / "back" / source.name / "empty").write_bytes(b"in the way")
    assert ask("restore", "latest", "--merge", "--drive", drive, "--to", tmp_path / "back").code == 4
    assert all(as_strict_as_windows.values()), as_strict_as_windows


def fail_in_the_middle(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a file of a source end in an error when something of it has been read."""
    read_source = snapback.read_source

    def failing(fd: int, *rest: Any) -> Iterator[Any]:
        for nth, piece in enumerate(read_source(fd, *rest)):
            if nth and os.readlink(f"/proc/self/fd/{fd}").endswith(name):
                raise snapback.SourceError("its disk cannot read it")
            yield piece

    monkeypatch.setattr(snapback, "read_source", failing)


@pytest.mark.needs("linux")
def test_a_file_gets_its_time_after_it_was_closed(
        source: Path, tmp_path: Path, as_strict_as_windows: Dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    utime = os.utime
    early: List[str] = []

    def watched(path: Any, *times: Any, **how: Any) -> None:
        early.extend(place for place in open_below(os.path.realpath(path)) if os.path.isfile(place))
        utime(path, *times, **how)

    monkeypatch.setattr(os, "utime", watched)  # which is in no os.supports_fd: the system takes a path only
    drive = tmp_path / "drive"
    drive.mkdir()
    assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    assert ask("restore", "latest", "--drive", drive, "--to", tmp_path / "back").code == 0
    assert early == []
    assert contents(tmp_path / "back" / source.name) == contents(source)


@pytest.mark.parametrize(("said", "meant"), [
    ("C:\\Users\\Anna\\Documents\\x\\y.txt", "Documents/x/y.txt"),
    ("c:/users/anna/documents/x/y.txt", "Documents/x/y.txt"),
    ("C:\\Users\\Anna\\Documents\\", "Documents"),
    ("C:\\Users\\Anna\\Documents.old", "C:\\Users\\Anna\\Documents.old"),
    ("Documents/x", "Documents/x"),
    ("D:\\x", "disk/x"),
    ("\\\\nas\\anna\\x", "share/x"),
])
def test_a_path_as_it_was_on_a_windows_computer_is_understood_everywhere(said: str, meant: str) -> None:
    sources = {"Documents": "C:\\Users\\Anna\\Documents", "disk": "D:\\", "share": "\\\\nas\\anna"}
    assert snapback.path_in_copy(said, sources) == meant
