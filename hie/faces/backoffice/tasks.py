"""The pages of the desk's tasks: a list a queue, and one page a thing, with evidence, decision, reason, undo and next.

What they show and do is `hie.exchange.desk_tasks`; here is what a form holds, and what an answer looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils import timezone

from hie.exchange import desk_tasks
from hie.exchange.desk_queues import QUEUES
from hie.exchange.desk_tasks import MAX_REASON, TaskQueue, TaskRefused
from hie.exchange.desk_values import Done, Item, Way
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.staff_pages import bare, sentence, staff_of
from hie.standards.errors import HubError

PAGE = 20
STATES = ("waiting", "off", "done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to another page, for a reader who may open it."""

    words: str
    url: str


def urls(wrap: Any) -> list[URLPattern]:
    """The two addresses; `wrap` is the desk's."""
    return [
        path("tasks/<slug:queue>/", wrap(listed), name="desk_tasks"),
        path("tasks/<slug:queue>/<path:key>/", wrap(one), name="desk_task"),
    ]


def url_of(queue: str, key: str = "") -> str:
    """The address of a list, or of one thing."""
    return reverse("admin:desk_task", args=[queue, key]) if key else reverse("admin:desk_tasks", args=[queue])


def listed(request: HttpRequest, queue: str) -> HttpResponse:
    """What waits, what was put off, what was done lately."""
    tasks = _queue(request, queue)
    staff, now = staff_of(request), timezone.now()
    try:
        desk_tasks.look(tasks, staff)
    except AccessRefused as refusal:
        raise PermissionDenied(str(refusal)) from refusal
    waits, off = tasks.split(now)
    state = request.GET.get("state", "")
    state = state if state in STATES else "waiting"
    found: list[Item] = {"waiting": waits, "off": off}.get(state, [])
    pages = max(1, -(-len(found) // PAGE))
    asked = request.GET.get("page", "1")
    page = min(max(1, int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1), pages)
    context = {
        **admin.site.each_context(request), "title": tasks.title, "queue": tasks, "state": state, "now": now,
        "items": found[(page - 1) * PAGE : page * PAGE], "first": (page - 1) * PAGE, "page": page, "pages": pages,
        "tabs": (("waiting", "Waiting", len(waits)), ("off", "Put off", len(off)), ("done", "Done lately", None)),
        "acts": desk_tasks.done_lately(tasks, staff) if state == "done" else (), "waits": len(waits),
        "most": desk_tasks.MOST_LISTED, "done": _done(request, tasks),
    }  # fmt: skip
    return bare(TemplateResponse(request, "backoffice/task_list.html", context))


def one(request: HttpRequest, queue: str, key: str) -> HttpResponse:
    """The evidence and the decision of one thing; what was posted is done, or told why it is not."""
    tasks = _queue(request, queue)
    try:
        if request.method != "POST":
            return _page(request, tasks, key)
        try:
            return _act(request, tasks, key)
        except (AccessRefused, NotFound):
            raise
        except HubError as error:
            return _page(request, tasks, key, error)
    except AccessRefused as refusal:
        raise PermissionDenied(str(refusal)) from refusal
    except NotFound as missing:
        raise Http404 from missing


def _queue(request: HttpRequest, queue: str) -> TaskQueue:
    tasks = QUEUES.get(queue)
    if tasks is None:
        raise Http404
    if not request.user.has_perm(tasks.permission):
        raise PermissionDenied
    return tasks


def _act(request: HttpRequest, tasks: TaskQueue, key: str) -> HttpResponse:
    staff, typed = staff_of(request), {name: str(value) for name, value in request.POST.items()}
    reason, seen = typed.get("reason", "")[: MAX_REASON + 1], typed.get("seen", "")
    match typed.get("act", ""):
        case "skip":
            return _to(tasks, desk_tasks.next_after(tasks, key, timezone.now()))
        case "undo":
            desk_tasks.undo(tasks, key, staff, reason=reason, as_seen=seen)
            return _to(tasks, key, done=key)
        case "decide":
            # Asked before: afterwards the thing does not stand in the list, nor what stood behind it.
            then = desk_tasks.next_after(tasks, key, timezone.now())
            outcome = typed.get("outcome", "")
            desk_tasks.decide(tasks, key, outcome, staff, reason=reason, as_seen=seen, typed=typed)
            return _to(tasks, then, done=key)
        case _:
            raise BadRequest("choose what to do", element="act")


def _page(request: HttpRequest, tasks: TaskQueue, key: str, error: HubError | None = None) -> HttpResponse:
    staff, now = staff_of(request), timezone.now()
    view = desk_tasks.look(tasks, staff, key)
    task = tasks.task(key, staff, view, now)
    acts = desk_tasks.history(tasks, key, staff)
    field, status = "", 200
    if error is not None:
        own = {asked.name: f"field-{asked.name}" for asked in task.fields if asked.kind != "hidden"}
        known = {"reason": "why", "outcome": "outcome-first"} | own
        field = known.get(error.element or "", "main")
        field = field if task.waits or field == "why" else "main"
        status = 409 if isinstance(error, TaskRefused) else 422
    context = {
        **admin.site.each_context(request), "title": task.question, "queue": tasks, "task": task, "now": now,
        "acts": acts, "seen": str(len(acts)), "links": _links(request, task.ways), "problem": sentence(error),
        "problem_field": field, "longest": MAX_REASON, "done": _done(request, tasks),
        "undoable": bool(acts) and acts[0].kind in tasks.undoable and bool(task.undo) and not task.not_mine,
        "typed": {name: str(value)[:MAX_REASON] for name, value in request.POST.items()},
        "list_url": url_of(tasks.key),
    }  # fmt: skip
    return bare(TemplateResponse(request, "backoffice/task.html", context, status=status))


def _links(request: HttpRequest, ways: tuple[Way, ...]) -> list[Link]:
    return [
        Link(
            words=way.words,
            url=reverse(way.name, args=list(way.args)) + (f"?{urlencode(way.query)}" if way.query else ""),
        )
        for way in ways
        if request.user.has_perm(way.permission)
    ]


def _done(request: HttpRequest, tasks: TaskQueue) -> Done | None:
    """What this reader did last with the thing that the address names."""
    key = request.GET.get("done", "")
    return desk_tasks.my_last(tasks, key, staff_of(request)) if key and "\0" not in key else None


def _to(tasks: TaskQueue, key: str | None, *, done: str = "") -> HttpResponse:
    asked = f"?{urlencode({'done': done})}#notice" if done else ""
    return HttpResponseRedirect(f"{url_of(tasks.key, key or '')}{asked}")
