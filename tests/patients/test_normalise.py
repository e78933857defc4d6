"""Cleaning: what is equal becomes equal, and placeholders become missing (spec/mpi.md 3)."""

from __future__ import annotations

import pytest

from hie.standards.demographics import Address, Demographics, HumanName, Identifier
from patients import blocking
from patients.normalise import (
    birth_digits,
    email_text,
    features,
    fold,
    identifier_text,
    phone_digits,
    place_text,
    street_text,
)
from tests.patients.people import demographics


def test_of_a_giant_record_only_so_much_is_compared() -> None:
    names = tuple(HumanName(family=f"{'x' * 200_000}{n}, {n}", given=("y" * 200_000,)) for n in range(300))
    numbers = tuple(Identifier(system="http://x", value=f"{n:0>5}" * 500) for n in range(900))
    found = features(Demographics(names=names, birth_date="1/" + "1" * 10_000 + "/1990", identifiers=numbers))
    held = [*found.given, *found.surname, *found.idents]
    assert held
    assert max(map(len, held)) <= 128
    assert max(len(found.given), len(found.surname), len(found.idents)) <= 32
    assert len(fold("é" * 100_000)) == 100_000


@pytest.mark.parametrize(
    ("text", "folded"),
    [("José-María", "jose maria"), ("O'Brien", "obrien"), ("Müller", "mueller"), ("Groß", "gross"), ("Ελένα", "elena"),
     ("Łukasz", "lukasz"), ("  A.  B ", "a b"), ("", "")],
)  # fmt: skip
def test_text_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("text", "digits"),
    [("1980-03-14", "19800314"), ("19800314", "19800314"), ("1980-03", "19800300"), ("1980", "19800000"),
     ("14.3.1980", "19800314"), ("3/14/1980", "19800314"), ("1856-86-18", "18568618"), ("1980-03-14T10:00:00Z", "19800314"),
     ("1900-01-01", ""), ("9999-12-31", ""), ("unknown", ""), ("", "")],
)  # fmt: skip
def test_birth_dates_become_eight_digits(text: str, digits: str) -> None:
    assert birth_digits(text) == digits


@pytest.mark.parametrize(
    ("text", "digits"),
    [("555-201-3344", "5552013344"), ("+1 (555) 201-3344", "5552013344"), ("1-555-201-3344 x12", "5552013344"),
     ("+61 412 345 678", "412345678"), ("0412 345 678", "412345678"), ("000-000-0000", ""), ("n/a", ""), ("", "")],
)  # fmt: skip
def test_phones_become_national_digits(text: str, digits: str) -> None:
    assert phone_digits(text) == digits


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(("12 Main St",), "12|main street"), (("12 Main Street", "Apt 4"), "12|main street"),
     (("Apt 4, 12 Main St",), "12|main street"), (("Rose Cottage", "12 Main St."), "12|main street"),
     (("Hauptstrasse 12",), "12|hauptstrasse"), (("3/12 St Johns Rd",), "12|saint johns road"), (("unknown",), ""), ((), "")],
)  # fmt: skip
def test_streets_become_number_and_name(lines: tuple[str, ...], expected: str) -> None:
    assert street_text(lines) == expected


def test_places_and_emails() -> None:
    assert place_text("62701-1234", "Springfield, IL") == "62701|springfield"
    assert place_text("BS2 0EL", "") == "bs20el|"
    assert place_text("00000", "unknown") == ""
    assert email_text("Maria@Example.ORG ") == "maria@example.org"
    assert email_text("none@none.org") == ""


@pytest.mark.parametrize("value", ["999-99-9999", "000000000", "123456789", "unknown", "-", ""])
def test_placeholder_identifiers_are_no_evidence(value: str) -> None:
    assert identifier_text(Identifier(system="urn:x", value=value)) == ""


def test_visits_and_accounts_identify_no_person() -> None:
    assert identifier_text(Identifier(system="urn:x", value="V12345", type="VN")) == ""
    assert identifier_text(Identifier(system="urn:oid:1.2.3", value="v-12345", type="MR")) == "1.2.3|V12345"


@pytest.mark.parametrize("name", ["Baby Boy", "baby girl of Smith", "UNKNOWN", "null", "Twin A", "Infant Male"])
def test_placeholder_names_are_missing(name: str) -> None:
    assert features(demographics(given=name)).given == ()


def test_names_keep_their_variants() -> None:
    found = features(
        Demographics(
            names=(
                HumanName(family="Old-Name", given=("Maria",), use="maiden"),
                HumanName(family="van der Berg", given=("Dr", "Maria", "J."), use="official"),
                HumanName(text="Jones, Mary"),
            )
        )
    )
    assert found.surname == ("berg", "jones", "old name")
    assert found.given == ("maria j", "mary", "maria")


def test_former_addresses_come_after_the_current_one() -> None:
    old = Address(lines=("9 Oak Rd",), city="York", postal_code="10001", use="old")
    found = features(
        Demographics(addresses=(old, Address(lines=("12 Main St",), city="Springfield", postal_code="62701")))
    )
    assert found.streets == ("12|main street", "9|oak road")


def test_every_field_makes_blocking_keys() -> None:
    found = features(demographics(national_id="219094471"), own=("2.999.1", "A-100"))
    kinds = {key.split(":")[0] for key in blocking.keys(found)}
    assert kinds == {"id", "ph", "st", "pc", "nt", "so", "ga", "ty", "ly", "gl", "ny", "bd", "ld", "gd"}


@pytest.mark.parametrize(
    "other",
    [
        demographics(family="Okafor"), demographics("Smithson", "Maria"), demographics(birth_date="1980-03-15"),
        demographics(phone="", line="9 Oak Av", city="York", postal_code="10001"), demographics(birth_date="", phone=""),
    ],
)  # fmt: skip
def test_changed_records_still_share_a_key(other: Demographics) -> None:
    first, second = features(demographics()), features(other)
    assert set(blocking.keys(first)) & set(blocking.keys(second))
    assert set(blocking.strong_hashes(first)) & set(blocking.strong_hashes(second))


def test_large_blocks_are_split_and_never_dropped() -> None:
    town = [features(demographics(f"{a}{b}na", "Li", f"19{a_n + 40}-05-{b_n + 1:02}", phone="", line=""))
            for a_n, a in enumerate("bcdfghklmn") for b_n, b in enumerate("aeiou")]  # fmt: skip
    twice = [*town, *town]
    pairs = set(blocking.pairs(twice))
    assert all((n, n + len(town)) in pairs for n in range(len(town)))
    assert len(pairs) < len(twice) * 20
    assert all(a < b for a, b in pairs)


def test_a_refinement_is_a_number_whose_leading_bits_are_the_leading_fields() -> None:
    one = demographics("Maria", "Smithson", "1980-03-14", postal_code="62701")
    others = {  # by how many refining fields they share with one: initials, given name, surname, year, post code
        0: demographics("Olga", "Peters"), 1: demographics("Mona", "Smithson"), 2: demographics("Maria", "Sander"),
        3: demographics(birth_date="1981-03-14"), 4: demographics(postal_code="62702"), 5: demographics(phone=""),
    }  # fmt: skip
    first = blocking.refinement(features(one))
    assert blocking.MASKS[0] == 0
    for shared, other in others.items():
        second = blocking.refinement(features(other))
        assert 0 <= second < 1 << 63
        depths = [depth for depth, mask in enumerate(blocking.MASKS) if first & mask == second & mask]
        assert depths == list(range(shared + 1))


@pytest.mark.parametrize(
    ("text", "given", "family", "found"),
    [
        ("Frank Hepburn Boutell", "Frank", "Boutell", (("frank", "frank hepburn"), ("boutell",))),
        ("Robert Dundas, 2nd Viscount Melville", "Robert", "Dundas", (("robert",), ("dundas", "melville"))),
        ("Sir Edward Smith, 1st Baronet", "Sir", "Baronet", (("edward",), ("smith",))),
        ("Rich Boyle, Earl of Cork", "Rich", "Cork", (("rich",), ("cork", "boyle"))),
        ("Smithson, Maria", "Maria", "Smithson", (("maria",), ("smithson",))),
        ("Mary Ann O'Neil", "Mary", "", (("mary", "mary ann"), ("oneil",))),
        ("Berg, Anna", "", "", (("anna",), ("berg",))),
        ("Dr Anna Berg, MD", "", "", (("anna",), ("berg",))),
        ("\u0415\u043b\u0435\u043d\u0430", "Helen", "Ivanova", (("helen",), ("ivanova",))),
        ("", "Earl", "Major", (("earl",), ("major",))),
        ("", "Sir", "Baronet", ((), ())),
        ("", "John", "Watson 1847-1939", (("john",), ("watson",))),
    ],
)  # fmt: skip
def test_the_whole_name_says_what_its_parts_leave_out(
    text: str, given: str, family: str, found: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    name = HumanName(text=text, given=(given,) if given else (), family=family)
    cleaned = features(Demographics(names=(name,)))
    assert (cleaned.given, cleaned.surname) == found
