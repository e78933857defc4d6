"""Who stands behind accounts of the desk, and what was done to each by whom: never changed or removed."""

import django.utils.timezone
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION trust_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was done to an account is never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER trust_staffaccountact_append_only BEFORE UPDATE OR DELETE ON trust_staffaccountact
    FOR EACH ROW EXECUTE FUNCTION trust_refuse_change();
CREATE TRIGGER trust_staffaccountact_no_truncate BEFORE TRUNCATE ON trust_staffaccountact
    FOR EACH STATEMENT EXECUTE FUNCTION trust_refuse_change();
"""
BACKWARD = """
DROP TRIGGER trust_staffaccountact_no_truncate ON trust_staffaccountact;
DROP TRIGGER trust_staffaccountact_append_only ON trust_staffaccountact;
DROP FUNCTION trust_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("trust", "0004_step_up_organization")]
    operations = [
        migrations.CreateModel(
            name="StaffPerson",
            fields=[
                (
                    "account",
                    models.BigIntegerField(
                        help_text="Primary key of the account", primary_key=True, serialize=False
                    ),
                ),
                ("staff_number", models.TextField(help_text="As the exchange's personnel office counts its people")),
            ],
            options={
                "verbose_name": "person behind an account",
                "verbose_name_plural": "persons behind accounts",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("staff_number", ""), _negated=True), name="trust_staff_person_number_said"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StaffAccountAct",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("account", models.BigIntegerField(help_text="Primary key of the account")),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("created", "made"),
                            ("password", "password set"),
                            ("second-factor", "second factor set"),
                            ("roles", "rights changed"),
                            ("person", "person changed"),
                        ]
                    ),
                ),
                ("by", models.BigIntegerField(blank=True, null=True)),
                ("by_name", models.TextField(blank=True, default="")),
                ("changed", models.JSONField(default=dict, help_text="member: [before, after]")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "ordering": ["-at", "-pk"],
                "indexes": [models.Index(fields=["account", "at"], name="trust_staff_account_act")],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
