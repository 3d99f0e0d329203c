-- The lint of a live database: what lets somebody pass row security, or makes it slow or void.
-- After the common part, each query stands under the name of its rule and what to do. It returns
-- the objects that break the rule; {hashes} and {ciphertexts} are patterns of column names.
WITH spaces AS (
  SELECT n.oid, n.nspname, n.nspowner, n.nspacl
  FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('public', 'viral')
), owners AS (
  SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname IN ('viral_owner', 'viral_auth')
), tenant_roles AS (
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles AS r
  WHERE r.rolname IN ('viral_app', 'viral_readonly', 'viral_worker', 'viral_signin')
), relations AS (
  SELECT c.*, s.nspname || '.' || c.relname AS name, s.nspname
  FROM pg_catalog.pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')
), tables AS (
  -- What the migrations note about themselves is no tenant's, and nobody is granted it.
  SELECT r.*, r.name = 'public.tenants'
              OR EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                         WHERE a.attrelid = r.oid AND a.attname = 'tenant_id') AS is_tenants
  FROM relations AS r
  WHERE r.relkind IN ('r', 'p')
    AND NOT (r.nspname = 'viral' AND r.relowner = to_regrole('viral_owner')
             AND NOT EXISTS (SELECT FROM aclexplode(r.relacl) AS e WHERE e.grantee <> r.relowner))
), policies AS (
  SELECT t.name || '.' || p.polname AS name, t.is_tenants, p.polroles, p.polpermissive,
         pg_get_expr(p.polqual, p.polrelid) AS shows,
         pg_get_expr(p.polwithcheck, p.polrelid) AS takes
  FROM tables AS t JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
), functions AS (
  SELECT p.*, p.oid::regprocedure::text AS name, l.lanname, l.lanpltrusted
  FROM pg_catalog.pg_proc AS p
  JOIN spaces AS s ON s.oid = p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
                      AND d.deptype = 'e')
), lists AS (
  SELECT 'table ' || r.name AS object, r.relowner AS owner, r.relacl AS acl
  FROM relations AS r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'column ' || r.name || '.' || a.attname, r.relowner, a.attacl
  FROM relations AS r JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid
  UNION ALL
  SELECT 'function ' || f.name, f.proowner, coalesce(f.proacl, acldefault('f', f.proowner))
  FROM functions AS f
  UNION ALL
  SELECT 'schema ' || s.nspname, s.nspowner, coalesce(s.nspacl, acldefault('n', s.nspowner))
  FROM spaces AS s
  UNION ALL
  SELECT 'database ' || d.datname, d.datdba, coalesce(d.datacl, acldefault('d', d.datdba))
  FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
), privileges AS (
  SELECT l.object, l.owner, e.grantee, e.privilege_type, e.is_grantable
  FROM lists AS l, aclexplode(l.acl) AS e WHERE e.grantee <> l.owner
)

-- rule row-security-off
-- fix: ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY.
SELECT t.name AS object,
       CASE WHEN t.relrowsecurity THEN 'is not forced: its owner sees all rows'
            ELSE 'has no row security' END AS detail
FROM tables AS t WHERE NOT (t.relrowsecurity AND t.relforcerowsecurity);

-- rule policy-missing
-- fix: State a policy in the table's class, and migrate.
SELECT t.name AS object, 'has no policy' AS detail
FROM tables AS t
WHERE NOT t.relispartition
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = t.oid);

-- rule policy-role
-- fix: Name the roles of the policy: ALTER POLICY ... TO viral_app, viral_readonly.
SELECT p.name AS object,
       CASE o.role WHEN 0 THEN 'is for PUBLIC' ELSE 'is for the owner, left by a migration' END
         AS detail
FROM policies AS p, unnest(p.polroles) AS o(role)
WHERE o.role = 0 OR o.role IN (SELECT owners.oid FROM owners WHERE owners.oid = to_regrole('viral_owner'));

-- rule policy-without-tenant
-- fix: ALTER POLICY ... USING (tenant_id = (SELECT viral.tenant_id())).
SELECT p.name AS object, 'shows a tenant''s roles other tenants'' rows: ' || e.expression AS detail
FROM policies AS p, LATERAL (VALUES (p.shows), (p.takes)) AS e(expression)
WHERE p.is_tenants AND p.polpermissive
  AND (0 = ANY (p.polroles) OR EXISTS (SELECT FROM tenant_roles AS r WHERE r.oid = ANY (p.polroles)))
  AND (e.expression !~ 'viral\.tenant_id\(\)' OR e.expression ~* '\mOR true\M');

-- rule partition-open
-- fix: REVOKE ALL on the partition and drop its policies: rows are reached through the parent.
SELECT t.name AS object, 'can be reached past its parent' AS detail
FROM tables AS t
WHERE t.relispartition
  AND (EXISTS (SELECT FROM aclexplode(t.relacl) AS e WHERE e.grantee <> t.relowner)
       OR EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = t.oid AND a.attacl IS NOT NULL)
       OR EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = t.oid));

-- rule owner
-- fix: ALTER ... OWNER TO viral_owner.
SELECT r.name AS object, 'belongs to ' || r.relowner::regrole::text AS detail
FROM relations AS r
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND r.relowner NOT IN (SELECT o.oid FROM owners AS o)
UNION ALL
SELECT 'function ' || f.name, 'runs as ' || f.proowner::regrole::text
FROM functions AS f WHERE f.proowner NOT IN (SELECT o.oid FROM owners AS o)
UNION ALL
SELECT 'schema ' || s.nspname, 'belongs to ' || s.nspowner::regrole::text
FROM spaces AS s WHERE s.nspname = 'viral' AND s.nspowner <> to_regrole('viral_auth');

-- rule stray
-- fix: Move it into the schema public or viral, where the rules are checked.
SELECT c.oid::regclass::text AS object, 'lies outside our schemas' AS detail
FROM pg_catalog.pg_class AS c
WHERE c.relowner IN (SELECT o.oid FROM owners AS o) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND c.relnamespace NOT IN (SELECT s.oid FROM spaces AS s);

-- rule role-powerful
-- fix: ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION.
SELECT 'role ' || r.rolname AS object, power.detail
FROM pg_catalog.pg_roles AS r, LATERAL (VALUES
  (r.rolsuper, 'is a superuser'),
  (r.rolbypassrls AND r.rolname <> 'viral_backup', 'passes row security (BYPASSRLS)'),
  (r.rolcreaterole, 'may make roles'),
  (r.rolcreatedb AND r.rolname <> 'viral_migrator', 'may make databases'),
  (r.rolreplication AND r.rolname <> 'viral_backup', 'may replicate'),
  (r.rolcanlogin AND r.oid IN (SELECT o.oid FROM owners AS o), 'may log in')
) AS power(has, detail)
WHERE power.has AND r.rolname LIKE 'viral\_%' AND r.rolname <> 'viral_admin';

-- rule role-membership
-- fix: REVOKE the role: only viral_migrator acts as an owner, only viral_backup reads everything.
SELECT 'role ' || member.rolname AS object, 'is a member of ' || granted.rolname AS detail
FROM pg_catalog.pg_auth_members AS m
JOIN pg_catalog.pg_roles AS member ON member.oid = m.member
JOIN pg_catalog.pg_roles AS granted ON granted.oid = m.roleid
WHERE (m.roleid IN (SELECT o.oid FROM owners AS o) OR member.rolname LIKE 'viral\_%')
  -- Administrators could grant it to themselves at any time.
  AND NOT (member.rolsuper OR (member.rolcreaterole AND member.rolname NOT LIKE 'viral\_%'))
  AND NOT (member.rolname = 'viral_migrator' AND m.roleid IN (SELECT o.oid FROM owners AS o))
  AND NOT (member.rolname = 'viral_backup' AND granted.rolname = 'pg_read_all_data');

-- rule role-setting
-- fix: ALTER ROLE ... RESET, or ALTER DATABASE ... RESET.
SELECT CASE s.setrole WHEN 0 THEN 'database ' || current_database()
            ELSE 'role ' || s.setrole::regrole::text END AS object,
       'sets ' || setting AS detail
FROM pg_catalog.pg_db_role_setting AS s
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase,
  unnest(s.setconfig) AS setting
WHERE setting ~ '^(row_security|search_path|session_replication_role|role|app\..*)='
  AND (s.setdatabase = 0 OR d.datname = current_database())
  AND (s.setrole = 0 OR s.setrole::regrole::text LIKE 'viral\_%');

-- rule public-privilege
-- fix: REVOKE it FROM PUBLIC.
SELECT p.object, 'everybody has ' || p.privilege_type AS detail
FROM privileges AS p WHERE p.grantee = 0;

-- rule privilege-past-row-security
-- fix: REVOKE it: row security does not apply to it.
SELECT p.object, p.grantee::regrole::text || ' has ' || p.privilege_type AS detail
FROM privileges AS p
WHERE p.grantee <> 0 AND p.privilege_type IN ('TRUNCATE', 'TRIGGER', 'MAINTAIN');

-- rule privilege-passed-on
-- fix: REVOKE GRANT OPTION FOR it.
SELECT p.object, p.grantee::regrole::text || ' may grant ' || p.privilege_type || ' to others' AS detail
FROM privileges AS p WHERE p.is_grantable AND p.grantee <> 0;

-- rule privilege-to-create
-- fix: REVOKE it: only viral_owner and viral_auth make things.
SELECT p.object, p.grantee::regrole::text || ' has ' || p.privilege_type AS detail
FROM privileges AS p
WHERE p.grantee <> 0 AND p.privilege_type IN ('CREATE', 'TEMPORARY')
  AND p.grantee NOT IN (SELECT o.oid FROM owners AS o)
  AND p.grantee::regrole::text LIKE 'viral\_%' AND p.grantee::regrole::text <> 'viral_admin';

-- rule default-privileges
-- fix: ALTER DEFAULT PRIVILEGES ... REVOKE: a table grants in its class.
SELECT 'default privileges of ' || d.defaclrole::regrole::text AS object,
       coalesce(nullif(e.grantee, 0)::regrole::text, 'PUBLIC') || ' gets ' || e.privilege_type
         || ' on what comes later' AS detail
FROM pg_catalog.pg_default_acl AS d, aclexplode(d.defaclacl) AS e
WHERE e.grantee <> d.defaclrole
  AND (d.defaclnamespace IN (SELECT s.oid FROM spaces AS s)
       OR d.defaclrole IN (SELECT o.oid FROM owners AS o));

-- rule secret-readable
-- fix: REVOKE SELECT, and grant it on the other columns by name.
SELECT t.name || '.' || a.attname AS object, r.rolname || ' can read it' AS detail
FROM tables AS t
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN tenant_roles AS r
WHERE (a.attname ~ '{hashes}' OR (a.attname ~ '{ciphertexts}' AND r.rolname <> 'viral_app'))
  AND has_column_privilege(r.oid, t.oid, a.attnum, 'SELECT');

-- rule function-search-path
-- fix: ALTER FUNCTION ... SET search_path = ''.
SELECT f.name AS object, 'runs as its owner and finds names by the caller''s search_path' AS detail
FROM functions AS f
WHERE f.prosecdef
  AND NOT EXISTS (SELECT FROM unnest(f.proconfig) AS setting
                  WHERE setting ~ '^search_path=(""|pg_catalog(, ?pg_temp)?)$');

-- rule function-language
-- fix: Write it in sql or plpgsql.
SELECT f.name AS object, 'is written in ' || f.lanname AS detail
FROM functions AS f WHERE f.lanname NOT IN ('sql', 'plpgsql');

-- rule function-leakproof
-- fix: ALTER FUNCTION ... NOT LEAKPROOF.
SELECT f.name AS object, 'is marked leakproof: it sees rows before the policy does' AS detail
FROM functions AS f WHERE f.proleakproof;

-- rule language-untrusted
-- fix: DROP EXTENSION: a function in it can do all that the server's account can.
SELECT 'language ' || l.lanname AS object, 'is not trusted' AS detail
FROM pg_catalog.pg_language AS l
WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c');

-- rule extension-dangerous
-- fix: DROP EXTENSION: it reaches files, other servers, or pages below row security.
SELECT 'extension ' || e.extname AS object, 'passes row security' AS detail
FROM pg_catalog.pg_extension AS e
WHERE e.extname IN ('adminpack', 'amcheck', 'dblink', 'file_fdw', 'lo', 'pageinspect', 'pg_buffercache',
                    'pg_surgery', 'pg_walinspect', 'pgrowlocks', 'pgstattuple', 'postgres_fdw', 'xml2')
   OR e.extname ~ '^pl.*u$';

-- rule view-as-owner
-- fix: ALTER VIEW ... SET (security_invoker = true).
SELECT r.name AS object, 'reads as its owner, not as who asks' AS detail
FROM relations AS r
WHERE r.relkind = 'v'
  AND NOT EXISTS (SELECT FROM pg_options_to_table(r.reloptions) AS o
                  WHERE o.option_name = 'security_invoker' AND o.option_value::boolean);

-- rule view-stored
-- fix: REVOKE it: row security does not apply to what a materialized view stores.
SELECT r.name AS object, e.grantee::regrole::text || ' can read what it stores' AS detail
FROM relations AS r, aclexplode(r.relacl) AS e
WHERE r.relkind = 'm' AND e.grantee <> r.relowner AND e.privilege_type = 'SELECT';

-- rule foreign-data
-- fix: DROP SERVER ... CASCADE: row security ends where another server begins.
SELECT 'server ' || s.srvname AS object, 'is a foreign server' AS detail
FROM pg_catalog.pg_foreign_server AS s
UNION ALL
SELECT r.name, 'is a foreign table' FROM relations AS r WHERE r.relkind = 'f';

-- rule trigger
-- fix: DROP it: the product's rules stand in keys, checks and functions; a shard has no triggers.
SELECT r.name || '.' || g.tgname AS object, 'is a trigger' AS detail
FROM relations AS r JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid
WHERE NOT g.tgisinternal
UNION ALL
SELECT r.name || '.' || w.rulename, 'is a rule that rewrites statements'
FROM relations AS r JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid
WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'event trigger ' || v.evtname, 'runs on every change of the schema'
FROM pg_catalog.pg_event_trigger AS v
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                  WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass AND d.objid = v.oid
                    AND d.deptype = 'e');

-- rule reference-disabled
-- fix: ALTER TABLE ... ENABLE TRIGGER ALL, then look for rows without a parent.
SELECT DISTINCT r.name AS object, 'does not check its references' AS detail
FROM relations AS r JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid
WHERE g.tgisinternal AND g.tgenabled <> 'O';

-- rule constraint-not-valid
-- fix: ALTER TABLE ... VALIDATE CONSTRAINT.
SELECT t.name || '.' || k.conname AS object,
       CASE WHEN to_jsonb(k) ->> 'conenforced' = 'false' THEN 'is not enforced'
            ELSE 'is not proven for the rows from before it' END AS detail
FROM tables AS t JOIN pg_catalog.pg_constraint AS k ON k.conrelid = t.oid
WHERE NOT k.convalidated OR to_jsonb(k) ->> 'conenforced' = 'false';

-- rule reference-without-index
-- fix: Add an index that begins with its columns: each delete of a parent reads the whole table.
SELECT t.name || '.' || k.conname AS object, 'has no index' AS detail
FROM tables AS t JOIN pg_catalog.pg_constraint AS k ON k.conrelid = t.oid
WHERE k.contype = 'f' AND k.conparentid = 0
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_index AS i
    WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL
      AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
  );

-- rule index-invalid
-- fix: DROP INDEX CONCURRENTLY it, and make it again.
SELECT i.indexrelid::regclass::text AS object, 'is not usable' AS detail
FROM tables AS t JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive);

-- rule index-not-leakproof
-- fix: Keep the column out of the key, or give it another type.
SELECT DISTINCT i.indexrelid::regclass::text AS object,
       pg_get_indexdef(i.indexrelid, k.place::int, true) || ' is compared by ' || o.oprcode::text
         || ', which runs only after the policy' AS detail
FROM tables AS t
JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
CROSS JOIN unnest(i.indclass::oid[]) WITH ORDINALITY AS k(class, place)
JOIN pg_catalog.pg_opclass AS c ON c.oid = k.class
JOIN pg_catalog.pg_amop AS m ON m.amopfamily = c.opcfamily
  AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
JOIN pg_catalog.pg_operator AS o ON o.oid = m.amopopr
JOIN pg_catalog.pg_proc AS f ON f.oid = o.oprcode
WHERE t.is_tenants AND NOT t.relispartition AND m.amopstrategy = 3 AND NOT f.proleakproof;

-- rule table-unlogged
-- fix: ALTER TABLE ... SET LOGGED.
SELECT r.name AS object, 'is empty after a crash (unlogged)' AS detail
FROM relations AS r WHERE r.relkind IN ('r', 'p') AND r.relpersistence = 'u'
-- Counts of a minute may go.
  AND r.name <> 'viral.rate_limits';

-- rule sequence
-- fix: Use a uuid made in Python: a sequence tells how much others have, and cannot be sharded.
SELECT r.name AS object, 'is a sequence' AS detail
FROM relations AS r WHERE r.relkind = 'S';

-- rule large-object
-- fix: SELECT lo_unlink(...): row security does not apply to large objects.
SELECT 'large object ' || l.oid AS object, 'belongs to ' || l.lomowner::regrole::text AS detail
FROM pg_catalog.pg_largeobject_metadata AS l;
