"""How long things are kept, as versions; legal holds; and a record of what was removed.

On the way back the terms and holds are lost, and nothing is removed by them any more; proposals of these kinds stay as rows.
"""

import uuid

import django.contrib.postgres.fields
import django.utils.timezone
from django.db import migrations, models

FORWARD = """
CREATE TRIGGER consent_retentionrule_append_only BEFORE UPDATE OR DELETE ON consent_retentionrule
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_version_change();
CREATE TRIGGER consent_retentionrule_no_truncate BEFORE TRUNCATE ON consent_retentionrule
    FOR EACH STATEMENT EXECUTE FUNCTION consent_refuse_version_change();
CREATE FUNCTION consent_refuse_other_hold() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lifted text[] := ARRAY['lifted_at', 'lifted_by', 'lifted_reason'];
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'legal holds are never removed' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.lifted_at IS NOT NULL OR to_jsonb(OLD) - lifted IS DISTINCT FROM to_jsonb(NEW) - lifted THEN
        RAISE EXCEPTION 'a legal hold is never changed, and lifted once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER consent_legalhold_as_placed BEFORE UPDATE OR DELETE ON consent_legalhold
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_other_hold();
CREATE TRIGGER consent_legalhold_no_truncate BEFORE TRUNCATE ON consent_legalhold
    FOR EACH STATEMENT EXECUTE FUNCTION consent_refuse_other_hold();
"""
BACKWARD = """
DROP TRIGGER consent_legalhold_no_truncate ON consent_legalhold;
DROP TRIGGER consent_legalhold_as_placed ON consent_legalhold;
DROP FUNCTION consent_refuse_other_hold();
DROP TRIGGER consent_retentionrule_no_truncate ON consent_retentionrule;
DROP TRIGGER consent_retentionrule_append_only ON consent_retentionrule;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0010_what_organizations_propose")]
    operations = [
        migrations.CreateModel(
            name="RetentionRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("part", models.TextField()),
                ("version", models.PositiveIntegerField()),
                ("body", models.JSONField()),
                ("effective_from", models.DateTimeField(default=django.utils.timezone.now)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "time that something is kept",
                "verbose_name_plural": "times that things are kept",
                "constraints": [
                    models.UniqueConstraint(fields=("part", "version"), name="consent_retention_rule_version")
                ],
            },
        ),
        migrations.CreateModel(
            name="LegalHold",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.TextField(
                        choices=[("person", "Person"), ("document", "Document"), ("organization", "Organization")]
                    ),
                ),
                ("subject", models.TextField()),
                (
                    "identifiers",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                ("reason", models.TextField()),
                ("placed_by", models.TextField()),
                ("placed_account", models.BigIntegerField(blank=True, null=True)),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("lifted_at", models.DateTimeField(blank=True, null=True)),
                ("lifted_by", models.TextField(blank=True, default="")),
                ("lifted_reason", models.TextField(blank=True, default="")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("lifted_at__isnull", True)),
                        fields=("kind", "subject"),
                        name="consent_legal_hold_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lifted_at__isnull", True), ("lifted_by", "")),
                            models.Q(("lifted_by", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="consent_legal_hold_lifted_by",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RetentionRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("part", models.TextField()),
                ("rule_version", models.PositiveIntegerField()),
                ("days", models.PositiveIntegerField()),
                ("ended_before", models.DateTimeField()),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("after", models.JSONField(blank=True, null=True)),
                ("announced", models.JSONField(blank=True, default=list)),
                ("removed", models.BigIntegerField(default=0)),
                ("held", models.BigIntegerField(default=0)),
                ("first_at", models.DateTimeField(blank=True, null=True)),
                ("last_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "removal",
                "ordering": ["-started_at", "-pk"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=("part",),
                        name="consent_retention_run_one_open",
                    )
                ],
                "indexes": [models.Index(fields=["part", "-started_at"], name="consent_retention_run_part")],
            },
        ),
        migrations.AlterField(
            model_name="policyproposal",
            name="kind",
            field=models.TextField(
                choices=[
                    ("jurisdiction", "law of a place"),
                    ("code-table", "code table"),
                    ("release-policy", "release policy of an organization"),
                    ("agreement", "agreement of an organization"),
                    ("placement", "place and law of an organization"),
                    ("reinstatement", "end of an organization's suspension"),
                    ("retention", "time that something is kept"),
                    ("hold", "end of a legal hold"),
                ]
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
