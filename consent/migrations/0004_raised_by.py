"""Which transaction raised an epoch, and policy tables of consent that raise the policy epoch, whoever writes them.

An answer that was decided from what a snapshot showed may leave only while nothing it rests on was raised by a
transaction that the snapshot did not see (`hie.exchange.release`). The number alone could not say that: it would have
to be read before everything else that was read.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE consent_consentepoch ADD COLUMN raised_by xid8;

CREATE FUNCTION consent_raise_epoch(identifiers bigint[]) RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO consent_consentepoch AS e (identifier_id, value, raised_by)
    SELECT i, nextval('consent_epoch_seq'), pg_current_xact_id()
    FROM (SELECT DISTINCT unnest(identifiers) AS i) AS named WHERE i IS NOT NULL ORDER BY i
    ON CONFLICT (identifier_id)
    DO UPDATE SET value = GREATEST(e.value + 1, nextval('consent_epoch_seq')), raised_by = pg_current_xact_id()
$$;

CREATE FUNCTION consent_policy_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM directory_bump_epoch();
    RETURN NULL;
END
$$;
CREATE TRIGGER consent_jurisdiction_epoch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON consent_jurisdiction
    FOR EACH STATEMENT EXECUTE FUNCTION consent_policy_epoch();
CREATE TRIGGER consent_codetable_epoch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON consent_codetable
    FOR EACH STATEMENT EXECUTE FUNCTION consent_policy_epoch();
"""

BACKWARD = """
DROP TRIGGER consent_codetable_epoch ON consent_codetable;
DROP TRIGGER consent_jurisdiction_epoch ON consent_jurisdiction;
DROP FUNCTION consent_policy_epoch();
DROP FUNCTION consent_raise_epoch(bigint[]);
ALTER TABLE consent_consentepoch DROP COLUMN raised_by;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0003_whose_directive"), ("directory", "0002_policy_epoch")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
