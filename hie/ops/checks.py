"""What must be true of the settings before the hub serves; ids ``hie.E001`` and up, each with a hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.utils import Error as DatabaseError

SANDBOX_MARK = "hie: sandbox"


@checks.register("hie")
def production_has_its_own_secrets(**_: Any) -> list[checks.CheckMessage]:
    """E001, E002: no default secret in production."""
    found: list[checks.CheckMessage] = []
    if not settings.PRODUCTION:
        return found
    if not settings.SECRET_KEY_GIVEN or len(settings.SECRET_KEY) < 40:
        found.append(
            checks.Error(
                "HIE_SECRET_KEY is not set, or shorter than 40 characters.",
                hint="./hub init --profile production makes one.",
                id="hie.E001",
            )
        )
    if not settings.DOCUMENT_KEYS_GIVEN:
        found.append(
            checks.Error(
                "HIE_DOCUMENT_KEYS is not set: stored documents would have no key.",
                hint="./hub init --profile production makes one.",
                id="hie.E002",
            )
        )
    return found


@checks.register("hie")
def production_sits_behind_tls(**_: Any) -> list[checks.CheckMessage]:
    """E003, E004, E005: the public name is https, the listeners are not open in the clear."""
    parts = urlsplit(settings.BASE_URL)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        return [
            checks.Error(
                "HIE_BASE_URL is not the address of a web server.",
                hint="For example https://hie.example.org, without a query.",
                id="hie.E003",
            )
        ]
    found: list[checks.CheckMessage] = []
    if not settings.PRODUCTION:
        return found
    if parts.scheme != "https":
        found.append(
            checks.Error(
                "HIE_BASE_URL does not begin with https://: there is no TLS in front.",
                hint="Put a TLS proxy before the hub and set HIE_BASE_URL to its public https address.",
                id="hie.E004",
            )
        )
    tls = settings.MLLP_TLS_CERTIFICATE and settings.MLLP_TLS_KEY and settings.MLLP_TLS_CLIENT_CA
    if settings.MLLP_BIND not in {"127.0.0.1", "::1", "localhost"} and not tls:
        found.append(
            checks.Error(
                "The MLLP listener would take plain connections from other machines.",
                hint="Set HIE_MLLP_TLS_CERTIFICATE, HIE_MLLP_TLS_KEY and HIE_MLLP_TLS_CLIENT_CA, or HIE_MLLP_BIND=127.0.0.1.",
                id="hie.E005",
            )
        )
    if not settings.TRUSTED_PROXIES:
        found.append(
            checks.Warning(
                "HIE_TRUSTED_PROXIES is empty: no client certificate will be believed.",
                hint="Name the addresses of the TLS proxies, separated by commas.",
                id="hie.W001",
            )
        )
    return found


@checks.register("hie")
def production_holds_no_sandbox(**_: Any) -> list[checks.CheckMessage]:
    """E006: a data folder with invented people and known passwords never goes to production."""
    if settings.PRODUCTION and (settings.DATA_DIR / "sandbox.json").exists():
        return [
            checks.Error(
                "The data folder holds a sandbox: invented patients, and passwords that are written down.",
                hint="Give production a data folder and a database of its own (HIE_DATA_DIR, DATABASE_URL).",
                id="hie.E006",
            )
        ]
    return []


@checks.register("hie")
def numbers_are_unlike(**_: Any) -> list[checks.CheckMessage]:
    """E007, E008: ports and OIDs do not collide."""
    found: list[checks.CheckMessage] = []
    if settings.PORT == settings.MLLP_PORT:
        found.append(checks.Error("HIE_PORT and HIE_MLLP_PORT are the same.", hint="Change one.", id="hie.E007"))
    oids = [
        settings.HOME_COMMUNITY_ID.removeprefix("urn:oid:"),
        settings.REPOSITORY_UNIQUE_ID,
        settings.HUB_ASSIGNING_AUTHORITY,
    ]
    if any(not is_oid(oid) for oid in oids) or len(set(oids)) < len(oids):
        found.append(
            checks.Error(
                "HIE_HOME_COMMUNITY_ID, HIE_REPOSITORY_UNIQUE_ID and HIE_ASSIGNING_AUTHORITY must be three different OIDs.",
                hint="Digits and dots, as 2.999.1.1; ask your OID registrar for your own arc.",
                id="hie.E008",
            )
        )
    if settings.DOCUMENT_STORE == "s3" and not settings.S3_BUCKET:
        found.append(
            checks.Error("HIE_DOCUMENT_STORE is s3 but no bucket is named.", hint="Set HIE_S3_BUCKET.", id="hie.E009")
        )
    return found


@checks.register(checks.Tags.database)
def production_database_holds_no_sandbox(databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """E010: the mark that the sandbox's loader leaves on a database (`mark_sandbox`)."""
    if not settings.PRODUCTION or not databases or "default" not in databases:
        return []
    if sandbox_is_loaded():
        return [
            checks.Error(
                "The database holds a sandbox: invented patients, and passwords that are written down.",
                hint="Give production a database of its own (DATABASE_URL).",
                id="hie.E010",
            )
        ]
    return []


@checks.register("hie")
def patients_have_a_second_factor(**_: Any) -> list[checks.CheckMessage]:
    """E011: in production nobody reads a record by a password alone."""
    if settings.PRODUCTION and settings.PATIENT_SECOND_FACTOR != "required":
        return [
            checks.Error(
                "HIE_PATIENT_SECOND_FACTOR is not required: patients would sign in by a password alone.",
                hint="Leave it out; the sandbox alone may offer a second factor instead.",
                id="hie.E011",
            )
        ]
    return []


@checks.register("hie")
def provider_is_whole(**_: Any) -> list[checks.CheckMessage]:
    """E012: a provider to sign in through has an https address and knows the hub by a name."""
    schemes = ("https://",) if settings.PRODUCTION else ("https://", "http://")
    return [
        checks.Error(
            f"{name}_ISSUER is not the https address of a provider, or {name}_CLIENT_ID is missing.",
            hint="Set both, as the provider gave them; or neither.",
            id="hie.E012",
        )
        for name, held in (("HIE_OIDC", settings.PATIENT_OIDC), ("HIE_STAFF_OIDC", settings.STAFF_OIDC))
        if (held["issuer"] or held["client_id"]) and not (held["client_id"] and held["issuer"].startswith(schemes))
    ]


def is_oid(value: str) -> bool:
    """Digits and dots, no leading zero in an arc, at most 64 characters."""
    arcs = value.split(".")
    return (
        len(value) <= 64
        and len(arcs) > 1
        and all(a.isascii() and a.isdigit() and (a == "0" or a[0] != "0") for a in arcs)
    )


def sandbox_is_loaded() -> bool:
    """Whether the database carries the sandbox's mark; False when it cannot be asked."""
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
            )
            row = cursor.fetchone()
    except DatabaseError:
        return False
    return bool(row and row[0] and SANDBOX_MARK in row[0])


def mark_sandbox() -> None:
    """Leave the mark on the database; the role must own it."""
    connection = connections["default"]
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        cursor.execute(f"COMMENT ON DATABASE {name} IS '{SANDBOX_MARK}'")


def refuse_to_start_on_errors() -> None:
    """For processes that run no management command (web, worker).

    Raises:
        ImproperlyConfigured: a check of ours failed; the message names each with its hint.
    """
    found = [m for m in checks.run_checks(tags=["hie"]) if m.level >= checks.ERROR]
    if settings.PRODUCTION:
        found += production_database_holds_no_sandbox(databases=["default"])
        # Granian forks workers after loading: no connection may cross the fork.
        connections.close_all()
    if found:
        raise ImproperlyConfigured(" ".join(f"({m.id}) {m.msg} {m.hint}" for m in found))
