"""The clinic and the hospital of these tests."""

from __future__ import annotations

from typing import Any

import pytest

from hie.directory import registration


def participant(participant_id: str, authority: str, **more: Any) -> dict[str, Any]:
    """A registration with as little as it may have."""
    return {
        "id": participant_id,
        "name": participant_id,
        "type": "hospital",
        "organization_oid": f"{authority}.9",
        "assigning_authority": authority,
        "jwks": {"keys": []},
        "scopes": [],
        "purposes": ["TREAT"],
        **more,
    }


@pytest.fixture
def clinic(db: None) -> str:
    """The clinic is in the directory, and issues identifiers under 2.999.1."""
    registration.apply({"participants": [participant("clinic", "2.999.1")]})
    return "clinic"
