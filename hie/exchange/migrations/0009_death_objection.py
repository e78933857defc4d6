"""Who signed in as a patient that the record says is dead, and says she lives."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0008_flags_raise"),
        ("patients", "0010_parting_reviews"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeathObjection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("said", models.TextField(blank=True)),
                ("at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("closed_by", models.TextField(blank=True, default="")),
                ("closed_reason", models.TextField(blank=True, default="")),
                (
                    "identifier",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="patients.patientidentifier"
                    ),
                ),
            ],
            options={
                "verbose_name": "objection to a death",
                "verbose_name_plural": "objections to a death",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("identifier",),
                        name="exchange_death_objection_once",
                    )
                ],
            },
        ),
    ]
