"""The client of all resources.

Written by `make docs`; do not edit.
"""

from viral.client.api_keys import ApiKeys
from viral.client.audit import Audit
from viral.client.billing import Billing
from viral.client.concepts import Concepts
from viral.client.experiments import Experiments
from viral.client.generations import Generations
from viral.client.invitations import Invitations
from viral.client.jobs import Jobs
from viral.client.members import Members
from viral.client.performance import Performance
from viral.client.reflexion import Reflexion
from viral.client.tenant import Tenant
from viral.client.trends import Trends
from viral.client.usage import Usage


class Client(
    ApiKeys,
    Audit,
    Billing,
    Concepts,
    Experiments,
    Generations,
    Invitations,
    Jobs,
    Members,
    Performance,
    Reflexion,
    Tenant,
    Trends,
    Usage,
):
    """The REST API, with an API key."""
