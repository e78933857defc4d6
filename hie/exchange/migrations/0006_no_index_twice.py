"""Remove the indexes that a unique constraint repeats: each answer wrote them up to three times."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchange", "0005_verdicts_are_not_told")]

    operations = [
        migrations.AlterField(
            model_name=model,
            name=name,
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name=related, to=to
            ),
        )
        for model, name, related, to in (
            ("querytarget", "query", "targets", "exchange.query"),
            ("queryevent", "query", "events", "exchange.query"),
            ("remotedocument", "target", "documents", "exchange.querytarget"),
        )
    ]
