"""Passkeys: a finger, face or PIN on somebody's own device, which is possession and knowledge in one.

A passkey is bound to the address of the hub (``HIE_BASE_URL``): another site gets nothing from it. Its holder is
always verified by the device, so a sign-in to the portal by it needs no second step; at the desk it is the second step.

Source: W3C Web Authentication Level 2, 7.1, 7.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import webauthn
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from hie.trust import accounts, addresses, limits
from hie.trust.accounts import AccountFacts
from hie.trust.errors import NotAuthenticated
from hie.trust.models import Passkey, PatientAccount
from hie.trust.second_factor import Owner

MAX_BYTES = 16_384
MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyFacts:
    """A passkey as its owner sees it."""

    id: int
    name: str
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """What a page hands to the browser (`options`, JSON) and the session keeps until it comes back (`challenge`)."""

    options: str
    challenge: str


def of(owner: Owner) -> list[PasskeyFacts]:
    """The passkeys of an account, oldest first; one statement."""
    rows = Passkey.objects.filter(**owner.row).order_by("made_at", "pk")
    return [PasskeyFacts(id=row.pk, name=row.name, made_at=row.made_at) for row in rows]


def begin(owner: Owner, *, login: str, name: str) -> Ceremony:
    """What the browser needs to make a passkey for an account; it does not make a second one on the same device."""
    held = Passkey.objects.filter(**owner.row).values_list("credential_id", flat=True)
    options = webauthn.generate_registration_options(
        rp_id=_rp_id(),
        rp_name=str(getattr(settings, "HUB_NAME", "")) or "Hub",
        user_id=owner.handle,
        user_name=login,
        user_display_name=name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=bytes(one)) for one in held],
    )
    return _ceremony(options)


def finish(owner: Owner, answer: str, challenge: str, *, name: str) -> None:
    """Keep the passkey that the browser made. In the caller's transaction.

    Raises:
        NotAuthenticated: it was not made for this hub, this challenge or by a verified person, or is known already.
    """
    try:
        made = webauthn.verify_registration_response(
            credential=_read(answer),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=_rp_id(),
            expected_origin=_origin(),
            require_user_verification=True,
        )
    except _REFUSALS as error:
        raise NotAuthenticated("no passkey") from error
    if Passkey.objects.filter(**owner.row).count() >= MOST:
        raise NotAuthenticated("too many passkeys")
    try:
        with transaction.atomic():
            Passkey.objects.create(
                **owner.row,
                credential_id=made.credential_id,
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                name=name,
            )
    except IntegrityError as error:
        raise NotAuthenticated("no passkey") from error


def take_off(owner: Owner, passkey_id: int) -> bool:
    """Forget a passkey of an account; whether there was one."""
    return Passkey.objects.filter(**owner.row, pk=passkey_id).delete()[0] > 0


def forget(owner: Owner) -> int:
    """Forget all passkeys of an account; how many. In the caller's transaction."""
    return Passkey.objects.filter(**owner.row).delete()[0]


def ask(owner: Owner | None = None) -> Ceremony:
    """What the browser needs to sign somebody in by a passkey; whose, the passkey says, where it is not one of `owner`."""
    held = Passkey.objects.filter(**owner.row).values_list("credential_id", flat=True) if owner is not None else ()
    options = webauthn.generate_authentication_options(
        rp_id=_rp_id(),
        allow_credentials=[PublicKeyCredentialDescriptor(id=bytes(one)) for one in held] or None,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _ceremony(options)


def verify(answer: str, challenge: str, *, network_address: str) -> AccountFacts:
    """The open account of the portal whose passkey answered the challenge; its count of uses goes on.

    Raises:
        NotAuthenticated: no passkey of an open account, or not of this hub, challenge or holder. TooManyRequests.
    """
    limits.failed_attempts(f"portal:{network_address}")
    row = _used(answer, challenge, Passkey.objects.filter(account__isnull=False))
    account = PatientAccount.objects.filter(passkeys=row, active=True).first()
    if account is None:
        raise NotAuthenticated("no such account")
    return accounts._facts(account)


def check(owner: Owner, answer: str, challenge: str) -> None:
    """Refuse an answer that is not one of this very owner's passkeys; its count of uses goes on. The caller counts tries.

    Raises:
        NotAuthenticated: as said.
    """
    _used(answer, challenge, Passkey.objects.filter(**owner.row))


def _used(answer: str, challenge: str, among: QuerySet[Passkey]) -> Passkey:
    try:
        given = _read(answer)
        credential_id = base64url_to_bytes(str(given["rawId"]))
        with transaction.atomic():
            row = among.select_for_update().filter(credential_id=credential_id).first()
            if row is None:
                raise NotAuthenticated("no passkey")
            handle = (given.get("response") or {}).get("userHandle")
            if handle and base64url_to_bytes(str(handle)) != _owner(row).handle:
                raise NotAuthenticated("no passkey")
            used = webauthn.verify_authentication_response(
                credential=given,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=_rp_id(),
                expected_origin=_origin(),
                credential_public_key=bytes(row.public_key),
                credential_current_sign_count=row.sign_count,
                require_user_verification=True,
            )
            row.sign_count, row.used_at = used.new_sign_count, timezone.now()
            row.save(update_fields=["sign_count", "used_at"])
    except _REFUSALS as error:
        raise NotAuthenticated("no passkey") from error
    return row


def _owner(row: Passkey) -> Owner:
    return Owner(account=str(row.account_id)) if row.account_id is not None else Owner(staff=int(row.staff or 0))


# What the library raises on an answer that is none, and on one that does not fit.
_REFUSALS = (WebAuthnException, ValueError, KeyError, TypeError, AttributeError)


def _read(answer: str) -> dict[str, Any]:
    if len(answer) > MAX_BYTES:
        raise ValueError("too long")
    given = json.loads(answer)
    if not isinstance(given, Mapping):
        raise TypeError("not an object")
    return dict(given)


def _ceremony(options: Any) -> Ceremony:
    return Ceremony(options=webauthn.options_to_json(options), challenge=bytes_to_base64url(options.challenge))


def _origin() -> str:
    parts = urlsplit(addresses.base_url())
    return f"{parts.scheme}://{parts.netloc}"


def _rp_id() -> str:
    return urlsplit(addresses.base_url()).hostname or "localhost"
