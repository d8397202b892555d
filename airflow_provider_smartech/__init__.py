"""Apache Airflow provider for Netcore Smartech's bulk contact upload."""

__version__ = "1.0.0"
