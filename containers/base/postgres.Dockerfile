# A stand-in for postgres: its user, its folder for data, and what its start script does, with Debian's PostgreSQL.
FROM smartech-stand-in/debian
COPY postgres-start.sh /usr/local/bin/
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends postgresql \
    && apt-get clean && rm -r /var/lib/apt/lists/* /var/lib/postgresql/* \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
USER postgres
ENV PGDATA=/var/lib/postgresql/stand-in/docker
ENTRYPOINT ["bash", "/usr/local/bin/postgres-start.sh"]
STOPSIGNAL SIGINT
