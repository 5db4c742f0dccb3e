"""The house (DESIGN section 8): one file, read from top to bottom; each thing stands and is done where it belongs."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import re
import shlex
import subprocess
import symtable
import sys
import sysconfig
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set, Tuple, Union

import pytest

import snapback
from conftest import SNAPBACK

TEXT = SNAPBACK.read_text(encoding="utf-8")
LINES = TEXT.split("\n")
TREE = ast.parse(TEXT)
README = SNAPBACK.parent / "README.md"
BANNER = re.compile(r"# --- (\d+)\. ([A-Z][A-Za-z:, -]+) -+")

Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef]


class Section(NamedTuple):
    """One section of the file: its number, its title, its first line."""

    number: int
    title: str
    begins: int


SECTIONS = [Section(0, "Title page", 1)] + [
    Section(int(found.group(1)), found.group(2), at) for at, found in enumerate(map(BANNER.fullmatch, LINES), 1) if found
]


def section_of(line: int) -> int:
    return [section.number for section in SECTIONS if section.begins <= line][-1]


def without_annotations(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what is carried out; an annotation is only read."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from without_annotations(child)


NODES = list(without_annotations(TREE))
FUNCTIONS = [node for node in ast.walk(TREE) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def said(node: ast.AST) -> str:
    """Name a place of the file for a message."""
    line = int(getattr(node, "lineno", 0))
    return f"line {line} (section {section_of(line)}): {LINES[line - 1].strip()[:80]}"


def uses_of(module: str) -> Dict[str, Set[int]]:
    """Say what is used of a module, and in which sections."""
    used: Dict[str, Set[int]] = {}
    for node in NODES:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module:
            used.setdefault(node.attr, set()).add(section_of(node.lineno))
    return used


def calls_of(function: str) -> Dict[str, Set[int]]:
    """Say in which sections a function of Python itself is called."""
    calls = [node for node in NODES if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function]
    return {function: {section_of(node.lineno) for node in calls}}


def outside(used: Dict[str, Set[int]], *sections: int) -> Dict[str, List[int]]:
    """Keep the uses in other sections than these."""
    return {name: sorted(where - set(sections)) for name, where in used.items() if where - set(sections)}


# --- Order ------


def test_nothing_else_lies_at_the_top() -> None:
    """A test that writes into the current folder leaves something there, which is soon committed."""
    wanted = {"snapback.py", "tests", "Makefile", "README.md", "LICENSE", "__pycache__"}
    assert [name for name in os.listdir(SNAPBACK.parent) if not name.startswith(".") and name not in wanted] == []


def test_the_sections_stand_in_order_under_banners_of_one_form() -> None:
    assert [line for line in LINES if line.startswith("# ---") and not BANNER.fullmatch(line)] == []
    numbers = [section.number for section in SECTIONS]
    assert (numbers, numbers[-1]) == (sorted(set(numbers)), 13)
    assert {len(LINES[section.begins - 1]) for section in SECTIONS[1:]} == {97}


def test_the_sections_are_those_of_the_design() -> None:
    design = {
        0: "Title page",
        1: "Constants",
        2: "Errors",
        3: "Values",
        4: "Policy: names and dates",
        5: "Policy: excludes",
        6: "Policy: retention",
        7: "Policy: comparison, and what may be a drive",
        8: "Text forms",
        9: "Disk",
        10: "Jobs",
        11: "Reports",
        12: "Outside world",
        13: "Command line",
    }
    assert {section.number: section.title for section in SECTIONS} == {
        number: title for number, title in design.items() if number in {section.number for section in SECTIONS}
    }


def names_defined() -> Dict[str, int]:
    """Give the line where each name of the module is first defined."""
    where: Dict[str, int] = {}
    for statement in TREE.body:
        names: Iterable[str] = ()
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [statement.name]
        elif not isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        for name in names:
            where.setdefault(name, statement.lineno)
    return where


def globals_of(table: symtable.SymbolTable) -> Set[str]:
    """Give the module's names that a function or class uses, in its annotations as well, but not what it calls so itself."""
    used = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return used.union(*map(globals_of, table.get_children()))


def test_a_definition_uses_only_what_stands_above_it() -> None:
    where = names_defined()
    found = []
    for table in symtable.symtable(TEXT, str(SNAPBACK), "exec").get_children():
        name = table.get_name()
        below = [(used, where[used]) for used in globals_of(table) if where.get(used, 0) > where.get(name, table.get_lineno())]
        found += [f"{name} (line {table.get_lineno()}) uses {used} (line {line})" for used, line in sorted(below)]
    assert found == []


def test_no_name_is_given_twice() -> None:
    """The second one would silently stand in for the first, also where that was meant."""
    names = [target.id for node in TREE.body if isinstance(node, (ast.Assign, ast.AnnAssign))
             for target in (node.targets if isinstance(node, ast.Assign) else [node.target]) if isinstance(target, ast.Name)]
    names += [node.name for node in TREE.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_annotations_speak_only_of_what_stands_above_too() -> None:
    where = names_defined()
    found = []
    for statement in TREE.body:
        for node in ast.walk(statement):
            for note in (getattr(node, "annotation", None), getattr(node, "returns", None)):
                words = [word for word in ast.walk(note) if isinstance(word, ast.Name)] if note else []
                found += [said(word) for word in words if where.get(word.id, 0) > statement.lineno]
    assert found == []


def test_main_comes_last_and_nothing_else_happens_at_import() -> None:
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    others = [LINES[node.lineno - 1] for node in TREE.body if not isinstance(node, definitions)]
    functions = [node.name for node in TREE.body if isinstance(node, ast.FunctionDef)]
    assert (others[1].split(" and ")[0], others[2:], functions[-1]) == (
        'if __name__ == "__main__"',
        ['if __name__ == "__main__":'] * 2,
        "main",
    )


# --- Purity ------

# What touches a disk, a clock, a console, chance or another program; only annotations may name it in sections 4 to 8.
WORLD_MODULES = ["os", "sys", "time", "shutil", "signal", "threading", "subprocess", "tempfile", "random", "argparse", "locale", "platform"]
WORLD_FUNCTIONS = ["open", "print", "input", "globals", "vars", "id", "Future", "ThreadPoolExecutor"]


def test_policy_and_text_forms_touch_nothing() -> None:
    others = [section.number for section in SECTIONS if section.number not in (4, 5, 6, 7, 8)]
    touched = {f"{module}.{name}": where for module in WORLD_MODULES for name, where in uses_of(module).items()}
    for function in WORLD_FUNCTIONS:
        touched.update(calls_of(function))
    assert outside(touched, *others) == {}


def test_no_value_and_no_policy_asks_the_clock() -> None:
    asked = [node for node in NODES if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today")]
    assert [
        said(node) for node in asked if section_of(node.lineno) != 13 and ast.dump(node.value).endswith("id='datetime', ctx=Load())")
    ] == []
    assert outside({name: where for name, where in uses_of("time").items() if name != "sleep"}, 13) == {}


def test_the_disk_is_touched_in_its_own_section_only() -> None:
    # the process's own environment is the command line's business, and that of the programs which section 12 starts
    own = {"environ": {12, 13}, "cpu_count": {13}, "getenv": {13}}
    assert outside({name: where - own.get(name, set()) for name, where in uses_of("os").items()}, 9) == {}
    assert outside(calls_of("open"), 9) == {}
    assert outside(uses_of("shutil"), 9) == {}
    assert outside(uses_of("fcntl"), 9) == outside(uses_of("msvcrt"), 9) == outside(uses_of("ctypes"), 9) == {}


# What of section 12 asks or changes the world: by an own call of another program, or by one of these that makes one.
ACTING = {
    "run_program", "ask_scheduler", "read_crontab", "write_crontab", "install_crontab", "remove_crontab", "put_entry", "own_entries",
    "take_entries", "units_place", "install_units", "remove_units", "install_agent", "remove_agent", "task_name", "install_task",
    "remove_task", "install_desktop_entry", "scheduler_here", "notify", "run_on_result", "why_not_eject", "unmount", "eject",
    "cron_entry", "units_entry", "agent_entry", "task_entry", "why_asleep", "check_schedule", "why_no_notices", "open_folder",
}


def test_outside_texts_are_made_purely_and_other_programs_are_started_in_one_place() -> None:
    starts = {name: where for name, where in uses_of("subprocess").items() if name != "list2cmdline"}
    asking = ("Popen", "DEVNULL", "TimeoutExpired")  # whether a network's disk answers
    assert outside({name: where - {9} if name in asking else where for name, where in starts.items()}, 12) == {}
    tables = {table.get_name(): globals_of(table) for table in symtable.symtable(TEXT, str(SNAPBACK), "exec").get_children()}
    here = {name for name, line in names_defined().items() if section_of(line) == 12 and name in tables}
    disk = {name for name, line in names_defined().items() if section_of(line) in (9, 10)} - {"reason"}  # an error's own words
    assert {name for name in here if tables[name] & (disk | {"os", "time", "gc"})} - {"run_program"} <= ACTING
    direct = {node.name for node in FUNCTIONS for part in ast.walk(node) if isinstance(part, ast.Attribute)
              and isinstance(part.value, ast.Name) and part.value.id == "subprocess" and part.attr != "list2cmdline"}
    assert direct == {"run_program", "answers"}  # the latter asks a network's disk, in section 9
    assert {name for name in here if tables[name] & ACTING} <= ACTING


def test_only_the_command_line_prints() -> None:
    assert outside(calls_of("print"), 13) == {}
    spoken = {name: where for name, where in uses_of("sys").items() if name in ("stdout", "stderr", "stdin", "argv", "exit")}
    assert outside(spoken, 13) == {}


def test_a_namespace_goes_no_further_down_than_the_commands() -> None:
    named = [node for node in ast.walk(TREE) if isinstance(node, ast.Name) and node.id == "argparse"]
    assert [said(node) for node in named if section_of(node.lineno) != 13] == []


def test_platforms_differ_in_the_disk_section_only() -> None:
    assert [outside({name: where}, 9) for name, where in uses_of("os").items() if name == "name"] == [{}]
    assert [outside({name: where}, 9) for name, where in uses_of("sys").items() if name == "platform"] == [{}]


# --- Failures ------


def test_no_failure_is_caught_without_saying_which() -> None:
    caught = [node for node in NODES if isinstance(node, ast.ExceptHandler)]
    blind = [node for node in caught if node.type is None or {"Exception", "BaseException"} & names_in(node.type)]
    suppressed = [node for node in NODES if isinstance(node, ast.Call) and "suppress" in names_in(node.func)]
    blind += [node for node in suppressed if {"Exception", "BaseException"} & set().union(*map(names_in, node.args))]  # type: ignore[misc]
    assert [said(node) for node in blind] == []


def names_in(node: ast.AST) -> Set[str]:
    words = [part.id if isinstance(part, ast.Name) else part.attr for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Attribute))]
    return set(words)


def test_nothing_leaves_the_interpreter_but_the_last_line() -> None:
    leaving = {"SystemExit", "exit", "_exit", "quit", "abort", "kill", "killpg"}
    found = [
        node
        for node in NODES
        if isinstance(node, (ast.Name, ast.Attribute)) and leaving & {getattr(node, "id", ""), getattr(node, "attr", "")}
    ]
    assert [LINES[node.lineno - 1].strip() for node in found] == [
        "asking.kill()",
        "os._exit(0)",
        "os._exit(0)  # whatever happens: nothing of the other process may be tidied up here",
        "os.kill(hand.pid, signal.SIGKILL)",
        "sys.exit(main())",
    ]
    assert [said(node) for node in NODES if isinstance(node, ast.Assert)] == []  # python -O would leave it out


def test_own_failures_are_not_those_of_the_system() -> None:
    own = [value for value in vars(snapback).values() if isinstance(value, type) and issubclass(value, Exception)]
    own = [one for one in own if one.__module__ == "snapback"]
    assert [one.__name__ for one in own if issubclass(one, OSError)] == []
    assert {one.__name__: one.__doc__ for one in own if not one.__doc__} == {}


def test_nothing_global_changes() -> None:
    assert [said(node) for node in NODES if isinstance(node, ast.Global)] == []
    assert uses_of("os").keys() & {"chdir", "fchdir", "umask", "putenv", "system", "popen"} == set()


def test_nothing_goes_through_a_shell_or_is_carried_out() -> None:
    words = {"eval", "exec", "compile", "__import__", "marshal", "shelve"}
    found = [node for node in NODES if isinstance(node, ast.Name) and node.id in words]
    shells = [node for node in NODES if isinstance(node, ast.keyword) and node.arg == "shell"]
    assert ([said(node) for node in found], len(shells)) == ([], 0)


def test_only_a_process_and_the_ones_it_forked_exchange_values_as_they_are() -> None:
    """Nothing that lies on a disk is unpickled, and no socket leads further than to a forked process."""
    assert outside(uses_of("pickle"), 9) == {}
    loads = [node for node in NODES if isinstance(node, ast.Attribute) and node.attr in ("load", "loads", "Unpickler")]
    lines = [LINES[node.lineno - 1].partition("  # ")[0].strip() for node in loads]
    assert [line for line in lines if "json" not in line] == [
        "class FolderUnpickler(pickle.Unpickler):",
        "answer: Any = [handle(piece) for piece in FolderUnpickler(io.BytesIO(text), fds).load()]",
        "answer = pickle.loads(receive(self.socket, length))",
    ]
    assert uses_of("socket").keys() <= {"socketpair", "AF_UNIX", "SOCK_STREAM", "SOL_SOCKET", "SCM_RIGHTS", "CMSG_SPACE", "MSG_WAITALL"}


# --- Imports ------

NETWORK = {"socket", "_socket", "ssl", "_ssl", "http", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "nntplib", "xmlrpc"}
NETWORK |= {"socketserver", "asyncio", "urllib.request", "urllib3", "requests", "webbrowser", "multiprocessing.connection"}
LOCAL = {"socket", "_socket"}  # a pair of them leads to a forked process, and carries descriptors
# Not to be had everywhere, so never at the top (importlib cannot tell of them on a system that has them not).
SOME_PLATFORMS = {"_winapi", "crypt", "curses", "fcntl", "grp", "msvcrt", "nt", "posix", "pty", "pwd", "readline", "resource", "syslog"}
SOME_PLATFORMS |= {"_posixsubprocess", "_scproxy", "nis", "ossaudiodev", "spwd", "termios", "tty", "winreg", "winsound"}


def imports() -> List[Tuple[str, bool]]:
    """Give what is imported: (module, whether at the top)."""
    found: List[Tuple[str, bool]] = []
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in TREE.body) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.append((node.module or "", node in TREE.body))
    return found


def is_standard(module: str) -> bool:
    """Tell whether a module comes with Python, or would on another system."""
    if module.partition(".")[0] in SOME_PLATFORMS | {"__future__"} | set(sys.builtin_module_names):
        return True
    spec = importlib.util.find_spec(module)
    origin = str(spec.origin) if spec else ""
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return origin in ("built-in", "frozen") or (origin.startswith(library) and "site-packages" not in origin)


def test_python_alone_is_enough() -> None:
    assert [module for module, _ in imports() if not is_standard(module)] == []


def test_nothing_is_imported_that_reaches_a_network() -> None:
    reaching = NETWORK - LOCAL | {"urllib", "email"}
    assert [module for module, _ in imports() if {module, module.split(".")[0]} & reaching] == []
    assert [module for module, at_top in imports() if at_top and module in LOCAL] == []


def test_nothing_that_only_some_systems_have_is_imported_at_the_top() -> None:
    assert [module for module, at_top in imports() if at_top and module.split(".")[0] in SOME_PLATFORMS] == []


def test_a_whole_day_of_work_loads_no_module_that_reaches_a_network(tmp_path: Path) -> None:
    """LOCAL alone may be loaded: by it the program and the processes that it forked exchange descriptors, over a pair of their own."""
    source, drive = tmp_path / "Documents", tmp_path / "drive"
    source.mkdir()
    drive.mkdir()
    (source / "a").write_bytes(b"1")
    script = f"""
import sys
sys.path.insert(0, {str(SNAPBACK.parent)!r})
import snapback
after_import = set(sys.modules)
tmp, source, drive = sys.argv[1:]
for words in (
    ["--help"],
    ["backup", "--help"],
    ["backup", "--init", source, drive],
    ["backup", "-n", source, drive],
    ["backup", source, drive],
    ["list", "--json", "--drive", drive],
    ["verify", "--drive", drive],
    ["restore", "latest", "--drive", drive, "--to", tmp + "/back"],
    ["find", "a", "--drive", drive],
    ["diff", "latest", "source", "--drive", drive],
    ["why", source + "/a", "--drive", drive],
    ["schedule", source, drive, "--with", "cron"],
    ["schedule", source, drive, "--with", "systemd"],
    ["schedule", source, drive, "--with", "launchd"],
    ["schedule", source, drive, "--with", "task"],
):
    assert snapback.main(words) == 0, words
print(repr((sorted(after_import), sorted(sys.modules))), file=sys.stderr)
"""
    command = [sys.executable, "-I", "-c", script, tmp_path, source, drive]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    at_import, at_work = (set(modules) for modules in ast.literal_eval(done.stderr.splitlines()[-1]))
    assert (sorted(at_import & NETWORK), sorted(at_work & (NETWORK - LOCAL))) == ([], [])


def test_a_file_beside_the_script_is_never_imported(tmp_path: Path) -> None:
    (tmp_path / "snapback.py").write_text(TEXT, encoding="utf-8")
    for module, _ in imports():
        if module.split(".")[0] not in {"os", "sys", "__future__"}:
            (tmp_path / f"{module.partition('.')[0]}.py").write_text("raise SystemExit('obeyed a file on the stick')")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, tmp_path / "snapback.py", "--version"]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (0, f"snapback {snapback.__version__}\n")


def test_every_version_of_python_from_3_8_on_can_read_it() -> None:
    ast.parse(TEXT, feature_version=(3, 8))


# --- Size and words ------


def length(function: ast.AST) -> int:
    return int(getattr(function, "end_lineno", 0)) - int(getattr(function, "lineno", 0)) + 1


def test_a_function_fits_on_a_screen() -> None:
    assert {node.name: length(node) for node in FUNCTIONS if length(node) > 60} == {}


def public(body: Sequence[ast.stmt]) -> Iterator[Definition]:
    """Give what can be used from outside: definitions of the module and, in its classes, methods."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def test_everything_public_says_what_it_is_for() -> None:
    silent = [node.name for node in public(TREE.body) if not ast.get_docstring(node)]
    assert silent == []


def test_names_are_domain_nouns_and_plain_verbs() -> None:
    empty = re.compile(r"(?i).*(manager|helper|utils?|process)$|(do|process)_.*")
    definitions = [node.name for node in ast.walk(TREE) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert [name for name in definitions if empty.fullmatch(name)] == []


def test_people_are_not_told_of_inodes_and_repositories() -> None:
    documentation = {id(node.value) for node in NODES if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    told = [node for node in NODES if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation]
    jargon = re.compile(r"\b(inode|prune|repository|snapshots?)\b")
    assert [said(node) for node in told if jargon.search(node.value) and " " in node.value.strip()] == []


# --- The command line and its own documents ------


def options_of(name: str) -> Dict[str, argparse.Action]:
    actions = [action for action in snapback.parser_of(name)._actions if action.option_strings]
    return {option: action for action in actions for option in action.option_strings}


def command_lines(text: str) -> Iterator[List[str]]:
    """Give the words after `snapback.py` of each command line in a text, up to a pipe, a semicolon or a comment."""
    for line in text.replace("\\\n", " ").split("\n"):
        if not re.search(r"snapback\.py (?! )", line):  # with more blanks it is a list of files
            continue
        lexer = shlex.shlex(re.sub(r"\b\d>&\d", "", line), posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words = list(lexer)
        if words[:1] == ["cp"]:  # it is a file there, not a command
            continue
        starts = [at for at, word in enumerate(words) if word.rpartition("/")[2].rpartition("\\")[2] == "snapback.py"]
        for at in starts:
            rest = words[at + 1 :]
            ends = [end for end, word in enumerate(rest) if word and set(word) <= set("|&;<>()")]
            yield rest[: ends[0]] if ends else rest


def refused(words: Sequence[str]) -> str:
    """Say why a command line is refused; an empty text where it is read."""
    name, rest = snapback.split_command(words)
    if not name and rest in (["--version"], ["--help"], ["-h"]):
        return ""
    try:
        assert name in snapback.COMMANDS, f"there is no command {name!r}"
        snapback.parser_of(name).parse_intermixed_args(rest)
    except snapback.Finished:
        return ""
    except (snapback.UsageError, AssertionError) as err:
        return f"{shlex.join(words)}: {err}"
    return ""


def test_every_command_line_in_the_program_is_one_that_it_reads() -> None:
    title = "\n".join(line[:43] for line in (snapback.__doc__ or "").split("\n") if line.startswith("  snapback.py"))
    title = re.sub(r"\[([A-Z.]+)\]", r"\1", title)
    examples = "\n".join(command.example for command in snapback.COMMANDS.values())
    lines = [*command_lines(title), *command_lines(examples)]
    assert [refused(words) for words in lines if refused(words)] == []
    assert sorted(words[0] for words in lines) == sorted(2 * list(snapback.COMMANDS))


def test_options_that_take_a_word_are_known_before_the_command_too() -> None:
    taking = {
        option for name in snapback.COMMANDS for option, action in options_of(name).items() if action.nargs != 0 and option.startswith("--")
    }
    assert taking == set(snapback.VALUE_OPTIONS)


def test_an_option_means_the_same_in_every_command() -> None:
    meanings: Dict[str, Set[Tuple[str, str]]] = {}
    for name in snapback.COMMANDS:
        for option, action in options_of(name).items():
            meanings.setdefault(option, set()).add((action.dest, str(action.nargs)))
    assert {option: ways for option, ways in meanings.items() if len(ways) > 1} == {}


@pytest.mark.parametrize("name", snapback.COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    assert [action.dest for action in snapback.parser_of(name)._actions if not action.help] == []


# --- README ------


@pytest.fixture
def readme() -> str:
    if not README.exists():
        reason = "there is no README.md yet"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return README.read_text(encoding="utf-8")


def shown_in(text: str) -> List[List[str]]:
    """Give the command lines in blocks of code and between backquotes, without the brackets of what may be left out."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^(?: {4}[^\n]*\n)+", text, re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks += [code.replace("\n", " ") for code in re.findall(r"`([^`]*)`", prose)]
    lines = [words for block in blocks for words in command_lines(re.sub(r"[\[\]]", "", block))]
    return [words for words in lines if words[0] != "COMMAND"]


def table(text: str, *columns: str) -> List[List[str]]:
    """Give the rows of the table that has these columns."""
    head = r"^\| *" + r" *\| *".join(columns) + r" *\|\n\|[-| :]+\|\n((?:\|.*\n)+)"
    found = re.search(head, text, re.MULTILINE)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in (found.group(1) if found else "").splitlines()]


def test_every_command_line_in_the_readme_is_one_that_the_program_reads(readme: str) -> None:
    lines = shown_in(readme)
    assert [refused(words) for words in lines if refused(words)] == []
    assert len(lines) > 5


def test_the_readme_has_the_same_commands(readme: str) -> None:
    assert sorted(row[0].partition(" ")[0] for row in table(readme, "command", "does")) == sorted(snapback.COMMANDS)


def test_the_readme_has_the_same_options_for_the_same_commands(readme: str) -> None:
    told: Dict[str, Set[str]] = {}
    for options, commands, _ in table(readme, "option", "of", "does"):
        all_but = set(snapback.COMMANDS) - set(re.findall(r"\w+", commands.partition("all but")[2]))
        of = all_but if commands.startswith("all") else set(re.findall(r"\w+", commands))
        told.update(dict.fromkeys(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", options), of))
    known: Dict[str, Set[str]] = {}
    for name in snapback.COMMANDS:
        for option in options_of(name):
            known.setdefault(option, set()).add(name)
    assert told == {option: names for option, names in known.items() if option not in ("-h", "--help")}


def test_the_readme_has_the_same_exit_codes(readme: str) -> None:
    rows = table(readme, "exit", "means")
    assert [int(row[0]) for row in rows] == [int(code) for code in snapback.Exit]
    assert [row for row in rows if not row[1]] == []


def test_the_readme_has_the_same_settings(readme: str) -> None:
    told: Dict[str, Set[str]] = {"backup": set(), "drive": set()}
    for keys, sections, _ in table(readme, "key", "in", "means"):
        named = re.findall(r"(?<![\w-])[a-z][a-z-]*(?:\.\.\.)?", keys)
        every = {key for name in named for key in snapback.RETENTION_KEYS if name == "keep-..." and key.startswith("keep-")}
        for section in sections.split(", "):
            told[section] |= every | {name for name in named if name != "keep-..."}
    assert told == {"backup": set(snapback.BACKUP_KEYS), "drive": set(snapback.DRIVE_KEYS)}


def test_the_readme_says_which_pythons_are_enough(readme: str) -> None:
    assert "3.8" in readme
