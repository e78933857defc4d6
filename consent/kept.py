"""Policies kept as decisions were made by them, by digest: what a record is decided again by.

Source: spec/consent.md 13, "Replaying a record with the stored versions".
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from consent import policies
from consent.engine import Policy
from consent.models import KeptPolicy
from consent.policies import Sources
from hie.standards.facts import AgreementFacts, ParticipantFacts, ReleaseRule

_encoded: tuple[Sources, str, bytes] | None = None
_written: set[str] = set()


def keep(policy: Policy) -> str:
    """Keep the policy in force; the digest under which it stands, "" of any other policy.

    One statement the first time in a process, else none. In a transaction it is written on a connection of its own:
    nobody waits for the end of ours.
    """
    sources = policies.sources_of(policy)
    if sources is None:
        return ""
    digest, body = _encode(sources)
    if digest not in _written:
        if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            apart = connection.copy()
            try:
                _write(apart, digest, body)
            finally:
                apart.close()
        else:
            _write(connection, digest, body)
        _written.add(digest)
    return digest


@lru_cache(maxsize=32)
def kept(digest: str) -> Policy | None:
    """A policy as it was kept; None where there is none of this digest, or it has become another."""
    row = KeptPolicy.objects.filter(pk=digest).first()
    if row is None:
        return None
    body = zlib.decompress(bytes(row.body))
    if hashlib.sha256(body).hexdigest() != digest:
        return None
    data = json.loads(body)
    return Sources(
        participants={key: _participant(facts) for key, facts in data["participants"].items()},
        jurisdictions=data["jurisdictions"],
        codes=data["codes"],
        home_jurisdiction=data["home_jurisdiction"],
        require_obligations=data["require_obligations"],
    ).compiled()


def forget() -> None:
    """Drop what this process remembers (tests that roll back)."""
    _written.clear()
    kept.cache_clear()


def _write(on: BaseDatabaseWrapper, digest: str, body: bytes) -> None:
    with on.cursor() as cursor:
        cursor.execute(
            "INSERT INTO consent_keptpolicy (digest, body, kept_at) VALUES (%s, %s, now()) ON CONFLICT DO NOTHING",
            [digest, body],
        )


def _encode(sources: Sources) -> tuple[str, bytes]:
    global _encoded
    held = _encoded
    if held is None or held[0] is not sources:
        parts = {
            "participants": {key: asdict(facts) for key, facts in sources.participants.items()},
            "jurisdictions": dict(sources.jurisdictions),
            "codes": dict(sources.codes),
            "home_jurisdiction": sources.home_jurisdiction,
            "require_obligations": sources.require_obligations,
        }
        body = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        held = _encoded = (sources, hashlib.sha256(body).hexdigest(), zlib.compress(body))
    return held[1], held[2]


def _participant(data: Mapping[str, Any]) -> ParticipantFacts:
    agreement = data["agreement"]
    values = dict(data) | {
        "agreement": AgreementFacts(**_tupled(agreement)) if agreement is not None else None,
        "release_policy": tuple(ReleaseRule(**_tupled(rule)) for rule in data["release_policy"]),
        "identifiers": tuple(data["identifiers"]),
    }
    return ParticipantFacts(**values)


def _tupled(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
