"""Versions of law and tables that cannot be changed, proposals by account, and reports that stand on a policy."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

FILL = """
-- A name may have been another account's before: who came later than the proposal did not make it.
UPDATE consent_policyproposal p SET proposed_account = u.id FROM auth_user u
WHERE u.username = p.proposed_by AND u.date_joined <= p.proposed_at;
UPDATE consent_policyproposal p SET decided_account = u.id FROM auth_user u
WHERE u.username = p.decided_by AND u.date_joined <= p.decided_at;
INSERT INTO consent_policyreport (proposal_id, made_at, made_by, basis, body)
SELECT id, proposed_at, proposed_by, '', report FROM consent_policyproposal;
"""
UNFILL = """
UPDATE consent_policyproposal p SET report = coalesce(
    (SELECT r.body FROM consent_policyreport r WHERE r.proposal_id = p.id ORDER BY r.made_at DESC, r.id DESC LIMIT 1), '{}');
"""

FORWARD = """
CREATE TRIGGER consent_jurisdiction_instant AFTER INSERT ON consent_jurisdiction
    FOR EACH ROW WHEN (NEW.effective_from > now()) EXECUTE FUNCTION directory_expect();
CREATE TRIGGER consent_codetable_instant AFTER INSERT ON consent_codetable
    FOR EACH ROW WHEN (NEW.effective_from > now()) EXECUTE FUNCTION directory_expect();
SELECT directory_bump_epoch(ARRAY(
    SELECT effective_from FROM consent_jurisdiction WHERE effective_from > now()
    UNION SELECT effective_from FROM consent_codetable WHERE effective_from > now()));

CREATE FUNCTION consent_refuse_version_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'versions of policy and reports on them are never changed or removed'
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE FUNCTION consent_refuse_other_proposal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    decided text[] := ARRAY['state', 'decided_by', 'decided_account', 'decided_at', 'decided_reason', 'version'];
BEGIN
    IF OLD.state <> 'proposed' OR to_jsonb(OLD) - decided IS DISTINCT FROM to_jsonb(NEW) - decided THEN
        RAISE EXCEPTION 'what was proposed is never changed, and decided once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER consent_proposal_as_filed BEFORE UPDATE ON consent_policyproposal
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_other_proposal();
CREATE TRIGGER consent_proposal_kept BEFORE DELETE ON consent_policyproposal
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_version_change();
CREATE TRIGGER consent_proposal_no_truncate BEFORE TRUNCATE ON consent_policyproposal
    FOR EACH STATEMENT EXECUTE FUNCTION consent_refuse_version_change();
""" + "".join(
    f"""
CREATE TRIGGER consent_{table}_append_only BEFORE UPDATE OR DELETE ON consent_{table}
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_version_change();
CREATE TRIGGER consent_{table}_no_truncate BEFORE TRUNCATE ON consent_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION consent_refuse_version_change();
"""
    for table in ("jurisdiction", "codetable", "policyreport")
)

BACKWARD = (
    "".join(
        f"""
DROP TRIGGER consent_{table}_no_truncate ON consent_{table};
DROP TRIGGER consent_{table}_append_only ON consent_{table};
"""
        for table in ("jurisdiction", "codetable", "policyreport")
    )
    + """
DROP TRIGGER consent_proposal_no_truncate ON consent_policyproposal;
DROP TRIGGER consent_proposal_kept ON consent_policyproposal;
DROP TRIGGER consent_proposal_as_filed ON consent_policyproposal;
DROP FUNCTION consent_refuse_other_proposal();
DROP FUNCTION consent_refuse_version_change();
DROP TRIGGER consent_codetable_instant ON consent_codetable;
DROP TRIGGER consent_jurisdiction_instant ON consent_jurisdiction;
"""
)


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0008_emergency_users_and_helpers"),
        ("directory", "0005_policy_instants"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]
    operations = [
        migrations.CreateModel(
            name="PolicyReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("made_by", models.TextField()),
                ("basis", models.TextField()),
                ("body", models.JSONField()),
                (
                    "proposal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reports",
                        to="consent.policyproposal",
                    ),
                ),
            ],
            options={"ordering": ["-made_at", "-pk"]},
        ),
        migrations.AddField(
            model_name="policyproposal",
            name="proposed_account",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="policyproposal",
            name="decided_account",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.RunSQL(FILL, UNFILL),
        # What is deferred is looked at before the table is altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL IMMEDIATE"),
        migrations.RemoveField(model_name="policyproposal", name="report"),
        migrations.RemoveConstraint(model_name="policyproposal", name="consent_proposal_four_eyes"),
        migrations.AddConstraint(
            model_name="policyproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "activated"), _negated=True),
                    models.Q(
                        models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                        models.Q(("decided_account", models.F("proposed_account")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="consent_proposal_four_eyes",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
