"""When a grant was taken away, and whose permission is an executor's; acts of a review cannot be emptied out either."""

from django.db import migrations, models

FORWARD = """
CREATE TRIGGER consent_emergency_act_no_truncate BEFORE TRUNCATE ON consent_emergencyact
    FOR EACH STATEMENT EXECUTE FUNCTION consent_refuse_act_change();
"""

BACKWARD = "DROP TRIGGER consent_emergency_act_no_truncate ON consent_emergencyact;"


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0006_policy_proposals"),
    ]

    operations = [
        migrations.AddField(
            model_name="breakglassgrant",
            name="revoked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="proxygrant",
            name="executor",
            field=models.BooleanField(default=False),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
