"""Answers to a wsa:ReplyTo: 202 at once, and the answer on a connection of its own, to listed places alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from hie.faces.soap import replies
from tests.soap import echo, messages
from tests.soap.conftest import DATA, Caller, pnr, provide

pytestmark = pytest.mark.django_db
MESSAGE_ID = "urn:uuid:11111111-2222-4333-8444-555555555555"


class Listener:
    """A sender's own endpoint: what was posted to it."""

    def __init__(self, status: int = 202) -> None:
        heard: queue.Queue[tuple[str, bytes]] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                heard.put((self.headers["Content-Type"], data))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self._heard = heard
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def to(self, name: str = "ReplyTo") -> str:
        return f"<wsa:{name}><wsa:Address>http://{self.host}/answers</wsa:Address></wsa:{name}>"

    def heard(self) -> tuple[Any, dict[str, bytes]]:
        content_type, data = self._heard.get(timeout=20)
        return messages.opened(data, content_type)

    def nothing(self) -> bool:
        return self._heard.empty()


@pytest.fixture
def listener(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    # The test's connection is not another thread's to close.
    monkeypatch.setattr(replies.connections, "close_all", lambda: None)
    made = Listener()
    settings.SOAP_REPLY_HOSTS = frozenset({made.host})
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_answer_goes_where_the_message_says(by_token: Caller, listener: Listener) -> None:
    answer = by_token.post("/xds/registry", messages.envelope(more=listener.to()))
    assert (answer.status, answer.data) == (202, b"")
    root, _ = listener.heard()
    assert messages.text(root, ".//wsa:RelatesTo") == MESSAGE_ID
    assert messages.text(root, ".//wsa:Action") == f"{echo.STORED_QUERY}Response"
    assert messages.text(root, ".//wsa:To") == f"http://{listener.host}/answers"


def test_documents_go_there_too(by_token: Caller, listener: Listener) -> None:
    stored = pnr(messages.include("d@test"), more=listener.to())
    assert provide(by_token, *messages.package(stored, messages.part("d@test", DATA))).status == 202
    root, _ = listener.heard()
    assert messages.text(root, ".//wsa:Action") == f"{echo.PROVIDE}Response"
    asked = messages.envelope(messages.retrieve("1.2.3"), echo.RETRIEVE, more=listener.to())
    assert by_token.post("/xds/repository", asked).status == 202
    root, parts = listener.heard()
    assert messages.text(root, ".//wsa:Action") == f"{echo.RETRIEVE}Response"
    assert parts


def test_a_fault_of_the_transaction_goes_there_and_one_of_the_caller_does_not(
    by_token: Caller, listener: Listener
) -> None:
    assert (
        by_token.post("/xds/registry", messages.envelope("<a/>", more=listener.to() + listener.to("FaultTo"))).status
        == 202
    )
    root, _ = listener.heard()
    assert messages.code(root) == "soap:Sender"
    assert messages.text(root, ".//wsa:RelatesTo") == MESSAGE_ID
    nobody = Caller(address="192.0.2.7").post("/xds/registry", messages.envelope(more=listener.to()))
    assert nobody.code == "soap:Sender/wsse:FailedAuthentication"
    assert listener.nothing()


def test_a_place_is_given_back_whatever_comes_of_an_answer(by_token: Caller, listener: Listener, settings: Any) -> None:
    settings.SOAP_REPLY_HOSTS = frozenset({listener.host, "127.0.0.1:9"})
    for address in ("http://127.0.0.1:9/nobody", f"http://{listener.host}/answers"):
        for _ in range(replies.AT_ONCE):
            more = f"<wsa:ReplyTo><wsa:Address>{address}</wsa:Address></wsa:ReplyTo>"
            answer = by_token.post("/xds/registry", messages.envelope(more=more))
            while answer.status != 202:
                assert answer.response.headers["Retry-After"]
                answer = by_token.post("/xds/registry", messages.envelope(more=more))


@pytest.mark.parametrize(
    ("address", "goes"),
    [
        ("https://partner.example/answers", True),
        ("https://partner.example:8443/answers", True),
        ("https://other.example:444/", True),
        ("https://other.example/", False),
        ("http://partner.example/answers", False),
        ("https://partner.example.evil.example/", False),
        ("https://a:b@partner.example/", False),
        ("https://evil.example/?partner.example", False),
        ("ftp://partner.example/", False),
        ("http://127.0.0.1:8000/", True),
        ("http://127.0.0.2/", False),
        ("http://www.w3.org/2005/08/addressing/none", False),
        ("https://[::1", False),
        ("", False),
    ],
)
def test_answers_go_to_listed_places_alone(address: str, goes: bool, settings: Any) -> None:
    settings.SOAP_REPLY_HOSTS = frozenset({"partner.example", "other.example:444", "127.0.0.1:8000"})
    assert replies.may_go_to(address) is goes


def test_in_production_nothing_goes_without_tls(settings: Any) -> None:
    settings.SOAP_REPLY_HOSTS = frozenset({"127.0.0.1:8000"})
    assert replies.may_go_to("http://127.0.0.1:8000/")
    settings.PRODUCTION = True
    assert not replies.may_go_to("http://127.0.0.1:8000/")
