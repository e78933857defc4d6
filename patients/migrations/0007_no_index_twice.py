"""Keep of the index's indexes what is asked: each record of an import wrote seven that nothing reads.

Gone are those that a unique constraint begins with, records by participant (nothing looks them up so) and by current
version (a version names its record). Who is merged, replaced or the other side of a merge are few: their indexes hold
only them.
"""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

PROTECT = django.db.models.deletion.PROTECT


class Migration(migrations.Migration):
    dependencies = [("patients", "0006_survivorship_grades")]

    operations = [
        *(
            migrations.AlterField(
                model_name=model,
                name=name,
                field=models.ForeignKey(
                    to=to, related_name=related, on_delete=PROTECT, null=null, blank=null, db_index=False
                ),
            )
            for model, name, to, related, null in (
                ("identityevent", "other_person", "patients.person", "+", True),
                ("person", "merged_into", "patients.person", "merged_from", True),
                ("reviewclosure", "item", "patients.reviewitem", "closures", False),
                ("sourcerecord", "current_version", "patients.sourcerecordversion", "+", True),
                ("sourcerecord", "replaced_by", "patients.sourcerecord", "replaces", True),
                ("sourcerecordversion", "source_record", "patients.sourcerecord", "versions", False),
            )
        ),
        migrations.AlterField(model_name="sourcerecord", name="participant_id", field=models.TextField()),
        *(
            migrations.AddIndex(
                model_name=model,
                index=models.Index(fields=[name], condition=models.Q((f"{name}__isnull", False)), name=index),
            )
            for model, name, index in (
                ("identityevent", "other_person", "patients_event_other_person"),
                ("person", "merged_into", "patients_person_merged_into"),
                ("sourcerecord", "replaced_by", "patients_record_replaced_by"),
            )
        ),
    ]
