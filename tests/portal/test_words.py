"""The words of the portal: complete in every language, and easy to read."""

from __future__ import annotations

import ast
import gettext as stdlib_gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils import translation
from django.utils.translation.template import templatize

from consent import explain
from hie.exchange import access_log_lines as log
from hie.faces.portal import words
from hie.faces.portal.filters import REASONS, RESULTS
from tests.portal.conftest import busy_log, signed_in

PORTAL = Path(words.__file__).parent
PURPOSES = set(log.PURPOSE_WORDS.values())
RULES = [explain.template(rule, explain.Audience.PATIENT) for rule in explain._PATIENT]
TABLES = [
    *log.SENTENCES.values(),
    *words.THEIRS.values(),
    *log.PURPOSE_WORDS.values(),
    *words.THEIR_WHY.values(),
    *log.ROLE_WORDS.values(),
    *words.WHAT.values(),
    *words.THEIR_RULES.values(),
    *explain.PURPOSE_WORDS.values(),
    *RULES,
    *REASONS.values(),
    *RESULTS.values(),
    words.FOR_THE_PURPOSE,
    log.HELD_BACK,
    log.HELD_BACK_BY_OFFICE,
    words.UNKNOWN_ROLE,
]


def marked() -> Iterator[str]:
    """Every message marked for translation in the code and templates of the portal."""
    sources = [path.read_text() for path in sorted(PORTAL.glob("*.py"))]
    sources += [templatize(path.read_text()) for path in sorted((PORTAL / "templates/portal").glob("*.html"))]
    for source in sources:
        # What `templatize` leaves of a template is calls of gettext between other characters.
        calls = re.findall(r"(?:n?p?gettext(?:_noop)?|(?<![A-Za-z_])_)\((?:u?(\"[^\"]*\"|'[^']*'))", source)
        yield from (ast.literal_eval(call) for call in calls)
        for node in ast.walk(ast.parse(source)) if source.startswith('"""') else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"gettext", "ngettext", "gettext_noop"}:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield str(first.value)


def catalogue(language: str) -> dict[object, str]:
    path = PORTAL / "locale" / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as compiled:
        return dict(stdlib_gettext.GNUTranslations(compiled)._catalog)  # type: ignore[attr-defined]  # no public way to list


@pytest.mark.parametrize("language", ["es", "ar"])
def test_every_word_is_there_in_every_language(language: str) -> None:
    found = catalogue(language)
    plain = {key[0] if isinstance(key, tuple) else str(key) for key in found}
    known = {key.rpartition("\x04")[2] for key in plain}
    contexts = {f"who\x04{text}" for text in log.WHO.values()}
    missing = {text for text in [*marked(), *TABLES] if text not in known and text not in {"person", "result", "who"}}
    assert missing == set()
    assert contexts - plain == set()
    assert [key for key, text in found.items() if not text] == []


@pytest.mark.parametrize("language", ["es", "ar"])
def test_a_translation_names_the_same_places_as_its_original(language: str) -> None:
    place = re.compile(r"\{\w+\}|%\(\w+\)s")
    for key, text in catalogue(language).items():
        original = str(key[0] if isinstance(key, tuple) else key)
        assert set(place.findall(text)) <= set(place.findall(original)), original
        if not isinstance(key, tuple):
            assert set(place.findall(text)) == set(place.findall(original)), original


def test_the_compiled_catalogues_are_those_of_the_text() -> None:
    for language in ("es", "ar"):
        text = (PORTAL / "locale" / language / "LC_MESSAGES" / "django.po").read_text()
        assert "fuzzy" not in text
        written = set(re.findall(r'^msgid "(.+)"$', text, re.MULTILINE))
        compiled = {str(k[0] if isinstance(k, tuple) else k).rpartition("\x04")[2] for k in catalogue(language)}
        assert {one.replace('\\"', '"').replace("\\\\", "\\") for one in written} == compiled - {""}


# --- reading level -----------------------------------------------------------------------------


def syllables(word: str) -> int:
    """Groups of vowels, without a silent e at the end."""
    groups = re.findall(r"[aeiouy]+", word.lower())
    silent = word.lower().endswith(("e", "es", "ed")) and not word.lower().endswith(("le", "ted", "ded", "ses", "ges"))
    return max(1, len(groups) - (1 if silent and len(groups) > 1 else 0))


def grade(text: str) -> float:
    """Flesch-Kincaid grade."""
    sentences = [part for part in re.split(r"[.!?:;]+(?:\s|$)", text) if part.strip()]
    found = re.findall(r"[A-Za-z0-9’']+", text)
    return 0.39 * len(found) / len(sentences) + 11.8 * sum(map(syllables, found)) / len(found) - 15.59


def filled(template: str) -> Iterator[str]:
    """A template without names of people and places, with each reason."""
    values = {
        "who": "she, heart doctor at it,",
        "kind": "letter",
        "count": "4",
        "what": "access log",
        "recipient": "it",
        "p": "she",
        "o": "it",
        "organization": "it",
        "office": "it",
        "contact": "it",
    }
    values |= {
        "o2": "it",
        "c": "your choice of 3 May",
        "n": "12",
        "reason": "She could not speak",
        "jurisdiction": "it",
    }
    for why in sorted(PURPOSES) if "{why}" in template else [""]:
        for purpose in ("treatment", "payment") if "{w}" in template else [""]:
            yield template.format(**values, why=why, w=purpose)


@pytest.mark.parametrize(
    "template", sorted({*log.SENTENCES.values(), *words.THEIRS.values(), log.HELD_BACK, log.HELD_BACK_BY_OFFICE})
)
def test_a_sentence_of_the_log_reads_at_grade_eight_or_below(template: str) -> None:
    for text in filled(template):
        assert grade(text) <= 8, text
        assert all(len(part.split()) <= 20 for part in text.split(". ")), text


def test_the_sentences_of_rules_read_at_grade_eight_or_below_taken_together() -> None:
    texts = [text for template in RULES for text in filled(template)]
    assert grade(" ".join(texts)) <= 8


def test_the_pages_read_at_grade_eight_or_below() -> None:
    texts = [text for text in marked() if len(text.split()) > 5 and text.endswith(".")]
    assert len(texts) > 25
    for text in texts:
        assert grade(re.sub(r"%\(\w+\)s|\{\w+\}|<[^>]+>", "it", text)) <= 8, text


def inflesz(text: str) -> float:
    """Szigriszt-Pazos: above 65 is easy or quite easy."""
    found = re.findall(r"[a-záéíóúüñ]+", text.lower())
    sentences = [part for part in re.split(r"[.!?:;]+(?:\s|$)", text) if part.strip()]
    vowels = sum(max(1, len(re.findall(r"[aeiouáéíóúü]+", word))) for word in found)
    return 206.835 - 62.3 * vowels / len(found) - len(found) / len(sentences)


def test_the_log_is_easy_in_spanish_and_short_in_arabic() -> None:
    with translation.override("es"):
        texts = [translation.gettext(text) for text in [*log.SENTENCES.values(), *RULES] if "{count}" not in text]
        assert inflesz(" ".join(re.sub(r"\{\w+\}", "ella", text) for text in texts)) > 65
    with translation.override("ar"):
        for text in [*log.SENTENCES.values(), *RULES]:
            assert len(translation.gettext(text).split()) <= 20


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "es",
            [
                "abrió 3 de sus documentos para atenderle.",
                "En los últimos 30 días, 3 organizaciones vieron su historial.",
                "Rechazado",
            ],
        ),
        ("ar", ["فتح ٣ من وثائقك لعلاجك.", "في آخر ٣٠ يومًا اطّلعت ٣ جهات على سجلك.", "رُفض"]),
    ],
)
def test_the_log_is_told_in_the_readers_language(alice: str, language: str, expected: list[str]) -> None:
    busy_log(alice)
    client: Client = signed_in()
    client.post("/my/language", {"language": language})
    page = client.get("/my/").content.decode()
    for text in expected:
        assert text in page
    for english in ("Shown under", "Refused because", "See details", "Nothing was shown", ">Today<"):
        assert english not in page
