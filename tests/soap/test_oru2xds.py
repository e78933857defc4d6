"""oru2xds, a document source of another maker: the message that it sends is taken, and the answer is what it can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from requests_toolbelt.multipart import decoder

from documents.models import DocumentEntry
from tests.exchange.world import exchange
from tests.grounds import ground
from tests.soap import wire, world
from tests.soap.conftest import Caller
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db
SENT = (Path(__file__).parent / "samples/oru2xds-2.0.25.mime").read_bytes()


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


def content_type() -> str:
    """As oru2xds writes it: the boundary first, the start a UUID without an @."""
    boundary = SENT.partition(b"\r\n")[0].removeprefix(b"--").decode()
    start = SENT.partition(b"Content-ID: <")[2].partition(b">")[0].decode()
    return (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="<{start}>"; '
        'start-info="application/soap+xml"'
    )


def test_a_result_that_oru2xds_made_a_document_of_is_registered_and_found(
    hub: None, ada_of_the_clinic: None, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    wire.real(monkeypatch)
    system = Caller(token=trust.token(), address="192.0.2.7")
    answer = system.post("/xds/repository", SENT, content_type())
    assert answer.status == 200, answer.reason
    # It takes a package of one part, reads it with these means, and asks each error for its location.
    parts = decoder.MultipartDecoder(answer.data, answer.response.headers["Content-Type"]).parts
    assert len(parts) == 1
    assert b"application/xop+xml" in parts[0].headers[b"Content-Type"]
    told = etree.fromstring(parts[0].content)
    (response,) = told.iter("{*}RegistryResponse")
    assert response.get("status", "").endswith(":Success"), etree.tostring(response)

    row = DocumentEntry.objects.get()
    assert (row.mime_type, row.restricted, row.custodian) == ("text/xml", False, "org-clinic")
    got = wire.asked(system, world.RETRIEVE, world.retrieval((settings.REPOSITORY_UNIQUE_ID, row.unique_id)))
    (document,) = wire.retrieved(got).values()
    assert document in SENT
    assert etree.fromstring(document).findtext(".//{*}paragraph") == "Heart and lungs without finding."
