"""The release point holds at whatever begins or ends by itself, and until the commit itself.

What an answer was decided by may begin or end at an instant: a version of policy, an agreement, a directive, a grant, an
age. `exchange_hold` is told how long that takes, waits where it is less than half a second, and leaves the instant with the
transaction (`exchange.release_ends`). An audit row that is written in such a transaction is looked at once more when it
commits: what has come to its end by then is rolled back like one that met a change, and is decided again.
"""

from django.db import migrations

FORWARD = """
DROP FUNCTION exchange_hold(pg_snapshot, bigint, bigint[], boolean);
CREATE FUNCTION exchange_hold(
    since pg_snapshot, policy bigint, identifiers bigint[], alone boolean, lasts double precision DEFAULT NULL)
    RETURNS boolean LANGUAGE plpgsql VOLATILE SET lock_timeout = '500ms' AS $$
DECLARE
    held xid8[];
    ends timestamptz := clock_timestamp() + make_interval(secs => lasts);
    near timestamptz;
BEGIN
    -- The last of several that lie close together: what is decided behind the first would meet the next.
    SELECT max(i) INTO near FROM directory_policyepoch p, unnest(p.instants) AS i
    WHERE p.id = 1 AND i > clock_timestamp() AND i <= clock_timestamp() + interval '500 ms';
    IF ends <= clock_timestamp() + interval '500 ms' THEN
        near := greatest(near, ends);
    END IF;
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
            SELECT least(ends, min(i)) INTO ends FROM directory_policyepoch p, unnest(p.instants) AS i
            WHERE p.id = 1 AND i > clock_timestamp();
            -- The locks may have been waited for: there must still be time to commit.
            IF directory_epoch_at(clock_timestamp()) <> policy OR ends <= clock_timestamp() + interval '250 ms' THEN
                RETURN false;
            END IF;
            IF ends <= clock_timestamp() + interval '1 hour' THEN
                PERFORM set_config('exchange.release_ends', least(
                    ends, nullif(current_setting('exchange.release_ends', true), '')::timestamptz)::text, true);
            END IF;
            RETURN true;
        END IF;
        INSERT INTO consent_consentepoch (identifier_id, value)
        SELECT i, 0 FROM (SELECT DISTINCT unnest(identifiers) AS i) AS named ORDER BY i ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN false;
END
$$;

CREATE FUNCTION exchange_in_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A little before, for the commit itself takes a moment too.
    IF clock_timestamp() + interval '20 ms' >= current_setting('exchange.release_ends')::timestamptz THEN
        RAISE EXCEPTION 'what this was decided by has come to its end' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER exchange_in_time AFTER INSERT ON audit_event
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (coalesce(current_setting('exchange.release_ends', true), '') <> '')
    EXECUTE FUNCTION exchange_in_time();
"""

BACKWARD = """
DROP TRIGGER exchange_in_time ON audit_event;
DROP FUNCTION exchange_in_time();
DROP FUNCTION exchange_hold(pg_snapshot, bigint, bigint[], boolean, double precision);
CREATE FUNCTION exchange_hold(since pg_snapshot, policy bigint, identifiers bigint[], alone boolean)
    RETURNS boolean LANGUAGE plpgsql VOLATILE SET lock_timeout = '500ms' AS $$
DECLARE
    held xid8[];
    near timestamptz;
BEGIN
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
        IF EXISTS (SELECT FROM unnest(held) AS raised_by WHERE exchange_raised(raised_by, since)
                   AND raised_by IS DISTINCT FROM pg_current_xact_id_if_assigned()) THEN
            RETURN false;
        ELSIF coalesce(cardinality(held), 0) = cardinality(identifiers) THEN
            RETURN directory_epoch_at(clock_timestamp() + interval '250 ms') = policy;
        END IF;
        INSERT INTO consent_consentepoch (identifier_id, value)
        SELECT i, 0 FROM (SELECT DISTINCT unnest(identifiers) AS i) AS named ORDER BY i ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN false;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("exchange", "0010_release_by_instants"), ("audit", "0002_append_only")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
