"""Agreements and places that two people put into force.

The way back keeps who approved what: it stands behind the name of whoever proposed it ("ida and bo", as before), and the
way forward takes it from there again, for release policies too. Places go on the way back, and come again from the history.
"""

import django.db.models.deletion
from django.db import migrations, models

SPLIT = """
ALTER TABLE directory_releasepolicy DISABLE TRIGGER directory_releasepolicy_append_only;
UPDATE directory_releasepolicy SET recorded_by = split_part(recorded_by, ' and ', 1)
WHERE approved_by <> '' AND recorded_by LIKE '% and %';
ALTER TABLE directory_releasepolicy ENABLE TRIGGER directory_releasepolicy_append_only;
UPDATE directory_agreement
SET recorded_by = split_part(recorded_by, ' and ', 1), approved_by = split_part(recorded_by, ' and ', 2)
WHERE recorded_by LIKE '% and %';
"""
JOIN = """
ALTER TABLE directory_releasepolicy DISABLE TRIGGER directory_releasepolicy_append_only;
UPDATE directory_releasepolicy SET recorded_by = recorded_by || ' and ' || approved_by WHERE approved_by <> '';
ALTER TABLE directory_releasepolicy ENABLE TRIGGER directory_releasepolicy_append_only;
UPDATE directory_agreement SET recorded_by = recorded_by || ' and ' || approved_by WHERE approved_by <> '';
"""
PLACES = """
INSERT INTO directory_placement (participant_id, version, part_of, jurisdiction, recorded_at, recorded_by, approved_by)
SELECT c.participant_id, 0, coalesce(c.changed #>> '{placement,0,part_of}', ''),
    coalesce(c.changed #>> '{placement,0,jurisdiction}', ''), c.at, 'registration', ''
FROM directory_directorychange c JOIN directory_participant p ON p.id = c.participant_id
WHERE c.changed #>> '{placement_version,1}' = '1'
UNION ALL
SELECT c.participant_id, (c.changed #>> '{placement_version,1}')::int, coalesce(c.changed #>> '{placement,1,part_of}', ''),
    coalesce(c.changed #>> '{placement,1,jurisdiction}', ''), c.at, split_part(c.actor, ' and ', 1),
    split_part(c.actor, ' and ', 2)
FROM directory_directorychange c JOIN directory_participant p ON p.id = c.participant_id
WHERE c.changed ? 'placement_version'
ON CONFLICT DO NOTHING;
"""
GUARD = """
CREATE TRIGGER directory_placement_epoch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON directory_placement
    FOR EACH STATEMENT EXECUTE FUNCTION directory_epoch_trigger();
CREATE TRIGGER directory_placement_append_only BEFORE UPDATE OR DELETE ON directory_placement
    FOR EACH ROW EXECUTE FUNCTION directory_refuse_change();
CREATE TRIGGER directory_placement_no_truncate BEFORE TRUNCATE ON directory_placement
    FOR EACH STATEMENT EXECUTE FUNCTION directory_refuse_change();
CREATE TRIGGER directory_agreement_approved BEFORE UPDATE OR DELETE ON directory_agreement
    FOR EACH ROW WHEN (OLD.approved_by <> '') EXECUTE FUNCTION directory_refuse_change();
"""
UNGUARD = """
DROP TRIGGER directory_agreement_approved ON directory_agreement;
DROP TRIGGER directory_placement_no_truncate ON directory_placement;
DROP TRIGGER directory_placement_append_only ON directory_placement;
DROP TRIGGER directory_placement_epoch ON directory_placement;
"""
NOW = "SET CONSTRAINTS ALL IMMEDIATE"


class Migration(migrations.Migration):
    dependencies = [("directory", "0005_policy_instants")]
    operations = [
        migrations.AddField("agreement", "approved_by", models.TextField(blank=True, default="")),
        migrations.CreateModel(
            name="Placement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("part_of", models.TextField(blank=True, default="", help_text="Id of the organization above it")),
                ("jurisdiction", models.TextField(blank=True, default="")),
                ("recorded_at", models.DateTimeField(auto_now_add=True)),
                ("recorded_by", models.TextField(blank=True, default="")),
                ("approved_by", models.TextField(blank=True, default="")),
                (
                    "participant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="placements",
                        to="directory.participant",
                    ),
                ),
            ],
            options={
                "ordering": ["participant", "-version"],
                "constraints": [
                    models.UniqueConstraint(fields=("participant", "version"), name="directory_placement_version")
                ],
            },
        ),
        migrations.RunSQL(SPLIT, JOIN),
        migrations.RunSQL(PLACES, migrations.RunSQL.noop),
        # What is deferred is looked at before a trigger is made or a table altered.
        migrations.RunSQL(NOW, NOW),
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.RunSQL(NOW, NOW),
    ]
