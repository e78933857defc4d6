"""A busy month in figures: what the dashboards are looked at with, without anything behind it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from hie.audit.figures import Tally
from hie.audit.figures_of_log import Came, Group
from hie.audit.figures_of_log import Subject as Logged
from hie.audit.models import FigureMark
from hie.exchange.figure_sources import BOUNDS, DOCUMENT_FIELDS, RECORD_FIELDS, Delay, Subject

SOURCES = ("log", "links", "identity", "reviews", "documents", "answers", "messages", "choices", "records")


def people(count: int, first: int = 0) -> list[uuid.UUID]:
    """So many invented people."""
    return [uuid.UUID(int=first + n + 1) for n in range(count)]


def busy(today: date, days: int = 60, organizations: Iterable[str] = ("org-clinic", "org-hospital")) -> None:
    """So many days up to today of everything the dashboards show; on the first of them too few people."""
    tally = Tally()
    for n in range(days):
        day = today - timedelta(days=n)
        crowd = people(4 if n == 0 else 14, n)
        for place, organization in enumerate(organizations):
            for purpose, number in (("TREAT", 120 - n + 40 * place), ("HPAYMT", 30 + place)):
                tally.add(
                    Logged.LEFT, day, participant=organization, purpose=purpose, what="bytes", n=number, people=crowd
                )
                for group in (Group.FIND_DOCUMENTS, Group.READ_DOCUMENT, Group.SEND_DOCUMENT, Group.SEND_PATIENT):
                    for came, share in ((Came.ANSWERED, 20), (Came.PARTLY, 3), (Came.REFUSED, 2), (Came.FAILED, 1)):
                        some = share * number // 20 + 1
                        tally.add(Logged.REQUESTS, day, participant=organization, purpose=purpose, what=group, other=came, n=some, total=some, people=crowd)  # fmt: skip
            tally.add(Logged.REQUESTS, day, participant=organization, what=Group.DOOR, other=Came.REFUSED, n=2, total=2)
            tally.add(Logged.REFUSED, day, participant=organization, purpose="HPAYMT", what="D3", n=9, people=crowd)
            for place_, name in enumerate(DOCUMENT_FIELDS):
                tally.add(Subject.DOCUMENT_FIELDS, day, participant=organization, what=name, n=40, total=40 - place_ * 3, people=crowd)  # fmt: skip
            for place_, name in enumerate(RECORD_FIELDS):
                tally.add(Subject.RECORD_FIELDS, day, participant=organization, what=name, n=20, total=20 - place_, people=crowd)  # fmt: skip
            for delay, seconds in BOUNDS:
                tally.add(
                    Subject.DELAYS, day, participant=organization, what=delay, n=8, total=8 * seconds, people=crowd
                )
            tally.add(Subject.MESSAGES, day, participant=organization, what="accepted", other="hl7v2", n=50)
            tally.add(Subject.FEED_DELAYS, day, participant=organization, what=Delay.QUARTER, n=46, total=46 * 300)
            tally.add(Subject.FEED_DELAYS, day, participant=organization, what=Delay.DAY, n=4, total=4 * 9000)
            tally.add(Subject.MESSAGES, day, participant=organization, what="refused", other="hl7v2", n=2, total=1)
            tally.add(Subject.LINKS, day, participant=organization, what="certain", n=30, people=crowd)
            tally.add(Subject.LINKS, day, participant=organization, what="first", n=12, people=crowd)
            tally.add(Subject.RECORDS, day, participant=organization, n=900 - n, total=12)
        for whom, answered in (("urn:oid:2.999.30.1", 40), ("urn:oid:2.999.30.2", 22)):
            for how, number in (("answered", answered), ("late", 3), ("refused", 2), ("failed", 1), ("withheld", 2)):
                tally.add(Subject.ANSWERS, day, participant="org-clinic", purpose="TREAT", what=how, other=whom, n=number, people=crowd)  # fmt: skip
        for what, number in (("unlinked", 1), ("merged", 2), ("overlay-suspected", 1)):
            tally.add(Subject.IDENTITY, day, what=what, n=number, people=people(number, n))
        tally.add(
            Subject.REVIEWS, day, what="decided:same", other="possible-match", n=3, total=9000, people=people(3, n)
        )
        tally.add(
            Subject.REVIEWS, day, what="decided:different", other="possible-match", n=2, total=9000, people=people(2, n)
        )
        for what, number in (("any", 90 - n // 2), ("treat:all", 60), ("treat:none", 15), ("apart", 22), ("research:none", 3)):  # fmt: skip
            tally.add(Subject.CHOICES, day, what=what, n=number, people=people(number))
        tally.add(Subject.PATIENTS, day, n=1200 - n)
        tally.add(Logged.CHOICES_CHANGED, day, what="filed", n=12, people=people(12, n))
        tally.add(Logged.CHOICES_CHANGED, day, what="ended", n=2, people=people(2, n))
        tally.add(Logged.SIGNED_IN, day, n=20, people=crowd)
        month = day.replace(day=1)
        tally.add(
            Logged.HELD, month, participant="org-hospital", purpose="TREAT", other="org-clinic", n=5, people=crowd
        )
        tally.add(
            Logged.HELD, month, participant="org-hospital", purpose="HPAYMT", other="org-clinic", n=1, people=people(3)
        )
        tally.add(
            Logged.HELD, month, participant="org-hospital", purpose="HLEGAL", other="org-clinic", n=5, people=crowd
        )
    tally.store()
    counted()


def counted(at: datetime | None = None) -> None:
    """As if every source were counted up to then."""
    now = at or datetime.now(UTC)
    for source in SOURCES:
        FigureMark.objects.update_or_create(source=source, defaults={"counted_at": now})
