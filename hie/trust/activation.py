"""Codes by which an organization lets a patient into the portal: rows, their end, and how often they may be mistyped.

Whose patient somebody is, and whether she may come in, is for `hie.exchange.activation`.

Source: issue 5, "Getting in"; NIST SP 800-63A 4.4.1.6 (enrolment codes), 800-63B 5.2.2.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import F

from hie.trust import accounts, codes, passkeys, second_factor, sign_ins
from hie.trust.accounts import AccountFacts
from hie.trust.errors import LoginTaken, NotAuthenticated
from hie.trust.models import ActivationCode, PatientAccount, ProviderLink
from hie.trust.second_factor import Owner

LASTS = timedelta(days=14)
ATTEMPTS = 5
LOGIN_LENGTHS = (3, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFacts:
    """A code that is still open: `identifier_pk` is the row of the identifier it was given for."""

    id: int
    identifier_pk: int
    organization: str


def issue(identifier_pk: int, *, organization: str, issued_by: str, now: datetime) -> tuple[str, datetime]:
    """A new code for an identifier, and when it ends; an open one from before for it does not work any more."""
    code, ends_at = codes.new_code(), now + LASTS
    ActivationCode.objects.filter(identifier_id=identifier_pk, used_at=None, ends_at__gt=now).update(ends_at=now)
    ActivationCode.objects.create(
        digest=_digest(code),
        identifier_id=identifier_pk,
        organization=organization,
        issued_by=issued_by,
        made_at=now,
        ends_at=ends_at,
    )
    return code, ends_at


def find(code: str, *, now: datetime) -> CodeFacts | None:
    """The open code that somebody types; None: nobody's, used, ended, or mistyped its birth date too often."""
    return _facts(ActivationCode.objects.filter(digest=_digest(code)).first(), now)


def by_id(code_id: int, *, now: datetime) -> CodeFacts | None:
    """As `find`, for one that was found before."""
    return _facts(ActivationCode.objects.filter(pk=code_id).first(), now)


def mistyped(code_id: int) -> None:
    """Count a wrong birth date against a code; after `ATTEMPTS` it does not work any more."""
    ActivationCode.objects.filter(pk=code_id).update(attempts=F("attempts") + 1)


def waiting(now: datetime) -> int:
    """How many codes are open."""
    return ActivationCode.objects.filter(used_at=None, ends_at__gt=now, attempts__lt=ATTEMPTS).count()


def use_up(code_id: int, account_id: str, *, now: datetime) -> None:
    """Use a code up for an account. In the caller's transaction; of several at once exactly one may.

    Raises:
        NotAuthenticated: it is not open any more.
    """
    rows = ActivationCode.objects.filter(pk=code_id, used_at=None, ends_at__gt=now, attempts__lt=ATTEMPTS)
    if rows.update(used_at=now, account_id=account_id) != 1:
        raise NotAuthenticated("no such code")


def accounts_of(identifier_pks: Collection[int]) -> tuple[list[AccountFacts], bool]:
    """The open accounts of somebody with these identifiers, the one last signed in to first; and whether one was closed."""
    rows = list(PatientAccount.objects.filter(identifier_id__in=list(identifier_pks)))
    rows.sort(key=lambda row: (row.signed_in_at or row.created_at, row.login), reverse=True)
    return [accounts._facts(row) for row in rows if row.active], any(not row.active for row in rows)


def open_account(*, login: str, password: str | None, name: str, identifier_pk: int) -> AccountFacts:
    """A new account; without a password it is one that a provider signs in to. In the caller's transaction.

    Raises:
        LoginTaken: somebody else signs in by this login, or it is too short or too long. WeakPassword.
    """
    login = accounts._normal(login)
    if not LOGIN_LENGTHS[0] <= len(login) <= LOGIN_LENGTHS[1]:
        raise LoginTaken("length")
    if password is not None:
        accounts.check_new_password(password, login=login, name=name)
    row = PatientAccount(login=login, name=name, identifier_id=identifier_pk, password=make_password(password))
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise LoginTaken("taken") from error
    return accounts._facts(row)


def login_of_its_own() -> str:
    """A login for an account that nobody signs in to by typing one."""
    return f"id-{uuid.uuid4().hex[:12]}"


def come_back(account_id: str, *, password: str | None, identifier_pk: int) -> AccountFacts:
    """Let its owner into an account again by a new password (None: none, a provider's): all other ways in are gone.

    The second factor, recovery codes, passkeys, links to providers and running sessions: who had got hold of one of
    them is out. In the caller's transaction.

    Raises:
        WeakPassword.
    """
    row = PatientAccount.objects.select_for_update().get(pk=account_id, active=True)
    if password is not None:
        accounts.check_new_password(password, login=row.login, name=row.name)
    row.password, row.totp_secret, row.identifier_id = make_password(password), "", identifier_pk
    row.save(update_fields=["password", "totp_secret", "identifier"])
    owner = Owner(account=account_id)
    second_factor.forget_recovery_codes(owner)
    passkeys.forget(owner)
    ProviderLink.objects.filter(account_id=uuid.UUID(account_id)).delete()
    sign_ins.end(owner)
    accounts._forget(accounts._digest(row.login))
    return accounts._facts(row)


def _facts(row: ActivationCode | None, now: datetime) -> CodeFacts | None:
    if row is None or row.used_at is not None or row.ends_at <= now or row.attempts >= ATTEMPTS:
        return None
    return CodeFacts(id=row.pk, identifier_pk=row.identifier_id, organization=row.organization)


def _digest(code: str) -> bytes:
    return codes.digest("activation-code", code)
