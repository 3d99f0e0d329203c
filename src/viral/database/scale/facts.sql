-- What the judgement of `viral scale check` rests on, as rows of topic and document.
-- The session's search_path is empty, so every name is printed with its schema.
WITH tables AS (
  SELECT c.oid, c.oid::regclass::text AS name, c.relkind, c.relowner::regrole::text AS owner
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname IN ('public', 'viral')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')
), policies AS (
  SELECT p.oid, t.name AS table_name, p.polname AS name, p.polpermissive,
         pg_get_expr(p.polqual, p.polrelid) AS shows,
         pg_get_expr(p.polwithcheck, p.polrelid) AS takes,
         ARRAY(SELECT CASE r.role WHEN 0 THEN 'PUBLIC' ELSE r.role::regrole::text END
               FROM unnest(p.polroles) AS r(role) ORDER BY 1) AS roles,
         ARRAY(SELECT DISTINCT d.refobjid FROM pg_catalog.pg_depend AS d
               WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                 AND d.refclassid = 'pg_catalog.pg_proc'::regclass) AS functions,
         ARRAY(SELECT DISTINCT d.refobjid::regclass::text FROM pg_catalog.pg_depend AS d
               WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                 AND d.refclassid = 'pg_catalog.pg_class'::regclass
                 AND d.refobjid <> p.polrelid ORDER BY 1) AS reads
  FROM tables AS t JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
), functions AS (
  SELECT f.oid, f.oid::regprocedure::text AS name, f.prosrc, f.proowner::regrole::text AS owner,
         coalesce(f.proacl, acldefault('f', f.proowner)) AS acl
  FROM pg_catalog.pg_proc AS f
  WHERE f.oid IN (SELECT unnest(p.functions) FROM policies AS p)
     OR f.oid IN (SELECT d.refobjid
                  FROM tables AS t
                  JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
                  JOIN pg_catalog.pg_depend AS d
                    ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                   AND d.refclassid = 'pg_catalog.pg_proc'::regclass)
)
SELECT 'table' AS topic, jsonb_build_object(
    'name', t.name, 'owner', t.owner, 'is_partitioned', t.relkind = 'p',
    'columns', ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute AS a
                     WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
                     ORDER BY a.attnum),
    'types', ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute AS a
                   WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
                   ORDER BY a.attnum),
    'numbered', ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute AS a
                      WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
                        AND pg_get_serial_sequence(t.name, a.attname) IS NOT NULL
                      ORDER BY a.attnum),
    'triggers', ARRAY(SELECT g.tgname FROM pg_catalog.pg_trigger AS g
                      WHERE g.tgrelid = t.oid AND NOT g.tgisinternal ORDER BY 1),
    'has_levels', EXISTS (SELECT FROM pg_catalog.pg_inherits AS i
                          JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
                          WHERE i.inhparent = t.oid AND c.relkind = 'p')
  ) AS document
FROM tables AS t
UNION ALL
-- A column without a name is an expression.
SELECT 'key', jsonb_build_object(
    'table', t.name, 'name', x.relname, 'is_primary', i.indisprimary,
    'columns', ARRAY(SELECT a.attname
                     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
                     LEFT JOIN pg_catalog.pg_attribute AS a
                       ON a.attrelid = t.oid AND a.attnum = k.number
                     WHERE k.place <= i.indnkeyatts ORDER BY k.place)
  )
FROM tables AS t
JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion)
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
UNION ALL
SELECT 'reference', jsonb_build_object(
    'name', quote_ident(c.conname), 'source', t.name, 'target', c.confrelid::regclass::text,
    'source_columns', ARRAY(SELECT a.attname
                            FROM unnest(c.conkey) WITH ORDINALITY AS k(number, place)
                            JOIN pg_catalog.pg_attribute AS a
                              ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place),
    'target_columns', ARRAY(SELECT a.attname
                            FROM unnest(c.confkey) WITH ORDINALITY AS k(number, place)
                            JOIN pg_catalog.pg_attribute AS a
                              ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY k.place),
    'on_delete', c.confdeltype, 'on_update', c.confupdtype,
    'definition', pg_get_constraintdef(c.oid)
  )
FROM tables AS t
JOIN pg_catalog.pg_constraint AS c ON c.conrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0
UNION ALL
SELECT 'policy', jsonb_build_object(
    'table', p.table_name, 'name', quote_ident(p.name), 'is_permissive', p.polpermissive,
    'shows', p.shows, 'takes', p.takes, 'roles', p.roles, 'reads', p.reads,
    'functions', ARRAY(SELECT f.name FROM functions AS f
                       WHERE f.oid = ANY (p.functions) ORDER BY 1)
  )
FROM policies AS p
UNION ALL
SELECT 'function', jsonb_build_object(
    'name', f.name,
    'reads', ARRAY(SELECT t.name FROM tables AS t
                   WHERE f.prosrc ~ ('\m' || replace(t.name, '.', '\.') || '\M') ORDER BY 1),
    'callers', ARRAY(SELECT DISTINCT CASE e.grantee WHEN 0 THEN 'PUBLIC'
                                     ELSE e.grantee::regrole::text END
                     FROM aclexplode(f.acl) AS e
                     WHERE e.privilege_type = 'EXECUTE' AND e.grantee::regrole::text <> f.owner
                     ORDER BY 1)
  )
FROM functions AS f
UNION ALL
SELECT 'column grant', jsonb_build_object(
    'table', t.name, 'role', e.grantee::regrole::text, 'privilege', e.privilege_type,
    'columns', array_agg(quote_ident(a.attname) ORDER BY a.attnum)
  )
FROM tables AS t
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = t.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped,
  aclexplode(a.attacl) AS e
WHERE e.grantee <> 0
GROUP BY t.name, e.grantee, e.privilege_type
ORDER BY 1, 2
