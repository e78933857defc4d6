"""What a question was decided to say, so that it need not be decided again a moment later."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchange", "0003_open_targets_by_time")]

    operations = [
        migrations.AddField(model_name="query", name="told", field=models.JSONField(blank=True, null=True)),
    ]
