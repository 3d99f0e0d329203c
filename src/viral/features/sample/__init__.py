"""Sample data of our own: what the demo tenant starts with."""

SAMPLE_TENANT_NAME = "Demo studio"
SAMPLE_TENANT_SLUG = "demo"
