"""The release point holds at the instant from which a version of policy counts, as it does at a change.

Nobody commits anything at such an instant, so nobody could be made to wait for the answers that are being released.
Instead an answer waits for the instant: from half a second before it nothing decided under the old policy is released
any more. It is decided again a moment later, under the new one.
"""

from django.db import migrations

FORWARD = """
CREATE OR REPLACE FUNCTION exchange_unmoved(since pg_snapshot, policy bigint, identifiers bigint[]) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT directory_epoch_at(clock_timestamp()) = policy
        AND NOT EXISTS (SELECT FROM consent_consentepoch e
                        WHERE e.identifier_id = ANY(identifiers) AND exchange_raised(e.raised_by, since))
$$;

CREATE OR REPLACE FUNCTION exchange_hold(since pg_snapshot, policy bigint, identifiers bigint[], alone boolean)
    RETURNS boolean LANGUAGE plpgsql VOLATILE SET lock_timeout = '500ms' AS $$
DECLARE
    held xid8[];
    near timestamptz;
BEGIN
    -- The last of several that lie close together: what is decided behind the first would meet the next.
    SELECT max(i) INTO near FROM directory_policyepoch p, unnest(p.instants) AS i
    WHERE p.id = 1 AND i > clock_timestamp() AND i <= clock_timestamp() + interval '500 ms';
    IF near IS NOT NULL THEN
        PERFORM pg_sleep_until(near);
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('hie.exchange.policy', 0));
    IF directory_epoch_at(clock_timestamp()) <> policy THEN
        RETURN false;
    END IF;
    IF alone THEN
        PERFORM FROM consent_consentepoch WHERE identifier_id = ANY(identifiers) ORDER BY identifier_id FOR UPDATE;
    END IF;
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(e.raised_by) INTO held FROM (
            SELECT c.raised_by FROM consent_consentepoch c WHERE c.identifier_id = ANY(identifiers)
            ORDER BY c.identifier_id FOR SHARE) AS e;
        -- What this transaction raised itself is no news to it.
        IF EXISTS (SELECT FROM unnest(held) AS raised_by WHERE exchange_raised(raised_by, since)
                   AND raised_by IS DISTINCT FROM pg_current_xact_id_if_assigned()) THEN
            RETURN false;
        ELSIF coalesce(cardinality(held), 0) = cardinality(identifiers) THEN
            -- The locks may have been waited for: there must still be time to commit before the next instant.
            RETURN directory_epoch_at(clock_timestamp() + interval '250 ms') = policy;
        END IF;
        INSERT INTO consent_consentepoch (identifier_id, value)
        SELECT i, 0 FROM (SELECT DISTINCT unnest(identifiers) AS i) AS named ORDER BY i ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN false;
END
$$;
"""

BACKWARD = """
CREATE OR REPLACE FUNCTION exchange_unmoved(since pg_snapshot, policy bigint, identifiers bigint[]) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT p.value FROM directory_policyepoch p WHERE p.id = 1), 0) = policy
        AND NOT EXISTS (SELECT FROM consent_consentepoch e
                        WHERE e.identifier_id = ANY(identifiers) AND exchange_raised(e.raised_by, since))
$$;

CREATE OR REPLACE FUNCTION exchange_hold(since pg_snapshot, policy bigint, identifiers bigint[], alone boolean)
    RETURNS boolean LANGUAGE plpgsql VOLATILE SET lock_timeout = '500ms' AS $$
DECLARE
    held xid8[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('hie.exchange.policy', 0));
    IF coalesce((SELECT p.value FROM directory_policyepoch p WHERE p.id = 1), 0) <> policy THEN
        RETURN false;
    END IF;
    IF alone THEN
        PERFORM FROM consent_consentepoch WHERE identifier_id = ANY(identifiers) ORDER BY identifier_id FOR UPDATE;
    END IF;
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(e.raised_by) INTO held FROM (
            SELECT c.raised_by FROM consent_consentepoch c WHERE c.identifier_id = ANY(identifiers)
            ORDER BY c.identifier_id FOR SHARE) AS e;
        IF EXISTS (SELECT FROM unnest(held) AS raised_by WHERE exchange_raised(raised_by, since)
                   AND raised_by IS DISTINCT FROM pg_current_xact_id_if_assigned()) THEN
            RETURN false;
        ELSIF coalesce(cardinality(held), 0) = cardinality(identifiers) THEN
            RETURN true;
        END IF;
        INSERT INTO consent_consentepoch (identifier_id, value)
        SELECT i, 0 FROM (SELECT DISTINCT unnest(identifiers) AS i) AS named ORDER BY i ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN false;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0009_death_objection"),
        ("directory", "0005_policy_instants"),
        ("consent", "0009_governed_versions"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
