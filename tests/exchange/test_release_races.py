"""Races between what closes an answer and the answer, at random instants: none is lost (spec/consent.md 12).

The oracle: whoever closes counts, in his own transaction and once nothing can be released any more that was decided
before, the disclosures there are. After everybody has ended there are as many. And each client has seen what the log
says that it was shown, and no more.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from consent import directives
from hie.audit.models import AuditEvent, Disclosure
from hie.audit.recorder import EventType
from hie.directory import registration
from hie.exchange import notices
from hie.exchange.errors import Unsettled
from hie.outbox.models import OutboxMessage
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from tests.exchange import releasing, world
from tests.exchange.releasing import DOCUMENTS, PATIENT, Setting, Told, choice
from tests.fhir.conftest import hub  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 3_500_000
CLIENT_MAY_STILL_GET = 2 << 20
"""What is under way when it is closed: a mebibyte that was checked, and the piece it was cut into."""


@dataclass(slots=True)
class Closed:
    """What closed, and what had left by then."""

    at: float = 0.0
    disclosed: int = 0
    consent: Any = None


def deny(at: Setting, closed: Closed) -> None:
    """The patient denies everything."""
    with transaction.atomic():
        closed.consent = directives.file(choice("deny"), identifier_pk=at.hospital_pk, filer=PATIENT).id
        closed.disclosed = Disclosure.objects.count()
    closed.at = time.monotonic()


def permit_again(_: Setting, closed: Closed) -> None:
    directives.revoke(closed.consent, filer=PATIENT, reason="next race")


def suspend(_: Setting, closed: Closed) -> None:
    """The clinic is suspended."""
    with transaction.atomic():
        registration.suspend("org-clinic", reason="race", actor="test")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        closed.disclosed = Disclosure.objects.count()
    closed.at = time.monotonic()


def reinstate(_: Setting, __: Closed) -> None:
    registration.reinstate("org-clinic", reason="next race", actor="test")


@dataclass(slots=True)
class Client:
    """One who asks while it is closed: what he saw, or what he was refused with."""

    ask: Callable[[Caller], Any]
    caller: Caller
    logged_as: dict[str, str]
    """How the events of what it saw are found."""
    saw: Any = None
    refused: str = ""
    failed: BaseException | None = None
    took_s: float = 0.0

    def run(self) -> None:
        """Ask once."""
        began = time.monotonic()
        try:
            self.saw = self.ask(self.caller)
        except HubError as refusal:
            self.refused = type(refusal).__name__
        except BaseException as error:
            self.failed = error
        finally:
            self.took_s = time.monotonic() - began
            connection.close()


@dataclass(slots=True)
class Transfer:
    """When how many bytes came."""

    pieces: list[tuple[float, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.pieces)


def transferred(at: Setting, caller: Caller) -> Transfer:
    from hie.exchange import retrieve

    found = retrieve.retrieve(retrieve.Wanted(binary_id=at.binary), caller=caller)
    got = Transfer()
    for chunk in found.chunks:
        got.pieces.append((time.monotonic(), len(chunk)))
    return got


def races(at: Setting, number: int, *, seed: int) -> Counter[str]:
    """Run so many; what came of them by name. A lost one fails."""
    drawn = random.Random(seed)
    spans = dict.fromkeys(("documents", "bytes", "answers", "stream", "notices"), 0.03)
    results: Counter[str] = Counter()
    for n in range(number):
        kind = ("documents", "bytes", "answers", "stream", "notices")[n % 5]
        close, reopen = (deny, permit_again) if drawn.random() < 0.5 else (suspend, reinstate)
        clients = _clients(at, kind, n)
        closed = Closed()
        threads = [threading.Thread(target=client.run) for client in clients]
        wait_s = drawn.uniform(0, 1.3 * spans[kind])
        offsets = [drawn.uniform(0, 0.3 * spans[kind]) for _ in clients]
        for thread, offset in zip(threads, offsets, strict=True):
            thread.start()
            time.sleep(offset)
        time.sleep(max(0.0, wait_s - sum(offsets)))
        close(at, closed)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        lost = Disclosure.objects.count() - closed.disclosed
        assert lost == 0, f"race {n} ({kind}, {close.__name__}): {lost} disclosures after it was closed"
        for client in clients:
            results[_agrees(client, closed)] += 1
        spans[kind] = 0.8 * spans[kind] + 0.2 * max(client.took_s for client in clients)
        reopen(at, closed)
    return results


def _clients(at: Setting, kind: str, n: int) -> list[Client]:
    callers = [world.caller(request_id=f"race-{n}-{place}") for place in range(2)]
    if kind in ("documents", "bytes"):
        way = partial(_shown if kind == "documents" else transferred, at)
        return [Client(way, one, {"request_id": one.request_id}) for one in callers]
    if kind == "notices":
        del at.told.notices[:]
        # One that was put off in a round before would be told in this one, beside the one it is about.
        OutboxMessage.objects.filter(delivered_at=None).delete()
        releasing.revised(at)
        (notice,) = OutboxMessage.objects.filter(delivered_at=None)
        return [Client(lambda _: _delivered(at), callers[0], {"correlation": f"notice/{notice.id}"})]
    asked = releasing.answered(at, world.caller(request_id=f"race-{n}-ask"))
    logged_as = {"correlation": str(asked.id), "kind": EventType.CROSS_QUERY_RESULT}
    if kind == "answers":
        return [Client(lambda one: releasing.viewed(asked, one)[0], one, logged_as) for one in callers]
    return [Client(partial(_told_by_stream, asked), callers[0], logged_as)]


def _shown(at: Setting, caller: Caller) -> int:
    return DOCUMENTS["documents"](at, caller)[1]


def _told_by_stream(asked: Any, caller: Caller) -> int:
    """The documents that a few turns of the stream tell."""
    found = 0
    for _ in range(3):
        found = max(found, sum(kind == "document" for kind, _ in releasing.streamed(asked, caller)))
    return found


def _delivered(at: Setting) -> int:
    notices.deliver()
    return len(at.told.notices)


def _agrees(client: Client, closed: Closed) -> str:
    """What the client saw is what the log says; how it came out."""
    if client.failed is not None:
        raise client.failed
    events = AuditEvent.objects.filter(**client.logged_as)
    logged = Disclosure.objects.filter(event__in=events).exists()
    if isinstance(client.saw, Transfer):
        late = sum(size for moment, size in client.saw.pieces if moment > closed.at)
        assert late <= CLIENT_MAY_STILL_GET
        whole = sum(size for _, size in client.saw.pieces) == SIZE
        assert logged
        return "released" if whole else "stopped under way"
    if client.saw:
        assert logged
    if client.refused:
        assert client.refused in {"AccessRefused", "NotFound", "NotAuthenticated", Unsettled.__name__}
        return f"refused: {client.refused}"
    return "released" if client.saw else "nothing shown"


@pytest.fixture
def at(hub: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Setting:  # noqa: F811 - the fixture of that name
    settings.ROOT_URLCONF = "tests.leaks.urls"
    settings.GUESSING_PER_MINUTE = 1_000_000
    channel = Told()
    monkeypatch.setitem(notices._channels, "subscription", channel)
    return releasing.setting(channel, size=SIZE)


@pytest.mark.parametrize("number", [pytest.param(20, id="20"), pytest.param(1000, marks=pytest.mark.slow, id="1000")])
def test_no_revocation_and_no_suspension_loses_a_race(at: Setting, number: int) -> None:
    results = races(at, number, seed=number)
    print(f"{number} races: {dict(sorted(results.items()))}")
    assert sum(results.values()) >= number
    if number >= 1000:
        # A race that one side always wins shows nothing.
        assert results["released"] > number * 0.1
        assert results.total() - results["released"] > number * 0.1
