"""Whoever adds a way out that goes around the door is told so by a test, in whatever style it is written.

Three nets, one behind the other: every way is listed with what guards it (test_every_way_out_is_listed.py); what a face
uses of the exchange asks the door, or stands in `READ_WITHIN`; and a face has no means to read rows by itself. Here each
of them is tried with what somebody in a hurry might write.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from documents.admin import DocumentEntryAdmin
from documents.models import DocumentEntry
from hie.celery import app
from hie.directory.admin import ParticipantAdmin
from tests.leaks import reach, ways
from tests.leaks.table import READ_WITHIN, TABLE, Guarded, Nothing
from tests.leaks.test_every_way_out_is_listed import problems

OUTER = ("hie.faces.", "hie.trust.views", "hie.ops.views")
_READING = frozenset(
    {"get_model", "get_models", "cursor", "execute", "import_module", "import_string", "__import__", "_base_manager"}
)
MAY: frozenset[tuple[str, str]] = frozenset({("hie.faces.fhir.resources", "import_module")})
"""Modules of faces that use one of `_READING`, by its name: the routing table names the modules of its own face."""


def outer_modules() -> list[ModuleType]:
    """The modules by which something leaves: faces, administrators' pages, commands, tasks."""
    ways.ways("hie.urls")
    for path_ in Path(import_module("hie").__path__[0]).glob("faces/**/*.py"):
        if "migrations" not in path_.parts:
            import_module(".".join(path_.relative_to(Path(reach.__file__).parents[2]).with_suffix("").parts))
    ends = (".admin", ".tasks")
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(reach.OURS)
        and (name.startswith(OUTER) or name.endswith(ends) or ".admin." in name or ".management.commands." in name)
    ]


def around(modules: Iterable[ModuleType], within: Iterable[str] = tuple(READ_WITHIN)) -> list[str]:
    """What these modules use of the exchange that reads records, asks no door, and is not said to be within."""
    found: dict[str, FunctionType] = {}
    for module in modules:
        for function in reach.functions_of(module):
            for used in reach.calls(function):
                if isinstance(used, FunctionType) and used.__module__.startswith("hie.exchange."):
                    found[reach.dotted(used)] = used
    reading = {
        name: function
        for name, function in found.items()
        if not name.startswith("hie.exchange.access.")
        and not name.startswith(("hie.exchange.admin.", "hie.exchange.tasks."))
        and reach.reaches(function, reach.records())
        and not reach.reaches(function, reach.DOOR)
    }
    said = set(within)
    wrong = [f"{name} reads records and does not ask the door" for name in reading.keys() - said]
    return sorted(wrong + [f"{name} is said to be within, and is not used so" for name in said - reading.keys()])


def reading_by_themselves(modules: Iterable[tuple[str, str]]) -> list[str]:
    """Of modules (name, source), those that have means of their own to read rows."""
    return sorted(
        f"{name} uses {used}"
        for name, source in modules
        for used in {one for node in ast.walk(ast.parse(source)) for one in _named(node)}
        if used in _READING and (name, used) not in MAY
    )


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Name) and node.id not in ("cursor", "execute"):
        yield node.id  # a variable may be called so
    elif isinstance(node, ast.alias):
        yield node.name.rpartition(".")[2]


def test_what_faces_use_of_the_exchange_asks_the_door_or_is_said_to_be_within() -> None:
    assert around(outer_modules()) == []
    assert all(why.strip() for why in READ_WITHIN.values())


def test_no_face_reads_rows_by_itself() -> None:
    faces = [module for module in outer_modules() if module.__name__.startswith("hie.faces.")]
    assert len(faces) > 50
    sources = [(one.__name__, Path(str(one.__file__)).read_text(encoding="utf-8")) for one in faces]
    assert reading_by_themselves(sources) == []


STREAMS = {
    "hie.faces.rest.queries": "the event stream, decided anew at each turn",
    "hie.faces.rest.imports": "the asker's own lines, looked at every second (`imports.lines`)",
    "hie.faces.long_answers": "every answer that is whole before it leaves, in pieces",
    "hie.faces.fhir.http": "the bytes of a document, under `retrieve.Watch`",
    "hie.faces.soap.views": "the documents of a package, each under `retrieve.Watch`",
    "hie.faces.portal.documents": "the bytes of a document, under `retrieve.Watch`",
    "hie.faces.portal.copies": "the log page by page, each in pieces of `long_answers`",
    "hie.faces.portal.reading": "a PDF or picture, under `retrieve.Watch`; a part of a document that was read under it",
    "hie.faces.portal.take_all": "one document after the other, each released anew and under `retrieve.Watch`",
}
"""Modules of faces that stream, and how what they send is asked about again at every MiB and every second."""


def test_every_stream_says_how_it_is_asked_about_again() -> None:
    streaming = {
        module.__name__
        for module in outer_modules()
        if module.__file__ and "StreamingHttpResponse(" in Path(module.__file__).read_text(encoding="utf-8")
    }
    assert streaming == set(STREAMS)


# --- tried ------------------------------------------------------------------------------------------------------------


def written(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module as somebody might add it."""
    file = folder / f"{name.rpartition('.')[2]}.py"
    file.write_text(source, encoding="utf-8")
    module = ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, str(file), "exec"), module.__dict__)
    return module


USE_CASE = """
from documents.models import DocumentEntry
from documents import queries

def everything():
    return [row.title for row in DocumentEntry.objects.all()]

def in_two_steps(pk):
    return _rows(pk)

def _rows(pk):
    return queries.entries([pk])
"""
STYLES = {
    "a DRF view": (
        "hie.faces.rest.dump",
        """
from rest_framework.response import Response
from rest_framework.views import APIView
from hie.exchange import dump

class Dump(APIView):
    def get(self, request):
        return Response(dump.everything())
""",
    ),
    "a plain view": (
        "hie.faces.portal.dump",
        """
from django.http import JsonResponse
from hie.exchange.dump import in_two_steps

def show(request, pk):
    return JsonResponse({"all": in_two_steps(pk)})
""",
    ),
    "a SOAP action": (
        "hie.faces.soap.dump",
        """
from hie.exchange import dump

ACTIONS = {"urn:ihe:iti:2007:RegistryStoredQuery": lambda request: dump.everything()}

def registry_stored_query(request):
    return ACTIONS[request.action](request)
""",
    ),
    "an action of an administrators' list": (
        "documents.dump.admin",
        """
from hie.exchange import dump

class DumpAdmin:
    def export(self, request, queryset):
        return dump.everything()
""",
    ),
    "a Celery task": (
        "hie.exchange.dump.tasks",
        """
from hie.exchange import dump

def mail_everything():
    return dump.everything()
""",
    ),
    "a management command": (
        "documents.management.commands.dump",
        """
from hie.exchange.dump import everything

class Command:
    def handle(self, *args, **options):
        self.stdout.write(str(everything()))
""",
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_a_use_case_that_does_not_ask_the_door_is_reported_wherever_it_is_used(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = import_module("hie.exchange")
    dump = written("hie.exchange.dump", USE_CASE, tmp_path, monkeypatch)
    monkeypatch.setattr(exchange, "dump", dump, raising=False)
    name, source = STYLES[style]
    folder = tmp_path / "outer"
    folder.mkdir()
    module = written(name, source, folder, monkeypatch)
    (told,) = around([module], within=())
    assert told.startswith("hie.exchange.dump.")
    assert told.endswith("reads records and does not ask the door")


@pytest.mark.parametrize(
    "source",
    [
        "from django.apps import apps\nrows = lambda: apps.get_model('documents', 'DocumentEntry').objects.all()",
        "from django.db import connection\nrows = lambda: connection.cursor().execute('SELECT * FROM documents_documententry')",
        "from importlib import import_module\nrows = lambda: import_module('documents.queries').entries([1])",
        "from django.utils.module_loading import import_string\nrows = import_string('documents.repository.open')",
        "rows = lambda: __import__('documents.queries').queries.entries([1])",
    ],
)
def test_a_face_that_finds_a_way_of_its_own_to_the_rows_is_reported(source: str) -> None:
    assert reading_by_themselves([("hie.faces.rest.dump", source)])


def dumped(request: HttpRequest, *args: Any) -> HttpResponse:
    """A view that somebody forgot to guard."""
    return HttpResponse("".join(row.title for row in DocumentEntry.objects.all()))


def dump_action(model_admin: Any, request: HttpRequest, queryset: Any) -> HttpResponse:
    """An action that somebody forgot to guard."""
    return HttpResponse("".join(row.title for row in queryset))


def test_a_page_added_to_an_administrators_model_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DocumentEntryAdmin.get_urls
    monkeypatch.setattr(DocumentEntryAdmin, "get_urls", lambda self: [path("dump/", dumped), *real(self)])
    module = ModuleType("tests.leaks.dumping_urls")
    module.urlpatterns = [path("admin/", admin.site.urls), path("", include("hie.urls"))]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert problems(ways.ways(module.__name__)) == ["url admin/documents/documententry/dump/: a way out with no entry"]


def test_an_action_and_a_table_inside_another_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DocumentEntryAdmin, "actions", (dump_action,))
    assert problems(ways.ways("hie.urls")) == ["action documents.DocumentEntry dump_action: a way out with no entry"]
    monkeypatch.setattr(DocumentEntryAdmin, "actions", ())

    class Documents(admin.TabularInline):  # type: ignore[type-arg]
        model = DocumentEntry

    monkeypatch.setattr(ParticipantAdmin, "inlines", (*ParticipantAdmin.inlines, Documents))
    assert problems(ways.ways("hie.urls")) == [
        "action directory.Participant > documents.DocumentEntry: a way out with no entry"
    ]


def test_a_task_and_a_command_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def dump() -> int:
        return DocumentEntry.objects.count()

    task = app.task(name="documents.tasks.dump")(dump)
    source = "from django.core.management import BaseCommand\nclass Command(BaseCommand):\n    pass\n"
    try:
        written("documents.management.commands.dump", source, tmp_path, monkeypatch)
        known = ways.get_commands() | {"dump": "documents"}
        monkeypatch.setattr(ways, "get_commands", lambda: known)
        assert problems(ways.ways("hie.urls")) == [
            "command dump: a way out with no entry",
            "task documents.tasks.dump: a way out with no entry",
        ]
    finally:
        app.tasks.pop(task.name)


def test_a_way_said_to_read_nothing_that_reads_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tests.leaks.dumping_urls")
    module.urlpatterns = [path("", include("hie.urls")), path("dump", dump_of_the_exchange)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    lying = {**TABLE, "url": {**TABLE["url"], "dump": Nothing("a constant page")}}
    found = ways.ways(module.__name__)
    # Functions of the tests are not of the project: here they are looked into as if they were.
    monkeypatch.setattr(reach, "OURS", (*reach.OURS, "tests.leaks.test_no_way_around"))
    assert problems(found, lying) == ["url dump: said to read no record, and reads some"]
    guarded = {**TABLE, "url": {**TABLE["url"], "dump": Guarded("hie.exchange.find.find_documents")}}
    assert problems(found, guarded) == ["url dump: the guard hie.exchange.find.find_documents is not on the way"]


def dump_of_the_exchange(request: HttpRequest) -> HttpResponse:
    """A view with a good word in the table and nothing behind it."""
    return HttpResponse(str(DocumentEntry.objects.count()))
