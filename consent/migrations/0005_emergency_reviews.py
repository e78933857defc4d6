"""Emergency grants as cases to be judged, what was done about them (append only), bans, and when a proxy's end was told."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


FORWARD = """
CREATE FUNCTION consent_refuse_act_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'acts of an emergency review are never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER consent_emergency_act_append_only BEFORE UPDATE OR DELETE ON consent_emergencyact
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_act_change();
INSERT INTO consent_emergencyreview
    (grant_id, status, outcome, opened_at, due_at, claimed_by, passed_on_by, decided_by, reason, held_reason, objection)
SELECT id, 'open', '', start, start + interval '72 hours', '', '', '', '', '', '' FROM consent_breakglassgrant;
"""

BACKWARD = """
DROP TRIGGER consent_emergency_act_append_only ON consent_emergencyact;
DROP FUNCTION consent_refuse_act_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0004_raised_by"),
    ]

    operations = [
        migrations.AddField(
            model_name="proxygrant",
            name="end_told_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="EmergencyReview",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("status", models.TextField(choices=[("open", "Open"), ("decided", "Decided")], default="open")),
                (
                    "outcome",
                    models.TextField(
                        blank=True, choices=[("justified", "Justified"), ("not-justified", "Not Justified")], default=""
                    ),
                ),
                ("opened_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("due_at", models.DateTimeField()),
                ("claimed_by", models.TextField(blank=True, default="")),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("passed_on_by", models.TextField(blank=True, default="")),
                ("escalated_at", models.DateTimeField(blank=True, null=True)),
                ("overdue_at", models.DateTimeField(blank=True, null=True)),
                ("decided_by", models.TextField(blank=True, default="")),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.TextField(blank=True, default="")),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                ("held_until", models.DateTimeField(blank=True, null=True)),
                ("held_reason", models.TextField(blank=True, default="")),
                ("objected_at", models.DateTimeField(blank=True, null=True)),
                ("objection", models.TextField(blank=True, default="")),
                (
                    "grant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="review", to="consent.breakglassgrant"
                    ),
                ),
            ],
            options={
                "verbose_name": "emergency review",
            },
        ),
        migrations.CreateModel(
            name="EmergencyCase",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("participant", models.TextField()),
                ("opened_at", models.DateTimeField()),
                ("raised_at", models.DateTimeField(blank=True, null=True)),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                ("answer", models.TextField(blank=True, default="")),
                (
                    "review",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="case", to="consent.emergencyreview"
                    ),
                ),
            ],
            options={
                "verbose_name": "case with a participant",
            },
        ),
        migrations.CreateModel(
            name="EmergencyBan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("user", models.TextField()),
                ("organization", models.TextField()),
                ("since", models.DateTimeField()),
                ("lifted_at", models.DateTimeField(blank=True, null=True)),
                ("lifted_by", models.TextField(blank=True, default="")),
                ("lifted_reason", models.TextField(blank=True, default="")),
                (
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="bans", to="consent.emergencyreview"
                    ),
                ),
            ],
            options={
                "verbose_name": "suspended emergency access",
            },
        ),
        migrations.CreateModel(
            name="EmergencyAct",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("opened", "Opened"),
                            ("notice-held", "Held"),
                            ("told", "Told"),
                            ("no-account", "Not Told"),
                            ("objected", "Objected"),
                            ("passed-on", "Passed On"),
                            ("overdue", "Overdue"),
                            ("justified", "Justified"),
                            ("not-justified", "Not Justified"),
                            ("reopened", "Reopened"),
                            ("access-given-back", "Given Back"),
                            ("answered", "Answered"),
                        ]
                    ),
                ),
                ("actor", models.TextField()),
                ("reason", models.TextField(blank=True, default="")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="acts", to="consent.emergencyreview"
                    ),
                ),
            ],
            options={
                "verbose_name": "act of an emergency review",
            },
        ),
        migrations.AddIndex(
            model_name="emergencyreview",
            index=models.Index(
                condition=models.Q(("status", "open")), fields=["due_at", "id"], name="consent_emergency_review_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="emergencyreview",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at__isnull", True), ("outcome", ""), ("status", "open")),
                    models.Q(
                        ("decided_at__isnull", False),
                        ("outcome__in", ["justified", "not-justified"]),
                        ("status", "decided"),
                        models.Q(("reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="consent_emergency_review_decided",
            ),
        ),
        migrations.AddIndex(
            model_name="emergencycase",
            index=models.Index(fields=["participant", "-opened_at"], name="consent_emergency_case_of"),
        ),
        migrations.AddIndex(
            model_name="emergencyban",
            index=models.Index(fields=["user", "organization"], name="consent_emergency_ban_user"),
        ),
        migrations.AddConstraint(
            model_name="emergencyban",
            constraint=models.UniqueConstraint(
                condition=models.Q(("lifted_at__isnull", True)), fields=("review",), name="consent_emergency_ban_once"
            ),
        ),
        migrations.AddIndex(
            model_name="emergencyact",
            index=models.Index(fields=["review", "at", "id"], name="consent_emergency_act_review"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
