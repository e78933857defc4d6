"""Whether the hub lives, whether it can work, and its figures; for operators and load balancers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client import REGISTRY as PROCESS_REGISTRY

FREE_DISK_BYTES = 200 * 1024 * 1024


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 while the process answers; asks nothing of any other part."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """200 when every part that a request needs is there, else 503; says which part, never an address or a secret."""
    results = {name: outcome(check) for name, check in CHECKS.items()}
    ready = all(result == "ok" for result in results.values())
    response = JsonResponse(
        {"status": "ready" if ready else "not ready", "checks": results}, status=200 if ready else 503
    )
    response.headers["Cache-Control"] = "no-store"
    return response


@require_safe
def metrics(_request: HttpRequest) -> HttpResponse:
    """Prometheus text of all processes of this hub; labels are routes and codes, never identifiers."""
    registry: Any = PROCESS_REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package annotates in part
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def outcome(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # the edge: whatever is wrong with a part, the answer is that it is not ready
        return f"failed ({type(error).__name__})"


def database() -> str:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        (standby,) = cursor.fetchone()
    return "read-only" if standby else "ok"


def broker() -> str:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
        return "ok" if client.ping() else "no answer"


_migrated = False


def migrations() -> str:
    """Asked until it holds once: a schema does not go back while this process runs."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connections["default"])
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "ok" if _migrated else "pending"


def keys() -> str:
    return "ok" if settings.SECRET_KEY and settings.DOCUMENT_KEYS else "no document key"


def disk() -> str:
    return "ok" if shutil.disk_usage(settings.DATA_DIR).free > FREE_DISK_BYTES else "nearly full"


CHECKS: dict[str, Callable[[], str]] = {
    "database": database,
    "broker": broker,
    "migrations": migrations,
    "keys": keys,
    "disk": disk,
}
