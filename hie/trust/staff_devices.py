"""The second factor of an account of the desk: required of everybody; the app set up, asked for and changed by its owner.

The app is a device of django-otp, which throttles and lets a code work once. Codes on paper stand in for it, once each, and
so does a passkey, for whoever has set up an app: that is the way in on the day none is at hand.
"""

from __future__ import annotations

import base64
from typing import Any

from django.db import transaction
from django_otp import devices_for_user, verify_token
from django_otp.plugins.otp_totp.models import TOTPDevice

from hie.standards.facts import Caller
from hie.trust import passkeys, second_factor, sign_ins, staff_accounts
from hie.trust.errors import NotAuthenticated
from hie.trust.second_factor import Owner
from hie.trust.staff_accounts import Kind


def has_one(user: Any) -> bool:
    """Whether an app was set up for the account."""
    return next(iter(devices_for_user(user)), None) is not None


def has_passkey(user: Any) -> bool:
    """Whether a passkey may stand in for the app's code."""
    return bool(passkeys.of(owner(user)))


def set_up(user: Any, secret: str, code: str, *, caller: Caller) -> TOTPDevice | None:
    """Make the app that shows this code for this secret the account's one; None, and nothing changed: another code.

    Recovery codes from before are gone; noted with the account.
    """
    step = second_factor.step_of(secret, code)
    if step is None:
        return None
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user).delete()
        sign_ins.end(owner(user))
        key = base64.b32decode(secret).hex()
        device = TOTPDevice.objects.create(user=user, name="app", key=key, confirmed=True, last_t=step)
        second_factor.forget_recovery_codes(owner(user))
        staff_accounts.note(user, Kind.SECOND_FACTOR, by=user.pk, caller=caller, factor="app")
    return device


def verified(user: Any, code: str) -> TOTPDevice | None:
    """The account's app, if it shows this code now, or if this is one of the recovery codes, used up by this; else None."""
    devices = [device for device in devices_for_user(user) if isinstance(device, TOTPDevice)]
    digits = "".join(code.split())
    for device in devices if digits.isascii() and digits.isdigit() else ():
        if found := verify_token(user, device.persistent_id, digits):
            return found
    if devices and second_factor.use_recovery_code(owner(user), code):
        return devices[0]
    return None


def app_of(user: Any) -> TOTPDevice | None:
    """The account's app; None where none is set up."""
    return next((device for device in devices_for_user(user) if isinstance(device, TOTPDevice)), None)


def add_passkey(user: Any, answer: str, challenge: str, *, name: str, caller: Caller) -> None:
    """Keep a passkey that the owner's browser made; noted with the account.

    Raises:
        NotAuthenticated: it does not hold, or there is no app yet.
    """
    if not has_one(user):
        raise NotAuthenticated("no app yet")
    with transaction.atomic():
        passkeys.finish(owner(user), answer, challenge, name=name)
        staff_accounts.note(user, Kind.SECOND_FACTOR, by=user.pk, caller=caller, factor="passkey added")


def take_off_passkey(user: Any, passkey_id: int, *, caller: Caller) -> bool:
    """Forget one of the account's passkeys; whether there was one. Noted with the account."""
    with transaction.atomic():
        gone = passkeys.take_off(owner(user), passkey_id)
        if gone:
            staff_accounts.note(user, Kind.SECOND_FACTOR, by=user.pk, caller=caller, factor="passkey taken off")
    return gone


def recovery_codes(user: Any, *, caller: Caller) -> list[str]:
    """New codes on paper, in place of those from before; noted with the account."""
    with transaction.atomic():
        made = second_factor.make_recovery_codes(owner(user))
        staff_accounts.note(user, Kind.SECOND_FACTOR, by=user.pk, caller=caller, factor="recovery codes")
    return made


def take_off(user: Any, *, by: int | None, caller: Caller) -> None:
    """Take the account's app, passkeys and recovery codes away, so that the next sign-in sets up others; it is signed out.

    Noted with the account. For who has lost both; whoever knows the password sets up the next app, and the rule of two people goes by that.
    """
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user).delete()
        passkeys.forget(owner(user))
        second_factor.forget_recovery_codes(owner(user))
        sign_ins.end(owner(user))
        staff_accounts.note(user, Kind.SECOND_FACTOR, by=by, caller=caller, factor="taken off")


def owner(user: Any) -> Owner:
    """Whose codes they are."""
    return Owner(staff=user.pk)
