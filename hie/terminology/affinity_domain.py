"""The affinity domain: which codes document metadata may carry.

Nothing loaded, nothing checked. A set in mode ``enforce`` refuses a code outside it, ``warn`` lets it pass with a
warning, ``off`` does not look.

Source: spec/xds.md 4 (4) and 11 (IHE ITI TF-3 4.2.3.1.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction
from django.utils import timezone

from hie.database import prepared
from hie.standards import oids, xml
from hie.standards.errors import HubError
from hie.terminology import local_codes, versions
from hie.terminology.local_codes import EVERY, Met
from hie.terminology.models import Code, CodeSet


class Verdict(StrEnum):
    """What the affinity domain says of a code."""

    ACCEPTED = "accepted"
    WARN = "warn"
    REFUSED = "refused"


class InvalidCodeFile(HubError):
    """A file of code sets cannot be used; nothing was loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A code of an attribute; the scheme is a URI, "" for a media type."""

    attribute: str
    code: str
    scheme: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSet:
    """One set of a file: how many codes it has now, and how many of them are new."""

    attribute: str
    codes: int
    added: int
    retired: int


def check(asked: Iterable[Asked]) -> dict[Asked, Verdict]:
    """What the affinity domain says of each code; one that means another by decision is judged as that one.

    At most two statements whatever the count, and two more where a code is in no set.
    """
    wanted = set(asked)
    with prepared() as cursor:
        cursor.execute(
            "SELECT attribute, mode FROM terminology_codeset WHERE mode <> %s::text", [CodeSet.Mode.OFF.value]
        )
        modes = dict(cursor.fetchall())
    looked_up = {item for item in wanted if item.attribute in modes}
    outside = looked_up - _known(looked_up)
    if outside:
        meant = local_codes.same_as(as_met(item) for item in outside)
        others = {item: Asked(attribute=to.attribute, code=to.code, scheme=to.scheme)
                  for item in outside if (to := meant.get(as_met(item))) is not None}  # fmt: skip
        if others:
            good = _known(set(others.values()))
            outside -= {item for item, to in others.items() if to in good}
    verdicts: dict[Asked, Verdict] = {}
    for item in wanted:
        if item not in outside:
            verdicts[item] = Verdict.ACCEPTED
        else:
            verdicts[item] = Verdict.REFUSED if modes[item.attribute] == CodeSet.Mode.ENFORCE else Verdict.WARN
    return verdicts


def _known(items: set[Asked]) -> set[Asked]:
    """Those that are in their set, or of a scheme that is in it whole; one statement, and none for nothing.

    A code that was retired is out, though its scheme is in.
    """
    if not items:
        return set()
    rows = Code.objects.filter(
        code_set__attribute__in={item.attribute for item in items},
        code__in={code for item in items for code in (_essence(item), _covering(item))},
    )
    active = {(attribute, code, scheme): is_active for attribute, code, scheme, is_active
              in rows.values_list("code_set__attribute", "code", "scheme", "active")}  # fmt: skip

    def within(item: Asked) -> bool:
        own = active.get((item.attribute, _essence(item), item.scheme))
        whole = active.get((item.attribute, _covering(item), item.scheme), False)
        return _essence(item) != _covering(item) and (whole if own is None else own)

    return {item for item in items if within(item)}


def as_met(item: Asked) -> Met:
    """The code as it is collected when it is in no set."""
    return Met(item.attribute, item.scheme, _essence(item))


def is_loaded() -> bool:
    """Whether any set was ever loaded: sets are switched off, never deleted."""
    return CodeSet.objects.exists()


def load(data: bytes, *, source: str, mode: str | None = None, by: str = "file") -> list[LoadedSet]:
    """Replace the sets that a file names; those it does not name stay, and codes that staff added to one.

    The file is ``CodeType[@name]/Code[@code][@codingScheme][@display]`` as the IHE test tools use it; ours say besides
    ``Codes/@version``, kept with the source, ``CodeType/@mode``, and ``Code/@code="*"`` for all of a coding scheme. Codes
    no longer in the file are retired, not deleted. A set has `mode`, else the file's, else the one that staff chose,
    else ``enforce``. Each set that changes gets its next version, made by `by`.

    Raises:
        MalformedContent, InvalidCodeFile: nothing was loaded.
    """
    root = xml.parse(data)
    sets: dict[str, dict[tuple[str, str], str]] = {}
    modes: dict[str, str | None] = {}
    for code_type in root.iter("{*}CodeType"):
        attribute = (code_type.get("name") or "").strip()
        if not attribute:
            raise InvalidCodeFile(f"a CodeType has no name at line {code_type.sourceline}", element="CodeType/@name")
        codes = sets.setdefault(attribute, {})
        modes[attribute] = mode or code_type.get("mode")
        if modes[attribute] not in (None, *CodeSet.Mode.values):
            raise InvalidCodeFile(f"no such mode at line {code_type.sourceline}", element="CodeType/@mode")
        for code in code_type.iter("{*}Code"):
            codes.update(_codes(code, attribute))
    if not any(sets.values()):
        raise InvalidCodeFile("the file holds no CodeType with codes", element="CodeType")
    said = " ".join(filter(None, (source, (root.get("version") or "").strip())))
    with transaction.atomic():
        return [_replace(attribute, codes, said, modes[attribute], by) for attribute, codes in sorted(sets.items())]


def _codes(element: xml.Element, attribute: str) -> Mapping[tuple[str, str], str]:
    value = (element.get("code") or "").strip()
    if not value:
        raise InvalidCodeFile(f"a Code has no code at line {element.sourceline}", element="Code/@code")
    display = (element.get("display") or "").strip()
    if attribute == "mimeType":
        return {(value.lower(), ""): display}
    schemes = {
        oids.scheme_uri(text) for name in ("codingScheme", "system") if (text := (element.get(name) or "").strip())
    }
    if not schemes:
        raise InvalidCodeFile(f"a Code has no codingScheme at line {element.sourceline}", element="Code/@codingScheme")
    # Files name a scheme by OID and by URI; where the two are not known to be one, either is accepted.
    return {(value, scheme): display for scheme in schemes}


def _replace(attribute: str, codes: Mapping[tuple[str, str], str], source: str, mode: str | None, by: str) -> LoadedSet:
    row, _ = CodeSet.objects.get_or_create(attribute=attribute)
    row.source, row.loaded_at = source, timezone.now()
    if mode is not None or not row.mode_chosen:
        row.mode, row.mode_chosen = mode or CodeSet.Mode.ENFORCE, False
    row.save(update_fields=["source", "loaded_at", "mode", "mode_chosen"])
    present = {(code.code, code.scheme): code for code in Code.objects.select_for_update().filter(code_set=row)}
    Code.objects.bulk_create(
        Code(code_set=row, code=code, scheme=scheme, display=display)
        for (code, scheme), display in codes.items()
        if (code, scheme) not in present
    )
    kept = local_codes.added(attribute)
    for key, code in present.items():
        code.active = key in codes or key in kept
        code.display = codes.get(key, code.display)
    Code.objects.bulk_update(present.values(), ["active", "display"], batch_size=500)
    versions.keep(row, by=by)
    return LoadedSet(
        attribute=attribute,
        codes=len(codes),
        added=len(codes.keys() - present.keys()),
        retired=sum(1 for key in present if key not in codes and key not in kept),
    )


def _essence(item: Asked) -> str:
    return item.code.split(";")[0].strip().lower() if item.attribute == "mimeType" else item.code


def _covering(item: Asked) -> str:
    """The code that stands for all of the scheme, or of the kind of media."""
    return f"{_essence(item).partition('/')[0]}/{EVERY}" if item.attribute == "mimeType" else EVERY
