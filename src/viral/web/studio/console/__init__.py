"""Studio's console: typed SQL, plans, the diagram of the schema, the state of the migrations."""

from __future__ import annotations

from viral.web.studio.console import answering, diagram, migrations, page

handlers = (
    page.show_console,
    answering.run_text,
    answering.keep_changes,
    answering.explain_text,
    answering.export_rows,
    answering.cancel_run,
    diagram.show_diagram,
    migrations.show_migrations,
    migrations.show_migration,
)
