"""Past one machine: whether the schema distributes by tenant over Citus, and the script for it."""
