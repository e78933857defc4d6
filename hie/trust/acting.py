"""For whom a client speaks: the person and organization it states, held against its registration.

One rule for whatever brings the statement: the assertion of a token request, or a SAML assertion.

Source: design.md "Token request"; spec/consent.md 3 "Across communities".
"""

from __future__ import annotations

from datetime import datetime

from hie.directory import queries
from hie.directory.queries import ClientFacts, Directory
from hie.standards.facts import Caller, ParticipantFacts
from hie.trust.errors import TokenRefused
from hie.trust.extensions import Stated


def participant(client: ClientFacts, directory: Directory, *, now: datetime) -> ParticipantFacts:
    """The participant of a client.

    Raises:
        TokenRefused: invalid_client; its registration or agreement is not active.
    """
    if not directory.is_active(client.participant_id, now):
        raise _refuse(client, "invalid_client", "the registration or agreement of this client is not active")
    return directory.participants[client.participant_id]


def caller(
    stated: Stated, client: ClientFacts, participant: ParticipantFacts, directory: Directory, *, now: datetime
) -> Caller:
    """Who acts, by what the client states; what it leaves out comes from its registration. Without scopes.

    Nothing stated is the client itself as a device. A purpose of BTG is never a default.

    Raises:
        TokenRefused: invalid_request or invalid_client; the organization is not the client's to speak for, or not
            active.
    """
    organization, intermediary = _organization(stated, client, participant, directory, now)
    return _caller(stated, client, participant, organization, intermediary)


def _organization(
    stated: Stated, client: ClientFacts, participant: ParticipantFacts, directory: Directory, now: datetime
) -> tuple[ParticipantFacts, str | None]:
    """The organization that acts, and the community that relays it, if one does.

    A participant speaks for itself or one below it. A community relays for organizations we need not
    know: one registered below it acts under its own entry, any other as the community, also one that
    takes part here by itself.
    """
    relayed = participant.id if participant.type == "community" else None
    if not stated.organization_id:
        return participant, relayed
    oid = stated.organization_id.removeprefix("urn:oid:")
    named = directory.participant(directory.by_oid.get(oid))
    if named is not None and directory.within(named.id, participant.id):
        if not directory.is_active(named.id, now):
            raise _refuse(client, "invalid_client", "the registration or agreement of the organization is not active")
        return named, relayed
    if relayed is not None:
        return participant, relayed
    raise _refuse(client, "invalid_request", "organization_id: must be the client's organization or one below it")


def _caller(
    stated: Stated,
    client: ClientFacts,
    participant: ParticipantFacts,
    organization: ParticipantFacts,
    intermediary: str | None,
) -> Caller:
    if stated.user_id:
        user_id, user_name = stated.user_id, stated.user_name
    else:
        user_id, user_name = f"Device/{client.client_id}", stated.user_name
    role = stated.role
    if role is None and stated.user_id:
        known = queries.user(organization.id, stated.user_id)
        role = known.role if known else None
        user_name = user_name or (known.name if known else "")
    role = role or client.default_role
    purpose = stated.purpose or client.default_purpose
    if stated.purpose is None and purpose == "BTG":
        purpose = None
    foreign = intermediary is not None and organization.id == participant.id and stated.organization_id
    return Caller(
        participant_id=participant.id,
        organization_id=organization.id,
        client_id=client.client_id,
        user_id=user_id,
        user_name=user_name,
        role=role,
        purpose=purpose,
        # Of an organization that we know only by what its community says, the log shows what was said.
        organization_name=(stated.organization_name if foreign else "") or organization.name,
        organization_oid=stated.organization_id.removeprefix("urn:oid:") if foreign else organization.organization_oid,
        relationship=stated.relationship,
        care_teams=stated.care_teams,
        on_behalf_of=stated.on_behalf_of,
        intermediary_id=intermediary,
    )


def _refuse(client: ClientFacts, code: str, description: str) -> TokenRefused:
    return TokenRefused(code, description, client_id=client.client_id, participant_id=client.participant_id)
