"""One worked exchange, done now, for a newcomer to read: ``python -m hie.ops.sandbox.worked SANDBOX.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx

from hie.ops.sandbox.demo import _system_value
from hie.ops.sandbox.hub import Client, Unexpected
from hie.ops.sandbox.world import CLINIC


def main(arguments: list[str]) -> int:
    """A physician at the clinic asks everyone for Amara's documents; print what was asked and answered."""
    path = Path(arguments[0])
    sandbox = json.loads(path.read_bytes())
    patient = next(item for item in sandbox["patients"] if item["story"] == "three-identifiers")
    clinic = next(item for item in sandbox["participants"] if item["id"] == CLINIC)
    user = clinic["users"][0]
    system, value = _system_value(patient["identifiers"][1]).split("|")
    client = Client.of(sandbox, CLINIC, path.parent)
    body = {"patient": {"identifier": {"system": system, "value": value}}, "deadline_s": 5}
    try:
        answer = client.call(
            "POST",
            "/api/queries",
            user=user,
            purpose="TREAT",
            json=body,
            headers={"Prefer": "wait=6", "Accept": "application/json"},
            expect=(200, 202),
        ).json()
    except (Unexpected, httpx.HTTPError) as error:
        print(f"  the worked exchange did not go through: {error}")
        return 1
    print(f"  one exchange: {user['name']} ({clinic['name']}) asks for {patient['name']}'s documents, to treat her")
    print(f"    POST {sandbox['api_base']}/queries  {json.dumps(body)}")
    for target in answer["targets"]:
        print(f"    {target['name']:<32} {target['status']:<9} {target['found']} documents")
    for document in answer["documents"][:4]:
        attachment = document["content"][0]["attachment"]
        print(f"    {attachment.get('title') or document.get('description', '')}: {attachment['url']}")
    print(f"    and {patient['given'][0]} reads at {sandbox['base_url']}/my/ that {user['name']} looked, and why")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
