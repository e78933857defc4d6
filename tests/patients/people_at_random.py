"""Invented people in numbers: households, several records of one person, typing errors; no file is read."""

from __future__ import annotations

import json
import random
from typing import Any

_SOUNDS = ("ba", "der", "fo", "gin", "hal", "ke", "lor", "mi", "nu", "pe", "ros", "sta", "tu", "vel", "wen", "zo")


def _word(draw: random.Random, parts: int) -> str:
    return "".join(draw.choice(_SOUNDS) for _ in range(parts)).capitalize()


def people(count: int, *, seed: int = 1, authority: str = "2.999.1") -> list[dict[str, Any]]:
    """`count` FHIR Patients; about a fifth are further records of somebody before."""
    draw = random.Random(seed)
    out: list[dict[str, Any]] = []
    while len(out) < count:
        family, street, phone = (
            _word(draw, 3),
            f"{draw.randint(1, 300)} {_word(draw, 2)} Street",
            draw.randint(0, 9999999),
        )
        place = draw.randint(1, 90)
        for _ in range(draw.choice((1, 1, 2, 3))):
            given, birth = (
                _word(draw, 2),
                f"{draw.randint(1930, 2020)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
            )
            sex = draw.choice(("male", "female"))
            while True:
                value = f"R{seed}-{len(out)}"
                written = given if draw.random() < 0.7 else given[:-1] + draw.choice("aeiou")
                out.append(
                    {
                        "resourceType": "Patient",
                        "identifier": [{"system": f"urn:oid:{authority}", "value": value}],
                        "name": [{"family": family, "given": [written]}],
                        "gender": sex,
                        "birthDate": birth,
                        "address": [{"line": [street], "city": f"Town{place}", "postalCode": f"{10000 + place}"}],
                        "telecom": [{"system": "phone", "value": f"+1303{phone:07}"}],
                    }
                )
                if draw.random() < 0.8:
                    break
    return out[:count]


def ndjson(resources: list[dict[str, Any]]) -> str:
    """One a line."""
    return "\n".join(map(json.dumps, resources)) + "\n"
