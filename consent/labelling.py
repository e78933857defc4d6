"""Sensitivity labels from codes: pure value-set rules that only ever raise.

Reads the entry's own codes and the codes found in the content; records for each
label the rule and the version that set it. Never lowers what the custodian set.

A code counts in whatever way its system is spelled (`oids.kin_scheme`). One without a
system may be of any: what a value set has under that code, it gets.

Source: spec/consent.md section 8.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from consent.engine.codes import (
    ACT_CODE,
    CONFIDENTIALITY,
    LETTERS,
    RANK,
    RANK_R,
    RANK_V,
    Tables,
)
from hie.standards import oids
from hie.standards.facts import CodedContent, Labels

READ_AS = 2
"""Raised whenever documents are read or matched in another way: registered ones are then gone over again."""
_SNOMED = "http://snomed.info/sct"
_CONCEPT = re.compile(r"[0-9]{6,18}", re.ASCII)
# What looks like a code of ICD though nobody says so; three digits alone would be many other things.
_LIKE_ICD10 = re.compile(r"[A-Z][0-9][0-9A-Z][0-9A-Z]{0,4}\Z", re.ASCII)
_LIKE_ICD9 = re.compile(r"([0-9]{3}\.[0-9]{1,2}|[0-9]{5}|042|V[0-9]{2}\.?[0-9]{0,2}|E[0-9]{3}\.?[0-9]?)\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTables:
    """The labelling rules, compiled: code to (label, rule), and code prefixes by system."""

    version: str
    codes: Mapping[str, tuple[tuple[str, str], ...]]
    prefixes: Mapping[str, Mapping[str, tuple[tuple[str, str], ...]]]
    sections: Mapping[str, tuple[tuple[str, str], ...]]
    tables: Tables
    bare: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # by code, whatever the system
    digest: str = ""  # changes with whatever can change a label: the rules, the labels and floors, what reads them

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], tables: Tables, *, same_as: Iterable[tuple[str, str]] = ()
    ) -> LabelTables:
        """Compile `consent/data/labels.json`.

        `same_as`: codes that mean another besides, ``system|code`` and ``system|code``: they get what that one gets.

        Raises:
            ValueError: a rule names a label outside the table.
        """
        codes: dict[str, list[tuple[str, str]]] = {}
        sections: dict[str, list[tuple[str, str]]] = {}
        bare: dict[str, list[tuple[str, str]]] = {}
        prefixes: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for rule in data["rules"]:
            label, name = rule["label"], rule["id"]
            if label not in tables.label_families:
                raise ValueError(f"labelling rule {name} sets the unknown label {label}")
            for code in rule.get("codes", ()):
                system, _, value = code.rpartition("|")
                codes.setdefault(f"{oids.kin_scheme(system)}|{value}", []).append((label, name))
                bare.setdefault(value, []).append((label, name))
            for section in rule.get("sections", ()):
                sections.setdefault(section, []).append((label, name))
            for member, systems in (("icd10Prefixes", "icd10Systems"), ("icd9Prefixes", "icd9Systems")):
                for prefix in rule.get(member, ()):
                    for system in sorted({oids.kin_scheme(one) for one in data.get(systems, ())}):
                        prefixes.setdefault(system, {}).setdefault(_plain(prefix), []).append((label, name))
        made = cls(
            version=str(data["version"]),
            codes=_frozen(codes),
            prefixes={system: _frozen(found) for system, found in prefixes.items()},
            sections=_frozen(sections),
            tables=tables,
            bare=_frozen(bare),
        )
        judged = _judged(made, same_as)
        return replace(_with_meanings(made, judged), digest=_digest(data, tables, judged))


def labels_of(code: str, tables: LabelTables) -> frozenset[str]:
    """The labels that the rules give one code (``system|code``)."""
    return frozenset(label for label, _ in _found(code, tables))


def _judged(tables: LabelTables, same_as: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the codes that mean another, those whose meaning the rules judge: the others change no label."""
    return sorted({(code, other) for code, other in same_as if any(True for _ in _found(other, tables))})


def _with_meanings(tables: LabelTables, judged: Iterable[tuple[str, str]]) -> LabelTables:
    codes, bare = dict(tables.codes), dict(tables.bare)
    for code, other in judged:
        found = tuple(dict.fromkeys(_found(other, tables)))
        system, _, value = code.rpartition("|")
        key = f"{oids.kin_scheme(system)}|{value}"
        codes[key] = (*codes.get(key, ()), *found)
        bare[value] = (*bare.get(value, ()), *found)
    return replace(tables, codes=codes, bare=bare)


def labels_for(
    content: CodedContent,
    *,
    codes: frozenset[str],
    confidentiality: str | None,
    labels: frozenset[str],
    tables: LabelTables,
) -> Labels:
    """The labels of an entry: what the custodian set, and what the rules find, never less.

    `codes`: every coding of the entry (``system|code``; ``|code`` without a system), its security labels among them;
    `confidentiality`: the letter the custodian gave (None counts as R); `labels`: the
    labels it gave. A security label that the hub's table does not have raises the letter to R:
    its meaning is unknown, and somebody meant to protect something.

    The result is `labelled`: the service ran. A caller that could not read the bytes
    of a kind that holds codes decides for itself whether that counts.
    """
    provenance: dict[str, dict[str, str]] = {}
    for label in sorted(labels):
        _note(provenance, label, "custodian", tables)
    # Among the codes of a content there are other ActCodes (of encounters, say): only what is a label counts there.
    inside = _of_system(content.codes, ACT_CODE) & tables.tables.label_families.keys()
    for label in sorted(content.security_labels | _of_system(codes, ACT_CODE) | inside):
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
    return Labels(
        labels=known, confidentiality=LETTERS[max(ranks)], labelled=True, provenance=provenance, rules=tables.digest
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Security labels as sent, sorted: the `letter` they state; a letter of no or another system, which may only
    raise (`at_least`); and what else protects, `labels` and codes of unknown meaning."""

    letter: str | None = None
    at_least: str | None = None
    labels: frozenset[str] = frozenset()


def security(codings: Iterable[tuple[str, str]]) -> Said:
    """Security labels (system, code) sorted by what they say.

    Somebody meant to protect something: a label counts whatever its system is, or without one; a letter of no or
    another system does not stand for the one that is missing, but is never undercut.
    """
    letters: set[str] = set()
    raising: set[str] = set()
    labels: set[str] = set()
    for system, code in codings:
        if code not in RANK:
            labels.add(code)
        else:
            (letters if oids.compared_scheme(system) == CONFIDENTIALITY else raising).add(code)
    return Said(letter=highest(letters), at_least=highest(raising), labels=frozenset(labels))


def highest(letters: Iterable[str | None]) -> str | None:
    """The most confidential of the letters; None when there is none. What is no letter counts as V."""
    found = [letter for letter in letters if letter]
    return LETTERS[max(RANK.get(letter, RANK_V) for letter in found)] if found else None


def _digest(data: Mapping[str, Any], tables: Tables, judged: list[tuple[str, str]]) -> str:
    known = {label: sorted(family) for label, family in tables.label_families.items()}
    # Without meanings it is what it was before there were any: registered documents need not be gone over for that.
    parts = (READ_AS, data, known, dict(tables.floors), *([judged] if judged else []))
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _note(provenance: dict[str, dict[str, str]], label: str, rule: str, tables: LabelTables) -> None:
    provenance.setdefault(label, {"rule": rule, "version": tables.version})


def _of_system(codes: Iterable[str], wanted: str) -> frozenset[str]:
    pairs = (code.rpartition("|") for code in codes)
    return frozenset(code for system, _, code in pairs if oids.compared_scheme(system) == wanted)


def _found(code: str, tables: LabelTables) -> Iterator[tuple[str, str]]:
    spelled, _, value = code.rpartition("|")
    system, value = oids.kin_scheme(spelled), value.strip()
    if not system:
        yield from tables.bare.get(value, ())
        yield from _by_prefix(value, tables.prefixes)
        return
    yield from tables.codes.get(f"{system}|{value}", ())
    if system == _SNOMED and not value.isdigit():  # an expression holds several concepts
        for concept in _CONCEPT.findall(code.partition("|")[2]):  # the terms of an expression stand between bars
            yield from tables.codes.get(f"{system}|{concept}", ())
    if system in tables.prefixes:
        yield from _by_prefix(value, {system: tables.prefixes[system]}, sure=True)


def _by_prefix(
    value: str, prefixes: Mapping[str, Mapping[str, tuple[tuple[str, str], ...]]], *, sure: bool = False
) -> Iterator[tuple[str, str]]:
    plain, written = _plain(value), value.strip().upper()
    for system, known in prefixes.items():
        like = _LIKE_ICD9.match(written) if "icd-9" in system else _LIKE_ICD10.match(plain)
        if sure or like:
            for length in range(2, len(plain) + 1):
                yield from known.get(plain[:length], ())


def _plain(code: str) -> str:
    """An ICD code as compared: without the point, in capitals."""
    return code.replace(".", "").strip().upper()


def _frozen(found: Mapping[str, list[tuple[str, str]]]) -> dict[str, tuple[tuple[str, str], ...]]:
    return {key: tuple(value) for key, value in found.items()}
