"""Figures rolled up, how far each source is counted, and the months that were published.

Nothing is counted here: the task counts from the beginning of the log in batches, and can be stopped at any of them.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_proofs_and_search")]
    operations = [
        migrations.CreateModel(
            name="Figure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.TextField()),
                ("day", models.DateField()),
                ("participant", models.TextField(blank=True, default="")),
                ("purpose", models.TextField(blank=True, default="")),
                ("what", models.TextField(blank=True, default="")),
                ("other", models.TextField(blank=True, default="")),
                ("n", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(default=0)),
                ("people", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
            ],
            options={
                "db_table": "audit_figure",
                "default_permissions": (),
                "permissions": [
                    ("see_exchange", "Can see figures of the exchange"),
                    ("see_queries", "Can see figures of answers and refusals"),
                    ("see_matching", "Can see figures of matching"),
                    ("see_choices", "Can see figures of patients' choices"),
                    ("see_feeds", "Can see how complete and timely participants are"),
                    ("see_participants", "Can see figures of one participant"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subject", "day", "participant", "purpose", "what", "other"), name="audit_figure_cell"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FigureMark",
            fields=[
                ("source", models.TextField(primary_key=True, serialize=False)),
                ("counted", models.BigIntegerField(default=0)),
                ("seen", models.BigIntegerField(null=True)),
                ("horizon", models.BigIntegerField(null=True)),
                ("seen_at", models.DateTimeField(null=True)),
                ("counted_at", models.DateTimeField(null=True)),
            ],
            options={"db_table": "audit_figure_mark", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="PublishedMonth",
            fields=[
                ("month", models.DateField(primary_key=True, serialize=False)),
                ("body", models.JSONField()),
                ("published_at", models.DateTimeField()),
            ],
            options={"db_table": "audit_published_month", "default_permissions": (), "ordering": ["-month"]},
        ),
    ]
