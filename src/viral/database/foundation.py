"""What a database of the product needs before its first migration. Every line can run again."""

from __future__ import annotations

from viral.schema.security import LOGINS


def quoted(name: str) -> str:
    """Quote a name as SQL does."""
    return '"' + name.replace('"', '""') + '"'


def database_script(name: str) -> str:
    """Leave nothing to PUBLIC: no connection, no temporary tables, no look into `public`."""
    logins = ", ".join(LOGINS)
    return f"""
    REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC;
    GRANT CONNECT ON DATABASE {quoted(name)} TO {logins};
    GRANT CREATE ON DATABASE {quoted(name)} TO viral_owner;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT USAGE, CREATE ON SCHEMA public TO viral_owner;
    GRANT USAGE ON SCHEMA public TO viral_auth, {logins};
    """


def schema_script() -> str:
    """Make the schema of the product's functions and of what they alone may read."""
    return f"""
    CREATE SCHEMA IF NOT EXISTS viral AUTHORIZATION viral_auth;
    REVOKE ALL ON SCHEMA viral FROM PUBLIC;
    GRANT USAGE, CREATE ON SCHEMA viral TO viral_owner;
    GRANT USAGE ON SCHEMA viral TO {", ".join(LOGINS)};
    """
