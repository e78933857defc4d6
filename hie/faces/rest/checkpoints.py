"""`/checkpoints`: the signed seals of the log, for anybody (spec/consent.md 17). No token, no patient, no cookie."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from hie.exchange import seals
from hie.exchange.errors import NotFound

_LONGEST = 18  # digits of a size


def listed(request: HttpRequest) -> HttpResponse:
    """``{"checkpoints": [{"size", "time", "log_id", "url"}], "next": url | null}``, newest first, 100 a page."""
    if request.method not in {"GET", "HEAD"}:
        return _refused("method-not-allowed", "only GET is answered here", 405)
    given = request.GET.get("before", "")
    if given and not (given.isascii() and given.isdigit() and len(given) <= _LONGEST):
        return _refused("invalid", "a number of events is expected", 400, field="before")
    found = seals.listed(before=int(given) if given else None)
    shown = [{**{name: note[name] for name in ("size", "time", "log_id")}, "url": f"/checkpoints/{note['size']}"} for note in found.notes]  # fmt: skip
    following = f"/checkpoints?before={found.before}" if found.before is not None else None
    return _answer({"checkpoints": shown, "next": following}, max_age=10)


def one(request: HttpRequest, size: str) -> HttpResponse:
    """A checkpoint as it was signed: by the number of events, or ``latest``."""
    if request.method not in {"GET", "HEAD"}:
        return _refused("method-not-allowed", "only GET is answered here", 405)
    try:
        if size != "latest" and len(size) > _LONGEST:
            raise NotFound("no such checkpoint")
        note = seals.note(None if size == "latest" else int(size))
    except NotFound:
        return _refused("not-found", "there is no such checkpoint", 404)
    answer = _answer(note, max_age=10 if size == "latest" else 86_400)
    answer["Content-Disposition"] = f'attachment; filename="checkpoint-{note["size"]:012d}.json"'
    return answer


def _answer(content: object, *, max_age: int) -> JsonResponse:
    answer = JsonResponse(content, json_dumps_params={"indent": 1})
    answer["Cache-Control"] = f"public, max-age={max_age}"
    answer["Access-Control-Allow-Origin"] = "*"
    return answer


def _refused(code: str, message: str, status: int, *, field: str | None = None) -> JsonResponse:
    answer = JsonResponse({"error": {"code": code, "message": message, "field": field}}, status=status)
    if status == 405:
        answer["Allow"] = "GET, HEAD"
    return answer
