"""Labels found by rule, and decisions put into words."""

from __future__ import annotations

from string import Formatter

import pytest

from consent import explain, labelling, tables
from consent.engine import Tables
from consent.engine.decide import RULES
from consent.explain import Audience
from hie.standards.facts import CodedContent, Decision, Labels

LABEL_TABLES = labelling.LabelTables.from_json(tables.shipped("labels"), Tables.from_json(tables.shipped("codes")))
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LETTER = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def labelled(
    *content: str,
    codes: set[str] = frozenset(),
    letter: str | None = "N",
    given: set[str] = frozenset(),
    **more: object,  # type: ignore[assignment]  # empty default
) -> Labels:
    return labelling.labels_for(
        CodedContent(codes=frozenset(content), **more),  # type: ignore[arg-type]  # named in the test
        codes=frozenset(codes),
        confidentiality=letter,
        labels=frozenset(given),
        tables=LABEL_TABLES,
    )


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (f"{ICD10}|F32.9", "MH"),
        ("http://hl7.org/fhir/sid/icd-10|F329", "MH"),
        ("urn:oid:2.16.840.1.113883.6.90|f32.9", "MH"),
        (f"{ICD10}|F11.20", "OPIOIDUD"),
        (f"{ICD10}|F10.1", "ETHUD"),
        (f"{ICD10}|B20", "HIV"),
        (f"{ICD10}|Z21", "HIV"),
        (f"{ICD10}|A51.0", "STD"),
        (f"{ICD10}|Z30.09", "SEX"),
        (f"{ICD10}|O80", "PREGNANT"),
        (f"{ICD10}|T74.21XA", "SDV"),
        (f"{ICD10}|D57.1", "SICKLE"),
        ("http://hl7.org/fhir/sid/icd-9-cm|042", "HIV"),
        ("http://snomed.info/sct|86406008", "HIV"),
        ("http://loinc.org|44249-1", "MH"),
        ("http://www.nlm.nih.gov/research/umls/rxnorm|1819", "OPIOIDUD"),
        (f"{ACT}|PSY", "PSY"),
        ("urn:oid:2.16.840.1.113883.5.4|SDV", "SDV"),
    ],
)
def test_a_sensitive_code_sets_its_label_and_raises_to_r(code: str, label: str) -> None:
    for found in (
        labelled(code) if not code.rpartition("|")[0].endswith(("ActCode", ".5.4")) else labelled(codes={code}),
        labelled(codes={code}),
    ):
        assert label in found.labels
        assert found.confidentiality == "R"
        assert found.provenance[label]["version"] == LABEL_TABLES.version


@pytest.mark.parametrize(
    "code", [f"{ICD10}|I10", f"{ICD10}|F17.210", f"{ICD10}|Z3", "http://loinc.org|34133-9", "|", "|303", "urn:x|F32.9"]
)
def test_an_ordinary_code_sets_nothing(code: str) -> None:
    found = labelled(code)
    assert (found.labels, found.confidentiality, found.labelled) == (frozenset(), "N", True)


def test_a_local_code_gets_what_the_code_gets_that_it_means() -> None:
    shipped, codes = tables.shipped("labels"), Tables.from_json(tables.shipped("codes"))
    plain = labelling.LabelTables.from_json(shipped, codes)
    same_as = [
        ("urn:oid:1.2.840.1|7", f"{ICD10}|B20"),
        ("urn:oid:1.2.840.1|7", f"{ICD10}|F32.9"),
        ("urn:oid:1.2.840.1|8", "http://loinc.org|34133-9"),
    ]
    made = labelling.LabelTables.from_json(shipped, codes, same_as=same_as)

    def labels(code: str) -> frozenset[str]:
        content = CodedContent(codes=frozenset([code]))
        return labelling.labels_for(
            content, codes=frozenset(), confidentiality="N", labels=frozenset(), tables=made
        ).labels

    assert labels("urn:oid:1.2.840.1|7") == labels("|7") == {"HIV", "MH"}
    assert labels("urn:oid:1.2.840.1|8") == labels("urn:oid:1.2.840.2|7") == frozenset()
    assert labels(f"{ICD10}|B20") == {"HIV"}
    harmless = labelling.LabelTables.from_json(shipped, codes, same_as=[("urn:x|8", "http://loinc.org|34133-9")])
    assert plain.digest == LABEL_TABLES.digest == harmless.digest != made.digest


def test_labels_and_letters_are_only_ever_raised() -> None:
    assert labelled(letter="V").confidentiality == "V"
    assert labelled(letter="N", confidentiality="R").confidentiality == "R"
    assert labelled(letter="R", confidentiality="N").confidentiality == "R"
    assert labelled(letter=None).confidentiality == "R"
    assert labelled(codes={f"{LETTER}|V"}).confidentiality == "V"
    kept = labelled(f"{ICD10}|B20", given={"VIP"})
    assert kept.labels == {"VIP", "HIV"}
    assert kept.provenance["VIP"]["rule"] == "custodian"


def test_a_security_label_of_unknown_meaning_raises_the_letter() -> None:
    found = labelled(security_labels=frozenset({"SOMETHING"}))
    assert (found.labels, found.confidentiality) == (frozenset(), "R")
    assert found.provenance["SOMETHING"]["rule"] == "security-label"


@pytest.mark.parametrize("audience", list(Audience))
def test_every_rule_has_a_sentence_for_everybody_and_no_bare_brace_is_shown(audience: Audience) -> None:
    for rule in RULES:
        text = explain.sentence(Decision(permitted=rule.permits, rule=rule.rule, reason=rule.reason), audience)
        assert text
        assert "{" not in text
        assert text[0].isupper() or text[0] in '"2'


def test_names_are_filled_in_and_never_read_as_templates() -> None:
    decision = Decision(permitted=True, rule="D2", reason="break-glass")
    text = explain.sentence(decision, Audience.PATIENT, {"p": "Dr {o}", "reason": "found {p} {0}"})
    assert text == 'Dr {o} opened this in an emergency: "found {p} {0}". It will be checked, and you can object.'
    assert explain.sentence(Decision(permitted=False, rule="D7", reason=""), Audience.PATIENT) == (
        "Your choice does not reach this document."
    )


def test_participants_hear_the_same_of_every_refusal_that_rests_on_a_record() -> None:
    hidden = {rule.rule for rule in RULES if not rule.permits} - {"G1", "G2", "G4", "G5", "G6", "G7"}
    said = {explain.template(rule, Audience.PARTICIPANT) for rule in hidden}
    assert len(said) == 1


def test_every_place_in_a_sentence_has_a_general_word() -> None:
    for audience in Audience:
        for rule in RULES:
            names = {name for _, name, _, _ in Formatter().parse(explain.template(rule.rule, audience)) if name}
            assert names <= explain._UNNAMED.keys()


def test_a_language_that_is_not_there_yet_falls_back_to_english() -> None:
    assert explain.template("D3", Audience.PATIENT, "es") == explain.template("D3", Audience.PATIENT)
    assert explain.key("D3", Audience.PATIENT) == "consent.D3.patient"
