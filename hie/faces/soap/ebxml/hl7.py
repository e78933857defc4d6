r"""The HL7 v2 data types inside XDS metadata, as text to and from values. Pure.

``write_x(read_x(text))`` is the canonical text: components without trailing separators. What `text` had otherwise is
the caller's to keep. Delimiters within a component are escaped as HL7 does (``\S\`` for ``^`` …).

Each `check_x` gives what is wrong with a text, in words without its content; spec/xds.md 3.2 (IHE ITI TF-3 table 4.2.3.1.7-2).
"""

from __future__ import annotations

from collections.abc import Iterator

from documents.metadata import CX, XCN, XON, ReferenceId
from hie.standards import oids
from hie.standards.demographics import authority_of
from hie.standards.hl7_escapes import escape, plain


def _parts(text: str, number: int) -> list[str]:
    found = text.split("^")
    return found + [""] * (number - len(found))


def _joined(parts: list[str]) -> str:
    return "^".join(parts).rstrip("^")


def _authority(text: str) -> str:
    """The universal id of an HD, the namespace where it has none."""
    namespace, _, rest = text.partition("&")
    universal = rest.partition("&")[0]
    return authority_of(plain(universal or namespace))


def _hd(authority: str) -> str:
    if not authority:
        return ""
    return f"&{escape(authority)}&{'ISO' if oids.is_oid(authority) else 'URI'}"


def _hd_problem(text: str, name: str) -> Iterator[str]:
    parts = text.split("&")
    if len(parts) != 3 or parts[0] or parts[2] != "ISO" or not oids.is_oid(parts[1]):
        yield f"{name} is &OID&ISO"


# -- CX: an identifier ----------------------------------------------------------------------------------------------


def read_cx(text: str) -> CX:
    """``id^^^&OID&ISO``."""
    parts = _parts(text, 4)
    return CX(value=plain(parts[0]), authority=_authority(parts[3]))


def write_cx(value: CX) -> str:
    """``id^^^&OID&ISO``."""
    return _joined([escape(value.value), "", "", _hd(value.authority)])


def check_cx(text: str) -> Iterator[str]:
    """Components 1 and 4 are there, and nothing else."""
    parts = _parts(text, 4)
    if not parts[0] or "&" in parts[0]:
        yield "an identifier has its id in component 1"
    if any(part for number, part in enumerate(parts, 1) if number not in (1, 4)):
        yield "an identifier has nothing but components 1 and 4"
    yield from _hd_problem(parts[3], "the assigning authority")


# -- CXi: an identifier in referenceIdList --------------------------------------------------------------------------


def read_cxi(text: str) -> ReferenceId:
    """``id^^^&OID&ISO^type^&home&ISO``."""
    parts = _parts(text, 6)
    return ReferenceId(
        value=plain(parts[0]),
        authority=_authority(parts[3]),
        type_code=plain(parts[4]),
        home_community_id=_authority(parts[5]),
    )


def write_cxi(value: ReferenceId) -> str:
    """``id^^^&OID&ISO^type^&home&ISO``."""
    home = _hd(value.home_community_id)
    return _joined([escape(value.value), "", "", _hd(value.authority), escape(value.type_code), home])


def check_cxi(text: str) -> Iterator[str]:
    """Components 1 and 5 are there; 4 may be an HD or a bare namespace, 6 is an HD; 2 and 3 are empty."""
    parts = _parts(text, 6)
    if not parts[0]:
        yield "a reference id has its id in component 1"
    if not parts[4]:
        yield "a reference id has its type in component 5"
    if parts[1] or parts[2] or any(parts[6:]):
        yield "a reference id has nothing but components 1, 4, 5 and 6"
    if "&" in parts[3]:
        _, universal, kind = (*parts[3].split("&"), "", "")[:3]
        if parts[3].count("&") > 2 or kind != "ISO" or not oids.is_oid(universal):
            yield "the assigning authority is &OID&ISO or a namespace"
    if parts[5]:
        yield from _hd_problem(parts[5], "the home community")


# -- XCN: a person --------------------------------------------------------------------------------------------------


def read_xcn(text: str) -> XCN:
    """``id^family^given^second^suffix^prefix^degree^^&OID&ISO``."""
    parts = _parts(text, 9)
    return XCN(
        id=plain(parts[0]),
        family=plain(parts[1].partition("&")[0]),
        given=plain(parts[2]),
        second=plain(parts[3]),
        suffix=plain(parts[4]),
        prefix=plain(parts[5]),
        degree=plain(parts[6]),
        authority=_authority(parts[8]),
    )


def write_xcn(value: XCN) -> str:
    """``id^family^given^second^suffix^prefix^degree^^&OID&ISO``."""
    names = (value.id, value.family, value.given, value.second, value.suffix, value.prefix, value.degree)
    return _joined([*map(escape, names), "", _hd(value.authority)])


def check_xcn(text: str) -> Iterator[str]:
    """An id or a family name; an assigning authority only with an id."""
    parts = _parts(text, 9)
    if not parts[0] and not parts[1]:
        yield "a person has an id or a family name"
    if parts[8]:
        if not parts[0]:
            yield "a person without an id has no assigning authority"
        yield from _hd_problem(parts[8], "the assigning authority")


# -- XON: an organization -------------------------------------------------------------------------------------------


def read_xon(text: str) -> XON:
    """``name^^^^^&OID&ISO^^^^id``."""
    parts = _parts(text, 10)
    return XON(name=plain(parts[0]), authority=_authority(parts[5]), id=plain(parts[9]))


def write_xon(value: XON) -> str:
    """``name^^^^^&OID&ISO^^^^id``."""
    return _joined([escape(value.name), *[""] * 4, _hd(value.authority), *[""] * 3, escape(value.id)])


def check_xon(text: str) -> Iterator[str]:
    """A name; an id is an OID or comes with its assigning authority; nothing else."""
    parts = _parts(text, 10)
    if not parts[0]:
        yield "an organization has a name"
    if any(part for number, part in enumerate(parts, 1) if number not in (1, 6, 10)):
        yield "an organization has nothing but components 1, 6 and 10"
    if parts[5]:
        yield from _hd_problem(parts[5], "the assigning authority")
        if not parts[9]:
            yield "an organization without an id has no assigning authority"
    elif parts[9] and not oids.is_oid(parts[9]):
        yield "an organization's id is an OID or comes with its assigning authority"


# -- XTN: a telecommunication ---------------------------------------------------------------------------------------

_PHONES = frozenset({"PH", "CP"})


def check_xtn(text: str) -> Iterator[str]:
    """An address on the Internet, or a telephone number in parts or in one."""
    parts = _parts(text, 12)
    if parts[2] == "Internet":
        if not parts[3]:
            yield "a telecommunication over the Internet has its address in component 4"
        if parts[1] not in ("", "NET"):
            yield "the use of a telecommunication over the Internet is NET or empty"
        return
    if parts[2] not in _PHONES:
        yield "a telecommunication is Internet, PH or CP in component 3"
        return
    in_parts = any(parts[4:8])
    if in_parts == bool(parts[11]):
        yield "a telephone number stands either in components 5 to 8 or in component 12"


def check_recipient(text: str) -> Iterator[str]:
    """``XON|XCN|XTN``, at least one of the three."""
    organization, person, telecommunication, *more = (*text.split("|"), "", "")[: max(3, text.count("|") + 1)]
    if more:
        yield "an intended recipient has at most three fields"
    if not (organization or person or telecommunication):
        yield "an intended recipient has an organization, a person or a telecommunication"
    for field, check in ((organization, check_xon), (person, check_xcn), (telecommunication, check_xtn)):
        if field:
            yield from check(field)
