"""A document's facts, completed by the policy: what its sources carry, and organizations that wrote it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consent.engine import Tables, compile_policy, completed
from hie.standards.facts import DocumentFacts, ParticipantFacts, Perhaps
from tests.consent.fixture import CODES

LAW = {"JA": {"timezone": "America/New_York"}}


def policy(**changes: Any) -> Any:
    return compile_policy(
        {
            "north": ParticipantFacts(id="north", identifiers=("urn:ietf:rfc:3986|urn:oid:2.999.1",), **changes),
            "ward": ParticipantFacts(id="ward", part_of="north", identifiers=("urn:ietf:rfc:3986|urn:oid:2.999.1.7",)),
        },
        LAW,
        Tables.from_json(CODES),
    )


def document(**changes: Any) -> DocumentFacts:
    return DocumentFacts(**{"id": "d", "patient": "p", "custodian": "ward", "confidentiality": "N"} | changes)


def test_a_derived_document_has_the_highest_letter_and_all_labels_of_its_sources_at_any_remove() -> None:
    first = document(id="a", confidentiality="V", labels=frozenset({"HIV"}))
    second = document(id="b", labels=frozenset({"PSY"}), derived_from=(first,))
    made = completed(document(derived_from=(second, document(id="c"))), policy())
    assert (made.confidentiality, made.labels, made.labelled) == ("V", {"HIV", "PSY"}, True)
    assert made.derived_from[0].labels == {"HIV", "PSY"}


def test_a_source_that_was_not_labelled_or_has_no_letter_restricts_what_was_made_of_it() -> None:
    assert not completed(document(derived_from=(document(labelled=False),)), policy()).labelled
    assert completed(document(derived_from=(document(confidentiality=None),)), policy()).confidentiality == "R"
    assert completed(document(confidentiality=None, derived_from=(document(),)), policy()).confidentiality is None


def test_what_was_made_of_a_part_2_record_is_one() -> None:
    plain = document(custodian="elsewhere", derived_from=(document(),))
    labelled = document(custodian="elsewhere", derived_from=(document(labels=frozenset({"42CFRPart2"})),))
    assert completed(labelled, policy(part2_program=True)).labels == {"42CFRPart2"}
    assert completed(plain, policy(part2_program=True)).labels == {"42CFRPart2"}
    assert completed(plain, policy()).labels == frozenset()


def test_an_organization_is_an_author_by_its_id_and_perhaps_stands_for_those_above_it() -> None:
    made = completed(document(authors=("urn:ietf:rfc:3986|urn:oid:2.999.1.7",)), policy())
    assert "Organization/ward" in made.authors
    assert "Organization/north" not in made.authors
    assert {"Organization/north", "urn:ietf:rfc:3986|urn:oid:2.999.1"} <= made.perhaps.authors
    guessed = completed(document(perhaps=Perhaps(authors=frozenset({"Organization/ward"}))), policy())
    assert guessed.authors == ()
    assert "Organization/north" in guessed.perhaps.authors


def test_facts_with_nothing_to_complete_stay_as_they_are() -> None:
    plain = document(authors=("Practitioner/ada",))
    assert completed(plain, policy()) == replace(plain)
