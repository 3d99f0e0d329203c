-- What the script of `viral scale script` calls, as far as it can be tried without Citus: the calls
-- are recorded, and what Citus refuses by its manual is refused here in the same place.
CREATE TABLE pg_dist_node (groupid integer, isactive boolean);
INSERT INTO pg_dist_node VALUES (0, true), (1, true), (2, true);
CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char", place serial);
CREATE TABLE distributed_functions (name regprocedure);
CREATE TABLE emptied (logicalrelid regclass, place serial);

CREATE FUNCTION refuse_what_citus_refuses(relation regclass) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  found text;
BEGIN
  SELECT polname INTO found FROM pg_policy
  WHERE polrelid = relation
    AND (pg_get_expr(polqual, polrelid) || coalesce(pg_get_expr(polwithcheck, polrelid), ''))
        ~ 'SELECT';
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'Subqueries are not supported in policies: % of %', found, relation;
  END IF;
  SELECT conname INTO found FROM pg_constraint
  WHERE contype = 'f' AND relation IN (conrelid, confrelid);
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'a foreign key is in the way of %: %', relation, found;
  END IF;
  SELECT p.oid::regprocedure INTO found
  FROM pg_policy JOIN pg_depend AS d ON d.classid = 'pg_policy'::regclass AND d.objid = pg_policy.oid
  JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
  WHERE polrelid = relation AND p.oid::regprocedure NOT IN (SELECT name FROM distributed_functions);
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'the nodes do not know the function %, of a policy of %', found, relation;
  END IF;
END
$$;

CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM refuse_what_citus_refuses(table_name);
  INSERT INTO pg_dist_partition VALUES (table_name, 'n');
END
$$;

CREATE FUNCTION create_distributed_table(
  table_name regclass, distribution_column text, colocate_with text DEFAULT 'default'
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM refuse_what_citus_refuses(table_name);
  IF EXISTS (
    SELECT FROM pg_index WHERE indrelid = table_name AND indisunique AND NOT EXISTS (
      SELECT FROM pg_attribute WHERE attrelid = table_name AND attname = distribution_column
        AND attnum = ANY (indkey::int2[]))
  ) THEN
    RAISE EXCEPTION 'a key of % lacks %', table_name, distribution_column;
  END IF;
  IF colocate_with <> 'none' AND NOT EXISTS (
    SELECT FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass AND partmethod = 'h'
  ) THEN
    RAISE EXCEPTION 'nothing lies beside %', colocate_with;
  END IF;
  INSERT INTO pg_dist_partition VALUES (table_name, 'h');
END
$$;

CREATE FUNCTION create_distributed_function(function_name regprocedure) RETURNS void
LANGUAGE sql AS 'INSERT INTO distributed_functions VALUES (function_name)';

CREATE FUNCTION truncate_local_data_after_distributing_table(function_name regclass) RETURNS void
LANGUAGE sql AS 'INSERT INTO emptied (logicalrelid) VALUES (function_name)';
