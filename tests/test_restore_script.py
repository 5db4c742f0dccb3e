"""restore.sh: a whole date comes back on a computer without Python, by the shells that there are."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Callable, List

import pytest

from conftest import Mount
from faults import Call, watched
from trees import ask, dates

pytestmark = pytest.mark.needs("linux")
SHELLS = ["dash", "bash --posix", "busybox sh"]
NAMES = ["plain", "a\nb", "c\\d", "e\r", "-n", "* $x `id` \"'%s\\041", "ü/deep er/file", b"f\xff".decode("utf-8", "surrogateescape")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "my source"
    for number, name in enumerate(NAMES):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(name.encode("utf-8", "surrogateescape") * number)
        (made / name).chmod(0o640)
        os.utime(made / name, (1_500_000_000 + number, 1_500_000_000 + number))
    (made / "nothing in it").mkdir()
    (made / "a link").symlink_to("to \\n\nnowhere")
    (made / "to an option").symlink_to("-n")
    return made


@pytest.fixture(params=["complete", "changes"])
def date(request: pytest.FixtureRequest, source: Path, drive: Path) -> Path:
    """The newest of two dates; in one layout most of it lies in the first."""
    for _ in range(2):
        assert ask("backup", "--init", "--set", "box", "--layout", request.param, source, drive).code == 0
        (source / "new since").write_text("new")
    return drive / "box" / dates(drive / "box")[-1]


def give_back(shell: str, date: Path, target: Path, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    words = [*shell.split(), "restore.sh", os.fspath(date.relative_to(cwd)), os.fspath(target)]
    if not shutil.which(words[0]):
        pytest.skip(f"there is no {words[0]}")
    return subprocess.run(words, cwd=cwd, capture_output=True, env={"PATH": os.environ["PATH"]})


def described(top: Path) -> List[object]:
    """Say what files, links and folders there are; of files content, mode and time."""
    found: List[object] = []
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.is_file() and (path.read_bytes(), oct(info.st_mode), int(info.st_mtime))
        found.append((str(path.relative_to(top)), what))
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_a_whole_date_comes_back_without_python(shell: str, date: Path, source: Path, drive: Path, tmp_path: Path) -> None:
    (source / "new since").unlink()
    done = give_back(shell, date, tmp_path / "the target", drive)
    assert (done.returncode, done.stderr) == (0, b""), done
    assert f"OK - {len(NAMES) + 1} files".encode() in done.stdout
    assert (tmp_path / "the target" / source.name / "new since").read_text() == "new"
    (tmp_path / "the target" / source.name / "new since").unlink()
    assert described(tmp_path / "the target" / source.name) == described(source)


@pytest.mark.parametrize("shell", SHELLS)
def test_folders_come_back_with_their_permissions_and_times_and_no_file_as_another_users_program(
        shell: str, source: Path, drive: Path, tmp_path: Path) -> None:
    for name, mode in (("closed", 0o500), ("ours", 0o2775), ("everyone's", 0o1777)):
        (source / name / "in it").mkdir(parents=True)
        (source / name / "in it" / "file").write_text(name)
        os.utime(source / name / "in it", (1_400_000_000, 1_400_000_000))
        (source / name).chmod(mode)
        os.utime(source / name, (1_300_000_000, 1_300_000_000))
    (source / "plain").chmod(0o4751)
    assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    done = give_back(shell, drive / "box" / dates(drive / "box")[-1], tmp_path / "back", drive)
    assert (done.returncode, done.stderr) == (0, b""), done
    back = tmp_path / "back" / source.name
    assert [oct((back / name).stat().st_mode & 0o7777) for name in ("closed", "ours", "everyone's", "plain")] == [
        "0o500", "0o775", "0o1777", "0o751"]
    assert [int((back / name).stat().st_mtime) for name in ("closed", "closed/in it")] == [1_300_000_000, 1_400_000_000]


@pytest.mark.parametrize("shell", SHELLS)
def test_many_files_of_a_folder_are_copied_by_few_calls_and_each_is_judged_by_itself(
        shell: str, source: Path, drive: Path, tmp_path: Path) -> None:
    for nth in range(250):
        (source / f"{nth:03}").write_text(f"number {nth}")
        (source / f"{nth:03}").chmod(0o600 if nth < 200 else 0o640)
        os.utime(source / f"{nth:03}", ns=(0, 1_500_000_000_123_456_789 + nth))
    assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    for nth in range(0, 250, 3):  # of some the drive keeps other times and permissions than the list
        stored = next(drive.glob(f"box/2*/*/{nth:03}"))
        stored.chmod(0o644)
        os.utime(stored, ns=(0, 10**18))
    (tmp_path / "programs").mkdir()
    for name in ("cp", "chmod", "touch", "stat", "sha256sum"):
        (tmp_path / "programs" / name).write_text(f'#!/bin/sh\necho {name} >> "{tmp_path}/calls"\nexec {shutil.which(name)} "$@"\n')
        (tmp_path / "programs" / name).chmod(0o755)
    os.environ["PATH"], before = f"{tmp_path}/programs:{os.environ['PATH']}", os.environ["PATH"]
    try:
        done = give_back(shell, drive / "box" / dates(drive / "box")[-1], tmp_path / "back", drive)
    finally:
        os.environ["PATH"] = before
    assert (done.returncode, done.stderr) == (0, b""), done
    assert described(tmp_path / "back" / source.name) == described(source)
    times = [(tmp_path / "back" / source.name / f"{nth:03}").stat().st_mtime_ns for nth in range(250)]
    assert times == [1_500_000_000_123_456_789 + nth for nth in range(250)]
    if shell != "busybox sh":  # which has all of them in itself
        assert (tmp_path / "calls").read_text().split().count("cp") < 20
    hurt = [next(drive.glob(f"box/2*/*/{nth:03}")) for nth in (7, 8, 99, 100)]
    hurt[0].write_text("NUMBER 7")
    hurt[1].unlink()
    hurt[2].unlink()
    os.mkfifo(hurt[2])
    writer = threading.Thread(target=hurt[2].write_text, args=["number 99"])  # or whoever reads it waits for ever
    writer.start()
    hurt[3].write_text("NUMBER 100")
    done = give_back(shell, drive / "box" / dates(drive / "box")[-1], tmp_path / "again", drive)
    reader = os.open(hurt[2], os.O_RDONLY | os.O_NONBLOCK)
    writer.join()
    os.close(reader)
    said = sorted(line.partition(" my source/")[0::2] for line in done.stderr.decode().splitlines() if " my source/" in line)
    assert (done.returncode, said) == (4, [("DAMAGED:", "007"), ("DAMAGED:", "100"), ("MISSING:", "008"), ("MISSING:", "099")]), done
    assert len(list((tmp_path / "again" / source.name).glob("[0-9][0-9][0-9]"))) == 248


def test_where_one_call_for_many_files_fails_each_is_copied_by_itself(source: Path, drive: Path, tmp_path: Path) -> None:
    assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "cp").write_text(f'#!/bin/sh\n{shutil.which("cp")} "$@"\n[ $# -lt 5 ]\n')
    (tmp_path / "programs" / "cp").chmod(0o755)
    words = ["dash", "restore.sh", f"box/{dates(drive / 'box')[-1]}", os.fspath(tmp_path / "back")]
    done = subprocess.run(words, cwd=drive, capture_output=True, env={"PATH": f"{tmp_path}/programs:{os.environ['PATH']}"})
    assert (done.returncode, done.stderr) == (0, b""), done
    assert described(tmp_path / "back" / source.name) == described(source)


@pytest.mark.parametrize("shell", SHELLS)
def test_names_that_the_drive_refuses_come_back_too(shell: str, source: Path, drive: Path, tmp_path: Path) -> None:
    (source / "and a: folder?").mkdir()
    (source / "and a: folder?" / "A").write_bytes(b"A")
    (source / "and a: folder?" / "a").write_bytes(b"a")
    assert ask("init", drive).code == 0
    marker = drive / "snapback-marker.txt"
    marker.write_text(marker.read_text().replace("names: any", "names: portable"))
    assert ask("backup", "--set", "box", "--layout", "changes", source, drive).code == 0
    assert not [path for path in drive.rglob("*") if ":" in path.name or "\\" in path.name]
    done = give_back(shell, drive / "box" / dates(drive / "box")[-1], tmp_path / "back", drive)
    assert (done.returncode, done.stderr) == (0, b""), done
    assert described(tmp_path / "back" / source.name) == described(source)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_missing_or_damaged_is_said(shell: str, date: Path, source: Path, drive: Path, tmp_path: Path) -> None:
    stored = {path.name: path for path in (drive / "box").rglob("*") if path.is_file() and "my source" in path.parts}
    with open(stored["c\\d"], "r+b") as file:
        file.write(b"X")
    stored["-n"].unlink()
    if (date / source.name / "-n").exists():  # each date has it
        (date / source.name / "-n").unlink()
    done = give_back(shell, date, tmp_path / "back", drive)
    said = done.stderr.decode()
    assert done.returncode == 4, done
    assert ("DAMAGED: my source/c\\d" in said.replace("\\\\", "\\"), "MISSING: my source/-n" in said) == (True, True), said
    assert (tmp_path / "back" / source.name / "plain").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_date_does_not_have_is_said(shell: str, date: Path, source: Path, drive: Path, tmp_path: Path) -> None:
    (source / "closed now").write_text("closed")

    def refuse(call: Call) -> None:
        if call.name == "open" and call.path == str(source / "closed now"):
            raise PermissionError(errno.EACCES, "not allowed", call.path)
    with watched(refuse):
        assert ask("backup", "--jobs", "1", "--set", "box", source, drive).code == 3
    done = give_back(shell, drive / "box" / dates(drive / "box")[-1], tmp_path / "back", drive)
    assert (done.returncode, done.stderr.splitlines()[-1].startswith(b"NOT COMPLETE")) == (3, True), done
    assert b"not in this date, as it could not be read then: my source/closed now" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_list_that_lacks_files_is_not_called_good_and_the_second_one_serves(shell: str, date: Path, drive: Path, tmp_path: Path) -> None:
    lines = (date / "SHA256SUMS").read_bytes().splitlines(True)
    for nth, hurt in enumerate((lines[:-3], lines[:-1], [*lines[:-3], lines[-1]])):
        (date / "SHA256SUMS").write_bytes(b"".join(hurt))
        done = give_back(shell, date, tmp_path / f"back {nth}", drive)
        assert (done.returncode, done.stdout, b"the list" in done.stderr) == (4, b"", True), done
    command = next(line.strip() for line in done.stderr.decode().splitlines() if "gzip -dc" in line)
    assert subprocess.run([*shell.split(), "-c", command], cwd=drive).returncode == 0
    assert (date / "SHA256SUMS").read_bytes() == b"".join(lines)
    assert give_back(shell, date, tmp_path / "good", drive).returncode == 0


@pytest.mark.needs("exfat")
def test_no_file_is_written_over_another_where_the_target_takes_their_names_for_one(
        source: Path, drive: Path, mounted: Callable[..., Mount]) -> None:
    for name in ("Twin", "twin", "TWIN"):
        (source / name).write_text(name)
    assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    target = mounted("exfat").path / "back"
    done = give_back("sh", drive / "box" / dates(drive / "box")[-1], target, drive)
    assert (done.returncode, done.stderr.count(b"takes its name for another one")) == (4, 2), done
    assert (target / source.name / "TWIN").read_text() == "TWIN"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_hostile_list_leads_nowhere_else(shell: str, date: Path, drive: Path, tmp_path: Path) -> None:
    listed = (date / "SHA256SUMS").read_bytes().split(b"\n")
    (tmp_path / "secret").write_text("secret")
    own = next(path.relative_to(date) for path in date.rglob("new since"))
    more = [b"# type=dir path=../outside", b"# type=link link=/etc path=/tmp/../outside", b"# type=file mode=0600 path=../outside/gone",
            b"0" * 64 + b"  ../../secret", b"# type=file mode=0600", b"0" * 64 + b"  ../../../secret", b"# type=file mode=0600",
            b"0" * 64 + b"  /etc/passwd", b"# type=link link=.. path=away", b"# type=dir path=away",
            b"# type=dir path=away/outside", b"# type=file mode=0600 path=away/gone",
            b"0" * 64 + b"  " + os.fsencode(own), b"# type=link link=x path=away/link"]  # fmt: skip
    (date / "SHA256SUMS").write_bytes(b"\n".join([*listed[:1], *more, *listed[1:]]))
    before = sorted(tmp_path.iterdir())
    done = give_back(shell, date, tmp_path / "back", drive)
    assert done.returncode == 4
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "back"])
    assert [path for path in (tmp_path / "back").rglob("*") if path.name in ("passwd", "secret", "gone")] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_no_file_that_waits_for_others_is_written_through_a_link_that_comes_after_it(
        shell: str, date: Path, drive: Path, tmp_path: Path) -> None:
    lines = (date / "SHA256SUMS").read_bytes().split(b"\n")
    own = next(path for path in date.rglob("new since"))
    (tmp_path / "victim").mkdir()
    (date / "w").mkdir()
    (date / "w" / "zz").write_bytes(own.read_bytes())
    (date / "shared").symlink_to(tmp_path / "victim")
    (tmp_path / "victim" / "secret").write_bytes(own.read_bytes())
    digest = hashlib.sha256(own.read_bytes()).hexdigest().encode()
    more = [b"# type=file mode=0755 time=1.0", digest + b"  w/zz", b"# type=link link=" + os.fsencode(tmp_path / "victim") + b" path=w",
            b"# type=dir mode=0755 path=shared", b"# type=file mode=0755 time=1.0", digest + b"  shared/secret"]
    (date / "SHA256SUMS").write_bytes(b"\n".join([*lines[:1], *more, *lines[1:]]))
    done = give_back(shell, date, tmp_path / "back", drive)
    assert done.returncode == 4, done
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["secret"]
    assert not (tmp_path / "back" / "shared" / "secret").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_target_that_exists_is_left_alone(shell: str, date: Path, drive: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = give_back(shell, date, tmp_path / "there", drive)
    assert (done.returncode, b"name a new folder" in done.stderr, list((tmp_path / "there").iterdir())) == (2, True, [])
    assert give_back(shell, date.parent, tmp_path / "new", drive).returncode == 2
    assert not (tmp_path / "new").exists()


def test_the_script_is_what_the_readme_says(drive: Path) -> None:
    assert ask("init", drive).code == 0
    text = (drive / "restore.sh").read_text()
    assert text.startswith("#!/bin/sh\n# Brings a whole date back")
    assert subprocess.run(["sh", "-n", os.fspath(drive / "restore.sh")]).returncode == 0
    assert shlex.split("sh restore.sh SET/DATE NEW-FOLDER")[1] in text
