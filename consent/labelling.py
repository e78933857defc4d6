"""Sensitivity labels from codes: pure value-set rules that only ever raise.

Reads the entry's own codes and the codes found in the content; records for each
label the rule and the version that set it. Never lowers what the custodian set.

Source: spec/consent.md section 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consent.engine.codes import (
    ACT_CODE,
    CONFIDENTIALITY,
    LETTERS,
    RANK,
    RANK_R,
    RANK_V,
    Tables,
    canonical_system,
)
from hie.standards.facts import CodedContent, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTables:
    """The labelling rules, compiled: code to (label, rule), and code prefixes by system."""

    version: str
    codes: Mapping[str, tuple[tuple[str, str], ...]]
    prefixes: Mapping[str, Mapping[str, tuple[tuple[str, str], ...]]]
    sections: Mapping[str, tuple[tuple[str, str], ...]]
    tables: Tables

    @classmethod
    def from_json(cls, data: Mapping[str, Any], tables: Tables) -> LabelTables:
        """Compile `consent/data/labels.json`.

        Raises:
            ValueError: a rule names a label outside the table.
        """
        codes: dict[str, list[tuple[str, str]]] = {}
        sections: dict[str, list[tuple[str, str]]] = {}
        prefixes: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for rule in data["rules"]:
            label, name = rule["label"], rule["id"]
            if label not in tables.label_families:
                raise ValueError(f"labelling rule {name} sets the unknown label {label}")
            for code in rule.get("codes", ()):
                codes.setdefault(code, []).append((label, name))
            for section in rule.get("sections", ()):
                sections.setdefault(section, []).append((label, name))
            for member, systems in (("icd10Prefixes", "icd10Systems"), ("icd9Prefixes", "icd9Systems")):
                for prefix in rule.get(member, ()):
                    for system in data.get(systems, ()):
                        prefixes.setdefault(system, {}).setdefault(_plain(prefix), []).append((label, name))
        return cls(
            version=str(data["version"]),
            codes=_frozen(codes),
            prefixes={system: _frozen(found) for system, found in prefixes.items()},
            sections=_frozen(sections),
            tables=tables,
        )


def labels_for(
    content: CodedContent,
    *,
    codes: frozenset[str],
    confidentiality: str | None,
    labels: frozenset[str],
    tables: LabelTables,
) -> Labels:
    """The labels of an entry: what the custodian set, and what the rules find, never less.

    `codes`: the entry's type, class, event and confidentiality codes (``system|code``);
    `confidentiality`: the letter the custodian gave (None counts as R); `labels`: the
    labels it gave. A security label that the hub's table does not have raises the letter to R:
    its meaning is unknown, and somebody meant to protect something.

    The result is `labelled`: the service ran. A caller that could not read the bytes
    of a kind that holds codes decides for itself whether that counts.
    """
    provenance: dict[str, dict[str, str]] = {}
    for label in sorted(labels):
        _note(provenance, label, "custodian", tables)
    for label in sorted(content.security_labels | _of_system(codes, ACT_CODE)):
        _note(provenance, label, "security-label", tables)
    for code in sorted(codes | content.codes):
        for label, rule in _found(code, tables):
            _note(provenance, label, rule, tables)
    for section in sorted(content.sections):
        for label, rule in tables.sections.get(section, ()):
            _note(provenance, label, rule, tables)
    known = frozenset(label for label in provenance if label in tables.tables.label_families)
    ranks = [RANK_R if confidentiality is None else RANK.get(confidentiality, RANK_V)]
    if content.confidentiality is not None:
        ranks.append(RANK.get(content.confidentiality, RANK_V))
    ranks.extend(RANK.get(letter, RANK_V) for letter in _of_system(codes, CONFIDENTIALITY))
    ranks.append(tables.tables.floor(tables.tables.carried(known)))
    if len(known) < len(provenance):
        ranks.append(RANK_R)
    return Labels(labels=known, confidentiality=LETTERS[max(ranks)], labelled=True, provenance=provenance)


def _note(provenance: dict[str, dict[str, str]], label: str, rule: str, tables: LabelTables) -> None:
    provenance.setdefault(label, {"rule": rule, "version": tables.version})


def _of_system(codes: Iterable[str], wanted: str) -> frozenset[str]:
    pairs = (code.rpartition("|") for code in codes)
    return frozenset(code for system, _, code in pairs if canonical_system(system) == wanted)


def _found(code: str, tables: LabelTables) -> Iterator[tuple[str, str]]:
    yield from tables.codes.get(code, ())
    system, _, value = code.rpartition("|")
    prefixes = tables.prefixes.get(system)
    if prefixes:
        plain = _plain(value)
        for length in range(2, len(plain) + 1):
            yield from prefixes.get(plain[:length], ())


def _plain(code: str) -> str:
    """An ICD code as compared: without the point, in capitals."""
    return code.replace(".", "").strip().upper()


def _frozen(found: Mapping[str, list[tuple[str, str]]]) -> dict[str, tuple[tuple[str, str], ...]]:
    return {key: tuple(value) for key, value in found.items()}
