"""The place where jobs are kept: in SQLite or on a database server, every step as it ends, beside an Optuna study of
tests."""
