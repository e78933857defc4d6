"""Brings the database to this release before anything serves from it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder


class Command(BaseCommand):
    help = "Migrate the database if it is older than this release; refuse it if it is newer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")

    def handle(self, *args: Any, **options: Any) -> None:
        connection.ensure_connection()
        executor = MigrationExecutor(connection)
        executor.loader.check_consistent_history(connection)
        unknown = newer_than_code(executor)
        if unknown:
            raise CommandError(
                f"the database was migrated by a newer release (it holds {', '.join(unknown[:3])}); use that release"
            )
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not plan:
            if not options["quiet"]:
                self.stdout.write("database: up to date")
            return
        began = time.monotonic()
        # One at a time over all hosts: two that start together must not both migrate.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            executor = MigrationExecutor(connection, self.progress)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            self.total, self.done = len(plan), 0
            self.stdout.write(f"database: {len(plan)} migrations …")
            self.stdout.flush()
            executor.migrate(executor.loader.graph.leaf_nodes(), plan)
            self.after(executor)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        self.stdout.write(f"database: migrated in {time.monotonic() - began:.1f} s")

    def progress(self, action: str, migration: Any = None, fake: bool | None = False) -> None:
        if action == "apply_success":
            self.done += 1
            if self.done % 10 == 0 or self.done == self.total:
                self.stdout.write(f"  {self.done}/{self.total}")
                self.stdout.flush()

    def after(self, executor: MigrationExecutor) -> None:
        """Content types and permissions, as `migrate` makes them."""
        from django.core.management.sql import emit_post_migrate_signal

        emit_post_migrate_signal(0, False, connection.alias)


LOCK = 0x48_49_45


def newer_than_code(executor: MigrationExecutor) -> list[str]:
    """Applied migrations of our installed apps that this release does not have."""
    known = executor.loader.disk_migrations or {}
    apps = {app for app, _ in known}
    replaced = {name for migration in known.values() for name in migration.replaces}
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(
        f"{app}.{name}"
        for app, name in applied
        if app in apps and (app, name) not in known and (app, name) not in replaced
    )
