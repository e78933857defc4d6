"""The release point: what closes between a decision and the commit of its audit row, closes the answer (consent.md 12)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone

from consent import directives, epochs, policies, proxies, tables
from consent.models import CodeTable, Jurisdiction
from hie.audit import recorder
from hie.audit.models import AuditEvent
from hie.audit.recorder import EventType
from hie.directory import epoch, registration
from hie.directory import queries as directory
from hie.directory.models import ReleasePolicy
from hie.exchange import access, decisions, feed, find, loop, notices, query, release, retrieve
from hie.exchange.errors import Unsettled
from hie.exchange.named_patients import PatientNamed
from hie.exchange.release import Basis
from hie.outbox.models import OutboxMessage
from hie.standards.facts import Operation
from patients import identifiers
from tests.directory.forms import clinic, file
from tests.exchange import releasing, world
from tests.exchange.releasing import (
    CONSENTS,
    DOCUMENTS,
    LOGS,
    PATIENT,
    PEOPLE,
    QUERIES,
    Setting,
    Told,
    apart,
    choice,
    custodian_suspended,
    denied,
    disclosed,
    grant_ended,
    outcome,
    relabelled,
    suspended,
    unlinked,
)
from tests.fhir.conftest import hub  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(hub: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Told:  # noqa: F811 - the fixture of that name
    settings.ROOT_URLCONF = "tests.leaks.urls"
    channel = Told()
    monkeypatch.setitem(notices._channels, "subscription", channel)
    return channel


@pytest.fixture
def at(told: Told) -> Setting:
    return releasing.setting(told)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Do something, committed elsewhere, when an answer has been decided and is about to be released; once."""
    hold = Basis._hold

    def plan(act: Callable[[], None], times: int = 1) -> list[int]:
        done: list[int] = []

        def held(self: Basis, ask: Any, *, alone: bool) -> None:
            if len(done) < times:
                done.append(disclosed())
                apart(act)
            hold(self, ask, alone=alone)

        monkeypatch.setattr(Basis, "_hold", held)
        return done

    return plan


BY_PERSON = ("documents", "lists", "patients", "patient", "match", "cross-reference", "consents", "answers")


def cases() -> list[Any]:
    whole = DOCUMENTS | PEOPLE | CONSENTS | QUERIES
    closings = {
        denied: whole,
        suspended: whole,
        custodian_suspended: DOCUMENTS | PEOPLE | CONSENTS,
        relabelled: DOCUMENTS,
        # What is asked for by its own id is found about the person it is about then.
        unlinked: {name: whole[name] for name in BY_PERSON},
        grant_ended: LOGS,
    }
    return [
        pytest.param(way, closing, id=f"{name}-{closing.__name__}")
        for closing, ways in closings.items()
        for name, way in ways.items()
    ]


@pytest.mark.parametrize(("way", "closing"), cases())
def test_what_closes_between_decision_and_release_closes_the_answer(
    told: Told,
    between: Callable[..., list[int]],
    way: releasing.Way,
    closing: Callable[[Setting], None],
) -> None:
    at = releasing.setting(told, also_at_the_clinic=closing is unlinked)
    ask = partial(outcome, partial(way, at, world.caller()))
    releasing.answered(at, world.caller())
    releasing.revised(at)
    open_answer = ask()
    releasing.answered(at, world.caller())
    releasing.revised(at)
    done = between(partial(closing, at))
    raced = ask()
    assert done, "nothing was about to be released"
    if closing is not unlinked:
        assert disclosed() == done[0], "something was disclosed after it was closed"
    if closing not in (suspended, custodian_suspended):
        releasing.revised(at)
    assert raced == ask()
    assert raced != open_answer


def law_from(effective: datetime) -> None:
    """A law under which nothing is released for treatment, stored to count from an instant."""
    body = json.loads(json.dumps(tables.shipped("jurisdictions")["jurisdictions"]["JA"]))
    body["prohibitions"] = [{"id": "NOTHING", "purposes": ["TREAT"]}]
    Jurisdiction.objects.create(code="JA", version=1, body=body, effective_from=effective)


def prohibited() -> list[str]:
    """The prohibitions of the law of JA in force."""
    sources = policies.sources_of(policies.current())
    assert sources is not None
    return [rule["id"] for rule in sources.jurisdictions["JA"]["prohibitions"]]


def reading_now() -> directory.Reading:
    with directory.one_reading(anew=True) as reading:
        return reading


def sleep_until(instant: datetime) -> None:
    time.sleep(max(0.0, (instant - timezone.now()).total_seconds()))


@pytest.mark.parametrize("before_s", [-0.02, 0.2], ids=["behind-the-instant", "just-before-it"])
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(ways[name], id=name)
        for ways, name in ((DOCUMENTS, "documents"), (DOCUMENTS, "bytes"), (PEOPLE, "patients"), (QUERIES, "stream"))
    ],
)
def test_what_is_decided_before_an_instant_of_policy_is_not_released_behind_it(
    at: Setting, between: Callable[..., list[int]], way: releasing.Way, before_s: float
) -> None:
    ask = partial(outcome, partial(way, at, world.caller()))
    releasing.answered(at, world.caller())
    open_answer = ask()
    releasing.answered(at, world.caller())
    effective = timezone.now() + timedelta(seconds=3)
    law_from(effective)
    decided_at: list[datetime] = []

    def wait() -> None:
        decided_at.append(timezone.now())
        sleep_until(effective - timedelta(seconds=before_s))

    done = between(wait)
    raced = ask()
    ended_at = timezone.now()
    assert decided_at[0] < effective - timedelta(seconds=0.5), "too slow a machine: decided at the instant already"
    assert ended_at > effective
    assert disclosed() == done[0], "something was disclosed behind the instant"
    assert raced == ask()
    assert raced != open_answer


def denial_from(at: Setting, effective: datetime) -> None:
    """A choice of the patient's against everything, filed to begin at an instant."""
    begins = choice("deny")
    begins["provision"]["period"] = {"start": effective.isoformat(timespec="milliseconds")}
    found = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P1")
    assert found is not None
    directives.file(begins, identifier_pk=found.pk, filer=PATIENT)


def agreement_until(at: Setting, effective: datetime) -> None:
    """The clinic's agreement, changed to end at an instant."""
    agreement = {
        "status": "active",
        "period": {"start": "2020-01-01", "end": effective.isoformat(timespec="milliseconds")},
    }
    registration.apply(file(clinic(scopes=["system/*.cruds"], agreement=agreement)))


def law(at: Setting, effective: datetime) -> None:
    law_from(effective)


ENDINGS = [pytest.param(one, id=one.__name__) for one in (law, denial_from, agreement_until)]


def whole_ms(seconds: float) -> datetime:
    """An instant from now, as a FHIR time to the millisecond names it."""
    instant = timezone.now() + timedelta(seconds=seconds)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_decided_before_something_ends_by_itself_is_not_released_behind_it(
    at: Setting, between: Callable[..., list[int]], ending: Callable[[Setting, datetime], None]
) -> None:
    ask = partial(outcome, partial(DOCUMENTS["documents"], at, world.caller()))
    open_answer = ask()
    effective = whole_ms(3)
    ending(at, effective)
    done = between(lambda: sleep_until(effective - timedelta(seconds=0.2)))
    raced = ask()
    assert timezone.now() >= effective
    assert done
    assert disclosed() == done[0], "something was disclosed behind the instant"
    assert raced == ask()
    assert raced != open_answer


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_transaction_around_an_answer_that_lasts_beyond_an_ending_is_not_committed(
    at: Setting, ending: Callable[[Setting, datetime], None]
) -> None:
    way = partial(DOCUMENTS["documents"], at, world.caller())
    way()
    before = disclosed()
    effective = whole_ms(3)
    ending(at, effective)

    def whole() -> None:
        with transaction.atomic():
            way()
            assert timezone.now() < effective - timedelta(seconds=0.5), "too slow a machine"
            sleep_until(effective)

    with pytest.raises(OperationalError) as caught:
        whole()
    assert release.contended(caught.value)
    assert disclosed() == before, "something was disclosed behind the instant"


def test_what_comes_to_its_end_at_each_commit_is_refused_as_to_be_asked_again(at: Setting) -> None:
    tries: list[int] = []

    @release.point
    def act() -> None:
        tries.append(1)
        with recorder.recording(EventType.FIND_DOCUMENTS, world.caller()) as event, transaction.atomic():
            access.gate(world.caller(), Operation.QUERY)
            release.rests_on(ends_s=time.monotonic() + 0.7)
            event.commit()
            time.sleep(0.75)

    with pytest.raises(Unsettled):
        act()
    assert len(tries) == release.TRIES
    assert AuditEvent.objects.filter(kind=EventType.FIND_DOCUMENTS, outcome=recorder.Outcome.SUCCESS).count() == 0


def test_the_end_of_an_answer_is_not_put_off_by_the_time_that_deciding_takes(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    effective = whole_ms(30)
    denial_from(at, effective)
    decide = access.answered

    def slowly(*given: Any) -> Any:
        time.sleep(0.4)
        return decide(*given)

    monkeypatch.setattr(access, "answered", slowly)
    verdict = access.permitted(world.caller(), access.subject(at.person), [], Operation.QUERY)
    assert abs((ends_at(verdict.ends_s) - effective).total_seconds()) < 0.1


def ends_at(ends_s: float | None) -> datetime:
    """An end as an instant."""
    assert ends_s is not None
    return timezone.now() + timedelta(seconds=ends_s - time.monotonic())


def test_what_time_is_left_is_counted_when_all_else_is_ready_to_be_sent(at: Setting) -> None:
    left: list[float] = []

    def ask(condition: str, values: Callable[[], Any]) -> bool:
        time.sleep(0.3)
        left.append(values()[-1])
        return True

    Basis(reading_now(), ends_s=time.monotonic() + 10).hold(ask)
    assert 9 < left[0] <= 9.7


@pytest.mark.parametrize("ending", [pytest.param(one, id=one.__name__) for one in (denial_from, agreement_until)])
def test_a_decision_told_to_a_custodian_ends_with_what_it_was_decided_by_and_a_simulated_one_never(
    at: Setting, ending: Callable[[Setting, datetime], None]
) -> None:
    effective = whole_ms(30)
    ending(at, effective)
    question = decisions.Question(
        patient=(PatientNamed(id=at.person),),
        organization=decisions.OrganizationNamed(id="org-clinic"),
        documents=(at.entry,),
    )
    ends = []
    for asked in (question, replace(question, at=timezone.now())):
        with release.noted() as released:
            decisions.decide(asked, caller=world.hospital_caller())
        ends += [one.basis.ends_s for one in released]
    assert abs((ends_at(ends[0]) - effective).total_seconds()) < 0.1
    assert ends[1:] == [None]


def test_of_many_candidates_only_those_an_answer_is_about_say_when_it_ends(at: Setting) -> None:
    denial_from(at, whole_ms(30))
    with directory.one_reading(), recorder.recording(EventType.FIND_DOCUMENTS, world.caller()) as event:
        access.gate(world.caller(), Operation.QUERY)
        found = access.demographics(world.caller(), [UUID(at.person)], rest_on_all=False)
        assert found
        assert release.basis_of(event).ends_s is None
        access.rest_on(found.values())
        assert release.basis_of(event).ends_s is not None
        event.dismiss()


@pytest.mark.parametrize("again", [False, True], ids=["told-as-decided", "decided-again"])
@pytest.mark.parametrize("ending", [pytest.param(one, id=one.__name__) for one in (denial_from, agreement_until)])
def test_a_question_to_a_community_ends_with_what_it_was_decided_by(
    at: Setting, ending: Callable[[Setting, datetime], None], again: bool
) -> None:
    effective = whole_ms(30)
    ending(at, effective)
    asked = releasing._ask(at, world.caller())
    if again:
        query.Query.objects.filter(pk=asked.pk).update(created_at=timezone.now() - timedelta(seconds=20))
    (job,) = loop.claim()
    assert abs((ends_at(job.standing.basis.ends_s) - effective).total_seconds()) < 0.1


def test_an_answer_of_many_statements_that_lasts_beyond_an_ending_is_decided_again(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    releasing.submitted(b"another note")
    ask = partial(outcome, partial(DOCUMENTS["documents"], at, world.caller()))
    open_answer, before = ask(), disclosed()
    effective = whole_ms(3)
    denial_from(at, effective)
    insert = recorder._Rows.insert

    def slowly(self: Any, *asked: Any) -> Any:
        inserted = insert(self, *asked)
        sleep_until(effective + timedelta(seconds=0.05))
        return inserted

    monkeypatch.setattr(recorder, "_ROWS_A_STATEMENT", 1)
    monkeypatch.setattr(recorder._Rows, "insert", slowly)
    raced = ask()
    assert disclosed() == before, "something was disclosed behind the instant"
    assert raced != open_answer


def test_at_an_instant_of_policy_open_answers_end_and_closed_ones_begin(at: Setting) -> None:
    effective = timezone.now() + timedelta(seconds=2.5)
    law_from(effective)
    answers: list[tuple[datetime, datetime, bool]] = []
    while timezone.now() < effective + timedelta(seconds=0.5):
        began = timezone.now()
        _, total = releasing.DOCUMENTS["documents"](at, world.caller())
        answers.append((began, timezone.now(), total == 1))
    assert {is_open for *_, is_open in answers} == {True, False}
    assert max(ended for _, ended, is_open in answers if is_open) < effective
    assert all(not is_open for began, _, is_open in answers if began >= effective)


def test_the_epoch_rises_at_each_instant_and_no_number_is_given_twice(at: Setting) -> None:
    first = timezone.now() + timedelta(seconds=1.5)
    # The later one is stored first, and is no change to what counts when its time comes: the epoch rises all the same.
    law_from(first + timedelta(seconds=1.0))
    ReleasePolicy.objects.create(participant_id="org-hospital", version=1, rules=[], effective_from=first)
    seen = [directory.epoch()]
    basis = Basis(reading_now())
    assert basis.stands()
    directory.bump_epoch()
    seen.append(directory.epoch())
    basis = Basis(reading_now())
    assert basis.stands()
    sleep_until(first)
    seen.append(directory.epoch())
    assert not basis.stands()
    with transaction.atomic():
        directory.bump_epoch()
        seen.append(directory.epoch())
        transaction.set_rollback(True)
    directory.bump_epoch()
    seen.append(directory.epoch())
    sleep_until(first + timedelta(seconds=1.0))
    seen.append(directory.epoch())
    directory.bump_epoch()
    seen.append(directory.epoch())
    assert seen == sorted(set(seen))


def test_a_policy_counts_by_the_clock_of_the_database_though_our_own_is_behind(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    effective = timezone.now() + timedelta(seconds=0.5)
    law_from(effective)
    assert "NOTHING" not in prohibited()
    sleep_until(effective)
    slow = timezone.now() - timedelta(minutes=5)
    monkeypatch.setattr("django.utils.timezone.now", lambda: slow)
    assert prohibited() == ["NOTHING"]
    assert policies.next_change() is None


def test_a_change_of_somebody_else_disturbs_no_answer(at: Setting, between: Callable[..., list[int]]) -> None:
    looks: list[int] = []
    stranger = releasing.feed.Revision(
        authority=world.HOSPITAL_AUTHORITY,
        value="X9",
        demographics=world.rosa(
            "X9", names=(), birth_date="1901-01-01", addresses=(), telecoms=(), identifiers=(), gender="male"
        ),
    )
    fed = releasing.feed.feed(stranger, world.hospital_caller())
    assert fed.result is not None
    pk = releasing.identifiers.resolve(world.HOSPITAL_AUTHORITY, "X9")
    assert pk is not None
    entries = find.registry.entries
    find.registry.entries = lambda *given, **more: looks.append(1) or entries(*given, **more)  # type: ignore[assignment]
    try:
        done = between(lambda: epochs.bump(pk.pk))
        assert DOCUMENTS["documents"](at, world.caller())[1] == 1
    finally:
        find.registry.entries = entries
    assert done
    assert looks == [1]


def test_what_changes_each_time_is_refused_recorded_and_tells_nothing(
    at: Setting, between: Callable[..., list[int]]
) -> None:
    done = between(lambda: epochs.bump(at.hospital_pk), times=99)
    before = AuditEvent.objects.filter(kind=EventType.FIND_DOCUMENTS).count()
    with pytest.raises(Unsettled):
        DOCUMENTS["documents"](at, world.caller())
    assert len(done) == release.TRIES
    (event,) = AuditEvent.objects.filter(kind=EventType.FIND_DOCUMENTS).order_by("at")[before:]
    assert (event.outcome, event.disclosures.count()) == (recorder.Outcome.FAILED, 0)


def test_each_face_says_that_it_is_to_be_asked_again(at: Setting, between: Callable[..., list[int]]) -> None:
    from django.test import Client

    from tests.trust import conftest as trust

    between(lambda: epochs.bump(at.hospital_pk), times=99)
    headers = {"Authorization": f"Bearer {trust.token('org-clinic')}"}
    found = Client().get(f"/fhir/DocumentReference?patient=Patient/{at.person}&status=current", headers=headers)
    assert (found.status_code, found["Retry-After"]) == (503, "1")
    assert found.json()["issue"][0]["code"] == "transient"
    body = {"patient": {"reference": f"Patient/{at.person}"}}
    asked = Client().post("/api/queries", body, content_type="application/json", headers=headers)
    assert (asked.status_code, asked["Retry-After"], asked.json()["error"]["code"]) == (503, "1", "busy")


def test_a_revocation_waits_for_the_answer_being_released_and_no_longer(at: Setting) -> None:
    revoked = threading.Event()

    def revoke() -> None:
        denied(at)
        revoked.set()
        connection.close()

    waiting = threading.Thread(target=revoke)
    with directory.one_reading() as reading:
        about = access.subject(at.person)
        assert access.permitted(world.caller(), about, [find.registry.entry(at.entry)], Operation.QUERY).permitted
        with transaction.atomic():
            Basis(reading, about.identifier_pks).hold()
            waiting.start()
            assert not revoked.wait(0.3)
    assert revoked.wait(30)
    waiting.join()


def test_a_suspension_waits_for_the_answer_being_released_and_no_longer(at: Setting) -> None:
    suspended_ = threading.Event()

    def suspend() -> None:
        suspended(at)
        suspended_.set()
        connection.close()

    waiting = threading.Thread(target=suspend)
    with directory.one_reading() as reading, transaction.atomic():
        Basis(reading).hold()
        waiting.start()
        assert not suspended_.wait(0.3)
    assert suspended_.wait(30)
    waiting.join()


def test_answers_do_not_wait_for_a_long_transaction_that_changes_policy(at: Setting) -> None:
    with transaction.atomic():
        registration.suspend("org-portal", reason="test", actor="test")
        found: list[Any] = []
        apart(lambda: found.append(DOCUMENTS["documents"](at, world.caller())[1]))
        assert found == [1]


def test_an_answer_does_not_wait_for_ever_for_a_change_of_its_patient(at: Setting) -> None:
    with transaction.atomic():
        epochs.bump(at.hospital_pk)
        with pytest.raises(Unsettled):
            apart(lambda: DOCUMENTS["documents"](at, world.caller()))
    assert DOCUMENTS["documents"](at, world.caller())[1] == 1


def test_what_one_transaction_changed_itself_is_no_news_to_its_answer(at: Setting) -> None:
    with directory.one_reading() as reading, transaction.atomic():
        epochs.bump(at.hospital_pk)
        Basis(reading, [at.hospital_pk]).hold()  # it would say Outdated
        assert directory.reading() is reading


def test_an_epoch_from_another_cluster_does_not_close_its_patient_for_ever(at: Setting) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE consent_consentepoch SET raised_by = '4611686018427387904'::xid8")
    assert DOCUMENTS["documents"](at, world.caller())[1] == 1
    denied(at)
    assert DOCUMENTS["documents"](at, world.caller())[1] == 0


def test_a_decision_outside_of_a_release_point_releases_nothing(at: Setting) -> None:
    with (
        pytest.raises(RuntimeError, match="release point"),
        recorder.recording(EventType.FIND_DOCUMENTS, world.caller()),
    ):
        access.gate(world.caller(), Operation.QUERY)


def test_a_code_table_counts_from_its_commit_whoever_wrote_it(at: Setting) -> None:
    before = directory.epoch()
    CodeTable.objects.create(name="codes", version=1, body={})
    assert directory.epoch() > before


def _started(at: Setting) -> Iterator[bytes]:
    found = retrieve.retrieve(retrieve.Wanted(binary_id=at.binary), caller=world.caller())
    chunks = iter(found.chunks)
    assert next(chunks)
    return chunks


@pytest.mark.parametrize("closing", [denied, suspended, custodian_suspended, relabelled, unlinked])
def test_a_transfer_under_way_stops_within_a_mebibyte(told: Told, closing: Callable[[Setting], None]) -> None:
    at = releasing.setting(told, size=6_000_000, also_at_the_clinic=True)
    chunks = _started(at)
    closing(at)
    assert sum(map(len, chunks)) <= 2 << 20
    broken = AuditEvent.objects.filter(kind=EventType.TRANSFER_BROKEN).get()
    assert broken.reason == "no-longer-permitted"


def test_a_transfer_under_way_goes_on_when_what_changed_does_not_concern_it(told: Told) -> None:
    at = releasing.setting(told, size=6_000_000)
    chunks = _started(at)
    epochs.bump(at.hospital_pk)
    registration.suspend("org-portal", reason="test", actor="test")
    assert sum(map(len, chunks)) > 4_000_000
    assert not AuditEvent.objects.filter(kind=EventType.TRANSFER_BROKEN).exists()


def _searched(at: Setting) -> Any:
    from django.test import Client

    from tests.trust import conftest as trust

    headers = {"Authorization": f"Bearer {trust.token('org-clinic')}"}
    return Client().get(f"/fhir/DocumentReference?patient=Patient/{at.person}&status=current", headers=headers)


def test_a_long_page_stops_under_way_and_says_so(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    from hie.faces import long_answers

    whole = _searched(at)
    assert not whole.streaming
    monkeypatch.setattr(long_answers, "ASK_BYTES", 300)
    monkeypatch.setattr(long_answers, "PIECE", 100)
    again = _searched(at)
    assert len(again.getvalue()) == len(whole.content) == int(again["Content-Length"])
    assert not AuditEvent.objects.filter(kind=EventType.TRANSFER_BROKEN).exists()
    begun = _searched(at)
    pieces = iter(begun.streaming_content)
    assert len(next(pieces)) == 100
    denied(at)
    assert sum(map(len, pieces)) == 200
    assert int(begun["Content-Length"]) == len(whole.content)
    broken = AuditEvent.objects.filter(kind=EventType.TRANSFER_BROKEN).get()
    assert (str(broken.person_id), broken.reason) == (at.person, "no-longer-permitted")
    assert broken.detail == {"sent": 300, "of": len(whole.content)}


@pytest.mark.parametrize("path", ["/my/log.csv", "/my/log.json"])
def test_a_download_of_the_log_stops_within_a_page_when_the_helpers_grant_ends(
    at: Setting, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    from django.test import Client

    from hie.exchange import accounts
    from hie.faces import long_answers
    from hie.trust.models import PatientAccount

    account = {"login": "sam", "password": "correct horse battery", "name": "Sam Delgado"}
    own = world.rosa("S1", birth_date="1990-01-02", telecoms=(), addresses=())
    feed.feed(feed.Revision(authority=world.HOSPITAL_AUTHORITY, value="S1", demographics=own), world.hospital_caller())
    accounts.load({"patients": [account | {"identifier": f"S1^^^&{world.HOSPITAL_AUTHORITY}&ISO"}]})
    proxies.grant(
        identifier_pk=at.hospital_pk,
        person=f"RelatedPerson/{PatientAccount.objects.get().pk}",
        kind="nominated",
        verified_by="desk",
    )
    client = Client()
    client.post("/my/sign-in", account)
    assert client.post("/my/person", {"person": at.person}).status_code == 302
    whole = client.get(path).getvalue()
    assert len(whole) > 500
    monkeypatch.setattr(long_answers, "ASK_BYTES", 300)
    monkeypatch.setattr(long_answers, "PIECE", 100)
    begun = iter(client.get(path).streaming_content)  # type: ignore[attr-defined]  # it streams
    assert len(next(begun)) == 100
    for row in proxies.grants_of([at.hospital_pk]):
        proxies.set_status(row.pk, "suspended")
    rest: list[bytes] = []
    with pytest.raises(ConnectionAbortedError):
        rest.extend(begun)
    assert sum(map(len, rest)) == 200
    assert AuditEvent.objects.filter(kind=EventType.TRANSFER_BROKEN).get().reason == "no-longer-permitted"


def test_a_notice_that_waited_is_not_sent_when_its_patient_closed_it_meanwhile(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    releasing.revised(at)
    send = at.told.send

    def late(endpoint: str, batch: Any) -> Any:
        denied(at)
        return send(endpoint, batch)

    monkeypatch.setattr(Told, "send", lambda self, endpoint, batch: late(endpoint, batch))
    notices.deliver()
    assert at.told.notices == []
    (row,) = OutboxMessage.objects.all()
    assert (row.delivered_at, row.attempts) == (None, 0)
    notices.deliver()
    assert OutboxMessage.objects.get().delivered_at is not None
    assert at.told.notices == []


def test_a_question_that_waited_for_its_turn_is_given_back_as_if_it_had_not_been_taken(at: Setting) -> None:
    asked = releasing._ask(at, world.caller())
    (job,) = loop.claim()
    loop.give_back([job.target])
    target = asked.targets.get(pk=job.target)
    assert target.attempts == 0
    denied(at)
    assert loop.claim() == []
    assert asked.targets.get(pk=job.target).withheld


def test_a_question_decided_a_moment_ago_is_decided_again_when_a_period_has_ended(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    asked = releasing._ask(at, world.caller())
    about = access.subject(at.person)
    assert access.told_again(about, asked.told, since_s=1.0) is not None
    ended = access.now() - timedelta(seconds=1)
    assert access.told_again(about, {**asked.told, "until": ended.isoformat()}, since_s=1.0) is None
    assert query.Query.objects.get(pk=asked.pk).told == asked.told


def acts(at: Setting) -> list[directory.Reading | None]:
    """The readings that an act was tried by until it was released."""
    readings: list[directory.Reading | None] = []

    @release.point
    def act() -> None:
        readings.append(directory.reading())
        with recorder.recording(EventType.FIND_DOCUMENTS, world.caller()) as event:
            access.gate(world.caller(), Operation.QUERY)
            access.permitted(world.caller(), access.subject(at.person), [], Operation.QUERY)
            event.commit()

    act()
    return readings


def test_an_act_begins_with_the_reading_that_let_its_caller_in(at: Setting) -> None:
    reading = reading_now()
    directory.offer(reading)
    assert acts(at) == [reading]
    (again,) = acts(at)
    assert again is not reading


def test_what_changes_after_a_caller_was_let_in_is_heeded_by_his_act(at: Setting) -> None:
    reading = reading_now()
    denied(at)
    directory.offer(reading)
    first, second = acts(at)
    assert first is reading
    assert second is not reading


def test_a_reading_is_not_offered_for_long(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = reading_now()
    directory.offer(reading)
    monkeypatch.setattr(epoch, "monotonic", lambda: time.monotonic() + epoch.OFFERED_S + 0.001)
    assert directory.offered() is None
    directory.offer(reading)
    directory.offer(None)
    assert directory.offered() is None


@pytest.mark.usefixtures("at")
def test_no_request_leaves_its_reading_to_what_the_thread_does_next(client: Client) -> None:
    bearer = {"Authorization": f"Bearer {releasing.token_of_the_hospital()}"}
    # Refused before it acts: nothing took the reading.
    assert client.get("/fhir/Patient", headers=bearer).status_code == 400
    assert directory.offered() is None
