"""Codes that the hub does not know, from the submission that brings one to the labels that its meaning raises."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from documents import queries
from documents.errors import SubmissionRefused
from hie.exchange import access, relabel, submit
from hie.terminology import affinity_domain, local_codes
from hie.terminology.models import LocalCode
from tests.documents import samples
from tests.documents.cda_samples import clinical_document
from tests.exchange.test_submit import caller, cda_changes, exchange, feed_patient, prepared

pytestmark = pytest.mark.django_db
THEIRS = "1.2.840.114350.1.13.88"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
SETS = b'<Codes><CodeType name="classCode"><Code code="A" codingScheme="2.999.9" display="Letter"/></CodeType></Codes>'


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    feed_patient("P1")


def local_document(extension: str = "doc1") -> bytes:
    """A C-CDA whose diagnosis has a code of the clinic's own."""
    made = clinical_document(extension=extension)
    changed = made.replace(b'code="86406008" codeSystem="2.16.840.1.113883.6.96"', f'code="HIV1" codeSystem="{THEIRS}"'.encode())  # fmt: skip
    assert changed != made
    return changed


def labels_of(uuid: str) -> set[str]:
    row = queries.entry(uuid)
    assert row is not None
    return set(row.labels)


def test_a_refused_code_is_collected_and_the_same_submission_passes_once_it_is_mapped() -> None:
    affinity_domain.load(SETS, source="test")
    wanted = prepared(b"hello")
    with pytest.raises(SubmissionRefused):
        submit.submit(wanted, caller())
    (row,) = LocalCode.objects.all()
    assert (row.attribute, row.met, row.state) == ("classCode", 1, "waiting")
    assert [one[0] for one in local_codes.senders(row)] == ["org-clinic"]
    local_codes.map_to(row, to=("urn:oid:2.999.9", "A", "Letter"), raises=False)
    receipt = submit.submit(wanted, caller())
    assert receipt.warnings == ()
    entry = queries.entry(receipt.entry_uuids[0])
    assert entry is not None
    assert LocalCode.objects.get().met == 1


def test_a_publication_of_known_codes_asks_nothing_about_local_ones() -> None:
    affinity_domain.load(SETS, source="test")
    known = samples.code("A", "urn:oid:2.999.9")
    submit.submit(prepared(b"first", class_code=known), caller())
    wanted = prepared(b"hello", class_code=known)
    with CaptureQueriesContext(connection) as asked:
        submit.submit(wanted, caller())
    said = [query["sql"] for query in asked.captured_queries]
    assert said
    assert not [sql for sql in said if "terminology_localcode" in sql or "terminology_codesender" in sql]


def test_a_code_that_comes_again_within_a_minute_costs_no_statement() -> None:
    submit.submit(prepared(local_document(), **cda_changes()), caller())
    assert {(row.attribute, row.scheme, row.code) for row in LocalCode.objects.all()} >= {
        ("", f"urn:oid:{THEIRS}", "HIV1")
    }
    wanted = prepared(local_document("doc2"), **cda_changes(unique_id="2.999.5^doc2"))
    with CaptureQueriesContext(connection) as asked:
        submit.submit(wanted, caller())
    assert not [one for one in asked.captured_queries if "terminology_localcode" in one["sql"]]


def test_a_meaning_raises_labels_of_what_comes_and_of_what_is_registered_and_its_end_lowers_none() -> None:
    uuid = submit.submit(prepared(local_document(), **cda_changes()), caller()).entry_uuids[0]
    assert "HIV" not in labels_of(uuid)
    relabel.carry_on(until=time.monotonic() + 30)
    before = access.label_tables().digest
    row = LocalCode.objects.get(code="HIV1")
    local_codes.map_to(row, to=(ICD10, "B20", "HIV disease"), raises=True)
    assert access.label_tables().digest != before
    assert relabel.carry_on(until=time.monotonic() + 30) >= 1
    assert "HIV" in labels_of(uuid)
    local_codes.take_back(LocalCode.objects.get(code="HIV1"), by="Practitioner/steward")
    assert access.label_tables().digest == before
    relabel.carry_on(until=time.monotonic() + 30)
    assert "HIV" in labels_of(uuid)
