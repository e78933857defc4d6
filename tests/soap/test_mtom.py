"""MTOM packages: whatever a toolkit writes is read as it was meant, however it arrives; what is cut off is refused."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hie.faces.soap import mtom
from hie.faces.soap.message import Attachment
from hie.standards import mime
from hie.standards.errors import MalformedContent


def reader(data: bytes, sizes: list[int] | None = None) -> Callable[[int], bytes]:
    """Reads of the sizes given, in turn, then of as much as asked."""
    position, left = 0, list(sizes or [])

    def read(size: int) -> bytes:
        nonlocal position
        size = min(size, left.pop(0)) if left else size
        chunk = data[position : position + size]
        position += len(chunk)
        return chunk

    return read


def read(data: bytes, boundary: str = "b", sizes: list[int] | None = None) -> list[tuple[str, bytes]]:
    return [(p.content_id, b"".join(p.chunks)) for p in mtom.Package(reader(data, sizes), boundary).parts()]


def lines(*texts: str) -> bytes:
    return "\r\n".join(texts).encode()


BOUNDARY = st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=70).filter(lambda text: not text.endswith(" "))
# What may be mistaken for something else, more often than chance would have it.
PIECES = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"--", b"-", b"\n--B", b"\r\n--B", b"--B--", b" ", b"=", b"x", b"\x00", b"\xff"]
    ),
    max_size=30,
)


@given(data=st.data(), boundary=BOUNDARY, newline=st.sampled_from([b"\r\n", b"\n"]), around=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_content_between_any_boundary_comes_out_as_it_was_however_it_is_split(
    data: st.DataObject, boundary: str, newline: bytes, around: bool
) -> None:
    delimiter = re.compile(rb"(^|\n)--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(\r?\n|$)")
    contents = data.draw(
        st.lists(
            PIECES.map(lambda some: b"".join(some).replace(b"B", boundary.encode())) | st.binary(max_size=200),
            min_size=1,
            max_size=4,
        ).filter(lambda found: not any(delimiter.search(one + newline) for one in found))
    )
    encoding = data.draw(st.sampled_from(["binary", "8bit", "7BIT", ""]))
    dashes = b"--" + boundary.encode()
    sent = b"before" + newline if around else b""
    for number, content in enumerate(contents):
        sent += dashes + data.draw(st.sampled_from([b"", b" ", b"\t "])) + newline
        sent += b"CONTENT-id:  <p%d>" % number + newline
        sent += (b"content-Transfer-Encoding: " + encoding.encode() + newline) if encoding else b""
        sent += newline + content + newline
    sent += dashes + b"--" + (newline + b"after" if around else b"")
    sizes = data.draw(st.lists(st.integers(1, 40), max_size=60))
    assert read(sent, boundary, sizes) == [(f"p{n}", content) for n, content in enumerate(contents)]


@given(content=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 50), max_size=80), width=st.integers(1, 90))
@settings(max_examples=150, deadline=None)
def test_base64_and_quoted_printable_parts_come_out_as_what_they_stand_for(
    content: bytes, sizes: list[int], width: int
) -> None:
    encoded = base64.b64encode(content)
    folded = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    text = bytes(content).replace(b"\r", b"").replace(b"\n", b"\r\n")
    printable = quopri.encodestring(text, quotetabs=True).replace(b"\r", b"")
    sent = (
        b"--b\r\nContent-ID: <one>\r\nContent-Transfer-Encoding: Base64\r\n\r\n" + folded + b"\r\n"
        b"--b\r\nContent-ID: <two>\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + printable
        + b"\r\n--b--\r\n"
    )
    one, two = read(sent, "b", sizes)
    assert one == ("one", content)
    assert two[1].replace(b"\r\n", b"\n") == text.replace(b"\r\n", b"\n")


def test_a_last_cr_of_a_document_stays_with_it_where_lines_end_in_lf_alone() -> None:
    sent = b"--b\nContent-ID: <p>\n\nends in CR\r\n--b--\n"
    assert read(sent) == [("p", b"ends in CR\r")]
    assert read(sent.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")) == [("p", b"ends in CR")]


def test_a_line_that_only_begins_like_the_boundary_is_content() -> None:
    content = lines("--bc", "--b-", "--b--x", " --b", "--b" + " " * 300)
    assert read(b"--b\r\n\r\n" + content + b"\r\n--b--") == [("", content)]


def test_a_part_may_be_empty_with_and_without_its_empty_line() -> None:
    sent = lines("--b", "Content-ID: <a>", "", "", "--b", "Content-ID: <b>", "", "--b", "Content-ID: <c>", "--b--", "")
    assert read(sent) == [("a", b""), ("b", b""), ("c", b"")]


def test_folded_headers_are_one_header() -> None:
    sent = lines("--b", "Content-Type: multipart/x;", "\tname=y", "Content-ID:", " <a>", "", "c", "--b--", "")
    found = next(iter(mtom.Package(reader(sent), "b").parts()))
    assert found.content_id == "a"
    assert found.headers["content-type"] == "multipart/x; name=y"


def test_a_part_that_is_not_read_is_passed_over() -> None:
    sent = lines("--b", "Content-ID: <a>", "", "x" * 200_000, "--b", "Content-ID: <b>", "", "y", "--b--", "")
    assert [part.content_id for part in mtom.Package(reader(sent), "b").parts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(b"--b\r\n\r\ncut of", "before its last delimiter", id="cut-in-a-part"),
        pytest.param(b"--b\r\n\r\nwhole\r\n--b\r\n", "within the headers", id="cut-behind-a-delimiter"),
        pytest.param(b"--b\r\nContent-Id: <a", "within the headers", id="cut-in-a-header"),
        pytest.param(b"--b\r\n\r\nwhole\r\n--b-", "before its last delimiter", id="cut-in-the-last-delimiter"),
        pytest.param(b"", "before its last delimiter", id="nothing"),
        pytest.param(b"no delimiter\r\n" * 100, "before its last delimiter", id="no-delimiter"),
        pytest.param(b"x" * (2 << 20), "begin with its boundary", id="long-preamble"),
        pytest.param(b"--b\r\n\r\n\r\n--b--" + b"\r\n" + b"x" * (2 << 20), "follows the last", id="long-epilogue"),
        pytest.param(b"--b\r\nX: " + b"x" * 20_000 + b"\r\n\r\n\r\n--b--", "longer than", id="long-header"),
        pytest.param(b"--b\r\n" + b"X: y\r\n" * 1, "within the headers", id="headers-only"),
        pytest.param(b"--b\r\nno header\r\n\r\n\r\n--b--", "no header", id="no-colon"),
        pytest.param(b"--b\r\nA: 1\r\na: 2\r\n\r\n\r\n--b--", "two headers", id="twice"),
        pytest.param(b"--b\r\nContent-Transfer-Encoding: uu\r\n\r\n\r\n--b--", "none that is known", id="encoding"),
        pytest.param(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJ\r\n--b--", "cut off", id="base64-cut"),
        pytest.param(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n****\r\n--b--", "no base64", id="base64-bad"),
        pytest.param(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==QUJD\r\n--b--", "base64", id="base64-more"),
    ],
)
def test_what_is_no_package_is_refused(sent: bytes, said: str) -> None:
    with pytest.raises(MalformedContent, match=said):
        read(sent)


def test_no_more_parts_than_are_taken_are_read() -> None:
    sent = b"--b\r\n\r\n\r\n" * (mtom.MAX_PARTS + 1) + b"--b--"
    with pytest.raises(MalformedContent, match="parts"):
        read(sent)


@pytest.mark.parametrize(
    ("href", "content_id"),
    [
        ("cid:a@b", "a@b"),
        ("CID:a%40b", "a@b"),
        (" cid:urn:uuid:1 ", "urn:uuid:1"),
        ("cid:http%3A//x/%C3%A9", "http://x/é"),
        ("cid:", None),
        ("http://x/a", None),
        ("", None),
    ],
)
def test_a_cid_names_a_part_percent_decoded(href: str, content_id: str | None) -> None:
    assert mtom.content_id_of(href) == content_id


@given(root=st.binary(max_size=300), contents=st.lists(st.binary(max_size=300), max_size=4), known=st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back_and_has_the_length_it_says(
    root: bytes, contents: list[bytes], known: bool
) -> None:
    attachments = [
        Attachment(
            content_id=f"d{n}@hub", content_type="text/plain", chunks=iter([one]), length=len(one) if known else None
        )
        for n, one in enumerate(contents)
    ]
    written = mtom.package(root, attachments, boundary="hub-1234567890", action="urn:a")
    sent = b"".join(written.chunks)
    media = mime.parse(written.content_type)
    assert media is not None
    assert media.essence == "multipart/related"
    assert media.parameters["type"] == "application/xop+xml"
    assert media.parameters["start-info"] == "application/soap+xml"
    found = read(sent, media.parameters["boundary"])
    assert f"<{found[0][0]}>" == media.parameters["start"]
    assert [content for _, content in found] == [root, *contents]
    assert written.length == (len(sent) if known or not contents else None)


def test_a_package_that_is_not_sent_whole_gives_back_what_its_documents_hold() -> None:
    closed = []

    class Chunks:
        def __iter__(self) -> Chunks:
            return self

        def __next__(self) -> bytes:
            return b"more"

        def close(self) -> None:
            closed.append(1)

    attachment = Attachment(content_id="d", content_type="text/plain\r\nX-Evil: 1", chunks=Chunks(), length=None)
    written = mtom.package(b"<r/>", [attachment], boundary="x", action="urn:a")
    next(written.chunks)
    head = next(written.chunks)
    assert b"\r\nX-Evil" not in head
    written.chunks.close()  # type: ignore[attr-defined]  # what Django calls on what it streams
    assert closed == [1]
