"""Workers: lanes, leases, schedules, and what goes wrong with them."""
