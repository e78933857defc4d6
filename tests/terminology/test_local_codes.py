"""Codes that nobody knows: what counts as one, how they are collected, and what a decision about one changes."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.utils import timezone

from hie.directory import epoch
from hie.terminology import affinity_domain, local_codes
from hie.terminology.affinity_domain import Asked, Verdict
from hie.terminology.local_codes import Met
from hie.terminology.models import Code, CodeSender, LocalCode

pytestmark = pytest.mark.django_db
THEIRS = "urn:oid:1.2.840.114350.1.13.88"
LOINC = "http://loinc.org"
SETS = (
    b'<Codes><CodeType name="classCode"><Code code="11488-4" codingScheme="2.16.840.1.113883.6.1" display="Consult note"/>'
    b"</CodeType></Codes>"
)
ONE = Met("", THEIRS, "HIV1")
OUTSIDE = Asked(attribute="classCode", code="NOTE7", scheme=THEIRS)


@pytest.mark.parametrize(
    ("system", "local"),
    [
        ("http://loinc.org", False),
        ("urn:oid:2.16.840.1.113883.6.1", False),
        ("LOINC", False),
        ("http://snomed.info/sct/731000124108/version/20230901", False),
        ("urn:oid:2.16.840.1.113883.5.4", False),
        ("http://terminology.hl7.org/CodeSystem/anything", False),
        ("http://hl7.org/fhir/sid/icd-10-fr", False),
        ("urn:oid:2.16.840.1.113883.12.369", False),
        ("urn:oid:1.2.840.10008.2.16.4", False),
        ("urn:ietf:bcp:47", False),
        ("", False),
        (THEIRS, True),
        ("1.2.840.114350.1.13.88", True),
        ("urn:oid:2.16.840.1.113883.3.7418", True),
        ("http://velmoor.example/codes", True),
        ("urn:oid:2.16.840.1.1138830.5", True),
    ],
)
def test_a_system_is_local_when_no_standard_body_has_it(system: str, local: bool) -> None:
    assert local_codes.is_local(system) is local


def test_of_a_document_the_codes_of_a_system_of_its_senders_own_are_met() -> None:
    found = local_codes.met_inside([f"{THEIRS}|HIV1", f"{LOINC}|34133-9", "|303", f"{THEIRS}|HIV1"])
    assert found == [ONE]


def rows() -> dict[str, tuple[int, str]]:
    return {one.code: (one.met, one.state) for one in LocalCode.objects.all()}


def test_a_code_is_counted_with_who_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    local_codes.note("org-clinic", [ONE, Met("", THEIRS, "B")])
    local_codes.note("org-hospital", [ONE])
    assert rows() == {"HIV1": (2, "waiting"), "B": (1, "waiting")}
    row = LocalCode.objects.get(code="HIV1")
    assert [(sender, met) for sender, met, _, _ in local_codes.senders(row)] == [("org-clinic", 1), ("org-hospital", 1)]


def test_what_was_seen_lately_costs_no_statement_and_is_counted_within_a_minute(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_codes.note("org-clinic", [ONE])
    with django_assert_num_queries(0):
        for _ in range(5):
            local_codes.note("org-clinic", [ONE])
        local_codes.note("org-clinic", [])
    assert rows() == {"HIV1": (1, "waiting")}
    monkeypatch.setattr(local_codes, "FLUSH_S", 0.0)
    later = timezone.now() + timedelta(minutes=2)
    local_codes.note("org-clinic", [ONE], now=later)
    assert rows() == {"HIV1": (7, "waiting")}
    assert LocalCode.objects.get().last_at == later
    local_codes.note("org-clinic", [Met("", THEIRS, "B")])
    assert rows() == {"HIV1": (7, "waiting"), "B": (1, "waiting")}


@pytest.mark.parametrize("code", ["x" * 65, "", " ", "Zoë", "a\nb", "a\0b", " a"])
def test_what_is_no_code_is_not_kept(code: str) -> None:
    assert local_codes.note("org-clinic", [Met("", THEIRS, code)]) == 0
    assert not LocalCode.objects.exists()


def test_a_sender_who_invents_codes_fills_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_codes, "MOST_OF_ONE", 3)
    for n in range(10):
        local_codes.note("org-clinic", [Met("", THEIRS, f"N{n}")])
    assert LocalCode.objects.count() == 3
    local_codes.note("org-hospital", [Met("", THEIRS, "N9")])
    local_codes.forget()
    local_codes.note("org-clinic", [Met("", THEIRS, "N0")])
    assert rows()["N0"] == (2, "waiting")
    assert "N9" in rows()


def test_to_collect_never_fails_what_brought_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_codes, "_WRITE", "SELECT nothing_there(%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)")
    assert local_codes.note("org-clinic", [ONE]) == 0


def test_a_code_that_means_one_of_its_set_is_accepted_and_asked_for_only_where_one_is_outside(
    django_assert_num_queries: Any,
) -> None:
    affinity_domain.load(SETS, source="test")
    known = Asked(attribute="classCode", code="11488-4", scheme=LOINC)
    with django_assert_num_queries(2):
        assert affinity_domain.check([known]) == {known: Verdict.ACCEPTED}
    assert affinity_domain.check([OUTSIDE]) == {OUTSIDE: Verdict.REFUSED}
    local_codes.note("org-clinic", [affinity_domain.as_met(OUTSIDE)])
    row = LocalCode.objects.get()
    before = epoch.read_epoch()
    local_codes.map_to(row, to=(LOINC, "11488-4", "Consult note"), raises=False)
    assert epoch.read_epoch() > before
    with django_assert_num_queries(4):
        assert affinity_domain.check([OUTSIDE, known]) == {OUTSIDE: Verdict.ACCEPTED, known: Verdict.ACCEPTED}
    Code.objects.update(active=False)
    assert affinity_domain.check([OUTSIDE])[OUTSIDE] is Verdict.REFUSED
    Code.objects.update(active=True)
    local_codes.take_back(LocalCode.objects.get(), by="Practitioner/steward")
    assert affinity_domain.check([OUTSIDE])[OUTSIDE] is Verdict.REFUSED


def test_to_collect_a_code_is_no_change_of_policy() -> None:
    local_codes.note("org-clinic", [ONE])
    before = epoch.read_epoch()
    local_codes.forget()
    local_codes.note("org-clinic", [ONE])
    local_codes.leave_local(LocalCode.objects.get())
    assert epoch.read_epoch() == before


def test_a_code_that_was_added_stays_when_the_file_is_loaded_anew_until_that_is_taken_back() -> None:
    affinity_domain.load(SETS, source="test")
    local_codes.note("org-clinic", [affinity_domain.as_met(OUTSIDE)])
    local_codes.add_to_set(LocalCode.objects.get(), display="Note 7", by="Practitioner/steward")
    assert affinity_domain.check([OUTSIDE])[OUTSIDE] is Verdict.ACCEPTED
    (loaded,) = affinity_domain.load(SETS, source="again")
    assert (loaded.retired, affinity_domain.check([OUTSIDE])[OUTSIDE]) == (0, Verdict.ACCEPTED)
    local_codes.take_back(LocalCode.objects.get(), by="Practitioner/steward")
    assert affinity_domain.check([OUTSIDE])[OUTSIDE] is Verdict.REFUSED
    affinity_domain.load(SETS, source="again")
    assert affinity_domain.check([OUTSIDE])[OUTSIDE] is Verdict.REFUSED


@pytest.mark.django_db(transaction=True)
def test_processes_that_meet_the_same_codes_at_once_lose_none() -> None:
    codes = [Met("", THEIRS, f"C{n}") for n in range(20)]
    wrong: list[BaseException] = []

    def one(number: int) -> None:
        try:
            for _ in range(5):
                local_codes._counted.forget()  # as a process of its own, which has seen nothing
                local_codes.note(f"org-{number % 2}", codes if number % 2 else codes[::-1])
        except (DatabaseError, AssertionError) as problem:
            wrong.append(problem)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []
    assert LocalCode.objects.count() == 20
    assert CodeSender.objects.count() == 40
