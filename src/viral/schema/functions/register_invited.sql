-- Make the person of an invitation known, with a password; null when their e-mail is known already
-- or the invitation is spent.
CREATE FUNCTION viral.register_invited(
  link_sha256 bytea, new_user uuid, person_name text, hash text
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  INSERT INTO public.users (id, email, name, password_hash)
  SELECT new_user, i.email, person_name, hash FROM public.invitations AS i
  WHERE i.token_sha256 = link_sha256 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
    AND i.expires_at > now()
  ON CONFLICT (email) DO NOTHING
  RETURNING id
$$
