"""The walk over pages: a helper's portal, the downloads of the log, and the administrators' pages for who may not open them.

A helper reads the log of a patient in which others looked at documents that the helper may not see; on the other side
there are no such documents. A member of staff without the right gets of a row what he gets of none.
"""

from __future__ import annotations

import io
import os
import re
import uuid
import zipfile
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings

from consent import proxies
from consent.models import Consent, ProxyGrant
from documents.models import DocumentEntry
from hie.audit.models import AuditEvent
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.exchange import accounts, emergency_review, patient_notices
from hie.exchange.access import Staff
from hie.faces.portal.paper import Paper
from hie.trust.models import PatientAccount
from hie.trust.staff import ensure_roles
from patients.models import Person
from tests import second_factor
from tests.backoffice.emergencies import TEXT
from tests.backoffice.emergencies import emergency as opened
from tests.exchange import world
from tests.leaks import place, policies
from tests.leaks.policies import Document, Policy
from tests.leaks.table import ACTIONS, ADMIN, Guarded
from tests.leaks.test_walk_documents import EXAMPLES
from tests.leaks.walking import Ear, Heard, Listener, difference, same, stopped, taken_back, walks
from tests.portal.conftest import PASSWORD, signed_in

pytestmark = pytest.mark.django_db

CLOCK = re.compile(r"(?<![\w:])\d{1,2}:\d\d\b(?::\d\d)?")
SPAN = re.compile(rb"From \d+:\d\d [ap]m to \d+:\d\d [ap]m\. ")
"""Looks of one page may fall into one minute or two."""
TOKEN = re.compile(
    r'name="csrfmiddlewaretoken" value="[^"]*"|name="basis" value="[^"]*"|nonce="[^"]*"|span=\d+|nonce-[\w+/=-]+'
)


def heard(ear: Ear, client: Client, path: str, sent: dict[str, Any] | None = None) -> Heard:
    """A page as it is compared, less what protects its forms; `sent` is posted."""
    ear.listener.taken()
    said: list[str] = []
    say = Paper._say

    def listen(paper: Paper, text: str, *args: Any, **kwargs: Any) -> None:
        said.append(text)
        say(paper, text, *args, **kwargs)

    with patch.object(Paper, "_say", listen):
        response = client.get(path) if sent is None else client.post(path, sent)
    raw = b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]
    if response.headers["Content-Type"] == "application/pdf":
        # What stands on a paper is compared, not how it is packed.
        raw = "\n".join(said).encode()
        del response.headers["Content-Length"]
    elif response.headers.get("Content-Type") == "application/zip":
        raw = unpacked(raw)
    raw = SPAN.sub(b"", raw)
    headers = {key: TOKEN.sub("", value) for key, value in response.headers.items() if key != "Vary"}
    return ear.heard(response.status_code, headers, CLOCK.sub("<time>", TOKEN.sub("", raw.decode())).encode())


def unpacked(raw: bytes) -> bytes:
    """A ZIP as the names and the text of what is in it."""
    with zipfile.ZipFile(io.BytesIO(raw)) as whole:
        return b"\n".join(
            line for name in whole.namelist() for line in (name.encode(), whole.read(name).decode("latin-1").encode())
        )


def helper(ceiling: str = "R", *, may_consent: bool = False) -> tuple[Client, str]:
    """Sam, who signs in and acts for the patient; his user id. He has a record of his own at the hospital."""
    place.fed("S1", "Delgado", birth_date="1990-01-02", telecoms=(), addresses=())
    accounts.load(
        {
            "patients": [
                {
                    "login": "sam",
                    "password": PASSWORD,
                    "name": "Sam Delgado",
                    "identifier": f"S1^^^&{world.HOSPITAL_AUTHORITY}&ISO",
                }
            ]
        }
    )
    user = f"RelatedPerson/{PatientAccount.objects.get(login='sam').pk}"
    proxies.grant(
        identifier_pk=place.pk(),
        person=user,
        kind="nominated",
        max_confidentiality=ceiling,
        verified_by="desk",
        may_consent=may_consent,
    )
    return signed_in("sam"), user


OFFICER = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
PATIENT = {
    "login": "rosamund",
    "password": PASSWORD,
    "name": "Rosamund Vanterpool",
    "identifier": f"{place.LOCAL}^^^&{world.HOSPITAL_AUTHORITY}&ISO",
}
PAGES = (
    "/my/",
    "/my/?part=others",
    "/my/?text=Title",
    "/my/?text=Title+1",
    "/my/?org=The+Clinic",
    "/my/?part=automatic",
    "/my/?more=1&period=all",
    "/my/log.csv",
    "/my/log.json",
    "/my/log.pdf",
    *(f"/my/accounting{ending}{view}" for ending in ("", ".csv", ".pdf") for view in ("", "?all=1")),
    "/my/documents",
    "/my/documents?words=Title",
    "/my/documents?words=Title+1&topic=letters",
    "/my/documents?place=org-clinic&language=en&year=2024",
    "/my/documents/all.zip",
)


def side(
    held: list[Document], policy: Policy, there: list[bool], seen: list[bool], listener: Listener
) -> dict[Any, list[Heard]]:
    """What Sam reads of the patient whose documents are `there`, after a clinician looked at each of them."""
    place.takes_part(policy)
    person = place.fed()
    made = place.published(held, there, listener)
    client, user = helper()
    looker = Ear(world.hospital_caller(), listener)
    for ids in made:
        if ids is not None:
            looker.ask("GET", f"/fhir/{ids['Binary']}")
    looker.ask("GET", f"/fhir/DocumentReference?patient={person}")
    place.directed(policy, person, made, listener, {"RelatedPerson/sam": user})
    ear = Ear(world.caller(), listener, {person: "<person>"})
    answered = client.post("/my/person", {"person": person})
    assert answered.status_code == 302
    ear.known |= place.called(made, seen)
    found: dict[Any, list[Heard]] = {(path,): [heard(ear, client, path)] for path in PAGES}
    for number, (ids, may) in enumerate(zip(made, seen, strict=True)):
        if may:
            continue
        key = ids["DocumentReference"].split("/")[1] if ids else str(uuid.uuid4())
        event = str(uuid.uuid4())
        if ids is not None:
            looks = AuditEvent.objects.filter(person_id=person, kind="ITI-68", disclosures__document_id=key)
            event = str(looks[0].id) if looks else event
        ear.known |= {key: "<asked>", event: "<event>"}
        shown = (f"/my/documents/{key}{more}" for more in ("", "/open", "/part/0", "/file"))
        for path in (*shown, f"/my/log/{event}"):
            found[path.replace(key, "").replace(event, ""), number] = [heard(ear, client, path)]
    return found


@walks(
    "url",
    "my/",
    "my/log.csv",
    "my/log.json",
    "my/log.pdf",
    "my/accounting",
    "my/accounting.csv",
    "my/accounting.pdf",
    "my/log/<uuid:event_id>",
    "my/documents",
    "my/documents/all.zip",
    "my/documents/<uuid:entry_id>",
    "my/documents/<uuid:entry_id>/open",
    "my/documents/<uuid:entry_id>/part/<int:number>",
    "my/documents/<uuid:entry_id>/file",
)
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(held=policies.documents, policy=policies.policies)
def test_a_helper_reads_no_trace_of_documents_that_are_hidden_from_him(
    listener: Listener, held: list[Document], policy: Policy
) -> None:
    held = [Document(letter="V"), *held[1:], Document(type=policies.TYPES[0])]
    seen = policies.visible("proxy", held, policy, purpose="PATRQT")
    with_them = taken_back(lambda: side(held, policy, [True] * len(held), seen, listener))
    without = taken_back(lambda: side(held, policy, seen, seen, listener))
    same(with_them, without)


# --- concerns and notices ---------------------------------------------------------------------------------------------


def doubts(there: bool, listener: Listener) -> dict[Any, list[Heard]]:
    """What Sam reads of concerns and notices: of a look at a document that he may not see, which the patient doubts, or of none."""
    place.takes_part(Policy())
    person = place.fed()
    client, user = helper("N")
    accounts.load({"patients": [PATIENT]})
    eve = world.caller()
    ear = Ear(eve, listener, {person: "<person>"})
    event, number = str(uuid.uuid4()), "C-2000-000000"
    client.post("/my/person", {"person": person})
    client.post("/my/notices/choose", {"wanted": "all"})
    if there:
        secret = DisclosureDraft(document_id=str(uuid.uuid4()), title="Title 1", custodian="org-hospital", what="bytes", confidentiality="V", labels=("MH",))  # fmt: skip
        draft = EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=eve, person_id=person, disclosures=(secret,))
        event = str(write([draft])[0])
        her = signed_in("rosamund")
        sent = her.post(f"/my/log/{event}/concern", {"reason": "person", "words": "Was it Sam?"})
        assert sent.status_code == 302, sent.content
        number = sent.headers["Location"].split("/")[3].partition("?")[0]
    patient_notices.find()
    ear.known |= {event: "<event>", number: "<number>", user: "<sam>"}
    found: dict[Any, list[Heard]] = {
        (path.replace(event, "").replace(number, ""),): [heard(ear, client, path)]
        for path in (
            f"/my/log/{event}/concern",
            "/my/concerns",
            f"/my/concerns/{number}",
            "/my/notices",
            "/my/?part=own",
        )
    }
    found["say",] = [heard(ear, client, f"/my/concerns/{number}/say", {"words": "Hello"})]
    found["doubt",] = [heard(ear, client, f"/my/log/{event}/concern", {"reason": "person"})]
    return found


@walks(
    "url",
    "my/log/<uuid:event_id>/concern",
    "my/concerns",
    "my/concerns/<str:number>",
    "my/concerns/<str:number>/say",
    "my/notices",
)
def test_a_helper_is_told_nothing_of_a_doubted_look_that_he_may_not_see(listener: Listener) -> None:
    same(taken_back(lambda: doubts(True, listener)), taken_back(lambda: doubts(False, listener)))


# --- emergencies and helpers ------------------------------------------------------------------------------------------


def emergencies(login: str, there: bool, listener: Listener) -> dict[Any, list[Heard]]:
    """What the patient, or Sam for her, reads of an emergency that is held back for her safety, or that never was."""
    place.takes_part(Policy())
    person = place.fed()
    helper()
    accounts.load({"patients": [PATIENT]})
    if there:
        review = opened(person)
        emergency_review.hold_notice(review.pk, OFFICER, "Threatened at home", timezone.now() + timedelta(hours=2))
        again = world.caller(purpose="BTG")
        look = DisclosureDraft(
            document_id=f"Patient/{person}#1", custodian="org-hospital", what="demographics", rule="D2"
        )
        write([EventDraft(kind=EventType.PATIENT_READ, caller=again, person_id=person, action="R", disclosures=(look,), personal={"text": TEXT})])  # fmt: skip
    other = Person.objects.exclude(pk=person).get()
    grants = ProxyGrant.objects.order_by("created_at")
    own, number = str(grants[0].pk), review.pk if there else 10**8
    client = signed_in(login)
    if login == "sam":
        assert client.post("/my/person", {"person": person}).status_code == 302
    ear = Ear(world.caller(), listener, {person: "<person>", str(other.pk): "<sam>", own: "<grant>"})
    found: dict[Any, list[Heard]] = {}
    for path in ("/my/emergencies", "/my/", "/my/log.csv", "/my/log.json", "/my/helpers", "/my/documents"):
        found[path,] = [heard(ear, client, path)]
    ear.known |= {f"/{number}/": "/<asked>/"}
    found["object",] = [heard(ear, client, f"/my/emergencies/{number}/object", {"words": "I was at home"})]
    # A grant of another patient's, or of nobody's.
    another = str(uuid.uuid4())
    if there:
        theirs = proxies.grant(
            identifier_pk=place.pk("S1"), person="RelatedPerson/x", kind="nominated", verified_by="desk"
        )
        another = str(theirs.pk)
    ear.known |= {another: "<another>"}
    for sent in (None, {}):
        found["end", sent is None] = [heard(ear, client, f"/my/helpers/{another}/end", sent)]
    found["after",] = [heard(ear, client, "/my/")]
    return found


@walks("url", "my/emergencies", "my/emergencies/<int:number>/object", "my/helpers", "my/helpers/<uuid:grant_id>/end")
@pytest.mark.parametrize("login", ["rosamund", "sam"])
def test_an_emergency_that_is_not_to_be_told_yet_and_anothers_helper_are_none(listener: Listener, login: str) -> None:
    with_it = taken_back(lambda: emergencies(login, True, listener))
    without = taken_back(lambda: emergencies(login, False, listener))
    same(with_it, without)


# --- administrators ----------------------------------------------------------------------------------------------------


def rows() -> dict[str, Any]:
    """One row of each table about patients that there is."""
    found = {}
    for model in admin.site._registry:
        if isinstance(ADMIN.get(model._meta.label), Guarded):
            row = model._default_manager.order_by("pk").first()
            if row is not None:
                found[model._meta.label] = row
    return found


PEOPLE = ("by-hand/", "identity/", "split/", "why/", f"join/{uuid.UUID(int=1)}/")
"""Pages of one person, below that person's."""


@stopped("url", "admin/patients/person/find/", "admin/consent/consent/<uuid:consent_id>/end/")
@stopped("url", "admin/patients/person/<uuid:person_id>/by-hand/", "admin/patients/person/<uuid:person_id>/identity/")
@stopped("url", "admin/patients/person/<uuid:person_id>/split/")
@stopped("url", "admin/patients/person/<uuid:person_id>/join/<uuid:other_id>/")
@stopped("admin", *(name for name, entry in ADMIN.items() if isinstance(entry, Guarded)))
@stopped("action", *(name for name, entry in ACTIONS.items() if isinstance(entry, Guarded)))
@stopped("url", "admin/audit/auditevent/<uuid:event_id>/explain/")
@stopped("url", "admin/consent/consent/<uuid:consent_id>/what-if/")
@stopped("url", "admin/consent/proxygrant/give/", "admin/consent/proxygrant/<uuid:grant_id>/status/")
@stopped("url", "admin/documents/documententry/<uuid:entry_uuid>/who-could-see/")
@stopped("url", "admin/tasks/<slug:queue>/<path:key>/")
@stopped("url", "admin/documents/documententry/<uuid:entry_uuid>/why/", "admin/documents/documententry/missing/")
@stopped("url", "admin/find/", "admin/patients/person/<uuid:person_id>/why/")
@pytest.mark.parametrize("role", ["onboarding", "operator", "auditor", "steward", "privacy-officer", ""])
def test_staff_without_the_right_get_of_a_row_what_they_get_of_none(listener: Listener, role: str) -> None:
    place.takes_part()
    person = place.fed()
    place.published([Document()], [True], listener)
    place.directed(Policy(provisions=({"type": "permit"},)), person, [], listener)
    place.helped()
    Ear(world.caller(), listener).ask("GET", f"/fhir/DocumentReference?patient={person}")
    ensure_roles()
    user = User.objects.create_user("moss", password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name=role))
    client = second_factor.sign_in(user)
    ear = Ear(world.caller(), listener)
    found = rows()
    assert len(found) >= 6
    refused = 0
    for label, row in found.items():
        base = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        absent = str(uuid.uuid4()) if not str(row.pk).isdigit() else "999999999"
        allowed = admin.site._registry[type(row)].has_view_permission(_request(user))
        if allowed:
            continue
        refused += 1
        for page in ("change", "history", "delete"):
            got = []
            for key in (str(row.pk), absent):
                ear.known = {f"/{key}/": "/<asked>/", f"“{key}”": "“<asked>”"}
                got.append(heard(ear, client, reverse(f"{base}_{page}", args=[key])))
            assert got[0] == got[1], (label, page, difference(*got))
            assert person not in got[0].body
    for path, model, real in (
        *((f"/admin/patients/person/{{}}/{page}", Person, person) for page in PEOPLE),
        ("/admin/consent/consent/{}/end/", Consent, found["consent.Consent"].pk),
        ("/admin/consent/consent/{}/what-if/", Consent, found["consent.Consent"].pk),
        ("/admin/tasks/consents/{}/", Consent, found["consent.Consent"].pk),
        ("/admin/consent/proxygrant/{}/status/", ProxyGrant, found["consent.ProxyGrant"].pk),
        ("/admin/consent/proxygrant/give/?patient={}", ProxyGrant, person),
        ("/admin/audit/auditevent/{}/explain/", AuditEvent, found["audit.AuditEvent"].pk),
        *(
            (
                f"/admin/documents/documententry/{{}}/{page}/",
                DocumentEntry,
                found["documents.DocumentEntry"].entry_uuid,
            )
            for page in ("who-could-see", "why")
        ),
    ):
        for sent in (None, {"look_reason": "a question of hers"}):
            got = []
            for key in (str(real), str(uuid.uuid4())):
                ear.known = {key: "<asked>"}
                got.append(heard(ear, client, path.format(key), sent))
            # Who may see such rows knows of them, also where he may not change them.
            if not admin.site._registry[model].has_view_permission(_request(user)):
                assert got[0] == got[1], (path, difference(*got))
    entry = found["documents.DocumentEntry"]
    for path, sent, model, real in (
        ("/admin/find/", "q", Person, person),
        ("/admin/find/", "q", DocumentEntry, entry.entry_uuid),
        ("/admin/find/", "q", DocumentEntry, entry.unique_id),
        ("/admin/find/", "q", AuditEvent, found["audit.AuditEvent"].pk),
        ("/admin/documents/documententry/missing/", "unique", DocumentEntry, entry.unique_id),
    ):
        if admin.site._registry[model].has_view_permission(_request(user)):
            continue
        got = []
        for key in (str(real), str(uuid.uuid4())):
            ear.known = {key: "<asked>"}
            got.append(heard(ear, client, path, {sent: key, "reason": "a question of hers"}))
        assert got[0] == got[1], (path, difference(*got))
    assert refused or role in ("auditor", "privacy-officer")


def _request(user: User) -> Any:
    request = RequestFactory().get("/admin/")
    request.user = user
    return request
