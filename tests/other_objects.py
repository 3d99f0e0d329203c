"""Changes of what is no table: routines, types, other servers, privileges, comments.

As in other_changes.py, whose SETUP makes what they change.
"""

from __future__ import annotations

ROUTINES = [
    ("function lab.add(integer, integer)", "ALTER FUNCTION lab.add COST 7"),
    ("function lab.add(integer, integer)", "ALTER FUNCTION lab.add STRICT"),
    ("function lab.add(integer, integer)", "ALTER FUNCTION lab.add STABLE"),
    ("function lab.add(integer, integer)", "ALTER FUNCTION lab.add PARALLEL SAFE"),
    ("function lab.add(integer, integer)", "ALTER FUNCTION lab.add RESET ALL"),
    (
        "function lab.add(integer, integer)",
        (
            "CREATE OR REPLACE FUNCTION lab.add(a integer, b integer DEFAULT 2) RETURNS integer"
            " LANGUAGE sql SET work_mem = '8MB' AS 'SELECT a + b'"
        ),
    ),
    (
        "function lab.add(integer, integer)",
        (
            "CREATE OR REPLACE FUNCTION lab.add(a integer, b integer DEFAULT 1) RETURNS integer"
            " LANGUAGE sql SET work_mem = '8MB' RETURN a + b"
        ),
    ),
    ("function lab.many(integer)", "ALTER FUNCTION lab.many ROWS 7"),
    ("function lab.many(integer)", "ALTER FUNCTION lab.many SUPPORT generate_series_int4_support"),
    (
        "function lab.rank()",
        "CREATE FUNCTION lab.rank() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number'",
    ),
    (
        "function lab.many(integer) + function lab.many(text)",
        (
            "DROP FUNCTION lab.many; CREATE FUNCTION lab.many(text) RETURNS SETOF integer"
            " LANGUAGE sql AS 'SELECT 1'"
        ),
    ),
    ("procedure lab.act()", "ALTER PROCEDURE lab.act SECURITY DEFINER"),
    ("procedure lab.act()", "ALTER PROCEDURE lab.act OWNER TO viral_backup"),
    (
        "function pg_catalog.hidden()",
        (
            "CREATE FUNCTION pg_catalog.hidden() RETURNS integer LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT 1'"
        ),
    ),
    (
        "aggregate lab.total(integer)",
        (
            "CREATE OR REPLACE AGGREGATE lab.total(integer) (SFUNC = int4pl, STYPE = integer,"
            " INITCOND = 5)"
        ),
    ),
    (
        "aggregate lab.total(integer)",
        (
            "CREATE OR REPLACE AGGREGATE lab.total(integer) (SFUNC = int4pl, STYPE = integer,"
            " COMBINEFUNC = int4pl, PARALLEL = SAFE)"
        ),
    ),
    (
        "aggregate lab.total(integer)",
        (
            "CREATE OR REPLACE AGGREGATE lab.total(integer) (SFUNC = int4pl, STYPE = integer,"
            " MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = integer)"
        ),
    ),
    (
        "dependency of function lab.add(integer, integer) on extension pg_trgm",
        "ALTER FUNCTION lab.add DEPENDS ON EXTENSION pg_trgm",
    ),
]

TYPES = [
    ("type lab.mood", "ALTER TYPE lab.mood ADD VALUE 'so' BEFORE 'bad'"),
    ("type lab.mood", "ALTER TYPE lab.mood RENAME VALUE 'good' TO 'fine'"),
    ("type lab.mood", "ALTER TYPE lab.mood OWNER TO viral_backup"),
    (
        "type lab.pair + column lab.pairs.three",
        "ALTER TYPE lab.pair ADD ATTRIBUTE three integer CASCADE",
    ),
    (
        "type lab.pair + column lab.pairs.two",
        'ALTER TYPE lab.pair ALTER ATTRIBUTE two TYPE text COLLATE "C" CASCADE',
    ),
    (
        "type lab.span",
        'DROP TYPE lab.span; CREATE TYPE lab.span AS RANGE (SUBTYPE = text, COLLATION = "C")',
    ),
    (
        "type lab.span",
        (
            "DROP TYPE lab.span; CREATE TYPE lab.span AS RANGE (SUBTYPE = text, SUBTYPE_OPCLASS"
            " = text_pattern_ops)"
        ),
    ),
    (
        "type lab.span",
        (
            "DROP TYPE lab.span; CREATE TYPE lab.span AS RANGE (SUBTYPE = text,"
            " MULTIRANGE_TYPE_NAME = lab.spans)"
        ),
    ),
    ("type lab.small", "ALTER DOMAIN lab.small SET DEFAULT 5"),
    ("type lab.small", "ALTER DOMAIN lab.small SET NOT NULL"),
    ("type lab.small", "ALTER DOMAIN lab.small ADD CONSTRAINT high CHECK (VALUE > 0) NOT VALID"),
    ("type lab.small", "ALTER DOMAIN lab.small RENAME CONSTRAINT low TO lower"),
    ("type lab.shell", "CREATE TYPE lab.shell"),
    (
        "function lab.point_in(cstring) + function lab.point_out(lab.point) + type lab.point",
        (
            "CREATE TYPE lab.point; CREATE FUNCTION lab.point_in(cstring) RETURNS lab.point"
            " LANGUAGE internal IMMUTABLE STRICT AS 'int4in'; CREATE FUNCTION"
            " lab.point_out(lab.point) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS"
            " 'int4out'; CREATE TYPE lab.point (INPUT = lab.point_in, OUTPUT = lab.point_out,"
            " LIKE = integer)"
        ),
    ),
    ("sequence lab.steps", "ALTER SEQUENCE lab.steps INCREMENT 3"),
    ("sequence lab.steps", "ALTER SEQUENCE lab.steps SET UNLOGGED"),
    ("sequence lab.steps", "ALTER SEQUENCE lab.steps OWNED BY lab.films.id"),
    ("sequence lab.steps", "ALTER SEQUENCE lab.steps OWNER TO viral_backup"),
]

ELSEWHERE = [
    ("foreign table lab.there", "ALTER FOREIGN TABLE lab.there OPTIONS (ADD name 'x')"),
    ("column lab.there.name", "ALTER FOREIGN TABLE lab.there ALTER name OPTIONS (ADD name 'x')"),
    ("foreign server away", "ALTER SERVER away OPTIONS (ADD host 'x')"),
    ("foreign server away", "ALTER SERVER away VERSION '2'"),
    (
        "foreign server away",
        (
            "ALTER SERVER away OWNER TO viral_admin; UPDATE pg_foreign_server SET srvtype = 'x'"
            " WHERE srvname = 'away'"
        ),
    ),
    ("foreign-data wrapper distant", "ALTER FOREIGN DATA WRAPPER distant OPTIONS (ADD debug 'x')"),
    (
        "user mapping away for viral_app",
        "ALTER USER MAPPING FOR viral_app SERVER away OPTIONS (ADD password 'x')",
    ),
    ("user mapping away for viral_readonly", "CREATE USER MAPPING FOR viral_readonly SERVER away"),
    ("publication sent", "ALTER PUBLICATION sent SET TABLE lab.films (id, title)"),
    ("publication sent", "ALTER PUBLICATION sent SET TABLE lab.films (id, year) WHERE (id > 5)"),
    ("publication sent", "ALTER PUBLICATION sent SET (publish = 'insert')"),
    ("publication sent", "ALTER PUBLICATION sent SET (publish_via_partition_root = true)"),
    ("publication sent", "ALTER PUBLICATION sent SET (publish_generated_columns = stored)"),
    (
        "publication sent",
        "ALTER PUBLICATION sent OWNER TO viral_admin; ALTER PUBLICATION sent ADD TABLE lab.scenes",
    ),
    ("publication all_of", "ALTER PUBLICATION all_of ADD TABLES IN SCHEMA viral"),
    ("extension pg_trgm", "ALTER EXTENSION pg_trgm SET SCHEMA public"),
    (
        "extension pg_trgm + function lab.add(integer, integer)",
        "ALTER EXTENSION pg_trgm ADD FUNCTION lab.add(integer, integer)",
    ),
    ("extension unaccent", "CREATE EXTENSION unaccent SCHEMA lab"),
    (
        "function lab.hidden()",
        (
            "CREATE FUNCTION lab.hidden() RETURNS integer LANGUAGE sql AS 'SELECT 1'; ALTER"
            " EXTENSION plpgsql ADD FUNCTION lab.hidden()"
        ),
    ),
    ("setting search_path", "ALTER DATABASE {database} SET search_path = lab"),
    ("setting app.secret", "ALTER DATABASE {database} SET app.secret = 'x'"),
    (
        "setting row_security of viral_app",
        "ALTER ROLE viral_app IN DATABASE {database} SET row_security = off",
    ),
    ("database", "ALTER DATABASE {database} CONNECTION LIMIT 5"),
]

RARE = [
    ("cast (lab.mood AS integer)", "CREATE CAST (lab.mood AS integer) WITH INOUT AS ASSIGNMENT"),
    (
        "operator lab.===(pg_catalog.text,pg_catalog.text)",
        "ALTER OPERATOR lab.=== (text, text) SET (RESTRICT = eqsel)",
    ),
    (
        "operator lab.===(pg_catalog.text,pg_catalog.text)",
        "ALTER OPERATOR lab.=== (text, text) OWNER TO viral_backup",
    ),
    (
        "operator class lab.likeness USING btree + operator family lab.kin USING btree",
        (
            "CREATE OPERATOR CLASS lab.likeness FOR TYPE text USING btree FAMILY lab.kin AS"
            " FUNCTION 1 bttextcmp(text, text)"
        ),
    ),
    (
        "operator family lab.kin USING btree",
        "ALTER OPERATOR FAMILY lab.kin USING btree ADD OPERATOR 3 = (text, text)",
    ),
    (
        "collation lab.plain",
        "DROP COLLATION lab.plain; CREATE COLLATION lab.plain (provider = libc, locale = 'POSIX')",
    ),
    ("collation lab.plain", "ALTER COLLATION lab.plain OWNER TO viral_backup"),
    (
        "conversion lab.turned",
        "CREATE CONVERSION lab.turned FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    ),
    (
        "text search configuration lab.search",
        "ALTER TEXT SEARCH CONFIGURATION lab.search ALTER MAPPING FOR word WITH english_stem",
    ),
    (
        "text search configuration lab.search",
        "ALTER TEXT SEARCH CONFIGURATION lab.search DROP MAPPING FOR email",
    ),
    ("text search dictionary lab.words", "ALTER TEXT SEARCH DICTIONARY lab.words (accept = false)"),
    (
        "text search parser lab.reader",
        (
            "CREATE TEXT SEARCH PARSER lab.reader (START = prsd_start, GETTOKEN ="
            " prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)"
        ),
    ),
    (
        "text search template lab.pattern",
        "CREATE TEXT SEARCH TEMPLATE lab.pattern (LEXIZE = dsimple_lexize)",
    ),
    ("language other", "CREATE TRUSTED LANGUAGE other HANDLER plpgsql_call_handler"),
    (
        "transform for integer language sql",
        "CREATE TRANSFORM FOR integer LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
    ),
    ("access method tree", "CREATE ACCESS METHOD tree TYPE INDEX HANDLER bthandler"),
]

PRIVILEGES = [
    ("grant column lab.films.title to viral_app", "GRANT UPDATE (title) ON lab.films TO viral_app"),
    (
        "grant column lab.films.year to viral_app",
        "REVOKE SELECT (year) ON lab.films FROM viral_app",
    ),
    ("grant table lab.films to viral_app", "GRANT MAINTAIN ON lab.films TO viral_app"),
    (
        "grant table lab.scenes to viral_readonly",
        "SET LOCAL ROLE viral_app; GRANT SELECT ON lab.scenes TO viral_readonly; RESET ROLE",
    ),
    ("grant view lab.titles to PUBLIC", "GRANT SELECT ON lab.titles TO PUBLIC"),
    ("grant materialized view lab.counts to viral_app", "GRANT SELECT ON lab.counts TO viral_app"),
    ("grant foreign table lab.there to viral_app", "GRANT SELECT ON lab.there TO viral_app"),
    ("grant sequence lab.steps to viral_app", "GRANT USAGE ON SEQUENCE lab.steps TO viral_app"),
    (
        "grant sequence lab.films_number_seq to viral_app",
        "GRANT USAGE ON SEQUENCE lab.films_number_seq TO viral_app",
    ),
    ("grant type lab.mood to PUBLIC", "REVOKE USAGE ON TYPE lab.mood FROM PUBLIC"),
    (
        "grant type lab.small to viral_app",
        "GRANT USAGE ON DOMAIN lab.small TO viral_app WITH GRANT OPTION",
    ),
    ("grant procedure lab.act() to PUBLIC", "REVOKE EXECUTE ON PROCEDURE lab.act FROM PUBLIC"),
    (
        "grant aggregate lab.total(integer) to viral_app",
        "GRANT EXECUTE ON FUNCTION lab.total TO viral_app",
    ),
    ("grant schema lab to viral_app", "GRANT CREATE ON SCHEMA lab TO viral_app"),
    ("grant schema pg_catalog to viral_app", "GRANT CREATE ON SCHEMA pg_catalog TO viral_app"),
    (
        "grant language plpgsql to viral_app",
        "GRANT USAGE ON LANGUAGE plpgsql TO viral_app WITH GRANT OPTION",
    ),
    (
        "grant foreign-data wrapper distant to viral_app",
        "GRANT USAGE ON FOREIGN DATA WRAPPER distant TO viral_app",
    ),
    ("grant foreign server away to viral_app", "GRANT USAGE ON FOREIGN SERVER away TO viral_app"),
    ("grant database to viral_app", "GRANT CREATE ON DATABASE {database} TO viral_app"),
    (
        "grant function pg_catalog.pg_read_file(pg_catalog.text) to viral_app",
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO viral_app",
    ),
    ("grant table pg_catalog.pg_authid to PUBLIC", "GRANT SELECT ON pg_authid TO PUBLIC"),
    (
        "grant table column pg_catalog.pg_authid.rolpassword to viral_app",
        "GRANT SELECT (rolpassword) ON pg_authid TO viral_app",
    ),
    (
        "grant function lab.show_limit() to viral_app",
        "GRANT EXECUTE ON FUNCTION lab.show_limit() TO viral_app WITH GRANT OPTION",
    ),
    ("owner's rights sequence lab.steps", "REVOKE USAGE ON SEQUENCE lab.steps FROM viral_admin"),
    (
        "default privileges of viral_admin in lab on SEQUENCES to viral_app",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA lab GRANT USAGE ON SEQUENCES TO viral_app",
    ),
    (
        "default privileges of viral_admin on SCHEMAS to viral_app",
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO viral_app",
    ),
    (
        "default privileges of viral_admin on LARGE OBJECTS to viral_app",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO viral_app",
    ),
    (
        "default privileges of viral_admin on TYPES to PUBLIC (withheld)",
        "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC",
    ),
    (
        "default privileges of viral_owner in lab on FUNCTIONS to viral_app",
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE viral_owner IN SCHEMA lab GRANT EXECUTE ON"
            " FUNCTIONS TO viral_app WITH GRANT OPTION"
        ),
    ),
]

# What can carry a comment, as COMMENT ON names it and as the catalogue does.
COMMENTED = [
    ("DATABASE {database}", "database"),
    ("COLUMN lab.titles.year", "column lab.titles.year"),
    ("COLUMN lab.pair.one", "column lab.pair.one"),
    ("VIEW lab.titles", "view lab.titles"),
    ("MATERIALIZED VIEW lab.counts", "materialized view lab.counts"),
    ("FOREIGN TABLE lab.there", "foreign table lab.there"),
    ("CONSTRAINT long ON lab.films", "constraint lab.films.long"),
    ("CONSTRAINT films_year_not_null ON lab.films", "constraint lab.films.films_year_not_null"),
    ("CONSTRAINT low ON DOMAIN lab.small", "constraint lab.small.low"),
    ("INDEX lab.once", "index lab.once"),
    ("TRIGGER fire ON lab.films", "trigger lab.films.fire"),
    ("RULE quiet ON lab.films", "rule lab.films.quiet"),
    ("SEQUENCE lab.films_number_seq", "sequence lab.films_number_seq"),
    ("STATISTICS lab.films_statistics", "statistics lab.films_statistics"),
    ("TYPE lab.mood", "type lab.mood"),
    ("DOMAIN lab.small", "type lab.small"),
    ("PROCEDURE lab.act()", "procedure lab.act()"),
    ("AGGREGATE lab.total(integer)", "aggregate lab.total(integer)"),
    ("EXTENSION pg_trgm", "extension pg_trgm"),
    ("EVENT TRIGGER guard", "event trigger guard"),
    ("PUBLICATION sent", "publication sent"),
    ("SERVER away", "foreign server away"),
    ("FOREIGN DATA WRAPPER distant", "foreign-data wrapper distant"),
    ("COLLATION lab.plain", "collation lab.plain"),
    ("OPERATOR lab.=== (text, text)", "operator lab.===(pg_catalog.text,pg_catalog.text)"),
    ("OPERATOR FAMILY lab.kin USING btree", "operator family lab.kin USING btree"),
    ("TEXT SEARCH CONFIGURATION lab.search", "text search configuration lab.search"),
    ("TEXT SEARCH DICTIONARY lab.words", "text search dictionary lab.words"),
]
SAID = [(f"comment on {title}", f"COMMENT ON {target} IS 'said'") for target, title in COMMENTED]
