"""Housekeeping of trust."""

from __future__ import annotations

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from hie.trust import assertions, second_factor


@shared_task(name="trust.forget_ended_assertions", ignore_result=True)
def forget_ended_assertions() -> None:
    """Delete the marks of client assertions that have ended; safe to run at any time."""
    assertions.forget_ended(timezone.now())


@shared_task(name="trust.clear_sessions", ignore_result=True)
def clear_sessions() -> None:
    """Remove what browsers of the portal and the desk held of sessions that have ended."""
    SessionStore.clear_expired()


@shared_task(name="trust.seal_secrets", ignore_result=True)
def seal_secrets() -> None:
    """Seal secrets of code apps that are still in the clear or under an old key; safe to run at any time."""
    second_factor.seal_all()
