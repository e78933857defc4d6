"""Every place and spelling of a code that a value set names raises the document; changed rules go over what is there."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import epochs, labelling, policies, tables
from consent.engine import RANK, Tables
from consent.models import CodeTable
from documents import labels as entry_labels
from documents import queries
from documents.metadata import AssociationMetadata, AssociationType, CodedValue
from documents.models import DocumentEntry, LabelAssignment, LabelRun
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.exchange import content, labels, relabel, submit
from hie.faces.fhir import document_reference
from hie.standards import oids
from hie.standards.facts import CodedContent
from tests.documents import samples
from tests.exchange import test_submit
from tests.exchange.test_submit import ADA, publish
from tests.exchange.world import caller, exchange

SHIPPED = tables.shipped("labels")
TABLES = labelling.LabelTables.from_json(SHIPPED, Tables.from_json(tables.shipped("codes")))
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
ICD9 = "http://hl7.org/fhir/sid/icd-9-cm"

# (label, system, code): every code of every value set, and a code below every prefix.
VALUE_SET_CODES = [
    (rule["label"], *code.rsplit("|", 1)) for rule in SHIPPED["rules"] for code in rule.get("codes", ())
] + [
    (rule["label"], system, prefix + tail)
    for rule in SHIPPED["rules"]
    for member, system in (("icd10Prefixes", ICD10), ("icd9Prefixes", ICD9))
    for prefix in rule.get(member, ())
    for tail in ("", "1" if "." in prefix or len(prefix) < 3 else ".1")
]
NAMES = {
    "http://snomed.info/sct": ["SNOMED CT", "SNOMED-CT", "SCT", "http://snomed.info/sct/731000124108/version/20260301"],
    "http://loinc.org": ["LOINC", "LN", "https://loinc.org/"],
    "http://www.nlm.nih.gov/research/umls/rxnorm": ["RxNorm", "https://www.nlm.nih.gov/research/umls/rxnorm/"],
    ICD10: [
        "ICD-10-CM",
        "I10C",
        "icd10",
        "http://hl7.org/fhir/sid/icd-10",
        "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
    ],
    ICD9: ["ICD-9-CM", "I9C", "urn:oid:2.16.840.1.113883.6.2", "urn:oid:2.16.840.1.113883.6.42"],
}


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str, str]:
    """A code of a value set, its system in one of its spellings: the label, the system as written, the code."""
    label, system, code = draw(st.sampled_from(VALUE_SET_CODES))
    ways = [*oids.spellings(system), *NAMES[system], f"{system}/", f"{system}|2026", system.upper()]
    ways += [way.replace("http:", "https:") for way in ways if way.startswith("http:")]
    if system.startswith("http://hl7.org/fhir/sid/icd"):
        code = draw(st.sampled_from([code, code.lower(), code.replace(".", ""), f" {code} "]))
    return label, draw(st.sampled_from(sorted(set(ways)))), code


ORDINARY = {"system": "http://loinc.org", "code": "34133-9"}


def reference(**changes: Any) -> dict[str, Any]:
    base = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [ORDINARY]},
        "category": [{"coding": [{"system": "urn:oid:2.999.1", "code": "REPORTS"}]}],
        "securityLabel": [{"coding": [{"system": CONFIDENTIALITY, "code": "N"}]}],
        "content": [{"attachment": {"contentType": "application/pdf"}}],
    }
    return base | changes


def in_metadata(place: str, coding: dict[str, str]) -> dict[str, Any]:
    concept = {"coding": [ORDINARY, coding]}
    match place:
        case "type" | "facilityType" | "practiceSetting":
            return reference(**({"type": concept} if place == "type" else {"context": {place: concept}}))
        case "category":
            return reference(category=[concept, {"coding": [coding]}])
        case "second-category":
            return reference(category=[{"coding": [ORDINARY]}, {"coding": [coding]}])
        case _:
            return reference(context={"event": [{"coding": [ORDINARY]}, concept]})


@settings(max_examples=300, deadline=None)
@given(
    found=spelled(),
    place=st.sampled_from(["type", "category", "second-category", "event", "facilityType", "practiceSetting"]),
)
def test_no_coding_of_the_metadata_with_a_code_of_a_value_set_leaves_a_document_n(
    found: tuple[str, str, str], place: str
) -> None:
    label, system, code = found
    resource = in_metadata(place, {"system": system, "code": code})
    entry = document_reference.decode(resource, entry_uuid="d", patient_id=None)
    made = labels.of_entry(entry, CodedContent(), TABLES)
    assert label in TABLES.tables.carried(made.labels), (found, made)
    assert RANK[made.confidentiality or "U"] >= RANK["R"] or TABLES.tables.floor({label}) < RANK["R"]


def fhir_json(system: str | None, code: str) -> bytes:
    coding = {"code": code} | ({"system": system} if system is not None else {})
    entry = {"resource": {"resourceType": "Condition", "code": {"coding": [ORDINARY, coding]}}}
    return json.dumps({"resourceType": "Bundle", "type": "document", "entry": [entry]}).encode()


def fhir_xml(system: str | None, code: str) -> bytes:
    named = f"<system value={quoteattr(system)}/>" if system is not None else ""
    return (
        '<Bundle xmlns="http://hl7.org/fhir"><entry><resource><Condition><code><coding>'
        f"{named}<code value={quoteattr(code)}/></coding></code></Condition></resource></entry></Bundle>"
    ).encode()


def cda(system: str | None, code: str, *, where: str = "value", attribute: str = "codeSystem") -> bytes:
    named = f"{attribute}={quoteattr(oids.bare(system))}" if system is not None else ""
    coded = f"code={quoteattr(code)} {named}"
    body = {
        "value": f"<value {coded}/>",
        "translation": f'<value nullFlavor="OTH"><translation {coded}/></value>',
        "flavoured": f'<value nullFlavor="UNK" {coded}/>',
    }.get(where, "")
    header = {
        "documentationOf": f"<documentationOf><serviceEvent><code {coded}/></serviceEvent></documentationOf>",
        "encounter": f"<componentOf><encompassingEncounter><code {coded}/></encompassingEncounter></componentOf>",
        "authorization": f"<authorization><consent><code {coded}/></consent></authorization>",
    }.get(where, "")
    return (
        '<ClinicalDocument xmlns="urn:hl7-org:v3"><code code="34133-9" codeSystem="2.16.840.1.113883.6.1"/>'
        f'<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>{header}'
        "<component><structuredBody><component><section><entry><observation>"
        f"{body}</observation></entry></section></component></structuredBody></component></ClinicalDocument>"
    ).encode()


def read(data: bytes, mime_type: str) -> Any:
    """The labels of a document of letter N with these bytes."""
    entry = samples.entry(mime_type=mime_type)
    return labels.of_entry(entry, content.inspect(entry, [data], where="d").content, TABLES)


@settings(max_examples=300, deadline=None)
@given(
    found=spelled(),
    kind=st.sampled_from(
        ["json", "xml", "value", "translation", "flavoured", "documentationOf", "encounter", "authorization", "name"]
    ),
)
def test_no_code_of_a_value_set_in_the_content_leaves_a_document_n(found: tuple[str, str, str], kind: str) -> None:
    label, system, code = found
    if kind == "json":
        made = read(fhir_json(system, code), "application/fhir+json")
    elif kind == "xml":
        made = read(fhir_xml(system, code), "application/fhir+xml")
    elif kind == "name":
        made = read(cda(system, code, attribute="codeSystemName"), "text/xml")
    else:
        made = read(cda(system, code, where=kind), "text/xml")
    assert label in TABLES.tables.carried(made.labels), (found, made)
    assert RANK[made.confidentiality or "U"] >= RANK["R"] or TABLES.tables.floor({label}) < RANK["R"]


def embedded(inner: bytes, content_type: str, *, xml: bool = False) -> bytes:
    data = base64.b64encode(inner).decode()
    if xml:
        parts = f'<contentType value="{content_type}"/><data value="{data}"/>'
        return f'<Bundle xmlns="http://hl7.org/fhir"><entry><resource><Binary>{parts}</Binary></resource></entry></Bundle>'.encode()
    attachment = {"contentType": content_type, "data": data}
    resource = {"resourceType": "DocumentReference", "content": [{"attachment": attachment}]}
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": resource}]}).encode()


HIV = ("http://snomed.info/sct", "86406008")


@pytest.mark.parametrize("outer_xml", [False, True])
@pytest.mark.parametrize(
    ("inner", "content_type", "letter"),
    [
        pytest.param(cda(*HIV), "text/xml", "R", id="cda"),
        pytest.param(cda(*HIV), "application/octet-stream", "R", id="cda-by-another-name"),
        pytest.param(fhir_json(*HIV), "application/fhir+json", "R", id="json"),
        pytest.param(fhir_xml(*HIV), "application/fhir+xml; charset=utf-8", "R", id="xml"),
        pytest.param(embedded(cda(*HIV), "text/xml"), "application/fhir+json", "R", id="twice"),
        pytest.param(fhir_json("http://loinc.org", "34133-9"), "application/fhir+json", "N", id="ordinary"),
        pytest.param(b"%PDF-1.7", "application/pdf", "N", id="pdf"),
        pytest.param(b"{broken", "application/fhir+json", "R", id="broken"),
    ],
)
def test_a_document_inside_a_document_is_read_too(
    inner: bytes, content_type: str, letter: str, outer_xml: bool
) -> None:
    made = read(
        embedded(inner, content_type, xml=outer_xml), "application/fhir+xml" if outer_xml else "application/fhir+json"
    )
    assert made.confidentiality == letter


def test_a_document_inside_is_read_though_nobody_says_what_it_is_and_samples_are_no_document() -> None:
    inside = {"resourceType": "Binary", "data": base64.b64encode(cda(*HIV)).decode()}
    samples_ = {"resourceType": "Observation", "valueSampledData": {"origin": {"value": 0}, "data": "2 3 E 4 -1"}}
    for resource, letter in ((inside, "R"), (samples_, "N")):
        whole = {"resourceType": "Bundle", "entry": [{"resource": resource}]}
        assert read(json.dumps(whole).encode(), "application/fhir+json").confidentiality == letter


@pytest.mark.parametrize(("inner", "letter"), [("N", "R"), ("U", "R"), ("V", "V")])
def test_the_letter_of_a_part_raises_the_whole_and_never_stands_for_it(inner: str, letter: str) -> None:
    part = cda(None, "x").replace(b'confidentialityCode code="N"', f'confidentialityCode code="{inner}"'.encode())
    entry = samples.entry(mime_type="application/fhir+json", confidentiality_codes=())
    found = content.inspect(entry, [embedded(part, "text/xml")], where="d").content
    assert found.confidentiality is None
    assert labels.of_entry(entry, found, TABLES).confidentiality == letter


def test_a_section_without_codings_is_no_defect() -> None:
    for concept in (None, 5, {"coding": None}, {"coding": 5}, {"coding": [None, 5, {"code": 5}]}):
        inner = json.dumps({"section": {"code": concept}}).encode()
        assert read(embedded(inner, "application/json"), "application/fhir+json").confidentiality == "N"


def test_an_expression_with_terms_is_read() -> None:
    expression = "86406008 |Human immunodeficiency virus infection|"
    assert read(fhir_json("http://snomed.info/sct", expression), "application/fhir+json").confidentiality == "R"


def test_documents_inside_documents_end_somewhere_and_are_then_restricted() -> None:
    made = fhir_json("http://loinc.org", "34133-9")
    for _ in range(content.MAX_EMBEDDED + 2):
        made = embedded(made, "application/fhir+json")
    assert read(made, "application/fhir+json").confidentiality == "R"


@pytest.mark.parametrize("code", ["86406008", "B20", "F11.20", "5221-7", "042"])
def test_a_code_without_a_system_counts_as_of_any(code: str) -> None:
    for made in (
        read(fhir_json(None, code), "application/fhir+json"),
        read(fhir_xml(None, code), "application/fhir+xml"),
        read(cda(None, code), "text/xml"),
    ):
        assert made.confidentiality == "R", (code, made)


@pytest.mark.parametrize("code", ["active", "34133-9", "300", "I10", "AMB"])
def test_an_ordinary_code_without_a_system_raises_nothing(code: str) -> None:
    assert read(fhir_json(None, code), "application/fhir+json").confidentiality == "N"
    assert read(cda(None, code), "text/xml").confidentiality == "N"


SECURITY = [
    ({"system": CONFIDENTIALITY, "code": "R"}, "R", set()),
    ({"system": "urn:oid:2.16.840.1.113883.5.25", "code": "V"}, "V", set()),
    ({"system": "http://hl7.org/fhir/v3/Confidentiality", "code": "R"}, "R", set()),
    ({"code": "R"}, "R", set()),
    ({"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}, "R", {"PSY"}),
    ({"system": "urn:oid:2.16.840.1.113883.5.4", "code": "PSY"}, "R", {"PSY"}),
    ({"system": "2.16.840.1.113883.5.4", "code": "PSY"}, "R", {"PSY"}),
    ({"system": "https://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}, "R", {"PSY"}),
    ({"code": "PSY"}, "R", {"PSY"}),
    ({"system": "urn:x", "code": "PSY"}, "R", {"PSY"}),
    ({"system": "urn:x", "code": "whatever"}, "R", set()),
    ({"code": "N"}, "N", set()),
    ({"code": "L"}, "N", set()),
]


@pytest.mark.parametrize(("label", "letter", "carried"), SECURITY)
@pytest.mark.parametrize("place", ["securityLabel", "second-coding", "meta", "content", "content-meta", "content-xml"])
def test_a_security_label_counts_wherever_and_however_it_is_written(
    place: str, label: dict[str, str], letter: str, carried: set[str]
) -> None:
    normal = {"system": CONFIDENTIALITY, "code": "N"}
    resource, found = reference(), CodedContent()
    entry = samples.entry(mime_type="application/fhir+json")
    if place == "securityLabel":
        resource = reference(securityLabel=[{"coding": [normal]}, {"coding": [label]}])
    elif place == "second-coding":
        resource = reference(securityLabel=[{"coding": [normal, label]}])
    elif place == "meta":
        resource = reference(meta={"security": [label]})
    elif place == "content-xml":
        parts = "".join(f"<{name} value={quoteattr(escape(value))}/>" for name, value in label.items())
        data = f'<Observation xmlns="http://hl7.org/fhir"><meta><security>{parts}</security></meta></Observation>'
        found = content.inspect(samples.entry(mime_type="application/fhir+xml"), [data.encode()], where="d").content
    else:
        held = {"meta": {"security": [label]}} if place == "content-meta" else {"securityLabel": [{"coding": [label]}]}
        data_json = json.dumps({"resourceType": "DocumentReference"} | held).encode()
        found = content.inspect(entry, [data_json], where="d").content
    made = labels.of_entry(document_reference.decode(resource, entry_uuid="d", patient_id=None), found, TABLES)
    assert (made.confidentiality, set(made.labels)) == (letter, carried)


def test_a_letter_without_its_system_does_not_stand_for_the_one_that_is_missing() -> None:
    entry = document_reference.decode(
        reference(securityLabel=[{"coding": [{"code": "N"}]}]), entry_uuid="d", patient_id=None
    )
    assert labels.of_entry(entry, CodedContent(), TABLES).confidentiality == "R"


# --- the rules change ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _world(db: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    test_submit.feed_patient("P1")


def change_rules(*rules: dict[str, Any], version: str = "next") -> None:
    """The rules shipped and these besides, in force from now."""
    CodeTable.objects.create(
        name="labels",
        version=1 + CodeTable.objects.count(),
        body={"version": version, "rules": [*SHIPPED["rules"], *rules]},
    )
    directory.bump_epoch()
    policies.forget()


def go_over(**changes: Any) -> int:
    return relabel.carry_on(until=time.monotonic() + 30, **changes)


ASTHMA = {"id": "asthma", "label": "TBOO", "codes": ["http://snomed.info/sct|195967001"]}


def asthma(**changes: Any) -> queries.EntryRow:
    return publish(fhir_json("http://snomed.info/sct", "195967001"), mime_type="application/fhir+json", **changes)


@pytest.mark.usefixtures("_world")
def test_when_the_rules_change_registered_documents_are_read_again_and_raised() -> None:
    row, plain = asthma(), publish(b"Nothing of it")
    assert (row.labels, row.confidentiality) == (frozenset(), "N")
    assert go_over() == 0
    change_rules(ASTHMA)
    assert go_over(batch=1) == 2
    again, still = queries.entry(row.entry_uuid), queries.entry(plain.entry_uuid)
    assert again is not None
    assert still is not None
    assert (again.labels, again.confidentiality, again.label_version) == (frozenset({"TBOO"}), "R", 2)
    assert (still.labels, still.confidentiality, still.label_version) == (frozenset(), "N", 1)
    run = LabelRun.objects.get()
    assert (run.looked_at, run.raised, run.unread, run.rules_version, run.finished_at is None) == (
        2,
        1,
        0,
        "next",
        False,
    )
    (event,) = AuditEvent.objects.filter(kind="relabel")
    assert event.detail["document"] == row.entry_uuid.removeprefix("urn:uuid:")
    assert go_over() == 0


@pytest.mark.usefixtures("_world")
def test_a_document_that_breaks_its_reader_keeps_nobody_behind_it_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [asthma(), asthma()]
    change_rules(ASTHMA)
    real, broken = content.inspect, rows[0].entry_uuid.removeprefix("urn:uuid:")

    def breaking(*arguments: Any, where: str) -> Any:
        if broken in where:
            raise TypeError("not foreseen")
        return real(*arguments, where=where)

    monkeypatch.setattr(relabel.content, "inspect", breaking)
    go_over(batch=1)
    assert LabelRun.objects.get().unread == 1
    behind = queries.entry(rows[1].entry_uuid)
    assert behind is not None
    assert behind.labels == {"TBOO"}


@pytest.mark.usefixtures("_world")
def test_what_was_set_before_stays_when_the_rules_no_longer_ask_for_it() -> None:
    row = publish(fhir_json(ICD10, "B20"), mime_type="application/fhir+json")
    assert row.labels == {"HIV"}
    CodeTable.objects.create(name="labels", version=9, body={"version": "empty", "rules": []})
    directory.bump_epoch()
    policies.forget()
    assert go_over() == 1
    again = queries.entry(row.entry_uuid)
    assert again is not None
    assert (again.labels, again.confidentiality) == ({"HIV"}, "R")


@pytest.mark.usefixtures("_world")
def test_a_run_that_is_cut_off_goes_on_where_it_was_and_a_newer_change_takes_its_place() -> None:
    rows = [asthma() for _ in range(3)]
    change_rules(ASTHMA)
    assert relabel.carry_on(until=0, batch=2) == 2
    assert LabelRun.objects.get().finished_at is None
    change_rules(ASTHMA, {"id": "more", "label": "VIO", "codes": ["http://snomed.info/sct|195967001"]}, version="third")
    assert go_over(batch=2) == 3
    assert [run.superseded for run in LabelRun.objects.order_by("pk")] == [True, False]
    for row in rows:
        found = queries.entry(row.entry_uuid)
        assert found is not None
        assert found.labels == {"TBOO", "VIO"}


@pytest.mark.usefixtures("_world")
def test_what_was_derived_is_raised_with_its_source_even_where_it_says_nothing_itself() -> None:
    source = asthma()
    entry = samples.entry(patient_id=ADA, source_patient_id=ADA)
    staged = submit.stage(b"in other words", entry.mime_type, caller())
    made = samples.submission(
        entry,
        associations=(
            AssociationMetadata(
                entry_uuid="a1", type=AssociationType.XFRM, source=entry.entry_uuid, target=source.entry_uuid
            ),
        ),
        contents={entry.entry_uuid: staged.id},
        patient_id=ADA,
    )
    receipt = submit.submit(made, caller())
    change_rules(ASTHMA)
    go_over()
    derived = queries.entry(receipt.entry_uuids[0])
    assert derived is not None
    assert (derived.labels, derived.confidentiality) == ({"TBOO"}, "R")
    assert LabelAssignment.objects.filter(entry__pk=derived.pk, label="TBOO", rule="source").exists()


@pytest.mark.usefixtures("_world")
def test_a_document_whose_bytes_cannot_be_read_keeps_its_labels_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    row = asthma()
    change_rules(ASTHMA)

    def lost(binary_id: str) -> Any:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(relabel.access, "open_for_labelling", lost)
        go_over()
    assert LabelRun.objects.get().unread == 1
    assert go_over() == 0  # not at once again
    LabelRun.objects.update(finished_at=LabelRun.objects.get().finished_at - 2 * relabel.AGAIN_AFTER)
    assert go_over() == 1
    found = queries.entry(row.entry_uuid)
    assert found is not None
    assert found.labels == {"TBOO"}


@pytest.mark.usefixtures("_world")
def test_a_document_that_was_never_labelled_is_restricted_until_the_run_has_read_it() -> None:
    row = asthma()
    DocumentEntry.objects.filter(pk=row.pk).update(labelled=False, labelled_under="")
    unlabelled = queries.entry(row.entry_uuid)
    assert unlabelled is not None
    assert not unlabelled.facts("p").labelled
    assert go_over() == 1
    assert DocumentEntry.objects.get(pk=row.pk).labelled


@pytest.mark.usefixtures("_world")
def test_entries_wait_in_order_whatever_rules_they_had_before() -> None:
    rows = [publish(f"text {n}".encode()) for n in range(6)]
    for row, rules in zip(rows, ["", "m", "z", "m", "k", ""], strict=True):
        DocumentEntry.objects.filter(pk=row.pk).update(labelled_under=rules)
    place, seen = ("", 0), []
    while batch := entry_labels.to_label("m", behind=place, limit=1):
        seen.append(batch[0].pk)
        place = (batch[0].labelled_under, batch[0].pk)
    assert seen == [rows[n].pk for n in (0, 5, 4, 2)]
    assert entry_labels.count_to_label("m", limit=10) == 4
    assert entry_labels.count_to_label("m", limit=3) == 3


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_label_each_document_once(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    test_submit.feed_patient("P1")
    rows = [asthma() for _ in range(6)]
    change_rules(ASTHMA)

    def work() -> None:
        try:
            go_over(batch=2)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    go_over(batch=2)
    assert AuditEvent.objects.filter(kind="relabel").count() == 6
    assert {DocumentEntry.objects.get(pk=row.pk).label_version for row in rows} == {2}


@pytest.mark.django_db(transaction=True)
def test_a_run_and_a_change_of_the_same_patients_never_wait_for_each_other(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    for local_id in ("P1", "P2"):
        test_submit.feed_patient(local_id)
    # The documents come in the other order than the patients.
    rows = [asthma(patient=replace(ADA, value=local_id)) for local_id in ("P2", "P1")]
    second, first = (DocumentEntry.objects.get(pk=row.pk).patient_identifier_id for row in rows)
    assert first < second
    change_rules(ASTHMA)
    done: list[int] = []

    def work() -> None:
        try:
            done.append(go_over())
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        epochs.bump(first)
        worker.start()
        _until_something_waits()
        epochs.bump(second)
    worker.join(30)
    assert done == [2]


def _until_something_waits() -> None:
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError("nothing waited")


@pytest.mark.usefixtures("_world")
def test_an_entry_is_about_another_when_its_identifier_is_not_the_persons() -> None:
    row = publish(b"one")
    assert row.facts("p1", [row.identifier_pk]).patient == "p1"
    assert row.facts("p1", []).patient != "p1"
    assert entry_labels.labels_of(DocumentEntry.objects.get(pk=row.pk)).labelled


@pytest.mark.usefixtures("_world")
def test_authors_of_xds_are_told_by_every_name() -> None:
    from documents.metadata import XCN, XON, Author

    author = Author(
        person=XCN(id="77", authority="2.16.840.1.113883.4.6", family="Vale"),
        institutions=(XON(name="The Clinic", id="2.999.10.1"), XON(name="Ward", id="w1", authority="2.999.5")),
    )
    row = publish(b"one", authors=(author,), event_codes=(CodedValue(code="x", scheme="urn:oid:2.999.1"),))
    facts = row.facts("p")
    assert {
        "http://hl7.org/fhir/sid/us-npi|77",
        "urn:oid:2.16.840.1.113883.4.6|77",
        "urn:ietf:rfc:3986|urn:oid:2.999.10.1",
        "urn:oid:2.999.5|w1",
    } <= set(facts.authors)
    assert {"Practitioner/77", "Organization/w1"} <= facts.perhaps.authors
    assert not {"Practitioner/77", "77", "Organization/w1"} & set(facts.authors)


@pytest.mark.usefixtures("_world")
def test_the_authors_that_a_document_itself_names_are_its_authors_for_a_denial() -> None:
    from tests.documents.cda_samples import clinical_document

    row = publish(clinical_document(), **test_submit.cda_changes())
    perhaps = row.facts("p").perhaps.authors
    assert {"urn:oid:2.999.6|7", "Practitioner/7", "urn:ietf:rfc:3986|urn:oid:2.999.10.1"} <= perhaps
    assert queries.entry(row.entry_uuid) == row
