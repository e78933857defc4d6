"""Each sentence by itself is easy: by a formula in English and Spanish, by its length in Arabic, whatever fills it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.utils import translation

from consent import explain
from hie.exchange import access_log_lines as log
from hie.faces.portal import words
from tests.portal.test_words import PURPOSES, filled, grade, inflesz, marked

FIXED = {"G7"}
"""Sentences whose words the consent reference fixes (spec/consent.md 14.1), and which no formula likes."""
RULES = {rule: explain.template(rule, explain.Audience.PATIENT) for rule in explain._PATIENT if rule not in FIXED}
THEIRS = {f"{rule} of a helper": text for rule, text in words.THEIR_RULES.items()}
WOULD = {f"{rule} as it would be": text for rule, text in words.WOULD.items()}
LOG = [
    log.HELD_BACK,
    log.HELD_BACK_BY_OFFICE,
    *log.SENTENCES.values(),
    *words.THEIRS.values(),
    *RULES.values(),
    *THEIRS.values(),
    *WOULD.values(),
]
IN_SPANISH = {
    "who": "ella, médica en ella,", "kind": "carta", "count": "4", "recipient": "ella", "p": "ella", "o": "ella", "o2": "ella",
    "c": "su decisión del 3 de mayo", "n": "12", "reason": "No podía hablar", "jurisdiction": "ella", "w": "atención",
    "what": "registro de acceso", "organization": "ella", "office": "ella", "contact": "ella",
}  # fmt: skip


def sentences(text: str) -> list[str]:
    """The sentences of a text, less the names and numbers that fill it."""
    plain = re.sub(r"%\(\w+\)s|\{\w+\}|<[^>]+>", "x", text)
    return [part for part in re.split(r"[.!?:;؟؛]+(?:\s|$)", plain) if part.strip()]


@pytest.mark.parametrize(("rule", "template"), sorted((RULES | THEIRS | WOULD).items()))
def test_the_sentence_of_a_rule_reads_at_grade_eight_or_below(rule: str, template: str) -> None:
    for text in filled(template):
        assert grade(text) <= 8, text
        assert all(len(one.split()) <= 20 for one in sentences(text)), text


def in_spanish(template: str) -> Iterator[str]:
    with translation.override("es"):
        text = translation.ngettext(template, template, 4) if "{count}" in template else translation.gettext(template)
        reasons = [translation.gettext(why) for why in sorted(PURPOSES)] if "{why}" in text else [""]
    for why in reasons:
        yield text.format(**IN_SPANISH, why=why)


@pytest.mark.parametrize("template", sorted(set(LOG)))
def test_a_sentence_of_the_log_is_easy_in_spanish(template: str) -> None:
    """INFLESZ above 55 is what pupils of twelve to fifteen read: grade eight or below."""
    for text in in_spanish(template):
        assert inflesz(text) > 55, text
        assert all(len(one.split()) <= 20 for one in sentences(text)), text


def test_the_log_is_quite_easy_in_spanish_taken_together() -> None:
    told = [text for template in LOG for text in in_spanish(template)]
    assert sum(map(inflesz, told)) / len(told) > 65


def test_no_sentence_of_a_page_is_long_or_hard_in_another_language() -> None:
    texts = list(dict.fromkeys(text for text in marked() if text))
    assert len(texts) > 300
    with translation.override("ar"):
        for text in [*texts, *LOG]:
            for one in sentences(translation.gettext(text)):
                assert len(one.split()) <= 20, one
    with translation.override("es"):
        for text in texts:
            said = re.sub(r"%\(\w+\)s|\{\w+\}|<[^>]+>", "ella", translation.gettext(text))
            assert all(len(one.split()) <= 24 for one in sentences(said)), said
            if len(text.split()) > 5 and text.endswith("."):
                assert inflesz(said) > 45, said


@pytest.mark.parametrize("language", ["es", "ar"])
def test_every_plural_form_is_written_out(language: str) -> None:
    path = words.__file__.rpartition("/")[0] + f"/locale/{language}/LC_MESSAGES/django.po"
    with open(path, encoding="utf-8") as file:
        blocks = [block for block in file.read().split("\n\n") if "msgid_plural" in block]
    count = {"es": 3, "ar": 6}[language]
    assert len(blocks) > 10
    for block in blocks:
        forms = re.findall(r'^msgstr\[(\d)\] "(.+)"$', block, re.MULTILINE)
        assert [int(number) for number, _ in forms] == list(range(count)), block
