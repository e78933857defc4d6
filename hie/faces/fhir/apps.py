from django.apps import AppConfig


class FhirConfig(AppConfig):
    name = "hie.faces.fhir"
    label = "fhir"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Hand the exchange what only this face knows: how to ask over FHIR, and how documents are written in it."""
        from hie.exchange import notices, remote_documents, remotes, self_test
        from hie.faces.fhir import client, notify, rehearsal, remote

        remote_documents.register_rendering(remote.Rendering())
        remotes.register("fhir", client.FhirCommunity())
        self_test.register("patient", rehearsal.patient)
        self_test.register("bundle", rehearsal.bundle)
        notices.register_channel("subscription", notify.Notifications())
