"""The place of the walk: who takes part, a patient of the hospital, her documents and directives."""

from __future__ import annotations

import uuid
from typing import Any

from consent import jurisdictions, proxies
from hie.directory import registration
from hie.exchange import feed
from hie.ops.sandbox import make
from hie.standards.demographics import HumanName
from patients import identifiers
from tests.directory.forms import EC_P256, clinic, file, hospital, jwk
from tests.exchange import world
from tests.exchange.releasing import PORTAL
from tests.fhir.conftest import CONFIDENTIALITY, MHD, bundle_of, concept, provide_bundle, submission_set
from tests.leaks import policies
from tests.leaks.policies import CLASS, LOINC, Document, Policy
from tests.leaks.walking import Ear, Listener

SYSTEM = f"urn:oid:{world.HOSPITAL_AUTHORITY}"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LOCAL, FAMILY = "W1", "Vanterpool"


def takes_part(policy: Policy | None = None, *more: dict[str, Any]) -> None:
    """Register those who ask and the hospital, with its release rules and the place's law."""
    policy = policy or Policy()
    study = {
        "id": "org-study",
        "name": "The Study",
        "type": "research",
        "organization_oid": "2.999.10.4",
        "assigning_authority": "2.999.10.4.1",
        "scopes": ["system/*.rs"],
        "purposes": ["HRESCH"],
    }
    payer = {
        "id": "org-payer",
        "name": "The Payer",
        "type": "payer",
        "organization_oid": "2.999.10.3",
        "assigning_authority": "2.999.10.3.1",
        "jwks": {"keys": [jwk(EC_P256, "payer-1")]},
        "scopes": ["system/*.rs"],
        "purposes": ["HPAYMT"],
    }
    asking = {"default_role": "system", "default_purpose": "TREAT"}
    outcome = registration.apply(
        file(
            clinic(hl7v2={"application": "CLIN", "facility": "SOUTH"}, **asking),
            hospital(users=[], release_policy=list(policy.release), **asking),
            payer,
            study,
            PORTAL | {"scopes": ["system/*.rs"]},
            *more,
        )
    )
    assert outcome
    if policy.prohibitions:
        jurisdictions.load({"JA": policies.law(policy)})


def fed(local: str = LOCAL, family: str = FAMILY, **changes: Any) -> str:
    """A patient of the hospital; her person."""
    values = {
        "names": (HumanName(family=family, given=("Rosamund",), use="official"),),
        "birth_date": policies.BIRTH,
    } | changes
    done = feed.feed(
        feed.Revision(authority=world.HOSPITAL_AUTHORITY, value=local, demographics=world.rosa(local, **values)),
        world.hospital_caller(),
    )
    assert done.result is not None
    return str(done.result.person_id)


def pk(local: str = LOCAL) -> int:
    """The row id of the patient's identifier."""
    found = identifiers.resolve(world.HOSPITAL_AUTHORITY, local)
    assert found is not None
    return found.pk


def helped(local: str = LOCAL) -> None:
    """Sam may act for the patient, up to R."""
    proxies.grant(
        identifier_pk=pk(local),
        person="RelatedPerson/sam",
        kind="nominated",
        max_confidentiality="R",
        verified_by="desk",
    )


def published(
    held: list[Document], shown: list[bool], listener: Listener, *, local: str = LOCAL, clinical: bool = False
) -> list[dict[str, str] | None]:
    """Publish those of the documents that are `shown`, in order; the ids of each, None for one that is not there.

    They are texts, or `clinical` ones with a section.
    """
    made: list[dict[str, str] | None] = []
    for number, (one, there) in enumerate(zip(held, shown, strict=True)):
        before = made[number - 1] if number else None
        made.append(sent(_bundle(one, number, before, local, clinical=clinical), listener)[0] if there else None)
    return made


def published_in_sets(
    held: list[Document], shown: list[bool], listener: Listener, *, local: str = LOCAL
) -> tuple[list[dict[str, str] | None], str, list[str]]:
    """As `published`, but the first two in one submission set, and each put by a submission into a folder that was there.

    Gives the ids, the folder's address, and the submission sets by which documents were put into it ("" where none was).
    """
    sender = Ear(world.hospital_caller(), listener)
    subject = {"identifier": {"system": SYSTEM, "value": local}}
    first = "urn:uuid:" + str(uuid.uuid4())
    status, raw = sender.sent("POST", "/fhir", bundle_of(_set([], subject), ("List", first, _folder([], subject))))
    assert status == 200, raw
    folder = _places(raw)[1]
    made: list[dict[str, str] | None] = []
    together = [
        _bundle(one, number, None, local)
        for number, (one, there) in enumerate(zip(held[:2], shown[:2], strict=True))
        if there
    ]
    for number, bundle in enumerate(together):
        # What came at one instant is sorted by its id: on both sides of a comparison in the same order.
        bundle["entry"][1]["resource"]["identifier"] = [_entry_uuid(f"{number:08x}{str(uuid.uuid4())[8:]}")]
    if together:
        whole, *others = together
        for other in others:
            whole["entry"][0]["resource"]["entry"] += other["entry"][0]["resource"]["entry"]
            whole["entry"] += other["entry"][1:]
        of_set = iter(sent(whole, listener))
        made = [next(of_set) if there else None for there in shown[:2]]
    else:
        made = [None, None]
    puts: list[str] = []
    for number, (one, there) in enumerate(zip(held, shown, strict=True)):
        if number >= 2:
            made.append(sent(_bundle(one, number, made[number - 1], local), listener)[0] if there else None)
        ids = made[number]
        if ids is None:
            puts.append("")
            continue
        bundle = bundle_of(_set([], subject), ("List", f"{HUB}/{folder}", _folder([ids["DocumentReference"]], subject)))
        bundle["entry"][1]["request"] = {"method": "PUT", "url": folder}
        status, raw = sender.sent("POST", "/fhir", bundle)
        assert status == 200, raw
        puts.append(_places(raw)[0])
    return made, folder, puts


def _entry_uuid(value: str) -> dict[str, Any]:
    return _identifier("entryUUID", f"urn:uuid:{value}")


def _identifier(code: str, value: str) -> dict[str, Any]:
    kind = {"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType", "code": code}
    return {"type": {"coding": [kind]}, "system": "urn:ietf:rfc:3986", "value": value}


HUB = "https://hub.example/fhir"
_LIST_TYPES = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"


def _set(items: list[str], subject: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "List", f"urn:uuid:{uuid.uuid4()}", submission_set(items, subject=subject)


def _folder(items: list[str], subject: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "List",
        "extension": [{"url": f"{MHD}/ihe-designationType", "valueCodeableConcept": concept(LOINC, "34117-2")}],
        "status": "current",
        "mode": "working",
        "title": "Folder",
        "code": {"coding": [{"system": _LIST_TYPES, "code": "folder"}]},
        "subject": subject,
        **({"entry": [{"item": {"reference": item}} for item in items]} if items else {}),
    }


def _bundle(
    one: Document, number: int, before: dict[str, str] | None, local: str, *, clinical: bool = False
) -> dict[str, Any]:
    subject = {"identifier": {"system": SYSTEM, "value": local}}
    changes: dict[str, Any] = {}
    if one.relation and before is not None:
        changes["relatesTo"] = [{"code": one.relation, "target": {"reference": before["DocumentReference"]}}]
    tags = [concept(CONFIDENTIALITY, one.letter), *([concept(ACT_CODE, one.label)] if one.label else [])]
    data, media = f"document {number}".encode(), "text/plain"
    if clinical:
        unique = f"2.25.{uuid.uuid4().int}"
        changes["masterIdentifier"] = _identifier("uniqueId", f"urn:oid:{unique}")
        data, media = _clinical(unique, number, local), "text/xml"
    bundle = provide_bundle(
        data,
        media,
        subject=subject,
        type=concept(LOINC, one.type),
        category=[concept(CLASS, one.category)],
        securityLabel=tags,
        context={
            "facilityType": concept("http://snomed.info/sct", "22232009", "Hospital"),
            "practiceSetting": concept("http://snomed.info/sct", "408443003", "General medical practice"),
            "period": {"start": f"{one.year}-03-01T09:00:00Z", "end": f"{one.year}-03-01T09:30:00Z"},
        },
        **changes,
    )
    bundle["entry"][0]["resource"]["subject"] = subject
    attachment = bundle["entry"][1]["resource"]["content"][0]["attachment"]
    attachment |= {"creation": f"{one.year}-04-0{number + 1}T10:00:00Z", "title": f"Title {number}"}
    return bundle


def _clinical(unique: str, number: int, local: str) -> bytes:
    header = make.CdaHeader(
        unique_id=unique, patient_id=local, authority=world.HOSPITAL_AUTHORITY, family=FAMILY, given=("Rosamund",),
        birth_date=policies.BIRTH.replace("-", ""), gender="F", code="34133-9", display="Summary",
        title=f"Title {number}", effective_time="20210401100000", author_family="North", author_given="Bo",
        organization="The Hospital", organization_oid="2.999.10.2",
    )  # fmt: skip
    said = make.Section(code="8716-3", title="Vital Signs", text=(f"Said in document {number}",))
    return make.ccda(header, (said,))


def sent(bundle: dict[str, Any], listener: Listener) -> list[dict[str, str]]:
    """Publish a set of documents, each with its bytes behind it; the ids of each."""
    status, raw = Ear(world.hospital_caller(), listener).sent("POST", "/fhir", bundle)
    assert status == 200, raw
    whole, *places = _places(raw)
    return [
        {
            "List": whole,
            "DocumentReference": places[at],
            "Binary": places[at + 1],
            "unique": bundle["entry"][at + 1]["resource"]["masterIdentifier"]["value"],
        }
        for at in range(0, len(places), 2)
    ]


def _places(answer: dict[str, Any]) -> list[str]:
    return [item["response"]["location"].split("/_history")[0] for item in answer["entry"]]


def directed(
    policy: Policy,
    person: str,
    made: list[dict[str, str] | None],
    listener: Listener,
    names: dict[str, str] | None = None,
) -> list[str]:
    """File the directives as the hospital does; their ids. `names` say what else in them is called otherwise."""
    sender = Ear(world.hospital_caller(), listener)
    ids = {
        f"DocumentReference/d{number}": one["DocumentReference"] if one else f"DocumentReference/{uuid.uuid4()}"
        for number, one in enumerate([*made, *[None] * 4][:4])
    } | (names or {})
    found = []
    for provision in policy.provisions:
        status, raw = sender.sent("POST", "/fhir/Consent", policies.directive(provision, person, ids))
        assert status == 201, raw
        found.append(str(raw["id"]))
    return found


KINDS = ("List", "DocumentReference", "Binary")


def called(made: list[dict[str, str] | None], seen: list[bool]) -> dict[str, str]:
    """Names for what the requester may see of what was published: equal on both sides."""
    names: dict[str, str] = {}
    for number, (ids, may) in enumerate(zip(made, seen, strict=True)):
        if ids is not None and may:
            names |= {ids[kind].split("/")[1]: f"<{kind} {number}>" for kind in KINDS}
            names |= {ids["unique"].removeprefix("urn:oid:"): f"<unique {number}>"}
    return names


def not_seen(made: list[dict[str, str] | None], seen: list[bool]) -> list[tuple[int, dict[str, str]]]:
    """Number and ids of each document that the requester may not see; invented ones where it is not there."""
    return [
        (
            number,
            ids or {kind: f"{kind}/{uuid.uuid4()}" for kind in KINDS} | {"unique": f"urn:oid:2.25.{uuid.uuid4().int}"},
        )
        for number, (ids, may) in enumerate(zip(made, seen, strict=True))
        if not may
    ]
