-- Take back: People keys and limits.

-- step: expand: create function viral.session_identity(bytea)
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.session_identity(session_sha256 bytea)
 RETURNS TABLE(user_id uuid, tenant_id uuid, role text, is_operator boolean, email text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email
  FROM public.sessions AS s
  JOIN public.users AS u ON u.id = s.user_id
  JOIN public.memberships AS m ON m.tenant_id = s.tenant_id AND m.user_id = s.user_id
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now() AND m.ended_at IS NULL
$function$
;

REVOKE ALL ON FUNCTION viral.session_identity(bytea) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

-- step: expand: build the index of public.users.uq_users_clerk_id, outside a transaction
-- at risk: keys of public.users (clerk_id) that stand more than once: SELECT count(*) FROM (SELECT FROM public.users WHERE clerk_id IS NOT NULL GROUP BY clerk_id HAVING count(*) > 1) AS twice
CREATE UNIQUE INDEX CONCURRENTLY "uq_users_clerk_id_next" ON public.users USING btree (clerk_id);

-- step: expand: add public.users.uq_users_clerk_id
ALTER TABLE public.users DROP CONSTRAINT uq_users_clerk_id, ADD CONSTRAINT uq_users_clerk_id UNIQUE USING INDEX "uq_users_clerk_id_next";

-- step: expand: drop grant column public.api_keys.id to viral_system, drop grant column public.api_keys.last_used_at to viral_system and 16 more
REVOKE ALL (id) ON public.api_keys FROM viral_system;

REVOKE ALL (last_used_at) ON public.api_keys FROM viral_system;

REVOKE ALL (revoked_at) ON public.api_keys FROM viral_system;

REVOKE ALL (tenant_id) ON public.api_keys FROM viral_system;

REVOKE ALL (user_id) ON public.api_keys FROM viral_system;

REVOKE ALL (monthly_quota) ON public.tenants FROM viral_system;

REVOKE ALL (name) ON public.tenants FROM viral_system;

REVOKE ALL (stripe_customer_id) ON public.tenants FROM viral_system;

REVOKE ALL (stripe_subscription_id) ON public.tenants FROM viral_system;

REVOKE ALL (subscription_status) ON public.tenants FROM viral_system;

REVOKE ALL (subscription_tier) ON public.tenants FROM viral_system;

REVOKE ALL (updated_at) ON public.tenants FROM viral_system;

SET LOCAL ROLE viral_auth;

GRANT EXECUTE ON FUNCTION viral.session_identity(bytea) TO viral_app;

SET LOCAL ROLE viral_owner;

REVOKE ALL ON public.api_usage FROM viral_system;

REVOKE ALL ON public.audit_log FROM viral_system;

REVOKE INSERT, UPDATE ON public.memberships FROM viral_auth;

REVOKE DELETE, INSERT ON public.sessions FROM viral_auth;

REVOKE DELETE, INSERT ON public.users FROM viral_auth;

-- step: contract: drop policy public.api_keys.system_select, drop policy public.api_keys.system_update
DROP POLICY system_select ON public.api_keys;

DROP POLICY system_update ON public.api_keys;

-- step: contract: drop policy public.api_usage.system_insert
DROP POLICY system_insert ON public.api_usage;

-- step: contract: drop policy public.audit_log.system_insert
DROP POLICY system_insert ON public.audit_log;

-- step: contract: drop public.invitations.fk_invitations_tenant_id, drop public.invitations.fk_invitations_tenant_id_invited_by
ALTER TABLE public.invitations DROP CONSTRAINT fk_invitations_tenant_id;

ALTER TABLE public.invitations DROP CONSTRAINT fk_invitations_tenant_id_invited_by;

-- step: contract: drop public.api_keys.ck_api_keys_name
ALTER TABLE public.api_keys DROP CONSTRAINT ck_api_keys_name;

-- step: contract: drop public.audit_log.ck_audit_log_lengths
ALTER TABLE public.audit_log DROP CONSTRAINT ck_audit_log_lengths;

-- step: contract: drop public.sessions.ck_sessions_method
ALTER TABLE public.sessions DROP CONSTRAINT ck_sessions_method;

-- step: contract: drop public.tenants.uq_tenants_clerk_organization_id
ALTER TABLE public.tenants DROP CONSTRAINT uq_tenants_clerk_organization_id;

-- step: contract: drop public.sessions.method
-- at risk: values of public.sessions.method: SELECT count(*) FROM public.sessions WHERE method IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.sessions DROP COLUMN method;

-- step: contract: drop public.tenants.clerk_organization_id
-- at risk: values of public.tenants.clerk_organization_id: SELECT count(*) FROM public.tenants WHERE clerk_organization_id IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.tenants DROP COLUMN clerk_organization_id;

-- step: contract: drop public.invitations
-- at risk: rows of public.invitations: SELECT count(*) FROM public.invitations
-- lint: ban-drop-table: the models do not have this table
DROP TABLE public.invitations;

-- step: contract: drop viral.rate_limits, drop function viral.accept_invitation(bytea, uuid, uuid) and 24 more
-- at risk: rows of viral.rate_limits: SELECT count(*) FROM viral.rate_limits
SET LOCAL ROLE viral_auth;

-- lint: ban-drop-table: the models do not have this table
DROP TABLE viral.rate_limits;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.accept_invitation(bytea, uuid, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.acting_member(bytea, boolean);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.begin_session(uuid, uuid, uuid, bytea, interval);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.change_role(bytea, uuid, text);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.create_api_key(bytea, uuid, text, text, bytea, jsonb, timestamp with time zone);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.end_membership(bytea, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.end_sessions(bytea);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enter_by_clerk(text, text, uuid, bytea, timestamp with time zone, text, integer[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enter_by_key(bytea, text, integer[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enter_by_session(bytea, interval, text, integer[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.invitation_of(bytea);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.invite(bytea, uuid, text, text, bytea, interval);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.keep_an_admin();

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.limit_attempts(text[], integer[], interval[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.my_sessions(bytea);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.my_tenants(bytea);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.password_of(text);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.password_of_session(bytea);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.prune_access();

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.register_invited(bytea, uuid, text, text);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.replace_password(uuid, text, text, bytea);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.revoke_api_key(bytea, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.revoke_invitation(bytea, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.switch_session(bytea, bytea, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.take_turn(text, integer, interval);

SET LOCAL ROLE viral_owner;
