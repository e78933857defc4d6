"""Who was not let in is written down, but nobody unknown may fill the log."""

from __future__ import annotations

from hie.audit import recorder
from hie.trust import limits
from hie.trust.errors import TooManyRequests


def record(
    reason: str, *, client_id: str, participant_id: str | None, network_address: str, request_id: str, face: str
) -> None:
    """Audit an authentication that failed; past the limit of its address it is refused without a row."""
    try:
        limits.failed_attempts(network_address)
    except TooManyRequests:
        return
    recorder.failed_login(
        client_id=client_id,
        participant_id=participant_id,
        reason=reason,
        network_address=network_address,
        request_id=request_id,
        face=face,
    )
