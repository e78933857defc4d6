"""The look of /admin/: colours of the design tokens, the side bar, names. Imported by `hie.settings`.

Links and rights are asked at each request; a place in the side bar that its reader may not open is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.functional import lazy


@cache
def _address(name: str, *arguments: str) -> str:
    """Where a page lies: looked up once, as each page of the desk names them all."""
    return reverse(name, args=arguments)


_place: Any = lazy(_address, str)
"""As `reverse_lazy`."""


def unfold(site_title: str) -> dict[str, Any]:
    """The value of ``UNFOLD`` for a hub of this name."""
    return {
        "SITE_TITLE": site_title,
        "SITE_HEADER": site_title,
        "SITE_SUBHEADER": "Desk",
        "SITE_SYMBOL": "hub",
        "SITE_URL": None,
        "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _file("backoffice/icon.svg")}],
        "SHOW_HISTORY": False,
        "SHOW_VIEW_ON_SITE": False,
        "SHOW_BACK_BUTTON": False,
        "STYLES": [
            _file("ui/tokens.css"),
            _file("backoffice/unfold.css"),
            _file("backoffice/desk.css"),
            _file("backoffice/ending.css"),
        ],
        "SCRIPTS": [_file("backoffice/names.js")],
        "DASHBOARD_CALLBACK": "hie.faces.backoffice.home.dashboard",
        "BORDER_RADIUS": "10px",
        "COLORS": COLORS,
        "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": NAVIGATION},
    }


def _file(name: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(name)


def _list(title: str, icon: str, model: str, query: str = "") -> dict[str, Any]:
    """A link to the list of `model` ("app.name") for who may view it; `query` narrows the list."""
    app, _, name = model.partition(".")
    link: Any = _place(f"admin:{app}_{name}_changelist")
    if query:
        # unfold takes a callable as well as a string.
        link = _narrowed(f"admin:{app}_{name}_changelist", query)

    def may(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{name}")

    return {"title": title, "icon": icon, "link": link, "permission": may}


def _narrowed(name: str, query: str) -> Callable[[HttpRequest], str]:
    return lambda request: f"{reverse(name)}?{query}"


def _in_persons(request: HttpRequest) -> bool:
    """Among the persons, but not where one is looked for: that is a place of its own."""
    find = reverse("admin:patients_person_find")
    return request.path.startswith(reverse("admin:patients_person_changelist")) and request.path != find


def _board(title: str, icon: str, name: str, right: str) -> dict[str, Any]:
    """A link to a dashboard for who may see it."""
    link = _place(f"admin:{name}")
    return {
        "title": title,
        "icon": icon,
        "link": link,
        "permission": lambda request: request.user.has_perm(f"audit.{right}"),
        "active": lambda request: request.path == link,
    }


NAVIGATION: list[dict[str, Any]] = [
    {
        "title": "Work",
        "items": [
            {"title": "Tasks", "icon": "task_alt", "link": _place("admin:index")},
            {"title": "Search", "icon": "search", "link": _place("admin:find")},
        ],
    },
    {
        "title": "People",
        "items": [
            {**_list("Persons", "person", "patients.person"), "active": _in_persons},
            _list("Source records", "badge", "patients.sourcerecord"),
            _list("Review queue", "compare_arrows", "patients.reviewitem"),
            {
                **_list("Find a person", "person_search", "patients.person"),
                "link": _place("admin:patients_person_find"),
            },
            _list("Identity events", "history", "patients.identityevent"),
            _list("Decisions", "rule", "patients.matchdecision"),
            _list("Imports", "upload", "patients.importrun"),
        ],
    },
    {
        "title": "Documents",
        "items": [
            _list("Documents", "description", "documents.documententry"),
            _list("Doubtful documents", "quick_reference_all", "documents.reviewitem"),
            _list("Submissions", "inventory_2", "documents.submissionset"),
            _list("Folders", "folder", "documents.folder"),
        ],
    },
    {
        "title": "Consent",
        "items": [
            _list("Choices of patients", "fact_check", "consent.consent"),
            _list("Emergency access", "warning", "consent.emergencyreview"),
            _list("Concerns", "contact_support", "exchange.concern"),
            _list("Emergency grants", "emergency", "consent.breakglassgrant"),
            _list("Helpers", "group", "consent.proxygrant"),
            _list("Codes for patients", "vpn_key", "trust.activationcode"),
            {
                **_list("Name a helper", "group_add", "consent.proxygrant"),
                "link": _place("admin:consent_proxygrant_give"),
            },
            _list("Law of each place", "gavel", "consent.jurisdiction"),
            _list("Code tables", "table", "consent.codetable"),
            _list("Changes of policy", "rule", "consent.policyproposal"),
            _list("How long things are kept", "auto_delete", "consent.retentionrun"),
            _list("Legal holds", "gavel", "consent.legalhold"),
            _list("Release policies", "policy", "directory.releasepolicy"),
            _list("Places of organizations", "account_tree", "directory.placement"),
            _list("Public holidays", "event", "directory.publicholiday"),
        ],
    },
    {
        "title": "Exchange",
        "items": [
            _list("Participants", "apartment", "directory.participant"),
            _list("Onboarding", "person_add", "directory.onboarding"),
            {
                **_list("Invite an organization", "add_business", "directory.onboarding"),
                "link": _place("admin:directory_onboarding_invite"),
            },
            _list("Agreements", "handshake", "directory.agreement"),
            _list("Endpoints", "lan", "directory.endpoint"),
            _list("Keys", "key", "directory.clientkey"),
            _list("Certificates", "verified_user", "directory.certificate"),
            _list("Changes", "manage_history", "directory.directorychange"),
            _list("Codes", "sell", "terminology.codeset"),
            {
                **_list("Codes without a mapping", "label_off", "terminology.codeset"),
                "link": _place("admin:desk_tasks", "codes"),
            },
        ],
    },
    {
        "title": "Traffic",
        "items": [
            _list("Questions to others", "travel_explore", "exchange.query"),
            _list("Documents of others", "move_to_inbox", "exchange.remotedocument"),
            _list("Messages", "mail", "exchange.inboundmessage"),
            _list("Notices", "notifications", "outbox.outboxmessage"),
        ],
    },
    {
        "title": "Figures",
        "items": [
            _board("Exchange", "monitoring", "figures", "see_exchange"),
            _board("Answers and refusals", "hourglass", "figures_answers", "see_queries"),
            _board("Matching", "join_inner", "figures_matching", "see_matching"),
            _board("Choices", "how_to_vote", "figures_choices", "see_choices"),
            _board("Completeness", "checklist", "figures_feeds", "see_feeds"),
            {
                "title": "Public page",
                "icon": "public",
                "link": _place("public-figures"),
                "permission": lambda request: request.user.has_perm("audit.see_exchange"),
                # It is outside the desk; its short address is part of those of the dashboards.
                "active": lambda request: False,
            },
        ],
    },
    {
        "title": "Audit",
        "items": [
            _list("Events", "visibility", "audit.auditevent"),
            _list("Disclosures", "output", "audit.disclosure"),
            _list("Seals", "lock", "audit.auditseal"),
            _list("Checkpoints", "flag", "audit.checkpoint"),
        ],
    },
    {
        "title": "Staff",
        "items": [
            {"title": "My account", "icon": "account_circle", "link": _place("admin:my_account")},
            _list("Staff", "shield_person", "auth.user"),
            _list("Second employers", "work", "trust.staffaffiliation"),
        ],
    },
]

COLORS: dict[str, dict[str, str]] = {
    "primary": {
        "50": "#eef6f6", "100": "#d9ebeb", "200": "#b7d9dc", "300": "#84ccd4", "400": "#4f9aa5", "500": "#24788a",
        "600": "#0b5966", "700": "#094c57", "800": "#073f49", "900": "#06333b", "950": "#06262b",
    },
    "base": {
        "50": "#f3f7f6", "100": "#e7efed", "200": "#cfdbd9", "300": "#adc0c1", "400": "#8fa4a6", "500": "#5f7578",
        "600": "#465b5f", "700": "#2c4248", "800": "#1d3136", "900": "#16262a", "950": "#0f1b1e",
    },
    "font": {
        "subtle-light": "#465b5f", "subtle-dark": "#adc0c1", "default-light": "#14272b", "default-dark": "#e9f1f0",
        "important-light": "#14272b", "important-dark": "#ffffff",
    },
}  # fmt: skip
