"""Messages meant to break something: each gets an acknowledgement that quotes nothing, and nothing is half done."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from hie.exchange import inbox
from hie.exchange.models import InboundMessage
from hie.faces.hl7v2.mllp import answer
from patients import identifiers
from patients.models import SourceRecord
from tests.hl7v2 import messages
from tests.hl7v2.messages import HOSPITAL_OID, adt, msa, msh, pid

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _participants(db: None, settings: Any) -> None:
    settings.GUESSING_PER_MINUTE = 100_000
    messages.register()


OWN = f"77^^^&{HOSPITAL_OID}&ISO"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(pid(OWN, "Null\\X00\\Byte^Nora"), "AE", id="escaped-nul"),
        pytest.param(pid(f"7{'7' * 2000}^^^&{HOSPITAL_OID}&ISO"), "AE", id="endless-identifier"),
        pytest.param(pid(OWN, "~".join(f"N{n}^X" for n in range(500))), "AE", id="too-many-names"),
        pytest.param(pid(OWN, "Quimby^null"), "AA", id="null-as-a-name"),
        pytest.param(pid(OWN, birth="1984061712304500000"), "AA", id="19-digits"),
        pytest.param(pid(OWN, birth="19840231"), "AA", id="impossible-day"),
        pytest.param(pid(OWN, birth="00000000"), "AA", id="no-day-at-all"),
        pytest.param(pid(OWN, "Quimby\r^Nora^L"), "AA", id="wrapped-name"),
        pytest.param(pid(OWN, "\\X4D\\\\XC3A9\\^Nora\\.br\\L"), "AA", id="escapes"),
    ],
)
def test_a_strange_patient_is_taken_or_refused_and_can_be_asked_for(sent: str, code: str) -> None:
    reply = answer(adt("A28", "x" * 52, sent))
    assert msa(reply)[1:3] == [code, "x" * 52]
    assert InboundMessage.objects.get().status == ("accepted" if code == "AA" else "refused")
    assert (identifiers.resolve(HOSPITAL_OID, "77") is not None) is (code == "AA")
    question = [msh("Q22", "q", kind="QBP^Q22^QBP_Q21"), f"QPD|IHE PDQ Query|T|@PID.3.1^77~@PID.3.4.2^{HOSPITAL_OID}"]
    found = answer(("\r".join(question) + "\r").encode())
    assert msa(found)[1] == "AA"
    assert (b"\rPID|1|" in found) is (code == "AA")


@pytest.mark.parametrize("charset", ["", "8859/1", "UNICODE UTF-8", "ASCII"])
@pytest.mark.parametrize("encoding", ["utf-8", "iso8859-1"])
def test_letters_survive_whatever_was_declared(charset: str, encoding: str) -> None:
    lines = [msh("A28", "1", charset=charset), "EVN|A28|20260101", pid(OWN, "Grünwald^Zoë")]
    assert msa(answer(("\r".join(lines) + "\r").encode(encoding)))[1] == "AA"
    question = [msh("Q22", "q", kind="QBP^Q22^QBP_Q21"), "QPD|IHE PDQ Query|T|@PID.5.1^Grünwald"]
    found = answer(("\r".join(question) + "\r").encode())
    assert "|Grünwald^Zoë^" in found.decode()
    assert found.split(b"\r")[0].endswith(b"|UNICODE UTF-8")


def test_no_damaged_message_crashes_the_hub_or_leaves_half_a_merge() -> None:
    chance = random.Random(7)
    other = f"78^^^&{HOSPITAL_OID}&ISO"
    whole = [
        adt("A28", "1"),
        adt("A24", "2", pid(OWN), pid(other)),
        adt("A37", "3", pid(OWN), pid(other)),
        adt("A40", "4", pid(OWN), f"MRG|{other}"),
        adt("A43", "5", pid(OWN), f"MRG|{other}"),
        adt("A47", "6", pid(f"79^^^&{HOSPITAL_OID}&ISO"), f"MRG|{other}"),
        (
            "\r".join([msh("Q22", "7", kind="QBP^Q22^QBP_Q21"), "QPD|a|b|@PID.5.1^Q*", "RCP|I|1^RD", "DSC|x|I"]) + "\r"
        ).encode(),
        ("\r".join([msh("Q23", "8", kind="QBP^Q23^QBP_Q21"), f"QPD|a|b|{OWN}|^^^&{HOSPITAL_OID}&ISO"]) + "\r").encode(),
    ]
    for _ in range(150):
        raw = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw))
            match chance.randrange(4):
                case 0:
                    raw[at] = chance.randrange(256)
                case 1:
                    del raw[at : at + chance.randint(1, 30)]
                case 2:
                    raw[at:at] = chance.choice([b"|", b"^", b"~", b"&", b"\\", b"\r", b'""', b"\xff", b"\x00", b"PID|"])
                case 3:
                    raw[at:at] = raw[max(0, at - 40) : at]
        if not raw:
            continue
        reply = answer(bytes(raw))
        assert b"\rMSA|" in reply
        assert b"207^" not in reply, (bytes(raw), reply)
    assert InboundMessage.objects.filter(status="failed").count() == 0
    for record in SourceRecord.objects.filter(status="replaced"):
        assert record.replaced_by_id is not None


def test_a_repeat_that_comes_before_a_message_is_begun_with_is_no_second_handling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, keep = threading.Event(), inbox._keep
    repeats: list[Future[bytes]] = []

    def waits_or_is_done() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
            return bool(cursor.fetchone()[0]) or any(one.done() for one in repeats)

    def slow(row: InboundMessage) -> bool:
        saved = keep(row)
        if saved:
            kept.set()
            # Until the repeat waits for its turn, or has been handled in the place of this.
            until = time.monotonic() + 10
            while time.monotonic() < until and not waits_or_is_done():
                time.sleep(0.02)
        return saved

    monkeypatch.setattr(inbox, "_keep", slow)
    raw = adt("A28", "twice", pid(OWN))

    def answered() -> bytes:
        try:
            return answer(raw)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(answered)
        assert kept.wait(10)
        repeats.append(pool.submit(answered))
        assert first.result() == repeats[0].result()
    assert InboundMessage.objects.get().attempts == 1
