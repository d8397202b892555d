"""What a deployment configures in Airflow: settings, connections and the upload store."""
