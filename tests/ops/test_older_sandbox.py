"""A sandbox that an older release has loaded: what a start brings to it, and what it leaves alone."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.management import call_command

from hie.ops.sandbox import load, world
from hie.terminology.models import CodeSet

pytestmark = pytest.mark.django_db


class Here(load.HubPlace):
    """A hub whose commands run in this process, on the test's database."""

    ran: ClassVar[list[str]] = []

    def manage(self, *arguments: str) -> str:
        self.ran.append(self.name)
        out = StringIO()
        call_command(*arguments, stdout=out)
        return out.getvalue()


def started_again(folder: Path, **known: Any) -> dict[str, Any]:
    """What a start makes of a sandbox that an older release has loaded; its description as written."""
    base: dict[str, Any] = {
        "home_community_id": "",
        "repository_unique_id": "",
        "assigning_authority": "",
        "mllp_port": None,
    }

    def place(name: str) -> Here:
        return Here(name=name, base_url=f"http://{name}", data_dir=folder, env={}, **base)

    peers = {item.id: place(item.id) for item in world.COMMUNITIES}
    addresses = {item.home_community_id: peers[item.id].base_url for item in world.COMMUNITIES}
    addresses[world.FAULTY[2]] = "http://faulty"
    remote = [{"home_community_id": home, "base_url": url} for home, url in addresses.items()]
    described = {"base_url": "http://main", "complete": True, "remote_communities": remote, "kept": "as it was"} | known
    (folder / "sandbox.json").write_text(json.dumps(described))
    found = load.ensure(place("main"), peers, "http://faulty", hub_client_id="x", say=lambda _: None)
    assert found == json.loads((folder / "sandbox.json").read_text())
    return found


def test_a_sandbox_of_an_older_release_gets_the_sets_once(tmp_path: Path) -> None:
    found = started_again(tmp_path)
    assert CodeSet.objects.filter(attribute="typeCode", source="codes.xml 2026.1").exists()
    assert (found["affinity_domain"], found["kept"]) == ("codes.xml", "as it was")
    Here.ran.clear()
    started_again(tmp_path, **found)
    assert Here.ran == [], "looked at once, not at every start"


def test_what_staff_loaded_or_chose_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.xml"
    own.write_text('<Codes><CodeType name="typeCode"><Code code="T" codingScheme="2.999.1"/></CodeType></Codes>')
    call_command("affinity_domain", str(own), verbosity=0)
    CodeSet.objects.update(mode=CodeSet.Mode.OFF, mode_chosen=True)
    started_again(tmp_path)
    row = CodeSet.objects.get()
    assert (row.attribute, row.source, row.mode) == ("typeCode", "own.xml", CodeSet.Mode.OFF)
    load.load_codes(
        Here(
            name="main",
            base_url="",
            data_dir=tmp_path,
            env={},
            home_community_id="",
            repository_unique_id="",
            assigning_authority="",
            mllp_port=None,
        )
    )
    assert CodeSet.objects.count() == 1
