-- The password's hash of the person with an e-mail, for the role that checks passwords alone.
CREATE FUNCTION viral.password_of(person text) RETURNS TABLE (user_id uuid, hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT u.id, u.password_hash FROM public.users AS u WHERE u.email = person
$$
