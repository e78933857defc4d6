"""Accounts of patients and of the exchange's own staff: passwords, second factor, lock-out.

A patient's account is no Django user; staff are, with one group a role. Who a patient is
is for `hie.exchange.accounts`: here an account ends at the row of an identifier.

Source: issue 2, "People"; NIST SP 800-63B 5.2.2 (guessing), RFC 6238 (codes that change with time).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password, is_password_usable, make_password
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_totp.models import TOTPDevice

from hie.trust import limits, second_factor, sign_ins, staff_accounts
from hie.trust.errors import NotAuthenticated, TooManyRequests, WeakPassword
from hie.trust.models import PatientAccount, SignInAttempts, StaffAccountAct
from hie.trust.second_factor import Owner

STAFF_ROLES = ("administrator", "steward", "privacy-officer", "onboarding", "auditor", "operator")
FREE_FAILURES = 5
FIRST_LOCK = timedelta(minutes=1)
LONGEST_LOCK = timedelta(hours=1)
FORGOTTEN_AFTER = timedelta(days=1)
# So that signing in to no account takes as long as to one; made on first use with the configured hasher.
_nobody_hash: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """An account as others see it. `stamp` changes with the password: a session that carries another one has ended."""

    id: str
    login: str
    name: str
    identifier_pk: int
    stamp: str
    language: str = ""
    second_factor: bool = False
    signed_in_at: datetime | None = None
    recovered: bool = False
    has_password: bool = True


def check_first(login: str, password: str, *, network_address: str) -> AccountFacts:
    """The account with this login and password; the second factor, if it has one, is still to be asked.

    Raises:
        TooManyRequests: too many failures under this login or from this address; nothing was tried.
        NotAuthenticated: login or password is wrong, or the account is closed: one answer for all three.
    """
    limits.failed_attempts(f"portal:{network_address}")
    login = _normal(login)
    digest = _digest(login)
    _count(digest)
    row = PatientAccount.objects.filter(login=login, active=True).first()
    if not _password_fits(row, password):
        raise NotAuthenticated("wrong login or password")
    assert row is not None
    if not row.totp_secret:
        _forget(digest)
    return _facts(row)


def check_second(account_id: str, code: str, *, network_address: str) -> AccountFacts:
    """The account, when the six digits are those of its secret now (one step to either side) and were not used before.

    One of its recovery codes does as well, once; `recovered` of the facts says so.

    Raises:
        TooManyRequests, NotAuthenticated: as `check_first`.
    """
    limits.failed_attempts(f"portal:{network_address}")
    row = PatientAccount.objects.filter(pk=account_id, active=True).exclude(totp_secret="").first()
    if row is None:
        raise NotAuthenticated("no such account")
    digest = _digest(row.login)
    _count(digest)
    if _code_fits(row, code):
        _forget(digest)
        return _facts(row)
    if second_factor.use_recovery_code(_owner(row), code):
        _forget(digest)
        return replace(_facts(row), recovered=True)
    raise NotAuthenticated("wrong code")


def second_factor_required() -> bool:
    """Whether nobody signs in without a second factor (``HIE_PATIENT_SECOND_FACTOR``): in production, always."""
    return bool(settings.PATIENT_SECOND_FACTOR == "required")


def confirm(account_id: str, *, password: str = "", code: str = "", network_address: str) -> None:
    """That who sits here is the account's owner still: by its password, or by a code where it has none.

    Raises:
        TooManyRequests, NotAuthenticated: as `check_first`.
    """
    limits.failed_attempts(f"portal:{network_address}")
    row = PatientAccount.objects.filter(pk=account_id, active=True).first()
    if row is None:
        raise NotAuthenticated("no such account")
    digest = _digest(row.login)
    _count(digest)
    if is_password_usable(row.password):
        fits = check_password(password, row.password)
    else:
        fits = bool(row.totp_secret) and _code_fits(row, code)
    if not fits:
        raise NotAuthenticated("not confirmed")
    _forget(digest)


def check_new_password(password: str, *, login: str, name: str) -> None:
    """Refuse a password that is easily guessed, by ``AUTH_PASSWORD_VALIDATORS``.

    Raises:
        WeakPassword: with the code of the first rule that it breaks.
    """
    given, _, family = name.partition(" ")
    owner: Any = get_user_model()(username=login, first_name=given, last_name=family)
    try:
        validate_password(password, owner)
    except ValidationError as error:
        raise WeakPassword(next(str(one.code) for one in error.error_list)) from error


def set_password(account_id: str, password: str) -> AccountFacts:
    """A new password; sessions under the old one end. In the caller's transaction.

    Raises:
        WeakPassword.
    """
    row = PatientAccount.objects.select_for_update().get(pk=account_id, active=True)
    check_new_password(password, login=row.login, name=row.name)
    row.password = make_password(password)
    row.save(update_fields=["password"])
    return _facts(row)


def set_up_app(account_id: str, secret: str, code: str, *, network_address: str) -> AccountFacts:
    """Make the app that shows this code for this secret the account's second factor. In the caller's transaction.

    Recovery codes from before are gone, and sessions from before end.

    Raises:
        NotAuthenticated: another code; nothing changed. TooManyRequests: the address tries too often.
    """
    limits.failed_attempts(f"portal:{network_address}")
    step = second_factor.step_of(secret, code)
    if step is None:
        raise NotAuthenticated("wrong code")
    row = PatientAccount.objects.select_for_update().get(pk=account_id, active=True)
    row.totp_secret, row.totp_last = second_factor.seal(secret, _owner(row)), step
    row.save(update_fields=["totp_secret", "totp_last"])
    second_factor.forget_recovery_codes(_owner(row))
    return _facts(row)


def without_app(account_id: str) -> bool:
    """Whether this is an open account without a second factor; locked for the caller's transaction."""
    row = PatientAccount.objects.select_for_update().filter(pk=account_id, active=True).first()
    return row is not None and not row.totp_secret


def take_off_app(account_id: str) -> AccountFacts:
    """No second factor any more; recovery codes go with it. In the caller's transaction."""
    row = PatientAccount.objects.select_for_update().get(pk=account_id, active=True)
    row.totp_secret = ""
    row.save(update_fields=["totp_secret"])
    second_factor.forget_recovery_codes(_owner(row))
    return _facts(row)


def signed_in(account_id: str) -> None:
    """Note the time of a completed sign-in."""
    PatientAccount.objects.filter(pk=account_id).update(signed_in_at=timezone.now())


def account(session_id: str, stamp: str) -> AccountFacts | None:
    """The account of a running session; None when the session or the account has ended, or a way in changed since.

    One statement; a second, at most once a minute, notes that the session was seen.
    """
    row = sign_ins.running(session_id)
    if row is None or not hmac.compare_digest(_stamp(row), stamp):
        return None
    return _facts(row)


def by_id(account_id: str) -> AccountFacts | None:
    """An open account by its id; None when there is none."""
    row = PatientAccount.objects.filter(pk=account_id, active=True).first()
    return _facts(row) if row is not None else None


def of_patient(identifier_pks: Iterable[int]) -> list[AccountFacts]:
    """The open accounts of a patient who has these identifiers, by login."""
    rows = PatientAccount.objects.filter(identifier_id__in=list(identifier_pks), active=True)
    return [_facts(row) for row in rows.order_by("login")]


def of_login(login: str) -> AccountFacts | None:
    """The open account of a login; None when there is none."""
    row = PatientAccount.objects.filter(login=_normal(login), active=True).first()
    return _facts(row) if row is not None else None


def names_of(account_ids: Iterable[str]) -> dict[str, str]:
    """The names of accounts by their ids; what is no id of an account is absent."""
    ids = []
    for one in account_ids:
        with suppress(ValueError):
            ids.append(uuid.UUID(one))
    return {str(pk): name for pk, name in PatientAccount.objects.filter(pk__in=ids).values_list("pk", "name")}


def of_ids(account_ids: Iterable[str]) -> list[AccountFacts]:
    """Those of these accounts that are open, by login; what is no id of an account counts for nothing."""
    ids = []
    for one in account_ids:
        with suppress(ValueError):
            ids.append(uuid.UUID(one))
    return [_facts(row) for row in PatientAccount.objects.filter(pk__in=ids, active=True).order_by("login")]


def name_of(account_id: str) -> str:
    """The name an account goes by; "" when there is none. One statement."""
    try:
        key = uuid.UUID(account_id)
    except ValueError:
        return ""
    return PatientAccount.objects.filter(pk=key).values_list("name", flat=True).first() or ""


def set_language(account_id: str, language: str) -> None:
    """Remember the language the account's owner reads."""
    PatientAccount.objects.filter(pk=account_id).update(language=language)


def open_account(
    *, login: str, password: str, name: str, identifier_pk: int, totp_secret: str | None = None
) -> tuple[AccountFacts, bool]:
    """Create or update the account with this login; whether anything changed is the second value.

    `totp_secret` None: a second factor that its owner has set up stays; "": there is none.

    Raises:
        ValueError: an empty login or password, or a secret that is not base32.
    """
    login = _normal(login)
    if not login or not password:
        raise ValueError("login and password are needed")
    secret = second_factor.clean_secret(totp_secret)
    with transaction.atomic():
        row = PatientAccount.objects.select_for_update().filter(login=login).first()
        if totp_secret is None and row is not None:
            secret = _secret_of(row)
        before = row and (row.name, row.identifier_id, _secret_of(row), row.active)
        after = (name, identifier_pk, secret, True)
        changed = before != after
        if row is None:
            row = PatientAccount(login=login)
        row.name, row.identifier_id, _, row.active = after
        if secret != _secret_of(row):
            row.totp_secret, row.totp_last = second_factor.seal(secret, _owner(row)), -1
        if not row.password or not check_password(password, row.password):
            row.password = make_password(password)
            changed = True
        if changed:
            row.save()
    return _facts(row), changed


def open_staff(*, username: str, password: str, roles: Collection[str], totp_secret: str | None = None) -> bool:
    """Create or update a member of staff with a group for each role; whether anything changed. `totp_secret` as `open_account`.

    Raises:
        ValueError: an unknown role, none at all, or an empty name or password.
    """
    unknown = sorted(set(roles) - set(STAFF_ROLES))
    if unknown or not roles:
        raise ValueError(f"unknown role {unknown[0]!r}" if unknown else "at least one role is needed")
    if not username or not password:
        raise ValueError("username and password are needed")
    secret = second_factor.clean_secret(totp_secret)
    model: Any = get_user_model()
    with transaction.atomic():
        user, created = model.objects.get_or_create(username=username)
        groups = [Group.objects.get_or_create(name=role)[0] for role in sorted(set(roles))]
        wanted = (True, "administrator" in roles, True)
        changed = created or (user.is_staff, user.is_superuser, user.is_active) != wanted
        before = staff_accounts.standing(user)
        user.is_staff, user.is_superuser, user.is_active = wanted
        noted = [StaffAccountAct.Kind.CREATED] if created else []
        if created or not check_password(password, user.password):
            user.set_password(password)
            noted.append(StaffAccountAct.Kind.PASSWORD)
            changed = True
        if changed:
            user.save()
        if {group.pk for group in groups} != set(user.groups.values_list("pk", flat=True)):
            user.groups.set(groups)
            changed = True
        if totp_secret is not None and _set_device(user, secret):
            noted.append(StaffAccountAct.Kind.SECOND_FACTOR)
            changed = True
        for kind in noted:
            staff_accounts.note(user, kind, by=None)
        if different := staff_accounts.changes(before, staff_accounts.standing(user)):
            staff_accounts.note(user, StaffAccountAct.Kind.ROLES, by=None, **different)
    return changed


def _set_device(user: Any, secret: str) -> bool:
    devices = TOTPDevice.objects.filter(user=user)
    if not secret:
        return bool(devices.delete()[0])
    key = base64.b32decode(secret).hex()
    if [device.key for device in devices] == [key]:
        return False
    devices.delete()
    TOTPDevice.objects.create(user=user, name="app", key=key, confirmed=True)
    return True


def _count(digest: bytes) -> None:
    """Count this attempt as a failure before it is tried, so that many at once are counted too.

    Raises:
        TooManyRequests: locked; the attempt is not tried.
    """
    now = timezone.now()
    SignInAttempts.objects.filter(last_at__lt=now - FORGOTTEN_AFTER).delete()
    with transaction.atomic():
        row, _ = SignInAttempts.objects.select_for_update().get_or_create(login_digest=digest)
        if row.locked_until and row.locked_until > now:
            raise TooManyRequests(max(1, round((row.locked_until - now).total_seconds())), reason="sign-in")
        row.failures, row.last_at = row.failures + 1, now
        if row.failures >= FREE_FAILURES:
            row.locked_until = now + min(LONGEST_LOCK, FIRST_LOCK * 2 ** min(row.failures - FREE_FAILURES, 10))
        row.save()


def _forget(digest: bytes) -> None:
    SignInAttempts.objects.filter(login_digest=digest).delete()


def _password_fits(row: PatientAccount | None, password: str) -> bool:
    if row is not None:
        return check_password(password, row.password)
    if not _nobody_hash:
        _nobody_hash.append(make_password(uuid.uuid4().hex))
    check_password(password, _nobody_hash[0])
    return False


def _code_fits(row: PatientAccount, code: str) -> bool:
    step = second_factor.step_of(_secret_of(row), code)
    # One statement decides: of two requests with the same code, one finds the step already taken.
    rows = PatientAccount.objects.filter(pk=row.pk, totp_last__lt=step) if step is not None else None
    return rows is not None and rows.update(totp_last=step) == 1


def _owner(row: PatientAccount) -> Owner:
    return Owner(account=str(row.pk))


def _secret_of(row: PatientAccount) -> str:
    return second_factor.opened(row.totp_secret, _owner(row))


def _normal(login: str) -> str:
    return login.strip().casefold()


def _digest(login: str) -> bytes:
    return hashlib.sha256(f"portal\0{login}".encode()).digest()


def _stamp(row: PatientAccount) -> str:
    return salted_hmac("hie.trust.accounts", f"{row.password}{_secret_of(row)}", algorithm="sha256").hexdigest()


def _facts(row: PatientAccount) -> AccountFacts:
    return AccountFacts(
        id=str(row.pk),
        login=row.login,
        name=row.name,
        identifier_pk=row.identifier_id,
        stamp=_stamp(row),
        language=row.language,
        second_factor=bool(row.totp_secret),
        signed_in_at=row.signed_in_at,
        has_password=is_password_usable(row.password),
    )
