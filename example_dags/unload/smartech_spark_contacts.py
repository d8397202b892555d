"""A Spark job: reads contacts as Parquet, and writes them as CSV that Smartech can load.

Its arguments are the two folders. Spark writes a header into each of its files.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession


def write(source: str, target: str) -> None:
    """Write all contacts of one folder to the other, which is replaced."""
    spark = SparkSession.builder.appName("contacts for Smartech").getOrCreate()
    contacts = spark.read.parquet(source).selectExpr("email AS EMAIL", "first_name AS FIRST_NAME", "city AS CITY")
    contacts.write.mode("overwrite").csv(
        target,
        header=True,
        # By default Spark writes a quote as \", which other readers of CSV do not understand, and trims the values.
        escape='"',
        ignoreLeadingWhiteSpace=False,
        ignoreTrailingWhiteSpace=False,
    )


if __name__ == "__main__":
    write(*sys.argv[1:])
