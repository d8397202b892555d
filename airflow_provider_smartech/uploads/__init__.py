"""Uploads: what is kept of them, where, and what their ping-backs mean. Needs no Airflow."""
