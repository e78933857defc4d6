"""The FHIR face and the token service, and nothing else."""

from django.urls import include, path

from hie.trust import views

urlpatterns = [path("fhir", include("hie.faces.fhir.urls")), path("token", views.token)]
