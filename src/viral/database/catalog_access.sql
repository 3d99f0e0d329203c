-- What is said of objects: who may do what with them, settings, comments. Rows as in
-- catalog_tables.sql.
WITH owned AS ( -- what can be granted: its privileges, and those of its owner by default
  SELECT 'database' AS object, d.datdba AS owner, d.datacl AS acl, 'd'::"char" AS letter,
         jsonb_build_object('on', 'DATABASE') AS place
  FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
  UNION ALL
  SELECT s.title, s.nspowner, s.nspacl, 'n', jsonb_build_object('on', 'SCHEMA ' || s.name)
  FROM spaces AS s WHERE s.is_ours
  UNION ALL
  SELECT r.title, r.relowner, r.relacl, CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
         jsonb_build_object('on', CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END || r.name,
                            'table', r.name)
  FROM relations AS r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT c.title, c.relowner, c.attacl, 'c',
         jsonb_build_object('on', c.table_name, 'column', quote_ident(c.attname),
                            'table', c.table_name)
  FROM columns AS c
  UNION ALL
  SELECT r.title, r.proowner, r.proacl, 'f',
         jsonb_build_object('on', CASE r.kind WHEN 'procedure' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END
                                  || r.name)
  FROM routines AS r
  UNION ALL
  SELECT t.title, t.typowner, t.typacl, 'T', jsonb_build_object('on', 'TYPE ' || t.name)
  FROM types AS t
  UNION ALL
  SELECT 'language ' || l.lanname, l.lanowner, l.lanacl, 'l',
         jsonb_build_object('on', 'LANGUAGE ' || quote_ident(l.lanname))
  FROM pg_catalog.pg_language AS l WHERE l.lanpltrusted
  UNION ALL
  SELECT 'foreign server ' || quote_ident(f.srvname), f.srvowner, f.srvacl, 'S',
         jsonb_build_object('on', 'FOREIGN SERVER ' || quote_ident(f.srvname))
  FROM pg_catalog.pg_foreign_server AS f
  UNION ALL
  SELECT 'foreign-data wrapper ' || quote_ident(w.fdwname), w.fdwowner, w.fdwacl, 'F',
         jsonb_build_object('on', 'FOREIGN DATA WRAPPER ' || quote_ident(w.fdwname))
  FROM pg_catalog.pg_foreign_data_wrapper AS w
  UNION ALL
  SELECT 'parameter ' || p.parname, 10, p.paracl, 'p',
         jsonb_build_object('on', 'PARAMETER ' || p.parname)
  FROM pg_catalog.pg_parameter_acl AS p
), ready_made AS ( -- what initdb or an extension made, where its privileges are not the default
  SELECT 'pg_catalog.pg_class'::regclass AS classoid, c.oid AS objoid, 0 AS objsubid,
         c.relowner AS owner, c.relacl AS acl,
         CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS letter
  FROM pg_catalog.pg_class AS c WHERE c.relacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_class'::regclass, a.attrelid, a.attnum, c.relowner, a.attacl, 'c'
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  WHERE a.attacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass, p.oid, 0, p.proowner, p.proacl, 'f'
  FROM pg_catalog.pg_proc AS p WHERE p.proacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_type'::regclass, t.oid, 0, t.typowner, t.typacl, 'T'
  FROM pg_catalog.pg_type AS t WHERE t.typacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_namespace'::regclass, s.oid, 0, s.nspowner, s.nspacl, 'n'
  FROM spaces AS s WHERE NOT s.is_ours
), described AS ( -- what can carry a comment or a security label
  SELECT 'pg_catalog.pg_namespace'::regclass::oid AS classoid, oid AS objoid, 0 AS objsubid,
         title, 'SCHEMA ' || name AS target, title AS object, NULL AS table_name
  FROM spaces WHERE is_ours
  UNION ALL
  SELECT 'pg_catalog.pg_class'::regclass, r.oid, 0, r.title, upper(r.kind) || ' ' || r.name,
         coalesce(k.title, r.title), coalesce(i.table_name, r.name)
  FROM relations AS r
  LEFT JOIN table_indexes AS i ON i.indexrelid = r.oid
  LEFT JOIN table_constraints AS k ON k.oid = i.conoid
  UNION ALL
  SELECT 'pg_catalog.pg_class'::regclass, attrelid, attnum, title, 'COLUMN ' || name,
         CASE relkind WHEN 'c' THEN 'type ' || table_name ELSE title END, table_name
  FROM columns
  UNION ALL
  SELECT 'pg_catalog.pg_constraint'::regclass, oid, 0, title,
         'CONSTRAINT ' || quote_ident(conname) || ' ON ' || table_name, title, table_name
  FROM table_constraints
  UNION ALL
  SELECT 'pg_catalog.pg_constraint'::regclass, k.oid, 0,
         'constraint ' || t.name || '.' || quote_ident(k.conname),
         'CONSTRAINT ' || quote_ident(k.conname) || ' ON DOMAIN ' || t.name, t.title, NULL
  FROM types AS t JOIN pg_catalog.pg_constraint AS k ON k.contypid = t.oid
  UNION ALL
  SELECT 'pg_catalog.pg_policy'::regclass, oid, 0, title,
         'POLICY ' || quote_ident(polname) || ' ON ' || table_name, title, table_name
  FROM table_policies
  UNION ALL
  SELECT 'pg_catalog.pg_trigger'::regclass, oid, 0, title,
         'TRIGGER ' || quote_ident(tgname) || ' ON ' || table_name, title, table_name
  FROM table_triggers
  UNION ALL
  SELECT 'pg_catalog.pg_rewrite'::regclass, oid, 0, title,
         'RULE ' || quote_ident(rulename) || ' ON ' || table_name, title, table_name
  FROM rules
  UNION ALL
  SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid, 0, title, 'STATISTICS ' || name, title,
         table_name
  FROM statistics
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass, oid, 0, title, upper(kind) || ' ' || name, title, NULL
  FROM routines
  UNION ALL
  SELECT 'pg_catalog.pg_type'::regclass, oid, 0, title, 'TYPE ' || name, title, NULL FROM types
  UNION ALL
  SELECT 'pg_catalog.pg_extension'::regclass, oid, 0, title, 'EXTENSION ' || name, title, NULL
  FROM extensions
  UNION ALL
  SELECT r.class, r.oid, 0, r.title, upper(replace(r.kind, '-', ' ')) || ' ' || r.name, r.title, NULL
  FROM rare AS r
  UNION ALL
  SELECT each.class, each.oid, 0, each.kind || ' ' || quote_ident(each.name),
         upper(replace(each.kind, 'foreign ', '')) || ' ' || quote_ident(each.name),
         each.kind || ' ' || quote_ident(each.name), NULL
  FROM (
    SELECT 'pg_catalog.pg_publication'::regclass AS class, oid, 'publication' AS kind,
           pubname AS name FROM pg_catalog.pg_publication
    UNION ALL SELECT 'pg_catalog.pg_subscription'::regclass, oid, 'subscription', subname
              FROM pg_catalog.pg_subscription
    UNION ALL SELECT 'pg_catalog.pg_event_trigger'::regclass, oid, 'event trigger', evtname
              FROM pg_catalog.pg_event_trigger
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid, 'foreign server', srvname
              FROM pg_catalog.pg_foreign_server
  ) AS each
)

-- privileges of everybody but the owner
SELECT 'grant' AS kind, o.object || ' to ' || g.role AS name,
       jsonb_strip_nulls(jsonb_build_object(
         'privileges', jsonb_agg(DISTINCT e.privilege_type
           || CASE WHEN e.is_grantable THEN ' (may pass on)' ELSE '' END),
         'passed on by', nullif(jsonb_agg(DISTINCT e.grantor::regrole::text)
                                FILTER (WHERE e.grantor <> o.owner), '[]'))) AS parts,
       o.place || jsonb_build_object(
         'object', o.object, 'owner', o.owner::regrole::text, 'role', g.role) AS place
FROM owned AS o, aclexplode(coalesce(o.acl, acldefault(o.letter, o.owner))) AS e,
LATERAL (SELECT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS role) AS g
WHERE e.grantee <> o.owner
GROUP BY o.object, o.place, o.owner, g.role

UNION ALL -- privileges that go beyond what initdb or an extension gave to its own objects
SELECT 'grant', i.type || ' ' || i.identity || ' to ' || g.role,
       jsonb_build_object('privileges', jsonb_agg(DISTINCT e.privilege_type
         || CASE WHEN e.is_grantable THEN ' (may pass on)' ELSE '' END)),
       jsonb_build_object('on', upper(i.type) || ' ' || i.identity, 'owner', r.owner::regrole::text,
                          'object', i.type || ' ' || i.identity, 'role', g.role)
FROM ready_made AS r
LEFT JOIN pg_catalog.pg_init_privs AS p USING (classoid, objoid, objsubid)
CROSS JOIN LATERAL aclexplode(r.acl) AS e
CROSS JOIN LATERAL pg_identify_object(r.classoid, r.objoid, r.objsubid) AS i
CROSS JOIN LATERAL (
  SELECT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS role) AS g
WHERE e.grantee <> r.owner
  AND (r.objoid < 16384 OR (r.classoid, r.objoid) IN (SELECT classid, objid FROM members))
  AND r.objoid NOT IN (SELECT oid FROM spaces WHERE is_ours)
  -- initdb does not note what it gives there; its views show everybody only what is theirs.
  AND coalesce(i.schema, i.identity) <> 'information_schema'
  AND NOT EXISTS (
    SELECT FROM aclexplode(coalesce(p.initprivs, acldefault(r.letter, r.owner))) AS given
    WHERE given.grantee IN (0, e.grantee) AND given.privilege_type = e.privilege_type
      AND (given.is_grantable OR NOT e.is_grantable))
GROUP BY i.type, i.identity, r.owner, g.role

UNION ALL -- an owner that lost rights on what is its own
SELECT 'owner''s rights', o.object,
       jsonb_build_object('missing', jsonb_agg(e.privilege_type ORDER BY e.privilege_type)),
       o.place || jsonb_build_object('object', o.object, 'owner', o.owner::regrole::text,
                                     'role', o.owner::regrole::text)
FROM owned AS o, aclexplode(acldefault(o.letter, o.owner)) AS e
WHERE e.grantee = o.owner AND o.acl IS NOT NULL
  AND NOT EXISTS (SELECT FROM aclexplode(o.acl) AS a
                  WHERE a.grantee = o.owner AND a.privilege_type = e.privilege_type)
GROUP BY o.object, o.place, o.owner

UNION ALL -- privileges that objects made later will have, where they are not PostgreSQL's own
SELECT 'default privileges',
       'of ' || d.defaclrole::regrole::text || coalesce(' in ' || s.name, '') || ' on '
         || k.kind || ' to ' || g.role
         || CASE e.part WHEN 'withheld' THEN ' (withheld)' ELSE '' END,
       jsonb_build_object(e.part, jsonb_agg(e.privilege_type
         || CASE WHEN e.is_grantable THEN ' (may pass on)' ELSE '' END ORDER BY e.privilege_type)),
       jsonb_build_object('owner', d.defaclrole::regrole::text, 'schema', s.name, 'on', k.kind,
                          'role', g.role, 'object', s.title)
FROM pg_catalog.pg_default_acl AS d
LEFT JOIN spaces AS s ON s.oid = d.defaclnamespace
CROSS JOIN LATERAL (SELECT CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
  WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
  ELSE 'LARGE OBJECTS' END AS kind,
  CASE WHEN d.defaclnamespace = 0
    THEN acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole)
  END AS standard) AS k
CROSS JOIN LATERAL (
  SELECT 'privileges' AS part, granted.grantee, granted.privilege_type, granted.is_grantable
  FROM (SELECT grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl)
        EXCEPT SELECT grantee, privilege_type, is_grantable FROM aclexplode(k.standard)) AS granted
  UNION ALL
  SELECT 'withheld', kept.grantee, kept.privilege_type, kept.is_grantable
  FROM (SELECT grantee, privilege_type, is_grantable FROM aclexplode(k.standard)
        EXCEPT SELECT grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl)) AS kept
) AS e
CROSS JOIN LATERAL (
  SELECT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS role) AS g
GROUP BY d.defaclrole, s.name, s.title, k.kind, e.part, g.role

UNION ALL -- settings of this database; one that is not PostgreSQL's own may be a secret
SELECT 'setting', split_part(c, '=', 1) || coalesce(' of ' || nullif(s.setrole, 0)::regrole, ''),
       jsonb_build_object(
         CASE WHEN split_part(c, '=', 1) LIKE '%.%' THEN 'fingerprint' ELSE 'value' END,
         CASE WHEN split_part(c, '=', 1) LIKE '%.%'
           THEN left(encode(sha256(convert_to(c, 'UTF8')), 'hex'), 12)
           ELSE substr(c, strpos(c, '=') + 1) END), '{}'::jsonb
FROM pg_catalog.pg_db_role_setting AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database(),
unnest(s.setconfig) AS c

UNION ALL -- comments and labels
SELECT 'comment', 'on ' || o.title, jsonb_build_object('text', d.description),
       jsonb_strip_nulls(
         jsonb_build_object('object', o.object, 'target', o.target, 'table', o.table_name))
FROM described AS o JOIN pg_catalog.pg_description AS d USING (classoid, objoid, objsubid)
UNION ALL
SELECT 'security label', l.provider || ' on ' || o.title, jsonb_build_object('text', l.label),
       jsonb_strip_nulls(
         jsonb_build_object('object', o.object, 'target', o.target, 'table', o.table_name))
FROM described AS o JOIN pg_catalog.pg_seclabel AS l USING (classoid, objoid, objsubid)
UNION ALL
SELECT 'comment', 'on database', jsonb_build_object('text', c.description),
       jsonb_build_object('object', 'database',
                          'target', 'DATABASE ' || quote_ident(current_database()))
FROM pg_catalog.pg_database AS d
JOIN pg_catalog.pg_shdescription AS c
  ON c.classoid = 'pg_catalog.pg_database'::regclass AND c.objoid = d.oid
WHERE d.datname = current_database()
UNION ALL
SELECT 'security label', l.provider || ' on database', jsonb_build_object('text', l.label),
       jsonb_build_object('object', 'database',
                          'target', 'DATABASE ' || quote_ident(current_database()))
FROM pg_catalog.pg_database AS d
JOIN pg_catalog.pg_shseclabel AS l
  ON l.classoid = 'pg_catalog.pg_database'::regclass AND l.objoid = d.oid
WHERE d.datname = current_database()

UNION ALL -- what goes when an extension goes
SELECT 'dependency', 'of ' || o.title || ' on ' || e.title, '{}'::jsonb,
       jsonb_strip_nulls(jsonb_build_object('object', o.object, 'table', o.table_name))
FROM described AS o
JOIN pg_catalog.pg_depend AS d
  ON d.classid = o.classoid AND d.objid = o.objoid AND o.objsubid = 0 AND d.deptype = 'x'
JOIN extensions AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_extension'::regclass
