# A stand-in for apache/airflow: its user, folders, start program and virtual environment, with Debian's Python.
FROM smartech-stand-in/debian
ARG VERSION
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends curl dumb-init python3-venv \
    && apt-get clean && rm -r /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home airflow \
    && install --directory --owner=airflow --group=0 /opt/airflow /opt/airflow/dags /opt/airflow/logs
USER airflow
ENV AIRFLOW_HOME=/opt/airflow AIRFLOW_VERSION=${VERSION} LANG=C.UTF-8 PATH=/home/airflow/.local/bin:${PATH}
# Airflow's celery provider does not start with newer versions of Celery, which Airflow's own constraints exclude.
RUN python3 -m venv /home/airflow/.local \
    && pip install --quiet --no-cache-dir uv \
    && uv pip install --quiet --no-cache --compile-bytecode --python /home/airflow/.local/bin/python \
        "apache-airflow[amazon,celery,postgres,smtp]==${VERSION}" "celery[redis]<5.6"
WORKDIR /opt/airflow
ENTRYPOINT ["dumb-init", "--"]
