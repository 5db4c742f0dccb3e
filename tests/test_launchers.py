"""What a double click starts: Snapback.cmd by cmd.exe under Wine, Snapback.command by the shells that there are, a desktop's entry.

Wine's cmd expands a `%` in its own path a second time, which Windows does not do; so no folder here has one for it.
It also knows no NoDefaultCurrentDirectoryInExePath. A wineserver that somebody else has started does not see this session's
temporary folders: give it a WINEPREFIX of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import pytest

import snapback
from conftest import WINE_PYTHON, WINE_WORLD
from trees import ask

LAUNCHERS = {"Snapback.cmd": snapback.WINDOWS_LAUNCHER_TEXT, "Snapback.command": snapback.UNIX_LAUNCHER_TEXT}
ARGUMENTS = ["restore", "a & b", "(c) ^ !d!", "it's", "*", "", "é я", "e&f"]
SENTENCES = {
    "none": "There is none on this ", "old": "is older than that.", "store": "only a link to the Microsoft Store",
    "beside": "does not start on this PC", "shim": "only offers to install tools for developers"}


# --- The texts, on any system ------


def test_each_launcher_is_plain_text_that_its_system_reads() -> None:
    windows, unix = (text.encode("ascii") for text in LAUNCHERS.values())
    assert windows.count(b"\n") == windows.count(b"\r\n") == windows.count(b"\r")
    assert b"\r" not in unix
    assert unix.startswith(b"#!/bin/sh\n")
    assert max(map(len, windows.splitlines())) < 200


def test_cmd_takes_paths_as_they_are() -> None:
    lines = snapback.WINDOWS_LAUNCHER_TEXT.splitlines()
    begin = lines.index("setlocal EnableExtensions DisableDelayedExpansion")
    guard = lines.index('set "NoDefaultCurrentDirectoryInExePath=1"')
    started = min(number for number, line in enumerate(lines) if "%RUN%" in line or line.startswith(("call", "for")))
    assert begin < guard < started
    for line in lines:
        for place in re.finditer(r"%(~dp0|HERE%)", line):
            assert line[: place.start()].count('"') % 2 == 1, f"outside of quotes: {line}"
        if line.startswith(("call ", "for ")):
            assert not re.search("HERE|RUN|%[*~]", line.replace('"%%~$PATH:P"', "")), f"expanded twice: {line}"
        assert ("snapback.py" in line and "%RUN%" in line) == (" -I " in line), f"Python would look beside the program: {line}"
        assert not re.match(r"(cd|chdir|pushd|chcp|title|color|start)\b", line), f"changes what is not ours: {line}"
        assert not line.endswith("("), f"a block, which a bracket in a path would end: {line}"
    labels = {line for line in lines if line.startswith(":")}
    assert {f":{name}" for name in re.findall(r"(?:goto|call) :?([a-z]+)", "\n".join(lines)) if name not in ("set", "exit")} == labels


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_says_what_to_do_without_python(name: str) -> None:
    said = LAUNCHERS[name]
    assert [word in said for word in ("https://www.python.org/downloads/", "READ-ME-FIRST.txt", "Nothing was changed", name)] == [True] * 4
    assert ('folder "python" beside Snapback.cmd' in said) == (name == "Snapback.cmd")


def test_init_puts_launchers_on_the_drive_and_later_runs_renew_them(drive: Path, tmp_path: Path) -> None:
    assert ask("init", drive).code == 0
    assert {name: (drive / name).read_bytes().decode() for name in LAUNCHERS} == LAUNCHERS
    if os.name == "posix":
        assert [stat.S_IMODE((drive / name).stat().st_mode) for name in LAUNCHERS] == [0o644, 0o755]
    windows, unix = LAUNCHERS
    (drive / windows).write_bytes(LAUNCHERS[windows].replace("\r\n", "\n").encode())  # which cmd reads wrong
    (drive / unix).write_text(snapback.UNIX_LAUNCHER_TITLE + ", as an older version wrote it\n")
    (tmp_path / "source").mkdir()
    outcome = ask("backup", tmp_path / "source", drive)
    assert (outcome.code, outcome.err) == (0, "")
    assert {name: (drive / name).read_bytes().decode() for name in LAUNCHERS} == LAUNCHERS


# --- Snapback.command, by the shells that there are ------

SHELLS = ["dash", "bash --posix", "busybox sh"]
FOLDERS = ["a b", "a & b; $HOME `id` $(id)", "100% %d", 'it\'s "quoted" (1)', "new\nline\n", "-n", "é я 日本", "back\\slash\\", "*", "!x!"]
GOOD = r"""#!/bin/sh
[ "$1" != -E ] || exit 42
printf '%s\0' "$0" "$@"
exit 7
"""
FAKE = """#!/bin/sh
[ "$1$2" != -E-c ] || exec {real} -E -c "import sys; sys.version_info = {version}; $3"
echo "python {version} was started"
exit 7
"""


class Computer:
    """Folders that the search path leads to, one before the other, with programs that stand in for others."""

    def __init__(self, base: Path) -> None:
        self.path: List[Path] = []
        self.base = base

    def add(self, programs: Dict[str, Optional[str]]) -> Path:
        """Add a folder of programs; None: there is something of that name that cannot be started."""
        folder = self.base / f"tools {len(self.path)}"
        folder.mkdir()
        self.path.append(folder)
        for name, text in programs.items():
            (folder / name).write_text(text or "not a program")
            (folder / name).chmod(0o755 if text else 0o644)
        return folder

    def world(self) -> Dict[str, str]:
        """Give the variables of this computer."""
        return {"PATH": ":".join(map(str, self.path)), "HOME": str(self.base)}


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path)


def place(folder: Path) -> Path:
    """Put Snapback.command and something in the program's place into a folder."""
    folder.mkdir(parents=True)
    (folder / "snapback.py").write_text("")
    (folder / "Snapback.command").write_text(snapback.UNIX_LAUNCHER_TEXT)
    (folder / "Snapback.command").chmod(0o755)
    return folder / "Snapback.command"


def words_of(shell: str) -> List[str]:
    """Give the words that start a shell, whatever the search path is then."""
    program, *rest = shell.split()
    found = shutil.which(program)
    if not found:
        pytest.skip(f"there is no {program}")
    return [found, *rest]


def double_click(words: Sequence[str], world: Dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, env=world, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60)


def version(number: Tuple[int, int, int]) -> str:
    """Give a program that says it were that Python."""
    return FAKE.format(real=sys.executable, version=number)


posix = pytest.mark.skipif(os.name != "posix", reason="a shell is needed")


@posix
@pytest.mark.parametrize("shell", SHELLS)
def test_it_starts_the_program_beside_it_from_any_folder(shell: str, computer: Computer, tmp_path: Path) -> None:
    python = str(computer.add({"python3": GOOD}) / "python3")
    for name in FOLDERS:
        launcher = place(tmp_path / "drive" / name)
        ways = {
            launcher.parent: [([*words_of(shell), "Snapback.command"], "."), (["./Snapback.command"], ".")],
            tmp_path: [([*words_of(shell), str(launcher)], str(launcher.parent)),
                       ([*words_of(shell), f"drive/{name}/Snapback.command"], f"./drive/{name}")],
        }
        for cwd, (way, other) in ways.items():
            for words, here in (way, other):
                done = double_click([*words, *ARGUMENTS], computer.world(), cwd)
                given = [python, "-I", f"{here}/snapback.py".replace("/./", "/"), *ARGUMENTS]
                assert (done.returncode, done.stderr) == (7, ""), (words, done)
                assert [word.replace("/./", "/") for word in done.stdout.split("\0")[:-1]] == given, words


@posix
@pytest.mark.parametrize("shell", SHELLS)
def test_it_takes_the_first_python_that_is_new_enough(shell: str, computer: Computer, tmp_path: Path) -> None:
    launcher = place(tmp_path / "drive")
    (computer.add({"python3": None, "python": version((2, 7, 18))}) / "unrelated").mkdir()
    (computer.add({}) / "python3").mkdir()
    computer.add({"python3": "#!/bin/sh\nexit 1\n"})
    computer.add({"python3": "#!/no such interpreter\n"})
    computer.add({"python3": version((3, 7, 17))})
    done = double_click([*words_of(shell), str(launcher), "status"], computer.world(), tmp_path)
    assert (done.returncode, done.stdout, SENTENCES["old"] in done.stderr) == (1, "", True), done
    computer.add({"python": version((3, 8, 0))})
    done = double_click([*words_of(shell), str(launcher), "status"], computer.world(), tmp_path)
    assert (done.returncode, done.stdout) == (7, "python (3, 8, 0) was started\n"), done
    computer.add({"python3": version((3, 10, 1))})
    done = double_click([*words_of(shell), str(launcher), "status"], computer.world(), tmp_path)
    assert (done.returncode, done.stdout) == (7, "python (3, 10, 1) was started\n"), done


@posix
@pytest.mark.parametrize("shell", SHELLS)
def test_without_python_it_says_what_to_do(shell: str, computer: Computer, tmp_path: Path) -> None:
    launcher = place(tmp_path / "drive")
    (launcher.parent / "python3").write_text(GOOD)
    (launcher.parent / "python3").chmod(0o755)
    computer.path = [Path("."), Path("drive"), tmp_path / "missing"]
    for cwd in (launcher.parent, tmp_path):  # a program on the drive is never one that the search path leads to
        done = double_click([*words_of(shell), str(launcher)], {**computer.world(), "PATH": ":".join(map(str, ["", *computer.path]))}, cwd)
        assert (done.returncode, done.stdout, SENTENCES["none"] in done.stderr, "python.org" in done.stderr) == (1, "", True, True), done
    (launcher.parent / "snapback.py").unlink()
    done = double_click([*words_of(shell), str(launcher)], computer.world(), tmp_path)
    assert (done.returncode, done.stdout, "snapback.py does not lie beside" in done.stderr) == (1, "", True), done


@pytest.mark.needs("linux")
@pytest.mark.parametrize("shell", SHELLS)
def test_apples_offer_of_developer_tools_is_not_started(shell: str, computer: Computer, tmp_path: Path) -> None:
    if not os.path.exists("/usr/bin/python3") or os.path.exists("/usr/bin/python"):
        pytest.skip("this /usr/bin is not like Apple's")
    launcher = place(tmp_path / "drive")
    (launcher.parent / "snapback.py").write_text("print('started')")
    for folder, text in ((launcher.parent, "echo obeyed >>told"), (tmp_path, "echo 'xcode-select: error: no developer tools' >&2\nexit 2")):
        (folder / "xcode-select").write_text(f"#!/bin/sh\n{text}\n")
        (folder / "xcode-select").chmod(0o755)
    computer.path = [Path("."), Path("/usr/bin/")]
    done = double_click([*words_of(shell), str(launcher)], computer.world(), launcher.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", ""), done
    assert not (launcher.parent / "told").exists()  # what a stranger's drive has for that
    launcher.write_text(launcher.read_text().replace("/usr/bin/xcode-select", str(tmp_path / "xcode-select")))
    done = double_click([*words_of(shell), str(launcher)], computer.world(), tmp_path)
    assert (done.returncode, done.stdout, SENTENCES["shim"] in done.stderr) == (1, "", True), done
    (tmp_path / "xcode-select").write_text("#!/bin/sh\n[ \"$*\" = -p ] && echo /Library/Developer/CommandLineTools\n")
    done = double_click([*words_of(shell), str(launcher)], computer.world(), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", ""), done


@contextlib.contextmanager
def terminal() -> Iterator[Tuple[int, int]]:
    """Lend both ends of a terminal: where a person types, and what a program reads."""
    import pty  # here, because Windows has none

    typing, reading = pty.openpty()
    try:
        yield typing, reading
    finally:
        os.close(typing)
        os.close(reading)


def wait_for(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """Read what a process prints until a word is among it."""
    assert process.stdout
    said = b""
    while word not in said:
        assert select.select([process.stdout], [], [], 60)[0] or process.kill(), said
        more = os.read(process.stdout.fileno(), 1000)
        assert more, (said, process.wait())
        said += more
    return said


PROMPT = b"Press Return to close this window. "


@posix
@pytest.mark.parametrize("shell", SHELLS)
def test_a_window_stays_open_until_it_was_read(shell: str, computer: Computer, tmp_path: Path) -> None:
    launcher = place(tmp_path / "drive")
    for good, code in ((True, 7), (False, 1)):
        if good:
            computer.add({"python3": GOOD})
        else:
            computer.path.clear()
        with terminal() as (typing, reading):
            with subprocess.Popen([*words_of(shell), str(launcher)], env=computer.world(), stdin=reading, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT) as process:
                said = wait_for(process, PROMPT)
                assert ((b"snapback.py\0" if good else b"cannot start") in said, process.poll()) == (True, None), said
                os.write(typing, b"\n")
                assert process.wait(60) == code
            done = subprocess.run([*words_of(shell), str(launcher), "status"], env=computer.world(), stdin=reading, capture_output=True,
                                  timeout=20)
            assert (done.returncode, PROMPT in done.stdout) == (code, False)  # who gives arguments has a window already


@posix
@pytest.mark.parametrize("shell", SHELLS)
def test_ctrl_c_ends_the_program_and_not_its_window(shell: str, computer: Computer, tmp_path: Path) -> None:
    waits = ("#!/bin/sh\n[ $1 != -E ] || exit 42\ntrap 'echo ended; exit 130' INT\necho ready\n"
             f"while :; do {shutil.which('sleep')} 0.01; done\n")
    launcher = place(tmp_path / "drive")
    computer.add({"python3": waits})
    with terminal() as (typing, reading), subprocess.Popen(
            [*words_of(shell), str(launcher)], env=computer.world(), stdin=reading, stdout=subprocess.PIPE, start_new_session=True,
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)) as process:  # tests in the background ignore it
        wait_for(process, b"ready")
        os.killpg(process.pid, signal.SIGINT)
        assert b"ended" in wait_for(process, PROMPT)
        os.write(typing, b"\n")
        assert process.wait(60) == 130


@posix
def test_the_program_itself_answers(drive: Path, tmp_path: Path) -> None:
    assert ask("init", drive).code == 0
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    done = double_click([str(drive / "Snapback.command"), "--version"], {"PATH": str(tools)}, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"snapback {snapback.__version__}\n", "")


# --- The entry among the applications of a Linux desktop ------


@pytest.mark.needs("desktop-file-validate", "gio")
def test_a_desktop_starts_the_program_in_a_terminal(computer: Computer, home: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    # GLib takes the first terminal that it knows and finds; all of them take the program after one word.
    tools = computer.add({"xterm": "#!/bin/sh\nshift\n\"$@\"\n", "gnome-terminal": "#!/bin/sh\nshift\n\"$@\"\n"})
    # GLib does not find a program with a % in its own path; that is Python, whose path has none.
    python = computer.add({"python3": f"#!/bin/sh\nprintf '%s\\0' \"$0\" \"$@\" > '{report}.new' && mv '{report}.new' '{report}'\n"})
    for name in [*(name for name in FOLDERS if "\n" not in name), "a=b", "%f %%", "\\$x \\\\ \\\"", "~ | < >"]:
        words = [str(python / "python3"), "-I", f"/home/{name}/snapback.py", name]
        assert snapback.install_desktop_entry(words) == "~/.local/share/applications/snapback.desktop"
        entry = str(home / ".local/share/applications/snapback.desktop")
        checked = subprocess.run(["desktop-file-validate", entry], capture_output=True, text=True)
        assert (checked.returncode, checked.stdout) == (0, ""), name
        started = subprocess.run(["gio", "launch", entry], capture_output=True, text=True,
                                 env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(home)})
        assert (started.returncode, started.stderr) == (0, ""), name
        for _ in range(500):
            if report.exists():
                break
            time.sleep(0.01)
        assert report.read_text().split("\0")[:-1] == words
        report.unlink()


def test_an_entry_of_somebody_elses_is_left_alone(home: Path) -> None:
    entry = home / ".local/share/applications/snapback.desktop"
    entry.parent.mkdir(parents=True)
    entry.write_text("[Desktop Entry]\nName=mine\n")
    with pytest.raises(snapback.SnapbackError, match="left alone"):
        snapback.install_desktop_entry(["/usr/bin/python3"])
    assert entry.read_text() == "[Desktop Entry]\nName=mine\n"
    with pytest.raises(snapback.UsageError, match="line break"):
        snapback.install_desktop_entry(["/home/anna/a\nExec=evil"])


# --- Snapback.cmd, by Wine's cmd ------

WINDOWS_FOLDERS = ["a b", "a & b", "(c) d", "e)&(f", "!g!", "it's", "é я 日本", "h^i", "j=k;l,m", "[n]{o}~$@#+`", "a & b (c) ^d !e! 'f' é"]
TELLS = "import json, sys; print(json.dumps([sys.flags.isolated, sys.argv])); sys.exit(7)\n"
DRIVER = r"""
import json, os, subprocess, sys
for words, path in json.loads(sys.argv[1]):
    here = os.path.dirname(sys.executable)
    system = os.path.expandvars(r"%SystemRoot%\system32")
    path = {"full": here, "none": "", "store": here + r"\store", "pyonly": here + r"\pyonly"}[path]
    done = subprocess.run('cmd.exe /c "' + words + '"', env={**os.environ, "PATH": path + ";" + system},
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    print(json.dumps([done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")]))
"""


def z(path: object) -> str:
    """Say how Windows calls a path of this machine."""
    return "Z:" + str(path).replace("/", "\\")


def on_windows(*runs: Tuple[str, str]) -> List[Any]:
    """Let cmd carry out command lines, each with what the search path leads to: full, none, store, pyonly.

    Gives of each the exit code, what it printed and what it complained of. One Python starts them all, as Explorer does it.
    """
    done = subprocess.run([*WINE_PYTHON, "-c", DRIVER, json.dumps(runs)], input=b"", capture_output=True, env=WINE_WORLD, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def world_of_four() -> None:
    """Skip where the Windows Python has not beside it what stands in for other computers."""
    looks = "import os, sys; print(sum(os.path.exists(os.path.dirname(sys.executable) + name) for name in ('/store', '/pyonly')))"
    if subprocess.run([*WINE_PYTHON, "-c", looks], input=b"", capture_output=True, env=WINE_WORLD).stdout.strip() != b"2":
        pytest.skip("beside that Windows Python are no folders `store` and `pyonly`")


def windows_place(folder: Path, program: str = TELLS) -> str:
    """Put Snapback.cmd and something in the program's place into a folder; give what cmd calls it, in quotes."""
    folder.mkdir(parents=True)
    (folder / "snapback.py").write_text(program)
    (folder / "Snapback.cmd").write_bytes(snapback.WINDOWS_LAUNCHER_TEXT.encode())
    return f'"{z(folder)}\\Snapback.cmd"'


@pytest.mark.needs("wine")
@pytest.mark.usefixtures("world_of_four")
def test_cmd_starts_it_by_whatever_python_there_is(tmp_path: Path) -> None:
    words = windows_place(tmp_path / "BLUE & STICK")
    cases = ("full", "none", "store", "pyonly")
    found = dict(zip(cases, on_windows(*((f"{words} status", path) for path in cases))))
    for code, out, err in (found["full"], found["pyonly"]):
        assert (code, json.loads(out), err) == (7, [1, [f"{z(tmp_path)}\\BLUE & STICK\\snapback.py", "status"]], "")
    for path in ("none", "store"):
        code, out, err = found[path]
        assert (code, out, [name for name, text in SENTENCES.items() if text in err]) == (1, "", [path]), found[path]
        assert ("python.org" in err, "READ-ME-FIRST.txt" in err) == (True, True)


@pytest.mark.needs("wine")
def test_cmd_starts_it_from_any_folder_with_its_arguments_as_they_are(tmp_path: Path) -> None:
    given = " ".join(f'"{word}"' for word in ARGUMENTS)
    runs = [(f"{windows_place(tmp_path / name)} {given}", "full") for name in WINDOWS_FOLDERS]
    for name, (code, out, err) in zip(WINDOWS_FOLDERS, on_windows(*runs)):
        assert (code, err) == (7, ""), (name, out, err)
        assert json.loads(out) == [1, [f"{z(tmp_path)}\\{name}\\snapback.py", *ARGUMENTS]]


@pytest.fixture
def share(tmp_path: Path) -> Iterator[str]:
    r"""A folder as \\server\share, for as long as a test runs."""
    unc = Path(WINE_WORLD.get("WINEPREFIX") or Path(WINE_WORLD["HOME"]) / ".wine") / "dosdevices" / "unc"
    if unc.is_symlink() or unc.exists():
        pytest.skip(f"there is a {unc}")
    (tmp_path / "network" / "server" / "share").mkdir(parents=True)
    unc.symlink_to(tmp_path / "network")
    yield "\\\\server\\share"
    unc.unlink()


@pytest.mark.needs("wine")
def test_cmd_starts_it_from_a_network_share(share: str, tmp_path: Path) -> None:
    windows_place(tmp_path / "network" / "server" / "share" / "anna & co")
    ((code, out, err),) = on_windows((f'"{share}\\anna & co\\Snapback.cmd" list', "full"))
    assert (code, err, json.loads(out)) == (7, "", [1, [f"{share}\\anna & co\\snapback.py", "list"]])


def windows_python() -> Path:
    """Give the folder of the Windows Python, as this machine calls it."""
    said = subprocess.run([*WINE_PYTHON, "-c", "import sys; print(sys.executable)"], input=b"", capture_output=True, env=WINE_WORLD).stdout
    path = said.decode().strip()
    if not path.startswith("Z:"):
        pytest.skip(f"{path} does not lie on drive Z:")
    return Path(path[2:].replace("\\", "/")).parent


def put_python_beside(folder: Path, changed: str) -> None:
    """Put the Windows Python into the folder `python`; its library first runs what is to be changed in it."""
    real, own = windows_python(), folder / "python"
    (own / "Lib").mkdir(parents=True)
    for path in [*real.iterdir(), *(real / "Lib").iterdir()]:
        if path.name != "Lib":
            (own / path.relative_to(real)).symlink_to(path)
    (own / "Lib" / "sitecustomize.py").write_text(changed)


@pytest.mark.needs("wine")
def test_cmd_takes_the_python_beside_it_first_if_that_is_a_good_one(tmp_path: Path) -> None:
    good, old, broken = (tmp_path / f"{name} & co" for name in ("good", "old", "broken"))
    words = [windows_place(folder) for folder in (good, old, broken)]
    put_python_beside(good, "import sys; sys.argv = ['it is the one beside']")
    put_python_beside(old, "import sys; sys.version_info = (3, 7, 9)")
    (broken / "python").mkdir()
    (broken / "python" / "python.exe").write_text("no program")
    (good / "snapback.py").write_text("import sys; print(sys.executable); sys.exit(7)")
    alone, second, third, fourth, fifth, sixth = on_windows(*((one, path) for path in ("none", "full") for one in words))
    assert alone[:2] == [7, f"{z(good)}\\python\\python.exe\r\n"], alone
    assert fourth[:2] == alone[:2]
    for (code, _out, err), why in ((second, "old"), (third, "beside")):
        assert (code, [name for name, text in SENTENCES.items() if text in err]) == (1, [why]), err
    assert [(code, json.loads(out)[1]) for code, out, _err in (fifth, sixth)] == [
        (7, [f"{z(folder)}\\snapback.py"]) for folder in (old, broken)]


@pytest.mark.needs("wine")
def test_cmd_says_that_the_program_is_missing(tmp_path: Path) -> None:
    words = windows_place(tmp_path / "alone")
    (tmp_path / "alone" / "snapback.py").unlink()
    ((code, out, err),) = on_windows((f"{words} status", "full"))
    assert (code, out, "snapback.py does not lie beside" in err) == (1, "", True), err


@pytest.mark.needs("wine")
def test_cmd_keeps_a_window_open_and_no_pipe(tmp_path: Path) -> None:
    words = windows_place(tmp_path / "a & b", "print('said'); import sys; sys.exit(7)")
    (piped,) = on_windows((words, "full"))
    assert piped == [7, "said\r\n", ""]
    starts = ("import os, subprocess, sys; os.environ['PATH'] += ';' + os.path.dirname(sys.executable); "
              f"sys.exit(subprocess.call('cmd.exe /c \"' + {words!r} + '\"'))")
    with terminal() as (typing, reading), subprocess.Popen(
            [*WINE_PYTHON, "-c", starts], stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=WINE_WORLD) as process:
        said = wait_for(process, b"Press any key")
        assert (b"said" in said, process.poll()) == (True, None)
        os.write(typing, b"\n")
        assert process.wait(60) == 7


@pytest.mark.needs("wine")
def test_a_drive_with_a_python_of_its_own_restores_on_a_pc_without_one(drive: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "letter").write_text("dear")
    assert ask("backup", "--init", tmp_path / "source", drive).code == 0
    real, own = windows_python(), drive / "python"
    own.mkdir()
    for path in (path for path in real.iterdir() if path.is_file() and path.name != "py.exe"):
        (own / path.name).symlink_to(path)
    (dll,) = (path.stem for path in real.glob("python3?*.dll"))
    with zipfile.ZipFile(own / f"{dll}.zip", "w") as library:  # as it is in the embeddable package of python.org
        for path in (real / "Lib").rglob("*.py"):
            library.write(path, path.relative_to(real / "Lib"))
    (own / f"{dll}._pth").write_text(f"{dll}.zip\r\n.\r\n")
    launcher = f'"{z(drive)}\\Snapback.cmd"'
    version, restored = on_windows((f"{launcher} --version", "none"), (f'{launcher} restore latest --to "{z(tmp_path)}\\back"', "none"))
    assert version == [0, f"snapback {snapback.__version__}\r\n", ""]
    assert (restored[0], restored[2], (tmp_path / "back" / "source" / "letter").read_text()) == (0, "", "dear")
