"""Labels of a document from all that is known of it: its metadata, security labels and content, by the rules in force.

One rule for what is submitted, relabelled, and answered by another community.

Source: spec/consent.md 3 and 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from consent import labelling
from consent.labelling import LabelTables
from documents import facts
from documents.metadata import EntryMetadata
from hie.standards.facts import CodedContent, Labels


def of_entry(entry: EntryMetadata, found: CodedContent, tables: LabelTables) -> Labels:
    """The labels of an entry with what was found in its bytes; never less than its submitter said."""
    return of(facts.codings(entry), facts.security(entry), found, tables)


def of(
    codings: frozenset[str], security: Iterable[tuple[str, str]], found: CodedContent, tables: LabelTables
) -> Labels:
    """The labels that these codings (``system|code``), security labels (system, code) and content make.

    Who states no letter has said it in the document, where that has one of its own; else it counts as R.
    """
    said = labelling.security(security)
    return labelling.labels_for(
        replace(
            found,
            confidentiality=labelling.highest([found.confidentiality, found.at_least, said.at_least]),
            security_labels=found.security_labels | said.labels,
        ),
        codes=codings,
        confidentiality=said.letter or found.confidentiality,
        labels=frozenset(),
        tables=tables,
    )
