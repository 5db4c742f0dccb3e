"""The recovery page: what it says of a drive, and what a person does with it in a browser without network, server or Python."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shutil
import socket
import stat
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest

import snapback
from conftest import User
from faults import Fault, Hit, watched
from trees import Outcome, ask, ask_at, awkward_tree, dates, new_copy, remove_tree

pytestmark = pytest.mark.needs("linux")

PAGE = "GET-FILES-BACK.html"
LAYOUTS = ["complete", "changes"]
DAY = timedelta(days=1)
BEGAN = datetime(2026, 3, 2, 18, 30, tzinfo=timezone.utc)
HOSTILE: List[bytes] = [
    b"<img src=x onerror=document.title='run'>", b"<!--", b"]]>&lt;", b"javascript:document.title='run'", b"%2e%2e", b"#?",
    b"a#b?c=d&e", b"caf\xe9", b"\xff", b"\xed\xa0\x80", b"new\nline", b"tab\t", b"\r", b"quote'\"`${1}", b"back\\slash", b"..x",
    "\u202e\u2028 x".encode(), b"colon:name", b" lead", b"trail ", "\u00e9t\u00e9 \U0001f600".encode(), b"+plus", b"__proto__",
    b"constructor", b"k kept= x path=y", b"1,2,3", b"$label",
]  # fmt: skip


def listed(a_set: Path, date: str) -> Dict[str, Any]:
    """Read a list as the page does, but without running it."""
    text = (a_set / "page" / f"{date}.js").read_text("utf-8")
    found = re.fullmatch(r"snapback1\((\{.*\})\);\n", text, re.DOTALL)
    assert found
    value = json.loads(found.group(1))
    assert value["date"] == date
    return dict(value)


def below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


class Item(NamedTuple):
    """What a list says of one name: its kind or size, its time, where it lies on the drive."""

    size: str
    time: str
    where: str


def items_of(a_set: Path, date: str) -> Dict[str, Item]:
    """Read of a list what lies where: the other half of the script in the page, in Python."""
    value, above, items = listed(a_set, date), [""], {}  # type: Dict[str, Any], List[str], Dict[str, Item]
    for depth, folder_name, words, *own in value["list"]:
        above[depth:] = [below(above[depth - 1], folder_name) if depth else ""]
        stored, fields = own[0] if own else above[depth], words.split("/") if words else []
        items[above[depth] + "/"] = Item("folder" if words is not None else "closed", "", stored)
        for name, size, time in zip(*[iter(fields)] * 3):
            kind, *rest = size.split(",", 3)
            holder, folder, base = (*rest, "", "", "")[:3]
            folder = value["folders"][int(folder)] if folder else stored
            where = [value["dates"][int(holder)] if holder else date, *filter(None, [folder]), base or name]
            items[below(above[depth], name)] = Item(kind, time, "/".join(where))
    return items


def page_of(one: snapback.SetFacts) -> str:
    """Write the page of a drive with one set."""
    return snapback.page_text(snapback.DriveFacts("drive", (one,), page=True), "the plan")


def facts_of(drive: Path) -> Any:
    """Read what the page tells its own script."""
    text = (drive / PAGE).read_text("utf-8")
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def visible(drive: Path) -> str:
    """Give what a person reads in the page without a script, a blank between any two pieces."""
    body = (drive / PAGE).read_text("utf-8").partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<script.*?</script>|<[^>]*>", " ", body, flags=re.DOTALL)).split())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "Documents"
    (made / "sub" / "deep").mkdir(parents=True)
    for name in ("letter.odt", "sub/report.odt", "sub/deep/note.txt"):
        (made / name).write_text(name)
    return made


def copy_at(number: int, drive: Path, *words: object) -> Outcome:
    """Make a dated copy in the set `box`, so many days after the first."""
    return ask_at(BEGAN + number * DAY, "backup", "--init", "--set", "box", *words, drive)


# --- What each list says ------


def test_the_list_of_each_date_has_all_names_and_says_where_their_bytes_lie(in_memory: Path) -> None:
    """The second date is of the other layout, and most of it lies in the first, some of it in a folder of another name."""
    source, drive = in_memory / "my tree", in_memory / "drive"
    drive.mkdir()
    awkward_tree(source, closed=False)
    new_copy(drive, "--layout", "complete", source, codes=(0, 3))
    (source / "awkward_names").rename(source / "other names")
    new_copy(drive, "--layout", "changes", "--hold-at", "off", source, codes=(0, 3))
    for date in dates(drive / "box"):
        folder, files = snapback.Folder.top(str(drive)).child("box"), 0
        items = items_of(drive / "box", date)
        with snapback.load_manifest(folder, date) as manifest:
            for block in snapback.read_blocks(manifest.lines()):
                assert items.pop(block.path + "/").size == "folder"
                for name, known in block.entries.items():
                    item, words = items.pop(below(block.path, name)), snapback.parse_keywords(known.line)
                    if words["type"] != "file":
                        assert item.size == {"link": "L"}.get(words["type"], "X")
                        continue
                    holder, parts = snapback.stored_place(snapback.parse_hash_line(known.hash_line)[1], date)
                    assert item == (words["size"], words["time"].split(".")[0], "/".join((holder, *parts)))
                    files += 1
        assert (items, files) == ({}, manifest.end["files"])


def test_names_that_a_drive_cannot_hold_lead_to_the_names_that_it_has(tmp_path: Path, drive: Path) -> None:
    source = tmp_path / "Documents"
    (source / "a:b").mkdir(parents=True)
    (source / "a:b" / "c?,d.txt").write_text("text")
    (source / "a:b" / "plain").write_text("text")
    assert ask("init", drive).code == 0
    marker = drive / "snapback-marker.txt"
    marker.write_text(re.sub("names: .*", "names: portable", marker.read_text()))
    for _ in range(2):
        new_copy(drive, "--layout", "changes", source)
    first, second = dates(drive / "box")
    for date in (first, second):
        items = items_of(drive / "box", date)
        assert {items[f"Documents/a:b/{name}"].where for name in ("c?,d.txt", "plain")} == {
            f"{first}/Documents/a%3Ab/c%3F,d.txt", f"{first}/Documents/a%3Ab/plain"}


def test_what_could_not_be_read_is_marked() -> None:
    lines = ["# type=dir mode=0755 path=a", "# type=skipped why=permission\\040denied path=a/b",
             "# type=file mode=0644 uid=1 gid=1 size=3 time=5.000000000 kept=2026-03-01_120000", "0" * 64 + "  ../2026-03-01_120000/a/c",
             "# type=skipped of=dir why=no path=a/d"]  # fmt: skip
    text = "".join(snapback.PageList("2026-03-02_120000").script(["\n".join(lines[:2]), "\n".join(lines[2:])]))
    assert text == ('snapback1({"date":"2026-03-02_120000","list":[\n[0,"",""],\n[1,"a","b/S/"],\n[1,"a","c/3,0/5k"],\n[2,"d",null]],\n'
                    '"dates":["2026-03-01_120000"],"folders":[]});\n')


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_costs_sixty_bytes_at_most(layout: str, tmp_path: Path, drive: Path) -> None:
    """Names of twenty letters, which is more than those of a source tree or of a person's documents have on average."""
    for number in range(3000):
        path = tmp_path / "Documents" / f"folder {number // 20:013}" / f"document {number:06}.odt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number % 7))
    for _ in range(2):
        newest = new_copy(drive, "--layout", layout, tmp_path / "Documents")
    assert (drive / "box" / "page" / f"{newest.name}.js").stat().st_size <= 60 * 3000 < 60 * len(items_of(drive / "box", newest.name))


# --- When it is written, and when it goes ------


def test_the_page_tells_of_each_date_but_no_name_of_a_file_and_its_lists_are_private(source: Path, drive: Path) -> None:
    assert copy_at(0, drive, source).code == 0
    (source / "more.txt").write_text("12345")
    assert copy_at(1, drive, source).code == 0
    text = (drive / PAGE).read_text("utf-8")
    assert stat.S_IMODE((drive / PAGE).stat().st_mode) == 0o644
    without_plan = re.sub('(?s)<section id="plan".*?</section>', "", text)     # its examples have names that anybody's files may have
    assert len(without_plan) < len(text)
    assert [name for name in ("letter", "report", "Documents/", "more.txt", str(source)) if name in without_plan] == []
    assert stat.S_IMODE((drive / "box" / "page").stat().st_mode) == 0o700
    first, second = dates(drive / "box")
    assert sorted(os.listdir(drive / "box" / "page")) == [f"{first}.js", f"{second}.js"]
    words = ("name", "files", "bytes", "new", "changed", "gone", "listed")
    assert [tuple(one[word] for word in words) for one in facts_of(drive)[0]["dates"]] == [
        (first, 3, 41, 3, 0, 0, True), (second, 4, 46, 1, 0, 0, True)]
    for said in ("2026-03-02 18:30:00 3 41 B 3 0 0 not yet", "2026-03-03 18:30:00 4 46 B 1 0 0 not yet", "IF YOU SUSPECT RANSOMWARE"):
        assert said in visible(drive)


def test_checks_pins_holds_and_damage_are_told_at_once(tmp_path: Path, drive: Path) -> None:
    source = tmp_path / "Documents"
    source.mkdir()
    for number in range(60):
        (source / f"{number}").write_text(f"{number}")
    copy_at(0, drive, source)
    remove_tree(source)
    source.mkdir()
    (source / "left").write_text("left")
    assert copy_at(1, drive, source).code == 5
    first, second = dates(drive / "box")

    def told(*words: object, code: int) -> List[Tuple[bool, bool, int, str]]:
        assert ask_at(BEGAN + 2 * DAY, *words, "--drive", drive).code == code
        return [(one["hold"], one["pinned"], one["damaged"], one["checked"][:10]) for one in facts_of(drive)[0]["dates"]]

    assert told("pin", first, "--note", "a secret", code=0) == [(False, True, 0, ""), (True, False, 0, "")]
    assert "a secret" not in (drive / PAGE).read_text("utf-8")
    assert told("accept", code=0) == [(False, True, 0, ""), (False, False, 0, "")]
    assert told("unpin", first, code=0) == [(False, False, 0, ""), (False, False, 0, "")]
    assert told("verify", second, code=0) == [(False, False, 0, ""), (False, False, 0, "2026-03-04")]
    (drive / "box" / first / "Documents" / "7").chmod(0o600)
    (drive / "box" / first / "Documents" / "7").write_text("8")
    assert told("verify", code=4) == [(False, False, 1, "2026-03-04"), (False, False, 0, "2026-03-04")]
    assert ("Last checks: 2026-03-04 18:30 everything read: 1 damaged file; 2026-03-04 18:30 one date read: nothing damaged."
            ) in visible(drive)


def test_a_history_that_says_anything_else_is_passed_over(source: Path, drive: Path) -> None:
    copy_at(0, drive, source)
    lines = ['{"what": "verify"}', '{"what": "verify", "time": 5}', '["verify"]', "verify",
             '{"what": ["verify"], "time": "2026-03-05T10:00:00Z"}',
             '{"what": "verify", "time": "2026-03-05T10:00:00+00:00", "sample": "10%", "snapshots": ["2026-03-02_183000"]}',
             '{"what": "rehearse", "time": "2026-03-06T10:00:00+00:00", "damaged": "<b>"}',
             '{"what": "repair", "time": "2026-03-07T10:00:00+00:00", "snapshots": 5, "left": true, "complete": 1}']  # fmt: skip
    (drive / "box" / "history.jsonl").write_text("\n".join(lines))
    assert ask("pin", "latest", "--drive", drive).code == 0
    assert facts_of(drive)[0]["dates"][0]["checked"] == ""
    assert "Last checks: 2026-03-07 10:00 repair: nothing damaged; 2026-03-06 10:00 try of a restore: nothing damaged." in visible(drive)


def test_the_last_check_of_each_kind_is_told_and_what_read_nothing_is_none() -> None:
    """Of a sample it is not said that everything was read."""
    day, a_slice = "2026-03-02_183000", snapback.Slice(0, 10_000).facts()
    lines: List[Dict[str, Any]] = [
        {"what": "verify", "whole": True, "snapshots": [day, "2026-03-03_183000"], "damaged": 2},
        {"what": "verify", "whole": True, "snapshots": [day]},
        {"what": "verify", "snapshots": [day, day]},
        {"what": "verify", "whole": False, "snapshots": [day], "damaged": 1},
        {"what": "repair", "complete": True, "damaged": 1, "left": 0, "snapshots": ["2026-03-03_183000"]},
        {"what": "repair", "complete": False, "left": 1},
        {"what": "rehearse"},
        {"what": "verify", "whole": True, "sample": a_slice, "damaged": 1},
        {"what": "verify", "whole": True, "sample": a_slice},
        {"what": "verify", "whole": True, "quick": True},
        {"what": "verify", "whole": True, "interrupted": True},
    ]
    for at, line in enumerate(lines):
        line["time"] = f"2026-03-{10 + at}T10:00:00+00:00"
    checked, told = snapback.told_checks("\n".join(map(json.dumps, lines)))
    assert [(time[8:10], *rest) for time, *rest in told] == [
        ("18", "a part read", 0), ("16", "try of a restore", 0), ("14", "repair", 0), ("13", "one date read", 1),
        ("12", "some dates read", 0), ("11", "everything read", 0)]
    assert {name: time[8:10] for name, time in checked.items()} == {day: "13", "2026-03-03_183000": "14"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_list_of_a_date_goes_with_it(layout: str, source: Path, drive: Path) -> None:
    """In layout changes a folder stays of which later dates need files."""
    for number in range(3):
        (source / f"new on day {number}").write_text("x")
        assert copy_at(number, drive, "--no-rotate", "--layout", layout, source).code == 0
    kept = dates(drive / "box")[1:]
    seen: List[List[str]] = []

    def look(call: Any) -> None:
        if call.name in ("rename", "replace") and call.path.endswith((".deleting", "SHA256SUMS.expired")):
            seen.append(sorted(os.listdir(drive / "box" / "page")))

    with watched(look):
        assert ask_at(BEGAN + 3 * DAY, "rotate", "--keep-last", "2", "--drive", drive).code == 0
    assert seen[0] == sorted(os.listdir(drive / "box" / "page")) == [f"{date}.js" for date in kept]
    assert [one["name"] for one in facts_of(drive)[0]["dates"]] == kept


def test_lists_are_made_up_for_and_those_of_dates_that_a_person_removed_go(source: Path, drive: Path) -> None:
    for number in range(3):
        assert copy_at(number, drive, "--no-rotate", source).code == 0
    first, second, third = dates(drive / "box")
    lists = drive / "box" / "page"
    whole = (lists / f"{second}.js").read_bytes()
    (lists / f"{second}.js").unlink()
    (lists / f"{second}.js.incomplete").write_text("half")
    (lists / "mine.txt").write_text("mine")
    remove_tree(drive / "box" / first)
    (drive / "box" / "manifests" / f"{first}.gz").unlink()
    assert copy_at(3, drive, "--no-rotate", source).code == 0
    fourth = dates(drive / "box")[-1]
    assert sorted(os.listdir(lists)) == [f"{second}.js", f"{third}.js", f"{fourth}.js", "mine.txt"]
    assert (lists / f"{second}.js").read_bytes() == whole


def test_a_date_whose_manifest_is_damaged_is_told_of_all_the_same(source: Path, drive: Path) -> None:
    copy_at(0, drive, source)
    (first,) = dates(drive / "box")
    for damaged in (drive / "box" / first / "SHA256SUMS", drive / "box" / "manifests" / f"{first}.gz"):
        damaged.write_bytes(damaged.read_bytes()[:-60] + b"x" * 50 + damaged.read_bytes()[-10:])
    (drive / "box" / "page" / f"{first}.js").unlink()
    assert copy_at(1, drive, source).code in (0, 3)
    assert [(one["name"], one["listed"]) for one in facts_of(drive)[0]["dates"]] == [
        (date, date != first) for date in dates(drive / "box")]


def test_a_page_that_snapback_did_not_write_is_left_alone(source: Path, drive: Path) -> None:
    (drive / PAGE).write_text("<!DOCTYPE html>\n<p>mine")
    outcome = copy_at(0, drive, source)
    assert (outcome.code, f"{PAGE} on the drive was not written by snapback; it was left alone" in outcome.err) == (3, True)
    for words in (["pin", "latest"], ["verify"], ["rotate"]):
        assert ask(*words, "--drive", drive).code == 0
    assert (drive / PAGE).read_text() == "<!DOCTYPE html>\n<p>mine"


def settings(home: Path, *lines: str) -> None:
    folder = home / ".config" / "snapback"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "snapback.ini").write_text("\n".join(["[backup]", *lines, ""]))


def test_page_no_takes_away_what_was_there_and_leaves_what_is_somebody_elses(source: Path, drive: Path, home: Path) -> None:
    assert copy_at(0, drive, source).code == 0
    assert ask_at(BEGAN, "backup", "--set", "other", source, drive).code == 0
    (drive / "box" / "page" / "mine.txt").write_text("mine")
    settings(home, f"sources = {source}", "page = no")
    assert copy_at(1, drive, source).code == 0  # the folders are named, and the settings count all the same
    assert os.listdir(drive / "box" / "page") == ["mine.txt"]
    assert (drive / PAGE).exists()  # the other set has its lists
    assert ask_at(BEGAN + DAY, "backup", "--set", "other", source, drive).code == 0
    assert sorted(os.listdir(drive / "other")) == sorted([*dates(drive / "other"), "history.jsonl", "latest", "lock", "manifests"])
    (drive / "box" / "page" / "mine.txt").unlink()
    assert copy_at(2, drive, source).code == 0
    assert ((drive / PAGE).exists(), (drive / "box" / "page").exists()) == (False, False)
    assert ask("verify", "--set", "box", "--drive", drive).code == 0
    assert not (drive / PAGE).exists()


def test_a_run_by_the_settings_heeds_them_too(source: Path, drive: Path, home: Path) -> None:
    assert ask("init", drive).code == 0
    drive_id = re.findall("[0-9a-f]{32}", (drive / "snapback-marker.txt").read_text())[0]
    for wanted in (True, False):
        settings(home, f"sources = {source}", "set = box", *([] if wanted else ["page = no"]), f"[drive {drive_id}]", f"path = {drive}")
        assert ask("backup").code == 0
        assert ((drive / PAGE).exists(), (drive / "box" / "page").exists()) == (wanted, wanted)


@pytest.mark.needs("root", "user")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_another_users_set_is_named_and_no_more(mode: int, reachable: Path, ordinary_user: User) -> None:
    source, drive = reachable / "Documents", reachable / "drive"
    for folder in (source, drive):
        folder.mkdir()
        folder.chmod(0o777)
    (source / "a").write_text("a")
    assert ask("backup", "--init", "--set", "roots", source, drive).code == 0
    (drive / "roots").chmod(mode)
    with ordinary_user.acting():
        assert ask("backup", "--set", "users", source, drive).code in (0, 3)
    assert sorted((one["name"], len(one["dates"])) for one in facts_of(drive)) == [("roots", 0), ("users", 1)]
    assert "roots Its copies belong to another user of this drive, and cannot be shown here." in visible(drive)


def test_whichever_call_for_the_page_fails_the_dated_copy_is_whole_and_the_next_run_makes_up_for_it(source: Path, drive: Path) -> None:
    number = 0
    for nth in range(1, 200):
        hit = Hit(Fault(str(drive / "box" / "page"), nth, 5 if nth % 2 else 28))
        with watched(hit):
            outcome = copy_at(number, drive, "--no-rotate", source)
        number += 1
        assert len(dates(drive / "box")) == number
        assert (outcome.code, "the dated copy is whole, but" in outcome.err) in [(0, False), (3, True)], (nth, hit.calls, outcome)
        if outcome.code == 0:  # what failed was none of its business, or did not happen
            assert sorted(os.listdir(drive / "box" / "page")) == [f"{date}.js" for date in dates(drive / "box")]
        if not hit.calls:
            break
    assert nth > 5
    assert [one["listed"] for one in facts_of(drive)[0]["dates"]] == [True] * number
    assert ask("verify", "--drive", drive).code == 0


def test_whichever_call_for_the_html_fails_the_one_before_stays(source: Path, drive: Path) -> None:
    assert copy_at(0, drive, source).code == 0
    for nth in range(1, 200):
        before = (drive / PAGE).read_bytes()
        calls: List[str] = []

        def fail(call: Any, nth: int = nth, calls: List[str] = calls) -> None:
            if PAGE in call.path:
                calls.append(call.name)
                if len(calls) == nth:
                    raise OSError(5, "Input/output error", call.path)

        with watched(fail):
            outcome = ask_at(BEGAN + nth * DAY, "pin" if nth % 2 else "unpin", "latest", "--drive", drive)
        if len(calls) < nth:
            break
        assert outcome.code == 0 or calls[-1] == "stat", (calls, outcome)  # in which case the drive cannot even be looked at
        assert ((drive / PAGE).read_bytes() == before) == (outcome.code != 0 or "could not be brought up to date" in outcome.out)
    assert nth > 3
    assert facts_of(drive)[0]["dates"][0]["pinned"] == (nth % 2 == 1)


def test_whoever_kills_a_run_while_the_page_is_written_finds_it_whole_after_the_next_one(source: Path, drive: Path) -> None:
    for number, name in enumerate(("write", "fsync", "replace", "rename"), 1):

        def interrupt(call: Any, name: str = name) -> None:
            if call.name == name and f"{os.sep}page{os.sep}" in call.path:
                raise KeyboardInterrupt

        with watched(interrupt):
            outcome = copy_at(number, drive, "--no-rotate", source)
        assert outcome.code in (0, 3)
    assert copy_at(9, drive, "--no-rotate", source).code == 0
    assert sorted(os.listdir(drive / "box" / "page")) == [f"{date}.js" for date in dates(drive / "box")]
    assert sum(len(items_of(drive / "box", date)) for date in dates(drive / "box")) == 7 * len(dates(drive / "box"))


def test_a_browser_runs_and_applies_nothing_but_what_the_program_wrote(source: Path, drive: Path) -> None:
    """Content Security Policy: nothing inline but two texts of these hashes, nothing from a network, no form, no other base."""
    assert copy_at(0, drive, source).code == 0
    text = (drive / PAGE).read_text("utf-8")
    allowed = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    hashes = [base64.b64encode(hashlib.sha256(re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[0].encode()).digest()).decode()
              for tag in ("script", "style")]  # fmt: skip
    (policy,) = allowed
    assert policy == (f"default-src 'none'; script-src 'sha256-{hashes[0]}' file:; style-src 'sha256-{hashes[1]}'; base-uri 'none'; "
                      "form-action 'none'")
    rest = re.sub(r"<pre>[^<]*</pre>", "", text)  # without the plan, which is nothing but text
    assert re.findall(r"https?:|//[a-z]|\son[a-z]+=|style=|innerHTML|insertAdjacent|document\.write|eval\(", rest) == []


def test_the_label_of_a_drive_is_no_markup(source: Path, drive: Path) -> None:
    assert ask("init", "--label", "<script>alert(1)</script>&$facts", drive).code == 0
    assert copy_at(0, drive, source).code == 0
    assert "Get files back from <bdi>&lt;script&gt;alert(1)&lt;/script&gt;&amp;$facts</bdi>" in (drive / PAGE).read_text("utf-8")


def test_what_a_manifest_or_a_history_says_is_no_markup_either() -> None:
    wild = "</script><script>alert(1)</script>\u2028"
    date = snapback.DateFacts("2026-03-02_183000", wild, wild, checked=wild)
    text = page_of(snapback.SetFacts("box", wild, (date,), ((wild, wild, 1),)))
    assert text.count("<script") == text.count("</script>") == 2


@pytest.mark.parametrize("line", ["# type=dir mode=0755 path=a/..", "# type=dir mode=0755 stored=../../b path=a/b", "# typ=dir path=a/b"])
def test_no_folder_of_a_list_leads_elsewhere_and_no_other_line_is_read(line: str) -> None:
    with pytest.raises(snapback.ManifestDamaged):
        list(snapback.PageList("2026-03-02_183000").script(["# type=dir mode=0755 path=a\n" + line]))


@pytest.mark.parametrize("place", ["a/..", "a/.", "../2026-03-01_183000/a/..", "../../a"])
def test_no_file_of_a_list_leads_elsewhere(place: str) -> None:
    lines = ["# type=dir mode=0755 path=a", "# type=file mode=0644 uid=1 gid=1 size=3 time=5.000000000", "0" * 64 + f"  {place}"]
    with pytest.raises(snapback.ManifestDamaged):
        list(snapback.PageList("2026-03-02_183000").script(["\n".join(lines)]))


def test_its_source_is_not_too_long() -> None:
    lines = Path(snapback.__file__ or "").read_text("utf-8").split("\n")
    begins, ends = (next(at for at, line in enumerate(lines) if line.startswith(words)) for words in ("PAGE_STYLE", "RESTORE_SCRIPT"))
    assert 300 < ends - begins <= 400


# --- In a browser ------


class Seen(NamedTuple):
    """A browser that looks at the page of one drive."""

    driver: Any
    drive: Path

    def open(self, *words: str) -> None:
        """Open a view of the page anew: its kind and its words."""
        self.driver.get("about:blank")
        hash_ = "/".join(urllib.parse.quote(json.dumps(word)[1:-1], safe="") for word in words)
        self.driver.get(f"{(self.drive / PAGE).as_uri()}{'#/' + hash_ if words else ''}")
        self.settled()

    def settled(self) -> None:
        """Wait until the view is there."""
        self.until(lambda: self.js("return document.readyState == 'complete' && !status.textContent.endsWith('...')"))

    def until(self, true: Callable[[], Any]) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 30, 0.02).until(lambda _driver: true())

    def js(self, text: str, *words: Any) -> Any:
        return self.driver.execute_script(text, *words)

    def click(self, text: str) -> None:
        """Click on the link or button of that text in the view."""
        found = self.js("return [...view.querySelectorAll('a, button')].find(one => one.textContent === arguments[0])", text)
        assert found, (text, self.text())
        found.click()
        self.settled()

    def text(self) -> str:
        return " ".join(str(self.driver.find_element("id", "view").text).split())

    def status(self) -> str:
        return str(self.driver.find_element("id", "status").text)

    def links(self) -> Dict[str, str]:
        """Give where each link to a file leads, by the text of its row."""
        return dict(self.js("return [...document.querySelectorAll('#view a[target=_blank]')].map(a => [a.textContent, a.href])"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests. What it asks of a network is in its log, and it gets nothing."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-background-networking", "window-size=1100,900",
                 f"user-data-dir={tmp_path_factory.mktemp('chromium')}", "proxy-server=127.0.0.1:9"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"), env={**os.environ, "HOME": str(tmp_path_factory.mktemp("home"))})
    driver = webdriver.Chrome(options=options, service=service)
    driver.get("about:blank")
    yield driver
    driver.quit()
    service.process = None  # else its end is asked for once more when it is collected, in a test that has no network


CONNECT = socket.socket.connect


@pytest.fixture
def see(chromium: Any, drive: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Let a test look at a page; whatever it did there, nothing was run, refused or asked of a network."""

    def connect(one: socket.socket, address: Any) -> None:
        assert address[0] in ("127.0.0.1", "localhost"), address  # the browser's driver
        CONNECT(one, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    for log in ("browser", "performance"):
        chromium.get_log(log)
    yield Seen(chromium, drive)
    chromium.switch_to.window(chromium.window_handles[0])
    assert chromium.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    urls = {one["params"]["request"]["url"].partition(":")[0] for one in asked if one["method"] == "Network.requestWillBeSent"}
    assert urls <= {"file", "about", "data"}
    assert [one for one in asked if one["method"] == "Page.javascriptDialogOpening"] == []


in_chromium = pytest.mark.needs("chromium", "chromedriver")


@in_chromium
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_a_file_is_called_its_name_is_shown_and_leads_to_it(layout: str, see: Seen, tmp_path: Path) -> None:
    source = tmp_path / "Documents"
    source.mkdir()
    contents = {name: f"file {number}" for number, name in enumerate(HOSTILE)}
    for name, content in contents.items():
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_text(content)
    (source / "<").mkdir()
    (source / "<" / "script>alert(1)<").write_text("in a folder")
    for number in range(2):
        assert copy_at(number, see.drive, "--layout", layout, source).code == 0
    first, newest = (see.drive / "box" / date for date in dates(see.drive / "box"))
    see.open("date", "box", newest.name, "Documents")
    links = see.links()
    assert len(links) == len(HOSTILE)
    for shown in ("<img src=x onerror=document.title='run'>", "javascript:document.title='run'", "%2e%2e", "#?", "caf\\xe9", "new\\x0aline",
                  "\\u202e\\u2028 x", "\u00e9t\u00e9 \U0001f600", "__proto__", "<!--"):
        assert shown in links
    holder = newest if layout == "complete" else first
    read = []
    for href in links.values():
        assert href.startswith(holder.as_uri() + "/Documents/")
        read.append(Path(os.fsdecode(urllib.parse.unquote_to_bytes(urllib.parse.urlsplit(href).path))).read_text())
        if layout == "complete":
            see.driver.get(href)
            assert see.driver.find_element("tag name", "body").text == read[-1]
    assert sorted(read) == sorted(contents.values())
    see.open("date", "box", newest.name, "Documents")
    see.click("</")
    see.click("script>alert(1)<")
    see.driver.switch_to.window(see.driver.window_handles[-1])
    see.until(lambda: see.driver.find_element("tag name", "body").text == "in a folder")
    assert see.js("return window.opener") is None
    see.driver.close()
    see.driver.switch_to.window(see.driver.window_handles[0])
    assert see.driver.title == "box, 2026-03-03 18:30:00 - Get files back from drive"


@pytest.fixture
def days(source: Path, drive: Path) -> List[str]:
    """Three dates, of which the newest has no letter any more; in the second the report has changed."""
    copy_at(0, drive, "--layout", "changes", source)
    (source / "sub" / "report.odt").write_text("changed")
    copy_at(1, drive, "--layout", "changes", source)
    (source / "letter.odt").unlink()
    copy_at(2, drive, "--layout", "changes", source)
    return dates(drive / "box")


@in_chromium
def test_a_person_clicks_through_dates_and_folders_and_back(see: Seen, days: List[str]) -> None:
    see.open()
    see.driver.find_element("link text", "2026-03-04 18:30:00").click()
    see.settled()
    assert see.status() == "1 folder and 0 files here."
    see.click("Documents/")
    assert (see.status(), see.text().split(" More ")[1]) == ("1 folder and 0 files here.", "sub/ folder")
    see.click("sub/")
    assert see.text().startswith("box, 2026-03-04 18:30:00 24 B in 2 files; 0 new, 0 changed, 1 gone; checked: not yet; "
                                 "holds only what was new The same folder on")
    see.click("older date")
    see.click("Documents")
    assert see.text().startswith("box, 2026-03-03 18:30:00 34 B in 3 files")
    assert see.links() == {"letter.odt": (see.drive / "box" / days[0] / "Documents" / "letter.odt").as_uri()}
    see.driver.back()
    see.settled()
    assert see.links() == {"report.odt": (see.drive / "box" / days[1] / "Documents" / "sub" / "report.odt").as_uri()}
    assert see.js("return document.activeElement.tagName") == "H2"
    see.js("document.getElementById('when').value = arguments[0]; document.getElementById('when').onchange()", days[0])
    see.until(lambda: see.links() == {"report.odt": (see.drive / "box" / days[0] / "Documents" / "sub" / "report.odt").as_uri()})
    see.driver.find_element("link text", "Recovery plan").click()
    assert see.driver.find_element("id", "plan").is_displayed()
    assert "IF YOU SUSPECT RANSOMWARE" in see.driver.find_element("id", "plan").text


@in_chromium
def test_names_are_searched_on_all_dates_and_each_version_of_a_file_is_there(see: Seen, days: List[str]) -> None:
    see.open()
    see.driver.find_element("id", "words").send_keys("ODT\n")
    see.until(lambda: see.status() == "2 names found in 3 dates.")
    rows = see.js("return [...view.querySelectorAll('tbody tr')].map(row => [row.cells[0].textContent, row.cells[3].textContent])")
    assert rows == [
        ["Documents/sub/report.odt", "2026-03-04 18:30:00 and 1 other, back to 2026-03-03 18:30:00"],
        ["Documents/sub/report.odt", "2026-03-02 18:30:00"],
        ["Documents/letter.odt", "2026-03-03 18:30:00 and 1 other, back to 2026-03-02 18:30:00"],
    ]
    see.open("find", "documents/SUB")
    assert see.status() == "4 names found in 3 dates."
    see.open("file", "box", "Documents/letter.odt")
    assert see.status() == "1 version in 2 dates."
    assert see.text().endswith("2026-03-03 18:30:00 2026-03-02 18:30:00 Not in: 2026-03-04 18:30:00")
    see.open("file", "box", "Documents/sub/report.odt")
    assert see.status() == "2 versions in 3 dates."
    hrefs = see.js("return [...document.querySelectorAll('#view a[target=_blank]')].map(a => a.href)")
    assert hrefs == [(see.drive / "box" / date / "Documents" / "sub" / "report.odt").as_uri() for date in (days[1], days[0])]
    see.open("find", "nothing is called so")
    assert (see.status(), see.text()) == ("0 names found in 3 dates.", "Found: nothing is called so")


@in_chromium
def test_above_the_files_of_a_date_and_the_versions_of_one_damage_is_said(see: Seen, days: List[str]) -> None:
    where = "A check found 1 damaged file in 2026-03-02 18:30:00; restore and repair say which."
    (see.drive / "box" / days[0] / "Documents" / "sub" / "report.odt").write_text("?")
    assert ask_at(BEGAN + 3 * DAY, "verify", "--drive", see.drive).code == 4
    said = []
    for words in (["date", "box", days[0], "Documents"], ["date", "box", days[1], "Documents"],
                  ["file", "box", "Documents/sub/report.odt"], ["file", "box", "Documents/none"]):
        see.open(*words)
        said.append((where in see.text(), "A check found" in see.text()))
    assert said == [(True, True), (False, False), (True, True), (False, False)]


@in_chromium
def test_in_a_narrow_window_rows_are_low_and_no_day_is_broken(see: Seen, days: List[str]) -> None:
    see.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 380, "height": 700, "deviceScaleFactor": 1, "mobile": False})
    try:
        see.open()
        assert max(see.js("return [...document.querySelectorAll('#dates tbody tr')].map(row => row.offsetHeight)")) < 40
        for words in (["find", "report"], ["file", "box", "Documents/sub/report.odt"], ["date", "box", days[1], "Documents/sub"]):
            see.open(*words)
            pieces = see.js("return [...document.querySelectorAll('#view td .word')].map(one => one.getClientRects().length)")
            assert set(pieces) == {1}
            name, on = see.js("return [0, 3].map(at => view.querySelector('tbody tr').cells[at].offsetWidth)")
            assert name > on
            assert see.js("return document.documentElement.scrollWidth") <= 380
    finally:
        see.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@in_chromium
def test_a_list_that_is_lacking_or_torn_is_said_and_the_others_are_read(see: Seen, days: List[str]) -> None:
    (see.drive / "box" / "page" / f"{days[0]}.js").unlink()
    torn = see.drive / "box" / "page" / f"{days[1]}.js"
    torn.write_bytes(torn.read_bytes()[:-10])
    for date in days[:2]:
        see.open("date", "box", date, "")
        assert "cannot be opened: it is missing or damaged, or the folder box belongs to another user" in see.status()
    shutil.copy(see.drive / "box" / "page" / f"{days[2]}.js", see.drive / "box" / "page" / f"{days[0]}.js")
    see.open("date", "box", days[0], "")
    assert "cannot be opened" in see.status()
    see.open("find", "odt")
    assert see.status() == "1 name found in 1 date; 2 dates cannot be opened."
    for words in (["date", "box", "2026-03-09_183000", ""], ["date", "other", days[2], ""], ["constructor"]):
        see.open(*words)
        assert see.status() in ("There is no such date on this drive.", "There is nothing at this address.")
    see.driver.get("about:blank")
    see.driver.get((see.drive / PAGE).as_uri() + "#/date/%")
    assert see.status() != ""
    log = see.driver.get_log("browser")
    assert [entry["level"] for entry in log] == ["SEVERE"] * 3  # the missing one once, the torn one twice


@in_chromium
def test_the_keyboard_alone_is_enough(see: Seen, days: List[str]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str) -> str:
        ActionChains(see.driver).send_keys(key).perform()
        return str(see.js("return document.activeElement.textContent || document.activeElement.id"))

    see.open()
    see.js("document.body.focus()")
    reached = [press(Keys.TAB) for _ in range(6)]
    assert reached == ["Dates", "Recovery plan", "words", "Search", "2026-03-04 18:30:00", "2026-03-03 18:30:00"]
    press(Keys.ENTER)
    see.settled()
    assert see.js("return document.activeElement.textContent") == "box, 2026-03-03 18:30:00"
    ring = see.js("const a = document.querySelector('nav a'); a.focus({focusVisible: true}); return getComputedStyle(a).outlineStyle")
    assert ring == "solid"
    unnamed = see.js("return [...document.querySelectorAll('a, button, input, select')].filter(one => !(one.textContent.trim() || "
                     "one.getAttribute('aria-label') || one.labels && one.labels.length)).length")
    assert (unnamed, see.js("return document.documentElement.lang")) == (0, "en")
    assert see.js("return [...document.querySelectorAll('th')].filter(one => !one.scope).length") == 0


@in_chromium
def test_without_scripts_dates_and_plan_are_read_and_a_date_leads_to_its_folder(see: Seen, days: List[str]) -> None:
    see.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        see.driver.get("about:blank")
        see.driver.get((see.drive / PAGE).as_uri())
        body = see.driver.find_element("tag name", "body").text
        assert not see.driver.find_element("id", "search").is_displayed()
        place = see.driver.find_element("link text", "2026-03-03 18:30:00").get_attribute("href")
    finally:
        see.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for said in ("runs no scripts", "2026-03-04 18:30:00 2 24 B 0 0 1 not yet", "IF YOU SUSPECT RANSOMWARE"):
        assert said in body
    assert place == (see.drive / "box" / days[1]).as_uri() + "/"


@in_chromium
def test_it_is_light_or_dark_as_wide_as_the_window_and_prints(see: Seen, days: List[str]) -> None:
    backs = []
    for scheme in ("light", "dark"):
        see.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        see.open()
        backs.append(see.js("return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color"))
    assert backs == ["rgb(255, 255, 255)rgb(27, 31, 36)", "rgb(20, 23, 26)rgb(230, 233, 236)"]
    see.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": False})
    for words in ([], ["date", "box", days[0], "Documents/sub"], ["find", "o"]):
        see.open(*words)
        assert see.js("return document.documentElement.scrollWidth") <= 360
    see.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    see.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    see.open()
    assert [see.driver.find_element("id", name).is_displayed() for name in ("search", "dates", "plan")] == [False, True, True]
    see.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@in_chromium
def test_the_chart_shows_one_date_and_sixty(see: Seen, source: Path) -> None:
    copy_at(0, see.drive, source)
    one = snapback.facts_of_set(snapback.Folder.top(str(see.drive)), "box")
    for count in (1, 60):
        facts = one.dates[0]._replace(new=0, listed=False)
        many = [facts._replace(name=f"2026-03-02_18{number:02}00", bytes=1000 * number, changed=number, hold=number == 7,
                               damaged=int(number == 9), checked="2026-03-05T10:00:00+00:00" if number > 8 else "", pinned=number == 11)
                for number in range(count)]  # fmt: skip
        (see.drive / PAGE).write_text(page_of(one._replace(dates=tuple(many))), "utf-8")
        see.open()
        heights = see.js("return [...document.querySelectorAll('rect.files')].map(one => one.getBBox().height)")
        assert heights == pytest.approx([90 * number / max(1, count - 1) for number in range(count)], abs=0.06)
        assert see.js("return document.querySelector('svg').getAttribute('aria-label')") == (
            f"Chart of {count} date{'s' * (count > 1)}; the table below says the same")
    marks = see.js("return [...document.querySelectorAll('g')].map(g => [...g.querySelectorAll('text')].map(t => t.textContent).filter("
                   "text => text.length == 1).join(''))")
    assert marks == ["!" if number == 7 else "\u2717" if number == 9 else "\u2713\u25c6" if number == 11 else "\u2713" if number > 8 else ""
                     for number in range(60)]
    assert see.js("return document.querySelectorAll('g title')[9].textContent") == (
        "2026-03-02 18:09:00: 9.0 kB in 3 files; 0 new, 9 changed, 0 gone; checked: 1 damaged file, 2026-03-05 10:00")


@in_chromium
def test_a_hundred_thousand_files_are_open_in_a_moment(see: Seen, source: Path) -> None:
    """The goal is two seconds; this is a machine on which others are at work."""
    copy_at(0, see.drive, source)
    (date,) = dates(see.drive / "box")
    lines = ["# type=dir mode=0755 path=Documents"]
    for folder in range(1000):
        lines.append(f"# type=dir mode=0755 path=Documents/folder{folder:04}")
        for number in range(100):
            place = f"Documents/folder{folder:04}/document {number:06}.odt"
            lines += ["# type=file mode=0644 uid=1 gid=1 size=1234 time=1700000000.000000000", f"{0:064}  {place}"]
    (see.drive / "box" / "page" / f"{date}.js").write_text("".join(snapback.PageList(date).script(["\n".join(lines)])), "utf-8")
    see.open()
    seconds = see.js("const began = performance.now(); return showDate(() => true, 'box', arguments[0], 'Documents/folder0999').then(() => "
                     "(performance.now() - began) / 1000)", date)
    assert "document 000099.odt" in see.js("return view.textContent")
    assert seconds < 8
    see.open("find", "document 00005")
    assert see.status() == "3,000 names found in 1 date; there are more: type more of the name."
    assert len(see.links()) == 300
    see.click("Show more (2,700 versions not shown)")
    assert len(see.links()) == 600
