"""Values set by hand at the hub's anchors, and how far a change of the trust in sources has got."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('patients', '0005_review_claims'),
    ]

    operations = [
        migrations.CreateModel(
            name='TrustSweep',
            fields=[
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('applied', models.JSONField(default=dict)),
                ('wanted', models.JSONField(blank=True, null=True)),
                ('changed', models.JSONField(default=list)),
                ('after', models.UUIDField(blank=True, null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='patients_trustsweep_one_row')],
            },
        ),
        migrations.CreateModel(
            name='ValueByHand',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('field', models.TextField()),
                ('value', models.JSONField(blank=True, null=True)),
                ('rests_on', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, default=list, size=None)),
                ('actor', models.TextField()),
                ('reason', models.TextField()),
                ('set_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('holds', models.BooleanField(default=False)),
                ('event', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='value_by_hand', to='patients.identityevent')),
                ('source_record', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='values_by_hand', to='patients.sourcerecord')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('holds', True)), fields=('source_record', 'field'), name='patients_byhand_one_holds'), models.CheckConstraint(condition=models.Q(('holds', False), ('value__isnull', False), _connector='OR'), name='patients_byhand_withdrawn_says_nothing')],
            },
        ),
    ]
