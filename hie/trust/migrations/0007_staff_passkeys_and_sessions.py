"""Passkeys and sessions are of the portal's accounts or of the desk's. On the way back those of the desk are gone."""

import django.db.models.deletion
from django.db import migrations, models

BACKWARD = """
DELETE FROM trust_passkey WHERE account_id IS NULL;
DELETE FROM trust_signedin WHERE account_id IS NULL;
"""


def one_owner(name):
    return models.CheckConstraint(
        condition=models.Q(("account__isnull", True), ("staff__isnull", True), _connector="XOR"), name=name
    )


class Migration(migrations.Migration):
    dependencies = [("trust", "0006_getting_in")]
    operations = [
        migrations.AddField(
            model_name="passkey",
            name="staff",
            field=models.BigIntegerField(
                blank=True, help_text="Primary key of the account of the desk", null=True
            ),
        ),
        migrations.AddField(
            model_name="signedin",
            name="staff",
            field=models.BigIntegerField(
                blank=True, help_text="Primary key of the account of the desk", null=True
            ),
        ),
        migrations.AlterField(
            model_name="passkey",
            name="account",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="passkeys",
                to="trust.patientaccount",
            ),
        ),
        migrations.AlterField(
            model_name="signedin",
            name="account",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="sessions",
                to="trust.patientaccount",
            ),
        ),
        # What is deferred is looked at before the tables are altered.
        migrations.RunSQL(migrations.RunSQL.noop, BACKWARD + "SET CONSTRAINTS ALL IMMEDIATE"),
        migrations.AddIndex(model_name="passkey", index=models.Index(fields=["staff"], name="trust_passkey_staff")),
        migrations.AddIndex(
            model_name="signedin", index=models.Index(fields=["staff", "-seen_at"], name="trust_signed_in_staff")
        ),
        migrations.AddConstraint(model_name="passkey", constraint=one_owner("trust_passkey_one_owner")),
        migrations.AddConstraint(model_name="signedin", constraint=one_owner("trust_signed_in_one_owner")),
    ]
