"""Every door of the hub; with `hie/celery.py` the only place that knows every face."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from hie.faces.portal import figures
from hie.faces.rest import checkpoints
from hie.faces.soap import views as soap
from hie.trust.views import authorization_server_metadata

urlpatterns: list[URLPattern | URLResolver] = [
    path("fhir", include("hie.faces.fhir.urls")),
    path("xds/", include("hie.faces.soap.urls")),
    path("pix", soap.pix, name="pix"),
    path("oauth/", include("hie.trust.urls")),
    path(".well-known/oauth-authorization-server", authorization_server_metadata),
    path("api/", include("hie.faces.rest.urls")),
    path("checkpoints", checkpoints.listed, name="checkpoints"),
    re_path(r"^checkpoints/(?P<size>[0-9]+|latest)$", checkpoints.one, name="checkpoint"),
    path("consent/", include("hie.faces.decisions.urls")),
    path("figures", RedirectView.as_view(url="/figures/")),
    path("figures/", figures.show, name="public-figures"),
    path("my", RedirectView.as_view(url="/my/")),
    path("my/", include("hie.faces.portal.urls")),
    path("join", RedirectView.as_view(url="/join/")),
    path("join/", include("hie.faces.backoffice.join")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("", include("hie.ops.urls")),
]
