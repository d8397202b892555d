# A stand-in for redis: its user and its folder, with Debian's Redis.
FROM smartech-stand-in/debian
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends redis-server \
    && apt-get clean && rm -r /var/lib/apt/lists/* \
    && install --directory --owner=redis --group=redis /data
USER redis
WORKDIR /data
