"""JSON by orjson: a list of a hundred communities' documents is large."""

from __future__ import annotations

from typing import Any

import orjson
from rest_framework.renderers import JSONRenderer


class OrjsonRenderer(JSONRenderer):
    """What DRF's renderer writes, quicker."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Bytes; nothing for no data."""
        if data is None:
            return b""
        return orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z)


class NdjsonRenderer(OrjsonRenderer):
    """For whoever asks for lines: the lines are streamed, and a refusal is a line too."""

    media_type = "application/x-ndjson"
    format = "ndjson"
