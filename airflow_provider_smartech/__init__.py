"""Apache Airflow provider for Netcore Smartech's bulk contact upload."""

__version__ = "0.1.0"
