"""The documents say what is there: links lead somewhere, named files, tests, commands and settings exist, examples compile."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from hie.ops import door

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("docs/**/*.md"), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "THREAT_MODEL.md"))]
)
TOP = ("consent", "docs", "documents", "hie", "patients", "tests", ".ci")
SETTINGS = ROOT / "docs" / "reference" / "settings.md"
CONFORMANCE = ROOT / "docs" / "reference" / "conformance.md"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"^(?:{'|'.join(map(re.escape, TOP))})(?:/[\w.-]+)*/?$")
HUB = re.compile(r"\./hub\s+([a-z_][\w]*)")
TEST = re.compile(r"\btest_[a-z]\w*")
VARIABLE = re.compile(r"\b(?:HIE_[A-Z0-9_]+|DATABASE_URL|REDIS_URL)\b")
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


@cache
def all_tests() -> frozenset[str]:
    names = set()
    for path in ROOT.glob("tests/**/test_*.py"):
        names.add(path.stem)
        names.update(re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.M))
    return frozenset(names)


@cache
def our_commands() -> frozenset[str]:
    """Management commands of the hub's own apps."""
    apps = ("hie", "patients", "documents", "consent")
    paths = (path for app in apps for path in ROOT.glob(f"{app}/**/management/commands/*.py"))
    return frozenset(path.stem for path in paths if not path.stem.startswith("_"))


@cache
def all_commands() -> frozenset[str]:
    of_django = {"migrate", "createsuperuser", "changepassword", "makemigrations", "shell", "spectacular", "help"}
    return frozenset({*door.PROGRAMS, *our_commands(), *of_django})


@cache
def variables_read() -> frozenset[str]:
    """Names that `hie/settings` asks the environment for: the first argument of every `env.…("NAME")`."""
    found = set()
    for path in (ROOT / "hie" / "settings").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.args[0].value
                if isinstance(name, str) and VARIABLE.fullmatch(name):
                    found.add(name)
    return frozenset(found)


def heading_ids(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@EVERY_PAGE
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in heading_ids(linked), target


@EVERY_PAGE
def test_every_path_named_in_code_marks_exists(page: Path) -> None:
    for mark in CODE.findall(prose(page)):
        for word in mark.split(": ")[0].split(", "):
            if PATH.match(word) and "/" in word:
                assert (ROOT / word).exists(), word


@EVERY_PAGE
def test_every_hub_command_named_is_there(page: Path) -> None:
    assert set(HUB.findall(page.read_text())) <= all_commands()


@EVERY_PAGE
def test_every_setting_named_is_read(page: Path) -> None:
    known = variables_read() | {"HIE_PASSWORD"}
    assert {name for name in VARIABLE.findall(page.read_text()) if not name.endswith("_")} <= known


@EVERY_PAGE
def test_every_python_example_compiles(page: Path) -> None:
    blocks = [code for language, code in FENCE.findall(page.read_text()) if language == "python"]
    compile("\n".join(blocks), str(page), "exec")


def test_every_setting_is_in_the_reference() -> None:
    named = set(VARIABLE.findall(SETTINGS.read_text()))
    assert variables_read() <= named
    assert "HIE_PORT" in variables_read(), "the reading of hie/settings is broken"


def test_every_command_is_in_the_reference() -> None:
    text = SETTINGS.read_text()
    missing = {name for name in {*door.PROGRAMS, *our_commands()} if f"./hub {name}" not in text}
    assert not missing


@EVERY_PAGE
def test_every_test_named_exists(page: Path) -> None:
    assert set(TEST.findall(page.read_text())) <= all_tests()


def test_conformance_names_a_test_for_whatever_it_calls_done() -> None:
    rows = [line for line in CONFORMANCE.read_text().splitlines() if line.startswith("|") and "| yes |" in line]
    assert len(rows) > 20
    assert [row for row in rows if not TEST.search(row)] == []


def test_decisions_are_numbered_without_gap() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
