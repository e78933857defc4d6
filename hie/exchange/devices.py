"""Systems that state neither role nor purpose: who speaks when a message over HL7 v2 asks or is told.

Role and purpose are those of the client's registration, never an emergency. Where it names none, nothing is invented:
the door refuses every read, as it does with a token that states neither (design.md, "Token request").
"""

from __future__ import annotations

from hie.directory import queries as directory
from hie.standards.facts import Caller, ParticipantFacts


def device(found: ParticipantFacts, *, face: str, network_address: str = "", request_id: str = "") -> Caller:
    """The participant's own system as a caller."""
    clients = directory.snapshot().clients.values()
    client = next((one for one in clients if one.participant_id == found.id), None)
    role = client.default_role if client is not None else None
    purpose = client.default_purpose if client is not None else None
    return Caller(
        participant_id=found.id,
        organization_id=found.id,
        organization_name=found.name,
        organization_oid=found.organization_oid,
        client_id=client.client_id if client is not None else found.id,
        user_id=f"Device/{found.id}",
        role=role,
        purpose=purpose if purpose != "BTG" else None,
        network_address=network_address,
        request_id=request_id,
        face=face,
    )
