"""Mounted at ``/xds/``."""

from django.urls import path

from hie.faces.soap import views

urlpatterns = [
    path("registry", views.registry, name="xds-registry"),
    path("repository", views.repository, name="xds-repository"),
    path("schema/<path:path>", views.schema, name="xds-schema"),
]
