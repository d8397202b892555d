"""The operators that transfer contacts from S3 or from a database to Smartech."""

from airflow_provider_smartech.transfers.s3_to_smartech import S3ToSmartechOperator
from airflow_provider_smartech.transfers.sql_to_smartech import SqlToSmartechOperator

__all__ = ["S3ToSmartechOperator", "SqlToSmartechOperator"]
