"""Signing in through an OpenID Connect provider, against a small one that is made here and can be made to lie."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client, override_settings

from hie.audit.models import AuditEvent
from hie.ops import checks
from hie.trust import client_keys, provider
from hie.trust.models import PatientAccount, ProviderLink
from tests.portal.conftest import signed_in
from tests.portal.test_first_visit import BORN, chosen, entrusted, given, nora, typed  # noqa: F401 - fixtures
from tests.portal.test_own_account import set_up
from tests.second_factor import code_of

SECRET = "between-us"


@dataclass
class Small:
    """A provider of one person; `lies` are claims that its tokens get instead of the true ones."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    signer: ec.EllipticCurvePrivateKey | None = None
    subject: str = "rosa-at-home"
    lies: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "ES256"
    token_status: int = 200
    given: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    base: str = ""

    def code(self, asked: dict[str, str]) -> str:
        """What the browser brings back after this person signed in there."""
        code = f"code-{len(self.given)}"
        self.given[code] = asked
        return code

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        """What it says to the hub itself."""
        self.asked.append(path)
        if path.endswith("openid-configuration"):
            here = {"issuer": self.base, "jwks_uri": f"{self.base}/keys"}
            here |= {"authorization_endpoint": f"{self.base}/authorize", "token_endpoint": f"{self.base}/token"}
            return 200, here | self.metadata
        if path == "/keys":
            public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
            return 200, {"keys": [public | {"kid": "k1", "use": "sig", "alg": "ES256"}]}
        asked = self.given.pop(form.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        right = base64.b64encode(f"hub:{SECRET}".encode()).decode()
        if (
            asked is None
            or proof.decode() != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
            or authorization != f"Basic {right}"
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.base,
            "sub": self.subject,
            "aud": "hub",
            "exp": now + 60,
            "iat": now,
            "nonce": asked["nonce"],
        }
        claims = {name: value for name, value in (claims | self.lies).items() if value is not None}
        if self.algorithm == "HS256":
            token = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": "k1"})
        elif self.algorithm == "none":
            token = jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"})  # type: ignore[arg-type]
        else:
            token = jwt.encode(claims, self.signer or self.key, algorithm=self.algorithm, headers={"kid": "k1"})
        return self.token_status, {"access_token": "a", "token_type": "Bearer", "id_token": token}


@pytest.fixture
def small(alice: str, settings: Any) -> Iterator[Small]:
    """The provider, running and configured."""
    here = Small()

    class Handler(BaseHTTPRequestHandler):
        def _say(self, form: dict[str, str]) -> None:
            status, body = here.answer(self.path, form, self.headers.get("Authorization", ""))
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_GET(self) -> None:
            self._say({})

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._say(dict(parse_qsl(sent)))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings.PATIENT_OIDC = {"issuer": here.base, "client_id": "hub", "client_secret": SECRET, "name": "Dunmarrow ID"}
    provider.forget()
    client_keys.forget()
    yield here
    server.shutdown()
    server.server_close()
    provider.forget()
    client_keys.forget()


def away(client: Client, address: str = "/my/sign-in/provider") -> dict[str, str]:
    """What the hub asks the provider when somebody follows the link."""
    answer = client.get(address)
    assert answer.status_code == 302, answer.content.decode()
    parts = urlsplit(answer["Location"])
    assert parts.path == "/authorize"
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def come_back(small: Small, client: Client, asked: dict[str, str], **changes: str) -> Any:
    said = {"code": small.code(asked), "state": asked["state"], "iss": small.base} | changes
    return client.get("/my/sign-in/provider/back", said)


def trip(small: Small, client: Client | None = None, address: str = "/my/sign-in/provider") -> Any:
    client = client or Client()
    return come_back(small, client, away(client, address))


@pytest.fixture
def linked(small: Small) -> Client:
    """Alice's browser; her account is linked."""
    client = signed_in()
    assert trip(small, client, "/my/account/provider")["Location"] == "/my/account?linked=1#notice"
    return client


def test_a_linked_account_signs_in_through_the_provider(small: Small, linked: Client) -> None:
    client = Client()
    assert "Sign in through Dunmarrow ID" in client.get("/my/sign-in").content.decode()
    asked = away(client, "/my/sign-in/provider?next=/my/documents")
    assert asked["scope"] == "openid"
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    before = client.session.session_key
    assert come_back(small, client, asked)["Location"] == "/my/documents"
    assert client.session.session_key != before
    assert client.get("/my/").status_code == 200
    assert "You can sign in through Dunmarrow ID too." in linked.get("/my/account").content.decode()
    assert AuditEvent.objects.filter(kind="login").count() == 2


def test_each_trip_has_its_own_secrets_and_counts_once(small: Small, linked: Client) -> None:
    client = Client()
    first, second = away(client), away(client)
    assert not {first["state"], first["nonce"], first["code_challenge"]} & set(second.values())
    assert come_back(small, client, first).status_code == 422, "only the last trip is under way"
    client = Client()
    asked = away(client)
    assert come_back(small, client, asked).status_code == 302
    other = Client()
    assert come_back(small, other, asked).status_code == 422, "another browser did not begin it"
    assert other.get("/my/").status_code == 302


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"nonce": "another"}, id="nonce"),
        pytest.param({"nonce": None}, id="no-nonce"),
        pytest.param({"iss": "https://evil.example"}, id="issuer"),
        pytest.param({"aud": "somebody-else"}, id="audience"),
        pytest.param({"aud": ["hub", "other"]}, id="two-audiences-and-no-party"),
        pytest.param({"azp": "other"}, id="for-another"),
        pytest.param({"exp": int(time.time()) - 3600}, id="ended"),
        pytest.param({"exp": None}, id="never-ends"),
        pytest.param({"iat": int(time.time()) + 7200}, id="made-tomorrow"),
        pytest.param({"iat": int(time.time()) - 7200}, id="made-long-ago"),
        pytest.param({"sub": ""}, id="nobody"),
        pytest.param({"sub": None}, id="no-subject"),
        pytest.param({"sub": 7}, id="a-number"),
        pytest.param({"sub": "x" * 300}, id="endless"),
        pytest.param({"sub": "a\x00b"}, id="nul"),
    ],
)
def test_a_token_that_does_not_hold_lets_nobody_in(small: Small, linked: Client, lie: dict[str, Any]) -> None:
    small.lies = lie
    client = Client()
    answer = trip(small, client)
    assert answer.status_code == 422
    assert "That did not work at Dunmarrow ID." in answer.content.decode()
    assert client.get("/my/").status_code == 302
    assert "my-provider" not in client.session
    assert AuditEvent.objects.filter(kind="login-failed").count() == 1
    small.lies = {}
    assert trip(small).status_code == 302


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_a_token_of_another_algorithm_lets_nobody_in(small: Small, linked: Client, algorithm: str) -> None:
    small.algorithm = algorithm
    assert trip(small).status_code == 422


def test_a_token_signed_by_another_key_lets_nobody_in(small: Small, linked: Client) -> None:
    small.signer = ec.generate_private_key(ec.SECP256R1())
    assert trip(small).status_code == 422


@pytest.mark.parametrize("changes", [{"state": "x"}, {"iss": "https://evil.example"}, {"error": "access_denied"}, {"code": ""}, {"code": "guessed"}])  # fmt: skip
def test_what_comes_back_must_be_what_went_away(small: Small, linked: Client, changes: dict[str, str]) -> None:
    client = Client()
    assert come_back(small, client, away(client), **changes).status_code == 422
    assert client.get("/my/").status_code == 302


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://evil.example"}, {"token_endpoint": "http://elsewhere.example/token"}, {"jwks_uri": None}],
)
def test_metadata_of_another_or_in_the_clear_are_not_used(small: Small, metadata: dict[str, Any]) -> None:
    small.metadata = metadata
    answer = Client().get("/my/sign-in/provider")
    assert answer.status_code == 503
    assert "sign in with your password" in answer.content.decode()


def test_a_provider_that_is_away_is_said_in_words(small: Small, settings: Any) -> None:
    settings.PATIENT_OIDC = settings.PATIENT_OIDC | {"issuer": "http://127.0.0.1:9"}
    assert Client().get("/my/sign-in/provider").status_code == 503
    client = Client()
    settings.PATIENT_OIDC = settings.PATIENT_OIDC | {"issuer": small.base}
    asked = away(client)
    small.token_status = 500
    assert come_back(small, client, asked).status_code == 503


def test_who_is_not_known_here_types_the_code_of_a_letter_once(small: Small, nora: str) -> None:  # noqa: F811
    client = Client()
    assert trip(small, client)["Location"] == "/my/first-visit"
    assert client.get("/my/").status_code == 302
    page = client.get("/my/first-visit").content.decode()
    assert "We do not know you yet" in page
    assert "You came through Dunmarrow ID." in page
    assert typed("ABCD-EFGH-JKMN", BORN["N1"], client).status_code == 422
    assert typed(given("N1"), BORN["N1"], client)["Location"] == "/my/welcome"
    assert "Nora Nilsson" in client.get("/my/welcome").content.decode()
    row = PatientAccount.objects.get(provider_links__subject=small.subject)
    assert row.password.startswith("!")
    assert trip(small)["Location"] == "/my/"


def test_a_code_typed_first_opens_the_account_through_the_provider(small: Small, nora: str) -> None:  # noqa: F811
    client = Client()
    typed(given("N1"), BORN["N1"], client)
    page = client.get("/my/first-visit/account").content.decode()
    assert "Use my Dunmarrow ID account in place of a password" in page
    assert trip(small, client, "/my/first-visit/provider")["Location"] == "/my/welcome"
    assert ProviderLink.objects.get().issuer == small.base
    assert Client().get("/my/first-visit/provider").status_code == 302


def test_a_second_factor_is_asked_here_unless_the_provider_asked_for_one(small: Small, linked: Client) -> None:
    secret, _ = set_up(linked)
    client = Client()
    assert trip(small, client)["Location"] == "/my/sign-in/code"
    assert client.get("/my/").status_code == 302
    assert client.post("/my/sign-in/code", {"code": code_of(secret, steps=1)})["Location"] == "/my/"
    small.lies = {"amr": ["pwd", "mfa"]}
    assert trip(small)["Location"] == "/my/"
    small.lies = {"amr": "mfa"}
    assert trip(small)["Location"] == "/my/sign-in/code"


@override_settings(PATIENT_SECOND_FACTOR="required")
def test_where_one_is_required_it_is_set_up_after_the_provider_too(small: Small, nora: str) -> None:  # noqa: F811
    client = Client()
    trip(small, client)
    assert typed(given("N1"), BORN["N1"], client)["Location"] == "/my/sign-in/app"
    assert client.get("/my/").status_code == 302


def test_one_account_there_is_one_account_here(small: Small, linked: Client) -> None:
    sam = signed_in("sam")
    answer = trip(small, sam, "/my/account/provider")
    assert answer["Location"] == "/my/account?taken=1#notice"
    assert "belongs to another account here" in sam.get("/my/account?taken=1").content.decode()
    assert ProviderLink.objects.get().account.login == "alice"
    PatientAccount.objects.filter(login="alice").update(active=False)
    assert trip(small)["Location"] == "/my/first-visit"


def test_a_trip_begun_for_one_account_links_no_other(small: Small) -> None:
    client = signed_in()
    asked = away(client, "/my/account/provider")
    kept = client.session["my-trip"]
    sam = signed_in("sam")
    session = sam.session
    session["my-trip"] = kept
    session.save()
    assert come_back(small, sam, asked)["Location"] == "/my/sign-in"
    assert not ProviderLink.objects.exists()


def test_a_link_is_taken_off_by_who_has_a_password(small: Small, linked: Client) -> None:
    assert linked.post("/my/account/provider/off")["Location"] == "/my/account?unlinked=1#notice"
    assert trip(small)["Location"] == "/my/first-visit"
    assert linked.post("/my/account/provider/off").status_code == 404
    acts = AuditEvent.objects.filter(kind="account-changed").order_by("at", "pk").values_list("detail", flat=True)
    assert [act["act"] for act in acts] == ["provider linked", "provider unlinked"]


def test_who_has_no_password_sets_one_first(small: Small, nora: str) -> None:  # noqa: F811
    client = Client()
    trip(small, client)
    typed(given("N1"), BORN["N1"], client)
    assert client.post("/my/account/provider/off")["Location"] == "/my/account?word-first=1#notice"
    assert "Set a password first." in client.get("/my/account?word-first=1").content.decode()
    new = {"password": "four words in a row", "again": "four words in a row"}
    assert client.post("/my/account/password", new).status_code == 302
    assert client.post("/my/account/provider/off")["Location"] == "/my/account?unlinked=1#notice"


def test_without_a_provider_there_is_no_such_way(alice: str) -> None:
    assert "Sign in through" not in Client().get("/my/sign-in").content.decode()
    for address in ("/my/sign-in/provider", "/my/sign-in/provider/back"):
        assert Client().get(address).status_code == 404
    assert signed_in().get("/my/account/provider").status_code == 404


def test_a_provider_half_configured_stops_the_start(settings: Any) -> None:
    none = {"issuer": "", "client_id": "", "client_secret": "", "name": ""}
    for held, found in (
        (none, []),
        (none | {"issuer": "https://id.example", "client_id": "hub"}, []),
        (none | {"issuer": "https://id.example"}, ["hie.E012"]),
        (none | {"issuer": "id.example", "client_id": "hub"}, ["hie.E012"]),
        (none | {"client_id": "hub"}, ["hie.E012"]),
    ):
        settings.PATIENT_OIDC = held
        settings.STAFF_OIDC = none | {"claim": "preferred_username"}
        assert [one.id for one in checks.provider_is_whole()] == found
