"""Store a record's refining fields beside each of its blocking keys, in place of a second, finer key for each.

Half the rows, and a large block is split in real time as far as it is in bulk. The keys are worked out anew from what
is stored of each record.
"""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from patients import blocking
from patients.normalise import Features

_RECORDS = """
SELECT r.id, v.normalised FROM patients_sourcerecord r JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
 WHERE r.status = 'active' AND r.id > %s ORDER BY r.id LIMIT 10000
"""


def fill(apps: Any, schema_editor: Any) -> None:
    """The keys of every active record, ten thousand records at a time."""
    last = 0
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(_RECORDS, [last])
            rows = cursor.fetchall()
            if not rows:
                return
            last = rows[-1][0]
            with cursor.copy("COPY patients_blockingkey (key, finer, record_id) FROM STDIN") as copy:
                for record_id, normalised in rows:
                    record = Features.read(normalised)
                    finer = blocking.refinement(record)
                    for key in blocking.hashes(record):
                        copy.write_row((key, finer, record_id))


class Migration(migrations.Migration):
    dependencies = [("patients", "0007_no_index_twice")]

    operations = [
        migrations.DeleteModel("BlockingKey"),
        migrations.CreateModel(
            name="BlockingKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "key", "finer", "record_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.BigIntegerField()),
                ("finer", models.BigIntegerField()),
                (
                    "record",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="patients.sourcerecord",
                    ),
                ),
            ],
        ),
        migrations.RunPython(fill),
    ]
