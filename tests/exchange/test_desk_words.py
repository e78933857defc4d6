"""What is typed into the one search field, read as what it may be."""

from __future__ import annotations

from uuid import UUID

import pytest

from hie.exchange.desk_words import LONGEST, words_of
from hie.exchange.errors import BadRequest

KEY = "0b6c9a34-61e7-4d0c-8a4e-3f1d2c5b7a90"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("P1", ("", "P1"), id="bare"),
        pytest.param("urn:oid:2.999.1.7", ("", "2.999.1.7"), id="an-oid-as-a-number"),
        pytest.param("P1^^^&2.999.1&ISO", ("2.999.1", "P1"), id="cx"),
        pytest.param(" P 1 ^^^NORTH&2.999.1&ISO ", ("2.999.1", "P 1"), id="cx-with-a-name-and-spaces"),
        pytest.param("2.999.1|P1", ("2.999.1", "P1"), id="token"),
        pytest.param("urn:oid:2.999.1|P1", ("2.999.1", "P1"), id="token-of-a-urn"),
        pytest.param("http://hl7.org/fhir/sid/us-ssn|999-12-3456", ("http://hl7.org/fhir/sid/us-ssn", "999-12-3456"), id="token-of-a-uri"),
        pytest.param("LAB|NORTH", ("", "LAB|NORTH"), id="a-bar-without-an-authority"),
        pytest.param("Nora Quimby", None, id="two-words-are-no-number"),
    ],
)  # fmt: skip
def test_a_number_is_read_in_each_of_its_forms(text: str, number: tuple[str, str] | None) -> None:
    assert words_of(text).number == number


@pytest.mark.parametrize("text", [KEY, KEY.upper(), f"urn:uuid:{KEY}", f"Patient/{KEY}", f"DocumentReference/{KEY}", f"Patient/{KEY}#3"])  # fmt: skip
def test_an_id_is_read_in_each_of_its_forms(text: str) -> None:
    assert words_of(text).uuid == UUID(KEY)


@pytest.mark.parametrize(
    ("text", "names", "born", "person"),
    [
        pytest.param("Quimby 1970-02-03", ("Quimby",), "1970-02-03", True, id="name-and-day"),
        pytest.param("1970-02 Quimby", ("Quimby",), "1970-02", True, id="month-first"),
        pytest.param("Quimby 3.2.1970", ("Quimby",), "1970-02-03", True, id="day-with-dots"),
        pytest.param("Quimby, 19700203", ("Quimby",), "1970-02-03", True, id="day-as-digits"),
        pytest.param("Quimby 1970", ("Quimby",), "1970", True, id="year"),
        pytest.param("Nora Quimby", ("Nora", "Quimby"), "", True, id="two-names"),
        pytest.param("Quimby", ("Quimby",), "", False, id="one-name-is-too-little"),
        pytest.param("Quimby 1970-02-31", ("Quimby",), "", False, id="a-day-that-there-is-not"),
        pytest.param("1970-02-03", (), "", False, id="a-day-alone"),
        pytest.param("沈 1970-02-03", ("沈",), "1970-02-03", True, id="another-script"),
    ],
)
def test_names_and_a_date_are_told_apart(text: str, names: tuple[str, ...], born: str, person: bool) -> None:
    words = words_of(text)
    assert (words.names, words.born, words.person) == (names, born, person)


def test_a_comma_says_which_name_is_the_family_name() -> None:
    words = words_of("van der Quimby, Nora Lee 1970")
    assert (words.family, words.given, words.born) == ("van der Quimby", "Nora Lee", "1970")
    assert words_of("Nora Quimby").family == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "at least"), (" a ", "at least"), ("x" * (LONGEST + 1), "at most"), ("a\x00b", "cannot be shown"), ("a\nb", "cannot be shown")],
)  # fmt: skip
def test_too_little_too_much_and_what_cannot_be_shown_are_said(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        words_of(text)
    assert refused.value.element == "q"
