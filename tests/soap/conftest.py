"""The SOAP face with small transactions, on the test client: a clinic, a hospital with a ward, a community."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as hub_settings
from django.test import Client

from documents.models import Binary, Blob
from hie.directory import registration
from hie.faces.soap import transactions
from hie.trust import client_keys, clients, hub_keys, limits
from tests.directory.forms import clinic, community, file, hospital, ward
from tests.grounds import ground
from tests.soap import echo, keys, messages
from tests.trust import conftest as trust

PROXY = "10.1.2.3"
HOSPITAL_ID, WARD_ID = "urn:oid:2.999.10.2", "urn:oid:2.999.10.2.9"
FAILED = "soap:Sender/wsse:FailedAuthentication"
DATA = b"A letter.\r\n\x00\xff--b\n" * 50
SHA1 = hashlib.sha1(DATA).hexdigest()
INVALID = "soap:Sender/wsse:InvalidSecurityToken"


@pytest.fixture(autouse=True)
def hub(settings, tmp_path, monkeypatch):
    settings.BASE_URL = "https://hub.example"
    settings.HUB_KEYS_DIR = tmp_path / "hub-keys"
    settings.DATA_DIR = tmp_path / "data"
    settings.DOCUMENT_DIR = tmp_path / "documents"
    settings.ALLOWED_HOSTS = ["*"]
    settings.ROOT_URLCONF = "tests.soap.urls"
    settings.SECURE_SSL_REDIRECT = False
    settings.TRUSTED_PROXIES = [PROXY]
    monkeypatch.setattr(transactions, "REGISTRY", echo.REGISTRY)
    monkeypatch.setattr(transactions, "REPOSITORY", echo.REPOSITORY)
    for key in limits._redis().scan_iter("hie:limit:*"):
        limits._redis().delete(key)
    hub_keys._held.clear()
    client_keys.forget()
    clients._tokens.clear()


@ground
def directory() -> None:
    """All four in the directory, with certificates."""
    registration.apply(participants())


def participants(**of_clinic: Any) -> dict[str, Any]:
    mine = {"default_role": "nurse", "default_purpose": "TREAT", "certificates": [keys.CLINIC.pem, keys.EXPIRED.pem]}
    return file(
        clinic(**mine | of_clinic),
        hospital(certificates=[keys.HOSPITAL.pem]),
        ward(certificates=[keys.WARD.pem], scopes=["system/*.rs"], purposes=["TREAT"]),
        community(certificates=[keys.EAST.pem]),
    )


class Answered:
    """An answer taken apart: status, envelope, parts."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.status = response.status_code
        self.data = b"".join(response) if response.streaming else response.content
        nothing: tuple[Any, dict[str, bytes]] = (None, {})
        self.root, self.parts = messages.opened(self.data, response.headers["Content-Type"]) if self.data else nothing

    @property
    def code(self) -> str:
        return messages.code(self.root)

    @property
    def reason(self) -> str:
        return messages.text(self.root, ".//s:Fault/s:Reason/s:Text")

    @property
    def said(self) -> dict[str, list[str]]:
        return echo.said(self.root)

    def text(self, path: str) -> str:
        return messages.text(self.root, path)


def who(answer: Answered) -> dict[str, str]:
    """Whom the transaction saw as its caller."""
    assert answer.status == 200, answer.reason
    return dict(zip((*echo.CALLER, "resource_id"), answer.said["caller"], strict=True))


class Caller:
    """A system that posts messages: with a token, with a certificate shown to the proxy, or with nothing."""

    def __init__(self, *, token: str = "", certificate: str = "", address: str = PROXY) -> None:
        self.headers = {"REMOTE_ADDR": address}
        if token:
            self.headers["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        if certificate:
            self.headers["HTTP_CLIENT_CERT"] = certificate

    def post(self, path: str, data: bytes, content_type: str = messages.PLAIN, **headers: str) -> Answered:
        return Answered(Client().generic("POST", path, data, content_type=content_type, **self.headers | headers))

    def ask(self, *security: str, path: str = "/xds/registry", **message: Any) -> Answered:
        """A stored query with these blocks of wsse:Security."""
        more = message.pop("more", "") + (keys.security(*security) if security else "")
        return self.post(path, messages.envelope(more=more, **message))


@pytest.fixture
def by_certificate(directory: None) -> Caller:
    return Caller(certificate=keys.CLINIC.header)


@pytest.fixture
def by_token(directory: None) -> Caller:
    return Caller(token=trust.token("org-clinic", extensions={}), address="192.0.2.7")


def stored() -> tuple[int, int]:
    """How many names and how many contents are stored."""
    return Binary.objects.count(), Blob.objects.count()


def provide(caller: Caller, data: bytes, content_type: str, **headers: str) -> Answered:
    return caller.post("/xds/repository", data, content_type, **headers)


def pnr(*documents: str, **message: Any) -> bytes:
    return messages.envelope(messages.provide(*documents), echo.PROVIDE, **message)


def files() -> list[Path]:
    """What lies in the store of documents."""
    folder = Path(hub_settings.DOCUMENT_DIR)
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
