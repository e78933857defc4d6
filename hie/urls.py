"""Every door of the hub; with `hie/celery.py` the only place that knows every face."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("fhir", include("hie.faces.fhir.urls")),
    path("oauth/", include("hie.trust.urls")),
    path("api/", include("hie.faces.rest.urls")),
    path("my/", include("hie.faces.portal.urls")),
    path("admin/", admin.site.urls),
    path("", include("hie.ops.urls")),
]
