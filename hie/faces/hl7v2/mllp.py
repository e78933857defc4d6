"""The MLLP listener: blocks of the `hl7` library's asyncio server in, acknowledgements out.

One connection, one message at a time: so messages of one patient sent over one connection are handled in
their order. Work with the database runs in threads. Plain only on loopback; elsewhere TLS, where the client
certificate is the participant.

Source: HL7 v2 Transport, MLLP release 1; IHE ATNA, Node Authentication.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db import close_old_connections, connections
from hl7.mllp import HL7StreamReader, HL7StreamWriter, InvalidBlockError, start_hl7_server

from hie.directory import queries as directory
from hie.exchange import inbox
from hie.faces.hl7v2 import acks, er7
from hie.faces.hl7v2.er7 import MessageRefused
from hie.faces.hl7v2.handler import envelope_of
from hie.standards.errors import MalformedContent
from hie.standards.hosts import is_loopback

log = logging.getLogger("hie.hl7v2")

MAX_MESSAGE = 32 * 1024 * 1024
MAX_CONNECTIONS = 256
GRACE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of the listener's own certificate and key, and of the authorities of client certificates."""

    certificate: str
    key: str
    client_ca: str


def answer(block: bytes, *, participant_id: str = "", network_address: str = "") -> bytes:
    """The reply to one block: each message kept, handled and acknowledged; a batch in, a batch out."""
    try:
        interchange = er7.split(block)
    except MalformedContent:
        interchange = er7.Interchange((block,))
    replies = []
    for raw in interchange.messages:
        envelope = envelope_of(raw, participant_id=participant_id, network_address=network_address)
        replies.append(inbox.receive(raw, envelope).reply)
    return acks.wrap(replies, batch=interchange.batch, file=interchange.file)


class Listener:
    """An MLLP server; `start`, then `stop` (new connections refused, the message in hand answered first)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: Tls | None = None,
        workers: int = 4,
        max_message: int = MAX_MESSAGE,
        respond: Callable[..., bytes] = answer,
    ) -> None:
        if tls is None and not is_loopback(host):
            raise ValueError("plain MLLP is offered on loopback only: configure TLS or bind to 127.0.0.1")
        self._host, self._port, self._tls = host, port, tls
        self._max_message = max_message
        self._respond = respond
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="mllp")
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], HL7StreamWriter] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def port(self) -> int:
        """The port listened on: the one asked for, or the one the system chose for 0."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else self._port

    async def start(self) -> None:
        """Listen."""
        self._server = await start_hl7_server(
            self._connected, self._host, self._port, limit=self._max_message, ssl=_context(self._tls)
        )

    async def stop(self) -> None:
        """Refuse new connections, answer what is in hand (up to 20 s), close."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for task, writer in list(self._connections.items()):
            if task not in self._busy:
                writer.close()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=GRACE_S)
        for task in list(self._connections):
            task.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    async def _connected(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS or self._stopping:
            writer.close()
            return
        self._connections[task] = writer
        try:
            await self._serve(task, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the peer went away, or we are stopping: nothing unanswered was accepted
        except InvalidBlockError:
            log.warning("mllp block without start byte, connection closed")
        except Exception:  # the outer edge of a connection
            log.exception("mllp connection failed")
        finally:
            self._busy.discard(task)
            self._connections.pop(task, None)
            writer.close()

    async def _serve(self, task: asyncio.Task[None], reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        participant_id = await loop.run_in_executor(self._pool, _on_thread, _participant, _certificate(writer))
        if participant_id is None:
            log.warning("mllp client certificate belongs to no participant, connection closed")
            return
        while not self._stopping:
            try:
                block = await reader.readblock()
            except ValueError:
                writer.writeblock(acks.refuse(None, [MessageRefused("the message is too long", code="207")]))
                await writer.drain()
                return
            self._busy.add(task)
            reply = await loop.run_in_executor(self._pool, _on_thread, self._reply, block, participant_id, address)
            writer.writeblock(reply)
            await writer.drain()
            self._busy.discard(task)

    def _reply(self, block: bytes, participant_id: str, address: str) -> bytes:
        return self._respond(block, participant_id=participant_id, network_address=address)


def _on_thread(work: Callable[..., Any], *values: object) -> Any:
    close_old_connections()
    try:
        return work(*values)
    finally:
        connections.close_all()  # back to the pool between messages


def _certificate(writer: HL7StreamWriter) -> bytes | None:
    tls = writer.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if tls is not None else None


def _participant(certificate: bytes | None) -> str | None:
    """The participant of a client certificate; "" on a plain connection, None when nobody is registered with it."""
    if certificate is None:
        return ""
    found = directory.participant_by_certificate(hashlib.sha256(certificate).hexdigest())
    return found.id if found is not None else None


def _context(tls: Tls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tls.certificate, tls.key)
    return context
