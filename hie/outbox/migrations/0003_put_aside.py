"""Notices that were given up and put aside: they wait for nobody."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("outbox", "0002_receivers")]

    operations = [
        migrations.AddField(
            model_name="outboxmessage",
            name="aside_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="put aside at"),
        ),
    ]
