"""``airflow smartech …``: commands that show and clean up the upload store, and the doctor."""
