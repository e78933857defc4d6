"""ATNA: what a receiver of audit messages hears of the transactions, over TLS, and what happens when it does not answer."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice
from lxml import etree

from hie.audit import receiver, recorder, seal
from hie.audit.models import AuditEvent
from hie.ops import lifetime
from tests import second_factor
from tests.exchange.world import caller, exchange, hospital_caller
from tests.grounds import ground
from tests.soap import world
from tests.soap.keys import Pair
from tests.soap.test_stored_queries import find

pytestmark = pytest.mark.django_db
RECEIVER = Pair("receiver", authority=True, address="127.0.0.1")


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@contextlib.contextmanager
def listening(folder: Path, settings: Any) -> Iterator[list[bytes]]:
    """A syslog receiver over TLS that asks for no certificate; what it has heard when it is closed."""
    (folder / "receiver.pem").write_text(RECEIVER.pem)
    (folder / "receiver.key").write_text(RECEIVER.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "receiver.pem", folder / "receiver.key")
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)

    def serve() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(server.accept()[0], server_side=True) as line:
            while chunk := line.recv(1 << 16):
                heard.append(chunk)

    thread = threading.Thread(target=serve)
    thread.start()
    settings.ATNA_SYSLOG = f"127.0.0.1:{server.getsockname()[1]}"
    settings.ATNA_SYSLOG_CA = str(folder / "receiver.pem")
    try:
        yield heard
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # whoever waits for a caller waits no longer
        server.close()
        thread.join(20)


def told(folder: Path, settings: Any) -> list[tuple[bytes, etree._Element]]:
    """Head and AuditMessage of each syslog message that one telling sends."""
    seal.seal_now(checkpoint=False)
    with listening(folder, settings) as heard:
        count = receiver.tell()
    data, found = b"".join(heard), []
    while data:
        length, _, data = data.partition(b" ")
        head, _, xml = data[: int(length)].partition(b"\xef\xbb\xbf")
        found.append((head, etree.fromstring(xml)))
        data = data[int(length) :]
    assert len(found) == count
    return found


def said(message: etree._Element, path: str) -> list[str]:
    return [str(one) for one in message.xpath(path)]


def test_each_transaction_is_told_once_with_who_what_and_about_whom(
    ada_of_the_clinic: None, settings: Any, tmp_path: Path
) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    settings.BASE_URL = "https://hub.example"
    told(tmp_path, settings)  # from here on
    one = world.entry(repository_unique_id=None, hash=None, size=None)
    world.provide(world.submission(one), {one.entry_uuid: b"letter"}, who=caller(face="soap"))
    find(caller(face="soap"))
    world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id), who=caller(face="soap"))
    find(hospital_caller(face="soap"))
    found = told(tmp_path, settings)
    assert all(head.startswith(b"<85>1 2") and b" hub.example hie " in head for head, _ in found)
    by_kind = {str(message.xpath("string(//EventTypeCode/@csd-code)")): message for _, message in found}
    assert {"ITI-41", "ITI-18", "ITI-43"} <= set(by_kind)

    for kind, event, action, sends, endpoint in (
        ("ITI-41", "110107", "C", "client", "repository"),
        ("ITI-18", "110112", "E", "client", "registry"),
        ("ITI-43", "110106", "R", "hub", "repository"),
    ):
        message = by_kind[kind]
        assert said(message, "EventIdentification/EventID/@csd-code") == [event]
        assert said(message, "EventIdentification/@EventActionCode") == [action]
        assert said(message, "EventIdentification/@EventOutcomeIndicator") in (["0"], ["4"])
        source = "ActiveParticipant[RoleIDCode/@csd-code='110153']/@UserID"
        hub = f"https://hub.example/xds/{endpoint}"
        assert (said(message, source) == [hub]) == (sends == "hub")
        assert hub in said(message, "ActiveParticipant/@UserID")
        assert said(message, "ActiveParticipant[@UserIsRequestor='true']/@UserID")[0].startswith("Practitioner/")
    provided, retrieved = by_kind["ITI-41"], by_kind["ITI-43"]
    patient = "ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']/@ParticipantObjectID"
    assert said(provided, patient)
    report = "ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole='3']/@ParticipantObjectID"
    assert said(retrieved, report) == [one.unique_id]
    repository = "//ParticipantObjectDetail[@type='Repository Unique Id']/@value"
    assert [base64.b64decode(value).decode() for value in said(retrieved, repository)] == [
        settings.REPOSITORY_UNIQUE_ID
    ]
    assert told(tmp_path, settings) == []


def test_what_came_while_the_receiver_was_away_is_told_when_it_is_back(
    ada_of_the_clinic: None, settings: Any, tmp_path: Path
) -> None:
    told(tmp_path, settings)
    find(caller(face="soap"))
    seal.seal_now(checkpoint=False)
    assert receiver.tell() == 0  # nobody listens at that port any more
    kinds = [str(message.xpath("string(//EventTypeCode/@csd-code)")) for _, message in told(tmp_path, settings)]
    assert kinds == ["ITI-18"]


def test_a_receiver_that_nobody_vouches_for_is_told_nothing(
    ada_of_the_clinic: None, settings: Any, tmp_path: Path
) -> None:
    told(tmp_path, settings)
    find(caller(face="soap"))
    seal.seal_now(checkpoint=False)
    with listening(tmp_path, settings) as heard:
        (tmp_path / "other.pem").write_text(Pair("other", authority=True).pem)
        settings.ATNA_SYSLOG_CA = str(tmp_path / "other.pem")
        assert receiver.tell() == 0
    assert heard == []


def event_of(messages: list[tuple[bytes, etree._Element]]) -> list[tuple[str, str, str]]:
    """Of each message its event, its type and its outcome."""
    place = "string(EventIdentification/{})"
    return [
        tuple(str(one.xpath(place.format(name))) for name in ("EventID/@csd-code", "EventTypeCode/@csd-code", "@EventOutcomeIndicator"))
        for _, one in messages
    ]  # fmt: skip


def test_start_and_stop_are_told(db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "_let_go", lambda: None)  # the test's own connection
    settings.BASE_URL = "https://hub.example"
    told(tmp_path, settings)
    with lifetime.recorded("web"):
        started = told(tmp_path, settings)
    stopped = told(tmp_path, settings)
    assert (event_of(started), event_of(stopped)) == ([("110100", "110120", "0")], [("110100", "110121", "0")])
    for _, message in (*started, *stopped):
        application = "ActiveParticipant[RoleIDCode/@csd-code='110150'][RoleIDCode/@codeSystemName='DCM']"
        assert said(message, f"{application}/@UserID") == ["https://hub.example"]
        assert said(message, f"{application}/@NetworkAccessPointID") == ["hub.example"]
    kinds = list(AuditEvent.objects.order_by("at").values_list("kind", flat=True))
    assert kinds == ["application-started", "application-stopped"], "kept in the hub's own log too"


def test_a_database_that_is_away_keeps_nobody_from_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_drafts: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(recorder, "write", away)
    monkeypatch.setattr(lifetime, "_let_go", lambda: None)
    served = []
    with lifetime.recorded("web"):
        served.append(True)
    assert served == [True]


def test_who_signs_in_and_out_and_who_is_refused_is_told(db: None, settings: Any, tmp_path: Path) -> None:
    settings.ROOT_URLCONF, desk = "hie.urls", Client()
    told(tmp_path, settings)
    user = User.objects.create_superuser("ida", password="a long word")
    secret = base64.b32encode(b"0123456789abcdef0123").decode()
    TOTPDevice.objects.create(user=user, name="app", key=base64.b32decode(secret).hex())
    words = {"username": "ida", "password": "a long word", "next": "/admin/"}
    assert desk.post("/admin/login/", words | {"password": "a wrong word"}).status_code == 200
    assert desk.post("/admin/login/", words | {"otp_token": second_factor.code_of(secret)}).status_code == 302
    desk.post("/admin/logout/")
    found = told(tmp_path, settings)
    assert event_of(found) == [("110114", "110122", "4"), ("110114", "110122", "0"), ("110114", "110123", "0")]
    person = "ActiveParticipant[@UserIsRequestor='true']/@UserID"
    assert [said(message, person) for _, message in found] == [["backoffice"], ["Staff/ida"], ["Staff/ida"]]
    assert not any(b"word" in etree.tostring(message) for _, message in found)


def test_who_changes_how_the_hub_is_set_up_is_told(db: None, settings: Any, tmp_path: Path) -> None:
    settings.BASE_URL = "https://hub.example"
    kinds = recorder.EventType
    ida = replace(caller(face="backoffice"), user_id="Staff/ida", user_name="Ida", client_id="backoffice")
    own = replace(ida, user_id="Onboarding/1")
    refused = recorder.Outcome.REFUSED
    written: list[tuple[Any, Any, dict[str, Any], Any, tuple[str, str] | None]] = [
        (kinds.DIRECTORY_CHANGED, ida, {"what": "suspended", "participant": "org-x", "reason": "he said"}, 0, ("110129", "0")),
        (kinds.DIRECTORY_CHANGED, ida, {"what": "suspended", "participant": "org-x"}, refused, ("110129", "4")),
        (kinds.DIRECTORY_CHANGED, ida, {"what": "holiday taken out", "place": "JA"}, 0, ("110131", "0")),
        (kinds.DIRECTORY_CHANGED, own, {"act": "submit"}, 0, None),
        (kinds.POLICY_ACTIVATED, ida, {"kind": "jurisdiction", "subject": "JA", "reason": "he said"}, 0, ("110129", "0")),
        (kinds.POLICY_ACTIVATED, None, {"what": "loaded by command", "codes": ["JA"]}, 0, ("110129", "0")),
        (kinds.POLICY_PROPOSED, ida, {"kind": "jurisdiction"}, 0, None),
        (kinds.TERMINOLOGY_CHANGED, ida, {"what": "terminology.codeset", "act": "changed", "row": "1"}, 0, ("110131", "0")),
        (kinds.STAFF_ACT, ida, {"what": "staff account", "act": "roles", "username": "bo"}, 0, ("110136", "0")),
        (kinds.STAFF_ACT, ida, {"what": "staff account", "act": "person", "changed": {"name": ["Bo", "Cy"]}}, 0, ("110137", "0")),
        (kinds.STAFF_ACT, ida, {"what": "staff account", "act": "sessions ended"}, 0, None),
        (kinds.STAFF_ACT, ida, {"what": "identity", "act": "changed"}, 0, None),
    ]  # fmt: skip
    told(tmp_path, settings)
    for kind, who, detail, outcome, _ in written:
        recorder.write([recorder.EventDraft(kind=kind, caller=who, outcome=outcome, detail=detail)])
    found = told(tmp_path, settings)
    assert event_of(found) == [("110113", *wanted) for *_, wanted in written if wanted is not None]
    described = "//ParticipantObjectDetail[@type='Alert Description']/@value"
    words = [json.loads(base64.b64decode(said(message, described)[0])) for _, message in found]
    assert words[0] == {"what": "suspended", "participant": "org-x"}
    assert not any("he said" in str(one) or "Cy" in str(one) for one in words)
    by_command = found[4][1]
    assert said(by_command, "ActiveParticipant[@UserIsRequestor='true']/@UserID") == ["https://hub.example"]
    roles = "ParticipantObjectIdentification/@ParticipantObjectTypeCodeRole"
    assert [said(message, roles) for _, message in found[:3]] == [["13"], ["13"], ["5"]]


def test_who_looks_at_the_log_is_told_and_other_pages_are_not(db: None, settings: Any, tmp_path: Path) -> None:
    desk = second_factor.sign_in(User.objects.create_user("ida", is_staff=True, is_superuser=True), Client())
    settings.BASE_URL, settings.ROOT_URLCONF = "https://hub.example", "hie.urls"
    told(tmp_path, settings)
    assert desk.get("/admin/audit/auditevent/").status_code == 200
    assert desk.get("/admin/terminology/codeset/").status_code == 200
    (message,) = [one for _, one in told(tmp_path, settings)]
    assert said(message, "EventIdentification/EventID/@csd-code") == ["110101"]
    assert said(message, "EventIdentification/@EventActionCode") == ["R"]
    assert said(message, "ActiveParticipant[@UserIsRequestor='true']/@UserID") == ["Staff/ida"]
    named = "ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole='13']"
    assert said(message, f"{named}/@ParticipantObjectID") == ["https://hub.example/fhir/AuditEvent"]
    assert said(message, f"{named}/ParticipantObjectName/text()") == ["Security Audit Log"]
