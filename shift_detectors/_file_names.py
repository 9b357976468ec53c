"""How the names of tables on disk end."""

PARQUET, CSV = (".parquet", ".pq"), (".csv", ".csv.gz")
