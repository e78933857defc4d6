"""What makes a directive wrong at filing, and what is worth a warning. Pure.

Filing refuses what the engine could not read, codes it does not know, periods
that end before they start and trees that nobody can follow. Warnings are said in
plain words and do not stop anything.

Source: spec/consent.md section 5.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from consent.engine import time
from consent.engine.codes import RANK, Tables
from consent.engine.directive import Directive, Node, Period, Problem, compile_directive

MAX_DEPTH = 6
MAX_PROVISIONS = 200


@dataclass(frozen=True, slots=True)
class Checked:
    """A resource as read for filing: the directive, why it is refused, and warnings."""

    directive: Directive
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check(
    resource: object,
    *,
    tables: Tables,
    patient_ids: frozenset[str] | None = None,
    zone: str = "UTC",
    others: Iterable[Directive] = (),
) -> Checked:
    """Read a Consent for filing.

    `patient_ids`: the ids the patient reference may have (None: not checked here); `others`:
    the patient's directives in force, for warnings.
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
    warnings: list[Problem] = []
    if directive.root is not None:
        for node in _walk(directive.root):
            problems.extend(_node_problems(node, tables, zone))
            warnings.extend(_node_warnings(node, tables))
        if directive.root.permit and any(_denies_all(other) for other in others):
            warnings.append(
                Problem("Consent.provision", "will have no effect: another active choice denies everything")
            )
    return Checked(directive, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


def in_force_bounds(directive: Directive) -> tuple[str | None, str | None]:
    """(start, end) date text of the widest time a directive can count."""
    starts = [one for one in (directive.since, directive.period.start if directive.period else None) if one]
    return (max(starts) if starts else None), (directive.period.end if directive.period else None)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _node_problems(node: Node, tables: Tables, zone: str) -> Iterator[Problem]:
    element = _element(node)
    for code in sorted(node.listed_purposes - tables.families.keys()):
        yield Problem(f"{element}.purpose", f"{code} is not a known purpose")
    for code in sorted(node.listed_labels - tables.label_families.keys()):
        yield Problem(f"{element}.securityLabel", f"{code} is not a known label")
    for member, period in (("period", node.period), ("dataPeriod", node.data_period)):
        if period is not None and _backwards(period, zone):
            yield Problem(f"{element}.{member}", "ends before it starts")


def _node_warnings(node: Node, tables: Tables) -> Iterator[Problem]:
    element = _element(node)
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
    if node.permit and any(_unlimited(child) and not child.permit for child in node.children):
        yield Problem(element, "has an exception that denies everything: the permit has no effect")


def _unlimited(node: Node) -> bool:
    criteria = (node.purposes, node.actions, node.recipients, node.custodians, node.authors, node.classes, node.codes)
    return (
        all(one is None for one in criteria)
        and not (node.labels_given or node.other_actor or node.children)
        and node.period is None
        and node.data is None
        and node.data_period is None
    )


def _denies_all(directive: Directive) -> bool:
    if not directive.counts or (directive.research and not directive.privacy):
        return False
    return directive.root is None or (not directive.root.permit and _unlimited(directive.root))


def _element(node: Node) -> str:
    if node.path in ("provision", "policyRule"):
        return "Consent.provision"
    return f"Consent.provision.{node.path}"


def _backwards(period: Period, zone: str) -> bool:
    since, until = time.bounds(period.start, period.end, zone)
    return since >= until
