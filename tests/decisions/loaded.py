"""A fixture of consent cases loaded into a hub: its participants, law, patients, and what each case has in store."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from consent import directives, epochs, jurisdictions
from consent.models import BreakGlassGrant, CodeTable, Consent, ProxyGrant
from documents import registry
from documents.metadata import CX, AssociationType
from documents.models import DocumentEntry
from hie.directory.models import Agreement, AssigningAuthority, ClientKey, Participant
from hie.exchange import feed
from hie.standards.demographics import Demographics, HumanName, Identifier
from hie.standards.facts import Caller, Labels
from patients import identifiers
from tests.consent import fixture as fx
from tests.directory.forms import EC_P256, jwk
from tests.documents import samples
from tests.grounds import ground
from tests.trust import conftest as trust

_names = itertools.count(1)
_TABLES = ("hub", "purposeParent", "labelParent", "labelFloor", "roles")


class Hub:
    """A loaded fixture: patients by their id in it, participants under the ids they have there."""

    def __init__(self, fixture: dict[str, Any], *, points: frozenset[str] = frozenset()) -> None:
        self.fixture = fixture
        self.points = points
        self.persons: dict[str, str] = {}
        jurisdictions.load(fixture["jurisdictions"])
        CodeTable.objects.create(name="codes", version=1, body={key: fixture[key] for key in _TABLES})
        rows = fixture["organizations"]
        for n, (name, data) in enumerate(sorted(rows.items(), key=lambda item: "partOf" in item[1]), start=1):
            self._participant(n, name, data, points)
        for name, data in fixture["patients"].items():
            self.persons[name] = self._patient(name, data)

    def _participant(self, n: int, name: str, data: dict[str, Any], points: frozenset[str]) -> None:
        above = data.get("partOf")
        Participant.objects.create(
            id=name,
            name=f"The {name}",
            type=data.get("type") or self.fixture["organizations"][above]["type"],
            organization_oid=f"2.999.50.{n}",
            part_of_id=above,
            jurisdiction=data.get("jurisdiction", ""),
            client_id=name,
            scopes=["system/*.cruds"],
            part2_program=data.get("part2Program"),
            requires_relationship=data.get("requiresRelationship"),
            release_policy=data.get("releasePolicy", []),
        )
        AssigningAuthority.objects.create(oid=f"2.999.50.{n}.1", participant_id=name)
        ClientKey.objects.create(participant_id=name, kid=f"{name}-1", jwk=jwk(EC_P256, f"{name}-1"))
        agreement = data.get("agreement")
        if agreement is not None:
            period = agreement.get("period", {})
            Agreement.objects.create(
                participant_id=name,
                version=1,
                status=agreement["status"],
                start=period.get("start", "2020"),
                end=period.get("end", ""),
                purposes=agreement["purposes"],
                decision_point=name in points,
            )

    def token(self, organization: str, *, scope: str = "system/*.cruds", **stated: Any) -> str:
        """An access token of a participant; a physician, for treatment, unless stated otherwise; of a point its system."""
        trust.KEYS[organization] = (EC_P256, f"{organization}-1", "ES256")
        row = Participant.objects.get(id=organization)
        values = {
            "subject_id": "Practitioner/ivo",
            "subject_name": "Ivo Moor",
            "organization_id": f"urn:oid:{row.organization_oid}",
            "organization_name": row.name,
        } | stated
        if organization in self.points and "subject_id" not in stated:
            values |= {"subject_id": None, "subject_name": None}
        return trust.token(organization, scope=scope, extensions={"hl7-b2b": trust.b2b(**values)})

    def authority(self, participant: str) -> str:
        """Where a participant's patient identifiers are issued."""
        return str(AssigningAuthority.objects.get(participant_id=participant).oid)

    def holder(self, jurisdiction: str) -> str:
        """The participant that feeds the patients of a jurisdiction: the first that is active there."""
        found = (
            name
            for name, data in sorted(self.fixture["organizations"].items())
            if data.get("jurisdiction") == jurisdiction and data.get("type") == "hospital"
            and "end" not in data["agreement"].get("period", {}) and name != "point"
        )  # fmt: skip
        return next(found, "mer" if "mer" in self.fixture["organizations"] else "org-south")

    def dies(self, patient: str) -> None:
        """Let a patient have died."""
        self._patient(patient, self.fixture["patients"][patient], deceased=True)

    def _patient(self, name: str, data: dict[str, Any], **more: Any) -> str:
        holder = self.holder(data["jurisdiction"])
        authority = self.authority(holder)
        caller = Caller(participant_id=holder, organization_id=holder, client_id=holder, user_id=f"Device/{holder}")
        family = f"{name.replace('-', '').title()}{'abcdefghij'[next(_names) % 10] * 5}"
        done = feed.feed(
            feed.Revision(
                authority=authority,
                value=name,
                demographics=Demographics(
                    names=(HumanName(family=family, given=(name.title(),)),),
                    birth_date=data["birthDate"],
                    identifiers=(Identifier(system=f"urn:oid:{authority}", value=name),),
                    **more,
                ),
            ),
            caller,
        )
        assert done.result is not None
        return str(done.result.person_id)

    def pk(self, patient: str) -> int:
        """The identifier that everything of a patient hangs on."""
        linked = {one: name for name, data in self.fixture["patients"].items() for one in data.get("linked", ())}
        return identifiers.of_person(self.persons[linked.get(patient, patient)])[0].pk

    def in_hub(self, value: Any) -> Any:
        """JSON of a case with each patient's reference as the hub knows it."""
        text = json.dumps(value)
        for name, person in sorted(self.persons.items(), key=lambda item: -len(item[0])):
            text = text.replace(f'"Patient/{name}"', f'"Patient/{person}"')
            for linked in self.fixture["patients"][name].get("linked", ()):
                text = text.replace(f'"Patient/{linked}"', f'"Patient/{person}"')
        return json.loads(text)

    def consents(self, case: dict[str, Any]) -> list[UUID]:
        """Put a case's directives in store as another system might have left them."""
        for pk in Consent.objects.values_list("identifier", flat=True).distinct():
            epochs.bump(pk)
        Consent.objects.update(status="inactive")
        return [
            directives.import_unchecked(self.in_hub(one), identifier_pk=self.pk(case["patient"]), actor="test").id
            for one in case["consents"]
        ]

    def grants(self, case: dict[str, Any]) -> None:
        """Put a case's emergency or proxy grant in store."""
        BreakGlassGrant.objects.all().delete()
        ProxyGrant.objects.all().delete()
        grant = case["request"].get("breakGlass")
        if grant:
            BreakGlassGrant.objects.create(
                identifier_id=self.pk(grant["patient"]),
                user=grant["user"],
                organization=grant["org"],
                start=datetime.fromisoformat(grant["start"]),
                end=datetime.fromisoformat(grant["end"]),
                status=grant["status"],
                reason=grant["reason"],
                text=grant["text"],
            )
        grant = case["request"].get("proxyGrant")
        if grant:
            ProxyGrant.objects.create(
                identifier_id=self.pk(grant["patient"]),
                person=grant["person"],
                kind=grant["kind"],
                status=grant["status"],
                max_confidentiality=grant.get("maxConfidentiality"),
                start=grant.get("period", {}).get("start"),
                end=grant.get("period", {}).get("end"),
            )

    def documents(self, case: dict[str, Any]) -> dict[str, str]:
        """Register a case's documents: their UUIDs by the ids they have in it."""
        listed = case["documents"] if "documents" in case else [case["document"]]
        return {one["id"]: self.document(one) for one in listed}

    def document(self, data: dict[str, Any]) -> str:
        """One document with what it was derived from."""
        sources = [self.document(one) for one in data.get("derivedFrom", ())]
        pk = self.pk(data["patient"])
        cx = CX(value=data["patient"], authority="2.999.50.0")
        scheme, _, class_ = data["class"][0].rpartition("|")
        codes = tuple(samples.code(one.rpartition("|")[2], one.rpartition("|")[0]) for one in data.get("codes", ()))
        entry = samples.entry(
            patient_id=cx,
            source_patient_id=cx,
            class_code=samples.code(class_, scheme),
            event_codes=codes,
            creation_time=_dtm(data.get("created")),
            service_start_time=_dtm(data.get("serviceStart")),
            service_stop_time=_dtm(data.get("serviceStop")),
        )
        relations = tuple(
            samples.relation(AssociationType.XFRM, entry.entry_uuid, f"urn:uuid:{one}") for one in sources
        )
        wanted = samples.submission(entry, patient_id=cx, associations=relations)
        with transaction.atomic():
            registry.register(
                wanted,
                contents=samples.put_all(wanted, {}),
                labels={entry.entry_uuid: Labels(labels=frozenset(), confidentiality=None)},
                patients={cx: pk},
                custodian=data["custodian"],
                same_person=lambda one, other: one == other,
            )
        row = DocumentEntry.objects.latest("pk")
        DocumentEntry.objects.filter(pk=row.pk).update(
            labels=data.get("labels", []),
            confidentiality=data.get("confidentiality"),
            labelled=data.get("labelled", True),
            updated_at=timezone.now(),
        )
        return str(row.entry_uuid)


def _dtm(text: str | None) -> str | None:
    return None if text is None else text.removesuffix("Z").replace("-", "").replace("T", "").replace(":", "")


def lake(**more: Any) -> Hub:
    """The invented exchange of `tests/consent/fixture.py`."""
    return Hub(fx.FIXTURE, **more)


@ground
def loaded_lake() -> Hub:
    """The invented exchange, with no decision point."""
    return lake()


def caller(organization: str, **changes: Any) -> Caller:
    """A physician of an organization, for treatment."""
    values: dict[str, Any] = {
        "participant_id": organization,
        "organization_id": organization,
        "client_id": organization,
        "user_id": "Practitioner/ivo",
        "role": "physician",
        "purpose": "TREAT",
        "scopes": frozenset({"system/*.cruds"}),
    }
    return Caller(**values | changes)
