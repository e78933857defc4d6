"""Paths below `/consent/`."""

from django.urls import URLPattern, URLResolver, path, re_path

from hie.faces.decisions import cds_hooks, xacml
from hie.faces.decisions.http import unknown

urlpatterns: list[URLPattern | URLResolver] = [
    path("cds-services", cds_hooks.discovery, name="cds-services"),
    path(f"cds-services/{cds_hooks.SERVICE}", cds_hooks.consult, name="cds-consult"),
    path("xacml", xacml.decide, name="xacml"),
    re_path(r"^.*$", unknown),
]
