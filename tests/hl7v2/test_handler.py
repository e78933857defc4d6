"""One message in, one acknowledgement out: what is accepted, what is rejected, and what is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from hie.audit.models import AuditEvent
from hie.exchange import inbox
from hie.exchange.models import InboundMessage
from hie.faces.hl7v2 import mllp
from hie.standards.facts import Caller
from patients import identifiers
from patients import queries as index
from patients.models import SourceRecord
from tests.hl7v2 import messages
from tests.hl7v2.messages import CLINIC_OID, HOSPITAL_OID, adt, err, msa, pid

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _participants(db: None) -> None:
    messages.register()


def _person(value: str, oid: str = HOSPITAL_OID) -> UUID | None:
    found = identifiers.resolve(oid, value)
    return found.person_id if found else None


@pytest.mark.parametrize("event", ["A01", "A04", "A05", "A08", "A28", "A31"])
def test_a_listed_event_registers_the_patient_and_is_accepted(event: str) -> None:
    reply = mllp.answer(adt(event))
    assert msa(reply) == ["MSA", "AA", "1"]
    assert reply.startswith(b"MSH|^~\\&|HIE|HUB|EPIC|NORTH|")
    assert f"|ACK^{event}^ACK|".encode() in reply
    assert b"|P|2.5.1\r" in reply
    assert _person("77") is not None


@pytest.mark.parametrize(
    ("event", "made", "entered"),
    [
        ("20260101115900-0600", "20260101120000", datetime(2026, 1, 1, 17, 59, tzinfo=UTC)),
        ("202601011159", "20260101120000+0000", datetime(2026, 1, 1, 16, 59, tzinfo=UTC)),  # of the sender's own place
        ("", "20260101120000+0000", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("20260101", "20260101120000+0000", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("20260199115900", "202601", None),
        ("yesterday noon", "20260101120000.5+0100", datetime(2026, 1, 1, 11, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_when_the_news_was_entered_is_kept_with_the_message(event: str, made: str, entered: datetime | None) -> None:
    raw = adt("A08").replace(b"EVN|A08|20260101120000", f"EVN|A08|{event}".encode())
    raw = raw.replace(b"|20260101120000|", f"|{made}|".encode(), 1)
    assert msa(mllp.answer(raw))[1] == "AA"
    assert InboundMessage.objects.get().entered_at == entered


@pytest.mark.parametrize("version", ["2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.8"])
def test_the_version_is_echoed(version: str) -> None:
    reply = mllp.answer(adt("A01", "1", version=version)).decode()
    assert reply.split("\r")[0].split("|")[11] == version


@pytest.mark.parametrize(
    ("raw", "code", "error", "place"),
    [
        pytest.param(adt(application="NOBODY"), "AR", "204", "MSH^1^3", id="unknown-sender"),
        pytest.param(adt("A03"), "AR", "201", "MSH^1^9^1^2", id="unsupported-event"),
        pytest.param(adt(kind="ORU^R01"), "AR", "200", "MSH^1^9^1^1", id="unsupported-type"),
        pytest.param(adt(version="3.0"), "AR", "203", "MSH^1^12", id="unsupported-version"),
        pytest.param(adt("A01", ""), "AR", "101", "MSH^1^10", id="no-control-id"),
        pytest.param(
            adt("A01", "1", pid(f"77^^^&{CLINIC_OID}&ISO")), "AR", "204", "PID^1^3^1^4", id="another's-domain"
        ),
        pytest.param(adt("A01", "1", pid("77^^^&1.2.3.4&ISO")), "AR", "204", "PID^1^3", id="nobody's-domain-only"),
        pytest.param(adt("A01", "1", pid("9^^^USSSA^SS")), "AR", "204", "PID^1^3", id="social-security-number-only"),
        pytest.param(adt("A01", "1", pid("")), "AE", "101", "PID^1^3", id="no-identifier"),
        pytest.param(adt("A01", "1", "PV1|1"), "AE", "100", "PID^1", id="no-pid"),
        pytest.param(adt("A01", "1", pid(birth="soon")), "AE", "102", "PID^1^7", id="unusable-date"),
        pytest.param(adt("A40"), "AE", "100", "MRG^1", id="merge-without-mrg"),
    ],
)
def test_what_is_wrong_is_named_by_code_and_place_and_kept(raw: bytes, code: str, error: str, place: str) -> None:
    assert msa(mllp.answer(adt("A01", "good")))[1] == "AA"
    reply = mllp.answer(raw)
    assert msa(reply)[1] == code
    (segment,) = err(reply)
    assert segment[2] == place
    assert segment[3].startswith(f"{error}^")
    assert segment[4] == "E"
    assert b"Quimby" not in reply
    assert b"19700203" not in reply
    row = InboundMessage.objects.exclude(control_id="good").get()
    assert row.status == "refused"
    assert row.error_code == error
    assert inbox.raw(row.pk) == raw


def test_an_older_version_gets_its_older_error_segment_as_well() -> None:
    (segment,) = err(mllp.answer(adt("A03", version="2.3.1")))
    assert segment[1] == "MSH^1^9^201&Unsupported event code&HL70357"


def test_what_is_no_message_at_all_is_rejected_and_kept() -> None:
    reply = mllp.answer(b"hello")
    assert msa(reply)[1] == "AR"
    assert inbox.raw(InboundMessage.objects.get().pk) == b"hello"


def test_raw_bytes_are_not_stored_readable() -> None:
    mllp.answer(adt())
    assert b"Quimby" not in bytes(InboundMessage.objects.get().raw)


@pytest.mark.parametrize(
    ("application", "facility"),
    [
        pytest.param("EPIC^^", "NORTH^^", id="empty-components"),
        pytest.param("EPIC^2.999.1^ISO", "NORTH^2.999.2^ISO", id="universal-ids-besides"),
    ],
)
def test_the_sender_is_known_by_its_namespace(application: str, facility: str) -> None:
    assert msa(mllp.answer(adt(application=application, facility=facility)))[1] == "AA"


@pytest.mark.parametrize(
    ("pid_3", "values"),
    [
        pytest.param("77", ["77"], id="no-authority"),
        pytest.param("77^^^LOCAL^MR", ["77"], id="local-name"),
        pytest.param("77^^^LOCAL~78^^^LOCAL~79^^^OTHER", ["77"], id="two-local-names"),
        pytest.param(f"11^^^LOCAL~77^^^N&{HOSPITAL_OID}&ISO", ["77"], id="oid-before-local-name"),
        pytest.param("77^^^X&some.host&DNS", ["77"], id="universal-id-that-is-no-oid"),
        pytest.param("77~999-12-3456^^^USSSA^SS", ["77"], id="social-security-number-besides"),
    ],
)
def test_a_local_identifier_is_the_senders_own(pid_3: str, values: list[str]) -> None:
    assert msa(mllp.answer(adt("A01", "1", pid(pid_3))))[1] == "AA"
    assert [value for value in ("77", "11", "79") if _person(value)] == values


def test_the_same_message_again_gets_the_same_acknowledgement_and_changes_nothing() -> None:
    first = mllp.answer(adt())
    again = mllp.answer(adt())
    assert again == first
    assert InboundMessage.objects.get().attempts == 1
    assert AuditEvent.objects.filter(kind="ITI-8").count() == 1
    other = mllp.answer(adt("A08", "1", pid(name="Quimby^Nora^Lee")))
    assert msa(other)[1] == "AA"
    assert InboundMessage.objects.count() == 2


def test_a_refused_message_is_tried_again_when_it_is_sent_again() -> None:
    raw = adt(application="LATER", facility="EAST")
    assert msa(mllp.answer(raw))[1] == "AR"
    from hie.directory import registration

    registration.apply({"participants": [messages.participant("org-east", "2.999.33.1", "LATER", "EAST")]})
    assert msa(mllp.answer(raw.replace(HOSPITAL_OID.encode(), b"2.999.33.1")))[1] == "AA"
    assert msa(mllp.answer(raw))[1] == "AR"
    assert InboundMessage.objects.get(status="refused").attempts == 2


def test_a_kept_message_is_replayed_with_its_reason_in_the_log() -> None:
    raw = adt(application="LATER", facility="EAST", event="A04").replace(HOSPITAL_OID.encode(), b"2.999.33.1")
    mllp.answer(raw)
    row = InboundMessage.objects.get()
    from hie.directory import registration

    registration.apply({"participants": [messages.participant("org-east", "2.999.33.1", "LATER", "EAST")]})
    actor = Caller(participant_id="hub", organization_id="hub", client_id="backoffice", user_id="Staff/op")
    assert inbox.replay(row.pk, actor, "the sender is registered now").status == "accepted"
    assert _person("77", "2.999.33.1") is not None
    event = AuditEvent.objects.get(kind="message-replayed")
    assert event.detail["message"] == str(row.pk)
    assert event.detail["status"] == "accepted"


def test_errors_are_grouped_by_cause() -> None:
    for number in range(3):
        mllp.answer(adt("A03", str(number)))
    mllp.answer(adt("A01", "x", pid(birth="soon")))
    mllp.answer(adt("A01", "fine"))
    groups = [(g.error_code, g.error_element, g.count) for g in inbox.error_groups("hl7v2")]
    assert groups == [("201", "MSH-9", 3), ("102", "PID-7", 1)]


def test_an_update_keeps_what_it_does_not_say_and_deletes_what_it_nulls() -> None:
    mllp.answer(adt("A01", "1"))
    mllp.answer(adt("A08", "2", f'PID|1||77^^^&{HOSPITAL_OID}&ISO||Quimby^Nora^Lee||||||""'))
    record = index.source_record(HOSPITAL_OID, "77")
    assert record is not None
    assert record.version == 2
    assert record.demographics.names[0].given == ("Nora", "Lee")
    assert record.demographics.birth_date == "1970-02-03"
    assert record.demographics.telecoms
    mllp.answer(adt("A08", "3", f'PID|1||77^^^&{HOSPITAL_OID}&ISO||Quimby^Nora^Lee||||||""|""'))
    record = index.source_record(HOSPITAL_OID, "77")
    assert record is not None
    assert record.demographics.addresses == ()


def test_a_merge_leads_the_prior_identifier_to_the_survivor() -> None:
    mllp.answer(adt("A01", "1", pid("77", name="Quimby^Nora")))
    mllp.answer(adt("A01", "2", pid("78", name="Zander^Ivo", birth="19210101", sex="M", address="1 Oak^^Troy")))
    assert _person("77") != _person("78")
    merge = adt("A40", "3", pid("77"), "MRG|78", pid("90", name="Fox^Una"), "MRG|91")
    assert msa(mllp.answer(merge))[1] == "AA"
    assert _person("78") == _person("77")
    assert _person("91") == _person("90") is not None
    assert SourceRecord.objects.filter(status="replaced").count() == 2
    again = merge.replace(b"|3|P|", b"|4|P|")
    assert msa(mllp.answer(again))[1] == "AA"


def test_a_merge_is_done_whole_or_not_at_all() -> None:
    mllp.answer(adt("A01", "1", pid("77")))
    mllp.answer(adt("A01", "2", pid("78", name="Zander^Ivo", birth="19210101", sex="M", address="1 Oak^^Troy")))
    bad = adt("A40", "3", pid("77"), "MRG|78", pid("79"), f"MRG|80^^^&{CLINIC_OID}&ISO")
    assert msa(mllp.answer(bad))[1] == "AR"
    assert _person("77") != _person("78")


def test_a_batch_is_answered_with_a_batch() -> None:
    raw = b"FHS|^~\\&|E\nBHS|^~\\&|E\n" + adt("A01", "1") + adt("A03", "2") + b"BTS|2\nFTS|1\n"
    lines = mllp.answer(raw).decode().split("\r")
    assert [line[:3] for line in lines if line] == ["FHS", "BHS", "MSH", "MSA", "MSH", "MSA", "ERR", "BTS", "FTS"]


def test_the_certificate_must_be_the_senders() -> None:
    assert msa(mllp.answer(adt("A01", "1"), participant_id="org-north"))[1] == "AA"
    assert msa(mllp.answer(adt("A01", "2"), participant_id="org-clinic"))[1] == "AR"


def test_a_suspended_sender_is_rejected() -> None:
    from hie.directory import registration

    registration.suspend("org-north", "test", "tester")
    assert msa(mllp.answer(adt()))[1] == "AR"
    assert _person("77") is None


def test_a_crash_is_answered_with_an_incident_and_can_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from hie.exchange import feed

    monkeypatch.setattr(feed.linking, "feed", lambda record: 1 / 0)
    reply = mllp.answer(adt())
    assert msa(reply)[1] == "AE"
    assert err(reply)[0][3].startswith("207^")
    monkeypatch.undo()
    assert msa(mllp.answer(adt()))[1] == "AA"


def test_an_overlay_is_accepted_with_a_warning_and_kept_aside() -> None:
    mllp.answer(adt("A01", "1"))
    reply = mllp.answer(adt("A08", "2", pid(name="Zander^Ivo", birth="19210101", sex="M", address="1 Oak^^Troy")))
    assert msa(reply)[1] == "AA"
    assert err(reply)[0][4] == "W"
    record = index.source_record(HOSPITAL_OID, "77")
    assert record is not None
    assert record.demographics.names[0].family == "Quimby"


def test_messages_under_an_old_key_are_put_under_the_new_one(settings: Any) -> None:
    settings.DOCUMENT_KEYS = {"k1": b"1" * 32}
    mllp.answer(adt())
    settings.DOCUMENT_KEYS = {"k2": b"2" * 32, "k1": b"1" * 32}
    assert inbox.rewrap() == 1
    settings.DOCUMENT_KEYS = {"k2": b"2" * 32}
    assert inbox.raw(InboundMessage.objects.get().pk) == adt()
