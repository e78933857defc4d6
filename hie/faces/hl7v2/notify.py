"""PIX Update Notification [ITI-10]: ADT^A31 to the ``mllp`` endpoints of the directory.

A notification carries the identifiers that the consumer may know of, and no name. One connection carries a
consumer's notices in their order; each waits for its acknowledgement. AA and CA end it, AE and CE are tried again
later, AR and CR are given up at once. Plain MLLP goes to loopback only; ``mllps`` shows the listener's certificate.

Source: IHE ITI TF-2 3.10; HL7 v2 Transport, MLLP release 1.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC
from urllib.parse import urlsplit

from django.conf import settings

from hie.directory import queries as directory
from hie.exchange.copies import ConsentEnded
from hie.exchange.notices import BUDGET_S, IdentityChange, Sent
from hie.faces.hl7v2 import pid
from hie.faces.hl7v2.acks import OUR_APPLICATION
from hie.faces.hl7v2.er7 import escape

TIMEOUT_S = 10.0
MAX_REPLY = 1 << 20
_START, _END = b"\x0b", b"\x1c\r"


class Notifications:
    """The channel of ``mllp`` endpoints."""

    def encode(self, change: IdentityChange | ConsentEnded, *, endpoint: str) -> list[bytes]:
        """One ADT^A31 a person that still has identifiers to tell; HL7 v2 has no word for a consent that ended."""
        if isinstance(change, ConsentEnded):
            return []
        issued = {*directory.snapshot().authorities, settings.HUB_ASSIGNING_AUTHORITY}
        found = []
        for number, person in enumerate(change.persons, start=1):
            identifiers = [
                item
                for item in (person.patient.demographics.identifiers if person.patient is not None else ())
                if item.authority in issued
            ]
            if identifiers:
                at = change.at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
                lines = [
                    _msh(at, control_id=f"N{change.id}-{number}"),
                    f"EVN|A31|{at}",
                    pid.cross_referenced(identifiers),
                    "PV1|1|N",
                ]
                found.append(("\r".join(lines) + "\r").encode())
        return found

    def send(self, endpoint: str, batch: Sequence[tuple[str, list[bytes]]]) -> list[Sent]:
        """Over one connection, opened anew after a failure at the next round only."""
        results: list[Sent] = []
        until = time.monotonic() + BUDGET_S
        try:
            with _connect(endpoint) as connection:
                for _, messages in batch:
                    if time.monotonic() > until:
                        break
                    results.append(_tell(connection, messages))
        except (OSError, ValueError) as problem:
            gone = Sent(arrived=False, error=f"{type(problem).__name__} at the endpoint")
            results.extend([gone] * (len(batch) - len(results)))
        return results


def _tell(connection: socket.socket, messages: Sequence[bytes]) -> Sent:
    for message in messages:
        connection.sendall(_START + message + _END)
        control_id = message.split(b"|", 11)[9]
        found = re.search(rb"(?:^|\r|\n)MSA\|([A-Z]{2})\|([^|\r\n]*)", _reply(connection))
        if found is None or found[2] != control_id:
            raise ConnectionError("no acknowledgement of this message")
        code = found[1].decode()
        if code not in ("AA", "CA"):
            return Sent(arrived=False, error=f"acknowledged {code}", final=code in ("AR", "CR"))
    return Sent(arrived=True)


def _reply(connection: socket.socket) -> bytes:
    received = b""
    until = time.monotonic() + TIMEOUT_S
    while _END not in received:
        if time.monotonic() > until:
            raise TimeoutError("no acknowledgement in time")
        piece = connection.recv(65536)
        if not piece or len(received) > MAX_REPLY:
            raise ConnectionError("the acknowledgement broke off")
        received += piece
    return received.partition(_END)[0].lstrip(_START)


def _connect(endpoint: str) -> socket.socket:
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or 2575
    plain = socket.create_connection((host, port), timeout=TIMEOUT_S)
    try:
        if parts.scheme == "mllps":
            context = ssl.create_default_context(cafile=settings.MLLP_TLS_CLIENT_CA or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if settings.MLLP_TLS_CERTIFICATE:
                context.load_cert_chain(settings.MLLP_TLS_CERTIFICATE, settings.MLLP_TLS_KEY)
            return context.wrap_socket(plain, server_hostname=host)
        if not plain.getpeername()[0].startswith(("127.", "::1")):
            raise ConnectionError("plain MLLP goes to loopback only")
    except BaseException:
        plain.close()
        raise
    return plain


def _msh(at: str, *, control_id: str) -> str:
    hub = escape(str(settings.HUB_ASSIGNING_AUTHORITY).removeprefix("urn:oid:"))
    return f"MSH|^~\\&|{OUR_APPLICATION}|^{hub}^ISO|||{at}||ADT^A31^ADT_A05|{control_id}|P|2.5"
