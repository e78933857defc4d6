"""How the exchange speaks to other communities: a Protocol that faces fill in.

The exchange knows *that* a community is asked and by when; the face that speaks its
wire format knows *how*. A face registers its client for an endpoint kind in
`AppConfig.ready()`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any, Protocol

from hie.exchange.errors import NotFound
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller, EndpointFacts
from hie.trust.peer_session import PeerSession


class Outcome(StrEnum):
    """What came of asking one community."""

    ANSWERED = "answered"
    NOTHING = "nothing"
    REFUSED = "refused"
    LATE = "late"
    DOWN = "down"
    ERROR = "error"


async def _stands() -> None:
    """Nothing to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a community: who the patient is, by demographics, and which documents.

    Many communities are asked the same; `encoded` is where a client keeps what it made of the question once. A client
    awaits `still` before each thing it sends, which raises where the question may no longer be asked as it was decided.
    """

    demographics: Demographics
    filter: Mapping[str, Any]
    caller: Caller
    still: Callable[[], Awaitable[None]] = field(default=_stands, compare=False, repr=False)
    encoded: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEntry:
    """One document another community named: its DocumentReference and where its bytes are."""

    remote_id: str
    unique_id: str
    resource: Mapping[str, Any]
    source_url: str
    content_type: str = ""
    sha1: str = ""
    size: int | None = None
    custodian_oid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one community answered. `cause` is a short machine word for grouping; `message` a sentence."""

    outcome: Outcome
    documents: tuple[RemoteEntry, ...] = ()
    message: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteContent:
    """The whole of a remote document, fetched but not released: `sha1` in hex, and a file to read and close."""

    content_type: str
    size: int
    sha1: str
    file: IO[bytes] = field(repr=False)


class RemoteCommunity(Protocol):
    """A client for one kind of endpoint."""

    async def ask(self, endpoint: EndpointFacts, question: Question, *, session: PeerSession) -> Answer:
        """Find the patient there and list the documents; never raises for what the peer does wrong.

        The caller sets the time limit and cancels. `ConnectionError` means down.
        """

    def open(self, endpoint: EndpointFacts, source_url: str, caller: Caller) -> RemoteContent:
        """Fetch one document's bytes.

        Raises:
            RemoteUnavailable: the community is down, refuses or answers with something else.
        """


_CLIENTS: dict[str, RemoteCommunity] = {}


def register(kind: str, client: RemoteCommunity) -> None:
    """Make `client` speak to endpoints of this kind (``fhir``)."""
    _CLIENTS[kind] = client


def client_for(kind: str) -> RemoteCommunity:
    """The client for an endpoint kind.

    Raises:
        NotFound: no face speaks it.
    """
    try:
        return _CLIENTS[kind]
    except KeyError:
        raise NotFound(f"no client speaks {kind}") from None


def spoken() -> frozenset[str]:
    """The endpoint kinds that some face can ask."""
    return frozenset(_CLIENTS)
