import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """Documents whose last entry was removed stay named until their bytes are removed too."""

    dependencies = [
        ("documents", "0003_label_runs"),
        ("patients", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeptDocument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("unique_id", models.TextField(db_index=True)),
                ("custodian", models.TextField(help_text="participant that answered for the document")),
                ("removed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "binary",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="kept", to="documents.binary"
                    ),
                ),
                (
                    "patient_identifier",
                    models.ForeignKey(
                        help_text="whose document it was",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="patients.patientidentifier",
                    ),
                ),
            ],
        ),
    ]
