"""Messages that come in another order than they were made in: the index says in the end what it would have said in theirs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

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
from tests.hl7v2.messages import HOSPITAL_OID, adt, err, msa, pid

pytestmark = pytest.mark.django_db
_TIME = "20260101120000"


@pytest.fixture(autouse=True)
def _participants(db: None) -> None:
    messages.register()


def cx(value: str) -> str:
    return f"{value}^^^&{HOSPITAL_OID}&ISO^MR"


def at(made: str, event: str, *segments: str, evn: str = "") -> bytes:
    """A message made at a time of 2 January 2026, ``HHMM[SS]`` in UTC, or as it stands where that is longer; EVN-2 if any."""
    time = f"20260102{made}+0000" if 0 < len(made) <= 6 else made
    header = adt(event, f"{event}-{made}-{len(segments)}-{hash(segments)}", *segments)
    lines = header.decode().split("\r")
    lines[0] = lines[0].replace(_TIME, time)
    lines[1] = f"EVN|{event}|{evn}"
    return "\r".join(lines).encode()


def lives(place: str, value: str = "77") -> str:
    return pid(cx(value), address=f"5 Elm St^^{place}^IA^50010^US^H")


def take(*raw: bytes) -> list[str]:
    """The messages, all of them accepted; the codes of their warnings."""
    replies = [mllp.answer(one) for one in raw]
    assert [msa(reply)[1] for reply in replies] == ["AA"] * len(raw), replies
    return [fields[3].split("^")[0] for reply in replies for fields in err(reply)]


def city(value: str = "77") -> str:
    record = index.source_record(HOSPITAL_OID, value)
    assert record is not None
    return record.demographics.addresses[0].city


def person(value: str) -> UUID:
    found = identifiers.resolve(HOSPITAL_OID, value)
    assert found is not None
    return found.person_id


def in_use(value: str) -> bool:
    found = identifiers.resolve(HOSPITAL_OID, value)
    return found is not None and found.active


def test_an_older_message_that_comes_late_changes_nothing_and_is_said_so() -> None:
    assert take(at("080000", "A01", lives("Ames")), at("100000", "A08", lives("Boone"))) == []
    late = mllp.answer(at("090000", "A08", lives("Cresco")))
    assert msa(late)[1] == "AA"
    ((_, _, where, code, severity, *_),) = err(late)
    assert (where, code.split("^")[0], severity) == ("MSH^1^7", "0", "W")
    assert city() == "Boone"
    assert "Cresco" not in late.decode()
    event = AuditEvent.objects.get(kind="ITI-8", detail__outcome="outdated")
    assert (event.outcome, event.person_id) == (0, person("77"))
    assert InboundMessage.objects.filter(status="accepted").count() == 3
    assert take(at("100000", "A08", lives("Decorah"))) == [], "of one moment the later to come counts"
    assert city() == "Decorah"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_revisions_come_the_newest_stands(order: tuple[int, ...]) -> None:
    made = [at("080000", "A01", lives("Ames")), at("090000", "A08", lives("Boone")), at("1000", "A31", lives("Cresco"))]
    take(*(made[n] for n in order))
    assert city() == "Cresco"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("", ""), ("", ""), id="no-time"),
        pytest.param(("20260102", ""), ("20260101", ""), id="no-more-than-a-day"),
        pytest.param(("soon", "later"), ("soon", "20250101"), id="no-time-at-all"),
        pytest.param(("100030", ""), ("1000", ""), id="the-same-minute"),
        pytest.param(("20261025015000", ""), ("20261025011000", ""), id="the-hour-that-comes-twice"),
    ],
)
def test_what_says_no_order_goes_by_its_arrival(
    first: tuple[str, str], second: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hie.exchange.access.now", lambda: datetime(2026, 12, 1, tzinfo=UTC))
    zone = "hie.exchange.feed_changes.zone"
    monkeypatch.setattr(zone, lambda caller: ZoneInfo("Europe/London"))
    take(at(first[0], "A01", lives("Ames"), evn=first[1]), at(second[0], "A08", lives("Boone"), evn=second[1]))
    assert city() == "Boone"


def test_without_a_time_of_the_message_that_of_the_entry_counts() -> None:
    take(
        at("", "A01", lives("Ames"), evn="20260102100000+0000"),
        at("", "A08", lives("Boone"), evn="20260102090000+0000"),
    )
    assert city() == "Ames"
    take(at("110000", "A08", lives("Cresco"), evn="20200101000000+0000"))
    assert city() == "Cresco"


def test_a_clock_that_runs_ahead_does_not_make_what_follows_old() -> None:
    take(at("20990101000000+0000", "A01", lives("Ames")), at("20980101000000+0000", "A08", lives("Boone")))
    assert city() == "Boone", "both go by their arrival"
    later = datetime.now(UTC) + timedelta(minutes=1)
    take(at(f"{later:%Y%m%d%H%M%S}+0000", "A08", lives("Cresco")))
    assert city() == "Cresco"


# -- who is who -----------------------------------------------------------------------------------------------------


def test_a_merge_that_comes_late_is_done_and_overwrites_nothing() -> None:
    take(at("080000", "A01", lives("Ames")), at("080000", "A01", lives("Ames", "78")))
    take(at("100000", "A08", lives("Boone")))
    assert take(at("090000", "A40", lives("Cresco"), f"MRG|{cx('78')}")) == []
    assert (city(), in_use("78"), person("78")) == ("Boone", False, person("77"))


def test_a_revision_from_before_a_merge_does_not_undo_it() -> None:
    take(at("080000", "A01", lives("Ames")), at("080000", "A01", lives("Ames", "78")))
    take(at("100000", "A40", lives("Ames"), f"MRG|{cx('78')}"))
    take(at("090000", "A08", lives("Boone", "78")))
    assert (in_use("78"), person("78"), city()) == (False, person("77"), "Ames")


def test_a_change_of_number_from_before_a_merge_does_not_undo_it() -> None:
    merged = at("100000", "A40", lives("Ames"), f"MRG|{cx('78')}")
    take(at("080000", "A01", lives("Ames")), at("080000", "A01", lives("Ames", "78")), merged)
    assert take(at("090000", "A47", lives("Boone", "78"), f"MRG|{cx('77')}")) == ["0"]
    assert (in_use("77"), in_use("78")) == (True, False)
    assert take(at("110000", "A47", lives("Boone", "78"), f"MRG|{cx('77')}")) == []
    assert (in_use("77"), in_use("78")) == (False, True)
    # And the merge, when it is sent again, does not undo that.
    assert take(merged.replace(b"|P|2.5.1", b" again|P|2.5.1")) == ["0"]
    assert (in_use("77"), in_use("78")) == (False, True)


def test_a_number_that_changed_late_takes_along_what_was_said_since() -> None:
    take(at("080000", "A01", lives("Ames")), at("100000", "A08", lives("Boone")))
    take(at("090000", "A47", lives("Cresco", "79"), f"MRG|{cx('77')}"))
    assert (city("79"), in_use("77"), person("77")) == ("Boone", False, person("79"))
    take(at("093000", "A08", lives("Decorah", "79")))
    assert city("79") == "Boone"
    take(at("103000", "A08", lives("Decorah", "79")))
    assert city("79") == "Decorah"


@pytest.mark.parametrize(("newer", "older", "together"), [("A37", "A24", False), ("A24", "A37", True)])
def test_who_was_linked_or_parted_last_is_not_by_an_older_message(newer: str, older: str, together: bool) -> None:
    one, two = pid(cx("81"), "Quimby^Nora^L"), pid(cx("82"), "Tarrant^Ulf", birth="19310101", sex="M")
    take(at("070000", "A01", one), at("070000", "A01", two), at("080000", older, one, two))
    assert take(at("100000", newer, one, two), at("090000", older, one, two)) == ["0"]
    assert (person("81") == person("82")) is together
    # Another is joined all the same: of him nothing newer was said.
    three = pid(cx("83"), "Vance^Wilma", birth="19550505")
    assert take(at("070000", "A01", three), at("090000", "A24", one, three)) == []
    assert person("83") == person("81")


def test_a_message_that_is_tried_again_later_is_as_old_as_it_was() -> None:
    raw = at("090000", "A08", lives("Cresco")).replace(b"|EPIC|NORTH|", b"|LATER|EAST|")
    assert msa(mllp.answer(raw))[1] == "AR"
    take(at("080000", "A01", lives("Ames")), at("100000", "A08", lives("Boone")))
    from hie.directory import registration

    registration.apply({"participants": [messages.participant(messages.HOSPITAL, HOSPITAL_OID, "LATER", "EAST")]})
    actor = Caller(participant_id="hub", organization_id="hub", client_id="backoffice", user_id="Staff/op")
    kept: Any = InboundMessage.objects.get(status="refused")
    assert inbox.replay(kept.pk, actor, "the sender is registered now").status == "accepted"
    assert city() == "Boone"
    assert SourceRecord.objects.get().versions.count() == 2
