-- Everything that matters of a schema, as PostgreSQL itself prints it: one row per object.
-- Partitions are left out (they come and go by the month) unless they are open to somebody.
WITH spaces AS (
  SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('public', 'viral')
), relations AS (
  SELECT c.*, s.nspname || '.' || c.relname AS name
  FROM pg_catalog.pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
  WHERE NOT c.relispartition AND s.nspname || '.' || c.relname <> 'viral.alembic_version'
), grants AS (
  SELECT 'table ' || r.name AS object, r.relacl AS acl FROM relations AS r
  WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'column ' || r.name || '.' || a.attname, a.attacl
  FROM relations AS r JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid
  WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT 'function ' || p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner))
  FROM pg_catalog.pg_proc AS p JOIN spaces AS s ON s.oid = p.pronamespace
  UNION ALL
  SELECT 'schema ' || n.nspname, n.nspacl
  FROM pg_catalog.pg_namespace AS n JOIN spaces AS s ON s.oid = n.oid
  UNION ALL
  SELECT 'default of ' || d.defaclrole::regrole::text || coalesce(' in ' || s.nspname, '')
         || ' for ' || d.defaclobjtype::text, d.defaclacl
  FROM pg_catalog.pg_default_acl AS d LEFT JOIN spaces AS s ON s.oid = d.defaclnamespace
)

SELECT 'schema ' || nspname AS object,
       'owner ' || (SELECT n.nspowner::regrole::text FROM pg_catalog.pg_namespace AS n
                    WHERE n.oid = spaces.oid) AS definition
FROM spaces

UNION ALL -- tables
SELECT 'table ' || r.name,
       concat_ws(' ', CASE r.relkind WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(r.oid) END,
         CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
         'owner ' || r.relowner::regrole::text,
         CASE WHEN r.relrowsecurity THEN 'row security' ELSE 'NO row security' END,
         CASE WHEN r.relforcerowsecurity THEN 'forced' ELSE 'NOT forced' END,
         'options ' || array_to_string(r.reloptions, ','))
FROM relations AS r WHERE r.relkind IN ('r', 'p')

UNION ALL -- columns
SELECT 'column ' || r.name || '.' || a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod),
         CASE WHEN a.attnotnull THEN 'not null' END,
         CASE a.attgenerated WHEN '' THEN 'default ' ELSE 'generated ' || a.attgenerated::text || ' ' END
           || pg_get_expr(d.adbin, d.adrelid),
         CASE WHEN a.attidentity <> '' THEN 'identity ' || a.attidentity::text END,
         CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation::text
         END)
FROM relations AS r
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p')

UNION ALL -- constraints; NOT NULL stands with its column
SELECT 'constraint ' || r.name || '.' || k.conname,
       pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' (not validated)' END
FROM relations AS r JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
WHERE k.contype <> 'n'

UNION ALL -- indexes
SELECT 'index ' || i.indexrelid::regclass::text,
       pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END
FROM relations AS r JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
WHERE r.relkind IN ('r', 'p', 'm')

UNION ALL -- policies
SELECT 'policy ' || r.name || '.' || p.polname,
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
         'for ' || p.polcmd::text,
         'to ' || (SELECT string_agg(CASE o WHEN 0 THEN 'public' ELSE o::regrole::text END, ', '
                                     ORDER BY o::regrole::text)
                   FROM unnest(p.polroles) AS o),
         'using ' || pg_get_expr(p.polqual, p.polrelid),
         'with check ' || pg_get_expr(p.polwithcheck, p.polrelid))
FROM relations AS r JOIN pg_catalog.pg_policy AS p ON p.polrelid = r.oid

UNION ALL -- privileges of everybody but the owner
SELECT 'grant ' || g.object || ' to '
         || CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END,
       string_agg(e.privilege_type || CASE WHEN e.is_grantable THEN ' (may pass on)' ELSE '' END,
                  ', ' ORDER BY e.privilege_type)
FROM grants AS g, aclexplode(g.acl) AS e
WHERE e.grantee <> e.grantor
GROUP BY g.object, e.grantee

UNION ALL -- functions: the whole definition, and who it runs as
SELECT 'function ' || p.oid::regprocedure::text,
       'owner ' || p.proowner::regrole::text || ' ' || pg_get_functiondef(p.oid)
FROM pg_catalog.pg_proc AS p JOIN spaces AS s ON s.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')

UNION ALL -- views
SELECT CASE r.relkind WHEN 'v' THEN 'view ' ELSE 'materialized view ' END || r.name,
       concat_ws(' ', 'owner ' || r.relowner::regrole::text,
         'options ' || array_to_string(r.reloptions, ','), pg_get_viewdef(r.oid))
FROM relations AS r WHERE r.relkind IN ('v', 'm')

UNION ALL -- triggers
SELECT 'trigger ' || r.name || '.' || t.tgname,
       pg_get_triggerdef(t.oid) || ' enabled ' || t.tgenabled::text
FROM relations AS r JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid
WHERE NOT t.tgisinternal

UNION ALL -- a foreign key that somebody switched off
SELECT 'references of ' || r.name, 'disabled'
FROM relations AS r
WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
              WHERE t.tgrelid = r.oid AND t.tgisinternal AND t.tgenabled <> 'O')

UNION ALL -- rules
SELECT 'rule ' || r.name || '.' || w.rulename, pg_get_ruledef(w.oid)
FROM relations AS r JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid
WHERE w.rulename <> '_RETURN'

UNION ALL -- sequences and foreign tables
SELECT CASE r.relkind WHEN 'S' THEN 'sequence ' ELSE 'foreign table ' END || r.name,
       'owner ' || r.relowner::regrole::text
FROM relations AS r WHERE r.relkind IN ('S', 'f')

UNION ALL -- types that are not a table's
SELECT 'type ' || s.nspname || '.' || t.typname,
       concat_ws(' ', t.typtype::text,
         (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid),
         format_type(t.typbasetype, t.typtypmod))
FROM pg_catalog.pg_type AS t JOIN spaces AS s ON s.oid = t.typnamespace
WHERE t.typtype IN ('e', 'd', 'r')

UNION ALL -- extensions
SELECT 'extension ' || e.extname, 'version ' || e.extversion
FROM pg_catalog.pg_extension AS e WHERE e.extname <> 'plpgsql'

UNION ALL -- comments
SELECT 'comment on ' || r.name || coalesce('.' || a.attname, ''), d.description
FROM relations AS r
JOIN pg_catalog.pg_description AS d
  ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_class'::regclass
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = nullif(d.objsubid, 0)

UNION ALL -- a partition that somebody could reach past its parent
SELECT 'partition ' || c.oid::regclass::text, 'open'
FROM pg_catalog.pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
WHERE c.relispartition AND c.relkind IN ('r', 'p')
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND c.relacl IS NULL
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                           WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid))

ORDER BY 1
