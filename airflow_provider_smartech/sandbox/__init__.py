"""A stand-in for the Smartech API, for tests and for users without an account, like moto for AWS.

It checks requests as the vendor's page "Add Bulk Contact" describes them, fetches the CSV, upserts its contacts into
SQLite and calls the ping-back URL. What the vendor does not document, above all the words of the ping-back, is this
sandbox's own choice. ``python -m airflow_provider_smartech.sandbox --port 8095`` runs it.
"""

from airflow_provider_smartech.sandbox.faults import Fault
from airflow_provider_smartech.sandbox.server import SandboxServer

__all__ = ["Fault", "SandboxServer"]
