-- What is no table: schemas, routines, types, sequences, extensions, and the way to other servers.
-- Rows as in catalog_tables.sql.

SELECT 'database' AS kind, '' AS name,
       jsonb_strip_nulls(jsonb_build_object('owner', d.datdba::regrole::text,
         'connection limit', nullif(d.datconnlimit, -1))) AS parts, '{}'::jsonb AS place
FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()

UNION ALL
SELECT 'schema', name, jsonb_build_object('owner', nspowner::regrole::text), '{}'::jsonb
FROM spaces WHERE is_ours

UNION ALL -- functions: the whole definition, and who it runs as
SELECT r.kind, r.name,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', r.proowner::regrole::text,
         'definition', CASE WHEN r.prokind <> 'a' THEN rtrim(pg_get_functiondef(r.oid)) END,
         'aggregate', (SELECT to_jsonb(array_agg(part)) FROM (VALUES
           ('(' || pg_get_function_arguments(r.oid) || ')'), ('RETURNS ' || pg_get_function_result(r.oid)),
           ('PARALLEL = ' || r.proparallel::text), ('KIND = ' || a.aggkind::text),
           ('SFUNC = ' || a.aggtransfn::regprocedure), ('STYPE = ' || a.aggtranstype::regtype),
           ('SSPACE = ' || nullif(a.aggtransspace, 0)), ('INITCOND = ' || a.agginitval),
           ('FINALFUNC = ' || nullif(a.aggfinalfn, 0)::regprocedure),
           (CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END),
           ('FINALFUNC_MODIFY = ' || a.aggfinalmodify::text),
           ('COMBINEFUNC = ' || nullif(a.aggcombinefn, 0)::regprocedure),
           ('SERIALFUNC = ' || nullif(a.aggserialfn, 0)::regprocedure),
           ('DESERIALFUNC = ' || nullif(a.aggdeserialfn, 0)::regprocedure),
           ('MSFUNC = ' || nullif(a.aggmtransfn, 0)::regprocedure),
           ('MINVFUNC = ' || nullif(a.aggminvtransfn, 0)::regprocedure),
           ('MSTYPE = ' || nullif(a.aggmtranstype, 0)::regtype),
           ('MSSPACE = ' || nullif(a.aggmtransspace, 0)), ('MINITCOND = ' || a.aggminitval),
           ('MFINALFUNC = ' || nullif(a.aggmfinalfn, 0)::regprocedure),
           (CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END),
           ('MFINALFUNC_MODIFY = ' || a.aggmfinalmodify::text),
           ('SORTOP = ' || nullif(a.aggsortop, 0)::regoperator)) AS said (part)
           WHERE part IS NOT NULL AND r.prokind = 'a'))),
       jsonb_build_object('schema', r.nspname, 'bare', r.proname)
FROM routines AS r LEFT JOIN pg_catalog.pg_aggregate AS a ON a.aggfnoid = r.oid

UNION ALL -- sequences; those of identity columns stand with their column
SELECT 'sequence', r.name,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', r.relowner::regrole::text,
         'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
         'type', format_type(q.seqtypid, NULL), 'start', q.seqstart, 'increment', q.seqincrement,
         'minimum', q.seqmin, 'maximum', q.seqmax, 'cache', q.seqcache,
         'cycle', CASE WHEN q.seqcycle THEN 'yes' END,
         'owned by', c.name)),
       jsonb_strip_nulls(jsonb_build_object('table', c.table_name, 'object', c.title))
FROM relations AS r
JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = r.oid
LEFT JOIN pg_catalog.pg_depend AS d ON d.objid = r.oid AND d.deptype IN ('a', 'i')
  AND d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = d.classid AND d.refobjsubid > 0
LEFT JOIN columns AS c ON c.attrelid = d.refobjid AND c.attnum = d.refobjsubid
WHERE d.deptype IS DISTINCT FROM 'i'

UNION ALL -- types that are not a table's
SELECT 'type', t.name,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', t.typowner::regrole::text,
         'kind', CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range'
                   WHEN 'c' THEN 'composite' WHEN 'b' THEN 'base' ELSE 'shell' END,
         'labels', (SELECT to_jsonb(array_agg(e.enumlabel ORDER BY e.enumsortorder))
                    FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid),
         'base', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
         'not null', CASE WHEN t.typnotnull THEN 'yes' END,
         'default', t.typdefault,
         'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> 0
                        THEN t.typcollation::regcollation::text END,
         'constraints', (SELECT to_jsonb(array_agg(quote_ident(k.conname) || ' '
                                                   || pg_get_constraintdef(k.oid) ORDER BY k.conname))
                         FROM pg_catalog.pg_constraint AS k
                         WHERE k.contypid = t.oid AND k.contype = 'c'),
         'subtype', format_type(g.rngsubtype, NULL),
         'range', (SELECT to_jsonb(array_agg(part)) FROM (VALUES
           ('MULTIRANGE_TYPE_NAME = ' || g.rngmultitypid::regtype),
           ('SUBTYPE_OPCLASS = ' || (SELECT o.opcname FROM pg_catalog.pg_opclass AS o
                                     WHERE o.oid = g.rngsubopc AND NOT o.opcdefault)),
           ('COLLATION = ' || nullif(g.rngcollation, s.typcollation)::regcollation),
           ('CANONICAL = ' || nullif(g.rngcanonical, 0)::regprocedure),
           ('SUBTYPE_DIFF = ' || nullif(g.rngsubdiff, 0)::regprocedure)) AS said (part)
           WHERE part IS NOT NULL),
         'base type', CASE WHEN t.typtype = 'b' THEN to_jsonb(ARRAY[
           'INPUT = ' || t.typinput, 'OUTPUT = ' || t.typoutput, 'RECEIVE = ' || t.typreceive,
           'SEND = ' || t.typsend, 'TYPMOD_IN = ' || t.typmodin, 'TYPMOD_OUT = ' || t.typmodout,
           'ANALYZE = ' || t.typanalyze, 'LENGTH = ' || t.typlen, 'ALIGNMENT = ' || t.typalign::text,
           'STORAGE = ' || t.typstorage::text, 'BY VALUE = ' || t.typbyval, 'CATEGORY = ' || t.typcategory::text,
           'PREFERRED = ' || t.typispreferred, 'DELIMITER = ' || t.typdelim::text,
           'SUBSCRIPT = ' || t.typsubscript, 'ELEMENT = ' || t.typelem::regtype]) END,
         'attributes', (SELECT to_jsonb(array_agg(quote_ident(a.attname) || ' '
                                 || format_type(a.atttypid, a.atttypmod)
                                 || coalesce(' COLLATE ' || nullif(a.attcollation, b.typcollation)
                                                              ::regcollation, '')
                                 ORDER BY a.attnum))
                        FROM pg_catalog.pg_attribute AS a
                        JOIN pg_catalog.pg_type AS b ON b.oid = a.atttypid
                        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))),
       jsonb_build_object('schema', t.nspname, 'bare', t.typname)
FROM types AS t
LEFT JOIN pg_catalog.pg_range AS g ON g.rngtypid = t.oid
LEFT JOIN pg_catalog.pg_type AS s ON s.oid = g.rngsubtype

UNION ALL -- extensions; an object that somebody added to one changes the number of its objects
SELECT 'extension', e.name,
       jsonb_build_object('version', e.extversion, 'schema', e.extnamespace::regnamespace::text,
         'objects', (SELECT count(*) FROM pg_catalog.pg_depend AS d
                     WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
                       AND d.refobjid = e.oid AND d.deptype = 'e')),
       '{}'::jsonb
FROM extensions AS e

UNION ALL -- what goes out to other servers
SELECT 'publication', quote_ident(p.pubname),
       jsonb_strip_nulls(jsonb_build_object(
         'owner', p.pubowner::regrole::text, 'all tables', p.puballtables,
         'sends', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
                            CASE WHEN p.pubupdate THEN 'update' END,
                            CASE WHEN p.pubdelete THEN 'delete' END,
                            CASE WHEN p.pubtruncate THEN 'truncate' END),
         'through the root', nullif(p.pubviaroot, false),
         'generated columns', CASE to_jsonb(p) ->> 'pubgencols' WHEN 's' THEN 'stored' END,
         'tables', (SELECT to_jsonb(array_agg(sent.sql ORDER BY sent.sql)) FROM (
           SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
             || coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                                  FROM pg_catalog.pg_attribute AS a
                                  WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs)) || ')', '')
             || coalesce(' WHERE (' || pg_get_expr(t.prqual, t.prrelid) || ')', '') AS sql
           FROM pg_catalog.pg_publication_rel AS t
           JOIN pg_catalog.pg_class AS c ON c.oid = t.prrelid
           JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
           WHERE t.prpubid = p.oid) AS sent),
         'schemas', (SELECT to_jsonb(array_agg(quote_ident(n.nspname) ORDER BY n.nspname))
                     FROM pg_catalog.pg_publication_namespace AS t
                     JOIN pg_catalog.pg_namespace AS n ON n.oid = t.pnnspid
                     WHERE t.pnpubid = p.oid))),
       '{}'::jsonb
FROM pg_catalog.pg_publication AS p
UNION ALL -- what comes in; the connection may hold a password, and only a superuser can read it
SELECT 'subscription', quote_ident(s.subname),
       jsonb_strip_nulls(jsonb_build_object('owner', s.subowner::regrole::text,
         'enabled', s.subenabled, 'publications', to_jsonb(s.subpublications),
         'slot', s.subslotname, 'binary', nullif(s.subbinary, false),
         'streaming', nullif(s.substream::text, 'f'), 'commit', nullif(s.subsynccommit, 'off'),
         'two phases', CASE WHEN s.subtwophasestate <> 'd' THEN 'yes' END,
         'disable on error', nullif(s.subdisableonerr, false))
         || (SELECT jsonb_strip_nulls(jsonb_build_object('origin', suborigin, 'failover', subfailover,
               'password required', subpasswordrequired, 'run as owner', subrunasowner))
             FROM pg_catalog.pg_subscription AS own WHERE own.oid = s.oid)),
       '{}'::jsonb
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = current_database(),
-- The columns that PostgreSQL 15 does not have yet are found here instead.
(SELECT NULL AS suborigin, NULL AS subfailover, NULL AS subpasswordrequired, NULL AS subrunasowner)
  AS absent
UNION ALL
SELECT 'foreign server', quote_ident(f.srvname),
       jsonb_strip_nulls(jsonb_build_object('owner', f.srvowner::regrole::text,
         'wrapper', w.fdwname, 'type', f.srvtype, 'version', f.srvversion,
         'options', to_jsonb(f.srvoptions))),
       '{}'::jsonb
FROM pg_catalog.pg_foreign_server AS f
JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = f.srvfdw
WHERE f.oid NOT IN (SELECT objid FROM members
                    WHERE classid = 'pg_catalog.pg_foreign_server'::regclass)
UNION ALL -- its options may hold a password: their names are enough
SELECT 'user mapping', quote_ident(m.srvname) || ' for ' || m.usename,
       jsonb_strip_nulls(jsonb_build_object('options',
         (SELECT to_jsonb(array_agg(split_part(o, '=', 1) ORDER BY o)) FROM unnest(m.umoptions) AS o))),
       jsonb_build_object('object', 'foreign server ' || quote_ident(m.srvname))
FROM pg_catalog.pg_user_mappings AS m

UNION ALL -- triggers of the whole database
SELECT 'event trigger', quote_ident(e.evtname),
       jsonb_strip_nulls(jsonb_build_object(
         'owner', e.evtowner::regrole::text, 'event', e.evtevent,
         'function', e.evtfoid::regproc::text, 'tags', to_jsonb(e.evttags),
         'enabled', CASE e.evtenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica'
                      WHEN 'A' THEN 'always' END)),
       '{}'::jsonb
FROM pg_catalog.pg_event_trigger AS e
