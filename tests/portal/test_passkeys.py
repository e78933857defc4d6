"""Passkeys against an authenticator made here: made, used, refused when anything does not fit, and taken off."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from hie.audit.models import AuditEvent
from hie.faces.portal.page import POLICY
from hie.trust.models import Passkey, PatientAccount
from tests.portal.conftest import signed_in
from tests.portal.test_own_account import set_up

ORIGIN = "https://hub.example"
OPTIONS = re.compile(r'data-options="([^"]+)"')


@pytest.fixture(autouse=True)
def place(settings: Any) -> None:
    settings.BASE_URL = ORIGIN


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


@dataclass
class Device:
    """A phone with one passkey: it verifies its holder, and counts its uses."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    handle: bytes = b""
    uses: int = 0
    origin: str = ORIGIN
    rp_id: str = "hub.example"
    verifies: bool = True

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _data(self, extra: int) -> bytes:
        flags = 0x01 | (0x04 if self.verifies else 0) | extra
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.uses.to_bytes(4, "big")

    def made(self, options: dict[str, Any]) -> str:
        """The answer to a page that asks for a new passkey."""
        self.handle = raw(options["user"]["id"])
        point = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        data = self._data(0x40) + bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cose
        response = {
            "clientDataJSON": text(self._client_data("webauthn.create", options["challenge"])),
            "attestationObject": text(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
        }
        return self._told(response)

    def used(self, options: dict[str, Any]) -> str:
        """The answer to a page that asks who is there."""
        self.uses += 1
        data, said = self._data(0), self._client_data("webauthn.get", options["challenge"])
        signature = self.key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": text(said), "authenticatorData": text(data), "signature": text(signature),
            "userHandle": text(self.handle),
        }  # fmt: skip
        return self._told(response)

    def _told(self, response: dict[str, str]) -> str:
        name = text(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def options(client: Client, address: str) -> dict[str, Any]:
    found = OPTIONS.search(client.get(address).content.decode())
    assert found
    asked: dict[str, Any] = json.loads(html.unescape(found[1]))
    return asked


MINE, ENTER = "/my/account/passkeys", "/my/sign-in/passkey"


@pytest.fixture
def rosa(alice: str) -> Client:
    """Alice's browser, with an app set up."""
    client = signed_in()
    set_up(client)
    return client


@pytest.fixture
def phone(rosa: Client) -> Device:
    """Alice's phone, which holds a passkey."""
    device = Device()
    answer = rosa.post(MINE, {"name": "My phone", "credential": device.made(options(rosa, MINE))})
    assert answer["Location"] == "/my/account?passkey=1#notice"
    return device


def enter(device: Device, client: Client | None = None) -> Any:
    client = client or Client()
    return client.post(ENTER, {"credential": device.used(options(client, ENTER))})


def test_a_passkey_signs_in_without_password_and_code(phone: Device, rosa: Client) -> None:
    client = Client()
    assert enter(phone, client)["Location"] == "/my/"
    assert client.get("/my/").status_code == 200
    assert enter(phone)["Location"] == "/my/"
    held = Passkey.objects.get()
    assert (held.name, held.sign_count) == ("My phone", 2)
    page = rosa.get(MINE).content.decode()
    assert "My phone" in page
    assert text(phone.credential_id) in html.unescape(page), "it is not made twice on one device"
    acts = AuditEvent.objects.filter(kind="account-changed").values_list("detail", flat=True)
    assert "passkey made" in [act["act"] for act in acts]
    assert AuditEvent.objects.filter(kind="login").count() == 3


def test_an_answer_counts_once_and_for_its_own_page(phone: Device) -> None:
    client = Client()
    answer = phone.used(options(client, ENTER))
    assert client.post(ENTER, {"credential": answer}).status_code == 302
    for other in (client, Client()):
        other.post("/my/sign-out")
        options(other, ENTER)
        assert other.post(ENTER, {"credential": answer}).status_code == 422
    assert Client().post(ENTER, {"credential": answer}).status_code == 422


@pytest.mark.parametrize(
    "change",
    [{"origin": "https://hub.example.evil"}, {"rp_id": "evil.example"}, {"verifies": False}, {"handle": bytes(16)}],
    ids=["another-site", "another-place", "nobody-verified", "another-account"],
)
def test_what_was_not_made_for_this_hub_and_its_holder_opens_nothing(phone: Device, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(phone, name, value)
    client = Client()
    assert enter(phone, client).status_code == 422
    assert client.get("/my/").status_code == 302
    assert AuditEvent.objects.filter(kind="login-failed").count() == 1


def test_another_key_of_the_same_name_and_a_copy_that_counts_behind_are_refused(phone: Device) -> None:
    assert enter(Device(credential_id=phone.credential_id, handle=phone.handle)).status_code == 422
    assert enter(Device(handle=phone.handle)).status_code == 422
    assert enter(phone).status_code == 302
    phone.uses = 0
    assert enter(phone).status_code == 422


@pytest.mark.parametrize(
    "answer", ["", "{", "[]", "{}", '{"rawId": 7}', '{"rawId": "%%%"}', "null", "x" * 30_000, '{"rawId": "AAAA", "response": []}']
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_in_words(phone: Device, rosa: Client, answer: str) -> None:
    client = Client()
    options(client, ENTER)
    refused = client.post(ENTER, {"credential": answer})
    assert refused.status_code == 422
    assert "sign in with your password" in refused.content.decode()
    options(rosa, MINE)
    refused = rosa.post(MINE, {"name": "x", "credential": answer})
    assert refused.status_code == 422
    assert Passkey.objects.count() == 1


def test_one_that_is_taken_off_or_of_a_closed_account_opens_nothing(phone: Device, rosa: Client) -> None:
    PatientAccount.objects.filter(login="alice").update(active=False)
    assert enter(phone).status_code == 422
    PatientAccount.objects.filter(login="alice").update(active=True)
    held = Passkey.objects.get()
    sam = signed_in("sam")
    assert sam.post(f"{MINE}/{held.pk}/off").status_code == 404
    assert rosa.post(f"{MINE}/{held.pk}/off")["Location"] == "/my/account?passkey-off=1#notice"
    assert enter(phone).status_code == 422


def test_a_passkey_comes_after_an_app_and_has_a_name(alice: str) -> None:
    client = signed_in()
    page = client.get(MINE).content.decode()
    assert "Set up a code app first." in page
    assert not OPTIONS.search(page)
    assert client.post(MINE, {"name": "x", "credential": "{}"}).status_code == 422
    set_up(client)
    device = Device()
    assert client.post(MINE, {"name": " ", "credential": device.made(options(client, MINE))}).status_code == 422
    assert not Passkey.objects.exists()


def test_only_these_pages_may_run_our_script_and_say_what_works_without(phone: Device, rosa: Client) -> None:
    for client, address in ((rosa, MINE), (Client(), ENTER)):
        answer = client.get(address)
        assert answer["Content-Security-Policy"] == f"{POLICY}; script-src 'self'"
        page = answer.content.decode()
        assert page.count("<script") == 1
        assert '<script src="/static/ui/passkey.js" defer></script>' in page
        assert "Your password and code work without." in page
    assert "script-src" not in rosa.get("/my/account")["Content-Security-Policy"]
