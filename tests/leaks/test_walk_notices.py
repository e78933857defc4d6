"""The walk over notices: a receiver is sent of a patient with a hidden record what it would be sent without that record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from hie.directory import registration
from hie.exchange import feed, notices, subscriptions
from hie.exchange.notices import IdentityChange, Sent
from hie.faces.fhir.notify import Notifications as FhirNotifications
from hie.faces.hl7v2.notify import Notifications as Hl7Notifications
from patients import identifiers, linking
from tests.directory.forms import clinic, file
from tests.exchange import world
from tests.leaks import place
from tests.leaks.policies import Policy
from tests.leaks.test_walk_people import HIDINGS, Hiding, own_record
from tests.leaks.walking import Ear, Heard, Listener, same, taken_back, walks

pytestmark = pytest.mark.django_db


@dataclass
class Post:
    """A channel that writes as the real one does and keeps what it would send."""

    real: Any
    sent: list[bytes] = field(default_factory=list)

    def encode(self, change: IdentityChange, *, endpoint: str) -> list[bytes]:
        """As the real one."""
        return list(self.real.encode(change, endpoint=endpoint))

    def send(self, endpoint: str, batch: Sequence[tuple[str, list[bytes]]]) -> list[Sent]:
        """Everything arrives."""
        self.sent += [message for _, messages in batch for message in messages]
        return [Sent(arrived=True) for _ in batch]


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Post]:
    """Both channels; senders look again on a connection of their own, which sees nothing of a test's transaction."""
    kept = {"subscription": Post(FhirNotifications()), "mllp": Post(Hl7Notifications())}
    monkeypatch.setattr(notices, "_channels", dict(notices._channels) | kept)
    monkeypatch.setattr(notices, "_stands", lambda basis: True)
    return kept


CRITERIA = (
    "Patient",
    "Patient?organization=Organization/org-hospital",
    f"Patient?identifier={place.SYSTEM}|{place.LOCAL}",
)


def side(hiding: Hiding, there: bool, own: bool, posts: dict[str, Post], listener: Listener) -> dict[Any, list[Heard]]:
    """What the clinic is sent of a hospital record that comes, changes, is parted and removed."""
    endpoints = [{"kind": "mllp", "url": "mllp://127.0.0.1:9"}]
    place.takes_part(hiding.policy)
    asking = {"default_role": "system", "default_purpose": "TREAT"}
    registration.apply(file(clinic(hl7v2={"application": "CLIN", "facility": "SOUTH"}, endpoints=endpoints, **asking)))
    for criteria in CRITERIA:
        subscriptions.subscribe(
            subscriptions.Wanted(criteria=criteria, endpoint="http://127.0.0.1:9/feed", resource={}), world.caller()
        )
    ear = Ear(world.caller(), listener)
    heard: dict[Any, list[Heard]] = {}

    def told(step: str) -> None:
        for post in posts.values():
            del post.sent[:]
        listener.taken()
        notices.deliver_all()
        for kind, post in posts.items():
            heard[step, kind] = [ear.heard(200, {}, message) for message in post.sent]

    if own:
        ear.known = {own_record(): "<own>"}
        told("own")
    person = place.fed(**hiding.demographics) if there else ""
    if there:
        place.directed(hiding.policy, person, [], listener)
        if hiding.after is not None:
            hiding.after()
    told("comes")
    if there:
        place.fed(**hiding.demographics | {"gender": "other"})
    told("changes")
    if there and own:
        found = identifiers.resolve(world.HOSPITAL_AUTHORITY, place.LOCAL)
        assert found is not None
        linking.unlink(found.source_record_id, actor="steward", reason="two people")
    told("is parted")
    if there:
        feed.remove(world.HOSPITAL_AUTHORITY, place.LOCAL, world.hospital_caller())
    told("is removed")
    return heard


OTHERS = [name for name in HIDINGS if name != "the hospital is suspended"]
"""A suspended hospital feeds nothing."""


@walks("task", "exchange.deliver_notices")
@pytest.mark.parametrize("hidden", OTHERS)
def test_a_receiver_is_told_nothing_of_a_hidden_patient(
    listener: Listener, posts: dict[str, Post], hidden: str
) -> None:
    with_her = taken_back(lambda: side(HIDINGS[hidden], True, False, posts, listener))
    without = taken_back(lambda: side(HIDINGS[hidden], False, False, posts, listener))
    same(with_her, without)
    assert not [one for heard in with_her.values() for one in heard]


# Of a person whom one record flags, all records are secret: that a flag came is told by what the clinic no longer sees.
@pytest.mark.parametrize("hidden", [name for name in OTHERS if name != "she is protected"])
def test_a_receiver_with_a_record_of_its_own_is_told_nothing_of_a_hidden_one(
    listener: Listener, posts: dict[str, Post], hidden: str
) -> None:
    with_her = taken_back(lambda: side(HIDINGS[hidden], True, True, posts, listener))
    without = taken_back(lambda: side(HIDINGS[hidden], False, True, posts, listener))
    assert with_her["own", "subscription"]
    same(with_her, without)


@walks("task", "exchange.deliver_notices")
def test_a_receiver_is_told_of_a_patient_who_hides_nothing(listener: Listener, posts: dict[str, Post]) -> None:
    told = taken_back(lambda: side(Hiding(Policy()), True, True, posts, listener))
    assert told["own", "subscription"]
    assert told["comes", "subscription"]
    assert told["comes", "mllp"]
