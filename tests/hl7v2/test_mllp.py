"""Real bytes over a real socket."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hl7.mllp import open_hl7_connection

from hie.directory import registration
from hie.directory.models import AssigningAuthority
from hie.exchange.models import InboundMessage
from hie.faces.hl7v2 import adt, er7
from hie.faces.hl7v2.mllp import Listener, Tls
from hie.standards.hosts import is_loopback
from patients import queries as index
from tests.hl7v2 import messages
from tests.hl7v2.messages import HOSPITAL_OID, msa, pid

Exchange = Callable[[bytes], Awaitable[bytes]]


async def _with_listener(listener: Listener, talk: Callable[[Exchange, int], Awaitable[None]]) -> None:
    await listener.start()
    reader, writer = await open_hl7_connection("127.0.0.1", listener.port)

    async def exchange(raw: bytes) -> bytes:
        writer.writeblock(raw)
        await writer.drain()
        return await asyncio.wait_for(reader.readblock(), 30)

    try:
        await talk(exchange, listener.port)
    finally:
        writer.close()
        await listener.stop()


@pytest.mark.django_db(transaction=True)
def test_messages_of_one_connection_are_handled_in_their_order() -> None:
    messages.register()
    names = [f"Quimby^Nora^{letter}" for letter in "ABCDEFGH"]

    async def talk(exchange: Exchange, port: int) -> None:
        replies = []
        reader, writer = await open_hl7_connection("127.0.0.1", port)
        for number, name in enumerate(names):  # all sent before the first answer is read
            writer.writeblock(messages.adt("A08", str(number), pid(name=name)))
        await writer.drain()
        for _ in names:
            replies.append(msa(await asyncio.wait_for(reader.readblock(), 30)))
        writer.close()
        assert replies == [["MSA", "AA", str(number)] for number in range(len(names))]
        # The same message over two connections at once is done once and answered twice alike.
        raw = messages.adt("A01", "twice", pid("500"))
        first = exchange(raw)
        other_reader, other_writer = await open_hl7_connection("127.0.0.1", port)
        other_writer.writeblock(raw)
        await other_writer.drain()
        assert await first == await asyncio.wait_for(other_reader.readblock(), 30)
        other_writer.close()

    asyncio.run(_with_listener(Listener("127.0.0.1", 0, workers=3), talk))
    record = index.source_record(HOSPITAL_OID, "77")
    assert record is not None
    assert record.version == len(names)
    assert record.demographics.names[0].given == ("Nora", "H")
    assert InboundMessage.objects.get(control_id="twice").attempts == 1


def test_a_message_that_is_too_long_is_rejected_and_the_connection_closed() -> None:
    async def talk(exchange: Exchange, port: int) -> None:
        assert await exchange(b"short") == b"reply"
        assert msa(await exchange(b"x" * 5000))[1] == "AR"
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await exchange(b"short")

    listener = Listener("127.0.0.1", 0, max_message=1000, respond=lambda block, **_: b"reply")
    asyncio.run(_with_listener(listener, talk))


def test_a_stop_lets_the_message_in_hand_be_answered() -> None:
    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        begun, go_on = asyncio.Event(), asyncio.Event()

        def respond(block: bytes, **_: Any) -> bytes:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            return b"done"

        listener = Listener("127.0.0.1", 0, respond=respond)
        await listener.start()
        reader, writer = await open_hl7_connection("127.0.0.1", listener.port)
        writer.writeblock(b"one")
        await begun.wait()
        stopping = asyncio.create_task(listener.stop())
        await asyncio.sleep(0)
        go_on.set()
        reply = await asyncio.wait_for(reader.readblock(), 10)
        await stopping
        writer.close()
        return reply

    assert asyncio.run(scenario()) == b"done"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example"])
def test_plain_is_offered_on_loopback_only(host: str) -> None:
    assert is_loopback("127.0.0.1")
    assert Listener(host, 0, tls=Tls(certificate="c", key="k", client_ca="a"))
    with pytest.raises(ValueError, match="loopback"):
        Listener(host, 0)


def _shared() -> list[tuple[str, bytes]]:
    folder = Path(os.environ.get("HIE_SHARED", "../shared")) / "data" / "hl7v2"
    return [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.hl7"))]


def _register_senders(files: list[tuple[str, bytes]]) -> None:
    """A participant for each MSH-3 and MSH-4, owning the OIDs that its ADT messages name in PID-3 and MRG-1."""
    owned: dict[tuple[str, str], list[str]] = {}
    for _, raw in files:
        message = er7.parse(er7.split(raw).messages[0])
        if not message.header.text(4):  # cannot be registered; its message is no ADT
            continue
        oids = owned.setdefault((message.header.text(3), message.header.text(4)), [])
        for segment, field in (("PID", 3), ("MRG", 1)):
            for one in message.all(segment) if message.type_code == "ADT" else []:
                for repetition in one.repetitions(field):
                    oid, kind = er7.part(repetition, 4, 2), er7.part(repetition, 4, 3)
                    if kind == "ISO" and re.fullmatch(r"[0-9.]+", oid) and oid not in oids:
                        oids.append(oid)
    taken: set[str] = set()
    forms = []
    for number, ((application, facility), oids) in enumerate(sorted(owned.items())):
        free = [oid for oid in oids if oid not in taken] or [f"2.999.77.{number}"]
        taken.update(free)
        forms.append(
            messages.participant(
                f"org-{number}",
                free[0],
                application,
                facility,
                organization_oid=f"2.999.78.{number}",
            )
        )
        owned[application, facility] = free
    registration.apply({"participants": forms})
    for number, (_, oids) in enumerate(sorted(owned.items())):
        for oid in oids[1:]:
            AssigningAuthority.objects.create(oid=oid, participant_id=f"org-{number}")


QUERY_ANSWERS = {
    "037-sante-ADT_MRG_POST.hl7": ("AA", b"|OK|"),
    "039-sante-QBP_SIMPLE.hl7": ("AA", b"|OK|Q22^Find Candidates^HL7|1|1|0\r"),
    "041-sante-QBP_XREF.hl7": ("AE", b"ERR||QPD^1^4^1|204^"),  # a domain that nobody here issues in
    "042-ipf-PDQ_Maximal_Query.hl7": ("AE", b"ERR||QPD^1^8^1|204^"),
}


@pytest.mark.shared
@pytest.mark.django_db(transaction=True)
def test_every_adt_of_a_listed_event_is_accepted_and_all_else_rejected_and_kept() -> None:
    files = _shared()
    assert len(files) == 60
    _register_senders(files)
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []

    async def talk(exchange: Exchange, port: int) -> None:
        for name, raw in files:
            reply = await exchange(raw)
            codes = re.findall(rb"\rMSA\|(..)\|([^|\r]*)", reply)
            sent = [er7.parse(m) for m in er7.split(raw).messages]
            assert [control.decode() for _, control in codes] == [m.control_id for m in sent], name
            for message, (code, _) in zip(sent, codes, strict=True):
                listed = message.type_code == "ADT" and message.event in adt.EVENTS
                sort = "question" if name in QUERY_ANSWERS else "event" if listed else "other"
                outcomes[sort, code.decode()] += 1
                expected, part = QUERY_ANSWERS.get(name, ("AA" if listed else "AR", b""))
                if code.decode() != expected or part not in reply:
                    wrong.append(f"{name}: {reply!r}")

    asyncio.run(_with_listener(Listener("127.0.0.1", 0), talk))
    assert wrong == []
    assert outcomes == {("event", "AA"): 27, ("other", "AR"): 30, ("question", "AA"): 2, ("question", "AE"): 2}
    assert InboundMessage.objects.count() == 61
    assert InboundMessage.objects.filter(status="refused").count() == 32


def _certificates(folder: Path) -> tuple[Tls, dict[str, tuple[Path, Path, str]]]:
    """An authority, a server certificate by it, and client certificates by it: (certificate, key, PEM)."""
    now = datetime.now(UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())

    def issue(name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool = False) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(authority_key, hashes.SHA256())

    def write(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    pem = serialization.Encoding.PEM
    ca = write("ca.pem", issue("authority", authority_key, authority=True).public_bytes(pem))
    made = {}
    for name in ("server", "north", "stranger"):
        key = ec.generate_private_key(ec.SECP256R1())
        plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        certificate = issue(name, key).public_bytes(pem)
        made[name] = (write(f"{name}.pem", certificate), write(f"{name}.key", plain), certificate.decode())
    tls = Tls(certificate=str(made["server"][0]), key=str(made["server"][1]), client_ca=str(ca))
    return tls, made


@pytest.mark.django_db(transaction=True)
def test_under_tls_the_client_certificate_is_the_participant(tmp_path: Path) -> None:
    tls, made = _certificates(tmp_path)
    forms = [
        messages.participant("org-north", HOSPITAL_OID, "EPIC", "NORTH", certificates=[made["north"][2]]),
        messages.participant("org-clinic", messages.CLINIC_OID, "CLIN", "SOUTH"),
    ]
    registration.apply({"participants": forms})

    async def ask(port: int, name: str | None, raw: bytes) -> str:
        context = ssl.create_default_context(cafile=tls.client_ca)
        if name:
            context.load_cert_chain(*made[name][:2])
        try:
            reader, writer = await open_hl7_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.writeblock(raw)
            await writer.drain()
            reply = await asyncio.wait_for(reader.readblock(), 20)
            writer.close()
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            return "closed"
        return msa(reply)[1]

    async def scenario() -> list[str]:
        listener = Listener("127.0.0.1", 0, tls=tls)
        await listener.start()
        other = messages.adt("A01", "2", pid(f"5^^^&{messages.CLINIC_OID}&ISO"), application="CLIN", facility="SOUTH")
        said = [
            await ask(listener.port, "north", messages.adt()),
            await ask(listener.port, "north", other),
            await ask(listener.port, "stranger", messages.adt("A01", "3")),
            await ask(listener.port, None, messages.adt("A01", "4")),
        ]
        await listener.stop()
        return said

    assert asyncio.run(scenario()) == ["AA", "AR", "closed", "closed"]
    assert sorted(InboundMessage.objects.values_list("control_id", flat=True)) == ["1", "2"]


def test_the_command_says_when_it_is_ready_and_stops_on_sigterm() -> None:
    running = subprocess.Popen(
        [sys.executable, "manage.py", "mllp", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HIE_PROFILE": "sandbox"},
    )
    try:
        assert running.stdout is not None
        assert re.match(r"mllp ready on 127\.0\.0\.1:\d+$", running.stdout.readline())
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=30)
    finally:
        running.kill()
    assert (running.returncode, out) == (0, "mllp stopped\n")
