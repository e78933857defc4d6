"""AuditEvent along IHE BALP: rows of the log as FHIR resources. Pure.

The mapping itself is `hie.audit.balp`, which the patient's download uses as well.

Source: spec/fhir.md section 6.
"""

from __future__ import annotations

from typing import Any

from hie.audit.balp import audit_event, kinds_of_subtype, kinds_of_type
from hie.audit.values import EventRecord

__all__ = ["audit_event", "encode", "kinds_of_subtype", "kinds_of_type"]


def encode(event: EventRecord, *, base_url: str, hub_name: str = "", hub_oid: str = "") -> dict[str, Any]:
    """One AuditEvent resource; `base_url` is the FHIR base without a slash at its end."""
    return audit_event(event, base_url=base_url, hub_name=hub_name, hub_oid=hub_oid)
