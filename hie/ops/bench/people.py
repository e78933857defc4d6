"""Invented people in any number: names by real frequencies (a few common, most rare), households, repeated records.

Made from syllables and a seed; no list of names and no file is read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfghjklmnprstvwz" for vowel in "aeiou")
_AGAIN = 0.2  # of those recorded, how many are recorded once more


def _words(draw: random.Random, count: int, low: int, high: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choice(_SYLLABLES) for _ in range(draw.randint(low, high))).capitalize()] = None
    return list(found)


def _shares(count: int) -> list[float]:
    # Zipf with a flat head: the commonest surname of 60,000 has about one percent.
    return list(accumulate(1 / (n + 5) ** 0.9 for n in range(count)))


def _typing_error(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text))
    return text[:at] + draw.choice("abcdefghijklmnopqrstuvwxyz") + text[at + 1 :]


def people(count: int, *, authority: str, seed: int = 1, prefix: str = "S") -> Iterator[dict[str, Any]]:
    """`count` FHIR Patients of households; about a fifth are further records of somebody before, changed a little."""
    draw = random.Random(seed)  # noqa: S311  # invented people, nothing secret
    families, given_names = _words(draw, 60_000, 2, 4), _words(draw, 6_000, 2, 3)
    streets, towns = _words(draw, 5_000, 2, 4), _words(draw, 3_000, 2, 4)
    family_shares, given_shares, town_shares = _shares(60_000), _shares(6_000), _shares(3_000)
    made = 0
    while made < count:
        family = draw.choices(families, cum_weights=family_shares)[0]
        place = draw.choices(range(3_000), cum_weights=town_shares)[0]
        street = f"{draw.randint(1, 400)} {draw.choice(streets)} St"
        code, phone = (
            f"{10_000 + place * 7 + draw.randint(0, 6)}",
            f"+1{200 + place % 700}{draw.randint(2_000_000, 9_999_999)}",
        )
        for _ in range(draw.choice((1, 1, 2, 2, 3, 4))):
            person = {
                "family": family,
                "given": draw.choices(given_names, cum_weights=given_shares)[0],
                "gender": draw.choice(("male", "female")),
                "birth": f"{int(draw.triangular(1925, 2024, 1985))}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
                "street": street,
                "phone": phone if draw.random() < 0.7 else "",
                "number": str(draw.randint(100_000_000, 999_999_999)) if draw.random() < 0.5 else "",
            }
            while made < count:
                made += 1
                yield _patient(person, f"{prefix}{seed}-{made}", authority, towns[place], code)
                if draw.random() >= _AGAIN:
                    break
                person = _changed(draw, person, streets)


def _changed(draw: random.Random, person: dict[str, str], streets: list[str]) -> dict[str, str]:
    what = draw.random()
    if what < 0.3:
        return person | {"given": _typing_error(draw, person["given"])}
    if what < 0.5:
        return person | {"family": _typing_error(draw, person["family"])}
    if what < 0.65:
        return person | {"birth": f"{person['birth'][:5]}{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"}
    if what < 0.8:
        return person | {"street": f"{draw.randint(1, 400)} {draw.choice(streets)} St", "phone": ""}
    return person | {"number": ""}


def _patient(person: dict[str, str], value: str, authority: str, town: str, code: str) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{authority}", "value": value}],
        "name": [{"family": person["family"], "given": [person["given"]]}],
        "gender": person["gender"],
        "birthDate": person["birth"],
        "address": [{"line": [person["street"]], "city": town, "postalCode": code}],
    }
    if person["phone"]:
        resource["telecom"] = [{"system": "phone", "value": person["phone"]}]
    if person["number"]:
        # A number of some register, as other hospitals' records carry it too.
        resource["identifier"].append({"system": "urn:oid:2.999.8.99", "value": person["number"]})
    return resource
