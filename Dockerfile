# Airflow with this provider, built from the source tree, and moto as a stand-in for S3.
FROM apache/airflow:3.3.2-python3.12

USER root
RUN install --directory --owner=airflow --group=0 /data /opt/airflow/home /opt/smartech
USER airflow
COPY --chown=airflow:0 . /opt/smartech
# Airflow is pinned, so that its version does not change.
RUN pip install --no-cache-dir "apache-airflow==${AIRFLOW_VERSION}" "/opt/smartech[changes]" "moto[server]==5.2.5"
