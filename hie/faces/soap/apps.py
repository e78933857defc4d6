from django.apps import AppConfig


class SoapConfig(AppConfig):
    name = "hie.faces.soap"
    label = "soap"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hie.exchange import inbox, self_test
        from hie.faces.soap.hl7v3 import rehearsal
        from hie.faces.soap.hl7v3.handler import PROTOCOL, Hl7v3Handler

        inbox.register(PROTOCOL, Hl7v3Handler())
        self_test.register(PROTOCOL, rehearsal.rehearse)
