"""When the newest message was said that joined a record to another or parted it, for feeds that go by the time of their messages."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('patients', '0011_when_it_was_said'),
    ]

    operations = [
        migrations.AddField(
            model_name='sourcerecord',
            name='joined_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
