"""One patient of the hospital, everything that leaves about her, and what closes it to the clinic."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.test import Client

from consent import directives, proxies
from consent.directives import Filer
from consent.owners import Capacity
from documents.models import DocumentEntry
from hie.audit.models import Disclosure
from hie.audit.values import AuditQuery
from hie.directory import registration
from hie.exchange import (
    access_log,
    audit_search,
    consents,
    document_lists,
    feed,
    find,
    identity,
    identity_changes,
    loop,
    notices,
    query,
    query_answers,
    retrieve,
    subscriptions,
)
from hie.exchange.document_filter import entry_filter, list_filter
from hie.exchange.found_pages import DocumentSearch
from hie.exchange.named_patients import PatientNamed
from hie.exchange.notices import IdentityChange, Sent
from hie.exchange.remotes import Answer, Outcome, RemoteEntry
from hie.ops.sandbox.peer import document_reference
from hie.outbox.models import OutboxMessage
from hie.standards.demographics import Identifier, IdentifierMatch, PatientQuery
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from patients import identifiers, linking
from tests.directory.forms import clinic, file, hospital
from tests.exchange import world
from tests.fhir.conftest import provide_bundle
from tests.trust import conftest as trust

PORTAL = {"id": "org-portal", "name": "The Portal", "type": "patient-portal", "organization_oid": "2.999.10.9", "scopes": [], "purposes": ["PATRQT", "FAMRQT"]}  # fmt: skip
PATIENT = Filer(actor="Patient", capacity=Capacity.PATIENT)
SYSTEM = f"urn:oid:{world.HOSPITAL_AUTHORITY}"


@dataclass(slots=True)
class Told:
    """A channel that keeps what it is given to send."""

    notices: list[list[str]] = field(default_factory=list)

    def encode(self, change: IdentityChange, *, endpoint: str) -> list[bytes]:
        """The persons' ids."""
        return [json.dumps(sorted(str(one.person_id) for one in change.persons)).encode()]

    def send(self, endpoint: str, batch: Sequence[tuple[str, list[bytes]]]) -> list[Sent]:
        """Everything arrives."""
        results = []
        for notice, messages in batch:
            self.notices.append([notice, messages[0].decode()])
            results.append(Sent(arrived=True))
        return results


@dataclass(slots=True)
class Setting:
    """What there is of the patient at the hospital, and of her at another community."""

    person: str
    entry: str
    binary: str
    list: str
    consent: str
    helper: Caller
    told: Told
    counter: Iterator[int] = field(default_factory=itertools.count)

    @property
    def hospital_pk(self) -> int:
        """The identifier that document and record hang on."""
        found = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P1")
        assert found is not None
        return found.pk


def token_of_the_hospital() -> str:
    """A token for one of its physicians."""
    token: str = trust.token(
        "org-hospital",
        extensions={
            "hl7-b2b": trust.b2b(
                subject_id="Practitioner/north",
                subject_name="Bo North",
                organization_id="urn:oid:2.999.10.2",
                organization_name="The Hospital",
            )
        },
    )
    return token


def submitted(data: bytes, content_type: str = "text/plain") -> None:
    """The hospital publishes a document about the patient."""
    answer = Client().post(
        "/fhir",
        json.dumps(provide_bundle(data, content_type)),
        content_type="application/fhir+json",
        headers={"Authorization": f"Bearer {token_of_the_hospital()}"},
    )
    assert answer.status_code == 200, answer.content


def setting(told: Told, *, size: int = 2000, also_at_the_clinic: bool = False) -> Setting:
    """Register all, feed the patient, publish a document, file a consent, subscribe."""
    community = world.community_at(1, 1)
    registration.apply(
        file(clinic(scopes=["system/*.cruds"]), hospital(scopes=["system/*.cruds"], users=[]), PORTAL, community)
    )
    person = world.feed_rosa("P1")
    if also_at_the_clinic:
        revision = feed.Revision(
            authority=world.CLINIC_AUTHORITY, value="C1", demographics=world.rosa("P1", identifiers=())
        )
        fed = feed.feed(revision, world.caller())
        assert fed.result is not None
        assert str(fed.result.person_id) == person
    submitted(b"n" * size)
    entry = DocumentEntry.objects.get()
    whole = document_lists.find_lists(
        DocumentSearch(patients=((PatientNamed(id=person),),), asked=list_filter([])), caller=world.hospital_caller()
    )
    found = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P1")
    assert found is not None
    stored = directives.file(choice("permit"), identifier_pk=found.pk, filer=PATIENT)
    proxies.grant(identifier_pk=found.pk, person="RelatedPerson/sam", kind="nominated", verified_by="desk")
    subscriptions.subscribe(
        subscriptions.Wanted(criteria="Patient", endpoint="http://127.0.0.1:9/feed", resource={}), world.caller()
    )
    OutboxMessage.objects.all().delete()
    return Setting(
        person=person,
        entry=str(entry.entry_uuid),
        binary=str(entry.binary_id),
        list=whole.rows[0].row.metadata.entry_uuid,
        consent=str(stored.id),
        helper=Caller(
            participant_id="org-portal",
            organization_id="org-portal",
            client_id="org-portal",
            user_id="RelatedPerson/sam",
            role="proxy",
            purpose="FAMRQT",
            on_behalf_of=f"Patient/{person}",
            face="portal",
        ),
        told=told,
    )


def choice(decision: str) -> dict[str, Any]:
    """The patient's whole choice: permit or deny everything."""
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [scope]},
        "patient": {"reference": "Patient/x"},
        "dateTime": "2026-01-01",
        "provision": {"type": decision},
    }


# --- what leaves ------------------------------------------------------------------------------------------------------


def _documents(at: Setting, caller: Caller) -> Any:
    page = find.find_documents(
        DocumentSearch(patients=((PatientNamed(id=at.person),),), asked=entry_filter([])), caller=caller
    )
    return [row.row.entry_uuid for row in page.rows], page.total


def _document(at: Setting, caller: Caller) -> Any:
    return find.read_document(at.entry, caller=caller).row.entry_uuid


def _lists(at: Setting, caller: Caller) -> Any:
    page = document_lists.find_lists(
        DocumentSearch(patients=((PatientNamed(id=at.person),),), asked=list_filter([])), caller=caller
    )
    return [row.members for row in page.rows], page.total


def _list(at: Setting, caller: Caller) -> Any:
    return document_lists.read_list(at.list, caller=caller).members


def bytes_of(at: Setting, caller: Caller) -> Any:
    """How many bytes of the document come."""
    found = retrieve.retrieve(retrieve.Wanted(binary_id=at.binary), caller=caller)
    return sum(map(len, found.chunks))


def _patients(at: Setting, caller: Caller) -> Any:
    wanted = PatientQuery(identifiers=((IdentifierMatch(system=SYSTEM, value="P1"),),))
    found = identity.find_patients(wanted, caller)
    return found.total, [_names(one) for one in found.patients]


def _names(known: Any) -> Any:
    return sorted(item.value for item in known.demographics.identifiers), str(known.demographics.names)


def _patient(at: Setting, caller: Caller) -> Any:
    return _names(identity.read_patient(at.person, caller))


def _match(at: Setting, caller: Caller) -> Any:
    return [_names(found.patient) for found in identity.match(world.rosa(), caller)]


def _cross_reference(at: Setting, caller: Caller) -> Any:
    return identity.cross_reference(SYSTEM, "P1", caller).person_id


def _who_was(at: Setting, caller: Caller) -> Any:
    return identity_changes.who_was(Identifier(system=SYSTEM, value="P1"), datetime.now(UTC), caller).identifier


def _consents(at: Setting, caller: Caller) -> Any:
    found = consents.search(((PatientNamed(id=at.person),),), (), lambda _: True, caller=caller)
    return [str(one.stored.id) for one in found]


def _consent(at: Setting, caller: Caller) -> Any:
    return str(consents.read(at.consent, caller=caller).stored.id)


def _versions(at: Setting, caller: Caller) -> Any:
    return len(consents.history(at.consent, caller=caller))


def _question(at: Setting, caller: Caller) -> Any:
    asked = _ask(at, caller)
    return asked.told is not None


def _ask(at: Setting, caller: Caller) -> query.Query:
    request = query.QueryRequest(person_id=UUID(at.person), filter={}, deadline_s=60.0, raw=b"{}")
    return query.ask(request, caller=caller, nudge=lambda _: None)


def answered(at: Setting, caller: Caller) -> query.Query:
    """A running query to which the other community has answered with one document."""
    asked = _ask(at, caller)
    target = asked.targets.get(participant_id="com-1")
    number = next(at.counter)
    resource = document_reference("http://127.0.0.1:1/c/1/fhir", 1, number)
    entry = RemoteEntry(
        remote_id=resource["id"],
        unique_id=f"2.999.1.{number}",
        resource=resource,
        source_url="http://127.0.0.1:1/c/1/fhir/Binary/1",
    )
    loop.store([(target.pk, Answer(outcome=Outcome.ANSWERED, documents=(entry,)), datetime.now(UTC))])
    return asked


def viewed(asked: query.Query, caller: Caller) -> Any:
    """How many documents the list has, and how many each target is said to have."""
    seen = query_answers.view(asked.id, caller=caller)
    return len(seen.documents), [target.found for target in seen.targets]


def streamed(asked: query.Query, caller: Caller, after: int = 0) -> Any:
    """What the event stream tells in one turn."""
    told, _ = query_answers.changes(asked.id, caller=caller, after=after)
    return sorted((item.kind, bool(item.data)) for item in told)


def revised(at: Setting) -> None:
    """The hospital changes a detail of its record: a notice for the clinic."""
    phone = world.Telecom(value=f"+1202555{1000 + next(at.counter)}")
    changed = feed.Revision(
        authority=world.HOSPITAL_AUTHORITY, value="P1", demographics=world.rosa("P1", telecoms=(phone,))
    )
    feed.feed(changed, world.hospital_caller())


def _notices(at: Setting, caller: Caller) -> Any:
    del at.told.notices[:]
    notices.deliver()
    return [persons for _, persons in at.told.notices]


def _log(at: Setting, caller: Caller) -> Any:
    return len(access_log.log_for_patient(at.helper, at.person).entries) > 0


def _audit(at: Setting, caller: Caller) -> Any:
    asked = AuditQuery(person_ids=(at.person,), since=datetime(2026, 1, 1, tzinfo=UTC), limit=500)
    return len(audit_search.search_events(asked, at.helper).events) > 0


Way = Callable[[Setting, Caller], Any]
DOCUMENTS: dict[str, Way] = {
    "documents": _documents,
    "document": _document,
    "lists": _lists,
    "list": _list,
    "bytes": bytes_of,
}
PEOPLE: dict[str, Way] = {
    "patients": _patients,
    "patient": _patient,
    "match": _match,
    "cross-reference": _cross_reference,
    "who-was": _who_was,
    "notices": _notices,
}
CONSENTS: dict[str, Way] = {"consents": _consents, "consent": _consent, "versions": _versions}
QUERIES: dict[str, Way] = {
    "question": _question,
    "answers": lambda at, caller: viewed(query.Query.objects.latest("created_at"), caller),
    "stream": lambda at, caller: streamed(query.Query.objects.latest("created_at"), caller),
}
LOGS: dict[str, Way] = {"log": _log, "audit": _audit}


def outcome(ask: Callable[[], Any]) -> Any:
    """The answer, or what it is refused with."""
    try:
        return ask()
    except HubError as refusal:
        return f"{type(refusal).__name__}: {refusal}"


# --- what closes it ---------------------------------------------------------------------------------------------------


def denied(at: Setting) -> None:
    """The patient files a denial of everything."""
    directives.file(choice("deny"), identifier_pk=at.hospital_pk, filer=PATIENT)


def suspended(_: Setting) -> None:
    """The clinic is suspended."""
    registration.suspend("org-clinic", reason="test", actor="test")


def custodian_suspended(_: Setting) -> None:
    """The hospital is suspended."""
    registration.suspend("org-hospital", reason="test", actor="test")


def relabelled(_: Setting) -> None:
    """The document is found to be very restricted."""
    DocumentEntry.objects.update(confidentiality="V", label_version=2)


def unlinked(at: Setting) -> None:
    """The hospital's record is taken away from the person."""
    found = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P1")
    assert found is not None
    linking.unlink(found.source_record_id, actor="steward", reason="two people")


def grant_ended(at: Setting) -> None:
    """The helper's grant is suspended."""
    (row,) = proxies.grants_of([at.hospital_pk])
    proxies.set_status(row.id, "suspended")


def apart(act: Callable[[], None]) -> None:
    """Do something on a connection of its own, and have it committed."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for the answer that waits for it"
    if failed:
        raise failed[0]


def disclosed() -> int:
    """How many things have left so far."""
    return Disclosure.objects.count()
