"""Let an import store what its records are found by ahead of them, and know what to take back where it breaks off."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("patients", "0008_refined_keys")]

    operations = [
        migrations.AddField("importrun", "ahead_first", models.BigIntegerField(null=True)),
        migrations.AddField("importrun", "ahead_last", models.BigIntegerField(null=True)),
    ]
