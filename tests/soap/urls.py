"""The SOAP face, the FHIR face beside it and the token service, and nothing else."""

from django.urls import include, path

from hie.faces.soap import views
from hie.trust import views as trust

urlpatterns = [
    path("xds/", include("hie.faces.soap.urls")),
    path("pix", views.pix),
    path("fhir", include("hie.faces.fhir.urls")),
    path("token", trust.token),
]
