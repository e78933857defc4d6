"""Paths below `/api/`."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny

from hie.faces.rest import activation, audit, break_glass, concerns, decisions, figures, identities, imports, queries

urlpatterns = [
    path(
        "schema",
        SpectacularAPIView.as_view(authentication_classes=[], permission_classes=[AllowAny]),
        name="api-schema",
    ),
    path("queries", queries.Queries.as_view(), name="api-queries"),
    path("queries/<uuid:query_id>", queries.OneQuery.as_view(), name="api-query"),
    path("queries/<uuid:query_id>/events", queries.events, name="api-query-events"),
    path("patients/activation-codes", activation.Codes.as_view(), name="api-activation-codes"),
    path("patients/imports", imports.Imports.as_view(), name="api-imports"),
    path("patients/imports/<uuid:import_id>", imports.OneImport.as_view(), name="api-import"),
    path("patients/imports/<uuid:import_id>/links", imports.ImportLines.as_view(), name="api-import-links"),
    path(
        "patients/imports/<uuid:import_id>/refused",
        imports.ImportLines.as_view(refused=True),
        name="api-import-refused",
    ),
    path("identities/merges", identities.Merges.as_view(), name="api-identity-merges"),
    path("identities/unmerges", identities.Unmerges.as_view(), name="api-identity-unmerges"),
    path("identities/links", identities.Links.as_view(), name="api-identity-links"),
    path("identities/unlinks", identities.Unlinks.as_view(), name="api-identity-unlinks"),
    path("identities/splits", identities.Splits.as_view(), name="api-identity-splits"),
    path("identities/events/<uuid:event_id>/undo", identities.Undo.as_view(), name="api-identity-undo"),
    path("identities/history", identities.History.as_view(), name="api-identity-history"),
    path("break-glass", break_glass.BreakGlass.as_view(), name="api-break-glass"),
    path("break-glass/leaves", break_glass.Leaves.as_view(), name="api-break-glass-leaves"),
    path("break-glass/cases", break_glass.Cases.as_view(), name="api-break-glass-cases"),
    path("break-glass/cases/<uuid:grant_id>/answer", break_glass.Answer.as_view(), name="api-break-glass-answer"),
    path("concerns", concerns.Concerns.as_view(), name="api-concerns"),
    path("concerns/<str:number>/answer", concerns.Answer.as_view(), name="api-concern-answer"),
    path("participants/self/figures", figures.Own.as_view(), name="api-own-figures"),
    path("audit/<uuid:event_id>/proof", audit.Proof.as_view(), name="api-audit-proof"),
    path("decisions/<uuid:decision_id>/explain", decisions.Explain.as_view(), name="api-decision-explain"),
    path("documents/<uuid:document_id>/who-could-see", decisions.WhoCouldSee.as_view(), name="api-who-could-see"),
    re_path(r"^.*$", queries.unknown),
]
