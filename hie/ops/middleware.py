"""Counts and times every request, by route and never by address: a path can hold an identifier."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from prometheus_client import Counter, Histogram

log = structlog.get_logger("hie.web")

REQUESTS = Counter("hie_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "hie_request_seconds",
    "Time to the answer's first byte",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
# One id for log, answer, caller and access log; found at run time, since operations import no part of the hub.
IDENTIFY = "hie.trust.requests.request_id"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """Measures, logs one line, and gives an unexpected failure an incident number in place of a bare 500."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        identify = import_string(IDENTIFY)
        request_id = identify(request)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id)
        response = self.get_response(request)
        took = time.perf_counter() - began
        route = route_of(request)
        method = request.method if request.method in METHODS else "OTHER"
        count, seconds = _figures(method, route, response.status_code)
        count.inc()
        seconds.observe(took)
        response.headers["X-Request-Id"] = request_id
        if route not in {"healthz", "readyz", "metrics"}:
            log.info("request", method=method, route=route, status=response.status_code, ms=round(took * 1000, 1))
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The edge of the hub: faces answer their own refusals, so what arrives here is a defect."""
        incident = structlog.contextvars.get_contextvars().get("request", "")
        log.error("incident", route=route_of(request), incident=incident, exc_info=error)
        return None


@lru_cache(maxsize=4096)
def _figures(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The two figures of a kind of answer: to find them by their labels costs more than to raise them."""
    return REQUESTS.labels(method, route, str(status)), SECONDS.labels(method, route)


def route_of(request: HttpRequest) -> str:
    """The pattern that matched (``fhir/Patient/<id>``), or ``unmatched``."""
    match = request.resolver_match
    return match.route if match is not None else "unmatched"
