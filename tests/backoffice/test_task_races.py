"""Two officers at one task at once: the first counts, the second is told, and nothing is done twice."""

from __future__ import annotations

from uuid import UUID

import pytest

from documents.models import DocumentEntry, ReviewItem
from hie.audit.models import AuditEvent
from hie.exchange import desk_tasks
from hie.exchange.access import Staff
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_queues import QUEUES
from hie.exchange.desk_tasks import TaskRefused
from hie.outbox.models import OutboxMessage
from hie.trust.staff import ensure_roles
from tests.backoffice import waiting
from tests.patients.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def staff(name: str, role: str) -> Staff:
    return Staff(user_id=name, roles=frozenset({role}), name=name)


@pytest.mark.parametrize(
    ("queue", "role", "outcomes"),
    [
        ("doubtful-documents", "steward", ("release", "keep")),
        ("notices", "operator", ("again", "aside")),
        ("codes", "steward", ("local", "add")),
    ],
)
def test_of_two_who_decide_at_once_one_counts(world: UUID, queue: str, role: str, outcomes: tuple[str, str]) -> None:
    ensure_roles()
    key = waiting.MAKE[queue](world)

    def act(name: str, outcome: str) -> None:
        desk_tasks.decide(QUEUES[queue], key, outcome, staff(name, role), reason=f"by {name}", as_seen="0", typed={})

    came = at_once(lambda: act("ida", outcomes[0]), lambda: act("otto", outcomes[1]))
    assert sorted(type(one).__name__ for one in came) == ["NoneType", "TaskRefused"], came
    (done,) = DeskTaskAct.objects.all()
    won = outcomes[came.index(None)]
    assert done.kind == won
    assert AuditEvent.objects.filter(kind="desk-task", outcome=0, action="U").count() == 1
    assert AuditEvent.objects.filter(kind="desk-task", outcome=4).count() == 1
    if queue == "doubtful-documents":
        assert DocumentEntry.objects.get().restricted is (won == "keep")
        assert ReviewItem.objects.get().closed_by in {"ida", "otto"}
    if queue == "notices":
        assert (OutboxMessage.objects.get().aside_at is not None) is (won == "aside")


def test_of_two_who_take_back_at_once_one_counts(world: UUID) -> None:
    key = waiting.MAKE["doubtful-documents"](world)
    queue, ida = QUEUES["doubtful-documents"], staff("ida", "steward")
    desk_tasks.decide(queue, key, "release", ida, reason="hers", as_seen="0", typed={})

    def back() -> None:
        desk_tasks.undo(queue, key, ida, reason="not hers", as_seen="1")

    came = at_once(back, back)
    assert [type(one) for one in came if one is not None] == [TaskRefused]
    assert [act.kind for act in DeskTaskAct.objects.order_by("pk")] == ["release", "reopened"]
    assert DocumentEntry.objects.get().restricted
