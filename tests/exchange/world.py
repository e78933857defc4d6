"""A small living exchange for tests: clinic, hospital, one patient, and simulated communities over loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hie.directory import registration
from hie.exchange import feed
from hie.ops.sandbox.peer import Behaviour, Communities
from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from hie.standards.facts import Caller
from tests.directory.forms import clinic, community, file, hospital

CLINIC_AUTHORITY = "2.999.10.1.1"
HOSPITAL_AUTHORITY = "2.999.10.2.1"


def caller(**changes: Any) -> Caller:
    """Dr Moor at the clinic, for treatment."""
    values: dict[str, Any] = {
        "participant_id": "org-clinic",
        "organization_id": "org-clinic",
        "client_id": "org-clinic",
        "user_id": "Practitioner/ada",
        "user_name": "Ada Moor",
        "role": "physician",
        "purpose": "TREAT",
        "organization_name": "The Clinic",
        "organization_oid": "2.999.10.1",
        "scopes": frozenset({"system/*.cruds"}),
        "request_id": "r-1",
    }
    return Caller(**values | changes)


def hospital_caller(**changes: Any) -> Caller:
    """Dr North at the hospital, for treatment."""
    return caller(
        **{
            "participant_id": "org-hospital",
            "organization_id": "org-hospital",
            "client_id": "org-hospital",
            "user_id": "Practitioner/north",
            "user_name": "Bo North",
            "organization_name": "The Hospital",
            "organization_oid": "2.999.10.2",
        }
        | changes
    )


def rosa(local_id: str = "P1", **changes: Any) -> Demographics:
    """A patient with everything that identifies her."""
    values: dict[str, Any] = {
        "names": (HumanName(family="Quarrel", given=("Rosamund", "Ivy"), use="official"),),
        "birth_date": "1971-04-09",
        "gender": "female",
        "addresses": (Address(lines=("7 Tern Street",), city="Velmoor", postal_code="40129", country="US"),),
        "telecoms": (Telecom(value="+12025550119"),),
        "identifiers": (Identifier(system=f"urn:oid:{HOSPITAL_AUTHORITY}", value=local_id),),
    }
    return Demographics(**values | changes)


def exchange(*communities: dict[str, Any]) -> None:
    """Register clinic and hospital, and the communities given."""
    registration.apply(file(clinic(), hospital(users=[]), *communities))


def feed_rosa(local_id: str = "P1") -> str:
    """The hospital feeds Rosa; her person id."""
    fed = feed.feed(
        feed.Revision(authority=HOSPITAL_AUTHORITY, value=local_id, demographics=rosa(local_id)), hospital_caller()
    )
    assert fed.result is not None
    return str(fed.result.person_id)


def community_at(number: int, port: int, **changes: Any) -> dict[str, Any]:
    """A community played by `peers`."""
    oid = f"2.999.30.{number}"
    return community(
        **{
            "id": f"com-{number}",
            "name": f"Community {number}",
            "organization_oid": oid,
            "home_community_id": f"urn:oid:{oid}",
            "jwks": {"keys": []},
            "scopes": [],
            "agreement": {"status": "active", "period": {"start": "2020-01-01"}, "labels_documents": True},
            "endpoints": [{"kind": "fhir", "url": f"http://127.0.0.1:{port}/c/{number}/fhir"}],
        }
        | changes
    )


class Peers:
    """Simulated communities in a thread; change their behaviour from the test."""

    def __init__(self) -> None:
        self.port = 0
        self.communities = Communities()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __getitem__(self, number: int) -> Behaviour:
        return self.communities[number]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner, self.port = self._loop.run_until_complete(self.communities.listen(0))
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@contextmanager
def peers() -> Iterator[Peers]:
    """Peers for the length of a block."""
    running = Peers()
    running.start()
    try:
        yield running
    finally:
        running.stop()
