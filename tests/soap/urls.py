"""The SOAP face, the FHIR face beside it and the token service, and nothing else."""

from django.urls import include, path

from hie.trust import views

urlpatterns = [
    path("xds/", include("hie.faces.soap.urls")),
    path("fhir", include("hie.faces.fhir.urls")),
    path("token", views.token),
]
