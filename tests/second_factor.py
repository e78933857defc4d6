"""Members of staff in a browser, signed in with their second factor, as the desk asks of everybody."""

from __future__ import annotations

import base64
import time
from typing import Any

from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from hie.exchange.staff_pages import DESK_SESSION
from hie.trust import sign_ins
from hie.trust.second_factor import Owner


def sign_in(user: Any, client: Client | None = None) -> Client:
    """A browser in which this member of staff has given password and code; an app is set up for who has none."""
    client = client or Client()
    device = TOTPDevice.objects.filter(user=user).first() or TOTPDevice.objects.create(user=user, name="app")
    client.force_login(user)
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    session[DESK_SESSION] = sign_ins.start(Owner(staff=user.pk), agent="")
    session.save()
    return client


def code_of(secret: str, *, steps: int = 0) -> str:
    """The six digits of a base32 secret, now or some steps of 30 s later."""
    totp = TOTP(base64.b32decode(secret))
    totp.time = time.time() + 30 * steps
    return f"{totp.token():06d}"
