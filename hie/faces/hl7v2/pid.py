"""PID out: a patient as the hub shows it, in ER7. Pure; what may be shown was decided before.

Source: HL7 v2.5.1 3.4.2, 2.A (CX, XPN, XAD, XTN); IHE ITI TF-2 3.9.4.2.2.6, 3.10.4.1.2.2, 3.21.4.2.2.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hie.faces.hl7v2.er7 import escape
from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom

_GENDER = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
_NAME_TYPE = {"official": "L", "usual": "D", "maiden": "M", "old": "B", "nickname": "N", "anonymous": "S", "temp": "T"}
_ADDRESS_TYPE = {"home": "H", "work": "B", "temp": "C", "old": "BA"}
_EQUIPMENT = {"fax": "FX", "pager": "BP", "phone": "PH", "sms": "CP"}
_LAST_FIELD = 30


def cross_referenced(identifiers: Iterable[Identifier], *, set_id: int = 1) -> str:
    """PID of a PIX answer or notification: identifiers and no name (an empty one, and a pseudonym without content)."""
    return _segment(set_id, {3: _cxs(identifiers), 5: "~^^^^^^S"})


def described(demographics: Demographics, *, set_id: int) -> str:
    """PID of a demographics answer."""
    d = demographics
    phones = [t for t in d.telecoms if t.system != "email"]
    work = [t for t in phones if t.use == "work"]
    home = [t for t in d.telecoms if t not in work]
    fields = {
        3: _cxs(d.identifiers),
        5: "~".join(_xpn(name) for name in d.names),
        6: escape(d.mothers_maiden_name),
        7: _ts(d.birth_date),
        8: _GENDER.get(d.gender, ""),
        11: "~".join(_xad(address) for address in d.addresses),
        13: "~".join(_xtn(telecom) for telecom in home),
        14: "~".join(_xtn(telecom) for telecom in work),
        15: escape(d.languages[0]) if d.languages else "",
    }
    if d.multiple_birth is not None:
        fields[24] = "N" if d.multiple_birth is False else "Y"
        if d.multiple_birth is not True and d.multiple_birth is not False:
            fields[25] = str(d.multiple_birth)
    if isinstance(d.deceased, str):
        fields[29], fields[30] = _ts(d.deceased), "Y"
    elif d.deceased is not None:
        fields[30] = "Y" if d.deceased else "N"
    return _segment(set_id, fields)


def _segment(set_id: int, fields: dict[int, str]) -> str:
    return "|".join(["PID", str(set_id), *(fields.get(n, "") for n in range(2, _LAST_FIELD + 1))]).rstrip("|")


def _cxs(identifiers: Iterable[Identifier]) -> str:
    return "~".join(_cx(item) for item in identifiers if item.value)


def _cx(item: Identifier) -> str:
    authority = item.authority
    kind = "ISO" if authority.replace(".", "").isdigit() else "URI"
    domain = f"&{escape(authority)}&{kind}" if authority else ""
    return _joined([escape(item.value), "", "", domain, escape(item.type)])


def _xpn(name: HumanName) -> str:
    given = [escape(part) for part in name.given]
    return _joined(
        [
            escape(name.family or ("" if name.given else name.text)),
            given[0] if given else "",
            " ".join(given[1:]),
            escape(" ".join(name.suffix)),
            escape(" ".join(name.prefix)),
            "",
            _NAME_TYPE.get(name.use, "L"),
        ]
    )


def _xad(address: Address) -> str:
    lines: Sequence[str] = address.lines or ((address.text,) if address.text else ())
    return _joined(
        [
            escape(lines[0]) if lines else "",
            escape(" ".join(lines[1:])),
            escape(address.city),
            escape(address.state),
            escape(address.postal_code),
            escape(address.country),
            _ADDRESS_TYPE.get(address.use, ""),
        ]
    )


def _xtn(telecom: Telecom) -> str:
    if telecom.system == "email":
        return _joined(["", "NET", "Internet", escape(telecom.value)])
    use = "WPN" if telecom.use == "work" else "PRN"
    equipment = "CP" if telecom.use == "mobile" else _EQUIPMENT.get(telecom.system, "PH")
    return _joined([escape(telecom.value), use, equipment])


def _ts(date: str) -> str:
    """HL7 date of a FHIR date text; a time of day is left out."""
    return escape(date.split("T")[0].replace("-", ""))


def _joined(components: Sequence[str]) -> str:
    return "^".join(components).rstrip("^")
