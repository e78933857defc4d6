"""On-demand documents [ITI-61, ITI-43]: made of what the asker may read, each time, with no trace of what he may not."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from lxml import etree

from consent import directives
from documents.metadata import CX, ON_DEMAND, AssociationType, CodedValue, EntryMetadata
from documents.models import DocumentEntry
from hie.audit.models import AuditEvent, Disclosure
from hie.exchange import feed, on_demand, retrieve
from hie.exchange.retrieve import Wanted
from hie.faces.soap.message import Answer
from hie.standards import cda, cda_copy, xml
from hie.standards.facts import Caller
from patients import identifiers
from tests.consent.fixture import actor
from tests.documents import samples
from tests.documents.cda_samples import clinical_document, references
from tests.exchange.releasing import PATIENT, choice
from tests.exchange.world import (
    CLINIC_AUTHORITY,
    HOSPITAL_AUTHORITY,
    caller,
    exchange,
    feed_rosa,
    hospital_caller,
    rosa,
)
from tests.grounds import ground
from tests.soap import handlers, rim, test_updates, world
from tests.soap.test_stored_queries import hide, received
from tests.soap.test_submissions import ON_DEMAND_ENTRY, register_on_demand
from tests.soap.world import ADA, entry, submission

pytestmark = pytest.mark.django_db
CCDA = CodedValue(
    code="urn:hl7-org:sdwg:ccda-structuredBody:2.1", scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3", display="C-CDA"
)
V3 = {"v3": cda_copy.NS}
PROBLEMS = "//v3:section[v3:code/@code='11450-4']"


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_of_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def live(settings: Any, **changes: Any) -> EntryMetadata:
    """A registered on-demand entry of this repository."""
    values = {
        "repository_unique_id": settings.REPOSITORY_UNIQUE_ID, "mime_type": "text/xml", "format_code": CCDA,
        "title": "Summary of Ada",
    }  # fmt: skip
    one = entry(**ON_DEMAND_ENTRY | values | changes)
    assert handlers.errors(register_on_demand(submission(one))) == []
    return one


def note(text: str, number: int, **changes: Any) -> EntryMetadata:
    """A C-CDA of the clinic with this narrative of problems, provided; the higher the number, the newer."""
    section = f'<text><paragraph ID="p1">{text}</paragraph></text>'
    return provided(clinical_document(extension=f"n{number}", section=section), number, **changes)


def provided(data: bytes, number: int, **changes: Any) -> EntryMetadata:
    values = {
        "unique_id": f"2.999.5^n{number}", "mime_type": "text/xml", "format_code": CCDA,
        "creation_time": f"2024013112{number:02}00", "title": f"Note {number}",
    }  # fmt: skip
    one = entry(repository_unique_id=None, hash=None, size=None, **values | changes)
    assert handlers.errors(world.provide(submission(one), {one.entry_uuid: data})) == []
    return one


def asked(one: EntryMetadata, who: Caller | None = None) -> tuple[str, bytes]:
    """The document's new uniqueId and its bytes."""
    answer = world.retrieve((str(one.repository_unique_id), one.unique_id), who=who)
    assert handlers.status(answer) == "Success", handlers.errors(answer)
    (data,) = received(answer)
    assert [e.text for e in answer.body.iter("{*}mimeType")] == ["text/xml"]
    (new,) = [e.text or "" for e in answer.body.iter("{*}NewDocumentUniqueId")]
    return new, data


def sound(data: bytes) -> etree._Element:
    """The root of a summary that is well-formed, with names of places once and nothing pointing nowhere."""
    root = xml.parse(data)
    assert root.tag == cda.ROOT
    given = [name for one in root.iter(etree.Element) if (name := one.get("ID"))]
    assert len(given) == len(set(given))
    assert set(references(root)) <= set(given)
    allowed = (f"{{{cda_copy.NS}}}", f"{{{cda_copy.SDTC}}}")
    foreign = [one.tag for one in root.iter(etree.Element) if not str(one.tag).startswith(allowed)]
    assert foreign == []
    assert not list(root.iter("{*}script", "{*}iframe", "{*}object"))
    assert "javascript:" not in data.decode().lower()
    return root


def found(root: etree._Element, path: str) -> list[Any]:
    result = root.xpath(path, namespaces=V3)
    assert isinstance(result, list)
    return result


def words(root: etree._Element, path: str = "//v3:structuredBody") -> str:
    return " ".join(" ".join("".join(one.itertext()).split()) for one in found(root, path))


def numbered(data: bytes) -> bytes:
    """A summary without what tells one registration from another: its id, and the instant of the newest."""
    data = re.sub(rb'<id root="2\.25\.\d+"/>', b"<id/>", data, count=1)
    return re.sub(rb'(<effectiveTime|<time) value="\d{14}\+0000"', rb"\1", data)


# -- what is made ---------------------------------------------------------------------------------------------------


def test_a_summary_is_made_of_the_documents_and_has_a_new_unique_id(settings: Any) -> None:
    one = live(settings)
    note("Old trouble", 1)
    note("New trouble", 2)
    new, data = asked(one)
    root = sound(data)
    header = cda.header(data)
    assert header.unique_id == new != one.unique_id
    assert header.template_ids[0].root == "2.16.840.1.113883.10.20.22.1.1"
    assert header.title == "Summary of Ada"
    assert [name.family for name in header.names] == ["Moor"]
    assert (header.birth_date, header.gender) == ("1970-05-01", "F")
    assert [(one.root, one.extension) for one in header.patient_ids] == [("2.999.10.1.1", "P1")]
    assert header.authors[0].name is None
    assert found(root, "v3:author//v3:assignedAuthoringDevice")
    assert header.custodian is not None
    assert header.custodian.organization_name == settings.HUB_NAME
    captions = [one.text for one in found(root, f"{PROBLEMS}//v3:caption")]
    assert captions == ["Note 2 — The Clinic, 2024-01-31", "Note 1 — The Clinic, 2024-01-31"]
    text = words(root, PROBLEMS)
    assert text.index("New trouble") < text.index("Old trouble")
    assert len(found(root, f"{PROBLEMS}/v3:entry")) == 2


def test_an_entry_keeps_its_own_author_and_not_the_hub_s(settings: Any) -> None:
    one = live(settings)
    note("Trouble", 1)
    root = sound(asked(one)[1])
    authors = found(root, f"{PROBLEMS}/v3:entry/v3:observation/v3:author/v3:assignedAuthor")
    assert [words(one, ".//v3:name/v3:family") for one in authors] == ["Doctor"]
    assert [words(one, "v3:representedOrganization/v3:name") for one in authors] == ["The Clinic"]


def test_the_same_content_has_the_same_id_and_bytes_and_other_content_another(settings: Any) -> None:
    one = live(settings)
    note("Trouble", 1)
    first = asked(one)
    assert asked(one) == first
    note("More trouble", 2)
    second = asked(one)
    assert second[0] != first[0]
    assert second[0] == cda.header(second[1]).unique_id


def test_two_on_demand_documents_of_one_patient_are_two_documents(settings: Any) -> None:
    one, other = live(settings), live(settings)
    note("Trouble", 1)
    answer = world.retrieve(*((settings.REPOSITORY_UNIQUE_ID, each.unique_id) for each in (one, other, one)))
    first, second, again = received(answer)
    assert first == again != second
    assert numbered(first) == numbered(second)
    assert len({e.text for e in answer.body.iter("{*}NewDocumentUniqueId")}) == 2
    assert Disclosure.objects.filter(what="bytes").count() == 3


def test_the_answer_is_as_the_schema_has_it(settings: Any) -> None:
    one = live(settings)
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))
    document = next(answer.body.iter("{*}Document"))
    for child in list(document):
        document.remove(child)
    document.text = "AAAA"
    rim.check_schema(answer.body)


def test_sections_without_documents_say_that_nothing_is_known(settings: Any) -> None:
    one = live(settings)
    root = sound(asked(one)[1])
    sections = found(root, "//v3:section")
    assert len(sections) == 7
    assert {section.get("nullFlavor") for section in sections} == {"NI"}
    assert cda.header(asked(one)[1]).template_ids[-1].root == "2.16.840.1.113883.10.20.22.1.2"


def test_what_is_no_structured_document_is_named_and_not_put_in(settings: Any) -> None:
    one = live(settings)
    note("Trouble", 1)
    provided(b"%PDF-1.4 secretcontent", 2, mime_type="application/pdf", format_code=samples.entry().format_code,
             title="A scan", unique_id="2.999.5.77")  # fmt: skip
    world.registered(entry(title="Kept elsewhere", unique_id="2.999.5.78"))
    root = sound(asked(one)[1])
    rows = [[words(cell, ".") for cell in found(row, "v3:td")] for row in found(root, "//v3:tbody/v3:tr")]
    assert rows == [
        ["A scan", "Summary", "2024-01-31", "2.999.5.77", "not a C-CDA document with sections"],
        ["Kept elsewhere", "Summary", "2024-01-31", "2.999.5.78", "kept by another repository"],
    ]
    assert b"secretcontent" not in asked(one)[1]


def test_a_replaced_document_is_not_put_in(settings: Any) -> None:
    one = live(settings)
    note("Trouble before", 1)
    old = DocumentEntry.objects.get(unique_id="2.999.5^n1")
    data = clinical_document(extension="n2", section="<text>Trouble after</text>")
    new = entry(repository_unique_id=None, hash=None, size=None, unique_id="2.999.5^n2", mime_type="text/xml",
                format_code=CCDA)  # fmt: skip
    replacing = samples.relation(AssociationType.RPLC, new.entry_uuid, f"urn:uuid:{old.entry_uuid}")
    answer = world.provide(submission(new, associations=(replacing,)), {new.entry_uuid: data})
    assert handlers.errors(answer) == []
    text = words(sound(asked(one)[1]))
    assert "Trouble after" in text
    assert "Trouble before" not in text


def test_a_snapshot_of_a_summary_is_not_put_into_the_next(settings: Any) -> None:
    one = live(settings)
    kept = f"urn:uuid:{DocumentEntry.objects.get(unique_id=one.unique_id).entry_uuid}"
    snapshot = entry(repository_unique_id=None, hash=None, size=None, unique_id="2.999.5^n9", mime_type="text/xml",
                     format_code=CCDA, title="Kept")  # fmt: skip
    relation = samples.relation(AssociationType.IS_SNAPSHOT_OF, snapshot.entry_uuid, kept)
    data = clinical_document(extension="n9", section="<text>Said before</text>")
    assert handlers.errors(world.provide(submission(snapshot, associations=(relation,)), {snapshot.entry_uuid: data})) == []  # fmt: skip
    text = words(sound(asked(one)[1]))
    assert "Said before" not in text
    assert "itself a summary made on demand" in text


def test_the_same_document_comes_once(settings: Any) -> None:
    one = live(settings)
    data = clinical_document(extension="n1", section="<text>Trouble</text>")
    provided(data, 1)
    provided(data, 1, title="The same again")
    root = sound(asked(one)[1])
    assert len(found(root, f"{PROBLEMS}/v3:entry")) == 1


def test_an_entry_that_claims_the_bytes_of_a_document_does_not_take_its_place(settings: Any) -> None:
    one = live(settings)
    kept = note("Trouble", 1)
    row = DocumentEntry.objects.get(unique_id=kept.unique_id)
    claims = {"hash": row.hash, "size": row.size, "creation_time": "20250101"}
    world.registered(
        entry(title="Another name", **claims), entry(unique_id=kept.unique_id, title="Same name", **claims)
    )
    root = sound(asked(one)[1])
    assert "Trouble" in words(root, PROBLEMS)
    assert [words(row, "v3:td[1]") for row in found(root, "//v3:tbody/v3:tr")] == ["Another name"]


def test_documents_beyond_the_bound_are_left_out_oldest_first_and_it_is_said(settings: Any, monkeypatch: Any) -> None:
    one = live(settings)
    for number in range(1, 5):
        note(f"Trouble {number}.", number)
    monkeypatch.setattr(on_demand, "MAX_DOCUMENTS", 2)
    root = sound(asked(one)[1])
    text = words(root, PROBLEMS)
    assert "Trouble 4." in text
    assert "Trouble 3." in text
    assert "Trouble 2." not in text
    assert "2 more are left out" in words(root)
    monkeypatch.setattr(on_demand, "MAX_DOCUMENTS", 50)
    monkeypatch.setattr(on_demand, "MAX_BYTES", 3000)
    root = sound(asked(one)[1])
    assert "3 more are left out" in words(root)
    assert [words(cell, "v3:td[1]") for cell in found(root, "//v3:tbody/v3:tr")] == ["Note 3", "Note 2", "Note 1"]
    monkeypatch.setattr(on_demand, "MAX_BYTES", 8 << 20)
    monkeypatch.setattr(on_demand, "MAX_OPENED", 1)
    assert "3 more are left out" in words(sound(asked(one)[1]))
    monkeypatch.setattr(on_demand, "MAX_LISTED", 1)
    root = sound(asked(one)[1])
    assert "2 older documents are not named here" in words(root)
    assert len(found(root, "//v3:tbody/v3:tr")) == 1


def test_too_many_on_demand_documents_are_not_made_at_once(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(on_demand, "AT_ONCE", 1)
    one, other = live(settings), live(settings)
    own = settings.REPOSITORY_UNIQUE_ID
    answer = world.retrieve((own, one.unique_id), (own, other.unique_id))
    ((code, said),) = handlers.errors(answer)
    assert code == "XDSRepositoryError"
    assert "on-demand" in said
    assert not answer.attachments
    assert not Disclosure.objects.filter(what="bytes").exists()


# -- who may read it --------------------------------------------------------------------------------------------------


def uuid_of(one: EntryMetadata) -> str:
    return f"urn:uuid:{DocumentEntry.objects.get(unique_id=one.unique_id).entry_uuid}"


def test_hidden_documents_leave_no_trace(settings: Any) -> None:
    one = live(settings)
    note("Open trouble", 1)
    doctor = hospital_caller()
    without = asked(one, doctor)
    secret = note("Hidden trouble", 2)
    scan = provided(b"%PDF-1.4 x", 3, mime_type="application/pdf", format_code=samples.entry().format_code,
                    unique_id="2.999.5.79", title="Hidden scan")  # fmt: skip
    assert b"Hidden trouble" in asked(one, doctor)[1]
    hide(uuid_of(secret), uuid_of(scan))
    assert asked(one, doctor) == without
    assert b"Hidden trouble" in asked(one)[1]


def test_what_replaced_a_document_and_is_hidden_leaves_no_trace_either(settings: Any) -> None:
    one = live(settings)
    old = note("Trouble before", 1)
    doctor = hospital_caller()
    without = asked(one, doctor)
    new = entry(repository_unique_id=None, hash=None, size=None, unique_id="2.999.5^n2", mime_type="text/xml",
                format_code=CCDA)  # fmt: skip
    replacing = samples.relation(AssociationType.RPLC, new.entry_uuid, uuid_of(old))
    data = clinical_document(extension="n2", section="<text>Trouble after</text>")
    assert handlers.errors(world.provide(submission(new, associations=(replacing,)), {new.entry_uuid: data})) == []
    assert b"Trouble after" in asked(one, doctor)[1]
    hide(uuid_of(new))
    assert asked(one, doctor) == without


def test_nothing_to_be_read_and_nothing_there_are_answered_alike(settings: Any) -> None:
    one = live(settings)
    doctor = hospital_caller()
    nothing = asked(one, doctor)
    hidden = [note("Hidden trouble", 1), note("More of it", 2)]
    hide(*map(uuid_of, hidden))
    assert asked(one, doctor) == nothing
    assert b"No information is available" in nothing[1]


def test_an_identifier_whose_record_is_hidden_leads_to_what_hangs_on_it_alone(settings: Any) -> None:
    """Else a summary would tell who it is whom the clinic knows by that identifier (spec/consent.md 8)."""
    person = feed_rosa("H1")
    local = CX(value="C1", authority=CLINIC_AUTHORITY)
    feed.feed(feed.Revision(authority=local.authority, value="C1", demographics=rosa("H1", identifiers=())), caller())
    resolved = identifiers.resolve(local.authority, "C1")
    assert resolved is not None
    assert str(resolved.person_id) == person
    of_hospital = CX(value="H1", authority=HOSPITAL_AUTHORITY)
    values = {"repository_unique_id": settings.REPOSITORY_UNIQUE_ID, "mime_type": "text/xml", "format_code": CCDA}
    one = entry(local, **ON_DEMAND_ENTRY | values)
    assert handlers.errors(register_on_demand(submission(one, patient=local))) == []
    world.registered(entry(local, title="Of the clinic"), patient=local)
    world.registered(entry(of_hospital, title="Of the hospital"), patient=of_hospital, who=hospital_caller())

    def told() -> tuple[set[str], list[str]]:
        root = sound(asked(one, hospital_caller())[1])
        return {words(row, "v3:td[1]") for row in found(root, "//v3:tbody/v3:tr")}, [
            f"{each.get('extension')} {words(root, '//v3:patient/v3:name')}".strip()
            for each in found(root, "//v3:patientRole/v3:id")
        ]

    directives.file(choice("permit"), identifier_pk=resolved.pk, filer=PATIENT)
    assert told() == ({"Of the clinic", "Of the hospital"}, ["C1 RosamundIvyQuarrel", "H1 RosamundIvyQuarrel"])
    wanted = choice("permit")
    wanted["provision"]["provision"] = [
        {
            "type": "deny",
            "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Patient"}],
            "actor": [actor("CST", reference="Organization/org-clinic")],
        }
    ]
    directives.file(wanted, identifier_pk=resolved.pk, filer=PATIENT)
    assert told() == ({"Of the clinic"}, ["C1"])


def test_an_on_demand_entry_that_is_hidden_is_not_there(settings: Any) -> None:
    one = live(settings)
    note("Trouble", 1)
    doctor = hospital_caller()
    asked(one, doctor)
    hide(uuid_of(one))
    own = settings.REPOSITORY_UNIQUE_ID
    refused = world.retrieve((own, one.unique_id), who=doctor)
    absent = world.retrieve((own, "9.9.9"), who=doctor)

    def text(answer: Answer) -> str:
        return etree.tostring(answer.body, encoding="unicode").replace(one.unique_id, "9.9.9")

    assert text(refused) == text(absent)
    for wanted in (one.unique_id, "9.9.9"):
        world.retrieve((own, wanted), who=doctor)
    assert statements(own, one.unique_id, doctor) == statements(own, "9.9.9", doctor)


def statements(own: str, unique_id: str, who: Caller | None = None) -> int:
    with CaptureQueriesContext(connection) as seen:
        for one in world.retrieve((own, unique_id), who=who).attachments:
            list(one.chunks)
    return len(seen)


def test_a_summary_costs_a_statement_more_for_each_document_put_in_and_none_for_one_named(settings: Any) -> None:
    one = live(settings)
    own = settings.REPOSITORY_UNIQUE_ID
    note("Trouble", 1)
    asked(one)
    few = statements(own, one.unique_id)
    for number in range(2, 6):
        note(f"Trouble {number}", number)
        world.registered(entry())
    assert statements(own, one.unique_id) == few + 4
    assert few <= 20


def test_each_document_that_left_is_disclosed_in_one_event(settings: Any) -> None:
    one = live(settings)
    inside = note("Trouble", 1)
    named = entry(title="Kept elsewhere")
    world.registered(named)
    hidden = note("Hidden trouble", 2)
    hide(uuid_of(hidden))
    new, _ = asked(one, hospital_caller())
    (event,) = AuditEvent.objects.filter(kind="ITI-43")
    told = {(d.unique_id, d.what) for d in Disclosure.objects.filter(event=event)}
    assert told == {
        (one.unique_id, "bytes"), (inside.unique_id, "bytes"), (named.unique_id, "metadata"), ("", "demographics")
    }  # fmt: skip
    assert event.detail == {"made": [new]}
    assert [document for document, _ in event.denied] == [uuid_of(hidden)[9:]]


def test_a_document_asked_for_beside_its_summary_is_disclosed_once(settings: Any) -> None:
    one = live(settings)
    inside = note("Trouble", 1)
    own = settings.REPOSITORY_UNIQUE_ID
    answer = world.retrieve((own, one.unique_id), (own, inside.unique_id))
    assert len(received(answer)) == 2
    assert Disclosure.objects.filter(unique_id=inside.unique_id, what="bytes").count() == 1


def test_a_summary_breaks_off_when_one_of_its_documents_may_no_longer_be_read(settings: Any, monkeypatch: Any) -> None:
    one = live(settings)
    inside = note("Trouble", 1)
    monkeypatch.setattr(on_demand, "CHUNK", 1000)
    monkeypatch.setattr(retrieve, "RECHECK_S", 0.0)
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id), who=hospital_caller())
    chunks = iter(answer.attachments[0].chunks)
    whole = [next(chunks), next(chunks)]
    hide(uuid_of(inside))
    assert list(chunks) == []
    assert len(whole) == 2
    (broken,) = AuditEvent.objects.filter(kind="transfer-broken")
    assert broken.reason == "no-longer-permitted"


def test_a_summary_that_may_be_read_to_its_end_is(settings: Any, monkeypatch: Any) -> None:
    one = live(settings)
    note("Trouble", 1)
    world.registered(entry())
    _, data = asked(one, hospital_caller())
    monkeypatch.setattr(on_demand, "CHUNK", 1000)
    monkeypatch.setattr(retrieve, "RECHECK_S", 0.0)
    assert asked(one, hospital_caller())[1] == data


# -- the same over FHIR -------------------------------------------------------------------------------------------------


def test_the_entry_s_uuid_reads_the_same_bytes_whole_and_in_part(settings: Any) -> None:
    one = live(settings)
    note("Trouble", 1)
    _, data = asked(one)
    binary = uuid_of(one)[9:]
    whole = retrieve.retrieve(Wanted(binary_id=binary), caller=caller())
    assert (whole.size, b"".join(whole.chunks), whole.content_type) == (len(data), data, "text/xml")
    part = retrieve.retrieve(Wanted(binary_id=binary, first=10, last=99), caller=caller())
    assert part.partial
    assert b"".join(part.chunks) == data[10:100]
    retrieve.retrieve(Wanted(binary_id=binary, head=True), caller=caller())
    heads = Disclosure.objects.filter(event=AuditEvent.objects.filter(kind="ITI-68").latest("at"))
    assert {d.what for d in heads} == {"metadata", "demographics"}


# -- what can be registered -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        pytest.param({"mime_type": "application/pdf"}, "mimeType", id="another-media-type"),
        pytest.param(
            {"format_code": CodedValue(code="urn:ihe:pcc:xphr:2007", scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3")},
            "formatCode", id="another-format",
        ),
    ],
)  # fmt: skip
def test_an_entry_that_the_hub_cannot_make_is_refused_by_attribute(
    settings: Any, changes: dict[str, Any], attribute: str
) -> None:
    given = {"repository_unique_id": settings.REPOSITORY_UNIQUE_ID, "mime_type": "text/xml", "format_code": CCDA}
    one = entry(**ON_DEMAND_ENTRY | given | changes)
    ((code, said),) = handlers.errors(register_on_demand(submission(one)))
    assert code == "XDSRegistryMetadataError"
    assert one.entry_uuid in said
    assert attribute in said
    assert not DocumentEntry.objects.exists()
    other = entry(**ON_DEMAND_ENTRY | given | changes | {"repository_unique_id": world.ELSEWHERE})
    assert handlers.errors(register_on_demand(submission(other))) == []


def test_what_the_hub_cannot_make_is_told_with_all_else_that_is_wrong_with_the_attributes(settings: Any) -> None:
    given = {"repository_unique_id": settings.REPOSITORY_UNIQUE_ID, "mime_type": "application/pdf", "format_code": CCDA}
    one = entry(**ON_DEMAND_ENTRY | given | {"service_start_time": "20261301"})
    told = " ".join(said for _, said in handlers.errors(register_on_demand(submission(one))))
    assert "].mimeType" in told
    assert "].serviceStartTime" in told
    assert not DocumentEntry.objects.exists()


def test_an_update_can_not_make_of_it_what_the_hub_can_not_make_and_a_new_version_is_made_like_the_first(
    settings: Any,
) -> None:
    one = live(settings)
    note("Trouble", 1)
    first = asked(one)
    version = replace(one, entry_uuid="Document01", logical_id=uuid_of(one), title="A better title")
    wrong = replace(version, format_code=samples.entry().format_code)
    ((code, said),) = handlers.errors(test_updates.send(test_updates.versions(wrong)))
    assert (code, "formatCode" in said) == ("XDSRegistryMetadataError", True)
    assert asked(one) == first
    assert handlers.errors(test_updates.send(test_updates.versions(version))) == []
    second = asked(one)
    assert second[0] != first[0]
    assert cda.header(second[1]).title == "A better title"


def test_an_on_demand_document_of_another_repository_is_not_made_here(settings: Any) -> None:
    one = live(settings, repository_unique_id=world.ELSEWHERE)
    answer = world.retrieve((world.ELSEWHERE, one.unique_id))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSUnknownRepositoryId"]
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSDocumentUniqueIdError"]
    assert DocumentEntry.objects.get().object_type == ON_DEMAND


# -- documents of several vendors ---------------------------------------------------------------------------------------


@pytest.mark.shared
def test_documents_of_several_vendors_make_one_sound_summary(settings: Any) -> None:
    one = live(settings)
    resolved = identifiers.resolve(ADA.authority, ADA.value)
    assert resolved is not None
    paths = sorted((settings.SHARED_DIR / "data" / "cda").glob("*.xml"))
    for number, path in enumerate(paths):
        data = path.read_bytes()
        told = entry(
            hash=hashlib.sha1(data).hexdigest(), size=len(data), repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
            unique_id=f"2.999.5.500.{number}", mime_type="text/xml", format_code=CCDA, title=path.stem,
            creation_time=f"2024010100{number:02}00",
        )  # fmt: skip
        samples.register(
            submission(told),
            dict.fromkeys((ADA, samples.ALICE, samples.ALICE_ELSEWHERE), resolved.pk),
            bytes_of={told.entry_uuid: data},
        )
    root = sound(asked(one)[1])
    put_in = {caption.text for caption in found(root, "//v3:caption") if caption.text}
    named = [words(row, "v3:td[1]") for row in found(root, "//v3:tbody/v3:tr")]
    stems = {path.stem for path in paths}
    assert len([stem for stem in stems if any(stem in caption for caption in put_in)]) >= 30
    assert len([stem for stem in stems if stem in named]) >= 5
    assert len(found(root, "//v3:section/v3:entry")) > 500
