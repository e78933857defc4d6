"""JSON log lines that carry identifiers only.

A log outlives the reason for a look at a record, so no value of a record may reach it: exceptions are written as
their class and the places they passed, without their message, except a `HubError`, whose message is held to
identifiers by its own contract.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import traceback
from types import TracebackType
from typing import Any

import structlog


def exception_without_values(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace ``exc_info`` by class, places, and the causes' classes; messages may quote a record and stay out."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else info[1] if info else None
    if error is None:
        return event
    event["error"] = f"{type(error).__module__}.{type(error).__qualname__}"
    event["at"] = places(error.__traceback__)
    if _is_hub_error(error):
        event["message"] = str(error)
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < 5:
        causes.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    if causes:
        event["causes"] = causes
    return event


def _is_hub_error(error: BaseException) -> bool:
    from hie.standards.errors import HubError

    return isinstance(error, HubError)


def places(trace: TracebackType | None) -> list[str]:
    """The last places an exception passed, innermost last."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)[-12:]]


def _without_path(record: logging.LogRecord) -> bool:
    """Django names the path of whatever it answers with an error; a path is what somebody typed, a name perhaps."""
    if isinstance(record.args, tuple):
        record.args = tuple("<path>" if isinstance(item, str) and "/" in item else item for item in record.args)
    return True


def configure_logging(*, level: str, role: str) -> None:
    """Send everything, ours and the libraries', to standard error as one JSON object a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _role(role),
        exception_without_values,
    ]
    # No line names the place it was written at, thread or process: to look for them costs as much as the line.
    logging._srcfile = None  # as the standard library's own "Optimization" has it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.JSONRenderer(ensure_ascii=False),
                    ],
                }
            },
            "filters": {"without_path": {"()": lambda: _without_path}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "json"},
            },
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                # Statements and request lines can hold names and birth dates.
                "django.db.backends": {"level": "WARNING"},
                "django.request": {"filters": ["without_path"]},
                "django.server": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "aiohttp.access": {"level": "WARNING"},
                "botocore": {"level": "WARNING"},
                "urllib3": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
            },
        }
    )


def _role(role: str) -> structlog.typing.Processor:
    def add(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["role"] = role
        return event

    return add
