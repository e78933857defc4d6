"""For whom an assertion got a token, so that it can stand for signing in again; and whom staff work for besides."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trust", "0002_accounts")]
    operations = [
        migrations.AddField("usedassertion", "user_id", models.TextField(blank=True, default="", db_default="")),
        migrations.AddField("usedassertion", "accepted_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("usedassertion", "stepped_up_at", models.DateTimeField(blank=True, null=True)),
        migrations.CreateModel(
            name="StaffAffiliation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("username", models.TextField(help_text="As the account of the desk is called")),
                ("organization", models.TextField(help_text="Id of the participant")),
            ],
            options={
                "verbose_name": "second employer",
                "constraints": [
                    models.UniqueConstraint(fields=("username", "organization"), name="trust_staff_affiliation_once")
                ],
            },
        ),
    ]
