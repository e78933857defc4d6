"""Who stands behind each directive; for those in store it is read from the actor of their current version."""

from django.db import migrations, models

from hie.standards import fhir

FILL = """
UPDATE consent_consent c SET
    filed_by = CASE WHEN v.action <> 'import' AND position('|' in v.actor) > 0
        AND split_part(v.actor, '|', 2) NOT LIKE 'Patient/%' AND split_part(v.actor, '|', 2) NOT LIKE 'RelatedPerson/%'
        THEN split_part(v.actor, '|', 1) ELSE '' END,
    capacity = CASE WHEN v.action = 'import' OR position('|' in v.actor) = 0 THEN 'import'
        WHEN split_part(v.actor, '|', 2) LIKE 'Patient/%' THEN 'patient'
        WHEN split_part(v.actor, '|', 2) LIKE 'RelatedPerson/%' THEN 'proxy'
        ELSE 'participant' END
FROM consent_consentversion v WHERE v.consent_id = c.id AND v.version = c.version
"""

CAPACITIES = [(one, one) for one in ("participant", "patient", "proxy", "staff", "import")]


class Migration(migrations.Migration):
    dependencies = [("consent", "0002_append_only_and_epochs")]
    operations = [
        migrations.AddField("consent", "capacity", models.TextField(choices=CAPACITIES, default="import")),
        migrations.AddField("consent", "filed_by", models.TextField(blank=True, default=""), preserve_default=False),
        migrations.AddField(
            "consentversion", "capacity", models.TextField(blank=True, default=""), preserve_default=False
        ),
        migrations.AddField(
            "consentversion", "evidence", models.TextField(blank=True, default=""), preserve_default=False
        ),
        *(
            migrations.AlterField(model, "resource", models.JSONField(encoder=fhir.Encoder, decoder=fhir.Decoder))
            for model in ("consent", "consentversion")
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
