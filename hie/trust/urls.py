"""The token service; mounted at ``oauth/``."""

from __future__ import annotations

from django.urls import path

from hie.trust import views

urlpatterns = [
    path("token", views.token, name="oauth-token"),
    path("introspect", views.introspect, name="oauth-introspect"),
    path("jwks", views.jwks, name="oauth-jwks"),
]
