"""The harness of the walk: the same hub with what is hidden and without it, asked the same, must answer the same.

A *side* is built inside a savepoint and taken back, so both begin from one state. What a requester gets (status, headers,
body), what the hub logs meanwhile and how many statements it takes are kept as an `Heard`; ids, instants and numbers that
are of the side alone are replaced by the order in which they appear.

`walks` names the ways of the leak table that a test goes; `test_every_way_is_walked.py` holds that each guarded way has
one, and the fixture `gone` of the walking tests that its guard was really asked.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.module_loading import import_string

from hie.standards.facts import Caller
from hie.trust import token_service
from tests import isolation
from tests.leaks.reach import OURS
from tests.leaks.table import TABLE, Guarded

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_OF_THE_REQUEST = frozenset({"X-Request-Id", "Date", "Content-Length"})
_OWN = re.compile(
    r"(?P<page>_page=[^\"&\s]*)"
    r"|(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<message>(?<=\|)[0-9a-f]{20}(?=\|))"
    r"|(?P<unique>2\.25\.\d+)"
    r"|(?P<quoted>\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\d(?:\.\d+)?(?:Z|%2B00%3A00))"
    r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00))"
    r"|(?P<http>[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)"
    r"|(?P<took>\"elapsed_ms\": ?\d+|(?m:^id: \d+$))"
    r"|(?P<time>20\d{12}(?:\.\d+)?[+-]\d{4})"
    r"|(?P<row>Patient/<?[\w-]+>?#\d+|identifier:\d+)"
)


def walks(kind: str, *names: str) -> Callable[[F], F]:
    """Say which ways of the leak table a test goes."""

    def named(test: F) -> F:
        test.walks = (*getattr(test, "walks", ()), *((kind, name) for name in names))  # type: ignore[attr-defined]
        return test

    return named


def stopped(kind: str, *names: str) -> Callable[[F], F]:
    """Say which ways a test goes that end before their guard: the asker has no right to what it guards."""

    def named(test: F) -> F:
        test.stopped = (*getattr(test, "stopped", ()), *((kind, name) for name in names))  # type: ignore[attr-defined]
        return test

    return named


def walked(module: Any) -> set[tuple[str, str]]:
    """The ways that the tests of a module say they go."""
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]
    return {way for test in tests for way in (*getattr(test, "walks", ()), *getattr(test, "stopped", ()))}


@contextmanager
def guards_asked(ways: Iterable[tuple[str, str]]) -> Iterator[set[str]]:
    """Of the guards of these ways, those that were asked in the block; the set is filled when it ends."""
    guards = {entry.by for kind, name in ways if isinstance(entry := TABLE[kind][name], Guarded)}
    asked: set[str] = set()
    replaced: list[tuple[Any, str, Any]] = []
    for guard in sorted(guards):
        real = import_string(guard)
        noting = _noting(real, guard, asked)
        for module in [one for name, one in sys.modules.items() if name.startswith(OURS)]:
            for name in [name for name, value in vars(module).items() if value is real]:
                replaced.append((module, name, real))
                setattr(module, name, noting)
    try:
        yield asked
    finally:
        for module, name, real in replaced:
            setattr(module, name, real)
    missing = guards - asked
    assert not missing, f"the walk did not come by {sorted(missing)}"


def _noting(real: Callable[..., Any], guard: str, asked: set[str]) -> Callable[..., Any]:
    @functools.wraps(real)
    def noting(*args: Any, **kwargs: Any) -> Any:
        asked.add(guard)
        return real(*args, **kwargs)

    return noting


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one request, less what is of it or of its side alone."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    logged: tuple[str, ...] = ()
    statements: int = field(default=0, compare=False)


class Names:
    """Calls what is of one answer alone by the order of its appearance; `known` by their given names."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = sorted(known.items(), key=lambda pair: -len(pair[0]))
        self.seen: dict[str, str] = {}

    def bare(self, text: str) -> str:
        """The text with names for ids."""
        for real, name in self.known:
            text = text.replace(real, name)
        return _OWN.sub(self._name, text)

    def _name(self, match: re.Match[str]) -> str:
        kind = str(match.lastgroup)
        if kind == "took" and match.group().startswith('"'):
            return '"elapsed_ms": "<took>"'
        if kind in ("instant", "quoted", "time", "http", "took", "page"):
            return f"<{kind}>"
        return self.seen.setdefault(match.group(), f"<{kind} {len(self.seen)}>")


class Listener:
    """Everything that any logger says in a block, at every level; one for a test."""

    def __init__(self) -> None:
        self.out = io.StringIO()

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Until the block ends."""
        handler = logging.StreamHandler(self.out)
        root = logging.getLogger()
        level = root.level
        named = [root, *(logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict))]
        deaf = [item for item in named if item is root or not item.propagate]
        for item in deaf:
            item.addHandler(handler)
        root.setLevel(logging.INFO)
        database = logging.getLogger("django.db.backends")
        database_level = database.level
        database.setLevel(logging.INFO)  # statements are counted, and hold what they ask for
        try:
            yield self
        finally:
            database.setLevel(database_level)
            for item in deaf:
                item.removeHandler(handler)
            root.setLevel(level)

    def taken(self) -> list[str]:
        """The lines since the last time."""
        lines = self.out.getvalue().splitlines()
        self.out.seek(0)
        self.out.truncate()
        return lines


_QUERY = re.compile(r'"query": "([A-Za-z0-9+/]+=*)"')
"""The request that an AuditEvent quotes, which names what was asked for."""


def _read(quoted: re.Match[str]) -> str:
    return json.dumps({"query": base64.b64decode(quoted.group(1)).decode("utf-8", "replace")})[1:-1]


_TIMES = re.compile(r"'ms': [\d.]+|'request': '[^']*'")


def _whole(response: Any) -> bytes:
    """All that is sent, of a stream without end what comes within some seconds."""
    if not response.streaming:
        return bytes(response.content)
    until, parts = time.monotonic() + 3.0, []
    for part in response.streaming_content:
        parts.append(part)
        assert time.monotonic() < until, "a stream that does not end"
    return b"".join(parts)


@dataclass
class Ear:
    """A requester's client, which keeps what it hears."""

    caller: Caller
    listener: Listener
    known: dict[str, str] = field(default_factory=dict)
    client: Client = field(default_factory=Client)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Heard:
        """One request with a token of the requester's; FHIR paths below `/fhir`, others as they are."""
        heard, _ = self.asked(method, path, body, **headers)
        return heard

    def asked(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Heard, bytes]:
        """As `ask`, with the answer's bytes."""
        names = {f"HTTP_{name.replace('-', '_').upper()}": value for name, value in headers.items()}
        if "HTTP_AUTHORIZATION" not in names:
            names["HTTP_AUTHORIZATION"] = f"Bearer {token(self.caller)}"
        data = body if isinstance(body, (bytes, str)) else b"" if body is None else json.dumps(body)
        kind = names.pop(
            "HTTP_CONTENT_TYPE", "application/json" if path.startswith("/api") else "application/fhir+json"
        )
        self.listener.taken()
        with CaptureQueriesContext(connection) as seen:
            response = self.client.generic(method, path, data, content_type=kind, **names)
            raw = _whole(response)
        return self.heard(response.status_code, response.headers, raw, statements=len(seen)), raw

    def sent(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """One request that is not compared: status and JSON."""
        data = json.dumps(body)
        names = {"HTTP_AUTHORIZATION": f"Bearer {token(self.caller)}"}
        response = self.client.generic(method, path, data, content_type="application/fhir+json", **names)
        return response.status_code, json.loads(response.content)

    def heard(self, status: int, headers: Any, raw: bytes, *, statements: int = 0) -> Heard:
        """An answer as it is compared."""
        text = raw.decode("utf-8", "replace")
        if text.startswith("{"):
            text = _QUERY.sub(_read, json.dumps(json.loads(text), sort_keys=True))
        names = Names(self.known)
        # Where in the code a refusal was raised is the hub's own; what is said of the request is compared.
        said = [_TIMES.sub("", line) for line in self.listener.taken() if line.startswith("{")]
        return Heard(
            status,
            tuple(sorted((key, names.bare(value)) for key, value in headers.items() if key not in _OF_THE_REQUEST)),
            names.bare(text),
            tuple(names.bare(line) for line in said),
            statements,
        )

    def pages(self, path: str) -> list[Heard]:
        """The answer and those of the pages that it leads to."""
        found = []
        for _ in range(8):
            heard, raw = self.asked("GET", path)
            found.append(heard)
            links = json.loads(raw).get("link", ()) if raw.startswith(b"{") else ()
            following = [link["url"] for link in links if link["relation"] == "next"]
            if not following:
                return found
            path = following[0].removeprefix("https://hub.example")
        raise AssertionError("pages without end")


def token(caller: Caller) -> str:
    """A token as the token service writes it."""
    return token_service.encode(caller, tuple(caller.scopes), now=timezone.now(), lifetime_s=300)


def taken_back(build: Callable[[], T]) -> T:
    """What a side gives; the side itself is gone afterwards, and forgotten by every cache."""
    isolation.forget()
    try:
        side = transaction.atomic()
        side._from_testcase = True  # type: ignore[attr-defined]  # refusals are recorded apart from the request, not from the test
        with side:
            result = build()
            transaction.set_rollback(True)
    finally:
        isolation.forget()
    return result


def difference(one: Heard, other: Heard) -> str:
    """Where two answers part, for the message of an assertion."""
    lines = []
    for name in ("status", "headers", "body", "logged"):
        a, b = str(getattr(one, name)), str(getattr(other, name))
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            lines.append(
                f"{name} at {at}:\n  with    …{a[max(0, at - 80) : at + 160]}\n  without …{b[max(0, at - 80) : at + 160]}"
            )
    return "\n".join(lines)


def same(with_it: dict[Any, list[Heard]], without: dict[Any, list[Heard]]) -> None:
    """Every question has one answer on both sides; all that differ are named."""
    assert list(with_it) == list(without)
    wrong = []
    for question, heard in with_it.items():
        others = without[question]
        if len(heard) != len(others):
            wrong.append(f"{question}: {len(heard)} pages and {len(others)}")
        wrong += [
            f"{question}\n{difference(one, other)}" for one, other in zip(heard, others, strict=False) if one != other
        ]
    assert not wrong, "\n".join([f"{len(wrong)} answers differ", *wrong[:20]])
