"""Paths below `/my/`."""

from django.urls import URLPattern, URLResolver, path, re_path

from hie.faces.portal import choices, deaths, documents, emergencies, helpers, log, reading, signing, take_all
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
    path("documents", documents.show, name="documents"),
    path("documents/all.zip", take_all.save_all, name="save-all"),
    path("documents/<uuid:entry_id>", reading.show, name="document"),
    path("documents/<uuid:entry_id>/open", reading.open_, name="open"),
    path("documents/<uuid:entry_id>/part/<int:number>", reading.medium, name="medium"),
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
