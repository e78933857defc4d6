from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "hie.faces.portal"
    label = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Announce who words the mails to patients."""
        from hie.exchange import patient_notices
        from hie.faces.portal.letters import Letters

        patient_notices.register_writer(Letters())
