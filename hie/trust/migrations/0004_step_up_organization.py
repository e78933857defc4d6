"""At which participant a user signed in: as a step-up it counts there alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trust", "0003_step_up")]
    operations = [
        migrations.AddField("usedassertion", "organization", models.TextField(blank=True, default="", db_default="")),
    ]
