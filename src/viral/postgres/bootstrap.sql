-- What a database of the product needs before its first migration. Every line can run again.
-- {logins} are names from the code; {database} is the server's own name for it, quoted.

-- Nothing for PUBLIC: no connection, no temporary tables, no look into the schemas.
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {logins};
GRANT CREATE ON DATABASE {database} TO viral_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO viral_owner;
GRANT USAGE ON SCHEMA public TO viral_auth, {logins};

-- The product's functions and what they alone may read.
CREATE SCHEMA IF NOT EXISTS viral AUTHORIZATION viral_auth;
REVOKE ALL ON SCHEMA viral FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA viral TO viral_owner;
GRANT USAGE ON SCHEMA viral TO {logins};

-- A query of a person must not hold the others up; a role can raise its own limits.
ALTER ROLE viral_app SET statement_timeout = '30s';
ALTER ROLE viral_app SET lock_timeout = '10s';
ALTER ROLE viral_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE viral_readonly SET statement_timeout = '30s';
ALTER ROLE viral_readonly SET default_transaction_read_only = on;
ALTER ROLE viral_worker SET statement_timeout = '30s';
ALTER ROLE viral_signin SET statement_timeout = '10s';
