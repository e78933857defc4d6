"""What each code set held and how strict it was, each time that it changed."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('terminology', '0002_local_codes'),
    ]

    operations = [
        # Of a set that is there already nobody knows who chose its mode: it keeps it.
        migrations.AddField(
            model_name='codeset',
            name='mode_chosen',
            field=models.BooleanField(default=True, help_text='whether staff chose the mode: a file that names none leaves it'),
        ),
        migrations.AlterField(
            model_name='codeset',
            name='mode_chosen',
            field=models.BooleanField(default=False, help_text='whether staff chose the mode: a file that names none leaves it'),
        ),
        migrations.AlterField(
            model_name='codeset',
            name='source',
            field=models.TextField(blank=True, help_text='file or authority it was loaded from, and its version'),
        ),
        migrations.CreateModel(
            name='CodeSetVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('mode', models.TextField(choices=[('enforce', 'enforce: refuse'), ('warn', 'warn: accept and say so'), ('off', 'off: not checked')])),
                ('source', models.TextField(blank=True)),
                ('made_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('made_by', models.TextField(help_text='who changed it')),
                ('codes', models.JSONField()),
                ('code_set', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='terminology.codeset')),
            ],
            options={
                'ordering': ('code_set', '-number'),
                'constraints': [models.UniqueConstraint(fields=('code_set', 'number'), name='terminology_version_once')],
            },
        ),
    ]
