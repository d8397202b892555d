"""The demo: the complete path on loopback, with a real Airflow and the Smartech sandbox."""
