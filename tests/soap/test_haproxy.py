"""The SOAP face behind Debian's haproxy: what the client proved to the proxy is what the hub believes, and nothing else.

The configuration is the one of docs/howto/production.md. Run by `./hub test -m proxy`; a lane of its own in `.ci/run`.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.directory.forms import clinic, file, hospital
from tests.soap import echo, live, messages
from tests.soap.keys import Pair, assertion, held_by, security, sign
from tests.soap.live import Live
from tests.soap.test_live import BOUNDARY, CONTENT_TYPE, sent

pytestmark = [pytest.mark.proxy, pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).resolve().parents[2]
AUTHORITY = Pair("authority", authority=True)
OTHER_AUTHORITY = Pair("another authority", authority=True)
SERVER = Pair("hub.example", issuer=AUTHORITY, address="127.0.0.1")
CLINIC = Pair("clinic", issuer=AUTHORITY)
HOSPITAL = Pair("hospital", issuer=AUTHORITY)
NOBODY = Pair("nobody registered", issuer=AUTHORITY)
EXPIRED = Pair("expired", issuer=AUTHORITY, days=(-30, -1))
FOREIGN = Pair("foreign", issuer=OTHER_AUTHORITY)
PROXY_ADDRESS = "127.0.0.2"


@dataclass(slots=True, kw_only=True)
class Front:
    """The proxy's port, and the hub behind it."""

    port: int
    hub: Live
    folder: Path

    def context(self, pair: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=AUTHORITY.pem)
        if pair is not None:
            path = self.folder / "client.pem"
            path.write_text(pair.key_pem + pair.pem)
            context.load_cert_chain(path)
        return context

    def post(
        self,
        pair: Pair | None,
        data: Any,
        content_type: str = messages.PLAIN,
        path: str = "/xds/registry",
        *,
        alike: dict[str, str] | None = None,
        **headers: str,
    ) -> tuple[int, Any]:
        """Status and envelope of the answer to a client with this certificate; the names of `alike` stay as they are."""
        line = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(pair), timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()} | (alike or {})
        chunked = not isinstance(data, bytes)
        named |= {"Transfer-Encoding": "chunked"} if chunked else {}
        line.request(
            "POST", path, data, {"Host": "hub.example", "Content-Type": content_type} | named, encode_chunked=chunked
        )
        answer = line.getresponse()
        root, _ = messages.opened(answer.read(), answer.headers["Content-Type"])
        return answer.status, root


def configuration(port: int, hub_port: int, folder: Path) -> str:
    """The configuration of the guide, with its addresses and files exchanged for the test's."""
    guide = (ROOT / "docs" / "howto" / "production.md").read_text()
    found = re.search(r"```haproxy\n(.*?)```", guide, re.DOTALL)
    assert found is not None, "the guide has no configuration of haproxy"
    text = found[1]
    for theirs, ours in (
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/hub.pem", str(folder / "server.pem")),
        ("/etc/haproxy/participants-ca.pem", str(folder / "authority.pem")),
        ("server hub 127.0.0.1:8000", f"server hub 127.0.0.1:{hub_port} source {PROXY_ADDRESS}"),
    ):
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program is not None, "haproxy is not installed (apt-get install haproxy)"
    whole = file(
        clinic(certificates=[CLINIC.pem, EXPIRED.pem, FOREIGN.pem], default_role="nurse", default_purpose="TREAT"),
        hospital(certificates=[HOSPITAL.pem]),
    )
    (tmp_path / "server.pem").write_text(SERVER.key_pem + SERVER.pem)
    (tmp_path / "authority.pem").write_text(AUTHORITY.pem)
    with live.running(tmp_path, whole, HIE_TRUSTED_PROXIES=PROXY_ADDRESS) as hub:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        path = tmp_path / "haproxy.cfg"
        path.write_text(configuration(port, hub.port, tmp_path))
        process = subprocess.Popen([program, "-db", "-f", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            _wait(process, port)
            yield Front(port=port, hub=hub, folder=tmp_path)
        finally:
            process.terminate()
            process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, process.stdout.read().decode() if process.stdout else ""
            assert time.monotonic() < until, "haproxy does not listen"
            time.sleep(0.05)


def caller(answer: tuple[int, Any]) -> tuple[str, str]:
    """Participant and user whom the hub took for the caller."""
    status, root = answer
    assert status == 200, messages.text(root, ".//s:Reason")
    said = dict(zip(echo.CALLER, echo.said(root)["caller"], strict=False))
    return said["participant_id"], said["user_id"]


FAILED = (400, "soap:Sender/wsse:FailedAuthentication")


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], messages.code(answer[1])


def test_the_certificate_shown_to_the_proxy_is_the_caller_and_no_header_of_a_client_is(front: Front) -> None:
    ask = messages.envelope()
    assert caller(front.post(CLINIC, ask)) == ("org-clinic", "Device/org-clinic")
    assert caller(front.post(HOSPITAL, ask)) == ("org-hospital", "Device/org-hospital")
    spoofed = {"Client_Cert": CLINIC.header}
    assert refused(front.post(None, ask, alike={"Client_Cert": CLINIC.header})) == FAILED, "to WSGI it is the same name"
    assert refused(front.post(None, ask)) == FAILED
    assert refused(front.post(None, ask, **spoofed)) == FAILED, "a spoofed header passed the proxy"
    assert refused(front.post(None, ask, client_cert=CLINIC.header)) == FAILED
    assert caller(front.post(HOSPITAL, ask, **spoofed))[0] == "org-hospital", "a spoofed header outranked the proof"
    assert refused(front.post(NOBODY, ask)) == FAILED
    assert refused(front.post(NOBODY, ask, **spoofed)) == FAILED
    # Straight to the hub, from an address that is no proxy of it.
    line = http.client.HTTPConnection("127.0.0.1", front.hub.port, timeout=60)
    line.request(
        "POST",
        "/xds/registry",
        ask,
        {"Host": "hub.example", "Content-Type": messages.PLAIN, "Client-Cert": CLINIC.header},
    )
    direct = line.getresponse()
    assert (direct.status, b"FailedAuthentication" in direct.read()) == (400, True)


@pytest.mark.parametrize("pair", [EXPIRED, FOREIGN], ids=["expired", "of-another-authority"])
def test_a_certificate_that_the_proxy_does_not_trust_does_not_reach_the_hub(front: Front, pair: Pair) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        front.post(pair, messages.envelope())


def test_an_assertion_and_a_large_package_pass_the_proxy(front: Front) -> None:
    def asked(confirmation: str) -> bytes:
        return messages.envelope(more=security(sign(assertion(confirmation=confirmation), CLINIC)))

    assert caller(front.post(CLINIC, asked(held_by(CLINIC)))) == ("org-clinic", "Practitioner/ada")
    stolen = front.post(HOSPITAL, asked(held_by(CLINIC)))
    assert refused(stolen) == (400, "soap:Sender/wsse:InvalidSecurityToken")
    size = 8 << 20
    status, root = front.post(CLINIC, sent(size), CONTENT_TYPE, "/xds/repository")
    assert BOUNDARY in CONTENT_TYPE
    assert (status, echo.said(root)["d0"][:2]) == (200, [str(size), echo.sha1_of(size)])
