"""Users counted however their ids are written, a supervisor's leave, codes by which a patient names a helper.

Whether a participant is raised is found out when it is shown, from the cases that stand.
"""

import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models


def user_key():
    return models.GeneratedField(
        db_persist=True,
        expression=django.db.models.functions.text.Upper(
            models.Func(
                models.F("user"),
                models.Value("^.*/|\\s+"),
                models.Value(""),
                models.Value("g"),
                function="regexp_replace",
                output_field=models.TextField(),
            )
        ),
        output_field=models.TextField(),
    )


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0007_emergency_marks"),
    ]

    operations = [
        migrations.CreateModel(
            name="HelperCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("person", models.TextField(help_text="Reference of the helper, such as RelatedPerson/…")),
                ("made_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "grant",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="code",
                        to="consent.proxygrant",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SupervisorLeave",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("user", models.TextField()),
                ("user_key", user_key()),
                ("organization", models.TextField()),
                ("given_by", models.TextField()),
                ("text", models.TextField()),
                ("given_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "grant",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="leave",
                        to="consent.breakglassgrant",
                    ),
                ),
            ],
            options={
                "verbose_name": "supervisor's leave",
            },
        ),
        migrations.RemoveIndex(
            model_name="emergencyban",
            name="consent_emergency_ban_user",
        ),
        migrations.RemoveField(
            model_name="emergencycase",
            name="raised_at",
        ),
        migrations.AddField(
            model_name="breakglassgrant",
            name="user_key",
            field=user_key(),
        ),
        migrations.AddField(
            model_name="emergencyban",
            name="user_key",
            field=user_key(),
        ),
        migrations.AddIndex(
            model_name="breakglassgrant",
            index=models.Index(fields=["user_key", "-start"], name="consent_emergency_user_key"),
        ),
        migrations.AddIndex(
            model_name="emergencyban",
            index=models.Index(fields=["user_key", "organization"], name="consent_emergency_ban_key"),
        ),
        migrations.AddIndex(
            model_name="helpercode",
            index=models.Index(fields=["person", "-made_at"], name="consent_helper_code_person"),
        ),
        migrations.AddIndex(
            model_name="supervisorleave",
            index=models.Index(fields=["user_key", "-given_at"], name="consent_emergency_leave_user"),
        ),
        migrations.AddConstraint(
            model_name="supervisorleave",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("given_at"))), name="consent_emergency_leave_window"
            ),
        ),
    ]
