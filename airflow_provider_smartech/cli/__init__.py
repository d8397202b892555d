"""``airflow smartech …``: a look at the upload store, and its tidying up."""
