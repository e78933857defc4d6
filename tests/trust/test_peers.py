"""Keys fetched from a client's URL, and this hub as a client: over real connections."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import RequestFactory

from hie.directory import registration
from hie.standards.facts import Caller, EndpointFacts
from hie.trust import client_keys, clients, hub_keys, tokens
from hie.trust.errors import PeerRefused
from hie.trust.peer_session import PeerSession
from tests.directory.forms import EC_P384, clinic, community, file, jwk, private_jwk
from tests.trust.conftest import ask, assertion

pytestmark = [pytest.mark.django_db, pytest.mark.urls("hie.trust.urls"), pytest.mark.usefixtures("directory")]
ADA = Caller(
    participant_id="org-clinic",
    organization_id="org-clinic",
    client_id="org-clinic",
    user_id="Practitioner/ada",
    user_name="Ada Moor",
    role="physician",
    organization_name="The Clinic",
    organization_oid="2.999.10.1",
    relationship="referral",
)


class Site:
    """A small web site: `pages` by path; every request is noted."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[tuple[str, str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                site.requests.append((self.command, self.path, body))
                status, headers, content = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer  # noqa: N815 - the library's names

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def put(self, path: str, document: object, status: int = 200, **headers: str) -> None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.pages[path] = (status, headers, content)

    def count(self, path: str) -> int:
        return sum(1 for _, asked, _ in self.requests if asked == path)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def registered_by_url(site: Site) -> None:
    registration.apply(file(clinic(jwks=None, jwks_url=f"{site.url}/jwks")))


def test_keys_at_a_url_are_fetched_once_and_again_for_a_new_kid(site, monkeypatch):
    registered_by_url(site)
    site.put("/jwks", {"keys": [jwk(EC_P384, "clinic-1")]})
    assert [ask(assertion()).status_code for _ in range(3)] == [200, 200, 200]
    assert site.count("/jwks") == 1
    second = ec.generate_private_key(ec.SECP384R1())
    site.put("/jwks", {"keys": [jwk(EC_P384, "clinic-1"), jwk(second, "clinic-2")]})
    with_second = {"key": second, "header": {"kid": "clinic-2"}}
    # Within the floor an unknown kid does not make the hub hammer the client's site.
    assert ask(assertion(**with_second)).status_code == 401
    assert site.count("/jwks") == 1
    monkeypatch.setattr(client_keys, "REFETCH_FLOOR_S", 0.0)
    assert ask(assertion(**with_second)).status_code == 200
    assert site.count("/jwks") == 2


def test_a_jku_that_is_the_registered_url_is_taken(site):
    registered_by_url(site)
    site.put("/jwks", {"keys": [jwk(EC_P384, "clinic-1")]})
    assert ask(assertion(header={"jku": f"{site.url}/jwks"})).status_code == 200
    assert ask(assertion(header={"jku": f"{site.url}/other"})).status_code == 401
    assert site.count("/other") == 0


def test_a_key_withdrawn_at_its_url_stops_when_the_set_is_too_old(site, monkeypatch):
    registered_by_url(site)
    site.put("/jwks", {"keys": [jwk(EC_P384, "clinic-1")]})
    assert ask(assertion()).status_code == 200
    site.put("/jwks", {"keys": []})
    monkeypatch.setattr(client_keys, "MAX_AGE_S", 0.0)
    monkeypatch.setattr(client_keys, "REFETCH_FLOOR_S", 0.0)
    assert ask(assertion()).status_code == 401


def test_while_the_url_is_down_the_last_set_is_used_for_a_time(site, monkeypatch):
    registered_by_url(site)
    site.put("/jwks", {"keys": [jwk(EC_P384, "clinic-1")]})
    assert ask(assertion()).status_code == 200
    site.put("/jwks", {}, status=503)
    monkeypatch.setattr(client_keys, "MAX_AGE_S", 0.0)
    monkeypatch.setattr(client_keys, "REFETCH_FLOOR_S", 0.0)
    assert ask(assertion()).status_code == 200
    monkeypatch.setattr(client_keys, "STALE_S", 0.0)
    assert ask(assertion()).status_code == 401


@pytest.mark.parametrize(
    ("document", "status", "headers"),
    [
        (b"x" * 100_000, 200, {}),
        (b"<html>", 200, {}),
        (b"[]", 200, {}),
        ({"keys": [private_jwk(EC_P384, "clinic-1")]}, 200, {}),
        ({"keys": [jwk(EC_P384, "clinic-1"), jwk(EC_P384, "clinic-1")]}, 200, {}),
        (b"", 302, {"Location": "/elsewhere"}),
        (b"", 500, {}),
    ],
    ids=["too-large", "html", "list", "private", "kid-twice", "redirect", "error"],
)
def test_a_key_set_that_is_not_one_is_refused(site, document, status, headers):
    registered_by_url(site)
    site.put("/jwks", document, status, **headers)
    site.put("/elsewhere", {"keys": [jwk(EC_P384, "clinic-1")]})
    assert ask(assertion()).status_code == 401
    assert site.count("/elsewhere") == 0


def peer(site: Site) -> EndpointFacts:
    site.put("/fhir/.well-known/smart-configuration", {"token_endpoint": f"{site.url}/oauth/token"})
    site.put("/oauth/token", {"access_token": "t-1", "token_type": "Bearer", "expires_in": 300})
    site.put("/oauth/jwks", hub_keys.jwks())
    return EndpointFacts(
        participant_id="com-east",
        participant_name="East",
        participant_type="community",
        kind="fhir",
        url=f"{site.url}/fhir",
    )


def ask_peer(how: str, endpoint: EndpointFacts, purpose: str = "TREAT", caller: Caller = ADA) -> str:
    if how == "sync":
        return clients.token_for(endpoint, purpose, caller)

    async def run() -> str:
        async with PeerSession() as session:
            return await clients.token_for_async(session, endpoint, purpose, caller)

    return asyncio.run(run())


@pytest.mark.parametrize("how", ["sync", "async"])
def test_our_assertion_is_taken_by_a_hub_that_registered_us_and_names_user_and_purpose(site, settings, how):
    endpoint = peer(site)
    assert ask_peer(how, endpoint) == "t-1"
    [form] = [parse_qs(body) for method, path, body in site.requests if path == "/oauth/token"]
    # The peer is this same code: it knows us as a community whose keys stand at our JWKS URL.
    settings.BASE_URL = site.url
    west = community(
        id="com-west",
        organization_oid="2.999.30.1",
        home_community_id="urn:oid:2.999.30.1",
        client_id=clients.client_id(),
        jwks=None,
        jwks_url=f"{site.url}/oauth/jwks",
        endpoints=None,
    )
    registration.apply(file(west))
    answer = ask(form["client_assertion"][0], scope=form["scope"][0])
    assert answer.status_code == 200, answer.content
    bearer = f"Bearer {answer.json()['access_token']}"
    who = tokens.authenticate(RequestFactory().get("/", headers={"Authorization": bearer}))
    assert (who.participant_id, who.intermediary_id) == ("com-west", "com-west")
    assert (who.user_id, who.role, who.purpose, who.relationship) == (
        "Practitioner/ada",
        "physician",
        "TREAT",
        "referral",
    )


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_token_is_held_for_one_user_and_purpose_and_never_given_to_another(site, how):
    endpoint = peer(site)
    for _ in range(3):
        ask_peer(how, endpoint)
    assert (site.count("/oauth/token"), site.count("/fhir/.well-known/smart-configuration")) == (1, 1)
    ask_peer(how, endpoint, purpose="HPAYMT")
    ask_peer(how, endpoint, caller=Caller(participant_id="o", organization_id="o", client_id="o", user_id="other"))
    assert site.count("/oauth/token") == 3
    clients.forget(endpoint)
    ask_peer(how, endpoint)
    assert site.count("/oauth/token") == 4


def test_questions_at_once_wait_for_one_token_and_who_gives_up_takes_it_from_nobody(site):
    endpoint = peer(site)

    async def run() -> list[object]:
        async with PeerSession() as session:
            wait = [clients.token_for_async(session, endpoint, "TREAT", ADA) for _ in range(20)]
            impatient = clients.token_for_async(session, endpoint, "TREAT", ADA, timeout_s=0)
            return await asyncio.gather(impatient, *wait, return_exceptions=True)

    gave_up, *tokens_given = asyncio.run(run())
    assert isinstance(gave_up, PeerRefused)
    assert tokens_given == ["t-1"] * 20
    assert site.count("/oauth/token") == 1


def test_a_refusal_is_not_remembered(site):
    endpoint = peer(site)
    site.put("/oauth/token", {"error": "busy"}, 503)

    async def run() -> str:
        async with PeerSession() as session:
            with pytest.raises(PeerRefused):
                await clients.token_for_async(session, endpoint, "TREAT", ADA)
            site.put("/oauth/token", {"access_token": "t-1", "token_type": "Bearer"})
            return await clients.token_for_async(session, endpoint, "TREAT", ADA)

    assert asyncio.run(run()) == "t-1"


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize(
    ("path", "document", "status", "why"),
    [
        ("/oauth/token", {"error": "invalid_client"}, 401, "answered 401 invalid_client"),
        ("/oauth/token", b"<html>", 200, "did not answer with JSON"),
        ("/oauth/token", b"y" * 100_000, 200, "Error|TooLarge"),
        ("/oauth/token", {"token_type": "Bearer"}, 200, "without a bearer token"),
        ("/oauth/token", {"access_token": "x", "token_type": "mac"}, 200, "without a bearer token"),
        ("/fhir/.well-known/smart-configuration", b"", 404, "answered 404"),
        ("/fhir/.well-known/smart-configuration", {"a": 1}, 200, "names no token_endpoint"),
        ("/fhir/.well-known/smart-configuration", {"token_endpoint": "file:///etc"}, 200, "not an acceptable URL"),
    ],
)
def test_a_peer_that_answers_wrongly_is_named_and_nothing_is_held(site, how, path, document, status, why):
    endpoint = peer(site)
    site.put(path, document, status)
    with pytest.raises(PeerRefused, match=why) as refused:
        ask_peer(how, endpoint)
    assert refused.value.peer == "com-east"
    assert not clients._tokens


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_peer_that_is_down_is_refused_at_once(how):
    endpoint = EndpointFacts(
        participant_id="com-east",
        participant_name="East",
        participant_type="community",
        kind="fhir",
        url="http://127.0.0.1:1/fhir",
    )
    with pytest.raises(PeerRefused):
        ask_peer(how, endpoint)
