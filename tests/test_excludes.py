"""Exclude patterns mean what gitignore(5) says: by a table, and as git itself says, over thousands of random ones."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import pytest

from conftest import SNAPBACK
from snapback import Pattern, UsageError, excluded, parse_pattern


class Case(NamedTuple):
    """Some patterns, one a line; paths below a source (a folder's ends with a slash); those that are left out."""

    patterns: Sequence[str]
    paths: Sequence[str]
    left_out: Sequence[str]


def rules_of(lines: Iterable[str], ignore_case: bool = False) -> List[Pattern]:
    return [pattern for pattern in (parse_pattern(line, ignore_case) for line in lines) if pattern]


def left_out(rules: Sequence[Pattern], paths: Iterable[str]) -> List[str]:
    """Say which paths a walk never comes to, as what is in a folder that is left out is left out too."""
    return [path for path in paths if any(excluded(part, is_folder, rules) for part, is_folder in way_to(path))]


def way_to(path: str) -> List[Tuple[str, bool]]:
    """Give the folders on the way to a path, and itself: (path, whether it is a folder)."""
    parts = path.rstrip("/").split("/")
    return [("/".join(parts[:end]), end < len(parts) or path.endswith("/")) for end in range(1, len(parts) + 1)]


def git_leaves_out(folder: Path, cases: Sequence[Tuple[Sequence[str], Sequence[str]]]) -> List[List[str]]:
    """Ask git which of its paths each case's patterns would ignore; all of it in one repository and one question."""
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "init", "-q", folder], check=True, env=environment)
    asked: List[str] = []
    for number, (patterns, paths) in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        (place / ".gitignore").write_bytes("".join(f"{line}\n" for line in patterns).encode())
        for path in paths:
            if path.endswith("/"):  # git looks on the disk to see what is a folder; what is not there is a file to it
                (place / path).mkdir(parents=True, exist_ok=True)
            asked.append(f"{number}/{path.rstrip('/')}")
    question = ["git", "-c", "core.ignorecase=false", "check-ignore", "--no-index", "--stdin", "-z", "-v", "-n"]
    told = subprocess.run(
        question, input="\0".join([*asked, ""]).encode(), stdout=subprocess.PIPE, cwd=folder, env=environment
    ).stdout.decode()
    words = told.split("\0")[:-1]
    # four words for each path: the file, the line, the pattern (all empty where none matches), the path
    ignored = {words[at + 3] for at in range(0, len(words), 4) if words[at + 2] and not words[at + 2].startswith("!")}
    assert len(words) == 4 * len(asked)
    return [[path for path in paths if f"{number}/{path.rstrip('/')}" in ignored] for number, (_, paths) in enumerate(cases)]


# --- A table ------

TABLE: Dict[str, Case] = {
    "nothing is left out": Case([], ["a", "b/", "b/c"], []),
    "a blank line and a comment say nothing": Case(["", "#a", "   "], ["a", "#a", "   "], []),
    "a name counts at every depth": Case(["a"], ["a", "b/a", "b/c/a/", "ab", "a.b"], ["a", "b/a", "b/c/a/"]),
    "what is in a folder goes with it": Case(["a"], ["a/", "a/b", "a/b/c", "b/a/", "b/a/c"], ["a/", "a/b", "a/b/c", "b/a/", "b/a/c"]),
    "a slash at the end means folders": Case(["a/"], ["a", "b/a/", "b/a/c", "c/a"], ["b/a/", "b/a/c"]),
    "a slash at the beginning means the top": Case(["/a"], ["a", "b/a"], ["a"]),
    "a slash in the middle means the top too": Case(["a/b"], ["a/b", "c/a/b", "a/c/b"], ["a/b"]),
    "both": Case(["/a/b/"], ["a/b/", "a/b/c", "c/a/b/"], ["a/b/", "a/b/c"]),
    "two slashes at the end match nothing": Case(["a//"], ["a/", "a/b"], []),
    "two slashes in the middle match nothing": Case(["a//b"], ["a/b"], []),
    "a star stops at a slash": Case(["a/*.o"], ["a/b.o", "a/b/c.o", "a/.o"], ["a/b.o", "a/.o"]),
    "a star alone": Case(["*.o"], ["b.o", "a/b.o", ".o", "b.oo", "o"], ["b.o", "a/b.o", ".o"]),
    "a star takes dots": Case(["*"], [".a", "a"], [".a", "a"]),
    "a question mark is one character": Case(["a?c"], ["abc", "ac", "abbc", "a/c"], ["abc"]),
    "two stars and a slash first": Case(["**/a"], ["a", "b/a", "b/c/a", "ba"], ["a", "b/a", "b/c/a"]),
    "two stars and a slash first, then a path": Case(["**/a/b"], ["a/b", "c/a/b", "a/c/b"], ["a/b", "c/a/b"]),
    "a slash and two stars last": Case(["a/**"], ["a/", "a/b", "a/b/c", "b/a/", "b/a/c"], ["a/b", "a/b/c"]),
    "two stars in the middle": Case(["a/**/b"], ["a/b", "a/c/b", "a/c/d/b", "a/cb", "ab"], ["a/b", "a/c/b", "a/c/d/b"]),
    "two stars twice": Case(["**/a/**"], ["a/", "a/b", "c/a/b", "c/a/"], ["a/b", "c/a/b"]),
    "two stars beside other characters are one": Case(["*/**b"], ["a/b", "a/cb", "a/c/b"], ["a/b", "a/cb"]),
    "two stars alone": Case(["**"], ["a", "b/", "b/c"], ["a", "b/", "b/c"]),
    "two stars from the top": Case(["/**", "!/b/"], ["a", "b/", "b/c"], ["a", "b/c"]),
    "three stars between slashes are as two": Case(
        ["***/a", "b/***/c"], ["a", "x/y/a", "b/c", "b/x/y/c"], ["a", "x/y/a", "b/c", "b/x/y/c"]
    ),
    "three stars last are as two": Case(["a/***"], ["a/b", "a/b/c"], ["a/b", "a/b/c"]),
    "a class": Case(["[ab].c"], ["a.c", "b.c", "c.c", "[ab].c"], ["a.c", "b.c"]),
    "a range": Case(["[b-d]"], ["a", "b", "c", "d", "e", "-"], ["b", "c", "d"]),
    "a class that leaves out, in both spellings": Case(["[!a]1", "[^a]2"], ["a1", "b1", "a2", "b2"], ["b1", "b2"]),
    "a bracket first in a class is one of it": Case(["[]a]1", "[!]a]2"], ["]1", "a1", "b1", "]2", "b2"], ["]1", "a1", "b2"]),
    "a minus first or last in a class is one of it": Case(["[-a]1", "[a-]2"], ["-1", "a1", "-2", "a2", "b2"], ["-1", "a1", "-2", "a2"]),
    "a backslash in a class": Case(["[\\]\\-]"], ["]", "-", "\\"], ["]", "-"]),
    "named classes": Case(["[[:digit:]x]1", "[![:upper:]]2"], ["51", "x1", "a1", "A2", "a2"], ["51", "x1", "a2"]),
    "a class never takes a slash": Case(["a[/]b", "a[!x]b", "c[.-0]d"], ["a/b", "c/d", "a.b"], ["a.b"]),
    "signs that mean something in regular expressions": Case(
        ["a.b", "(c)", "d+", "e$", "^f", "{g}", "h|i"],
        ["a.b", "axb", "(c)", "c", "d+", "dd", "e$", "e", "^f", "f", "{g}", "h|i", "h"],
        ["a.b", "(c)", "d+", "e$", "^f", "{g}", "h|i"],
    ),
    "signs that mean something in a class of regular expressions": Case(
        ["[a&&b]1", "[a||b]2", "[a~~b]3", "[[a]4", "[%--]5", "[&-(]6", "[a-c--.]7"],
        ["a1", "&1", "|2", "~3", "[4", "a4", "*5", "'6", "b7", "-7", ".7", "+7"],
        ["a1", "&1", "|2", "~3", "[4", "a4", "*5", "'6", "b7", "-7", ".7"],
    ),
    "a backslash takes the next sign as it is": Case(
        ["\\*", "a\\?", "\\[b]", "c\\d"], ["*", "x", "a?", "ab", "[b]", "b", "cd"], ["*", "a?", "[b]", "cd"]
    ),
    "a backslash before a slash says nothing": Case(["a\\/b", "*\\/c"], ["a/b", "x/a/b", "x/c"], ["a/b", "x/c"]),
    "a backslash before a comment or an exclamation mark": Case(["\\#a", "\\!b"], ["#a", "!b", "a", "b"], ["#a", "!b"]),
    "a sharp sign elsewhere is no comment": Case(["a#b", " #c"], ["a#b", " #c"], ["a#b", " #c"]),
    "blanks at the end go": Case(["a  ", "b "], ["a", "a  ", "b"], ["a", "b"]),
    "blanks at the end stay behind a backslash": Case(["a\\ ", "b\\  ", "c \\ "], ["a", "a ", "b ", "c  "], ["a ", "b ", "c  "]),
    "a backslash behind a backslash saves no blank": Case(["a\\\\ "], ["a\\", "a\\ "], ["a\\"]),
    "a tab at the end and blanks in front stay": Case(["a\t", " b"], ["a", "a\t", "b", " b"], ["a\t", " b"]),
    "a carriage return at the end goes": Case(["a\r"], ["a", "a\r"], ["a"]),
    "the last line that matches decides": Case(["*.o", "!keep.o"], ["a.o", "keep.o", "b/keep.o"], ["a.o"]),
    "in this order": Case(["!keep.o", "*.o"], ["a.o", "keep.o"], ["a.o", "keep.o"]),
    "nothing comes back from a folder that is left out": Case(["a/", "!a/keep"], ["a/", "a/keep"], ["a/", "a/keep"]),
    "all but one folder": Case(["/*", "!/a/"], ["a/", "a/b", "c/", "c/a/", "d"], ["c/", "c/a/", "d"]),
    "what is in a folder, but one file": Case(["a/*", "!a/keep"], ["a/", "a/keep", "a/b"], ["a/b"]),
    "two exclamation marks": Case(["*", "!!a"], ["a", "!a"], ["a"]),
    "case counts": Case(["A", "[b]"], ["a", "A", "B", "b"], ["A", "b"]),
    "names with line ends in them": Case(["a*b", "c?d"], ["a\nb", "c\nd"], ["a\nb", "c\nd"]),
    "letters beyond ASCII": Case(["caf\u00e9", "*\u4eac"], ["caf\u00e9", "cafe", "\u6771\u4eac"], ["caf\u00e9", "\u6771\u4eac"]),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_what_patterns_leave_out(case: Case) -> None:
    assert left_out(rules_of(case.patterns), case.paths) == list(case.left_out)


@pytest.mark.needs("git")
def test_git_reads_the_same_table_in_the_same_way(tmp_path: Path) -> None:
    told = git_leaves_out(tmp_path, [(case.patterns, case.paths) for case in TABLE.values()])
    assert dict(zip(TABLE, told)) == {name: list(case.left_out) for name, case in TABLE.items()}


# What git does and snapback does not, on purpose: (pattern, path, whether snapback leaves it out, whether git does).
UNLIKE_GIT: Sequence[Tuple[str, str, bool, bool]] = (
    ("?", "\u00e9", True, False),  # git counts bytes, people count characters
    ("??", "\u00e9", False, True),
    ("[\u00e9]", "\u00e9", True, False),
    ("[!a]", "\u00e9", True, False),
    # gitignore(5): "other consecutive asterisks are considered regular"; git strips plain text before it looks
    ("a**/b", "ax/y/b", False, True),
    ("a**/b", "ax/b", True, True),
)


def test_where_snapback_is_unlike_git_on_purpose() -> None:
    assert [bool(left_out(rules_of([pattern]), [path])) for pattern, path, _, _ in UNLIKE_GIT] == [row[2] for row in UNLIKE_GIT]


@pytest.mark.needs("git")
def test_git_still_does_otherwise_there(tmp_path: Path) -> None:
    told = git_leaves_out(tmp_path, [([pattern], [path]) for pattern, path, _, _ in UNLIKE_GIT])
    assert [bool(ignored) for ignored in told] == [row[3] for row in UNLIKE_GIT]


# --- Refusals ------


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("[", "'['"),
        ("a[bc", "'a[bc'"),
        ("[]", "'[]'"),
        ("[!]", "'[!]'"),
        ("[a\\]", "'[a\\]'"),
        ("[[:alpha:]", "'[[:alpha:]'"),
        ("[z-a]", "'[z-a]'"),
        ("[[:letters:]]", "'[[:letters:]]'"),
        ("/", "'/'"),
        ("//", "'//'"),
        ("!/", "'!/'"),
        ("!", "'!'"),
        ("a\\", "'a\\'"),
        ("\x1b[1m", "'\\x1b[1m'"),
    ],
)
def test_a_pattern_that_git_would_pass_over_in_silence_is_refused(line: str, about: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_pattern(line)
    assert about in str(refused.value)


# --- As git says, whatever the pattern ------

NAMES = ["a", "b", "c", "ab", "ba", "abc", "a.b", ".a", "-", "!a", "#a", "a b", "[a]", "a ", "*", "a\\", "\\", "aa", "B"]
NAMES += ["1", "a-b", "]", "^", "a\n"]
WORDS = [
    "a",
    "b",
    "c",
    "a",
    "b",
    "ab",
    ".",
    "*",
    "*",
    "?",
    "**",
    "***",
    "/",
    "/",
    "/",
    "**/",
    "/**",
    "!",
    "!",
    "#",
    "-",
    "]",
    "^",
]
WORDS += [
    " ",
    "\\ ",
    "\\*",
    "\\a",
    "\\[",
    "\\",
    "\\/",
    "[",
    "[ab]",
    "[!a]",
    "[a-c]",
    "[^b]",
    "[]a]",
    "[a-]",
    "[--.]",
    "[a/]",
]
WORDS += ["[\\]]", "[^]]", "[[:alpha:]]", "[[:digit:]a]", "[a-c-e]", "[[:upper:]-a]"]

# The quirks that UNLIKE_GIT names: two stars right behind plain text, or before a slash that has a backslash.
QUIRK = re.compile(r"!?/?[^*?\[\\]*[^*?\[\\/]\*\*+(\\?/|$)|.*\*\*\\/", re.DOTALL)


def random_paths(chance: random.Random) -> List[str]:
    folders: Set[str] = set()
    for _ in range(5):
        parts = chance.choices(NAMES, k=chance.randint(1, 3))
        folders.update("/".join(parts[:end]) + "/" for end in range(1, len(parts) + 1))
    files = {chance.choice(["", *sorted(folders)]) + chance.choice(NAMES) for _ in range(15)}
    return sorted(folders) + sorted(file for file in files if file + "/" not in folders)


def random_patterns(chance: random.Random) -> List[str]:
    count = chance.choice([1, 1, 1, 2, 3])
    return ["".join(chance.choices(WORDS, k=chance.randint(1, 6))) for _ in range(count)]


def one_by_one(lines: Sequence[str]) -> Tuple[List[Pattern], Optional[str]]:
    """Read patterns; give also the first that is refused."""
    rules: List[Pattern] = []
    for line in lines:
        try:
            rules += rules_of([line])
        except UsageError:
            return rules, line
    return rules, None


@pytest.mark.needs("git")
def test_random_patterns_leave_out_what_git_ignores(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    cases: List[Tuple[List[str], List[str]]] = []
    while len(cases) < 1000:
        patterns = random_patterns(chance)
        refused = one_by_one(patterns)[1]
        if not any(map(QUIRK.match, patterns)):
            # of a pattern that is refused git must make nothing; it is asked about that one alone
            cases.append(([refused] if refused else patterns, random_paths(chance)))
    differences = []
    for (patterns, paths), told in zip(cases, git_leaves_out(tmp_path, cases)):
        rules, refused = one_by_one(patterns)
        ours = [] if refused else left_out(rules, paths)
        if ours != told and not (refused and impossible_range(refused)):
            differences.append((patterns, sorted(set(ours) - set(told)), sorted(set(told) - set(ours))))
    differences.sort(key=lambda row: len("".join(row[0])))
    report = [f"{patterns}: only snapback leaves out {ours}, only git ignores {told}" for patterns, ours, told in differences]
    assert report == [], f"SEED={seed}"


def impossible_range(line: str) -> bool:
    """Tell whether a pattern is refused for a range such as z-a, of which git takes the first half."""
    with pytest.raises(UsageError) as refused:
        parse_pattern(line)
    return "range" in str(refused.value)


CLASSES = ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"]


@pytest.mark.needs("git")
def test_named_classes_hold_the_characters_that_git_says(tmp_path: Path) -> None:
    ascii_names = [chr(code) for code in range(1, 128) if chr(code) not in "./"]
    cases = [([f"[[:{name}:]]"], ascii_names) for name in CLASSES] + [([f"[![:{name}:]]"], ascii_names) for name in CLASSES]
    told = git_leaves_out(tmp_path, cases)
    ours = [left_out(rules_of(patterns), paths) for patterns, paths in cases]
    different = {patterns[0]: sorted(set(one) ^ set(other)) for (patterns, _), one, other in zip(cases, ours, told) if one != other}
    assert different == {}


# --- Whatever is typed ------


def test_whatever_is_typed_is_read_or_refused() -> None:
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    alphabet = "ab[]!^-\\*?/:#. &|~(){}+$\t\r\n\0\u00e9\udcff\U0001f600" + "[[:alpha:]]"
    ends: Set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a FutureWarning about a class is a pattern that will mean something else
        for _ in range(5000):
            line = "".join(chance.choices(alphabet, k=chance.randint(0, 12)))
            try:
                rules = rules_of([line])
                ends.add(f"{len(rules)} rules, {excluded('a/b', False, rules)}")
            except UsageError:
                ends.add("refused")
    assert ends <= {"refused", "0 rules, False", "1 rules, False", "1 rules, True"}, f"SEED={seed}"


@pytest.mark.parametrize("line", ["*a*a*a*a*a*a*b", "/x/**/*a*a*?a[a]*a*b", "**/" * 12 + "b", "***a" * 8 + "b"])
def test_many_stars_are_no_trap(line: str) -> None:
    path = "x/" + "a/" * 30 + "a" * 255
    script = "import snapback; print(snapback.excluded(sys.argv[2], False, [snapback.parse_pattern(sys.argv[1])]))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SNAPBACK.parent)!r}); {script}", line, path]
    assert subprocess.run(command, stdout=subprocess.PIPE, timeout=60).stdout.strip() == b"False"


@pytest.mark.parametrize(
    ("line", "paths", "kept"),
    [
        ("*.TMP", ["a.tmp", "b/A.Tmp", "a.txt"], ["a.txt"]),
        ("/Build/", ["build/", "BUILD/x", "a/build/"], ["a/build/"]),
        ("[a-c]X", ["Bx", "dX"], ["dX"]),
        ("CAF\u00c9", ["caf\u00e9"], []),
    ],
)
def test_where_the_system_ignores_case_so_do_patterns(line: str, paths: List[str], kept: List[str]) -> None:
    out = left_out(rules_of([line], ignore_case=True), paths)
    assert [path for path in paths if path not in out] == kept
