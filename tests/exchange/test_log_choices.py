"""What a log can be narrowed down to: all of it, and to a helper as if what is hidden were not there."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from consent import policies
from hie.audit.recorder import EventType
from hie.exchange import access_log, log_choices
from hie.exchange.access_log import LogFilters, Part
from hie.standards.folding import folded
from tests.exchange.test_access_log import EVE, NOW, PAYER, alice, document, entries, helper, look, self_caller

__all__ = ["alice"]
SECRET = {"confidentiality": "R", "labels": ("HIV",)}


def test_the_choices_are_those_of_the_whole_log_each_once(alice: str) -> None:
    for n in range(70):
        look(alice, n * 60, replace(EVE, user_id=f"Practitioner/{n % 3}", user_name=f"Reader {n % 3}"), disclosures=(document(f"Kind {n % 5}"),))  # fmt: skip
    look(alice, 90_000, PAYER, EventType.FIND_DOCUMENTS, denied=(("x", "D3"),))
    found = log_choices.choices(self_caller(alice), alice)
    assert found.organizations == ("The Clinic", "The Hospital")
    assert found.people == ("Reader 0", "Reader 1", "Reader 2")
    assert found.kinds == tuple(f"Kind {n}" for n in range(5))
    assert [title for _, title in found.documents] == [f"Kind {n} of May" for n in range(5)]
    recent = log_choices.choices(self_caller(alice), alice, since=NOW - timedelta(minutes=150))
    assert (recent.organizations, len(recent.kinds)) == (("The Clinic",), 3)
    for document_id, title in found.documents:
        assert {item.title for entry in entries(alice, document=document_id) for item in entry.items} == {title}


def test_a_helper_is_offered_what_is_seen_and_nothing_of_what_is_hidden(alice: str) -> None:
    sam = helper(alice, max_confidentiality="N")
    kit = replace(EVE, user_id="Practitioner/kit", user_name="Kit", organization_id="org-hospital", organization_name="Secret Place")  # fmt: skip
    look(alice, 1, kit, disclosures=(document("Secret", **SECRET),))
    # The newest look of Eve is hidden, an older one is not: she is a choice, as if the newer were not there.
    look(alice, 2, disclosures=(document("Secret", **SECRET),))
    look(alice, 900, disclosures=(document("Letter"),))
    found = log_choices.choices(sam, alice)
    assert found.people == ("Dr. Eve Marlowe",)
    assert (found.kinds, [title for _, title in found.documents]) == (("Letter",), ["Letter of May"])
    assert "Secret" not in str(found)
    assert "Secret Place" in log_choices.choices(self_caller(alice), alice).organizations


def test_a_purpose_is_asked_for_with_all_below_it_and_emergencies_by_themselves(alice: str) -> None:
    policies._cached = None
    for minute, purpose in (
        (1, "TREAT"),
        (100, "COC"),
        (200, "ERTREAT"),
        (300, "BTG"),
        (400, "CLINTRCH"),
        (500, "HPAYMT"),
    ):
        look(alice, minute, replace(EVE, purpose=purpose), disclosures=(document("Letter"),))
    asked = {word: {e.purpose for e in entries(alice, purpose=word)} for word in ("TREAT", "BTG", "HRESCH", "HPAYMT")}
    assert asked == {
        "TREAT": {"TREAT", "COC", "ERTREAT"},
        "BTG": {"BTG"},
        "HRESCH": {"CLINTRCH"},
        "HPAYMT": {"HPAYMT"},
    }


def test_words_are_found_whatever_their_accents_and_in_the_words_that_are_shown(alice: str) -> None:
    look(alice, 1, replace(EVE, user_name="Dra. Ángela Núñez"), disclosures=(document("Análisis"),))
    look(alice, 90, replace(EVE, user_id="Practitioner/a", user_name="أحمد إبراهيم"), disclosures=(document("Letter"),))
    for text, count in (("angela nunez", 1), ("ANALISIS", 1), ("احمد ابراهيم", 1), ("marlowe", 0)):
        assert len(entries(alice, text=text)) == count, text
    said = {"Practitioner/a": "طبيب فتح ٣ وثائق"}
    shown = entries(alice, text="3 وثائق", words=lambda entry: said.get(str(entry.detail["user"]), ""))
    assert [entry.detail["user"] for entry in shown] == ["Practitioner/a"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("García", "garcia"),
        ("STRAẞE", "strasse"),
        ("أُحِبّ", "احب"),
        ("مدرسة", "مدرسه"),
        ("٣ ۳ ３", "3 3 3"),
        ("ﬁn", "fin"),
        ("Łódź", "łodz"),
        ("", ""),
    ],
)
def test_text_is_compared_without_accents_case_and_kinds_of_letter(text: str, same: str) -> None:
    assert folded(text) == folded(same)


def test_machines_stand_on_their_own_tab_and_push_nobody_off_the_page(alice: str) -> None:
    hub = replace(EVE, participant_id="hub", organization_id="hub", client_id="hub", user_id="Device/hub", user_name="", role="system", purpose=None)  # fmt: skip
    program = replace(EVE, user_id="Device/org-clinic", user_name="", purpose=None)
    look(alice, 5000, disclosures=(document("Letter"),))
    for n in range(120):
        look(alice, n * 31, hub if n % 2 else program, EventType.IDENTITY_LINK)
    page = access_log.log_for_patient(self_caller(alice), alice, LogFilters(part=Part.EVERYONE), limit=10)
    assert [entry.sentence for entry in page.entries if entry.part is not Part.OWN] == ["opened.one"]
    assert page.next is None
    machines = access_log.log_for_patient(self_caller(alice), alice, LogFilters(part=Part.AUTOMATIC), limit=10)
    assert {entry.part for entry in machines.entries} == {Part.AUTOMATIC}
    assert len(machines.entries) == 10


def test_every_event_stands_on_exactly_one_tab(alice: str) -> None:
    for minute, changes in enumerate(
        (
            {},
            {"user_id": f"Patient/{alice}", "role": "patient", "purpose": "PATRQT", "organization_id": "hub"},
            {"user_id": f"Patient/{uuid.uuid4()}", "role": "patient", "purpose": "PATRQT", "organization_id": "hub"},
            {"user_id": "RelatedPerson/x", "role": "proxy", "purpose": "FAMRQT", "organization_id": "hub"},
            {"user_id": "Staff/ada", "role": "steward", "purpose": None, "organization_id": "hub"},
            {"user_id": "Device/x", "role": "billing", "purpose": "HPAYMT"},
            {"user_id": "Device/x", "role": None, "purpose": None},
            {"user_id": "", "role": "system"},
        )
    ):
        look(alice, minute * 60, replace(EVE, **changes), EventType.PATIENT_READ)
    everything = {event for entry in entries(alice) for event in entry.event_ids}
    tabs = [{event for entry in entries(alice, part=part) for event in entry.event_ids} for part in (Part.PEOPLE, Part.OWN, Part.AUTOMATIC)]  # fmt: skip
    tabs = [tab & everything for tab in tabs]
    assert sum(map(len, tabs)) == len(set.union(*tabs)) == len(everything)
