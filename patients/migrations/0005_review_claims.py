"""Stewards' work as rows: claims that end, verdicts that wait for a second steward, and what was done and why.

A deferred item keeps another one on the same two from opening; where both are there already, the deferred one closes.
"""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

CLOSE_DOUBLES = """
UPDATE patients_reviewitem d SET status = 'decided', decision = 'superseded', decided_at = now()
 WHERE d.status = 'deferred' AND d.kind = 'possible-match' AND EXISTS (
   SELECT 1 FROM patients_reviewitem o WHERE o.source_record_id = d.source_record_id AND o.candidate_id = d.candidate_id
      AND o.kind = 'possible-match' AND (o.status = 'open' OR (o.status = 'deferred' AND o.id > d.id)));
"""
APPEND_ONLY = """
CREATE TRIGGER patients_reviewact_append_only BEFORE UPDATE OR DELETE ON patients_reviewact
  FOR EACH ROW EXECUTE FUNCTION patients_refuse_change();
"""
FREELY = "DROP TRIGGER patients_reviewact_append_only ON patients_reviewact;"


class Migration(migrations.Migration):

    dependencies = [
        ('patients', '0004_reversible_identity'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReviewAct',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.TextField(choices=[('proposed', 'Proposed'), ('confirmed', 'Confirmed'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn'), ('decided', 'Decided'), ('deferred', 'Deferred'), ('resumed', 'Resumed'), ('undone', 'Undone')])),
                ('verdict', models.TextField(blank=True)),
                ('actor', models.TextField()),
                ('reason', models.TextField()),
                ('event_id', models.UUIDField(blank=True, null=True)),
                ('other_record', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='patients.sourcerecord')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='reviewitem',
            name='patients_review_one_open',
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='claimed_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='deferred_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='proposed',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='proposed_by',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='sampled',
            field=models.BooleanField(default=False),
        ),
        migrations.RunSQL(CLOSE_DOUBLES, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'possible-match'), ('status__in', ['open', 'deferred'])), fields=('source_record', 'candidate'), name='patients_review_one_waiting'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('proposed', ''), ('proposed_by', '')), models.Q(models.Q(('proposed', ''), _negated=True), models.Q(('proposed_by', ''), _negated=True)), _connector='OR'), name='patients_review_proposal'),
        ),
        migrations.AddField(
            model_name='reviewact',
            name='item',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='acts', to='patients.reviewitem'),
        ),
        migrations.AddIndex(
            model_name='reviewact',
            index=models.Index(fields=['at'], name='patients_reviewact_at'),
        ),
        migrations.AddIndex(
            model_name='reviewact',
            index=models.Index(fields=['actor', '-at'], name='patients_reviewact_actor'),
        ),
        migrations.RunSQL(APPEND_ONLY, FREELY),
    ]
