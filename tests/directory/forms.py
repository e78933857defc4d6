"""The smallest valid participants, for tests that break one thing."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

EC_P384 = ec.generate_private_key(ec.SECP384R1())
EC_P256 = ec.generate_private_key(ec.SECP256R1())
RSA_2048 = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, kid: str, **extra: Any) -> dict[str, Any]:
    """The public JWK of a private key."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid} | extra


def private_jwk(key: Any, kid: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return json.loads(algorithm.to_jwk(key)) | {"kid": kid}


def clinic(**changes: Any) -> dict[str, Any]:
    """A clinic with one key; `None` leaves a member out."""
    form = {
        "id": "org-clinic",
        "name": "The Clinic",
        "type": "primary-care",
        "organization_oid": "2.999.10.1",
        "assigning_authority": "2.999.10.1.1",
        "jwks": {"keys": [jwk(EC_P384, "clinic-1")]},
        "scopes": ["system/*.cruds", "ITI-67"],
        "purposes": ["TREAT", "HOPERAT", "BTG"],
        "users": [{"id": "Practitioner/ada", "name": "Ada Moor", "role": "physician"}],
    } | changes
    return {member: value for member, value in form.items() if value is not None}


def hospital(**changes: Any) -> dict[str, Any]:
    form = {
        "id": "org-hospital",
        "name": "The Hospital",
        "type": "hospital",
        "organization_oid": "urn:oid:2.999.10.2",
        "assigning_authority": "2.999.10.2.1",
        "jwks": {"keys": [jwk(RSA_2048, "hospital-1")]},
        "scopes": ["system/*.cruds"],
        "purposes": ["TREAT"],
        "hl7v2": {"application": "EPIC", "facility": "NORTH"},
    } | changes
    return {member: value for member, value in form.items() if value is not None}


def ward(**changes: Any) -> dict[str, Any]:
    form = {
        "id": "org-hospital-ward",
        "name": "The Ward",
        "type": "hospital",
        "organization_oid": "2.999.10.2.9",
        "part_of": "org-hospital",
        "scopes": [],
        "purposes": [],
    } | changes
    return {member: value for member, value in form.items() if value is not None}


def community(**changes: Any) -> dict[str, Any]:
    form = {
        "id": "com-east",
        "name": "East Exchange",
        "type": "community",
        "organization_oid": "2.999.20.1",
        "home_community_id": "urn:oid:2.999.20.1",
        "jwks": {"keys": [jwk(EC_P256, "east-1")]},
        "scopes": ["system/*.rs"],
        "purposes": ["TREAT"],
        "endpoints": [{"kind": "fhir", "url": "https://east.example/fhir"}],
    } | changes
    return {member: value for member, value in form.items() if value is not None}


def file(*participants: dict[str, Any]) -> dict[str, Any]:
    return {"participants": list(participants)}
