"""Organizations on their way in, what was done about each, and the reports of their self-tests, which are never changed."""

import django.db.models.deletion
import uuid
from django.db import migrations, models


FORWARD = """
CREATE FUNCTION directory_onboarding_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was done about an onboarding is never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER directory_onboardingact_append_only BEFORE UPDATE OR DELETE ON directory_onboardingact
    FOR EACH ROW EXECUTE FUNCTION directory_onboarding_kept();
CREATE TRIGGER directory_onboardingtest_append_only BEFORE UPDATE OR DELETE ON directory_onboardingtest
    FOR EACH ROW EXECUTE FUNCTION directory_onboarding_kept();
"""
BACKWARD = """
DROP TRIGGER directory_onboardingtest_append_only ON directory_onboardingtest;
DROP TRIGGER directory_onboardingact_append_only ON directory_onboardingact;
DROP FUNCTION directory_onboarding_kept();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0006_governed_agreements_and_places'),
    ]

    operations = [
        migrations.CreateModel(
            name='Onboarding',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.TextField(help_text='As it was invited.')),
                ('state', models.TextField(choices=[('open', 'Being prepared'), ('waiting', 'Waits for a second person'), ('live', 'Takes part'), ('withdrawn', 'Given up')], default='open')),
                ('draft', models.JSONField(default=dict)),
                ('participant_id', models.TextField(blank=True, default='')),
                ('code_digest', models.BinaryField(blank=True, default=b'')),
                ('code_expires_at', models.DateTimeField(blank=True, null=True)),
                ('test_begun_at', models.DateTimeField(blank=True, null=True)),
                ('begun_at', models.DateTimeField()),
                ('begun_by', models.TextField()),
                ('begun_account', models.BigIntegerField()),
                ('asked_at', models.DateTimeField(blank=True, null=True)),
                ('asked_by', models.TextField(blank=True, default='')),
                ('asked_account', models.BigIntegerField(blank=True, null=True)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by', models.TextField(blank=True, default='')),
                ('decided_account', models.BigIntegerField(blank=True, null=True)),
                ('version', models.PositiveIntegerField(default=1, help_text='Rises with every change of the draft.')),
            ],
            options={
                'ordering': ['-begun_at', 'pk'],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['open', 'waiting', 'live', 'withdrawn'])), name='directory_onboarding_state'), models.UniqueConstraint(condition=models.Q(('code_digest', b''), _negated=True), fields=('code_digest',), name='directory_onboarding_code'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'live'), _negated=True), models.Q(('asked_account__isnull', False), ('decided_account__isnull', False), models.Q(('decided_account', models.F('asked_account')), _negated=True), models.Q(('decided_account', models.F('begun_account')), _negated=True)), _connector='OR'), name='directory_onboarding_two_people')],
            },
        ),
        migrations.CreateModel(
            name='OnboardingAct',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('kind', models.TextField(choices=[('invited', 'Invited'), ('code-given', 'Given a new code'), ('code-used', 'Code used by the organization'), ('saved', 'Changed'), ('tested', 'Tested'), ('asked', 'Second person asked'), ('sent-back', 'Sent back'), ('approved', 'Approved'), ('withdrawn', 'Given up')])),
                ('actor', models.TextField(help_text='A member of staff, or the organization by its code.')),
                ('reason', models.TextField(blank=True, default='')),
                ('detail', models.JSONField(default=dict)),
                ('onboarding', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='acts', to='directory.onboarding')),
            ],
            options={
                'ordering': ['at', 'pk'],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['invited', 'code-given', 'code-used', 'saved', 'tested', 'asked', 'sent-back', 'approved', 'withdrawn'])), name='directory_onboarding_act_kind')],
            },
        ),
        migrations.CreateModel(
            name='OnboardingTest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('draft_version', models.PositiveIntegerField()),
                ('began_at', models.DateTimeField()),
                ('took_s', models.FloatField()),
                ('actor', models.TextField()),
                ('passed', models.PositiveIntegerField()),
                ('failed', models.PositiveIntegerField()),
                ('report', models.JSONField()),
                ('onboarding', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tests', to='directory.onboarding')),
            ],
            options={
                'ordering': ['-number'],
                'constraints': [models.UniqueConstraint(fields=('onboarding', 'number'), name='directory_onboarding_test_number')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
