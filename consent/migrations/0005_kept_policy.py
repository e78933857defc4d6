"""Policies as decisions were made by them, so that a record can be decided again."""

import django.utils.timezone
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION consent_refuse_policy_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a kept policy is never changed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER consent_kept_policy_append_only BEFORE UPDATE ON consent_keptpolicy
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_policy_change();
"""
BACKWARD = """
DROP TRIGGER consent_kept_policy_append_only ON consent_keptpolicy;
DROP FUNCTION consent_refuse_policy_change();
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0005_emergency_reviews")]
    operations = [
        migrations.CreateModel(
            name="KeptPolicy",
            fields=[
                ("digest", models.TextField(primary_key=True, serialize=False)),
                ("body", models.BinaryField()),
                ("kept_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"verbose_name_plural": "kept policies"},
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
