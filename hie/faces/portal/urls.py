"""Paths below `/my/`."""

from django.urls import URLPattern, URLResolver, path, re_path

from hie.faces.portal import choices, concerns, deaths, documents, emergencies, helpers, log, notices, signing
from hie.faces.portal.page import not_found

app_name = "portal"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", log.show, name="log"),
    path("sign-in", signing.sign_in, name="sign-in"),
    path("sign-in/code", signing.code, name="code"),
    path("sign-out", signing.sign_out, name="sign-out"),
    path("person", signing.act_for, name="person"),
    path("language", signing.language, name="language"),
    path("log.csv", log.as_csv, name="csv"),
    path("log.json", log.as_fhir, name="fhir"),
    path("log/<uuid:event_id>", log.show_line, name="line"),
    path("log/<uuid:event_id>/concern", concerns.new, name="concern-new"),
    path("concerns", concerns.show, name="concerns"),
    path("concerns/<str:number>", concerns.one, name="concern"),
    path("concerns/<str:number>/say", concerns.say, name="concern-say"),
    path("notices", notices.show, name="notices"),
    path("notices/choose", notices.choose, name="notices-choose"),
    path("notices/read", notices.read, name="notices-read"),
    path("notices/address/<str:token>", notices.address, name="notice-address"),
    path("notices/end/<str:token>", notices.unsubscribe, name="notice-unsubscribe"),
    path("documents", documents.show, name="documents"),
    path("documents/<uuid:entry_id>/file", documents.save, name="save"),
    path("documents/<uuid:entry_id>/who", documents.who, name="who"),
    path("consent/", choices.show, name="choices"),
    path("consent/check", choices.check, name="choices-check"),
    path("consent/save", choices.save, name="choices-save"),
    path("consent/history", choices.past, name="choices-past"),
    path("emergencies", emergencies.show, name="emergencies"),
    path("emergencies/<int:number>/object", emergencies.object_to, name="object"),
    path("helpers", helpers.show, name="helpers"),
    path("helpers/code", helpers.code, name="helper-code"),
    path("helpers/name", helpers.name, name="helper-name"),
    path("helpers/<uuid:grant_id>/end", helpers.end, name="helper-end"),
    path("alive", deaths.object_to, name="alive"),
    path("help", log.help_page, name="help"),
    re_path(r"^(?P<path>.+)$", not_found),
]
