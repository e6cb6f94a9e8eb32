"""What the benchmark asks of django-tenants. Times are taken in here, without the interpreter's start, and printed as JSON.

usage: peer.py versions | create COUNT | migrate EXECUTOR | revert EXECUTOR
"""

import io
import json
import os
import sys
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django_tenants.utils import schema_context
from tenants.models import Tenant


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def migrate(executor, *target):
    options = {"tenant": True, "executor": executor, "verbosity": 0, "interactive": False}
    return timed(lambda: call_command("migrate_schemas", *target, stdout=io.StringIO(), **options))


def create(count):
    call_command("migrate_schemas", shared=True, verbosity=0, interactive=False)
    times = []
    for n in range(count):
        tenant = Tenant(schema_name=f"peer_{n:05}")
        times.append(timed(lambda: tenant.save(verbosity=0)))
        with schema_context(tenant.schema_name):
            with connection.cursor() as cursor:
                for agent in range(10):
                    cursor.execute(
                        "INSERT INTO agents (id, name, role) VALUES (gen_random_uuid(), %s, 'analyst')",
                        [f"{n} {agent}"],
                    )
    return times


def migrated():
    """How many tenants have the column and the index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = 'agents' AND n.nspname LIKE 'peer%' AND a.attname = 'budget_cents' AND EXISTS "
            "(SELECT FROM pg_class i WHERE i.relnamespace = n.oid AND i.relname = 'agents_by_budget')"
        )
        return cursor.fetchone()[0]


def main(command, *args):
    if command == "versions":
        import psycopg
        from importlib.metadata import version

        print(
            f"django-tenants {version('django-tenants')}, Django {django.__version__}, psycopg {psycopg.__version__}, "
            f"Python {sys.version.split()[0]}"
        )
    elif command == "create":
        print(json.dumps(create(int(args[0]))))
    elif command == "migrate":
        print(json.dumps([migrate(args[0]), migrated()]))
    elif command == "revert":
        print(json.dumps([migrate(args[0], "company", "0001"), migrated()]))
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
