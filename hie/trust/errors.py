"""What trust refuses."""

from __future__ import annotations

from hie.standards.errors import HubError


class NotAuthenticated(HubError):
    """Nobody known is calling: no token, a wrong or ended one, or a participant that is not active (401)."""

    def __init__(self, reason: str, www_authenticate: str | None = None) -> None:
        super().__init__(f"not authenticated: {reason}")
        self.reason = reason
        self.www_authenticate = www_authenticate or f'Bearer error="invalid_token", error_description="{reason}"'


class AssertionRefused(HubError):
    """A SAML assertion proves nobody; `code` is the word of WS-Security for it (401)."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"the assertion is refused: {reason}")
        self.code = code
        self.reason = reason


class NotEntitled(HubError):
    """The caller is known, but its token does not reach this far (403)."""

    def __init__(self, reason: str, *, scope: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.scope = scope


class TooManyRequests(HubError):
    """The participant's limit is reached (429); `retry_after_s` is a whole number of seconds, at least 1."""

    def __init__(self, retry_after_s: int, reason: str = "rate") -> None:
        super().__init__(f"too many requests ({reason}): try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s
        self.reason = reason


class TokenRefused(HubError):
    """The token service refuses; `code` is the word of RFC 6749 5.2."""

    def __init__(self, code: str, description: str, *, client_id: str = "", participant_id: str | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.client_id = client_id
        self.participant_id = participant_id


class PeerRefused(HubError):
    """Another community gave this hub no access token; `peer` is its participant id."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"no access token from {peer}: {reason}")
        self.peer = peer
        self.reason = reason


class FourEyes(HubError):
    """What takes two people was to be done by one, or by two that may be one; the message says why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)


class WeakPassword(HubError):
    """A new password is easily guessed; `rule` is the code of the validator that says so."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"the password is too weak: {rule}")
        self.rule = rule


class LoginTaken(HubError):
    """A login that cannot be had: somebody else's ("taken"), or too short or too long ("length")."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the login cannot be had: {why}")
        self.why = why


class ProviderUnavailable(HubError):
    """The OpenID Connect provider does not answer, or not as one."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the provider cannot be used: {why}")


class ProviderLinked(HubError):
    """Who came from the provider is linked to another account."""

    def __init__(self) -> None:
        super().__init__("linked to another account")
