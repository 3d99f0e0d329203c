-- Tables and what stands on them, one row per object: `kind` and `name` tell objects apart, `parts`
-- is what is compared, `place` says where it stands.

SELECT CASE r.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind, r.name,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', r.relowner::regrole::text,
         'partition by', CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
         'persistence', CASE r.relpersistence WHEN 'p' THEN 'logged' WHEN 'u' THEN 'unlogged' END,
         'row security', CASE WHEN r.relrowsecurity THEN 'on' ELSE 'off' END,
         'force row security', CASE WHEN r.relforcerowsecurity THEN 'on' ELSE 'off' END,
         'storage options', (SELECT to_jsonb(array_agg(o ORDER BY o)) FROM unnest(r.reloptions) AS o),
         'toast options', (SELECT to_jsonb(array_agg(o ORDER BY o))
                           FROM pg_catalog.pg_class AS t, unnest(t.reloptions) AS o
                           WHERE t.oid = r.reltoastrelid),
         'replica identity', CASE r.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
                               WHEN 'i' THEN 'index' END,
         'access method', (SELECT a.amname FROM pg_catalog.pg_am AS a
                           WHERE a.oid = r.relam AND a.amname <> 'heap'),
         'tablespace', (SELECT t.spcname FROM pg_catalog.pg_tablespace AS t
                        WHERE t.oid = r.reltablespace),
         'of type', CASE WHEN r.reloftype <> 0 THEN r.reloftype::regtype::text END,
         'inherits', (SELECT to_jsonb(array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno))
                      FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = r.oid),
         'server', (SELECT s.srvname FROM pg_catalog.pg_foreign_table AS f
                    JOIN pg_catalog.pg_foreign_server AS s ON s.oid = f.ftserver
                    WHERE f.ftrelid = r.oid),
         'server options', (SELECT to_jsonb(f.ftoptions) FROM pg_catalog.pg_foreign_table AS f
                            WHERE f.ftrelid = r.oid))) AS parts,
       jsonb_build_object('table', r.name, 'bare', r.relname, 'schema', r.nspname) AS place
FROM relations AS r WHERE r.relkind IN ('r', 'p', 'f')

UNION ALL -- columns of tables
SELECT 'column', c.name,
       jsonb_strip_nulls(jsonb_build_object(
         'type', format_type(c.atttypid, c.atttypmod),
         'not null', CASE WHEN NOT c.attnotnull THEN 'no' WHEN NOT n.convalidated THEN 'not valid'
                       ELSE 'yes' END,
         'not null inherited', CASE WHEN n.connoinherit THEN 'never' END,
         'default', CASE WHEN c.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
         'generated', CASE c.attgenerated WHEN 's' THEN 'stored ' WHEN 'v' THEN 'virtual ' END
                      || pg_get_expr(d.adbin, d.adrelid),
         'identity', CASE c.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END
           || (SELECT format(' start %s increment %s minimum %s maximum %s cache %s%s', q.seqstart,
                             q.seqincrement, q.seqmin, q.seqmax, q.seqcache,
                             CASE WHEN q.seqcycle THEN ' cycle' ELSE '' END)
               FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = s.oid),
         'identity sequence', CASE WHEN s.relname <> left(c.relname || '_' || c.attname || '_seq', 63)
           THEN s.name END,
         'collation', CASE WHEN c.attcollation <> t.typcollation
                        THEN c.attcollation::regcollation::text END,
         'storage', CASE WHEN c.attstorage <> t.typstorage THEN CASE c.attstorage WHEN 'p' THEN 'plain'
                      WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' WHEN 'x' THEN 'extended' END END,
         'compression', CASE c.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
         'statistics', nullif(c.attstattarget, -1),
         'options', to_jsonb(c.attoptions),
         'server options', to_jsonb(c.attfdwoptions))),
       jsonb_build_object('table', c.table_name, 'column', quote_ident(c.attname),
                          'bare', c.attname, 'position', c.attnum)
FROM columns AS c
JOIN pg_catalog.pg_type AS t ON t.oid = c.atttypid
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.attrelid AND d.adnum = c.attnum
LEFT JOIN pg_catalog.pg_constraint AS n
  ON n.conrelid = c.attrelid AND n.contype = 'n' AND n.conkey = ARRAY[c.attnum]
LEFT JOIN pg_catalog.pg_depend AS o ON c.attidentity <> '' AND o.deptype = 'i'
  AND o.classid = 'pg_catalog.pg_class'::regclass AND o.refclassid = o.classid
  AND o.refobjid = c.attrelid AND o.refobjsubid = c.attnum
LEFT JOIN relations AS s ON s.oid = o.objid AND s.relkind = 'S'
WHERE c.relkind IN ('r', 'p', 'f')

UNION ALL -- constraints, each with its index; NOT NULL stands with its column
SELECT 'constraint', k.name,
       jsonb_strip_nulls(jsonb_build_object(
         'definition', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
         'validated', CASE WHEN k.convalidated THEN 'yes' ELSE 'no' END,
         'inherited', CASE WHEN k.coninhcount > 0 THEN 'yes' END,
         'index', pg_get_indexdef(i.indexrelid),
         'index is', i.marks, 'index tablespace', i.tablespace, 'index statistics', i.statistics)),
       jsonb_build_object('table', k.table_name, 'name', quote_ident(k.conname), 'bare', k.conname,
                          'type', k.contype, 'references', k.confrelid::regclass::text)
FROM table_constraints AS k LEFT JOIN table_indexes AS i ON i.conoid = k.oid
WHERE k.contype <> 'n'

UNION ALL -- indexes that are not a constraint's
SELECT 'index', i.name,
       jsonb_strip_nulls(jsonb_build_object(
         'definition', pg_get_indexdef(i.indexrelid), 'is', i.marks, 'tablespace', i.tablespace,
         'statistics', i.statistics)),
       jsonb_build_object('table', i.table_name, 'bare', i.relname, 'unique', i.indisunique)
FROM table_indexes AS i WHERE i.conoid IS NULL

UNION ALL -- policies
SELECT 'policy', p.name,
       jsonb_strip_nulls(jsonb_build_object(
         'kind', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
         'command', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                      WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
         'roles', (SELECT to_jsonb(array_agg(g ORDER BY g)) FROM (
                     SELECT CASE o WHEN 0 THEN 'public' ELSE o::regrole::text END AS g
                     FROM unnest(p.polroles) AS o) AS roles),
         'using', pg_get_expr(p.polqual, p.polrelid),
         'with check', pg_get_expr(p.polwithcheck, p.polrelid))),
       jsonb_build_object('table', p.table_name, 'name', quote_ident(p.polname), 'bare', p.polname)
FROM table_policies AS p

UNION ALL -- views
SELECT r.kind, r.name,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', r.relowner::regrole::text,
         'options', (SELECT to_jsonb(array_agg(o ORDER BY o)) FROM unnest(r.reloptions) AS o),
         'definition', pg_get_viewdef(r.oid),
         'column defaults', (SELECT to_jsonb(array_agg(c.attname || ': '
                                                       || pg_get_expr(d.adbin, d.adrelid)
                                                       ORDER BY c.attname))
                             FROM columns AS c JOIN pg_catalog.pg_attrdef AS d
                               ON d.adrelid = c.attrelid AND d.adnum = c.attnum
                             WHERE c.attrelid = r.oid),
         'column settings', (SELECT to_jsonb(array_agg(concat_ws(' ', c.attname || ':',
                               'statistics ' || nullif(c.attstattarget, -1),
                               'storage ' || nullif(c.attstorage, t.typstorage)::text,
                               'compression ' || nullif(c.attcompression, '')::text,
                               array_to_string(c.attoptions, ' ')) ORDER BY c.attname))
                             FROM columns AS c JOIN pg_catalog.pg_type AS t ON t.oid = c.atttypid
                             WHERE c.attrelid = r.oid AND r.relkind = 'm'
                               AND (c.attstattarget <> -1 OR c.attstorage <> t.typstorage
                                    OR c.attcompression <> '' OR c.attoptions IS NOT NULL)),
         'access method', (SELECT a.amname FROM pg_catalog.pg_am AS a
                           WHERE a.oid = r.relam AND a.amname <> 'heap'),
         'tablespace', (SELECT t.spcname FROM pg_catalog.pg_tablespace AS t
                        WHERE t.oid = r.reltablespace),
         'populated', CASE WHEN NOT r.relispopulated THEN 'no' END)),
       jsonb_build_object('table', r.name)
FROM relations AS r WHERE r.relkind IN ('v', 'm')

UNION ALL -- triggers
SELECT 'trigger', t.name,
       jsonb_build_object(
         'definition', pg_get_triggerdef(t.oid),
         'enabled', CASE t.tgenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica'
                      WHEN 'A' THEN 'always' END),
       jsonb_build_object('table', t.table_name, 'name', quote_ident(t.tgname))
FROM table_triggers AS t

UNION ALL -- a foreign key that somebody switched off
SELECT 'references', 'of ' || r.name,
       jsonb_build_object('enabled', CASE min(t.tgenabled::text) WHEN 'D' THEN 'no'
                                       WHEN 'R' THEN 'replica' ELSE 'always' END),
       jsonb_build_object('table', r.name)
FROM relations AS r JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid
WHERE t.tgisinternal AND t.tgenabled <> 'O'
GROUP BY r.name

UNION ALL -- rules
SELECT 'rule', w.name,
       jsonb_build_object('definition', pg_get_ruledef(w.oid),
                          'enabled', CASE w.ev_enabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no'
                                       WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END),
       jsonb_build_object('table', w.table_name, 'name', quote_ident(w.rulename))
FROM rules AS w

UNION ALL -- statistics over several columns
SELECT 'statistics', x.name,
       jsonb_strip_nulls(jsonb_build_object(
         'owner', x.stxowner::regrole::text, 'definition', pg_get_statisticsobjdef(x.oid),
         'target', nullif(x.stxstattarget, -1))),
       jsonb_strip_nulls(jsonb_build_object('table', x.table_name))
FROM statistics AS x

