"""What patients do not recognise in their log, with what was said of it (append only); and what they are told by notices."""

import django.db.models.deletion
import uuid
from django.db import migrations, models


FORWARD = """
CREATE FUNCTION exchange_refuse_concern_act_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'acts of a concern are never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER exchange_concern_act_append_only BEFORE UPDATE OR DELETE ON exchange_concernact
    FOR EACH ROW EXECUTE FUNCTION exchange_refuse_concern_act_change();
"""

BACKWARD = """
DROP TRIGGER exchange_concern_act_append_only ON exchange_concernact;
DROP FUNCTION exchange_refuse_concern_act_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0011_release_in_time"),
        ("patients", "0010_parting_reviews"),
        ("trust", "0004_step_up_organization"),
    ]

    operations = [
        migrations.CreateModel(
            name="NoticeChoice",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="trust.patientaccount",
                    ),
                ),
                (
                    "wanted",
                    models.TextField(
                        choices=[
                            ("all", "All"),
                            ("new-organization", "New"),
                            ("emergency", "Emergency"),
                            ("weekly", "Weekly"),
                            ("none", "None"),
                        ],
                        default="emergency",
                    ),
                ),
                ("by_mail", models.BooleanField(default=False)),
                ("personal_key", models.UUIDField(blank=True, null=True)),
                ("address", models.BinaryField(null=True)),
                ("nonce", models.TextField(blank=True, default="")),
                ("asked_at", models.DateTimeField(blank=True, null=True)),
                ("asked", models.PositiveSmallIntegerField(default=0)),
                ("verified_at", models.DateTimeField(blank=True, null=True)),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
                ("chosen_at", models.DateTimeField()),
                ("looked_until", models.DateTimeField()),
                ("digest_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "choice of notices",
            },
        ),
        migrations.CreateModel(
            name="Concern",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.TextField(unique=True)),
                ("event_id", models.UUIDField()),
                ("event_at", models.DateTimeField()),
                ("looker", models.TextField(blank=True, default="")),
                ("participant", models.TextField(blank=True, default="")),
                ("raised_by", models.TextField()),
                (
                    "reason",
                    models.TextField(
                        choices=[("person", "Person"), ("visit", "Visit"), ("purpose", "Purpose"), ("other", "Other")]
                    ),
                ),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("asked", "Asked"),
                            ("office", "Office"),
                            ("answered", "Answered"),
                            ("settled", "Settled"),
                            ("withdrawn", "Withdrawn"),
                        ]
                    ),
                ),
                (
                    "outcome",
                    models.TextField(
                        blank=True,
                        choices=[("explained", "Explained"), ("upheld", "Upheld"), ("accepted", "Accepted")],
                        default="",
                    ),
                ),
                ("raised_at", models.DateTimeField()),
                ("asked_at", models.DateTimeField(blank=True, null=True)),
                ("answer_due_at", models.DateTimeField(blank=True, null=True)),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                ("overdue_at", models.DateTimeField(blank=True, null=True)),
                ("due_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("closed_by", models.TextField(blank=True, default="")),
                ("owner", models.TextField(blank=True, default="")),
                (
                    "identifier",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="patients.patientidentifier"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ConcernAct",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("raised", "Raised"),
                            ("said", "Said"),
                            ("read", "Read"),
                            ("asked", "Asked"),
                            ("wrote", "Wrote"),
                            ("answered", "Answered"),
                            ("overdue", "Overdue"),
                            ("disputed", "Disputed"),
                            ("explained", "Explained"),
                            ("upheld", "Upheld"),
                            ("reopened", "Reopened"),
                            ("accepted", "Accepted"),
                            ("withdrawn", "Withdrawn"),
                        ]
                    ),
                ),
                ("actor", models.TextField()),
                ("name", models.TextField(blank=True, default="")),
                ("personal_key", models.UUIDField(blank=True, null=True)),
                ("words", models.BinaryField(null=True)),
                ("at", models.DateTimeField()),
                (
                    "concern",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="acts",
                        to="exchange.concern",
                    ),
                ),
            ],
            options={
                "verbose_name": "act of a concern",
            },
        ),
        migrations.CreateModel(
            name="PatientNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("look", "Look"),
                            ("new-organization", "New"),
                            ("emergency", "Emergency"),
                            ("week", "Week"),
                            ("concern", "Concern"),
                        ]
                    ),
                ),
                ("event_id", models.UUIDField(blank=True, null=True)),
                ("count", models.PositiveIntegerField(default=1)),
                ("at", models.DateTimeField()),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                ("mail_id", models.BigIntegerField(blank=True, null=True)),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="trust.patientaccount",
                    ),
                ),
                (
                    "concern",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="exchange.concern",
                    ),
                ),
                (
                    "identifier",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="patients.patientidentifier",
                    ),
                ),
            ],
            options={
                "verbose_name": "notice to a patient",
                "verbose_name_plural": "notices to patients",
            },
        ),
        migrations.AddIndex(
            model_name="concern",
            index=models.Index(
                condition=models.Q(("status__in", ["asked", "office", "answered"])),
                fields=["due_at", "id"],
                name="exchange_concern_due",
            ),
        ),
        migrations.AddIndex(
            model_name="concern",
            index=models.Index(fields=["participant", "-asked_at"], name="exchange_concern_of"),
        ),
        migrations.AddIndex(
            model_name="concern",
            index=models.Index(fields=["event_id"], name="exchange_concern_event"),
        ),
        migrations.AddConstraint(
            model_name="concern",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("closed_at__isnull", True), ("outcome", ""), ("status__in", ["asked", "office", "answered"])
                    ),
                    models.Q(
                        ("closed_at__isnull", False), ("status", "settled"), models.Q(("outcome", ""), _negated=True)
                    ),
                    models.Q(("closed_at__isnull", False), ("outcome", ""), ("status", "withdrawn")),
                    _connector="OR",
                ),
                name="exchange_concern_closed",
            ),
        ),
        migrations.AddConstraint(
            model_name="concern",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "asked"), _negated=True),
                    models.Q(("participant", ""), _negated=True),
                    _connector="OR",
                ),
                name="exchange_concern_asked_of_somebody",
            ),
        ),
        migrations.AddIndex(
            model_name="concernact",
            index=models.Index(fields=["concern", "at", "id"], name="exchange_concern_act_of"),
        ),
        migrations.AddIndex(
            model_name="patientnotice",
            index=models.Index(fields=["account", "-at", "-id"], name="exchange_patient_notice_of"),
        ),
        migrations.AddConstraint(
            model_name="patientnotice",
            constraint=models.UniqueConstraint(
                condition=models.Q(("event_id__isnull", False)),
                fields=("account", "event_id", "kind"),
                name="exchange_patient_notice_once",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
