"""The page about uploads in Airflow's UI: server-rendered, behind Airflow's login."""
