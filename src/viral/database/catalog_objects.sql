-- What a schema is made of, for the queries of the other catalog_*.sql: they follow this list.
-- Every object has its `title`, by which it is told from all others, and its `name`, as SQL takes it.
WITH members AS ( -- what another object stands for: its extension, or the range type it came with
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend AS d
  WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
    -- Below 16384 (FirstNormalObjectId) is what initdb made. What joined plpgsql later is not of it.
    AND (d.objid < 16384 OR d.refobjid >= 16384)
    OR d.refclassid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'i'
    AND d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_cast'::regclass)
), spaces AS ( -- pg_catalog and the like are not ours, but somebody may put something into them
  SELECT n.oid, n.nspname, quote_ident(n.nspname) AS name, n.nspowner, n.nspacl,
         'schema ' || quote_ident(n.nspname) AS title,
         n.nspname NOT IN ('pg_catalog', 'information_schema')
           AND n.oid NOT IN (SELECT objid FROM members
                             WHERE classid = 'pg_catalog.pg_namespace'::regclass) AS is_ours
  FROM pg_catalog.pg_namespace AS n
  WHERE n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
), all_relations AS (
  SELECT c.*, s.nspname, k.kind, k.kind || ' ' || s.name || '.' || quote_ident(c.relname) AS title,
         s.name || '.' || quote_ident(c.relname) AS name
  FROM pg_catalog.pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace,
  LATERAL (SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index'
    WHEN 'I' THEN 'index' WHEN 'c' THEN 'type' ELSE 'table' END AS kind) AS k
  WHERE c.oid >= 16384
    AND c.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_catalog.pg_class'::regclass)
), relations AS (
  SELECT * FROM all_relations WHERE NOT relispartition
), columns AS (
  SELECT r.name AS table_name, r.nspname, r.relname, r.relkind, r.relowner, a.*,
         r.name || '.' || quote_ident(a.attname) AS name,
         'column ' || r.name || '.' || quote_ident(a.attname) AS title
  FROM relations AS r JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
), routines AS (
  SELECT p.*, s.nspname, k.kind, k.name, k.kind || ' ' || k.name AS title
  FROM pg_catalog.pg_proc AS p JOIN spaces AS s ON s.oid = p.pronamespace,
  LATERAL (SELECT
    CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
    s.name || '.' || quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')' AS name)
    AS k
  WHERE p.oid >= 16384
    AND p.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_catalog.pg_proc'::regclass)
), types AS ( -- but those that come with a table, an array or a multirange with its range
  SELECT t.*, s.nspname, s.name || '.' || quote_ident(t.typname) AS name,
         'type ' || s.name || '.' || quote_ident(t.typname) AS title
  FROM pg_catalog.pg_type AS t JOIN spaces AS s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
  WHERE t.oid >= 16384 AND t.typtype <> 'm' AND (t.typtype <> 'c' OR c.relkind = 'c')
    AND t.oid NOT IN (SELECT typarray FROM pg_catalog.pg_type)
    AND t.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_catalog.pg_type'::regclass)
), table_constraints AS (
  SELECT k.*, r.name AS table_name, r.name || '.' || quote_ident(k.conname) AS name,
         'constraint ' || r.name || '.' || quote_ident(k.conname) AS title
  FROM relations AS r JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
  -- A constraint trigger is listed as a trigger.
  WHERE k.contype <> 't'
), table_indexes AS ( -- `conoid` is the constraint that an index belongs to
  SELECT i.*, r.name AS table_name, c.name, c.relname, c.title, k.oid AS conoid,
         nullif(concat_ws(' ', CASE WHEN NOT i.indisvalid THEN 'invalid' END,
                          CASE WHEN NOT i.indisready THEN 'not ready' END,
                          CASE WHEN NOT i.indislive THEN 'not live' END,
                          CASE WHEN i.indisclustered THEN 'clustered' END,
                          CASE WHEN i.indisreplident THEN 'replica identity' END), '') AS marks,
         (SELECT t.spcname FROM pg_catalog.pg_tablespace AS t WHERE t.oid = c.reltablespace)
           AS tablespace,
         (SELECT to_jsonb(array_agg(a.attnum || ': ' || a.attstattarget ORDER BY a.attnum))
          FROM pg_catalog.pg_attribute AS a
          WHERE a.attrelid = i.indexrelid AND a.attstattarget <> -1) AS statistics
  FROM relations AS r
  JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
  JOIN relations AS c ON c.oid = i.indexrelid
  LEFT JOIN pg_catalog.pg_constraint AS k
    ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
), table_policies AS (
  SELECT p.*, r.name AS table_name, r.name || '.' || quote_ident(p.polname) AS name,
         'policy ' || r.name || '.' || quote_ident(p.polname) AS title
  FROM relations AS r JOIN pg_catalog.pg_policy AS p ON p.polrelid = r.oid
), table_triggers AS (
  SELECT t.*, r.name AS table_name, r.name || '.' || quote_ident(t.tgname) AS name,
         'trigger ' || r.name || '.' || quote_ident(t.tgname) AS title
  FROM relations AS r JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid
  WHERE NOT t.tgisinternal
), rules AS (
  SELECT w.*, r.name AS table_name, r.name || '.' || quote_ident(w.rulename) AS name,
         'rule ' || r.name || '.' || quote_ident(w.rulename) AS title
  FROM relations AS r JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid
  WHERE w.rulename <> '_RETURN'
), statistics AS (
  SELECT x.*, r.name AS table_name, s.name || '.' || quote_ident(x.stxname) AS name,
         'statistics ' || s.name || '.' || quote_ident(x.stxname) AS title
  FROM pg_catalog.pg_statistic_ext AS x JOIN spaces AS s ON s.oid = x.stxnamespace
  LEFT JOIN relations AS r ON r.oid = x.stxrelid
), extensions AS (
  SELECT e.*, quote_ident(e.extname) AS name, 'extension ' || quote_ident(e.extname) AS title
  FROM pg_catalog.pg_extension AS e WHERE e.oid >= 16384
), rare AS ( -- named as PostgreSQL itself names any object
  SELECT each.class, each.oid, found.type AS kind, k.name, found.type || ' ' || k.name AS title
  FROM (
    SELECT 'pg_catalog.pg_cast'::regclass AS class, oid FROM pg_catalog.pg_cast
    UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid FROM pg_catalog.pg_opclass
    UNION ALL SELECT 'pg_catalog.pg_opfamily'::regclass, oid FROM pg_catalog.pg_opfamily
    UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid FROM pg_catalog.pg_collation
    UNION ALL SELECT 'pg_catalog.pg_conversion'::regclass, oid FROM pg_catalog.pg_conversion
    UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, oid FROM pg_catalog.pg_ts_config
    UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, oid FROM pg_catalog.pg_ts_dict
    UNION ALL SELECT 'pg_catalog.pg_ts_parser'::regclass, oid FROM pg_catalog.pg_ts_parser
    UNION ALL SELECT 'pg_catalog.pg_ts_template'::regclass, oid FROM pg_catalog.pg_ts_template
    UNION ALL SELECT 'pg_catalog.pg_language'::regclass, oid FROM pg_catalog.pg_language
    UNION ALL SELECT 'pg_catalog.pg_transform'::regclass, oid FROM pg_catalog.pg_transform
    UNION ALL SELECT 'pg_catalog.pg_am'::regclass, oid FROM pg_catalog.pg_am
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid
              FROM pg_catalog.pg_foreign_data_wrapper
  ) AS each, LATERAL pg_identify_object(each.class, each.oid, 0) AS found,
  -- A transform is named otherwise before PostgreSQL 18.
  LATERAL (SELECT replace(found.identity, ' on language ', ' language ') AS name) AS k
  WHERE each.oid >= 16384
    AND NOT EXISTS (SELECT FROM members AS e WHERE e.classid = each.class AND e.objid = each.oid)
    AND coalesce(found.schema, '') !~ '^pg_temp_'
)
