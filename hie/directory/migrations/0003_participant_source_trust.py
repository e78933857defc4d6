"""How participants rank as sources of demographics."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0002_policy_epoch'),
    ]

    operations = [
        migrations.AddField(
            model_name='participant',
            name='source_trust',
            field=models.SmallIntegerField(blank=True, help_text='From -100 to 100: where sources of a patient differ, the higher one counts. Empty: as the organization above it, in the end 0.', null=True),
        ),
        migrations.AddConstraint(
            model_name='participant',
            constraint=models.CheckConstraint(condition=models.Q(('source_trust', None), models.Q(('source_trust__gte', -100), ('source_trust__lte', 100)), _connector='OR'), name='directory_participant_source_trust'),
        ),
    ]
