"""The parts of the engine by themselves: tables, time, policies, boundaries, what filing is told."""

from __future__ import annotations

import copy
import inspect
import json
import sys
from dataclasses import is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from consent import engine
from consent.case_fixtures import Fixture
from consent.case_values import document_from, participant_from, request_from
from consent.cases import decide_case, prepare
from consent.engine import Tables, compile_directive, compile_jurisdiction, compile_policy, next_boundary, time
from consent.engine.codes import KEPT
from consent.engine.policy import compile_rule
from hie.standards.facts import (
    AgreementFacts,
    BreakGlassGrant,
    ParticipantFacts,
    ProxyGrant,
    ReleaseRule,
    SubjectFacts,
)
from tests.consent import drawn, killing
from tests.consent import fixture as fx
from tests.consent.test_rules import TABLE

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TABLES: dict[str, Any] = {
    "purposeParent": {"TREAT": None, "COC": "TREAT", "BTG": "TREAT"},
    "labelParent": {"BH": None, "MH": "BH", "PSY": "MH", "A": "B", "B": "A"},
    "labelFloor": {"BH": "R", "PSY": "V", "MH": "what", "A": 7},
    "roles": {"physician": ["TREAT"]},
}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # years to microseconds


# --- code tables


def test_tables_give_families_floors_and_roles() -> None:
    tables = Tables.from_json(TABLES | {"hub": {"breakGlassMaxHours": 2}})
    assert tables.families["COC"] == {"COC", "TREAT"}
    assert tables.carried({"PSY", "other"}) == {"PSY", "MH", "BH", "other"}
    assert tables.carried({"A"}) == {"A", "B"}  # a circle ends
    assert tables.weighed(frozenset({"BH"})) == ({"BH"}, {"BH"}, engine.RANK["R"])
    assert tables.weighed(frozenset()) == (frozenset(), frozenset(), 0)
    assert [tables.floor({one}) for one in ("BH", "MH", "A", "B")] == [4, 5, 5, 0]  # what cannot be read is the highest
    assert tables.break_glass_max_hours == 2.0
    assert tables.known_labels == {"BH", "MH", "PSY", "A", "B"}
    assert tables.permits(frozenset({"TREAT"}), "COC")
    assert not tables.permits(frozenset({"COC"}), "TREAT")
    assert not tables.permits(frozenset({"TREAT"}), "BTG")
    assert tables.permits(frozenset({"BTG"}), "BTG")
    assert not tables.permits(frozenset({"TREAT"}), "nothing")


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"purposeParent": None}, "purposeParent"),
        ({"purposeParent": []}, "purposeParent"),
        ({"purposeParent": {"TREAT": 3}}, "purposeParent.TREAT"),
        ({"purposeParent": {3: None}}, "purposeParent.3"),
        ({"labelParent": "x"}, "labelParent"),
        ({"labelFloor": ["x"]}, "labelFloor"),
        ({"labelMayMean": ["x"]}, "labelMayMean"),
        ({"labelMayMean": {"BH": "MH"}}, "labelMayMean.BH"),
        ({"labelMayMean": {"BH": ["MH", "other"]}}, "labelMayMean.BH"),
        ({"labelMayMean": {"BH": [["MH"]]}}, "labelMayMean.BH"),
        ({"labelMayMean": {"other": ["MH"]}}, "labelMayMean.other"),
        ({"roles": 1}, "roles"),
        ({"roles": {"physician": "TREAT"}}, "roles.physician"),
        ({"roles": {"physician": [1]}}, "roles.physician"),
        ({"hub": []}, "hub.breakGlassMaxHours"),
        ({"hub": {"breakGlassMaxHours": True}}, "hub.breakGlassMaxHours"),
        ({"hub": {"breakGlassMaxHours": "4"}}, "hub.breakGlassMaxHours"),
        ({"hub": {"breakGlassMaxHours": -1}}, "hub.breakGlassMaxHours"),
        ({"hub": {"breakGlassMaxHours": 8761}}, "hub.breakGlassMaxHours"),
        ({"hub": {"breakGlassMaxHours": float("nan")}}, "hub.breakGlassMaxHours"),
    ],
)
def test_tables_of_a_wrong_shape_are_refused_by_member(change: dict[str, Any], member: str) -> None:
    with pytest.raises(ValueError, match=f"^{member}$"):
        Tables.from_json(TABLES | change)


def test_a_label_that_leaves_it_open_is_feared_for_all_it_may_mean_and_carries_none_of_it() -> None:
    tables = Tables.from_json(TABLES | {"labelMayMean": {"BH": ("MH",), "MH": ["A"]}})
    assert tables.feared({"BH", "other"}) == {"BH", "MH", "other"}  # what a meaning may mean in turn is not meant
    assert tables.feared({"MH"}) == {
        "MH",
        "BH",
        "A",
        "B",
    }  # with all that stands above; what it is below leaves nothing open
    assert tables.weighed(frozenset({"BH"})) == ({"BH"}, {"BH", "MH"}, engine.RANK["R"])
    assert Tables.from_json(TABLES).feared({"BH"}) == {"BH"}


@pytest.mark.parametrize(
    ("hub", "hours"), [({}, 4), ({"breakGlassMaxHours": 0}, 0), ({"breakGlassMaxHours": 8760}, 8760)]
)
def test_hours_of_a_grant_have_a_default_and_limits(hub: dict[str, Any], hours: float) -> None:
    assert Tables.from_json(TABLES | {"hub": hub}).break_glass_max_hours == hours
    assert Tables.from_json({**TABLES, "roles": {"physician": ("TREAT",)}}).break_glass_max_hours == 4


# --- time

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026", utc(2026, 1, 1, 5), utc(2027, 1, 1, 5)),
        ("2026-03", utc(2026, 3, 1, 5), utc(2026, 4, 1, 4)),
        ("2026-12", utc(2026, 12, 1, 5), utc(2027, 1, 1, 5)),
        ("2026-03-08", utc(2026, 3, 8, 5), utc(2026, 3, 9, 4)),  # 23 hours
        ("2026-11-01", utc(2026, 11, 1, 4), utc(2026, 11, 2, 5)),  # 25 hours
        ("2026-12-31", utc(2026, 12, 31, 5), utc(2027, 1, 1, 5)),
        ("2026-03-10T15:04Z", utc(2026, 3, 10, 15, 4), utc(2026, 3, 10, 15, 5)),
        ("2026-03-10T15:04:05Z", utc(2026, 3, 10, 15, 4, 5), utc(2026, 3, 10, 15, 4, 6)),
        ("2026-03-10T15:04:60Z", utc(2026, 3, 10, 15, 5), utc(2026, 3, 10, 15, 5, 1)),
        ("2026-03-10T15:04:05.2Z", utc(2026, 3, 10, 15, 4, 5, 200_000), utc(2026, 3, 10, 15, 4, 5, 300_000)),
        ("2026-03-10T15:04:05.123Z", utc(2026, 3, 10, 15, 4, 5, 123_000), utc(2026, 3, 10, 15, 4, 5, 124_000)),
        ("2026-03-10T15:04:05.123456Z", utc(2026, 3, 10, 15, 4, 5, 123_456), utc(2026, 3, 10, 15, 4, 5, 123_457)),
        ("2026-03-10T15:04:05.123456789Z", utc(2026, 3, 10, 15, 4, 5, 123_456), utc(2026, 3, 10, 15, 4, 5, 123_457)),
        ("2026-03-10T15:04+05:30", utc(2026, 3, 10, 9, 34), utc(2026, 3, 10, 9, 35)),
        ("2026-03-10T15:04-05:30", utc(2026, 3, 10, 20, 34), utc(2026, 3, 10, 20, 35)),
        ("2026-03-10T15:04+14:00", utc(2026, 3, 10, 1, 4), utc(2026, 3, 10, 1, 5)),
        ("9999", utc(9999, 1, 1, 5), time.MAX),
        ("9999-12", utc(9999, 12, 1, 5), time.MAX),
        ("9999-12-31", utc(9999, 12, 31, 5), time.MAX),
        ("9999-12-30", utc(9999, 12, 30, 5), utc(9999, 12, 31, 5)),
        ("9999-12-31T23:59:59-05:00", time.MAX, time.MAX),
        ("0001-01-01T00:00:00+05:00", time.MIN, time.MIN + timedelta(seconds=1)),
        ("9999-12-31T23:59:59.999999Z", time.MAX, time.MAX),
        ("9999-12-31T23:59:60Z", time.MAX, time.MAX),
    ],
)
def test_a_date_covers_the_whole_of_its_precision(text: str, since: datetime, until: datetime) -> None:
    assert time.interval(text, NEW_YORK) == (since, until)
    assert time.readable(text)
    assert time.bounds(text, text, NEW_YORK) == (since, until)


@pytest.mark.parametrize(
    "text",
    ["", "26", "2026-1", "2026-13", "2026-00", "2026-02-30", "2026-04-31", "2026-03-10T15:04", "2026-03-10T24:00Z", "2026-03-10T15:60Z",
     "2026-03-10T15:04:61Z", "2026-03-10T15Z", "2026-03-10T15:04:05.Z", "2026-03-10T15:04+14:30", "2026-03-10T15:04+15:00", " 2026", "2026\n",
     "0000", "0000-01-01", "2026-03-10t15:04Z", "2026-W10", "\u0662026", None, 2026],
)  # fmt: skip
def test_what_is_no_date_cannot_be_read(text: Any) -> None:
    assert not time.readable(text)
    with pytest.raises(time.UnreadableDate):
        time.interval(text, NEW_YORK)


def test_open_sides_of_a_period_are_unbounded() -> None:
    assert time.bounds(None, None, NEW_YORK) == (time.MIN, time.MAX)
    assert utc(1, 1, 1) == time.MIN
    assert datetime.max.replace(tzinfo=UTC) == time.MAX
    with pytest.raises(ValueError, match="unknown time zone 'Nowhere/Land'"):
        time.zone("Nowhere/Land")
    with pytest.raises(time.UnreadableDate):
        time.interval("2026", "Nowhere/Land")


@pytest.mark.parametrize(
    ("born", "years", "earliest", "latest"),
    [
        ("2008-05-03", 18, utc(2026, 5, 3, 4), utc(2026, 5, 3, 4)),
        ("2008-02-29", 18, utc(2026, 3, 1, 5), utc(2026, 3, 1, 5)),
        ("2008-02-29", 20, utc(2028, 2, 29, 5), utc(2028, 2, 29, 5)),
        ("2008-02", 18, utc(2026, 2, 1, 5), utc(2026, 3, 1, 5)),
        ("2008-04", 18, utc(2026, 4, 1, 4), utc(2026, 4, 30, 4)),
        ("2008-12", 18, utc(2026, 12, 1, 5), utc(2026, 12, 31, 5)),
        ("2008", 18, utc(2026, 1, 1, 5), utc(2026, 12, 31, 5)),
        ("2008-05-03", 7991, utc(9999, 5, 3, 4), utc(9999, 5, 3, 4)),
        ("2008-05-03", 7992, time.MAX, time.MAX),
        ("soon", 18, time.MIN, time.MAX),
        ("2008-05-03T10:00:00Z", 18, time.MIN, time.MAX),
        (None, 18, time.MIN, time.MAX),
        (2008, 18, time.MIN, time.MAX),
    ],
)
def test_an_age_is_reached_at_local_midnight_of_the_birthday(
    born: Any, years: int, earliest: datetime, latest: datetime
) -> None:
    assert time.birthday(born, years, NEW_YORK) == (earliest, latest)


# --- policies


def law(**changes: Any) -> dict[str, Any]:
    return {"timezone": NEW_YORK, "default": {"model": "opt-out", "purposes": ["TREAT"], "ceiling": "N"}} | changes


@pytest.mark.parametrize(
    ("data", "member"),
    [
        ([], "JX"),
        (law(default=[]), "default"),
        (law(timezone=3), "timezone"),
        ({}, "timezone"),
        (law(timezone="Nowhere/Land"), "unknown time zone 'Nowhere/Land'"),
        (law(breakGlassRefusal="yes"), "breakGlassRefusal"),
        (law(breakGlassRefusal=None), "breakGlassRefusal"),
        (law(default={"purposes": "TREAT"}), "purposes"),
        (law(default={"purposes": [1]}), "purposes"),
        (law(default={"excludeLabels": {}}), "excludeLabels"),
        (law(consentRequired={}), "consentRequired"),
        (law(consentRequired=["x"]), "consentRequired"),
        (law(consentRequired=[{}]), "consentRequired.label"),
        (law(consentRequired=[{"label": "X", "coveredBy": "X"}]), "coveredBy"),
        (law(prohibitions=[{"emergencyOverride": 1}]), "emergencyOverride"),
        (law(prohibitions=[{"labels": "HIV"}]), "labels"),
        (law(mandates="x"), "mandates"),
        (law(majorityAge=True), "majorityAge"),
        (law(majorityAge="18"), "majorityAge"),
        (law(majorityAge=-1), "majorityAge"),
        (law(confidentialAge=151), "confidentialAge"),
        (law(confidentialLabels=[None]), "confidentialLabels"),
    ],
)
def test_a_jurisdiction_of_a_wrong_shape_is_refused_by_member(data: Any, member: str) -> None:
    with pytest.raises(ValueError, match=f"^{member}$"):
        compile_jurisdiction("JX", data)


def test_a_jurisdiction_that_says_little_permits_little() -> None:
    bare = compile_jurisdiction("JX", {"timezone": "UTC"})
    assert (bare.opt_out, bare.default_purposes, bare.default_ceiling, bare.default_excluded) == (
        False,
        frozenset(),
        -1,
        frozenset(),
    )
    assert (bare.consent_required, bare.prohibitions, bare.mandates, bare.honours_refusal) == ((), (), (), False)
    assert (bare.majority_age, bare.confidential_age, bare.confidential_labels) == (None, None, frozenset())
    assert compile_jurisdiction("JX", law(default={"ceiling": 3})).default_ceiling == -1
    assert compile_jurisdiction("JX", law(default={"ceiling": "X"})).default_ceiling == -1  # as without one
    assert compile_jurisdiction("JX", law(majorityAge=0, confidentialAge=150)).confidential_age == 150
    assert compile_jurisdiction("JX", law(breakGlassRefusal=True)).honours_refusal


@pytest.mark.parametrize(
    ("data", "never"),
    [
        ({"id": "X"}, False),
        ({"id": "X", "title": "t", "name": "n", "description": "d", "source": "s", "note": "n", "text": "t", "version": 1}, False),
        ({"absolute": True, "emergencyOverride": False, "purposes": ["TREAT"], "minConfidentiality": "R"}, False),
        ({"until": "2027"}, True),
        ({"labels": []}, True),
        ({"labels": None}, False),
        ({"minConfidentiality": "X"}, True),
        ({"minConfidentiality": 3}, True),
        ({"minConfidentiality": ["R"]}, True),
        ({"labels": [], "minConfidentiality": "R"}, True),
    ],
)  # fmt: skip
def test_a_mandate_that_asks_what_cannot_be_checked_reaches_nothing_and_a_prohibition_everything(
    data: dict[str, Any], never: bool
) -> None:
    assert compile_rule(data, against=False).never is never
    against = compile_rule(data, against=True)
    assert not against.never
    assert against.labels is None
    assert against.min_rank == (engine.RANK["R"] if data.get("minConfidentiality") == "R" else 0)
    assert (against.opens, compile_rule(data, against=False).opens) == (False, True)


AGREEMENT = AgreementFacts(status="active", start="2020", end="2026-06", purposes=("TREAT",), obligations=("MINEC",))


def people(**changes: Any) -> dict[str, ParticipantFacts]:
    top = ParticipantFacts(id="top", type="hospital", jurisdiction="JX", agreement=AGREEMENT, requires_relationship=True,
                           part2_program=True, release_policy=(ReleaseRule(id="T-1", classes=("a|b",)),),
                           identifiers=("urn:x|top",))  # fmt: skip
    below = ParticipantFacts(**{"id": "below", "part_of": "top", "release_policy": (ReleaseRule(id="B-1", min_confidentiality="R"),)} | changes)  # fmt: skip
    return {"top": top, "below": below}


def compiled(facts: dict[str, ParticipantFacts], **more: Any) -> engine.Policy:
    return compile_policy(facts, {"JX": law(), "JY": law(timezone="UTC"), "JZ": 3}, TABLES, **more)  # type: ignore[dict-item]


def test_a_department_inherits_what_it_does_not_say() -> None:
    policy = compiled(people(), epoch=7)
    below = policy.participants["below"]
    assert (below.chain, below.lineage, below.root, below.type) == (
        ("below", "top"),
        {"below", "top"},
        "top",
        "hospital",
    )
    assert (below.agreement_basis[0].id, below.agreement_status, below.purposes) == ("top", "active", {"TREAT"})
    assert (below.active_from, below.active_until) == (utc(2020, 1, 1, 5), utc(2026, 7, 1, 4))
    assert (below.part2, below.requires_relationship, below.obligations) == (True, True, {"MINEC"})
    assert [rule.basis[0] for rule in below.release_rules] == [
        engine_item("release", "B-1", "below"),
        engine_item("release", "T-1", "top"),
    ]
    assert [rule.min_rank for rule in below.release_rules] == [engine.RANK["R"], 0]
    assert (below.identifiers, below.references) == ({"urn:x|top"}, {"Organization/below", "Organization/top"})
    assert (policy.epoch, set(policy.jurisdictions)) == (7, {"JX", "JY"})
    assert {name: one.id for name, one in policy.by_name.items()} == {
        "Organization/top": "top", "Organization/below": "below", "urn:x|top": "top"}  # fmt: skip
    own = compiled(
        people(type="lab", jurisdiction="JY", part2_program=False, requires_relationship=False, status="suspended")
    )
    below = own.participants["below"]
    assert (below.type, below.part2, below.requires_relationship, below.registered) == ("lab", False, False, False)
    assert below.active_from == utc(2020, 1, 1)  # agreement dates are read in its own zone


def engine_item(kind: str, identifier: str, path: str = "") -> Any:
    from hie.standards.facts import BasisItem

    return BasisItem(kind=kind, id=identifier, path=path)


def test_an_organization_whose_place_or_agreement_cannot_be_told_takes_no_part() -> None:
    assert "below" not in compiled(people(part_of="nowhere")).participants
    circle = people() | {"top": ParticipantFacts(id="top", part_of="below")}
    assert not compiled(circle).participants
    unread = compiled(people(agreement=AgreementFacts(status="active", start="soon"))).participants["below"]
    assert (unread.active_from, unread.active_until) == (time.MAX, time.MIN)
    lawless = compiled({"a": ParticipantFacts(id="a", agreement=AGREEMENT)}).participants["a"]
    assert (lawless.jurisdiction, lawless.active(NOW)) == (None, False)
    at_home = compiled({"a": ParticipantFacts(id="a", agreement=AGREEMENT)}, home_jurisdiction="JX").participants["a"]
    assert at_home.active(NOW)
    assert not at_home.active(utc(2026, 7, 1, 4))
    assert at_home.active(utc(2026, 7, 1, 3, 59))
    assert at_home.active(utc(2020, 1, 1, 5))
    without = compiled({"a": ParticipantFacts(id="a", jurisdiction="JX")}).participants["a"]
    assert (without.agreement_basis[0].id, without.agreement_status, without.purposes) == ("", "", frozenset())
    policy = compiled({}, home_jurisdiction="JX")
    assert policy.jurisdiction_of(None) is policy.jurisdictions["JX"]
    assert compiled({}).jurisdiction_of(None) is None
    assert compiled({}).jurisdiction_of("JQ") is None


# --- boundaries


def test_the_next_boundary_is_the_first_instant_after_now_at_which_something_begins_or_ends() -> None:
    deep = fx.node("deny", fx.node("permit", period={"start": "2026-08", "end": "2026-09"}), period={"end": "2026-12"})
    consent = fx.consent(fx.node("permit", deep, period={"end": "2027-02"}), dateTime="2026-07")
    read = compile_directive(consent, directive_id="c", patient_ids=frozenset({"ada"}))
    patient = engine.compile_patient(SubjectFacts(id="ada", jurisdiction="JX"), [read])
    policy = compiled({"a": ParticipantFacts(id="a", jurisdiction="JX", agreement=AGREEMENT)})
    expected = [
        utc(2026, 7, 1, 4),
        utc(2026, 8, 1, 4),
        utc(2026, 10, 1, 4),
        utc(2027, 1, 1, 5),
        utc(2027, 3, 1, 5),
        time.MAX,
    ]
    now, found = NOW, []
    for _ in expected:
        now = next_boundary(patient, policy, ["a", "nobody"], now=now)
        found.append(now)
    assert found == expected
    nothing = engine.compile_patient(SubjectFacts(id="ada", jurisdiction="JX"), [])
    assert next_boundary(nothing, policy, ["a"], now=utc(2010, 1, 1)) == utc(2020, 1, 1, 5)
    assert next_boundary(nothing, policy, ["a"], now=utc(2020, 1, 1, 5)) == utc(2026, 7, 1, 4)
    west = timezone(timedelta(hours=-5))
    assert next_boundary(nothing, policy, [], now=NOW.astimezone(west)) == time.MAX
    elsewhere = engine.compile_patient(SubjectFacts(id="ada", jurisdiction="unknown"), [read])
    assert next_boundary(elsewhere, policy, [], now=NOW) == utc(2026, 7, 1)
    opaque = compile_directive({"status": "active"}, directive_id="d")
    assert next_boundary(engine.compile_patient(SubjectFacts(id="ada"), [opaque]), policy, [], now=NOW) == time.MAX


def test_a_grant_and_an_age_are_boundaries_too() -> None:
    policy = compile_policy({}, {"JX": law(majorityAge=18, confidentialAge=14)}, TABLES)
    child = engine.compile_patient(SubjectFacts(id="leo", jurisdiction="JX", birth_date="2010-03-04"), [])
    assert next_boundary(child, policy, [], now=utc(2011, 1, 1)) == utc(2024, 3, 4, 5)
    assert next_boundary(child, policy, [], now=utc(2024, 3, 4, 5)) == utc(2028, 3, 4, 5)
    assert next_boundary(child, policy, [], now=utc(2028, 3, 4, 5)) == time.MAX
    opened = BreakGlassGrant(
        id="g", user="u", organization="a", patient="leo", start=NOW, end=NOW + timedelta(hours=9), status="active",
        reason="OTHER", text="found in the street",
    )  # fmt: skip
    assert next_boundary(child, policy, [], now=NOW, grants=[opened]) == NOW + timedelta(hours=4)
    assert next_boundary(child, policy, [], now=NOW + timedelta(hours=5), grants=[opened]) == NOW + timedelta(hours=9)
    helper = ProxyGrant(
        id="p", person="sam", patient="leo", kind="nominated", status="active", start="2026-07-01", end="2026-07-31"
    )
    assert next_boundary(child, policy, [], now=NOW, grants=[helper]) == utc(2026, 7, 1, 4)
    assert next_boundary(child, policy, [], now=utc(2026, 7, 2), grants=[helper]) == utc(2026, 8, 1, 4)
    # The first of all counts, whichever it is of, and none that has been.
    for grants in ([opened, helper], [helper, opened]):
        assert next_boundary(child, policy, [], now=NOW, grants=grants) == NOW + timedelta(hours=4)
    assert next_boundary(child, policy, [], now=utc(2024, 3, 4, 4), grants=[opened, helper]) == utc(2024, 3, 4, 5)
    assert next_boundary(child, policy, [], now=opened.end, grants=[opened]) == utc(2028, 3, 4, 5)
    member = ParticipantFacts(id="a", jurisdiction="JX", agreement=AGREEMENT)
    joined = compile_policy({"a": member}, {"JX": law(majorityAge=18, confidentialAge=14)}, TABLES)
    assert next_boundary(child, joined, ["a"], now=utc(2025, 1, 1)) == utc(2026, 7, 1, 4)
    unreadable = replace(helper, end="soon")
    assert next_boundary(child, policy, [], now=utc(2029, 1, 1), grants=[unreadable]) == time.MAX


def test_what_is_worked_out_of_a_patient_for_later_is_no_part_of_what_it_is() -> None:
    one, other = (engine.compile_patient(SubjectFacts(id="ada", birth_date="2010-03-04"), []) for _ in "ab")
    policy = compile_policy({}, {"JX": law(majorityAge=18)}, TABLES)
    next_boundary(one, policy, [], now=NOW)
    assert one.instants
    assert not other.instants
    assert (one, repr(one)) == (other, repr(other))
    with pytest.raises(TypeError):
        engine.PatientPolicy(one.subject, (), {})  # type: ignore[call-arg]  # it is refused
    # Of very many none is left when the last is past.
    many = tuple(NOW + timedelta(minutes=n) for n in range(600))
    for key in one.instants:
        one.instants[key] = many
    assert next_boundary(one, policy, [], now=many[-2]) == many[-1]
    assert next_boundary(one, policy, [], now=many[-1]) == time.MAX


# --- deciding


def test_duties_that_the_requester_has_not_declared_turn_a_permit_into_a_denial_where_that_is_switched_on() -> None:
    facts = {key: participant_from(key, value) for key, value in fx.FIXTURE["organizations"].items()}
    request = request_from(fx.request(purpose="HOPERAT", role="quality"))
    patient = engine.compile_patient(SubjectFacts(id="ada", jurisdiction="JA", birth_date="1970-04-01"), [])
    document = document_from(fx.document())
    answers = []
    for switched, declared in ((False, []), (True, []), (True, ["MINEC"]), (True, ["ACCOUNT"])):
        agreement = fx.agreement("TREAT", "HOPERAT", obligations=declared)
        asking = participant_from("hill", fx.FIXTURE["organizations"]["hill"] | {"agreement": agreement})
        policy = compile_policy(
            facts | {"hill": asking}, fx.FIXTURE["jurisdictions"], fx.FIXTURE, require_obligations=switched
        )
        found = engine.decide(request, document, patient, policy, now=NOW)
        answers.append((found.permitted, found.rule, found.reason, found.obligations))
    permit, refusal = (True, "F1", "default-opt-out", ("MINEC",)), (False, "F1", "obligation-not-supported", ())
    assert answers == [permit, refusal, permit, refusal]


def test_explaining_gives_the_decision_with_the_rules_tried_and_the_consents_in_force() -> None:
    case = fx.case(fx.consent(fx.node("deny"), id="b"), fx.consent(fx.node("permit"), id="a", status="inactive"))
    prepared = prepare(case, Fixture(fx.FIXTURE))
    assert prepared.patient is not None
    trace = engine.explain(
        prepared.request, document_from(case["document"]), prepared.patient, prepared.policy, now=prepared.now
    )
    assert (trace.decision.rule, trace.rules[-1].rule, trace.rules[-1].fired) == ("D3", "D3", True)
    assert not any(one.fired or one.basis for one in trace.rules[:-1])
    assert [item.id for item in trace.considered] == ["b"]
    assert trace.rules[-1].basis == trace.decision.basis
    assert [(one.id, one.version) for one in engine.compile_patient(prepared.patient.subject, [
        compile_directive({}, directive_id=i, version=v) for i, v in (("b", "1"), ("a", "2"), ("a", "1"))]).directives
    ] == [("a", "1"), ("a", "2"), ("b", "1")]  # fmt: skip


def test_an_instant_without_an_offset_is_refused() -> None:
    prepared = prepare(fx.case(), Fixture(fx.FIXTURE))
    with pytest.raises(ValueError, match="aware"):
        engine.gate(prepared.request, prepared.policy, now=datetime(2026, 6, 15))


def test_documents_derived_from_one_another_too_long_to_follow_are_denied() -> None:
    def derived(steps: int) -> dict[str, Any]:
        made = fx.document()
        for _ in range(steps):
            made = fx.document(derivedFrom=[made])
        return made

    prepared = prepare(fx.case(), Fixture(fx.FIXTURE))
    found = [prepared.decide(document_from(derived(steps))).rule for steps in (31, 32, 33, 34, 40)]
    assert found == ["F1", "F1", "X1", "X1", "X1"]


# --- what filing is told

WHOLE = fx.consent(
    fx.node(
        "permit",
        fx.node("deny", actor=[fx.actor("IRCP", reference="Practitioner/ivo")], securityLabel=fx.labels("R", "PSY")),
        purpose=fx.purposes("TREAT"),
        action=[{"coding": [fx.coding("consentaction", "access")]}],
        data=[{"meaning": "instance", "reference": {"reference": "DocumentReference/d"}}],
    ),
    policyRule=fx.rule("OPTIN"),
)
INNER = "Consent.provision.provision[0]"


def told(change: Any) -> tuple[list[str], list[str]]:
    resource = copy.deepcopy(WHOLE)
    change(resource)
    read = compile_directive(resource, directive_id="c", patient_ids=frozenset({"ada"}))
    assert (read.root is None, read.tree is None) == (bool(read.problems), bool(read.problems))
    return [one.element for one in read.problems], [one.element for one in read.unknown_codes]


def put(*path: Any, value: Any) -> Any:
    def change(resource: Any) -> None:
        for key in path[:-1]:
            resource = resource[key]
        resource[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "problems", "unknown"),
    [
        (lambda r: None, [], []),
        (put("resourceType", value="Patient"), ["Consent.resourceType"], []),
        (put("status", value="odd"), ["Consent.status"], []),
        (put("status", value=None), ["Consent.status"], []),
        (put("patient", value={}), ["Consent.patient"], []),
        (put("patient", "reference", value="https://h/Patient/ada"), ["Consent.patient.reference"], []),
        (put("patient", "reference", value="Group/ada"), ["Consent.patient.reference"], []),
        (put("patient", "reference", value=""), ["Consent.patient"], []),
        (put("patient", "reference", value=3), ["Consent.patient"], []),
        (put("patient", "reference", value="Patient/"), ["Consent.patient.reference"], []),
        (put("patient", "reference", value="Patient/a/b"), ["Consent.patient.reference"], []),
        (put("patient", "reference", value="Zebra/ada"), ["Consent.patient.reference"], []),
        (put("resourceType", value="Account"), ["Consent.resourceType"], []),
        (put("text", value={"start": "x", "end": "y"}), [], []),
        (put("extra", value={"start": "x", "end": "y"}), [], []),
        (put("policyRule", value={"coding": [*fx.rule("OPTOUT")["coding"], {"code": "OPTOUT"}]}), ["Consent.provision.type"], []),
        (put("policyRule", value={"coding": [{"code": "OPTOUT"}]}), ["Consent.provision.type"], []),
        (put("scope", value={"coding": [{"code": "patient-privacy"}]}), ["Consent.scope"], []),
        (put("scope", value={"text": "x"}), ["Consent.scope.coding"], []),
        (put("scope", value=None), ["Consent.scope"], []),
        (put("implicitRules", value="urn:x"), ["Consent.implicitRules"], []),
        (put("modifierExtension", value=[]), ["Consent.modifierExtension"], []),
        (put("provision", "provision", 0, "actor", 0, "modifierExtension", value=[]), [f"{INNER}.actor[0].modifierExtension"], []),
        (put("meta", value={"lastUpdated": "x"}), ["Consent.meta.lastUpdated"], []),
        (put("_dateTime", value={}), [], []),
        (put("dateTime", value="soon"), ["Consent.dateTime"], []),
        (put("identifier", value=[{"period": {"_end": {}}}]), ["Consent.identifier[0].period.end"], []),
        (put("policyRule", value=[]), ["Consent.policyRule"], []),
        (put("policyRule", value={"text": "x"}), [], []),
        (put("policyRule", value={"coding": []}), ["Consent.policyRule.coding"], []),
        (put("policyRule", value=fx.rule("OPTIN", "OPTOUT")), ["Consent.policyRule", "Consent.provision.type"], []),
        (put("policyRule", value=fx.rule("OPTOUT")), ["Consent.provision.type"], []),
        (put("policyRule", value=fx.rule("OPTINR", "X")), [], []),
        (put("provision", value=[]), ["Consent.provision"], []),
        (put("provision", "type", value="maybe"), ["Consent.provision.type"], []),
        (put("provision", "period", value=[]), ["Consent.provision.period"], []),
        (put("provision", "period", value={"end": "x"}), ["Consent.provision.period.end"], []),
        (put("provision", "dataPeriod", value=3), ["Consent.provision.dataPeriod"], []),
        (put("provision", "purpose", value={}), ["Consent.provision.purpose"], []),
        (put("provision", "purpose", value=[]), ["Consent.provision.purpose"], []),
        (put("provision", "purpose", value=[3]), ["Consent.provision.purpose[0]"], []),
        (put("provision", "purpose", value=[{"system": "x"}]), ["Consent.provision.purpose[0].code"], []),
        (put("provision", "purpose", value=[{"code": "x", "system": ""}]), ["Consent.provision.purpose[0].system"], []),
        (put("provision", "purpose", value=[{"code": "TREAT"}]), [], ["Consent.provision.purpose"]),
        (put("provision", "action", value=[{"coding": [fx.coding("consentaction", "peek")]}]), [], ["Consent.provision.action"]),
        (put("provision", "action", value=[{"coding": [{"code": "access"}]}]), [], ["Consent.provision.action"]),
        (put("provision", "action", value=[{}]), ["Consent.provision.action[0].coding"], []),
        (put("provision", "code", value=[3]), ["Consent.provision.code[0]"], []),
        (put("provision", "class", value=[{"code": 1}]), ["Consent.provision.class[0].code"], []),
        (put("provision", "securityLabel", value=[fx.coding("v3-Confidentiality", "X")]), [], ["Consent.provision.securityLabel"]),
        (put("provision", "securityLabel", value=[{"code": "R"}]), [], ["Consent.provision.securityLabel"]),
        (put("provision", "data", value=[]), ["Consent.provision.data"], []),
        (put("provision", "data", value=[3]), ["Consent.provision.data[0]"], []),
        (put("provision", "data", 0, "meaning", value=3), ["Consent.provision.data[0]"], []),
        (put("provision", "data", 0, "reference", value=[]), ["Consent.provision.data[0]"], []),
        (put("provision", "data", 0, "reference", "reference", value=3), ["Consent.provision.data[0].reference.reference"], []),
        (put("provision", "data", 0, "meaning", value="x"), [], ["Consent.provision.data[0].meaning"]),
        (put("provision", "data", 0, "reference", value={}), [], ["Consent.provision.data[0].reference"]),
        (put("provision", "provision", value={}), ["Consent.provision.provision"], []),
        (put("provision", "provision", value=[]), [], []),
        (put("provision", "provision", value=[3]), ["Consent.provision.provision[0]"], []),
        (put("provision", "provision", 0, "type", value="x"), [f"{INNER}.type"], []),
        (put("provision", "provision", 0, "type", value=3), [f"{INNER}.type"], []),
        (put("provision", "provision", 0, "type", value=None), [f"{INNER}.type"], []),
        (put("provision", "provision", value=[3, {"type": "x"}, 4]), [INNER, "Consent.provision.provision[1].type", "Consent.provision.provision[2]"], []),
        (put("provision", "purpose", value=[3, {}]), ["Consent.provision.purpose[0]", "Consent.provision.purpose[1].code"], []),
        (put("provision", "code", value=[3, {}]), ["Consent.provision.code[0]", "Consent.provision.code[1].coding"], []),
        (put("provision", "data", value=[3, {"meaning": 3}, {"reference": {"reference": 3}}, 4]),
            ["Consent.provision.data[0]", "Consent.provision.data[1]", "Consent.provision.data[2].reference.reference", "Consent.provision.data[3]"], []),
        (put("provision", "provision", 0, "actor", value=[3, {"reference": []}, 4]),
            [f"{INNER}.actor[0]", f"{INNER}.actor[1].reference", f"{INNER}.actor[2]"], [f"{INNER}.actor[1].role"]),
        (put("provision", "provision", 0, "actor", 0, "role", value={"coding": [fx.coding("v3-ParticipationType", one) for one in ("IRCP", "CST")]}), [], [f"{INNER}.actor[0].role"]),
        (put("provision", "provision", 0, "actor", 0, "role", value={"coding": [fx.coding("v3-ParticipationType", one) for one in ("IRCP", "TRC")]}), [], []),
        (put("identifier", value=[{"period": {"end": "x", "_end": {}}}]), ["Consent.identifier[0].period.end"], []),
        (put("_recorded", value={}), ["Consent.recorded"], []),
        (put("scope", value={"coding": [fx.coding("consentscope", "research"), {"code": "research"}]}), [], []),
        (put("scope", value={"coding": [fx.coding("consentscope", "research"), {"code": "patient-privacy"}]}), ["Consent.scope"], []),
        (put("scope", value={"coding": [{"code": "research"}]}), ["Consent.scope"], []),
        (put("provision", "provision", 0, "actor", value=[]), [f"{INNER}.actor"], []),
        (put("provision", "provision", 0, "actor", value=[3]), [f"{INNER}.actor[0]"], []),
        (put("provision", "provision", 0, "actor", 0, "reference", value=[]), [f"{INNER}.actor[0].reference"], []),
        (put("provision", "provision", 0, "actor", 0, "reference", value={"reference": ""}), [f"{INNER}.actor[0].reference.reference"], []),
        (put("provision", "provision", 0, "actor", 0, "reference", value={"identifier": 3}), [f"{INNER}.actor[0].reference.identifier"], []),
        (put("provision", "provision", 0, "actor", 0, "reference", value={"identifier": {"value": 3}}), [f"{INNER}.actor[0].reference.identifier"], []),
        (put("provision", "provision", 0, "actor", 0, "role", value={}), [], [f"{INNER}.actor[0].role"]),
        (put("provision", "provision", 0, "actor", 0, "role", value=3), [f"{INNER}.actor[0].role"], []),
        (put("provision", "provision", 0, "actor", 0, "role", value={"coding": [{"code": "IRCP"}]}), [], [f"{INNER}.actor[0].role"]),
        (put("provision", "provision", 0, "actor", 0, "role", value=fx.actor("TRC")["role"]), [], [f"{INNER}.actor[0].role"]),
        (put("provision", "provision", 0, "actor", 0, "role", value=fx.actor("CST")["role"]), [], []),
    ],
)  # fmt: skip
def test_filing_is_told_of_what_cannot_be_understood_by_element(
    change: Any, problems: list[str], unknown: list[str]
) -> None:
    assert told(change) == (problems, unknown)


def test_a_date_is_unreadable_where_no_other_is_readable_too() -> None:
    assert told(lambda resource: only_dates(resource, "soon")) == (["Consent.identifier[0].period.start"], [])
    assert told(lambda resource: only_dates(resource, "2026")) == ([], [])


def only_dates(resource: dict[str, Any], start: str) -> None:
    """Leave the Consent with one date."""
    for name in ("dateTime", "meta"):
        resource.pop(name, None)
    resource["identifier"] = [{"value": "1", "period": {"start": start}}]
    resource["provision"] = {"type": "permit"}


def test_a_period_that_is_over_is_over_whatever_else_cannot_be_read() -> None:
    for count in (1, 300):
        bad = [{"value": str(n), "period": {"start": "soon"}} for n in range(count)]
        read = compile_directive(fx.consent(fx.node("deny", period={"end": "2020"}), identifier=bad), directive_id="c")
        assert len(read.problems) == count
        assert (read.period.end if read.period else None) == "2020"


def test_a_modifier_of_what_is_contained_is_none_of_the_consents_beside_its_problems_either() -> None:
    def change(resource: dict[str, Any]) -> None:
        resource["contained"] = [{"resourceType": "Group", "modifierExtension": [{"url": "x"}]}]
        resource["dateTime"] = "soon"

    assert told(change) == (["Consent.dateTime"], [])


def test_depth_and_size_count_provisions_and_what_is_too_deep_is_not_read() -> None:
    for depth, fits in ((0, True), (1, True), (64, True), (65, False)):
        node = fx.node("permit")
        for _ in range(depth):
            node = fx.node("permit", node)
        read = compile_directive(fx.consent(node), directive_id="c")
        assert (read.depth, read.size, not read.problems) == (depth, depth + 1, fits)
    wide = compile_directive(fx.consent(fx.node("permit", *[fx.node("deny")] * 3)), directive_id="c", version="4")
    assert (wide.depth, wide.size, wide.id, wide.version) == (1, 4, "c", "4")


def test_what_is_no_object_is_a_denial_whatever_it_is() -> None:
    for junk in (None, 3, "x", [], [{}]):
        read = compile_directive(junk, directive_id="c", version="2")
        assert [one.element for one in read.problems] == ["Consent"]
        assert (read.id, read.version, read.counts, read.privacy, read.research, read.root) == (
            "c",
            "2",
            True,
            True,
            True,
            None,
        )


def test_values_are_frozen_and_take_no_further_members() -> None:
    """They are shared by requests, threads and documents: what one changed, all would meet."""
    modules = [sys.modules[f"consent.engine.{name}"] for name in ("codes", "decide", "directive", "matching", "policy")]
    kinds = {
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type) and is_dataclass(one) and one.__module__ == module.__name__
    }
    by_position = {"Tables", "PatientPolicy", "RuleTrace", "Trace", "_Place", "_Rule", "Problem", "Asker"}
    assert len(kinds) == 22, sorted(one.__name__ for one in kinds)
    for one in kinds:
        params = one.__dataclass_params__  # type: ignore[attr-defined]
        assert params.frozen or one.__name__ == "_Reading"
        assert params.eq
        assert "__slots__" in vars(one)
        first = next(iter(inspect.signature(one).parameters.values()))
        positional = one.__name__ in by_position | {"_Reading"}
        assert (first.kind is first.KEYWORD_ONLY) is not positional, one.__name__


BASIS = [
    ("G2-of-nobody", fx.case(request=fx.request(org="nowhere"))),
    ("G2-by-the-parent", fx.case(request=fx.request(org="lake-eye"), fixtureOverride={"organizations": {"lake": {"status": "ended"}}})),
    ("G3-of-nobody", fx.case(document=fx.document(custodian="nowhere"))),
    ("G3-suspended", fx.case(document=fx.document(custodian="asleep"))),
    ("G4", fx.case(request=fx.request(org="coin", role="billing"))),
    ("G6", fx.case(request=fx.request(org="call"))),
    ("G7-without", fx.case(request=fx.request(purpose="BTG"))),
    ("G7-of-another-patient", fx.case(request=fx.emergency(patient="bea", id="g"))),
    ("G7-ended", fx.case(request=fx.emergency(status="ended", id="g"))),
    ("D2", fx.case(request=fx.emergency(id="g"))),
    ("G7-of-a-user-before", fx.case(request=fx.emergency(user="Practitioner/abe"))),
    ("G7-of-a-user-behind", fx.case(request=fx.emergency(user="Practitioner/zoe"))),
    ("G7-longer-than-hours", fx.case(request=fx.emergency(start="2026-06-15T07:59:00Z"))),
    ("D2-within-hours", fx.case(request=fx.emergency(start="2026-06-15T08:01:00Z"))),
    ("G7-after-exactly-the-hours", fx.case(request=fx.emergency(start="2026-06-15T08:00:00Z"))),
    ("L1-does-not-yield-by-itself", fx.case(request=fx.emergency(), fixtureOverride={"jurisdictions": {"JA": {"prohibitions": [{"id": "P"}]}}})),
    ("L1-yields-to-emergency-alone", fx.case(request=fx.request(org="study", role="researcher", purpose="BIORCH"),
        fixtureOverride={"jurisdictions": {"JA": {"prohibitions": [{"id": "P", "emergencyOverride": True}]}}})),
    ("O1-yields-to-emergency-alone", fx.case(request=fx.request(org="study", role="researcher", purpose="BIORCH"),
        fixtureOverride={"organizations": {"lake": {"releasePolicy": [{"id": "R"}]}}})),
    ("stop-covers-its-day", fx.case(fx.consent(fx.node("permit", fx.node("deny", dataPeriod={"start": "2026-06-15T12:00:00Z"}))),
        document=fx.document(serviceStart="2026-06-01", serviceStop="2026-06-15"))),
    ("stop-before-it", fx.case(fx.consent(fx.node("permit", fx.node("deny", dataPeriod={"start": "2026-06-16T12:00:00Z"}))),
        document=fx.document(serviceStart="2026-06-01", serviceStop="2026-06-15"))),
    ("span-ends-where-the-period-begins", fx.case(fx.consent(fx.node("permit", fx.node("deny", dataPeriod={"start": "2026-06-16"}))),
        document=fx.document(serviceStart="2026-06-15"))),
    ("span-long-after-the-period", fx.case(fx.consent(fx.node("permit", fx.node("deny", dataPeriod={"end": "2020"}))),
        document=fx.document(serviceStart="2026-06-15"))),
    ("period-begins-now", fx.case(fx.consent(fx.node("permit", fx.node("deny", period={"start": "2026-06-15"}))), now="2026-06-15T04:00:00Z")),
    ("period-ends-now", fx.case(fx.consent(fx.node("permit", fx.node("deny", period={"end": "2026-06-14"}))), now="2026-06-15T04:00:00Z")),
    *[(f"proxy-{n}", fx.case(request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max", proxyGrant={
        "person": "RelatedPerson/max", "patient": "ada", "kind": "attorney", "status": "active"} | grant), document=fx.document(confidentiality=letter, labels=[]),
        now="2026-06-15T04:00:00Z"))
      for letter in "ULN" for n, grant in enumerate(({"period": {"start": "2027"}}, {"period": {"start": "2026-06-15"}}, {"period": {"end": "2026-06-14"}},
        {"maxConfidentiality": "X"}, {"maxConfidentiality": "U"}, {}))],
    *[(f"born-{born}-{kind}", fx.case(request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max", proxyGrant={
        "person": "RelatedPerson/max", "patient": "ada", "kind": kind, "status": "active", "maxConfidentiality": "R"}), document=fx.document(labels=["SEX"]),
        fixtureOverride={"patients": {"ada": {"birthDate": born}}}))
      for born in ("2012-06", "2012", "2008-06", "2008", "2012-06-15", "2012-06-16", "2008-06-15", "2008-06-16") for kind in ("parent", "attorney")],
    *[(f"twice-{kind}-{code}-{held}", fx.case(
        fx.consent(fx.node("permit" if kind == "deny" else "deny", fx.node(kind, securityLabel=[*fx.labels(code), {"code": code}]))),
        document=fx.document(confidentiality=held, labels=["PSY"] if code == "PSY" else [])))
      for kind in ("permit", "deny") for code in ("R", "PSY") for held in "NRV"],
    *[(f"author-{kind}-{value}", fx.case(
        fx.consent(fx.node("permit" if kind == "deny" else "deny", fx.node(kind, actor=[fx.actor("AUT", identifier={"value": value})]))),
        document=fx.document(authors=["urn:x|7", "Practitioner/una"])))
      for kind in ("permit", "deny") for value in ("7", "8")],
    ("old-version-named", fx.case(fx.consent(fx.node("permit", fx.node("deny", actor=fx.to("Organization/hill/_history/3")))))),
    ("G7-of-a-house-before", fx.case(request=fx.emergency(org="call", id="g"))),
    ("G7-of-a-house-behind", fx.case(request=fx.emergency(org="lake", id="g"))),
    ("G7-of-a-department", fx.case(request=fx.emergency(org="lake-eye", id="g") | {"org": "lake"}, document=fx.document(custodian="hill"))),
    *[(f"registration-{status}", fx.case(fixtureOverride={"organizations": {"hill": {"status": status}}})) for status in ("Active", "active", "suspended", "b")],
    *[(f"agreement-{status}", fx.case(fixtureOverride={"organizations": {"hill": {"agreement": {"status": status}}}})) for status in ("Active", "active", "suspended", "b")],
    *[(f"letter-{letter}-{held}", fx.case(fx.consent(fx.node(root, fx.node(kind, securityLabel=fx.labels(letter)))), document=fx.document(confidentiality=held)))
      for letter in "ULMNRV" for held in "ULMNRV" for root, kind in (("deny", "permit"), ("permit", "deny"))],
    ("L1-two", fx.case(document=fx.document(labels=["SEX"]), fixtureOverride={"jurisdictions": {"JA": {"prohibitions": [
        {"id": "P-2", "labels": ["SEX"]}, {"id": "P-1"}, {"id": "P-3", "labels": ["HIV"]}]}}})),
    ("O1-two", fx.case(document=fx.document(custodian="lake-eye"), fixtureOverride={"organizations": {
        "lake": {"releasePolicy": [{"id": "R-1"}]}, "lake-eye": {"releasePolicy": [{"id": "R-2"}]}}})),
    ("D3-two-nodes", fx.case(fx.consent(fx.node("permit", fx.node("deny"), fx.node("permit"), fx.node("deny", fx.node("deny")))))),
    ("D3-unintelligible", fx.case(fx.consent(fx.node("permit"), dateTime="x"), fx.consent(fx.node("deny"), id="b"))),
    ("D3-by-rule", fx.case(fx.consent({}, policyRule=fx.rule("OPTOUT")))),
    ("D5-weak", fx.case(fx.consent(fx.node("permit", securityLabel=fx.labels("N"))), document=fx.document(confidentiality="V"))),
    ("user-without-kind", fx.case(fx.consent(fx.node("permit", fx.node("deny", actor=fx.to("Practitioner/ivo")))), request=fx.request(user="ivo"))),
    ("user-without-kind-permitted", fx.case(fx.consent(fx.node("deny", fx.node("permit", actor=fx.to("Practitioner/ivo")))), request=fx.request(user="ivo"))),
    ("G7-ended-an-hour-ago", fx.case(request=fx.emergency(end="2026-06-15T11:30:00Z"))),
    ("G7-not-yet", fx.case(request=fx.emergency(start="2026-06-15T13:00:00Z"))),
    *[(f"G1-{member}-{value}", fx.case(fx.consent(fx.node("permit")), request={k: v for k, v in fx.request(**{member: value}).items() if v != "left out"},
        document=fx.document(custodian=held)))
      for member in ("org", "user", "role", "purpose", "operation") for value in ("left out", "", "A", "zz") if (member, value) != ("org", "A")
      for held in ("lake", "hill", "nowhere")],
    *[(f"not-begun-{kind}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, period=period)))))
      for kind in ("permit", "deny") for period in ({"start": "2026-07"}, {"start": "2026-07", "end": "2026-08"}, {"end": "2026-05"}, {"start": "2026-06"})],
    *[(f"root-not-begun-{kind}", fx.case(fx.consent(fx.node(kind, period=period)), document=fx.document(custodian="mer"), request=fx.request(purpose="HOPERAT")))
      for kind in ("permit", "deny") for period in ({"start": "2026-07"}, {"start": "2026-07", "end": "2026-08"}, {"end": "2026-05"}, {"start": "2026-06"})],
    *[(f"elsewhere-{text}-{kind}-{meaning}", fx.case(
        fx.consent(fx.node("permit" if kind == "deny" else "deny", fx.node(kind, data=[{"meaning": meaning, "reference": {"reference": text}}]))),
        document=fx.document(id="letter-1", related=["DocumentReference/letter-2", "letter-3"], dependsOn=["DocumentReference/letter-2", "letter-3"],
                             encounter="Encounter/visit-1", authors=["Practitioner/una"])))
      for text in ("https://h/DocumentReference/letter-1", "https://h/DocumentReference/letter-2", "DocumentReference/letter-3", "https://h/Encounter/visit-1",
                   "letter-1", "letter-3", "letter-4", "DocumentReference/letter-2/_history/4", "https://h/Practitioner/una", "Practitioner/una")
      for kind in ("permit", "deny") for meaning in ("instance", "related", "dependents", "authoredby")],
    *[(f"P6-named-in-a-role-{'-'.join(roles)}", fx.case(
        fx.consent(fx.node("deny", fx.node("permit", actor=[{"role": {"coding": [fx.coding("v3-ParticipationType", one) for one in roles]},
            "reference": {"reference": "RelatedPerson/max"}}]))),
        request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max", proxyGrant={
            "person": "RelatedPerson/max", "patient": "ada", "kind": "parent", "status": "active", "maxConfidentiality": "R"}),
        document=fx.document(labels=["SEX"], authors=["RelatedPerson/max"]), fixtureOverride={"patients": {"ada": {"birthDate": "2011-01-20"}}}))
      for roles in (["IRCP"], ["PRCP"], ["IRCP", "PRCP"], ["IRCP", "AUT"], ["AUT"], ["IRCP", "TRC"], ["AUT", "TRC"])],
    *[(f"D1-for-{purpose}", fx.case(fx.consent(fx.node("permit", fx.node("deny", purpose=fx.purposes("TREAT", "BTG")))),
        request=fx.emergency() if purpose == "BTG" else fx.request(purpose=purpose))) for purpose in ("TREAT", "COC", "BTG")],
    *[(f"{made}-{member}-{value}-asked-by-{asking}", fx.case(fx.consent(fx.node("permit")), request=fx.request(org=asking, purpose="HOPERAT"),
        document=fx.document(custodian="hill" if asking != "hill" else "lake"), fixtureOverride=(
            {"organizations": {one: {"releasePolicy": [{"id": "X", member: [value]}]} for one in ("hill", "lake")}} if made == "release"
            else {"jurisdictions": {"JA": {"prohibitions": [], made: [{"id": "X", member: [value]}]}}})))
      for made in ("prohibitions", "mandates", "release") for member in ("recipients", "exceptRecipients")
      for value in ("hill", "lake", "lake-eye") for asking in ("hill", "lake", "lake-eye")],
    *[(f"{made}-{member}-{'-'.join(values)}", fx.case(fx.consent(fx.node("permit")), request=fx.request(purpose="HOPERAT"), document=fx.document(
            labels=["PSY"], confidentiality="R", codes=["urn:s|1"]), fixtureOverride=(
            {"organizations": {"lake": {"releasePolicy": [{"id": "X", member: values}]}}} if made == "release"
            else {"jurisdictions": {"JA": {"prohibitions": [], made: [{"id": "X", member: values}]}}})))
      for made in ("prohibitions", "mandates", "release") for member, values in (
        ("purposes", ["HOPERAT"]), ("purposes", ["TREAT"]), ("purposes", ["TREAT", "HOPERAT"]), ("recipientTypes", ["primary-care"]), ("recipientTypes", ["payer"]),
        ("labels", ["MH"]), ("labels", ["HIV"]), ("labels", ["HIV", "PSY"]), ("classes", ["http://loinc.org|34133-9"]), ("classes", ["urn:s|1"]),
        ("codes", ["urn:s|1"]), ("codes", ["urn:s|2"]))],
    *[(f"{made}-from-{letter}", fx.case(fx.consent(fx.node("permit")), request=fx.request(purpose="HOPERAT"), document=fx.document(confidentiality=held), fixtureOverride=(
            {"organizations": {"lake": {"releasePolicy": [{"id": "X", "minConfidentiality": letter}]}}} if made == "release"
            else {"jurisdictions": {"JA": {"prohibitions": [], made: [{"id": "X", "minConfidentiality": letter}]}}})))
      for made in ("prohibitions", "mandates", "release") for letter in "ULNV" for held in "ULNV"],
    *[(f"user-{user}-in-the-team-{kind}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, actor=fx.to(named)))),
        request=fx.request(user=user, careTeams=[user, "t1"])))
      for user in ("Practitioner/ivo", "PractitionerRole/ivo") for named in (user, "CareTeam/t1", "CareTeam/t2", f"https://h/{user}") for kind in ("permit", "deny")],
    *[(f"called-by-its-type-{kind}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, actor=[
        fx.actor(role, identifier={"system": "urn:hie:org-type", "value": "hospital"})]))), request=fx.request(org=asking), document=fx.document(custodian=held),
        fixtureOverride={"organizations": {"lake": {"identifiers": [{"system": "urn:hie:org-type", "value": "hospital"}]}}}))
      for kind in ("permit", "deny") for role, asking, held in (("CST", "hill", "lake"), ("IRCP", "lake", "hill"))],
    *[(f"{member}-twice-{kind}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, **{member: value})))))
      for kind in ("permit", "deny") for member, value in (
        ("purpose", [*fx.purposes("TREAT"), {"code": "TREAT"}]), ("action", [{"coding": [fx.coding("consentaction", "access"), {"code": "access"}]}]),
        ("class", [{"system": "http://loinc.org", "code": "34133-9"}, {"code": "34133-9"}]))],
    *[(f"a-role-that-is-none-without-system-{kind}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, actor=[
        {"role": {"coding": [{"code": "TRC"}, *more]}, "reference": {"reference": named}}])))))
      for kind in ("permit", "deny") for more in ([], [{"code": "IRCP"}]) for named in ("Organization/hill", "Organization/x")],
    *[(f"nobody-knows-who-{role}-{kind}-{n}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, actor=[
        fx.actor(role, **reference)])))))
      for kind in ("permit", "deny") for role in ("IRCP", "CST", "AUT") for n, reference in enumerate((
        {}, {"display": "The clinic"}, {"reference": "#a"}, {"identifier": {}}, {"identifier": {"system": "urn:x"}}, {"identifier": {"value": "zzz"}}))],
    *[(f"self-by-the-kind-{kind}", fx.case(request=fx.request(org="door", role="patient", purpose="PATRQT", user=f"{kind}/ada")))
      for kind in ("Patient", "Practitioner", "RelatedPerson", "Group", "")],
    ("P5-by-no-proxy", fx.case(request=fx.request(proxyGrant={"person": "RelatedPerson/max", "patient": "ada", "kind": "parent", "status": "active"}))),
    ("G6-for-any-treatment", fx.case(request=fx.request(org="call", purpose="ACUTE"), fixtureOverride={"purposeParent": {"ACUTE": "TREAT"}})),
    ("D2-for-no-other-purpose", fx.case(request=fx.emergency() | {"org": "study", "role": "researcher", "purpose": "BIORCH"})),
    *[(f"span-{since}-{until}-in-{'-'.join(period.values())}-{kind}", fx.case(
        fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, dataPeriod=period))),
        document=fx.document(serviceStart=since, serviceStop=until)))
      for kind in ("permit", "deny") for period in ({"start": "2026-03", "end": "2026-05"}, {"start": "2026-03"}, {"end": "2026-05"})
      for since, until in (("2026-03", "2026-05"), ("2026-04-10", "2026-04-12"), ("2026-02", "2026-04"), ("2026-04", "2026-06"), ("2026-02", "2026-06"),
                           ("2026-01", "2026-02"), ("2026-06", "2026-07"), ("2026-03-01", "2026-04"), ("2026-04", "2026-05-31"))],
    *[(f"listed-twice-on-the-path-{what}", fx.case(
        fx.consent(fx.node("permit", fx.node("permit", fx.node("permit", **criterion), **criterion), purpose=fx.purposes("TREAT"))), document=document))
      for what, criterion, document in (
        ("V", {"securityLabel": fx.labels("V")}, fx.document(confidentiality="V")),
        ("42CFRPart2", {"securityLabel": fx.labels("42CFRPart2")}, fx.document(custodian="shore", labels=["42CFRPart2"])),
        ("purpose", {"securityLabel": fx.labels("42CFRPart2"), "purpose": fx.purposes("TREAT", "HPAYMT", "HOPERAT")}, fx.document(custodian="shore")))],
    *[(f"named-twice-on-the-path-{reference}", fx.case(
        fx.consent(fx.node("permit", fx.node("deny", fx.node("deny", actor=fx.to(reference)), actor=fx.to(reference)))), request=fx.request(org="lake")))
      for reference in ("Practitioner/ivo", "https://h/Practitioner/ivo", "Organization/lake")],
    *[(f"P6-named-{times}-times", fx.case(
        fx.consent(fx.node("deny", fx.node("permit", *[fx.node("permit", actor=fx.to("RelatedPerson/max"))] * (times - 1), actor=fx.to("RelatedPerson/max")))),
        request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max", proxyGrant={
            "person": "RelatedPerson/max", "patient": "ada", "kind": "parent", "status": "active", "maxConfidentiality": "R"}),
        document=fx.document(labels=["SEX"]), fixtureOverride={"patients": {"ada": {"birthDate": "2011-01-20"}}})) for times in (1, 2)],
    *[(f"P4-made-out-to-{person}-{status}", fx.case(request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max", proxyGrant={
            "person": person, "patient": "ada", "kind": "attorney", "status": status})))
      for person in ("RelatedPerson/abe", "RelatedPerson/max", "RelatedPerson/zoe", "") for status in ("active", "Active", "suspended", "")],
    *[(f"G7-{status}", fx.case(request=fx.emergency(status=status))) for status in ("active", "Active", "a", "", "ended")],
    ("D1-for-no-other-purpose", fx.case(fx.consent(fx.node("permit", fx.node("deny", purpose=fx.purposes("BIORCH", "BTG")))),
        request=fx.request(org="study", role="researcher", purpose="BIORCH"))),
    *[(f"P8-by-no-proxy-{letter}", fx.case(fx.consent(fx.node("permit")), document=fx.document(confidentiality=letter), request=fx.request(proxyGrant={
        "person": "Practitioner/ivo", "patient": "ada", "kind": "attorney", "status": "active"}))) for letter in "NRV"],
    *[(f"a-role-with-and-without-system-{kind}-{code}-{named}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, actor=[
        {"role": {"coding": [fx.coding("v3-ParticipationType", code), {"code": code}]}, "reference": {"reference": named}}])))))
      for kind in ("permit", "deny") for code in ("IRCP", "CST") for named in ("Organization/hill", "Organization/lake")],
    ("D1-listed-twice", fx.case(fx.consent(fx.node("permit", fx.node("deny", fx.node("deny", purpose=fx.purposes("BTG")), purpose=fx.purposes("BTG")))), request=fx.emergency())),
    ("P7-listed-twice", fx.case(fx.consent(fx.node("permit", fx.node("deny", fx.node("deny", purpose=fx.purposes("FAMRQT")), purpose=fx.purposes("FAMRQT")))),
        request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max", proxyGrant={
            "person": "RelatedPerson/max", "patient": "ada", "kind": "attorney", "status": "active"}))),
    ("D6-for-more-than-tpo", fx.case(fx.consent(fx.node("permit", purpose=fx.purposes("TREAT", "HPAYMT", "HOPERAT", "HRESCH"), securityLabel=fx.labels("42CFRPart2"))),
        document=fx.document(custodian="shore"))),
    *[(f"root-period-half-readable-{n}", fx.case(fx.consent(fx.node("permit", period=period))))
      for n, period in enumerate(({"start": "2027", "end": "soon"}, {"start": "soon", "end": "2025"}, {"start": "soon", "end": "2027"}))],
    *[(f"stop-long-before-start-{kind}", fx.case(fx.consent(fx.node("deny" if kind == "permit" else "permit", fx.node(kind, dataPeriod={"start": "2020"}))),
        document=fx.document(serviceStart="2026-05-03", serviceStop="2026-04-01"))) for kind in ("permit", "deny")],
    *[(f"agreement-until-{end}", fx.case(fixtureOverride={"organizations": {"hill": {"agreement": {"period": {"start": "2020", "end": end}}}}}))
      for end in ("2025", "2026-06-14", "2026-06-15", "2027")],
    *[(f"related-{one}-{kind}-{meaning}", fx.case(
        fx.consent(fx.node("permit" if kind == "deny" else "deny", fx.node(kind, data=[{"meaning": meaning, "reference": {"reference": one}}]))),
        document=fx.document(related=["DocumentReference/m", "urn:oid:1.2.3"], dependsOn=["DocumentReference/m", "urn:oid:1.2.3"], encounter="m")))
      for one in ("DocumentReference/a", "DocumentReference/m", "DocumentReference/z", "Encounter/a", "Encounter/m", "Encounter/z",
                  "urn:oid:1.2.3", "urn:oid:1.2.2", "urn:oid:1.2.4", "DocumentReference/urn:oid:1.2.3", "DocumentReference/DocumentReference/m", "DocumentReference/d", "DocumentReference/c", "DocumentReference/e")
      for kind in ("permit", "deny") for meaning in ("instance", "related", "dependents")],
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in [*BASIS, *((row[0], row[1]) for row in TABLE)]]
)
def test_every_directed_case_rests_on_what_the_slow_evaluator_says(case: dict[str, Any]) -> None:
    asked = {key: value for key, value in case.items() if key not in ("document", "documents")}
    asked["documents"] = case["documents"] if "documents" in case else [case["document"]]
    asked = json.loads(json.dumps(asked))  # as read: no text of it is one of the engine's own
    assert killing.said(asked, Fixture(fx.FIXTURE)) == drawn.right(asked)


@pytest.mark.parametrize(
    ("ages", "born", "asked", "labels", "rule"),
    [
        ({"majorityAge": None}, "2011-01-20", {"kind": "attorney"}, ["SEX"], "P6"),
        ({"majorityAge": None}, "1970-01-20", {"kind": "attorney"}, ["SEX"], "P6"),
        ({"majorityAge": None}, "2011-01-20", {"kind": "parent"}, [], "P5"),
        ({"confidentialAge": None}, "2020-01-20", {"kind": "parent"}, ["SEX"], "P6"),
        ({"confidentialAge": None}, "1970-01-20", {"kind": "attorney"}, ["SEX"], "P9"),
        ({"confidentialAge": None}, "2020-01-20", {"kind": "parent"}, [], "P9"),
        ({"confidentialAge": None}, "2011-01-20", None, [], "P2"),
        ({"confidentialAge": None}, "1970-01-20", None, [], "P3"),
        ({"confidentialAge": None, "majorityAge": None}, "1970-01-20", None, [], "P2"),
        ({}, "2011-01-20", None, [], "P3"),
    ],
)
def test_an_age_that_the_law_does_not_name_refuses(
    ages: dict[str, Any], born: str, asked: dict[str, str] | None, labels: list[str], rule: str
) -> None:
    look = {"org": "door", "role": "patient", "purpose": "PATRQT", "user": "Patient/ada"}
    if asked is not None:
        grant = {"person": "RelatedPerson/max", "patient": "ada", "status": "active", "maxConfidentiality": "R"} | asked
        look = {"org": "door", "role": "proxy", "purpose": "FAMRQT", "user": "RelatedPerson/max", "proxyGrant": grant}  # type: ignore[dict-item]
    override = {"jurisdictions": {"JA": ages}, "patients": {"ada": {"birthDate": born}}}
    made = fx.case(request=fx.request(**look), document=fx.document(labels=labels), fixtureOverride=override)
    assert decide_case(made, Fixture(fx.FIXTURE))["rule"] == rule


def test_what_is_kept_beside_the_tables_and_the_policy_is_bounded_and_changes_no_answer() -> None:
    tables = Tables.from_json(TABLES)
    policy = compiled(people())
    for n in range(KEPT + 50):
        assert tables.weighed(frozenset({"PSY", f"x{n}"}))[2] == engine.RANK["V"]
        assert policy.between(None, "TREAT", f"c{n}").custodian is None
    assert 0 < len(tables._weighed) <= KEPT
    assert 0 < len(policy._between) <= KEPT
    assert tables.weighed(frozenset({"BH"})) is tables.weighed(frozenset({"BH"}))
    assert policy.between(None, "TREAT", "top") is policy.between(None, "TREAT", "top")


def test_a_list_is_decided_by_the_time_of_each_document() -> None:
    directive = fx.consent(fx.node("permit", fx.node("deny", dataPeriod={"start": "2026-05", "end": "2026-05"})))
    prepared = prepare(fx.case(directive), Fixture(fx.FIXTURE))
    days = ["2026-04-30", "2026-05-01", "2026-05-31", "2026-06-01", None]
    about = [document_from(fx.document(serviceStart=day, created=None)) for day in days]
    assert [one.rule for one in prepared.decide_all(about)] == ["D6", "D3", "D3", "D6", "D3"]
    assert [prepared.decide(one).rule for one in about] == ["D6", "D3", "D3", "D6", "D3"]


def test_a_consent_that_breaks_its_reader_denies_all() -> None:
    class Breaking(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise RuntimeError

    read = compile_directive(Breaking(), directive_id="c", version="1")
    assert [(one.element, one.message) for one in read.problems] == [("Consent", "cannot be read (RuntimeError)")]
    assert (read.counts, read.root, read.depth, read.size) == (True, None, 0, 0)
