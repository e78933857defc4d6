"""The second factor: codes that change with time, their secrets, and codes on paper for the day the app is lost.

Secrets are sealed (AES-256-GCM) by the keys that seal the log's words, which lie outside the database, each bound to
its account: a copy of the database alone makes no code. Recovery codes are kept as digests.

Source: RFC 6238; NIST SP 800-63B 5.1.2, 5.1.5; the otpauth address as authenticator apps read it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import segno
from cryptography.exceptions import InvalidTag
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_otp.oath import TOTP

from hie.audit import keys
from hie.trust import codes
from hie.trust.models import PatientAccount, RecoveryCode

STEP_S = 30
RECOVERY_CODES = 10
_SECRET_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose second factor: an account of the portal (its id) or of the desk (its primary key)."""

    account: str = ""
    staff: int = 0

    @property
    def name(self) -> str:
        """What digests and seals are bound to."""
        return f"portal/{self.account}" if self.account else f"desk/{self.staff}"

    @property
    def handle(self) -> bytes:
        """By what a passkey knows its owner: an id that says nothing of anybody."""
        return UUID(self.account).bytes if self.account else self.name.encode()

    @property
    def row(self) -> dict[str, Any]:
        """The columns of rows that are the owner's: `account` and `staff`, one of them empty."""
        return {"account_id": UUID(self.account)} if self.account else {"staff": self.staff}


# --- codes that change with time -----------------------------------------------------------------------------------


def new_secret() -> str:
    """A secret for a code app, in base32."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def clean_secret(text: str | None) -> str:
    """A secret as somebody writes it, in base32 without blanks; "" for none.

    Raises:
        ValueError: not base32.
    """
    if not text:
        return ""
    secret = "".join(text.upper().split())
    secret += "=" * (-len(secret) % 8)
    try:
        base64.b32decode(secret)
    except binascii.Error as error:
        raise ValueError("totp_secret is not base32") from error
    return secret


def spelt(secret: str) -> str:
    """A secret as it is typed into an app that cannot read the picture: in groups of four."""
    plain = secret.rstrip("=")
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def address(secret: str, *, login: str) -> str:
    """What an app reads from the picture: the otpauth address of a secret."""
    issuer = str(getattr(settings, "HUB_NAME", "")) or "Hub"
    label = quote(f"{issuer}:{login}", safe="")
    return f"otpauth://totp/{label}?" + urlencode({"secret": secret.rstrip("="), "issuer": issuer}, quote_via=quote)


def picture(secret: str, *, login: str) -> bytes:
    """The address as a QR code: an SVG file, dark on light whatever the page's colours, 4 modules of margin."""
    file = io.BytesIO()
    segno.make(address(secret, login=login), error="m").save(
        file, kind="svg", scale=5, border=4, dark="#000", light="#fff", xmldecl=True, svgclass=None, lineclass=None
    )
    return file.getvalue()


def step_of(secret: str, code: str, *, now: float | None = None) -> int | None:
    """The time step for which `code` is that of the secret: the present one or one to either side; None: none of them."""
    digits = "".join(code.split())
    if not (digits.isascii() and digits.isdigit() and len(digits) == 6):
        return None
    present = int(time.time() if now is None else now) // STEP_S
    for step in (present, present - 1, present + 1):
        totp = TOTP(base64.b32decode(secret), step=STEP_S)
        totp.time = step * STEP_S
        if hmac.compare_digest(f"{totp.token():06d}", digits):
            return step
    return None


# --- at rest ----------------------------------------------------------------------------------------------------------


def seal(secret: str, owner: Owner) -> str:
    """A secret as it is stored: ``key id:base64``, bound to its owner; "" stays so."""
    if not secret:
        return ""
    held = keys.wrap_keys()
    sealed = keys.seal_text(_key(held.keys[held.current]), secret.encode(), bound_to=_bound(owner))
    return f"{held.current}:{base64.b64encode(sealed).decode()}"


def opened(stored: str, owner: Owner) -> str:
    """The secret of a stored one; one from before they were sealed reads as it is.

    Raises:
        UnreadableSecret: the key is not among those of ``HIE_AUDIT_KEYS``, or the row was altered or moved.
    """
    key_id, colon, sealed = stored.partition(":")
    if not colon:
        return stored
    try:
        key = keys.wrap_keys().keys[key_id]
        return keys.open_text(_key(key), base64.b64decode(sealed), bound_to=_bound(owner)).decode()
    except (KeyError, InvalidTag, binascii.Error) as error:
        raise UnreadableSecret(owner.name) from error


class UnreadableSecret(Exception):
    """A stored secret does not open: its key is gone, or the row is another's."""


def seal_all() -> int:
    """Seal what is still in the clear, or under a key that is no longer the current one; how many. Safe at any time."""
    current = f"{keys.wrap_keys().current}:"
    rows = PatientAccount.objects.exclude(totp_secret="").exclude(totp_secret__startswith=current)
    done = 0
    for pk in list(rows.order_by("pk").values_list("pk", flat=True)):
        with transaction.atomic():
            row = PatientAccount.objects.select_for_update().get(pk=pk)
            owner = Owner(account=str(pk))
            if row.totp_secret:
                row.totp_secret = seal(opened(row.totp_secret, owner), owner)
                row.save(update_fields=["totp_secret"])
                done += 1
    return done


def _key(wrap_key: bytes) -> bytes:
    # A key of its own for this use: what is sealed here opens nowhere else, and the other way round.
    return hmac.new(wrap_key, b"hie.trust.second_factor", hashlib.sha256).digest()


def _bound(owner: Owner) -> bytes:
    return f"second factor of {owner.name}".encode()


# --- on paper ---------------------------------------------------------------------------------------------------------


def make_recovery_codes(owner: Owner) -> list[str]:
    """New codes, each of which stands once for the app; those from before are gone. In the caller's transaction."""
    RecoveryCode.objects.filter(**owner.row).delete()
    made = [codes.new_code() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create([RecoveryCode(digest=_digest(owner, code), **owner.row) for code in made])
    return made


def recovery_codes_left(owner: Owner) -> int:
    """How many can still be used; one statement."""
    return RecoveryCode.objects.filter(used_at__isnull=True, **owner.row).count()


def use_recovery_code(owner: Owner, code: str) -> bool:
    """Use a code up; False: none of the owner's, or used. Of several at once exactly one may."""
    if not 12 <= len(code) <= 40:
        return False
    rows = RecoveryCode.objects.filter(digest=_digest(owner, code), used_at__isnull=True, **owner.row)
    return rows.update(used_at=timezone.now()) == 1


def forget_recovery_codes(owner: Owner) -> None:
    """None can be used any more. In the caller's transaction."""
    RecoveryCode.objects.filter(**owner.row).delete()


def _digest(owner: Owner, code: str) -> bytes:
    return codes.digest(f"recovery-code:{owner.name}", code)
