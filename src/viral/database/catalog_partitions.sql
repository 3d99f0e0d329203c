-- Partitions come and go by the month: each is compared with its parent, and listed where it is not
-- as its parent is. Rows as in catalog_tables.sql.

SELECT 'partition', c.name, jsonb_build_object('is', odd.ways), jsonb_build_object('table', c.name)
FROM all_relations AS c
JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid
JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
CROSS JOIN LATERAL (
  SELECT substring(c.relname FROM '_([12]\d{3}(?:0[1-9]|1[0-2]))$') AS digits
) AS suffix
CROSS JOIN LATERAL (
  SELECT to_date(suffix.digits, 'YYYYMM') AS first,
         (to_date(suffix.digits, 'YYYYMM') + interval '1 month')::date AS next
) AS month
CROSS JOIN LATERAL (
  SELECT jsonb_agg(way ORDER BY way) AS ways FROM (VALUES
    (CASE WHEN c.relkind = 'f' THEN 'foreign table' END),
    (CASE WHEN c.relkind = 'p' THEN 'partition by ' || pg_get_partkeydef(c.oid) END),
    (CASE WHEN c.relrowsecurity <> p.relrowsecurity THEN 'row security differs' END),
    (CASE WHEN c.relforcerowsecurity <> p.relforcerowsecurity
       THEN 'force row security differs' END),
    (CASE WHEN c.relowner <> p.relowner THEN 'owner is ' || c.relowner::regrole::text END),
    (CASE WHEN c.relpersistence <> p.relpersistence THEN 'persistence differs' END),
    (CASE WHEN c.relreplident NOT IN ('d', p.relreplident) THEN 'replica identity differs' END),
    (CASE WHEN c.reltablespace <> p.reltablespace THEN 'tablespace differs' END),
    ((SELECT 'access method ' || a.amname FROM pg_catalog.pg_am AS a
      WHERE a.oid = c.relam AND a.amname <> 'heap' AND c.relam <> p.relam)),
    (CASE WHEN c.reloptions IS NOT NULL
       THEN 'storage options ' || array_to_string(c.reloptions, ', ') END),
    ((SELECT 'toast options ' || array_to_string(t.reloptions, ', ')
      FROM pg_catalog.pg_class AS t WHERE t.oid = c.reltoastrelid)),
    (CASE WHEN i.inhdetachpending THEN 'detach pending' END),
    (CASE WHEN pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' THEN 'default partition' END),
    -- A month is made only where no table has its name: with other bounds its rows are refused.
    (CASE WHEN p.relname || '_' || suffix.digits = c.relname AND pg_get_expr(c.relpartbound, c.oid)
       !~ format('^FOR VALUES FROM \(''%s( 00:00:00(\+00)?)?''\) TO \(''%s( 00:00:00(\+00)?)?''\)$',
                 month.first, month.next)
       THEN pg_get_expr(c.relpartbound, c.oid) END),
    (CASE WHEN EXISTS (SELECT FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner)
            OR EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                       WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)
       THEN 'granted of its own' END),
    (CASE WHEN EXISTS (SELECT FROM aclexplode(acldefault('r', c.relowner)) AS e
                       WHERE e.privilege_type NOT IN (
                         SELECT own.privilege_type
                         FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS own
                         WHERE own.grantee = c.relowner))
       THEN 'without rights of its owner' END),
    (CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_description AS d
                       WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid)
       THEN 'commented' END),
    ((SELECT 'policy ' || min(o.polname) FROM pg_catalog.pg_policy AS o WHERE o.polrelid = c.oid)),
    ((SELECT 'constraint ' || min(k.conname) FROM pg_catalog.pg_constraint AS k
      WHERE k.conrelid = c.oid AND k.contype NOT IN ('n', 't') AND k.conislocal
        AND k.coninhcount = 0)),
    ((SELECT 'constraint not valid: ' || min(k.conname) FROM pg_catalog.pg_constraint AS k
      WHERE k.conrelid = c.oid AND NOT k.convalidated
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS same
                        WHERE same.conrelid = p.oid AND same.conname = k.conname
                          AND NOT same.convalidated))),
    ((SELECT 'index ' || min(x.indexrelid::regclass::text)
      FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS r ON r.oid = x.indexrelid
      LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = x.indexrelid
      LEFT JOIN pg_catalog.pg_class AS above ON above.oid = h.inhparent
      WHERE x.indrelid = c.oid AND (
        above.oid IS NULL OR NOT x.indisvalid OR NOT x.indisready OR NOT x.indislive
        OR x.indisclustered OR x.indisreplident
        OR r.reloptions IS DISTINCT FROM above.reloptions
        OR r.reltablespace <> above.reltablespace))),
    ((SELECT 'trigger ' || min(t.tgname)
      FROM pg_catalog.pg_trigger AS t
      LEFT JOIN pg_catalog.pg_trigger AS above ON above.oid = t.tgparentid
      WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
        AND (t.tgparentid = 0 OR t.tgenabled <> above.tgenabled))),
    ((SELECT 'references disabled' WHERE EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = c.oid AND t.tgisinternal AND t.tgenabled <> 'O'))),
    ((SELECT 'rule ' || min(w.rulename) FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = c.oid)),
    ((SELECT 'column ' || min(a.attname) FROM pg_catalog.pg_attribute AS a
      JOIN pg_catalog.pg_attribute AS b ON b.attrelid = p.oid AND b.attname = a.attname
      LEFT JOIN pg_catalog.pg_attrdef AS ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
      LEFT JOIN pg_catalog.pg_attrdef AS bd ON bd.adrelid = b.attrelid AND bd.adnum = b.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (a.attnotnull <> b.attnotnull OR a.attstorage <> b.attstorage
             OR a.attcompression <> b.attcompression
             OR a.attstattarget IS DISTINCT FROM b.attstattarget
             OR a.attoptions IS DISTINCT FROM b.attoptions
             OR pg_get_expr(ad.adbin, ad.adrelid) IS DISTINCT FROM pg_get_expr(bd.adbin, bd.adrelid))))
  ) AS found (way) WHERE way IS NOT NULL
) AS odd
WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND odd.ways IS NOT NULL
