"""A stand-in of the Smartech API for tests and for people without an account, as moto is for AWS.

It checks requests as the vendor's page "Add Bulk Contact" describes them, fetches the CSV, upserts its contacts into
SQLite and calls the ping-back URL. What the vendor does not document, the words of the ping-back above all, is this
sandbox's own choice. ``python -m airflow_provider_smartech.sandbox --port 8095`` runs it.
"""

from airflow_provider_smartech.sandbox.faults import Fault
from airflow_provider_smartech.sandbox.server import SandboxServer

__all__ = ["Fault", "SandboxServer"]
