"""ER7 read as it really comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.faces.hl7v2 import adt, er7
from hie.standards.errors import HubError, MalformedContent
from tests.hl7v2 import messages

GOOD = messages.adt()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(GOOD, id="carriage-returns"),
        pytest.param(GOOD.replace(b"\r", b"\n"), id="line-feeds"),
        pytest.param(GOOD.replace(b"\r", b"\r\n"), id="both"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, id="byte-order-mark"),
        pytest.param(b"\n\n" + GOOD + b"\n \n", id="blank-lines-around"),
        pytest.param(GOOD.replace(b"Quimby", b"Qui\rmby"), id="pid-wrapped"),
        pytest.param(GOOD.decode().encode("utf-16"), id="utf-16-with-mark"),
    ],
)
def test_one_message_is_read_alike_however_its_lines_end(raw: bytes) -> None:
    message = er7.parse(er7.split(raw).messages[0])
    assert message.kind == "ADT^A01"
    assert [s.name for s in message.segments] == ["MSH", "EVN", "PID"]
    assert message.first("PID").text(5) == "Quimby"  # type: ignore[union-attr]


def test_a_wrapped_line_that_looks_like_a_name_is_no_segment() -> None:
    message = er7.parse(messages.adt("A01", "1", messages.pid(), "NTE|1||the result of the\nDNA: test was clear"))
    assert [s.name for s in message.segments][-1] == "NTE"
    assert message.first("NTE").text(3) == "the result of theDNA: test was clear"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("charset", "codec", "sent", "read"),
    [
        pytest.param("", "utf-8", "Nächtle", "Nächtle", id="utf-8-undeclared"),
        pytest.param("8859/1", "utf-8", "Nächtle", "Nächtle", id="utf-8-declared-as-latin-1"),
        pytest.param("8859/1", "iso8859-1", "Nächtle", "Nächtle", id="latin-1-declared"),
        pytest.param("", "iso8859-1", "Nächtle", "Nächtle", id="latin-1-undeclared"),
        pytest.param("8859/2", "iso8859-2", "Łukasz", "Łukasz", id="latin-2-declared"),
        pytest.param("UNICODE UTF-8", "iso8859-1", "Nächtle", "Nächtle", id="latin-1-declared-as-utf-8"),
    ],
)
def test_bytes_decide_before_the_declared_character_set(charset: str, codec: str, sent: str, read: str) -> None:
    raw = messages.adt("A01", "1", messages.pid(name=f"{sent}^Nora"), charset=charset).decode().encode(codec)
    assert er7.parse(er7.split(raw).messages[0]).first("PID").text(5) == read  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"a\T\b", "a&b"),
        (r"a\S\b\F\c\R\d\E\e", "a^b|c~d\\e"),
        (r"caf\XC3A9\ ", "café"),
        (r"a\.br\b", "a\nb"),
        (r"a\Zxyz\b", r"a\Zxyz\b"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_escapes_are_undone_and_unknown_ones_kept(escaped: str, plain: str) -> None:
    message = er7.parse(messages.adt("A01", "1", messages.pid(name=f"{escaped}^Nora")))
    assert message.first("PID").text(5) == plain  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="another-protocol"),
        pytest.param(b"MSH", id="only-a-name"),
        pytest.param(b"MSH|", id="no-separators"),
        pytest.param(b"MSH||||\r", id="separators-empty"),
        pytest.param(b"MSH|^^^^|A\r", id="separators-equal"),
        pytest.param(GOOD.replace(b"Nora", b"No\x00ra"), id="nul"),
        pytest.param(b"PID|1\r" + GOOD, id="segment-before-msh"),
    ],
)
def test_what_is_not_er7_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(MalformedContent):
        [er7.parse(message) for message in er7.split(raw).messages]


def test_a_batch_is_taken_apart_and_its_headers_dropped() -> None:
    raw = b"FHS|^~\\&|X\nBHS|^~\\&|X\n" + GOOD + GOOD + b"BTS|2\nFTS|1\n"
    found = er7.split(raw)
    assert (len(found.messages), found.batch, found.file) == (2, True, True)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    try:
        for message in er7.split(raw).messages:
            adt.patient(er7.parse(message))
    except HubError:
        pass


@given(st.text(st.sampled_from('MSHPID|^~\\&\r\nA01 "X.5'), max_size=120))
def test_no_half_message_crashes_the_reader(text: str) -> None:
    try:
        for message in er7.split(b"MSH|^~\\&|" + text.encode()).messages:
            parsed = er7.parse(message)
            adt.patient(parsed)
            adt.merges(parsed)
    except HubError:
        pass
