"""An answer as it is compared: everything a client receives, less what is of this request alone."""

from __future__ import annotations

import json
import re
from typing import Any

_OF_THE_REQUEST = frozenset({"X-Request-Id", "Date"})
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_UNIQUE = re.compile(r"2\.25\.\d+")
_PAGE = re.compile(r"_page=[^\"&]*")


def answer(response: Any, names: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
    """Status, headers and body. `names` says what to call ids that differ from hub to hub."""
    body = response.getvalue().decode("utf-8", "replace")
    headers = {name: value for name, value in response.headers.items() if name not in _OF_THE_REQUEST}
    if body.startswith("{"):
        body = json.dumps(json.loads(body), sort_keys=True)
    for real, name in (names or {}).items():
        body = body.replace(real, name)
        headers = {key: value.replace(real, name) for key, value in headers.items()}
    return response.status_code, {k: _bare(v) for k, v in headers.items() if k != "Content-Length"}, _bare(body)


def _bare(text: str) -> str:
    return _INSTANT.sub("<instant>", _UUID.sub("<id>", _UNIQUE.sub("<unique>", _PAGE.sub("_page=<page>", text))))
