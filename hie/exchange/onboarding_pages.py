"""An onboarding as its pages show it: the steps, the form of each part, and the report. Words only.

A form is read into members of the draft, and what is wrong with a member is told at its field.

Source: design.md "participants".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hie.directory import codes
from hie.directory import onboarding as rules
from hie.directory.errors import Fault
from hie.directory.models import EndpointKind, Onboarding, OnboardingAct, OnboardingTest, ParticipantType
from hie.directory.onboarding import PARTS
from hie.exchange import onboarding, self_test
from hie.exchange.access import Staff

STEPS: tuple[tuple[str, str], ...] = (
    ("invitation", "Invitation"),
    ("organization", "Organization"),
    ("agreement", "Agreement"),
    ("keys", "Keys"),
    ("endpoints", "Endpoints"),
    ("test", "Self-test"),
    ("approval", "Approval"),
)
COMMON_PURPOSES: Mapping[str, str] = {
    "TREAT": "Treatment", "COC": "Coordination of care", "BTG": "Emergency access", "HPAYMT": "Payment",
    "HOPERAT": "Operations", "PUBHLTH": "Public health", "HRESCH": "Research", "PATRQT": "Request of the patient",
}  # fmt: skip
_YES_NO = (("", "As the organization above it"), ("yes", "Yes"), ("no", "No"))
_LONGEST = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form. `kind` is text, area, date, select or checks."""

    name: str
    label: str
    hint: str = ""
    kind: str = "text"
    choices: tuple[tuple[str, str], ...] = ()
    rows: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A field with what stands in it, and what is wrong with it."""

    field: Field
    text: str = ""
    chosen: frozenset[str] = frozenset()
    wrong: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the seven: `state` is done, current or "" (to come)."""

    key: str
    title: str
    state: str
    words: str


FORMS: Mapping[str, tuple[Field, ...]] = {
    "organization": (
        Field(name="name", label="Name"),
        Field(name="id", label="Id", hint="Letters, digits, dots and hyphens. It names the organization for good, also as client_id."),
        Field(name="type", label="Kind", kind="select", choices=tuple(ParticipantType.choices)),
        Field(name="organization_oid", label="OID of the organization", hint="Such as 2.999.7.1"),
        Field(name="assigning_authority", label="OID under which it numbers patients", hint="Empty if it feeds no patients."),
        Field(name="hl7v2_application", label="HL7 v2: sending application (MSH-3)"),
        Field(name="hl7v2_facility", label="HL7 v2: sending facility (MSH-4)"),
        Field(name="home_community_id", label="Home community id", hint="Only for a community of its own: urn:oid:…"),
        Field(name="source_id", label="OID as a document source", hint="sourceId of its submission sets; empty if it publishes none."),
    ),
    "agreement": (
        Field(name="part_of", label="Id of the organization above it", hint="Empty if there is none here."),
        Field(name="jurisdiction", label="Place whose law counts", hint="Empty: as the organization above it, in the end the hub’s own."),
        Field(name="purposes", label="Purposes it may ask for", kind="checks", choices=tuple(COMMON_PURPOSES.items())),
        Field(name="other_purposes", label="Other purposes", hint="Codes with spaces between them."),
        Field(name="scopes", label="Scopes of its tokens", kind="area", hint="One a line, such as system/DocumentReference.crs or ITI-67"),
        Field(name="agreement_start", label="From", kind="date"),
        Field(name="agreement_end", label="Until", kind="date", hint="Empty: without end."),
        Field(name="labels_documents", label="Its labels of documents are believed", kind="select", choices=(("no", "No"), ("yes", "Yes"))),
        Field(name="part2_program", label="42 CFR Part 2 program", kind="select", choices=_YES_NO),
        Field(name="requires_relationship", label="Must show that it treats the patient", kind="select", choices=_YES_NO),
        Field(name="default_role", label="Role of tokens that name no user", kind="select", choices=(("", "None: it reads nothing"), *((r, r) for r in sorted(codes.ROLES)))),
        Field(name="users", label="People who use it", kind="area", hint="One a line: Practitioner/id | name | role | purposes"),
        Field(name="default_purpose", label="Purpose of tokens that name none", kind="select", choices=(("", "None"), *((p, p) for p in sorted(codes.PURPOSES - {"BTG"})))),
    ),
    "keys": (
        Field(name="jwks_url", label="Address of the key set (JWKS)", hint="Best: it changes keys there by itself."),
        Field(name="jwks", label="Or the public keys themselves, as JSON", kind="area", hint="A JWKS, {\"keys\": […]}. Never a private key.", rows=8),
        Field(name="certificates", label="TLS client certificates, as PEM", kind="area", hint="For MLLP and SOAP over TLS. One below another.", rows=8),
    ),
    "endpoints": (
        Field(name="endpoints", label="Where it can be asked", kind="area", rows=6,
              hint=f"One a line: kind, address, and the repository’s OID where it has one. Kinds: {', '.join(EndpointKind.values)}"),
    ),
}  # fmt: skip
_FIELD_OF = {
    "hl7v2.application": "hl7v2_application", "hl7v2.facility": "hl7v2_facility", "hl7v2": "hl7v2_application",
    "agreement.period.start": "agreement_start", "agreement.period.end": "agreement_end",
    "agreement.labels_documents": "labels_documents",
}  # fmt: skip


def steps(row: Onboarding, current: str, faults: Mapping[str, Sequence[Fault]], *, own: bool = False) -> list[Step]:
    """The seven steps with a few words each; `own`: as the organization itself sees them, without the desk's two."""
    test = row.tests.first()
    made: list[Step] = []
    for key, title in STEPS:
        if own and key in ("invitation", "approval"):
            continue
        done, words = _how(row, key, faults, test)
        made.append(
            Step(key=key, title=title, state="current" if key == current else "done" if done else "", words=words)
        )
    return made


def _how(
    row: Onboarding, key: str, faults: Mapping[str, Sequence[Fault]], test: OnboardingTest | None
) -> tuple[bool, str]:
    if key == "invitation":
        return True, f"{row.begun_at:%-d %B %Y}"
    if key == "test":
        if test is None:
            return False, "not run yet"
        fresh = test.draft_version == row.version
        return (
            fresh and not test.failed,
            f"{test.passed} of {test.passed + test.failed} pass" if fresh else "to be run again",
        )
    if key == "approval":
        return row.state == Onboarding.State.LIVE, row.get_state_display()
    wrong = faults[key]
    if wrong:
        return False, f"{len(wrong)} to fill in or mend"
    return True, _words(key, row.draft)


def _words(key: str, draft: Mapping[str, Any]) -> str:
    if key == "organization":
        return str(dict(ParticipantType.choices).get(draft.get("type", ""), ""))
    if key == "agreement":
        end = (draft.get("agreement") or {}).get("period", {}).get("end", "")
        count = len(draft.get("purposes", ()))
        return f"{count} purpose{'' if count == 1 else 's'}{f', to {end}' if end else ''}"
    if key == "keys":
        count = len((draft.get("jwks") or {}).get("keys", ()))
        return "by address" if draft.get("jwks_url") else f"{count} key{'' if count == 1 else 's'}"
    count = len(draft.get("endpoints", ()))
    return f"{count} to be asked at" if count else "none: it is never asked"


def form(
    part: str, draft: Mapping[str, Any], faults: Iterable[Fault] = (), typed: Mapping[str, Any] | None = None
) -> list[Shown]:
    """The fields of a part with the draft's values, or with what was typed, and what is wrong at each."""
    wrong: dict[str, str] = {}
    for fault in faults:
        wrong.setdefault(field_of(part, fault.path), _sentence(fault))
    values = typed if typed is not None else _values(part, draft)
    return [
        Shown(
            field=one,
            text="" if one.kind == "checks" else str(values.get(one.name, "")),
            chosen=frozenset(values.get(one.name, ())) if one.kind == "checks" else frozenset(),
            wrong=wrong.get(one.name, ""),
        )
        for one in FORMS[part]
    ]


def field_of(part: str, path: str) -> str:
    """The field at which a fault is told: by the longest path that has one, else the first of the part."""
    bare = path
    while bare:
        if bare in _FIELD_OF:
            return _FIELD_OF[bare]
        if any(one.name == bare for one in FORMS[part]):
            return bare
        bare = bare.rpartition(".")[0] if "." in bare else bare.partition("[")[0] if "[" in bare else ""
    return FORMS[part][0].name


def _sentence(fault: Fault) -> str:
    place = fault.path.partition("[")[2].partition("]")[0]
    where = (
        f"Line {int(place) + 1}: "
        if place.isdigit() and fault.path.startswith(("endpoints[", "users[", "scopes["))
        else ""
    )
    member = fault.path.rpartition(".")[2] if "." in fault.path or "[" in fault.path else "It"
    named = member if where and "[" not in member else "it" if where else "It"
    return f"{where}{named} {fault.message}."


def typed(part: str, given: Mapping[str, Any], lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What was typed into the form of a part, cut to what a form may hold. `lists`: the values of fields that have several."""
    return {
        one.name: list(lists.get(one.name, ()))
        if one.kind == "checks"
        else str(given.get(one.name, ""))[:_LONGEST].strip()
        for one in FORMS[part]
    }


def members(part: str, said: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """The members of the draft that a filled-in form means, and what could not be read at all."""
    faults: list[Fault] = []
    if part == "organization":
        found = {name: said[name] for name in ("id", "name", "type", "organization_oid", "assigning_authority", "home_community_id", "source_id")}  # fmt: skip
        if said["hl7v2_application"] or said["hl7v2_facility"]:
            found["hl7v2"] = {"application": said["hl7v2_application"], "facility": said["hl7v2_facility"]}
    elif part == "agreement":
        found = {
            "part_of": said["part_of"], "jurisdiction": said["jurisdiction"],
            "users": [_user(line) for line in _lines(said["users"])],
            "purposes": [*said["purposes"], *said["other_purposes"].split()],
            "scopes": said["scopes"].split(),
            "agreement": {
                "status": "active", "labels_documents": said["labels_documents"] == "yes",
                "period": {"start": said["agreement_start"]} | ({"end": said["agreement_end"]} if said["agreement_end"] else {}),
            },
            "default_role": said["default_role"], "default_purpose": said["default_purpose"],
        }  # fmt: skip
        for name in ("part2_program", "requires_relationship"):
            if said[name] in ("yes", "no"):
                found[name] = said[name] == "yes"
    elif part == "keys":
        found = {"jwks_url": said["jwks_url"], "certificates": _certificates(said["certificates"])}
        if said["jwks"]:
            try:
                found["jwks"] = json.loads(said["jwks"])
            except (ValueError, RecursionError):
                faults.append(Fault(path="jwks", message="is not JSON"))
    else:
        found = {"endpoints": [_endpoint(line) for line in _lines(said["endpoints"])]}
    return {member: value for member, value in found.items() if value not in ("", [], None)}, faults


def _values(part: str, draft: Mapping[str, Any]) -> dict[str, Any]:
    if part == "organization":
        sender = draft.get("hl7v2") or {}
        return {
            **draft, "hl7v2_application": sender.get("application", ""), "hl7v2_facility": sender.get("facility", ""),
        }  # fmt: skip
    if part == "agreement":
        agreement = draft.get("agreement") or {}
        period = agreement.get("period") or {}
        purposes = list(draft.get("purposes", ()))
        users = [
            " | ".join([one["id"], one["name"], one["role"], " ".join(one.get("purposes", ()))]).rstrip(" |")
            for one in draft.get("users", ())
        ]
        flags = {name: _yes_no(draft.get(name)) for name in ("part2_program", "requires_relationship")}
        return {
            "purposes": [code for code in purposes if code in COMMON_PURPOSES],
            "users": "\n".join(users), "part_of": draft.get("part_of", ""), "jurisdiction": draft.get("jurisdiction", ""),
            "other_purposes": " ".join(code for code in purposes if code not in COMMON_PURPOSES),
            "scopes": "\n".join(draft.get("scopes", ())), "agreement_start": period.get("start", ""),
            "agreement_end": period.get("end", ""), "labels_documents": "yes" if agreement.get("labels_documents") else "no",
            "default_role": draft.get("default_role", ""), "default_purpose": draft.get("default_purpose", ""), **flags,
        }  # fmt: skip
    if part == "keys":
        jwks = draft.get("jwks")
        return {
            "jwks_url": draft.get("jwks_url", ""), "jwks": json.dumps(jwks, indent=2) if jwks else "",
            "certificates": "\n".join(draft.get("certificates", ())),
        }  # fmt: skip
    lines = [
        " ".join(filter(None, (one["kind"], one["url"], one.get("repository_unique_id", ""))))
        for one in draft.get("endpoints", ())
    ]
    return {"endpoints": "\n".join(lines)}


def _yes_no(flag: Any) -> str:
    return "" if flag is None else "yes" if flag else "no"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _user(line: str) -> dict[str, Any]:
    parts = [part.strip() for part in line.split("|")]
    found: dict[str, Any] = dict(zip(("id", "name", "role"), parts, strict=False))
    if len(parts) > 3 and parts[3]:
        found["purposes"] = parts[3].split()
    return found


def _endpoint(line: str) -> dict[str, str]:
    return dict(zip(("kind", "url", "repository_unique_id"), line.split(), strict=False))


def _certificates(text: str) -> list[str]:
    end = "-----END CERTIFICATE-----"
    parts = [part.strip() for part in text.split(end)]
    found = [f"{part}\n{end}\n" for part in parts[:-1]]
    return [*found, parts[-1]] if parts[-1] else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One act of its history, in words."""

    at: datetime
    words: str
    by: str
    reason: str = ""


def history(row: Onboarding) -> list[Done]:
    """What was done, the newest first. One statement."""
    return [
        Done(
            at=act.at, words=_act_words(act),
            by="the organization" if act.actor.startswith("Onboarding/") else act.actor, reason=act.reason,
        )
        for act in row.acts.order_by("-at", "-pk")[:200]
    ]  # fmt: skip


def _act_words(act: OnboardingAct) -> str:
    if act.kind == OnboardingAct.Kind.SAVED:
        titles = dict(STEPS)
        return f"Changed: {titles.get(act.detail.get('part', ''), '')} ({', '.join(act.detail.get('members', ()))})"
    if act.kind == OnboardingAct.Kind.TESTED:
        return f"Self-test {act.detail.get('test')}: {act.detail.get('passed')} pass, {act.detail.get('failed')} fail"
    return str(act.get_kind_display())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run of the self-test: what failed, what passed, and whether it still counts."""

    test: OnboardingTest
    failed: list[Mapping[str, str]] = field(default_factory=list)
    passed: list[Mapping[str, str]] = field(default_factory=list)
    counts: bool = True

    @property
    def total(self) -> int:
        """All checks."""
        return len(self.failed) + len(self.passed)


def report(row: Onboarding) -> Report | None:
    """The newest run of the self-test."""
    test = row.tests.first()
    if test is None:
        return None
    return Report(
        test=test,
        failed=[check for check in test.report if check["result"] == "fail"],
        passed=[check for check in test.report if check["result"] == "pass"],
        counts=test.draft_version == row.version,
    )


def save(row: Onboarding, part: str, given: Any, staff: Staff | None) -> list[Shown]:
    """Keep a part as its form was filled in; the form again with what is wrong where it could not be kept.

    `given` is a form's data that can hold several values a field. `staff` None: the organization itself.

    Raises:
        AccessRefused, OnboardingRefused, OnboardingChanged: as `hie.exchange.onboarding.save`.
    """
    said = typed(part, given, {one.name: given.getlist(one.name) for one in FORMS[part] if one.kind == "checks"})
    found, faults = members(part, said)
    version = given.get("version", "")
    if not faults:
        known = int(version) if version.isascii() and version.isdigit() and len(version) < 9 else 0
        faults = onboarding.save(row.pk, part, found, staff, version=known)
    return form(part, row.draft, faults, said) if faults else []


def samples(given: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, bytes]:
    """The samples of a self-test's form by kind: a file where one was chosen, else what was pasted."""
    found: dict[str, bytes] = {}
    for sample in self_test.SAMPLES:
        held = files.get(f"file-{sample.kind}")
        if held is not None:
            found[sample.kind] = held.read(self_test.MAX_SAMPLE + 1)
        elif text := str(given.get(sample.kind, "")):
            # Browsers send line ends as CR LF; a message of segments is the same with either.
            found[sample.kind] = text.replace("\r\n", "\r" if sample.kind == "hl7v2" else "\n").encode(
                "utf-8", "replace"
            )
    return found


def parts_of(own: bool) -> tuple[str, ...]:
    """The parts that somebody may change: the organization its own, the desk all."""
    return rules.OWN_PARTS if own else tuple(PARTS)
