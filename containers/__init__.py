"""Docker for the tests of docker-compose.yaml: a daemon, base images, and the deployment."""
