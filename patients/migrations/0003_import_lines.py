"""Imports that go on after a break: what came of each line, and what a worker needs to carry on.

Blocking keys and search terms lose their constraint to the record: there are forty a record, records are never
deleted, and checking each took longer than writing it.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('patients', '0002_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='ImportLine',
            fields=[
                ('pk', models.CompositePrimaryKey('run_id', 'number', blank=True, editable=False, primary_key=True, serialize=False)),
                ('run', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='patients.importrun')),
                ('number', models.BigIntegerField()),
                ('identifier', models.TextField(blank=True)),
                ('outcome', models.TextField()),
                ('source_record_id', models.BigIntegerField(blank=True, null=True)),
                ('score', models.FloatField(blank=True, null=True)),
                ('reason', models.TextField(blank=True)),
            ],
        ),
        migrations.AddField(
            model_name='importrun',
            name='actor',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='importrun',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='importrun',
            name='columns',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='importrun',
            name='upload',
            field=models.TextField(blank=True),
        ),
        migrations.AlterField(
            model_name='blockingkey',
            name='record',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='patients.sourcerecord'),
        ),
        migrations.AlterField(
            model_name='searchterm',
            name='record',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='patients.sourcerecord'),
        ),
        migrations.AddIndex(
            model_name='importrun',
            index=models.Index(condition=models.Q(('status', 'running')), fields=['started_at'], name='patients_import_running'),
        ),
    ]
