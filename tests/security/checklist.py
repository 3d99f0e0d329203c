"""The lines of the checklist, those that have nothing to attack so far, and who tests them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
# `test_b01_...`, or `test_a04_a05_...` for a test of several lines.
_NAME = re.compile(r"test_((?:[abc]\d\d_)+)")

# What is tried, in words.
LINES = {
    "A01": "ask for another tenant's rows by its id",
    "A02": "ask for a row by the id of another tenant's row",
    "A03": "ask on a fresh connection that names no tenant",
    "A04": "ask on a pooled connection that served another tenant",
    "A05": "the same after an error",
    "A06": "change and delete rows with no tenant named",
    "A07": "put another tenant into the setting by injected SQL",
    "A08": "forged, altered, cut and random tokens of a tenant",
    "A09": "every way to read a token that the database knows",
    "A10": "the token of a key that was retired",
    "A11": "become the owner, the functions' owner, a superuser",
    "A12": "switch row security off, change a policy, drop a table",
    "A13": "switch row security off for the session",
    "A14": "read as the owner of the tables",
    "A15": "insert a row for another tenant",
    "A16": "give one's own row to another tenant",
    "A17": "change a row of another tenant by its id",
    "A18": "delete a row of another tenant by its id",
    "A19": "insert with an id that another tenant holds",
    "A20": "merge into a row of another tenant",
    "A21": "hang a new row on a row of another tenant",
    "A22": "move one's own row below a row of another tenant",
    "A23": "learn from a unique key what others hold",
    "A24": "read through a view",
    "A25": "read a stored view or a foreign table",
    "A26": "call every function that runs with its owner's rights",
    "A27": "a function in a condition that tells what it sees",
    "A28": "an error that only a row of another tenant raises",
    "A29": "make tables, functions and operators; put names in front of ours",
    "A30": "copy tables out",
    "A31": "copy rows in",
    "A32": "empty tables",
    "A33": "read and move counters",
    "A34": "the planner's statistics",
    "A35": "statements of other sessions",
    "A36": "listen on all channels",
    "A37": "forged messages",
    "A38": "large objects",
    "A39": "a lock that stands in another tenant's way",
    "A40": "read hashes, tokens and keys",
    "A41": "change one's own plan, quota or role",
    "A42": "a statement planned for one tenant, run for another",
    "A43": "a cursor that is left open for the next request",
    "A44": "a copy by pg_dump; and the backup role's, which has to be whole",
    "A45": "a table that is added without row security",
    "A46": "address a partition instead of its table",
    "A47": "reach a table as the worker's role",
    "A48": "a job that reaches for another tenant",
    "A49": "files, programs, other servers and the server's configuration",
    "A50": "locks and statements that go on for ever",
    "B01": "every address with the id of another tenant's row",
    "B02": "fields that nobody may choose: tenant, role, plan, quota, id",
    "B03": "ids of another tenant inside bodies and queries",
    "B04": "filters, orders and pages that reach another tenant",
    "B05": "one body with own and foreign ids",
    "B06": "cursors, form tokens, sessions and notes of another tenant",
    "B07": "another tenant or host named in a header",
    "B08": "searches, counts and lists that tell of another tenant",
    "B09": "watch a job of another tenant",
    "B10": "caches that are shared by tenants",
    "B11": "1,000 requests of two tenants at the same time",
    "B12": "a task or a thread that takes a tenant over from a request",
    "B13": "the object mapper: identity map, lazy loading, bulk statements, free text",
    "B14": "a query with no tenant named",
    "B15": "a job with a forged tenant, or with ids of another",
    "B16": "a signed message of a vendor that names another tenant",
    "B17": "the key or session of a removed or demoted member",
    "B18": "a member calls what admins may",
    "B19": "Studio from elsewhere, without its token, for another tenant",
    "B20": "what errors and logs tell after a refused write",
    "B21": "encrypted values copied between tenants, rows and columns",
    "B22": "the export of one tenant, imported into another",
    "B23": "instructions to a language model inside texts of platforms",
    "B24": "tell known from unknown addresses at sign-in and reset",
    "B25": "file names that lead elsewhere",
    "C01": "encrypted fields that were moved, changed or put under another key",
    "C02": "secrets in plain text: tables, files, dumps, logs, answers, errors",
    "C03": "a change of keys that is killed half-way",
    "C04": "a start in production without a key; who may read the key's file",
    "C05": "where keys come from; keys in the database",
    "C06": "a look-up by an encrypted value",
    "C07": "keys of the API: made, kept, shown, ended",
    "C08": "passwords: how they are hashed, how long it takes, which are refused",
    "C09": "sessions: taken over, replayed, never ended",
    "C10": "forms that another site sends",
    "C11": "the headers of every answer",
    "C12": "bursts of requests and of attempts to sign in",
    "C13": "addresses that lead inside, given to what calls outside",
    "C14": "messages of vendors: forged, edited, old, repeated",
    "C15": "messages to others: signed, repeated under the same id",
    "C16": "connecting accounts of platforms by OAuth",
    "C17": "change or delete what the log of deeds says",
    "C18": "scripts in titles, names and results",
    "C19": "dependencies: hashes, bill of materials, rules against unsafe code",
    "C20": "what production gives away: debug pages, descriptions, stack traces",
}

# Lines with nothing to attack so far: there is no such part of the product yet.
EXCEPTIONS = {
    "B22": "There is no export or import of a tenant yet; backups are the operator's.",
    "C15": "Nothing is sent to addresses that people name: there are no outgoing webhooks yet.",
    "C16": "Platforms cannot be connected by OAuth yet; results come as files and by the API.",
}


def named_tests(folder: Path = TESTS) -> dict[str, dict[str, list[str]]]:
    """List the tests of every line, by the path of their file: {"A01": {"tests/...": [names]}}."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for line in lines_of(node.name):
                    found[line][path.relative_to(folder.parent).as_posix()].append(node.name)
    return found


def lines_of(test: str) -> list[str]:
    """Return the lines that stand in the name of a test."""
    named = _NAME.match(test)
    return named[1].upper().strip("_").split("_") if named else []
