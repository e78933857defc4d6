"""Tells an audit repository of others what the log holds: ATNA messages over syslog, TLS, in the order of the log.

The log itself is what is kept: a message is made of its event when it is sent, so none is lost while the receiver is
away, and a restart goes on behind the last that went. A message may come twice. Syslog acknowledges nothing: what is on
its way when a receiver dies is lost to it, and stays in the log.

Source: ITI TF-2 3.20; RFC 5424, 5425.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from datetime import UTC

from django.conf import settings

from hie.audit import atna, log, queries
from hie.audit.models import FigureMark
from hie.audit.values import EventRecord

logger = logging.getLogger(__name__)

MARK = "atna"
"""The mark that says how far the log has been told."""
TIMEOUT_S = 10.0
FAREWELL_S = 5.0
BATCH = 500
_PRIORITY = 10 * 8 + 5  # security/authorization messages, notice
_MSG_ID = "IHE+RFC-3881"


def tell(*, batches: int = 20) -> int:
    """Send what has been sealed since the last time; how many messages were sent. Nothing without `ATNA_SYSLOG`."""
    if not settings.ATNA_SYSLOG:
        return 0
    mark, _ = FigureMark.objects.get_or_create(source=MARK, defaults={"counted": log.head()[0]})
    told, done = 0, mark.counted
    try:
        for rows, _ in zip(log.seals(after=done, batch=BATCH), range(batches), strict=False):
            events = queries.events_of([row.event_id for row in rows])
            wanted = [events[row.event_id] for row in rows if row.event_id in events]
            frames = [frame(event) for event in wanted if atna.is_told(event)]
            if frames:
                _send(frames)
            told += len(frames)
            before, done = done, rows[-1].seq
            # Whoever else told it meanwhile has moved the mark: his was the same.
            FigureMark.objects.filter(source=MARK, counted=before).update(counted=done)
    except OSError as error:
        # It is tried again: nothing behind the mark is forgotten.
        logger.warning("audit.receiver: not told from number %s on: %s", done + 1, type(error).__name__)
    return told


def frame(event: EventRecord) -> bytes:
    """A syslog message as it goes over TLS: its length in front (RFC 5425)."""
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    host = settings.BASE_URL.partition("://")[2].partition("/")[0].partition(":")[0] or "-"
    xml = atna.message(
        event,
        base_url=settings.BASE_URL,
        site=settings.HOME_COMMUNITY_ID.removeprefix("urn:oid:"),
        repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
    )
    head = f"<{_PRIORITY}>1 {at} {host} hie {os.getpid()} {_MSG_ID} - "
    text = head.encode("ascii", "replace") + b"\xef\xbb\xbf" + xml
    return str(len(text)).encode() + b" " + text


def _send(frames: list[bytes]) -> None:
    """Send these over one connection, to its end: what was not read when a connection is reset is lost."""
    with _connected() as line:
        line.sendall(b"".join(frames))
        try:
            line.settimeout(FAREWELL_S)
            line.unwrap()
        except ConnectionError:
            raise
        except (OSError, ValueError):
            # A receiver that does not say goodbye has it all the same.
            logger.debug("audit.receiver: no close_notify")


def _connected() -> ssl.SSLSocket:
    host, _, port = settings.ATNA_SYSLOG.rpartition(":")
    context = ssl.create_default_context(cafile=settings.ATNA_SYSLOG_CA or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ATNA_SYSLOG_CERTIFICATE:
        context.load_cert_chain(settings.ATNA_SYSLOG_CERTIFICATE, settings.ATNA_SYSLOG_KEY or None)
    return context.wrap_socket(
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S), server_hostname=host.strip("[]")
    )
