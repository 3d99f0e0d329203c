-- Make the monthly partitions of every partitioned table, from last month to three months ahead.
-- Row security is forced on each and nobody is granted anything: rows are reached by the parent.
CREATE FUNCTION viral.make_partitions() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  parent record;
  first date;
  name text;
  made integer := 0;
BEGIN
  FOR parent IN
    SELECT c.oid, c.relname FROM pg_catalog.pg_class AS c
    WHERE c.relkind = 'p' AND c.relnamespace = 'public'::regnamespace
    ORDER BY c.relname
  LOOP
    FOR months IN -1..3 LOOP
      first := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months);
      name := parent.relname || to_char(first, '_YYYYMM');
      CONTINUE WHEN to_regclass('public.' || quote_ident(name)) IS NOT NULL;
      BEGIN
        EXECUTE format(
          'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
          name, parent.relname, first::text || ' 00:00:00+00',
          (first + interval '1 month')::date::text || ' 00:00:00+00'
        );
      EXCEPTION WHEN duplicate_table OR unique_violation THEN
        -- Another worker made it at the same moment.
        CONTINUE;
      END;
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
      EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$
