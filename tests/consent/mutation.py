"""A mutation run over the engine: every change that cosmic-ray knows, one at a time, against the tests.

    python -m tests.consent.mutation FOLDER [--minutes 5] [--corpus 400] [--again] [--since COMMIT]

cosmic-ray makes the mutants (its operators on every module of `consent/engine`); what runs them is here, because a
process of its own for each would take a day. Each mutant lives in a fork that has everything but the engine in memory
(the engine and the tests as compiled code), runs the engine's modules with the mutated one in its place, and is held
against cases with the answers of the slow evaluator (`killing`), drawn and directed, and against the tests of rules
that need no database. Results are kept in FOLDER, so that a run goes on where it stopped; `--again` runs the survivors
once more, `--only` some modules, `--since` only the lines that were written after a commit.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import itertools
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "consent" / "engine"
CPU_S = 30  # of one mutant; what takes more never ends
FIRST = 25  # of what killed mutants at a place is kept, and tried before anything else
BY_CASES = ("decide", "directive", "matching")  # modules whose mutants cases notice rather than tests
DIRECTED = (
    "test_engine_parts.test_every_directed_case_rests_on_what_the_slow_evaluator_says"  # its cases join the corpus
)
TESTS = (
    "test_engine_values",
    "test_engine_parts",
    "test_rules",
    "test_engine_edges",
    "test_uncertain",
    "test_completed",
)
KILLED, SURVIVED, TOOK_TOO_LONG, NONE = "killed", "survived", "timeout", "same"


@dataclass
class Module:
    """A module of the engine: its tree, and what it is without annotations, which are never evaluated."""

    name: str
    tree: Any
    bare: str
    annotations: list[tuple[tuple[int, int], tuple[int, int]]]

    @classmethod
    def read(cls, path: Path) -> Module:
        """A module by its file."""
        from cosmic_ray.ast import get_ast

        source = path.read_text()
        found = [
            one
            for node in ast.walk(ast.parse(source))
            for one in (getattr(node, "annotation", None), getattr(node, "returns", None))
            if one is not None
        ]
        spans = [((one.lineno, one.col_offset), (one.end_lineno, one.end_col_offset)) for one in found]
        return cls(path.stem, get_ast(source), bare(source), spans)

    def decides(self, begin: tuple[int, int]) -> bool:
        """Whether what stands there is more than an annotation."""
        return not any(since <= begin < until for since, until in self.annotations)


@dataclass
class Mutant:
    """One change: the operator on a node of a module. `key` names it as cosmic-ray does."""

    module: Module
    operator: Any
    node: Any
    index: int
    key: str

    def places(self) -> list[tuple[str, int]]:
        """Where it is, from near to far: its line, its function, its module."""
        function = self.node.search_ancestor("funcdef") if self.node is not None else None
        lines = [self.node.start_pos[0]] if self.node is not None else []
        if function is not None:
            lines.append(-function.start_pos[0])
        return [(self.module.name, line) for line in (*lines, 0)]

    def code(self) -> str:
        """The source with the change; it is made in the tree, so only in a fork."""
        changed = self.operator.mutate(self.node, self.index)
        if changed is not self.node:
            siblings = self.node.parent.children
            siblings[next(n for n, one in enumerate(siblings) if one is self.node)] = changed
        return str(self.module.tree.get_code())


class Unchanged(Mutant):
    """No change: what is held against a mutant must let this pass."""

    def code(self) -> str:
        return str(self.module.tree.get_code())


def mutants() -> Iterator[Mutant]:
    """Every mutant of the engine's code."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes

    for path in sorted(ENGINE.glob("*.py")):
        module = Module.read(path)
        nodes = list(ast_nodes(module.tree))
        for name in sorted(plugins.operator_names()):
            if name in ("core/VariableInserter", "core/VariableReplacer"):  # they need to be told which variables
                continue
            operator = plugins.get_operator(name)()
            occurrence = 0
            for node in nodes:
                for index, position in enumerate(operator.mutation_positions(node)):
                    if module.decides(position[0]):
                        yield Mutant(module, operator, node, index, f"{module.name} {name} {occurrence}")
                    occurrence += 1


def bare(source: str) -> str:
    """The module without annotations."""

    class Bare(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
            node.returns = None
            return self.generic_visit(node)

        def visit_arg(self, node: ast.arg) -> Any:
            node.annotation = None
            return node

        def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
            node.annotation = ast.Name("object")
            return self.generic_visit(node)

    return ast.dump(Bare().visit(ast.parse(source)))


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules from code compiled before any fork, so that a fork pays for running it only."""

    def __init__(self) -> None:
        files = [*ENGINE.glob("*.py"), *(ROOT / "consent").glob("case*.py"), *(ROOT / "tests" / "consent").glob("*.py")]
        self.codes = {self._name(file): compile(file.read_text(), str(file), "exec") for file in files}

    @staticmethod
    def _name(file: Path) -> str:
        return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        package = fullname in ("consent.engine", "tests.consent")
        return importlib.util.spec_from_loader(fullname, self, is_package=package) if fullname in self.codes else None

    def exec_module(self, module: Any) -> None:
        exec(self.codes[module.__name__], module.__dict__)


@dataclass
class Held:
    """What mutants are held against: cases (by their places) and tests (as `module.name`, the cheapest first).

    First comes what killed others of the same line, then of the same function, then of the same module.
    """

    corpus: list[Any]
    tests: list[str]
    modules: Instead
    killers: dict[tuple[str, int], list[int | str]] = field(default_factory=dict)

    def order(self, mutant: Mutant) -> list[int | str]:
        """Everything, in the order in which it is tried on a mutant."""
        near = [killer for place in mutant.places() for killer in self.killers.get(place, ())]
        cases, tests = range(len(self.corpus)), self.tests
        rest = [*cases, *tests] if mutant.module.name in BY_CASES else [*tests, *cases]
        return list(dict.fromkeys([*near, *rest]))

    def killed(self, mutant: Mutant, killer: int | str) -> None:
        """Remember what killed one."""
        for place in mutant.places():
            before = self.killers.setdefault(place, [])
            self.killers[place] = [killer, *(one for one in before if one != killer)][:FIRST]


def lives(mutant: Mutant, held: Held) -> str:
    """What becomes of a mutant."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _as_mutant(mutant, held, write)
    os.close(write)
    _, status = os.waitpid(child, 0)
    told = os.read(read, 200).decode()
    if told:
        held.killed(mutant, int(told) if told.isdigit() else told)
    os.close(read)
    endings = {0: SURVIVED, 77: NONE, -signal.SIGXCPU: TOOK_TOO_LONG}
    return endings.get(os.waitstatus_to_exitcode(status), KILLED)


def _as_mutant(mutant: Mutant, held: Held, write: int) -> None:
    """In the fork: ends with 0 when nothing notices the change, with 77 when there is none."""
    outcome = 1
    try:
        gc.disable()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        name, text = f"consent.engine.{mutant.module.name}", mutant.code()
        try:
            held.modules.codes[name] = compile(text, f"<mutant of {name}>", "exec")
        except SyntaxError:  # "*" and "/" between parameters are no operators
            os._exit(77)
        if _noticed(held, held.order(mutant), write):
            outcome = 1
        else:
            outcome = 77 if bare(text) == mutant.module.bare else 0
    except BaseException:
        outcome = 1
    finally:
        os._exit(outcome)


def _noticed(held: Held, order: list[int | str], write: int) -> bool:
    """Whether a case or a test fails; a mutant that lives pays for everything."""
    from consent.case_fixtures import Fixture
    from tests.consent import fixture as fx
    from tests.consent import killing

    fixture = Fixture(fx.FIXTURE)
    for one in order:
        try:
            if isinstance(one, str):
                hold_test(test_of(one))
            elif not killing.says(*held.corpus[one], fixture):
                raise AssertionError
        except BaseException:
            os.write(write, str(one).encode())
            return True
    return False


def test_of(name: str) -> Any:
    """A test by `module.name`."""
    module, _, function = name.partition(".")
    return getattr(importlib.import_module(f"tests.consent.{module}"), function)


def prepared(kept: Path) -> dict[str, Any]:
    """What needs the engine as it is, worked out in a fork: the tests by their cost, and the directed cases answered."""
    child = os.fork()
    if child == 0:
        from tests.consent import drawn

        costs = {}
        for module in TESTS:
            for name in vars(importlib.import_module(f"tests.consent.{module}")):
                if name.startswith("test_") and f"{module}.{name}" != DIRECTED:
                    since = time.process_time()
                    hold_test(test_of(f"{module}.{name}"))
                    costs[f"{module}.{name}"] = time.process_time() - since
        made = [as_documents(*row.values) for row in test_of(DIRECTED).pytestmark[0].args[1]]
        directed = [(case, drawn.right(case)) for case in made]
        kept.write_text(json.dumps({"tests": sorted(costs, key=lambda one: costs[one]), "directed": directed}))
        os._exit(0)
    os.waitpid(child, 0)
    return dict(json.loads(kept.read_text()))


def as_documents(case: dict[str, Any]) -> dict[str, Any]:
    """A case of one document as one of several."""
    return (
        case
        if "documents" in case
        else {k: v for k, v in case.items() if k != "document"} | {"documents": [case["document"]]}
    )


def hold_test(test: Any) -> None:
    """Call a test with every set of its parameters, as pytest would; one that fails raises."""
    tables = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args[0], mark.args[1]
            names = [one.strip() for one in names.split(",")] if isinstance(names, str) else list(names)
            rows = [one.values if hasattr(one, "values") and hasattr(one, "marks") else one for one in values]
            tables.append(
                [
                    dict(zip(names, row if len(names) > 1 or _is_param(row, one) else (row,), strict=True))
                    for row, one in zip(rows, values, strict=True)
                ]
            )
    for chosen in itertools.product(*tables):
        test(**{key: value for row in chosen for key, value in row.items()})


def _is_param(row: Any, given: Any) -> bool:
    return row is not given


def corpus_of(folder: Path, size: int, directed: list[Any]) -> list[Any]:
    """(case, expected) pairs: drawn, the same in every run of a folder, and directed ones."""
    kept = folder / "corpus.json"
    if not kept.exists():
        from tests.consent import drawn

        kept.write_text(json.dumps(drawn.corpus(size)))
    return [
        (case, {**right, "decisions": [(*one[:4], [tuple(item) for item in one[4]]) for one in right["decisions"]]})
        for case, right in [*json.loads(kept.read_text()), *directed]
    ]


def written_since(commit: str) -> set[tuple[str, int]]:
    """The lines of the engine (module, number) that a commit does not have."""
    git = ["git", "-C", str(ROOT), "diff", "--unified=0", commit, "--", str(ENGINE)]
    lines: set[tuple[str, int]] = set()
    module = ""
    for line in subprocess.run(git, check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("+++ "):
            module = Path(line[4:]).stem
        elif part := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(part[1]), int(part[2] or 1)
            lines |= {(module, number) for number in range(first, first + count)}
    return lines


def main(arguments: list[str]) -> int:
    """Run what is left of the mutants for some minutes, then say how it stands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--corpus", type=int, default=400)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--only", default="", help="modules, separated by commas")
    parser.add_argument("--since", default="", help="a commit: only lines written since")
    options = parser.parse_args(arguments)
    options.folder.mkdir(exist_ok=True)
    results = options.folder / "results.json"
    known: dict[str, str] = json.loads(results.read_text()) if results.exists() else {}
    until = time.monotonic() + options.minutes * 60
    for name in ("pytest", "consent", "hie.standards.facts", "hie.standards.naming", "tests.consent.drawn"):
        importlib.import_module(name)  # in memory before any fork; none of them knows the engine
    assert "consent.engine" not in sys.modules

    modules = Instead()
    sys.meta_path.insert(0, modules)
    found = prepared(options.folder / "prepared.json")
    held = Held(corpus_of(options.folder, options.corpus, found["directed"]), found["tests"], modules)
    wanted = [one for one in mutants() if not options.only or one.module.name in options.only.split(",")]
    if options.since:
        lines = written_since(options.since)
        wanted = [one for one in wanted if one.node is not None and (one.module.name, one.node.start_pos[0]) in lines]
    todo = [one for one in wanted if known.get(one.key) in ((SURVIVED, None) if options.again else (None,))]
    random.Random(3).shuffle(todo)  # what has been run so far stands for the whole
    gc.collect()
    gc.freeze()
    if todo and lives(Unchanged(todo[0].module, None, None, 0, ""), held) != NONE:
        sys.exit("the engine as it is does not pass: nothing can be said of its mutants")
    for done, one in enumerate(todo):
        if time.monotonic() > until:
            print(f"{len(todo) - done} left")
            break
        known[one.key] = lives(one, held)
        if done % 20 == 0:
            results.write_text(json.dumps(known))
    results.write_text(json.dumps(known))
    by_module: dict[str, Counter[str]] = {}
    for key, outcome in ((one.key, known[one.key]) for one in wanted if one.key in known):
        by_module.setdefault(key.split()[0], Counter())[outcome] += 1
    for name, counts in sorted(by_module.items()):
        print(name, dict(counts))
    total = sum(by_module.values(), Counter())
    made = total[KILLED] + total[TOOK_TOO_LONG] + total[SURVIVED]
    wanted = [one for one in wanted if known.get(one.key) != NONE]
    print(f"{made} of {len(wanted)}, {1 - total[SURVIVED] / max(made, 1):.1%} killed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
