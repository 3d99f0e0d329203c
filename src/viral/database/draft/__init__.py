"""From one catalogue to another: the SQL that a migration needs."""
