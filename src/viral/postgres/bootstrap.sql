-- A query of a person must not hold the others up; a role can raise its own limits.
ALTER ROLE viral_app SET statement_timeout = '30s';
ALTER ROLE viral_app SET lock_timeout = '10s';
ALTER ROLE viral_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE viral_readonly SET statement_timeout = '30s';
ALTER ROLE viral_readonly SET lock_timeout = '10s';
ALTER ROLE viral_readonly SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE viral_readonly SET default_transaction_read_only = on;
ALTER ROLE viral_worker SET statement_timeout = '30s';
ALTER ROLE viral_worker SET lock_timeout = '10s';
ALTER ROLE viral_worker SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE viral_signin SET statement_timeout = '10s';
ALTER ROLE viral_signin SET lock_timeout = '5s';
ALTER ROLE viral_signin SET idle_in_transaction_session_timeout = '30s';
-- Learning passes over everything, and waits for a critic in between.
ALTER ROLE viral_system SET statement_timeout = '10min';
ALTER ROLE viral_system SET lock_timeout = '30s';
ALTER ROLE viral_system SET idle_in_transaction_session_timeout = '10min';
