"""The release point of an answer: what it rests on stays as it was until its audit row is committed.

`exchange_hold` is asked in the transaction of the audit row, before it is written. From then on whoever would change
what the answer rests on waits until that transaction ends, so the change commits after the answer's release, or the
answer is not released:

* what concerns one patient raises the epoch of its identifiers, a row that `exchange_hold` locks in share;
* policy data raise one number that every answer rests on. A row that all readers lock would be rewritten with each
  answer, so readers share an advisory lock, which their writers take alone, when they commit and no sooner.

Moved records, withdrawn records and changed labels raise the epoch when their transaction commits, by triggers, so
that no writer can forget it and no long one keeps readers waiting.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION exchange_settle_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('hie.exchange.policy', 0));
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER exchange_settle_policy AFTER INSERT OR UPDATE ON directory_policyepoch
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION exchange_settle_policy();

CREATE FUNCTION exchange_raise_persons(persons uuid[], record bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT consent_raise_epoch(ARRAY(
        SELECT i.id FROM patients_link l JOIN patients_patientidentifier i ON i.source_record_id = l.source_record_id
        WHERE l.valid_to IS NULL AND l.kind <> 'rejected' AND (l.person_id = ANY(persons) OR l.source_record_id = record)
        EXCEPT SELECT e.identifier_id FROM consent_consentepoch e
        WHERE e.raised_by = pg_current_xact_id() AND e.identifier_id IN (
            SELECT i.id FROM patients_link l
            JOIN patients_patientidentifier i ON i.source_record_id = l.source_record_id
            WHERE l.valid_to IS NULL AND (l.person_id = ANY(persons) OR l.source_record_id = record))))
$$;

CREATE FUNCTION exchange_record_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    person_now uuid;
BEGIN
    SELECT l.person_id INTO person_now FROM patients_link l
    WHERE l.source_record_id = OLD.source_record_id AND l.valid_to IS NULL AND l.kind <> 'rejected';
    IF person_now IS DISTINCT FROM OLD.person_id THEN
        PERFORM exchange_raise_persons(ARRAY[OLD.person_id, person_now], OLD.source_record_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER exchange_record_moved AFTER UPDATE OF person_id, kind, valid_to ON patients_link
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.valid_to IS NULL AND OLD.kind <> 'rejected')
    EXECUTE FUNCTION exchange_record_moved();

CREATE FUNCTION exchange_record_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM exchange_raise_persons(ARRAY(
        SELECT l.person_id FROM patients_link l
        WHERE l.source_record_id = OLD.id AND l.valid_to IS NULL AND l.kind <> 'rejected'), OLD.id);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER exchange_record_changed AFTER UPDATE OF status ON patients_sourcerecord
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION exchange_record_changed();

CREATE FUNCTION exchange_entry_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM consent_raise_epoch(ARRAY[OLD.patient_identifier_id, NEW.patient_identifier_id]);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER exchange_entry_changed
    AFTER UPDATE OF patient_identifier_id, custodian, confidentiality, labels, labelled, restricted
    ON documents_documententry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.patient_identifier_id, OLD.custodian, OLD.confidentiality, OLD.labels, OLD.labelled, OLD.restricted)
          IS DISTINCT FROM
          (NEW.patient_identifier_id, NEW.custodian, NEW.confidentiality, NEW.labels, NEW.labelled, NEW.restricted))
    EXECUTE FUNCTION exchange_entry_changed();

CREATE FUNCTION exchange_raised(raised_by xid8, since pg_snapshot) RETURNS boolean LANGUAGE sql STABLE AS $$
    -- A number kept from another cluster lies ahead of this one's; one that this cluster gave does not, for whoever asks
    -- in a statement begun after the row was locked or seen.
    SELECT raised_by IS NOT NULL AND NOT pg_visible_in_snapshot(raised_by, since)
        AND raised_by < pg_snapshot_xmax(pg_current_snapshot())
$$;

CREATE FUNCTION exchange_unmoved(since pg_snapshot, policy bigint, identifiers bigint[]) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT p.value FROM directory_policyepoch p WHERE p.id = 1), 0) = policy
        AND NOT EXISTS (SELECT FROM consent_consentepoch e
                        WHERE e.identifier_id = ANY(identifiers) AND exchange_raised(e.raised_by, since))
$$;

-- Each statement of a volatile function sees what committed before it began: the locks first, then the look.
CREATE FUNCTION exchange_hold(since pg_snapshot, policy bigint, identifiers bigint[], alone boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET lock_timeout = '500ms' AS $$
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
        -- What this transaction raised itself is no news to it.
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

BACKWARD = """
DROP FUNCTION exchange_hold(pg_snapshot, bigint, bigint[], boolean);
DROP FUNCTION exchange_unmoved(pg_snapshot, bigint, bigint[]);
DROP FUNCTION exchange_raised(xid8, pg_snapshot);
DROP TRIGGER exchange_entry_changed ON documents_documententry;
DROP FUNCTION exchange_entry_changed();
DROP TRIGGER exchange_record_changed ON patients_sourcerecord;
DROP FUNCTION exchange_record_changed();
DROP TRIGGER exchange_record_moved ON patients_link;
DROP FUNCTION exchange_record_moved();
DROP FUNCTION exchange_raise_persons(uuid[], bigint);
DROP TRIGGER exchange_settle_policy ON directory_policyepoch;
DROP FUNCTION exchange_settle_policy();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0006_no_index_twice"),
        ("consent", "0004_raised_by"),
        ("directory", "0002_policy_epoch"),
        ("documents", "0001_initial"),
        ("patients", "0001_initial"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
