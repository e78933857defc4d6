"""When the newest message about a record was said, for a feed that goes by the time of its messages (ITI-44)."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('patients', '0010_parting_reviews'),
    ]

    operations = [
        migrations.AddField(
            model_name='sourcerecord',
            name='said_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
