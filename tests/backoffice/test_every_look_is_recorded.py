"""Every page and act of the desk leaves an event: found where they are declared, walked, and read back from the log.

A page that is added to the desk is walked here without being written down. A form or an action that is added must be put
into the tables below, with what is sent and which event must come of it.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, path
from django.utils import timezone
from lxml import etree

from consent import directives, proxies
from hie.audit.models import AuditEvent
from hie.directory.models import Participant
from hie.exchange import governance, inbox
from hie.exchange.access import Staff
from hie.exchange.models import DeathObjection, InboundMessage
from hie.outbox.models import OutboxMessage
from hie.terminology.models import Code, CodeSet
from hie.trust.models import StaffAffiliation
from hie.trust.staff import PAGES
from patients import identifiers
from tests.soap.test_audit_messages import told

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]

NO_PAGE_OF_THE_DESK = {
    "admin/login/": "signing in has events of its own: test_sign_in.py",
    "admin/logout/": "signing out has an event of its own",
    "admin/second-factor/": "part of signing in, and noted with the account where something changes",
    "admin/second-factor/code.svg": "a picture within that page",
    "admin/provider/": "part of signing in",
    "admin/provider/back/": "part of signing in",
    "admin/jsi18n/": "words of the interface",
    "admin/(?P<url>.*)$": "no page: what is not found is walked as a row that is not there",
}
"""Addresses under the desk where no event is asked for, and why."""
_SAMPLES = {"uuid": str(uuid.UUID(int=7)), "int": "7", "slug": "x", "str": "x", "path": "7"}


def desk_pages(urlconf: str | None = None) -> Iterator[tuple[str, Any]]:
    """Every pattern under /admin/ with its view."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for one in patterns:
            route = prefix + str(one.pattern)
            if isinstance(one, URLResolver):
                yield from walk(one.url_patterns, route)
            elif isinstance(one, URLPattern) and route.startswith("admin/"):
                yield route, one.callback

    yield from walk(get_resolver(urlconf).url_patterns, "")


def address_of(route: str) -> str:
    """An address that the pattern matches, of a row that is there where the model has one."""
    parts = route.split("/")
    model = next(
        (one for one in admin.site._registry if [one._meta.app_label, one._meta.model_name] == parts[1:3]), None
    )
    first = model._default_manager.order_by("pk").first() if model is not None else None
    routed = re.sub(r"\(\?P<app_label>\^?\(?([a-z_]+)[^)]*\)+", r"\1", route).replace("$", "").replace("^", "")

    def sample(match: re.Match[str]) -> str:
        kind = match.group(1) or "str"
        if first is not None and (kind == "path" or (kind == "uuid" and isinstance(first.pk, uuid.UUID))):
            return str(first.pk)
        if first is not None and kind == "int" and isinstance(first.pk, int):
            return str(first.pk)
        return _SAMPLES[kind]

    return "/" + re.sub(r"<(?:(\w+):)?\w+>", sample, routed)


def events() -> set[uuid.UUID]:
    return set(AuditEvent.objects.values_list("pk", flat=True))


def of_this(before: set[uuid.UUID], user: str) -> list[AuditEvent]:
    """What was recorded since, in the name of this member of staff."""
    return list(AuditEvent.objects.filter(pk__in=events() - before, user=f"Staff/{user}"))


@pytest.fixture
def everything(world: Any, document: Any, question: Any, failed_message: Any) -> None:
    """A desk with something in most lists."""
    StaffAffiliation.objects.create(username="x", organization="org-clinic")
    Code.objects.create(code_set=CodeSet.objects.create(attribute="classCode"), code="x", scheme="y", display="z")
    OutboxMessage.objects.create(topic="consent", key="k")
    pk = identifiers.anchor(world).pk
    directives.import_unchecked({"status": "active"}, identifier_pk=pk, actor="x")
    proxies.grant(identifier_pk=pk, person="RelatedPerson/x", kind="nominated", max_confidentiality="R", verified_by="desk", evidence="form 7")  # fmt: skip
    DeathObjection.objects.create(identifier_id=pk, said="alive", at=timezone.now())
    boss = Staff(user_id="boss", roles=frozenset({"administrator"}), account=1)
    governance.propose("retention", "questions", {"days": 60}, boss, reason="fewer traces")


def silent(client: Client, user: str, urlconf: str | None = None) -> list[str]:
    """The pages whose opening left nothing in the log."""
    found, before = [], events()
    for route, _ in desk_pages(urlconf):
        if route in NO_PAGE_OF_THE_DESK or "app_list" in route:
            continue
        answer = client.get(address_of(route))
        now = events()
        recorded = list(AuditEvent.objects.filter(pk__in=now - before, user=f"Staff/{user}"))
        before = now
        if not recorded:
            found.append(f"{route} ({answer.status_code})")
        elif answer.status_code in (403, 404) and not any(one.outcome for one in recorded):
            found.append(f"{route} ({answer.status_code}) is recorded as if it had been shown")
    return found


@pytest.mark.parametrize("roles", [("administrator", "privacy-officer"), *((role,) for role in PAGES), ()])
def test_every_page_of_the_desk_that_is_opened_or_refused_leaves_an_event(
    everything: None, as_role: AsRole, roles: tuple[str, ...]
) -> None:
    client = as_role(*roles, username="ida")
    assert silent(client, "ida") == []


def test_no_words_that_were_looked_for_stand_in_the_event_of_a_page(as_role: AsRole) -> None:
    client = as_role("operator", username="ida")
    before = events()
    client.get("/admin/directory/participant/", {"q": "Quarrel"})
    (event,) = of_this(before, "ida")
    assert event.detail == {"page": "admin:directory_participant_changelist", "method": "GET", "status": 200}


def forgotten(request: HttpRequest) -> HttpResponse:
    """A page of the desk that somebody put beside it."""
    return HttpResponse("everybody")


def test_a_page_put_beside_the_desk_is_found(as_role: AsRole, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    import sys
    from types import ModuleType

    from django.urls import include

    module = ModuleType("tests.backoffice.forgotten_urls")
    module.urlpatterns = [path("admin/forgotten/", forgotten), path("", include("hie.urls"))]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    settings.ROOT_URLCONF = module.__name__
    assert silent(as_role("administrator", username="ida"), "ida") == ["admin/forgotten/ (200)"]


# --- acts ------------------------------------------------------------------------------------------------------------


def _form(client: Client, url: str, **changed: Any) -> dict[str, Any]:
    """What the page's form holds, with some fields changed."""
    shown = client.get(url).context_data
    forms = [shown["adminform"].form, *(one.formset.management_form for one in shown["inline_admin_formsets"])]
    forms += [form for one in shown["inline_admin_formsets"] for form in one.formset.initial_forms]
    values = {f"{form.prefix}-{name}" if form.prefix else name: form[name].value() for form in forms for name in form.fields}  # fmt: skip
    return {name: value for name, value in (values | changed).items() if value is not None and value is not False}


def _user(client: Client) -> None:
    user = User.objects.create_user("bo", password="a long enough one", is_staff=True)
    url = f"/admin/auth/user/{user.pk}/change/"
    form = _form(client, url, groups=[Group.objects.get(name="steward").pk], last_login_0="", last_login_1="")
    client.post(url, form)
    assert list(user.groups.values_list("name", flat=True)) == ["steward"]


def _new_user(client: Client) -> None:
    client.post("/admin/auth/user/add/", {"username": "cy", "usable_password": "true", "password1": "a long one 7", "password2": "a long one 7"})  # fmt: skip
    assert User.objects.filter(username="cy").exists()


def _affiliation(client: Client) -> None:
    client.post("/admin/trust/staffaffiliation/add/", {"username": "ida", "organization": "org-clinic"})
    assert StaffAffiliation.objects.filter(username="ida").exists()


def _no_affiliation(client: Client) -> None:
    row = StaffAffiliation.objects.get(username="x")
    client.post(f"/admin/trust/staffaffiliation/{row.pk}/delete/", {"post": "yes"})
    assert not StaffAffiliation.objects.filter(username="x").exists()


def _participant(client: Client) -> None:
    url = "/admin/directory/participant/org-clinic/change/"
    client.post(url, _form(client, url, burst="17"))
    assert Participant.objects.get(pk="org-clinic").burst == 17


def _code_set(client: Client) -> None:
    row = CodeSet.objects.get()
    url = f"/admin/terminology/codeset/{row.pk}/change/"
    wanted = next(value for value, _ in CodeSet._meta.get_field("mode").choices if value != row.mode)
    client.post(url, _form(client, url, mode=wanted))
    assert (CodeSet.objects.get().mode, CodeSet.objects.get().mode_chosen) == (wanted, True)
    assert CodeSet.objects.get().versions.get().mode == wanted


def _code(client: Client) -> None:
    url = f"/admin/terminology/code/{Code.objects.get().pk}/change/"
    client.post(url, _form(client, url, display="another"))
    assert Code.objects.get().display == "another"
    assert [code[2] for code in CodeSet.objects.get().versions.get().codes] == ["another"]


def _new_code(client: Client) -> None:
    client.post("/admin/terminology/code/add/", {"code_set": CodeSet.objects.get().pk, "code": "n", "scheme": "s", "display": "d", "active": "on"})  # fmt: skip
    assert Code.objects.filter(code="n").exists()


FORMS: dict[tuple[str, str], tuple[Callable[[Client], None], str]] = {
    ("auth.User", "add"): (_new_user, "staff-act"),
    ("auth.User", "change"): (_user, "staff-act"),
    ("trust.StaffAffiliation", "add"): (_affiliation, "staff-act"),
    ("trust.StaffAffiliation", "delete"): (_no_affiliation, "staff-act"),
    ("directory.Participant", "change"): (_participant, "directory-changed"),
    ("terminology.CodeSet", "change"): (_code_set, "terminology-changed"),
    ("terminology.Code", "add"): (_new_code, "terminology-changed"),
    ("terminology.Code", "change"): (_code, "terminology-changed"),
}
"""Every form of a list or a row that somebody may send, what is sent, and the kind of event that must come of it."""


def writable() -> set[tuple[str, str]]:
    """What whoever may do everything may add, change or delete by Django's own forms."""
    request = HttpRequest()
    request.user = User(username="boss", is_superuser=True, is_staff=True, is_active=True)
    request.user._staff_roles = frozenset(PAGES)  # type: ignore[attr-defined]
    found = set()
    for model, held in admin.site._registry.items():
        for act in ("add", "change", "delete"):
            if getattr(held, f"has_{act}_permission")(request):
                found.add((model._meta.label, act))
    return found


def test_every_form_of_the_desk_that_changes_rows_is_known_here() -> None:
    assert writable() == set(FORMS)


@pytest.mark.parametrize("which", FORMS, ids=lambda which: " ".join(which))
def test_every_form_of_the_desk_that_changes_rows_leaves_an_event_of_its_own(
    everything: None, as_role: AsRole, which: tuple[str, str]
) -> None:
    send, kind = FORMS[which]
    client = as_role("administrator", username="ida")
    before = events()
    send(client)
    assert kind in {one.kind for one in of_this(before, "ida")}


ALERTS = {"staff-act": {"110136", "110137"}, "directory-changed": {"110129"}, "terminology-changed": {"110131"}}
"""What a receiver of audit messages is told of each kind: the types of DICOM's Security Alert."""


@pytest.mark.parametrize("which", FORMS, ids=lambda which: " ".join(which))
def test_every_form_of_the_desk_that_changes_rows_is_told_to_the_receiver_of_audit_messages(
    everything: None, as_role: AsRole, which: tuple[str, str], settings: Any, tmp_path: Path
) -> None:
    send, kind = FORMS[which]
    settings.BASE_URL = "https://hub.example"
    client = as_role("administrator", username="ida")
    told(tmp_path, settings)
    send(client)
    alerts = [one for _, one in told(tmp_path, settings) if one.xpath("EventIdentification/EventID/@csd-code='110113'")]
    assert {str(one.xpath("string(EventIdentification/EventTypeCode/@csd-code)")) for one in alerts} & ALERTS[kind]
    for one in alerts:
        assert one.xpath("EventIdentification/@EventActionCode") == ["E"]
        assert one.xpath("ActiveParticipant[@UserIsRequestor='true']/@UserID") == ["Staff/ida"]
        assert one.xpath("ActiveParticipant[RoleIDCode/@csd-code='110150']/@UserID") == ["https://hub.example"]
        (subject,) = one.xpath("ParticipantObjectIdentification[@ParticipantObjectTypeCode='2']")
        (said,) = subject.xpath("ParticipantObjectDetail[@type='Alert Description']/@value")
        assert json.loads(base64.b64decode(said))["act"]
    # The receiver holds the order of the message's parts against DICOM's schema.
    parts = [etree.QName(child).localname for child in alerts[0]]
    order = ["EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification"]
    assert parts == sorted(parts, key=order.index)


def _act_on(model: type[Any], action: str, pk: Any, **more: str) -> Callable[[Client], Any]:
    url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    return lambda client: client.post(url, {"action": action, "_selected_action": [str(pk)], **more})


def _replay(client: Client) -> None:
    _act_on(InboundMessage, "replay", InboundMessage.objects.get().pk, reason="mended")(client)


def _factor(client: Client) -> None:
    user = User.objects.create_user("bo", password="a long enough one", is_staff=True)
    _act_on(User, "new_factor", user.pk)(client)


ACTIONS: dict[tuple[str, str], tuple[Callable[[Client], Any], str]] = {
    ("exchange.InboundMessage", "replay"): (_replay, "desk-page"),
    ("auth.User", "new_factor"): (_factor, "staff-act"),
    ("directory.Participant", "suspend"): (_act_on(Participant, "suspend", "org-clinic"), "desk-page"),
    ("directory.Participant", "reinstate"): (_act_on(Participant, "reinstate", "org-clinic"), "desk-page"),
}
"""Every action on the rows of a list, what is sent, and the kind of event: leading to another page is a page opened."""


def test_every_action_of_the_desk_is_known_here() -> None:
    found = {
        (model._meta.label, held.get_action(name)[1])
        for model, held in admin.site._registry.items()
        for name in held.actions or ()
    }
    assert found == set(ACTIONS)
    # Django's own, for who may delete rows of a list: of no list here.
    request = HttpRequest()
    request.user = User(username="boss", is_superuser=True, is_staff=True, is_active=True)
    request.user._staff_roles = frozenset(PAGES)  # type: ignore[attr-defined]
    offered = {model._meta.label for model, held in admin.site._registry.items() if "delete_selected" in held.get_actions(request)}  # fmt: skip
    assert offered == set()


@pytest.mark.parametrize("which", ACTIONS, ids=lambda which: " ".join(which))
def test_every_action_of_the_desk_leaves_an_event(
    everything: None, as_role: AsRole, which: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Accepts:
        def handle(self, raw: bytes, *, envelope: Any, message_id: Any) -> inbox.Handled:
            return inbox.Handled(accepted=True, reply=b"")

        def asks(self, kind: str) -> bool:
            return False

    monkeypatch.setitem(inbox._handlers, "hl7v2", Accepts())
    monkeypatch.setattr(inbox, "_decrypt", lambda row: b"")
    send, kind = ACTIONS[which]
    client = as_role("administrator", username="ida")
    before = events()
    send(client)
    assert kind in {one.kind for one in of_this(before, "ida")}


def test_no_file_of_the_desk_registers_a_site_of_its_own() -> None:
    """A second site, or a model shown elsewhere, would not be walked."""
    root = Path(__file__).parents[2]
    sites = [
        str(file.relative_to(root))
        for folder in ("hie", "patients", "documents", "consent")
        for file in (root / folder).rglob("*.py")
        if re.search(r"AdminSite\b", file.read_text(encoding="utf-8"))
    ]
    assert sites == ["hie/faces/backoffice/site.py"]
