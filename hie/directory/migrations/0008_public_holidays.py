"""Public holidays of a jurisdiction: entered, taken out once, and never changed otherwise."""

from django.db import migrations, models


FORWARD = """
CREATE FUNCTION directory_holiday_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.removed_at IS NULL AND NEW.removed_at IS NOT NULL
        AND (NEW.jurisdiction, NEW."on", NEW.name, NEW.recorded_at, NEW.recorded_by, NEW.reason)
            IS NOT DISTINCT FROM (OLD.jurisdiction, OLD."on", OLD.name, OLD.recorded_at, OLD.recorded_by, OLD.reason)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a holiday is taken out, never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER directory_publicholiday_kept BEFORE UPDATE OR DELETE ON directory_publicholiday
    FOR EACH ROW EXECUTE FUNCTION directory_holiday_kept();
"""
BACKWARD = """
DROP TRIGGER directory_publicholiday_kept ON directory_publicholiday;
DROP FUNCTION directory_holiday_kept();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0007_onboarding'),
    ]

    operations = [
        migrations.CreateModel(
            name='PublicHoliday',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('jurisdiction', models.TextField(help_text='Code of the place')),
                ('on', models.DateField()),
                ('name', models.TextField()),
                ('recorded_at', models.DateTimeField()),
                ('recorded_by', models.TextField()),
                ('reason', models.TextField()),
                ('removed_at', models.DateTimeField(blank=True, null=True)),
                ('removed_by', models.TextField(blank=True, default='')),
                ('removed_reason', models.TextField(blank=True, default='')),
            ],
            options={
                'ordering': ['jurisdiction', 'on', 'pk'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('removed_at', None)), fields=('jurisdiction', 'on'), name='directory_holiday_once')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
