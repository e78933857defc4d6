"""Links and verdicts name the change they came with, and review items what closed them: so undoing is exact."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('patients', '0003_import_lines'),
    ]

    operations = [
        migrations.AddField(
            model_name='link',
            name='event',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='patients.identityevent'),
        ),
        migrations.AddField(
            model_name='link',
            name='restored_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='matchdecision',
            name='event',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='patients.identityevent'),
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='event',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='patients.identityevent'),
        ),
        migrations.AlterField(
            model_name='identityevent',
            name='kind',
            field=models.TextField(choices=[('created', 'Created'), ('linked', 'Linked'), ('unlinked', 'Unlinked'), ('merged', 'Merged'), ('unmerged', 'Unmerged'), ('split', 'Split'), ('replaced', 'Replaced'), ('removed', 'Removed'), ('revised', 'Revised'), ('decided', 'Decided'), ('overlay-suspected', 'Overlay Suspected'), ('survivorship-changed', 'Survivorship Changed')]),
        ),
        migrations.AlterField(
            model_name='matchdecision',
            name='verdict',
            field=models.TextField(choices=[('same', 'Same'), ('different', 'Different'), ('open', 'Open')]),
        ),
        migrations.CreateModel(
            name='ReviewClosure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('was', models.TextField()),
                ('decision', models.TextField()),
                ('decided_by', models.TextField(blank=True)),
                ('decided_at', models.DateTimeField()),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='patients.identityevent')),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='closures', to='patients.reviewitem')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('item', 'event'), name='patients_closure_once')],
            },
        ),
    ]
