from django.apps import AppConfig


class Hl7v2Config(AppConfig):
    name = "hie.faces.hl7v2"
    label = "hl7v2"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hie.exchange import inbox, notices, self_test
        from hie.faces.hl7v2 import notify, rehearsal
        from hie.faces.hl7v2.handler import PROTOCOL, Hl7v2Handler

        inbox.register(PROTOCOL, Hl7v2Handler())
        self_test.register("hl7v2", rehearsal.rehearse)
        notices.register_channel("mllp", notify.Notifications())
