from django.apps import AppConfig


class FhirConfig(AppConfig):
    name = "hie.faces.fhir"
    label = "fhir"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Hand the exchange what only this face knows: how to ask over FHIR, and how documents are written in it."""
        from hie.exchange import notices, remote_documents, remotes
        from hie.faces.fhir import client, notify, remote

        remote_documents.register_rendering(remote.Rendering())
        remotes.register("fhir", client.FhirCommunity())
        notices.register_channel("subscription", notify.Notifications())
