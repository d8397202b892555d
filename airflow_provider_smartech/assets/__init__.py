"""Smartech's lists as Airflow's assets, and the lineage of what is uploaded to them."""
