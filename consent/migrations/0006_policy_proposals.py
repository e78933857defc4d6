"""Changes of policy as proposals that one person writes and another activates."""
import django.utils.timezone
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('consent', '0005_kept_policy'),
    ]

    operations = [
        migrations.CreateModel(
            name='PolicyProposal',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.TextField(choices=[('jurisdiction', 'law of a place'), ('code-table', 'code table'), ('release-policy', 'release policy of an organization')])),
                ('subject', models.TextField()),
                ('body', models.JSONField()),
                ('on_version', models.PositiveIntegerField()),
                ('reason', models.TextField()),
                ('effective_from', models.DateTimeField(blank=True, help_text='Empty: from its activation on.', null=True)),
                ('report', models.JSONField(default=dict)),
                ('state', models.TextField(choices=[('proposed', 'Proposed'), ('activated', 'Activated'), ('withdrawn', 'Withdrawn')], default='proposed')),
                ('proposed_by', models.TextField()),
                ('proposed_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('decided_by', models.TextField(blank=True)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_reason', models.TextField(blank=True)),
                ('version', models.PositiveIntegerField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-proposed_at', 'pk'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'proposed')), fields=('kind', 'subject'), name='consent_proposal_one_open'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'activated'), _negated=True), models.Q(('decided_by', models.F('proposed_by')), _negated=True), _connector='OR'), name='consent_proposal_four_eyes'), models.CheckConstraint(condition=models.Q(('state', 'proposed'), models.Q(('decided_by', ''), _negated=True), _connector='OR'), name='consent_proposal_decided_by')],
            },
        ),
    ]
