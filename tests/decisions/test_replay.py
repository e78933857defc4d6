"""A decision record is complete: it is decided again from the versions it names, and a changed one is found."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from consent import break_glass, directives, kept, policies
from consent.models import KeptPolicy
from documents import queries as registry
from documents.models import Association, AuthorRow, EntryCode
from hie.audit import queries as audit
from hie.audit.models import AuditEvent
from hie.directory.models import Participant
from hie.exchange import access, decision_record, find, governance, replay, retrieve
from hie.exchange.access import Staff
from hie.exchange.document_filter import entry_filter
from hie.exchange.errors import NotFound
from hie.exchange.found_pages import DocumentSearch
from hie.exchange.named_patients import PatientNamed
from hie.exchange.replay import Outcome
from hie.standards.facts import Caller
from tests.consent import fixture as fx
from tests.decisions.loaded import Hub, caller

pytestmark = pytest.mark.django_db
OFFICER = Staff(user_id="ida", roles=frozenset({"privacy-officer"}), account=1)
CASES = json.loads((Path(__file__).parents[1] / "consent/cases.json").read_text())


@pytest.fixture
def hub(loaded_lake: Hub) -> Hub:
    return loaded_lake


def search(hub: Hub, who: Caller, patient: str = "ada") -> Any:
    asked = DocumentSearch(patients=((PatientNamed(id=hub.persons[patient]),),), asked=entry_filter([]))
    return find.find_documents(asked, caller=who)


def newest() -> tuple[str, dict[str, Any], tuple[tuple[str, str], ...]]:
    event = AuditEvent.objects.exclude(decision={}).latest("at")
    ((identifier, record, denied),) = audit.decisions_of([str(event.id)])
    return identifier, record, denied


def some_looks(hub: Hub) -> None:
    """Ada's documents, of which some are denied, asked for by several."""
    for changes in (
        {},
        {"labels": ["PSY"], "confidentiality": "R"},
        {"custodian": "shore", "confidentiality": "R", "created": "2024-02-01T10:00:00Z"},
        {"confidentiality": None, "labelled": False},
        {"custodian": "mer"},
        {"derivedFrom": [fx.document(id="s", labels=["HIV"], confidentiality="R")]},
    ):
        hub.document(fx.document(**changes))
    provision = fx.node("permit", fx.node("deny", dataPeriod={"start": "2024"}, securityLabel=fx.labels("PSY", "R")))
    directives.import_unchecked(hub.in_hub(fx.consent(provision)), identifier_pk=hub.pk("ada"), actor="test")
    for who in (caller("hill"), caller("lake-eye"), caller("coin", role="billing", purpose="HPAYMT")):
        search(hub, who)


def test_every_record_comes_out_again_as_it_was_recorded(hub: Hub) -> None:
    some_looks(hub)
    records = audit.decisions_of(
        str(one) for one in AuditEvent.objects.exclude(decision={}).values_list("id", flat=True)
    )
    assert len(records) == 3
    assert {replay.decide_again(*one).outcome for one in records} == {Outcome.SAME}
    assert {rule for _, record, _ in records for one in record["decisions"] for rule in [one["rule"]]} > {"D3", "C1"}
    report = replay.nightly(share=1.0)
    assert (report.counts, report.holds) == ({"same": 3}, True)
    assert AuditEvent.objects.get(kind="decisions-replayed").outcome == 0


def test_what_was_in_force_then_decides_whatever_has_changed_since(hub: Hub) -> None:
    some_looks(hub)
    before = newest()
    stored = directives.in_store([hub.pk("ada")])[0]
    directives.revoke(stored.id, filer=directives.Filer(actor="x", capacity=directives.Capacity.STAFF), reason="test")
    Participant.objects.filter(id="hill").update(status="suspended")
    Participant.objects.filter(id="lake").update(release_policy=[{"id": "ALL"}])
    registry.DocumentEntry.objects.update(confidentiality="V", label_version=9)
    access.gate(caller("lake"), access.Operation.QUERY)
    kept.forget()
    assert replay.decide_again(*before).outcome is Outcome.SAME


def test_a_document_is_decided_again_by_what_was_known_of_it_then(hub: Hub) -> None:
    some_looks(hub)
    hub.document(fx.document(created="2025-05-01T10:00:00Z", codes=["http://snomed.info/sct|56717001"]))
    search(hub, caller("hill"))
    before = newest()
    outcomes = {one.facts.id: one.decision.rule for one in decision_record.decided_of(before[1])}
    versions = {row[0]: row[1] for row in before[1]["documents"]}
    assert all(versions.values())
    # All that facts are read from, otherwise now: labels, letter, holder, codes, authors, times, sources, the version.
    Association.objects.all().delete()
    EntryCode.objects.update(code="00000-0")
    AuthorRow.objects.all().delete()
    for row in registry.DocumentEntry.objects.all():
        metadata = row.metadata | {
            "class_code": {"code": "00000-0", "scheme": "http://loinc.org"}, "event_codes": [], "authors": [],
            "creation_time": "19990101", "service_start_time": None, "service_stop_time": None,
        }  # fmt: skip
        registry.DocumentEntry.objects.filter(pk=row.pk).update(
            metadata=metadata, labels=["PSY", "HIV"], confidentiality="V", labelled=True, custodian="shore",
            creation_time="19990101", creation_time_from="1999-01-01T00:00:00Z", creation_time_until="1999-01-02T00:00:00Z",
            revision=row.revision + 1, label_version=7, availability_status="urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated",
        )  # fmt: skip
    again = replay.decide_again(*before)
    assert (again.outcome, again.differences) == (Outcome.SAME, ())
    # So does the report on a change of policy, which decides under what is in force now: by the facts of then.
    found = governance.report("code-table", "codes", {"version": "9"}, OFFICER)
    assert (found.left_out, found.turned) == (0, ())
    # Asked for now, the same documents are decided otherwise.
    assert set(outcomes.values()) != {"D5"}
    search(hub, caller("hill"))
    now = decision_record.decided_of(newest()[1])
    assert all(not one.decision.permitted for one in now)
    # And a record whose facts were put right afterwards to what they are now is found.
    facts = [one | {"labels": ["PSY"], "confidentiality": "V"} for one in before[1]["facts"]]
    assert replay.decide_again(before[0], before[1] | {"facts": facts}, before[2]).outcome is Outcome.DIFFERENT


def test_a_record_says_all_that_section_13_asks_and_nothing_of_content(hub: Hub) -> None:
    some_looks(hub)
    event = AuditEvent.objects.filter(organization="hill").latest("at")
    record = event.decision
    assert record["decision_id"] == str(event.id)
    assert record["request"] == {
        "org": "hill", "root_org": "hill", "user": "Practitioner/ivo", "role": "physician", "purpose": "TREAT",
        "operation": "query", "on_behalf_of": None, "relationship": None, "care_teams": [], "grant_id": None,
    }  # fmt: skip
    assert record["patient"] == hub.persons["ada"]
    stored = directives.in_store([hub.pk("ada")])[0]
    assert record["considered"] == [f"{stored.id}@1"]
    assert record["choices"] == {str(stored.id): "2026-01-01"}
    assert record["elapsed_us"] > 0
    assert record["policy_epoch"] == policies.current().epoch
    # Of other tests some may stand beside it: it is written on a connection of its own.
    assert KeptPolicy.objects.filter(digest=record["policy"]).exists()
    assert kept.kept(record["policy"]) is not None
    assert {len(row) for row in record["documents"]} <= {4, 5}
    by_rule = {one["rule"]: one for one in record["decisions"]}
    assert by_rule["D3"]["basis"] == [{"kind": "consent", "id": str(stored.id), "version": "1", "path": "provision[0]"}]
    assert by_rule["D3"]["explanation"] == {"key": "consent.D3", "parameters": {"choice_on": "2026-01-01"}}
    shore = next(one for one in record["facts"] if one["custodian"] == "shore")
    assert shore["effective"] == {"confidentiality": "R", "labels": ["42CFRPart2"]}
    unlabelled = next(one for one in record["facts"] if one.get("labelled") is False)
    assert unlabelled["effective"]["confidentiality"] == "R"
    assert "title" not in json.dumps(record)
    assert "1970" not in json.dumps(record)


def test_law_release_policy_agreement_and_default_are_named_with_their_versions(hub: Hub) -> None:
    for changes in ({"labels": ["HIV"], "confidentiality": "R"}, {"labels": ["GDIS"], "confidentiality": "R"}, {}):
        hub.document(fx.document(**changes))
    hub.document(fx.document(custodian="asleep"))
    search(hub, caller("coin", role="billing", purpose="HPAYMT"))
    versions = {
        item["kind"]: item.get("version") for one in newest()[1]["decisions"] for item in one["basis"]
    }  # fmt: skip
    assert versions["law"] == versions["default"] == "1"
    assert versions["agreement"] == "1"
    assert len(versions["release"] or "") == 12


def tampered(record: dict[str, Any], change: str) -> dict[str, Any]:
    made = copy.deepcopy(record)
    at = next(n for n, one in enumerate(made["decisions"]) if one["rule"] == "D3")
    if change == "decision":
        made["decisions"][at] |= {"decision": "permit", "rule": "D6", "reason": "patient-permit"}
    elif change == "rule":
        made["decisions"][at] |= {"rule": "D5", "reason": "very-restricted"}
    elif change == "basis":
        made["decisions"][at]["basis"][0]["path"] = "provision"
    elif change == "obligations":
        made["decisions"][at]["obligations"] = ["MINEC"]
    elif change == "requester":
        made["request"]["org"] = "lake"
    elif change == "labels":
        made["facts"] = [one | {"labels": [], "confidentiality": "N"} for one in made["facts"]]
    elif change == "time":
        made["at"] = "2019-01-01T00:00:00+00:00"
    elif change == "consents":
        made["considered"] = []
    return made


@pytest.mark.parametrize(
    "change", ["decision", "rule", "basis", "obligations", "requester", "labels", "time", "consents"]
)
def test_a_tampered_record_is_found(hub: Hub, change: str) -> None:
    some_looks(hub)
    identifier = str(AuditEvent.objects.filter(organization="hill").latest("at").id)
    ((_, record, denied),) = audit.decisions_of([identifier])
    assert replay.decide_again(identifier, record, denied).outcome is Outcome.SAME
    assert replay.decide_again(identifier, tampered(record, change), denied).outcome is Outcome.DIFFERENT


def test_a_record_that_was_cut_or_moved_is_found(hub: Hub) -> None:
    some_looks(hub)
    identifier, record, denied = newest()
    for broken in (
        record | {"request": None},
        record | {"documents": [["x", "", 99, 0]]},
        record | {"documents": [["x", "", -1, 0]]},
        {k: v for k, v in record.items() if k != "considered"},
        record | {"decision_id": "another"},
        record | {"at": "yesterday"},
    ):
        assert replay.decide_again(identifier, broken, denied).outcome is Outcome.UNREADABLE
    assert replay.decide_again(identifier, record | {"policy": "0" * 64}, denied).outcome is Outcome.MISSING
    gone = record | {"considered": ["7f2c0c3e-0000-4000-8000-000000000000@1"]}
    assert replay.decide_again(identifier, gone, denied).outcome is Outcome.MISSING
    dropped = record | {"documents": [row for row in record["documents"] if row[3] != record["documents"][-1][3]]}
    assert replay.decide_again(identifier, dropped, denied).outcome is Outcome.DIFFERENT


def test_a_night_reports_what_does_not_hold(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    some_looks(hub)
    real = audit.decisions_of

    def changed(ids: Any) -> Any:
        return [
            (i, tampered(r, "rule") if any(d["rule"] == "D3" for d in r["decisions"]) else r, d)
            for i, r, d in real(ids)
        ]

    monkeypatch.setattr(replay.audit, "decisions_of", changed)
    report = replay.nightly(share=1.0)
    assert not report.holds
    assert report.counts["different"] == len(report.found) > 0
    event = AuditEvent.objects.get(kind="decisions-replayed")
    assert event.outcome == 8
    assert {one["event"] for one in event.detail["found"]} == {one.event_id for one in report.found}


def test_emergency_and_helpers_looks_come_out_again_after_their_grants_have_ended(hub: Hub) -> None:
    hub.document(fx.document(confidentiality="R"))
    directives.import_unchecked(hub.in_hub(fx.consent(fx.node("deny"))), identifier_pk=hub.pk("ada"), actor="test")
    grant = break_glass.open_grant(
        identifier_pk=hub.pk("ada"), user_id="Practitioner/ivo", organization="hill", reason="LIFE-THREAT",
        text="collapsed in the waiting room", now=access.now(),
    )  # fmt: skip
    assert search(hub, caller("hill", purpose="BTG")).total == 1
    identifier, record, denied = newest()
    assert record["request"]["grant_id"] == grant.id
    assert "collapsed" not in json.dumps(record)
    break_glass.end_grant(grant.id, status="revoked")  # type: ignore[arg-type]  # a text that is one
    assert {one["rule"] for one in record["decisions"]} == {"D2"}
    assert replay.decide_again(identifier, record, denied).outcome is Outcome.SAME
    from consent import proxies

    for start in ("2030", "2020"):
        proxies.grant(
            identifier_pk=hub.pk("ada"),
            person="RelatedPerson/sam",
            kind="nominated",
            start=start,
            max_confidentiality="R",
        )
    helper = caller("door", user_id="RelatedPerson/sam", role="proxy", purpose="FAMRQT")
    assert search(hub, helper).total == 1
    identifier, record, denied = newest()
    assert len(record["grants"]) == 2
    for row in proxies.grants_of([hub.pk("ada")]):
        proxies.set_status(row.id, "ended")
    assert replay.decide_again(identifier, record, denied).outcome is Outcome.SAME


def test_a_refused_read_leaves_a_record_that_can_be_decided_again(hub: Hub) -> None:
    entry = hub.document(fx.document())
    directives.import_unchecked(hub.in_hub(fx.consent(fx.node("deny"))), identifier_pk=hub.pk("ada"), actor="test")
    with pytest.raises(NotFound):
        find.read_document(entry, caller=caller("hill"))
    row = registry.entry(entry)
    assert row is not None
    with pytest.raises(NotFound):
        retrieve.retrieve(retrieve.Wanted(binary_id=str(row.binary_id)), caller=caller("hill"))
    records = audit.decisions_of(
        str(one) for one in AuditEvent.objects.exclude(decision={}).values_list("id", flat=True)
    )
    assert len(records) == 2
    assert {(replay.decide_again(*one).outcome, one[1]["decisions"][0]["rule"]) for one in records} == {
        (Outcome.SAME, "D3")
    }


def test_the_share_that_is_drawn_is_the_share_asked_for(hub: Hub) -> None:
    some_looks(hub)
    assert replay.nightly(share=0.0).counts == {}


def test_what_is_kept_of_a_policy_is_the_policy(hub: Hub) -> None:
    digest = kept.keep(policies.current())
    kept.forget()
    again = kept.kept(digest)
    now = policies.current()
    assert again is not None
    assert (again.participants, again.jurisdictions, again.tables) == (now.participants, now.jurisdictions, now.tables)
    assert kept.keep(again) == ""
    assert kept.kept("0" * 64) is None


def test_what_left_though_its_record_denies_it_is_found(hub: Hub) -> None:
    some_looks(hub)
    ids = [str(one) for one in AuditEvent.objects.exclude(decision={}).values_list("id", flat=True)]
    left = audit.disclosed_with(ids)
    assert any(left.values())
    found = set()
    for identifier, record, denied in audit.decisions_of(ids):
        disclosed = left.get(identifier, ())
        assert replay.decide_again(identifier, record, denied, disclosed=disclosed).outcome == Outcome.SAME
        for document, rule in (*denied, *((document, "F9") for document, _ in disclosed)):
            again = replay.decide_again(identifier, record, denied, disclosed=((document, rule),))
            assert again.outcome == Outcome.DIFFERENT
            assert again.differences[0][:2] == (document, f"disclosed by {rule}")
            found.add(rule)
    assert {"D3", "F9"} <= found
    assert replay.nightly(share=1.0).holds
