"""What every administrators' page that shows something of a patient has in common: it goes through the one door.

`AuditedAdmin` is for an app's `admin.py`. Opening a page of a patient asks for the reason first (a task of a queue
is one), and records one look a request and person; a list narrowed by a search records a look at each person on
the page. Without the right by role there is no page at all.

Source: spec/consent.md 7, item 5.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from hie.audit import recorder
from hie.exchange import access, governance
from hie.exchange.access import Held, Staff, StaffView
from hie.exchange.errors import AccessRefused
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.trust import sign_ins, staff_accounts
from hie.trust.requests import network_address, request_id
from hie.trust.second_factor import Owner
from patients import identifiers

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

Answer = TypeVar("Answer", bound=HttpResponseBase)
REASON_FIELD = "look_reason"
_REASON_LASTS_S = 30 * 60
_REASONS = "staff_reasons"
_LONGEST_REASON = 500


def roles_of(user: AbstractBaseUser | AnonymousUser) -> frozenset[str]:
    """The staff roles of a signed-in user: the names of his groups, and administrator for a superuser."""
    held = getattr(user, "_staff_roles", None)
    if held is None:
        groups = user.groups.values_list("name", flat=True) if user.pk and hasattr(user, "groups") else ()
        held = frozenset(groups) & access.STAFF_MAY.keys()
        if getattr(user, "is_superuser", False):
            held |= {"administrator"}
        user._staff_roles = held  # type: ignore[union-attr]  # asked once a request
    return frozenset(held)


def staff_of(request: HttpRequest) -> Staff:
    """The member of staff who sends this request."""
    return Staff(
        user_id=request.user.get_username(),
        roles=roles_of(request.user),
        name=str(getattr(request.user, "get_full_name", str)()),
        account=request.user.pk,
        network_address=network_address(request),
        request_id=request_id(request),
    )


def keep_reason(request: HttpRequest, people: Iterable[UUID], reason: str) -> None:
    """Let the reason stand for these people for a while: their pages do not ask again."""
    now = time.time()
    kept = {key: value for key, value in request.session.get(_REASONS, {}).items() if value[1] > now}
    request.session[_REASONS] = kept | {str(person): (reason, now + _REASON_LASTS_S) for person in people}


class ReadOnly(_Base):
    """What is registered or audited is looked at, never edited."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Rows come from use cases."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What is registered is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is removed by hand."""
        return False


def sentence(error: HubError | None) -> str:
    """A refusal as a sentence of a page; "" for none."""
    return f"{str(error)[:1].upper()}{str(error)[1:]}." if error is not None else ""


class AuditedAdmin(_Base):
    """For a ModelAdmin whose rows say something of a patient; put it before `ModelAdmin`.

    `held` is the kind of thing; `person_fields` are dotted paths from a row to person ids, `identifier_fields` to
    row ids of patient identifiers. `task` names the task that a row stands for: it is the reason then. `ways` are
    fields that only lead to a page, each with the test of the roles that the page lets in: nobody else is shown the way.
    """

    held: ClassVar[Held]
    person_fields: ClassVar[Sequence[str]] = ()
    identifier_fields: ClassVar[Sequence[str]] = ()
    ways: ClassVar[Mapping[str, Callable[[frozenset[str]], bool]]] = {}

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields, without ways that this member of staff would be refused at."""
        return self._passable(request, super().get_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """As `get_fields`."""
        return self._passable(request, super().get_readonly_fields(request, obj))

    def _passable(self, request: HttpRequest, fields: Iterable[Any]) -> list[Any]:
        roles = roles_of(request.user)
        return [one for one in fields if not isinstance(one, str) or one not in self.ways or self.ways[one](roles)]

    def people(self, rows: Iterable[Any]) -> set[UUID]:
        """The persons these rows speak of; at most 1 query."""
        rows = list(rows)
        found = {value for path in self.person_fields for row in rows if (value := _at(row, path))}
        pks = {value for path in self.identifier_fields for row in rows if (value := _at(row, path))}
        return found | set(identifiers.persons_of(pks).values()) if pks else found

    def task(self, row: Any) -> str:
        """The task this row is; "" when it is none and a reason must be given."""
        return ""

    def staff_view(self, request: HttpRequest) -> StaffView | None:
        """What this member of staff may see of such rows."""
        return access.staff_view(roles_of(request.user), self.held)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Django's permission, and the table of the door."""
        return super().has_view_permission(request, obj) and self.staff_view(request) is not None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one row, once there is a reason; the look is recorded before anything is shown."""
        row: Model | None = self.get_object(request, unquote(object_id))
        if row is not None and self.has_view_permission(request, row):
            people = self.people([row])
            given = self._reason_given(request, people)
            if isinstance(given, HttpResponse):
                return given
            reason = self.task(row) or given
            # Nothing here can be written: a POST that gives no reason is answered below, with a refusal.
            if people and request.method != "POST":
                if not reason:
                    return self._ask_reason(request, row)
                self._look(request, people, reason, {"page": self.opts.label_lower, "row": str(row.pk)})
        answer: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return answer

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """As Django's, which looks for the row first: who has no right is refused whether or not there is one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        answer: HttpResponse = super().history_view(request, object_id, extra_context)
        return answer

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; when it was narrowed by a search, a look at each person on the page."""
        answer: HttpResponse = super().changelist_view(request, extra_context)
        shown = getattr(answer, "context_data", None) or {}
        cl = shown.get("cl")
        if cl is not None and request.GET.get("q", "").strip():
            people = self.people(cl.result_list)
            if people:
                self._look(request, people, f"Searched the list of {self.opts.verbose_name_plural}", {"list": True})
        return answer

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """The declared filters only.

        Django allows any lookup on the model's own fields in the address: a list that shows no name would still
        answer whether somebody of this name and birth date is in it, without a trace.
        """
        names: set[str] = set()
        for declared in self.get_list_filter(request) if request is not None else self.list_filter:
            field = declared[0] if isinstance(declared, tuple | list) else declared
            if isinstance(field, str):
                names |= {field} | {f"{field}__{suffix}" for suffix in ("exact", "in", "isnull", "isempty")}
            else:
                names.add(getattr(field, "parameter_name", ""))
        return lookup in names

    def _look(self, request: HttpRequest, people: Iterable[UUID], reason: str, detail: dict[str, Any]) -> None:
        try:
            access.administrative(staff_of(request), self.held, people, reason=reason, detail=detail)
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal

    def _reason_given(self, request: HttpRequest, people: Iterable[UUID]) -> HttpResponse | str:
        """The reason this session gave for these people lately, or the answer to the form that gives one now."""
        session = getattr(request, "session", None)
        if session is None:
            return ""
        now = time.time()
        kept = {key: value for key, value in session.get(_REASONS, {}).items() if value[1] > now}
        posted = request.POST.get(REASON_FIELD, "").strip()[:_LONGEST_REASON] if request.method == "POST" else ""
        if posted:
            keep_reason(request, people, posted)
            return HttpResponseRedirect(request.get_full_path())
        reasons = [kept[str(person)][0] for person in people if str(person) in kept]
        return reasons[0] if len(reasons) == len(set(people)) and reasons else ""

    def _ask_reason(self, request: HttpRequest, row: Model) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Why do you look?",
            "opts": self.opts,
            "what": self.held.value,
            "row": row,
            "field": REASON_FIELD,
            "longest": _LONGEST_REASON,
            "minutes": _REASON_LASTS_S // 60,
        }
        return TemplateResponse(request, "exchange/reason.html", context)


class TaskAdmin(AuditedAdmin):
    """For a ModelAdmin each of whose rows is a task with a page of its own: a GET shows it, a POST acts on it."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The evidence and the decision; what was posted is done, or told why it is not."""
        row = self._row(request, object_id)
        if request.method != "POST":
            return self._page(request, row)
        try:
            return self._act(request, row)
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        except HubError as error:
            return self._page(request, self._row(request, object_id), error)

    def _row(self, request: HttpRequest, object_id: str) -> Any:
        row: Model | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        return row

    def _page(self, request: HttpRequest, row: Any, error: HubError | None = None) -> HttpResponse:
        raise NotImplementedError

    def _act(self, request: HttpRequest, row: Any) -> HttpResponse:
        raise NotImplementedError


class PolicyAdmin(_Base):
    """For a ModelAdmin of policy: nothing of a patient stands there, and every look is recorded. Put it before `ModelAdmin`."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with the way to propose a change."""
        answer: HttpResponse = super().changelist_view(request, extra_context)
        governance.look(staff_of(request), page=self.opts.label_lower)
        return answer

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One version or proposal."""
        answer: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        governance.look(staff_of(request), page=self.opts.label_lower, subject=object_id[:64])
        return answer


class NotedAdmin(_Base):
    """For a ModelAdmin whose rows are changed on its own form: who changed which fields, in the transaction that does it.

    Put it before `ModelAdmin`. The values stand in the rows; here are the names of the fields.
    """

    noted_as: ClassVar[str] = recorder.EventType.STAFF_ACT.value

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Recorded, with Django's own line."""
        self._noted(request, obj, "added", message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Recorded, with Django's own line."""
        self._noted(request, obj, "changed", message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Recorded, with Django's own lines."""
        for obj in queryset:
            self._noted(request, obj, "removed", [])
        return super().log_deletions(request, queryset)

    def _noted(self, request: HttpRequest, obj: Model, act: str, message: Any) -> None:
        detail = {"what": obj._meta.label_lower, "act": act, "row": str(obj.pk), "changed": message}
        kind = recorder.EventType(self.noted_as)
        recorder.write([recorder.EventDraft(kind=kind, caller=caller_of(request), detail=detail)])


BARE_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def bare(answer: HttpResponse) -> HttpResponse:
    """A page that needs nothing but its own files: the strictest policy for the browser, in place of the site's."""
    answer.headers["Content-Security-Policy"] = BARE_CONTENT_SECURITY_POLICY
    return answer


def _at(row: Any, path: str) -> Any:
    try:
        return attrgetter(path)(row)
    except AttributeError:
        return None


DESK_SESSION = "desk-session"
"""Where a browser's session holds the id of the row of `hie.trust.sign_ins` that it stands for."""


def _own(request: HttpRequest) -> Owner:
    return Owner(staff=int(request.user.pk or 0))


def start_session(request: HttpRequest) -> None:
    """A session of the desk begins in this browser: the second factor has just been given."""
    agent = request.headers.get("User-Agent", "")
    request.session[DESK_SESSION] = sign_ins.start(_own(request), agent=agent)


def session_id(request: HttpRequest) -> str:
    """The session of the desk that this request belongs to; "" none."""
    return str(getattr(request, "session", {}).get(DESK_SESSION, ""))


def session_ends_at(request: HttpRequest) -> datetime | None:
    """When the session of this request ends at the latest; None: it has ended. Asked once a request."""
    held: datetime | None = getattr(request, "_desk_ends_at", None)
    if held is None and request.user.pk is not None:
        held = sign_ins.running_at_desk(session_id(request), request.user.pk)
        request._desk_ends_at = held  # type: ignore[attr-defined]
    return held


def end_sessions(request: HttpRequest, *, only: str = "", but: str = "") -> int:
    """End one's own sessions at the desk: one, or all but one; recorded. How many."""
    with transaction.atomic():
        ended = sign_ins.end(_own(request), only=only, but=but)
        if ended:
            detail = {"what": "staff account", "act": "sessions ended", "sessions": ended, "own": True}
            kind = recorder.EventType.STAFF_ACT
            recorder.write([recorder.EventDraft(kind=kind, caller=caller_of(request), detail=detail)])
    return ended


def signed_in(request: HttpRequest) -> None:
    """Record that a member of staff signed in."""
    _record_session(request, recorder.EventType.LOGIN)


def signed_out(request: HttpRequest) -> None:
    """Record that a member of staff signed out; the session has ended."""
    if held := session_id(request):
        sign_ins.end(_own(request), only=held)
    _record_session(request, recorder.EventType.LOGOUT)


def sign_in_refused(request: HttpRequest, reason: str) -> None:
    """Record a sign-in that failed: reason and address, nothing that was typed."""
    recorder.failed_login(
        client_id="backoffice",
        participant_id=recorder.HUB,
        reason=reason,
        network_address=network_address(request),
        request_id=request_id(request),
        face="admin",
    )


def recorded(request: HttpRequest, view: Callable[[], Answer]) -> Answer:
    """The answer of a page of the desk; where nothing was recorded on the way, that it was opened, or refused.

    Nothing of what was asked for is kept: words that somebody looks for may be names.
    """
    with recorder.watching() as written:
        try:
            answer = view()
        except Exception as error:
            if not written:
                _opened(request, _STATUS.get(type(error), 500))
            raise
        if not written:
            _opened(request, answer.status_code)
    return answer


_STATUS: Mapping[type[Exception], int] = {PermissionDenied: 403, Http404: 404, DisallowedModelAdminToField: 400}


def _opened(request: HttpRequest, status: int) -> None:
    match = request.resolver_match
    outcome = recorder.Outcome.SUCCESS if status < 400 else recorder.Outcome.REFUSED
    detail = {"page": match.view_name if match else "", "method": request.method, "status": status}
    if match is not None and (which := next((str(match.kwargs[name]) for name in match.kwargs if name != "url"), "")):
        detail["row"] = which[:64]
    draft = recorder.EventDraft(
        kind=recorder.EventType.DESK_PAGE,
        caller=caller_of(request),
        action="R" if request.method in ("GET", "HEAD") else "E",
        outcome=recorder.Outcome.FAILED if status >= 500 else outcome,
        detail=detail,
    )
    recorder.write_apart([draft]) if outcome else recorder.write([draft])


def noting_password(request: HttpRequest, account: Any, change: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer of a page that may set the password of an account (primary key); noted where it did.

    In the caller's transaction, so that none is set without a note.
    """
    accounts = get_user_model()._default_manager
    pk = int(account) if str(account).isdecimal() else 0
    before = accounts.filter(pk=pk).values_list("password", flat=True).first()
    answer = change()
    if (now := accounts.filter(pk=pk).first()) is not None and now.password != before:
        kind = staff_accounts.Kind.PASSWORD
        # Whoever is in by the password of before is out; who has just set one's own goes on here.
        sign_ins.end(Owner(staff=now.pk), but=session_id(request) if now.pk == request.user.pk else "")
        staff_accounts.note(now, kind, by=request.user.pk, caller=caller_of(request))
    return answer


def caller_of(request: HttpRequest) -> Caller:
    """The member of staff as the caller of a use case of the exchange."""
    return staff_of(request).caller()


def _record_session(request: HttpRequest, kind: recorder.EventType) -> None:
    recorder.write([recorder.EventDraft(kind=kind, caller=caller_of(request), detail={"face": "admin"})])
