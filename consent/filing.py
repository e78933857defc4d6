"""What makes a directive wrong at filing, and what is worth a warning. Pure.

Filing refuses what the engine could not read, codes it does not know, periods
that end before they start and trees that nobody can follow. Warnings are said in
plain words and do not stop anything.

Source: spec/consent.md section 5.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consent import effects
from consent.engine import time
from consent.engine.codes import PART2, RANK, Tables
from consent.engine.directive import Directive, Node, Period, Problem, compile_directive
from consent.engine.policy import Jurisdiction

MAX_DEPTH = 6
MAX_PROVISIONS = 200


@dataclass(frozen=True, slots=True)
class Checked:
    """A resource as read for filing: the directive, why it is refused, and warnings."""

    directive: Directive
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a directive is held against for warnings: never more than its filer may know of.

    `others`: the patient's other directives; `on_file`: when the services of the documents on file took place;
    `laws`: the laws of those who hold records of the patient; `members`: every name by which organizations, roles and
    types of organizations are known (None: not looked at).
    """

    others: tuple[Directive, ...] = ()
    on_file: tuple[effects.Span, ...] = ()
    laws: tuple[Jurisdiction, ...] = ()
    members: frozenset[str] | None = None


def check(
    resource: object,
    *,
    tables: Tables,
    patient_ids: frozenset[str] | None = None,
    zone: str = "UTC",
    known: Known | None = None,
    only_labels: frozenset[str] | None = None,
    now: datetime,
) -> Checked:
    """Read a Consent for filing.

    `patient_ids`: the ids the patient reference may have (None: not checked here); `zone` that of the patient's
    law; `only_labels`: the labels a minor's own choices are limited to (None: no limit).
    """
    directive = compile_directive(resource, directive_id="draft", patient_ids=patient_ids)
    problems = [*directive.problems, *directive.unknown_codes]
    if patient_ids is not None and isinstance(resource, dict):
        patient = resource.get("patient")
        reference = patient.get("reference") if isinstance(patient, dict) else None
        named = isinstance(reference, str) and reference.partition("/")[2].split("/_history/")[0] in patient_ids
        if not named and not any(p.element.startswith("Consent.patient") for p in problems):
            problems.append(Problem("Consent.patient", "is another patient"))
    if isinstance(resource, dict) and not directive.privacy and not directive.research:
        problems.append(Problem("Consent.scope", "is neither patient-privacy nor research"))
    if directive.depth > MAX_DEPTH:
        problems.append(Problem("Consent.provision", f"is nested deeper than {MAX_DEPTH} levels"))
    if directive.size > MAX_PROVISIONS:
        problems.append(Problem("Consent.provision", f"has more than {MAX_PROVISIONS} provisions"))
    if directive.period is not None and _backwards(directive.period, zone):
        problems.append(Problem("Consent.provision.period", "ends before it starts"))
    if directive.root is not None:
        for node in effects.walk(directive.root):
            problems.extend(_node_problems(node, tables, zone, only_labels))
    # Of what is refused anyway nothing else need be said, and a tree of any size need not be walked again.
    warnings: list[Problem] = []
    if not problems and isinstance(resource, dict) and directive.counts:
        warnings += _warnings(directive, tables, zone, known or Known(), now)
        warnings += _part2_warnings(resource, directive, tables)
    return Checked(directive, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


def in_force_bounds(directive: Directive) -> tuple[str | None, str | None]:
    """(start, end) date text of the widest time a directive can count."""
    starts = [one for one in (directive.since, directive.period.start if directive.period else None) if one]
    return (max(starts) if starts else None), (directive.period.end if directive.period else None)


def _node_problems(node: Node, tables: Tables, zone: str, only_labels: frozenset[str] | None) -> Iterator[Problem]:
    element = effects.element_of(node)
    for code in sorted(node.listed_purposes - tables.families.keys()):
        yield Problem(f"{element}.purpose", f"{code} is not a known purpose")
    for code in sorted(node.listed_labels - tables.label_families.keys()):
        yield Problem(f"{element}.securityLabel", f"{code} is not a known label")
    for member, period in (("period", node.period), ("dataPeriod", node.data_period)):
        if period is not None and _backwards(period, zone):
            yield Problem(f"{element}.{member}", "ends before it starts")
    if only_labels is not None:
        listed = node.listed_labels
        reaches_further = not node.permit and node.ranks
        if not listed or reaches_further or any(only_labels.isdisjoint(tables.carried({one})) for one in listed):
            yield Problem(
                f"{element}.securityLabel",
                f"a minor's own choice is about confidential care only: it lists of {', '.join(sorted(only_labels))}",
            )


def _warnings(directive: Directive, tables: Tables, zone: str, known: Known, now: datetime) -> Iterator[Problem]:
    if directive.root is None:
        return
    for node in effects.walk(directive.root):
        yield from _node_warnings(node, tables)
        if known.members is not None and effects.names_nobody(node, known.members):
            yield Problem(
                f"{effects.element_of(node)}.actor",
                "names an organization, role or type that this exchange does not know: nobody is meant by it",
            )
    for node in effects.closed_beside(directive, tables, zone):
        yield Problem(
            effects.element_of(node), "has no effect: a denial in this same choice closes all that it permits"
        )
    others = [one for one in known.others if one.since is None or time.interval(one.since, zone)[0] <= now]
    for node in effects.closed_elsewhere(directive, others, tables, zone):
        yield Problem(effects.element_of(node), "has no effect: another choice in force denies all that it permits")
    for element in effects.outlived(directive, zone, now):
        yield Problem(element, "is over already: this has no effect")
    for element in effects.missing_everything(directive, known.on_file, zone):
        yield Problem(element, "excludes everything on file: no document that you can see is of this time")
    if effects.says_the_rule(directive, others, known.laws, tables):
        yield Problem("Consent.provision", "says what the general rule says anyway, for all holders you can see")


def _node_warnings(node: Node, tables: Tables) -> Iterator[Problem]:
    element = effects.element_of(node)
    if node.permit and node.ranks and node.listed_labels:
        highest = max(node.ranks)
        floors = [tables.floor(tables.carried({label})) for label in node.listed_labels & tables.label_families.keys()]
        if floors and min(floors) > highest:
            letter = next(one for one, rank in RANK.items() if rank == highest)
            yield Problem(
                f"{element}.securityLabel",
                f"reaches nothing: documents with these labels are always above {letter}",
            )
    if not node.permit and "BTG" in node.listed_purposes:
        yield Problem(f"{element}.purpose", "refuses emergency access: in an emergency this is not shown either")


_SIGNED = ("performer", "dateTime")
_TPO = frozenset({"TREAT", "HPAYMT", "HOPERAT"})


def _part2_warnings(resource: Mapping[str, Any], directive: Directive, tables: Tables) -> Iterator[Problem]:
    """What a permit that names records of a substance-use program lacks as a written consent.

    A consent to treatment, payment and operations need not name its recipients; no end means none was set.

    Source: spec/consent.md section 18; 42 CFR 2.31.
    """
    permits = [
        chain
        for chain in (effects.chains(directive.root) if directive.root is not None else ())
        if chain[-1].permit and PART2 in chain[-1].listed_labels
    ]
    lacks = "a written consent to share records of a substance-use program lacks"
    for chain in permits:
        element = effects.element_of(chain[-1])
        purposes = {code for node in chain for code in node.listed_purposes}
        if not purposes:
            yield Problem(f"{element}.purpose", f"{lacks} a purpose")
        known = purposes and all(tables.families.get(code, frozenset()) & _TPO for code in purposes)
        if not known and not any(node.recipients for node in chain):
            yield Problem(f"{element}.actor", f"{lacks} a recipient")
        if not resource.get("organization") and not any(node.custodians for node in chain):
            yield Problem("Consent.organization", f"{lacks} who discloses")
    if permits:
        for member in _SIGNED:
            if not resource.get(member):
                yield Problem(f"Consent.{member}", f"{lacks} a signature with its date")
        if not (resource.get("sourceAttachment") or resource.get("sourceReference")):
            yield Problem("Consent.source", f"{lacks} the text that was signed")


def _backwards(period: Period, zone: str) -> bool:
    since, until = time.bounds(period.start, period.end, zone)
    return since >= until
