"""The demo: the whole path on loopback, with a real Airflow and the Smartech sandbox."""
