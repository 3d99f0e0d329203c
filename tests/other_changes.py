"""Changes of tables of every form, past what our own schema has.

Each with the objects that it touches, joined by " + ", and its SQL; SETUP makes what they change.
"""

from __future__ import annotations

from other_objects import ELSEWHERE, PRIVILEGES, RARE, ROUTINES, SAID, TYPES

# Made where the server keeps its own data; it belongs to the server, not to a database.
TABLESPACE = ("SET allow_in_place_tablespaces = on", "CREATE TABLESPACE aside LOCATION ''")
NO_TABLESPACE = ("DROP TABLESPACE aside",)

SETUP = """
CREATE SCHEMA lab;
GRANT USAGE ON SCHEMA lab TO viral_app;
CREATE EXTENSION pg_trgm SCHEMA lab;
CREATE EXTENSION btree_gist SCHEMA lab;
CREATE FUNCTION lab.add(a integer, b integer DEFAULT 1) RETURNS integer
  LANGUAGE sql SET work_mem = '8MB' AS 'SELECT a + b';
CREATE FUNCTION lab.many(integer) RETURNS SETOF integer LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE lab.act() LANGUAGE sql AS '';
CREATE FUNCTION lab.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION lab.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION lab.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE AGGREGATE lab.total(integer) (SFUNC = int4pl, STYPE = integer);
CREATE OPERATOR lab.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = lab.same);
CREATE OPERATOR FAMILY lab.kin USING btree;
CREATE COLLATION lab.plain (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION lab.search (COPY = simple);
CREATE TEXT SEARCH DICTIONARY lab.words (TEMPLATE = simple);
CREATE TYPE lab.mood AS ENUM ('good', 'bad');
CREATE TYPE lab.pair AS (one integer, two text);
CREATE TYPE lab.span AS RANGE (SUBTYPE = text);
CREATE DOMAIN lab.small AS integer CONSTRAINT low CHECK (VALUE < 10);
CREATE SEQUENCE lab.steps;
CREATE TABLE lab.films (
  id integer PRIMARY KEY, title text, year integer NOT NULL DEFAULT 2000,
  length integer CONSTRAINT long CHECK (length > 0), number bigint GENERATED ALWAYS AS IDENTITY,
  code text CONSTRAINT once UNIQUE, twice integer GENERATED ALWAYS AS (year * 2) STORED
);
CREATE INDEX films_title ON lab.films (title);
CREATE UNIQUE INDEX films_year ON lab.films (year);
CREATE INDEX films_expression ON lab.films (lower(title), year);
CREATE STATISTICS lab.films_statistics ON year, length FROM lab.films;
CREATE TRIGGER fire BEFORE UPDATE ON lab.films FOR EACH ROW EXECUTE FUNCTION lab.fire();
CREATE RULE quiet AS ON DELETE TO lab.films DO INSTEAD NOTHING;
COMMENT ON INDEX lab.once IS 'Quick';
GRANT SELECT (year) ON lab.films TO viral_app;
CREATE TABLE lab.scenes (id integer, film integer CONSTRAINT of_film REFERENCES lab.films);
GRANT SELECT ON lab.scenes TO viral_app WITH GRANT OPTION;
CREATE TABLE lab.parent (one integer);
CREATE TABLE lab.child () INHERITS (lab.parent);
CREATE TABLE lab.pairs OF lab.pair;
CREATE TABLE lab.printed (
  at timestamptz DEFAULT '2020-02-01 00:00:00+00', since interval DEFAULT '1 day 2 hours',
  many float8 DEFAULT 0.1, bytes bytea DEFAULT 'abc', "select" date CHECK ("select" > '2020-02-01')
);
CREATE VIEW lab.titles AS SELECT title, year FROM lab.films WHERE year > 0;
COMMENT ON COLUMN lab.titles.title IS 'As on the screen';
CREATE MATERIALIZED VIEW lab.counts AS SELECT title, year FROM lab.films;
CREATE FOREIGN DATA WRAPPER distant;
CREATE SERVER away FOREIGN DATA WRAPPER distant;
CREATE FOREIGN TABLE lab.there (id integer, name text) SERVER away;
CREATE USER MAPPING FOR viral_app SERVER away;
CREATE EVENT TRIGGER guard ON ddl_command_end WHEN TAG IN ('DROP COLLATION')
  EXECUTE FUNCTION lab.watch();
CREATE PUBLICATION sent FOR TABLE lab.films (id, year);
CREATE PUBLICATION all_of FOR TABLES IN SCHEMA lab;
"""

TABLES = [
    ("table lab.films", "ALTER TABLE lab.films SET (autovacuum_vacuum_threshold = 7)"),
    ("table lab.films", "ALTER TABLE lab.films SET TABLESPACE aside"),
    ("table lab.films", "ALTER TABLE lab.films OWNER TO viral_backup"),
    ("table lab.child", "ALTER TABLE lab.child NO INHERIT lab.parent"),
    ("table lab.pairs", "ALTER TABLE lab.pairs NOT OF"),
    (
        "table lab.films + index lab.films_year",
        "ALTER TABLE lab.films REPLICA IDENTITY USING INDEX films_year",
    ),
    (
        "access method pile + table lab.piled",
        (
            "CREATE ACCESS METHOD pile TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE"
            " lab.piled () USING pile"
        ),
    ),
    ("column lab.films.year", "ALTER TABLE lab.films ALTER year SET DEFAULT 2001"),
    (
        "column lab.films.title",
        "ALTER TABLE lab.films ADD CONSTRAINT filled NOT NULL title NOT VALID",
    ),
    (
        "column lab.films.year",
        "ALTER TABLE lab.films ALTER CONSTRAINT films_year_not_null NO INHERIT",
    ),
    (
        "column lab.films.half",
        "ALTER TABLE lab.films ADD half integer GENERATED ALWAYS AS (year / 2) VIRTUAL",
    ),
    ("column lab.films.twice", "ALTER TABLE lab.films ALTER twice SET EXPRESSION AS (year * 3)"),
    ("column lab.films.number", "ALTER TABLE lab.films ALTER number SET GENERATED BY DEFAULT"),
    ("column lab.films.number", "ALTER TABLE lab.films ALTER number SET INCREMENT 5"),
    ("column lab.films.number", "ALTER SEQUENCE lab.films_number_seq RENAME TO other"),
    ("column lab.films.number", "ALTER TABLE lab.films ALTER number DROP IDENTITY"),
    (
        "column lab.scenes.id + column lab.scenes.number",
        "ALTER TABLE lab.scenes RENAME id TO number",
    ),
    (
        "column lab.child.one + column lab.parent.one",
        "ALTER TABLE lab.parent ALTER one SET NOT NULL",
    ),
    ("statistics lab.films_statistics", "ALTER STATISTICS lab.films_statistics SET STATISTICS 50"),
    (
        "statistics lab.films_statistics",
        "ALTER STATISTICS lab.films_statistics OWNER TO viral_backup",
    ),
    ("rule lab.films.quiet", "ALTER TABLE lab.films DISABLE RULE quiet"),
    (
        "rule lab.films.quiet",
        (
            "CREATE OR REPLACE RULE quiet AS ON DELETE TO lab.films WHERE old.id > 1 DO INSTEAD"
            " NOTHING"
        ),
    ),
    (
        "references of lab.films",
        (
            "DO $$ DECLARE t name; BEGIN SELECT tgname INTO t FROM pg_trigger WHERE tgrelid ="
            " 'lab.films'::regclass AND tgisinternal LIMIT 1; EXECUTE format('ALTER TABLE"
            " lab.films ENABLE ALWAYS TRIGGER %I', t); END $$"
        ),
    ),
]

KEYS = [
    (
        "constraint lab.films.long",
        (
            "ALTER TABLE lab.films DROP CONSTRAINT long, ADD CONSTRAINT long CHECK (length > 0)"
            " NO INHERIT"
        ),
    ),
    (
        "constraint lab.films.long",
        (
            "ALTER TABLE lab.films DROP CONSTRAINT long, ADD CONSTRAINT long CHECK (length > 0)"
            " NOT ENFORCED"
        ),
    ),
    (
        "constraint lab.films.another + constraint lab.films.long",
        "ALTER TABLE lab.films RENAME CONSTRAINT long TO another",
    ),
    (
        "constraint lab.scenes.of_film",
        "ALTER TABLE lab.scenes ALTER CONSTRAINT of_film DEFERRABLE INITIALLY DEFERRED",
    ),
    (
        "constraint lab.scenes.of_film",
        "ALTER TABLE lab.scenes ALTER CONSTRAINT of_film NOT ENFORCED",
    ),
    (
        "constraint lab.scenes.of_film",
        (
            "ALTER TABLE lab.scenes DROP CONSTRAINT of_film, ADD CONSTRAINT of_film FOREIGN KEY"
            " (film) REFERENCES lab.films MATCH FULL ON DELETE SET NULL (film)"
        ),
    ),
    (
        "comment on index lab.once + constraint lab.films.once",
        (
            "ALTER TABLE lab.films DROP CONSTRAINT once, ADD CONSTRAINT once UNIQUE (code)"
            " INCLUDE (title)"
        ),
    ),
    ("constraint lab.films.once", "ALTER INDEX lab.once SET (fillfactor = 60)"),
    ("constraint lab.films.once", "ALTER INDEX lab.once SET TABLESPACE aside"),
    (
        "constraint lab.films.once",
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'lab.once'::regclass",
    ),
    (
        "table lab.booked",
        (
            "CREATE TABLE lab.booked (room integer, at tsrange, PRIMARY KEY (room, at WITHOUT"
            " OVERLAPS))"
        ),
    ),
    (
        "table lab.booked + table lab.guests",
        (
            "CREATE TABLE lab.booked (room integer, at tsrange, PRIMARY KEY (room, at WITHOUT"
            " OVERLAPS)); CREATE TABLE lab.guests (room integer, at tsrange, FOREIGN KEY (room,"
            " PERIOD at) REFERENCES lab.booked (room, PERIOD at))"
        ),
    ),
    (
        "index lab.films_title",
        "DROP INDEX lab.films_title; CREATE INDEX films_title ON lab.films (title) INCLUDE (code)",
    ),
    (
        "index lab.films_title",
        "DROP INDEX lab.films_title; CREATE INDEX films_title ON lab.films (title NULLS FIRST)",
    ),
    (
        "index lab.films_title",
        'DROP INDEX lab.films_title; CREATE INDEX films_title ON lab.films (title COLLATE "C")',
    ),
    (
        "index lab.films_title",
        (
            "DROP INDEX lab.films_title; CREATE INDEX films_title ON lab.films USING gist"
            " (title lab.gist_trgm_ops (siglen = 32))"
        ),
    ),
    (
        "index lab.films_title",
        "DROP INDEX lab.films_title; CREATE INDEX films_title ON lab.films (upper(title))",
    ),
    ("index lab.films_title", "ALTER INDEX lab.films_title SET (deduplicate_items = off)"),
    ("index lab.films_title", "ALTER INDEX lab.films_title SET TABLESPACE aside"),
    ("index lab.films_title + index lab.other", "ALTER INDEX lab.films_title RENAME TO other"),
    ("index lab.films_title", "ALTER TABLE lab.films CLUSTER ON films_title"),
    (
        "index lab.films_title",
        "UPDATE pg_index SET indislive = false WHERE indexrelid = 'lab.films_title'::regclass",
    ),
    (
        "index lab.films_title",
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'lab.films_title'::regclass",
    ),
    (
        "index lab.films_expression",
        "ALTER INDEX lab.films_expression ALTER COLUMN 1 SET STATISTICS 50",
    ),
    (
        "index lab.films_year",
        (
            "DROP INDEX lab.films_year; CREATE UNIQUE INDEX films_year ON lab.films (year)"
            " NULLS NOT DISTINCT WHERE year > 1"
        ),
    ),
]

TRIGGERS = [
    (
        "trigger lab.films.fire",
        (
            "CREATE OR REPLACE TRIGGER fire BEFORE UPDATE ON lab.films FOR EACH ROW WHEN"
            " (new.id > 1) EXECUTE FUNCTION lab.fire()"
        ),
    ),
    (
        "trigger lab.films.fire",
        (
            "CREATE OR REPLACE TRIGGER fire BEFORE UPDATE OF title ON lab.films FOR EACH ROW"
            " EXECUTE FUNCTION lab.fire('with', 'arguments')"
        ),
    ),
    (
        "trigger lab.films.fire",
        (
            "CREATE OR REPLACE TRIGGER fire AFTER UPDATE ON lab.films REFERENCING NEW TABLE AS"
            " fresh FOR EACH STATEMENT EXECUTE FUNCTION lab.fire()"
        ),
    ),
    ("trigger lab.films.fire", "ALTER TABLE lab.films ENABLE ALWAYS TRIGGER fire"),
    (
        "trigger lab.films.checked",
        (
            "CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON lab.films DEFERRABLE INITIALLY"
            " DEFERRED FOR EACH ROW EXECUTE FUNCTION lab.fire()"
        ),
    ),
    (
        "trigger lab.titles.fire",
        (
            "CREATE TRIGGER fire INSTEAD OF INSERT ON lab.titles FOR EACH ROW EXECUTE FUNCTION"
            " lab.fire()"
        ),
    ),
    ("event trigger guard", "ALTER EVENT TRIGGER guard DISABLE"),
    (
        "event trigger guard",
        (
            "DROP EVENT TRIGGER guard; CREATE EVENT TRIGGER guard ON ddl_command_end WHEN TAG"
            " IN ('COMMENT') EXECUTE FUNCTION lab.watch()"
        ),
    ),
]

VIEWS = [
    ("view lab.titles", "ALTER VIEW lab.titles SET (security_barrier = true)"),
    ("view lab.titles", "ALTER VIEW lab.titles SET (check_option = cascaded)"),
    ("view lab.titles", "ALTER VIEW lab.titles ALTER year SET DEFAULT 5"),
    ("view lab.titles", "ALTER VIEW lab.titles RENAME COLUMN year TO number"),
    ("view lab.titles", "CREATE OR REPLACE VIEW lab.titles AS SELECT title, year FROM lab.films"),
    ("view lab.titles", "ALTER VIEW lab.titles OWNER TO viral_backup"),
    ("materialized view lab.counts", "REFRESH MATERIALIZED VIEW lab.counts WITH NO DATA"),
    (
        "materialized view lab.counts",
        "ALTER MATERIALIZED VIEW lab.counts ALTER title SET STATISTICS 9",
    ),
    (
        "materialized view lab.counts",
        "ALTER MATERIALIZED VIEW lab.counts ALTER title SET STORAGE EXTERNAL",
    ),
    ("materialized view lab.counts", "ALTER MATERIALIZED VIEW lab.counts SET TABLESPACE aside"),
    ("materialized view lab.counts", "ALTER MATERIALIZED VIEW lab.counts SET (fillfactor = 50)"),
    ("index lab.counts_year", "CREATE INDEX counts_year ON lab.counts (year)"),
]

PARTITIONS = [
    ("partition {partition}", "ALTER TABLE {partition} SET TABLESPACE aside"),
    ("partition {partition}", "ALTER TABLE {partition} REPLICA IDENTITY FULL"),
    ("partition {partition}", "ALTER TABLE {partition} ALTER source SET STATISTICS 5"),
    ("partition {partition}", "COMMENT ON TABLE {partition} IS 'said'"),
    ("partition {partition}", "REVOKE SELECT ON {partition} FROM viral_owner"),
    (
        "partition {partition}",
        (
            "SET LOCAL ROLE viral_owner; DROP TABLE {partition};"
            " CREATE TABLE {partition} PARTITION OF analytics_snapshots"
            " FOR VALUES FROM ('2020-01-05 00:00:00+00') TO ('2020-02-01 00:00:00+00');"
            " ALTER TABLE {partition} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
            " RESET ROLE"
        ),
    ),
    (
        "partition public.ages",
        (
            "SET LOCAL ROLE viral_owner; CREATE TABLE ages PARTITION OF analytics_snapshots"
            " FOR VALUES FROM ('2001-01-01') TO ('2002-01-01') PARTITION BY RANGE (snapshot_at);"
            " ALTER TABLE ages ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; RESET ROLE"
        ),
    ),
]

NAMES = [
    ('table lab."Films"', 'CREATE TABLE lab."Films" ()'),
    ('table lab."a.b"', 'CREATE TABLE lab."a.b" ()'),
    ('table lab."a ""b"""', 'CREATE TABLE lab."a ""b""" ()'),
    ('table lab."it\'s"', 'CREATE TABLE lab."it\'s" ()'),
    ('table lab."日本 🎬"', 'CREATE TABLE lab."日本 🎬" ()'),
    ('schema "lab.films" + table "lab.films".id', 'CREATE SCHEMA "lab.films" CREATE TABLE id ()'),
    ('column lab.films."Title"', 'ALTER TABLE lab.films ADD "Title" text'),
    ('index lab."Films_title"', 'CREATE INDEX "Films_title" ON lab.films (title)'),
    (
        'function lab."Add"(integer)',
        "CREATE FUNCTION lab.\"Add\"(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    ),
    ('policy lab.films."Mine; --"', 'CREATE POLICY "Mine; --" ON lab.films'),
]

OTHER_CHANGES = [
    *(*TABLES, *KEYS, *TRIGGERS, *VIEWS, *PARTITIONS, *NAMES),
    *(*ROUTINES, *TYPES, *ELSEWHERE, *RARE, *PRIVILEGES, *SAID),
]

# No part of a schema: what only a session sees, rows, months.
NO_CHANGES = [
    "CREATE TEMPORARY TABLE passing (id integer PRIMARY KEY)",
    "CREATE TEMPORARY VIEW passing AS SELECT 1 AS one",
    "CREATE TEMPORARY SEQUENCE passing",
    "CREATE FUNCTION pg_temp.passing() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE pg_temp.passing AS ENUM ('a')",
    "CREATE COLLATION pg_temp.passing (provider = libc, locale = 'C')",
    "CREATE TABLE passing (); DROP TABLE passing",
    "INSERT INTO lab.films (id) VALUES (1); SELECT setval('lab.steps', 70); ANALYZE lab.films",
    "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep_for TO viral_app",
    (
        "SET LOCAL ROLE viral_owner;"
        " CREATE TABLE analytics_snapshots_203001 PARTITION OF analytics_snapshots"
        " FOR VALUES FROM ('2030-01-01 00:00:00+00') TO ('2030-02-01 00:00:00+00');"
        " ALTER TABLE analytics_snapshots_203001"
        " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; RESET ROLE"
    ),
]
