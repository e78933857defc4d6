"""Signing in to the desk: name, password, and the code of the app once there is one; one answer for any mistake.

Who has a passkey may leave the code out: the page behind this one asks for either.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from hie.exchange import staff_pages
from hie.trust import staff, staff_devices
from hie.trust.errors import TooManyRequests

WRONG = (
    "The name, the password or the code is not right, or this account may not use the desk. Check them and try again."
)


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Refusals are recorded with their reason and the address, never with what was typed as password or code."""

    otp_token = forms.CharField(
        label="Code from your app",
        required=False,
        max_length=40,
        help_text="Six digits, or a recovery code. Leave it empty the first time, and where you use a passkey.",
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "class": " ".join(BASE_INPUT_CLASSES)}
        ),
    )

    def clean(self) -> dict[str, Any]:
        """The fields, with the user signed in on the form.

        Raises:
            ValidationError: refused; the reason is in the log.
        """
        name = str(self.cleaned_data.get("username") or "")
        try:
            staff.count_attempt(name)
        except TooManyRequests as refusal:
            staff_pages.sign_in_refused(self.request, "too-many-attempts")
            minutes = -(-refusal.retry_after_s // 60)
            raise ValidationError(f"Too many tries. Wait {minutes} minutes and try again.") from refusal
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError as error:
            staff_pages.sign_in_refused(self.request, "wrong-password")
            raise ValidationError(WRONG) from error
        user: Any = self.get_user()
        if user is not None and staff_devices.has_one(user):
            if not cleaned.get("otp_token") and staff_devices.has_passkey(user):
                return cleaned  # the next page asks for it; until then the attempt stays counted
            user.otp_device = staff_devices.verified(user, cleaned.get("otp_token", ""))
            if user.otp_device is None:
                staff_pages.sign_in_refused(self.request, "wrong-code")
                raise ValidationError(WRONG)
        staff.forget_attempts(name)
        return cleaned
