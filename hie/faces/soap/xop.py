"""xop:Include in a body: what stands for the bytes of a document, and the body without it.

Source: XOP 1.0, 2 and 3.2; spec/xds.md 2 (4, 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lxml import etree

from hie.faces.soap.ebxml.names import XDS, XOP
from hie.faces.soap.faults import Fault
from hie.faces.soap.message import Part
from hie.faces.soap.mtom import content_id_of

INCLUDE = f"{{{XOP}}}Include"
_DOCUMENT = f"{{{XDS}}}Document"
_MOST_RECORDED = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """One xop:Include, the element it stands in, and the content id it names."""

    element: etree._Element
    holder: etree._Element
    content_id: str


def includes(body: etree._Element) -> list[Include]:
    """Every xop:Include of a body.

    Raises:
        Fault: one has something beside it, or names nothing by ``cid:``.
    """
    found = []
    for element in body.iter(INCLUDE):
        holder = element.getparent()
        content_id = content_id_of(element.get("href") or "")
        if content_id is None:
            raise Fault("an xop:Include names no part by cid:")
        if holder is None or len(holder) != 1 or (holder.text or "").strip() or (element.tail or "").strip():
            raise Fault("an xop:Include stands alone in its element")
        found.append(Include(element=element, holder=holder, content_id=content_id))
    return found


@contextmanager
def taken_out(found: Sequence[Include]) -> Iterator[None]:
    """The body without its includes, as if their documents were empty; put back where they were."""
    texts = [one.holder.text for one in found]
    for one in found:
        one.holder.remove(one.element)
        one.holder.text = None
    try:
        yield
    finally:
        for one, text in zip(found, texts, strict=True):
            one.holder.text = text
            one.holder.append(one.element)


def resolved(found: Sequence[Include], parts: Mapping[str, Part]) -> None:
    """Every include names a part that came.

    Raises:
        Fault: one does not.
    """
    if any(one.content_id not in parts for one in found):
        raise Fault("an xop:Include names a part that is not in the package")


def without_documents(body: etree._Element) -> str:
    """The body as text for the record: what of a document stands inline is left out."""
    documents = [element for element in body.iter(_DOCUMENT) if element.text]
    texts = [element.text for element in documents]
    for element in documents:
        element.text = None
    try:
        text: str = etree.tostring(body, encoding="unicode", with_tail=False)
        return text[:_MOST_RECORDED]
    finally:
        for element, content in zip(documents, texts, strict=True):
            element.text = content
