"""The receiver of Smartech's ping-backs: a web app, mounted by the plugin or run alone. Does not need Airflow."""
