"""Targets that were never taken by a loop get a lease that is over: a claim reads one range of the index."""

from django.db import migrations

OPEN = """
UPDATE exchange_querytarget SET claimed_until = now()
WHERE claimed_until IS NULL AND NOT withheld AND status IN ('pending', 'late')
"""


class Migration(migrations.Migration):
    dependencies = [("exchange", "0002_identity_notices")]

    operations = [migrations.RunSQL(OPEN, migrations.RunSQL.noop)]
