"""Paths below `/my/`."""

from django.urls import URLPattern, URLResolver, path, re_path

from hie.faces.portal import accounting, choices, copies, deaths, documents, emergencies, helpers, log, proofs, signing
from hie.faces.portal.page import not_found

app_name = "portal"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", log.show, name="log"),
    path("sign-in", signing.sign_in, name="sign-in"),
    path("sign-in/code", signing.code, name="code"),
    path("sign-out", signing.sign_out, name="sign-out"),
    path("person", signing.act_for, name="person"),
    path("language", signing.language, name="language"),
    path("log.csv", copies.as_csv, name="csv"),
    path("log.json", copies.as_fhir, name="fhir"),
    path("accounting", accounting.show, name="accounting"),
    path("accounting.csv", accounting.as_csv, name="accounting-csv"),
    path("accounting.pdf", accounting.as_pdf, name="accounting-pdf"),
    path("log.pdf", copies.as_pdf, name="pdf"),
    path("log/<uuid:event_id>", log.show_line, name="line"),
    path("log/<uuid:event_id>/proof", proofs.show, name="proof"),
    path("log/<uuid:event_id>/proof.json", proofs.save, name="proof-file"),
    path("verifier", proofs.verifier, name="verifier"),
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
