"""PID, PD1 and MRG to demographics."""

from __future__ import annotations

import pytest

from hie.faces.hl7v2 import adt, er7
from hie.faces.hl7v2.er7 import MessageRefused
from hie.standards.demographics import Address, HumanName, Telecom


def _pid(**fields: str) -> adt.Patient:
    """A PID of the fields f3 … f40 given, everything else empty."""
    values = [fields.get(f"f{n}", "") for n in range(1, 41)]
    values[2] = fields.get("f3", "77")
    raw = "MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5\rPID|" + "|".join(values) + "\r"
    return adt.patient(er7.parse(raw.encode()))


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        pytest.param({"f5": "Doe^Ann^Mary Lou^Jr^Dr^MD^L"}, "names", (HumanName(family="Doe", given=("Ann", "Mary", "Lou"), use="official", prefix=("Dr",), suffix=("Jr", "MD")),), id="name"),
        pytest.param({"f5": "van Doe&van&Doe^Ann~Roe^^^^^^M"}, "names", (HumanName(family="van Doe", given=("Ann",)), HumanName(family="Roe", use="maiden")), id="surname-parts-and-maiden"),
        pytest.param({"f5": "^^^^^^L~^^^^^^S"}, "names", (), id="only-type-codes"),
        pytest.param({"f6": "Roe^Eve"}, "mothers_maiden_name", "Roe", id="mothers-maiden-name"),
        pytest.param({"f7": "198401"}, "birth_date", "1984-01", id="birth-month"),
        pytest.param({"f7": "1984012312301500000"}, "birth_date", "1984-01-23", id="nineteen-digits"),
        pytest.param({"f7": "19841345"}, "birth_date", "1984-13-45", id="impossible-day-is-kept"),
        pytest.param({"f7": "19840000"}, "birth_date", "1984", id="zeros-are-not-known"),
        pytest.param({"f7": "00000000"}, "birth_date", "", id="only-zeros"),
        pytest.param({"f8": "f"}, "gender", "female", id="sex"),
        pytest.param({"f8": "7"}, "gender", "unknown", id="local-sex-code"),
        pytest.param({"f8": '""'}, "gender", "", id="deleted-sex"),
        pytest.param({"f11": "5&Elm St&&^Apt 2^Ames^IA^50010^US^H^^Story"}, "addresses", (Address(lines=("5 Elm St", "Apt 2"), city="Ames", district="Story", state="IA", postal_code="50010", country="US", use="home"),), id="address"),
        pytest.param({"f11": "^^^^^US"}, "addresses", (), id="address-of-a-country-only"),
        pytest.param({"f13": "^PRN^PH^^1^515^5550101^12~a@b.org^NET^Internet~^WPN^CP^^^515^5550102"}, "telecoms", (Telecom(value="1-515-5550101 x12", use="home"), Telecom(value="a@b.org", system="email", use="home"), Telecom(value="515-5550102", use="mobile")), id="telecoms"),
        pytest.param({"f13": "(515)555-0101", "f14": "5550199^WPN^FX"}, "telecoms", (Telecom(value="(515)555-0101", use="home"), Telecom(value="5550199", system="fax", use="work")), id="old-telecoms"),
        pytest.param({"f15": "en^English^ISO639"}, "languages", ("en",), id="language"),
        pytest.param({"f16": "A"}, "marital_status", "L", id="separated"),
        pytest.param({"f24": "Y", "f25": "2"}, "multiple_birth", 2, id="birth-order"),
        pytest.param({"f29": "20200101", "f30": "Y"}, "deceased", "2020-01-01", id="died-on"),
        pytest.param({"f30": "Y"}, "deceased", True, id="died"),
        pytest.param({"f31": "Y"}, "reliability", ("unknown",), id="nobody-knows-who"),
        pytest.param({"f31": "N", "f32": "ud~AL^Alias~UD"}, "reliability", ("known", "UD", "AL"), id="reliability"),
        pytest.param({"f31": '""', "f32": "VALI"}, "reliability", ("VALI",), id="validated"),
        pytest.param({"f32": '""'}, "reliability", (), id="deleted-reliability"),
    ],
)  # fmt: skip
def test_a_field_becomes_its_attribute(fields: dict[str, str], attribute: str, value: object) -> None:
    assert getattr(_pid(**fields).demographics, attribute) == value


def test_an_explicit_null_deletes_and_an_empty_field_says_nothing() -> None:
    patient = _pid(f5='""', f8='""', f11="")
    assert patient.deleted == {"names", "gender"}
    assert _pid(f32='""').deleted == {"reliability"}


def test_an_unusable_birth_date_names_its_field_and_not_its_value() -> None:
    with pytest.raises(MessageRefused) as refused:
        _pid(f7="yesterday")
    assert refused.value.location == ("PID", 1, 7)
    assert refused.value.code == "102"
    assert "yesterday" not in str(refused.value)


@pytest.mark.parametrize(
    ("segments", "code", "location"),
    [
        pytest.param("PID|||1\r", "100", ("MRG", 1), id="no-mrg"),
        pytest.param("MRG|2\r", "100", ("MRG", 1), id="no-pid"),
        pytest.param("EVN|A40\r", "100", ("PID", 1), id="neither"),
        pytest.param("PID|||1\rMRG|\r", "101", ("MRG", 1, 1), id="mrg-empty"),
        pytest.param("PID|||1\rMRG|2\rPID|||3\r", "100", ("MRG", 2), id="second-mrg-missing"),
        pytest.param("PID|||\rMRG|2\r", "101", ("PID", 1, 3), id="pid-3-empty"),
    ],
)
def test_a_merge_without_its_parts_is_refused(segments: str, code: str, location: tuple[str | int, ...]) -> None:
    good = er7.parse(b"MSH|^~\\&|A|B|||||ADT^A40|1|P|2.5\rPID|||1\rMRG|2\rPID|||3\rMRG|4\r")
    assert [(p.patient.identifiers[0].value, p.prior[0].value) for p in adt.merges(good)] == [("1", "2"), ("3", "4")]
    with pytest.raises(MessageRefused) as refused:
        adt.merges(er7.parse(f"MSH|^~\\&|A|B|||||ADT^A40|1|P|2.5\r{segments}".encode()))
    assert (refused.value.code, refused.value.location) == (code, location)


def _said(*segments: str) -> tuple[tuple[str, ...], frozenset[str]]:
    raw = "\r".join(["MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5", "PID|||77||Doe^Ann", *segments]) + "\r"
    found = adt.patient(er7.parse(raw.encode()))
    return found.demographics.protected, found.deleted


def _field(name: str, number: int, value: str) -> str:
    return name + "|" * number + value


@pytest.mark.parametrize(
    ("segments", "protected", "deleted"),
    [
        ((), (), set()),
        ((_field("PV1", 16, ""),), (), set()),
        ((_field("PV1", 16, "Y"),), ("VIP",), set()),
        ((_field("PV1", 16, "2"),), ("VIP",), set()),
        ((_field("PV1", 16, "N"),), (), {"protected:VIP"}),
        ((_field("PV1", 16, '""'),), (), {"protected:VIP"}),
        ((_field("PD1", 12, "Y"),), ("R",), set()),
        ((_field("PD1", 12, "N"),), (), {"protected:R"}),
        ((_field("PD1", 12, "Y"), _field("PV1", 16, "V")), ("R", "VIP"), set()),
        ((_field("ARV", 3, "DEM"),), ("R",), set()),
        ((_field("ARV", 3, "DEM|VIP"),), ("R", "VIP"), set()),
    ],
)
def test_a_flag_for_very_important_persons_is_read_and_taken_back_by_name(
    segments: tuple[str, ...], protected: tuple[str, ...], deleted: set[str]
) -> None:
    assert _said(*segments) == (protected, deleted)


def test_a_message_that_says_nothing_of_a_flag_leaves_it() -> None:
    from hie.exchange.feed import merged
    from hie.standards.demographics import Demographics

    flagged = Demographics(protected=("R", "VIP"))
    assert merged(flagged, Demographics(), frozenset()).protected == ("R", "VIP")
    assert merged(flagged, Demographics(), frozenset({"protected:VIP"})).protected == ("R",)
    assert merged(flagged, Demographics(protected=("VIP",)), frozenset({"protected:R"})).protected == ("VIP",)


def test_each_patient_of_a_merge_or_a_pair_has_the_flags_that_follow_it() -> None:
    vip, practice = _field("PV1", 16, "V"), _field("PD1", 12, "Y")
    head = "MSH|^~\\&|A|B|||||ADT^A40|1|P|2.5"
    merged = adt.merges(
        er7.parse("\r".join([head, "PID|||1", practice, "MRG|2", "PID|||3", "MRG|4", vip, "PID|||5", "MRG|6"]).encode())
    )
    assert [one.patient.demographics.protected for one in merged] == [("R",), ("VIP",), ()]
    paired = adt.pair(er7.parse("\r".join([head, "PID|||1", "PID|||2", vip]).encode()))
    assert [one.demographics.protected for one in paired] == [(), ("VIP",)]
