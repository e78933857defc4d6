"""A FHIR document or resource made readable: the narratives that its author wrote, sanitised by the whitelist of all documents.

A document Bundle is read as its Composition says: its sections in order. Of any other Bundle or resource each narrative is
shown, and where a resource has none, what it is about, its value and its day, resource types together.

Source: FHIR R4 2.4 (narrative), 3.3 (documents).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from hie.standards import narrative, pieces, xml
from hie.standards.errors import MalformedContent
from hie.standards.narrative import Narrative, Places
from hie.standards.readable import Fact, Header, Media, Readable, Section, Writer, in_parts

MAX_FACTS = 2000
MAX_MEDIA = 100
MAX_DEPTH = 80
MAX_NARRATIVE = 4 << 20
_XHTML = "{http://www.w3.org/1999/xhtml}"
_FHIR = "{http://hl7.org/fhir}"
_QUIET = frozenset({"Bundle", "Composition", "Provenance"})
_DATES = (
    "effectiveDateTime", "effectivePeriod", "onsetDateTime", "onsetPeriod", "performedDateTime", "performedPeriod",
    "occurrenceDateTime", "occurrencePeriod", "authoredOn", "issued", "recordedDate", "period", "servicedDate", "date",
    "created", "billablePeriod", "whenHandedOver", "dateWritten",
)  # fmt: skip
_WHAT = (
    "code", "medicationCodeableConcept", "medicationReference", "vaccineCode", "name", "title", "type", "category",
    "serviceType", "description", "class",
)  # fmt: skip
_NOT_SO = frozenset({"refuted", "entered-in-error", "not-done"})
Resource = Mapping[str, Any]


def read(data: bytes, *, is_xml: bool = False, max_elements: int = 50_000) -> Readable:
    """The document as somebody reads it.

    Raises:
        MalformedContent: neither JSON nor acceptable XML, or nested too deep, or no resource.
    """
    root = _from_xml(data) if is_xml else _from_json(data)
    if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
        raise MalformedContent("no FHIR resource")
    return _Reading(root, max_elements).document()


def _from_json(data: bytes) -> Any:
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MalformedContent("not JSON") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return value
    raise MalformedContent("nested too deep")


def _from_xml(data: bytes) -> Any:
    """FHIR XML as the same values JSON would give; what repeats is a list, a single one is itself."""
    root = xml.parse(data, limits=xml.Limits(size=64 * xml.MiB, depth=MAX_DEPTH))
    return _element(root) if root.tag.startswith(_FHIR) else None


def _element(element: etree._Element) -> Any:
    name = etree.QName(element).localname
    inner: dict[str, Any] = {}
    if name[:1].isupper():
        inner["resourceType"] = name
    for child in element:
        if not isinstance(child.tag, str):
            continue
        key = etree.QName(child).localname
        value: Any
        if child.tag == f"{_XHTML}div":
            value = etree.tostring(child, encoding="unicode", with_tail=False)
        elif key in ("resource", "contained"):
            value = _element(child[0]) if len(child) else {}
        elif len(child) == 0:
            value = child.get("value", "")
        else:
            value = _element(child)
        if key in inner:
            inner[key] = [*(inner[key] if isinstance(inner[key], list) else [inner[key]]), value]
        else:
            inner[key] = value
    return inner


@dataclass(slots=True)
class _Reading:
    root: Resource
    left: int
    media: list[Media] = field(default_factory=list)
    named: dict[str, Resource] = field(default_factory=dict)
    counted: int = 0
    sections: list[Section] = field(default_factory=list)
    cut: bool = False

    def document(self) -> Readable:
        resources = [self.root]
        if self.root.get("resourceType") == "Bundle":
            entries = [one for one in _all(self.root.get("entry")) if isinstance(one, dict)]
            resources = [one["resource"] for one in entries if isinstance(one.get("resource"), dict)]
            for one in entries:
                resource = one.get("resource")
                if isinstance(resource, dict):
                    self.named[str(one.get("fullUrl", ""))] = resource
                    self.named.setdefault(f"{resource.get('resourceType')}/{resource.get('id', '')}", resource)
        for attachment in _attachments(resources):
            if len(self.media) == MAX_MEDIA:
                self.cut = True
                break
            self.media.append(Media(_str(attachment.get("contentType")).lower(), _str(attachment.get("data"))))
        composition = next((one for one in resources if one.get("resourceType") == "Composition"), None)
        if composition is not None:
            header = self._composed(composition, resources)
        else:
            header = self._listed(resources)
        parts, where = in_parts(self.sections)
        return Readable(
            header=header,
            sections=tuple(self.sections),
            media=tuple(self.media),
            parts=parts,
            where=where,
            cut=self.cut,
        )

    # --- a document -----------------------------------------------------------------------------------------------

    def _composed(self, composition: Resource, resources: Sequence[Resource]) -> Header:
        self._add(_str(composition.get("title")), 0, composition)
        for section in _all(composition.get("section")):
            self._section(section, 0)
        subject = self._patient(self._found(composition.get("subject")))
        period = next((_dict(one.get("period")) for one in map(_dict, _all(composition.get("event")))), {})
        return Header(
            title=_str(composition.get("title")),
            kind=_concept(composition.get("type")),
            language=pieces.language(_str(composition.get("language")) or _str(self.root.get("language"))),
            on=_str(composition.get("date"))[:10],
            patients=(subject[0],) if subject[0] else (),
            birth_date=subject[1],
            writers=tuple(self._writer(one) for one in _all(composition.get("author"))),
            keeper=self._writer(composition.get("custodian")).place,
            signers=tuple(self._writer(_dict(one).get("party")) for one in _all(composition.get("attester"))),
            since=_str(period.get("start"))[:10],
            until=_str(period.get("end"))[:10],
            replaces=any(_dict(one).get("code") == "replaces" for one in _all(composition.get("relatesTo"))),
        )

    def _section(self, section: Any, level: int) -> None:
        section = _dict(section)
        if level > 20:
            return
        title = _str(section.get("title")) or _concept(section.get("code"))
        shown = self._narrative(section)
        facts: tuple[Fact, ...] = ()
        if not shown[0]:
            entries = [found for one in _all(section.get("entry")) if (found := self._found(one))]
            facts = tuple(self._facts(entries))
        inner = _all(section.get("section"))
        reason = _concept(section.get("emptyReason"))
        if reason and not shown[0] and not facts:
            shown = ((pieces.made("p", [reason]),), ())
        self._append(title, level, shown, facts, holds_others=bool(inner))
        for one in inner:
            self._section(one, level + 1)

    # --- anything else --------------------------------------------------------------------------------------------

    def _listed(self, resources: Sequence[Resource]) -> Header:
        by_type: dict[str, list[Resource]] = {}
        for one in resources:
            kind = _str(one.get("resourceType"))
            if kind not in _QUIET:
                by_type.setdefault(kind, []).append(one)
        for kind, held in by_type.items():
            told, silent = [], []
            for one in held:
                shown = self._narrative(one)
                if shown[0]:
                    told.append(shown)
                else:
                    silent.append(one)
            body = tuple(node for shown in told for node in shown[0])
            notes = tuple(note for shown in told for note in shown[1])
            self._append("", 0, (body, notes), tuple(self._facts(silent)), resource=kind)
        patient = next((self._patient(one) for one in resources if one.get("resourceType") == "Patient"), ("", ""))
        only = resources[0] if len(resources) == 1 else {}
        return Header(
            title=_str(only.get("title")),
            kind=_concept(only.get("code")) or _concept(only.get("type")),
            language=pieces.language(_str(self.root.get("language")) or _str(only.get("language"))),
            on=_on(only)[0] or _str(self.root.get("timestamp"))[:10],
            patients=(patient[0],) if patient[0] else (),
            birth_date=patient[1],
        )

    # --- parts ----------------------------------------------------------------------------------------------------

    def _add(self, title: str, level: int, resource: Resource) -> None:
        shown = self._narrative(resource)
        if shown[0]:
            self._append(title, level, shown, ())

    def _append(
        self,
        title: str,
        level: int,
        shown: tuple[tuple[Any, ...], tuple[Any, ...]],
        facts: tuple[Fact, ...],
        *,
        resource: str = "",
        holds_others: bool = False,
    ) -> None:
        self.sections.append(
            Section(
                anchor=f"s-{len(self.sections) + 1}",
                title=title,
                level=level,
                resource=resource,
                body=shown[0],
                notes=shown[1],
                facts=facts,
                holds_others=holds_others,
            )
        )

    def _narrative(self, resource: Resource) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        div = _str(_dict(resource.get("text")).get("div"))
        if not div:
            return (), ()
        root, cut = narrative.html(div[:MAX_NARRATIVE], max_elements=max(self.left, 0))
        cut = cut or len(div) > MAX_NARRATIVE
        self.left -= sum(1 for _ in root.iter())
        self.cut = self.cut or cut
        # Links lead within one narrative: ids of two may be the same.
        places = Places()
        writer = Narrative(places, first_note=self.counted + 1)
        body = writer.body(root)
        self.counted += len(writer.notes)
        return body, tuple(writer.notes)

    def _facts(self, resources: Sequence[Resource]) -> Iterator[Fact]:
        held = 0
        for one in resources:
            for fact in self._of(one):
                held += 1
                if held > MAX_FACTS:
                    self.cut = True
                    return
                yield fact

    def _of(self, resource: Resource) -> Iterator[Fact]:
        if resource.get("resourceType") == "Patient":
            name, born = self._patient(resource)
            if name:
                yield Fact(label=name, since=born)
            return
        label = ""
        for key in _WHAT:
            value = resource.get(key)
            if key == "medicationReference":
                label = _concept((self._found(value) or {}).get("code")) or _str(_dict(value).get("display"))
            elif key == "name" and not isinstance(value, str):
                label = _name(value)
            else:
                label = value if isinstance(value, str) else _concept(value)
            if label:
                break
        since, until = _on(resource)
        status = _str(resource.get("status")) or _code(resource.get("clinicalStatus"))
        not_so = _NOT_SO.intersection((_str(resource.get("status")), _code(resource.get("verificationStatus"))))
        parts = [_dict(one) for one in _all(resource.get("component"))]
        value = _value(resource)
        if not label and not value and not parts:
            return
        yield Fact(
            label=label or value,
            value=value if label else "",
            since=since,
            until=until,
            negated=bool(not_so),
            state=status.lower(),
        )
        for part in parts:
            if _concept(part.get("code")):
                yield Fact(label=_concept(part.get("code")), value=_value(part), depth=1)

    def _found(self, reference: Any) -> Resource | None:
        return self.named.get(_str(_dict(reference).get("reference")))

    def _patient(self, resource: Resource | None) -> tuple[str, str]:
        if resource is None or resource.get("resourceType") != "Patient":
            return "", ""
        return _name(resource.get("name")), _str(resource.get("birthDate"))

    def _writer(self, reference: Any) -> Writer:
        shown = _str(_dict(reference).get("display"))
        found = self._found(reference) or {}
        kind = found.get("resourceType")
        if kind == "Organization":
            return Writer(place=_str(found.get("name")) or shown)
        if kind == "PractitionerRole":
            person = self._writer(found.get("practitioner"))
            return Writer(name=person.name or shown, place=self._writer(found.get("organization")).place)
        if _str(_dict(reference).get("reference")).partition("/")[0] == "Organization":
            return Writer(place=shown)
        return Writer(name=_name(found.get("name")) or shown)


def _attachments(resources: Sequence[Any]) -> Iterator[Resource]:
    """Everything that holds bytes of its own, in order."""
    waiting: list[Any] = list(reversed(resources))
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("data"), str) and isinstance(one.get("contentType"), str) and one["data"]:
                yield one
            waiting += [child for child in reversed(list(one.values())) if isinstance(child, (dict, list))]
        elif isinstance(one, list):
            waiting += [child for child in reversed(one) if isinstance(child, (dict, list))]


def _on(resource: Resource) -> tuple[str, str]:
    for key in _DATES:
        value = resource.get(key)
        if isinstance(value, str) and value:
            return value[:10], ""
        if isinstance(value, dict) and (value.get("start") or value.get("end")):
            since, until = _str(value.get("start"))[:10], _str(value.get("end"))[:10]
            return since, until if until != since else ""
    return "", ""


def _value(resource: Resource) -> str:
    for key, value in resource.items():
        if not key.startswith("value") or key == "value":
            continue
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (str, int, float)):
            return str(value)
        if isinstance(value, dict):
            if "value" in value:
                unit = _str(value.get("unit")) or _str(value.get("code"))
                shown = f"{_str(value.get('comparator'))}{value['value']}"
                return f"{shown} {unit}".strip()
            return _concept(value)
    return ""


def _concept(value: Any) -> str:
    """A CodeableConcept, Coding or list of them in the words that came with it; "" for bare codes."""
    for one in map(_dict, _all(value)):
        found = _str(one.get("text")) or _str(one.get("display"))
        found = found or next(
            (_str(_dict(c).get("display")) for c in _all(one.get("coding")) if _dict(c).get("display")), ""
        )
        if found:
            return found
    return ""


def _code(value: Any) -> str:
    return next((_str(_dict(one).get("code")) for one in _all(_dict(value).get("coding"))), "")


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    for one in map(_dict, _all(value)):
        if one.get("text"):
            return _str(one["text"])
        parts = [*_all(one.get("prefix")), *_all(one.get("given")), one.get("family"), *_all(one.get("suffix"))]
        found = " ".join(part for part in parts if isinstance(part, str) and part)
        if found:
            return found
    return ""


def _all(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""
