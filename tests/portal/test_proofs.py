"""The proof of a line in the portal, and the published seals: what a distrustful patient takes home."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hie.audit import export, seal
from tests.portal.conftest import busy_log, document, look, signed_in
from tests.portal.test_log import text_of


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.SECRETS_DIR, settings.CHECKPOINT_DIR = tmp_path / "keys", tmp_path / "checkpoints"


def proof_of(client: Client, sentence: str) -> tuple[str, str]:
    """The addresses of the page and the proof of the line with this sentence."""
    page = client.get("/my/").content.decode()
    for link in re.findall(r'href="(/my/log/[^"]+)"', page):
        line = client.get(html.unescape(link)).content.decode()
        if sentence in text_of(line.encode()):
            found = re.search(r'href="(/my/log/[^"]+/proof\?[^"]*)"', line)
            return html.unescape(link), html.unescape(found[1]) if found else ""
    raise AssertionError(f"no line says {sentence}")


def links(page: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'href="([^"]+)"', page)]


def test_what_the_page_of_a_proof_gives_is_checked_without_us_and_a_changed_letter_is_found(
    alice: str, tmp_path: Path
) -> None:
    busy_log(alice)
    client = signed_in()
    _, address = proof_of(client, "opened 3 of your documents")
    assert "The seal for this line is on its way" in text_of(client.get(address).content)
    seal.seal_now()
    look(alice, 0, disclosures=(document("Later"),))
    seal.seal_now()
    page = client.get(address).content.decode()
    assert "This line is in the sealed log. It has not changed since" in text_of(page.encode())
    given = links(page)
    saved: dict[str, Path] = {}
    for name, start in (("proof", "/my/log/"), ("program", "/my/verifier"), ("seal", "/checkpoints/")):
        link = next(one for one in given if one.startswith(start) and (name != "proof" or "proof.json" in one))
        answer = client.get(link)
        assert answer.status_code == 200
        file = re.search(r'filename="([^"]+)"', answer["Content-Disposition"])
        assert file is not None
        saved[name] = tmp_path / file[1]
        saved[name].write_bytes(answer.content)
    command = html.unescape(re.search(r"<code dir=\"ltr\">(python3 [^<]+)</code>", page)[1]).split()[1:]  # type: ignore[index]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count("is in the log as sealed at") == 3
    assert "the one of your checkpoint" in done.stdout
    changed = saved["proof"].read_text().replace("physician", "physicist", 1)
    saved["proof"].write_text(changed)
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1


def test_a_proof_leads_to_an_older_seal_when_asked(alice: str) -> None:
    look(alice, 5, disclosures=(document("Letter"),))
    seal.seal_now()
    size = Client().get("/checkpoints/latest").json()["size"]
    client = signed_in()
    _, address = proof_of(client, "opened your letter")
    seal.seal_now()
    file = address.replace("/proof?", "/proof.json?")
    assert client.get(file).json()["links"][0]["from"]["size"] == size
    assert client.get(f"{file}&seal={size}").json()["links"] == []
    for wrong in ("999999", "x", "9" * 40):
        assert client.get(f"{file}&seal={wrong}").status_code == 404


def test_a_proof_is_for_the_patient_alone(alice: str) -> None:
    busy_log(alice)
    seal.seal_now()
    _, address = proof_of(signed_in(), "opened 3 of your documents")
    sam = signed_in("sam")
    for own in (True, False):
        if not own:
            assert sam.post("/my/person", {"person": alice}).status_code == 302
            line, offered = proof_of(sam, "opened 3 of their documents")
            assert (line != "", offered) == (True, "")
        for path in (address, address.replace("/proof?", "/proof.json?")):
            assert sam.get(path).status_code == 404
            assert Client().get(path).status_code == 302


def test_seals_are_given_to_anybody_as_they_were_signed(alice: str) -> None:
    anybody = Client()
    assert anybody.get("/checkpoints").json() == {"checkpoints": [], "next": None}
    assert anybody.get("/checkpoints/latest").status_code == 404
    for n in range(3):
        look(alice, n, disclosures=(document("Letter"),))
        seal.seal_now()
    found = anybody.get("/checkpoints").json()["checkpoints"]
    assert len(found) == 3
    assert [one["size"] for one in found] == sorted((one["size"] for one in found), reverse=True)
    for one in found:
        answer = anybody.get(one["url"])
        file = next(iter(re.findall(r'filename="([^"]+)"', answer["Content-Disposition"])))
        assert answer.json() == json.loads((export.checkpoints.folder() / file).read_text())
        assert not answer.cookies
    older = anybody.get(f"/checkpoints?before={found[1]['size']}").json()["checkpoints"]
    assert [one["size"] for one in older] == [found[2]["size"]]
    for path, status in (
        ("/checkpoints?before=x", 400),
        ("/checkpoints?before=" + "9" * 30, 400),
        ("/checkpoints/5000", 404),
        ("/checkpoints/" + "9" * 40, 404),
        ("/checkpoints/0", 404),
    ):
        answer = anybody.get(path)
        assert (answer.status_code, "code" in answer.json()["error"]) == (status, True), path
    assert anybody.post("/checkpoints").status_code == 405


def test_the_program_is_the_one_beside_an_export() -> None:
    answer = Client().get("/my/verifier")
    assert answer.content == export.STANDALONE.read_bytes()
    assert answer["Content-Disposition"] == 'attachment; filename="standalone_verify.py"'
