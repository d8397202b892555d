"""The services of docker-compose.yaml as processes on this machine, where there is no Docker."""
