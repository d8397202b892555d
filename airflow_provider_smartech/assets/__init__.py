"""Smartech's lists as Airflow's assets, and the lineage of uploads to them."""
