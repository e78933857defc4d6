"""Codes without a mapping at the desk: mapped, added, left local; a meaning that labels depend on takes two people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from hie.exchange import access
from hie.terminology import affinity_domain
from hie.terminology.affinity_domain import Asked, Verdict
from hie.terminology.models import LocalCode
from tests.backoffice import waiting
from tests.backoffice.test_tasks import decide, keys_in, undo, url

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
OUTSIDE = Asked(attribute="classCode", code="NOTE7", scheme=waiting.LOCAL)
TO_HIV = {"to_system": ICD10, "to_code": "B20", "to_display": "HIV disease"}


def verdict() -> Verdict:
    return affinity_domain.check([OUTSIDE])[OUTSIDE]


def judged() -> frozenset[str]:
    from consent import labelling

    return labelling.labels_of(f"{waiting.LOCAL}|LAB-042", access.label_tables())


def test_a_code_of_metadata_is_mapped_to_one_of_its_set_and_back(world: UUID, as_role: AsRole) -> None:
    key, steward = waiting.codes(world), as_role("steward")
    text = steward.get(url("codes", key)).content.decode()
    assert all(words in text for words in ("NOTE7", waiting.LOCAL, "The Clinic", "Consult note (11488-4)"))
    assert verdict() is Verdict.REFUSED
    for wrong in ("", f"{LOINC}|nothing", "11488-4"):
        answer = decide(steward, "codes", key, "map", means=wrong)
        assert (answer.status_code, answer.context_data["problem_field"]) == (422, "field-means"), wrong
    assert decide(steward, "codes", key, "map", means=f"{LOINC}|11488-4").status_code == 302
    assert (verdict(), keys_in(steward, "codes")) == (Verdict.ACCEPTED, [])
    assert "11488-4 Consult note (http://loinc.org)" in steward.get(url("codes", key)).content.decode()
    undo(steward, "codes", key)
    assert (verdict(), keys_in(steward, "codes")) == (Verdict.REFUSED, [key])


def test_a_code_is_added_to_its_set_and_back(world: UUID, as_role: AsRole) -> None:
    key, steward = waiting.codes(world), as_role("steward")
    decide(steward, "codes", key, "add", to_display="Note of the clinic")
    assert verdict() is Verdict.ACCEPTED
    assert b"Note of the clinic" in steward.get("/admin/terminology/code/").content
    undo(steward, "codes", key)
    assert verdict() is Verdict.REFUSED


def test_a_code_inside_documents_is_in_no_set_to_be_added_to(world: UUID, as_role: AsRole) -> None:
    row, steward = waiting.code_inside(), as_role("steward")
    assert b"It belongs to its set" not in steward.get(url("codes", str(row.pk))).content
    assert decide(steward, "codes", str(row.pk), "add").status_code == 422
    assert decide(steward, "codes", str(row.pk), "local").status_code == 302
    assert keys_in(steward, "codes") == []


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"to_system": "", "to_code": "B20"}, "to_system"),
        ({"to_system": waiting.LOCAL, "to_code": "B20"}, "to_system"),
        ({"to_system": "somebody's", "to_code": "B20"}, "to_system"),
        ({"to_system": ICD10, "to_code": ""}, "to_code"),
        ({"to_system": ICD10, "to_code": "B" * 80}, "to_code"),
    ],
)
def test_a_meaning_is_a_code_of_a_system_that_is_known(world: UUID, as_role: AsRole, typed: dict[str, str], field: str) -> None:  # fmt: skip
    row, steward = waiting.code_inside(), as_role("steward")
    answer = decide(steward, "codes", str(row.pk), "map", **typed)
    assert (answer.status_code, answer.context_data["problem_field"]) == (422, f"field-{field}")
    assert LocalCode.objects.get().state == "waiting"


def test_a_meaning_that_labels_depend_on_counts_once_a_second_person_agrees(world: UUID, as_role: AsRole) -> None:
    row, first = waiting.code_inside(), as_role("steward")
    key, second = str(row.pk), as_role("steward", username="second")
    decide(first, "codes", key, "map", **TO_HIV)
    assert (LocalCode.objects.get().state, judged()) == ("waiting", frozenset())
    assert keys_in(first, "codes") == [key]
    own = first.get(url("codes", key)).content.decode()
    assert "Somebody else decides this" in own
    refused = decide(first, "codes", key, "agree")
    assert refused.status_code == 409

    late = as_role("steward", username="late")
    assert decide(late, "codes", key, "agree").status_code == 409  # an account made since, perhaps for this
    shown = second.get(url("codes", key)).content.decode()
    assert "B20 HIV disease" in shown
    assert "HIV" in shown
    assert decide(second, "codes", key, "local").status_code == 422
    assert decide(second, "codes", key, "agree").status_code == 302
    assert (LocalCode.objects.get().state, judged()) == ("mapped", {"HIV"})

    # Its end takes two as well, and until then it counts.
    assert undo(second, "codes", key).status_code == 302
    assert (judged(), keys_in(second, "codes")) == ({"HIV"}, [key])
    assert decide(second, "codes", key, "agree").status_code == 409
    assert decide(first, "codes", key, "agree").status_code == 302
    assert (LocalCode.objects.get().state, judged()) == ("waiting", frozenset())
    assert keys_in(first, "codes") == [key]


def test_a_proposal_is_withdrawn_by_who_made_it_and_refused_by_another(world: UUID, as_role: AsRole) -> None:
    row, first = waiting.code_inside(), as_role("steward")
    key, second = str(row.pk), as_role("steward", username="second")
    decide(first, "codes", key, "map", **TO_HIV)
    assert undo(second, "codes", key).status_code == 409
    assert undo(first, "codes", key).status_code == 302
    assert (LocalCode.objects.get().proposed, LocalCode.objects.get().to_code) == ("", "")
    decide(first, "codes", key, "map", **TO_HIV)
    assert decide(second, "codes", key, "refuse").status_code == 302
    assert (LocalCode.objects.get().proposed, LocalCode.objects.get().state) == ("", "waiting")
    assert judged() == frozenset()


def test_home_counts_what_waits_for_a_second_person(world: UUID, as_role: AsRole) -> None:
    row, steward = waiting.code_inside(), as_role("steward")
    waiting.code_inside("LAB-043", "org-clinic")
    decide(steward, "codes", str(row.pk), "map", **TO_HIV)
    found: dict[str, Any] = {one.queue.key: one for one in steward.get("/admin/").context_data["rows"]}
    assert (found["codes"].queue.count, found["codes"].queue.what) == (2, "Met 2 times; 1 for a second person")


def test_a_code_that_somebody_wrote_as_a_page_is_shown_as_text(world: UUID, as_role: AsRole) -> None:
    row, steward = waiting.code_inside("<b>bold</b>"), as_role("steward")
    for address in (url("codes"), url("codes", str(row.pk))):
        text = steward.get(address).content.decode()
        assert "&lt;b&gt;bold&lt;/b&gt;" in text
        assert "<b>bold" not in text
