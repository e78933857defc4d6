"""Messages are found by their control id, and the last of an organization without reading those of the others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchange", "0013_desk_tasks")]

    operations = [
        migrations.AddIndex(
            model_name="inboundmessage",
            index=models.Index(
                condition=models.Q(("control_id", ""), _negated=True),
                fields=["control_id", "-received_at"],
                name="exchange_inbound_control",
            ),
        ),
        migrations.AddIndex(
            model_name="inboundmessage",
            index=models.Index(fields=["participant_id", "-received_at"], name="exchange_inbound_of"),
        ),
    ]
