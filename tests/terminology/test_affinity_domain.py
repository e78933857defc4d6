"""The affinity domain: loading, modes, retiring."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from hie.standards.errors import HubError
from hie.terminology.affinity_domain import Asked, Verdict, check, load
from hie.terminology.models import Code, CodeSet

pytestmark = pytest.mark.django_db
CODES = Path(os.environ.get("HIE_SHARED", "../shared")) / "spec" / "affinity-domain" / "codes.xml"
A = Asked(attribute="classCode", code="A", scheme="urn:oid:2.999.9")
B = Asked(attribute="classCode", code="B", scheme="urn:oid:2.999.9")


def file(*codes: str, name: str = "classCode") -> bytes:
    inner = "".join(f'<Code code="{c}" codingScheme="2.999.9" display="{c}"/>' for c in codes)
    return f'<Codes><CodeType name="{name}">{inner}</CodeType></Codes>'.encode()


def test_nothing_loaded_accepts_everything() -> None:
    assert check([A]) == {A: Verdict.ACCEPTED}


@pytest.mark.parametrize(
    ("mode", "verdict"), [("enforce", Verdict.REFUSED), ("warn", Verdict.WARN), ("off", Verdict.ACCEPTED)]
)
def test_a_code_outside_its_set_is_judged_by_the_mode(mode: str, verdict: Verdict) -> None:
    load(file("A"), source="t", mode=mode)
    other = Asked(attribute="typeCode", code="x", scheme="y")
    assert check([A, B, other]) == {A: Verdict.ACCEPTED, B: verdict, other: Verdict.ACCEPTED}


def test_a_code_of_the_same_letters_in_another_scheme_is_another_code() -> None:
    load(file("A"), source="t")
    foreign = Asked(attribute="classCode", code="A", scheme="urn:oid:2.999.8")
    assert check([foreign]) == {foreign: Verdict.REFUSED}


def test_a_set_has_the_mode_of_its_file_unless_staff_chose_one() -> None:
    strict = file("A").replace(b"<CodeType ", b"<CodeType mode='warn' ")
    modes = []
    for data, mode in ((strict, None), (file("A"), None), (file("A"), "off"), (file("A"), None)):
        load(data, source="t", mode=mode)
        modes.append(CodeSet.objects.get().mode)
    assert modes == ["warn", "enforce", "off", "enforce"]
    CodeSet.objects.update(mode=CodeSet.Mode.OFF, mode_chosen=True)
    load(file("B"), source="t")
    assert CodeSet.objects.get().mode == "off"
    load(strict, source="t")
    load(file("B"), source="t")
    assert CodeSet.objects.get().mode == "enforce"


def test_a_file_replaces_its_sets_retires_what_is_gone_and_keeps_the_mode_that_staff_chose() -> None:
    load(file("A"), source="one")
    CodeSet.objects.update(mode=CodeSet.Mode.WARN, mode_chosen=True)
    (loaded,) = load(file("B"), source="two")
    assert (loaded.codes, loaded.added, loaded.retired) == (1, 1, 1)
    assert check([A, B]) == {A: Verdict.WARN, B: Verdict.ACCEPTED}
    assert CodeSet.objects.get().source == "two"
    assert load(file("A", "B"), source="three")[0].added == 0
    assert Code.objects.filter(active=True).count() == 2


@pytest.mark.parametrize(
    "data",
    [
        b"<Codes/>",
        b"<Codes><CodeType><Code code='a' codingScheme='1.2'/></CodeType></Codes>",
        b"<Codes><CodeType name='x'><Code codingScheme='1.2'/></CodeType></Codes>",
        b"<Codes><CodeType name='x'><Code code='a'/></CodeType></Codes>",
        b"<!DOCTYPE a><Codes/>",
        b"nothing",
    ],
)
def test_an_unusable_file_changes_nothing(data: bytes) -> None:
    with pytest.raises(HubError):
        load(data, source="t")
    assert not CodeSet.objects.exists()


def test_a_retired_code_is_out_though_its_whole_system_is_in() -> None:
    load(file("*", "A"), source="t")
    assert check([A, B]) == {A: Verdict.ACCEPTED, B: Verdict.ACCEPTED}
    Code.objects.filter(code="A").update(active=False)
    assert check([A, B]) == {A: Verdict.REFUSED, B: Verdict.ACCEPTED}
    Code.objects.filter(code="*").update(active=False)
    assert check([B]) == {B: Verdict.REFUSED}


def test_a_set_has_a_version_each_time_that_it_changes_and_none_when_it_does_not() -> None:
    load(file("A"), source="one", by="first")
    load(file("A"), source="one", by="nobody")
    load(file("B"), source="one", by="second")
    (row,) = CodeSet.objects.all()
    found = [(version.number, version.made_by, version.codes) for version in row.versions.order_by("number")]
    assert found == [(1, "first", [["A", A.scheme, "A"]]), (2, "second", [["B", A.scheme, "B"]])]


def test_a_mode_that_is_none_is_refused_whole() -> None:
    with pytest.raises(HubError) as refused:
        load(file("A").replace(b"<CodeType ", b"<CodeType mode='strict' "), source="t")
    assert refused.value.element == "CodeType/@mode"
    assert not CodeSet.objects.exists()


@pytest.mark.shared
def test_the_command_loads_the_connectathon_set(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("affinity_domain", str(CODES))
    assert "typeCode: " in capsys.readouterr().out
    for attribute, code, scheme in (
        ("confidentialityCode", "R", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"),
        ("formatCode", "urn:ihe:pcc:xds-ms:2007", "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"),
        ("mimeType", "application/pdf", ""),
        ("mimeType", "Text/XML; charset=utf-8", ""),
    ):
        asked = Asked(attribute=attribute, code=code, scheme=scheme)
        assert check([asked]) == {asked: Verdict.ACCEPTED}, asked
    call_command("affinity_domain", str(CODES))
    assert not Code.objects.filter(active=False).exists()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        call_command("affinity_domain", str(tmp_path / "absent.xml"))
    bad = tmp_path / "bad.xml"
    bad.write_text("<Codes/>")
    with pytest.raises(CommandError, match="no CodeType"):
        call_command("affinity_domain", str(bad))
