"""Which labelling rules were applied to each entry, and the runs that go over entries when rules change.

Entries registered before have no rules named: the first run goes over them all.
"""

from __future__ import annotations

import django.utils.timezone
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the index is made while documents are registered

    dependencies = [("documents", "0002_identifiers_and_revisions")]

    operations = [
        migrations.AddField(
            model_name="documententry",
            name="labelled_under",
            field=models.TextField(default="", help_text="the labelling rules that were last applied, by digest"),
        ),
        AddIndexConcurrently(
            model_name="documententry",
            index=models.Index(fields=["labelled_under", "id"], name="documents_entry_labelled_under"),
        ),
        migrations.CreateModel(
            name="LabelRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rules", models.TextField(help_text="digest of the rules applied")),
                ("rules_version", models.TextField(blank=True)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "superseded",
                    models.BooleanField(default=False, help_text="the rules changed again before it was through"),
                ),
                ("last_rules", models.TextField(blank=True, default="")),
                ("last_entry", models.BigIntegerField(default=0)),
                ("looked_at", models.BigIntegerField(default=0)),
                ("raised", models.BigIntegerField(default=0)),
                (
                    "unread",
                    models.BigIntegerField(
                        default=0, help_text="documents whose bytes could not be read; they keep their labels"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="labelrun",
            constraint=models.UniqueConstraint(
                models.F("superseded"), condition=models.Q(finished_at__isnull=True), name="documents_label_run_open"
            ),
        ),
    ]
