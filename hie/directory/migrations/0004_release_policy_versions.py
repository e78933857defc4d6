"""Release policies as versions with the instant from which they count; what organizations registered with is the first."""

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
CREATE TRIGGER directory_releasepolicy_epoch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON directory_releasepolicy
    FOR EACH STATEMENT EXECUTE FUNCTION directory_epoch_trigger();
"""
BACKWARD = "DROP TRIGGER directory_releasepolicy_epoch ON directory_releasepolicy;"
FILL = """
INSERT INTO directory_releasepolicy (participant_id, version, rules, effective_from, recorded_at, recorded_by)
SELECT id, 1, release_policy, registered_at, now(), 'registration' FROM directory_participant
WHERE release_policy <> '[]'::jsonb
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("directory", "0003_participant_source_trust")]
    operations = [
        migrations.CreateModel(
            name="ReleasePolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("rules", models.JSONField(default=list)),
                ("effective_from", models.DateTimeField()),
                ("recorded_at", models.DateTimeField(auto_now_add=True)),
                ("recorded_by", models.TextField(blank=True, default="")),
                (
                    "participant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="release_policies",
                        to="directory.participant",
                    ),
                ),
            ],
            options={
                "ordering": ["participant", "-version"],
                "verbose_name_plural": "release policies",
                "constraints": [
                    models.UniqueConstraint(fields=("participant", "version"), name="directory_release_policy_version")
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
